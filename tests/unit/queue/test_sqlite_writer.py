"""SQLite's writer for a process that only delivers: statements in the event loop, commits beside it."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from moxlib.errors import StorageError
from moxlib.queue.errors import QueueClosed
from moxlib.queue.storage.sqlite.batch import Batch
from moxlib.queue.storage.sqlite.engine import LoopWriter
from moxlib.queue.storage.tx import Tx

GUARD = 60  # seconds after which a test that hangs fails instead


class Gate:
    """Holds each commit, in its thread, until it is let through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = threading.Event()
        self.reached = threading.Semaphore(0)
        self.transactions: list[int] = []
        """How many jobs each had."""
        self.error: Exception | None = None
        original = Batch.commit

        def commit(batch: Batch, jobs: Sequence[Any], tx: Any) -> None:
            self.transactions.append(len(jobs))
            self.reached.release()
            assert self.open.wait(GUARD)
            if self.error is not None:
                raise self.error
            original(batch, jobs, tx)

        monkeypatch.setattr(Batch, "commit", commit)

    async def commit_begins(self) -> None:
        assert await asyncio.to_thread(self.reached.acquire, timeout=GUARD)


def add(tx: Tx, values: list[int]) -> list[int]:
    tx.executemany("INSERT INTO t (x) VALUES (?)", [(value,) for value in values])
    return values


def look(tx: Tx, values: list[int]) -> list[int]:
    return [tx.query("SELECT count(*) FROM t")[0][0] for _ in values]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "t.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (x INTEGER)")
    connection.close()
    return path


@pytest.fixture
async def writer(path: Path) -> AsyncIterator[LoopWriter]:
    writer = LoopWriter(path)
    yield writer
    await writer.close()


async def test_the_loop_goes_on_beside_a_commit_and_what_is_asked_meanwhile_is_one_more_transaction(
    writer: LoopWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    async with asyncio.timeout(GUARD):
        first = asyncio.create_task(writer.run(add, 1))
        await gate.commit_begins()
        others = [asyncio.create_task(writer.run(add, n)) for n in (2, 3, 4)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert not first.done()  # not before it is durable
        assert gate.transactions == [1]
        gate.open.set()
        assert await asyncio.gather(first, *others) == [1, 2, 3, 4]
    assert gate.transactions == [1, 3]


async def test_what_writes_nothing_is_not_handed_to_the_thread(
    writer: LoopWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    await writer.run(add, 1)
    threads: list[int] = []
    original = Batch.commit

    def commit(batch: Batch, jobs: Sequence[Any], tx: Any) -> None:
        threads.append(threading.get_ident())
        original(batch, jobs, tx)

    monkeypatch.setattr(Batch, "commit", commit)
    assert await writer.run(look, 0) == 1
    await writer.run(add, 2)
    here, there = threads
    assert here == threading.get_ident() != there


async def test_closing_waits_for_the_commit_under_way_and_runs_what_waits(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = LoopWriter(path)
    gate = Gate(monkeypatch)
    async with asyncio.timeout(GUARD):
        first = asyncio.create_task(writer.run(add, 1))
        await gate.commit_begins()
        second = asyncio.create_task(writer.run(add, 2))
        closing = asyncio.create_task(writer.close())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not closing.done()
        with pytest.raises(QueueClosed):
            await writer.run(add, 3)
        gate.open.set()
        await asyncio.gather(first, second, closing)
    await writer.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT x FROM t ORDER BY x").fetchall() == [(1,), (2,)]
    connection.close()


async def test_a_commit_that_fails_fails_all_of_its_transaction_and_nothing_of_the_next(writer: LoopWriter) -> None:
    connection = writer._connection
    connection.execute("CREATE TABLE child (p INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)")
    connection.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")

    def orphan(tx: Tx, values: list[int]) -> list[int]:
        tx.executemany("INSERT INTO child (p) VALUES (?)", [(value,) for value in values])
        return values

    async with asyncio.timeout(GUARD):
        failed = await asyncio.gather(writer.run(add, 1), writer.run(orphan, 7), return_exceptions=True)
        assert [type(error).__mro__.count(StorageError) for error in failed] == [1, 1]
        assert await writer.run(add, 2) == 2
        assert await writer.run(look, 0) == 1


async def test_what_the_thread_raises_reaches_who_waits(writer: LoopWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    gate.error = RuntimeError("no way")
    gate.open.set()
    async with asyncio.timeout(GUARD):
        with pytest.raises(RuntimeError, match="no way"):
            await writer.run(add, 1)


async def test_a_caller_that_is_cancelled_meanwhile_keeps_nobody_from_the_answer(
    writer: LoopWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    async with asyncio.timeout(GUARD):
        cancelled, kept = (asyncio.create_task(writer.run(add, n)) for n in (1, 2))
        await gate.commit_begins()
        cancelled.cancel()
        gate.open.set()
        assert await kept == 2
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert await writer.run(look, 0) == 2  # it happened all the same


async def test_what_returns_nothing_is_left_to_the_thread_until_something_is_asked(
    writer: LoopWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)
    seen: list[list[tuple[int]]] = []

    def add_and_look(tx: Tx, values: list[int]) -> list[int]:
        for value in values:
            tx.insert_rows("t", ("x",), [(value,)])
            tx.executemany("UPDATE t SET x = x + ? WHERE x = ?", [(10, value)])
            seen.append(tx.query("SELECT x FROM t ORDER BY x"))
            tx.executemany("UPDATE t SET x = x + ?", [(100,)])
        return values

    async with asyncio.timeout(GUARD):
        asked = asyncio.create_task(writer.run(add_and_look, 1))
        await gate.commit_begins()
        assert seen == [[(11,)]]
        assert writer._connection.execute("SELECT x FROM t").fetchall() == [(11,)]  # the last one is put off
        gate.open.set()
        assert await asked == 1
        assert writer._connection.execute("SELECT x FROM t").fetchall() == [(111,)]


async def test_a_transaction_that_was_rolled_back_before_its_commit_is_no_success(writer: LoopWriter) -> None:
    def add_and_lose(tx: Tx, values: list[int]) -> list[int]:
        add(tx, values)
        tx.query("SELECT 1")  # it is not put off any more
        writer._connection.execute("ROLLBACK")  # as SQLite itself does when the disk is full
        return values

    async with asyncio.timeout(GUARD):
        with pytest.raises(StorageError, match="rolled back"):
            await writer.run(add_and_lose, 1)
        assert await writer.run(look, 0) == 0
        assert await writer.run(add, 2) == 2


async def test_a_statement_that_was_put_off_and_fails_undoes_its_own_operation_only(writer: LoopWriter) -> None:
    writer._connection.execute("CREATE UNIQUE INDEX u ON t (x)")
    async with asyncio.timeout(GUARD):
        await writer.run(add, 1)
        again, other, third = await asyncio.gather(
            writer.run(add, 1), writer.run(look, 0), writer.run(add, 2), return_exceptions=True
        )
        assert isinstance(again, StorageError)
        assert (other, third) == (1, 2)
        again, third = await asyncio.gather(writer.run(add, 2), writer.run(add, 3), return_exceptions=True)
        assert isinstance(again, StorageError)
        assert third == 3
        with pytest.raises(StorageError):
            await writer.run(add, 3)
        assert await writer.run(look, 0) == 3
