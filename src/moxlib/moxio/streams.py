"""The shapes of the streams that moxio's helpers read from and write to.

They are Protocols, so that files, sockets' `makefile()`, asyncio's streams and the helpers themselves fit alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable

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
