"""A database of an earlier version, with something in every table, is opened by this one and keeps everything."""

import asyncio
import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.queue.test_sqlite_schema import schema_of

from moxlib.queue import (
    Event,
    EventType,
    HistoryFilter,
    HoldRule,
    Message,
    MessageFilter,
    Queue,
    RequireTLS,
    ResultKind,
    SchemaTooNew,
)
from moxlib.queue.storage.claims import ClaimRequest, DestinationLimits
from moxlib.queue.storage.operations.rows import micros
from moxlib.queue.storage.sqlite import SQLiteStorage
from moxlib.queue.storage.sqlite.schema import connect, create_file, migrate, migrations
from moxlib.queue.submission import StoredContent
from moxlib.testing import FakeClock, RecordingTransport, run_until_empty
from moxlib.testing.clock import START

HEAD = (
    b"From: sender@here.example\r\nTo: a@one.example\r\n"
    b"Date: Thu, 1 Jan 2026 12:00:00 +0000\r\nMessage-ID: <1@here.example>\r\n\r\n"
)
SMALL, LARGE = HEAD + b"hello\r\n", HEAD + (b"y" * 78 + b"\r\n") * 2_000
FILE = "0123456789abcdef0123456789abcdef"
NOW = micros(START)
MINUTE = 60_000_000
RESULT = ["deferred", NOW - 9 * MINUTE, 1500, 451, "4.3.0", "busy", "direct", "mx.example"]


def rows_of(table: str, **columns: Any) -> tuple[str, list[Any]]:
    names = ", ".join(columns)
    return f"INSERT INTO moxlib_{table} ({names}) VALUES ({', '.join('?' * len(columns))})", list(columns.values())


def submission(id_: int, recipients: int, size: int, **columns: Any) -> tuple[str, list[Any]]:
    usual = {
        "id": id_,
        "account": "büro",
        "sender": "sender@here.example",
        "sender_domain": "here.example",
        "recipients": recipients,
        "queued": NOW - 10 * MINUTE,
        "message_id": f"<{id_}@here.example>",
        "subject": "Grüße",
        "size": size,
        "prefix": b"Received: x\r\n",
        "needs_8bit": 1,
        "needs_smtputf8": 0,
        "schedule": "1m, 5m",
        "extra": '{"invoice": "17"}',
    }
    return rows_of("submission", **(usual | columns))


def message(id_: int, base: int, destination: int, recipient: str, **columns: Any) -> tuple[str, list[Any]]:
    usual = {
        "id": id_,
        "submission": base,
        "destination": destination,
        "recipient": recipient,
        "recipient_domain": recipient.split("@")[1],
        "hold": 0,
        "max_attempts": 8,
        "next_attempt": NOW,
        "require_tls": "policy",
    }
    return rows_of("message", **(usual | columns))


def content(base: int, data: bytes, file: str | None = None) -> tuple[str, list[Any]]:
    body = None if file else data
    return rows_of("content", submission=base, sha256=hashlib.sha256(data).digest(), body=body, file=file)


