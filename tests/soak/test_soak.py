"""A queue under load for long: submitters, two workers, an operator who does anything, and nothing that grows."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from itertools import zip_longest
from pathlib import Path
from random import Random

import pytest
from tests.crash.audit import audit
from tests.crash.stage import Stage

from moxlib.queue import (
    Deferred,
    Delivered,
    Delivery,
    EventType,
    Failed,
    MessageFilter,
    Outcome,
    Queue,
    QueueConfig,
    RequireTLS,
    Sort,
    Unknown,
    WorkerConfig,
)
from moxlib.queue.storage.content import CHUNK

MESSAGES = int(os.environ.get("MOXLIB_SOAK_MESSAGES", "3000"))
SEED = int(os.environ.get("MOXLIB_SOAK_SEED", "1"))
SUBMITTERS = 8
BACKLOG = 2000  # messages at most in the queue: what is measured is time, not depth
INLINE = 2000  # bytes: a tenth of the messages are larger, and lie in files
TERMINAL = (EventType.DELIVERED, EventType.FAILED, EventType.CANCELED)
ALL = MessageFilter()

# What may grow after the first half of the messages: the allocator's and SQLite's moods, but nothing per message.
MORE_MEMORY = 24 * 2**20
MORE_FILES = 40  # a delivery of a file opens it


CONFIG = QueueConfig(
    schedule=lambda _: timedelta(milliseconds=20),
    max_attempts=6,
    inline_content=INLINE,
    keep_history=timedelta(seconds=1),
    keep_events=timedelta(seconds=20),
    worker=WorkerConfig(
        poll_interval=timedelta(milliseconds=50),
        purge_interval=timedelta(milliseconds=500),
        delivery_timeout=timedelta(milliseconds=200),
    ),
)


class Moody:
    """A transport that does everything transports do."""

    def __init__(self, random: Random) -> None:
        self._random = random

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        dice = self._random.random()
        async for chunk in delivery.content.chunks():
            assert len(chunk) <= CHUNK
        if dice < 0.002:
            await asyncio.Event().wait()  # hangs: the worker cuts it off
        if dice < 0.01:
            raise ConnectionResetError("the peer went away")
        if dice < 0.02:
            return []
        await asyncio.sleep(0)
        return [self._outcome() for _ in delivery.messages]

    def _outcome(self) -> Outcome:
        dice = self._random.random()
        if dice < 0.8:
            return Delivered(text="taken")
        if dice < 0.95:
            return Deferred(text="later", code=451)
        return Failed(text="no", code=550) if dice < 0.98 else Unknown(text="gone")


class Ledger:
    """Which messages were accepted, and how often each has ended; one byte each, as there may be millions."""

    def __init__(self) -> None:
        self.accepted = bytearray()
        self.ends = bytearray()
        self.accepted_count = 0
        self.ended_count = 0
        self._moved = asyncio.Condition()

    async def accept(self, id_: int) -> None:
        self._mark(self.accepted, id_)
        self.accepted_count += 1
        async with self._moved:
            await self._moved.wait_for(lambda: self.accepted_count - self.ended_count < BACKLOG)

    async def follow(self, queue: Queue) -> None:
        """Read the event log as it grows."""
        after = 0
        while True:
            events = await queue.events(after=after, limit=1000)
            for event in events:
                after = event.id
                if event.type in TERMINAL:
                    self._mark(self.ends, event.message)
                    self.ended_count += 1
            async with self._moved:
                self._moved.notify_all()
            await asyncio.sleep(0 if len(events) == 1000 else 0.02)

    @staticmethod
    def _mark(marks: bytearray, id_: int) -> None:
        if id_ >= len(marks):
            marks.extend(bytes(id_ - len(marks) + 1000))
        marks[id_] += 1


class Operator:
    """Does anything, at any moment."""

    def __init__(self, queue: Queue, random: Random) -> None:
        self._queue = queue
        self._random = random

    def _some(self) -> MessageFilter:
        random = self._random
        return random.choice(
            [
                MessageFilter(destination=f"d{random.randrange(20)}.example"),
                MessageFilter(account=f"account{random.randrange(5)}", hold=random.choice((True, False))),
                MessageFilter(recipient=f"user{random.randrange(100)}@"),
                MessageFilter(in_flight=True),
            ]
        )

    async def act(self) -> None:
        queue, where = self._queue, self._some()
        action = self._random.randrange(11)
        match action:
            case 0:
                await queue.hold(where)
            case 1 | 2:
                await queue.release(where)
            case 3:
                await queue.retry_now(where)
            case 4:
                await queue.reschedule(where, by=timedelta(milliseconds=self._random.randrange(-500, 500)))
            case 5:
                await queue.set_require_tls(where, RequireTLS.NO)
            case 6:
                page = await queue.list_messages(where, limit=1)
                await queue.drop(MessageFilter(ids=tuple(message.id for message in page.items)))
            case 7:
                rule, _ = await queue.add_hold_rule(recipient_domain=f"d{self._random.randrange(20)}.example")
                await asyncio.sleep(0.01)
                await queue.remove_hold_rule(rule)
                await queue.release(MessageFilter(destination=rule.recipient_domain))
            case 8:
                await self._read(where)
            case 9:
                await queue.set_transport(where, None)
            case 10:
                page = await queue.list_messages(where, limit=1)
                await queue.fail(MessageFilter(ids=tuple(message.id for message in page.items)))

    async def _read(self, where: MessageFilter) -> None:
        page = await self._queue.list_messages(where, sort=self._random.choice(list(Sort)), limit=10)
        for message in page.items:
            await self._queue.explain(message.id)
        await self._queue.count_messages(where)
        await self._queue.list_history(limit=10)

    async def run(self) -> None:
        while True:
            await self.act()
            await asyncio.sleep(self._random.uniform(0, 0.02))


async def submit(queue: Queue, random: Random, ledger: Ledger) -> None:
    recipients = [
        f"user{random.randrange(100)}@d{random.randrange(20)}.example" for _ in range(random.choice((1, 1, 3)))
    ]
    size = random.randrange(INLINE, 3 * CHUNK) if random.randrange(10) == 0 else random.randrange(INLINE)
    data = b"Subject: soak\r\n\r\n" + b"x" * 70 + b"\r\n" * (size // 2)
    account = f"account{random.randrange(5)}"
    receipts = await queue.submit(data, account=account, sender="sender@here.example", recipients=recipients)
    for receipt in receipts:
        await ledger.accept(receipt.id)


async def submit_many(queue: Queue, random: Random, ledger: Ledger) -> None:
    while ledger.accepted_count < MESSAGES:
        submitting = asyncio.create_task(submit(queue, random, ledger))
        if random.randrange(50) == 0:  # a caller that gives up waiting
            await asyncio.sleep(random.uniform(0, 0.003))
            submitting.cancel()
        with suppress(asyncio.CancelledError):
            await submitting


async def work(queue: Queue, random: Random) -> None:
    """Run a worker that is stopped and started now and then."""
    while True:
        async with queue.worker():
            await asyncio.sleep(random.uniform(0.3, 2))


@asynccontextmanager
async def background(*jobs: asyncio.Task[None]) -> AsyncIterator[None]:
    """Run jobs beside the block, which ends early if one of them fails."""
    try:
        yield
    finally:
        for job in jobs:
            job.cancel()
        ends = await asyncio.gather(*jobs, return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException) and not isinstance(end, asyncio.CancelledError):
                raise end


def memory() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class Gauge:
    """The most memory and open files in the first half of the messages, and after."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.memory = [0, 0]
        self.files = [0, 0]

    async def run(self) -> None:
        while True:
            half = 0 if self._ledger.accepted_count < MESSAGES / 2 else 1
            self.memory[half] = max(self.memory[half], memory())
            self.files[half] = max(self.files[half], open_files())
            await asyncio.sleep(0.05)


