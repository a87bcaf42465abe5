"""`Call` and `Holding`: what runs in a portal's loop, and the thread that waits for it.

A call is a coroutine that runs in the loop while the calling thread waits for it. Meanwhile the coroutine can have
functions run in the calling thread (`RunBlocking`): what belongs to that thread, such as a database connection, stays
in it. A holding is a call that pauses inside an `async with` until it is released.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, suppress
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

from moxlib.errors import StateError
from moxlib.queue.storage.base import RunBlocking

if TYPE_CHECKING:
    from moxlib.blocking.portal import Portal

__all__ = ["Call", "Holding"]

T = TypeVar("T")
V = TypeVar("V")

SIGNAL_SECONDS = 0.5  # how long a signal may go unnoticed that comes just before the main thread begins to wait

Letter: TypeAlias = Callable[[], None] | Literal["paused", "done"]
"""What the loop has to say to a thread that waits: to run something, to go on, or that the coroutine has ended."""


class Call(Generic[T]):
    """A coroutine in the loop, and the thread that waits for it.

    Args:
        portal: whose loop.
        make: makes the coroutine; it gets what runs functions in the thread that waits.
    """

    def __init__(self, portal: "Portal", make: Callable[[RunBlocking], Coroutine[Any, Any, T]]) -> None:
        self._portal = portal
        self._make = make
        self._letters: SimpleQueue[Letter] = SimpleQueue()
        self._done = False
        self._given_up = False
        self._deserted = False
        self.begun = False
        """Whether the loop was asked to begin with it."""
        self.task: asyncio.Task[T] | None = None
        """What runs it, from when the loop has begun with it until its result was taken."""

    # in the thread that waits

    def wait(self) -> T:
        """Run the coroutine to its end, and return or raise what it does.

        Raises:
            QueueClosed: the portal was closed before it ended, or is closed.
            StateError: the process was forked, or this is the loop's own thread.
        """
        self.serve()
        return self.result()

    def serve(self) -> None:
        """Begin with it, at first; then do what the loop asks for, until the coroutine pauses or has ended.

        Whatever ends the waiting sooner (KeyboardInterrupt) cancels the coroutine; it is raised when that has ended. A
        second one does not wait for that.

        Raises:
            QueueClosed, StateError: as `wait()` says; the coroutine was not begun.
        """
        try:
            if not self.begun:
                self._portal.begin(self)
            self._serve()
        except BaseException:
            self._give_up()
            raise

    def _give_up(self) -> None:
        self._given_up = True
        posted = self._portal.post(self.cancel)
        if not self.begun or not (posted or self.task):
            return
        try:
            while not self._done:
                self._serve()
        except BaseException:
            self._deserted = True
            self._portal.post(self.cancel)  # again: it may be waiting for a function of its cleanup to be run
            raise
        if self.task is not None and not self.task.cancelled():
            self.task.exception()  # looked at, so that asyncio does not report it as overlooked

    def result(self) -> T:
        """Return, or raise, what the coroutine did. May be called once, when it has ended."""
        task, self.task = self.task, None
        assert task is not None
        try:
            return task.result()
        except asyncio.CancelledError:
            what = f"the {self._portal.what} was closed before this call had ended"
            raise self._portal.refusal(f"{what}; what it was to do may have been done") from None
        finally:
            del task  # which has the error, whose traceback has this frame

    def _serve(self) -> None:
        while not self._done:
            letter = self._next_letter()
            if letter == "paused":
                return
            if letter == "done":
                self._done = True
            else:
                letter()

    def _next_letter(self) -> Letter:
        if threading.current_thread() is not threading.main_thread():
            return self._letters.get()
        while True:  # a signal that comes in the moment before the waiting begins does not end it
            with suppress(Empty):
                return self._letters.get(timeout=SIGNAL_SECONDS)

    # in the loop

    def start(self) -> None:
        """Begin with it."""
        self.task = asyncio.ensure_future(self._main())
        self._portal.calls.add(self)
        self.task.add_done_callback(self._end)

    def cancel(self) -> None:
        """Cancel it, if it has not ended."""
        if self.task is None:  # the thread was interrupted just before it asked for a beginning
            self._letters.put("done")
        else:
            self.task.cancel()

    def pause(self) -> None:
        """Let the thread that waits go on; it comes back for the end."""
        self._letters.put("paused")

    async def run(self, function: Callable[[], V], /) -> V:
        """Run a function in the thread that waits, and return, or raise, what it does.

        Cancelled before the function was begun, it is not run.
        """
        if self._deserted or self.task is None or self.task.done():
            raise StateError("the thread that this function has to run in does not wait any more")
        work: Future[V] = Future()
        self._letters.put(lambda: _do(work, function))
        return await asyncio.wrap_future(work)

    async def _main(self) -> T:
        return await self._make(self.run)

    def _end(self, _task: asyncio.Task[T]) -> None:
        self._portal.calls.discard(self)
        self._letters.put("done")


class Holding(Call[None], Generic[V]):
    """An async context manager that is entered and left in the loop, as a context manager for another thread.

    If it ends by itself, the block goes on, and the error is raised at its end.

    Args:
        portal: in whose loop.
        manager: the async one.
        owner: what is kept alive while it is held.
    """

    def __init__(self, portal: "Portal", manager: AbstractAsyncContextManager[V], *, owner: object = None) -> None:
        super().__init__(portal, lambda _: self._hold())
        self._manager = manager
        self._owner = owner
        self.released: asyncio.Event = asyncio.Event()
        """Set in the loop to leave the manager."""

    def __enter__(self) -> V:
        """Enter the manager, and return what that does."""
        self.serve()
        if self._done:
            self.result()
        return self._value

    def __exit__(
        self, class_: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the manager; in a forked process, where nothing of it is, do nothing."""
        if not self._portal.forked and not self._given_up:  # given up, it was left already
            self.release()
            self.serve()
            self.result()

    def release(self) -> None:
        """Ask for the manager to be left. Idempotent, from any thread, also before it is entered; takes no lock."""
        self._portal.post(self.released.set)

    async def _hold(self) -> None:
        async with self._manager as self._value:
            self.pause()
            await self.released.wait()


def _do(work: Future[V], function: Callable[[], V]) -> None:
    if not work.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except StopIteration as error:  # no future takes one, and no coroutine raises one
        refused = RuntimeError("the function raised StopIteration")
        refused.__cause__ = error
        work.set_exception(refused)
    except Exception as error:  # noqa: BLE001 - the coroutine gets it
        work.set_exception(error)
    else:
        work.set_result(result)
