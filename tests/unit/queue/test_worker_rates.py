"""A worker with rates: messages a second, connections a minute, for all workers together, and by the fake clock."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from moxlib.errors import StorageError
from moxlib.queue import Delivered, Delivery, DomainConfig, MessageFilter, Outcome, Queue, WorkerConfig
from moxlib.queue.limits import Rate
from moxlib.testing import FakeClock, MemoryStorage

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Depot

GUARD = 60  # seconds after which a test that hangs fails instead
SLOW = {"slow.example": DomainConfig(connections_per_minute=12)}  # two at once, then one in five seconds


class Dialer:
    """A transport that opens a connection for each delivery, and notes when."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.opened: list[tuple[float, str]] = []
        """Seconds by the clock, and the recipient."""

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        await delivery.connecting()
        self.opened.append((self._clock.monotonic(), delivery.recipients[0]))
        return [Delivered()] * len(delivery.messages)


class Troubled(MemoryStorage):
    """A storage that can be asked for connections again and again, but not at first."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures

    async def take_connection(self, destination: str, rate: Rate, *, now: datetime) -> datetime | None:
        self.failures -= 1
        if self.failures >= 0:
            raise StorageError("the disk is gone")
        return await super().take_connection(destination, rate, now=now)


@pytest.fixture
def dialer(disk: "Depot") -> Dialer:
    return Dialer(disk.clock)


def queue_in_memory(disk: "Depot", dialer: Dialer | None, **options: Any) -> Queue:
    """Return a queue for which the clock and the loop's turns are all that time is."""
    transports = None if dialer is None else {"dialer": dialer}
    return disk.queue(**{"storage": MemoryStorage(), "transports": transports, "domains": SLOW, **options})


async def submit(disk: "Depot", queue: Queue, count: int, domain: str = "slow.example") -> list[int]:
    """Submit so many messages, each of its own."""
    receipts = [await disk.submit(queue, f"{n}@{domain}") for n in range(count)]
    return [receipt.id for [receipt] in receipts]


