"""Destinations and their turns: the one place that moves them."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from moxlib.queue.storage.operations.rows import moment
from moxlib.queue.storage.tx import CHUNK, Row, Tx, placeholders

__all__ = ["destination_id", "lower_turn", "lower_turns", "lower_turns_of", "next_due"]

FIND = "SELECT id, turn FROM moxlib_destination WHERE name = ?"
ADD = "INSERT INTO moxlib_destination (name, turn) VALUES (?, NULL) ON CONFLICT (name) DO NOTHING"
LOWER = "UPDATE moxlib_destination SET turn = ? WHERE id = ? AND (turn IS NULL OR turn > ?)"
EARLIEST_TURN = "SELECT min(turn) FROM moxlib_destination WHERE turn IS NOT NULL"
CLAIMABLE_OF = """SELECT destination, min(next_attempt) FROM moxlib_message
    WHERE id IN ({ids}) AND owner IS NULL AND hold = 0 GROUP BY destination"""


def destination_id(tx: Tx, name: str) -> int:
    """Return the id of a destination, added if it is new."""
    found = tx.query(FIND, (name,))
    if not found:
        tx.execute(ADD, (name,))
        found = tx.query(FIND, (name,))
    id_: int = found[0][0]
    return id_


def lower_turn(tx: Tx, destination: int, turn: int) -> None:
    """Make the destination's turn come at `turn` at the latest."""
    tx.execute(LOWER, (turn, destination, turn))


def lower_turns(tx: Tx, turns: Mapping[int, int]) -> None:
    """Make several destinations' turns come at the given times at the latest."""
    tx.executemany(LOWER, [(turn, destination, turn) for destination, turn in turns.items()])


def lower_turns_of(tx: Tx, messages: Sequence[int]) -> None:
    """Bring forward the turns of the destinations of those messages that can be claimed."""
    for start in range(0, len(messages), CHUNK):
        ids = messages[start : start + CHUNK]
        rows: list[Row] = tx.query(CLAIMABLE_OF.format(ids=placeholders(len(ids))), ids)
        lower_turns(tx, dict(rows))


def next_due(tx: Tx) -> datetime | None:
    """Return the earliest turn of all; None when nothing can be claimed."""
    turn: int | None = tx.query(EARLIEST_TURN)[0][0]
    return None if turn is None else moment(turn)
