"""A pool whose connections are not all alike: who may have which, and how nobody waits for the others for ever."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from moxlib.queue.transport import pool as pool_module
from moxlib.queue.transport.pool import ConnectionPool, Pooled
from moxlib.smtpclient import SMTPConnection, TLSMode
from moxlib.testing import ByCommand, FakeClock, SMTPPeer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STEPWISE = ("8BITMIME",)
PIPELINED = ("PIPELINING", "8BITMIME")
BODY = b"Subject: hi\r\n\r\n"
GUARD = 60  # seconds after which a test that hangs fails instead


@dataclass
class Labelled:
    """A pool, and a server that all its connections lead to; that they differ is only said by their labels."""

    pool: ConnectionPool
    peer: SMTPPeer
    clock: FakeClock
    opened: int = 0

    async def _connect(self) -> SMTPConnection:
        self.opened += 1
        return await SMTPConnection.connect(
            "127.0.0.1", self.peer.port, ehlo_name="client.example", tls=TLSMode.NONE, clock=self.clock
        )

    async def acquire(self, label: str, *, fresh: bool = False) -> Pooled:
        return await self.pool.acquire(self._connect, label=label, fresh=fresh)

    def waiting(self, label: str, *, fresh: bool = False) -> asyncio.Task[Pooled]:
        return asyncio.create_task(self.acquire(label, fresh=fresh))

    @property
    def alive(self) -> int:
        return sum(not session.ended for session in self.peer.sessions)


@asynccontextmanager
async def labelled(
    *extensions: str, max_connections: int = 2, pipeline: int = 3, max_messages: int | None = None
) -> AsyncIterator[Labelled]:
    clock = FakeClock()
    pool = ConnectionPool(
        clock=clock,
        max_connections=max_connections,
        pipeline=pipeline,
        max_idle=30.0,
        max_age=300.0,
        max_messages=max_messages,
    )
    async with (
        asyncio.timeout(GUARD),
        SMTPPeer(ByCommand(extensions=extensions or STEPWISE)) as peer,
        pool.running(),
    ):
        yield Labelled(pool, peer, clock)


async def turns() -> None:
    """Let all tasks run that need nothing from the network."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_connection_serves_its_label_only() -> None:
    async with labelled(max_connections=10) as there:
        one, two = await there.acquire("one"), await there.acquire("two")
        await there.pool.release(one)
        await there.pool.release(two)
        assert await there.acquire("two") is two
        assert await there.acquire("one") is one
        await there.pool.release(one)
        await there.pool.release(two)
    assert there.opened == 2


async def test_connections_of_another_label_are_not_shared() -> None:
    async with labelled(*PIPELINED, max_connections=2) as there:
        one, two = await there.acquire("one"), await there.acquire("two")
        third, fourth = await there.acquire("two"), await there.acquire("one")
        assert (third, fourth) == (two, one)
        for pooled in (one, two, third, fourth):
            await there.pool.release(pooled)
    assert there.opened == 2


async def test_there_are_no_more_connections_than_may_be_whatever_their_labels() -> None:
    async with labelled(max_connections=2) as there:
        taken = [await there.acquire("one"), await there.acquire("two")]
        waiting = [there.waiting(label) for label in ("three", "four", "five")]
        await turns()
        assert not any(task.done() for task in waiting)
        for task in waiting:
            await there.pool.release(taken.pop(0))
            taken.append(await task)
            assert there.alive <= 2
        for pooled in taken:
            await there.pool.release(pooled)
    assert there.opened == 5


async def test_an_idle_connection_of_another_label_makes_room() -> None:
    async with labelled(max_connections=1) as there:
        one = await there.acquire("one")
        await there.pool.release(one)
        two = await there.acquire("two")
        assert (two is one, there.peer.sessions[0].ended) == (False, True)
        assert there.peer.sessions[0].lines[-1] == "QUIT"
        await there.pool.release(two)


