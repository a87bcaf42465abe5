"""A site: what takes mail under one set of mail exchangers, or one relay; and all that deliveries to it share.

Domains whose mail the same hosts take are one site: their deliveries share connections (where what protects them is the
same), limits, and what is known of how the site takes mail. All of it is this process's own.
"""

from dataclasses import replace

from moxlib._clock import Clock
from moxlib.queue.congestion import Concurrency, Window
from moxlib.queue.limits import Rate
from moxlib.queue.shaping import Bucket, Shaping
from moxlib.queue.transport.gate import Gate
from moxlib.queue.transport.pool import ConnectionPool

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
        self._clock = clock
        self._messages = _bucket(shaping.message_rate)
        self._connections = _bucket(shaping.connection_rate)

    @property
    def is_idle(self) -> bool:
        """Whether nothing that matters would be forgotten with it."""
        return self.pool.is_empty and self.gate.is_idle

    async def pace_messages(self, count: int) -> None:
        """Return when so many messages may go, by `messages_per_second`."""
        if self._messages is not None:
            await self._clock.sleep(self._messages.reserve(count, self._clock.now()))

    async def pace_connection(self) -> None:
        """Return when one more connection may be opened, by `connections_per_minute`."""
        if self._connections is not None:
            await self._clock.sleep(self._connections.reserve(1, self._clock.now()))


def _within(shaping: Shaping) -> Concurrency:
    """Return the concurrency that the connections allow: what comes in beyond that would only wait behind the gate."""
    places = shaping.max_connections * shaping.pipeline
    wanted = shaping.concurrency
    return replace(wanted, maximum=min(wanted.maximum, places), initial=min(wanted.initial, places))


def _bucket(rate: Rate | None) -> Bucket | None:
    return None if rate is None else Bucket(rate)
