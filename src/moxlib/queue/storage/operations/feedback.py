"""Finding the messages that feedback is about, and keeping fromids unique over the queue and its history."""

from collections.abc import Sequence

from moxlib.queue.fromid import DuplicateFromID
from moxlib.queue.storage.base import MAX_MATCHES, Matches
from moxlib.queue.storage.operations.rows import (
    MESSAGE_COLUMNS,
    MESSAGE_TABLES,
    RETIRED_COLUMNS,
    RETIRED_TABLES,
    message_of,
    retired_of,
)
from moxlib.queue.storage.tx import Tx, Value, in_lists

__all__ = ["claim_fromids", "forget_fromids", "match_feedback"]

CHUNK = 256  # rows in one INSERT
CLAIM = "INSERT INTO moxlib_fromid (fromid, message) VALUES {rows} ON CONFLICT (fromid) DO NOTHING RETURNING fromid"
FORGET = "DELETE FROM moxlib_fromid WHERE fromid = ?"
BY_FROMID = "SELECT message FROM moxlib_fromid WHERE fromid IN ({fromids})"
# What is empty is in no index: the condition says so, for SQLite to see it.
BY_ENVID = "SELECT id, recipients FROM moxlib_submission WHERE envid = ? AND envid <> '' ORDER BY id LIMIT ?"
BY_MESSAGE_ID = """SELECT id, recipients FROM moxlib_submission WHERE message_id = ? AND message_id <> ''
    ORDER BY id LIMIT ?"""
QUEUED = f"SELECT {MESSAGE_COLUMNS} FROM {MESSAGE_TABLES} WHERE m.id IN ({{ids}}) ORDER BY m.id"  # noqa: S608
RETIRED = f"SELECT {RETIRED_COLUMNS} FROM {RETIRED_TABLES} WHERE m.id IN ({{ids}}) ORDER BY m.id"  # noqa: S608


def claim_fromids(tx: Tx, fromids: Sequence[tuple[str, int]]) -> None:
    """Give each fromid its message, for as long as that is in the queue or its history.

    Raises:
        DuplicateFromID: it has another.
    """
    for start in range(0, len(fromids), CHUNK):
        piece = fromids[start : start + CHUNK]
        values: list[Value] = [value for pair in piece for value in pair]
        taken = {fromid for (fromid,) in tx.query(CLAIM.format(rows=", ".join(["(?, ?)"] * len(piece))), values)}
        for fromid, _ in piece:
            if fromid not in taken:
                raise DuplicateFromID(sender=fromid)
            taken.remove(fromid)


def forget_fromids(tx: Tx, fromids: Sequence[str]) -> None:
    """Let fromids be used again."""
    tx.executemany(FORGET, [(fromid,) for fromid in fromids if fromid])


def match_feedback(tx: Tx, *, fromids: Sequence[str] = (), envid: str = "", message_id: str = "") -> Matches:
    """Return the messages that feedback may be about."""
    if fromids:
        ids: list[int] = []
        for marks, piece in in_lists(fromids):
            ids += [id_ for (id_,) in tx.query(BY_FROMID.format(fromids=marks), piece)]
        if found := _found(tx, ids):
            return Matches(by="fromid", queued=found.queued, retired=found.retired)
    if envid and (found := _found(tx, _ids(tx, BY_ENVID, envid))):
        return Matches(by="envid", queued=found.queued, retired=found.retired)
    if message_id and (found := _found(tx, _ids(tx, BY_MESSAGE_ID, message_id))):
        return Matches(by="message-id", queued=found.queued, retired=found.retired)
    return Matches()


def _ids(tx: Tx, sql: str, value: str) -> list[int]:
    ids: list[int] = []
    for first, recipients in tx.query(sql, (value, MAX_MATCHES)):
        ids += range(first, first + recipients)
    return ids[:MAX_MATCHES]


def _found(tx: Tx, ids: Sequence[int]) -> Matches | None:
    """Return what there still is of messages; None if nothing."""
    queued = [message_of(row) for marks, piece in in_lists(ids) for row in tx.query(QUEUED.format(ids=marks), piece)]
    retired = [retired_of(row) for marks, piece in in_lists(ids) for row in tx.query(RETIRED.format(ids=marks), piece)]
    return Matches(queued=tuple(queued), retired=tuple(retired)) if queued or retired else None
