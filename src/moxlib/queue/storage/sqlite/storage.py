"""`Storage` on an SQLite file: the shared operations, run by an SQLite engine."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Literal, TypeVar

from moxlib.queue.errors import QueueClosed
from moxlib.queue.selection import Cursor, HistoryFilter, MessageFilter, Page, Sort
from moxlib.queue.storage.base import ClaimRequest, ClaimResult, Settlement, WorkerInfo
from moxlib.queue.storage.content import ContentDirectory
from moxlib.queue.storage.operations import claim, destination, insert, look, operate, settle, workers
from moxlib.queue.storage.sqlite.engine import LoopWriter, Readers, ThreadWriter, Writer
from moxlib.queue.storage.sqlite.errors import DATABASE_ERRORS, storage_error
from moxlib.queue.storage.sqlite.schema import OPEN_BUSY_MS, connect, create_file, migrate, migrations
from moxlib.queue.storage.tx import Tx
from moxlib.queue.types import (
    Event,
    EventType,
    HoldRule,
    Message,
    NewSubmission,
    RequireTLS,
    Retired,
    StoredContent,
    Submission,
)

__all__ = ["SQLiteStorage", "Transactions"]

T = TypeVar("T")

Transactions = Literal["thread", "loop"]
"""Where transactions run: in a writer thread (the default), or in the event loop (a process that only delivers)."""


def _each(tx: Tx, operations: list[Callable[[Tx], T]]) -> list[T]:
    return [operation(tx) for operation in operations]


class SQLiteStorage:
    """One queue in one SQLite file; other processes may use the same file at the same time."""

    def __init__(self, path: str | PathLike[str], *, transactions: Transactions = "thread") -> None:
        self._path = Path(path)
        self._transactions = transactions
        self._content = ContentDirectory(self._path.with_name(self._path.name + ".content"))
        self._writer: Writer | None = None
        self._readers: Readers | None = None

    @property
    def content_directory(self) -> ContentDirectory:
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
            await asyncio.to_thread(readers.close)
        if isinstance(writer, ThreadWriter):
            await asyncio.to_thread(writer.close)
        elif writer is not None:
            writer.close()

    def _open_file(self, now: datetime) -> None:
        create_file(self._path)
        try:
            connection = connect(self._path, busy_ms=OPEN_BUSY_MS)
            try:
                migrate(connection, migrations())
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
        return await self._writer.run(insert.insert_all, submission)

    async def content(self, base_id: int) -> StoredContent | None:
        """Return where the content of a submission lies."""
        return await self._read(partial(look.content, base_id=base_id))

    # work

    async def register_worker(self, identity: str, *, now: datetime, lease: timedelta) -> int:
        """Register a worker and return its id."""
        return await self._write(partial(workers.register, identity=identity, now=now, lease=lease))

    async def workers(self) -> tuple[WorkerInfo, ...]:
        """Return the registered workers."""
        return await self._read(workers.workers)

    async def renew(self, worker: int, *, now: datetime, lease: timedelta) -> bool:
        """Extend the worker's lease."""
        return await self._write(partial(workers.renew, worker=worker, now=now, lease=lease))

    async def take_back(
        self, *, now: datetime, dead: Sequence[int] = (), hold_interrupted: bool = False
    ) -> tuple[int, ...]:
        """Unregister expired and dead workers; what they had claimed is due again."""
        return await self._write(partial(workers.take_back, now=now, dead=dead, hold_interrupted=hold_interrupted))

    async def unregister_worker(self, worker: int, *, now: datetime, hold_interrupted: bool = False) -> None:
        """End a worker."""
        await self._write(partial(workers.unregister, worker=worker, now=now, hold_interrupted=hold_interrupted))

    async def claim(self, worker: int, request: ClaimRequest) -> ClaimResult:
        """Claim due messages fairly."""
        return await self._write(partial(claim.claim, worker=worker, request=request))

    async def settle(self, worker: int, settlements: Sequence[Settlement], *, now: datetime) -> frozenset[int]:
        """Settle claimed messages; return the ids this worker no longer owned."""
        return await self._write(
            partial(settle.settle, worker=worker, settlements=settlements, now=now, drop_file=self._drop_file)
        )

    async def next_due(self) -> datetime | None:
        """Return the earliest turn of any destination."""
        return await self._read(destination.next_due)

    # look

    async def get(self, id_: int) -> Message | None:
        """Return a queued message."""
        return await self._read(partial(look.get, id_=id_))

    async def get_retired(self, id_: int) -> Retired | None:
        """Return a message of the history."""
        return await self._read(partial(look.get_retired, id_=id_))

    async def list_messages(
        self, where: MessageFilter, *, sort: Sort, descending: bool, limit: int, after: Cursor | None
    ) -> Page[Message]:
        """Return one page of queued messages."""
        return await self._read(
            partial(look.list_messages, where=where, sort=sort, descending=descending, limit=limit, after=after)
        )

    async def count_messages(self, where: MessageFilter) -> int:
        """Count queued messages."""
        return await self._read(partial(look.count_messages, where=where))

    async def list_retired(
        self, where: HistoryFilter, *, sort: Sort, descending: bool, limit: int, after: Cursor | None
    ) -> Page[Retired]:
        """Return one page of the history."""
        return await self._read(
            partial(look.list_retired, where=where, sort=sort, descending=descending, limit=limit, after=after)
        )

    async def count_retired(self, where: HistoryFilter) -> int:
        """Count messages of the history."""
        return await self._read(partial(look.count_retired, where=where))

    async def events(self, *, after: int, limit: int) -> tuple[Event, ...]:
        """Return events after a cursor."""
        return await self._read(partial(look.events, after=after, limit=limit))

    # operate

    async def set_hold(self, where: MessageFilter, *, hold: bool) -> int:
        """Hold or release."""
        return await self._write(partial(operate.set_hold, where=where, hold=hold))

    async def set_next_attempt(self, where: MessageFilter, at: datetime) -> int:
        """Set the next attempt."""
        return await self._write(partial(operate.set_next_attempt, where=where, at=at))

    async def add_next_attempt(self, where: MessageFilter, delay: timedelta) -> int:
        """Move each message's next attempt."""
        return await self._write(partial(operate.add_next_attempt, where=where, delay=delay))

    async def set_transport(self, where: MessageFilter, transport: str | None) -> int:
        """Set or clear the transport."""
        return await self._write(partial(operate.set_transport, where=where, transport=transport))

    async def set_require_tls(self, where: MessageFilter, require_tls: RequireTLS) -> int:
        """Set what the messages ask of TLS."""
        return await self._write(partial(operate.set_require_tls, where=where, require_tls=require_tls))

    async def retire(
        self, where: MessageFilter, *, event: EventType, text: str, now: datetime, keep: Mapping[str, timedelta]
    ) -> int:
        """Drop or fail messages."""
        return await self._write(
            partial(operate.retire, where=where, event=event, text=text, now=now, keep=keep, drop_file=self._drop_file)
        )

    async def hold_rules(self) -> tuple[HoldRule, ...]:
        """Return the hold rules."""
        return await self._read(look.hold_rules)

    async def add_hold_rule(self, rule: HoldRule) -> tuple[HoldRule, int]:
        """Add a rule and hold what matches."""
        return await self._write(partial(operate.add_hold_rule, rule=rule))

    async def remove_hold_rule(self, rule_id: int) -> bool:
        """Remove a rule."""
        return await self._write(partial(operate.remove_hold_rule, rule_id=rule_id))

    async def purge(self, *, now: datetime, events_before: datetime) -> int:
        """Delete history and events past their time."""
        return await self._write(partial(operate.purge, now=now, events_before=events_before))
