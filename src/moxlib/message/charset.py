"""Octets to text, by a charset that a message names, whatever that is.

Python's codecs are looked up by name, and among them are some that are no charsets of mail, or none any more: punycode
and UTF-7 take time by the square of their input, and mox does not know the latter either.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["codec_for", "decode", "text_of"]

_NOT_CHARSETS: Final = frozenset(("idna", "punycode", "utf-7", "unicode-escape", "raw-unicode-escape"))
# By name, since Python does not know them by it, or knows a smaller set than what senders who name it send.
_BETTER: Final = {
    "gb2312": "gb18030",
    "gb_2312-80": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "ks_c_5601-1987": "cp949",
    "euc-kr": "cp949",
    "shift_jis": "cp932",
    "x-sjis": "cp932",
    "iso-8859-8-i": "iso-8859-8",
    "iso-8859-8-e": "iso-8859-8",
    "windows-874": "cp874",
    "x-mac-roman": "mac_roman",
    "unicode-1-1-utf-8": "utf-8",
    "x-unicode-2-0-utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "utf-8",  # of which it is a part; 8-bit text that says so is in UTF-8 more often than not
    "ascii": "utf-8",
    "ansi_x3.4-1968": "utf-8",
    "": "utf-8",
}
_name = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+-]{0,63}").fullmatch


def codec_for(charset: str) -> str | None:
    """Return the name of Python's codec for a charset; None if it is unknown. No charset and us-ascii are UTF-8."""
    charset = charset.strip().lower()
    codec = _BETTER.get(charset, charset)
    if codec == "utf-8":
        return codec
    if not _name(codec):
        return None
    try:
        name = codecs.lookup(codec).name
        b"a".decode(codec, "replace")  # refuses what is not from octets to text: rot13, hex, zlib
    except (LookupError, ValueError):
        return None
    return None if name in _NOT_CHARSETS else name


def decode(data: bytes, charset: str) -> str:
    """Return the text, with U+FFFD where `data` is not of the charset; by UTF-8 if the charset is unknown."""
    codec = codec_for(charset) or "utf-8"
    return data.decode(codec, "replace")


def text_of(chunks: Iterable[bytes], charset: str, max_size: int) -> str:
    """Return the text of `chunks`, as `decode` does, cut at a character to `max_size` octets of UTF-8.

    No more chunks are asked for than it takes. Lone surrogates, which some charsets yield, become `?`.
    """
    codec = codec_for(charset) or "utf-8"
    decoder = codecs.getincrementaldecoder(codec)("replace")
    encoded, size = [], 0
    for chunk in chunks:
        try:
            piece = decoder.decode(chunk).encode("utf-8", "replace")
        except UnicodeError:  # iso-2022: escapes that were begun and are no escapes, more than the decoder keeps
            decoder.reset()
            piece = chunk.decode(codec, "replace").encode("utf-8", "replace")
        encoded.append(piece)
        size += len(piece)
        if size > max_size:
            break
    else:
        encoded.append(decoder.decode(b"", final=True).encode("utf-8", "replace"))
    return b"".join(encoded)[:max_size].decode("utf-8", "ignore")
