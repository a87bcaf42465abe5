"""Dot-stuffing: how message data travels after DATA (RFC 5321 4.5.2), in bulk and over chunks.

Lines end in CRLF and nothing else here. Data with a bare CR or LF has to be refused before it is stuffed, or a lax
receiver sees an end of data that the sender did not (SMTP smuggling); `moxlib.message.LineCheck` finds them.
"""

from typing import Final

from moxlib.errors import StateError, UnexpectedEOF

__all__ = ["END_OF_DATA", "DotStuffer", "DotUnstuffer", "dot_stuff", "dot_unstuff"]

END_OF_DATA: Final = b".\r\n"

_CRLF: Final = b"\r\n"
_END: Final = b"\r\n.\r\n"


def dot_stuff(data: bytes) -> bytes:
    """Return `data` with each line's leading dot doubled; the end-of-data line is not added.

    Whole messages end in CRLF; append `END_OF_DATA` to send one. Without dots to double, `data` itself is returned.
    """
    stuffed = data.replace(b"\r\n.", b"\r\n..")
    return b"." + stuffed if stuffed.startswith(b".") else stuffed


class DotStuffer:
    """Dot-stuffs one message that comes in chunks; how it is cut does not matter."""

    __slots__ = ("_line_start", "_pending_cr")

    def __init__(self) -> None:
        self._line_start = True  # the next byte is the first of a line
        self._pending_cr = False  # the last byte was CR

    def feed(self, chunk: bytes) -> bytes:
        """Return `chunk` stuffed: a dot may have been added anywhere, nothing is kept back."""
        if not chunk:
            return chunk
        stuffed = chunk.replace(b"\r\n.", b"\r\n..")
        if self._line_start:
            if chunk.startswith(b"."):
                stuffed = b"." + stuffed
        elif self._pending_cr and chunk.startswith(b"\n."):
            stuffed = b"\n." + stuffed[1:]
        self._line_start = chunk.endswith(_CRLF) or (self._pending_cr and chunk == b"\n")
        self._pending_cr = chunk.endswith(b"\r")
        return stuffed

    def finish(self) -> bytes:
        """Return what ends the data, and be ready for the next message.

        That is the end-of-data line, after a CRLF if the last line had none (RFC 5321 4.1.1.4).
        """
        end = END_OF_DATA if self._line_start else _END
        self._line_start = True
        self._pending_cr = False
        return end


class DotUnstuffer:
    """Takes the dots off again and finds the end of the data: the receiving side, chunk-wise.

    Only CRLF ends a line, so a dot beside a bare CR or LF is content.

    Attributes:
        done: the end-of-data line was seen.
        rest: what came after it in the same chunk, the client's next commands.
    """

    __slots__ = ("_held", "_skip", "done", "rest")

    def __init__(self) -> None:
        self._held = _CRLF  # what may yet turn out to be the end; the data begins at the start of a line
        self._skip = len(_CRLF)  # and that line start is not content
        self.done: bool = False
        self.rest: bytes = b""

    def feed(self, chunk: bytes) -> bytes:
        """Return the content that is now certain.

        Raises:
            StateError: the end was seen already.
        """
        if self.done:
            raise StateError("the end of the data was seen already")
        data = self._held + chunk
        end = data.find(_END)
        if end >= 0:
            self.done = True
            self.rest = data[end + len(_END) :]
            body, self._held = data[: end + len(_CRLF)], b""
        else:
            kept = _possible_end(data)
            body, self._held = data[: len(data) - kept], data[len(data) - kept :]
        content = body.replace(b"\r\n.", _CRLF)
        if body:
            content, self._skip = content[self._skip :], 0
        return content


def _possible_end(data: bytes) -> int:
    """Return how many of the last bytes are a beginning of the end-of-data sequence."""
    for length in range(len(_END) - 1, 0, -1):
        if data.endswith(_END[:length]):
            return length
    return 0


def dot_unstuff(data: bytes) -> bytes:
    """Return the content of dot-stuffed `data`, which goes on to the end-of-data line; what follows it is left out.

    Raises:
        UnexpectedEOF: there is no end-of-data line.
    """
    unstuffer = DotUnstuffer()
    content = unstuffer.feed(data)
    if not unstuffer.done:
        raise UnexpectedEOF("message data without its end-of-data line")
    return content
