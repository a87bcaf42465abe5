"""A site: what takes mail under one set of mail exchangers, or one relay; and all that deliveries to it share.

Domains whose mail the same hosts take are one site: their deliveries share connections (where what protects them is the
same), limits, and what is known of how the site takes mail. All of it is this process's own.
"""

from collections.abc import Hashable
from dataclasses import replace

from moxlib._clock import Clock
from moxlib.queue.congestion import Concurrency, Window
from moxlib.queue.limits import Rate
from moxlib.queue.shaping import Bucket, Shaping
from moxlib.queue.transport.base import Delivery
from moxlib.queue.transport.gate import Gate, Passage
from moxlib.queue.transport.pool import Connect, ConnectionPool, Pooled
from moxlib.queue.transport.troubled import Troubled

__all__ = ["Site"]


class Site:
    """One site."""

    def __init__(self, shaping: Shaping, clock: Clock) -> None:
        self.shaping = shaping
        self.gate: Gate = Gate(Window(_within(shaping)), clock)
        self.pool: ConnectionPool = ConnectionPool(
            clock=clock,
            max_connections=shaping.max_connections,
            pipeline=shaping.pipeline,
            max_idle=shaping.max_idle.total_seconds(),
            max_age=shaping.max_age.total_seconds(),
            max_messages=shaping.messages_per_connection,
        )
        self.chunking: bool = True
        """Whether BDAT may be used: not once a server offered it and did not know it."""
        self.unreached: Troubled[str] = Troubled(shaping.concurrency.suspend_for.total_seconds(), clock)
        """Of several hosts, those that did not answer of late, by name."""
        self._clock = clock
        self._messages = _bucket(shaping.message_rate)
        self._connections = _bucket(shaping.connection_rate)
        self._full_at = 0.0
        """When nobody waits for a rate, and nothing taken by one matters any more, by the monotonic clock."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing that matters would be forgotten with it."""
        paced = self._full_at > self._clock.monotonic()
        return not paced and self.pool.is_empty and self.gate.is_idle and self.unreached.is_over

    async def acquire(
        self, connect: Connect, delivery: Delivery, passage: Passage, *, label: Hashable = None, fresh: bool = False
    ) -> Pooled:
        """Take a connection of the pool; the delivery is inside the gate, and is so again when it has one.

        While it waits for a permit to connect, it is outside, so that it keeps nobody else out. It then enters before
        it takes a place in the pool, and who is outside does not keep a connection: those inside wait for connections,
        and each would wait for the other.

        Raises:
            Suspended: the site was found to be down meanwhile.
            Exception: what `ConnectionPool.acquire` raises.
        """
        if delivery.permit is None:
            return await self.pool.acquire(connect, label=label, fresh=fresh)

        async def permit() -> None:
            passage.step_out()
            await delivery.connecting()
            await passage.enter()

        while True:
            pooled = await self.pool.acquire(connect, permit, label=label, fresh=fresh)
            if passage.try_enter():
                return pooled
            await self.pool.release(pooled)
            await passage.enter()

    @property
    def paces_messages(self) -> bool:
        """Whether there is a `messages_per_second`."""
        return self._messages is not None

    async def pace_messages(self, count: int, *, insist: bool) -> None:
        """Return when so many messages may go, by `messages_per_second`.

        Raises:
            Suspended: the site is down, and they do not insist: they need not wait to hear that.
        """
        if self._messages is not None:
            self.gate.check(insist=insist)
            await self._pace(self._messages, count)

    async def pace_connection(self) -> None:
        """Return when one more connection may be opened, by `connections_per_minute`."""
        if self._connections is not None:
            await self._pace(self._connections, 1)

    async def _pace(self, bucket: Bucket, count: int) -> None:
        seconds = bucket.reserve(count, self._clock.now())
        fills_in = bucket.rate.time_for(bucket.rate.burst) / 1_000_000
        self._full_at = max(self._full_at, self._clock.monotonic() + seconds + fills_in)
        await self._clock.sleep(seconds)


def _within(shaping: Shaping) -> Concurrency:
    """Return the concurrency that the connections allow: what comes in beyond that would only wait behind the gate."""
    places = shaping.max_connections * shaping.pipeline
    wanted = shaping.concurrency
    return replace(wanted, maximum=min(wanted.maximum, places), initial=min(wanted.initial, places))


def _bucket(rate: Rate | None) -> Bucket | None:
    return None if rate is None else Bucket(rate)
