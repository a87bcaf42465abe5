"""How transactions are run on PostgreSQL: on a few connections, in as many threads; inserts many to a commit.

A transaction that another one was in the way of, or whose connection ended before the commit, is run once more.
(Operations have no effects outside the transaction, so that this shows nowhere.) When the connection ends during the
commit, the server is asked, once it is back, how that went: so nothing is done twice, and nothing is taken for done
that is not.
"""

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from uuid import uuid4

import psycopg
from psycopg import errors
from psycopg_pool import ConnectionPool, PoolTimeout

from moxlib.queue.errors import QueueClosed, StorageUnavailable
from moxlib.queue.storage.postgres.errors import first_error, is_conflict, is_lost, storage_error
from moxlib.queue.storage.postgres.tx import Dialect, PostgresTx, SyncStatements
from moxlib.queue.storage.tx import Tx
from moxlib.queue.storage.waiting import Waiting, answer, take_waiting

__all__ = ["Commit", "Doubt", "Engine", "Inserter", "end_stalled", "forget_commits"]

log: logging.Logger = logging.getLogger("moxlib.queue")

A = TypeVar("A")
R = TypeVar("R")
T = TypeVar("T")

PATIENCE = 5.0  # seconds for a connection to be had: as long as a server's restart takes; then callers are refused
CONFLICTS = 10  # times that a transaction is run again because of another one
LOCK_WAITS = 3  # times that a lock is waited for (`lock_timeout`); who stands still with it is ended in between
DOUBT_PAUSE = 0.05  # seconds between asking how a commit went
SESSIONS = "sessions"  # the lock that all share: by it they are known to be this queue's
MAX_BATCH = 500  # submissions in one transaction
RECONNECT = (0.1, 0.25, 0.5, 1.0)  # seconds between a caller's tries to have a new connection made; the last repeats

# A process that is stopped, or a machine that is gone, must not keep its locks: the server ends its session. It does so
# neither in the middle of a pipeline, nor when the client takes no more of an answer: a session is not idle then, and
# `statement_timeout` does not count. So other processes look for such sessions, and end them.
STALL = timedelta(seconds=10)
STALLED = """SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
            AND classid = ?::bigint::oid AND objid = ?::bigint::oid
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
        AND usename = current_user AND xact_start IS NOT NULL AND wait_event_type = 'Client'
        AND state_change < clock_timestamp() - ?::bigint * INTERVAL '1 millisecond'"""
