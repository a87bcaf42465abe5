"""A queue under load for long: submitters, workers, an operator who does anything, and nothing that grows.

On PostgreSQL, workers of another process as well, which is killed now and then; and all that must be true of the tables
at any moment is asked all the time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from itertools import zip_longest
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.crash.audit import ORPHANS, SchemaTables, audit, tables
from tests.crash.nursery import ROOT
from tests.crash.stage import Stage
from tests.soak.load import CONFIG, INLINE, MESSAGES, SEED, Moody, work

from moxlib.queue import EventType, MessageFilter, Queue, RequireTLS, Sort
from moxlib.queue.storage.content import CHUNK
from moxlib.queue.worker.group import finish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from tests.postgres import PostgresServer

SUBMITTERS = 8
BACKLOG = 2000  # messages at most in the queue: what is measured is time, not depth
TERMINAL = (EventType.DELIVERED, EventType.FAILED, EventType.CANCELED)
ALL = MessageFilter()

# What may grow after the first half of the messages: the allocator's and SQLite's moods, but nothing per message. It
# was 32 MiB once, on a machine busy with other things; a long run finds what a short one cannot tell from that.
MORE_MEMORY = 48 * 2**20
MORE_FILES = 40  # a delivery of a file opens it

# What must not be, besides what the audit asks for; a turn is a second late where all slots are taken.
STUCK = {
    "more slots than the limit": "SELECT destination FROM moxlib_slot GROUP BY destination HAVING sum(slots) > 10",
    "claimable message whose turn comes too late": """SELECT m.id FROM moxlib_message m
        JOIN moxlib_destination d ON d.name = m.destination
        WHERE m.owner IS NULL AND m.hold = 0 AND d.name NOT IN (WAKES)
        AND d.turn > greatest(m.next_attempt, extract(epoch FROM clock_timestamp()) * 1000000) + 1100000""",
}


class Ledger:
    """Which messages were accepted, and how often each has ended; one byte each, as there may be millions."""

    def __init__(self) -> None:
        self.accepted = bytearray()
        self.ends = bytearray()
        self.events = bytearray()  # those that were read
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
            events = await queue.list_events(after=after, limit=1000)
            for event in events:
                after = event.id
                self._mark(self.events, event.id)
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


class Auditor:
    """Asks, while all are at work, for what must never be."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.times = 0

    async def run(self) -> None:
        while True:
            await asyncio.to_thread(self._ask)
            await asyncio.sleep(0.1)

    def _ask(self) -> None:
        settings = self._stage.settings
        with psycopg.connect(settings.database, autocommit=True) as connection:
            found = SchemaTables(connection, settings.schema)
            for what, sql in (ORPHANS | STUCK).items():
                assert found.rows(sql) == [], what
        self.times += 1


class Neighbour:
    """Another process with workers of its own, ended in every way, and started again."""

    def __init__(self, stage: Stage, random: Random) -> None:
        self._settings = stage.settings
        self._random = random
        self.killed = 0

    async def run(self) -> None:
        while True:
            seed = str(self._random.random())
            given = self._settings.database, self._settings.schema, seed
            pipe = asyncio.subprocess.PIPE
            program = "-W", "error", "-m", "tests.soak.deliverer"
            process = await asyncio.create_subprocess_exec(sys.executable, *program, *given, cwd=ROOT, stdin=pipe)
            try:
                await asyncio.sleep(self._random.uniform(0.5, 4))
            finally:
                await finish(asyncio.create_task(self._end(process)))

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        if kill := self._random.randrange(2) == 0:
            process.kill()
            self.killed += 1
        process.stdin.close()
        code = await process.wait()
        assert kill or code == 0, "the other process failed"


@pytest.fixture(params=["sqlite", "postgres"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    if request.param == "sqlite":
        yield Stage(tmp_path)
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    request.getfixturevalue("postgres_url")  # shows what it has logged
    before = len(server.log)
    with server.database() as url:
        yield Stage(tmp_path, url=url, schema="mail")
    assert "deadlock detected" not in server.log[before:]


def opened(stage: Stage, random: Random, **options: Any) -> Queue:
    transports = {"moody": Moody(random)}
    if stage.settings.on_postgres:
        return Queue.open(stage.settings.database, schema=stage.settings.schema, config=CONFIG, transports=transports)
    return Queue.open(stage.database, config=CONFIG, transports=transports, **options)


@pytest.mark.soak
async def test_a_queue_under_load_loses_nothing_and_does_not_grow(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "moxlib.queue")  # transports that raise are logged, and kept by pytest
    random = Random(SEED)
    ledger = Ledger()
    gauge, auditor = Gauge(ledger), Auditor(stage)
    files_before = open_files()
    start = asyncio.create_task
    async with opened(stage, random) as queue, opened(stage, random, transactions="loop") as other:
        watching = [start(ledger.follow(queue)), start(gauge.run())]
        if stage.settings.on_postgres:
            watching.append(start(auditor.run()))
        async with background(*watching):
            workers = [start(work(queue, random)), start(work(other, random))]
            if stage.settings.on_postgres:
                workers.append(start(Neighbour(stage, random).run()))
            async with background(*workers, start(Operator(queue, random).run())):
                await asyncio.gather(*(submit_many(queue, random, ledger) for _ in range(SUBMITTERS)))
            async with queue.worker():
                await until(lambda: finished(queue))
            last = await queue.last_event()
            await until(lambda: told(ledger, last))
    check(ledger)
    await audit(stage)
    check_end(stage, ledger)
    assert open_files() <= files_before
    assert gauge.memory[1] - gauge.memory[0] < MORE_MEMORY
    assert gauge.files[1] - gauge.files[0] < MORE_FILES
    assert auditor.times > 0 or not stage.settings.on_postgres


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    while not await done():  # noqa: ASYNC110 - asked of the file
        await asyncio.sleep(0.05)


async def finished(queue: Queue) -> bool:
    """Undo the operator's holds, and say whether all is delivered.

    A message whose last attempt a worker's end cut off has another one only in an hour.
    """
    await queue.release(ALL)
    await queue.retry_now(MessageFilter(in_flight=False))
    return await queue.count_messages() == 0


async def told(ledger: Ledger, last: int) -> bool:
    """Say whether all events are read, of messages too whose submit was given up and that were queued all the same."""
    if not any(ledger.events[last : last + 1]):
        return False
    return all(end or not accepted for accepted, end in zip_longest(ledger.accepted, ledger.ends, fillvalue=0))


def check(ledger: Ledger) -> None:
    for id_, (accepted, ends) in enumerate(zip_longest(ledger.accepted, ledger.ends, fillvalue=0)):
        assert accepted <= ends <= 1, f"message {id_} was accepted {accepted} times and ended {ends} times"


def check_end(stage: Stage, ledger: Ledger) -> None:
    """Check that nothing is left, and that whoever read the events from one to the next has read them all."""
    if not stage.settings.on_postgres:
        left = list(Path(f"{stage.database}.content").iterdir())
        assert left == [], "a submit that was given up left its content behind"
    with tables(stage) as found:
        for name in ("message", "content", "chunk", "worker", "slot"):
            assert found.rows(f"SELECT * FROM moxlib_{name}") == [], name
        for (id_,) in found.rows("SELECT id FROM moxlib_event"):
            assert ledger.events[id_] == 1, f"event {id_} was read {ledger.events[id_]} times"
