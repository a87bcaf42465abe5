"""`Joined`: octets and the file behind them, as one file, so that a large message is not copied for its first lines."""

import io
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Joined"]


class Joined(io.RawIOBase):
    """A file to be read once, from its beginning to its end: `head`, then `file` from its own beginning.

    Closing it leaves the file open.
    """

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        file.seek(0)
        self._head = memoryview(head)
        self._file = file

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: "Buffer", /) -> int:
        """Fill as much of `buffer` as what is next can."""
        target = memoryview(buffer).cast("B")
        if self._head:
            count = min(len(target), len(self._head))
            target[:count] = self._head[:count]
            self._head = self._head[count:]
            return count
        chunk = self._file.read(len(target))
        target[: len(chunk)] = chunk
        return len(chunk)

    def content(self) -> "bytes | Joined":
        """Return all of it, if the file lies in memory; else this."""
        if isinstance(self._file, io.BytesIO):
            return bytes(self._head) + self._file.getvalue()
        return self
