"""Fromids, unique over the queue and its history."""

from collections.abc import Sequence

from moxlib.queue.fromid import DuplicateFromID
from moxlib.queue.storage.tx import Tx, Value

__all__ = ["claim_fromids", "forget_fromids"]

CHUNK = 256  # rows in one INSERT
CLAIM = "INSERT INTO moxlib_fromid (fromid, message) VALUES {rows} ON CONFLICT (fromid) DO NOTHING RETURNING fromid"
FORGET = "DELETE FROM moxlib_fromid WHERE fromid = ?"


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
