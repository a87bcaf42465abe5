"""Idempotency keys: the same key and content get the first receipts again, other content an error.

The key is unique by constraint. Of two that race, the second waits for the first one's commit, and then finds it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from moxlib.queue.errors import IdempotencyConflict
from moxlib.queue.storage.operations.rows import micros
from moxlib.queue.storage.tx import Tx
from moxlib.queue.submission import Idempotency, NewSubmission, Submission

__all__ = ["Receipts", "again", "purge_keys", "remember", "reserve"]

FIND = "SELECT fingerprint, receipts FROM moxlib_idempotency WHERE account = ? AND key = ?"
FORGET = "DELETE FROM moxlib_idempotency WHERE account = ? AND key = ? AND keep_until <= ?"
RESERVE = """INSERT INTO moxlib_idempotency (account, key, fingerprint, receipts, keep_until) VALUES (?, ?, ?, '', ?)
    ON CONFLICT (account, key) DO NOTHING"""
REMEMBER = "UPDATE moxlib_idempotency SET receipts = ? WHERE account = ? AND key = ?"
PURGE = """DELETE FROM moxlib_idempotency WHERE keep_until <= ? AND (account, key) IN
    (SELECT account, key FROM moxlib_idempotency WHERE keep_until <= ? ORDER BY keep_until LIMIT ?
        /*pg FOR UPDATE SKIP LOCKED */)"""  # one that a submit is just taking over may be locked for long

Receipts = tuple[Submission, ...]


def reserve(tx: Tx, submissions: Sequence[NewSubmission]) -> Mapping[int, Receipts | int]:
    """Reserve the keys of submissions, and find those that were made before, by their position.

    For each of those: the receipts of then, or, where the first one stands in the same sequence, its position.

    Raises:
        IdempotencyConflict: something else was submitted under the key.
    """
    repeats: dict[int, Receipts | int] = {}
    here: dict[tuple[str, str], tuple[int, Idempotency]] = {}
    for position, new in enumerate(submissions):
        wanted = new.idempotency
        if wanted is None:
            continue
        place = (new.account, wanted.key)
        if place in here:
            first, other = here[place]
            _check(other.fingerprint, wanted)
            repeats[position] = repeats.get(first, first)
            continue
        here[place] = (position, wanted)
        receipts = _reserve_one(tx, new, wanted)
        if receipts is not None:
            repeats[position] = receipts
    return repeats


def _reserve_one(tx: Tx, new: NewSubmission, wanted: Idempotency) -> Receipts | None:
    tx.execute(FORGET, (new.account, wanted.key, micros(new.queued)))
    while not tx.execute(RESERVE, (new.account, wanted.key, wanted.fingerprint, micros(wanted.keep_until))):
        for fingerprint, receipts in tx.query(FIND, (new.account, wanted.key)):
            _check(fingerprint, wanted)
            return _load(receipts)
        # It was there, and was purged in between.
    return None


def remember(tx: Tx, made: Sequence[tuple[NewSubmission, Receipts]]) -> None:
    """Keep the receipts of new submissions under their keys."""
    keyed = [(new, new.idempotency.key, receipts) for new, receipts in made if new.idempotency is not None]
    tx.executemany(REMEMBER, [(_dump(receipts), new.account, key) for new, key, receipts in keyed])


def again(receipts: Receipts) -> Receipts:
    """Return receipts as they are given for a repeat."""
    return tuple(replace(receipt, repeated=True) for receipt in receipts)


def purge_keys(tx: Tx, at: int, limit: int) -> int:
    """Delete keys past their time, at most so many; return how many."""
    return tx.execute(PURGE, (at, at, limit))


def _check(fingerprint: bytes, wanted: Idempotency) -> None:
    if fingerprint != wanted.fingerprint:
        raise IdempotencyConflict(wanted.key)


def _dump(receipts: Receipts) -> str:
    given = [[r.recipient, int(r.hold), *_more(r)] for r in receipts]
    return json.dumps([receipts[0].base_id, *given], ensure_ascii=False)


def _more(receipt: Submission) -> tuple[dict[str, str], ...]:
    """Return what not every receipt has, by name; nothing, where there is none of it."""
    more = {"suppressed": receipt.suppressed, "fromid": receipt.fromid}
    given = {name: value for name, value in more.items() if value}
    return (given,) if given else ()


def _load(text: str) -> Receipts:
    base_id, *given = json.loads(text)
    return tuple(
        Submission(
            id=id_,
            base_id=base_id,
            recipient=recipient,
            hold=bool(hold),
            repeated=True,
            **(more[0] if more else {}),
        )
        for id_, (recipient, hold, *more) in enumerate(given, base_id)
    )
