"""`MemoryStorage`: the `Storage` protocol on plain dictionaries, the model that the real engines are compared with.

It is meant to be obviously right, not fast: every question is answered by looking at everything. What it holds survives
`close()` and a later `open()` of the same object, and nothing else.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import assert_never

from moxlib.mtasts import MemoryPolicyCache
from moxlib.queue import hold
from moxlib.queue.errors import ContentDamaged, InvalidConnection, QueueClosed
from moxlib.queue.feedback import ReceivedFeedback, RecordedFeedback
from moxlib.queue.hooks.records import PlanFor, nowhere
from moxlib.queue.hooks.settlement import HookDisable
from moxlib.queue.limits import Rate
from moxlib.queue.selection import Cursor, HistoryFilter, MessageFilter, Page, Sort
from moxlib.queue.sending import Sent
from moxlib.queue.storage.base import NO_NOTIFICATIONS, Matches, PolicyFor, RunBlocking
from moxlib.queue.storage.claims import ClaimRequest, ClaimResult, WorkerInfo
from moxlib.queue.storage.settlement import GiveBack, Quarantine, Retire, Retry, Settlement
from moxlib.queue.submission import NewSubmission, StoredContent, Submission
from moxlib.queue.suppression import Past, Suppression
from moxlib.queue.types import AttemptResult, Event, EventType, HoldRule, Message, RequireTLS, ResultKind, Retired
from moxlib.testing import _memory_feedback
from moxlib.testing._memory_hooks import MemoryHooks, disabled_event
from moxlib.testing._memory_page import page
from moxlib.testing._memory_state import State

__all__ = ["MemoryStorage"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
PURGE_MAX = 1000  # rows of the history, and as many events, that one call to `purge` deletes


class MemoryStorage:
    """A queue's state in memory, for tests: nothing is on disk, and nothing is shared with another process."""

    def __init__(self) -> None:
        self._everything = State()
        self._policies = MemoryPolicyCache()
        self._open = False

    @property
    def _state(self) -> State:
        if not self._open:
            raise QueueClosed("the storage is not open")
        return self._everything

    @property
    def content_place(self) -> None:
        """None, for all content goes with its submission."""
        return

    async def open(self, now: datetime) -> None:  # noqa: ARG002 - the protocol's; there is nothing to sweep
        """Make the storage usable, with what it held when it was closed."""
        self._open = True

    async def close(self) -> None:
        """Refuse further use until it is opened again."""
        self._open = False

    # submit

    async def insert(self, submission: NewSubmission) -> tuple[Submission, ...]:
        """Store a submission; one receipt per recipient, in order."""
        return self._state.insert(submission)

    async def insert_within(
        self,
        connection: object,  # noqa: ARG002 - the protocol's
        submission: NewSubmission,  # noqa: ARG002
        *,
        run: RunBlocking | None = None,  # noqa: ARG002
    ) -> tuple[Submission, ...]:
        """Refuse: no connection leads here."""
        raise InvalidConnection("a queue in memory has no database, and so no connection's transaction can be joined")

    async def content(self, base_id: int) -> StoredContent | None:
        """Return the content of a submission; None when no queued message needs it any more."""
        return self._state.contents.get(base_id)

    async def pieces(self, stored: StoredContent) -> AsyncGenerator[bytes, None]:
        """Raise, for all content is in its row."""
        raise ContentDamaged(f"{stored} lies outside its row")
        yield b""  # what makes this a generator

    # work

    async def register_worker(self, identity: str, *, now: datetime, lease: timedelta) -> int:
        """Register a worker and return its id, larger than any before it."""
        state = self._state
        id_ = state.next_worker
        state.next_worker += 1
        state.workers[id_] = WorkerInfo(id=id_, identity=identity, lease_until=now + lease)
        return id_

    async def workers(self) -> tuple[WorkerInfo, ...]:
        """Return the registered workers in order of id."""
        return tuple(self._state.workers.values())

    async def renew(self, worker: int, *, now: datetime, lease: timedelta) -> bool:
        """Extend the lease to `now + lease`; False when it was taken back."""
        workers = self._state.workers
        if worker not in workers:
            return False
        workers[worker] = replace(workers[worker], lease_until=now + lease)
        return True

    async def take_back(
        self, *, now: datetime, dead: Sequence[int] = (), hold_interrupted: bool = False
    ) -> tuple[int, ...]:
        """Unregister workers whose lease has run out and those in `dead`; return their ids."""
        state = self._state
        gone = [w.id for w in state.workers.values() if w.lease_until <= now or w.id in dead]
        state.end_workers(gone, now=now, hold_interrupted=hold_interrupted)
        return tuple(gone)

    async def unregister_worker(self, worker: int, *, now: datetime, hold_interrupted: bool = False) -> None:
        """End a worker; what it still owns is treated as `take_back` does."""
        state = self._state
        gone = [worker] if worker in state.workers else []
        state.end_workers(gone, now=now, hold_interrupted=hold_interrupted)

    async def claim(self, worker: int, request: ClaimRequest) -> ClaimResult:
        """Claim due messages: destinations in order of their turns, a few messages of each."""
        return self._state.claim(worker, request)

    async def settle(self, worker: int, settlements: Sequence[Settlement], *, now: datetime) -> frozenset[int]:
        """Settle claimed messages; return the ids this worker no longer owned (left untouched)."""
        state = self._state
        lost: set[int] = set()
        for settlement in settlements:
            claimed = settlement.message
            stored = state.messages.get(claimed.id)
            if state.owner.get(claimed.id) == worker and stored is not None and _claim(stored) == _claim(claimed):
                self._settle_one(settlement, stored, now)
            else:
                lost.add(claimed.id)
        return frozenset(lost)

    def _settle_one(self, settlement: Settlement, stored: Message, now: datetime) -> None:
        # `stored` may have been held, moved or given another transport since it was claimed: that stays.
        state = self._state
        match settlement:
            case Retry(result=result):
                held = stored.hold or settlement.hold
                results = (*stored.results, result)
                state.put_back(replace(stored, next_attempt=settlement.next_attempt, hold=held, results=results))
                self._notify(settlement.notification)
                if settlement.delayed:
                    state.log(EventType.DELAYED, stored, result, now, hook=settlement.hook)
            case Retire(result=result):
                event, keep_until = settlement.event, settlement.keep_until
                state.retire(
                    stored,
                    result,
                    event,
                    now=now,
                    keep_until=keep_until,
                    forget_at=settlement.forget_at,
                    policy=settlement.policy,
                    hook=settlement.hook,
                )
                self._notify(settlement.notification)
            case GiveBack():
                before = state.before[stored.id]
                state.put_back(replace(stored, attempts=before.attempts, last_attempt=before.last_attempt))
            case Quarantine(result=result):
                results = (*stored.results, result)
                state.put_back(replace(stored, hold=True, quarantine=result.text, results=results))
                state.log(EventType.QUARANTINED, stored, result, now)
            case _:
                assert_never(settlement)

    async def take_connection(self, destination: str, rate: Rate, *, now: datetime) -> datetime | None:
        """Take one connection from a destination's bucket; None when there was one, else when to ask again."""
        return self._state.take_connection(destination, rate, now)

    @property
    def policies(self) -> MemoryPolicyCache:
        """The policies of MTA-STS."""
        return self._policies

    async def watch(self, wake: Callable[[], None]) -> None:  # noqa: ARG002 - the protocol's; there are no others
        """Wait to be cancelled."""
        await asyncio.Event().wait()

    async def next_due(self) -> datetime | None:
        """Return the earliest turn of any destination; None when nothing waits."""
        return self._state.earliest_turn(self._state.destinations)

    # look

    async def get(self, id_: int) -> Message | None:
        """Return a queued message."""
        return self._state.messages.get(id_)

    async def get_retired(self, id_: int) -> Retired | None:
        """Return a message of the history."""
        return None if id_ in self._state.hidden else self._state.retired.get(id_)

    async def list_messages(
        self, where: MessageFilter, *, sort: Sort, descending: bool, limit: int, after: Cursor | None
    ) -> Page[Message]:
        """Return one page of queued messages."""
        keys: dict[Sort, Callable[[Message], datetime]] = {
            Sort.QUEUED: lambda m: m.queued,
            Sort.NEXT_ATTEMPT: lambda m: m.next_attempt,
            Sort.LAST_ACTIVITY: lambda m: m.last_attempt or m.queued,
        }
        return page(self._matching(where), keys, sort=sort, descending=descending, limit=limit, after=after)

    async def count_messages(self, where: MessageFilter) -> int:
        """Count queued messages."""
        return len(self._matching(where))

    async def list_retired(
        self, where: HistoryFilter, *, sort: Sort, descending: bool, limit: int, after: Cursor | None
    ) -> Page[Retired]:
        """Return one page of the history."""
        keys: dict[Sort, Callable[[Retired], datetime]] = {
            Sort.QUEUED: lambda r: r.queued,
            Sort.LAST_ACTIVITY: lambda r: r.finished,
        }
        return page(self._history(where), keys, sort=sort, descending=descending, limit=limit, after=after)

    async def count_retired(self, where: HistoryFilter) -> int:
        """Count messages of the history."""
        return len(self._history(where))

    async def events(self, *, after: int, limit: int) -> tuple[Event, ...]:
        """Return events with an id over `after`, in order."""
        return tuple([event for event in self._state.events if event.id > after][:limit])

    async def last_event(self) -> int:
        """Return the id of the last event in the log; 0 when it is empty."""
        return max((event.id for event in self._state.events), default=0)

    @property
    def hooks(self) -> MemoryHooks:
        """The webhooks."""
        state = self._state
        return MemoryHooks(state.hooks, lambda: state.workers, lambda: state.events, self._log_disabled)

    def _log_disabled(self, disabled: HookDisable, now: datetime) -> None:
        self._state.events.append(disabled_event(self._state.next_event, disabled, now))
        self._state.next_event += 1

    # suppressions

    async def suppression(self, account: str, base_address: str) -> Suppression | None:
        """Return what an account has on a base address."""
        return self._state.suppressions.get((account, base_address), (0, None))[1]

    async def list_suppressions(
        self, account: str | None, *, after: int, limit: int
    ) -> tuple[tuple[int, Suppression], ...]:
        """Return suppressions with their numbers, in order."""
        items = sorted(self._state.suppressions.values(), key=lambda item: item[0])
        return tuple([i for i in items if i[0] > after and account in (None, i[1].account)][:limit])

    async def put_suppressions(self, suppressions: Sequence[Suppression], *, now: datetime) -> tuple[bool, ...]:
        """Add suppressions; say which are new."""
        return tuple([self._state.put_suppression(made, now) for made in suppressions])

    async def remove_suppression(self, account: str, base_address: str) -> bool:
        """Remove a suppression; False when there was none."""
        return self._state.suppressions.pop((account, base_address), None) is not None

    async def match_feedback(self, *, fromids: Sequence[str] = (), envid: str = "", message_id: str = "") -> Matches:
        """Return the messages that feedback may be about."""
        return _memory_feedback.match(self._state, fromids=fromids, envid=envid, message_id=message_id)

    async def record_feedback(
        self, report: ReceivedFeedback, *, account: str | None, policy_for: PolicyFor, plan_for: PlanFor, now: datetime
    ) -> RecordedFeedback:
        """Add what a report says to the messages it is about."""
        return _memory_feedback.record(
            self._state, report, account=account, policy_for=policy_for, plan_for=plan_for, now=now
        )

    async def past(self, account: str, base_address: str, *, limit: int) -> tuple[Past, ...]:
        """Return how messages to a base address ended, the latest first."""
        return tuple(self._state.past(account, base_address)[:limit]) if base_address else ()

    async def sent(self, account: str, *, now: datetime) -> Sent:
        """Return what an account has sent in a day."""
        return self._state.sent_in_a_day(account, (now - EPOCH) // MICROSECOND)

    async def first_time_recipients(self, account: str, addresses: Sequence[str], *, now: datetime) -> int:
        """Return how many of some addresses an account has not sent to."""
        return len(self._state.first_time(account, addresses, (now - EPOCH) // MICROSECOND))

    # operate

    async def set_hold(self, where: MessageFilter, *, hold: bool) -> int:
        """Hold or release; releasing also clears a quarantine."""
        if hold:
            return len(self._change(where, lambda m: replace(m, hold=True), unless=lambda m: m.hold))
        released = self._change(where, lambda m: replace(m, hold=False, quarantine=""), unless=lambda m: not m.hold)
        return self._wake(released)

    async def set_next_attempt(self, where: MessageFilter, at: datetime) -> int:
        """Set the next attempt."""
        return self._wake(self._change(where, lambda m: replace(m, next_attempt=at)))

    async def add_next_attempt(self, where: MessageFilter, delay: timedelta) -> int:
        """Move each message's next attempt by `delay`."""
        return self._wake(self._change(where, lambda m: replace(m, next_attempt=m.next_attempt + delay)))

    async def set_transport(self, where: MessageFilter, transport: str | None) -> int:
        """Set or clear the transport."""
        return len(self._change(where, lambda m: replace(m, transport=transport)))

    async def set_require_tls(self, where: MessageFilter, require_tls: RequireTLS) -> int:
        """Set what the messages ask of TLS."""
        return len(self._change(where, lambda m: replace(m, require_tls=require_tls)))

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
        """Drop (event canceled) or fail (event failed) messages: into the history with a `CANCELED` result."""
        matching = self._matching(where)
        result = AttemptResult(attempt=0, kind=ResultKind.CANCELED, started=now, text=text)
        for message in matching:
            retention = keep.get(message.account, keep.get("", timedelta(0)))
            hook = plan_for(message.account, event)
            self._state.retire(
                message,
                result,
                event,
                now=now,
                keep_until=now + retention,
                forget_at=now + keep_feedback,
                hook=hook,
            )
            self._notify(notifications.get(message.id))
        return len(matching)

    async def hold_rules(self) -> tuple[HoldRule, ...]:
        """Return the hold rules in order of id."""
        return tuple(self._state.rules.values())

    async def add_hold_rule(self, rule: HoldRule) -> tuple[HoldRule, int]:
        """Add a rule unless there is an equal one, and hold what matches; return both rule and number held."""
        state = self._state
        known = [old for old in state.rules.values() if old == rule]
        if not known:
            known = [replace(rule, id=state.next_rule)]
            state.next_rule += 1
            state.rules[known[0].id] = known[0]
        held = 0
        for m in list(state.messages.values()):
            domains = {"sender_domain": m.sender_domain, "recipient_domain": m.recipient_domain}
            if not m.hold and hold.matches(rule, account=m.account, **domains):
                state.messages[m.id] = replace(m, hold=True)
                held += 1
        return known[0], held

    async def remove_hold_rule(self, rule_id: int) -> bool:
        """Remove a rule; releases nothing. False when there was none."""
        return self._state.rules.pop(rule_id, None) is not None

    async def purge(self, *, now: datetime, events_before: datetime) -> int:
        """Delete history past its `keep_until` and events before a time, a bounded number a call; return how many."""
        state = self._state
        over = sorted((r for r in state.retired.values() if r.keep_until <= now), key=lambda r: (r.keep_until, r.id))
        retired = [r for r in over if state.forget_at[r.id] <= now]
        hide = [r for r in over if state.forget_at[r.id] > now and r.id not in state.hidden][:PURGE_MAX]
        events = [event for event in state.events if event.at < events_before]
        keys = [place for place, kept in state.keys.items() if kept.idempotency.keep_until <= now]
        for row in retired[:PURGE_MAX]:
            del state.retired[row.id], state.forget_at[row.id]
            state.hidden.pop(row.id, None)
            state.fromids.pop(row.fromid, None)
        for row in hide:
            state.hidden[row.id] = state.forget_at[row.id]
        for event in events[:PURGE_MAX]:
            state.events.remove(event)
        for place in keys[:PURGE_MAX]:
            del state.keys[place]
        purged = len(hide) + len(retired[:PURGE_MAX]) + len(events[:PURGE_MAX]) + len(keys[:PURGE_MAX])
        purged += state.purge_sent((now - EPOCH) // MICROSECOND, PURGE_MAX)
        return purged + state.hooks.purge(now, PURGE_MAX)

    # inside

    def _history(self, where: HistoryFilter) -> list[Retired]:
        shown = [r for r in self._state.retired.values() if r.id not in self._state.hidden]
        return [retired for retired in shown if where.matches(retired)]

    def _notify(self, notification: NewSubmission | None) -> None:
        if notification is not None:
            self._state.insert(notification)

    def _matching(self, where: MessageFilter) -> list[Message]:
        return [message for message in self._state.messages.values() if where.matches(message)]

    def _change(
        self,
        where: MessageFilter,
        change: Callable[[Message], Message],
        *,
        unless: Callable[[Message], bool] = lambda _: False,
    ) -> list[Message]:
        changed = [change(message) for message in self._matching(where) if not unless(message)]
        self._state.messages |= {message.id: message for message in changed}
        return changed

    def _wake(self, changed: Sequence[Message]) -> int:
        for message in changed:
            self._state.lower_turn(message)
        return len(changed)


def _claim(message: Message) -> tuple[int, datetime | None]:
    """Return what a claim is known by, besides its worker: no other one by the same worker is known by that."""
    return message.attempts, message.last_attempt
