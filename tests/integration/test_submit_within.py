"""`submit(connection=...)`: the application's rows and its mail are committed, or rolled back, together."""

import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from psycopg.rows import dict_row
from tests.integration.callers import KINDS, POSTGRES, Application, Caller, Database, application, database

from moxlib.errors import StorageError
from moxlib.message import InvalidMessage
from moxlib.queue import (
    IdempotencyConflict,
    InvalidSubmission,
    MessageFilter,
    MessageTooLarge,
    NullObserver,
    Submission,
    TooManyRecipients,
    UnknownTransport,
)
from moxlib.queue.submission import NewSubmission
from moxlib.smtp import InvalidAddress
from moxlib.testing import run_until_idle

HEAD = (
    b"From: sender@here.example\r\nTo: a@one.example\r\nSubject: hello\r\n"
    b"Date: Thu, 1 Jan 2026 12:00:00 +0000\r\nMessage-ID: <1@here.example>\r\n\r\n"
)
MAIL = HEAD + b"hello\r\n"
LINE = b"y" * 78 + b"\r\n"
OVER_A_ROW = HEAD + LINE * 1_000  # 80 KB
LARGE = HEAD + LINE * 40_000  # 3.2 MB
SIZES = pytest.mark.parametrize("mail", [MAIL, LARGE], ids=["small", "3.2 MB"])
ALL_SIZES = pytest.mark.parametrize("mail", [MAIL, OVER_A_ROW, LARGE], ids=["small", "80 KB", "3.2 MB"])


@pytest.fixture(params=list(KINDS))
async def app(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Application]:
    kind = request.param
    async with application(database(request, tmp_path, postgres=kind in POSTGRES), kind) as app:
        yield app


def counts(database: Database) -> dict[str, int]:
    return {name: len(rows) for name, rows in database.everything().items() if rows}


@ALL_SIZES
async def test_after_the_commit_both_are_there_and_the_message_is_delivered(app: Application, mail: bytes) -> None:
    async with app.connect() as caller:
        await caller.begin()
        await caller.add(17)
        receipts = await app.queue.submit(
            mail, recipients=["a@one.example", "b@two.example"], extra={"order": "17"}, connection=caller.connection
        )
        await caller.commit()
        assert app.database.orders() == [17]
        assert app.database.files() == []
        assert [message.id for message in (await app.queue.list_messages()).items] == [r.id for r in receipts]
        assert (await app.queue.list_messages()).items[0].extra == {"order": "17"}
        assert b"".join([chunk async for chunk in app.queue.dump(receipts[0].id)]) == mail
    await run_until_idle(app.queue)
    assert [app.transport.delivered(r.recipient) for r in receipts] == [[mail], [mail]]
    assert await app.queue.count_history() == 2
    assert app.database.files() == []
    left = counts(app.database)
    assert "moxlib_content" not in left
    assert "moxlib_chunk" not in left


@SIZES
async def test_before_the_commit_nobody_else_sees_anything(app: Application, mail: bytes) -> None:
    before = app.database.everything()
    async with app.connect() as caller:
        await caller.begin()
        await caller.add(17)
        await app.queue.submit(mail, connection=caller.connection)
        assert app.database.everything() == before
        assert app.database.files() == []
        assert await app.queue.count_messages() == 0
        await run_until_idle_but_reading(app)
        await caller.commit()
    assert await app.queue.count_messages() == 1


async def run_until_idle_but_reading(app: Application) -> None:
    """Let a worker look for something, where it can while another has a transaction: SQLite has one writer."""
    if app.database.schema is not None:
        await run_until_idle(app.queue)
        assert app.transport.recorded == []


@SIZES
async def test_after_a_rollback_nothing_is_left(app: Application, mail: bytes) -> None:
    await app.queue.submit(MAIL, recipients="earlier@one.example", idempotency_key="earlier")
    before = app.database.everything()
    async with app.connect() as caller:
        await caller.begin()
        await caller.add(17)
        await app.queue.submit(mail, recipients=["a@one.example", "b@two.example"], connection=caller.connection)
        await app.queue.submit(mail, idempotency_key="k", connection=caller.connection)
        await caller.rollback()
        assert app.database.everything() == before
        assert app.database.files() == []
    assert app.database.everything() == before
    [receipt] = await app.queue.submit(MAIL, idempotency_key="k")
    assert not receipt.repeated


async def test_closing_the_connection_without_a_commit_leaves_nothing(app: Application) -> None:
    before = app.database.everything()
    async with app.connect() as caller:
        await caller.begin()
        await caller.add(17)
        await app.queue.submit(LARGE, connection=caller.connection)
    assert app.database.everything() == before
    assert app.database.files() == []


