"""The messages and the directories that the queue's benchmarks share."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from moxlib.queue import Queue

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
SIZE = 4096
SENDER = "sender@client.example"


def message(size: int = SIZE) -> bytes:
    """Return a message of exactly `size` bytes, as a program would submit it."""
    header = (
        b"From: Sender <sender@client.example>\r\nTo: Recipient <recipient@server.example>\r\n"
        b"Subject: Your order has been shipped\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\n"
        b"Message-ID: <20261102100000.1@client.example>\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=us-ascii\r\n\r\n"
    )
    line = b"The quick brown fox jumps over the lazy dog, and then over the fence.\r\n"
    body = line * ((size - len(header)) // len(line))
    rest = size - len(header) - len(body)
    return header + body + (b"x" * (rest - 2) + b"\r\n" if rest >= 2 else b"")


def recipient(number: int, domains: int) -> str:
    """Return the address of the message with this number, over so many domains."""
    return f"r{number}@d{number % domains}.example"


async def fill(where: str, domains: int, count: int) -> None:
    """Submit so many messages to the queue there."""
    data = message()
    async with Queue.open(where) as queue:
        await asyncio.gather(
            *(queue.submit(data, sender=SENDER, recipients=recipient(number, domains)) for number in range(count))
        )


def disk() -> Path:
    """Return a directory on the disk that holds this checkout, not in memory: what is measured is durable."""
    here = ROOT / "build"
    here.mkdir(exist_ok=True)
    return here


@contextmanager
def directory() -> Iterator[Path]:
    """Make a directory of its own on that disk."""
    with tempfile.TemporaryDirectory(dir=disk()) as name:
        yield Path(name)
