"""Bufpool, and the buffered reader that it has for asyncio."""

# ruff: noqa: PT012 - how a block is left is what is tested

import asyncio
import io
import logging
import pickle
import socket

import pytest

from moxlib.errors import InputError, LimitExceeded, UnexpectedEOF
from moxlib.moxio import AsyncBufferedReader, Bufpool, LineTooLong


class Scripted:
    """A reader, awaited, that returns or raises what it was given, one thing a read, and waits when told to."""

    def __init__(self, *script: bytes | Exception | tuple[asyncio.Event, asyncio.Event]) -> None:
        self.script = list(script)

    async def read(self, size: int, /) -> bytes:
        step = self.script.pop(0)
        if isinstance(step, tuple):
            begun, go_on = step
            begun.set()
            await go_on.wait()
            return await self.read(size)
        if isinstance(step, Exception):
            raise step
        assert len(step) <= size
        return step


class Broken(io.RawIOBase):
    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object, /) -> int:
        raise ConnectionResetError(104, "reset")


def test_lines_lose_lf_or_crlf_and_nothing_else() -> None:
    reader = io.BytesIO(b"mixed\nline\r\nends\rhere\n\r\n \r\r\n\xff\x00\nlast")
    pool = Bufpool(1, 16)
    lines = [pool.readline(reader) for _ in range(6)]
    assert lines == [b"mixed", b"line", b"ends\rhere", b"", b" \r", b"\xff\x00"]
    with pytest.raises(UnexpectedEOF, match="4 bytes"):
        pool.readline(reader)


def test_a_line_that_is_too_long_carries_the_limit_and_nothing_beyond_it_is_consumed() -> None:
    reader = io.BytesIO(b"0123456789\nnext\n")
    with pytest.raises(LineTooLong) as raised:
        Bufpool(1, 4).readline(reader)
    assert raised.value.limit == 4
    assert isinstance(raised.value, LimitExceeded)
    copy = pickle.loads(pickle.dumps(raised.value))
    assert (type(copy), copy.limit, str(copy)) == (LineTooLong, 4, "line is larger than the limit of 4")
    assert reader.read() == b"456789\nnext\n"


def test_an_error_of_the_reader_passes_as_it_is() -> None:
    with pytest.raises(ConnectionResetError):
        Bufpool(1, 4).readline(io.BufferedReader(Broken()))


def test_a_reader_that_does_not_block_is_refused_when_it_has_nothing() -> None:
    class Nothing:
        def read(self, size: int, /) -> None:
            return None

    with pytest.raises(BlockingIOError):
        Bufpool(1, 4).readline(Nothing())


def test_a_socket_without_a_buffer_is_left_where_the_line_ended() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"STARTTLS\r\n\x16\x03\x01")
        with ours.makefile("rb", buffering=0) as reader:
            assert Bufpool(1, 64).readline(reader) == b"STARTTLS"
        assert ours.recv(10) == b"\x16\x03\x01"


def test_buffers_come_back_zeroed_and_are_reused_up_to_the_maximum() -> None:
    pool = Bufpool(2, 8)
    lent = [pool.get() for _ in range(3)]
    for buffer in lent:
        buffer[:] = b"password"
        pool.put(buffer)
    assert len(pool) == 2
    assert [bytes(buffer) for buffer in lent] == [bytes(8)] * 3
    again = [pool.get(), pool.get()]
    assert {id(buffer) for buffer in again} <= {id(buffer) for buffer in lent}
    assert len(pool) == 0
    assert pool.get() == bytes(8)


def test_a_pool_that_keeps_nothing() -> None:
    pool = Bufpool(0, 8)
    with pool.buffer() as buffer:
        buffer[:] = b"password"
    assert buffer == bytes(8)
    assert len(pool) == 0


def test_lending_returns_the_buffer_also_after_an_error() -> None:
    pool = Bufpool(1, 8)
    with pytest.raises(ZeroDivisionError), pool.buffer() as buffer:
        buffer[:] = b"password"
        raise ZeroDivisionError
    assert pool.get() is buffer
    assert buffer == bytes(8)


def test_a_buffer_of_another_size_is_refused_with_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    pool = Bufpool(2, 8)
    other = bytearray(b"1234567")
    with caplog.at_level(logging.ERROR, "moxlib.moxio.bufpool"):
        pool.put(other)
    assert caplog.messages == ["buffer of 7 bytes refused by a pool of 8 bytes"]
    assert len(pool) == 0
    assert other == b"1234567"


def test_a_buffer_that_is_back_already_is_refused_with_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    pool = Bufpool(2, 8)
    buffer = pool.get()
    with caplog.at_level(logging.ERROR, "moxlib.moxio.bufpool"):
        pool.put(buffer)
        pool.put(buffer)
    assert caplog.messages == ["buffer refused that the pool has already"]
    assert len(pool) == 1


@pytest.mark.parametrize(("most", "size"), [(-1, 8), (1, 0)])
def test_sizes_that_cannot_be(most: int, size: int) -> None:
    with pytest.raises(InputError):
        Bufpool(most, size)


async def test_lines_of_a_stream_reader_by_way_of_a_buffer() -> None:
    stream = asyncio.StreamReader()
    stream.feed_data(b"EHLO mail.example\r\nMAIL")
    pool = Bufpool(1, 2048)
    reader = AsyncBufferedReader(stream)
    assert await pool.readline_async(reader) == b"EHLO mail.example"
    stream.feed_data(b" FROM:<>\r\nbody")
    stream.feed_eof()
    assert await pool.readline_async(reader) == b"MAIL FROM:<>"
    assert await reader.read(2) == b"bo"
    assert await reader.read(10) == b"dy"
    assert await reader.read(10) == b""


async def test_a_plain_stream_reader_keeps_what_is_beyond_the_line() -> None:
    stream = asyncio.StreamReader()
    stream.feed_data(b"STARTTLS\r\n\x16\x03\x01" + b"x" * 20)
    stream.feed_eof()
    pool = Bufpool(1, 10)
    assert await pool.readline_async(stream) == b"STARTTLS"
    with pytest.raises(LineTooLong):
        await pool.readline_async(stream)
    assert await stream.read() == b"x" * 13


async def test_nothing_is_consumed_by_a_call_that_was_cancelled() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    reader = AsyncBufferedReader(Scripted(b"one\ntw", b"o", (begun, go_on), b"\nthree\n"))
    pool = Bufpool(1, 8)
    assert await pool.readline_async(reader) == b"one"
    waiting = asyncio.create_task(pool.readline_async(reader))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert pool.get() == bytes(8)
    assert await pool.readline_async(reader) == b"two"
    assert await reader.readline(3) == b"thr"
    assert await reader.readline(9) == b"ee\n"


async def test_nothing_is_consumed_by_a_call_that_raised() -> None:
    reader = AsyncBufferedReader(Scripted(b"tw", TimeoutError("slow"), b"o\n"))
    pool = Bufpool(1, 8)
    with pytest.raises(TimeoutError, match="slow"):
        await pool.readline_async(reader)
    assert await pool.readline_async(reader) == b"two"


async def test_reading_without_a_bound_is_refused() -> None:
    with pytest.raises(InputError):
        await AsyncBufferedReader(Scripted()).read(-1)
