"""The SQLite schema: what the migrations make, what docs say of it, and that hot statements go by an index."""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from moxlib.queue.errors import SchemaTooNew
from moxlib.queue.storage.operations import (
    claim,
    destination,
    feedback,
    idempotency,
    insert,
    look,
    operate,
    settle,
    suppression,
    workers,
)
from moxlib.queue.storage.sqlite.schema import connect, create_file, migrate, migrations
from moxlib.queue.storage.tx import insert_sql

DOCUMENTED = Path(__file__).parents[3] / "docs" / "reference" / "sqlite-schema.sql"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    path = tmp_path / "queue.db"
    create_file(path)
    connection = connect(path)
    migrate(connection, migrations())
    yield connection
    connection.close()


def schema_of(connection: sqlite3.Connection) -> str:
    """Return the schema as SQL, without comments, in a fixed order."""
    rows = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'")
    statements = []
    for (sql,) in rows:
        lines = (line.split("--")[0].rstrip() for line in sql.splitlines())
        statements.append("\n".join(line for line in lines if line) + ";\n")
    return "\n".join(sorted(statements))


def test_the_documented_schema_is_what_the_migrations_make(database: sqlite3.Connection) -> None:
    assert DOCUMENTED.read_text(encoding="utf-8") == schema_of(database)


def test_migrating_again_changes_nothing(database: sqlite3.Connection) -> None:
    before = schema_of(database)
    migrate(database, migrations())
    assert schema_of(database) == before
    assert database.execute("SELECT version FROM moxlib_schema").fetchall() == [(len(migrations()),)]


def test_each_migration_continues_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    create_file(path)
    connection = connect(path)
    for count in range(1, len(migrations()) + 1):
        migrate(connection, migrations()[:count])
        assert connection.execute("SELECT version FROM moxlib_schema").fetchone() == (count,)
    migrate(connection, (*migrations(), "CREATE TABLE moxlib_later (id INTEGER);"))
    with pytest.raises(SchemaTooNew) as refused:
        migrate(connection, migrations())
    assert (refused.value.found, refused.value.known) == (len(migrations()) + 1, len(migrations()))
    connection.close()


def test_a_migration_that_fails_leaves_the_schema_as_it_was(database: sqlite3.Connection) -> None:
    before = schema_of(database)
    with pytest.raises(sqlite3.OperationalError):
        migrate(database, (*migrations(), "CREATE TABLE moxlib_half (id INTEGER);\nCREATE TABLE broken (;\n"))
    assert schema_of(database) == before
    assert not database.in_transaction


def test_opening_an_up_to_date_database_waits_for_no_lock(database: sqlite3.Connection, tmp_path: Path) -> None:
    other = connect(tmp_path / "queue.db", busy_ms=60_000)
    database.execute("BEGIN IMMEDIATE")  # as the caller's own transaction, in which it opens the queue
    migrate(other, migrations())
    assert not other.in_transaction
    assert other.execute("PRAGMA busy_timeout").fetchone() == (60_000,)
    other.close()


HOT = {
    "turns": (claim.TURNS, 2, "moxlib_destination_turn"),
    "due": (claim.DUE, 3, "moxlib_message_due"),
    "earliest": (claim.EARLIEST, 1, "moxlib_message_due"),
    "slots": (claim.SLOTS.format(names="?"), 1, "PRIMARY KEY"),
    "journal": (claim.JOURNAL.format(ids="?,?"), 4, "INTEGER PRIMARY KEY"),
    "claimed": (claim.CLAIMED.format(ids="?,?"), 2, "INTEGER PRIMARY KEY"),
    "something due": (destination.HAS_DUE, 2, "moxlib_message_due"),
    "earliest turn": (destination.EARLIEST_TURN, 0, "moxlib_destination_turn"),
    "owned by the dead": (workers.OWNED.format(workers="?,?"), 2, "moxlib_message_owner"),
    "owned": (settle.OWNED.format(ids="?,?"), 3, "INTEGER PRIMARY KEY"),
    "retire": (
        f"INSERT INTO {settle.RETIRED} WITH given ({', '.join(settle.HISTORY)}) AS (SELECT * FROM"
        " (VALUES (?,?,?,?,?,?,?), (?,?,?,?,?,?,?)) LIMIT ?) " + settle.RETIRE,
        15,
        "SEARCH m USING INTEGER PRIMARY KEY",
    ),
    "earlier ones to a recipient": (suppression.PAST, 4, "moxlib_retired_base_address"),
    "suppressions of recipients": (suppression.AMONG.format(addresses="?,?"), 3, "sqlite_autoindex_moxlib_suppression"),
    "fromid": (feedback.BY_FROMID.format(fromids="?,?"), 2, "PRIMARY KEY"),
    "envelope identifier": (feedback.BY_ENVID, 2, "moxlib_submission_envid"),
    "Message-ID": (feedback.BY_MESSAGE_ID, 2, "moxlib_submission_message_id"),
    "purge history": (operate.PURGE_RETIRED, 2, "moxlib_retired_forget_at"),
    "hide history": (operate.HIDE_RETIRED, 3, "moxlib_retired_keep_until"),
    "content outside": (settle.OUTSIDE.format(ids="?,?"), 2, "PRIMARY KEY"),
    "chunk": (look.CONTENT_CHUNK, 2, "moxlib_chunk"),
    "idempotency key": (idempotency.FIND, 2, "sqlite_autoindex_moxlib_idempotency"),
    "delete content": (settle.DELETE_CONTENT.format(ids="?,?"), 2, "SEARCH m USING INTEGER PRIMARY KEY"),
    "delete submission": (settle.DELETE_SUBMISSION, 1, "SEARCH r USING INTEGER PRIMARY KEY"),
    "message row": (f"{insert_sql(*insert.MESSAGE)} VALUES ({', '.join('?' * len(insert.MESSAGE[1]))})", 16, ""),
    "one message": (look.GET, 1, "INTEGER PRIMARY KEY"),
    "events": (look.EVENTS, 2, "INTEGER PRIMARY KEY"),
}


@pytest.mark.parametrize("name", HOT)
def test_hot_statements_go_by_an_index(database: sqlite3.Connection, name: str) -> None:
    sql, parameters, index = HOT[name]
    plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {sql}", (1,) * parameters)]
    scans = [step for step in plan if step.startswith("SCAN") and "USING" not in step]
    given = re.compile(r"SCAN (?:given|\(subquery-\d+\)|\d+ CONSTANT ROWS)").fullmatch  # what is being written
    assert not [step for step in scans if not given(step)], plan
    assert "TEMP B-TREE" not in " ".join(plan)
    assert index in " ".join(plan)
