"""A bound on positional reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moxlib.errors import LimitExceeded
from moxlib.moxio.atreader import positional

if TYPE_CHECKING:
    from moxlib.moxio.atreader import HasFileno
    from moxlib.moxio.streams import ReaderAt

__all__ = ["LimitAtReader"]


class LimitAtReader:
    """Reads `r` by position, and refuses a read that would reach beyond the first `limit` bytes.

    What counts is what is asked for, not what is there: a read of ten bytes at `limit - 5` is refused though the file
    may end sooner. `r` is as for `AtReader`, and is not closed.

    Attributes:
        limit: the offset, in bytes, that no read may pass.
    """

    __slots__ = ("_read_at", "limit")

    def __init__(self, r: ReaderAt | HasFileno | int, limit: int) -> None:
        self._read_at = positional(r)
        self.limit: int = limit

    def read_at(self, size: int, offset: int, /) -> bytes:
        """Return up to `size` bytes from `offset`; `b""` at the end.

        Raises:
            LimitExceeded: `offset + size` is more than `limit`; `r` was not touched.
            OSError: or whatever `r` raises.
        """
        if offset + size > self.limit:
            raise LimitExceeded(self.limit)
        return self._read_at(size, offset)
