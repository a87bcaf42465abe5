"""While the application's transaction is open: what others may do meanwhile, and what happens when it is committed."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.integration.callers import KINDS, POSTGRES, Application, Caller, application, database

from moxlib.queue import (
    HistoryFilter,
    IdempotencyConflict,
    MessageFilter,
    Queue,
    WorkerConfig,
)
from moxlib.queue.storage.claims import ClaimRequest, DestinationLimits
from moxlib.queue.storage.postgres import PostgresStorage
from moxlib.testing import RecordingTransport, run_until_idle

HEAD = (
    b"From: sender@here.example\r\nTo: a@one.example\r\n"
    b"Date: Thu, 1 Jan 2026 12:00:00 +0000\r\nMessage-ID: <1@here.example>\r\n\r\n"
)
MAIL = HEAD + b"hello\r\n"
OTHER = HEAD + b"something else\r\n"
LARGE = HEAD + (b"y" * 78 + b"\r\n") * 10_000
GUARD = 30  # seconds after which a test that hangs fails instead
RARELY = WorkerConfig(poll_interval=timedelta(hours=1), settle_gather=timedelta(0))
ALL = MessageFilter()


class Inbox(RecordingTransport):
    """Tells when it has got something."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Condition()

    async def deliver(self, delivery: Any) -> Any:
        outcomes = await super().deliver(delivery)
        async with self._changed:
            self._changed.notify_all()
        return outcomes

    async def got(self, count: int) -> None:
        """Return once it has got so many messages."""
        async with asyncio.timeout(GUARD), self._changed:
            await self._changed.wait_for(lambda: len(self.recorded) >= count)


@pytest.fixture(params=list(KINDS))
async def app(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Application]:
    kind = request.param
    async with application(database(request, tmp_path, postgres=kind in POSTGRES), kind) as app:
        yield app


@pytest.fixture(params=["psycopg", "psycopg-async"])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Application]:
    """An application on PostgreSQL, where others may write while its transaction is open."""
    async with application(database(request, tmp_path, postgres=True), request.param) as app:
        yield app


async def listening(app: Application) -> None:
    """Return once a worker somewhere hears what is committed here (an SQLite file's is asked again and again)."""
    schema = app.database.schema
    if schema is None:
        return
    heard = f"SELECT 1 FROM pg_stat_activity WHERE query = 'LISTEN \"moxlib.{schema}\"' AND state = 'idle'"
    async with asyncio.timeout(GUARD):
        while not await asyncio.to_thread(app.database.execute, heard):
            pass


# waking workers; their clock stands still, so that only a wake makes them look


async def test_a_worker_of_another_process_wakes_at_the_commit(app: Application) -> None:
    inbox = Inbox()
    async with app.database.open_queue(worker=RARELY, transports={"inbox": inbox}) as other, other.worker() as worker:
        await listening(app)
        await worker.wait_idle()
        async with app.connect() as caller:
            for count in (1, 2):
                await caller.begin()
                await app.queue.submit(MAIL, connection=caller.connection)
                assert len(inbox.recorded) == count - 1
                await caller.commit()
                await inbox.got(count)


async def test_a_worker_of_the_same_process_wakes_at_the_commit(app: Application) -> None:
    inbox = Inbox()
    async with app.database.open_queue(worker=RARELY, transports={"inbox": inbox}) as queue, queue.worker() as worker:
        await listening(app)
        await worker.wait_idle()
        async with app.connect() as caller:
            await caller.begin()
            await queue.submit(LARGE, connection=caller.connection)
            await caller.commit()
            await inbox.got(1)
    assert [recorded.data for recorded in inbox.recorded] == [LARGE]


