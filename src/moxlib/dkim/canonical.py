"""What is hashed of a message: header fields and body in one of two canonical forms (RFC 6376 3.4).

Blanks are made few with `bytes.replace`, which is some ten times as fast as a regular expression. A run of n blanks
takes log2(n) passes, so that no body makes it slow.
"""

import hashlib
import re
from enum import StrEnum
from typing import Final

__all__ = ["BodyHash", "Canonicalization", "canonical_field", "canonical_fields"]

_CRLF: Final = b"\r\n"
# Groups repeat inside atomic ones, (?>(?:...)*): Python before 3.11.5 matches (?:...)*+ wrongly (CPython gh-106052).
_fields = re.compile(rb"(([!-9;-~]++)[ \t]*+:[^\r]*+(?>(?:\r\n[ \t][^\r]*+)*))\r\n").findall
_unfolded_fields = re.compile(rb"([!-9;-~]++) ?: ?([^\r]*+)\r\n").findall

_BLOCK: Final = _CRLF * 8192  # empty lines that turned out not to be the last are hashed so many at a time


class Canonicalization(StrEnum):
    """How much a message may be changed on its way without its signature being broken."""

    SIMPLE = "simple"
    """Not at all, but for empty lines at the end of the body."""
    RELAXED = "relaxed"
    """Blanks may be changed where there are some, lines folded otherwise, and names of fields written otherwise."""


def _single_blanks(data: bytes) -> bytes:
    if b"\t" in data:
        data = data.replace(b"\t", b" ")
    while b"  " in data:
        data = data.replace(b"  ", b" ")
    return data


def canonical_field(text: bytes, form: Canonicalization) -> bytes:
    """Return a header field as it is hashed, without its last line end.

    Args:
        text: the field as it stands in the message, with its folds, without its last line end.
        form: which one.
    """
    if form is Canonicalization.SIMPLE:
        return text
    name, _, value = text.partition(b":")
    return name.rstrip(b" \t").lower() + b":" + _single_blanks(value.replace(_CRLF, b"")).strip(b" ")


def canonical_fields(block: bytes, form: Canonicalization) -> dict[bytes, list[bytes]]:
    """Return the fields of a header, each as `canonical_field` has it, in order for each name in lower case.

    Args:
        block: the header, checked: nothing but fields, each with its line end.
        form: which one.
    """
    found: dict[bytes, list[bytes]] = {}
    if form is Canonicalization.SIMPLE:
        for text, name in _fields(block):
            found.setdefault(name.lower(), []).append(text)
        return found
    block = _single_blanks(block.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" "))
    for name, value in _unfolded_fields(block):
        lowered = name.lower()
        found.setdefault(lowered, []).append(lowered + b":" + value.removesuffix(b" "))
    return found


class BodyHash:
    """The SHA-256 of a body that comes in chunks; how it is cut does not matter, and no more than a chunk is kept.

    Blanks at the end of the last line go in the relaxed form, even if that line has no line end. Differs: mox keeps
    one then, and its signature fails when the message gets the line end that SMTP gives it.

    Args:
        form: the canonical form.
        length: how many octets of that form are hashed (l=); None for all.

    Attributes:
        size: octets of the canonical form; complete after `digest`.
    """

    __slots__ = ("_empty_lines", "_hash", "_held", "_length", "_relaxed", "size")

    def __init__(self, form: Canonicalization, length: int | None = None) -> None:
        self._relaxed = form is Canonicalization.RELAXED
        self._hash = hashlib.sha256()
        self._length = length
        self._empty_lines = 0  # line ends not hashed yet: they count only if something follows
        self._held = b""  # what the next octet decides about: " ", "\r" or " \r"
        self.size: int = 0

    def feed(self, chunk: bytes) -> None:
        """Hash the next octets."""
        data = self._held + chunk if self._held else chunk
        if self._relaxed:
            data = _single_blanks(data).replace(b" \r\n", _CRLF)
        end = len(data)
        if data.endswith(b"\r"):
            end -= 1
        if self._relaxed and data.endswith(b" ", 0, end):
            end -= 1
        if end < len(data):
            data, self._held = data[:end], data[end:]
        else:
            self._held = b""
        start = _last_lines(data)
        if start:
            self._write_line_ends()
            self._write(data[:start])
        self._empty_lines += (len(data) - start) // 2

    def digest(self) -> bytes:
        """Return the hash; the body is at its end. Nothing may be fed after that."""
        if self._held not in {b"", b" "}:  # a CR alone is a character like any other
            self._write_line_ends()
            self._write(self._held)
        if self.size or not self._relaxed:  # RFC 6376 3.4.3 and 3.4.4: an empty body is a line end, or nothing
            self._write(_CRLF)
        return self._hash.digest()

    def _write_line_ends(self) -> None:
        left = 2 * self._empty_lines
        self._empty_lines = 0
        while left > 0:
            self._write(_BLOCK[:left])
            left -= len(_BLOCK)

    def _write(self, data: bytes) -> None:
        before = self.size
        self.size += len(data)
        if self._length is not None and self.size > self._length:
            data = data[: max(0, self._length - before)]
        self._hash.update(data)


def _last_lines(data: bytes) -> int:
    """Return the offset from which there is nothing but line ends."""
    kept = len(data.rstrip(_CRLF))
    tail = data[kept:]
    if not tail.endswith(_CRLF):
        return len(data)
    if tail == _CRLF * (len(tail) // 2):
        return kept
    # Bare CRs and LFs before them: from the last place where two of a kind meet, they alternate.
    start = max(tail.rfind(b"\r\r"), tail.rfind(b"\n\n")) + 1
    return kept + start + (tail[start] == _CRLF[1])
