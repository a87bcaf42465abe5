"""A suppression: an account does not mail an address any more, since when, why, and until when. Pure data."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Self

from moxlib.errors import InputError
from moxlib.queue.reply_class import ReplyClass
from moxlib.queue.suppression.feedback import Failure, Origin, shown

__all__ = ["MAX_REASON", "Cause", "Evidence", "InvalidSuppression", "Suppression"]

MAX_TEXT: Final = 500  # characters of a reply kept as evidence: what a person reads of it; the history has more
MAX_REASON: Final = 1000  # characters
MAX_NAME: Final = 1024  # characters of an account or an address: more is a mistake, and an index has limits
MAX_ID: Final = 998  # characters of a Message-ID: RFC 5322 2.1.1 has no longer line


class InvalidSuppression(InputError):
    """A suppression that could not be stored, or not be told apart; the text says what is wrong."""


class Cause(StrEnum):
    """What led to a suppression. A closed set, stored by name."""

    MANUAL = "manual"
    """Somebody added it."""
    IMPORTED = "imported"
    """It came from a file of another service's."""
    UNSUBSCRIBED = "unsubscribed"
    """The recipient asked for it."""
    REPLY_CODE = "reply-code"
    """A reply or a DSN said that there is no such mailbox."""
    IN_A_ROW = "in-a-row"
    """Too many failures in a row."""
    COMPLAINT = "complaint"
    """The recipient called a message spam."""


AUTOMATIC: Final = frozenset((Cause.REPLY_CODE, Cause.IN_A_ROW, Cause.COMPLAINT))


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a suppression rests on. Texts are cut to what people read, and what is not printable in them is escaped."""

    origin: Origin
    code: int = 0
    enhanced: str = ""
    command: str = ""
    text: str = ""
    reply_class: ReplyClass | None = None
    failures: int = 1
    """In a row."""
    message: int | None = None
    """The id in the queue of the message that failed."""
    attempt: int | None = None
    """Which attempt of it; None where a DSN told."""
    message_id: str = ""
    """Its Message-ID."""
    dsn_message_id: str = ""
    """The Message-ID of the DSN, where one told."""

    def __post_init__(self) -> None:
        """Bound and escape what peers wrote."""
        for name, limit in (("enhanced", 20), ("command", 50), ("text", MAX_TEXT), ("message_id", MAX_ID)):
            object.__setattr__(self, name, shown(getattr(self, name), limit))
        object.__setattr__(self, "dsn_message_id", shown(self.dsn_message_id, MAX_ID))

    @classmethod
    def of(
        cls,
        failure: Failure,
        *,
        failures: int = 1,
        message: int | None = None,
        attempt: int | None = None,
        message_id: str = "",
        dsn_message_id: str = "",
    ) -> Self:
        """Return a failure as evidence."""
        return cls(
            origin=failure.origin,
            code=failure.code,
            enhanced=failure.enhanced,
            command=failure.command,
            text=failure.text,
            reply_class=failure.reply_class,
            failures=failures,
            message=message,
            attempt=attempt,
            message_id=message_id,
            dsn_message_id=dsn_message_id,
        )

    @property
    def summary(self) -> str:
        """Codes and text in one line: `550 5.1.1 no such user`."""
        return " ".join(part for part in (str(self.code or ""), self.enhanced, self.text) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """An account's messages to an address, and to all with the same base address, fail without being sent.

    `suppress` and `add` make one; the constructor is for what was stored.

    Raises:
        InvalidSuppression: an address that is empty, a text that is over 1,000 characters or that no database takes, a
            time without a zone, or an end that is not after the beginning.
    """

    account: str
    base_address: str
    """The key: `str(base_address(...))`."""
    original_address: str
    """The one that was seen or given."""
    since: datetime
    cause: Cause = Cause.MANUAL
    reason: str = ""
    """For people: the decision in words, or what somebody wrote."""
    evidence: Evidence | None = None
    expires: datetime | None = None
    """None: never."""
    repeats: int = 0
    """Earlier suppressions of this address by this account that expired."""

    def __post_init__(self) -> None:
        """Refuse what could not be stored or exported."""
        if not self.base_address or not self.original_address:
            raise InvalidSuppression("a suppression without an address")
        for name, limit in (
            ("account", MAX_NAME),
            ("base_address", MAX_NAME),
            ("original_address", MAX_NAME),
            ("reason", MAX_REASON),
        ):
            _check_text(name, getattr(self, name), limit)
        for moment in (self.since, *((self.expires,) if self.expires else ())):
            if moment.utcoffset() is None:
                raise InvalidSuppression("times of a suppression have a time zone")
        if self.expires is not None and self.expires <= self.since:
            raise InvalidSuppression("a suppression ends after it began")
        if self.repeats < 0:
            raise InvalidSuppression("a suppression cannot be repeated less than never")

    @property
    def manual(self) -> bool:
        """Whether somebody wanted it so, and not a rule: as mox's field of this name."""
        return self.cause not in AUTOMATIC

    def is_active(self, now: datetime) -> bool:
        """Say whether it suppresses; at the time it expires, it does not any more."""
        return self.expires is None or now < self.expires

    def explain(self, now: datetime) -> str:
        """Say in words what a submit to this address does now, and why: for a dry run, and for people who ask."""
        until = f"until {self.expires:%Y-%m-%d %H:%M %Z}" if self.expires else "until it is removed"
        state = "is suppressed" if self.is_active(now) else "was suppressed"
        who = self.original_address
        if who != self.base_address:
            who = f"{self.base_address} (first seen as {who})"
        parts = [f"{who} {state} since {self.since:%Y-%m-%d %H:%M %Z} {until}: {self.cause}"]
        if self.reason:
            parts.append(self.reason)
        if self.evidence is not None and self.evidence.summary:
            parts.append(f"evidence: {self.evidence.summary}")
        if self.repeats:
            parts.append(f"suppressed {self.repeats} times before")
        return "; ".join(parts)


def _check_text(name: str, value: str, limit: int) -> None:
    if len(value) > limit:
        raise InvalidSuppression(f"{name} of a suppression has more than {limit} characters")
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise InvalidSuppression(f"{name} of a suppression has a character that no database takes")
