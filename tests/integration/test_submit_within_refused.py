"""Connections that `submit` cannot join: each is refused with a text that says what is the matter and what to do."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiosqlite
import psycopg
import psycopg_pool
import pytest
import sqlalchemy
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.orm import Session, registry, sessionmaker
from tests.integration.callers import Database, database

from moxlib.queue import InvalidConnection, Queue, QueueClosed, StorageBusy, StorageReadOnly, StorageUnavailable
from moxlib.testing import FakeClock, MemoryStorage

if TYPE_CHECKING:
    from tests.postgres import PostgresServer

MAIL = b"From: sender@here.example\r\nTo: a@one.example\r\n\r\nhello\r\n"


@dataclass
class Desk:
    """A queue, and what is opened for it and closed at the end."""

    database: Database
    queue: Queue
    stack: AsyncExitStack
    directory: Path

    async def refused(self, connection: object, text: str) -> None:
        """Submit on a connection that will not do, and look that nothing has happened."""
        before = self.database.everything()
        with pytest.raises(InvalidConnection, match=text):
            await self.queue.submit(MAIL, connection=connection)
        assert self.database.everything() == before
        assert self.database.files() == []

    def sqlite(self, path: str | Path | None = None, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = sqlite3.connect(path or self.database.place, **options)
        return self.stack.enter_context(closing(connection))

    def postgres(self, url: str | None = None, **options: Any) -> "psycopg.Connection[Any]":
        return self.stack.enter_context(closing(psycopg.connect(url or self.database.conninfo, **options)))

    async def postgres_async(self, **options: Any) -> "psycopg.AsyncConnection[Any]":
        connection = await psycopg.AsyncConnection.connect(self.database.conninfo, **options)
        self.stack.push_async_callback(connection.close)
        return connection

    def engine(self, driver: str, **options: Any) -> sqlalchemy.Engine:
        engine = sqlalchemy.create_engine(self.database.alchemy.format(driver).replace("%%", "%"), **options)
        self.stack.callback(engine.dispose)
        return engine

    async def alchemy_async(self, driver: str, **options: Any) -> AsyncConnection:
        engine = create_async_engine(self.database.alchemy.format(driver).replace("%%", "%"), **options)
        self.stack.push_async_callback(engine.dispose)
        return await self.stack.enter_async_context(engine.connect())


async def desk_on(place: Database, directory: Path) -> AsyncGenerator[Desk]:
    async with place.open_queue() as queue, AsyncExitStack() as stack:
        yield Desk(place, queue, stack, directory)


@pytest.fixture
async def sqlite(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Desk]:
    async for desk in desk_on(database(request, tmp_path, postgres=False), tmp_path):
        yield desk


@pytest.fixture
async def postgres(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Desk]:
    async for desk in desk_on(database(request, tmp_path, postgres=True), tmp_path):
        yield desk


@pytest.fixture(params=["sqlite", "postgres"])
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Desk]:
    async for desk in desk_on(database(request, tmp_path, postgres=request.param == "postgres"), tmp_path):
        yield desk


# of another kind


class Psycopg2Connection:
    """Looks like psycopg2's."""

    autocommit = False
    closed = 0

    def cursor(self) -> object:
        raise AssertionError("it must not be used")

    commit = rollback = cursor


async def test_what_is_no_connection_is_named(desk: Desk) -> None:
    joins = "SQLite connection .sqlite3, aiosqlite" if desk.database.schema is None else "psycopg connection .psycopg 3"
    for given, name in (
        ("postgresql://localhost/app", "builtins.str"),
        (17, "builtins.int"),
        (Psycopg2Connection(), "Psycopg2Connection"),
        (sqlalchemy.create_engine("sqlite://"), "sqlalchemy.engine.base.Engine"),
        (sessionmaker(), "sessionmaker"),
        (desk.queue, "moxlib.queue.queue.Queue"),
    ):
        await desk.refused(given, f"joins an? {joins}.*, not .*{name}$")