async def test_a_submit_may_be_the_first_statement_and_one_of_many(app: Application) -> None:
    async with app.connect() as caller:
        await caller.begin()
        receipts = [await app.queue.submit(MAIL, connection=caller.connection) for _ in range(3)]
        assert app.database.orders() == []
        assert await app.queue.count_messages() == 0
        await caller.add(1)
        receipts.append(await app.queue.submit(OVER_A_ROW, connection=caller.connection))
        await caller.commit()
        await caller.begin()
        receipts.append(await app.queue.submit(MAIL, connection=caller.connection))
        await caller.rollback()
    queued = [message.id for message in (await app.queue.list_messages()).items]
    assert queued == [receipt.id for [receipt] in receipts[:4]]
    assert app.database.orders() == [1]


async def test_what_the_caller_undoes_to_a_savepoint_is_undone(app: Application) -> None:
    async with app.connect() as caller:
        await caller.begin()
        await caller.add(1)
        [kept] = await app.queue.submit(MAIL, connection=caller.connection)
        await caller.execute("SAVEPOINT mine")
        await caller.add(2)
        await app.queue.submit(LARGE, idempotency_key="k", connection=caller.connection)
        await caller.execute("ROLLBACK TO SAVEPOINT mine")
        await caller.commit()
    assert app.database.orders() == [1]
    assert [message.id for message in (await app.queue.list_messages()).items] == [kept.id]
    assert (counts(app.database)["moxlib_submission"], counts(app.database)["moxlib_content"]) == (1, 1)


async def test_as_many_recipients_as_there_may_be(app: Application) -> None:
    recipients = [f"a{n}@{'one' if n % 2 else 'two'}.example" for n in range(3_000)]
    before = app.database.everything()
    async with app.connect() as caller:
        await caller.begin()
        await app.queue.submit(OVER_A_ROW, recipients=recipients, connection=caller.connection)
        await caller.rollback()
        assert app.database.everything() == before
        await caller.begin()
        receipts = await app.queue.submit(OVER_A_ROW, recipients=recipients, connection=caller.connection)
        await caller.commit()
    assert [receipt.recipient for receipt in receipts] == recipients
    assert await app.queue.count_messages() == 3_000
    assert await app.queue.count_messages(MessageFilter(base_id=receipts[0].id, destination="two.example")) == 1_500
    await app.queue.drop(MessageFilter())
    left = counts(app.database)
    assert (left["moxlib_retired"], left["moxlib_submission"]) == (3_000, 1)
    assert not left.keys() & {"moxlib_message", "moxlib_content", "moxlib_chunk"}


async def test_message_objects_and_files_can_be_submitted(app: Application, tmp_path: Path) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "sender@here.example", "a@one.example", "Grüße"
    message.set_content("Größe\n")
    message.add_attachment(bytes(200_000), maintype="application", subtype="octet-stream")
    path = tmp_path / "message.eml"
    path.write_bytes(LARGE)
    async with app.connect() as caller:
        await caller.begin()
        [object_] = await app.queue.submit(message, connection=caller.connection)
        [file] = await app.queue.submit(path, connection=caller.connection)
        await caller.commit()
    stored = b"".join([chunk async for chunk in app.queue.dump(object_.id)])
    assert stored.startswith(b"Date: ")
    assert len(stored) > 200_000
    assert b"".join([chunk async for chunk in app.queue.dump(file.id)]) == LARGE


# errors

Options = dict[str, Any]
REFUSED: dict[str, tuple[bytes, Options, type[Exception]]] = {
    "a bare line feed": (HEAD + b"hello\nthere\r\n", {}, InvalidMessage),
    "a bare line feed far behind": (LARGE + b"hello\nthere\r\n", {}, InvalidMessage),
    "an address that is none": (MAIL, {"recipients": "nobody"}, InvalidAddress),
    "no recipients": (MAIL, {"recipients": []}, InvalidSubmission),
    "an empty key": (MAIL, {"idempotency_key": ""}, InvalidSubmission),
    "another message under a key": (MAIL, {"idempotency_key": "used"}, IdempotencyConflict),
    "another large one under a key": (LARGE, {"idempotency_key": "used"}, IdempotencyConflict),
    "too large": (MAIL + LINE * 150_000, {}, MessageTooLarge),
    "too many recipients": (MAIL, {"recipients": [f"a{n}@one.example" for n in range(11)]}, TooManyRecipients),
    "an unknown transport": (MAIL, {"transport": "pigeon"}, UnknownTransport),
    "what the database refuses": (MAIL, {"recipients": ["a@one.example", "bad@one.example"]}, StorageError),
    "a large one that it refuses": (LARGE, {"recipients": "bad@one.example"}, StorageError),
}


