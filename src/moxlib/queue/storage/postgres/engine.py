"""How transactions are run on PostgreSQL: on a few connections, in as many threads; inserts many to a commit.

A transaction that another one was in the way of, or whose connection ended before the commit, is run once more.
(Operations have no effects outside the transaction, so that this shows nowhere.) When the connection ends during the
commit, the server is asked, once it is back, how that went: so nothing is done twice, and nothing is taken for done
that is not.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import uuid4

import psycopg
from psycopg import errors
from psycopg_pool import ConnectionPool, PoolTimeout

from moxlib.queue.errors import QueueClosed, StorageUnavailable
from moxlib.queue.storage.postgres.errors import is_conflict, is_lost, storage_error
from moxlib.queue.storage.postgres.tx import COPY_ROWS, Dialect, PostgresTx, SyncStatements
from moxlib.queue.storage.tx import Tx
from moxlib.queue.storage.waiting import Waiting, answer, take_waiting

__all__ = ["Commit", "Doubt", "Engine", "Inserter", "forget_commits"]

A = TypeVar("A")
R = TypeVar("R")
T = TypeVar("T")

PATIENCE = 5.0  # seconds for a connection to be had: as long as a server's restart takes; then callers are refused
CONFLICTS = 10  # times that a transaction is run again because of another one
DOUBT_PAUSE = 0.05  # seconds between asking how a commit went
MAX_BATCH = 500  # submissions in one transaction
RECONNECT = (0.1, 0.25, 0.5, 1.0)  # seconds between a caller's tries to have a new connection made; the last repeats

# A process that is stopped, or a machine that is gone, must not keep its locks: the server ends its session.
SETTINGS = {
    "idle_in_transaction_session_timeout": "10s",
    "lock_timeout": "30s",
    "statement_timeout": "0",
    "default_transaction_isolation": "read committed",
    "client_min_messages": "warning",
    "search_path": "pg_catalog",
    # Every hot statement has its index. A plan made when a table was small, or not analyzed yet, must not read all of
    # it, or sort a backlog of a million for the first ten. (What has no index is read and sorted all the same.)
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_sort": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
SET = "SELECT set_config(name, value, false) FROM unnest(%s::text[], %s::text[]) AS given (name, value)"
# What was accepted survives a crash of the server: where it is configured not to wait for its disk, it does for us.
SYNCHRONOUS = """SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') = 'off'"""
# A transaction that has written something leaves a mark in itself: by that it is known later, should its connection end
# during the commit. Its id alone is not enough. After a crash of the server, the ids of transactions of which nothing
# had reached the disk are given out again, and such an id is said to be committed when the other one is.
MARK = """INSERT INTO moxlib_commit (connection, number) VALUES (?, ?)
    ON CONFLICT (connection) DO UPDATE SET number = excluded.number, at = excluded.at"""
STATUS = "SELECT pg_xact_status(%s::text::xid8)"
MARKED = "SELECT 1 FROM moxlib_commit WHERE connection = ? AND number = ?"
FORGET = "DELETE FROM moxlib_commit WHERE at < now() - INTERVAL '1 day'"  # a connection that lives on marks anew


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """What a transaction is known by: its id, and its mark."""

    xid: str
    connection: str
    number: int


class Doubt(StorageUnavailable):
    """A commit whose end is not known yet, and what it takes to find out."""

    def __init__(self, text: str, commit: Commit, result: object) -> None:
        super().__init__(text, in_doubt=True)
        self.commit = commit
        self.result = result


