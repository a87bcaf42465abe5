"""Hearing that another process has made something due."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import psycopg

__all__ = ["listen"]

log: logging.Logger = logging.getLogger("moxlib.queue")

SILENCE = 30.0  # seconds without a word after which the server is asked whether it is still there
WAITS = (0.1, 0.5, 2.0, 10.0)  # seconds between tries to connect; the last one repeats


async def listen(conninfo: str, channel: str, wake: Callable[[], None]) -> None:
    """Call `wake` for each notification, until cancelled; connect again, as often as it takes, when that is lost.

    Real time on purpose: the server knows no other.
    """
    tries = 0
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
                await connection.execute(f'LISTEN "{channel}"'.encode())
                wake()  # for what came while nobody listened
                tries = 0
                await _hear(connection, wake)
        except psycopg.Error as error:
            log.warning(
                "listening for new messages failed (they are looked for at intervals): %s", type(error).__name__
            )
        await asyncio.sleep(WAITS[min(tries, len(WAITS) - 1)])
        tries += 1


async def _hear(connection: "psycopg.AsyncConnection[Any]", wake: Callable[[], None]) -> None:
    while True:
        async for _ in connection.notifies(timeout=SILENCE):
            wake()
        await connection.execute("SELECT 1")
