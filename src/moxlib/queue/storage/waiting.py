"""Who waits for a transaction: what an engine's thread takes from its line, and how it answers."""

import asyncio
import queue
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TypeVar

__all__ = ["Waiting", "answer", "resolve", "take_waiting"]

W = TypeVar("W")


class Waiting:
    """An argument that waits to be dealt with, what became of it, and who wants to know."""

    __slots__ = ("argument", "error", "future", "loop", "result")

    def __init__(self, argument: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.argument: Any = argument
        self.loop: asyncio.AbstractEventLoop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.result: Any = None
        self.error: BaseException | None = None


def resolve(done: Sequence[Waiting]) -> None:
    """Answer, in the event loop in which all of them wait."""
    for waiting in done:
        if waiting.future.cancelled():
            continue
        if waiting.error is not None:
            waiting.future.set_exception(waiting.error)
        else:
            waiting.future.set_result(waiting.result)


def answer(done: Sequence[Waiting]) -> None:
    """Answer from another thread: each event loop is woken once, for all that wait there."""
    by_loop: dict[asyncio.AbstractEventLoop, list[Waiting]] = {}
    for waiting in done:
        by_loop.setdefault(waiting.loop, []).append(waiting)
    for loop, here in by_loop.items():
        with suppress(RuntimeError):  # that loop is closed: nobody waits any more
            loop.call_soon_threadsafe(resolve, here)


def take_waiting(line: "queue.SimpleQueue[W | None]", most: int) -> tuple[list[W], bool]:
    """Wait for the first in line, and take all there are, at most so many; False with them: None came, so it ends."""
    taken: list[W] = []
    first = line.get()
    while first is not None:
        taken.append(first)
        if len(taken) >= most:
            break
        try:
            first = line.get_nowait()
        except queue.Empty:
            return taken, True
    return taken, first is not None
