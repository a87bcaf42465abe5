"""The pool of connections with real connections: who gets which, who waits, and what becomes of a place."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from tests.integration.one_server import OneServer

from moxlib.errors import StateError
from moxlib.queue.transport.pool import ConnectionPool, Pooled
from moxlib.smtpclient import SMTPConnection, SMTPError, TLSMode
from moxlib.testing import ByCommand, Close, FakeClock, SMTPPeer, Stall

STEPWISE = ("8BITMIME",)
PIPELINED = ("PIPELINING", "8BITMIME")
BODY = b"Subject: hi\r\n\r\n"


@asynccontextmanager
async def running_pool(
    peer: SMTPPeer,
    clock: FakeClock | None = None,
    *,
    max_connections: int = 1,
    pipeline: int = 3,
    max_age: float = 300.0,
) -> AsyncIterator[OneServer]:
    clock = clock or FakeClock()
    pool = ConnectionPool(
        clock=clock,
        max_connections=max_connections,
        pipeline=pipeline,
        max_idle=30.0,
        max_age=max_age,
    )
    server = OneServer(pool, connect_to(peer, clock))
    async with server.running():
        yield server


def connect_to(peer: SMTPPeer, clock: FakeClock) -> Callable[[], Awaitable[SMTPConnection]]:
    return lambda: SMTPConnection.connect(
        "127.0.0.1", peer.port, ehlo_name="client.example", tls=TLSMode.NONE, clock=clock
    )


async def turns() -> None:
    """Let all tasks run that need nothing from the network."""
    for _ in range(10):
        await asyncio.sleep(0)


def waiting(pool: OneServer, count: int) -> list[asyncio.Task[Pooled]]:
    return [asyncio.create_task(pool.acquire()) for _ in range(count)]


def done(tasks: list[asyncio.Task[Pooled]]) -> list[bool]:
    return [task.done() for task in tasks]


async def test_as_many_share_a_connection_as_may() -> None:
    async with SMTPPeer(ByCommand(extensions=PIPELINED)) as peer, running_pool(peer) as pool:
        tasks = waiting(pool, 5)
        first = await tasks[0]
        await turns()
        assert done(tasks) == [True, True, True, False, False]
        assert {id(task.result()) for task in tasks[:3]} == {id(first)}
        await pool.release(first)
        await turns()
        assert done(tasks) == [True] * 4 + [False]
        await pool.release(first)
        assert await tasks[4] is first
        for _ in range(3):
            await pool.release(first)
        assert first.load == 0
    assert len(peer.sessions) == 1


async def test_none_share_a_connection_without_pipelining() -> None:
    async with SMTPPeer(ByCommand(extensions=STEPWISE)) as peer, running_pool(peer) as pool:
        tasks = waiting(pool, 3)
        for number in range(3):
            pooled = await tasks[number]
            await turns()
            assert done(tasks) == [index <= number for index in range(3)]
            await pool.release(pooled)
    assert len(peer.sessions) == 1


async def test_none_share_a_connection_while_another_may_be_opened() -> None:
    async with SMTPPeer(ByCommand(extensions=PIPELINED)) as peer, running_pool(peer, max_connections=3) as pool:
        taken = [await pool.acquire() for _ in range(3)]
        assert len({id(pooled) for pooled in taken}) == 3
        fourth = await pool.acquire()
        assert fourth in taken
        for pooled in [*taken, fourth]:
            await pool.release(pooled)
    assert len(peer.sessions) == 3


async def test_the_least_loaded_connection_is_shared() -> None:
    async with SMTPPeer(ByCommand(extensions=PIPELINED)) as peer, running_pool(peer, max_connections=2) as pool:
        taken = [await pool.acquire() for _ in range(6)]
        assert [taken.count(pooled) for pooled in taken[:2]] == [3, 3]
        assert taken[2] is not taken[3]
        for pooled in taken:
            await pool.release(pooled)


async def test_sharing_keeps_to_mailmax() -> None:
    extensions = (*PIPELINED, "LIMITS MAILMAX=2")
    async with SMTPPeer(ByCommand(extensions=extensions)) as peer, running_pool(peer) as pool:
        tasks = waiting(pool, 3)
        first = await tasks[0]
        await turns()
        assert done(tasks) == [True, True, False]
        for _ in range(2):
            await first.connection.deliver("a@x", ["b@x"], BODY)
            await pool.release(first)
        third = await tasks[2]
        assert third is not first
        await pool.release(third)
    assert [len(session.messages) for session in peer.sessions] == [2, 0]


async def test_who_waits_is_served_in_turn() -> None:
    order: list[int] = []

    async def use(pool: OneServer, number: int) -> None:
        pooled = await pool.acquire()
        order.append(number)
        await pool.release(pooled)
        if number < 5:
            await use(pool, number + 10)  # comes anew, and goes behind those who wait

    async with SMTPPeer(ByCommand(extensions=STEPWISE)) as peer, running_pool(peer) as pool:
        await asyncio.gather(*(use(pool, number) for number in range(8)))
    assert order == [*range(8), *range(10, 15)]


async def test_the_connection_used_last_is_used_next() -> None:
    async with SMTPPeer() as peer, running_pool(peer, max_connections=3) as pool:
        first, second = await pool.acquire(), await pool.acquire()
        await pool.release(second)
        await pool.release(first)
        assert await pool.acquire() is first
        await pool.release(first)


async def test_a_fresh_one_is_none_that_was_idle() -> None:
    async with SMTPPeer() as peer, running_pool(peer) as pool:
        first = await pool.acquire()
        await pool.release(first)
        second = await pool.acquire(fresh=True)
        assert second is not first
        assert peer.sessions[0].ended  # there is room for one only
        await pool.release(second)
    assert len(peer.sessions) == 2


async def test_a_place_is_free_when_the_connection_is_closed() -> None:
    """A connection that is too old says QUIT; until the server has answered, no other one is opened."""
    clock = FakeClock()
    async with (
        SMTPPeer(ByCommand({"QUIT": Stall("221 bye")}, extensions=STEPWISE)) as peer,
        running_pool(peer, clock, max_age=60.0) as pool,
    ):
        first = await pool.acquire()
        clock.set(clock.now().replace(minute=1))
        [second] = waiting(pool, 1)
        releasing = asyncio.create_task(pool.release(first))
        await peer.stalled()
        await turns()
        assert not second.done()
        assert len(peer.sessions) == 1
        peer.resume()
        await releasing
        await pool.release(await second)
    assert len(peer.sessions) == 2


async def test_a_cancelled_opening_gives_its_place_back() -> None:
    async with SMTPPeer(ByCommand({"EHLO": [Stall(), "250 ok"]})) as peer, running_pool(peer) as pool:
        first, second = waiting(pool, 2)
        await peer.stalled()
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled()
        await pool.release(await second)
    assert len(peer.sessions) == 2


async def test_a_failed_opening_gives_its_place_back() -> None:
    answers = ByCommand({"EHLO": [Close("421 4.3.2 busy\r\n"), Close(), "250 ok"]})
    async with SMTPPeer(answers) as peer, running_pool(peer) as pool:
        first, second, third = waiting(pool, 3)
        await asyncio.wait([first, second])
        assert isinstance(first.exception(), SMTPError)
        assert isinstance(second.exception(), SMTPError)
        await pool.release(await third)
    assert len(peer.sessions) == 3


@pytest.mark.parametrize("extensions", [STEPWISE, PIPELINED])
async def test_a_turn_that_comes_with_cancellation_is_passed_on(extensions: tuple[str, ...]) -> None:
    """The first one is cancelled just when the connection was handed to it, the second one while it waits."""
    async with SMTPPeer(ByCommand(extensions=extensions)) as peer, running_pool(peer, pipeline=1) as pool:
        first = await pool.acquire()
        tasks = waiting(pool, 4)
        await turns()
        await pool.release(first)
        for task in tasks[:2]:
            task.cancel()
        assert await tasks[2] is first
        assert [task.cancelled() for task in tasks[:2]] == [True, True]
        await pool.release(first)
        assert await tasks[3] is first
        await pool.release(first)
        assert first.load == 0
    assert len(peer.sessions) == 1


async def test_a_promised_place_that_comes_with_cancellation_is_passed_on() -> None:
    async with SMTPPeer() as peer, running_pool(peer, pipeline=1) as pool:
        first = await pool.acquire()
        tasks = waiting(pool, 3)
        await turns()
        await first.connection.close()
        await pool.release(first)
        for task in tasks[:2]:
            task.cancel()
        await pool.release(await tasks[2])
        assert [task.cancelled() for task in tasks[:2]] == [True, True]
    assert len(peer.sessions) == 2


async def test_who_waits_when_the_pool_closes_is_told_so() -> None:
    async with SMTPPeer(ByCommand(extensions=STEPWISE)) as peer:
        async with running_pool(peer) as pool:
            first = await pool.acquire()
            tasks = waiting(pool, 3)
            await turns()
        await pool.release(first)
        await asyncio.wait(tasks)
        assert [type(task.exception()) for task in tasks] == [StateError] * 3
        with pytest.raises(StateError):
            await pool.acquire()
        await peer.all_ended()
    assert len(peer.sessions) == 1


async def test_a_connection_that_comes_when_the_pool_has_closed_is_closed_with_its_use() -> None:
    async with SMTPPeer(ByCommand({"EHLO": Stall()})) as peer:
        async with running_pool(peer) as pool:
            [opening] = waiting(pool, 1)
            await peer.stalled()
        peer.resume()
        await pool.release(await opening)
        await peer.all_ended()
    assert peer.lines[-1] == "QUIT"


async def test_connections_to_reap_do_not_wait_for_each_other() -> None:
    """A server that does not answer QUIT delays no other connection's."""
    clock = FakeClock()
    async with (
        SMTPPeer(ByCommand({"QUIT": [Stall("221 bye"), "221 bye"]})) as peer,
        running_pool(peer, clock, max_connections=3) as pool,
    ):
        taken = [await pool.acquire() for _ in range(3)]
        for pooled in taken:
            await pool.release(pooled)
        await clock.advance(30)
        await peer.stalled()
        while sum(session.ended for session in peer.sessions) < 2:  # noqa: ASYNC110 - of the sockets' own time
            await asyncio.sleep(0)
        peer.resume()
        await peer.all_ended()
    assert [session.lines[-1] for session in peer.sessions] == ["QUIT"] * 3
