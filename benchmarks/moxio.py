"""moxio's fast paths beside what the standard library does with the same data."""

from __future__ import annotations

import asyncio
import base64
import io
import random
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks._report import Figure, compare
from moxlib.moxio import AsyncBufferedReader, Base64Writer, Bufpool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from benchmarks._options import Options

LINE_LIMIT = 2048


def figures(options: Options) -> Iterator[Figure]:
    """Yield the figures of moxio."""
    rounds = 3 if options.quick else 15
    for size in (4 * 1024, 64 * 1024, 4 * 1024 * 1024):
        yield base64_writer(size, total=size if options.quick else 16 * 1024 * 1024, rounds=rounds)
    lines = command_lines(200 if options.quick else 50_000)
    yield readline(lines, rounds)
    yield async_readline(lines, rounds)
    yield import_time(3 if options.quick else 21)


def base64_writer(size: int, *, total: int, rounds: int) -> Figure:
    """Encode `size` bytes given in one write, as often as it takes for `total`."""
    data = random.Random(1).randbytes(size)
    times = range(max(1, total // size))

    def ours() -> None:
        with Base64Writer(io.BytesIO()) as writer:
            writer.write(data)

    def encodebytes() -> None:
        io.BytesIO().write(base64.encodebytes(data))

    def repeat(encode: Callable[[], None]) -> None:
        for _ in times:
            encode()

    def megabytes_a_second(encode: Callable[[], None]) -> float:
        return len(times) * size / 1e6 / timed(lambda: repeat(encode))

    return compare(
        lambda: megabytes_a_second(ours),
        {"base64.encodebytes": lambda: megabytes_a_second(encodebytes)},
        rounds,
        name=f"base64writer_{size // 1024}k",
        unit="MB/s",
    )


def readline(lines: bytes, rounds: int) -> Figure:
    """Read command lines from a buffered reader."""
    count = range(lines.count(b"\n"))
    pool = Bufpool(2, LINE_LIMIT)

    def ours() -> None:
        reader = io.BufferedReader(io.BytesIO(lines))
        for _ in count:
            pool.readline(reader)

    def buffered_reader() -> None:
        reader = io.BufferedReader(io.BytesIO(lines))
        for _ in count:
            reader.readline()

    return compare(
        lambda: timed(ours) / len(count) * 1e6,
        {"io.BufferedReader.readline": lambda: timed(buffered_reader) / len(count) * 1e6},
        rounds,
        name="bufpool_readline",
        unit="us/line",
    )


def async_readline(lines: bytes, rounds: int) -> Figure:
    """Read command lines from an asyncio stream."""
    count = range(lines.count(b"\n"))
    pool = Bufpool(2, LINE_LIMIT)

    def stream() -> asyncio.StreamReader:
        reader = asyncio.StreamReader()
        reader.feed_data(lines)
        reader.feed_eof()
        return reader

    async def ours() -> None:
        reader = AsyncBufferedReader(stream())
        for _ in count:
            await pool.readline_async(reader)

    async def readuntil() -> None:
        reader = stream()
        for _ in count:
            await reader.readuntil(b"\n")

    def microseconds_a_line(read: Callable[[], Awaitable[None]]) -> float:
        async def run() -> float:
            start = time.perf_counter()
            await read()
            return time.perf_counter() - start

        return asyncio.run(run()) / len(count) * 1e6

    return compare(
        lambda: microseconds_a_line(ours),
        {"asyncio.StreamReader.readuntil": lambda: microseconds_a_line(readuntil)},
        rounds,
        name="bufpool_readline_async",
        unit="us/line",
    )


def import_time(rounds: int) -> Figure:
    """Start an interpreter that imports one name, and one that imports none."""

    def milliseconds(code: str) -> float:
        return timed(lambda: subprocess.run([sys.executable, "-c", code], check=True)) * 1e3

    return compare(
        lambda: milliseconds("from moxlib.moxio import Base64Writer"),
        {"bare interpreter": lambda: milliseconds("pass"), "import asyncio": lambda: milliseconds("import asyncio")},
        rounds,
        name="import_base64writer",
        unit="ms",
    )


def command_lines(count: int) -> bytes:
    """Return lines as an SMTP client sends them, 10 to 60 bytes long."""
    chosen = random.Random(2)
    return b"".join(b"RCPT TO:<%s>\r\n" % (b"x" * chosen.randrange(48)) for _ in range(count))


def timed(work: Callable[[], object]) -> float:
    """Return how many seconds `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
