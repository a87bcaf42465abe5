"""The `Storage` protocol: everything the queue asks of the place where its messages lie.

In the queue's own terms, never "run this SQL". Every method is one transaction: all of it is durable when the method
returns, and none of it has happened when it raises. Every time is passed in.

A *worker* is a registered claimant with a lease. Its id grows with each registration and is never used again. Together
with a claim's attempt and time it is the fencing token: what a worker claimed is settled only while the message still
names that worker as its owner, and is in that very claim. A worker whose lease has run out is taken back by any other
one: its messages are due again, and its own late settlements find nothing to settle. Nor do those that a worker makes
once more because it did not hear how the commit went, when it has claimed the message anew meanwhile.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, Protocol, TypeVar

from moxlib.mtasts import PolicyCache
from moxlib.queue.feedback import MatchedBy, ReceivedFeedback, RecordedFeedback
from moxlib.queue.hooks.records import PlanFor, nowhere
from moxlib.queue.limits import Rate
from moxlib.queue.selection import Cursor, HistoryFilter, MessageFilter, Page, Sort
from moxlib.queue.sending import Sent
from moxlib.queue.storage.claims import ClaimRequest, ClaimResult, WorkerInfo
from moxlib.queue.storage.content import ContentDirectory, Spool
from moxlib.queue.storage.hooks import HookStorage
from moxlib.queue.storage.settlement import Settlement
from moxlib.queue.submission import NewSubmission, StoredContent, Submission
from moxlib.queue.suppression import Past, Suppression, SuppressionPolicy
from moxlib.queue.types import Event, EventType, HoldRule, Message, RequireTLS, Retired

__all__ = [
    "MAX_FEEDBACK",
    "MAX_MATCHES",
    "NO_NOTIFICATIONS",
    "Matches",
    "PolicyFor",
    "RunBlocking",
    "Storage",
]

MAX_MATCHES: Final = 1000  # of one submission, mostly: so many recipients a bounce is looked up among
NO_NOTIFICATIONS: Mapping[int, NewSubmission] = MappingProxyType({})

MAX_FEEDBACK: Final = 100  # results kept of one message; servers that say more of it say nothing new


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """What feedback may be about."""

    by: MatchedBy = ""
    queued: tuple[Message, ...] = ()
    retired: tuple[Retired, ...] = ()
    alone: bool = False
    """What they were found by is of one message, and always was."""


PolicyFor = Callable[[str], SuppressionPolicy]
"""Given an account, the rules by which its recipients are suppressed."""

T = TypeVar("T")


class RunBlocking(Protocol):
    """Runs a function that blocks, somewhere, and returns or raises what it does."""

    def __call__(self, function: Callable[[], T], /) -> Awaitable[T]:
        """Run `function`."""
        ...


class Storage(Protocol):
    """One queue's durable state. All methods may be called concurrently from one event loop."""

    @property
    def content_place(self) -> ContentDirectory | Spool | None:
        """Where large content goes first: files, or a spool for the database; None: it goes with its submission."""
        ...

    async def open(self, now: datetime) -> None:
        """Open or create the storage, migrate its schema, sweep content that nothing refers to.

        Raises:
            SchemaTooNew, StorageReadOnly, StorageDamaged, StorageFull, StorageBusy: as their names say.
        """
        ...

    async def close(self) -> None:
        """Finish what was begun and close. Idempotent."""
        ...

    # submit

    async def insert(self, submission: NewSubmission) -> tuple[Submission, ...]:
        """Store a submission; one receipt per recipient, in order. Hold rules are applied in the same transaction.

        Ids count up from 1 in one sequence for all messages; the base id is the id of the first recipient's message.

        Under an idempotency key that was used before, nothing is stored, and the receipts of then are returned.

        Raises:
            IdempotencyConflict: something else was submitted under the key.
        """
        ...

    async def insert_within(
        self, connection: object, submission: NewSubmission, *, run: "RunBlocking | None" = None
    ) -> tuple[Submission, ...]:
        """Do what `insert` does in the caller's transaction on the caller's connection, and commit nothing.

        Args:
            connection: leads to the same database.
            submission: what to store; its content lies in no file.
            run: runs a function that blocks in the thread that the connection belongs to; None: chosen here.

        Raises:
            InvalidConnection: of a kind that this storage cannot join, to another database, or with no transaction.
        """
        ...

    async def content(self, base_id: int) -> StoredContent | None:
        """Return where the content of a submission lies; None when no queued message needs it any more."""
        ...

    def pieces(self, stored: StoredContent) -> AsyncGenerator[bytes, None]:
        """Stream content that lies outside its row, from the start, in pieces of bounded size.

        Raises:
            ContentDamaged: it is gone, or its length has changed.
        """
        ...

    # work

    async def register_worker(self, identity: str, *, now: datetime, lease: timedelta) -> int:
        """Register a worker and return its id, larger than any before it."""
        ...

    async def workers(self) -> tuple[WorkerInfo, ...]:
        """Return the registered workers in order of id."""
        ...

    async def renew(self, worker: int, *, now: datetime, lease: timedelta) -> bool:
        """Extend the lease to `now + lease`; False when it was taken back and the worker must register anew."""
        ...

    async def take_back(
        self, *, now: datetime, dead: Sequence[int] = (), hold_interrupted: bool = False
    ) -> tuple[int, ...]:
        """Unregister workers whose lease has run out (`lease_until <= now`) and those in `dead`; return their ids.

        Each message they owned becomes due at `now`, with an `INTERRUPTED` result for the attempt that was journalled
        (`started` = its last attempt, duration 0), held if `hold_interrupted`. Their delivery slots are freed.
        """
        ...

    async def unregister_worker(self, worker: int, *, now: datetime, hold_interrupted: bool = False) -> None:
        """End a worker whose claims are all settled: frees its slots. What it still owns is treated as `take_back`."""
        ...

    async def claim(self, worker: int, request: ClaimRequest) -> ClaimResult:
        """Claim due messages fairly: destinations in turn, a few messages of each, at a cost that stays flat.

        Journals each attempt: `attempts` one more, `last_attempt` = now, owner = worker. For each destination the
        worker gets at most `limit - slots of the other workers` delivery slots, and no more than its share of them
        among the registered workers (`max(1, limit // number of workers)`); with none free, the turn moves one second
        on.
        A worker that is not registered claims nothing.
        """
        ...

    async def settle(self, worker: int, settlements: Sequence[Settlement], *, now: datetime) -> frozenset[int]:
        """Settle claimed messages in one transaction; return the ids this worker no longer owned (left untouched).

        Nor does it own, for this, what it has given back or settled since and then claimed again: each settlement is of
        the claim that its message came with, known by the worker, `attempts` and `last_attempt`.
        """
        ...

    async def take_connection(self, destination: str, rate: Rate, *, now: datetime) -> datetime | None:
        """Take one connection from a destination's bucket, across all workers; None when there was one.

        Else nothing is taken, and the time is returned at which to ask again.
        """
        ...

    @property
    def policies(self) -> PolicyCache:
        """The policies of MTA-STS that are kept here: one that is forgotten protects nobody."""
        ...

    async def next_due(self) -> datetime | None:
        """Return the earliest turn of any destination: nothing can be claimed before it. None when nothing waits."""
        ...

    async def watch(self, wake: Callable[[], None]) -> None:
        """Call `wake` whenever others may have made something due, until cancelled.

        What it misses is found by polling. Trouble with the storage is waited out, not raised.
        """
        ...

    # look

    async def get(self, id_: int) -> Message | None:
        """Return a queued message."""
        ...

    async def get_retired(self, id_: int) -> Retired | None:
        """Return a message of the history."""
        ...

    async def list_messages(
        self, where: MessageFilter, *, sort: Sort, descending: bool, limit: int, after: Cursor | None
    ) -> Page[Message]:
        """Return one page of queued messages."""
        ...

    async def count_messages(self, where: MessageFilter) -> int:
        """Count queued messages."""
        ...

    async def list_retired(
        self, where: HistoryFilter, *, sort: Sort, descending: bool, limit: int, after: Cursor | None
    ) -> Page[Retired]:
        """Return one page of the history."""
        ...

    async def count_retired(self, where: HistoryFilter) -> int:
        """Count messages of the history."""
        ...

    async def events(self, *, after: int, limit: int) -> tuple[Event, ...]:
        """Return events with an id over `after`, in order."""
        ...

    async def last_event(self) -> int:
        """Return the id of the last event in the log; 0 when it is empty."""
        ...

    @property
    def hooks(self) -> HookStorage:
        """The webhooks that are kept here."""
        ...

    # suppressions; by account and base address, which is what at most one of them is on

    async def suppression(self, account: str, base_address: str) -> Suppression | None:
        """Return what an account has on a base address, in force or expired."""
        ...

    async def list_suppressions(
        self, account: str | None, *, after: int, limit: int
    ) -> tuple[tuple[int, Suppression], ...]:
        """Return suppressions, expired ones too, with their numbers over `after`, in order; None: of all accounts."""
        ...

    async def put_suppressions(self, suppressions: Sequence[Suppression], *, now: datetime) -> tuple[bool, ...]:
        """Add suppressions, all or none; say which of them are new. One that is in force stays as it was."""
        ...

    async def remove_suppression(self, account: str, base_address: str) -> bool:
        """Remove a suppression; False when there was none."""
        ...

    async def match_feedback(self, *, fromids: Sequence[str] = (), envid: str = "", message_id: str = "") -> Matches:
        """Return the messages, queued or retired, hidden ones too, that feedback may be about.

        By the first of these that finds any: a fromid, the envelope identifier, the Message-ID. In order of id, at
        most `MAX_MATCHES`: more than one says that the address must decide.
        """
        ...

    async def record_feedback(
        self, report: ReceivedFeedback, *, account: str | None, policy_for: PolicyFor, plan_for: PlanFor, now: datetime
    ) -> RecordedFeedback:
        """Add what a report says to the messages it is about, with their events, suppressions and webhooks.

        The messages are matched (`match_feedback`, those of `account` only, if given) and told apart (`attribute`) in
        the same transaction. What a message was told before by the same report (`digest`) changes nothing; nor does
        what comes after `MAX_FEEDBACK` of it.
        """
        ...

    async def past(self, account: str, base_address: str, *, limit: int) -> tuple[Past, ...]:
        """Return how an account's messages to a base address ended, the latest first, as far as that is known."""
        ...

    async def sent(self, account: str, *, now: datetime) -> Sent:
        """Return what an account has sent in the last 24 hours with limits."""
        ...

    async def first_time_recipients(self, account: str, addresses: Sequence[str], *, now: datetime) -> int:
        """Return how many of some addresses an account has not sent to, while it had a limit of such."""
        ...

    # operate; each returns how many messages it changed

    async def set_hold(self, where: MessageFilter, *, hold: bool) -> int:
        """Hold or release. Releasing also clears a quarantine (the content is checked again before it is sent)."""
        ...

    async def set_next_attempt(self, where: MessageFilter, at: datetime) -> int:
        """Set the next attempt; of a message in flight, it has no effect beyond the attempt under way."""
        ...

    async def add_next_attempt(self, where: MessageFilter, delay: timedelta) -> int:
        """Move each message's next attempt by `delay`, which may be negative."""
        ...

    async def set_transport(self, where: MessageFilter, transport: str | None) -> int:
        """Set or clear the transport."""
        ...

    async def set_require_tls(self, where: MessageFilter, require_tls: RequireTLS) -> int:
        """Set what the messages ask of TLS."""
        ...

    async def retire(
        self,
        where: MessageFilter,
        *,
        event: EventType,
        text: str,
        now: datetime,
        keep: Mapping[str, timedelta],
        keep_feedback: timedelta = timedelta(0),
        notifications: Mapping[int, NewSubmission] = NO_NOTIFICATIONS,
        plan_for: PlanFor = nowhere,
    ) -> int:
        """Drop (event canceled) or fail (event failed) messages: into the history with a `CANCELED` result (attempt 0).

        `keep` gives the retention per account; the key "" is the default. `keep_feedback`: see `Retire.forget_at`.
        `plan_for` says where the event is to be sent. An attempt under way goes on, but its result is lost, as its
        worker no longer owns the message. Of `notifications`, by message id, those are queued whose message was
        retired.
        """
        ...

    async def hold_rules(self) -> tuple[HoldRule, ...]:
        """Return the hold rules in order of id."""
        ...

    async def add_hold_rule(self, rule: HoldRule) -> tuple[HoldRule, int]:
        """Add a rule (an equal one is returned, not doubled), hold what matches; return both rule and number held."""
        ...

    async def remove_hold_rule(self, rule_id: int) -> bool:
        """Remove a rule; releases nothing. False when there was none."""
        ...

    async def purge(self, *, now: datetime, events_before: datetime) -> int:
        """Hide history past its `keep_until`, and delete what is to be forgotten and events before a time.

        A bounded number of each a call; return how many.
        """
        ...
