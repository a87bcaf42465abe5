"""Connections to one site, kept and shared: to one server, or to the mail exchangers of some domains.

A connection is reused while it is fresh: bounded by its age and by how long it was idle, as Postfix bounds it, and by a
count of messages where that is asked for. A delivery takes an idle connection; else it opens one while
`max_connections` allows that; else it joins another delivery on a connection to a server with PIPELINING, whose next
transaction then begins in the same write as the one before it ends; else it waits.

Connections have a label, which says all that matters of how they were made: the server, what protects them, where they
come from. A delivery only gets one with the label that it asks for; the places are everyone's.

Where a delivery needs a permit to open a connection, it takes no place among `max_connections` while it waits for that:
others go past it and open theirs. Meanwhile it takes, or joins, any connection that is free before its permit comes.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from moxlib._clock import Clock
from moxlib.errors import StateError
from moxlib.queue.outcome import NO_TRACE, Trace
from moxlib.queue.transport.outcomes import tls_of
from moxlib.smtpclient import SMTPConnection

__all__ = ["AskPermit", "Connect", "ConnectionPool", "Pooled"]

AskPermit = Callable[[], Coroutine[Any, Any, None]]
"""Returns when one more connection may be opened."""

Connect = Callable[[], Awaitable[SMTPConnection]]
"""Opens a connection."""


# How often one who waits is passed by others, for whom there is an idle connection, before one is closed for it. A new
# one costs some round trips, so that each would otherwise have its own where labels take turns.
MAX_PASSED: Final = 10


@dataclass(slots=True, eq=False)
class Pooled:
    """A connection of the pool."""

    connection: SMTPConnection
    label: Hashable
    opened: float
    idle_since: float
    load: int = 1
    """Deliveries that have it now."""
    trace: Trace = NO_TRACE
    """How it was made, for the history of what is delivered over it."""
    fresh: bool = True
    """Nothing was delivered on it yet: when it fails at once, it had not gone stale."""
    released: int = 0
    """When it was given back last, in the pool's count of that."""


@dataclass(slots=True, eq=False)
class _Waiter:
    """A delivery that waits for a connection, or for leave to open one."""

    turn: "asyncio.Future[Pooled | None]"
    """Done when it has either; None: it may open one, and a place is kept for it."""
    label: Hashable
    permitted: bool
    """It may open one if there is a place."""
    released_after: int
    """It takes no connection that was given back before that, in the pool's count."""
    passed: int = 0
    """Those who came later and had a connection before it, while it might have opened one."""