SETTINGS = {
    "idle_in_transaction_session_timeout": "10s",
    "lock_timeout": "10s",
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


def end_stalled(tx: Tx, dialect: Dialect) -> None:
    """End the sessions of this queue that keep the server waiting for their client in the middle of a transaction."""
    key = dialect.lock_key(SESSIONS)
    milliseconds = STALL // timedelta(milliseconds=1)
    for pid, _ in tx.query(STALLED, (key >> 32 & 0xFFFFFFFF, key & 0xFFFFFFFF, milliseconds)):
        log.warning("ended the session of a process that stands still in a transaction (PostgreSQL's process %d)", pid)


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
            configure=self._configure,
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
        running.add_done_callback(self._ended)
        return await asyncio.shield(running)  # who gives up waiting does not keep it from being begun

    def _ended(self, running: "asyncio.Future[Any]") -> None:
        self._running.discard(running)
        if not running.cancelled():
            running.exception()  # looked at: whoever has given up waiting does not

    def transact(self, operation: Callable[[Tx], T]) -> T:
        """Run an operation in a transaction, in this thread."""
        deadline = time.monotonic() + PATIENCE
        conflicts = locked = 0
        while True:
            connection = self._take(deadline)
            try:
                return self._once(connection, operation, deadline)
            except errors.LockNotAvailable as error:
                locked += 1
                if locked == LOCK_WAITS:
                    raise storage_error(error, self._where) from error
                self._end_stalled(connection)
                deadline = time.monotonic() + PATIENCE
            except psycopg.Error as error:
                again = is_lost(connection, error)
                if not again and is_conflict(error):
                    conflicts += 1
                    again = conflicts <= CONFLICTS
                if not again or time.monotonic() > deadline + conflicts:
                    raise storage_error(error, self._where) from error
            except _RolledBack as error:
                if time.monotonic() > deadline:
                    raise StorageUnavailable(f"{self._where}: the connection ended during a commit") from error
            finally:
                self._pool.putconn(connection)  # which replaces it if it is broken

    def _once(self, connection: _Connection, operation: Callable[[Tx], T], deadline: float) -> T:
        committing = False
        tx = PostgresTx(SyncStatements(connection), self._dialect)
        result: Any = None  # until the operation has returned
        commit: Commit | None = None
        try:
            with connection.pipeline() as pipeline:
                tx = PostgresTx(SyncStatements(connection, pipeline), self._dialect)
                connection.execute("BEGIN")
                result = operation(tx)
                commit = _mark(tx, connection)
                committing = True
                connection.execute("COMMIT")
        except BaseException as raised:
            error = first_error(raised)
            lost = isinstance(error, psycopg.Error) and is_lost(connection, error)
            if lost:
                connection.close()  # it may not have noticed yet
            else:
                with suppress(psycopg.Error):  # then the connection is gone, and the transaction with it
                    connection.rollback()
            if not (lost and committing):
                if error is raised:
                    raise
                raise error from None
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

    def _configure(self, connection: _Connection) -> None:
        connection.execute(SET, (list(SETTINGS), list(SETTINGS.values())))
        connection.execute(SYNCHRONOUS)
        connection.execute("SELECT pg_advisory_lock_shared(%s)", (self._dialect.lock_key(SESSIONS),))

    def _end_stalled(self, connection: _Connection) -> None:
        with suppress(psycopg.Error):  # what is tried again will tell
            end_stalled(PostgresTx(SyncStatements(connection), self._dialect), self._dialect)

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


class Inserter:
    """One thread that takes all that waits into each transaction, so that many callers share one commit.

    What is asked for in one turn of the event loop is handed over at its end: a thread that is woken for the first of
    it would take the interpreter's lock from the loop in the midst of the others.
    """

    def __init__(self, engine: Engine, operation: Callable[[Tx, list[A]], Sequence[R]], name: str) -> None:
        self._engine = engine
        self._operation: Callable[[Tx, list[Any]], Sequence[Any]] = operation
        self._gathered: list[Waiting] = []
        self._line: queue.SimpleQueue[Sequence[Waiting] | None] = queue.SimpleQueue()
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
        loop = asyncio.get_running_loop()
        waiting = Waiting(argument, loop)
        self._gathered.append(waiting)
        if len(self._gathered) == 1:
            loop.call_soon(self._send)
        return await waiting.future

    def _send(self) -> None:
        """Hand over what was gathered in this turn of the event loop."""
        if self._gathered:
            self._line.put(self._gathered)
            self._gathered = []

    async def close(self) -> None:
        """Run what waits, then end. Idempotent."""
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        self._ended = lambda: loop.call_soon_threadsafe(ended.set)
        self._send()
        self._line.put(None)
        await ended.wait()
        self._thread.join()

    def _work(self) -> None:
        open_ = True
        while open_:
            turns, open_ = take_waiting(self._line, MAX_BATCH)
            waiting = [one for turn in turns for one in turn]
            for start in range(0, len(waiting), MAX_BATCH):
                batch = waiting[start : start + MAX_BATCH]
                self._insert(batch)
                answer(batch)
        self._ended()

    def _insert(self, batch: list[Waiting]) -> None:
        arguments = [waiting.argument for waiting in batch]
        try:
            results = self._engine.transact(lambda tx: self._operation(tx, arguments))
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