# As version 1 had it: destinations by number, no chunks, no keys. Their numbers are those of nothing else here.
OLD: list[tuple[str, list[Any]]] = [
    ("UPDATE moxlib_sequence SET next_id = ?", [41]),
    submission(1, 3, len(SMALL)),
    submission(4, 2, len(LARGE), schedule=None, extra="{}", account=""),
    submission(20, 1, 5),
    content(1, SMALL),
    content(4, LARGE, FILE),
    rows_of("destination", id=71, name="one.example", turn=NOW - MINUTE),
    rows_of("destination", id=72, name="two.example", turn=NOW + MINUTE),
    rows_of("destination", id=73, name="idle.example", turn=None),
    rows_of("worker", id=6, identity="gone/1", lease_until=NOW + MINUTE),
    rows_of("worker", id=9, identity="host/2", lease_until=NOW + 5 * MINUTE),
    rows_of("slot", destination=71, worker=9, slots=3),
    rows_of("slot", destination=72, worker=6, slots=1),
    message(1, 1, 71, "queued@one.example", transport="test", require_tls="yes", next_attempt=NOW - MINUTE),
    message(
        2,
        1,
        71,
        "claimed@one.example",
        owner=9,
        claimed_at=NOW - MINUTE,
        attempts=2,
        last_attempt=NOW - 9 * MINUTE,
        results=json.dumps([[1, *RESULT]]),
    ),
    message(3, 1, 72, "held@two.example", hold=1, next_attempt=NOW + 3 * MINUTE),
    message(4, 4, 72, "quarantined@two.example", hold=1, quarantine="it was damaged", attempts=1, last_attempt=NOW),
    message(5, 4, 72, "large@two.example", next_attempt=NOW + MINUTE),
    rows_of(
        "retired",
        id=20,
        submission=20,
        destination="idle.example",
        recipient="done@idle.example",
        finished=NOW - MINUTE,
        keep_until=NOW + 9_000 * MINUTE,
        event="delivered",
        attempts=1,
        max_attempts=8,
        last_attempt=NOW - 2 * MINUTE,
        transport=None,
        require_tls="policy",
        results=json.dumps([[1, "delivered", *RESULT[1:]]]),
    ),
    rows_of(
        "event",
        id=15,
        at=NOW - MINUTE,
        type="delivered",
        account="büro",
        message=20,
        recipient="done@idle.example",
        code=0,
        enhanced="",
        error="",
    ),
    rows_of("hold_rule", id=4, account="shop", sender_domain="", recipient_domain="three.example"),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database of version 1, with a content file beside it."""
    made = tmp_path / "mail.db"
    create_file(made)
    with closing(connect(made)) as connection:
        migrate(connection, migrations()[:1])
        for sql, values in OLD:
            connection.execute(sql, values)
    directory = tmp_path / "mail.db.content"
    directory.mkdir()
    (directory / FILE).write_bytes(LARGE)
    return made


@pytest.fixture
def old(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect(path)) as connection:
        yield connection


def dump(connection: sqlite3.Connection) -> list[str]:
    return sorted(connection.iterdump())


def test_the_test_fills_every_table_of_the_old_schema(old: sqlite3.Connection) -> None:
    names = old.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'moxlib_%'").fetchall()
    assert len(names) == 11
    for (name,) in names:
        assert old.execute(f"SELECT count(*) FROM {name}").fetchone()[0] > 0, f"{name} is empty"


def test_its_schema_becomes_that_of_a_new_database(old: sqlite3.Connection, tmp_path: Path) -> None:
    create_file(tmp_path / "new.db")
    with closing(connect(tmp_path / "new.db")) as new:
        migrate(new, migrations())
        migrate(old, migrations())
        assert schema_of(old) == schema_of(new)
    assert old.execute("PRAGMA foreign_key_check").fetchall() == []
    assert old.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert old.execute("SELECT version FROM moxlib_schema").fetchall() == [(len(migrations()),)]


def test_rows_go_where_they_belong(old: sqlite3.Connection) -> None:
    migrate(old, migrations())
    assert old.execute(
        "SELECT name, turn, messages_full_at, connections_full_at FROM moxlib_destination"
    ).fetchall() == [
        ("idle.example", None, None, None),
        ("one.example", NOW - MINUTE, None, None),
        ("two.example", NOW + MINUTE, None, None),
    ]
    assert old.execute("SELECT destination, worker, slots FROM moxlib_slot").fetchall() == [
        ("one.example", 9, 3),
        ("two.example", 6, 1),
    ]
    assert old.execute("SELECT id, destination, owner, claimed_at, rules_seen FROM moxlib_message").fetchall() == [
        (1, "one.example", None, None, 0),
        (2, "one.example", 9, NOW - MINUTE, 0),
        (3, "two.example", None, None, 0),
        (4, "two.example", None, None, 0),
        (5, "two.example", None, None, 0),
    ]
    assert old.execute("SELECT submission, file, chunks, length(body) FROM moxlib_content").fetchall() == [
        (1, None, None, len(SMALL)),
        (4, FILE, None, None),
    ]
    assert old.execute("SELECT count(*) FROM moxlib_chunk").fetchone() == (0,)
    assert old.execute("SELECT length(id) FROM moxlib_queue").fetchall() == [(32,)]


def test_a_migration_that_fails_leaves_the_old_database_as_it_was(old: sqlite3.Connection) -> None:
    before = dump(old)
    with pytest.raises(sqlite3.OperationalError):
        migrate(old, (*migrations(), "CREATE TABLE broken (;\n"))
    assert dump(old) == before
    assert not old.in_transaction
    migrate(old, migrations())


def test_the_old_version_refuses_it_then(old: sqlite3.Connection) -> None:
    migrate(old, migrations())
    before = dump(old)
    with pytest.raises(SchemaTooNew):
        migrate(old, migrations()[:1])
    assert dump(old) == before


async def test_everything_is_told_as_before(path: Path) -> None:
    async with Queue.open(path, clock=FakeClock()) as queue:
        messages = {m.recipient.split("@")[0]: m for m in (await queue.list_messages()).items}
        assert list(messages) == ["queued", "claimed", "held", "quarantined", "large"]
        [result] = messages["claimed"].results
        assert messages["claimed"] == Message(
            id=2,
            base_id=1,
            account="büro",
            sender="sender@here.example",
            sender_domain="here.example",
            recipient="claimed@one.example",
            recipient_domain="one.example",
            destination="one.example",
            queued=START - timedelta(minutes=10),
            hold=False,
            attempts=2,
            max_attempts=8,
            next_attempt=START,
            last_attempt=START - timedelta(minutes=1),
            in_flight=True,
            results=(result,),
            size=len(SMALL),
            message_id="<1@here.example>",
            subject="Grüße",
            prefix=b"Received: x\r\n",
            needs_8bit=True,
            schedule="1m, 5m",
            extra={"invoice": "17"},
        )
        assert (result.kind, result.code, result.text) == (ResultKind.DEFERRED, 451, "busy")
        queued, held, bad = messages["queued"], messages["held"], messages["quarantined"]
        assert (queued.transport, queued.require_tls, queued.in_flight) == ("test", RequireTLS.YES, False)
        assert (held.hold, held.next_attempt) == (True, START + timedelta(minutes=3))
        assert (bad.hold, bad.quarantine, bad.attempts, bad.last_attempt) == (True, "it was damaged", 1, START)
        assert b"".join([chunk async for chunk in queue.dump(1)]) == b"Received: x\r\n" + SMALL
        assert b"".join([chunk async for chunk in queue.dump(5)]) == b"Received: x\r\n" + LARGE
        assert await queue.next_due() == START - timedelta(minutes=1)
        [retired] = (await queue.list_history(HistoryFilter(success=True))).items
        assert (retired.id, retired.destination, retired.size) == (20, "idle.example", 5)
        assert await queue.list_events() == (
            Event(
                id=15,
                at=START - timedelta(minutes=1),
                type=EventType.DELIVERED,
                account="büro",
                message=20,
                recipient="done@idle.example",
            ),
        )
        [rule] = await queue.hold_rules()
        assert (rule, rule.id) == (HoldRule(account="shop", recipient_domain="three.example"), 4)


async def test_work_goes_on_from_there(path: Path) -> None:
    """Ids are not used again; the claimed message is still its worker's; the rest is delivered."""
    storage = SQLiteStorage(path)
    await storage.open(START)
    try:
        assert [worker.id for worker in await storage.workers()] == [6, 9]
        assert await storage.content(4) == StoredContent(
            size=len(LARGE), sha256=hashlib.sha256(LARGE).digest(), file=FILE
        )
        new = await storage.register_worker("host/3", now=START, lease=timedelta(minutes=60))
        assert new > 9
        limits = DestinationLimits(default=4)
        result = await storage.claim(new, ClaimRequest(now=START, limit=10, limits=limits))
        assert [claim.message.id for claim in result.claims] == [1]
        assert dict(result.slots) == {"one.example": 1}  # of four, the other worker has three
        assert await storage.take_back(now=START, dead=[new, 6, 9]) == (6, 9, new)
    finally:
        await storage.close()
    clock, transport = FakeClock(), RecordingTransport()
    async with Queue.open(path, transports={"test": transport}, clock=clock) as queue:
        [receipt] = await queue.submit(SMALL, recipients="new@three.example", account="shop", idempotency_key="k")
        assert (receipt.id, receipt.hold) == (41, True)
        assert await queue.release(MessageFilter()) == 3
        await run_until_empty(queue, clock)
        assert await queue.count_messages() == 0
        assert [event.id for event in await queue.list_events()] == list(range(15, 22))
        assert await queue.count_history() == 7
    assert transport.delivered("large@two.example") == [b"Received: x\r\n" + LARGE]
    assert not list(path.with_name("mail.db.content").iterdir())
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM moxlib_content").fetchone() == (0,)


async def test_several_may_open_it_at_once(path: Path) -> None:
    queues = [Queue.open(path, clock=FakeClock()) for _ in range(4)]
    await asyncio.gather(*(queue.__aenter__() for queue in queues))
    try:
        assert [await queue.count_messages() for queue in queues] == [5] * 4
    finally:
        for queue in queues:
            await queue.close()
