"""A submit in the caller's own transaction on an SQLite connection: `sqlite3`'s, or aiosqlite's."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from moxlib.queue.errors import InvalidConnection
from moxlib.queue.storage.callers import Ask, refuse
from moxlib.queue.storage.sqlite.batch import SQLiteTx
from moxlib.queue.storage.sqlite.errors import DATABASE_ERRORS, storage_error
from moxlib.queue.storage.tx import Row, Value

__all__ = ["AioSQLiteConnection", "is_aiosqlite", "joined"]

WANTED = "an SQLite connection (sqlite3, aiosqlite, or SQLAlchemy with one of them)"
LOCK = "UPDATE main.moxlib_queue SET id = id WHERE 0"  # changes nothing, but has the transaction write from now on
QUEUE = "SELECT id FROM main.moxlib_queue"
NAME = "the caller's connection"  # to what an error is put down


def is_aiosqlite(connection: object) -> bool:
    """Say whether it is aiosqlite's connection, without importing aiosqlite."""
    class_ = type(connection)
    return class_.__module__.split(".")[0] == "aiosqlite" and class_.__name__ == "Connection"


class AioSQLiteConnection:
    """What of `sqlite3.Connection` is used here, asked of an aiosqlite connection through the event loop."""

    def __init__(self, connection: Any, ask: Ask) -> None:
        self._connection = connection
        self._ask = ask

    def __getattr__(self, name: str) -> Any:  # in_transaction, isolation_level, row_factory, text_factory
        return getattr(self._connection, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("_connection", "_ask"):
            object.__setattr__(self, name, value)
        else:
            setattr(self._connection, name, value)

    def execute(self, sql: str, params: Sequence[Value] = ()) -> "_Answer":
        """Run a statement; its rows are read when this returns."""
        return self._ask(self._execute(sql, params))  # type: ignore[no-any-return]

    def executemany(self, sql: str, rows: Sequence[Sequence[Value]]) -> None:
        """Run a statement once for each of the rows."""
        self._ask(self._executemany(sql, rows))

    async def _execute(self, sql: str, params: Sequence[Value]) -> "_Answer":
        async with self._connection.execute(sql, params) as cursor:
            return _Answer(list(await cursor.fetchall()), cursor.rowcount)

    async def _executemany(self, sql: str, rows: Sequence[Sequence[Value]]) -> None:
        async with self._connection.executemany(sql, rows):
            return


class _Answer:
    """A cursor that has been read."""

    def __init__(self, rows: list[Row], rowcount: int) -> None:
        self._rows = rows
        self.rowcount = rowcount

    def fetchall(self) -> list[Row]:
        return self._rows


@contextmanager
def joined(connection: Any, queue: str) -> Iterator[SQLiteTx]:
    """Return the caller's transaction, begun if that is the connection's way; what raises in the block is undone.

    Nothing is committed. The connection's factories are put back at the end.

    Args:
        connection: a `sqlite3.Connection` or an `AioSQLiteConnection`.
        queue: the id of the queue that it must lead to.

    Raises:
        InvalidConnection: it is none, is closed or another thread's, has no transaction and begins none, or leads
            elsewhere.
        StorageBusy: another connection has the write lock, for longer than this one waits.
    """
    if not isinstance(connection, sqlite3.Connection | AioSQLiteConnection):
        raise refuse(connection, WANTED)
    _check_usable(connection)
    factories = connection.row_factory, connection.text_factory
    try:
        connection.row_factory, connection.text_factory = None, str
        begun = _begin(connection)
        try:
            _check_queue(connection, queue)
            connection.execute("SAVEPOINT moxlib_submit")
        except BaseException:
            if begun:
                connection.execute("ROLLBACK")
            raise
        try:
            yield SQLiteTx(cast("sqlite3.Connection", connection))
        except BaseException:
            _undo(connection, begun=begun)
            raise
        connection.execute("RELEASE moxlib_submit")
    except DATABASE_ERRORS as error:
        raise storage_error(error, NAME) from error
    finally:
        connection.row_factory, connection.text_factory = factories


def _undo(connection: Any, *, begun: bool) -> None:
    """Undo the submit; with it a transaction that was begun for it, which would keep others from writing."""
    if not connection.in_transaction:  # a full disk makes SQLite end it
        return
    if begun:
        connection.execute("ROLLBACK")
    else:
        connection.execute("ROLLBACK TO moxlib_submit")
        connection.execute("RELEASE moxlib_submit")


def _check_usable(connection: Any) -> None:
    try:
        connection.execute("SELECT 1")
    except (sqlite3.ProgrammingError, ValueError) as error:  # the second is aiosqlite's
        if "thread" in str(error):
            text = "the connection belongs to another thread: submit there, or open it with check_same_thread=False"
        else:
            text = f"the connection is closed, or not open yet ({error})"
        raise InvalidConnection(text) from error


def _begin(connection: Any) -> bool:
    """Begin a transaction where the connection would by itself; True if there was none before."""
    if connection.in_transaction:
        return False
    if connection.isolation_level is None or getattr(connection, "autocommit", None) is True:
        text = "the connection is in autocommit mode and in no transaction, so that there is nothing to join: BEGIN one"
        raise InvalidConnection(text)
    # At once as a writer: a transaction that first reads cannot become one when another has written meanwhile.
    connection.execute("BEGIN IMMEDIATE")
    return True


def _check_queue(connection: Any, queue: str) -> None:
    try:
        # Before anything is read: a transaction that first reads cannot write when another has written meanwhile.
        connection.execute(LOCK)
        found = connection.execute(QUEUE).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        raise InvalidConnection("the connection leads to a database in which there is no queue") from error
    if found != [(queue,)]:
        raise InvalidConnection("the connection leads to the database of another queue")
