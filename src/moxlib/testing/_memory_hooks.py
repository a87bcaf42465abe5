"""`MemoryHooks`: the `HookStorage` protocol on plain dictionaries, and the rules by which webhooks change."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import assert_never

from moxlib.queue.errors import InvalidFilter
from moxlib.queue.hooks.payload import hook_of_event
from moxlib.queue.hooks.records import (
    Hook,
    HookEndpoint,
    HookOutcome,
    HookPlan,
    HookResult,
    NewHook,
    PlanFor,
    Replay,
    RetiredHook,
)
from moxlib.queue.hooks.selection import HookFilter, HookHistoryFilter
from moxlib.queue.hooks.settlement import (
    HookDisable,
    HookGiveBack,
    HookMove,
    HookRetire,
    HookRetry,
    HookSettlement,
)
from moxlib.queue.selection import Cursor, Page, Sort
from moxlib.queue.storage.hooks import HookClaim, HookClaimRequest, Replayed
from moxlib.queue.types import Event, EventType
from moxlib.testing._memory_page import page

__all__ = ["HookState", "MemoryHooks", "disabled_event"]


@dataclass(slots=True)
class Waiting:
    """A webhook that waits, with the worker that has it, and when it last had an attempt before that."""

    hook: Hook
    owner: int | None = None
    before: datetime | None = None


@dataclass(slots=True)
class HookState:
    """All webhooks there are."""

    waiting: dict[int, Waiting] = field(default_factory=dict)
    retired: dict[int, RetiredHook] = field(default_factory=dict)
    endpoints: dict[str, HookEndpoint] = field(default_factory=dict)
    owners: dict[str, int] = field(default_factory=dict)
    """The worker that makes the calls to an endpoint."""
    next_id: int = 1

    def insert_event(self, plan: HookPlan | None, event: Event) -> None:
        """Add the webhook of an event, if it is to have one."""
        if plan is not None:
            self.insert(hook_of_event(plan, event))

    def insert(self, new: NewHook) -> None:
        """Add a webhook; not that of an event, where the endpoint is disabled."""
        endpoint = self.endpoints.setdefault(new.plan.url, HookEndpoint(url=new.plan.url))
        if endpoint.disabled_since is not None and new.event_id is not None:
            return
        if new.plan.keep_latest and new.message is not None:
            for there in [w for w in self._of_message(new.message) if w.owner is None]:
                self.retire(there.hook, HookOutcome.SUPERSEDED, new.queued, new.queued + new.plan.retention)
        hook = Hook(
            id=self.next_id,
            account=new.account,
            url=new.plan.url,
            event_id=new.event_id,
            message=new.message,
            event=new.event,
            payload=new.payload,
            queued=new.queued,
            attempts=0,
            next_attempt=new.queued,
            blocked=new.message is not None and bool(self._of_message(new.message)),
        )
        self.next_id += 1
        self.waiting[hook.id] = Waiting(hook)

    def _of_message(self, message: int) -> list[Waiting]:
        return [w for _, w in sorted(self.waiting.items()) if w.hook.message == message]

    def retire(self, hook: Hook, outcome: HookOutcome, now: datetime, keep_until: datetime) -> None:
        """Take a webhook out, into the history if that keeps it; the next of its message may be called."""
        del self.waiting[hook.id]
        if hook.message is not None and (rest := self._of_message(hook.message)):
            rest[0].hook = replace(rest[0].hook, blocked=False)
        if keep_until > now:
            self.retired[hook.id] = RetiredHook(
                id=hook.id,
                account=hook.account,
                url=hook.url,
                event_id=hook.event_id,
                message=hook.message,
                event=hook.event,
                payload=hook.payload,
                queued=hook.queued,
                finished=now,
                keep_until=keep_until,
                outcome=outcome,
                attempts=hook.attempts,
                last_attempt=hook.last_attempt,
                results=hook.results,
            )

    def bring_back(self, retired: RetiredHook, now: datetime) -> None:
        """Take a webhook back from the history."""
        del self.retired[retired.id]
        hook = Hook(
            id=retired.id,
            account=retired.account,
            url=retired.url,
            event_id=retired.event_id,
            message=retired.message,
            event=retired.event,
            payload=retired.payload,
            queued=retired.queued,
            attempts=0,
            next_attempt=now,
            last_attempt=retired.last_attempt,
            blocked=retired.message is not None and bool(self._of_message(retired.message)),
            results=retired.results,
        )
        self.waiting[hook.id] = Waiting(hook)

    def put_back(self, there: Waiting, hook: Hook) -> None:
        """Let a claimed webhook wait again, as given."""
        there.hook, there.owner = replace(hook, in_flight=False), None

    def give_back(self, there: Waiting, now: datetime) -> None:
        """Let a claimed webhook wait again as if it had not been claimed."""
        hook = there.hook
        self.put_back(there, replace(hook, attempts=hook.attempts - 1, last_attempt=there.before, next_attempt=now))

    def turn(self, url: str) -> datetime | None:
        """Return when the first webhook of an endpoint can be called."""
        endpoint = self.endpoints[url]
        due = [w.hook.next_attempt for w in self._claimable(url)]
        if not due or endpoint.disabled_since is not None:
            return None
        return max(min(due), endpoint.slowed_until or min(due))

    def _claimable(self, url: str) -> list[Waiting]:
        there = [w for w in self.waiting.values() if w.hook.url == url and w.owner is None and not w.hook.blocked]
        return sorted(there, key=lambda w: (w.hook.next_attempt, w.hook.id))

    def turns(self, worker: int | None = None) -> list[tuple[datetime, str]]:
        """Return the turns of endpoints, in order: all, or those that a worker may serve."""
        mine = [url for url in self.endpoints if worker is None or self.owners.get(url, worker) == worker]
        return sorted((turn, url) for url in mine if (turn := self.turn(url)) is not None)

    def claim(self, worker: int, request: HookClaimRequest) -> HookClaim:
        """Claim for a worker that is registered."""
        if request.held is not None:
            owned = [w for _, w in sorted(self.waiting.items()) if w.owner == worker]
            for there in [w for w in owned if w.hook.claim not in request.held]:
                self.give_back(there, request.now)
        for url in request.release:
            if self.owners.get(url) == worker:
                del self.owners[url]
        room = {url: request.room.get(url, request.default_room) for url in self.endpoints}
        taken: list[Hook] = []
        left = request.max_bytes
        for turn, url in self.turns(worker):
            due = [w for w in self._claimable(url) if w.hook.next_attempt <= request.now]
            for there in due[: room[url]] if turn <= request.now else ():
                size = len(there.hook.payload)
                if len(taken) >= request.limit or left <= 0 or (taken and size > left):
                    break
                left -= size
                taken.append(self._journal(there, worker, request))
        turns = [turn for turn, url in self.turns(worker) if room[url] > 0]
        return HookClaim(hooks=tuple(taken), next_turn=min(turns, default=None))

    def _journal(self, there: Waiting, worker: int, request: HookClaimRequest) -> Hook:
        hook = there.hook
        attempt = hook.attempts + 1
        due = request.now + request.wait(hook.account, attempt)
        there.before, there.owner = hook.last_attempt, worker
        there.hook = replace(hook, attempts=attempt, last_attempt=request.now, next_attempt=due, in_flight=True)
        self.owners[hook.url] = worker
        return there.hook

    def settle(self, settlement: HookSettlement, now: datetime) -> HookDisable | None:
        """Settle one; returned if it has disabled its endpoint just now."""
        there = self.waiting[settlement.hook.id]
        hook, url = there.hook, settlement.hook.url
        endpoint = self.endpoints[url]
        match settlement:
            case HookRetire(result=result, outcome=outcome, keep_until=keep_until):
                self.retire(replace(hook, results=(*hook.results, result)), outcome, now, keep_until)
            case HookRetry(result=result):
                retried = replace(hook, next_attempt=settlement.next_attempt, results=(*hook.results, result))
                self.put_back(there, retried)
                if settlement.slow_until is not None:
                    until = max(settlement.slow_until, endpoint.slowed_until or settlement.slow_until)
                    self.endpoints[url] = replace(endpoint, slowed_until=until)
            case HookGiveBack():
                self.give_back(there, now)
            case HookMove(url=new):
                self.endpoints.setdefault(new, HookEndpoint(url=new))
                self.give_back(there, now)
                there.hook = replace(there.hook, url=new)
            case HookDisable(result=result, why=why):
                self.put_back(there, replace(hook, next_attempt=now, results=(*hook.results, result)))
                if endpoint.disabled_since is None:
                    self.endpoints[url] = replace(endpoint, disabled_since=now, disabled_why=why)
                    return settlement
            case _:
                assert_never(settlement)
        return None

    def end_workers(self, ids: Iterable[int], now: datetime) -> None:
        """End workers: what they had claimed is due, and their endpoints are free."""
        gone = set(ids)
        for there in [w for _, w in sorted(self.waiting.items()) if w.owner in gone]:
            hook = there.hook
            assert hook.last_attempt is not None, "a claim journals the attempt"
            result = HookResult.interruption(hook.attempts, hook.last_attempt)
            self.put_back(there, replace(hook, next_attempt=now, results=(*hook.results, result)))
        self.owners = {url: worker for url, worker in self.owners.items() if worker not in gone}

    def purge(self, now: datetime, limit: int) -> int:
        """Delete history past its time; return how many."""
        gone = sorted((r for r in self.retired.values() if r.keep_until <= now), key=lambda r: (r.keep_until, r.id))
        for retired in gone[:limit]:
            del self.retired[retired.id]
        return len(gone[:limit])


class MemoryHooks:
    """A queue's webhooks in memory.

    Args:
        state: where they are.
        workers: the ids of the workers that are registered.
        events: the event log.
        log: appends an event to it that disabled an endpoint.
    """

    def __init__(
        self,
        state: HookState,
        workers: Callable[[], Iterable[int]],
        events: Callable[[], Sequence[Event]],
        log: Callable[[HookDisable, datetime], None],
    ) -> None:
        self._state = state
        self._workers = workers
        self._events = events
        self._log = log

    async def insert(self, hooks: Sequence[NewHook]) -> None:
        """Add webhooks of no event in the log."""
        for new in hooks:
            self._state.insert(new)

    async def claim(self, worker: int, request: HookClaimRequest) -> HookClaim:
        """Claim due webhooks."""
        if worker not in self._workers():
            return HookClaim(hooks=(), next_turn=None)
        return self._state.claim(worker, request)

    async def settle(self, worker: int, settlements: Sequence[HookSettlement], *, now: datetime) -> frozenset[int]:
        """Settle claimed webhooks; return the ids this worker no longer owned."""
        lost: set[int] = set()
        for settlement in settlements:
            there = self._state.waiting.get(settlement.hook.id)
            if there is None or there.owner != worker or there.hook.claim != settlement.hook.claim:
                lost.add(settlement.hook.id)
            elif (disabled := self._state.settle(settlement, now)) is not None:
                self._log(disabled, now)
        return frozenset(lost)

    async def next_due(self) -> datetime | None:
        """Return when the earliest webhook can be claimed."""
        return min((turn for turn, _ in self._state.turns()), default=None)

    async def get(self, id_: int) -> Hook | None:
        """Return a webhook that waits."""
        there = self._state.waiting.get(id_)
        return None if there is None else there.hook

    async def get_retired(self, id_: int) -> RetiredHook | None:
        """Return a webhook of the history."""
        return self._state.retired.get(id_)

    async def list_waiting(
        self, where: HookFilter, *, sort: Sort, descending: bool, limit: int, after: Cursor | None
    ) -> Page[Hook]:
        """Return one page of webhooks that wait."""
        keys: dict[Sort, Callable[[Hook], datetime]] = {
            Sort.QUEUED: lambda h: h.queued,
            Sort.NEXT_ATTEMPT: lambda h: h.next_attempt,
            Sort.LAST_ACTIVITY: lambda h: h.last_attempt or h.queued,
        }
        return page(self._matching(where), keys, sort=sort, descending=descending, limit=limit, after=after)

    async def count_waiting(self, where: HookFilter) -> int:
        """Count webhooks that wait."""
        return len(self._matching(where))

    async def list_retired(
        self, where: HookHistoryFilter, *, sort: Sort, descending: bool, limit: int, after: Cursor | None
    ) -> Page[RetiredHook]:
        """Return one page of the history."""
        keys: dict[Sort, Callable[[RetiredHook], datetime]] = {
            Sort.QUEUED: lambda h: h.queued,
            Sort.LAST_ACTIVITY: lambda h: h.finished,
        }
        if sort not in keys:
            raise InvalidFilter("webhooks that are done have no next attempt to sort by")
        rows = [hook for hook in self._state.retired.values() if where.matches(hook)]
        return page(rows, keys, sort=sort, descending=descending, limit=limit, after=after)

    async def count_retired(self, where: HookHistoryFilter) -> int:
        """Count webhooks of the history."""
        return sum(where.matches(hook) for hook in self._state.retired.values())

    async def endpoints(self) -> tuple[HookEndpoint, ...]:
        """Return the endpoints in order of their URLs."""
        return tuple([endpoint for _, endpoint in sorted(self._state.endpoints.items())])

    async def cancel(self, where: HookFilter, *, text: str, now: datetime, keep: Callable[[str], timedelta]) -> int:
        """Cancel webhooks."""
        result = HookResult(attempt=0, started=now, error=text)
        matching = self._matching(where)
        for hook in matching:
            canceled = replace(hook, results=(*hook.results, result))
            self._state.retire(canceled, HookOutcome.CANCELED, now, now + keep(hook.account))
        return len(matching)

    async def set_next_attempt(self, where: HookFilter, at: datetime) -> int:
        """Set the next attempt."""
        return self._change(where, lambda hook: replace(hook, next_attempt=at))

    async def add_next_attempt(self, where: HookFilter, delay: timedelta) -> int:
        """Move each next attempt."""
        return self._change(where, lambda hook: replace(hook, next_attempt=hook.next_attempt + delay))

    async def replay_history(self, replay: Replay, *, after: int, up_to: int, limit: int, now: datetime) -> Replayed:
        """Take webhooks back from the history."""
        found = [
            hook
            for id_, hook in sorted(self._state.retired.items())
            if after < id_ <= up_to
            and replay.covers(event_id=hook.event_id, at=hook.queued, account=hook.account)
            and (replay.delivered or not hook.success)
        ][:limit]
        for hook in found:
            self._state.bring_back(hook, now)
        return Replayed(count=len(found), after=found[-1].id if len(found) == limit else None)

    async def replay_events(self, replay: Replay, *, plan_for: PlanFor, after: int, limit: int) -> Replayed:
        """Make webhooks of events that have none."""
        read = [event for event in self._events() if event.id > after][:limit]
        known = {w.hook.event_id for w in self._state.waiting.values()}
        known |= {hook.event_id for hook in self._state.retired.values()}
        count = 0
        for event in read:
            if event.id in known or not replay.covers(event_id=event.id, at=event.at, account=event.account):
                continue
            plan = plan_for(event.account, event.type)
            if plan is not None:
                self._state.insert_event(replace(plan, keep_latest=False), event)
                count += 1
        last = read[-1].id if len(read) == limit else None
        if replay.last_event is not None and last is not None and last >= replay.last_event:
            last = None
        return Replayed(count=count, after=last)

    async def last_retired(self) -> int:
        """Return the largest id in the history."""
        return max(self._state.retired, default=0)

    async def enable(self, url: str) -> bool:
        """Enable an endpoint again."""
        endpoint = self._state.endpoints.get(url)
        if endpoint is None or (endpoint.disabled_since is None and endpoint.slowed_until is None):
            return False
        self._state.endpoints[url] = HookEndpoint(url=url)
        return True

    def _matching(self, where: HookFilter) -> list[Hook]:
        return [there.hook for _, there in sorted(self._state.waiting.items()) if where.matches(there.hook)]

    def _change(self, where: HookFilter, change: Callable[[Hook], Hook]) -> int:
        matching = self._matching(where)
        for hook in matching:
            self._state.waiting[hook.id].hook = change(hook)
        return len(matching)


def disabled_event(id_: int, disabled: HookDisable, now: datetime) -> Event:
    """Return the event that an endpoint was disabled."""
    hook = disabled.hook
    return Event(
        id=id_,
        at=now,
        type=EventType.WEBHOOK_DISABLED,
        account=hook.account,
        message=hook.message or 0,
        recipient="",
        code=disabled.result.status,
        error=f"{hook.url}: {disabled.why}",
    )
