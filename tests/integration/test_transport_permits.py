"""Connections that need permits: what the pool does with them, and a queue whose rate of connections is limited."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from random import Random

import pytest
from tests.integration.one_server import OneServer

from moxlib.queue import DomainConfig, Message, Queue, QueueConfig, SMTPTransport, WorkerConfig
from moxlib.queue.transport.pool import ConnectionPool, Pooled
from moxlib.smtpclient import SMTPConnection, TLSMode
from moxlib.testing import ByCommand, Close, FakeClock, MemoryStorage, PeerSession, SMTPPeer, Stall

STEPWISE = ("8BITMIME",)
PIPELINED = ("PIPELINING", "8BITMIME")
BODY = b"Subject: hi\r\n\r\n"
GUARD = 60  # seconds after which a test that hangs fails instead


class Desk:
    """Where permits are asked for; each is granted, or refused, when the test says so."""

    def __init__(self) -> None:
        self._asking: list[asyncio.Future[None]] = []

    async def ask(self) -> None:
        asking: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asking.append(asking)
        try:
            await asking
        finally:
            self._asking.remove(asking)

    async def at_once(self) -> None:
        """A permit that is there."""

    @property
    def asking(self) -> int:
        return len(self._asking)

    async def grant(self, count: int = 1, error: Exception | None = None) -> None:
        """Grant, or refuse, to those who have asked for longest; and let them go on."""
        for asking in self._asking[:count]:
            if error is None:
                asking.set_result(None)
            else:
                asking.set_exception(error)
        await turns()


@asynccontextmanager
async def running_pool(
    peer: SMTPPeer, clock: FakeClock | None = None, *, max_connections: int = 10, max_age: float = 300.0
) -> AsyncIterator[OneServer]:
    clock = clock or FakeClock()

    async def connect() -> SMTPConnection:
        return await SMTPConnection.connect(
            "127.0.0.1", peer.port, ehlo_name="client.example", tls=TLSMode.NONE, clock=clock
        )

    pool = ConnectionPool(clock=clock, max_connections=max_connections, pipeline=3, max_idle=30.0, max_age=max_age)
    server = OneServer(pool, connect)
    async with asyncio.timeout(GUARD), server.running():
        yield server


async def turns(count: int = 20) -> None:
    """Let all tasks run that need nothing from the network."""
    for _ in range(count):
        await asyncio.sleep(0)


async def waiting(pool: OneServer, desk: Desk, count: int = 1, *, fresh: bool = False) -> list[asyncio.Task[Pooled]]:
    """Return deliveries that have asked for a permit."""
    tasks = [asyncio.create_task(pool.acquire(desk.ask, fresh=fresh)) for _ in range(count)]
    await turns()
    return tasks


async def test_a_connection_is_opened_when_there_is_a_permit() -> None:
    desk = Desk()
    async with SMTPPeer(ByCommand(extensions=STEPWISE)) as peer, running_pool(peer) as pool:
        tasks = await waiting(pool, desk, 3)
        assert (desk.asking, peer.sessions) == (3, [])
        await desk.grant(2)
        taken = [await task for task in tasks[:2]]
        await turns()
        assert not tasks[2].done()
        await desk.grant()
        taken.append(await tasks[2])
        assert (desk.asking, len(peer.sessions)) == (0, 3)
        for pooled in taken:
            await pool.release(pooled)


async def test_idle_connections_need_none() -> None:
    desk = Desk()
    async with SMTPPeer(ByCommand(extensions=STEPWISE)) as peer, running_pool(peer) as pool:
        await pool.release(await pool.acquire(desk.at_once))
        pooled = await pool.acquire(desk.ask)
        await pool.release(pooled)
    assert (desk.asking, len(peer.sessions)) == (0, 1)


async def test_who_waits_for_a_permit_takes_what_is_given_back() -> None:
    desk = Desk()
    async with SMTPPeer(ByCommand(extensions=STEPWISE)) as peer, running_pool(peer) as pool:
        first = await pool.acquire()
        tasks = await waiting(pool, desk, 2)
        await pool.release(first)
        assert await tasks[0] is first
        assert desk.asking == 1  # the permit that is not needed is not waited for
        await pool.release(first)
        assert await tasks[1] is first
        await pool.release(first)
    assert (desk.asking, len(peer.sessions)) == (0, 1)


async def test_who_waits_for_a_permit_joins_a_new_connection() -> None:
    desk = Desk()
    async with SMTPPeer(ByCommand(extensions=PIPELINED)) as peer, running_pool(peer) as pool:
        tasks = await waiting(pool, desk, 4)
        await desk.grant()
        first = await tasks[0]
        assert [await task for task in tasks[1:3]] == [first, first]
        await turns()
        assert (tasks[3].done(), desk.asking) == (False, 1)
        await pool.release(first)
        assert await tasks[3] is first
        for _ in range(3):
            await pool.release(first)
        assert first.load == 0
    assert len(peer.sessions) == 1


async def test_a_permit_is_asked_for_before_a_connection_is_shared() -> None:
    """A limit changes nothing as long as it is not reached."""
    desk = Desk()
    async with SMTPPeer(ByCommand(extensions=PIPELINED)) as peer, running_pool(peer) as pool:
        taken = [await pool.acquire(desk.at_once) for _ in range(3)]
        assert len({id(pooled) for pooled in taken}) == 3
        for pooled in taken:
            await pool.release(pooled)


async def test_who_waits_for_a_permit_takes_no_place() -> None:
    """More wait for permits than there are places; others go past them."""
    desk = Desk()
    async with (
        SMTPPeer(ByCommand(extensions=STEPWISE)) as peer,
        running_pool(peer, max_connections=2) as pool,
    ):
        tasks = await waiting(pool, desk, 5)
        one, two = await pool.acquire(), await pool.acquire(desk.at_once)
        assert not any(task.done() for task in tasks)
        await pool.release(one)
        await pool.release(two)
        assert [await task for task in tasks[:2]] == [one, two]
        for task in tasks[2:]:
            task.cancel()
        await asyncio.wait(tasks[2:])
        await pool.release(one)
        await pool.release(two)
    assert (desk.asking, len(peer.sessions)) == (0, 2)


async def test_with_a_permit_one_waits_for_a_place() -> None:
    desk = Desk()
    async with (
        SMTPPeer(ByCommand(extensions=STEPWISE)) as peer,
        running_pool(peer, max_connections=1) as pool,
    ):
        first = await pool.acquire()
        [second, third] = await waiting(pool, desk, 2)
        await desk.grant(2)
        assert not second.done()
        await first.connection.close()
        await pool.release(first)
        taken = await second
        assert taken is not first
        await pool.release(taken)
        assert await third is taken
        await pool.release(taken)
    assert len(peer.sessions) == 2


async def test_a_permit_makes_room_among_connections_of_no_use() -> None:
    """They grew too old while the permit was waited for; each holds a place until it is closed."""
    desk, clock = Desk(), FakeClock()
    async with (
        SMTPPeer(ByCommand(extensions=STEPWISE)) as peer,
        running_pool(peer, clock, max_connections=1, max_age=60.0) as pool,
    ):
        first = await pool.acquire()
        await pool.release(first)
        clock.set(clock.now() + timedelta(seconds=29))
        [second] = await waiting(pool, desk, fresh=True)
        assert not second.done()
        await desk.grant()
        taken = await second
        assert taken is not first
        assert peer.sessions[0].ended
        await pool.release(taken)
    assert len(peer.sessions) == 2


async def test_a_fresh_one_is_none_that_was_idle_before() -> None:
    desk = Desk()
    async with SMTPPeer(ByCommand(extensions=STEPWISE)) as peer, running_pool(peer) as pool:
        stale, busy = await pool.acquire(), await pool.acquire()
        await pool.release(stale)
        [fresh] = await waiting(pool, desk, fresh=True)
        await pool.release(await pool.acquire(desk.at_once))  # takes `stale`, which works after all
        assert await fresh is stale
        [fresh] = await waiting(pool, desk, fresh=True)
        await pool.release(busy)
        assert await fresh is busy
        await pool.release(stale)
        await pool.release(busy)
    assert len(peer.sessions) == 2


async def test_without_a_permit_there_is_no_connection() -> None:
    desk = Desk()
    async with SMTPPeer(ByCommand(extensions=STEPWISE)) as peer, running_pool(peer) as pool:
        [first, second] = await waiting(pool, desk, 2)
        await desk.grant(error=RuntimeError("no"))
        with pytest.raises(RuntimeError, match=r"^no$"):
            await first
        await desk.grant()
        await pool.release(await second)
    assert len(peer.sessions) == 1


async def test_a_refusal_that_comes_with_a_connection_is_of_no_matter() -> None:
    desk = Desk()
    async with SMTPPeer(ByCommand(extensions=STEPWISE)) as peer, running_pool(peer) as pool:
        first = await pool.acquire()
        [second] = await waiting(pool, desk)
        granting = asyncio.create_task(desk.grant(error=RuntimeError("no")))
        await asyncio.sleep(0)
        await pool.release(first)
        assert await second is first
        await granting
        await pool.release(first)
    assert len(peer.sessions) == 1


async def test_a_connection_that_comes_with_cancellation_is_passed_on() -> None:
    desk = Desk()
    async with SMTPPeer(ByCommand(extensions=STEPWISE)) as peer, running_pool(peer) as pool:
        first = await pool.acquire()
        [second, third] = await waiting(pool, desk, 2)
        await pool.release(first)
        second.cancel()
        assert await third is first
        assert (second.cancelled(), desk.asking) == (True, 0)
        await pool.release(first)
        assert first.load == 0


async def test_a_place_that_comes_with_cancellation_is_free_again() -> None:
    desk = Desk()
    async with (
        SMTPPeer(ByCommand(extensions=STEPWISE)) as peer,
        running_pool(peer, max_connections=1) as pool,
    ):
        first = await pool.acquire()
        [second] = await waiting(pool, desk)
        await desk.grant()
        await first.connection.close()
        await pool.release(first)
        second.cancel()
        await asyncio.wait([second])
        await pool.release(await pool.acquire())
    assert len(peer.sessions) == 2


# a queue


class Server:
    """Answers as a server that takes all; with `stalling` destinations, it never ends their transactions."""

    def __init__(self, *stalling: str) -> None:
        self._accept = ByCommand(extensions=STEPWISE)
        self._stalling = stalling

    def __call__(self, line: str, session: PeerSession) -> str | bytes | Close | Stall:
        if line.startswith("RCPT") and any(f"@{name}>" in line for name in self._stalling):
            return Stall("421 4.3.2 closing")
        answer = self._accept(line, session)
        assert isinstance(answer, str | bytes | Close | Stall)
        return answer


@asynccontextmanager
async def limited_queue(peer: SMTPPeer, clock: FakeClock, *, max_connections: int = 20) -> AsyncIterator[Queue]:
    """A queue that opens two connections to slow.example at once, and then one in five seconds."""
    transport = SMTPTransport(
        "127.0.0.1", peer.port, security="none", max_connections=max_connections, pipeline=1, clock=clock
    )
    config = QueueConfig(
        domains={"slow.example": DomainConfig(connections_per_minute=12)},
        worker=WorkerConfig(settle_gather=timedelta(0)),
    )
    async with (
        asyncio.timeout(GUARD),
        Queue(
            MemoryStorage(),
            transports={"relay": transport},
            config=config,
            clock=clock,
            random=Random(1),
        ) as queue,
    ):
        yield queue


async def submit(queue: Queue, *recipients: str) -> list[int]:
    """Submit a message to each, in submissions of their own."""
    receipts = [await queue.submit(BODY, sender="a@here.example", recipients=to) for to in recipients]
    return [receipt.id for [receipt] in receipts]


async def messages(queue: Queue, ids: Sequence[int]) -> list[Message]:
    found = [await queue.get(id_) for id_ in ids]
    return [message for message in found if message is not None]


async def sessions(peer: SMTPPeer, count: int) -> None:
    """Return once so many transactions have stalled, each on a connection of its own."""
    while sum(any(line.startswith("RCPT") for line in session.lines) for session in peer.sessions) < count:  # noqa: ASYNC110
        await asyncio.sleep(0)
    await turns(100)


async def test_so_many_connections_and_the_next_by_the_clock() -> None:
    clock = FakeClock()
    async with SMTPPeer(Server("slow.example")) as peer, limited_queue(peer, clock) as queue:
        await submit(queue, *(f"{n}@slow.example" for n in range(6)))
        async with queue.worker():
            await sessions(peer, 2)
            await clock.advance(4.9)
            await turns(100)
            assert len(peer.sessions) == 2
            for count in (3, 4):
                await clock.advance(5)
                await sessions(peer, count)
                assert len(peer.sessions) == count
            peer.resume()


async def test_other_destinations_go_on() -> None:
    """Although all deliveries share one pool, with fewer places than there are deliveries waiting for permits."""
    clock = FakeClock()
    async with (
        SMTPPeer(Server("slow.example")) as peer,
        limited_queue(peer, clock, max_connections=3) as queue,
    ):
        await submit(queue, *(f"{n}@slow.example" for n in range(10)))
        async with queue.worker():
            await sessions(peer, 2)
            [quick] = await submit(queue, "b@quick.example")
            while (retired := await queue.get_retired(quick)) is None:  # noqa: ASYNC110 - of the sockets' own time
                await asyncio.sleep(0)
            assert retired.success
            peer.resume()


async def test_who_waits_for_a_connection_is_given_back_uncounted() -> None:
    clock = FakeClock()
    async with SMTPPeer(Server("slow.example")) as peer, limited_queue(peer, clock) as queue:
        ids = await submit(queue, *(f"{n}@slow.example" for n in range(6)))
        async with queue.worker() as worker:
            await sessions(peer, 2)
            assert all(message.in_flight for message in await messages(queue, ids))
            worker.stop()
            while sum(message.in_flight for message in await messages(queue, ids)) > 2:  # noqa: ASYNC110
                await asyncio.sleep(0)
            peer.resume()
        waited = await messages(queue, ids[2:])
        assert [(m.attempts, m.in_flight, m.results, m.last_attempt) for m in waited] == [(0, False, (), None)] * 4
        tried = await messages(queue, ids[:2])
        assert [(message.attempts, len(message.results)) for message in tried] == [(1, 1)] * 2
    assert len(peer.sessions) == 2
