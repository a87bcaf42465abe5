"""Where the octets of a message come from: memory, or a file that is read by position, a block at a time."""

import os
from collections.abc import Callable, Iterator
from typing import Final, Protocol, TypeAlias, cast

from moxlib.errors import InputError
from moxlib.moxio.atreader import HasFileno, positional
from moxlib.moxio.streams import ReaderAt

__all__ = ["CHUNK", "BytesSource", "FileSource", "Source", "SupportsReadAt", "chunks_of", "in_memory", "open_source"]

SupportsReadAt: TypeAlias = ReaderAt | HasFileno | int
"""What has `read_at(size, offset)`, an open file, or a file descriptor."""

CHUNK: Final = 64 * 1024  # octets of a body at a time: what a thread's read costs little for, and memory does not feel
BLOCK: Final = 32 * 1024  # octets of a file at a time: most headers, and many small parts, take one read


class Source(Protocol):
    """Octets by position. Offsets are from 0; what lies beyond the end is left out of what is returned.

    Attributes:
        size: octets.
        decodings: transfer encodings that they came out of, one within the other.
    """

    size: int
    decodings: int

    def read(self, start: int, end: int, /) -> bytes:
        """Return the octets from `start` to before `end`."""
        ...

    def find(self, needle: bytes, start: int, end: int, /) -> int:
        """Return the offset of the first `needle` that lies whole between `start` and `end`; -1 if there is none."""
        ...


class BytesSource:
    """A message in memory."""

    __slots__ = ("_data", "decodings", "find", "size")

    def __init__(self, data: bytes, decodings: int = 0) -> None:
        self._data = data
        self.decodings: int = decodings
        self.size: int = len(data)
        self.find: Callable[[bytes, int, int], int] = data.find

    def read(self, start: int, end: int, /) -> bytes:
        """Return the octets from `start` to before `end`."""
        return self._data[start:end]


class FileSource:
    """A message in a file, of which at most the last block read is kept in memory."""

    __slots__ = ("_block", "_block_start", "_read_at", "decodings", "size")

    def __init__(self, read_at: Callable[[int, int], bytes], size: int) -> None:
        self._read_at = read_at
        self._block = b""
        self._block_start = 0
        self.decodings: int = 0
        self.size: int = size

    def read(self, start: int, end: int, /) -> bytes:
        """Return the octets from `start` to before `end`; fewer if the file has become shorter.

        Raises:
            OSError: or whatever the file raises.
        """
        end = min(end, self.size)
        if end <= start:
            return b""
        if end - start > BLOCK:  # to be handed out whole: not worth keeping
            return self._read_whole(start, end)
        block = self._at(start, end - start)
        return block[start - self._block_start : end - self._block_start]

    def find(self, needle: bytes, start: int, end: int, /) -> int:
        """Search block by block, without keeping more than one.

        Raises:
            OSError: or whatever the file raises.
        """
        end = min(end, self.size)
        while end - start >= len(needle):
            block = self._at(start, len(needle))
            base = self._block_start
            found = block.find(needle, start - base, end - base)
            if found >= 0:
                return base + found
            after = base + len(block)
            if after >= end or after - start < len(needle):
                return -1
            start = after - len(needle) + 1
        return -1

    def _at(self, start: int, size: int) -> bytes:
        """Return the kept block, made to hold the `size` octets from `start`, or as many as the file has."""
        if not (self._block_start <= start and start + size <= self._block_start + len(self._block)):
            self._block = self._read_whole(start, min(start + max(size, BLOCK), self.size))
            self._block_start = start
        return self._block

    def _read_whole(self, start: int, end: int) -> bytes:
        pieces = []
        while start < end and (piece := self._read_at(end - start, start)):
            pieces.append(piece)
            start += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def in_memory(data: bytes, decodings: int = 0) -> Source:
    """Return a source of these octets, which came out of so many transfer encodings."""
    # Its `find` is the octets' own, bound: a call less each time, and to some type checkers no method.
    return cast("Source", BytesSource(data, decodings))


def open_source(source: bytes | bytearray | memoryview | SupportsReadAt, size: int | None) -> Source:
    """Return the source for what `read_message` takes.

    Raises:
        InputError: `size` is negative.
        OSError: the size of the file cannot be found out.
    """
    if size is not None and size < 0:
        raise InputError("the size of a message is negative")
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
        return in_memory(data if size is None else data[:size])
    read_at = positional(source)
    if size is None:
        size = _size_of(source, read_at)
    return FileSource(read_at, size)


def _size_of(source: SupportsReadAt, read_at: Callable[[int, int], bytes]) -> int:
    if isinstance(source, int):
        return os.fstat(source).st_size
    fileno = getattr(source, "fileno", None)
    if fileno is None or hasattr(source, "read_at"):
        return _probed(read_at)
    return os.fstat(fileno()).st_size


def _probed(read_at: Callable[[int, int], bytes]) -> int:
    """Find the size with some fifty reads of one octet: there is an octet at `low - 1`, and none at `high`."""
    low, high = 0, 1
    while read_at(1, high):
        low, high = high + 1, high * 2
    while low < high:
        middle = (low + high) // 2
        if read_at(1, middle):
            low = middle + 1
        else:
            high = middle
    return low


def chunks_of(source: Source, start: int, end: int) -> Iterator[bytes]:
    """Yield the octets from `start` to before `end`, `CHUNK` at most at a time."""
    while start < end and (chunk := source.read(start, min(start + CHUNK, end))):
        yield chunk
        start += len(chunk)
