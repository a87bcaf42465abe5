"""A pool whose connections all lead to one server in the same way, as `SMTPTransport`'s do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from moxlib.queue.transport.pool import AskPermit, Connect, ConnectionPool, Pooled

__all__ = ["OneServer"]


@dataclass
class OneServer:
    pool: ConnectionPool
    connect: Connect

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self.pool.running():
            yield

    async def acquire(self, permit: AskPermit | None = None, *, fresh: bool = False) -> Pooled:
        return await self.pool.acquire(self.connect, permit, fresh=fresh)

    async def release(self, pooled: Pooled) -> None:
        await self.pool.release(pooled)
