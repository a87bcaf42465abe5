"""What a message's bytes become on their way, after DATA and after BDAT; and a look for bare line ends. No I/O."""

import re

from moxlib.smtp import END_OF_DATA, DotStuffer, dot_stuff
from moxlib.smtpclient.errors import InvalidContent

__all__ = ["CheckedStuffer", "as_chunk", "as_data", "check_lines"]

_bare = re.compile(rb"\r(?!\n)|(?<!\r)\n").search


def check_lines(data: bytes) -> None:
    """Look for a CR or LF that is no line end.

    Raises:
        InvalidContent: there is one.
    """
    bare = _first_bare(data)
    if bare >= 0:
        raise InvalidContent(bare)


def as_data(content: bytes) -> bytes:
    """Return what follows the reply to DATA, up to the final dot."""
    stuffed = dot_stuff(content)
    return stuffed + (END_OF_DATA if stuffed.endswith(b"\r\n") or not stuffed else b"\r\n" + END_OF_DATA)


def as_chunk(content: bytes) -> bytes:
    """Return the content as the only chunk of its message, with its BDAT command (RFC 3030 2)."""
    if content and not content.endswith(b"\r\n"):  # As after DATA: a message is of lines, unless it has BINARYMIME.
        content += b"\r\n"
    return b"BDAT %d LAST\r\n%b" % (len(content), content)


def _first_bare(data: bytes) -> int:
    """Return the offset of the first CR or LF that is no line end; -1 when there is none."""
    ends = data.count(b"\r\n")
    if data.count(b"\n") == ends and data.count(b"\r") == ends:  # Four times as fast as the search.
        return -1
    bare = _bare(data)
    return bare.start() if bare is not None else -1


class CheckedStuffer(DotStuffer):
    """A `DotStuffer` that refuses a bare CR or LF, wherever the chunks are cut."""

    __slots__ = ("_cr", "_length")

    def __init__(self) -> None:
        super().__init__()
        self._cr = b""  # a CR that ended the last chunk
        self._length = 0  # of what was checked, that CR left out

    def feed(self, chunk: bytes) -> bytes:
        """Return `chunk` stuffed.

        Raises:
            InvalidContent: a bare CR or LF.
        """
        data = self._cr + chunk if self._cr and chunk else chunk
        if chunk:
            self._cr = data[-1:] if data.endswith(b"\r") else b""
            checked = data[:-1] if self._cr else data
            bare = _first_bare(checked)
            if bare >= 0:
                raise InvalidContent(self._length + bare)
            self._length += len(checked)
        return super().feed(chunk)

    def finish(self) -> bytes:
        """Return what ends the data.

        Raises:
            InvalidContent: the last byte was a bare CR.
        """
        if self._cr:
            raise InvalidContent(self._length)
        return super().finish()