class _Connection(psycopg.Connection[Any]):
    """A connection with a name that no other has had, and a count of its transactions."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.id = uuid4().hex
        self.transactions = 0


def forget_commits(tx: Tx) -> None:
    """Drop the marks of connections that are long gone."""
    tx.execute(FORGET)


class Engine:
    """Runs transactions; one for each open queue."""

    def __init__(self, conninfo: str, where: str, dialect: Dialect, connections: int) -> None:
        self._where = where
        self._dialect = dialect
        self._pool = ConnectionPool(
            conninfo,
            min_size=1,
            max_size=connections,
            open=False,
            connection_class=_Connection,
            configure=_configure,
            reconnect_timeout=0,  # its own tries come ever later, and may be as long in coming as the server was away
            kwargs={"autocommit": True, "prepare_threshold": 2},
            name=f"moxlib {where}",
        )
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix=f"moxlib {where}")
        self._running: set[asyncio.Future[Any]] = set()
        self._closed = False

    def open(self) -> None:
        """Begin to connect. Blocks for no longer than a caller would wait."""
        self._pool.open()

    async def close(self) -> None:
        """Wait for what runs, then disconnect. Idempotent. Starts no thread: the interpreter may be on its way out."""
        if self._closed:
            return
        self._closed = True
        if self._running:
            await asyncio.wait(self._running)
        self._threads.shutdown()
        self._pool.close()

    async def run(self, operation: Callable[[Tx], T]) -> T:
        """Run an operation in a transaction of its own, in a thread; durable when this returns.

        When the caller is cancelled while it waits, the operation still happens.

        Raises:
            StorageUnavailable: the server is not to be had in time.
            StorageError: it refused.
        """
        return await self.in_thread(lambda: self.transact(operation))

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Run a function that blocks."""
        if self._closed:
            raise QueueClosed("the queue is closed")
        running = asyncio.get_running_loop().run_in_executor(self._threads, function)
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return await running

    def transact(self, operation: Callable[[Tx], T], *, pipelined: bool = True) -> T:
        """Run an operation in a transaction, in this thread; pipelined unless it had better copy many rows."""
        deadline = time.monotonic() + PATIENCE
        conflicts = 0
        while True:
            connection = self._take(deadline)
            try:
                return self._once(connection, operation, deadline, pipelined=pipelined)
            except psycopg.Error as error:
                again = is_lost(connection, error)
                if not again and is_conflict(error):
                    conflicts += 1
                    again = conflicts <= CONFLICTS
                if not again or time.monotonic() > deadline + conflicts:
                    raise storage_error(error, self._where) from error
            except _RolledBack:
                continue
            finally:
                self._pool.putconn(connection)  # which replaces it if it is broken

    def _once(self, connection: _Connection, operation: Callable[[Tx], T], deadline: float, *, pipelined: bool) -> T:
        committing = False
        tx = PostgresTx(SyncStatements(connection), self._dialect)
        result: Any = None  # until the operation has returned
        commit: Commit | None = None
        try:
            with connection.pipeline() if pipelined else nullcontext() as pipeline:
                tx = PostgresTx(SyncStatements(connection, pipeline), self._dialect)
                connection.execute("BEGIN")
                result = operation(tx)
                commit = _mark(tx, connection)
                committing = True
                connection.execute("COMMIT")
        except BaseException as error:
            if not (committing and isinstance(error, psycopg.Error) and is_lost(connection, error)):
                with suppress(psycopg.Error):  # then the connection is gone, and the transaction with it
                    connection.rollback()
                raise
            if commit is not None and not self.committed(commit, result, deadline):
                raise _RolledBack from error
        for action in tx.actions:
            action()
        returned: T = result
        return returned

    def committed(self, commit: Commit, result: object, deadline: float | None = None) -> bool:
        """Say how a commit went whose connection ended; asks until the server is back.

        Raises:
            Doubt: it did not come back in time.
        """
        until = time.monotonic() + PATIENCE if deadline is None else deadline
        text = f"{self._where}: the connection ended during a commit, and nobody can say how that went"
        while True:
            try:
                with self._lent(until) as connection:
                    known = self._look(connection, commit)
            except (StorageUnavailable, psycopg.Error) as error:
                raise Doubt(text, commit, result) from error
            if known is not None:
                return known
            if time.monotonic() > until:
                raise Doubt(text, commit, result)
            time.sleep(DOUBT_PAUSE)

    def _look(self, connection: _Connection, commit: Commit) -> bool | None:
        """Look once how a commit went.

        None: the server has not noticed yet that its client is gone; or this connection has ended, too.
        """
        try:
            [[status]] = connection.execute(STATUS, (commit.xid,)).fetchall()
            if status in ("in progress", "aborted"):
                return None if status == "in progress" else False
            mark = (commit.connection, commit.number)
            return bool(connection.execute(self._dialect(MARKED), mark).fetchall())
        except errors.InvalidParameterValue:  # "in the future": a crash undid it, and its id is free again
            return False
        except psycopg.Error as error:
            if not is_lost(connection, error):
                raise
            return None

    @contextmanager
    def _lent(self, deadline: float) -> Iterator[_Connection]:
        connection = self._take(deadline)
        try:
            yield connection
        finally:
            self._pool.putconn(connection)  # which replaces it if it is broken

    @contextmanager
    def connection(self) -> "Iterator[psycopg.Connection[Any]]":
        """Lend a connection, in no transaction.

        Raises:
            StorageUnavailable: none is to be had in time.
        """
        with self._lent(time.monotonic() + PATIENCE) as connection:
            yield connection

    def _take(self, deadline: float) -> _Connection:
        tries = 0
        while True:
            left = max(0.01, deadline - time.monotonic())
            wait = RECONNECT[min(tries, len(RECONNECT) - 1)]
            tries += 1
            try:
                return self._pool.getconn(timeout=min(wait, left))  # which has the pool connect, if it may have more
            except PoolTimeout as error:
                if left <= wait:
                    raise StorageUnavailable(f"{self._where}: the database server cannot be reached") from error


