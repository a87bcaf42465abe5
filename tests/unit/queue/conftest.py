"""A queue with its surroundings: storage in memory and in SQLite, a fake clock, a transport and an observer that tell.

What runs in threads is waited for by what it causes (`Sink.began`, `Ear.heard`), never by time.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from moxlib.queue import (
    AttemptResult,
    Delivered,
    Delivery,
    DSNConfig,
    Message,
    Outcome,
    Queue,
    QueueConfig,
    Retired,
    Submission,
    Transport,
    WorkerConfig,
)
from moxlib.queue.storage.base import Storage
from moxlib.queue.storage.postgres import PostgresStorage
from moxlib.queue.storage.sqlite import SQLiteStorage
from moxlib.queue.submission import NewSubmission
from moxlib.testing import FakeClock, MemoryStorage
from moxlib.testing.run import run_until_empty, run_until_idle
from moxlib.tlsrpt import Result

MAIL = (
    b"From: sender@here.example\r\nTo: a@one.example\r\nSubject: hello\r\n"
    b"Date: Thu, 1 Jan 2026 12:00:00 +0000\r\nMessage-ID: <1@here.example>\r\n\r\nhello\r\n"
)
GUARD = 60  # seconds after which a test that hangs fails instead

Answer = Callable[[Message], Outcome]


class Sink:
    """A transport in memory: records what it is given, answers by recipient, stalls behind `gate` when that is shut."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.answer: Answer = answer or (lambda _: Delivered(text="ok", peer="sink"))
        self.answers: dict[str, list[Outcome]] = {}
        """By recipient's address: what to answer in turn, before `answer` is asked."""
        self.deliveries: list[Delivery] = []
        self.contents: list[bytes] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.stalls: Callable[[Delivery], bool] = lambda _: True
        """Which deliveries wait behind the gate."""
        self.active: Counter[str] = Counter()
        self.peak: Counter[str] = Counter()
        """The most deliveries at once, by destination."""
        self._changed = asyncio.Condition()

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        self.active[delivery.destination] += 1
        self.peak[delivery.destination] = max(self.peak[delivery.destination], self.active[delivery.destination])
        self.deliveries.append(delivery)
        try:
            async with self._changed:
                self._changed.notify_all()
            if self.stalls(delivery):
                await self.gate.wait()
            self.contents.append(b"".join([chunk async for chunk in delivery.content.chunks()]))
            return [self._outcome(message) for message in delivery.messages]
        finally:
            self.active[delivery.destination] -= 1

    def _outcome(self, message: Message) -> Outcome:
        scripted = self.answers.get(message.recipient)
        return scripted.pop(0) if scripted else self.answer(message)

    @property
    def recipients(self) -> list[tuple[str, ...]]:
        """Who each delivery was for."""
        return [delivery.recipients for delivery in self.deliveries]

    async def began(self, count: int) -> None:
        """Return once so many deliveries have begun."""
        async with asyncio.timeout(GUARD), self._changed:
            await self._changed.wait_for(lambda: len(self.deliveries) >= count)


