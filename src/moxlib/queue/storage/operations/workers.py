"""Workers and their leases: registering, renewing, taking back from the dead."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from moxlib.queue.storage.claims import WorkerInfo
from moxlib.queue.storage.operations import hooks
from moxlib.queue.storage.operations.destination import lower_turns, wake_due
from moxlib.queue.storage.operations.rows import dump_results, load_results, micros, moment
from moxlib.queue.storage.tx import Row, Tx, in_lists
from moxlib.queue.types import AttemptResult, ResultKind

__all__ = ["count_workers", "free_slots", "lock_worker", "register", "renew", "take_back", "unregister", "workers"]

REGISTER = "INSERT INTO moxlib_worker (identity, lease_until) VALUES (?, ?) RETURNING id"
ALL = "SELECT id, identity, lease_until FROM moxlib_worker ORDER BY id"
COUNT = "SELECT count(*) FROM moxlib_worker"
LOCK = "SELECT 1 FROM moxlib_worker WHERE id = ? /*pg FOR KEY SHARE */"  # which does not keep it from renewing
LOCK_OUT = "SELECT 1 FROM moxlib_worker WHERE id = ? /*pg FOR UPDATE */"
RENEW = "UPDATE moxlib_worker SET lease_until = ? WHERE id = ?"
# A worker that is just renewing, or claiming, is passed over: it is alive, or will be taken back the next time.
EXPIRED = "SELECT id FROM moxlib_worker WHERE lease_until <= ? ORDER BY id /*pg FOR UPDATE SKIP LOCKED */"
DEAD = "SELECT id FROM moxlib_worker WHERE id = ? /*pg FOR UPDATE SKIP LOCKED */"
UNREGISTER = "DELETE FROM moxlib_worker WHERE id = ?"
SLOTS_OF = "SELECT destination, worker FROM moxlib_slot WHERE worker IN ({workers})"
FREE_SLOT = "DELETE FROM moxlib_slot WHERE destination = ? AND worker = ?"
OWNED = """SELECT id, destination, attempts, claimed_at, hold, results FROM moxlib_message WHERE owner IN ({workers})
    /*pg ORDER BY id + 0 FOR UPDATE */"""  # sorted: in the order of the key's index, the whole table would be read
INTERRUPT = """UPDATE moxlib_message SET owner = NULL, last_attempt = claimed_at, claimed_at = NULL, next_attempt = ?,
    hold = ?, results = ? WHERE id = ?"""


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


def lock_worker(tx: Tx, worker: int) -> bool:
    """Say whether the worker is registered, and keep it from being taken back until this transaction ends."""
    return bool(tx.query(LOCK, (worker,)))


def renew(tx: Tx, worker: int, *, now: datetime, lease: timedelta) -> bool:
    """Extend the worker's lease; False when it was taken back."""
    return tx.execute(RENEW, (micros(now + lease), worker)) == 1


def take_back(tx: Tx, *, now: datetime, dead: Sequence[int] = (), hold_interrupted: bool = False) -> tuple[int, ...]:
    """Unregister expired and dead workers; what they had claimed is due again. Returns their ids."""
    at = micros(now)
    gone = {id_ for (id_,) in tx.query(EXPIRED, (at,))} | {id_ for id_ in dead if tx.query(DEAD, (id_,))}
    _interrupt(tx, sorted(gone), at, hold=hold_interrupted)
    return tuple(sorted(gone))


def unregister(tx: Tx, worker: int, *, now: datetime, hold_interrupted: bool = False) -> None:
    """End a worker; what it still owns is due again, as if it had died."""
    tx.query(LOCK_OUT, (worker,))  # a claim of its own may still be under way
    _interrupt(tx, [worker], micros(now), hold=hold_interrupted)


def free_slots(tx: Tx, worker: int, destinations: Sequence[str], at: int) -> None:
    """Give delivery slots back, and wake the destinations that have something due."""
    tx.executemany(FREE_SLOT, [(name, worker) for name in destinations])
    wake_due(tx, destinations, at)


def _interrupt(tx: Tx, workers: Sequence[int], at: int, *, hold: bool) -> None:
    """End workers whose rows this transaction has locked."""
    turns: dict[str, int] = {}
    updates = []
    owned: list[Row] = []
    slots: list[Row] = []
    for marks, piece in in_lists(workers):
        owned += tx.query(OWNED.format(workers=marks), piece)
        slots += tx.query(SLOTS_OF.format(workers=marks), piece)
    for id_, destination, attempts, claimed_at, held, results in owned:
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
    tx.executemany(FREE_SLOT, slots)
    wake_due(tx, sorted({destination for destination, _ in slots}), at)
    hooks.interrupt(tx, workers, at)
    tx.executemany(UNREGISTER, [(worker,) for worker in workers])
