"""The parser that makes replies of bytes. No I/O.

What a peer says is bounded, and never cut: what is longer than a limit is an error.
"""

import re
from collections.abc import Sequence

from moxlib.smtpclient.errors import ProtocolError
from moxlib.smtpclient.reply import Command, Reply, escape

__all__ = ["ReplyParser"]

MAX_REPLY_LINE = (
    2048  # With its LF. RFC 5321 4.5.3.1.5 says 512; some servers send more. Longer is an error, never cut.
)
MAX_AUTH_LINE = 12_288  # RFC 4954 4: what a line of an authentication exchange may have.
MAX_REPLY_LINES = 128  # EHLO of the largest servers has some 30 lines; bounds a reply to 256 KiB.
_SHOWN = 512  # bytes of a bad line in its error: what RFC 5321 allows a good one
_CACHED = 64  # One peer says "250 2.1.5 Ok" again and again; parsed once, it costs a tenth.
_CACHED_GROUP = 512  # bytes of replies that come together, as to MAIL, RCPT and DATA in one group

_REPLY_LINE = re.compile(rb"([0-9]{3})(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([0-9])\.[0-9]{1,9}\.[0-9]{1,9}(?![0-9])")


class ReplyParser:
    """Makes replies of bytes in any chunks; in bounded memory.

    Attributes:
        enhanced: whether enhanced status codes are read; set once the peer has announced them.
        max_line: bytes a line may have with its LF.
    """

    __slots__ = ("_cache", "_code", "_enhanced", "_lines", "_max_line", "_rest")

    def __init__(self) -> None:
        self._max_line = MAX_REPLY_LINE
        self._enhanced = False
        self._rest = b""
        self._code = b""
        self._lines: list[str] = []
        self._cache: dict[bytes, tuple[Reply, ...]] = {}  # by what came at once, and by lines

    @property
    def max_line(self) -> int:
        """Bytes a line may have with its LF."""
        return self._max_line

    @max_line.setter
    def max_line(self, value: int) -> None:
        self._max_line = value
        self._cache.clear()

    @property
    def enhanced(self) -> bool:
        """Whether enhanced status codes are read."""
        return self._enhanced

    @enhanced.setter
    def enhanced(self, value: bool) -> None:
        self._enhanced = value
        self._cache.clear()

    @property
    def pending(self) -> bool:
        """Whether part of a reply has come."""
        return bool(self._rest or self._lines)

    def feed(self, data: bytes, command: Command) -> tuple[Sequence[Reply], ProtocolError | None]:
        """Return the replies that `data` completes, and what is wrong with what follows them, if anything is.

        After an error the parser must not be fed again.

        Args:
            data: the next bytes from the peer, in any chunking.
            command: what is being waited for, to be named in the error.
        """
        at_start = not self.pending
        if at_start:
            known = self._cache.get(data)  # Mostly the same comes again and again.
            if known is not None:
                return known, None
        replies: list[Reply] = []
        if self._rest:
            data = self._rest + data
        lines = data.split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            cached = self._cache.get(line + b"\n") if not self._lines else None
            if cached is not None:
                replies += cached
                continue
            try:
                reply = self._line(line, command)
            except ProtocolError as error:
                return replies, error
            if reply is not None:
                replies.append(reply)
        if len(self._rest) >= self.max_line:
            return replies, self._broken(f"a line of more than {self.max_line} bytes", command, self._rest)
        if at_start and not self.pending and len(data) <= _CACHED_GROUP:
            self._keep(data, tuple(replies))
        return replies, None

    def _keep(self, data: bytes, replies: tuple[Reply, ...]) -> None:
        if len(self._cache) < _CACHED:
            self._cache[data] = replies

    def _line(self, line: bytes, command: Command) -> Reply | None:
        """Take one line, without its LF; return the reply that it completes."""
        if len(line) >= self.max_line:
            raise self._broken(f"a line of more than {self.max_line} bytes", command, line)
        bare = line.removesuffix(b"\r")
        match = _REPLY_LINE.fullmatch(bare)
        if match is None:
            raise self._broken("not a reply: a code of three digits has to come first", command, bare)
        if self._lines and match[1] != self._code:
            raise self._broken("a reply of several lines with different codes", command, bare)
        if match[2] == b"-":
            if len(self._lines) >= MAX_REPLY_LINES:
                raise self._broken(f"a reply of more than {MAX_REPLY_LINES} lines", command, bare)
            self._code = match[1]
            self._lines.append(escape(bare))
            return None
        code = int(match[1])
        if not self._lines:
            texts: tuple[str, ...] = (escape(bare),)
            reply = Reply(code=code, enhanced=self._enhanced_code(code, texts), lines=texts)
            self._keep(line + b"\n", (reply,))
            return reply
        texts = (*self._lines, escape(bare))
        self._lines.clear()
        return Reply(code=code, enhanced=self._enhanced_code(code, texts), lines=texts)

    def _enhanced_code(self, code: int, lines: tuple[str, ...]) -> str:
        """RFC 2034 4: every line has it; where only some have, the last of these counts."""
        if self._enhanced:
            for line in reversed(lines):
                match = _ENHANCED.match(line, 4)
                if match is not None and int(match[1]) == code // 100:
                    return match[0]
        return ""

    def _broken(self, reason: str, command: Command, line: bytes) -> ProtocolError:
        """The error for `line`, of which it shows as much as is of use, with the lines before it."""
        lines = (*(before[:_SHOWN] for before in self._lines[:4]), escape(line[:_SHOWN]))
        return ProtocolError(command=command, reason=reason, lines=lines)