class Ear:
    """An observer that records all it hears."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []
        self._changed = asyncio.Event()

    def _note(self, what: str, value: Any) -> None:
        self.told.append((what, value))
        self._changed.set()

    def submitted(self, submission: NewSubmission, receipts: tuple[Submission, ...]) -> None:
        self._note("submitted", (submission, receipts))

    def attempted(self, message: Message, result: AttemptResult) -> None:
        self._note("attempted", (message, result))

    def tls_results(self, domain: str, results: tuple[Result, ...]) -> None:
        pass

    def lease_lost(self, worker: int, lost: int) -> None:
        self._note("lease_lost", (worker, lost))

    def trouble(self, doing: str, error: Exception) -> None:
        self._note("trouble", (doing, error))

    def of(self, what: str) -> list[Any]:
        """Return what was told of one kind."""
        return [value for kind, value in self.told if kind == what]

    async def heard(self, what: str, count: int = 1) -> list[Any]:
        """Return once so much was told of one kind."""
        async with asyncio.timeout(GUARD):
            while len(self.of(what)) < count:
                self._changed.clear()
                await self._changed.wait()
        return self.of(what)


@dataclass
class Depot:
    """A queue's storage, and what queues on it are made of."""

    make_storage: Callable[[], Storage]
    directory: Path
    kind: str
    clock: FakeClock = field(default_factory=FakeClock)
    sink: Sink = field(default_factory=Sink)
    ear: Ear = field(default_factory=Ear)
    transports: dict[str, Transport] = field(default_factory=dict)

    def queue(
        self,
        *,
        storage: Storage | None = None,
        transports: Mapping[str, Transport] | None = None,
        worker: WorkerConfig | None = None,
        clock: FakeClock | None = None,
        observer: Any = None,
        **config: Any,
    ) -> Queue:
        """Return a queue that is not open yet; another one on the same storage each time.

        It does not tell senders of failures, which most tests are not about, unless `dsn` is given.
        """
        config.setdefault("dsn", DSNConfig.off())
        settings = worker or WorkerConfig(settle_gather=timedelta(0))
        return Queue(
            storage or self.make_storage(),
            transports={"sink": self.sink} if transports is None else transports,
            config=QueueConfig(worker=settings, **config),
            clock=clock or self.clock,
            observer=observer or self.ear,
            random=Random(1),
            token=lambda: "token",
        )

    async def idle(self, queue: Queue) -> None:
        """Deliver all that is due."""
        async with asyncio.timeout(GUARD):
            await run_until_idle(queue)

    async def empty(self, queue: Queue) -> None:
        """Deliver all there is."""
        async with asyncio.timeout(GUARD):
            await run_until_empty(queue, self.clock)

    async def submit(self, queue: Queue, *recipients: str, **options: Any) -> tuple[Submission, ...]:
        """Submit a small message."""
        return await queue.submit(MAIL, recipients=recipients or ("a@one.example",), **options)

    @staticmethod
    async def message(queue: Queue, id_: int) -> Message:
        """Return a message that must be in the queue."""
        message = await queue.get(id_)
        assert message is not None, f"message {id_} is not in the queue"
        return message

    @staticmethod
    async def retired(queue: Queue, id_: int) -> Retired:
        """Return a message that must be in the history."""
        retired = await queue.get_retired(id_)
        assert retired is not None, f"message {id_} is not in the history"
        return retired

    async def dumped(self, queue: Queue, id_: int) -> bytes:
        """Return all that would be sent for a message."""
        return b"".join([chunk async for chunk in queue.dump(id_)])


def memory(_request: pytest.FixtureRequest, _directory: Path) -> Callable[[], Storage]:
    storage = MemoryStorage()
    return lambda: storage


def sqlite(_request: pytest.FixtureRequest, directory: Path) -> Callable[[], Storage]:
    return lambda: SQLiteStorage(directory / "mail.db")


def postgres(request: pytest.FixtureRequest, _directory: Path) -> Callable[[], Storage]:
    url, schema = request.getfixturevalue("postgres_url"), request.getfixturevalue("postgres_schema")
    return lambda: PostgresStorage(url, schema=schema)


@pytest.fixture(autouse=True)
def _all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a destination begin with all its deliveries: how many are under way shall not depend on the machine."""
    monkeypatch.setattr("moxlib.queue.worker.widening.FEW", 1000)


@pytest.fixture(params=[memory, sqlite, postgres], ids=["memory", "sqlite", "postgres"])
def depot(request: pytest.FixtureRequest, tmp_path: Path) -> Depot:
    """A depot on each kind of storage."""
    return Depot(request.param(request, tmp_path), tmp_path, request.param.__name__)


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Depot:
    """A depot on SQLite, for what is about files."""
    return Depot(sqlite(request, tmp_path), tmp_path, "sqlite")