async def test_a_cursor_is_not_its_connection(sqlite: Desk, postgres: Desk) -> None:
    await sqlite.refused(sqlite.sqlite().cursor(), "not sqlite3.Cursor")
    await postgres.refused(postgres.postgres().cursor(), "not psycopg.Cursor")


async def test_a_pool_is_not_its_connection(postgres: Desk) -> None:
    pool = psycopg_pool.ConnectionPool(postgres.database.conninfo, open=False)
    await postgres.refused(pool, "not psycopg_pool.pool.ConnectionPool")


async def test_the_other_engines_connection_is_refused(sqlite: Desk, postgres: Desk) -> None:
    await sqlite.refused(postgres.postgres(), "joins an SQLite connection .*, not psycopg.Connection")
    await sqlite.refused(await postgres.postgres_async(), "joins an SQLite connection .*, not psycopg.AsyncConnection")
    await postgres.refused(sqlite.sqlite(), "joins a psycopg connection .*, not sqlite3.Connection")
    async with aiosqlite.connect(sqlite.database.place) as connection:
        await postgres.refused(connection, "joins a psycopg connection .*, not aiosqlite.*Connection")
    with sqlite.engine("pysqlite").connect() as below:
        await postgres.refused(below, "joins a psycopg connection .*, not sqlite3.Connection")
    below_async = await postgres.alchemy_async("psycopg")
    await sqlite.refused(below_async, "joins an SQLite connection .*, not psycopg.AsyncConnection")


async def test_a_queue_in_memory_joins_nothing() -> None:
    async with Queue(MemoryStorage(), clock=FakeClock()) as queue:
        with (
            closing(sqlite3.connect(":memory:")) as connection,
            pytest.raises(InvalidConnection, match="in memory has no database"),
        ):
            await queue.submit(MAIL, connection=connection)
        assert await queue.count_messages() == 0


# to elsewhere


async def test_a_database_without_a_queue(sqlite: Desk, postgres: Desk, postgres_server: "PostgresServer") -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        await sqlite.refused(connection, "a database in which there is no queue")
    other = sqlite.sqlite(sqlite.directory / "other.db")
    await sqlite.refused(other, "a database in which there is no queue")
    assert not other.in_transaction
    with postgres_server.database() as url, closing(psycopg.connect(url)) as elsewhere:
        schema = postgres.database.schema
        await postgres.refused(elsewhere, f"a database in which there is no queue in the schema '{schema}'")
        assert elsewhere.execute("SELECT 1").fetchone() == (1,)


async def test_the_database_of_another_queue(sqlite: Desk, postgres: Desk, postgres_server: "PostgresServer") -> None:
    path = sqlite.directory / "other.db"
    async with Queue.open(path, clock=FakeClock()) as other:
        connection = sqlite.sqlite(path)
        await sqlite.refused(connection, "the database of another queue")
        assert not connection.in_transaction
        await other.submit(MAIL, connection=connection)
        await sqlite.refused(connection, "the database of another queue")
        connection.commit()
        assert await other.count_messages() == 1
    with postgres_server.database() as url:
        async with Queue.open(url, schema=postgres.database.schema, clock=FakeClock()) as other:
            with closing(psycopg.connect(url)) as elsewhere:
                await other.submit(MAIL, connection=elsewhere)
                await postgres.refused(elsewhere, "the database of another queue")
                elsewhere.commit()
            assert await other.count_messages() == 1


async def test_a_copy_of_the_file_is_the_same_queue_and_a_new_one_in_its_place_is_not(sqlite: Desk) -> None:
    copy = sqlite.directory / "copy.db"
    with closing(sqlite3.connect(copy)) as target:
        sqlite.sqlite().backup(target)
    async with Queue.open(copy, clock=FakeClock()) as queue:
        with closing(sqlite3.connect(copy)) as connection:
            await queue.submit(MAIL, connection=connection)
            connection.commit()
        assert await queue.count_messages() == 1
    assert await sqlite.queue.count_messages() == 0


# without a transaction


