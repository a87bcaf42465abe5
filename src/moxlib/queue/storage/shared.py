"""`OperationStorage`: the `Storage` protocol by the shared operations, for any engine that runs them."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from moxlib.mtasts import CachedPolicy, PolicyCache
from moxlib.queue.feedback import ReceivedFeedback, RecordedFeedback
from moxlib.queue.hooks.records import PlanFor, nowhere
from moxlib.queue.limits import Rate
from moxlib.queue.selection import Cursor, HistoryFilter, MessageFilter, Page, Sort
from moxlib.queue.sending import Sent
from moxlib.queue.storage.base import NO_NOTIFICATIONS, Matches, PolicyFor
from moxlib.queue.storage.claims import ClaimRequest, ClaimResult, WorkerInfo
from moxlib.queue.storage.content import chunks
from moxlib.queue.storage.hooks import HookStorage
from moxlib.queue.storage.operations import (
    claim,
    destination,
    feedback,
    hooks,
    look,
    operate,
    policies,
    sending,
    settle,
    suppression,
    workers,
)
from moxlib.queue.storage.operations.rows import micros
from moxlib.queue.storage.settlement import Settlement
from moxlib.queue.storage.shared_hooks import OperationHookStorage, Run
from moxlib.queue.storage.tx import Tx
from moxlib.queue.submission import NewSubmission, StoredContent
from moxlib.queue.suppression import Past, Suppression
from moxlib.queue.types import Event, EventType, HoldRule, Message, RequireTLS, Retired

__all__ = ["OperationStorage"]

T = TypeVar("T")


class OperationStorage(ABC):
    """Everything but opening, submitting and watching, which each engine has its own way of."""

    @abstractmethod
    async def _write(self, operation: Callable[[Tx], T]) -> T:
        """Run an operation in a transaction; durable when this returns."""

    @abstractmethod
    async def _read(self, operation: Callable[[Tx], T]) -> T:
        """Run an operation that only reads."""

    @abstractmethod
    def _drop_file(self, name: str) -> None:
        """Remove a content file that no row refers to any more."""

    # content

    async def content(self, base_id: int) -> StoredContent | None:
        """Return where the content of a submission lies."""
        return await self._read(partial(look.content, base_id=base_id))

    def pieces(self, stored: StoredContent) -> AsyncGenerator[bytes, None]:
        """Stream content from its chunks."""
        return chunks(stored, self._chunk)

    async def _chunk(self, base_id: int, number: int) -> bytes | None:
        return await self._read(partial(look.content_chunk, base_id=base_id, number=number))

    # work

    async def register_worker(self, identity: str, *, now: datetime, lease: timedelta) -> int:
        """Register a worker and return its id."""
        return await self._write(partial(workers.register, identity=identity, now=now, lease=lease))

    async def workers(self) -> tuple[WorkerInfo, ...]:
        """Return the registered workers."""
        return await self._read(workers.workers)

    async def renew(self, worker: int, *, now: datetime, lease: timedelta) -> bool:
        """Extend the worker's lease."""
        return await self._write(partial(workers.renew, worker=worker, now=now, lease=lease))

    async def take_back(
        self, *, now: datetime, dead: Sequence[int] = (), hold_interrupted: bool = False
    ) -> tuple[int, ...]:
        """Unregister expired and dead workers; what they had claimed is due again."""
        return await self._write(partial(workers.take_back, now=now, dead=dead, hold_interrupted=hold_interrupted))

    async def unregister_worker(self, worker: int, *, now: datetime, hold_interrupted: bool = False) -> None:
        """End a worker."""
        await self._write(partial(workers.unregister, worker=worker, now=now, hold_interrupted=hold_interrupted))

    async def claim(self, worker: int, request: ClaimRequest) -> ClaimResult:
        """Claim due messages fairly."""
        return await self._write(partial(claim.claim, worker=worker, request=request))

    async def settle(self, worker: int, settlements: Sequence[Settlement], *, now: datetime) -> frozenset[int]:
        """Settle claimed messages; return the ids this worker no longer owned."""
        return await self._write(
            partial(settle.settle, worker=worker, settlements=settlements, now=now, drop_file=self._drop_file)
        )

    async def take_connection(self, destination: str, rate: Rate, *, now: datetime) -> datetime | None:
        """Take one connection from a destination's bucket."""
        return await self._write(partial(claim.take_connection, name=destination, rate=rate, now=now))

    async def next_due(self) -> datetime | None:
        """Return the earliest turn of any destination."""
        return await self._read(destination.next_due)

    @property
    def policies(self) -> PolicyCache:
        """The policies of MTA-STS that are kept here."""
        return _Policies(self._read, self._write)

    # look

    async def get(self, id_: int) -> Message | None:
        """Return a queued message."""
        return await self._read(partial(look.get, id_=id_))

    async def get_retired(self, id_: int) -> Retired | None:
        """Return a message of the history."""
        return await self._read(partial(look.get_retired, id_=id_))

    async def list_messages(
        self, where: MessageFilter, *, sort: Sort, descending: bool, limit: int, after: Cursor | None
    ) -> Page[Message]:
        """Return one page of queued messages."""
        return await self._read(
            partial(look.list_messages, where=where, sort=sort, descending=descending, limit=limit, after=after)
        )

    async def count_messages(self, where: MessageFilter) -> int:
        """Count queued messages."""
        return await self._read(partial(look.count_messages, where=where))

    async def list_retired(
        self, where: HistoryFilter, *, sort: Sort, descending: bool, limit: int, after: Cursor | None
    ) -> Page[Retired]:
        """Return one page of the history."""
        return await self._read(
            partial(look.list_retired, where=where, sort=sort, descending=descending, limit=limit, after=after)
        )

    async def count_retired(self, where: HistoryFilter) -> int:
        """Count messages of the history."""
        return await self._read(partial(look.count_retired, where=where))

    async def events(self, *, after: int, limit: int) -> tuple[Event, ...]:
        """Return events after a cursor."""
        return await self._read(partial(look.events, after=after, limit=limit))

    async def last_event(self) -> int:
        """Return the id of the last event."""
        return await self._read(hooks.last_event)

    @property
    def hooks(self) -> HookStorage:
        """The webhooks that are kept here."""
        return OperationHookStorage(self._read, self._write)

    # suppressions

    async def suppression(self, account: str, base_address: str) -> Suppression | None:
        """Return what an account has on a base address."""
        return await self._read(partial(suppression.suppression, account=account, base_address=base_address))

    async def list_suppressions(
        self, account: str | None, *, after: int, limit: int
    ) -> tuple[tuple[int, Suppression], ...]:
        """Return suppressions with their numbers, in order."""
        return await self._read(partial(suppression.list_suppressions, account=account, after=after, limit=limit))

    async def put_suppressions(self, suppressions: Sequence[Suppression], *, now: datetime) -> tuple[bool, ...]:
        """Add suppressions; say which are new."""
        return await self._write(partial(suppression.put_suppressions, suppressions=suppressions, now=now))

    async def remove_suppression(self, account: str, base_address: str) -> bool:
        """Remove a suppression."""
        return await self._write(partial(suppression.remove_suppression, account=account, base_address=base_address))

    async def match_feedback(self, *, fromids: Sequence[str] = (), envid: str = "", message_id: str = "") -> Matches:
        """Return the messages that feedback may be about."""
        return await self._read(partial(feedback.match_feedback, fromids=fromids, envid=envid, message_id=message_id))

    async def record_feedback(
        self, report: ReceivedFeedback, *, account: str | None, policy_for: PolicyFor, plan_for: PlanFor, now: datetime
    ) -> RecordedFeedback:
        """Add what a report says to the messages it is about."""
        return await self._write(
            partial(
                feedback.record_feedback,
                report=report,
                account=account,
                policy_for=policy_for,
                plan_for=plan_for,
                now=now,
            )
        )

    async def past(self, account: str, base_address: str, *, limit: int) -> tuple[Past, ...]:
        """Return how messages to a base address ended, the latest first."""
        return await self._read(partial(suppression.past, account=account, base_address=base_address, limit=limit))

    async def sent(self, account: str, *, now: datetime) -> Sent:
        """Return what an account has sent in a day."""
        return await self._read(partial(sending.sent, account=account, at=micros(now)))

    async def first_time_recipients(self, account: str, addresses: Sequence[str], *, now: datetime) -> int:
        """Return how many of some addresses an account has not sent to."""
        return await self._read(partial(sending.unknown, account=account, addresses=addresses, at=micros(now)))

    # operate

    async def set_hold(self, where: MessageFilter, *, hold: bool) -> int:
        """Hold or release."""
        return await self._write(partial(operate.set_hold, where=where, hold=hold))

    async def set_next_attempt(self, where: MessageFilter, at: datetime) -> int:
        """Set the next attempt."""
        return await self._write(partial(operate.set_next_attempt, where=where, at=at))

    async def add_next_attempt(self, where: MessageFilter, delay: timedelta) -> int:
        """Move each message's next attempt."""
        return await self._write(partial(operate.add_next_attempt, where=where, delay=delay))

    async def set_transport(self, where: MessageFilter, transport: str | None) -> int:
        """Set or clear the transport."""
        return await self._write(partial(operate.set_transport, where=where, transport=transport))

    async def set_require_tls(self, where: MessageFilter, require_tls: RequireTLS) -> int:
        """Set what the messages ask of TLS."""
        return await self._write(partial(operate.set_require_tls, where=where, require_tls=require_tls))

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
        """Drop or fail messages."""
        return await self._write(
            partial(
                operate.retire,
                where=where,
                event=event,
                text=text,
                now=now,
                keep=keep,
                keep_feedback=keep_feedback,
                notifications=notifications,
                plan_for=plan_for,
                drop_file=self._drop_file,
            )
        )

    async def hold_rules(self) -> tuple[HoldRule, ...]:
        """Return the hold rules."""
        return await self._read(look.hold_rules)

    async def add_hold_rule(self, rule: HoldRule) -> tuple[HoldRule, int]:
        """Add a rule and hold what matches."""
        return await self._write(partial(operate.add_hold_rule, rule=rule))

    async def remove_hold_rule(self, rule_id: int) -> bool:
        """Remove a rule."""
        return await self._write(partial(operate.remove_hold_rule, rule_id=rule_id))

    async def purge(self, *, now: datetime, events_before: datetime) -> int:
        """Delete history and events past their time."""
        return await self._write(partial(operate.purge, now=now, events_before=events_before))


class _Policies:
    """A `PolicyCache` by the storage's operations."""

    def __init__(self, read: Run, write: Run) -> None:
        self._read = read
        self._write = write

    async def get(self, domain: str) -> CachedPolicy | None:
        """Return what is kept of a domain."""
        return await self._read(partial(policies.get_policy, domain=domain))

    async def put(self, entry: CachedPolicy) -> None:
        """Keep an entry."""
        await self._write(partial(policies.put_policy, entry=entry))

    async def due(self, before: datetime, limit: int) -> tuple[CachedPolicy, ...]:
        """Return entries that were checked before a time."""
        return await self._read(partial(policies.due_policies, before=before, limit=limit))

    async def purge(self, before: datetime) -> int:
        """Forget entries last used before a time."""
        return await self._write(partial(policies.purge_policies, before=before))
