"""Claiming due messages: fair between destinations, at a cost that does not grow with the queue.

Destinations whose turn has come are served in order of turn, a few messages each, through an index that holds only what
can be claimed. Serving a destination moves its turn to when its next message is due, but to now at the earliest: so a
backlog of a million messages for one domain goes to the end of the line after each helping.
"""

from datetime import datetime

from moxlib.queue.errors import StorageDamaged
from moxlib.queue.storage.base import CLAIM_BODY_MAX, Claim, ClaimRequest, ClaimResult
from moxlib.queue.storage.operations.destination import find
from moxlib.queue.storage.operations.rows import MESSAGE_COLUMNS, MESSAGE_TABLES, message_of, micros, moment
from moxlib.queue.storage.operations.workers import count_workers, free_slots, is_registered
from moxlib.queue.storage.tx import Row, Tx, in_lists
from moxlib.queue.types import StoredContent

__all__ = ["claim"]

TURNS = "SELECT id, name FROM moxlib_destination WHERE turn <= ? ORDER BY turn, id LIMIT ?"
NEXT_TURN = "SELECT name, turn FROM moxlib_destination WHERE turn IS NOT NULL ORDER BY turn, id LIMIT ?"
SLOTS = "SELECT worker, slots FROM moxlib_slot WHERE destination = ?"
SET_SLOTS = """INSERT INTO moxlib_slot (destination, worker, slots) VALUES (?, ?, ?)
    ON CONFLICT (destination, worker) DO UPDATE SET slots = excluded.slots"""
DUE = """SELECT id FROM moxlib_message WHERE destination = ? AND owner IS NULL AND hold = 0 AND next_attempt <= ?
    ORDER BY next_attempt, id LIMIT ?"""
JOURNAL = "UPDATE moxlib_message SET owner = ?, attempts = attempts + 1, claimed_at = ? WHERE id = ?"
EARLIEST = "SELECT min(next_attempt) FROM moxlib_message WHERE destination = ? AND owner IS NULL AND hold = 0"
SET_TURN = "UPDATE moxlib_destination SET turn = ? WHERE id = ?"
CLAIMED = f"""SELECT {MESSAGE_COLUMNS}, c.sha256, CASE WHEN s.size <= {CLAIM_BODY_MAX} THEN c.body END
    FROM {MESSAGE_TABLES} LEFT JOIN moxlib_content c ON c.submission = m.submission
    WHERE m.id IN ({{ids}})"""  # noqa: S608 - constants only
SET_ASIDE = """UPDATE moxlib_message SET owner = NULL, claimed_at = NULL, attempts = attempts - 1, hold = 1,
    quarantine = ? WHERE id = ?"""

ALL_TURNS = 2**31 - 1  # for a worker that wants certain destinations only, which may stand anywhere in the line
MAX_ROUNDS = 20  # looks for more destinations when those found had nothing to claim after all (it is held, say)
LIMIT_RETRY = 1_000_000  # µs until a destination with all slots taken is looked at again; freed ones wake it sooner


def claim(tx: Tx, worker: int, request: ClaimRequest) -> ClaimResult:
    """Claim due messages for a registered worker and journal their attempts."""
    now = micros(request.now)
    if request.release:
        free_slots(tx, worker, [id_ for id_, _ in find(tx, request.release).values()], now)
    if not is_registered(tx, worker):
        return ClaimResult(claims=(), slots={}, next_turn=None)
    share = count_workers(tx)
    full = sum(1 for room in request.room.values() if room <= 0)
    taken: list[int] = []
    slots: dict[str, int] = {}
    served: set[int] = set()  # in an earlier round: their turn is due again, but each gets one helping
    for _ in range(MAX_ROUNDS):
        wanted = request.limit + full + len(served) if request.default_room > 0 else ALL_TURNS
        turns = tx.query(TURNS, (now, wanted))
        for destination, name in turns:
            room = min(request.room.get(name, request.default_room), request.limit - len(taken))
            if room <= 0 or destination in served:
                continue
            served.add(destination)
            ids, granted = _claim_destination(tx, worker, destination, request.limits.limit(name), share, room, now)
            if ids:
                taken += ids
                slots[name] = granted
        if len(taken) >= request.limit or len(turns) < wanted:
            break
    return ClaimResult(claims=_load(tx, taken), slots=slots, next_turn=_next_turn(tx, request, full))


def _claim_destination(
    tx: Tx, worker: int, destination: int, limit: int, workers: int, room: int, now: int
) -> tuple[list[int], int]:
    held: dict[int, int] = dict(tx.query(SLOTS, (destination,)))
    mine = held.pop(worker, 0)
    allowed = min(limit - sum(held.values()), max(1, limit // workers))
    if allowed <= 0 and not mine:
        tx.execute(SET_TURN, (now + LIMIT_RETRY, destination))
        return [], 0
    ids = [id_ for (id_,) in tx.query(DUE, (destination, now, room))]
    granted = max(mine, min(allowed, len(ids)))
    if granted != mine:
        tx.execute(SET_SLOTS, (destination, worker, granted))
    tx.executemany(JOURNAL, [(worker, now, id_) for id_ in ids])
    (earliest,) = tx.query(EARLIEST, (destination,))[0]
    tx.execute(SET_TURN, (None if earliest is None else max(earliest, now), destination))
    return ids, granted


def _load(tx: Tx, ids: list[int]) -> tuple[Claim, ...]:
    rows: dict[int, Row] = {}
    for marks, piece in in_lists(ids):
        rows |= {row[0]: row for row in tx.query(CLAIMED.format(ids=marks), piece)}
    claims: list[Claim] = []
    for id_ in ids:
        try:
            claims.append(_claim_of(rows[id_]))
        except StorageDamaged as error:  # one row that cannot be read must not keep all the others
            tx.execute(SET_ASIDE, (str(error), id_))
    return tuple(claims)


def _claim_of(row: Row) -> Claim:
    *columns, sha256, body = row
    message = message_of(tuple(columns))
    content = None if body is None else StoredContent(size=message.size, sha256=sha256, body=body)
    return Claim(message=message, content=content)


def _next_turn(tx: Tx, request: ClaimRequest, full: int) -> datetime | None:
    for name, turn in tx.query(NEXT_TURN, (full + 1 if request.default_room > 0 else ALL_TURNS,)):
        if request.room.get(name, request.default_room) > 0:
            return moment(turn)
    return None
