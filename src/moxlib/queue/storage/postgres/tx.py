"""`Tx` on a PostgreSQL connection, ours or the caller's."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import psycopg
from psycopg.rows import tuple_row

from moxlib.queue.storage.callers import Ask
from moxlib.queue.storage.postgres.arrays import bulk_insert, bulk_params, given_params, given_rows
from moxlib.queue.storage.tx import Given, Row, Statement, Value, insert_sql

__all__ = ["AsyncStatements", "Dialect", "PostgresTx", "Statements", "SyncStatements"]

BULK_ROWS = 3  # rows from which on one statement for all is cheaper than one for each

ASSIGNED_XID = "SELECT pg_current_xact_id_if_assigned()::text"
XID = "SELECT pg_current_xact_id()::text"

_NAMES = re.compile(r"\bmoxlib_\w+")
_FOR_POSTGRES = re.compile(r"/\*pg (.*?) ?\*/", re.DOTALL)


class Dialect:
    """Turns the shared SQL into PostgreSQL's, in one schema. Each text is turned once."""

    def __init__(self, schema: str) -> None:
        self.schema: str = schema
        self.channel: str = f"moxlib.{schema}"
        """What is notified when something may be due."""
        self.types: Mapping[tuple[str, str], str] = {}
        """The type of each column, by table and column; known once the queue is open."""
        self._texts: dict[str, bytes] = {}

    def __call__(self, sql: str) -> bytes:
        """Return the text to send, with psycopg's placeholders and every table with its schema."""
        text = self._texts.get(sql)
        if text is None:
            turned = _FOR_POSTGRES.sub(r"\1", sql.replace("%", "%%")).replace("?", "%s")
            text = self._texts[sql] = _NAMES.sub(lambda name: f'"{self.schema}".{name[0]}', turned).encode()
        return text

    def lock_key(self, what: str) -> int:
        """Return the advisory lock for something, for this schema alone."""
        digest = hashlib.blake2b(f"{self.schema}\0{what}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, signed=True)


class Statements(Protocol):
    """How statements are run on one connection."""

    def query(self, sql: bytes, params: Sequence[Value]) -> list[Row]:
        """Run one and return its rows."""
        ...

    def query_each(self, sql: bytes, rows: Sequence[Sequence[Value]]) -> list[list[Row]]:
        """Run one for each of the rows, in one round trip; return the rows of each."""
        ...

    def query_together(self, statements: Sequence[tuple[bytes, Sequence[Value]]]) -> list[list[Row]]:
        """Run several, in one round trip where that can be; return the rows of each."""
        ...

    def execute(self, sql: bytes, params: Sequence[Value]) -> int:
        """Run one and return how many rows it changed."""
        ...

    def executemany(self, sql: bytes, rows: Sequence[Sequence[Value]]) -> None:
        """Run one for each of the rows. In a pipeline, nothing is waited for: the next that returns something tells."""
        ...


class SyncStatements:
    """On a `psycopg.Connection`, whatever its factories are.

    In a pipeline, statements are sent on without waiting for the one before; who wants rows or a count waits for all.
    """

    def __init__(self, connection: psycopg.Connection[Any], pipeline: psycopg.Pipeline | None = None) -> None:
        self._connection = connection
        self._pipeline = pipeline

    def _cursor(self) -> psycopg.Cursor[Row]:
        return psycopg.Cursor(self._connection, row_factory=tuple_row)  # one each: a pipeline adds results to its own

    def query(self, sql: bytes, params: Sequence[Value]) -> list[Row]:
        """Run one and return its rows."""
        return self._cursor().execute(sql, params, binary=True).fetchall()

    def query_each(self, sql: bytes, rows: Sequence[Sequence[Value]]) -> list[list[Row]]:
        """Run one for each of the rows."""
        cursor = self._cursor()
        cursor.executemany(sql, rows, returning=True)
        found = [cursor.fetchall()]
        while cursor.nextset():
            found.append(cursor.fetchall())
        return found

    def query_together(self, statements: Sequence[tuple[bytes, Sequence[Value]]]) -> list[list[Row]]:
        """Run several, sent at once in a pipeline."""
        cursors = [self._cursor().execute(sql, params) for sql, params in statements]
        return [cursor.fetchall() for cursor in cursors]

    def execute(self, sql: bytes, params: Sequence[Value]) -> int:
        """Run one and return how many rows it changed."""
        cursor = self._cursor().execute(sql, params)
        if self._pipeline is not None:
            self._pipeline.sync()
        return cursor.rowcount

    def executemany(self, sql: bytes, rows: Sequence[Sequence[Value]]) -> None:
        """Run one for each of the rows."""
        self._cursor().executemany(sql, rows)


class AsyncStatements:
    """On a `psycopg.AsyncConnection`, asked through the event loop from a thread."""

    def __init__(self, connection: psycopg.AsyncConnection[Any], ask: Ask) -> None:
        self._connection = connection
        self._ask = ask

    def _cursor(self) -> psycopg.AsyncCursor[Row]:
        return psycopg.AsyncCursor(self._connection, row_factory=tuple_row)

    def query(self, sql: bytes, params: Sequence[Value]) -> list[Row]:
        """Run one and return its rows."""
        return self._ask(self._query(sql, params))  # type: ignore[no-any-return]

    def query_each(self, sql: bytes, rows: Sequence[Sequence[Value]]) -> list[list[Row]]:
        """Run one for each of the rows."""
        return [self.query(sql, params) for params in rows]

    def query_together(self, statements: Sequence[tuple[bytes, Sequence[Value]]]) -> list[list[Row]]:
        """Run several, one after the other."""
        return [self.query(sql, params) for sql, params in statements]

    def execute(self, sql: bytes, params: Sequence[Value]) -> int:
        """Run one and return how many rows it changed."""
        return self._ask(self._execute(sql, params))  # type: ignore[no-any-return]

    def executemany(self, sql: bytes, rows: Sequence[Sequence[Value]]) -> None:
        """Run one for each of the rows."""
        self._ask(self._cursor().executemany(sql, rows))

    async def _query(self, sql: bytes, params: Sequence[Value]) -> list[Row]:
        cursor = await self._cursor().execute(sql, params)
        return await cursor.fetchall()

    async def _execute(self, sql: bytes, params: Sequence[Value]) -> int:
        cursor = await self._cursor().execute(sql, params)
        return cursor.rowcount


class PostgresTx:
    """`Tx` on PostgreSQL, at its isolation level READ COMMITTED.

    Args:
        statements: what runs them.
        dialect: of the schema in which the queue lies.
        lasting: it is the caller's, at the caller's isolation level, and nobody knows when it will be committed.
    """

    __slots__ = ("_dialect", "_lasting", "_statements", "_xid", "actions")

    def __init__(self, statements: Statements, dialect: Dialect, *, lasting: bool = False) -> None:
        self._statements = statements
        self._dialect = dialect
        self._lasting = lasting
        self._xid: str | None = None
        self.actions: list[Callable[[], None]] = []

    @property
    def concurrent(self) -> bool:
        """True: others write meanwhile."""
        return True

    @property
    def lasting(self) -> bool:
        """Whether it is the caller's."""
        return self._lasting

    def query(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """Run a statement and return all its rows."""
        return self._statements.query(self._dialect(sql), params)

    def query_each(self, sql: str, rows: Sequence[Sequence[Value]]) -> list[list[Row]]:
        """Run a statement once for each of the rows, in one round trip; return the rows of each."""
        return self._statements.query_each(self._dialect(sql), rows) if rows else []

    def execute(self, sql: str, params: Sequence[Value] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        return self._statements.execute(self._dialect(sql), params)

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run a statement once for each of the rows, in one round trip."""
        rows = list(rows)
        if rows:
            self._statements.executemany(self._dialect(sql), rows)

    def insert_given(self, into: str, select: str, given: Given, rows: Sequence[Sequence[Value]]) -> None:
        """Insert into `table (columns)` what a SELECT makes of the rows, which it reads as a table named `given`."""
        if rows:
            sql = f"INSERT INTO {into} {given_rows(given)} {select}"
            self.executemany(sql, [given_params(given, rows)])

    def insert_rows(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> None:
        """Insert rows: a few by a statement each, many by one."""
        if len(rows) < BULK_ROWS:
            marks = ", ".join("?" * len(columns))
            self.executemany(f"{insert_sql(table, columns)} VALUES ({marks})", rows)
            return
        types = self._dialect.types
        params = bulk_params(table, columns, types, rows)
        self.executemany(bulk_insert(table, columns, types), [params])

    def query_together(self, *statements: Statement) -> list[list[Row]]:
        """Run several statements in one round trip, and ask for the transaction's id on the way."""
        turned = [(self._dialect(sql), params) for sql, params in (*statements, (XID, ()))]
        *found, [(self._xid,)] = self._statements.query_together(turned)
        return found

    def allocation(self, count: int) -> Statement:
        """Return what takes message ids that follow each other."""
        return "SELECT moxlib_allocate(?)", (count,)

    def xid(self) -> str | None:
        """Return the transaction's id, by which it can be asked afterwards how its commit went; None: it wrote nothing.

        To be called when nothing more is to be written.
        """
        if self._xid is None:
            ((self._xid,),) = self.query(ASSIGNED_XID)
        return self._xid

    def serialize(self, what: str) -> None:
        """Wait for the advisory lock of that name, and hold it to the end of the transaction."""
        self.executemany("SELECT pg_advisory_xact_lock(?)", [(self._dialect.lock_key(what),)])

    def announce(self) -> None:
        """Notify the workers that listen, unless others' wakes lie there that no claim has begun to fold.

        Then they were told of those, and the claim that folds them will look again. (Transactions that notify commit
        one after the other, which is why it is not done each time.) By the end of a lasting transaction, that claim
        may be long past.
        """
        sql = "SELECT pg_notify(?, '')"
        if not self._lasting:
            sql += " WHERE NOT EXISTS (SELECT 1 FROM moxlib_wake WHERE xmax = 0)"  # else a claim is just folding it
        self.executemany(sql, [(self._dialect.channel,)])

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run an action once the transaction is durable."""
        self.actions.append(action)
