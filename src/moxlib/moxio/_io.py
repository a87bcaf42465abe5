"""Reading and writing through the shapes of `streams`, with what those leave open settled."""

from __future__ import annotations

import errno

TYPE_CHECKING = False  # typing's own costs more than all that Base64Writer imports besides
if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Buffer

    from moxlib.moxio.streams import Reader, Writer

__all__ = ["as_bytes", "read_into", "read_some", "write_all"]


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
