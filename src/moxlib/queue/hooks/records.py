"""What the queue keeps of webhooks: those that wait, those that are done, and what is known of endpoints."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from moxlib.queue.types import EventType

__all__ = [
    "INCOMING",
    "Hook",
    "HookEndpoint",
    "HookKey",
    "HookOutcome",
    "HookPlan",
    "HookResult",
    "NewHook",
    "PlanFor",
    "Replay",
    "RetiredHook",
    "nowhere",
]

INCOMING = "incoming"
"""The `event` of a webhook that carries a message that came in; the others' are those of the event log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookPlan:
    """Where an event is to be sent, as the configuration says at the moment it happens."""

    url: str
    keep_latest: bool = False
    """What still waits of the same message is removed, as this supersedes it."""
    retention: timedelta = timedelta(0)
    """How long what it supersedes is kept; 0: not at all."""


PlanFor = Callable[[str, EventType], HookPlan | None]
"""Given an account and an event, where that is to be sent; None: nowhere."""


def nowhere(_account: str, _event: EventType) -> None:
    """Be a `PlanFor` by which nothing is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHook:
    """A webhook on its way into storage: one event for one endpoint."""

    plan: HookPlan
    account: str
    event: str
    payload: bytes
    queued: datetime
    event_id: int | None = None
    """Of the event log; None for what is not in it, such as a message that came in."""
    message: int | None = None
    """Webhooks of the same message are called in order; None: there is none, and no order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookResult:
    """One attempt, as it is kept."""

    attempt: int
    """Counted from 1; 0 for what an operator did."""
    started: datetime
    duration: timedelta = timedelta(0)
    status: int = 0
    """Of HTTP; 0 where there was no answer."""
    text: str = ""
    """The answer's first 512 octets."""
    error: str = ""
    """What went wrong; "" for a success."""
    interrupted: bool = False
    """The worker died, or lost its lease, after it had claimed the webhook: it may have been called, or not."""

    @classmethod
    def interruption(cls, attempt: int, started: datetime) -> Self:
        """Return the result of an attempt whose worker is gone."""
        error = "the worker died or lost its lease while the call was under way"
        return cls(attempt=attempt, started=started, error=error, interrupted=True)

    @property
    def summary(self) -> str:
        """In one line."""
        return self.error or f"HTTP status {self.status}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """A webhook that waits for its call, or for its next one."""

    id: int
    """What the receiver knows it by, the same in each attempt and when it is replayed."""
    account: str
    url: str
    event_id: int | None
    message: int | None
    event: str
    payload: bytes
    queued: datetime
    attempts: int
    """Attempts begun, the one under way included."""
    next_attempt: datetime
    """While one is under way: when the next one would be, should nobody say how it ended."""
    last_attempt: datetime | None = None
    in_flight: bool = False
    """A worker has claimed it: a call is under way or about to begin."""
    blocked: bool = False
    """It waits until an earlier one of its message is done."""
    results: tuple[HookResult, ...] = ()

    @property
    def claim(self) -> "HookKey":
        """What a worker's claim of it is known by: no other claim by the same worker is known by that."""
        return self.id, self.attempts, self.last_attempt


HookKey = tuple[int, int, datetime | None]
"""A claim of a webhook: its id, which attempt it is for, and when it was made."""


class HookOutcome(StrEnum):
    """How a webhook ended."""

    DELIVERED = "delivered"
    """The receiver answered 2xx."""
    FAILED = "failed"
    """So did its last attempt."""
    CANCELED = "canceled"
    """By an operator."""
    SUPERSEDED = "superseded"
    """By a later event of its message, where only the latest is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetiredHook:
    """A webhook that is done, as the history keeps it."""

    id: int
    account: str
    url: str
    event_id: int | None
    message: int | None
    event: str
    payload: bytes
    queued: datetime
    finished: datetime
    keep_until: datetime
    outcome: HookOutcome
    attempts: int
    last_attempt: datetime | None = None
    results: tuple[HookResult, ...] = ()

    @property
    def success(self) -> bool:
        """Whether the receiver has it."""
        return self.outcome is HookOutcome.DELIVERED


@dataclass(frozen=True, slots=True, kw_only=True)
class HookEndpoint:
    """What is known of an endpoint to which something was sent."""

    url: str
    disabled_since: datetime | None = None
    """It answered 410 then: nothing is sent to it before it is enabled again. None: it is not disabled."""
    disabled_why: str = ""
    slowed_until: datetime | None = None
    """It asked for no call before then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Which events to send once more: all given conditions must match.

    Those whose webhook is in the history come with the id that they had; those of the event log that have none get one.
    """

    first_event: int | None = None
    """From this id of the event log on."""
    last_event: int | None = None
    """To this one."""
    since: datetime | None = None
    """From then on."""
    until: datetime | None = None
    """Before then."""
    account: str | None = None
    delivered: bool = True
    """Also those that the receiver answered with success."""

    def covers(self, *, event_id: int | None, at: datetime, account: str) -> bool:
        """Say whether an event is meant; storage engines must agree with this."""
        by_id = self.first_event is not None or self.last_event is not None
        return (
            not (by_id and event_id is None)
            and (self.first_event is None or (event_id or 0) >= self.first_event)
            and (self.last_event is None or (event_id or 0) <= self.last_event)
            and (self.since is None or at >= self.since)
            and (self.until is None or at < self.until)
            and (self.account is None or account == self.account)
        )
