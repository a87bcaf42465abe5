"""What a claim and a submit cost, and what memory a draining queue takes, with 1,000, 100,000 and 1,000,000 queued."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks._mail import SENDER, directory, message, recipient
from benchmarks._report import Figure
from moxlib.queue import Delivered, Queue
from moxlib.queue.storage.claims import ClaimRequest, DestinationLimits
from moxlib.queue.storage.settlement import GiveBack
from moxlib.queue.storage.sqlite import SQLiteStorage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks._options import Options
    from moxlib.queue import Delivery, Outcome

DEPTHS = (1_000, 100_000, 1_000_000)
DOMAINS = 200
BATCH = 100
SAMPLES = 40
PAGES = 1024


def figures(options: Options) -> Iterator[Figure]:
    """Yield claim, submit and memory at each depth; each claim and submit with its ratio to the smallest depth's."""
    depths = (100, 1_000) if options.quick else DEPTHS
    first: dict[str, float] = {}
    for depth in depths:
        with directory() as path:
            base = path / "queue.db"
            fill(base, depth)
            for name, times in asyncio.run(_costs(base)).items():
                first.setdefault(name, median(times))
                yield Figure(
                    name=f"{name}, {depth:,} queued",
                    unit="ms",
                    value=median(times),
                    low=min(times),
                    high=max(times),
                    ratio={f"{depths[0]:,} queued": median(times) / first[name]},
                )
            idle, busy = _memory(base)
            yield Figure(
                name=f"memory over an idle queue's, {depth:,} queued", unit="MB", value=busy - idle, low=idle, high=busy
            )


def fill(base: Path, wanted: int) -> None:
    """Bring the queue to `wanted` messages: 1,000 are submitted, the others are copies of their rows."""
    asyncio.run(_submit(base, min(wanted, 1_000)))
    connection = sqlite3.connect(base, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    have = connection.execute("SELECT count(*) FROM moxlib_message").fetchone()[0]
    while have < wanted:
        copies = min(have, wanted - have)
        connection.execute("BEGIN")
        offset = connection.execute("SELECT next_id - 1 FROM moxlib_sequence").fetchone()[0]
        for table, key in (("submission", "id"), ("content", "submission"), ("message", "id")):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info(moxlib_{table})")]
            shifted = [f"{name} + {offset}" if name in {"id", "submission"} else name for name in columns]
            connection.execute(
                f"INSERT INTO moxlib_{table} ({', '.join(columns)}) SELECT {', '.join(shifted)} FROM moxlib_{table} "
                f"WHERE {key} > ? ORDER BY {key} LIMIT ?",
                (0, copies),
            )
        connection.execute("UPDATE moxlib_sequence SET next_id = next_id + ?", (offset,))
        connection.execute("COMMIT")
        have = connection.execute("SELECT count(*) FROM moxlib_message").fetchone()[0]
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


async def _submit(base: Path, count: int) -> None:
    data = message(1024)
    async with Queue.open(base) as queue:
        await asyncio.gather(
            *(queue.submit(data, sender=SENDER, recipients=recipient(number, DOMAINS)) for number in range(count))
        )


async def _costs(base: Path) -> dict[str, list[float]]:
    """Return milliseconds of single claims of 100 messages (each given back, untimed) and of single submits."""
    claims: list[float] = []
    submits: list[float] = []
    data = message()
    storage = SQLiteStorage(base)
    now = datetime.now(UTC)
    await storage.open(now)
    worker = await storage.register_worker("scale", now=now, lease=timedelta(hours=1))
    for _ in range(SAMPLES):
        request = ClaimRequest(now=datetime.now(UTC), limit=BATCH, limits=DestinationLimits())
        start = time.perf_counter()
        result = await storage.claim(worker, request)
        claims.append((time.perf_counter() - start) * 1000)
        assert len(result.claims) == BATCH
        back = [GiveBack(message=claim.message) for claim in result.claims]
        await storage.settle(worker, back, now=datetime.now(UTC))
    await storage.unregister_worker(worker, now=now)
    await storage.close()
    async with Queue.open(base) as queue:
        for number in range(SAMPLES):
            start = time.perf_counter()
            await queue.submit(data, sender=SENDER, recipients=recipient(number, DOMAINS))
            submits.append((time.perf_counter() - start) * 1000)
    return {f"claim of {BATCH}": claims, "submit": submits}


def _memory(base: Path) -> tuple[float, float]:
    """Return the resident megabytes of a process with the queue open, and of one that delivers from it."""
    command = [sys.executable, "-m", "benchmarks.scale", str(base)]
    root = Path(__file__).resolve().parent.parent
    idle, busy = (
        float(subprocess.run([*command, mode], cwd=root, check=True, capture_output=True, text=True).stdout)
        for mode in ("idle", "busy")
    )
    return idle, busy


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / PAGES / PAGES


class _Discard:
    """Takes messages until it had enough of them, and notes the largest memory on the way."""

    def __init__(self, enough: int) -> None:
        self.enough = asyncio.Event()
        self.left = enough
        self.largest = 0.0

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        self.left -= 1
        if self.left % 500 == 0:
            self.largest = max(self.largest, _resident())
        if self.left <= 0:
            self.enough.set()
        return [Delivered()] * len(delivery.recipients)


async def _measure(base: Path, mode: str) -> float:
    transport = _Discard(500)
    async with Queue.open(base, transports={"discard": transport}) as queue:
        if mode == "idle":
            return _resident()
        transport.left = min(10_000, await queue.count_messages() // 2)
        async with queue.worker():
            await transport.enough.wait()
    return max(transport.largest, _resident())


if __name__ == "__main__":
    print(asyncio.run(_measure(Path(sys.argv[1]), sys.argv[2])))
