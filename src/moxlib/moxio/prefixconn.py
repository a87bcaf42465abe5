"""Connections of which some data has been read ahead.

A server that reads commands through a buffer may find that it holds the first bytes of what comes after: of a TLS
handshake, say. `PrefixConn` gives those bytes back. TLS over such a connection is `wrap_tls`, for
`ssl.SSLContext.wrap_socket` reads the file descriptor and so would miss them.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Protocol

from moxlib.errors import InputError
from moxlib.moxio._io import read_into, read_some

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Self

    from typing_extensions import Buffer

    from moxlib.moxio.streams import AsyncReader, AsyncWriter, Reader

__all__ = ["AsyncPrefixConn", "PrefixConn", "SocketLike"]


class SocketLike(Protocol):
    """What is used of a blocking `socket.socket`; also a `PrefixConn` and a `TLSConn`."""

    def recv(self, size: int, /) -> bytes:
        """Return up to `size` bytes, waiting for at least one; `b""` at the end."""
        ...

    def sendall(self, data: bytes, /) -> None:
        """Send all of `data`."""
        ...

    def settimeout(self, seconds: float | None, /) -> None:
        """Bound each call that follows; None for no bound."""
        ...

    def close(self) -> None:
        """Close."""
        ...


class _Prefix:
    """Bytes, or a reader of them, that are drained once."""

    __slots__ = ("_reader",)

    def __init__(self, prefix: bytes | bytearray | memoryview | Reader) -> None:
        self._reader: Reader | None = (
            io.BytesIO(prefix) if isinstance(prefix, bytes | bytearray | memoryview) else prefix
        )

    def take(self, size: int) -> bytes:
        """Return up to `size` bytes; `b""` when there are no more, or none are asked for."""
        if self._reader is None or size == 0:
            return b""
        data = read_some(self._reader, size)
        if not data:
            self._reader = None
        return data


class ReceiveIO(io.RawIOBase):
    """The receiving side of a connection as a raw binary reader."""

    def __init__(self, recv: Callable[[int], bytes]) -> None:
        super().__init__()
        self._recv = recv

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Receive into `buffer`."""
        return read_into(self._recv, buffer)


class PrefixConn:
    """A socket of which `prefix` is received first.

    The end of the prefix is not the end of the stream, and a read is never more than one of the two. Attributes that
    are not listed here are the socket's own. What reads the descriptor itself (`select`, `wrap_socket`) does not see
    the prefix.

    Args:
        prefix: bytes, or a binary reader that is read to its end.
        conn: a connected, blocking socket, or what is like one.
    """

    def __init__(self, prefix: bytes | bytearray | memoryview | Reader, conn: SocketLike) -> None:
        self._conn = conn
        self._prefix = _Prefix(prefix)

    def recv(self, size: int, /) -> bytes:
        """Return up to `size` bytes, waiting for at least one; `b""` at the end of the connection.

        Raises:
            OSError: as the socket's.
        """
        if size < 0:
            raise InputError("recv needs a size: all there is has no bound")
        return self._prefix.take(size) or self._conn.recv(size)

    def recv_into(self, buffer: Buffer, size: int = 0, /) -> int:
        """Receive up to `size` bytes (0: as many as fit) into `buffer`; return how many; 0 at the end.

        Raises:
            OSError: as the socket's.
        """
        view = memoryview(buffer).cast("B")
        return read_into(self.recv, view[:size] if size else view)

    def makefile(self) -> io.BufferedReader:
        """Return a buffered reader of what is received; closing it does not close the connection."""
        return io.BufferedReader(ReceiveIO(self.recv))

    def sendall(self, data: bytes, /) -> None:
        """Send all of `data`.

        Raises:
            OSError: as the socket's.
        """
        self._conn.sendall(data)

    def settimeout(self, seconds: float | None, /) -> None:
        """Bound each call that follows; None for no bound."""
        self._conn.settimeout(seconds)

    def close(self) -> None:
        """Close the socket."""
        self._conn.close()

    def __getattr__(self, name: str) -> Any:
        if name == "_conn":  # asked for before it is there, as when copied
            raise AttributeError(name)
        return getattr(self._conn, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncPrefixConn:
    """asyncio's pair of streams, of which `prefix` is read first: reader and writer in one.

    The end of the prefix is not the end of the stream, and a read is never more than one of the two.

    Args:
        prefix: bytes, or a binary reader that does not block and is read to its end.
        reader: such as an `asyncio.StreamReader`.
        writer: such as an `asyncio.StreamWriter`.
    """

    __slots__ = ("_prefix", "_reader", "_writer")

    def __init__(
        self, prefix: bytes | bytearray | memoryview | Reader, reader: AsyncReader, writer: AsyncWriter
    ) -> None:
        self._prefix = _Prefix(prefix)
        self._reader = reader
        self._writer = writer

    async def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, waiting for at least one; `b""` at the end of the connection.

        Raises:
            OSError: as the reader's.
        """
        if size < 0:
            raise InputError("read needs a size: all there is has no bound")
        return self._prefix.take(size) or await self._reader.read(size)

    def write(self, data: bytes, /) -> None:
        """Queue `data` for sending."""
        self._writer.write(data)

    async def drain(self) -> None:
        """Return when enough of what is queued has been sent to queue more.

        Raises:
            OSError: as the writer's.
        """
        await self._writer.drain()

    def close(self) -> None:
        """Close once what is queued has been sent."""
        self._writer.close()

    async def wait_closed(self) -> None:
        """Return when closed."""
        await self._writer.wait_closed()

    def is_closing(self) -> bool:
        """Return whether it is closed or about to be."""
        return self._writer.is_closing()