async def test_autocommit_without_a_transaction(sqlite: Desk, postgres: Desk) -> None:
    await sqlite.refused(sqlite.sqlite(isolation_level=None), "autocommit mode and in no transaction.*BEGIN one")
    async with aiosqlite.connect(sqlite.database.place, isolation_level=None) as connection:
        await sqlite.refused(connection, "autocommit mode and in no transaction.*BEGIN one")
    text = "autocommit mode and in no transaction.*inside `with connection.transaction"
    await postgres.refused(postgres.postgres(autocommit=True), text)
    await postgres.refused(await postgres.postgres_async(autocommit=True), text)


@pytest.mark.parametrize("level", ["AUTOCOMMIT"])
async def test_sqlalchemy_in_autocommit_mode(sqlite: Desk, postgres: Desk, level: str) -> None:
    for desk, driver, async_driver in ((sqlite, "pysqlite", "aiosqlite"), (postgres, "psycopg", "psycopg")):
        with desk.engine(driver, isolation_level=level).connect() as connection:
            await desk.refused(connection, "autocommit mode and in no transaction")
        with Session(desk.engine(driver, isolation_level=level)) as session:
            await desk.refused(session, "autocommit mode and in no transaction")
        await desk.refused(
            await desk.alchemy_async(async_driver, isolation_level=level), "autocommit mode and in no transaction"
        )


@pytest.mark.parametrize("used_before", [False, True])
async def test_a_failed_transaction(postgres: Desk, used_before: bool) -> None:
    text = "transaction has failed, and can only be rolled back"
    connection = postgres.postgres()
    if used_before:
        await postgres.queue.submit(MAIL, connection=connection)
    with pytest.raises(psycopg.errors.DivisionByZero):
        connection.execute("SELECT 1 / 0")
    await postgres.refused(connection, text)
    connection.rollback()
    await postgres.queue.submit(MAIL, connection=connection)
    connection.commit()
    assert await postgres.queue.count_messages() == 1
    other = await postgres.postgres_async()
    with pytest.raises(psycopg.errors.DivisionByZero):
        await other.execute("SELECT 1 / 0")
    await postgres.refused(other, text)


async def test_a_transaction_that_failed_below_sqlalchemy(postgres: Desk) -> None:
    connections: list[Any] = [postgres.engine("psycopg").connect(), Session(postgres.engine("psycopg"))]
    for connection in connections:
        with closing(connection):
            with pytest.raises(DataError):
                connection.execute(sqlalchemy.text("SELECT 1 / 0"))
            await postgres.refused(connection, "transaction has failed, and can only be rolled back")
            connection.rollback()
            await postgres.queue.submit(MAIL, connection=connection)
            connection.rollback()


async def test_a_session_whose_flush_failed(postgres: Desk) -> None:
    metadata = registry()
    table = sqlalchemy.Table("orders", metadata.metadata, sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True))

    class Order:
        id: int

    metadata.map_imperatively(Order, table)
    engine = postgres.engine("psycopg")
    metadata.metadata.create_all(engine)
    with Session(engine) as session:
        session.execute(sqlalchemy.insert(table).values(id=1))
        order = Order()
        order.id = 1
        session.add(order)
        with pytest.raises(IntegrityError):
            session.flush()
        await postgres.refused(session, r"Session's transaction has been rolled back.*Session\.rollback\(\)")
        session.rollback()
        await postgres.queue.submit(MAIL, connection=session)
        session.commit()
    assert await postgres.queue.count_messages() == 1


# closed


async def test_a_closed_connection(sqlite: Desk, postgres: Desk) -> None:
    with closing(sqlite3.connect(sqlite.database.place)) as connection:
        pass
    await sqlite.refused(connection, "the connection is closed")
    aio = await aiosqlite.connect(sqlite.database.place)
    await aio.close()
    await sqlite.refused(aio, "the connection is closed")
    await sqlite.refused(aiosqlite.connect(sqlite.database.place), "not open yet")
    with closing(psycopg.connect(postgres.database.conninfo)) as closed:
        pass
    await postgres.refused(closed, "the connection is closed")
    closed_async = await postgres.postgres_async()
    await closed_async.close()
    await postgres.refused(closed_async, "the connection is closed")


