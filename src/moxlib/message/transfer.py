"""Transfer encodings (RFC 2045 6), decoded as they come, however broken they are."""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING, Final

from moxlib.message.source import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["decode_base64", "decode_chunks", "decode_quoted_printable"]

_ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NOT_BASE64: Final = bytes(octet for octet in range(256) if octet not in _ALPHABET)
_QUAD: Final = 4  # characters of base64 that are three octets
# The lookbehind keeps a long run of blanks from being looked at again from each of them.
_blanks_before_line_end = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n)")


def decode_chunks(encoding: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what `chunks` are, decoded, in chunks of about the same size; as they are for other encodings.

    Args:
        encoding: in lower case; base64 and quoted-printable are decoded.
        chunks: the encoded octets; how they are cut does not matter.
    """
    match encoding:
        case "base64":
            return _base64_chunks(chunks)
        case "quoted-printable":
            return _quoted_printable_chunks(chunks)
        case _:
            return iter(chunks)


def decode_base64(data: bytes) -> bytes:
    """Return what base64 stands for: up to its padding, whatever else there is in between, also without padding."""
    return b"".join(_base64_chunks((data,)))


def decode_quoted_printable(data: bytes) -> bytes:
    """Return what quoted-printable stands for; what is no escape stays as it is."""
    return b"".join(_quoted_printable_chunks((data,)))


def _base64_chunks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""  # fewer characters than make three octets
    for chunk in chunks:
        position = 0
        while True:
            padding = chunk.find(b"=", position)
            piece = chunk[position : padding if padding >= 0 else len(chunk)]
            rest += piece.translate(None, _NOT_BASE64)
            whole = len(rest) // _QUAD * _QUAD
            if whole:
                yield binascii.a2b_base64(rest[:whole])
                rest = rest[whole:]
            if padding < 0:
                break
            if len(rest) > 1:  # the end; what follows was added by somebody else
                yield binascii.a2b_base64(rest + b"=" * (_QUAD - len(rest)))
                return
            position = padding + 1  # no padding where there is nothing to pad
    if len(rest) > 1:
        yield binascii.a2b_base64(rest + b"=" * (_QUAD - len(rest)))


def _quoted_printable_chunks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        data = rest + chunk
        # A chunk is decoded to its last line end; what is after could be cut within an escape, or within blanks that
        # are to go. A line longer than a chunk is cut before what is unfinished.
        cut = data.rfind(b"\n") + 1
        if cut == 0 and len(data) > CHUNK:
            cut = _finished(data)
        if cut:
            yield binascii.a2b_qp(_blanks_before_line_end.sub(b"", data[:cut]))
        rest = data[cut:]
    if rest := rest.rstrip(b" \t"):
        yield binascii.a2b_qp(rest)


def _finished(data: bytes) -> int:
    """Return where to cut a line so that no escape, soft line break or trailing blank is torn."""
    cut = len(data.rstrip(b" \t\r"))
    if cut < len(data) // 2:  # blanks without end; they are not kept to see whether a line end follows
        return len(data)
    if data.endswith(b"=", 0, cut):
        return cut - 1
    return cut - 2 if cut == len(data) and data[cut - 2] == ord("=") else cut
