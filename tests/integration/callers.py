"""Applications that submit in transactions of their own: each kind of connection, and the database that it leads to.

The database holds a queue, and a table `orders` of the application's own beside it.
"""

import inspect
import sqlite3
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import aiosqlite
import psycopg
import pytest
import sqlalchemy
from psycopg.rows import dict_row
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from moxlib.queue import Observer, Queue, QueueConfig, Transport
from moxlib.testing import FakeClock, RecordingTransport

__all__ = ["KINDS", "Application", "Caller", "Database", "application", "database"]

Everything = Mapping[str, list[str]]
"""All rows that are committed, by table."""


class Caller:
    """A connection of the application's, and how its transactions begin and end."""

    def __init__(self, connection: Any, *, begin: str = "") -> None:
        self.connection = connection
        self._begin = begin

    async def begin(self) -> None:
        """Begin a transaction, where the connection does not do so by itself."""
        if self._begin:
            await self._do(self.connection.execute, self._begin)

    async def execute(self, sql: str) -> None:
        """Run a statement in the transaction."""
        await self._do(self.connection.execute, sql)

    async def add(self, order: int) -> None:
        """Do the application's own work in the transaction."""
        await self.execute(f"INSERT INTO orders (id) VALUES ({order})")

    async def commit(self) -> None:
        """Commit."""
        await self._do(self.connection.commit)

    async def rollback(self) -> None:
        """Roll back."""
        await self._do(self.connection.rollback)

    @staticmethod
    async def _do(function: Callable[..., Any], *arguments: Any) -> Any:
        done = function(*arguments)
        return await done if inspect.isawaitable(done) else done


class AlchemyCaller(Caller):
    """SQLAlchemy's connections and sessions, which want statements as objects."""

    async def execute(self, sql: str) -> None:
        await self._do(self.connection.execute, sqlalchemy.text(sql))


class ManualCaller(Caller):
    """A connection of which Python leaves all transactions to SQL: its own `commit()` does nothing."""

    async def commit(self) -> None:
        await self.execute("COMMIT")

    async def rollback(self) -> None:
        await self.execute("ROLLBACK")


class BlockCaller(Caller):
    """A psycopg connection in autocommit mode, in a transaction block."""

    async def begin(self) -> None:
        self._block = self.connection.transaction()
        await self._do(getattr(self._block, "__aenter__", None) or self._block.__enter__)

    async def commit(self) -> None:
        await self._leave()

    async def rollback(self) -> None:
        await self._leave(psycopg.Rollback())

    async def _leave(self, error: BaseException | None = None) -> None:
        leave = getattr(self._block, "__aexit__", None) or self._block.__exit__
        await self._do(leave, type(error) if error else None, error, None)


@dataclass
class Database:
    """Where the queue and the application's table lie."""

    place: str
    """What `Queue.open` is given: the file's path, or the server's URL."""
    schema: str | None
    """PostgreSQL's; None on SQLite."""

    def open_queue(
        self,
        *,
        transports: Mapping[str, Transport] | None = None,
        observer: Observer | None = None,
        clock: FakeClock | None = None,
        **config: Any,
    ) -> Queue:
        """Return a queue that is not open yet; another one on the same data each time."""
        return Queue.open(
            self.place,
            schema=self.schema,
            transports=transports,
            clock=clock or FakeClock(),
            config=QueueConfig(**config),
            observer=observer,
            random=Random(1),
            token=lambda: "token",
        )

    @property
    def conninfo(self) -> str:
        """The URL for a connection of the application's, whose tables are found without naming their schema."""
        return f"{self.place}?options=-csearch_path%3D{self.schema}"

    @property
    def alchemy(self) -> str:
        """The same for SQLAlchemy, without the driver's name; put it after `{}`."""
        if self.schema is None:
            return f"sqlite+{{}}:///{self.place}"
        return self.conninfo.replace("postgresql://", "postgresql+{}://").replace("%", "%%")

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        if self.schema is None:
            with closing(sqlite3.connect(self.place, isolation_level=None)) as connection:
                yield connection
        else:
            with psycopg.connect(self.conninfo, autocommit=True) as connection_:
                yield connection_

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """Run a statement and commit it, on a connection that nobody else has."""
        with self._connection() as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def everything(self) -> Everything:
        """Return all rows of all tables, the queue's and the application's, as others see them."""
        names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        if self.schema is not None:
            names = f"SELECT tablename FROM pg_tables WHERE schemaname = '{self.schema}'"
        with self._connection() as connection:
            found = {
                name: connection.execute(f"SELECT * FROM {name}").fetchall()
                for (name,) in connection.execute(names).fetchall()
            }
        return {name: sorted(map(repr, rows)) for name, rows in found.items()}

    def orders(self) -> list[int]:
        """Return the application's own rows, as others see them."""
        return [id_ for (id_,) in self.execute("SELECT id FROM orders ORDER BY id")]

    def files(self) -> list[str]:
        """Return the names of the queue's content files."""
        return [] if self.schema else sorted(path.name for path in Path(f"{self.place}.content").glob("*"))