@pytest.fixture(params=list(KINDS))
async def strict(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Application]:
    """An application whose queue has narrow limits, and whose database refuses some rows."""
    kind = request.param
    place = database(request, tmp_path, postgres=kind in POSTGRES)
    limits = {"max_recipients": 10, "max_message_size": 10_000_000}
    async with application(place, kind, **limits) as app:
        if place.schema is None:
            place.execute(
                "CREATE TRIGGER refuse BEFORE INSERT ON moxlib_message WHEN NEW.recipient LIKE 'bad%'"
                " BEGIN SELECT RAISE(ABORT, 'not this one'); END"
            )
        else:
            place.execute("ALTER TABLE moxlib_message ADD CHECK (recipient NOT LIKE 'bad%')")
        yield app


async def test_an_error_leaves_the_callers_transaction_as_it_was(strict: Application) -> None:
    app = strict
    async with app.connect() as caller:
        await caller.begin()
        await caller.add(1)
        [first] = await app.queue.submit(MAIL, connection=caller.connection)
        [used] = await app.queue.submit(OVER_A_ROW, idempotency_key="used", connection=caller.connection)
        for what, (mail, options, error) in REFUSED.items():
            with pytest.raises(error):
                await app.queue.submit(mail, connection=caller.connection, **options)
            assert app.database.orders() == [], f"{what} committed something"
        await caller.add(2)
        [last] = await app.queue.submit(MAIL, connection=caller.connection)
        await caller.commit()
    assert app.database.orders() == [1, 2]
    assert [message.id for message in (await app.queue.list_messages()).items] == [first.id, used.id, last.id]
    assert app.database.files() == []
    left = counts(app.database)
    assert {name: left[name] for name in left if name.startswith("moxlib_") and name != "moxlib_wake"} == {
        "moxlib_content": 3,
        "moxlib_chunk": 1,
        "moxlib_idempotency": 1,
        "moxlib_message": 3,
        "moxlib_submission": 3,
        "moxlib_queue": 1,
        "moxlib_schema": 1,
    } | ({"moxlib_sequence": 1, "moxlib_destination": 1} if app.database.schema is None else {})