class _RolledBack(Exception):
    """A commit in doubt turned out not to have happened."""


def _mark(tx: PostgresTx, connection: _Connection) -> Commit | None:
    """Leave the transaction's mark, as the last of what it writes; None: it has written nothing."""
    xid = tx.xid()
    if xid is None:
        return None
    connection.transactions += 1
    commit = Commit(xid=xid, connection=connection.id, number=connection.transactions)
    tx.executemany(MARK, [(commit.connection, commit.number)])
    return commit


def _configure(connection: "psycopg.Connection[Any]") -> None:
    connection.execute(SET, (list(SETTINGS), list(SETTINGS.values())))
    connection.execute(SYNCHRONOUS)


class Inserter:
    """One thread that takes all that waits into each transaction, so that many callers share one commit."""

    def __init__(self, engine: Engine, operation: Callable[[Tx, list[A]], Sequence[R]], name: str) -> None:
        self._engine = engine
        self._operation: Callable[[Tx, list[Any]], Sequence[Any]] = operation
        self._line: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._closed = False
        self._ended: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._work, name=f"moxlib inserter {name}", daemon=True)
        self._thread.start()

    async def run(self, argument: Any) -> Any:
        """Run the operation for an argument, in a transaction with others; durable when this returns.

        When the caller is cancelled while it waits, the operation still happens.
        """
        if self._closed:
            raise QueueClosed("the queue is closed")
        waiting = Waiting(argument, asyncio.get_running_loop())
        self._line.put(waiting)
        return await waiting.future

    async def close(self) -> None:
        """Run what waits, then end. Idempotent."""
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        self._ended = lambda: loop.call_soon_threadsafe(ended.set)
        self._line.put(None)
        await ended.wait()
        self._thread.join()

    def _work(self) -> None:
        open_ = True
        while open_:
            batch, open_ = take_waiting(self._line, MAX_BATCH)
            if batch:
                self._insert(batch)
                answer(batch)
        self._ended()

    def _insert(self, batch: list[Waiting]) -> None:
        arguments = [waiting.argument for waiting in batch]
        try:
            copies = len(batch) >= COPY_ROWS
            results = self._engine.transact(lambda tx: self._operation(tx, arguments), pipelined=not copies)
        except BaseException as error:  # noqa: BLE001 - each caller gets its own
            if len(batch) == 1 or isinstance(error, StorageUnavailable):  # then alone they would fare no better
                for waiting in batch:
                    waiting.error = error
            else:
                for waiting in batch:
                    self._insert([waiting])
        else:
            for waiting, result in zip(batch, results, strict=True):
                waiting.result = result
