"""Logging what passes over a connection, and not its secrets.

Three levels lie below `logging.DEBUG`. A logger set to `TRACE` shows the protocol, with `***` in place of credentials
and `...` in place of message data; set to `TRACE_AUTH` it shows credentials too, and set to `TRACE_DATA` everything.
"""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING

from moxlib.moxio._io import as_bytes, read_into, read_some

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from moxlib.moxio.streams import AsyncReader, AsyncWriter, Reader, Writer

__all__ = [
    "TRACE",
    "TRACE_AUTH",
    "TRACE_DATA",
    "AsyncTraceReader",
    "AsyncTraceWriter",
    "TraceReader",
    "TraceWriter",
    "log_trace",
]

TRACE = logging.DEBUG - 2
"""The level of the protocol."""

TRACE_AUTH = logging.DEBUG - 4
"""The level of credentials."""

TRACE_DATA = logging.DEBUG - 6
"""The level of message data."""

MASKS = {TRACE_AUTH: "***", TRACE_DATA: "..."}

Logger = logging.Logger | logging.LoggerAdapter[logging.Logger]


def log_trace(logger: Logger, level: int, prefix: str, data: Buffer) -> None:
    r"""Log `data` at `level`, with `prefix` before it.

    The message is `prefix` and the data, with control characters and everything beyond ASCII escaped (`\r\n`); the
    record's `size` is its length in bytes. If `logger` is set to show less than `level`, yet shows `TRACE`, the record
    has that level and the mask of `level` in place of the data, and no size where it is credentials.
    """
    if logger.isEnabledFor(level):
        raw = as_bytes(data)
        text = raw.decode("latin-1").encode("unicode_escape").decode("ascii")
        logger.log(level, "%s%s", prefix, text, extra={"size": len(raw)})
    elif level in MASKS and logger.isEnabledFor(TRACE):
        size = None if level == TRACE_AUTH else memoryview(data).nbytes
        logger.log(TRACE, "%s%s", prefix, MASKS[level], extra={"size": size})


class _Tracer:
    """Where, at which level and after which prefix data is logged."""

    __slots__ = ("level", "logger", "prefix")

    def __init__(self, logger: Logger, prefix: str) -> None:
        self.logger = logger
        self.prefix = prefix
        self.level = TRACE

    def __call__(self, data: Buffer) -> None:
        log_trace(self.logger, self.level, self.prefix, data)


class TraceReader(io.RawIOBase):
    """Reads `r`, and logs what each read returned; the end of input and errors are not logged.

    `r` blocks, and is not closed. It is a raw binary reader: put it in an `io.BufferedReader` for lines. What a buffer
    above it reads ahead is logged when read, at the level of that moment.

    Args:
        logger: where to.
        prefix: what the messages begin with, such as `"RC: "`.
        r: what is read.
    """

    def __init__(self, logger: Logger, prefix: str, r: Reader) -> None:
        super().__init__()
        self._trace = _Tracer(logger, prefix)
        self._r = r

    def set_trace(self, level: int) -> None:
        """Log at `level` from now on: `TRACE`, as at first, `TRACE_AUTH` or `TRACE_DATA`."""
        self._trace.level = level

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes from one read of `r`, or all there is; `b""` at the end.

        Raises:
            OSError: or whatever `r` raises.
        """
        if self.closed:
            raise ValueError("I/O operation on closed file")
        if size is None or size < 0:
            return self.readall()
        data = read_some(self._r, size)
        if data:
            self._trace(data)
        return data

    def readall(self) -> bytes:
        """Return all there is."""
        pieces = iter(lambda: self.read(io.DEFAULT_BUFFER_SIZE), b"")
        return b"".join(pieces)

    def readinto(self, buffer: Buffer, /) -> int:
        """Read into `buffer` and return how many bytes were put there; 0 at the end."""
        return read_into(self.read, buffer)


class TraceWriter:
    """Logs each write, and writes it to `w`.

    Args:
        logger: where to.
        prefix: what the messages begin with, such as `"LS: "`.
        w: what is written to.
    """

    __slots__ = ("_trace", "_w")

    def __init__(self, logger: Logger, prefix: str, w: Writer) -> None:
        self._trace = _Tracer(logger, prefix)
        self._w = w

    def set_trace(self, level: int) -> None:
        """Log at `level` from now on: `TRACE`, as at first, `TRACE_AUTH` or `TRACE_DATA`."""
        self._trace.level = level

    def write(self, data: bytes, /) -> object:
        """Log and write `data`; return what `w` does.

        Raises:
            OSError: or whatever `w` raises; the data has been logged by then.
        """
        self._trace(data)
        return self._w.write(data)


class AsyncTraceReader:
    """`TraceReader` for a reader that is awaited, such as an `asyncio.StreamReader`."""

    __slots__ = ("_r", "_trace")

    def __init__(self, logger: Logger, prefix: str, r: AsyncReader) -> None:
        self._trace = _Tracer(logger, prefix)
        self._r = r

    def set_trace(self, level: int) -> None:
        """Log at `level` from now on: `TRACE`, as at first, `TRACE_AUTH` or `TRACE_DATA`."""
        self._trace.level = level

    async def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes from one read of `r`; `b""` at the end.

        Raises:
            OSError: or whatever `r` raises.
        """
        data = await self._r.read(size)
        if data:
            self._trace(data)
        return data


class AsyncTraceWriter:
    """`TraceWriter` for a writer that is awaited to drain, such as an `asyncio.StreamWriter`."""

    __slots__ = ("_trace", "_w")

    def __init__(self, logger: Logger, prefix: str, w: AsyncWriter) -> None:
        self._trace = _Tracer(logger, prefix)
        self._w = w

    def set_trace(self, level: int) -> None:
        """Log at `level` from now on: `TRACE`, as at first, `TRACE_AUTH` or `TRACE_DATA`."""
        self._trace.level = level

    def write(self, data: bytes, /) -> None:
        """Log `data` and queue it for sending."""
        self._trace(data)
        self._w.write(data)

    async def drain(self) -> None:
        """Return when enough of what is queued has been sent to queue more.

        Raises:
            OSError: as the writer's.
        """
        await self._w.drain()

    def close(self) -> None:
        """Close once what is queued has been sent."""
        self._w.close()

    async def wait_closed(self) -> None:
        """Return when closed."""
        await self._w.wait_closed()

    def is_closing(self) -> bool:
        """Return whether it is closed or about to be."""
        return self._w.is_closing()
