"""Replies: what the peer said, and to what.

Text from a peer is data: it is decoded as UTF-8, other bytes and control characters escaped.
"""

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

__all__ = ["Command", "Reply", "escape"]


class Command(Enum):
    """What the session is waiting for an answer to."""

    if not TYPE_CHECKING:
        __hash__ = object.__hash__  # Enum's own is not in C; and this is looked up with every reply.

    CONNECT = "connect"
    TLS = "TLS handshake"
    GREETING = "greeting"
    EHLO = "EHLO"
    HELO = "HELO"
    LHLO = "LHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL FROM"
    RCPT = "RCPT TO"
    DATA = "DATA"
    CONTENT = "message content"  # behind 354, until the final dot is sent
    END_OF_DATA = "end of data"  # the final dot, or the message by BDAT
    RSET = "RSET"
    QUIT = "QUIT"


def escape(raw: bytes) -> str:
    r"""Return peer text for people and logs: UTF-8 as it is, but invalid bytes and controls (save TAB) as \xNN."""
    text = raw.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c == "\t" or c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One complete reply (RFC 5321 4.2).

    Attributes:
        code: three digits, 000 to 999: what is not 2xx to 5xx is no error of syntax, but never success.
        enhanced: the enhanced status code, such as "5.1.1"; empty when there is none, its class differs from the
            code's, or the peer did not announce ENHANCEDSTATUSCODES (RFC 2034).
        lines: every line as it came without its line end, code included, escaped.
    """

    code: int
    enhanced: str = ""
    lines: tuple[str, ...] = ()

    @property
    def permanent(self) -> bool:
        """Whether it is a 5xx: the command must not be expected to succeed later (RFC 5321 4.2.1)."""
        return 500 <= self.code <= 599  # noqa: PLR2004 - the class of codes

    @property
    def text(self) -> str:
        """The lines in one, for a log or a history."""
        return " / ".join(self.lines)

    @property
    def texts(self) -> tuple[str, ...]:
        """The text of each line behind its code."""
        return tuple([line[4:] for line in self.lines])
