"""Base64 for mail as a writer: what is written to it comes out encoded, in lines."""

from __future__ import annotations

import binascii
from struct import Struct

from moxlib.errors import StateError
from moxlib.moxio._io import write_all

TYPE_CHECKING = False  # typing's own costs more than all that this module imports besides
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from typing_extensions import Buffer

    from moxlib.moxio.streams import Writer

__all__ = ["Base64Writer"]

LINE = 76  # characters of a line without its CRLF: RFC 2045 6.8 allows no more
LINE_DATA = LINE // 4 * 3
CRLF = b"\r\n"

# Lines are cut from bulk output by unpacking it as so many 76-character strings, the fastest way there is without C of
# our own: 1.7 times as fast as slicing in a loop, which is as fast as base64.encodebytes. The largest block keeps
# itself and its output within the first-level cache; with the smaller ones any number of lines is cut in few calls.
BLOCKS = tuple((lines, Struct(f"{LINE}s" * lines).unpack_from) for lines in (256, 128, 64, 32, 16, 8, 4, 2, 1))
BLOCK_DATA = BLOCKS[0][0] * LINE_DATA


class Base64Writer:
    r"""Writes what it gets to `w` as base64, in lines of at most 76 characters ended by CRLF.

    Every `write` puts out all groups of three bytes that are complete, and the CRLF of a line as soon as the line is
    full; `close` puts out the rest, padded, and the last CRLF. The output does not depend on how the data was cut into
    writes. No data gives no output. `w` is not closed. RFC 2045, section 6.8.

    Once `w` has raised, every later call raises the same error: what had been put out cannot be known.

    As a context manager it closes at the end of the block, and not when the block raised: a cut-off encoding must not
    look whole.
    """

    __slots__ = ("_closed", "_column", "_error", "_pending", "_w")

    def __init__(self, w: Writer) -> None:
        self._w = w
        self._pending = b""  # bytes that do not yet make a group of three
        self._column = 0  # characters put out on the line that is open
        self._closed = False
        self._error: BaseException | None = None

    def write(self, data: Buffer) -> int:
        """Encode `data`, and return its length in bytes.

        Raises:
            StateError: the writer is closed.
            OSError: or whatever `w` raises.
        """
        self._check()
        view = memoryview(data).cast("B")
        try:
            self._write(view)
        except BaseException as err:
            self._error = err
            raise
        return len(view)

    def close(self) -> None:
        """Put out what is left, padded, and the end of the last line; closing again does nothing.

        Raises:
            OSError: or whatever `w` raises.
        """
        if self._closed:
            return
        self._check()
        self._closed = True
        tail = binascii.b2a_base64(self._pending, newline=False)
        if tail or self._column:
            try:
                write_all(self._w, tail + CRLF)
            except BaseException as err:
                self._closed = False
                self._error = err
                raise

    def _check(self) -> None:
        if self._error is not None:
            raise self._error
        if self._closed:
            raise StateError("the Base64Writer is closed")

    def _write(self, view: memoryview) -> None:
        at = 0
        if self._pending or self._column:
            at = min(len(view), LINE_DATA - self._column // 4 * 3 - len(self._pending))
            self._part_of_line(self._pending + view[:at])
        while at < len(view):
            self._lines(view[at : at + BLOCK_DATA])
            at += BLOCK_DATA

    def _lines(self, view: memoryview) -> None:
        """Begin at the start of a line, and put out at most a block of them, the last one as far as it goes."""
        whole = len(view) - len(view) % 3
        self._pending = bytes(view[whole:])
        encoded = binascii.b2a_base64(view[:whole], newline=False)
        self._column = len(encoded) % LINE
        left = len(encoded) // LINE
        at = 0
        lines: list[bytes] = []
        for count, cut in BLOCKS:
            if left >= count:
                lines.extend(cut(encoded, at))
                at += count * LINE
                left -= count
        lines.append(encoded[at:])
        if encoded:
            write_all(self._w, CRLF.join(lines))

    def _part_of_line(self, data: bytes) -> None:
        """Go on with the line that is open; `data` begins with what was pending and does not pass the line's end."""
        whole = len(data) - len(data) % 3
        self._pending = data[whole:]
        encoded = binascii.b2a_base64(data[:whole], newline=False)
        self._column += len(encoded)
        if self._column == LINE:
            self._column = 0
            encoded += CRLF
        if encoded:
            write_all(self._w, encoded)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        self._closed = True
