"""Connections to one server, kept and shared.

A connection is reused while it is fresh: bounded by its age and by how long it was idle, as Postfix bounds it, not by a
count of messages. A delivery takes an idle connection; else it opens one while `max_connections` allows that; else it
joins another delivery on a connection to a server with PIPELINING, whose next transaction then begins in the same
write as the one before it ends; else it waits.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from moxlib._clock import Clock
from moxlib.errors import StateError
from moxlib.smtpclient import SMTPConnection

__all__ = ["ConnectionPool", "Pooled"]


@dataclass(slots=True, eq=False)
class Pooled:
    """A connection of the pool."""

    connection: SMTPConnection
    opened: float
    idle_since: float
    load: int = 1
    """Deliveries that have it now."""
    fresh: bool = True
    """Nothing was delivered on it yet: when it fails at once, it had not gone stale."""


class ConnectionPool:
    """Keeps connections while `running`; all of them belong to one event loop."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[SMTPConnection]],
        *,
        clock: Clock,
        max_connections: int,
        pipeline: int,
        max_idle: float,
        max_age: float,
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._max_connections = max_connections
        self._pipeline = pipeline
        self._max_idle = max_idle
        self._max_age = max_age
        self._running = False
        self._open: list[Pooled] = []
        self._idle: list[Pooled] = []
        """Those of `_open` that nobody has now, the one used last at the end."""
        self._opening = 0
        self._waiters: deque[asyncio.Future[Pooled | None]] = deque()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the pool; at the end of the block its connections say QUIT.

        Raises:
            StateError: it is running already.
        """
        if self._running:
            raise StateError("this transport is running already: each queue needs its own")
        self._running = True
        reaper = asyncio.create_task(self._reap(), name="moxlib connection reaper")
        try:
            yield
        finally:
            reaper.cancel()
            await asyncio.wait([reaper])
            self._running = False
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)
            open_, self._open, self._idle = self._open, [], []
            await asyncio.gather(*(pooled.connection.quit() for pooled in open_))

    async def acquire(self, *, fresh: bool = False) -> Pooled:
        """Take a connection; `release` or `discard` ends that.

        Args:
            fresh: a new one, whatever is idle.

        Raises:
            StateError: the pool is not running.
            SMTPError: no connection could be made.
        """
        queued = False
        while True:
            if not self._running:
                raise StateError("the transport is not running: it delivers inside `queue.worker()`")
            if queued or fresh or not self._waiters:  # who comes later does not go first
                pooled = None if fresh else self._pick()
                if pooled is not None:
                    pooled.load += 1
                    return pooled
                if self._may_open():
                    return await self._add()
                if await self._close_idle():
                    continue
            queued = True
            pooled = await self._wait()
            if pooled is not None:
                return pooled

    def _may_open(self) -> bool:
        return len(self._open) + self._opening < self._max_connections

    def _pick(self) -> Pooled | None:
        """Return an idle connection, the one used last; or one to share, if no more may be opened; or None."""
        for index in range(len(self._idle) - 1, -1, -1):
            if self._is_fit(self._idle[index]):
                return self._idle.pop(index)
        if self._may_open():
            return None
        shared = [p for p in self._open if 0 < p.load < self._pipeline and p.connection.extensions.pipelining]
        return min((p for p in shared if self._is_fit(p)), key=lambda pooled: pooled.load, default=None)

    async def _add(self) -> Pooled:
        self._opening += 1
        try:
            connection = await self._connect()
        finally:
            self._opening -= 1
            self._wake()
        now = self._clock.monotonic()
        pooled = Pooled(connection=connection, opened=now, idle_since=now)
        self._open.append(pooled)
        return pooled

    async def _close_idle(self) -> bool:
        """Close a connection that nobody uses and that is of no more use, to make room; False if there is none."""
        if not self._idle:
            return False
        pooled = self._idle[0]
        self._forget(pooled)
        await pooled.connection.quit()
        return True

    async def _wait(self) -> Pooled | None:
        """Wait to be handed a connection; None: look again, a place is free."""
        waiter: asyncio.Future[Pooled | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():  # it was this one's turn: pass it on
                pooled = waiter.result()
                if pooled is None:
                    self._wake()
                else:
                    await self.release(pooled)
            raise

    def _wake(self) -> None:
        """Hand what is free to who has waited longest; were it left for the taking, who gave it back would take it."""
        while self._waiters:
            if self._waiters[0].done():
                self._waiters.popleft()
                continue
            pooled = self._pick()
            if pooled is not None:
                pooled.load += 1
            elif not self._may_open():
                return
            self._waiters.popleft().set_result(pooled)
            return

    def _is_fit(self, pooled: Pooled) -> bool:
        """Say whether it can serve another delivery: it works, and is neither too old nor idle for too long."""
        if not pooled.connection.usable:
            return False
        now = self._clock.monotonic()
        return now - pooled.opened < self._max_age and (pooled.load > 0 or now - pooled.idle_since < self._max_idle)

    def _forget(self, pooled: Pooled) -> None:
        for kept in (self._open, self._idle):
            if pooled in kept:
                kept.remove(pooled)
        self._wake()

    async def release(self, pooled: Pooled) -> None:
        """Give a connection back; the pool keeps it if it is still of use."""
        pooled.load -= 1
        pooled.fresh = False
        pooled.idle_since = self._clock.monotonic()
        if pooled.load:
            self._wake()
            return
        if self._running and self._is_fit(pooled):
            self._idle.append(pooled)
            self._wake()
            return
        self._forget(pooled)
        if pooled.connection.usable:
            await pooled.connection.quit()
        else:
            await pooled.connection.close()

    async def discard(self, pooled: Pooled) -> None:
        """Give back a connection on which something went wrong; it is closed, whoever else has it."""
        self._forget(pooled)
        await pooled.connection.close()

    async def _reap(self) -> None:
        """Close what has been idle, or open, for too long."""
        while True:
            await self._clock.sleep(min(self._max_idle, self._max_age) / 2)
            for pooled in list(self._idle):
                if not self._is_fit(pooled):
                    self._forget(pooled)
                    await pooled.connection.quit()
