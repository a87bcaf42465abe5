"""Durable submits a second in PostgreSQL beside job queues for it: procrastinate's defer and pgqueuer's enqueue.

From 64 concurrent tasks and from one, 4 KB each, and one transaction for each as their interfaces have it. A job queue
neither reads a message nor knows of recipients and destinations; plain psycopg checks and indexes nothing at all.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from pgqueuer.db import PsycopgDriver
from pgqueuer.queries import Queries
from procrastinate import App, PsycopgConnector
from psycopg import AsyncConnection

from benchmarks._mail import message
from benchmarks._options import Engine, Options
from benchmarks._place import Place, places
from benchmarks._report import Figure, compare
from benchmarks.submit import psycopg_inserts, submits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

LOADS = ((1, 1_000), (64, 10_000))
"""Tasks, and how many jobs they put in together."""
CONNECTIONS = 16
"""What the peers have at most: with one for each task they are slower on few cores."""


def figures(options: Options) -> Iterator[Figure]:
    """Yield a figure for one task and for 64."""
    with places(Engine.POSTGRES) as place:
        for tasks, usual in LOADS:
            total = usual // 50 if options.quick else usual
            connections = min(tasks, CONNECTIONS)
            yield compare(
                partial(submits, place, tasks, total),
                {
                    "psycopg": partial(psycopg_inserts, place, connections, total),
                    "procrastinate": partial(defers, place, tasks, connections, total),
                    "pgqueuer": partial(enqueues, place, tasks, connections, total),
                },
                rounds=2 if options.quick else 5,
                name=f"jobs, {tasks} task{'s' if tasks > 1 else ''}",
                unit="jobs/s",
            )


def defers(place: Place, tasks: int, connections: int, total: int) -> float:
    """Defer so many jobs of procrastinate; returns how many a second were durable."""
    return asyncio.run(_defers(place, tasks, connections, total))


async def _defers(place: Place, tasks: int, connections: int, total: int) -> float:
    body = message().decode()  # arguments of its jobs are JSON
    with place() as url:
        app = App(connector=PsycopgConnector(conninfo=url, min_size=connections, max_size=connections))

        @app.task(name="send")
        async def send(body: str) -> None:
            """Do nothing; no worker runs."""

        async with app.open_async():
            await app.schema_manager.apply_schema_async()
            return await _rate([partial(send.defer_async, body=body)] * tasks, total)


def enqueues(place: Place, tasks: int, connections: int, total: int) -> float:
    """Enqueue so many jobs of pgqueuer, whose driver has one connection, so that tasks share several drivers."""
    return asyncio.run(_enqueues(place, tasks, connections, total))


async def _enqueues(place: Place, tasks: int, connections: int, total: int) -> float:
    body = message()
    with place() as url:
        async with AsyncExitStack() as stack:
            queries: list[Queries] = []
            for _ in range(connections):
                connection = await stack.enter_async_context(await AsyncConnection.connect(url, autocommit=True))
                queries.append(Queries(await stack.enter_async_context(PsycopgDriver(connection))))
            await queries[0].install()
            return await _rate(
                [partial(queries[task % connections].enqueue, "send", body) for task in range(tasks)], total
            )


async def _rate(puts: Iterable[Callable[[], Awaitable[object]]], total: int) -> float:
    """Put in `total` jobs, each of `puts` in a task of its own; return how many a second that were."""
    numbers = iter(range(total))

    async def task(put: Callable[[], Awaitable[object]]) -> None:
        for _ in numbers:
            await put()

    start = time.perf_counter()
    await asyncio.gather(*(task(put) for put in puts))
    return total / (time.perf_counter() - start)