class ConnectionPool:
    """Keeps connections between `open` and `close`; all of them belong to one event loop.

    Args:
        clock: what the time is taken from.
        max_connections: at once, whatever their label.
        pipeline: deliveries at once on one connection, when no more may be opened and the server has PIPELINING.
        max_idle: seconds that an unused connection is kept.
        max_age: seconds after which a connection is not used again.
        max_messages: messages after which it is not; None: any number.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        max_connections: int,
        pipeline: int,
        max_idle: float,
        max_age: float,
        max_messages: int | None = None,
    ) -> None:
        self._clock = clock
        self._max_connections = max_connections
        self._pipeline = pipeline
        self._max_idle = max_idle
        self._max_age = max_age
        self._max_messages = max_messages
        self._running = False
        self._open: list[Pooled] = []
        self._idle: list[Pooled] = []
        """Those of `_open` that nobody has now, the one used last at the end."""
        self._opening = 0
        self._closing = 0
        """Connections of no more use that are not closed yet: the server still counts them."""
        self._promised = 0
        """Places for new connections that were handed to waiters, who have not begun to open them."""
        self._waiters: deque[_Waiter] = deque()
        self._releases = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the pool; at the end of the block its connections say QUIT.

        Raises:
            StateError: it is running already.
        """
        self.open()
        reaper = asyncio.create_task(self._keep_reaping(), name="moxlib connection reaper")
        try:
            yield
        finally:
            reaper.cancel()
            await asyncio.gather(asyncio.wait([reaper]), self.close())

    def open(self) -> None:
        """Let connections be taken.

        Raises:
            StateError: it is open already.
        """
        if self._running:
            raise StateError("this transport is running already: each queue needs its own")
        self._running = True

    async def close(self) -> None:
        """Let all connections say QUIT; who waits for one is told that there is none."""
        self._running = False
        for waiter in self._waiters:
            if not waiter.turn.done():
                self._promised += 1
                waiter.turn.set_result(None)  # it will see that the pool is closed
        self._waiters.clear()
        open_, self._open, self._idle = self._open, [], []
        await asyncio.gather(*(pooled.connection.quit() for pooled in open_))

    @property
    def is_open(self) -> bool:
        """Whether connections can be taken."""
        return self._running

    @property
    def is_empty(self) -> bool:
        """Whether there is no connection, and nobody who wants one."""
        return not (self._open or self._opening or self._closing or self._promised or self._waiters)

    async def acquire(
        self, connect: Connect, permit: AskPermit | None = None, *, label: Hashable = None, fresh: bool = False
    ) -> Pooled:
        """Take a connection; `release` gives it back.

        Args:
            connect: opens one.
            label: what it has to be like: all connections of one label are as good.
            permit: returns when a connection may be opened; None: it may. It is cancelled when it is not needed. One
                that was granted is used up although another delivery's connection came first.
            fresh: none that was idle, which may have gone stale: a new one, or one that others use this moment.

        Raises:
            StateError: the pool is not running.
            SMTPError: no connection could be made.
            Exception: what `permit` raises.
        """
        if not self._running:
            raise StateError("the transport is not running: it delivers inside `queue.worker()`")
        while not self._waiters:  # who comes later does not go first
            pooled = None if fresh else self.take(label)
            if pooled is not None:
                return pooled
            if permit is not None:
                break
            if self._may_open():
                return await self._add(connect, label)
            if not self._idle:
                break
            await self._make_room()
        pooled = await self._wait(permit, label, fresh=fresh)
        if not self._running:
            raise StateError("the transport was closed before there was a connection for this delivery")
        return pooled if pooled is not None else await self._add(connect, label)

    def take(self, label: Hashable) -> Pooled | None:
        """Take a connection that is free, if there is one and nobody waits: `acquire` without a coroutine."""
        if self._waiters or not self._running:
            return None
        pooled = self._pick(label)
        if pooled is not None:
            pooled.load += 1
        return pooled

    async def _make_room(self) -> None:
        await self._end(self._idle[0], politely=True)

    def _may_open(self) -> bool:
        return len(self._open) + self._opening + self._closing + self._promised < self._max_connections

    def _pick(self, label: Hashable, *, permitted: bool = True, released_after: int = -1) -> Pooled | None:
        """Return an idle connection, the one used last; or one to share, if no more may be opened; or None."""
        for index in range(len(self._idle) - 1, -1, -1):
            idle = self._idle[index]
            if idle.label == label and idle.released > released_after and self._is_fit(idle):
                return self._idle.pop(index)
        if permitted and self._may_open():
            return None
        least: Pooled | None = None
        for shared in self._open:
            if shared.label == label and (least is None or shared.load < least.load) and self._has_room(shared):
                least = shared
        return least

    def _has_room(self, pooled: Pooled) -> bool:
        """Say whether one more delivery may join those that a connection has."""
        extensions = pooled.connection.extensions
        if not 0 < pooled.load < self._pipeline or not extensions.pipelining or not self._is_fit(pooled):
            return False
        # RFC 9422 5.1. Those it has may have begun or not: counted as if not, so that none comes too late.
        messages = pooled.connection.transactions + pooled.load
        mail_max, max_messages = extensions.mail_max, self._max_messages
        return (mail_max is None or messages < mail_max) and (max_messages is None or messages < max_messages)

    async def _add(self, connect: Connect, label: Hashable) -> Pooled:
        self._opening += 1
        try:
            connection = await connect()
        except BaseException:
            self._opening -= 1
            self._hand_out()
            raise
        self._opening -= 1
        now = self._clock.monotonic()
        trace = Trace(tls=tls_of(connection))
        pooled = Pooled(connection=connection, label=label, opened=now, idle_since=now, trace=trace)
        self._open.append(pooled)
        self._hand_out()
        return pooled

    async def _wait(self, permit: AskPermit | None, label: Hashable, *, fresh: bool) -> Pooled | None:
        """Wait to be handed a connection, or the place for a new one: None."""
        turn: asyncio.Future[Pooled | None] = asyncio.get_running_loop().create_future()
        after = self._releases if fresh else -1
        waiter = _Waiter(turn=turn, label=label, permitted=permit is None, released_after=after)
        self._waiters.append(waiter)
        if permit is None:
            self._hand_out()  # who waits already may do so for a permit alone
        try:
            if permit is not None:
                await self._wait_for_permit(waiter, permit)
            while not turn.done() and not self._may_open() and self._idle:
                await self._make_room()  # none of those who wait can use them
            pooled = await turn
        except BaseException:  # cancelled; or there will be no permit
            if not turn.done() or turn.cancelled():
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
            elif (pooled := turn.result()) is not None:  # it was this one's turn: pass it on
                await self.release(pooled)
            else:
                self._promised -= 1
                self._hand_out()
            raise
        if pooled is None:
            self._promised -= 1
        return pooled

    async def _wait_for_permit(self, waiter: _Waiter, permit: AskPermit) -> None:
        """Return when the waiter has its permit, or its turn without one."""
        asking = asyncio.create_task(permit(), name="moxlib connection permit")
        asking.add_done_callback(lambda done: done.cancelled() or done.exception())  # looked at, whoever is told of it
        either: list[asyncio.Future[Any]] = [waiter.turn, asking]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asking.cancel()  # no effect if it is done
            await asyncio.wait([asking])
        if not waiter.turn.done():
            asking.result()
            waiter.permitted = True
            self._hand_out()

    def _hand_out(self) -> None:
        """Hand what is free to who has waited longest; were it left for the taking, who gave it back would take it."""
        passed: list[_Waiter] = []
        for waiter in list(self._waiters):
            if not waiter.turn.done():  # else it was cancelled
                pooled = self._pick(waiter.label, permitted=waiter.permitted, released_after=waiter.released_after)
                if pooled is not None:
                    pooled.load += 1
                elif waiter.permitted and self._may_open():
                    self._promised += 1
                elif waiter.passed >= MAX_PASSED or not (self._idle or self._may_open()):
                    return
                else:
                    passed.append(waiter)
                    continue  # what there is may serve somebody who came later: one with a permit, for example
                waiter.turn.set_result(pooled)
                for other in passed:
                    other.passed += other.permitted
            self._waiters.remove(waiter)

    def _is_fit(self, pooled: Pooled) -> bool:
        """Say whether it can serve another delivery: it works, and is neither too old nor idle for too long."""
        if not pooled.connection.usable:
            return False
        if self._max_messages is not None and pooled.connection.transactions >= self._max_messages:
            return False
        now = self._clock.monotonic()
        return now - pooled.opened < self._max_age and (pooled.load > 0 or now - pooled.idle_since < self._max_idle)

    async def _end(self, pooled: Pooled, *, politely: bool) -> None:
        """Close a connection; its place is free when it is closed."""
        for kept in (self._open, self._idle):
            if pooled in kept:
                kept.remove(pooled)
        self._closing += 1
        try:
            await (pooled.connection.quit() if politely else pooled.connection.close())
        finally:
            self._closing -= 1
            self._hand_out()

    async def release(self, pooled: Pooled) -> None:
        """Give a connection back; the pool keeps it if it is still of use."""
        if not self.give_back(pooled):
            await self.end(pooled)

    async def end(self, pooled: Pooled) -> None:
        """Close a connection that `give_back` did not keep."""
        await self._end(pooled, politely=pooled.connection.usable)

    def give_back(self, pooled: Pooled) -> bool:
        """Give a connection back, and return whether the pool keeps it; else the caller awaits `end` at once."""
        pooled.load -= 1
        pooled.fresh = False
        self._releases += 1
        pooled.released = self._releases
        pooled.idle_since = self._clock.monotonic()
        if not pooled.load:
            if not (self._running and self._is_fit(pooled)):
                return False
            self._idle.append(pooled)
        if not self._waiters:
            return True
        self._hand_out()
        return not (pooled in self._idle and self._is_in_the_way())

    def _is_in_the_way(self) -> bool:
        """Say whether somebody waits who can use none of the idle connections, and for whom one has to go."""
        return not self._may_open() and any(waiter.permitted and not waiter.turn.done() for waiter in self._waiters)

    async def reap(self) -> None:
        """Close what has been idle, or open, for too long."""
        over = [pooled for pooled in self._idle if not self._is_fit(pooled)]
        await asyncio.gather(*(self._end(pooled, politely=True) for pooled in over))

    async def _keep_reaping(self) -> None:
        while True:
            await self._clock.sleep(min(self._max_idle, self._max_age) / 2)
            await self.reap()