@dataclass
class Application:
    """A program with a database, a queue in it, and one way to connect to it."""

    database: Database
    queue: Queue
    connect: Callable[[], AbstractAsyncContextManager[Caller]]
    clock: FakeClock
    transport: RecordingTransport = field(default_factory=RecordingTransport)


Connect = Callable[[Database], AbstractAsyncContextManager[Caller]]


def _sqlite3(begin: str = "", caller: type[Caller] = Caller, **options: Any) -> Connect:
    @asynccontextmanager
    async def connect(database: Database) -> AsyncGenerator[Caller]:
        with closing(sqlite3.connect(database.place, **options)) as connection:
            yield caller(connection, begin=begin)

    return connect


@asynccontextmanager
async def _aiosqlite(database: Database) -> AsyncGenerator[Caller]:
    async with aiosqlite.connect(database.place) as connection:
        yield Caller(connection)


def _psycopg(caller: type[Caller] = Caller, **options: Any) -> Connect:
    @asynccontextmanager
    async def connect(database: Database) -> AsyncGenerator[Caller]:
        with closing(psycopg.connect(database.conninfo, **options)) as connection:
            yield caller(connection)

    return connect


def _psycopg_async(caller: type[Caller] = Caller, **options: Any) -> Connect:
    @asynccontextmanager
    async def connect(database: Database) -> AsyncGenerator[Caller]:
        connection = await psycopg.AsyncConnection.connect(database.conninfo, **options)
        try:
            yield caller(connection)
        finally:
            await connection.close()

    return connect


def _alchemy(driver: str, session: bool) -> Connect:
    @asynccontextmanager
    async def connect(database: Database) -> AsyncGenerator[Caller]:
        engine = sqlalchemy.create_engine(database.alchemy.format(driver).replace("%%", "%"))
        try:
            with Session(engine) if session else engine.connect() as connection:
                yield AlchemyCaller(connection)
        finally:
            engine.dispose()

    return connect


def _alchemy_async(driver: str, session: bool) -> Connect:
    @asynccontextmanager
    async def connect(database: Database) -> AsyncGenerator[Caller]:
        engine = create_async_engine(database.alchemy.format(driver).replace("%%", "%"))
        try:
            async with AsyncSession(engine) if session else engine.connect() as connection:
                yield AlchemyCaller(connection)
        finally:
            await engine.dispose()

    return connect


SQLITE: dict[str, Connect] = {
    "sqlite3": _sqlite3(),
    "sqlite3-immediate": _sqlite3(isolation_level="IMMEDIATE"),
    "sqlite3-manual": _sqlite3("BEGIN", isolation_level=None),
    "aiosqlite": _aiosqlite,
    "sqlalchemy-pysqlite": _alchemy("pysqlite", session=False),
    "sqlalchemy-pysqlite-session": _alchemy("pysqlite", session=True),
    "sqlalchemy-aiosqlite": _alchemy_async("aiosqlite", session=False),
    "sqlalchemy-aiosqlite-session": _alchemy_async("aiosqlite", session=True),
}
if sys.version_info >= (3, 12):
    SQLITE["sqlite3-autocommit-off"] = _sqlite3(autocommit=False)
    SQLITE["sqlite3-autocommit-on"] = _sqlite3("BEGIN IMMEDIATE", ManualCaller, autocommit=True)

POSTGRES: dict[str, Connect] = {
    "psycopg": _psycopg(),
    "psycopg-autocommit": _psycopg(BlockCaller, autocommit=True),
    "psycopg-dict-row": _psycopg(row_factory=dict_row),
    "psycopg-client-cursor": _psycopg(cursor_factory=psycopg.ClientCursor),
    "psycopg-async": _psycopg_async(),
    "psycopg-async-autocommit": _psycopg_async(BlockCaller, autocommit=True),
    "psycopg-async-client-cursor": _psycopg_async(cursor_factory=psycopg.AsyncClientCursor, row_factory=dict_row),
    "sqlalchemy-psycopg": _alchemy("psycopg", session=False),
    "sqlalchemy-psycopg-session": _alchemy("psycopg", session=True),
    "sqlalchemy-psycopg-async": _alchemy_async("psycopg", session=False),
    "sqlalchemy-psycopg-async-session": _alchemy_async("psycopg", session=True),
}
KINDS: Mapping[str, Connect] = SQLITE | POSTGRES


def database(request: pytest.FixtureRequest, directory: Path, *, postgres: bool) -> Database:
    """Return a database without any table."""
    if not postgres:
        return Database(str(directory / "app.db"), None)
    return Database(request.getfixturevalue("postgres_url"), request.getfixturevalue("postgres_schema"))


@asynccontextmanager
async def application(database: Database, kind: str, **options: Any) -> AsyncGenerator[Application]:
    """Run an application that connects in one way; `options` are the queue's."""
    clock, transport = FakeClock(), RecordingTransport()
    async with database.open_queue(clock=clock, transports={"test": transport}, **options) as queue:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
        yield Application(database, queue, lambda: KINDS[kind](database), clock, transport)
