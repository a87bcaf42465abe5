"""`Tx`: the transaction that storage operations are written on, once for every engine.

SQL is written with `?` placeholders and in what SQLite and PostgreSQL share. An operation is a plain function whose
first parameter is a `Tx`; it neither begins nor commits. The engine decides which operations share a commit.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

__all__ = ["Row", "Tx", "Value", "in_lists"]

Value = str | int | bytes | None
Row = tuple[Any, ...]

CHUNK = 512  # values in one IN (...): well under SQLite's oldest limit of 999 variables


class Tx(Protocol):
    """One transaction, or one savepoint's part of it."""

    def query(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """Run a statement and return all its rows."""
        ...

    def execute(self, sql: str, params: Sequence[Value] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        ...

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run a statement once for each of the rows."""
        ...

    def allocate(self, count: int) -> int:
        """Take `count` message ids that follow each other, never used before; return the first."""
        ...

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run `action` once the transaction is durable; never, if it (or this operation) is rolled back."""
        ...


def in_lists(values: Sequence[Value]) -> Iterator[tuple[str, list[Value]]]:
    """Cut values into pieces for `IN (...)`: the placeholders `?,?,?,?`, and as many values.

    A piece is filled up to a power of two with its last value, which changes nothing for IN: so a statement has ten
    texts, each prepared once, and not one for every number of values.
    """
    for start in range(0, len(values), CHUNK):
        piece = list(values[start : start + CHUNK])
        size = 1 << (len(piece) - 1).bit_length()
        piece += piece[-1:] * (size - len(piece))
        yield ",".join("?" * size), piece
