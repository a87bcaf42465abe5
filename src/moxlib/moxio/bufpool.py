"""Lines of bounded length, and the buffers that they are read into."""

from __future__ import annotations

import logging
from collections import deque
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from moxlib.errors import InputError, LimitExceeded, UnexpectedEOF
from moxlib.moxio._io import read_some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moxlib.moxio.streams import AsyncReader, Reader

__all__ = ["AsyncBufferedReader", "Bufpool", "LineReader", "LineTooLong"]

logger: logging.Logger = logging.getLogger(__name__)

READ_SIZE = 64 * 1024  # bytes asked for at a time; what asyncio's own streams buffer by default


class LineTooLong(LimitExceeded):
    """There is no newline within `limit` bytes."""

    def __init__(self, limit: int, what: str = "line") -> None:
        super().__init__(limit, what)


class LineReader(Protocol):
    """A blocking binary reader with lines: any `io.BufferedReader`, `io.BytesIO` or other `io.IOBase`."""

    def readline(self, size: int, /) -> bytes:
        """Return bytes to the next LF, with it; fewer than that only after `size` bytes, or at the end of input."""
        ...


class AsyncBufferedReader:
    """Buffers a reader that is awaited, so that lines of any limit can be taken from it and nothing beyond them.

    An `asyncio.StreamReader` has one limit for all its lines, and its `readline` throws away what it has read when
    that is passed. Once wrapped, `r` is to be read through this object only. One call at a time.
    """

    __slots__ = ("_at", "_data", "_r")

    def __init__(self, r: AsyncReader) -> None:
        self._r = r
        self._data = b""
        self._at = 0

    async def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, waiting for at least one; `b""` at the end of input.

        Raises:
            OSError: or whatever `r` raises.
        """
        if size < 0:
            raise InputError("read needs a size: all there is has no bound")
        if self._at == len(self._data) and not (size and await self._fill()):
            return b""
        data = self._data[self._at : self._at + size]
        self._at += len(data)
        return data

    async def readline(self, size: int, /) -> bytes:
        """Return bytes to the next LF, with it; fewer than that only after `size` bytes, or at the end of input.

        When it is cancelled or `r` raises, nothing has been consumed.

        Raises:
            OSError: or whatever `r` raises.
        """
        line = self._take(size)
        if line is None:
            buffer = bytearray(size)
            return bytes(memoryview(buffer)[: await self._collect(buffer)])
        return line

    def _take(self, size: int) -> bytes | None:
        """Return a line, or `size` bytes without one, if they are in the buffer."""
        at = self._at
        end = self._data.find(b"\n", at, at + size) + 1 or at + size
        if end > len(self._data):
            return None
        self._at = end
        return self._data[at:end]

    async def _collect(self, buffer: bytearray) -> int:
        """Fill `buffer` to the next LF, its size or the end of input; return how many bytes that is."""
        have = 0
        try:
            while have < len(buffer):
                if self._at == len(self._data) and not await self._fill():
                    break
                piece = self._take(len(buffer) - have)
                if piece is None:
                    piece = self._data[self._at :]
                    self._at = len(self._data)
                buffer[have : have + len(piece)] = piece
                have += len(piece)
                if piece.endswith(b"\n"):
                    break
        except BaseException:
            # Only filling raises, and it fills only what is empty: so this puts back all that there was.
            self._data, self._at = bytes(memoryview(buffer)[:have]), 0
            raise
        return have

    async def _fill(self) -> bool:
        data = await self._r.read(READ_SIZE)
        self._data, self._at = data, 0
        return bool(data)


class Bufpool:
    """Keeps at most `max` buffers of `size` bytes for reuse, and reads lines of fewer than `size` bytes.

    Buffers are zeroed when they come back, so that what one peer sent (a password, say) is not there for the next.
    Threads may share a pool.

    Args:
        max: how many idle buffers are kept; more that come back are left to the garbage collector.
        size: bytes of a buffer, and the limit of a line with its end.
    """

    __slots__ = ("_idle", "_lock", "_max", "_size", "_zeros")

    def __init__(self, max: int, size: int) -> None:  # noqa: A002 - the contract's name
        if max < 0 or size < 1:
            raise InputError(f"a pool of {max} buffers of {size} bytes cannot be")
        self._max = max
        self._size = size
        self._zeros = bytes(size)
        self._idle: deque[bytearray] = deque()
        self._lock = Lock()

    @property
    def size(self) -> int:
        """Bytes of a buffer, and the limit of a line with its end."""
        return self._size

    def __len__(self) -> int:
        """Return how many idle buffers are kept now."""
        return len(self._idle)

    def get(self) -> bytearray:
        """Return a buffer of `size` zero bytes, which is the caller's until it is `put` back."""
        try:
            return self._idle.pop()
        except IndexError:
            return bytearray(self._size)

    def put(self, buffer: bytearray) -> None:
        """Zero `buffer` and keep it for reuse if there is room; the caller must not touch it again.

        A buffer of another size, or one that is back already, is refused with a log line and left as it is.
        """
        if len(buffer) != self._size:
            logger.error("buffer of %d bytes refused by a pool of %d bytes", len(buffer), self._size)
            return
        with self._lock:
            if any(idle is buffer for idle in self._idle):
                logger.error("buffer refused that the pool has already")
                return
            buffer[:] = self._zeros
            if len(self._idle) < self._max:
                self._idle.append(buffer)

    @contextmanager
    def buffer(self) -> Iterator[bytearray]:
        """Lend a buffer to the block."""
        buffer = self.get()
        try:
            yield buffer
        finally:
            self.put(buffer)

    def readline(self, reader: LineReader | Reader) -> bytes:
        """Read to the next LF and return the line without its LF or CRLF.

        At most `size` bytes are consumed from `reader`; a line with its end is as long as that or shorter. `reader`
        blocks; one with a `readline(size)` of its own, such as `io.BufferedReader`, is the fast way, one with only
        `read` is read a byte at a time.

        Raises:
            LineTooLong: `size` bytes held no LF; they are consumed, and nothing after them.
            UnexpectedEOF: input ended first; what there was is consumed.
            OSError: or whatever `reader` raises, as it is.
        """
        try:
            readline = reader.readline  # type: ignore[union-attr] # a Reader need not have it
        except AttributeError:
            line = self._collect(reader)  # type: ignore[arg-type] # it has no readline, so it is a Reader
        else:
            line = readline(self._size)
        return self._stripped(line)

    async def readline_async(self, reader: AsyncBufferedReader | AsyncReader) -> bytes:
        """Do as `readline` with a reader that is awaited.

        An `AsyncBufferedReader` is the fast way; when it is cancelled or raises, nothing has been consumed. Any other
        reader, such as an `asyncio.StreamReader`, is read a byte at a time, for it cannot take back what is too much.

        Raises:
            LineTooLong: `size` bytes held no LF; they are consumed, and nothing after them.
            UnexpectedEOF: input ended first; what there was is consumed.
            OSError: or whatever `reader` raises, as it is.
        """
        if isinstance(reader, AsyncBufferedReader):
            line = reader._take(self._size)  # noqa: SLF001 - a coroutine less is a third of the time
            if line is None:
                with self.buffer() as buffer:
                    line = bytes(memoryview(buffer)[: await reader._collect(buffer)])  # noqa: SLF001
            return self._stripped(line)
        with self.buffer() as buffer:
            have = 0
            while have < self._size and (byte := await reader.read(1)):
                buffer[have] = byte[0]
                have += 1
                if byte == b"\n":
                    break
            return self._stripped(bytes(memoryview(buffer)[:have]))

    def _collect(self, reader: Reader) -> bytes:
        with self.buffer() as buffer:
            have = 0
            while have < self._size and (byte := read_some(reader, 1)):
                buffer[have] = byte[0]
                have += 1
                if byte == b"\n":
                    break
            return bytes(memoryview(buffer)[:have])

    def _stripped(self, line: bytes) -> bytes:
        if line.endswith(b"\r\n"):
            return line[:-2]
        if line.endswith(b"\n"):
            return line[:-1]
        if len(line) >= self._size:
            raise LineTooLong(self._size)
        raise UnexpectedEOF(f"input ended after {len(line)} bytes of a line")
