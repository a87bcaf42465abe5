"""Which messages, in what order, from where on: filters, sort orders and keyset cursors.

A cursor holds the sort key and id of the last row seen, so a page is stable while the queue moves beneath it:
rows that come or go elsewhere neither repeat nor hide a row.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, Self, TypeVar

from moxlib.queue.errors import InvalidFilter
from moxlib.queue.types import EventType, Message, Retired

__all__ = ["Cursor", "HistoryFilter", "MessageFilter", "Page", "Sort", "check_page", "is_text", "page_start"]

T = TypeVar("T")

MAX_PAGE = 10_000  # a page is built in memory; more than this is what pagination is for
MAX_CURSOR = 200  # characters; str() makes 90 at most: a name and two 64-bit numbers in base64
INT64 = range(-(2**63), 2**63)  # what databases keep


class Sort(StrEnum):
    """What a listing is ordered by; ties are ordered by id.

    By the order of queueing, a page costs the same however much is queued; by the others, all that matches is sorted.
    """

    QUEUED = "queued"
    """The order in which the queue took them: that of their ids."""
    NEXT_ATTEMPT = "next_attempt"
    """Queue only; the history has no next attempt."""
    LAST_ACTIVITY = "last_activity"
    """The last attempt, or the time of queueing; in the history, the time it finished."""


def _check_fields(known: type, given: Mapping[str, object]) -> None:
    unknown = sorted(set(given) - {f.name for f in fields(known)})
    if unknown:
        names = ", ".join(f.name for f in fields(known))
        raise InvalidFilter(f"unknown filter field {unknown[0]!r}; known: {names}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """Which queued messages: all given conditions must match; None is "any".

    `sender` and `recipient` match anywhere in the address, whatever the case.
    `transport=""` means "none set on the message". Bounds in time exclude the instant given.
    """

    ids: tuple[int, ...] | None = None
    base_id: int | None = None
    account: str | None = None
    sender: str | None = None
    recipient: str | None = None
    destination: str | None = None
    hold: bool | None = None
    in_flight: bool | None = None
    transport: str | None = None
    quarantined: bool | None = None
    queued_before: datetime | None = None
    queued_after: datetime | None = None
    next_attempt_before: datetime | None = None
    next_attempt_after: datetime | None = None
    last_activity_before: datetime | None = None
    last_activity_after: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse values that nothing could be compared with."""
        _check_values(self)

    @classmethod
    def of(cls, conditions: Mapping[str, Any]) -> Self:
        """Build a filter from loose data (a command line, a query string).

        Raises:
            InvalidFilter: a field does not exist (the text names it and those that do), or its value cannot be.
        """
        _check_fields(cls, conditions)
        return cls(**conditions)

    def matches(self, message: Message) -> bool:
        """Say whether the message meets every condition; storage engines must agree with this."""
        activity = message.last_attempt or message.queued
        return (
            _matches_common(self, message.id, message.base_id, message.account, message.sender, message.recipient)
            and (self.destination is None or message.destination == self.destination.lower())
            and (self.hold is None or message.hold == self.hold)
            and (self.in_flight is None or message.in_flight == self.in_flight)
            and (self.transport is None or (message.transport or "") == self.transport)
            and (self.quarantined is None or bool(message.quarantine) == self.quarantined)
            and _between(message.queued, self.queued_after, self.queued_before)
            and _between(message.next_attempt, self.next_attempt_after, self.next_attempt_before)
            and _between(activity, self.last_activity_after, self.last_activity_before)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryFilter:
    """Which retired messages: all given conditions must match; None is "any"."""

    ids: tuple[int, ...] | None = None
    base_id: int | None = None
    account: str | None = None
    sender: str | None = None
    recipient: str | None = None
    destination: str | None = None
    transport: str | None = None
    success: bool | None = None
    event: EventType | None = None
    queued_before: datetime | None = None
    queued_after: datetime | None = None
    last_activity_before: datetime | None = None
    last_activity_after: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse values that nothing could be compared with."""
        _check_values(self)

    @classmethod
    def of(cls, conditions: Mapping[str, Any]) -> Self:
        """Build a filter from loose data (a command line, a query string).

        Raises:
            InvalidFilter: a field does not exist (the text names it and those that do), or its value cannot be.
        """
        _check_fields(cls, conditions)
        event = conditions.get("event")
        if not isinstance(event, str):
            return cls(**conditions)
        try:
            return cls(**{**conditions, "event": EventType(event)})
        except ValueError as error:
            raise InvalidFilter(f"event must be one of {', '.join(EventType)}, not {event!r:.100}") from error

    def matches(self, retired: Retired) -> bool:
        """Say whether the message meets every condition; storage engines must agree with this."""
        return (
            _matches_common(self, retired.id, retired.base_id, retired.account, retired.sender, retired.recipient)
            and (self.destination is None or retired.destination == self.destination.lower())
            and (self.transport is None or (retired.transport or "") == self.transport)
            and (self.success is None or retired.success == self.success)
            and (self.event is None or retired.event == self.event)
            and _between(retired.queued, self.queued_after, self.queued_before)
            and _between(retired.finished, self.last_activity_after, self.last_activity_before)
        )


def _matches_common(
    wanted: MessageFilter | HistoryFilter, id_: int, base_id: int, account: str, sender: str, recipient: str
) -> bool:
    return (
        (wanted.ids is None or id_ in wanted.ids)
        and (wanted.base_id is None or base_id == wanted.base_id)
        and (wanted.account is None or account == wanted.account)
        and (wanted.sender is None or wanted.sender.lower() in sender.lower())
        and (wanted.recipient is None or wanted.recipient.lower() in recipient.lower())
    )


def _between(value: datetime, after: datetime | None, before: datetime | None) -> bool:
    return (after is None or value > after) and (before is None or value < before)


def _check_values(wanted: MessageFilter | HistoryFilter) -> None:
    for f in fields(wanted):
        value = getattr(wanted, f.name)
        what = "" if value is None else _wanting(f.name, value)
        if what:
            raise InvalidFilter(f"{f.name} must be {what}, not {value!r:.100}")


def _wanting(name: str, value: object) -> str:
    """Return what a field's value should be and is not; empty when it is."""
    if name == "ids":
        good = isinstance(value, tuple | list | set | frozenset) and all(_is_number(id_) for id_ in value)
        return "" if good else "whole numbers"
    if name == "base_id":
        return "" if _is_number(value) else "a whole number"
    if name in ("hold", "in_flight", "quarantined", "success"):
        return "" if isinstance(value, bool) else "True or False"
    if name == "event":
        return "" if isinstance(value, EventType) else "an EventType"
    if name.endswith(("_before", "_after")):
        good = isinstance(value, datetime) and value.utcoffset() is not None
        return "" if good else "an aware datetime (with a time zone)"
    return "" if is_text(value) else "a text without lone surrogates"


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in INT64


def is_text(value: object) -> bool:
    """Say whether it is a text that databases keep: one that UTF-8 can write."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """The place after one row of a sorted listing; `str()` of it is safe in a URL."""

    sort: Sort
    descending: bool
    key: int
    """Microseconds since 1970 of the row's sort time; for `Sort.QUEUED`, its id."""
    id: int

    def __str__(self) -> str:
        """Return the cursor as URL-safe text."""
        text = json.dumps([self.sort.value, self.descending, self.key, self.id], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    def check(self, sort: Sort, *, descending: bool) -> None:
        """Refuse to go on with a listing in another order.

        Raises:
            InvalidFilter: this cursor is of another sort or direction.
        """
        if (self.sort, self.descending) != (sort, descending):
            raise InvalidFilter("the cursor is of a listing in another order")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a cursor back.

        Raises:
            InvalidFilter: the text is not a cursor that `str()` made.
        """
        if len(text) > MAX_CURSOR:
            raise InvalidFilter(f"not a pagination cursor: {text[:100]!r}")
        try:
            padded = text + "=" * (-len(text) % 4)
            sort, descending, key, id_ = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
            cursor = cls(sort=Sort(sort), descending=bool(descending), key=int(key), id=int(id_))
        except (ValueError, TypeError, OverflowError) as error:
            raise InvalidFilter(f"not a pagination cursor: {text[:100]!r}") from error
        if str(cursor) != text or cursor.key not in INT64 or cursor.id not in INT64:
            raise InvalidFilter(f"not a pagination cursor: {text!r}")
        return cursor


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """Some rows of a listing, and where the next page begins; None after the last."""

    items: tuple[T, ...]
    next: Cursor | None


def check_page(limit: int) -> None:
    """Refuse a page of so many.

    Raises:
        InvalidFilter: it cannot be.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidFilter(f"the limit must be 1 to {MAX_PAGE}, not {limit}")


def page_start(limit: int, after: Cursor | str | None) -> Cursor | None:
    """Return after what a page of so many begins.

    Raises:
        InvalidFilter: the limit cannot be, or the text is no cursor.
    """
    check_page(limit)
    return Cursor.parse(after) if isinstance(after, str) else after