async def test_the_one_that_was_idle_for_longest_makes_room() -> None:
    async with labelled(max_connections=2) as there:
        one, two = await there.acquire("one"), await there.acquire("two")
        await there.pool.release(two)
        await there.pool.release(one)
        three = await there.acquire("three")
        assert await there.acquire("one") is one
        await there.pool.release(one)
        await there.pool.release(three)
    assert there.opened == 3


async def test_a_connection_given_back_makes_room_for_who_waits_with_another_label() -> None:
    async with labelled(max_connections=1) as there:
        one = await there.acquire("one")
        waiting = there.waiting("two")
        await turns()
        assert not waiting.done()
        await there.pool.release(one)
        two = await waiting
        assert not one.connection.usable
        await there.pool.release(two)
    assert there.opened == 2


async def test_who_waits_with_another_label_is_not_passed_for_ever() -> None:
    """A busy label has always somebody waiting; some go first, since a new connection costs more than they do."""
    passed = 0
    async with labelled(max_connections=1) as there:
        one = await there.acquire("one")
        other = there.waiting("two")
        await turns()
        busy = [there.waiting("one") for _ in range(2)]
        await turns()
        while not other.done():
            await there.pool.release(one)
            await asyncio.wait([other, busy[0]], return_when=asyncio.FIRST_COMPLETED)
            if other.done():
                break
            passed += 1
            assert passed <= pool_module.MAX_PASSED
            one = busy.pop(0).result()
            busy.append(there.waiting("one"))
            await turns()
        assert passed == pool_module.MAX_PASSED
        await there.pool.release(other.result())
        for task in busy:
            await there.pool.release(await task)


async def test_who_waits_for_a_fresh_one_is_not_passed_for_ever() -> None:
    async with labelled(max_connections=1) as there:
        one = await there.acquire("one")
        two = there.waiting("two")
        fresh = there.waiting("one", fresh=True)
        await turns()
        await there.pool.release(one)
        done, _ = await asyncio.wait([two, fresh], return_when=asyncio.FIRST_COMPLETED)
        assert done == {fresh}  # what is given back now was in use a moment ago: it has not gone stale
        assert fresh.result() is one
        await there.pool.release(one)
        await there.pool.release(await two)


async def test_who_is_cancelled_while_it_makes_room_leaves_the_place() -> None:
    async with labelled(max_connections=1) as there:
        await there.pool.release(await there.acquire("one"))
        waiting = there.waiting("two")
        await asyncio.sleep(0)  # it says QUIT
        waiting.cancel()
        await asyncio.wait([waiting])
        three = await there.acquire("three")
        await there.pool.release(three)
        assert there.alive == 1
        await there.pool.release(await there.acquire("three"))
    assert there.opened == 2


@pytest.mark.parametrize("count", [1, 4, 9])
async def test_all_get_through_whatever_they_ask_for(count: int) -> None:
    async with labelled(*PIPELINED, max_connections=3, max_messages=5) as there:

        async def deliver(number: int) -> None:
            pooled = await there.acquire(f"label {number % count}")
            try:
                result = await pooled.connection.deliver("a@client.example", [f"b{number}@example.org"], BODY)
                assert result.answered
            finally:
                await there.pool.release(pooled)

        await asyncio.gather(*(deliver(number) for number in range(60)))
        assert there.alive <= 3
    received = [line for line in there.peer.lines if line.startswith("RCPT")]
    assert len(set(received)) == len(received) == 60
    assert max(len(session.messages) for session in there.peer.sessions) <= 5


async def test_a_place_is_everyones_also_after_a_connection_that_could_not_be_made() -> None:
    async with labelled(max_connections=1) as there:

        async def cannot() -> SMTPConnection:
            await asyncio.sleep(0)
            raise OSError("no")

        failing = asyncio.create_task(there.pool.acquire(cannot, label="one"))
        waiting = there.waiting("two")
        with pytest.raises(OSError, match="no"):
            await failing
        await there.pool.release(await waiting)
