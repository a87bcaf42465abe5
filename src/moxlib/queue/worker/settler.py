"""Settling in batches: outcomes wait a moment for others, then share one commit.

While the disk refuses, none is given up; only a worker that ends does not wait for ever. What it could not settle is
then as if it had died: its lease runs out, and the attempts count as interrupted.
"""

import asyncio
import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from moxlib._clock import Clock
from moxlib.errors import StorageError
from moxlib.queue.errors import StorageUnavailable

__all__ = ["Settler"]

S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)

FULL = 500  # settlements that are committed without waiting for more
RETRY_SECONDS = (0.05, 0.2, 1.0, 5.0)  # between tries while the disk refuses; the last one repeats


class Settles(Protocol[S_contra]):
    """Where settlements are committed: messages' or webhooks' storage."""

    async def settle(self, worker: int, settlements: Sequence[S_contra], *, now: datetime) -> frozenset[int]:
        """Settle what was claimed; return the ids this worker no longer owned."""
        ...


class Settler(Generic[S]):
    """Takes settlements, commits them in batches, and tells how it went."""

    def __init__(
        self,
        storage: Settles[S],
        clock: Clock,
        gather: timedelta,
        *,
        settled: Callable[[Sequence[S], frozenset[int]], None],
        trouble: Callable[[str, Exception], None],
    ) -> None:
        self._storage = storage
        self._clock = clock
        self._gather = gather.total_seconds()
        self._settled = settled
        self._trouble = trouble
        self._waiting: dict[int, list[S]] = {}
        self._count = 0
        self._under_way = 0
        """Settlements that are being committed."""
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._closing = False
        self._deadline = math.inf
        self.expected = 0
        """How many are not settled yet; with none left to come, a batch does not wait."""

    def add(self, worker: int, settlements: Sequence[S]) -> None:
        """Take settlements of what was claimed under the id `worker`; they are committed soon."""
        self._waiting.setdefault(worker, []).extend(settlements)
        self._count += len(settlements)
        self._arrived.set()
        if self._is_full():
            self._full.set()

    def _is_full(self) -> bool:
        return self._count >= FULL or self.expected - self._under_way <= self._count

    def close(self, patience: timedelta) -> None:
        """Let `run` end once all is settled, or with its error if the disk refuses for so long from now."""
        self._closing = True
        self._deadline = self._clock.monotonic() + patience.total_seconds()
        self._arrived.set()
        self._full.set()

    async def run(self) -> None:
        """Commit batches until closed.

        Raises:
            StorageError: the last ones could not be committed in time.
        """
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            if not self._waiting and self._closing:
                return
            if self._gather and not self._full.is_set() and not self._is_full():
                await self._wait_for_more()
            self._full.clear()
            batches, self._waiting, self._count = self._waiting, {}, 0
            self._under_way = sum(len(batch) for batch in batches.values())
            for worker, batch in batches.items():
                await self._commit(worker, batch)
            if self._waiting or self._closing:
                self._arrived.set()

    async def _wait_for_more(self) -> None:
        # Real time on purpose: this paces commits and decides nothing, so an injected clock has no say in it.
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._gather, self._full.set)
        try:
            await self._full.wait()
        finally:
            timer.cancel()

    async def _commit(self, worker: int, batch: Sequence[S]) -> None:
        tries = 0
        in_doubt = False
        while True:
            try:
                lost = await self._storage.settle(worker, batch, now=self._clock.now())
            except StorageError as error:
                in_doubt = in_doubt or (isinstance(error, StorageUnavailable) and error.in_doubt)
                self._trouble("settling attempts", error)
                if self._clock.monotonic() >= self._deadline:
                    raise
                await self._clock.sleep(RETRY_SECONDS[min(tries, len(RETRY_SECONDS) - 1)])
                tries += 1
            else:
                self._under_way -= len(batch)
                self._settled(batch, frozenset() if in_doubt else lost)  # an earlier try may have settled those
                return
