"""The database behind a storage, for tests that look into it, break it, or hold a transaction open in it."""

import asyncio
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from moxlib.queue.storage.base import Storage
from moxlib.queue.storage.postgres import PostgresStorage
from moxlib.queue.storage.sqlite import SQLiteStorage

__all__ = ["GUARD", "IN_DATABASES", "connect", "counts", "execute", "until_waiting"]

GUARD = 30  # seconds after which a test that hangs fails instead

IN_DATABASES = pytest.mark.parametrize("desk", ["sqlite", "sqlite-in-loop", "postgres"], indirect=True)
"""For tests of what only a database has."""


@contextmanager
def connect(storage: Storage) -> Iterator[Any]:
    """Give a connection as an application would have one: what is not committed on it is rolled back."""
    connection: Any
    if isinstance(storage, SQLiteStorage):
        connection = sqlite3.connect(storage._path, check_same_thread=False)
    else:
        assert isinstance(storage, PostgresStorage), f"{storage} has no database"
        connection = psycopg.connect(storage._conninfo, options=f"-csearch_path={storage._dialect.schema}")
    try:
        yield connection
    finally:
        connection.close()


def execute(storage: Storage, sql: str) -> list[tuple[Any, ...]]:
    """Run a statement, commit it, and return its rows."""
    with connect(storage) as connection:
        cursor = connection.execute(sql)
        rows: list[tuple[Any, ...]] = cursor.fetchall() if cursor.description else []
        connection.commit()
    return rows


def counts(storage: Storage, *tables: str) -> Mapping[str, int]:
    """Return how many rows some tables have."""
    return {table: execute(storage, f"SELECT count(*) FROM moxlib_{table}")[0][0] for table in tables}


async def until_waiting(storage: PostgresStorage, table: str, count: int = 1) -> None:
    """Return once so many transactions wait for another one's lock in a statement on a table."""
    waiting = f"""SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'
        AND query LIKE '%"{storage._dialect.schema}".moxlib_{table} %'"""
    async with asyncio.timeout(GUARD):
        while len(await asyncio.to_thread(execute, storage, waiting)) < count:
            pass
