"""`OperationHookStorage`: the `HookStorage` protocol by the shared operations."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol, TypeVar

from moxlib.queue.hooks.records import Hook, HookEndpoint, NewHook, PlanFor, Replay, RetiredHook
from moxlib.queue.hooks.selection import HookFilter, HookHistoryFilter
from moxlib.queue.hooks.settlement import HookSettlement
from moxlib.queue.selection import Cursor, Page, Sort
from moxlib.queue.storage.hooks import HookClaim, HookClaimRequest, Replayed
from moxlib.queue.storage.operations import hook_look, hook_operate, hooks
from moxlib.queue.storage.tx import Tx

__all__ = ["OperationHookStorage", "Run"]

T = TypeVar("T")


class Run(Protocol):
    """Runs an operation in a transaction of an engine's."""

    def __call__(self, operation: Callable[[Tx], T], /) -> Awaitable[T]:
        """Run `operation`."""
        ...


class OperationHookStorage:
    """A queue's webhooks, for any engine that runs operations."""

    def __init__(self, read: Run, write: Run) -> None:
        self._read = read
        self._write = write

    async def insert(self, hooks: Sequence[NewHook]) -> None:
        """Add webhooks of no event in the log."""
        await self._write(partial(hook_operate.insert, new=hooks))

    async def claim(self, worker: int, request: HookClaimRequest) -> HookClaim:
        """Claim due webhooks."""
        return await self._write(partial(hooks.claim, worker=worker, request=request))

    async def settle(self, worker: int, settlements: Sequence[HookSettlement], *, now: datetime) -> frozenset[int]:
        """Settle claimed webhooks; return the ids this worker no longer owned."""
        return await self._write(partial(hook_operate.settle, worker=worker, settlements=settlements, now=now))

    async def next_due(self) -> datetime | None:
        """Return when the earliest webhook can be claimed."""
        return await self._read(hooks.next_due)

    async def get(self, id_: int) -> Hook | None:
        """Return a webhook that waits."""
        return await self._read(partial(hook_look.get, id_=id_))

    async def get_retired(self, id_: int) -> RetiredHook | None:
        """Return a webhook of the history."""
        return await self._read(partial(hook_look.get_retired, id_=id_))

    async def list_waiting(
        self, where: HookFilter, *, sort: Sort, descending: bool, limit: int, after: Cursor | None
    ) -> Page[Hook]:
        """Return one page of webhooks that wait."""
        listing = partial(hook_look.list_waiting, where=where, sort=sort, descending=descending)
        return await self._read(partial(listing, limit=limit, after=after))

    async def count_waiting(self, where: HookFilter) -> int:
        """Count webhooks that wait."""
        return await self._read(partial(hook_look.count_waiting, where=where))

    async def list_retired(
        self, where: HookHistoryFilter, *, sort: Sort, descending: bool, limit: int, after: Cursor | None
    ) -> Page[RetiredHook]:
        """Return one page of the history."""
        listing = partial(hook_look.list_retired, where=where, sort=sort, descending=descending)
        return await self._read(partial(listing, limit=limit, after=after))

    async def count_retired(self, where: HookHistoryFilter) -> int:
        """Count webhooks of the history."""
        return await self._read(partial(hook_look.count_retired, where=where))

    async def endpoints(self) -> tuple[HookEndpoint, ...]:
        """Return the endpoints."""
        return await self._read(hook_look.endpoints)

    async def cancel(self, where: HookFilter, *, text: str, now: datetime, keep: Callable[[str], timedelta]) -> int:
        """Cancel webhooks."""
        return await self._write(partial(hook_operate.cancel, where=where, text=text, now=now, keep=keep))

    async def set_next_attempt(self, where: HookFilter, at: datetime) -> int:
        """Set the next attempt."""
        return await self._write(partial(hook_operate.set_next_attempt, where=where, at=at))

    async def add_next_attempt(self, where: HookFilter, delay: timedelta) -> int:
        """Move each next attempt."""
        return await self._write(partial(hook_operate.add_next_attempt, where=where, delay=delay))

    async def replay_history(self, replay: Replay, *, after: int, up_to: int, limit: int, now: datetime) -> Replayed:
        """Take webhooks back from the history."""
        replaying = partial(hook_operate.replay_history, replay=replay, after=after, up_to=up_to)
        return await self._write(partial(replaying, limit=limit, now=now))

    async def replay_events(self, replay: Replay, *, plan_for: PlanFor, after: int, limit: int) -> Replayed:
        """Make webhooks of events that have none."""
        replaying = partial(hook_operate.replay_events, replay=replay, plan_for=plan_for, after=after)
        return await self._write(partial(replaying, limit=limit))

    async def last_retired(self) -> int:
        """Return the largest id in the history."""
        return await self._read(hook_look.last_retired)

    async def enable(self, url: str) -> bool:
        """Enable an endpoint again."""
        return await self._write(partial(hook_operate.enable, url=url))
