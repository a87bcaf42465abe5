"""How transactions are run: in a writer thread, or in the event loop with a thread for the commit alone.

Both put all operations that wait at one moment into one transaction, so that many callers share one fsync. A thread
keeps the event loop free, and is right for a program that serves requests. But the thread and the loop then hand the
interpreter lock to and fro, a row at a time. Statements in the loop save that, and are right for a process that only
delivers; the commit needs no Python, so that the loop goes on beside it.
"""

import asyncio
import queue
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from moxlib.queue.errors import QueueClosed, StorageBusy
from moxlib.queue.storage.sqlite.batch import Batch, Job, SQLiteTx
from moxlib.queue.storage.sqlite.errors import DATABASE_ERRORS, storage_error
from moxlib.queue.storage.sqlite.schema import connect
from moxlib.queue.storage.tx import Tx
from moxlib.queue.storage.waiting import answer, resolve, take_waiting

if TYPE_CHECKING:
    import sqlite3

__all__ = ["LoopWriter", "Readers", "ThreadWriter", "Writer"]

A = TypeVar("A")
R = TypeVar("R")

MAX_BATCH = 1000  # operations in one transaction: some tens of milliseconds at most
LOCK_SECONDS = 60.0  # another process's transaction takes milliseconds; a minute means that it hangs
READERS = 2  # threads that read; more would only queue for the interpreter lock


class Writer(Protocol):
    """Runs operations that write."""

    async def run(self, operation: Callable[[Tx, list[A]], Sequence[R]], argument: A) -> R:
        """Run an operation for an argument, in a transaction with others; durable when this returns."""
        ...

    async def close(self) -> None:
        """Run what waits, then close the connection. Starts no thread: the interpreter may be on its way out."""
        ...


def _refuse(jobs: Sequence[Job], error: BaseException) -> None:
    for job in jobs:
        job.error = error


def _busy(path: Path) -> StorageBusy:
    return StorageBusy(f"{path}: another process kept the database locked for {LOCK_SECONDS:.0f} s")


