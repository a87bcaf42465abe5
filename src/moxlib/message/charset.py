"""Octets to text, by a charset that a message names, whatever that is.

Python's codecs are looked up by name, which is not for names that others choose: each is searched for as a module, and
kept, known or not, as long as the process lives. And among them are some that are no charsets of mail, or none any
more: punycode and UTF-7 take time by the square of their input, and mox does not know the latter either.
"""

from __future__ import annotations

import codecs
import re
from encodings import normalize_encoding
from encodings.aliases import aliases
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["codec_for", "decode", "text_of"]

# Python's modules of codecs, of which nearly all have an alias, without those that are no charsets.
_CODECS: Final = frozenset(
    (
        *aliases.values(),
        *("cp1006", "cp720", "cp737", "cp856", "cp874", "cp875", "iso8859_1", "koi8_t", "koi8_u", "utf_8_sig"),
        *("mac_arabic", "mac_croatian", "mac_farsi", "mac_romanian"),
    )
) - {"base64_codec", "bz2_codec", "hex_codec", "mbcs", "quopri_codec", "rot_13", "utf_7", "uu_codec", "zlib_codec"}
# By name, since Python does not know them by it, or knows a smaller set than what senders who name it send.
_BETTER: Final = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x_gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "x_sjis": "cp932",
    "iso_8859_8_i": "iso8859_8",
    "iso_8859_8_e": "iso8859_8",
    "windows_874": "cp874",
    "x_mac_roman": "mac_roman",
    "unicode_1_1_utf_8": "utf_8",
    "x_unicode_2_0_utf_8": "utf_8",
    "ascii": "utf_8",  # of which it is a part; 8-bit text that says so is in UTF-8 more often than not
}
_name = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+-]{0,63}").fullmatch


def codec_for(charset: str) -> str | None:
    """Return the name of Python's codec for a charset; None if it is unknown. No charset and us-ascii are UTF-8."""
    charset = charset.strip().lower()
    if charset in ("utf-8", "us-ascii", ""):  # most are
        return "utf-8"
    if not _name(charset):
        return None
    name = normalize_encoding(charset).replace(".", "_")
    module = aliases.get(name, name)
    module = _BETTER.get(module, module)
    return codecs.lookup(module).name if module in _CODECS else None


def decode(data: bytes | bytearray, charset: str) -> str:
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
