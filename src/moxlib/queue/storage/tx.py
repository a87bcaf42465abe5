"""`Tx`: the transaction that storage operations are written on, once for every engine.

SQL is written with `?` placeholders and in what SQLite and PostgreSQL share. What only a server with concurrent
transactions needs stands in a comment that begins with `pg`, as in `/*pg FOR UPDATE */`: PostgreSQL's engine takes the
marks away, SQLite reads past them. An operation is a plain function whose first parameter is a `Tx`; it neither begins
nor commits. The engine decides which operations share a commit.

On SQLite, nobody else writes while a transaction does. On PostgreSQL others do, each statement sees what was committed
before it began, and what is read is only sure to stay if it was read `FOR UPDATE`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol

__all__ = ["DropFile", "Given", "Row", "Statement", "Tx", "Value", "in_lists", "insert_sql"]

DropFile = Callable[[str], None]
"""Removes a content file that no row refers to any more."""
Value = str | int | bytes | None
Row = tuple[Any, ...]
Given = Mapping[str, Literal["bigint", "text"]]
"""The columns of rows that a statement is given, and their types."""
Statement = tuple[str, Sequence[Value]]
"""SQL and its parameters."""

CHUNK = 512  # values in one IN (...): well under SQLite's oldest limit of 999 variables


class Tx(Protocol):
    """One transaction, or one savepoint's part of it."""

    @property
    def concurrent(self) -> bool:
        """Whether other transactions may write meanwhile."""
        ...

    @property
    def lasting(self) -> bool:
        """Whether others write meanwhile, and it may go on for long: it is the application's own."""
        ...

    def query(self, sql: str, params: Sequence[Value] = ()) -> list[Row]:
        """Run a statement and return all its rows."""
        ...

    def query_each(self, sql: str, rows: Sequence[Sequence[Value]]) -> list[list[Row]]:
        """Run a statement once for each of the rows, in one round trip; return the rows of each."""
        ...

    def execute(self, sql: str, params: Sequence[Value] = ()) -> int:
        """Run a statement and return how many rows it changed."""
        ...

    def executemany(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        """Run a statement once for each of the rows."""
        ...

    def insert_given(self, into: str, select: str, given: Given, rows: Sequence[Sequence[Value]]) -> None:
        """Insert into `table (columns)` what a SELECT makes of the rows, which it reads as a table named `given`."""
        ...

    def insert_rows(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> None:
        """Insert rows, in the way that is cheapest for so many."""
        ...

    def query_together(self, *statements: Statement) -> list[list[Row]]:
        """Run several statements in one round trip; return the rows of each."""
        ...

    def allocation(self, count: int) -> Statement:
        """Return what takes `count` message ids that follow each other, never used before; its row has the first."""
        ...

    def serialize(self, what: str) -> None:
        """Wait until no other transaction is past this call with the same `what`, and keep others from it to the end.

        What is committed after it is so in the order in which the transactions passed here.
        """
        ...

    def announce(self) -> None:
        """Wake the workers of other processes once this is committed, as far as the engine can."""
        ...

    def after_commit(self, action: Callable[[], None]) -> None:
        """Run `action` once the transaction is durable; never, if it (or this operation) is rolled back."""
        ...


def insert_sql(table: str, columns: Sequence[str]) -> str:
    """Return the INSERT, up to where its rows come from."""
    return f"INSERT INTO {table} ({', '.join(columns)})"


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
