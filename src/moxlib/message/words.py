"""Encoded words (RFC 2047), and text of headers made safe to show.

Not by `email.header`, which loses blanks between words and text, drops bytes of characters that are split between
words, and raises for some charsets.
"""

import binascii
import re
from typing import Final

from moxlib.message.charset import codec_for
from moxlib.message.transfer import decode_base64

__all__ = ["decode_words", "printable"]

# RFC 2047 2. The text may hold blanks, which senders forget to encode. RFC 2231 5 adds "*" and a language.
_word = re.compile(r"=\?([^?*\s]{1,64}+)(?:\*[^?\s]{0,64}+)?\?([bBqQ])\?([^?\r\n]*+)\?=")
_blank: Final = re.compile(r"[ \t\r\n]*+").fullmatch
_controls = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def decode_words(text: str) -> str:
    """Return `text` with its encoded words decoded; those of unknown charsets stay as they are.

    Blanks between two encoded words are dropped (RFC 2047 6.2), and characters that are split between words are put
    together.
    """
    if "=?" not in text:
        return text
    pieces: list[str] = []
    octets, codec = bytearray(), ""  # of the words since the last other text
    position = 0
    for match in _word.finditer(text):
        new_codec = codec_for(match[1])
        if new_codec is None:
            continue
        between = text[position : match.start()]
        follows = bool(codec) and _blank(between) is not None
        if not (follows and codec == new_codec):
            pieces += (octets.decode(codec or "utf-8", "replace"), "" if follows else between)
            octets = bytearray()
        codec = new_codec
        octets += _octets(match[2], match[3])
        position = match.end()
    pieces += (octets.decode(codec or "utf-8", "replace"), text[position:])
    return "".join(pieces)


def _octets(encoding: str, text: str) -> bytes:
    raw = text.encode("utf-8", "replace")
    return decode_base64(raw) if encoding in "bB" else binascii.a2b_qp(raw, header=True)


def printable(text: str) -> str:
    """Return `text` with each run of controls and line ends made a space, and lone surrogates `?`, stripped."""
    if text.isascii() and text.isprintable():
        return text.strip(" ")
    text = _controls.sub(" ", text).strip(" ")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