async def test_a_commit_wakes_although_others_woke_the_workers_while_it_was_open(server: Application) -> None:
    """What others have made due meanwhile has been seen, and delivered, by the time that the caller commits."""
    app, inbox = server, Inbox()
    await app.queue.submit(MAIL, recipients="earlier@one.example")
    async with app.connect() as caller:
        await caller.begin()
        await app.queue.submit(MAIL, recipients="late@one.example", connection=caller.connection)
        async with (
            app.database.open_queue(worker=RARELY, transports={"inbox": inbox}) as other,
            other.worker() as worker,
        ):
            await listening(app)
            await inbox.got(1)
            await worker.wait_idle()
            await caller.commit()
            await inbox.got(2)
    assert [recorded.delivery.recipients for recorded in inbox.recorded] == [
        ("earlier@one.example",),
        ("late@one.example",),
    ]


# what others may do meanwhile


@pytest.fixture
async def busy(server: Application) -> AsyncGenerator[tuple[Application, Caller]]:
    """An application in the midst of a transaction with mail in it, to the same place as all other mail."""
    async with server.connect() as caller:
        await server.queue.submit(MAIL, idempotency_key="expired")
        server.clock.set(server.clock.now() + timedelta(days=2))
        await server.queue.submit(MAIL, recipients="first@one.example")
        await caller.begin()
        await caller.add(1)
        await server.queue.submit(MAIL, recipients=["mine@one.example", "b@two.example"], connection=caller.connection)
        await server.queue.submit(LARGE, idempotency_key="expired", connection=caller.connection)
        yield server, caller


Meanwhile = Callable[[Queue], Awaitable[object]]


async def submits(queue: Queue) -> None:
    await asyncio.gather(*(queue.submit(MAIL) for _ in range(20)))
    await queue.submit(LARGE)
    await queue.submit(LARGE, idempotency_key="another")
    assert await queue.count_messages() == 24


async def holds(queue: Queue) -> None:
    assert await queue.hold(ALL) == 2
    assert await queue.release(ALL) == 2


async def reschedules(queue: Queue) -> None:
    assert await queue.reschedule(ALL, by=timedelta(hours=1)) == 2
    assert await queue.retry_now(ALL) == 2
    assert await queue.set_transport(ALL, None) == 2


async def drops(queue: Queue) -> None:
    assert await queue.drop(MessageFilter(recipient="first@")) == 1
    assert await queue.fail(ALL) == 1
    assert [event.error for event in await queue.list_events()] == ["dropped from the queue", "given up by an operator"]


async def changes_hold_rules(queue: Queue) -> None:
    rule, held = await queue.add_hold_rule(recipient_domain="one.example")
    assert held == 2
    assert await queue.remove_hold_rule(rule)
    await queue.add_hold_rule(rule)


async def lists(queue: Queue) -> None:
    assert len((await queue.list_messages()).items) == 2
    assert await queue.count_history(HistoryFilter()) == 0
    assert await queue.next_due() is not None


@pytest.mark.parametrize("meanwhile", [submits, holds, reschedules, drops, changes_hold_rules, lists])
async def test_an_open_transaction_keeps_nobody_waiting(busy: tuple[Application, Caller], meanwhile: Meanwhile) -> None:
    app, caller = busy
    async with asyncio.timeout(GUARD):
        await meanwhile(app.queue)
    assert app.database.orders() == []
    await caller.commit()
    assert app.database.orders() == [1]
    assert await app.queue.count_messages(MessageFilter(recipient="mine@")) == 1


async def test_workers_claim_deliver_and_settle_meanwhile(busy: tuple[Application, Caller]) -> None:
    app, caller = busy
    async with asyncio.timeout(GUARD):
        await run_until_idle(app.queue)
        await app.queue.submit(MAIL, recipients="later@one.example")
        await run_until_idle(app.queue)
    assert await app.queue.count_history() == 3
    assert app.transport.delivered("mine@one.example") == []
    await caller.commit()
    await run_until_idle(app.queue)
    assert app.transport.delivered("mine@one.example") == [MAIL]
    assert await app.queue.count_history() == 6


