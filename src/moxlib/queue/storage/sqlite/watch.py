"""Seeing that another connection, of this process or another, has changed the file."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from moxlib.queue.storage.sqlite.errors import DATABASE_ERRORS
from moxlib.queue.storage.sqlite.schema import connect

__all__ = ["watch"]

SECONDS = 0.1  # between looks; one reads a counter in shared memory and takes some microseconds


async def watch(path: Path, wake: Callable[[], None]) -> None:
    """Call `wake` when the file has changed, until cancelled.

    Real time on purpose: other processes know no other.
    """
    connection = connect(path, read_only=True, busy_ms=0)
    try:
        seen = None
        while True:
            try:
                (version,) = connection.execute("PRAGMA data_version").fetchone()
            except DATABASE_ERRORS:  # whoever claims meets the same, and tells of it
                version = seen
            if seen is not None and version != seen:
                wake()
            seen = version
            await asyncio.sleep(SECONDS)
    finally:
        connection.close()
