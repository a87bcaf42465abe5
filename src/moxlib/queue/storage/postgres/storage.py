"""`Storage` on PostgreSQL: the shared operations, run by a PostgreSQL engine."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict

from moxlib.errors import InputError, StorageError
from moxlib.queue.errors import QueueClosed
from moxlib.queue.storage.base import RunBlocking
from moxlib.queue.storage.callers import async_driver, in_thread, run_here, sync_driver
from moxlib.queue.storage.claims import ClaimRequest, ClaimResult
from moxlib.queue.storage.content import Spool
from moxlib.queue.storage.operations import insert
from moxlib.queue.storage.operations.rows import micros
from moxlib.queue.storage.operations.workers import free_slots
from moxlib.queue.storage.postgres.engine import Doubt, Engine, Inserter, end_stalled, forget_commits
from moxlib.queue.storage.postgres.errors import storage_error
from moxlib.queue.storage.postgres.listen import listen
from moxlib.queue.storage.postgres.schema import OLDEST, check_schema_name, migrate, migrations
from moxlib.queue.storage.postgres.tx import Dialect
from moxlib.queue.storage.postgres.within import joined
from moxlib.queue.storage.shared import OperationStorage
from moxlib.queue.storage.tx import Tx
from moxlib.queue.submission import NewSubmission, Submission

__all__ = ["PostgresStorage"]

T = TypeVar("T")

MIN_CONNECTIONS = 2  # one for submits that may have to wait for a transaction of the application's, one for the others


class PostgresStorage(OperationStorage):
    """One queue in one schema of a PostgreSQL database; any number of processes may use it at the same time."""

    def __init__(self, conninfo: str, *, schema: str = "moxlib", connections: int = 4) -> None:
        if connections < MIN_CONNECTIONS:
            raise InputError(f"a queue on PostgreSQL needs at least {MIN_CONNECTIONS} connections, not {connections}")
        try:
            given = conninfo_to_dict(conninfo)
        except psycopg.Error as error:
            raise InputError(f"the database's URL cannot be read: {error}") from error
        # Where it lies, for errors and logs: without the password.
        self._where = f"{given.get('host', 'localhost')}/{given.get('dbname', given.get('user', ''))}.{schema}"
        self._conninfo = conninfo
        self._connections = connections
        self._dialect = Dialect(check_schema_name(schema))
        self._insert = partial(insert.insert_all, drop_file=self._drop_file)
        self._engine: Engine | None = None
        self._inserter: Inserter | None = None
        self._may_wait = asyncio.Semaphore(1)  # made anew when it is opened, for the event loop of then
        self._queue_id = ""
        self._doubts: dict[int, Doubt] = {}

    @property
    def content_place(self) -> Spool:
        """A spool: large content goes into the database in chunks."""
        return Spool()

    async def open(self, now: datetime) -> None:  # noqa: ARG002 - the protocol's; there is nothing to sweep
        """Connect, and create or migrate the schema."""
        engine = Engine(self._conninfo, self._where, self._dialect, self._connections)
        engine.open()
        try:
            self._queue_id = await engine.in_thread(partial(self._migrate, engine))
        except BaseException:
            await engine.close()
            raise
        self._engine = engine
        self._may_wait = asyncio.Semaphore(max(1, self._connections - 1))
        self._inserter = Inserter(engine, self._insert, self._where)

    async def close(self) -> None:
        """Finish what was begun and disconnect. Idempotent."""
        inserter, self._inserter = self._inserter, None
        engine, self._engine = self._engine, None
        if inserter is not None:
            await inserter.close()
        if engine is not None:
            await engine.close()

    def _migrate(self, engine: Engine) -> str:
        with engine.connection() as connection:
            version = connection.info.server_version
            if version < OLDEST:
                raise StorageError(
                    f"{self._where}: PostgreSQL {version // 10000} is too old; 13 is the oldest that will do"
                )
            try:
                return migrate(connection, self._dialect, migrations())
            except psycopg.Error as error:
                raise storage_error(error, self._where) from error

    @property
    def _open_engine(self) -> Engine:
        if self._engine is None:
            raise QueueClosed("the queue is not open")
        return self._engine

    async def _write(self, operation: Callable[[Tx], T]) -> T:
        return await self._open_engine.run(operation)

    async def _read(self, operation: Callable[[Tx], T]) -> T:
        return await self._open_engine.run(operation)

    def _drop_file(self, name: str) -> None:
        raise AssertionError(f"no content lies in files, and so not in {name}")

    # submit

    async def insert(self, submission: NewSubmission) -> tuple[Submission, ...]:
        """Store a submission.

        One that may have to wait (for another transaction with the same idempotency key, or for its own large content)
        has a transaction to itself, so that others do not wait with it. Those with keys leave one connection free: they
        may all wait for the same slow transaction of the application's.
        """
        if self._inserter is None:
            raise QueueClosed("the queue is not open")
        if submission.idempotency is None and submission.content.spool is None:
            receipts: tuple[Submission, ...] = await self._inserter.run(submission)
            return receipts
        inserting = partial(self._insert_one, submission=submission)
        if submission.idempotency is None:
            return await self._write(inserting)
        places = self._may_wait
        await places.acquire()
        writing = asyncio.ensure_future(self._write(inserting))
        writing.add_done_callback(lambda _: places.release())
        return await asyncio.shield(writing)  # who gives up waiting does not end it

    async def insert_within(
        self, connection: object, submission: NewSubmission, *, run: RunBlocking | None = None
    ) -> tuple[Submission, ...]:
        """Store a submission in the caller's transaction: on a psycopg connection, or SQLAlchemy's with psycopg."""
        if self._engine is None:
            raise QueueClosed("the queue is not open")
        driver = await async_driver(connection)
        if isinstance(driver, psycopg.AsyncConnection):
            return await in_thread(lambda ask: self._insert_joined(driver, submission, ask=ask))
        if run is None and isinstance(driver, psycopg.Connection):  # it may be used in any thread
            return await in_thread(lambda _: self._insert_joined(driver, submission))
        return await (run or run_here)(lambda: self._insert_joined(sync_driver(driver), submission))

    def _insert_joined(self, connection: object, submission: NewSubmission, **ask: Any) -> tuple[Submission, ...]:
        with joined(connection, self._dialect, self._queue_id, **ask) as tx:
            return self._insert_one(tx, submission)

    def _insert_one(self, tx: Tx, submission: NewSubmission) -> tuple[Submission, ...]:
        [receipts] = self._insert(tx, [submission])
        return receipts

    # work

    async def claim(self, worker: int, request: ClaimRequest) -> ClaimResult:
        """Claim due messages fairly.

        A claim whose commit nobody could tell the end of is not forgotten: what it claimed would be nobody's until the
        worker ends. The next call finds out, and returns it.
        """
        doubt = self._doubts.get(worker)
        if doubt is not None:
            engine, commit, found = self._open_engine, doubt.commit, doubt.result
            if await engine.in_thread(lambda: engine.committed(commit, found)):
                await self._give_slots_back(worker, found, request)  # type: ignore[arg-type]
                del self._doubts[worker]
                return found  # type: ignore[return-value]
            del self._doubts[worker]
        try:
            return await super().claim(worker, request)
        except Doubt as error:
            self._doubts[worker] = error
            raise

    async def renew(self, worker: int, *, now: datetime, lease: timedelta) -> bool:
        """Extend the worker's lease; before that, see that nobody who stands still is in the way."""
        await self._read(partial(end_stalled, dialect=self._dialect))
        return await super().renew(worker, now=now, lease=lease)

    async def _give_slots_back(self, worker: int, found: ClaimResult, request: ClaimRequest) -> None:
        """Do what a call asks for besides claiming, where an earlier one has claimed."""
        release = [name for name in request.release if name not in found.slots]
        if release:
            at = micros(request.now)
            await self._write(partial(free_slots, worker=worker, destinations=release, at=at))

    async def purge(self, *, now: datetime, events_before: datetime) -> int:
        """Delete history and events past their time, and marks of commits that nobody will ask for any more."""
        await self._write(forget_commits)
        return await super().purge(now=now, events_before=events_before)

    async def watch(self, wake: Callable[[], None]) -> None:
        """Call `wake` when a transaction that may have made something due was committed, anywhere."""
        await listen(self._conninfo, self._dialect.channel, wake)
