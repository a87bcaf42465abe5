"""Durable submits a second: 4 KB messages from 1, 16 and 64 submitters, in SQLite and in PostgreSQL.

The peer of each engine is its own driver, with a row of the same size and a commit for each. Plain SQLite has one
writer, so its peer has one; PostgreSQL's inserts from as many connections at once as there are submitters, and from 16.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from psycopg import AsyncConnection

from benchmarks._mail import SENDER, message, recipient
from benchmarks._options import Engine, Options
from benchmarks._place import Place, places
from benchmarks._report import Figure, compare
from moxlib.queue import Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

LOADS = ((1, 2_000), (16, 10_000), (64, 20_000))
"""Submitters, and how many messages they submit together."""
DOMAINS = 200


def figures(options: Options) -> Iterator[Figure]:
    """Yield a figure for each engine and number of submitters."""
    for engine in options.engines:
        with places(engine) as place:
            for submitters, usual in LOADS:
                total = usual // 50 if options.quick else usual
                yield compare(
                    partial(submits, place, submitters, total),
                    peers(engine, place, submitters, total),
                    rounds=2 if options.quick else 5,
                    name=f"submit, {engine}, {submitters} submitter{'s' if submitters > 1 else ''}",
                    unit="messages/s",
                )


def peers(engine: Engine, place: Place, submitters: int, total: int) -> Mapping[str, Callable[[], float]]:
    """Return the engine's plain driver, as durable as the queue."""
    match engine:
        case Engine.SQLITE:
            return {"sqlite, one commit each": partial(sqlite_inserts, place, max(20, total // 5))}
        case Engine.POSTGRES:
            return {
                f"psycopg, {connections} connection{'s' if connections > 1 else ''}": partial(
                    psycopg_inserts, place, connections, total
                )
                for connections in {submitters, min(submitters, 16)}  # on few cores, more are slower
            }


def submits(place: Place, submitters: int, total: int) -> float:
    """Submit `total` messages from so many concurrent tasks; returns how many a second were durable."""
    return asyncio.run(_submits(place, submitters, total))


async def _submits(place: Place, submitters: int, total: int) -> float:
    data = message()
    numbers = iter(range(total))

    with place() as where:
        async with Queue.open(where) as queue:

            async def submitter() -> None:
                for number in numbers:
                    await queue.submit(data, sender=SENDER, recipients=recipient(number, DOMAINS))

            start = time.perf_counter()
            await asyncio.gather(*(submitter() for _ in range(submitters)))
            seconds = time.perf_counter() - start
            assert await queue.count_messages() == total
    return total / seconds


def sqlite_inserts(place: Place, total: int) -> float:
    """Insert rows of the same size with plain sqlite3, each in its own commit, as durable as the queue's."""
    data = message()
    with place() as path:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE mail (id INTEGER PRIMARY KEY, sender TEXT, recipient TEXT, body BLOB)")
        start = time.perf_counter()
        for number in range(total):
            row = (SENDER, recipient(number, DOMAINS), data)
            connection.execute("INSERT INTO mail (sender, recipient, body) VALUES (?, ?, ?)", row)
        seconds = time.perf_counter() - start
        connection.close()
    return total / seconds


def psycopg_inserts(place: Place, connections: int, total: int) -> float:
    """Insert rows of the same size with plain psycopg, each in its own commit, from so many connections at once."""
    return asyncio.run(_psycopg_inserts(place, connections, total))


async def _psycopg_inserts(place: Place, connections: int, total: int) -> float:
    data = message()
    numbers = iter(range(total))

    async def inserter(connection: AsyncConnection) -> None:
        for number in numbers:
            row = (SENDER, recipient(number, DOMAINS), data)
            await connection.execute("INSERT INTO mail (sender, recipient, body) VALUES (%s, %s, %s)", row)

    with place() as url:
        async with AsyncExitStack() as stack:
            opened = [
                await stack.enter_async_context(await AsyncConnection.connect(url, autocommit=True))
                for _ in range(connections)
            ]
            await opened[0].execute(
                "CREATE TABLE mail (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
                " sender text, recipient text, body bytea)"
            )
            start = time.perf_counter()
            await asyncio.gather(*(inserter(connection) for connection in opened))
            seconds = time.perf_counter() - start
    return total / seconds
