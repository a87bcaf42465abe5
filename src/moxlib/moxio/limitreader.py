"""A bound on what is read in sequence, so that no input is read without one."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from moxlib.errors import InputError, LimitExceeded
from moxlib.moxio._io import read_into, read_some

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from moxlib.moxio.streams import AsyncReader, Reader

__all__ = ["AsyncLimitReader", "LimitReader"]


class _Allowance:
    """How much may still be read; -1 once more than that was there."""

    __slots__ = ("left", "limit")

    def __init__(self, limit: int) -> None:
        if limit < 0:
            raise InputError(f"a limit of {limit} bytes cannot be kept")
        self.limit = limit
        self.left = limit

    def request(self, size: int) -> int:
        """Return how much to ask the source for: one byte over the limit at most, which tells the end from too much."""
        if self.left < 0:
            raise LimitExceeded(self.limit)
        return min(size, self.left + 1)

    def spend(self, data: bytes) -> bytes:
        """Return `data` if it is within the limit."""
        self.left -= len(data)
        if self.left < 0:
            self.left = -1
            raise LimitExceeded(self.limit)
        return data


class LimitReader(io.RawIOBase):
    """Reads `r`, and raises `LimitExceeded` as soon as more than `limit` bytes have come from it.

    Input of exactly `limit` bytes is read to its end. The read that passes the limit returns nothing of what it read,
    and so do all after it; never more than one byte beyond the limit is taken from `r`. `r` blocks, and is not closed.
    It is a raw binary reader: put it in an `io.BufferedReader` for lines.

    Attributes:
        limit: the most bytes that may be read.
    """

    def __init__(self, r: Reader, limit: int) -> None:
        super().__init__()
        self._r = r
        self._allowance = _Allowance(limit)

    @property
    def limit(self) -> int:
        """The most bytes that may be read in all."""
        return self._allowance.limit

    def readable(self) -> bool:
        """Return True."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes from one read of `r`, or all there is; `b""` at the end.

        Raises:
            LimitExceeded: there is more than the limit.
            OSError: or whatever `r` raises.
        """
        if self.closed:
            raise ValueError("I/O operation on closed file")
        if size is None or size < 0:
            return self.readall()
        if size == 0:
            return b""
        return self._allowance.spend(read_some(self._r, self._allowance.request(size)))

    def readall(self) -> bytes:
        """Return all there is.

        Raises:
            LimitExceeded: there is more than the limit.
        """
        pieces = iter(lambda: self.read(io.DEFAULT_BUFFER_SIZE), b"")
        return b"".join(pieces)

    def readinto(self, buffer: Buffer, /) -> int:
        """Read into `buffer` and return how many bytes were put there; 0 at the end."""
        return read_into(self.read, buffer)


class AsyncLimitReader:
    """`LimitReader` for a reader that is awaited, such as an `asyncio.StreamReader`."""

    __slots__ = ("_allowance", "_r")

    def __init__(self, r: AsyncReader, limit: int) -> None:
        self._r = r
        self._allowance = _Allowance(limit)

    @property
    def limit(self) -> int:
        """The most bytes that may be read in all."""
        return self._allowance.limit

    async def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes from one read of `r`, or all there is; `b""` at the end.

        Raises:
            LimitExceeded: there is more than the limit.
            OSError: or whatever `r` raises.
        """
        if size < 0:
            return await self._readall()
        if size == 0:
            return b""
        return self._allowance.spend(await self._r.read(self._allowance.request(size)))

    async def _readall(self) -> bytes:
        pieces = []
        while data := await self.read(io.DEFAULT_BUFFER_SIZE):
            pieces.append(data)
        return b"".join(pieces)
