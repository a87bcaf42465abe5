"""A positional reader read in sequence."""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Protocol

from moxlib.moxio._io import read_into

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from moxlib.moxio.streams import ReaderAt

__all__ = ["AtReader", "HasFileno"]


class HasFileno(Protocol):
    """An open file."""

    def fileno(self) -> int:
        """Return its descriptor."""
        ...


def positional(source: ReaderAt | HasFileno | int) -> Callable[[int, int], bytes]:
    """Return `read_at(size, offset)` of a positional reader, an open file or a descriptor (by `os.pread`)."""
    read_at: Callable[[int, int], bytes] | None = getattr(source, "read_at", None)
    if read_at is not None:
        return read_at
    descriptor = source if isinstance(source, int) else source.fileno()  # type: ignore[union-attr] # has no read_at

    def pread(size: int, offset: int) -> bytes:
        return os.pread(descriptor, size, offset)

    return pread


class AtReader(io.RawIOBase):
    """Reads `r` from `offset` on and keeps its own place, so that several can read one file at once.

    `r` has `read_at(size, offset)`, or is an open file or a file descriptor, which `os.pread` reads without moving the
    file's own position. `r` is not closed. It is a raw binary reader: put it in an `io.BufferedReader` for lines.

    Attributes:
        offset: where the next read begins, in bytes; may be set.
    """

    def __init__(self, r: ReaderAt | HasFileno | int, offset: int = 0) -> None:
        super().__init__()
        self._read_at = positional(r)
        self.offset: int = offset

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes from one positional read, or all that is left; `b""` at the end.

        Raises:
            OSError: or whatever `r` raises; the place is then kept.
        """
        if size is None or size < 0:
            return self.readall()
        if self.closed:
            raise ValueError("I/O operation on closed file")
        data = self._read_at(size, self.offset) if size else b""
        self.offset += len(data)
        return data

    def readall(self) -> bytes:
        """Return all that is left."""
        pieces = iter(lambda: self.read(io.DEFAULT_BUFFER_SIZE), b"")
        return b"".join(pieces)

    def readinto(self, buffer: Buffer, /) -> int:
        """Read into `buffer` and return how many bytes were put there; 0 at the end."""
        return read_into(self.read, buffer)