async def turns(count: int = 300) -> None:
    """Let everything run that can."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_connections_are_opened_as_the_rate_allows(disk: "Depot", dialer: Dialer) -> None:
    async with queue_in_memory(disk, dialer) as queue:
        await submit(disk, queue, 5)
        async with queue.worker():
            await disk.clock.advance(1)
            await disk.submit(queue, "quick@quick.example")
            await disk.clock.advance(20)
        assert await queue.count_messages() == 0
    assert dialer.opened == [
        (0, "0@slow.example"),
        (0, "1@slow.example"),
        (1, "quick@quick.example"),
        (5, "2@slow.example"),
        (10, "3@slow.example"),
        (15, "4@slow.example"),
    ]


async def test_the_default_is_for_each_destination(disk: "Depot", dialer: Dialer) -> None:
    async with queue_in_memory(disk, dialer, domains={}, connections_per_minute=6) as queue:
        for domain in ("one.example", "two.example"):
            await submit(disk, queue, 2, domain)
        async with queue.worker():
            await disk.clock.advance(10)
    assert dialer.opened == [
        (0, "0@one.example"),
        (0, "0@two.example"),
        (10, "1@one.example"),
        (10, "1@two.example"),
    ]


async def test_all_workers_together_open_as_many(disk: "Depot", dialer: Dialer) -> None:
    transports = {"dialer": dialer}
    async with (
        disk.queue(transports=transports, domains=SLOW) as one,
        disk.queue(transports=transports, domains=SLOW) as two,
    ):
        await submit(disk, one, 10)
        async with asyncio.timeout(GUARD), one.worker(), two.worker():
            for opened in (2, 3, 4):
                while len(dialer.opened) < opened:  # noqa: ASYNC110 - of the threads' own time
                    await asyncio.sleep(0)
                await turns()
                assert len(dialer.opened) == opened
                await disk.clock.advance(5)
    assert [seconds for seconds, _ in dialer.opened[:4]] == [0, 0, 5, 10]


async def test_who_waits_when_the_worker_stops_is_given_back_uncounted(disk: "Depot", dialer: Dialer) -> None:
    async with queue_in_memory(disk, dialer) as queue:
        ids = await submit(disk, queue, 5)
        async with queue.worker() as worker:
            await disk.clock.advance(1)
            assert (await disk.message(queue, ids[2])).in_flight
            worker.stop()
        for id_ in ids[2:]:
            message = await disk.message(queue, id_)
            assert (message.attempts, message.in_flight, message.results, message.last_attempt) == (0, False, (), None)
    assert len(dialer.opened) == 2
    assert len(disk.ear.of("attempted")) == 2


async def test_waiting_is_no_part_of_the_attempt(disk: "Depot", dialer: Dialer) -> None:
    """It takes longer than a delivery may; who waits that long is given back, and tried again, uncounted."""
    settings = WorkerConfig(delivery_timeout=timedelta(seconds=12), settle_gather=timedelta(0))
    async with queue_in_memory(disk, dialer, worker=settings) as queue:
        ids = await submit(disk, queue, 10)
        async with queue.worker():
            await disk.clock.advance(60)
        retired = [await disk.retired(queue, id_) for id_ in ids]
    assert [seconds for seconds, _ in dialer.opened] == [0, 0, 5, 10, 15, 20, 25, 30, 35, 40]
    assert {(each.attempts, len(each.results), each.success) for each in retired} == {(1, 1, True)}


async def test_what_is_held_while_it_waits_is_held_when_it_is_given_back(disk: "Depot", dialer: Dialer) -> None:
    settings = WorkerConfig(delivery_timeout=timedelta(seconds=12), settle_gather=timedelta(0))
    async with queue_in_memory(disk, dialer, worker=settings) as queue:
        ids = await submit(disk, queue, 10)
        async with queue.worker():
            await disk.clock.advance(1)
            assert await queue.hold(MessageFilter(ids=(ids[9],))) == 1
            await disk.clock.advance(60)
        message = await disk.message(queue, ids[9])
        assert (message.hold, message.in_flight, message.attempts, message.results) == (True, False, 0, ())
        assert await queue.count_messages() == 1


async def test_trouble_with_the_count_is_told_and_waited_out(disk: "Depot", dialer: Dialer) -> None:
    async with queue_in_memory(disk, dialer, storage=Troubled(2)) as queue:
        [id_] = await submit(disk, queue, 1)
        async with queue.worker():
            await disk.clock.advance(1.9)
            assert (await disk.message(queue, id_)).in_flight
            await disk.clock.advance(0.1)
        retired = await disk.retired(queue, id_)
    assert (retired.success, retired.attempts, len(retired.results)) == (True, 1, 1)
    assert [(doing, str(error)) for doing, error in disk.ear.of("trouble")] == [
        ("counting connections", "the disk is gone")
    ] * 2
    assert dialer.opened == [(2, "0@slow.example")]


async def test_cancellation_while_waiting_is_an_interruption(disk: "Depot", dialer: Dialer) -> None:
    async with queue_in_memory(disk, dialer) as queue:
        ids = await submit(disk, queue, 3)
        running = asyncio.create_task(queue.run_worker())
        await disk.clock.advance(1)
        for _ in range(2):  # the first one drains
            running.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([running])
        message = await disk.message(queue, ids[2])
        assert (message.in_flight, message.attempts) == (False, len(message.results))


async def test_messages_go_as_the_rate_allows(depot: "Depot") -> None:
    times: Counter[float] = Counter()

    def note(_: object) -> bool:
        times[depot.clock.monotonic()] += 1
        return False

    depot.sink.stalls = note
    domains = {"one.example": DomainConfig(messages_per_second=10)}
    async with depot.queue(domains=domains) as queue:
        for n in range(35):
            await depot.submit(queue, f"{n}@one.example")
        await depot.submit(queue, "quick@quick.example")
        await depot.idle(queue)
        assert times == {0: 11}
        await depot.empty(queue)
        assert await queue.count_messages() == 0
    assert sum(times.values()) == 36
    assert max(times) == pytest.approx(2.6)  # 25 more, in batches of two
    assert all(count <= 2 for seconds, count in times.items() if seconds)


async def test_a_rate_below_one_a_second(depot: "Depot") -> None:
    async with depot.queue(messages_per_second=0.25) as queue:
        for n in range(3):
            await depot.submit(queue, f"{n}@one.example")
        began = depot.clock.now()
        await depot.empty(queue)
        assert depot.clock.now() - began == timedelta(seconds=8)
    assert len(depot.sink.deliveries) == 3


async def test_a_limited_destination_is_looked_after_while_another_stalls(disk: "Depot") -> None:
    """Long before the next poll, although what was claimed filled the lane for less than half."""
    disk.sink.stalls = lambda delivery: delivery.destination == "stalled.example"
    disk.sink.gate.clear()
    settings = WorkerConfig(poll_interval=timedelta(hours=1), lease=timedelta(days=1), settle_gather=timedelta(0))
    domains = {"one.example": DomainConfig(messages_per_second=15)}
    async with queue_in_memory(disk, None, domains=domains, worker=settings) as queue:
        await disk.submit(queue, "x@stalled.example")
        await submit(disk, queue, 60, "one.example")
        async with queue.worker():
            delivered = []
            for seconds in (1, 2):
                await disk.clock.advance(seconds)
                delivered.append(len(disk.sink.deliveries) - 1)
            disk.sink.gate.set()
    assert delivered == [15 + 15, 60]