@pytest.mark.soak
async def test_a_queue_under_load_loses_nothing_and_does_not_grow(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "moxlib.queue")  # transports that raise are logged, and kept by pytest
    random = Random(SEED)
    stage, ledger = Stage(tmp_path), Ledger()
    gauge = Gauge(ledger)
    transports = {"moody": Moody(random)}
    files_before = open_files()
    async with (
        Queue.open(stage.database, config=CONFIG, transports=transports) as queue,
        Queue.open(stage.database, config=CONFIG, transports=transports, transactions="loop") as other,
    ):
        start = asyncio.create_task
        follower, gauging = start(ledger.follow(queue)), start(gauge.run())
        async with background(follower, gauging):
            workers = [start(work(queue, random)), start(work(other, random))]
            async with background(*workers, start(Operator(queue, random).run())):
                await asyncio.gather(*(submit_many(queue, random, ledger) for _ in range(SUBMITTERS)))
            async with queue.worker():
                await until(lambda: finished(queue))
            await until(lambda: told(ledger))
    assert contents(stage) == [], "a submit that was given up left its content behind"
    check(ledger)
    await audit(stage)
    assert open_files() <= files_before
    assert gauge.memory[1] - gauge.memory[0] < MORE_MEMORY
    assert gauge.files[1] - gauge.files[0] < MORE_FILES


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    while not await done():  # noqa: ASYNC110 - asked of the file
        await asyncio.sleep(0.05)


async def finished(queue: Queue) -> bool:
    """Undo the operator's holds, and say whether all is delivered."""
    await queue.release(ALL)
    return await queue.count_messages() == 0


async def told(ledger: Ledger) -> bool:
    return all(end or not accepted for accepted, end in zip_longest(ledger.accepted, ledger.ends, fillvalue=0))


def contents(stage: Stage) -> list[Path]:
    return list(Path(f"{stage.database}.content").iterdir())


def check(ledger: Ledger) -> None:
    for id_, (accepted, ends) in enumerate(zip_longest(ledger.accepted, ledger.ends, fillvalue=0)):
        assert accepted <= ends <= 1, f"message {id_} was accepted {accepted} times and ended {ends} times"