async def test_a_closed_connection_of_sqlalchemy(sqlite: Desk, postgres: Desk) -> None:
    for desk, driver, async_driver in ((sqlite, "pysqlite", "aiosqlite"), (postgres, "psycopg", "psycopg")):
        connection = desk.engine(driver).connect()
        connection.close()
        await desk.refused(connection, "closed")
        closed = await desk.alchemy_async(async_driver)
        await closed.close()
        await desk.refused(closed, "closed|not been started")
        with Session(desk.engine(driver), close_resets_only=False) as session:
            pass
        await desk.refused(session, "closed")


async def test_a_connection_that_the_server_ended(postgres: Desk, postgres_server: "PostgresServer") -> None:
    connection = postgres.postgres()
    await postgres.queue.submit(MAIL, connection=connection)
    postgres_server.execute(f"SELECT pg_terminate_backend({connection.info.backend_pid})")
    with pytest.raises(StorageUnavailable, match="the caller's connection"):
        await postgres.queue.submit(MAIL, connection=connection)
    await postgres.refused(connection, "the connection is closed")
    assert await postgres.queue.count_messages() == 0


# of another thread


async def test_an_sqlite_connection_of_another_thread(sqlite: Desk) -> None:
    made: list[sqlite3.Connection] = []
    begun, end = threading.Event(), threading.Event()

    def own() -> None:
        connection = sqlite3.connect(sqlite.database.place)
        made.append(connection)
        begun.set()
        end.wait()
        connection.close()

    thread = threading.Thread(target=own)
    thread.start()
    try:
        await asyncio.to_thread(begun.wait)
        await sqlite.refused(made[0], "another thread")
    finally:
        end.set()
        thread.join()


async def test_a_connection_for_all_threads_may_come_from_another(sqlite: Desk) -> None:
    connection = await asyncio.to_thread(sqlite3.connect, sqlite.database.place, check_same_thread=False)
    await sqlite.queue.submit(MAIL, connection=connection)
    connection.commit()
    connection.close()
    assert await sqlite.queue.count_messages() == 1


# what the database itself refuses


async def test_a_read_only_connection(sqlite: Desk, postgres: Desk) -> None:
    reader = sqlite.sqlite(f"file:{sqlite.database.place}?mode=ro", uri=True)
    read_only = postgres.postgres()
    read_only.read_only = True
    desks: list[tuple[Desk, Any]] = [(sqlite, reader), (postgres, read_only)]
    for desk, connection in desks:
        with pytest.raises(StorageReadOnly, match="the caller's connection"):
            await desk.queue.submit(MAIL, connection=connection)
        connection.rollback()
        assert await desk.queue.count_messages() == 0


async def test_a_writer_elsewhere_makes_the_caller_wait_only_as_long_as_its_connection_does(sqlite: Desk) -> None:
    writer, connection = sqlite.sqlite(), sqlite.sqlite(timeout=0)
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageBusy):
        await sqlite.queue.submit(MAIL, connection=connection)
    assert not connection.in_transaction
    writer.rollback()
    await sqlite.queue.submit(MAIL, connection=connection)
    connection.commit()
    assert await sqlite.queue.count_messages() == 1


async def test_a_transaction_that_has_read_an_old_state_cannot_write(sqlite: Desk) -> None:
    connection = sqlite.sqlite(isolation_level=None)
    connection.execute("BEGIN")
    assert connection.execute("SELECT count(*) FROM moxlib_message").fetchone() == (0,)
    await sqlite.queue.submit(MAIL)
    with pytest.raises(StorageBusy):
        await sqlite.queue.submit(MAIL, connection=connection)
    assert connection.in_transaction
    connection.rollback()
    assert await sqlite.queue.count_messages() == 1


# a closed queue


async def test_a_closed_queue_joins_nothing(desk: Desk) -> None:
    closed = desk.database.open_queue()
    connection = desk.sqlite() if desk.database.schema is None else desk.postgres()
    with pytest.raises(QueueClosed):
        await closed.submit(MAIL, connection=connection)
