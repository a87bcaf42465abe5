"""Settlements: what becomes of a claimed message."""

from dataclasses import dataclass
from datetime import datetime

from moxlib.dsn import Action
from moxlib.queue.hooks.records import HookPlan
from moxlib.queue.submission import NewSubmission
from moxlib.queue.suppression import SuppressionPolicy
from moxlib.queue.types import AttemptResult, EventType, Message

__all__ = ["GiveBack", "Quarantine", "Retire", "Retry", "Settlement"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Back into the queue, due at `next_attempt`; held if `hold`. `delayed` also logs the event of that name."""

    message: Message
    result: AttemptResult
    next_attempt: datetime
    hold: bool = False
    delayed: bool = False
    hook: HookPlan | None = None
    """Where that event is to be sent, in the same transaction."""
    notification: NewSubmission | None = None
    """What tells the sender: queued with it, and only if it is settled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retire:
    """Into the history (kept until `keep_until`; not kept if that is not after `now`), with its event.

    With a `policy`, the recipient of a failed message is judged by it in the same transaction, together with how the
    account's earlier messages to it ended, and may be suppressed; and that of a delivered one may be so no more.
    """

    message: Message
    result: AttemptResult
    event: EventType
    keep_until: datetime
    policy: SuppressionPolicy | None = None
    hook: HookPlan | None = None
    """Where the event is to be sent, in the same transaction."""
    forget_at: datetime | None = None
    """Until when, if later than `keep_until`, it is known to whoever asks about feedback, though in no list."""
    success: Action | None = None
    """What whoever asked to hear of a delivery is told from here: relayed, to a server that reports none, or delivered;
    None: nothing."""
    notification: NewSubmission | None = None
    """What tells the sender: queued with it, and only if it is settled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveBack:
    """Back into the queue as it was: the attempt never began and is not counted."""

    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantine:
    """The content is damaged: hold it, say why, log the event. Nothing was sent; the attempt counts."""

    message: Message
    result: AttemptResult


Settlement = Retry | Retire | GiveBack | Quarantine
