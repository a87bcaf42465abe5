"""A queue that fuzzing asks again and again: opening one for each example would be most of the work."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest

from moxlib.errors import MoxlibError
from moxlib.queue import MessageFilter, Queue, QueueConfig
from moxlib.testing import RecordingTransport, run_until_idle

R = TypeVar("R")

CONFIG = QueueConfig(inline_content=200, max_message_size=4000, max_recipients=5)  # so that examples pass the limits


class Target:
    """A queue in an event loop of its own, and what any input must leave it as."""

    def __init__(self, directory: Path) -> None:
        self.database = directory / "mail.db"
        self.transport = RecordingTransport()
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self.queue = Queue.open(self.database, config=CONFIG, transports={"test": self.transport})

    def open(self) -> None:
        self.run(self._stack.enter_async_context(self.queue))

    def close(self) -> None:
        self.run(self._stack.aclose())
        self._runner.close()

    def run(self, what: Coroutine[Any, Any, R]) -> R:
        return self._runner.run(what)

    def attempt(self, what: Callable[[Queue], Coroutine[Any, Any, R]]) -> R | MoxlibError:
        """Ask the queue; return its answer, or its error if that is one of ours: no other may come."""
        try:
            return self.run(what(self.queue))
        except MoxlibError as error:
            result = error
        assert len(str(result)) < 5000, "an error's text is bounded"
        return result

    def content(self, id_: int) -> bytes:
        async def dump() -> bytes:
            return b"".join([chunk async for chunk in self.queue.dump(id_)])

        return self.run(dump())

    def files(self) -> int:
        directory = Path(f"{self.database}.content")
        return len(list(directory.iterdir())) if directory.exists() else 0

    def count(self) -> int:
        return self.run(self.queue.count_messages())

    def empty(self) -> None:
        """Deliver all there is, and see that nothing stays behind."""
        self.run(run_until_idle(self.queue))
        self.run(self.queue.drop(MessageFilter()))
        self.transport.recorded.clear()
        assert (self.count(), self.files()) == (0, 0)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Generator[Target]:
    made = Target(tmp_path_factory.mktemp("fuzz"))
    made.open()
    try:
        yield made
    finally:
        made.close()
