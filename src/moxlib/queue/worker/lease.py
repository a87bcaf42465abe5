"""A worker's lease: its registration, under whose id it claims, and which others may take back once it runs out."""

import asyncio
import logging
from collections.abc import Callable

from moxlib._clock import Clock
from moxlib.errors import StorageError
from moxlib.queue.config import QueueConfig
from moxlib.queue.storage.base import Storage
from moxlib.queue.worker.identity import is_known_dead, own_identity
from moxlib.queue.worker.telling import Telling

__all__ = ["Lease"]

log: logging.Logger = logging.getLogger("moxlib.queue")


class Lease:
    """Keeps one worker registered, and takes back what dead ones left.

    Args:
        storage: where it is registered.
        config: how long a lease is, and what becomes of interrupted attempts.
        clock: what the time is taken from.
        telling: hears of trouble.
        lost: called when the lease was lost, before there is a new one: nothing that was claimed is ours any more.
        taken: called when something is due that dead workers had claimed, or that this one had.

    Attributes:
        id: under which the worker is registered now; 0 before it is.
    """

    def __init__(
        self,
        storage: Storage,
        config: QueueConfig,
        clock: Clock,
        telling: Telling,
        *,
        lost: Callable[[], None],
        taken: Callable[[], None],
    ) -> None:
        self.id: int = 0
        self._storage = storage
        self._length = config.worker.lease
        self._hold = config.on_unknown == "hold"
        self._clock = clock
        self._telling = telling
        self._lost = lost
        self._taken = taken
        self._ends = 0.0
        self._lock = asyncio.Lock()

    async def register(self) -> None:
        """Register under a new id."""
        began = self._clock.monotonic()
        registering = asyncio.ensure_future(
            self._storage.register_worker(own_identity(), now=self._clock.now(), lease=self._length)
        )
        try:
            self.id = await asyncio.shield(registering)
        except asyncio.CancelledError:
            await asyncio.wait([registering])  # it happens all the same, and is to be undone
            if not registering.cancelled() and registering.exception() is None:
                self.id = registering.result()
            raise
        self._ends = began + self._length.total_seconds()

    async def unregister(self) -> None:
        """End the registration, if there is one; what is still claimed under it is due again."""
        if not self.id:
            return
        try:
            await self._storage.unregister_worker(self.id, now=self._clock.now(), hold_interrupted=self._hold)
        except StorageError as error:  # then the lease runs out, with the same effect
            self._telling.trouble("unregistering the worker", error)

    @property
    def lasts(self) -> bool:
        """Whether it has not run out; else `holds` finds out."""
        return self._clock.monotonic() < self._ends

    async def holds(self) -> bool:
        """Say whether what was claimed is still ours; a worker that was stopped for long must ask."""
        if self.lasts:
            return True
        worker = self.id
        async with self._lock:
            if not self.lasts:
                await self._telling.retrying("renewing the lease", self._renew)
        return self.id == worker

    async def is_still(self, worker: int) -> bool:
        """Say whether what was claimed under that id is still ours."""
        return await self.holds() and self.id == worker

    async def keep(self) -> None:
        """Renew it every third of its length, and take back what dead workers left; until cancelled."""
        while True:
            await self._clock.sleep(self._length.total_seconds() / 3)
            async with self._lock:
                await self._telling.retrying("renewing the lease", self._renew_until_it_lasts)
            await self._telling.retrying("taking back from dead workers", self.take_back)

    async def _renew_until_it_lasts(self) -> None:
        """Renew it; once more where that took longer than a lease, which would have others take back what is ours."""
        await self._renew()
        while not self.lasts:
            await self._renew()

    async def _renew(self) -> None:
        began = self._clock.monotonic()
        if await self._storage.renew(self.id, now=self._clock.now(), lease=self._length):
            self._ends = began + self._length.total_seconds()
            return
        log.warning("worker %d lost its lease; it starts anew", self.id)
        self._lost()
        await self.register()
        self._taken()

    async def take_back(self) -> None:
        """Take back what workers had claimed whose lease ran out, or that are known to be dead.

        Never from itself, which is alive: where its own lease ran out (the clock was set), nothing is taken back now.
        """
        now = self._clock.now()
        workers = await self._storage.workers()
        if any(worker.id == self.id and worker.lease_until <= now for worker in workers):
            return
        dead = [worker.id for worker in workers if worker.id != self.id and is_known_dead(worker.identity)]
        if not dead and all(worker.lease_until > now for worker in workers):
            return
        taken = await self._storage.take_back(now=now, dead=dead, hold_interrupted=self._hold)
        if taken:
            log.warning("took back what workers %s had claimed", ", ".join(map(str, taken)))
            self._taken()