async def test_history_events_and_keys_are_purged_meanwhile(busy: tuple[Application, Caller]) -> None:
    app, caller = busy
    assert app.database.schema is not None
    storage = PostgresStorage(app.database.place, schema=app.database.schema)
    later = app.clock.now() + timedelta(days=365)
    await app.queue.submit(MAIL, idempotency_key="forgotten by then")
    await app.queue.drop(ALL)
    await storage.open(app.clock.now())
    try:
        async with asyncio.timeout(GUARD):
            purged = 0
            while more := await storage.purge(now=later, events_before=later):
                purged += more
            assert purged == 3 + 3 + 1  # of the history, of the log, and a key: not the one that the caller took over
    finally:
        await storage.close()
    await caller.commit()
    assert await app.queue.count_messages() == 3
    [again] = await app.queue.submit(LARGE, idempotency_key="expired")
    assert again.repeated


async def test_queues_open_and_workers_come_and_go_meanwhile(busy: tuple[Application, Caller]) -> None:
    app, caller = busy
    assert app.database.schema is not None
    now = app.clock.now()
    async with asyncio.timeout(GUARD):
        storage = PostgresStorage(app.database.place, schema=app.database.schema)
        await storage.open(now)
        worker = await storage.register_worker("host/1", now=now, lease=timedelta(seconds=60))
        request = ClaimRequest(now=now, limit=100, limits=DestinationLimits())
        assert len((await storage.claim(worker, request)).claims) == 2
        assert await storage.take_back(now=now, dead=[worker]) == (worker,)
        await storage.close()
    await caller.rollback()
    assert await app.queue.count_messages() == 2


# hold rules


async def test_a_rule_added_while_the_transaction_was_open_holds_what_it_brings(server: Application) -> None:
    app = server
    async with app.connect() as caller:
        await caller.begin()
        one, two = await app.queue.submit(
            MAIL, recipients=["a@one.example", "b@two.example"], connection=caller.connection
        )
        _, held = await app.queue.add_hold_rule(recipient_domain="one.example")
        await caller.commit()
    assert (held, one.hold, two.hold) == (0, False, False)
    await run_until_idle(app.queue)
    assert app.transport.attempts("a@one.example") == []
    assert app.transport.delivered("b@two.example") == [MAIL]
    [message] = (await app.queue.list_messages()).items
    assert (message.id, message.hold, message.attempts, message.quarantine) == (one.id, True, 0, "")
    assert await app.queue.release(ALL) == 1
    await run_until_idle(app.queue)
    assert app.transport.delivered("a@one.example") == [MAIL]


async def test_a_rule_that_is_gone_again_holds_nothing(server: Application) -> None:
    app = server
    async with app.connect() as caller:
        await caller.begin()
        await app.queue.submit(MAIL, connection=caller.connection)
        rule, _ = await app.queue.add_hold_rule(recipient_domain="one.example")
        await app.queue.remove_hold_rule(rule)
        await caller.commit()
    await run_until_idle(app.queue)
    assert app.transport.delivered("a@one.example") == [MAIL]


async def test_what_was_released_is_not_held_again_by_an_older_rule(server: Application) -> None:
    app = server
    async with app.connect() as caller:
        await caller.begin()
        [receipt] = await app.queue.submit(MAIL, connection=caller.connection)
        await app.queue.add_hold_rule(recipient_domain="one.example")
        await caller.commit()
    assert await app.queue.hold(ALL) == 1
    assert await app.queue.release(MessageFilter(ids=(receipt.id,))) == 1
    await run_until_idle(app.queue)
    assert app.transport.delivered("a@one.example") == [MAIL]


