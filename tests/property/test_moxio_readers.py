"""The bounded, positional, tracing and prefixed readers against slices of bytes."""

# ruff: noqa: PT017 - whether a read raises is what varies
# ruff: noqa: LOG001 - a logger of its own, which the next example does not find

import asyncio
import io
import logging

from hypothesis import example, given
from hypothesis import strategies as st

from moxlib.errors import LimitExceeded
from moxlib.moxio import (
    TRACE,
    TRACE_AUTH,
    TRACE_DATA,
    AsyncLimitReader,
    AsyncPrefixConn,
    AtReader,
    LimitAtReader,
    LimitReader,
    PrefixConn,
    TraceReader,
    log_trace,
)

READS = st.lists(st.integers(-1, 9), max_size=12)


class Pieces:
    """A blocking reader, or socket, that gives at most `most` bytes at a time and counts what it gave."""

    def __init__(self, data: bytes, most: int) -> None:
        self.data = data
        self.most = most
        self.given = 0

    def read(self, size: int, /) -> bytes:
        data = self.data[self.given : self.given + min(size, self.most)]
        self.given += len(data)
        return data

    recv = read

    def sendall(self, data: bytes, /) -> None:
        raise AssertionError

    def settimeout(self, seconds: float | None, /) -> None:
        raise AssertionError

    def close(self) -> None:
        raise AssertionError


class AsyncPieces(Pieces):
    async def read(self, size: int, /) -> bytes:  # type: ignore[override] # the awaited form of the same
        return Pieces.read(self, size)


class NoWriter:
    """A writer that is not to be used."""

    def write(self, data: bytes, /) -> None:
        raise AssertionError

    async def drain(self) -> None:
        raise AssertionError

    def close(self) -> None:
        raise AssertionError

    async def wait_closed(self) -> None:
        raise AssertionError

    def is_closing(self) -> bool:
        raise AssertionError


@given(st.binary(max_size=40), st.integers(0, 40), st.integers(1, 10), READS)
@example(b"12345", 5, 10, [5, 1, -1])
@example(b"123456", 5, 10, [5, 1, 1])
@example(b"123456", 5, 10, [-1])
def test_limits_are_exact(data: bytes, limit: int, most: int, reads: list[int]) -> None:
    pieces, async_pieces = Pieces(data, most), AsyncPieces(data, most)
    reader, async_reader = LimitReader(pieces, limit), AsyncLimitReader(async_pieces, limit)

    def read(size: int) -> bytes | None:
        try:
            return reader.read(size)
        except LimitExceeded as err:
            assert err.limit == limit
            return None

    async def read_async(size: int) -> bytes | None:
        try:
            return await async_reader.read(size)
        except LimitExceeded as err:
            assert err.limit == limit
            return None

    at = 0
    got: bytes | None = b""
    with asyncio.Runner() as runner:
        for size in [*reads, -1]:
            got = read(size)
            assert runner.run(read_async(size)) == got
            if got is None:
                assert len(data) > limit
                assert pieces.given == async_pieces.given == limit + 1
                continue
            assert got == data[at : at + len(got)]
            assert size < 0 or len(got) <= size
            at += len(got)
            assert at <= limit
    # The last read was for all there is, so it either got that or passed the limit.
    assert at == len(data) if len(data) <= limit else got is None


@given(st.binary(max_size=60), st.integers(0, 60))
def test_limit_reader_under_a_buffer(data: bytes, limit: int) -> None:
    buffered = io.BufferedReader(LimitReader(io.BytesIO(data), limit), 7)
    try:
        assert buffered.read() == data
        assert len(data) <= limit
    except LimitExceeded:
        assert len(data) > limit


@given(st.binary(max_size=40), st.integers(0, 50), READS, st.integers(0, 50))
def test_at_reader_is_a_file_with_its_own_place(data: bytes, offset: int, reads: list[int], limit: int) -> None:
    class Source:
        def read_at(self, size: int, at: int, /) -> bytes:
            return data[at : at + size]

    model = io.BytesIO(data)
    model.seek(offset)
    reader = AtReader(Source(), offset)
    for size in reads:
        assert reader.read(size) == model.read(size)
        assert reader.offset == model.tell()
        bounded = LimitAtReader(Source(), limit)
        try:
            assert bounded.read_at(max(size, 0), offset) == data[offset : offset + max(size, 0)]
            assert offset + max(size, 0) <= limit
        except LimitExceeded as err:
            assert err.limit == limit < offset + max(size, 0)


@given(st.binary(max_size=20), st.binary(max_size=20), st.integers(1, 8), st.lists(st.integers(0, 9), max_size=15))
def test_a_prefix_comes_first_and_its_end_is_not_the_end(
    prefix: bytes, stream: bytes, most: int, reads: list[int]
) -> None:
    whole = prefix + stream
    conns = [PrefixConn(prefix, Pieces(stream, most)), PrefixConn(io.BytesIO(prefix), Pieces(stream, most))]
    async_conn = AsyncPrefixConn(prefix, AsyncPieces(stream, most), NoWriter())
    at = 0
    with asyncio.Runner() as runner:
        for size in [*reads, *([9] * len(whole)), 9]:
            got = conns[0].recv(size)
            assert got == conns[1].recv(size) == runner.run(async_conn.read(size))
            assert got == whole[at : at + len(got)]
            assert len(got) <= size
            assert bool(got) == (size > 0 and at < len(whole))
            at += len(got)
    assert at == len(whole)
    assert PrefixConn(prefix, Pieces(stream, most)).makefile().read() == whole


class Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@given(
    st.binary(min_size=1, max_size=30),
    st.sampled_from([TRACE, TRACE_AUTH, TRACE_DATA]),
    st.integers(1, logging.DEBUG + 1),
)
def test_traces_are_escaped_and_show_no_more_than_the_logger_is_set_to(data: bytes, level: int, shown: int) -> None:
    handler = Records()
    logger = logging.Logger("test", shown)
    logger.addHandler(handler)
    log_trace(logger, level, "LS: ", data)
    if shown > TRACE:
        assert handler.records == []
        return
    [record] = handler.records
    message = record.getMessage()
    assert message.isascii()
    assert message.isprintable()
    if shown > level:
        assert (record.levelno, message) == (TRACE, "LS: ***" if level == TRACE_AUTH else "LS: ...")
        assert repr(data) not in repr(record.__dict__)
    else:
        assert record.levelno == level
        assert message[4:].encode("ascii").decode("unicode_escape").encode("latin-1") == data


@given(st.binary(max_size=40), st.lists(st.integers(-1, 9), max_size=12))
def test_trace_reader_passes_everything_and_logs_it_once(data: bytes, reads: list[int]) -> None:
    handler = Records()
    logger = logging.Logger("test", 1)
    logger.addHandler(handler)
    reader = TraceReader(logger, "", io.BytesIO(data))
    assert b"".join(reader.read(size) for size in [*reads, -1]) == data
    logged = "".join(record.getMessage() for record in handler.records)
    assert logged.encode("ascii").decode("unicode_escape").encode("latin-1") == data
