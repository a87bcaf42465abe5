"""Durable submits a second: 4 KB messages from 1, 16 and 64 submitters, beside raw SQLite with a commit for each."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from functools import partial
from typing import TYPE_CHECKING

from benchmarks._mail import SENDER, directory, message, recipient
from benchmarks._report import Figure, compare
from moxlib.queue import Queue

if TYPE_CHECKING:
    from collections.abc import Iterator


def figures(quick: bool = False) -> Iterator[Figure]:
    """Yield a figure for each number of submitters."""
    for submitters, count in ((1, 2_000), (16, 10_000), (64, 20_000)):
        total = count // 50 if quick else count
        yield compare(
            partial(submits, submitters, total),
            {"sqlite, one commit each": partial(raw_inserts, max(20, total // 5))},
            rounds=2 if quick else 5,
            name=f"submit, {submitters} submitter{'s' if submitters > 1 else ''}",
            unit="messages/s",
        )


def submits(submitters: int, total: int) -> float:
    """Submit `total` messages from so many concurrent tasks; returns how many a second were durable."""
    return asyncio.run(_submits(submitters, total))


async def _submits(submitters: int, total: int) -> float:
    data = message()
    numbers = iter(range(total))

    with directory() as path:
        async with Queue.open(path / "queue.db") as queue:

            async def submitter() -> None:
                for number in numbers:
                    await queue.submit(data, sender=SENDER, recipients=recipient(number, 200))

            start = time.perf_counter()
            await asyncio.gather(*(submitter() for _ in range(submitters)))
            seconds = time.perf_counter() - start
            assert await queue.count_messages() == total
    return total / seconds


def raw_inserts(total: int) -> float:
    """Insert rows of the same size with plain sqlite3, each in its own commit, as durable as the queue's."""
    data = message()
    with directory() as path:
        connection = sqlite3.connect(path / "raw.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE mail (id INTEGER PRIMARY KEY, sender TEXT, recipient TEXT, body BLOB)")
        start = time.perf_counter()
        for number in range(total):
            row = (SENDER, recipient(number, 200), data)
            connection.execute("INSERT INTO mail (sender, recipient, body) VALUES (?, ?, ?)", row)
        seconds = time.perf_counter() - start
        connection.close()
    return total / seconds
