"""Workers and their leases: registering, renewing, taking back from the dead."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from moxlib.queue.storage.base import WorkerInfo
from moxlib.queue.storage.operations.destination import lower_turns
from moxlib.queue.storage.operations.rows import dump_results, load_results, micros, moment
from moxlib.queue.storage.tx import Tx
from moxlib.queue.types import AttemptResult, ResultKind

__all__ = ["count_workers", "free_slots", "is_registered", "register", "renew", "take_back", "unregister", "workers"]

REGISTER = "INSERT INTO moxlib_worker (identity, lease_until) VALUES (?, ?) RETURNING id"
ALL = "SELECT id, identity, lease_until FROM moxlib_worker ORDER BY id"
COUNT = "SELECT count(*) FROM moxlib_worker"
FIND = "SELECT 1 FROM moxlib_worker WHERE id = ?"
RENEW = "UPDATE moxlib_worker SET lease_until = ? WHERE id = ?"
EXPIRED = "SELECT id FROM moxlib_worker WHERE lease_until <= ? ORDER BY id"
UNREGISTER = "DELETE FROM moxlib_worker WHERE id = ?"
SLOTS_OF = "SELECT destination FROM moxlib_slot WHERE worker = ?"
FREE_SLOT = "DELETE FROM moxlib_slot WHERE destination = ? AND worker = ?"
OWNED = "SELECT id, destination, attempts, claimed_at, hold, results FROM moxlib_message WHERE owner = ? ORDER BY id"
INTERRUPT = """UPDATE moxlib_message SET owner = NULL, last_attempt = claimed_at, claimed_at = NULL, next_attempt = ?,
    hold = ?, results = ? WHERE id = ?"""
WAKE_DUE = """UPDATE moxlib_destination SET turn = ? WHERE id = ? AND (turn IS NULL OR turn > ?)
    AND EXISTS (SELECT 1 FROM moxlib_message m WHERE m.destination = moxlib_destination.id
        AND m.owner IS NULL AND m.hold = 0 AND m.next_attempt <= ?)"""


def register(tx: Tx, identity: str, *, now: datetime, lease: timedelta) -> int:
    """Register a worker; its id is larger than any before it."""
    id_: int = tx.query(REGISTER, (identity, micros(now + lease)))[0][0]
    return id_


def workers(tx: Tx) -> tuple[WorkerInfo, ...]:
    """Return the registered workers in order of id."""
    return tuple(
        WorkerInfo(id=id_, identity=identity, lease_until=moment(until)) for id_, identity, until in tx.query(ALL)
    )


def count_workers(tx: Tx) -> int:
    """Return how many workers are registered."""
    count: int = tx.query(COUNT)[0][0]
    return count


def is_registered(tx: Tx, worker: int) -> bool:
    """Say whether the worker has not been taken back."""
    return bool(tx.query(FIND, (worker,)))


def renew(tx: Tx, worker: int, *, now: datetime, lease: timedelta) -> bool:
    """Extend the worker's lease; False when it was taken back."""
    return tx.execute(RENEW, (micros(now + lease), worker)) == 1


def take_back(tx: Tx, *, now: datetime, dead: Sequence[int] = (), hold_interrupted: bool = False) -> tuple[int, ...]:
    """Unregister expired and dead workers; what they had claimed is due again. Returns their ids."""
    at = micros(now)
    gone = {id_ for (id_,) in tx.query(EXPIRED, (at,))} | {id_ for id_ in dead if is_registered(tx, id_)}
    for worker in sorted(gone):
        _interrupt(tx, worker, at, hold=hold_interrupted)
    return tuple(sorted(gone))


def unregister(tx: Tx, worker: int, *, now: datetime, hold_interrupted: bool = False) -> None:
    """End a worker; what it still owns is due again, as if it had died."""
    _interrupt(tx, worker, micros(now), hold=hold_interrupted)


def free_slots(tx: Tx, worker: int, destinations: Sequence[int], at: int) -> None:
    """Give delivery slots back, and wake the destinations that have something due."""
    tx.executemany(FREE_SLOT, [(id_, worker) for id_ in destinations])
    tx.executemany(WAKE_DUE, [(at, id_, at, at) for id_ in destinations])


def _interrupt(tx: Tx, worker: int, at: int, *, hold: bool) -> None:
    turns: dict[int, int] = {}
    updates = []
    for id_, destination, attempts, claimed_at, held, results in tx.query(OWNED, (worker,)):
        result = AttemptResult(
            attempt=attempts,
            kind=ResultKind.INTERRUPTED,
            started=moment(claimed_at),
            text="the worker died or lost its lease while the attempt was under way",
        )
        now_held = bool(held) or hold
        updates.append((at, int(now_held), dump_results((*load_results(results), result)), id_))
        if not now_held:
            turns[destination] = at
    tx.executemany(INTERRUPT, updates)
    lower_turns(tx, turns)
    destinations = [destination for (destination,) in tx.query(SLOTS_OF, (worker,))]
    free_slots(tx, worker, destinations, at)
    tx.execute(UNREGISTER, (worker,))
