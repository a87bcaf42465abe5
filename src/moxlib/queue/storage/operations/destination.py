"""Destinations and their turns: the one place that moves them.

Where transactions run beside each other, nobody but a claim writes to a destination: a submit, a settlement or an
operator would otherwise wait for whoever holds its row, and keep it from others until the end of its own transaction,
which may be the application's. They append a *wake* (this destination, by that time) instead, which conflicts with
nothing; the next claim folds the wakes into the turns.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from moxlib.queue.storage.operations.rows import moment
from moxlib.queue.storage.tx import Tx, Value, in_lists

__all__ = ["fold_wakes", "lower_turns", "lower_turns_of", "next_due", "wake_due"]

LOWER = """INSERT INTO moxlib_destination (name, turn) VALUES (?, ?)
    ON CONFLICT (name) DO UPDATE SET turn = excluded.turn
        WHERE moxlib_destination.turn IS NULL OR moxlib_destination.turn > excluded.turn"""
WAKE = ("moxlib_wake", ("destination", "due"))
FOLD = """DELETE FROM moxlib_wake
    WHERE ctid = ANY (ARRAY(SELECT ctid FROM moxlib_wake LIMIT ? FOR UPDATE SKIP LOCKED)) RETURNING destination, due"""
EARLIEST_TURN = "SELECT min(turn) FROM moxlib_destination WHERE turn IS NOT NULL"
EARLIEST_WAKE = "SELECT min(due) FROM moxlib_wake"
# By the key, never through all of the index of what can be claimed, which is for `hold = 0`.
CLAIMABLE_OF = "SELECT destination, next_attempt FROM moxlib_message WHERE id IN ({ids}) AND owner IS NULL AND hold < 1"
HAS_DUE = """SELECT 1 FROM moxlib_message WHERE destination = ? AND owner IS NULL AND hold = 0 AND next_attempt <= ?
    LIMIT 1"""

MAX_FOLDED = 10_000  # wakes in one claim; the rest waits for the next, so that a claim never takes long


def lower_turns(tx: Tx, turns: Mapping[str, int]) -> None:
    """Make several destinations' turns come at the given times at the latest; unknown destinations become known."""
    if not turns:
        return
    rows: list[tuple[Value, Value]] = list(turns.items())
    if tx.concurrent:
        tx.announce()
        tx.insert_rows(*WAKE, rows)
    else:
        tx.executemany(LOWER, rows)


def lower_turns_of(tx: Tx, messages: Sequence[int]) -> None:
    """Bring forward the turns of the destinations of those messages that can be claimed."""
    for marks, piece in in_lists(messages):
        turns: dict[str, int] = {}
        for name, due in tx.query(CLAIMABLE_OF.format(ids=marks), piece):
            turns[name] = min(due, turns.get(name, due))
        lower_turns(tx, turns)


def wake_due(tx: Tx, names: Sequence[str], at: int) -> None:
    """Bring forward to `at` the turns of those destinations that have something due by then."""
    found = tx.query_each(HAS_DUE, [(name, at) for name in names])
    lower_turns(tx, {name: at for name, rows in zip(names, found, strict=True) if rows})


def fold_wakes(tx: Tx) -> bool:
    """Take what others appended into the turns; say whether there was any. A claim does so before it looks at them."""
    if not tx.concurrent:
        return False
    turns: dict[str, int] = {}
    for name, due in tx.query(FOLD, (MAX_FOLDED,)):
        turns[name] = min(due, turns.get(name, due))
    tx.executemany(LOWER, sorted(turns.items()))  # in one order for all, so that no two wait for each other
    return bool(turns)


def next_due(tx: Tx) -> datetime | None:
    """Return the earliest turn of all; None when nothing can be claimed."""
    turns = list(tx.query(EARLIEST_WAKE)[0]) if tx.concurrent else []  # first: a claim may fold it in between
    turns += tx.query(EARLIEST_TURN)[0]
    return min((moment(turn) for turn in turns if turn is not None), default=None)
