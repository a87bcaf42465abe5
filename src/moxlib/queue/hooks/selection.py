"""Which webhooks: filters in the manner of `MessageFilter`."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Self

from moxlib.queue.errors import InvalidFilter
from moxlib.queue.hooks.records import Hook, HookOutcome, RetiredHook
from moxlib.queue.selection import INT64, is_text

__all__ = ["HookFilter", "HookHistoryFilter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HookFilter:
    """Which waiting webhooks: all given conditions must match; None is "any".

    `url` matches anywhere in it, whatever the case; `event` is such as "delivered". Bounds in time exclude the instant
    given.
    """

    ids: tuple[int, ...] | None = None
    account: str | None = None
    url: str | None = None
    message: int | None = None
    event: str | None = None
    in_flight: bool | None = None
    queued_before: datetime | None = None
    queued_after: datetime | None = None
    next_attempt_before: datetime | None = None
    next_attempt_after: datetime | None = None
    last_activity_before: datetime | None = None
    last_activity_after: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse values that nothing could be compared with."""
        _check(self)

    @classmethod
    def of(cls, conditions: Mapping[str, Any]) -> Self:
        """Build a filter from loose data (a command line, a query string).

        Raises:
            InvalidFilter: a field does not exist (the text names it and those that do), or its value cannot be.
        """
        _check_names(cls, conditions)
        return cls(**conditions)

    def matches(self, hook: Hook) -> bool:
        """Say whether the webhook meets every condition; storage engines must agree with this."""
        return (
            _matches_common(self, hook)
            and (self.in_flight is None or hook.in_flight == self.in_flight)
            and _between(hook.next_attempt, self.next_attempt_after, self.next_attempt_before)
            and _between(hook.last_attempt or hook.queued, self.last_activity_after, self.last_activity_before)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HookHistoryFilter:
    """Which webhooks that are done: all given conditions must match; None is "any"."""

    ids: tuple[int, ...] | None = None
    account: str | None = None
    url: str | None = None
    message: int | None = None
    event: str | None = None
    outcome: HookOutcome | None = None
    success: bool | None = None
    queued_before: datetime | None = None
    queued_after: datetime | None = None
    last_activity_before: datetime | None = None
    last_activity_after: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse values that nothing could be compared with."""
        _check(self)

    @classmethod
    def of(cls, conditions: Mapping[str, Any]) -> Self:
        """Build a filter from loose data (a command line, a query string).

        Raises:
            InvalidFilter: a field does not exist (the text names it and those that do), or its value cannot be.
        """
        _check_names(cls, conditions)
        outcome = conditions.get("outcome")
        if not isinstance(outcome, str):
            return cls(**conditions)
        try:
            return cls(**{**conditions, "outcome": HookOutcome(outcome)})
        except ValueError as error:
            raise InvalidFilter(f"outcome must be one of {', '.join(HookOutcome)}, not {outcome!r:.100}") from error

    def matches(self, hook: RetiredHook) -> bool:
        """Say whether the webhook meets every condition; storage engines must agree with this."""
        return (
            _matches_common(self, hook)
            and (self.outcome is None or hook.outcome == self.outcome)
            and (self.success is None or hook.success == self.success)
            and _between(hook.finished, self.last_activity_after, self.last_activity_before)
        )


def _matches_common(wanted: HookFilter | HookHistoryFilter, hook: Hook | RetiredHook) -> bool:
    return (
        (wanted.ids is None or hook.id in wanted.ids)
        and (wanted.account is None or hook.account == wanted.account)
        and (wanted.url is None or wanted.url.lower() in hook.url.lower())
        and (wanted.message is None or hook.message == wanted.message)
        and (wanted.event is None or hook.event == wanted.event)
        and _between(hook.queued, wanted.queued_after, wanted.queued_before)
    )


def _between(value: datetime, after: datetime | None, before: datetime | None) -> bool:
    return (after is None or value > after) and (before is None or value < before)


def _check_names(known: type, given: Mapping[str, object]) -> None:
    names = [f.name for f in fields(known)]
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise InvalidFilter(f"unknown filter field {unknown[0]!r}; known: {', '.join(names)}")


def _check(wanted: HookFilter | HookHistoryFilter) -> None:
    for f in fields(wanted):
        value = getattr(wanted, f.name)
        what = "" if value is None else _wanting(f.name, value)
        if what:
            raise InvalidFilter(f"{f.name} must be {what}, not {value!r:.100}")


def _wanting(name: str, value: object) -> str:
    """Return what a field's value should be and is not; empty when it is."""
    match name:
        case "ids":
            good = isinstance(value, tuple | list | set | frozenset) and all(_is_number(id_) for id_ in value)
            return "" if good else "whole numbers"
        case "message":
            return "" if _is_number(value) else "a whole number"
        case "in_flight" | "success":
            return "" if isinstance(value, bool) else "True or False"
        case "outcome":
            return "" if isinstance(value, HookOutcome) else "a HookOutcome"
        case "account" | "url" | "event":
            return "" if is_text(value) and "\0" not in str(value) else "a text without NUL and lone surrogates"
        case _:
            good = isinstance(value, datetime) and value.utcoffset() is not None
            return "" if good else "an aware datetime (with a time zone)"


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value in INT64
