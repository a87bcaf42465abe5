"""Destinations and their turns: the one place that moves them."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from moxlib.queue.storage.operations.rows import moment
from moxlib.queue.storage.tx import Row, Tx, in_lists

__all__ = ["find", "find_or_add", "lower_turns", "lower_turns_of", "next_due"]

FIND = "SELECT name, id, turn FROM moxlib_destination WHERE name IN ({names})"
ADD = "INSERT INTO moxlib_destination (name, turn) VALUES (?, NULL) ON CONFLICT (name) DO NOTHING"
LOWER = "UPDATE moxlib_destination SET turn = ? WHERE id = ? AND (turn IS NULL OR turn > ?)"
EARLIEST_TURN = "SELECT min(turn) FROM moxlib_destination WHERE turn IS NOT NULL"
CLAIMABLE_OF = """SELECT destination, min(next_attempt) FROM moxlib_message
    WHERE id IN ({ids}) AND owner IS NULL AND hold = 0 GROUP BY destination"""


def find(tx: Tx, names: Sequence[str]) -> dict[str, tuple[int, int | None]]:
    """Return the id and turn of destinations by name; unknown ones are left out."""
    found: dict[str, tuple[int, int | None]] = {}
    for marks, piece in in_lists(names):
        found |= {name: (id_, turn) for name, id_, turn in tx.query(FIND.format(names=marks), piece)}
    return found


def find_or_add(tx: Tx, names: Sequence[str]) -> dict[str, tuple[int, int | None]]:
    """Return the id and turn of destinations by name; new ones are added, in the order given."""
    found = find(tx, names)
    new = [name for name in names if name not in found]
    if new:
        tx.executemany(ADD, [(name,) for name in new])
        found |= find(tx, new)
    return found


def lower_turns(tx: Tx, turns: Mapping[int, int]) -> None:
    """Make several destinations' turns come at the given times at the latest."""
    tx.executemany(LOWER, [(turn, destination, turn) for destination, turn in turns.items()])


def lower_turns_of(tx: Tx, messages: Sequence[int]) -> None:
    """Bring forward the turns of the destinations of those messages that can be claimed."""
    for marks, piece in in_lists(messages):
        rows: list[Row] = tx.query(CLAIMABLE_OF.format(ids=marks), piece)
        lower_turns(tx, dict(rows))


def next_due(tx: Tx) -> datetime | None:
    """Return the earliest turn of all; None when nothing can be claimed."""
    turn: int | None = tx.query(EARLIEST_TURN)[0][0]
    return None if turn is None else moment(turn)
