"""`DaemonPool`: the loop's default executor, which still works while the interpreter exits.

`concurrent.futures` closes all of its pools as soon as the main thread ends. Other threads may go on for long after
that, and what the queue accepts from them has to be written; and in the end the worker has to drain.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import ParamSpec, TypeVar

__all__ = ["DaemonPool"]

P = ParamSpec("P")
T = TypeVar("T")

MAX_THREADS = 8  # they read files and look up names; more would only wait for the same disk


class DaemonPool(ThreadPoolExecutor):
    """A pool of daemon threads, started when they are needed; the first one at once.

    It is a `ThreadPoolExecutor` because asyncio takes nothing else, and uses none of that class's threads.
    """

    def __init__(self, max_workers: int = MAX_THREADS) -> None:
        super().__init__(max_workers)
        self._most = max_workers
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._free = threading.Semaphore(0)
        self._guard = threading.Lock()
        self._daemons: list[threading.Thread] = []
        self._ended = False
        self._grow()  # an interpreter that exits starts no threads any more

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function in one of the threads.

        Raises:
            RuntimeError: the pool was shut down.
        """
        future: Future[T] = Future()
        with self._guard:
            if self._ended:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._jobs.put(partial(_run, future, partial(fn, *args, **kwargs)))
            if not self._free.acquire(blocking=False) and len(self._daemons) < self._most:
                with suppress(RuntimeError):  # the interpreter exits: those that are there have to do
                    self._grow()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002 - none is waiting
        """End the threads when they have done what was submitted. Idempotent."""
        with self._guard:
            self._ended = True
        for _ in self._daemons:
            self._jobs.put(None)
        if wait:
            for thread in self._daemons:
                thread.join()

    def _grow(self) -> None:
        thread = threading.Thread(target=self._work, name="moxlib pool", daemon=True)
        thread.start()
        self._daemons.append(thread)

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                self._free.release()
                job = self._jobs.get()
            if job is None:
                return
            job()
            del job  # what it holds must not live until the next one comes


def _run(future: Future[T], call: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:  # noqa: BLE001 - whoever waits for the future gets it
        future.set_exception(error)
    else:
        future.set_result(result)
