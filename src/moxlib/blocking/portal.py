"""`Portal`: an event loop in a thread of its own, and the way into it for all other threads.

How it ends: new calls are refused; holdings are released, and end; calls under way get a moment to end; what the
portal was opened with is closed; then the loop and its threads end. The same happens when the interpreter exits with
the portal open. `concurrent.futures` and non-daemon threads are gone by then, daemon threads are not: so the loop's
thread is one, its executor needs no new threads (see `pool`), and an `atexit` handler waits for the end.
"""

import asyncio
import atexit
import os
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager
from typing import Any, ParamSpec, TypeVar

from moxlib.blocking.call import Call, Holding
from moxlib.blocking.pool import DaemonPool
from moxlib.errors import StateError
from moxlib.queue.errors import QueueClosed

__all__ = ["Portal"]

P = ParamSpec("P")
T = TypeVar("T")

CLOSE_SECONDS = 5.0  # what calls under way get to end by themselves; they take milliseconds, if nothing hangs


class Portal:
    """An event loop in a daemon thread, open for as long as an async context manager is.

    Args:
        scope: makes what is entered in the loop before the first call, and left after the last one.
        name: the thread's.
        what: what it is that is open, for errors.
        closed: the error of calls that come too late.
    """

    def __init__(
        self,
        scope: Callable[[], AbstractAsyncContextManager[object]],
        *,
        name: str,
        what: str = "queue",
        closed: type[StateError] = QueueClosed,
    ) -> None:
        self._scope = scope
        self.what = what
        """What it is that is open."""
        self._closed_error = closed
        self._pool = DaemonPool()
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(self._pool)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._pid = os.getpid()
        self._lock = threading.RLock()  # a finalizer may come in while its own thread is in here
        self._refusing = False
        self._exiting = False
        self._stopped = asyncio.Event()
        self.calls: set[Call[Any]] = set()
        """Those under way; only the loop looks at it."""
        self._closers: set[asyncio.Task[None]] = set()
        self._opened: Future[None] = Future()
        self._closed: Future[None] = Future()

    # in any other thread

    def start(self) -> None:
        """Start the thread and enter the scope.

        Raises:
            Exception: what entering it raised.
        """
        atexit.register(self._close_at_exit)
        try:
            self._thread.start()
            self._opened.result()
        except BaseException:
            self.abandon()
            if self._thread.ident is not None:  # an interpreter that exits starts none
                self._thread.join()
            atexit.unregister(self._close_at_exit)
            raise

    def close(self) -> None:
        """End everything as the module says; return when the loop's thread has ended. Idempotent.

        Interrupted, it cancels whatever it waits for. In a process forked from the one that opened it, nothing happens.

        Raises:
            StateError: it was called in the loop's own thread.
            Exception: what leaving the scope raised.
        """
        if self.forked:
            return
        self._check_thread()
        try:
            self.abandon()
            self._closed.result()
        finally:
            if self._closed.done():
                self._thread.join()
                atexit.unregister(self._close_at_exit)
            else:
                self.post(self._cancel_calls)

    def abandon(self) -> None:
        """Begin to close, and wait for nothing: for where waiting is not possible."""
        if self.forked:
            return
        with self._lock:
            self._refusing = True
            self.post(self._stopped.set)

    @property
    def forked(self) -> bool:
        """Whether this is not the process that opened it; a fork copies no threads, so nothing runs here."""
        return os.getpid() != self._pid

    @property
    def closed(self) -> bool:
        """Whether it was closed, or is about to be."""
        return self._refusing

    def call(self, function: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a coroutine function in the loop and return, or raise, what it does."""
        return Call(self, lambda _: function(*args, **kwargs)).wait()

    def iterate(self, source: AsyncIterator[T]) -> Iterator[T]:
        """Yield what an async iterator does."""
        try:
            while (item := self.call(_next, source)) is not None:
                yield item[0]
        except GeneratorExit:  # given up, or collected as garbage, in whatever thread: so wait for nothing
            if isinstance(source, AsyncGenerator):
                self.post(lambda: self._close_soon(source))
            raise

    def post(self, action: Callable[[], object]) -> bool:
        """Have the loop call something soon; False if it has ended. Takes no lock: right for a signal handler."""
        if self.forked:
            return False
        try:
            self._loop.call_soon_threadsafe(action)
        except RuntimeError:  # the loop is closed
            return False
        return True

    def begin(self, call: Call[Any]) -> None:
        """Start a call in the loop.

        Raises:
            QueueClosed, or what `closed` says: the portal is closed, or closing.
            StateError: the process was forked, or this is the loop's own thread.
        """
        self.check_process()
        self._check_thread()
        with self._lock:  # with it, no call comes after the order to stop
            if self._refusing:
                raise self.refusal(f"the {self.what} is closed")
            call.begun = True
            self._loop.call_soon_threadsafe(call.start)

    def refusal(self, reason: str) -> BaseException:
        """Return what a thread gets whose call is not made, or not to its end, because the portal is closed."""
        if self._exiting and threading.current_thread().daemon:
            # The program has ended, and this thread is what it left behind. An error that nobody is there to handle
            # would be printed; this ends the thread in silence, and lets it clean up, as long as it still can.
            return SystemExit(reason)
        return self._closed_error(reason)

    def check_process(self) -> None:
        """Refuse to go on in a forked process.

        Raises:
            StateError: this is not the process that opened it.
        """
        if self.forked:
            raise StateError(
                f"the {self.what} was opened before this process was forked: open one after the fork, in it"
            )

    def _check_thread(self) -> None:
        if threading.get_ident() == self._thread.ident:
            raise StateError(
                f"this is the {self.what}'s own event loop, which would wait for itself: call from another thread"
            )

    def _close_at_exit(self) -> None:
        self._exiting = True
        self.close()

    # in the loop's thread

    def _run(self) -> None:
        teller = self._opened
        try:
            try:
                self._loop.run_until_complete(self._main())
            finally:
                teller = self._closed if self._opened.done() else self._opened
                self._end_loop()
        except BaseException as error:  # noqa: BLE001 - whoever opens or closes the portal gets it
            teller.set_exception(error)
        if not self._closed.done():
            self._closed.set_result(None)

    async def _main(self) -> None:
        async with self._scope():
            self._opened.set_result(None)
            await self._stopped.wait()
            await self._end_calls()

    async def _end_calls(self) -> None:
        held = [call for call in self.calls if isinstance(call, Holding)]
        for holding in held:
            holding.released.set()
        await _ended(held)
        await _ended(self.calls, CLOSE_SECONDS)
        self._cancel_calls()
        await _ended(self.calls)

    def _cancel_calls(self) -> None:
        for call in self.calls:
            call.cancel()

    def _end_loop(self) -> None:
        with self._lock:
            self._refusing = True  # it may have ended by itself
        loop = self._loop
        try:
            while tasks := asyncio.all_tasks(loop):
                for task in tasks:
                    task.cancel()
                loop.run_until_complete(asyncio.wait(tasks))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            self._pool.shutdown(wait=not self._exiting)  # what still runs there at exit, nobody waits for
            loop.close()

    def _close_soon(self, source: AsyncGenerator[Any, Any]) -> None:
        closer = self._loop.create_task(_close(source))
        self._closers.add(closer)
        closer.add_done_callback(self._closers.discard)


async def _ended(calls: Iterable[Call[Any]], seconds: float | None = None) -> None:
    """Return when the calls have ended, or after some seconds."""
    tasks = [call.task for call in calls if call.task is not None]
    if tasks:
        await asyncio.wait(tasks, timeout=seconds)


async def _next(source: AsyncIterator[T]) -> tuple[T] | None:
    """Return the next item; None after the last one."""
    try:
        return (await anext(source),)
    except StopAsyncIteration:
        return None


async def _close(source: AsyncGenerator[Any, Any]) -> None:
    await source.aclose()
