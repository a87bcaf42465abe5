"""A submit in the caller's own transaction on a PostgreSQL connection: psycopg's, blocking or async."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.pq import PipelineStatus, TransactionStatus

from moxlib.queue.errors import InvalidConnection
from moxlib.queue.storage.callers import Ask, refuse
from moxlib.queue.storage.postgres.errors import storage_error
from moxlib.queue.storage.postgres.tx import AsyncStatements, Dialect, PostgresTx, Statements, SyncStatements

__all__ = ["joined"]

WANTED = "a psycopg connection (psycopg 3, or SQLAlchemy with it)"
NAME = "the caller's connection"  # to what an error is put down


@contextmanager
def joined(connection: object, dialect: Dialect, queue: str, ask: Ask | None = None) -> Iterator[PostgresTx]:
    """Return the caller's transaction, begun if that is the connection's way; what raises in the block is undone.

    Nothing is committed.

    Args:
        connection: a `psycopg.Connection`, or with `ask` a `psycopg.AsyncConnection`.
        dialect: of the schema in which the queue lies.
        queue: the id of the queue that it must lead to.
        ask: reaches the event loop of an async connection.

    Raises:
        InvalidConnection: it is none, has no transaction and begins none, is in pipeline mode, or leads elsewhere.
    """
    statements: Statements
    if isinstance(connection, psycopg.Connection):
        statements = SyncStatements(connection)
    elif isinstance(connection, psycopg.AsyncConnection) and ask is not None:
        statements = AsyncStatements(connection, ask)
    else:
        raise refuse(connection, WANTED)
    _check_transaction(connection)
    try:
        begun = connection.info.transaction_status == TransactionStatus.IDLE
        if begun:
            statements.execute(b"SELECT 1", ())  # psycopg begins the transaction before it
        statements.execute(b"SAVEPOINT moxlib_submit", ())
        try:
            _check_queue(statements, dialect, queue)
            yield PostgresTx(statements, dialect, lasting=True)
        except BaseException:
            if not connection.closed:
                _undo(statements, begun=begun)
            raise
        statements.execute(b"RELEASE moxlib_submit", ())
    except psycopg.Error as error:
        raise storage_error(error, NAME) from error


def _undo(statements: Statements, *, begun: bool) -> None:
    """Undo the submit; with it a transaction that was begun for it, for which nobody else would feel responsible."""
    if begun:
        statements.execute(b"ROLLBACK", ())
    else:
        statements.execute(b"ROLLBACK TO moxlib_submit", ())
        statements.execute(b"RELEASE moxlib_submit", ())


def _check_transaction(connection: "psycopg.Connection[Any] | psycopg.AsyncConnection[Any]") -> None:
    if connection.pgconn.pipeline_status != PipelineStatus.OFF:  # in which no statement tells how many rows it changed
        raise InvalidConnection(
            "the connection is in pipeline mode: submit before `with connection.pipeline()`, or after"
        )
    match connection.info.transaction_status:
        case TransactionStatus.INERROR:
            raise InvalidConnection("the connection's transaction has failed, and can only be rolled back")
        case TransactionStatus.IDLE if connection.autocommit:
            text = "the connection is in autocommit mode and in no transaction, so that there is nothing to join"
            raise InvalidConnection(f"{text}: use it inside `with connection.transaction()`")
        case TransactionStatus.UNKNOWN:
            raise InvalidConnection("the connection is closed")


def _check_queue(statements: Statements, dialect: Dialect, queue: str) -> None:
    ((found,),) = statements.query(b"SELECT to_regclass(%s)::text", (f"{dialect.schema}.moxlib_queue",))
    if found is None:
        text = f"the connection leads to a database in which there is no queue in the schema {dialect.schema!r}"
        raise InvalidConnection(text)
    rows = statements.query(dialect("SELECT id FROM moxlib_queue"), ())
    if rows != [(queue,)]:
        raise InvalidConnection("the connection leads to the database of another queue")
