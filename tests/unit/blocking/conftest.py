"""A queue for code that is not async, on each kind of storage, with a transport and an observer that tell.

Threads are waited for by what they do, never by time.
"""

from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import pytest

from moxlib.blocking import Queue
from moxlib.queue import AttemptResult, Message, NullObserver, QueueConfig, Submission, Transport, WorkerConfig
from moxlib.queue.storage.base import Storage
from moxlib.queue.storage.sqlite import SQLiteStorage
from moxlib.queue.submission import NewSubmission
from moxlib.testing import FakeClock, MemoryStorage, RecordingTransport

T = TypeVar("T")

MAIL = (
    b"From: sender@here.example\r\nTo: a@one.example\r\nSubject: hello\r\n"
    b"Date: Thu, 1 Jan 2026 12:00:00 +0000\r\nMessage-ID: <1@here.example>\r\n\r\nhello\r\n"
)


class Listener(NullObserver):
    """An observer that does as it is told, in the queue's own thread."""

    def __init__(self) -> None:
        self.on_submitted: Callable[[], object] = lambda: None
        self.on_attempted: Callable[[], object] = lambda: None

    def submitted(self, submission: NewSubmission, receipts: tuple[Submission, ...]) -> None:
        self.on_submitted()

    def attempted(self, message: Message, result: AttemptResult) -> None:
        self.on_attempted()


@dataclass
class Depot:
    """A queue's storage, and what queues on it are made of."""

    make_storage: Callable[[], Storage]
    directory: Path
    clock: FakeClock = field(default_factory=FakeClock)
    transport: RecordingTransport = field(default_factory=RecordingTransport)
    listener: Listener = field(default_factory=Listener)

    def queue(self, *, storage: Storage | None = None, transports: Mapping[str, Transport] | None = None) -> Queue:
        """Return a queue that is not open yet; another one on the same storage each time."""
        return Queue(
            storage or self.make_storage(),
            transports=transports or {"test": self.transport},
            config=QueueConfig(worker=WorkerConfig(settle_gather=timedelta(0))),
            clock=self.clock,
            observer=self.listener,
            random=Random(1),
            token=lambda: "token",
        )

    @staticmethod
    def submit(queue: Queue, *recipients: str, **options: Any) -> tuple[Submission, ...]:
        """Submit a small message."""
        return queue.submit(MAIL, recipients=recipients or ("a@one.example",), **options)

    @staticmethod
    def in_loop(queue: Queue, function: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
        """Run a coroutine function in the queue's own event loop."""
        portal, _ = queue._reach()
        return portal.call(function, *args)


def memory(_directory: Path) -> Callable[[], Storage]:
    storage = MemoryStorage()
    return lambda: storage


def sqlite(directory: Path) -> Callable[[], Storage]:
    return lambda: SQLiteStorage(directory / "mail.db")


@pytest.fixture(params=[memory, sqlite], ids=["memory", "sqlite"])
def depot(request: pytest.FixtureRequest, tmp_path: Path) -> Depot:
    """A depot on each kind of storage."""
    return Depot(request.param(tmp_path), tmp_path)


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Threads to call from."""
    with ThreadPoolExecutor(16) as pool:
        yield pool
