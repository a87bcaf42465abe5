"""`Storage` on an SQLite file: the shared operations, run by an SQLite engine."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import datetime
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Literal, TypeVar

from moxlib.queue.errors import QueueClosed
from moxlib.queue.storage.base import RunBlocking
from moxlib.queue.storage.callers import async_driver, in_thread, run_here, sync_driver
from moxlib.queue.storage.content import ContentDirectory
from moxlib.queue.storage.operations import insert
from moxlib.queue.storage.shared import OperationStorage
from moxlib.queue.storage.sqlite.engine import LoopWriter, Readers, ThreadWriter, Writer
from moxlib.queue.storage.sqlite.errors import DATABASE_ERRORS, storage_error
from moxlib.queue.storage.sqlite.schema import OPEN_BUSY_MS, connect, create_file, migrate, migrations
from moxlib.queue.storage.sqlite.watch import watch
from moxlib.queue.storage.sqlite.within import AioSQLiteConnection, is_aiosqlite, joined
from moxlib.queue.storage.tx import Tx
from moxlib.queue.submission import NewSubmission, StoredContent, Submission

__all__ = ["SQLiteStorage", "Transactions"]

T = TypeVar("T")

Transactions = Literal["thread", "loop"]
"""Where transactions run: in a writer thread (the default), or, but for the commit, in the event loop (a process that
only delivers)."""


def _each(tx: Tx, operations: list[Callable[[Tx], T]]) -> list[T]:
    return [operation(tx) for operation in operations]


class SQLiteStorage(OperationStorage):
    """One queue in one SQLite file; other processes may use the same file at the same time."""

    def __init__(self, path: str | PathLike[str], *, transactions: Transactions = "thread") -> None:
        self._path = Path(path)
        self._transactions = transactions
        self._content = ContentDirectory(self._path.with_name(self._path.name + ".content"))
        self._insert = partial(insert.insert_all, drop_file=self._drop_file)  # one object, so that neighbours join
        self._writer: Writer | None = None
        self._readers: Readers | None = None
        self._queue_id = ""

    @property
    def content_place(self) -> ContentDirectory:
        """The directory beside the database file, named after it with `.content` added."""
        return self._content

    async def open(self, now: datetime) -> None:
        """Open or create the file, migrate its schema, sweep content that nothing refers to."""
        await asyncio.to_thread(self._open_file, now)
        try:
            self._writer = ThreadWriter(self._path) if self._transactions == "thread" else LoopWriter(self._path)
        except DATABASE_ERRORS as error:
            raise storage_error(error, str(self._path)) from error
        self._readers = Readers(self._path)

    async def close(self) -> None:
        """Finish what was begun and close. Idempotent."""
        writer, self._writer = self._writer, None
        readers, self._readers = self._readers, None
        if readers is not None:  # first: the last one to close moves all into one file, and readers cannot write
            await readers.close()
        if writer is not None:
            await writer.close()

    def _open_file(self, now: datetime) -> None:
        create_file(self._path)
        try:
            connection = connect(self._path, busy_ms=OPEN_BUSY_MS)
            try:
                migrate(connection, migrations())
                ((self._queue_id,),) = connection.execute("SELECT id FROM moxlib_queue")
            finally:
                connection.close()
            self._sweep(now)
        except DATABASE_ERRORS as error:
            raise storage_error(error, str(self._path)) from error

    def _sweep(self, now: datetime) -> None:
        connection = connect(self._path, read_only=True, busy_ms=OPEN_BUSY_MS)
        try:
            rows = "SELECT file FROM moxlib_content WHERE file IS NOT NULL"
            self._content.sweep(lambda: [name for (name,) in connection.execute(rows)], now=now)
        finally:
            connection.close()

    async def _write(self, operation: Callable[[Tx], T]) -> T:
        if self._writer is None:
            raise QueueClosed("the queue is not open")
        return await self._writer.run(_each, operation)

    async def _read(self, operation: Callable[[Tx], T]) -> T:
        if self._readers is None:
            raise QueueClosed("the queue is not open")
        return await self._readers.run(operation)

    def _drop_file(self, name: str) -> None:
        self._content.remove(name)

    # submit

    async def insert(self, submission: NewSubmission) -> tuple[Submission, ...]:
        """Store a submission."""
        if self._writer is None:
            raise QueueClosed("the queue is not open")
        return await self._writer.run(self._insert, submission)

    async def insert_within(
        self, connection: object, submission: NewSubmission, *, run: RunBlocking | None = None
    ) -> tuple[Submission, ...]:
        """Store a submission in the caller's transaction: on a `sqlite3.Connection`, aiosqlite's, or SQLAlchemy's."""
        if self._writer is None:
            raise QueueClosed("the queue is not open")
        driver = await async_driver(connection)
        insert_one = partial(self._insert_joined, submission)
        if is_aiosqlite(driver):
            return await in_thread(lambda ask: insert_one(AioSQLiteConnection(driver, ask)))
        return await (run or run_here)(lambda: insert_one(sync_driver(driver)))

    def _insert_joined(self, submission: NewSubmission, connection: object) -> tuple[Submission, ...]:
        with joined(connection, self._queue_id) as tx:
            [receipts] = self._insert(tx, [submission])
        return receipts

    def pieces(self, stored: StoredContent) -> AsyncGenerator[bytes, None]:
        """Stream content from its file or its chunks."""
        return super().pieces(stored) if stored.file is None else self._content.pieces(stored)

    async def watch(self, wake: Callable[[], None]) -> None:
        """Call `wake` when any connection has changed the file."""
        await watch(self._path, wake)
