"""A caller's connection, in whose transaction a submit is made: what is below it, and in which thread it is used.

Connections of drivers are taken as they are; sessions and connections of SQLAlchemy lead to the driver's. What blocks
runs in the thread that the connection belongs to. What is async is driven from a thread that asks the event loop for
each statement, so that storage operations are written once, as plain functions.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, TypeVar

from moxlib.queue.errors import InvalidConnection

__all__ = ["Ask", "async_driver", "in_thread", "refuse", "run_here", "sync_driver"]

T = TypeVar("T")

Ask = Callable[[Coroutine[Any, Any, Any]], Any]
"""Has the event loop run a coroutine, and waits for what it returns."""


def _of_sqlalchemy(connection: object, module: str, *names: str) -> bool:
    """Say whether it is an object of one of SQLAlchemy's classes, which need not be installed."""
    if "sqlalchemy" not in sys.modules:
        return False
    home = import_module(f"sqlalchemy.{module}")
    return isinstance(connection, tuple(getattr(home, name) for name in names))


async def async_driver(connection: object) -> object:
    """Return the driver's connection below an async session or connection of SQLAlchemy, in a transaction.

    Whatever else is given is returned as it is.

    Raises:
        InvalidConnection: it is closed, or must be rolled back first.
    """
    given: Any = connection
    with _refusals():
        if _of_sqlalchemy(connection, "ext.asyncio", "AsyncSession", "async_scoped_session"):
            given = await given.connection()
        if not _of_sqlalchemy(given, "ext.asyncio", "AsyncConnection"):
            return given
        if not given.in_transaction():
            await given.begin()  # as its own execute() would; commit() would do nothing else
        raw = await given.get_raw_connection()
        return raw.driver_connection


def sync_driver(connection: object) -> object:
    """Return the driver's connection below a session or connection of SQLAlchemy, in a transaction; else what is given.

    May block: a session takes its connection from a pool.

    Raises:
        InvalidConnection: it is closed, or must be rolled back first.
    """
    given: Any = connection
    with _refusals():
        if _of_sqlalchemy(connection, "orm", "Session", "scoped_session"):
            given = given.connection()
        if not _of_sqlalchemy(given, "engine", "Connection"):
            return given
        if not given.in_transaction():
            given.begin()
        return given.connection.driver_connection


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn what SQLAlchemy says of an object's state into ours; what its database says is for the caller as it is."""
    try:
        yield
    except Exception as error:
        if not _of_sqlalchemy(error, "exc", "InvalidRequestError"):
            raise
        raise InvalidConnection(f"SQLAlchemy refuses the connection: {error}") from error


async def run_here(function: Callable[[], T]) -> T:
    """Run a function in the event loop's own thread: where a connection belongs that was made there."""
    return function()


async def in_thread(function: Callable[[Ask], T]) -> T:
    """Run a function in a thread, where it may ask the event loop for statements on an async connection.

    Cancelled, it is waited for all the same: it is in the midst of the caller's transaction.
    """
    loop = asyncio.get_running_loop()

    def ask(coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    running = asyncio.ensure_future(asyncio.to_thread(function, ask))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        if not running.done():
            await asyncio.wait([running])
        raise


def refuse(connection: object, wanted: str) -> InvalidConnection:
    """Return the error for a connection of a kind that a storage cannot join."""
    class_ = type(connection)
    return InvalidConnection(f"a submit to this queue joins {wanted}, not {class_.__module__}.{class_.__qualname__}")