@pytest.mark.parametrize("what", ["another large one under a key", "a large one that it refuses"])
async def test_an_error_in_the_first_statement_does_no_harm(strict: Application, what: str) -> None:
    app = strict
    mail, options, error = REFUSED[what]
    await app.queue.submit(MAIL, idempotency_key="used")
    before = app.database.everything()
    async with app.connect() as caller:
        await caller.begin()
        with pytest.raises(error):
            await app.queue.submit(mail, connection=caller.connection, **options)
        await caller.rollback()
        assert app.database.everything() == before
        await caller.begin()
        await caller.add(1)
        await app.queue.submit(MAIL, connection=caller.connection)
        await caller.commit()
    assert app.database.orders() == [1]
    assert await app.queue.count_messages() == 2


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "manual" not in kind and "autocommit" not in kind])
async def test_after_an_error_no_transaction_is_left_that_was_not_there_before(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """Whoever has done nothing yet need not roll back: on SQLite, nobody else could write until then."""
    async with application(database(request, tmp_path, postgres=kind in POSTGRES), kind) as app:
        await app.queue.submit(MAIL, idempotency_key="used")
        async with app.connect() as caller:
            with pytest.raises(IdempotencyConflict):
                await app.queue.submit(LARGE, idempotency_key="used", connection=caller.connection)
            if app.database.schema is not None:
                lasting = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
                assert app.database.execute(lasting) == [(0,)]
            app.database.execute("INSERT INTO orders (id) VALUES (1)")
            await caller.add(2)
            [receipt] = await app.queue.submit(MAIL, connection=caller.connection)
            await caller.commit()
        assert app.database.orders() == [1, 2]
        assert await app.queue.get(receipt.id) is not None


# idempotency keys


async def test_a_repeat_in_the_same_transaction_gets_the_first_receipts(app: Application) -> None:
    async with app.connect() as caller:
        await caller.begin()
        first = await app.queue.submit(LARGE, idempotency_key="k", connection=caller.connection)
        again = await app.queue.submit(LARGE, idempotency_key="k", connection=caller.connection)
        assert again == first
        assert [receipt.repeated for receipt in (*first, *again)] == [False, True]
        await caller.commit()
        await caller.begin()
        [later] = await app.queue.submit(LARGE, idempotency_key="k", connection=caller.connection)
        await caller.commit()
    [outside] = await app.queue.submit(LARGE, idempotency_key="k")
    assert [later, outside] == [*first, *first]
    assert (later.repeated, outside.repeated) == (True, True)
    assert await app.queue.count_messages() == 1
    assert counts(app.database)["moxlib_content"] == 1
    assert app.database.files() == []


async def test_a_repeat_in_a_transaction_of_what_the_queue_took_itself(app: Application) -> None:
    [first] = await app.queue.submit(LARGE, idempotency_key="k")
    async with app.connect() as caller:
        await caller.begin()
        await caller.add(1)
        [again] = await app.queue.submit(LARGE, idempotency_key="k", connection=caller.connection)
        await caller.rollback()
    assert (again, again.repeated) == (first, True)
    assert await app.queue.count_messages() == 1
    assert b"".join([chunk async for chunk in app.queue.dump(first.id)]) == LARGE


# what else a caller may rely on


class Ear(NullObserver):
    def __init__(self) -> None:
        self.heard: list[tuple[Submission, ...]] = []

    def submitted(self, submission: NewSubmission, receipts: tuple[Submission, ...]) -> None:
        self.heard.append(receipts)


@pytest.mark.parametrize("kind", ["sqlite3", "psycopg-async"])
async def test_the_observer_does_not_hear_of_what_may_be_rolled_back(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    ear = Ear()
    place = database(request, tmp_path, postgres=kind in POSTGRES)
    async with application(place, kind) as app, place.open_queue(observer=ear) as queue:
        async with app.connect() as caller:
            await caller.begin()
            await queue.submit(MAIL, connection=caller.connection)
            await caller.commit()
        assert ear.heard == []
        receipts = await queue.submit(MAIL)
        assert ear.heard == [receipts]


async def test_the_connections_own_ways_are_left_to_it(app: Application) -> None:
    async with app.connect() as caller:
        names = ("row_factory", "text_factory", "cursor_factory", "isolation_level", "autocommit")
        driver = caller.connection
        before = [getattr(driver, name, None) for name in names]
        await caller.begin()
        await app.queue.submit(MAIL, connection=driver)
        assert [getattr(driver, name, None) for name in names] == before
        await caller.commit()


Factories = Callable[[Any], None]


def set_sqlite_factories(connection: Any) -> None:
    connection.row_factory = sqlite3.Row
    connection.text_factory = bytes


def set_odd_sqlite_factories(connection: Any) -> None:
    connection.row_factory = lambda cursor, row: dict(
        zip([column[0] for column in cursor.description], row, strict=True)
    )
    connection.text_factory = lambda data: data.decode().upper()


def set_postgres_factory(connection: Any) -> None:
    connection.row_factory = dict_row


@pytest.mark.parametrize(
    ("kind", "set_factories"),
    [
        ("sqlite3", set_sqlite_factories),
        ("sqlite3", set_odd_sqlite_factories),
        ("aiosqlite", set_sqlite_factories),
        ("psycopg", set_postgres_factory),
        ("psycopg-async", set_postgres_factory),
    ],
)
async def test_factories_are_put_back_whatever_happens(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, set_factories: Factories
) -> None:
    async with application(database(request, tmp_path, postgres=kind in POSTGRES), kind) as app:
        async with app.connect() as caller:
            connection: Any = caller.connection
            set_factories(connection)
            factories = connection.row_factory, getattr(connection, "text_factory", None)
            await caller.begin()
            await app.queue.submit(MAIL, idempotency_key="k", connection=connection)
            [again] = await app.queue.submit(MAIL, idempotency_key="k", connection=connection)
            assert (again.recipient, again.repeated) == ("a@one.example", True)
            with pytest.raises(IdempotencyConflict):
                await app.queue.submit(LARGE, idempotency_key="k", connection=connection)
            assert (connection.row_factory, getattr(connection, "text_factory", None)) == factories
            await caller.commit()
        assert await app.queue.count_messages() == 1


async def test_one_transaction_may_hold_mail_for_two_queues_on_one_server(
    postgres_url: str, postgres_schema: str
) -> None:
    first = Database(postgres_url, postgres_schema)
    second = Database(postgres_url, f"{postgres_schema}_other")
    async with AsyncExitStack() as stack:
        stack.callback(first.execute, f"DROP SCHEMA IF EXISTS {second.schema} CASCADE")
        app = await stack.enter_async_context(application(first, "psycopg"))
        other = await stack.enter_async_context(second.open_queue())
        caller: Caller = await stack.enter_async_context(app.connect())
        await app.queue.submit(MAIL, connection=caller.connection)
        await other.submit(LARGE, connection=caller.connection)
        assert (await app.queue.count_messages(), await other.count_messages()) == (0, 0)
        await caller.commit()
        assert (await app.queue.count_messages(), await other.count_messages()) == (1, 1)
        assert (await other.list_messages(MessageFilter())).items[0].size == len(LARGE)
