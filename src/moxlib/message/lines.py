"""Line ends: every line of a message ends in CRLF, and neither octet stands alone (RFC 5322 2.3, RFC 5321 2.3.8).

A bare CR or LF is refused, not mended: receivers disagree on what it means, which is how messages are smuggled past
them. `to_crlf` is for files whose line ends are known to be another system's.

Counting is in bulk, three counts over each chunk; only a wrong one is looked for octet by octet.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from moxlib.message.errors import InvalidMessage

__all__ = ["LineCheck", "LineFacts", "check_lines", "find_bare", "to_crlf"]

find_bare: Callable[..., re.Match[bytes] | None] = re.compile(rb"\r(?!\n)|(?<!\r)\n").search
_BLANK_LINE = b"\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFacts:
    """What a pass over a whole message tells.

    Attributes:
        size: octets.
        eight_bit: some octet is above 127, so it needs 8BITMIME or SMTPUTF8.
        header_end: the offset of the body, after the blank line; `size` if there is no blank line.
        ends_in_crlf: the last line is ended. (An empty message has no last line.)
    """

    size: int
    eight_bit: bool
    header_end: int
    ends_in_crlf: bool


def check_lines(data: bytes) -> LineFacts:
    """Check a whole message.

    Raises:
        InvalidMessage: a bare CR or a bare LF, with its line and offset.
    """
    if not data.count(b"\r\n") == data.count(b"\n") == data.count(b"\r"):
        _raise_bare(data, len(data), 0, 0)
    if data.startswith(b"\r\n"):
        header_end = 2
    else:
        end = data.find(_BLANK_LINE)
        header_end = len(data) if end < 0 else end + len(_BLANK_LINE)
    return LineFacts(
        size=len(data),
        eight_bit=not data.isascii(),
        header_end=header_end,
        ends_in_crlf=data.endswith(b"\r\n"),
    )


class LineCheck:
    """Checks a message that comes in chunks; how it is cut does not matter, except for where an error is raised."""

    __slots__ = ("_eight_bit", "_header_end", "_lines", "_size", "_tail")

    def __init__(self) -> None:
        self._size = 0
        self._lines = 0  # complete ones, without what is in the tail
        self._eight_bit = False
        self._header_end = -1
        # The last octets seen, at most three: enough to see CRLF and the blank line across chunks. What comes before
        # the first octet acts as a line end: a message may begin with its blank line.
        self._tail = b"\r\n"

    def feed(self, chunk: bytes) -> None:
        """Look at the next octets.

        Raises:
            InvalidMessage: a bare CR or LF is in them, or was at the end of those before. The object is of no use then.
        """
        if not chunk:
            return
        tail = self._tail
        carriage_returns, pairs = chunk.count(b"\r"), chunk.count(b"\r\n")
        newlines = chunk.count(b"\n")
        if tail.endswith(b"\r"):
            carriage_returns += 1
            pairs += chunk.startswith(b"\n")
        carriage_returns -= chunk.endswith(b"\r")  # that one is judged when its next octet is known
        if not carriage_returns == newlines == pairs:
            data = b"\r" + chunk if tail.endswith(b"\r") else chunk
            judged = len(data) - chunk.endswith(b"\r")
            _raise_bare(data, judged, self._size + len(chunk) - len(data), self._lines)
        self._lines += newlines
        self._eight_bit = self._eight_bit or not chunk.isascii()
        if self._header_end < 0:
            self._find_header_end(tail, chunk)
        self._size += len(chunk)
        self._tail = (tail + chunk)[-3:] if len(chunk) < 3 else chunk[-3:]  # noqa: PLR2004 - the tail's length

    def _find_header_end(self, tail: bytes, chunk: bytes) -> None:
        joined = tail + chunk[:3]  # a blank line that began in the tail ends by here
        end = joined.find(_BLANK_LINE)
        if end >= 0:
            self._header_end = self._size - len(tail) + end + len(_BLANK_LINE)
            return
        end = chunk.find(_BLANK_LINE)
        if end >= 0:
            self._header_end = self._size + end + len(_BLANK_LINE)

    def finish(self) -> LineFacts:
        """Return the facts; the message is at its end.

        Raises:
            InvalidMessage: its last octet is a bare CR.
        """
        if self._tail.endswith(b"\r"):
            raise InvalidMessage("a bare CR", self._lines + 1, self._size - 1)
        return LineFacts(
            size=self._size,
            eight_bit=self._eight_bit,
            header_end=self._size if self._header_end < 0 else self._header_end,
            ends_in_crlf=self._size > 0 and self._tail.endswith(b"\r\n"),
        )


def _raise_bare(data: bytes, end: int, offset: int, lines: int) -> NoReturn:
    """Say where the first bare CR or LF before `end` is; `data` begins at `offset`, after `lines` complete lines."""
    match = find_bare(data, 0, end)
    assert match is not None, "the counts differ"
    what = "a bare CR" if match[0] == b"\r" else "a bare LF"
    raise InvalidMessage(what, lines + data.count(b"\n", 0, match.start()) + 1, offset + match.start())


def to_crlf(data: bytes) -> bytes:
    """Return `data` with every line end (CRLF, LF or CR, also mixed) as CRLF; `data` itself if they all are."""
    if data.count(b"\r\n") == data.count(b"\n") == data.count(b"\r"):
        return data
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
