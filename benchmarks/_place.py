"""Places for the queues that benchmarks measure: SQLite files, or databases of a PostgreSQL that runs only for them.

Both are on the disk that holds this checkout, and durable.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, TypeAlias

from tests.postgres import PostgresServer

from benchmarks._mail import directory, disk
from benchmarks._options import Engine

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Place", "places"]

Place: TypeAlias = Callable[[], AbstractContextManager[str]]
"""Makes a place where nothing is yet, gives it as `Queue.open` takes it, and removes it afterwards."""

# What an administrator would set first for a load like this: memory for a queue, and no checkpoint every few seconds.
POSTGRES = {"shared_buffers": "256MB", "max_wal_size": "4GB", "checkpoint_timeout": "15min"}


@contextmanager
def places(engine: Engine) -> Iterator[Place]:
    """Give what makes places on an engine, which runs until the block ends."""
    match engine:
        case Engine.SQLITE:
            yield _file
        case Engine.POSTGRES:
            with PostgresServer(disk(), fsync=True, settings=POSTGRES) as server:
                yield server.database


@contextmanager
def _file() -> Iterator[str]:
    with directory() as path:
        yield str(path / "queue.db")