class ThreadWriter:
    """One thread owns the write connection and drains all that waits into each transaction.

    What is asked for in one turn of the event loop is handed over at its end: so it is in one transaction, and no
    thread that is woken for the first of it takes the interpreter's lock from the loop in the midst of the others.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = connect(path)
        self._batch = Batch(self._connection, str(path))
        self._gathered: list[Job] = []
        self._line: queue.SimpleQueue[Sequence[Job] | None] = queue.SimpleQueue()
        self._closed = False
        self._ended: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._work, name=f"moxlib writer {path.name}", daemon=True)
        self._thread.start()

    async def run(self, operation: Callable[[Tx, list[A]], Sequence[R]], argument: A) -> R:
        """Run an operation in the writer thread's next transaction.

        When the caller is cancelled while it waits, the operation still happens.
        """
        if self._closed:
            raise QueueClosed("the queue is closed")
        loop = asyncio.get_running_loop()
        job = Job(operation, argument, loop)
        self._gathered.append(job)
        if len(self._gathered) == 1:
            loop.call_soon(self._hand_over)
        result: R = await job.future
        return result

    def _hand_over(self) -> None:
        if self._gathered:
            self._line.put(self._gathered)
            self._gathered = []

    async def close(self) -> None:
        """Run what waits, then close the connection. Idempotent."""
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        self._ended = lambda: loop.call_soon_threadsafe(ended.set)
        self._hand_over()
        self._line.put(None)
        await ended.wait()
        self._thread.join()

    def _work(self) -> None:
        try:
            self._work_until_closed()
        finally:
            self._ended()

    def _work_until_closed(self) -> None:
        open_ = True
        while open_:
            turns, open_ = take_waiting(self._line, MAX_BATCH)
            jobs = [job for turn in turns for job in turn]
            for start in range(0, len(jobs), MAX_BATCH):
                self._transact(jobs[start : start + MAX_BATCH])
        self._connection.close()

    def _transact(self, jobs: list[Job]) -> None:
        try:
            if self._batch.begin_waiting(LOCK_SECONDS):
                self._batch.run(jobs)
            else:
                _refuse(jobs, _busy(self._path))
        except BaseException as error:  # noqa: BLE001 - each job's caller gets it
            _refuse(jobs, error)
        answer(jobs)


class LoopWriter:
    """Runs in the event loop what asks something; in a thread the commit, with what returns nothing before it.

    A transaction has all that was asked for in one turn of the loop, or while the one before it was committed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = connect(path, busy_ms=0)
        self._batch = Batch(self._connection, str(path))
        self._jobs: list[Job] = []
        self._busy = False
        """A transaction is about to begin, runs or is committed."""
        self._waited = 0.0
        self._closed = False
        self._line: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=f"moxlib commits {path.name}", daemon=True)
        self._thread.start()

    async def run(self, operation: Callable[[Tx, list[A]], Sequence[R]], argument: A) -> R:
        """Run an operation in this loop's next transaction."""
        if self._closed:
            raise QueueClosed("the queue is closed")
        loop = asyncio.get_running_loop()
        job = Job(operation, argument, loop)
        self._jobs.append(job)
        if not self._busy:
            self._busy = True
            loop.call_soon(self._transact, loop)
        result: R = await job.future
        return result

    async def close(self) -> None:
        """Run what waits, then close the connection. Idempotent."""
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        self._line.put(lambda: loop.call_soon_threadsafe(ended.set))  # after the commit under way
        self._line.put(None)
        await ended.wait()
        self._thread.join()
        self._waited = LOCK_SECONDS  # this is the last try
        if self._jobs and (jobs := self._begin(partial(self._batch.begin_waiting, LOCK_SECONDS))):
            self._batch.run(jobs)
            resolve(jobs)
        self._connection.close()

    def _work(self) -> None:
        while (step := self._line.get()) is not None:
            step()

    def _transact(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._closed:  # `close` runs what waits
            return
        jobs = self._begin(self._batch.begin) if self._jobs else []
        if jobs is None:
            delay = random.uniform(0.0005, 0.005)
            self._waited += delay
            loop.call_later(delay, self._transact, loop)
            return
        self._waited = 0.0
        if not jobs:
            self._busy = False
            return
        before = self._connection.total_changes
        tx = self._batch.work(jobs, put_off=True)
        if tx is not None and (tx.has_more or self._connection.total_changes != before):
            self._line.put(partial(self._commit, jobs, tx, loop))
            return
        if tx is not None:  # nothing was written
            self._batch.commit(jobs, tx)
        self._answer(jobs, loop)

    def _begin(self, begin: Callable[[], bool]) -> list[Job] | None:
        """Begin a transaction for all that wait; None if that is to be tried again, nothing if they were refused."""
        error: BaseException
        try:
            if begin():
                jobs, self._jobs = self._jobs, []
                return jobs
            if self._waited < LOCK_SECONDS:
                return None
            error = _busy(self._path)
        except BaseException as raised:  # noqa: BLE001 - each job's caller gets it
            error = raised
        jobs, self._jobs = self._jobs, []
        _refuse(jobs, error)
        resolve(jobs)
        return []

    def _commit(self, jobs: list[Job], tx: SQLiteTx, loop: asyncio.AbstractEventLoop) -> None:
        """Commit, in the thread."""
        try:
            self._batch.commit(jobs, tx)
        except BaseException as error:  # noqa: BLE001 - each job's caller gets it
            _refuse(jobs, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(self._answer, jobs, loop)

    def _answer(self, jobs: list[Job], loop: asyncio.AbstractEventLoop) -> None:
        resolve(jobs)
        loop.call_soon(self._transact, loop)  # after those who were answered: they may ask for more


class Readers:
    """A few threads with a read connection each; a read sees the last commit before it began."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix=f"moxlib reader {path.name}")
        self._reading: set[asyncio.Future[Any]] = set()
        self._closed = False

    async def run(self, operation: Callable[[Tx], R]) -> R:
        """Run an operation that only reads, on one snapshot."""
        if self._closed:
            raise QueueClosed("the queue is closed")
        loop = asyncio.get_running_loop()
        try:
            reading = loop.run_in_executor(self._pool, self._read, operation)
        except RuntimeError:  # the main thread has ended, and with it all pools; other threads go on
            return self._read(operation)
        self._reading.add(reading)
        reading.add_done_callback(self._reading.discard)
        return await reading

    async def close(self) -> None:
        """Wait for reads under way and close. Idempotent."""
        self._closed = True
        if self._reading:
            await asyncio.wait(self._reading)
        self._pool.shutdown()
        while self._connections:
            self._connections.pop().close()

    def _read(self, operation: Callable[[Tx], R]) -> R:
        try:
            connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
            if connection is None:
                connection = connect(self._path, read_only=True, busy_ms=int(LOCK_SECONDS * 1000))
                self._local.connection = connection
                self._connections.append(connection)
            connection.execute("BEGIN")
            try:
                return operation(SQLiteTx(connection))
            finally:
                if connection.in_transaction:  # a failing disk ends it, and its error is the one to tell
                    connection.execute("ROLLBACK")
        except DATABASE_ERRORS as error:
            raise storage_error(error, str(self._path)) from error
