"""Permits to open connections, where a destination's `connections_per_minute` limits them.

The count is kept by the storage, for all workers. Here deliveries of one destination wait in one line: the first asks,
and is told when there will be a permit; until then nobody asks again. So the storage is asked about once for each
connection, however many deliveries wait.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from weakref import WeakValueDictionary

from moxlib._clock import Clock
from moxlib.errors import MoxlibError, StorageError
from moxlib.queue.limits import Rate
from moxlib.queue.storage.base import Storage
from moxlib.queue.storage.claims import DestinationLimits
from moxlib.queue.transport.base import Permit
from moxlib.queue.worker.deadlines import SAME, Deadlines

__all__ = ["NoPermit", "Permits"]


class NoPermit(MoxlibError):
    """No connection may be opened for this delivery now; nothing was sent, and it is to be given back.

    Its cause is a `StorageError` if the storage could not be asked.
    """


class Permits:
    """Makes the permits of one worker's deliveries.

    Args:
        storage: where connections are counted.
        limits: how many there may be.
        clock: what is waited by.
        deadlines: the attempts'; waiting does not count.
        patience: seconds that a delivery waits before it is given back, so that what an operator did to its messages
            meanwhile, a hold for example, has its effect.
        stopping: set when nobody is to wait any longer.
    """

    def __init__(
        self,
        storage: Storage,
        limits: DestinationLimits,
        clock: Clock,
        deadlines: Deadlines,
        *,
        patience: float,
        stopping: asyncio.Event,
    ) -> None:
        self.storage = storage
        self.clock = clock
        self.deadlines = deadlines
        self.patience = patience
        self.stopping = stopping
        self._limits = limits
        self._lines: WeakValueDictionary[str, _Line] = WeakValueDictionary()  # each kept by the attempts under way

    def of(self, destination: str, *, still_owned: Callable[[], Awaitable[bool]]) -> Permit | None:
        """Return the permit of an attempt that the current task is about to make; None where there is no limit.

        Args:
            destination: where it goes.
            still_owned: says whether its messages are still this worker's; asked after the wait.
        """
        rate = self._limits.connection_rate(destination)
        if rate is None:
            return None
        line = self._lines.get(destination)
        if line is None:
            line = self._lines[destination] = _Line(destination, rate)
        return _Permit(self, line, still_owned)


class _Line:
    """Those who wait for one destination's permits."""

    def __init__(self, destination: str, rate: Rate) -> None:
        self.destination = destination
        self.rate = rate
        self.first = asyncio.Lock()
        """Whose turn it is to ask."""
        self.not_before = 0.0
        """There is no permit until then, by the monotonic clock."""


class _Permit:
    """One attempt's."""

    def __init__(self, permits: Permits, line: _Line, still_owned: Callable[[], Awaitable[bool]]) -> None:
        self._permits = permits
        self._clock = permits.clock
        self._line = line
        self._still_owned = still_owned
        self._task = asyncio.current_task()

    async def granted(self) -> None:
        """Return when a connection may be opened.

        Raises:
            NoPermit: the worker stops, or has lost the messages; it took too long; the storage could not be asked.
        """
        assert self._task is not None
        with self._permits.deadlines.paused(self._task):
            await self._wait_in_line(self._clock.monotonic() + self._permits.patience)
            if not await self._still_owned():
                raise NoPermit("the messages are another worker's by now")

    async def _wait_in_line(self, deadline: float) -> None:
        line, clock = self._line, self._clock
        try:
            async with clock.timeout(deadline - clock.monotonic()):
                await line.first.acquire()
        except TimeoutError:
            raise NoPermit("it was not this delivery's turn for too long") from None
        try:
            while True:
                await self._sleep_until(min(line.not_before, deadline))
                if deadline - clock.monotonic() < SAME:
                    raise NoPermit("there was no permit for too long")
                ask_at = await self._ask()
                if ask_at is None:
                    return
                line.not_before = clock.monotonic() + (ask_at - clock.now()).total_seconds()
        finally:
            line.first.release()

    async def _sleep_until(self, time: float) -> None:
        seconds = time - self._clock.monotonic()
        if seconds <= 0:
            return
        try:
            async with self._clock.timeout(seconds):
                await self._permits.stopping.wait()
        except TimeoutError:
            return
        raise NoPermit("the worker was told to stop")

    async def _ask(self) -> datetime | None:
        line, now = self._line, self._clock.now()
        try:
            return await self._permits.storage.take_connection(line.destination, line.rate, now=now)
        except StorageError as error:
            raise NoPermit("the storage could not be asked") from error
