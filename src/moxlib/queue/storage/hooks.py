"""The `HookStorage` protocol: what the queue asks of the place where its webhooks wait.

Webhooks are inserted by whatever causes their event, in its transaction. As with messages, a worker claims what is due,
which journals the attempt, calls, and settles; its id is the fencing token. An endpoint is one worker's at a time: who
claims from it has it until it gives it back, so that the calls to it can be counted and its connections used.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Protocol

from moxlib.queue.hooks.records import Hook, HookEndpoint, HookKey, NewHook, PlanFor, Replay, RetiredHook
from moxlib.queue.hooks.selection import HookFilter, HookHistoryFilter
from moxlib.queue.hooks.settlement import HookSettlement
from moxlib.queue.selection import Cursor, Page, Sort

__all__ = ["HookClaim", "HookClaimRequest", "HookStorage", "Replayed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HookClaimRequest:
    """What a worker wants next; as `ClaimRequest`, with endpoints for destinations."""

    now: datetime
    limit: int
    """Webhooks at most, over all endpoints."""
    max_bytes: int
    """Of their payloads; of more, one comes alone, if nothing else does."""
    wait: Callable[[str, int], timedelta]
    """Given an account and an attempt, how long until the next one, should nobody say how this one ended. Pure."""
    default_room: int = 20
    room: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    release: Sequence[str] = ()
    """Endpoints that are given back first."""
    held: frozenset[HookKey] | None = None
    """After a claim that seemed to fail: what the worker knows it has. If it owns more, that is given back first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HookClaim:
    """Claimed webhooks, each with its attempt journalled, in due order per endpoint."""

    hooks: tuple[Hook, ...]
    next_turn: datetime | None
    """When to look again at the latest, as far as is known; None when nothing waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One step of a replay."""

    count: int
    """Webhooks that wait again, or now."""
    after: int | None
    """Where the next step begins; None after the last."""


class HookStorage(Protocol):
    """One queue's webhooks. As with `Storage`, every method is one transaction."""

    async def insert(self, hooks: Sequence[NewHook]) -> None:
        """Add webhooks of no event in the log, such as those of messages that came in."""
        ...

    async def claim(self, worker: int, request: HookClaimRequest) -> HookClaim:
        """Claim due webhooks, at a cost that stays flat; none that waits for an earlier one of its message.

        Journals each attempt: `attempts` one more, `last_attempt` = now, `next_attempt` by `request.wait`, owner =
        worker. Endpoints that are disabled or slowed, or another worker's, are not looked at. A worker that is not
        registered claims nothing.
        """
        ...

    async def settle(self, worker: int, settlements: Sequence[HookSettlement], *, now: datetime) -> frozenset[int]:
        """Settle claimed webhooks; return the ids this worker no longer owned (left untouched).

        Disabling an endpoint is logged as an event, once.
        """
        ...

    async def next_due(self) -> datetime | None:
        """Return when the earliest webhook can be claimed; None when none can."""
        ...

    # look

    async def get(self, id_: int) -> Hook | None:
        """Return a webhook that waits."""
        ...

    async def get_retired(self, id_: int) -> RetiredHook | None:
        """Return a webhook of the history."""
        ...

    async def list_waiting(
        self, where: HookFilter, *, sort: Sort, descending: bool, limit: int, after: Cursor | None
    ) -> Page[Hook]:
        """Return one page of webhooks that wait."""
        ...

    async def count_waiting(self, where: HookFilter) -> int:
        """Count webhooks that wait."""
        ...

    async def list_retired(
        self, where: HookHistoryFilter, *, sort: Sort, descending: bool, limit: int, after: Cursor | None
    ) -> Page[RetiredHook]:
        """Return one page of the history."""
        ...

    async def count_retired(self, where: HookHistoryFilter) -> int:
        """Count webhooks of the history."""
        ...

    async def endpoints(self) -> tuple[HookEndpoint, ...]:
        """Return the endpoints there are, in order of their URLs."""
        ...

    # operate

    async def cancel(self, where: HookFilter, *, text: str, now: datetime, keep: Callable[[str], timedelta]) -> int:
        """Cancel webhooks: into the history, with a result (attempt 0); `keep` gives an account's retention."""
        ...

    async def set_next_attempt(self, where: HookFilter, at: datetime) -> int:
        """Set the next attempt; of a webhook in flight, it has no effect beyond the attempt under way."""
        ...

    async def add_next_attempt(self, where: HookFilter, delay: timedelta) -> int:
        """Move each next attempt."""
        ...

    async def replay_history(self, replay: Replay, *, after: int, up_to: int, limit: int, now: datetime) -> Replayed:
        """Take webhooks back from the history, with their ids from over `after` to `up_to`: they are due now."""
        ...

    async def replay_events(self, replay: Replay, *, plan_for: PlanFor, after: int, limit: int) -> Replayed:
        """Make webhooks of events with ids over `after` that have none, neither waiting nor in the history."""
        ...

    async def last_retired(self) -> int:
        """Return the largest id in the history; 0 when it is empty."""
        ...

    async def enable(self, url: str) -> bool:
        """Enable an endpoint again, and let it be slow no more; False when it was neither disabled nor slow."""
        ...
