"""A slow step done by many workers, and its results used in order."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

from moxlib.errors import InputError, StateError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Future
    from types import TracebackType
    from typing import Self

__all__ = ["AsyncWorkQueue", "WorkQueue"]

T = TypeVar("T")
R = TypeVar("R")


def _check_sizes(procs: int, size: int) -> None:
    if procs < 1 or size < 1:
        raise InputError(f"{procs} workers and room for {size} items cannot do any work")


class WorkQueue(Generic[T, R]):
    """Prepares items in worker threads and processes the results in the caller's, in the order of `add`.

    It serves where reading a list is quick and cannot be shared (rows of a database) but a step for each of its items
    is slow and can be (reading a file, waiting for a peer). No more than `size` items are held, so memory is bounded.

    As a context manager it ends with `finish`, or without it when the block raised, and always with `stop`. One thread
    uses it.

    Args:
        procs: how many threads prepare.
        size: how many items may be under way, prepared ones that wait for their turn included; twice `procs`, say.
        prepare: the slow step, called in a worker thread.
        process: what is done with an item and its result, called in the thread that calls `add` or `finish`.
    """

    def __init__(self, procs: int, size: int, prepare: Callable[[T], R], process: Callable[[T, R], object]) -> None:
        _check_sizes(procs, size)
        self._size = size
        self._prepare = prepare
        self._process = process
        self._under_way: deque[tuple[T, Future[R]]] = deque()
        self._workers = ThreadPoolExecutor(procs, "moxlib-workq")  # starts its threads when there is work
        self._stopped = False

    def add(self, item: T) -> None:
        """Give `item` to the workers; if the queue is full, first wait for its head and process what is ready.

        Raises:
            StateError: the queue was stopped.
            Exception: what `prepare` or `process` raised for an earlier item, which is thereby done with; `item` has
                not been added, and the items after the failed one still wait for their turn.
        """
        self._check()
        if len(self._under_way) == self._size:
            self._process_head()
            while self._under_way and self._under_way[0][1].done():
                self._process_head()
        self._under_way.append((item, self._workers.submit(self._prepare, item)))

    def finish(self) -> None:
        """Process what is left.

        Raises:
            StateError: the queue was stopped.
            Exception: what `prepare` or `process` raised for an item, which is thereby done with; the items after it
                still wait for their turn.
        """
        self._check()
        while self._under_way:
            self._process_head()

    def stop(self) -> None:
        """End the workers and return when they have ended; what is left is not processed. May be called again."""
        self._stopped = True
        self._under_way.clear()
        self._workers.shutdown(cancel_futures=True)

    def _check(self) -> None:
        if self._stopped:
            raise StateError("the WorkQueue was stopped")

    def _process_head(self) -> None:
        item, prepared = self._under_way[0]
        try:
            result = prepared.result()
        finally:
            if prepared.done():  # else it was the wait that was interrupted, and the item keeps its place
                self._under_way.popleft()
        self._process(item, result)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None and not self._stopped:
                self.finish()
        finally:
            self.stop()


class AsyncWorkQueue(Generic[T, R]):
    """`WorkQueue` with tasks for threads: at most `procs` of them prepare at a time.

    It must be entered: `async with AsyncWorkQueue(...) as queue`. One task uses it.

    Args:
        procs: how many items are prepared at a time.
        size: how many items may be under way, prepared ones that wait for their turn included; twice `procs`, say.
        prepare: the slow step, awaited in a task of its own.
        process: what is done with an item and its result, awaited in the task that calls `add` or `finish`.
    """

    def __init__(
        self,
        procs: int,
        size: int,
        prepare: Callable[[T], Awaitable[R]],
        process: Callable[[T, R], Awaitable[object]],
    ) -> None:
        _check_sizes(procs, size)
        self._procs = procs
        self._size = size
        self._prepare = prepare
        self._process = process
        self._under_way: deque[tuple[T, asyncio.Task[R]]] = deque()
        self._slots: asyncio.Semaphore | None = None  # only while entered

    async def add(self, item: T) -> None:
        """Give `item` to a task; if the queue is full, first wait for its head and process what is ready.

        Raises:
            StateError: the queue was not entered, or stopped.
            Exception: what `prepare` or `process` raised for an earlier item, which is thereby done with; `item` has
                not been added, and the items after the failed one still wait for their turn.
        """
        import asyncio  # noqa: PLC0415 - the thread form must not pay for it

        slots = self._check()
        if len(self._under_way) == self._size:
            await self._process_head()
            while self._under_way and self._under_way[0][1].done():
                await self._process_head()
        self._under_way.append((item, asyncio.create_task(self._work(slots, item))))

    async def finish(self) -> None:
        """Process what is left.

        Raises:
            StateError: the queue was not entered, or stopped.
            Exception: what `prepare` or `process` raised for an item, which is thereby done with; the items after it
                still wait for their turn.
        """
        self._check()
        while self._under_way:
            await self._process_head()

    async def stop(self) -> None:
        """Cancel the tasks and return when they have ended; what is left is not processed. May be called again."""
        import asyncio  # noqa: PLC0415

        self._slots = None
        tasks = [task for _, task in self._under_way]
        self._under_way.clear()
        for task in tasks:
            task.cancel()
        # Their errors belong to items that are not processed, and so to nobody.
        await asyncio.gather(*tasks, return_exceptions=True)

    def _check(self) -> asyncio.Semaphore:
        if self._slots is None:
            raise StateError("the AsyncWorkQueue was not entered, or stopped")
        return self._slots

    async def _work(self, slots: asyncio.Semaphore, item: T) -> R:
        async with slots:
            return await self._prepare(item)

    async def _process_head(self) -> None:
        import asyncio  # noqa: PLC0415

        item, prepared = self._under_way[0]
        await asyncio.wait([prepared])  # if this is cancelled, the task goes on and the item keeps its place
        self._under_way.popleft()
        await self._process(item, prepared.result())

    async def __aenter__(self) -> Self:
        import asyncio  # noqa: PLC0415

        # No TaskGroup: it would cancel the earlier items when a later one fails, and wrap the error in a group.
        self._slots = asyncio.Semaphore(self._procs)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._slots is not None:
                await self.finish()
        finally:
            await self.stop()
