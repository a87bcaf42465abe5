"""Connections to one server, kept and shared.

A connection is reused while it is fresh: bounded by its age and by how long it was idle, as Postfix bounds it, not by a
count of messages. A delivery takes an idle connection, else opens one while `max_connections` allows it, else waits.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from moxlib._clock import Clock
from moxlib.errors import StateError
from moxlib.smtpclient import SMTPConnection

__all__ = ["ConnectionPool", "Pooled"]


@dataclass(slots=True)
class Pooled:
    """A connection of the pool, lent to one delivery at a time."""

    connection: SMTPConnection
    opened: float
    idle_since: float
    fresh: bool = True
    """Nothing was delivered on it yet: when it fails at once, that is no stale connection."""


class ConnectionPool:
    """Keeps connections while `running`; all of them belong to one event loop."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[SMTPConnection]],
        *,
        clock: Clock,
        max_connections: int,
        max_idle: float,
        max_age: float,
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._max_connections = max_connections
        self._max_idle = max_idle
        self._max_age = max_age
        self._idle: list[Pooled] = []
        self._free: asyncio.Semaphore | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the pool; at the end of the block its idle connections say QUIT.

        Raises:
            StateError: it is running already.
        """
        if self._free is not None:
            raise StateError("this transport is running already: each queue needs its own")
        self._free = asyncio.Semaphore(self._max_connections)
        reaper = asyncio.create_task(self._reap(), name="moxlib connection reaper")
        try:
            yield
        finally:
            reaper.cancel()
            await asyncio.wait([reaper])
            self._free = None
            idle, self._idle = self._idle, []
            await asyncio.gather(*(pooled.connection.quit() for pooled in idle))

    @asynccontextmanager
    async def lend(self, *, fresh: bool = False) -> AsyncIterator[Pooled]:
        """Lend a connection; it returns to the pool if it is still usable at the end of the block.

        Args:
            fresh: open a new one, whatever is idle.

        Raises:
            StateError: the pool is not running.
            SMTPError: no connection could be made.
        """
        if self._free is None:
            raise StateError("the transport is not running: it delivers inside `queue.worker()`")
        async with self._free:
            pooled = None if fresh else self._take_idle()
            if pooled is None:
                connection = await self._connect()
                now = self._clock.monotonic()
                pooled = Pooled(connection=connection, opened=now, idle_since=now)
            try:
                yield pooled
            except BaseException:
                await pooled.connection.close()
                raise
            await self._return(pooled)

    def _take_idle(self) -> Pooled | None:
        for index in range(len(self._idle) - 1, -1, -1):  # the one used last: the others grow old and are closed
            pooled = self._idle[index]
            if pooled.connection.usable and self._is_young(pooled):
                del self._idle[index]
                return pooled
        return None

    def _is_young(self, pooled: Pooled) -> bool:
        now = self._clock.monotonic()
        return now - pooled.opened < self._max_age and now - pooled.idle_since < self._max_idle

    async def _return(self, pooled: Pooled) -> None:
        pooled.fresh = False
        pooled.idle_since = self._clock.monotonic()
        if self._free is not None and pooled.connection.usable and self._is_young(pooled):
            self._idle.append(pooled)
        elif pooled.connection.usable:
            await pooled.connection.quit()
        else:
            await pooled.connection.close()

    async def _reap(self) -> None:
        """Close what has been idle, or open, for too long."""
        while True:
            await self._clock.sleep(min(self._max_idle, self._max_age) / 2)
            young: list[Pooled] = []
            old: list[Pooled] = []
            for pooled in self._idle:
                (young if pooled.connection.usable and self._is_young(pooled) else old).append(pooled)
            self._idle = young
            for pooled in old:
                await pooled.connection.quit()
