"""Text for header and status fields, written so that it is one field, on lines that are not too long.

Every value that another program may have had a hand in goes through here: `DSN` has no control characters in it, and
what is written has line ends only where a line is folded.
"""

import binascii
import re
from datetime import datetime
from typing import Final

__all__ = ["comment", "date", "field", "phrase", "token", "words"]

SOFT_LIMIT: Final = 76  # characters of a line, without a need
HARD_LIMIT: Final = 900  # octets that are kept in one piece: RFC 5322 2.1.1 has no line over 998
WORD_LIMIT: Final = 75  # characters of an encoded word, RFC 2047 2
_BEFORE, _AFTER = "=?utf-8?", "?="
_PAYLOAD: Final = WORD_LIMIT - len(_BEFORE) - len("q?") - len(_AFTER)

_break = re.compile(r"(?<![ \t]) (?![ \t])").split
_plain = re.compile(r"[A-Za-z0-9!*+/-]")  # RFC 2047 5 (3): what stands for itself wherever the word is
_special = re.compile(r'[()"\\]').search
_parenthesis = re.compile(r"[()\\]").search
_to_escape = re.compile(r"[()\\]")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def field(name: str, value: str) -> str:
    """Return a field with its line end, folded at single spaces if it is long."""
    line = f"{name}: {value}"
    if len(line) <= SOFT_LIMIT:
        return f"{line}\r\n"
    lines: list[str] = []
    current = ""
    for piece in _break(line):
        if current and len(current) + 1 + len(piece) > SOFT_LIMIT and current != f"{name}:":
            lines.append(current)
            current = f" {piece}"
        else:
            current = f"{current} {piece}" if current else piece
    return "\r\n".join([*lines, current]) + "\r\n"


def phrase(text: str, *, utf8: bool) -> str:
    """Return text as it is if it may stand so, else as encoded words (RFC 2047).

    It may not if it is not ASCII and not `utf8`, if it looks like an encoded word, or has a word too long for a line.
    """
    if "=?" in text or not (utf8 or text.isascii()) or (len(text) > HARD_LIMIT // 4 and _longest(text) > HARD_LIMIT):
        return words(text)
    return text


def token(text: str, *, utf8: bool) -> str:
    """Return text for where parentheses and quotes mean something, as encoded words if it has them."""
    return words(text) if _special(text) else phrase(text, utf8=utf8)


def comment(text: str, *, utf8: bool) -> str:
    """Return text in parentheses, with a blank before; nothing if it is empty."""
    if not text:
        return ""
    inner = phrase(text, utf8=utf8)
    if inner is text and _parenthesis(text) and not _balanced(text):
        inner = _to_escape.sub(r"\\\g<0>", text)
    return f" ({inner})"


def date(value: datetime) -> str:
    """Return a date and time (RFC 5322 3.3). Without the weekday, which may be left out and mox does not read."""
    return f"{value.day} {_MONTHS[value.month - 1]} {value:%Y %H:%M:%S %z}"


def words(text: str) -> str:
    """Return text as encoded words, in quoted form if it is the shorter one, cut between characters."""
    octets = text.encode()
    pieces = [_quoted(char) for char in text]
    if sum(map(len, pieces)) <= (len(octets) + 2) // 3 * 4:
        return " ".join(f"{_BEFORE}q?{piece}{_AFTER}" for piece in _packed(pieces, _PAYLOAD))
    chunks = _packed(list(text), _PAYLOAD // 4 * 3)
    return " ".join(
        f"{_BEFORE}b?{binascii.b2a_base64(chunk.encode(), newline=False).decode()}{_AFTER}" for chunk in chunks
    )


def _quoted(char: str) -> str:
    if char == " ":
        return "_"
    return char if _plain.match(char) else "".join(f"={octet:02X}" for octet in char.encode())


def _packed(pieces: list[str], limit: int) -> list[str]:
    """Join pieces to texts of at most `limit` octets."""
    packed = [""]
    room = limit
    for piece in pieces:
        size = len(piece) if piece.isascii() else len(piece.encode())
        if size > room:
            packed.append("")
            room = limit
        packed[-1] += piece
        room -= size
    return packed


def _longest(text: str) -> int:
    return max(len(piece.encode()) for piece in _break(text))


def _balanced(text: str) -> bool:
    """Whether parentheses in text come in pairs, so that they need no backslashes, and there are none of these."""
    depth = 0
    if "\\" in text:
        return False
    for char in text:
        depth += (char == "(") - (char == ")")
        if depth < 0:
            return False
    return depth == 0
