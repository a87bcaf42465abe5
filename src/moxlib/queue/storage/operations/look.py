"""Reading: single messages, pages, counts, rules, events. Nothing here writes."""

from collections.abc import Callable
from typing import TypeVar

from moxlib.queue.selection import INT64, Cursor, HistoryFilter, MessageFilter, Page, Sort
from moxlib.queue.storage.operations.rows import (
    EVENT_COLUMNS,
    MESSAGE_COLUMNS,
    MESSAGE_TABLES,
    RETIRED_COLUMNS,
    RETIRED_TABLES,
    event_of,
    hold_rule_of,
    message_of,
    retired_of,
)
from moxlib.queue.storage.operations.where import (
    Conditions,
    message_conditions,
    message_key,
    page_clause,
    retired_conditions,
    retired_key,
)
from moxlib.queue.storage.tx import Row, Tx
from moxlib.queue.submission import StoredContent
from moxlib.queue.types import Event, HoldRule, Message, Retired

__all__ = [
    "content",
    "content_chunk",
    "content_files",
    "count_messages",
    "count_retired",
    "events",
    "get",
    "get_retired",
    "hold_rules",
    "list_messages",
    "list_retired",
    "page",
]

T = TypeVar("T")

CONTENT = """SELECT s.size, c.sha256, c.body, c.file, c.chunks FROM moxlib_content c
    JOIN moxlib_submission s ON s.id = c.submission WHERE c.submission = ?"""
CONTENT_CHUNK = "SELECT data FROM moxlib_chunk WHERE submission = ? AND number = ?"
CONTENT_FILES = "SELECT file FROM moxlib_content WHERE file IS NOT NULL"
GET = f"SELECT {MESSAGE_COLUMNS} FROM {MESSAGE_TABLES} WHERE m.id = ?"  # noqa: S608 - constants only
GET_RETIRED = f"SELECT {RETIRED_COLUMNS}, m.hidden FROM {RETIRED_TABLES} WHERE m.id = ?"  # noqa: S608 - constants only
EVENTS = f"SELECT {EVENT_COLUMNS} FROM moxlib_event WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608 - constants only
HOLD_RULES = "SELECT id, account, sender_domain, recipient_domain FROM moxlib_hold_rule ORDER BY id"


def content(tx: Tx, base_id: int) -> StoredContent | None:
    """Return where a submission's content lies."""
    for size, sha256, body, file, chunks in tx.query(CONTENT, (base_id,)):
        return StoredContent(
            size=size, sha256=sha256, body=body, file=file, chunks_of=None if chunks is None else base_id
        )
    return None


def content_chunk(tx: Tx, base_id: int, number: int) -> bytes | None:
    """Return one piece of content that lies in chunks, counted from 0; None behind the last, and where it is none."""
    for (data,) in tx.query(CONTENT_CHUNK, (base_id, number)):
        return None if isinstance(data, str) else bytes(data)  # SQLite's columns take what they are given
    return None


def content_files(tx: Tx) -> frozenset[str]:
    """Return the names of all content files that are referred to."""
    return frozenset(file for (file,) in tx.query(CONTENT_FILES))


def get(tx: Tx, id_: int) -> Message | None:
    """Return a queued message."""
    if id_ not in INT64:  # SQLite raises at larger numbers, which are nobody's id
        return None
    for row in tx.query(GET, (id_,)):
        return message_of(row)
    return None


def get_retired(tx: Tx, id_: int) -> Retired | None:
    """Return a message of the history."""
    if id_ not in INT64:
        return None
    for *row, hidden in tx.query(GET_RETIRED, (id_,)):
        return None if hidden else retired_of(tuple(row))
    return None


def list_messages(
    tx: Tx, where: MessageFilter, *, sort: Sort, descending: bool, limit: int, after: Cursor | None
) -> Page[Message]:
    """Return one page of queued messages."""
    key = message_key(sort)
    conditions = message_conditions(where)
    order = page_clause(conditions, key, sort, descending=descending, after=after)
    sql = f"SELECT {MESSAGE_COLUMNS}, {key} FROM {MESSAGE_TABLES} WHERE {conditions.sql} {order} LIMIT ?"  # noqa: S608
    return page(tx, sql, conditions, message_of, sort, descending=descending, limit=limit)


def count_messages(tx: Tx, where: MessageFilter) -> int:
    """Count queued messages."""
    conditions = message_conditions(where)
    # A table alone is counted in its smallest index.
    return _count(tx, MESSAGE_TABLES if conditions.clauses else "moxlib_message m", conditions)


def list_retired(
    tx: Tx, where: HistoryFilter, *, sort: Sort, descending: bool, limit: int, after: Cursor | None
) -> Page[Retired]:
    """Return one page of the history."""
    key = retired_key(sort)
    conditions = retired_conditions(where)
    order = page_clause(conditions, key, sort, descending=descending, after=after)
    sql = f"SELECT {RETIRED_COLUMNS}, {key} FROM {RETIRED_TABLES} WHERE {conditions.sql} {order} LIMIT ?"  # noqa: S608
    return page(tx, sql, conditions, retired_of, sort, descending=descending, limit=limit)


def count_retired(tx: Tx, where: HistoryFilter) -> int:
    """Count messages of the history."""
    conditions = retired_conditions(where)
    return _count(tx, RETIRED_TABLES if len(conditions.clauses) > 1 else "moxlib_retired m", conditions)


def _count(tx: Tx, tables: str, conditions: Conditions) -> int:
    rows = tx.query(f"SELECT count(*) FROM {tables} WHERE {conditions.sql}", conditions.params)  # noqa: S608
    count: int = rows[0][0]
    return count


def page(
    tx: Tx,
    sql: str,
    conditions: Conditions,
    item_of: Callable[[Row], T],
    sort: Sort,
    *,
    descending: bool,
    limit: int,
) -> Page[T]:
    """Return a page of what a statement selects: its rows have the id first and the sort key last, LIMIT is left."""
    rows = tx.query(sql, (*conditions.params, limit + 1))
    more = len(rows) > limit
    rows = rows[:limit]
    cursor = Cursor(sort=sort, descending=descending, key=rows[-1][-1], id=rows[-1][0]) if more else None
    return Page(items=tuple(item_of(row[:-1]) for row in rows), next=cursor)


def events(tx: Tx, *, after: int, limit: int) -> tuple[Event, ...]:
    """Return events after a cursor, in order."""
    if after not in INT64:
        after = 0 if after < 0 else INT64[-1]
    return tuple(event_of(row) for row in tx.query(EVENTS, (after, limit)))


def hold_rules(tx: Tx) -> tuple[HoldRule, ...]:
    """Return the hold rules in order of id."""
    return tuple(hold_rule_of(row) for row in tx.query(HOLD_RULES))