@pytest.mark.parametrize("kind", ["sqlite3", "aiosqlite", "sqlalchemy-aiosqlite-session"])
async def test_on_sqlite_a_rule_waits_for_the_transaction_and_holds_what_it_brought(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    async with application(database(request, tmp_path, postgres=False), kind) as app:
        async with app.connect() as caller:
            await caller.begin()
            [receipt] = await app.queue.submit(MAIL, connection=caller.connection)
            adding = asyncio.create_task(app.queue.add_hold_rule(recipient_domain="one.example"))
            submitting = asyncio.create_task(app.queue.submit(OTHER))
            await caller.commit()
            _, held = await adding
            await submitting
        assert held == 1 or (await app.queue.get(receipt.id + 1)) is not None
        await run_until_idle(app.queue)
        assert app.transport.recorded == []
        assert await app.queue.count_messages(MessageFilter(hold=True)) == 2


# idempotency keys


@pytest.mark.parametrize("commits", [True, False])
async def test_the_same_key_waits_for_the_transaction_that_has_it(app: Application, commits: bool) -> None:
    async with app.connect() as caller:
        await caller.begin()
        [first] = await app.queue.submit(MAIL, idempotency_key="k", connection=caller.connection)
        waiting = asyncio.create_task(app.queue.submit(MAIL, idempotency_key="k"))
        other = asyncio.create_task(app.queue.submit(OTHER, idempotency_key="k"))
        await waits_for_the_caller(app, 2)
        assert not waiting.done()
        await (caller.commit() if commits else caller.rollback())
        results = await asyncio.gather(waiting, other, return_exceptions=True)
    assert await app.queue.count_messages() == 1
    if commits:
        assert results[0] == (first,)
        assert isinstance(results[0], tuple)
        assert results[0][0].repeated
        assert isinstance(results[1], IdempotencyConflict)
    else:
        [taken] = [result for result in results if isinstance(result, tuple)]
        assert not taken[0].repeated
        assert len([result for result in results if isinstance(result, IdempotencyConflict)]) == 1


async def waits_for_the_caller(app: Application, count: int) -> None:
    """Return once so many transactions wait for the caller's, as far as that can be seen from outside."""
    if app.database.schema is None:
        return
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%moxlib_idempotency%'"
    async with asyncio.timeout(GUARD):
        while len(await asyncio.to_thread(app.database.execute, waiting)) < count:
            pass


async def test_two_transactions_with_the_same_key(server: Application) -> None:
    """Of two applications, the second one's submit waits for the first one's commit."""
    app = server
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(app.connect())
        two = await stack.enter_async_context(app.connect())
        await one.begin()
        await two.begin()
        await two.add(2)
        [first] = await app.queue.submit(MAIL, idempotency_key="k", connection=one.connection)
        waiting = asyncio.create_task(app.queue.submit(MAIL, idempotency_key="k", connection=two.connection))
        await waits_for_the_caller(app, 1)
        assert not waiting.done()
        await one.commit()
        [again] = await waiting
        assert (again, again.repeated) == (first, True)
        await two.commit()
    assert await app.queue.count_messages() == 1
    assert app.database.orders() == [2]


# when the caller is cancelled, or its isolation is stricter


@pytest.mark.parametrize("level", list(psycopg.IsolationLevel)[1:])
async def test_any_isolation_level_will_do(server: Application, level: psycopg.IsolationLevel) -> None:
    app = server
    async with app.connect() as caller:
        connection: Any = caller.connection
        if isinstance(connection, psycopg.AsyncConnection):
            await connection.set_isolation_level(level)
        else:
            connection.isolation_level = level
        await caller.add(1)
        await app.queue.submit(MAIL, recipients="meanwhile@one.example")
        await app.queue.submit(LARGE, idempotency_key="k", connection=connection)
        await app.queue.submit(MAIL, connection=connection)
        await caller.commit()
    await run_until_idle(app.queue)
    assert len(app.transport.recorded) == 3


async def test_a_submit_that_is_cancelled_ends_before_its_caller_goes_on(server: Application) -> None:
    """The connection is then at rest, and the caller may roll back."""
    app = server
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(app.connect())
        two = await stack.enter_async_context(app.connect())
        await one.begin()
        await app.queue.submit(MAIL, idempotency_key="k", connection=one.connection)
        await two.begin()
        waiting = asyncio.create_task(app.queue.submit(MAIL, idempotency_key="k", connection=two.connection))
        await waits_for_the_caller(app, 1)
        waiting.cancel()
        await one.commit()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await two.add(2)
        await two.commit()
    assert app.database.orders() == [2]
    assert await app.queue.count_messages() == 1
