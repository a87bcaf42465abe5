"""Bufpool.readline against a plain model, over every kind of reader it takes."""

import asyncio
import io
from collections.abc import Callable

from hypothesis import example, given
from hypothesis import strategies as st

from moxlib.errors import UnexpectedEOF
from moxlib.moxio import AsyncBufferedReader, Bufpool, LineTooLong

Outcome = tuple[bytes | type[Exception], int]
"""A line or an error's class, and how many bytes have been consumed by then."""

DATA = st.lists(st.sampled_from([b"\n", b"\r\n", b"\r", b"a", b"bcd", b"\x00\xff", b"e" * 9]), max_size=20).map(
    b"".join
)
SIZES = st.integers(1, 20)
CUTS = st.lists(st.integers(1, 7), min_size=1, max_size=10)


def model(data: bytes, size: int) -> list[Outcome]:
    outcomes: list[Outcome] = []
    at = 0
    while True:
        window = data[at : at + size]
        if b"\n" in window:
            line, _, _ = window.partition(b"\n")
            at += len(line) + 1
            outcomes.append((line.removesuffix(b"\r"), at))
        elif len(window) == size:
            at += size
            outcomes.append((LineTooLong, at))
        else:
            return [*outcomes, (UnexpectedEOF, len(data))]


class Pieces:
    """A reader, blocking or awaited, that returns what it has in pieces of the given sizes, over and over."""

    def __init__(self, data: bytes, cuts: list[int]) -> None:
        self.rest = data
        self.cuts = cuts
        self.reads = 0

    def read(self, size: int, /) -> bytes:
        size = min(size, self.cuts[self.reads % len(self.cuts)])
        self.reads += 1
        data, self.rest = self.rest[:size], self.rest[size:]
        return data


class AsyncPieces:
    def __init__(self, pieces: Pieces) -> None:
        self.pieces = pieces

    async def read(self, size: int, /) -> bytes:
        return self.pieces.read(size)


def collect(pool: Bufpool, readline: Callable[[], bytes], consumed: Callable[[], int]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    while True:
        try:
            outcomes.append((readline(), consumed()))
        except LineTooLong as err:
            assert err.limit == pool.size  # noqa: PT017 - whether a line ends in an error is what varies
            outcomes.append((LineTooLong, consumed()))
        except UnexpectedEOF:
            return [*outcomes, (UnexpectedEOF, consumed())]


def assert_zeroed(pool: Bufpool) -> None:
    for _ in range(len(pool)):
        assert pool.get() == bytes(pool.size)


@given(DATA, SIZES)
@example(b"0123456789abcde\n", 15)
@example(b"0123456789abcde\n", 16)
@example(b"0123456789abcd\r\n", 16)
def test_seekable_and_buffered_readers(data: bytes, size: int) -> None:
    pool = Bufpool(2, size)
    plain = io.BytesIO(data)
    assert collect(pool, lambda: pool.readline(plain), plain.tell) == model(data, size)
    buffered = io.BufferedReader(io.BytesIO(data), 8)
    assert collect(pool, lambda: pool.readline(buffered), buffered.tell) == model(data, size)


@given(DATA, SIZES, CUTS)
def test_a_reader_without_lines(data: bytes, size: int, cuts: list[int]) -> None:
    pool = Bufpool(2, size)
    pieces = Pieces(data, cuts)
    outcomes = collect(pool, lambda: pool.readline(pieces), lambda: len(data) - len(pieces.rest))
    assert outcomes == model(data, size)
    assert len(pool) == 1
    assert_zeroed(pool)


@given(DATA, SIZES, CUTS)
@example(b"ab\r\ncd", 4, [3])
def test_readers_that_are_awaited(data: bytes, size: int, cuts: list[int]) -> None:
    pool = Bufpool(2, size)
    pieces, more_pieces = Pieces(data, cuts), Pieces(data, cuts)
    with asyncio.Runner() as runner:
        buffered = AsyncBufferedReader(AsyncPieces(pieces))

        def consumed() -> int:
            return len(data) - len(pieces.rest) - (len(buffered._data) - buffered._at)

        assert collect(pool, lambda: runner.run(pool.readline_async(buffered)), consumed) == model(data, size)

        unbuffered = AsyncPieces(more_pieces)
        outcomes = collect(
            pool, lambda: runner.run(pool.readline_async(unbuffered)), lambda: len(data) - len(more_pieces.rest)
        )
        assert outcomes == model(data, size)
    assert_zeroed(pool)


@given(DATA, SIZES, CUTS, st.lists(st.tuples(st.booleans(), st.integers(0, 12)), max_size=20))
def test_reads_and_lines_taken_in_turn_lose_nothing(
    data: bytes, size: int, cuts: list[int], calls: list[tuple[bool, int]]
) -> None:
    async def run() -> None:
        reader = AsyncBufferedReader(AsyncPieces(Pieces(data, cuts)))
        at = 0
        for by_line, most in calls:
            got = await (reader.readline(most) if by_line else reader.read(most))
            assert data[at : at + len(got)] == got
            assert len(got) <= most
            at += len(got)
            if by_line:
                assert b"\n" not in got[:-1]
                assert got.endswith(b"\n") or len(got) == most or at == len(data)
            else:
                assert got or most == 0 or at == len(data)
        rest = b""
        while more := await reader.read(size):
            rest += more
        assert data[at:] == rest

    asyncio.run(run())
