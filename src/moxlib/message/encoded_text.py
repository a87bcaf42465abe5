"""Text of header fields, written: encoded words (RFC 2047), quoted names, folded lines (RFC 5322 2.2.3).

A value is written as tokens: what stays on one line, with a blank or a fold between each two. No token has a line end,
as all text was checked by `check_text`.
"""

import binascii
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from moxlib.message.errors import InvalidDraft

__all__ = [
    "HARD_LIMIT",
    "SOFT_LIMIT",
    "check_text",
    "date_text",
    "encoded_words",
    "field",
    "phrase",
    "quoted",
    "split_tokens",
    "tokens_of",
]

SOFT_LIMIT: Final = 78  # characters of a line, RFC 5322 2.1.1
HARD_LIMIT: Final = 900  # octets of a token: RFC 5322 2.1.1 has no line over 998, and a name may come before it
WORD_LIMIT: Final = 75  # characters of an encoded word, RFC 2047 2
SHORTEST: Final = 30  # characters of an encoded word that is not the last, after a name of whatever length
_AROUND: Final = len("=?utf-8?q??=")

# Tab is a blank. Line separators, and controls beyond ASCII, are line ends to some; lone surrogates are no text.
_refused = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]").search
_between_tokens = re.compile(r"(?<=[^ \t]) (?=[^ \t])")  # at other blanks a fold would not be read back as they are
_to_quote = re.compile(r'["\\]')
# RFC 2047 5 (3): what stands for itself wherever the word is
_Q: Final = tuple("_" if octet == ord(" ") else f"={octet:02X}" for octet in range(256))
_plain_octet = re.compile(rb"[A-Za-z0-9!*+/-]")
_QUOTED: Final = tuple(chr(octet) if _plain_octet.match(bytes((octet,))) else _Q[octet] for octet in range(256))
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_FIRST_YEAR: Final = 1900  # RFC 5322 3.3


def split_tokens(text: str) -> list[str]:
    """Return what folding keeps together: what stands between single blanks."""
    return _between_tokens.split(text)


def check_text(where: str, text: str) -> None:
    """Check that text can be in a header: no line ends or other controls but tab, and no lone surrogates.

    Raises:
        InvalidDraft: it cannot.
    """
    if not (text.isascii() and text.isprintable()) and _refused(text):
        raise InvalidDraft("a line end or control character", where, value=text)


def field(name: str, tokens: Sequence[str]) -> str:
    """Return a field with its line end, folded between tokens where a line would be longer than 78 characters."""
    line = f"{name}: {' '.join(tokens)}\r\n"
    return line if len(line) <= SOFT_LIMIT + 2 else _folded(name, tokens)


def _folded(name: str, tokens: Sequence[str]) -> str:
    pieces = [name, ":"]
    room = SOFT_LIMIT - len(name) - 1
    first = True
    for token in tokens:
        # The first is never on a line of its own: there are readers to which the field would be empty.
        if len(token) < room or first:
            pieces += (" ", token)
            room -= len(token) + 1
        else:
            pieces += ("\r\n ", token)
            room = SOFT_LIMIT - len(token) - 1
        first = False
    pieces.append("\r\n")
    return "".join(pieces)


def tokens_of(text: str, *, used: int, utf8: bool, escape: bool) -> list[str]:
    """Return the tokens of unstructured text (RFC 5322 2.2.1).

    What is not ASCII becomes encoded words, with all that is between, unless the header is in UTF-8. So does a word
    that is too long for a line.

    Args:
        text: without line ends.
        used: characters on the line before it: the field's name.
        utf8: the header may be in UTF-8.
        escape: text that looks like an encoded word is no such, and is encoded, so that it is read as it is.
    """
    if (utf8 or text.isascii()) and len(text) <= SOFT_LIMIT and not (escape and "=?" in text):
        return split_tokens(text)
    tokens = split_tokens(text)
    to_encode = [
        index
        for index, token in enumerate(tokens)
        if not (utf8 or token.isascii())
        or (escape and "=?" in token)
        or (len(token) > HARD_LIMIT // 4 and len(token.encode()) > HARD_LIMIT)
    ]
    if to_encode:
        first, last = to_encode[0], to_encode[-1] + 1
        # Blanks between encoded words are not read (RFC 2047 6.2), so those here are in them.
        tokens[first:last] = encoded_words(" ".join(tokens[first:last]), 1 if first else used)
    return tokens


def encoded_words(text: str, used: int = 1) -> list[str]:
    """Return text as encoded words, cut between characters: in quoted form, unless that is half as long again.

    Args:
        text: any.
        used: characters on the line that the first of them comes to.
    """
    octets = text.encode()
    quoted_form = "".join([_QUOTED[octet] for octet in octets])
    first = max(SHORTEST, min(WORD_LIMIT, SOFT_LIMIT - used)) - _AROUND
    if len(quoted_form) * 2 <= (len(octets) + 2) // 3 * 4 * 3:
        if len(quoted_form) <= first:
            return [f"=?utf-8?q?{quoted_form}?="]
        characters = ["".join([_QUOTED[octet] for octet in character.encode()]) for character in text]
        return [f"=?utf-8?q?{piece}?=" for piece in _packed(characters, first, WORD_LIMIT - _AROUND)]
    pieces = _packed(text, first // 4 * 3, (WORD_LIMIT - _AROUND) // 4 * 3)
    return [f"=?utf-8?b?{binascii.b2a_base64(piece.encode(), newline=False).decode()}?=" for piece in pieces]


def _packed(pieces: Iterable[str], first: int, others: int) -> list[str]:
    """Join pieces to texts of at most so many octets: the first of them, and the others."""
    packed: list[str] = []
    current: list[str] = []
    room = first
    for piece in pieces:
        size = len(piece) if piece.isascii() else len(piece.encode())
        if size > room:
            packed.append("".join(current))
            current, room = [], others
        current.append(piece)
        room -= size
    packed.append("".join(current))
    return packed


def phrase(name: str, *, used: int, utf8: bool) -> list[str]:
    """Return the tokens of a display name (RFC 5322 3.4): a quoted-string, as mox has it, or encoded words.

    Within quotes nothing is an encoded word (RFC 2047 5), but there are readers to which it is.
    """
    if (utf8 or name.isascii()) and "=?" not in name:
        text = quoted(name)
        if len(text) <= HARD_LIMIT // 4 or len(text.encode()) <= HARD_LIMIT:
            return [text]
    return encoded_words(name, used)


def quoted(text: str) -> str:
    """Return a quoted-string (RFC 5322 3.2.4)."""
    if '"' in text or "\\" in text:
        text = _to_quote.sub(r"\\\g<0>", text)
    return f'"{text}"'


def date_text(value: datetime, where: str = "date") -> str:
    """Return a date and time (RFC 5322 3.3), as mox without the day of the week, which may be left out.

    Raises:
        InvalidDraft: it has no time zone, or is before 1900.
    """
    offset = value.utcoffset()
    if offset is None:
        raise InvalidDraft("a time without its zone", where)
    if value.year < _FIRST_YEAR:
        raise InvalidDraft("a time before 1900", where)
    minutes = offset // timedelta(minutes=1)
    if offset % timedelta(minutes=1):  # as local times of old have it; a field cannot say it
        value = value - offset + timedelta(minutes=minutes)
    sign, minutes = ("-", -minutes) if minutes < 0 else ("+", minutes)
    return (
        f"{value.day} {_MONTHS[value.month - 1]} {value.year} {value.hour:02}:{value.minute:02}:{value.second:02} "
        f"{sign}{minutes // 60:02}{minutes % 60:02}"
    )
