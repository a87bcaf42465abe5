"""Running a batch of storage operations in one transaction: group commit, with a savepoint for each operation."""

import asyncio
import random
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, groupby
from operator import attrgetter
from typing import Any

from moxlib.queue.storage.sqlite.errors import DATABASE_ERRORS, is_busy, storage_error
from moxlib.queue.storage.tx import Given, Row, Statement, Value, insert_sql
from moxlib.queue.storage.waiting import Waiting

__all__ = ["Batch", "Job", "Operation", "SQLiteTx"]

MAX_VALUES = 512  # rows in one statement
ALLOCATE = "UPDATE moxlib_sequence SET next_id = next_id + ? RETURNING next_id - ?"


class SQLiteTx:
    """`Tx` on an SQLite connection, ours or the caller's.

    Args:
        connection: where it runs.
        put_off: statements that return nothing wait for the next one that does, or for `finish`.
    """

    __slots__ = ("_connection", "_later", "actions")

    def __init__(self, connection: sqlite3.Connection, *, put_off: bool = False) -> None:
        self._connection = connection
        self._later: list[Callable[[], object]] | None = [] if put_off else None
        self.actions: list[Callable[[], None]] = []

    @property
    def concurrent(self) -> bool:
        """False: SQLite has one writer at a time."""
        return False

    @property
    def lasting(self) -> bool:
        """False: however long it goes on, nobody else writes."""
        return False

    def query(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """Run a statement and return all its rows."""
        self.finish()
        return self._connection.execute(sql, params).fetchall()

    def query_each(self, sql: str, rows: Sequence[Sequence[Value]]) -> list[list[Row]]:
        """Run a statement once for each of the rows; return the rows of each."""
        self.finish()
        return [self._connection.execute(sql, params).fetchall() for params in rows]

    def execute(self, sql: str, params: Sequence[Value] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        self.finish()
        return self._connection.execute(sql, params).rowcount

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run a statement once for each of the rows."""
        rows = list(rows)
        if rows:
            self._write(partial(self._connection.executemany, sql, rows))

    def insert_given(self, into: str, select: str, given: Given, rows: Sequence[Sequence[Value]]) -> None:
        """Insert into `table (columns)` what a SELECT makes of the rows, which it reads as a table named `given`."""
        for made, values in _values(rows):
            sql = f"INSERT INTO {into} WITH given ({', '.join(given)}) AS ({made}) {select}"
            self._write(partial(self._connection.executemany, sql, [values]))

    def insert_rows(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> None:
        """Insert rows, many with one statement: SQLite, and the interpreter's lock, are then entered once for them."""
        for made, values in _values(rows):
            sql = f"{insert_sql(table, columns)} {made}"
            self._write(partial(self._connection.executemany, sql, [values]))

    def query_together(self, *statements: Statement) -> list[list[Row]]:
        """Run several statements; return the rows of each."""
        self.finish()
        return [self._connection.execute(sql, params).fetchall() for sql, params in statements]

    def allocation(self, count: int) -> Statement:
        """Return what takes message ids that follow each other."""
        return ALLOCATE, (count, count)

    def serialize(self, what: str) -> None:
        """Nothing to do: there is one writer at a time."""

    def announce(self) -> None:
        """Nothing to do: other processes watch the file."""

    @property
    def has_more(self) -> bool:
        """Whether statements were put off."""
        return bool(self._later)

    def finish(self) -> None:
        """Run the statements that were put off."""
        if self._later:
            later, self._later = self._later, []
            for statement in later:
                statement()

    def _write(self, statement: Callable[[], object]) -> None:
        if self._later is None:
            statement()
        else:
            self._later.append(statement)

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run an action once the transaction is durable."""
        self.actions.append(action)


def _values(rows: Sequence[Sequence[Value]]) -> Iterator[tuple[str, list[Value]]]:
    """Cut rows into pieces, each as VALUES, or as a SELECT from them, and its parameters.

    A piece is filled up to a power of two with rows that LIMIT leaves out: so a statement has few texts, each prepared
    once.
    """
    for start in range(0, len(rows), MAX_VALUES):
        piece = rows[start : start + MAX_VALUES]
        width = len(piece[0])
        size = 1 << (len(piece) - 1).bit_length()
        row = f"({', '.join('?' * width)})"
        made = f"VALUES {', '.join([row] * size)}"
        values = list(chain.from_iterable(piece))
        if len(piece) < size:
            made = f"SELECT * FROM ({made}) LIMIT ?"  # noqa: S608 - placeholders alone
            values += [None] * (width * (size - len(piece)))
            values.append(len(piece))
        yield made, values


Operation = Callable[[SQLiteTx, list[Any]], Sequence[Any]]
"""Does something for each of a list of arguments; returns as many results, in order."""


class Job(Waiting):
    """An operation on one argument, waiting for its transaction.

    Jobs of the same operation that follow each other are done in one call, which a bulk insert thrives on.
    """

    __slots__ = ("operation",)

    def __init__(self, operation: Operation, argument: Any, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(argument, loop)
        self.operation: Operation = operation


class Batch:
    """Runs jobs on one write connection; the caller sees to it that only one thread does at a time.

    Beside a busy event loop, what a transaction takes is mostly waiting for the interpreter's lock, which `sqlite3`
    lets go at each step. So `executemany` and `Connection.commit` are used where they do: `execute("COMMIT")` lets it
    go three times, `commit` once.
    """

    def __init__(self, connection: sqlite3.Connection, path: str) -> None:
        self._connection = connection
        self._path = path

    def begin(self) -> bool:
        """Take the write lock; False when another process has it.

        Raises:
            StorageError: the database cannot be written at all.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except DATABASE_ERRORS as error:
            if is_busy(error):
                return False
            raise storage_error(error, self._path) from error
        return True

    def begin_waiting(self, seconds: float) -> bool:
        """Take the write lock, waiting for it in this thread; False when it was not to be had in time."""
        deadline = time.monotonic() + seconds
        while not self.begin():
            if time.monotonic() > deadline:
                return False
            time.sleep(random.uniform(0.0005, 0.005))
        return True

    def run(self, jobs: Sequence[Job]) -> None:
        """Run the jobs in the transaction that was begun, commit, and run what they wanted run after that."""
        tx = self.work(jobs)
        if tx is not None:
            self.commit(jobs, tx)

    def work(self, jobs: Sequence[Job], *, put_off: bool = False) -> SQLiteTx | None:
        """Run the jobs in the transaction that was begun, up to its commit; None: it failed, and is rolled back.

        Each job ends with a result or an error. One that raises undoes its own work only: the others are then done
        once more, each in a savepoint of its own. (Operations have no effects outside the transaction, so that this
        shows nowhere; savepoints from the start would cost every batch what only a failing one needs.) When the
        transaction as a whole fails, all jobs have the error, and none of them has happened.

        Args:
            jobs: what to run.
            put_off: leave to `commit` the statements that return nothing; should one of them fail, it does the jobs
                once more likewise.
        """
        tx = SQLiteTx(self._connection, put_off=put_off)
        try:
            if not self._tried(jobs, partial(self._run_together, tx, jobs)):
                tx = self._run_singly(jobs)
        except BaseException as error:  # noqa: BLE001 - each job's caller gets it
            self._fail(jobs, error)
            return None
        return tx

    def commit(self, jobs: Sequence[Job], tx: SQLiteTx) -> None:
        """Make durable what the jobs did, and run what they wanted run after that; or else all have the error."""
        try:
            if not self._tried(jobs, tx.finish):
                tx = self._run_singly(jobs)
            self._end()
        except BaseException as error:  # noqa: BLE001 - each job's caller gets it
            self._fail(jobs, error)
            return
        for action in tx.actions:
            action()

    def _end(self) -> None:
        if not self._connection.in_transaction:  # `commit` would have nothing to do, and say nothing
            raise sqlite3.OperationalError("the transaction was rolled back before its commit")
        self._connection.commit()

    def _tried(self, jobs: Sequence[Job], step: Callable[[], None]) -> bool:
        """Take a step of all jobs together; False, and nothing has happened, if it raised and there are several."""
        try:
            step()
        except BaseException:
            if len(jobs) == 1 or not self._connection.in_transaction:
                raise
            self._connection.execute("ROLLBACK TO batch")
            return False
        return True

    def _run_together(self, tx: SQLiteTx, jobs: Sequence[Job]) -> None:
        self._connection.execute("SAVEPOINT batch")
        for operation, group in groupby(jobs, key=attrgetter("operation")):
            together = list(group)
            results = operation(tx, [job.argument for job in together])
            for job, result in zip(together, results, strict=True):
                job.result = result

    def _run_singly(self, jobs: Sequence[Job]) -> SQLiteTx:
        tx = SQLiteTx(self._connection)
        for job in jobs:
            self._run_in_savepoint(tx, job)
        return tx

    def _run_in_savepoint(self, tx: SQLiteTx, job: Job) -> None:
        connection = self._connection
        actions = len(tx.actions)
        connection.execute("SAVEPOINT operation")
        try:
            (job.result,) = job.operation(tx, [job.argument])
        except BaseException as error:
            if not connection.in_transaction:  # SQLite itself rolled everything back: a full disk does that
                raise
            connection.execute("ROLLBACK TO operation")
            del tx.actions[actions:]
            job.error = self._typed(error)
        connection.execute("RELEASE operation")

    def _fail(self, jobs: Sequence[Job], error: BaseException) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        typed = self._typed(error)
        for job in jobs:
            if job.error is None:
                job.error = typed

    def _typed(self, error: BaseException) -> BaseException:
        if not isinstance(error, DATABASE_ERRORS):
            return error
        typed = storage_error(error, self._path)
        typed.__cause__ = error
        return typed
