"""The shapes of the streams that moxio's helpers read from and write to.

They are Protocols, so that files, sockets' `makefile()`, asyncio's streams and the helpers themselves fit alike.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from typing_extensions import Buffer

__all__ = ["AsyncReader", "AsyncWriter", "Reader", "ReaderAt", "Writer"]


class Reader(Protocol):
    """A blocking binary reader: an open file, `io.BytesIO`, any `io.RawIOBase`."""

    def read(self, size: int, /) -> bytes | None:
        """Return up to `size` bytes, waiting for at least one; `b""` at the end of input, and only there."""
        ...


class Writer(Protocol):
    """A blocking binary writer: an open file, `io.BytesIO`, an `asyncio.StreamWriter` (which buffers)."""

    def write(self, data: bytes, /) -> object:
        """Take `data`; return how many bytes were taken, or None when that is all of them."""
        ...


class AsyncReader(Protocol):
    """A binary reader to await: an `asyncio.StreamReader` or a helper around one."""

    def read(self, size: int, /) -> Awaitable[bytes]:
        """Return up to `size` bytes, waiting for at least one; `b""` at the end of input, and only there."""
        ...


class AsyncWriter(Protocol):
    """A binary writer that buffers, and is awaited to drain: an `asyncio.StreamWriter` or a helper around one."""

    def write(self, data: bytes, /) -> None:
        """Queue `data` for sending; nothing waits."""
        ...

    async def drain(self) -> None:
        """Return when enough of what is queued has been sent to queue more."""
        ...

    def close(self) -> None:
        """Close once what is queued has been sent; nothing waits."""
        ...

    async def wait_closed(self) -> None:
        """Return when closed."""
        ...

    def is_closing(self) -> bool:
        """Return whether it is closed or about to be."""
        ...


class ReaderAt(Protocol):
    """A reader without a position of its own; arguments are in the order of `os.pread`."""

    def read_at(self, size: int, offset: int, /) -> bytes:
        """Return up to `size` bytes from `offset`; `b""` at or beyond the end, and only there."""
        ...


def read_some(reader: Reader, size: int) -> bytes:
    """Read once from `reader`.

    Raises:
        BlockingIOError: the reader does not block, and has nothing now.
    """
    data = reader.read(size)
    if data is None:
        raise BlockingIOError(errno.EAGAIN, "nothing to read now; moxio's readers need a blocking one")
    return data


def write_all(writer: Writer, data: bytes) -> None:
    """Write all of `data`, also to a raw writer, which may take only part of it at a time."""
    taken = writer.write(data)
    if taken is None or taken == len(data):
        return
    view = memoryview(data)
    while isinstance(taken, int) and taken < len(view):
        view = view[taken:]
        taken = writer.write(bytes(view))


def as_bytes(data: Buffer) -> bytes:
    """Return `data` as bytes, without a copy where it is that already."""
    return data if isinstance(data, bytes) else bytes(data)


def read_into(read: Callable[[int], bytes], buffer: Buffer) -> int:
    """Call `read` for as much as fits into `buffer`, put it there, and return how much it was."""
    view = memoryview(buffer).cast("B")
    data = read(len(view))
    view[: len(data)] = data
    return len(data)
