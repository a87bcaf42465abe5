"""The bodies of a message that is composed, in their transfer encodings (RFC 2045 6): text, and files of any size."""

import io
import os
import re
from binascii import b2a_qp
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final, TypeAlias

from moxlib.message.draft import File
from moxlib.message.errors import InvalidDraft, InvalidMessage
from moxlib.message.lines import LineCheck, to_crlf
from moxlib.message.media_types import MediaType, parse_media_type
from moxlib.message.mime_types import SNIFFED, detect_content_type
from moxlib.moxio.base64writer import Base64Writer

__all__ = ["Body", "FileBody", "Piece", "Text", "file_body", "text_body"]

SHORT_LINE: Final = 76  # octets, as mox: what is longer goes quoted-printable, whose lines have as many (RFC 2045 6.7)
LONG_LINE: Final = 998  # octets without the line end, RFC 5322 2.1.1
LINE_DATA: Final = 57  # octets that are a line of 76 characters in base64, RFC 2045 6.8
CHUNK: Final = 1024 * LINE_DATA  # octets of a file at a time
IN_MEMORY: Final = CHUNK  # octets of a file in memory that is encoded at once; larger ones are when they are written
UNKNOWN: Final = MediaType(name="application/octet-stream")
GLOBAL: Final = MediaType(name="message/global")
MESSAGE_TYPES: Final = frozenset(("message/rfc822", "message/global", "message/news"))

_unclean = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]").search  # what is not to be expected in 7bit
# A line of 75 that ends in a blank, which `binascii` encodes without breaking it. RFC 2045 6.7 has no longer line.
_overlong = re.compile(rb"(?m)^([^\r\n]{74})(=(?:20|09))(?=\r$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Text, encoded.

    Attributes:
        content: with CRLF line ends, the last line ended.
        charset: us-ascii or utf-8.
        encoding: 7bit, 8bit or quoted-printable.
    """

    content: bytes
    charset: str
    encoding: str


def text_body(text: str, *, eight_bit: bool) -> Text:
    """Encode text: as it is if its lines are short, else quoted-printable; mox does so.

    Args:
        text: with line ends of any system, the last line ended or not.
        eight_bit: octets above 127 may stand as they are.
    """
    content = to_crlf(text.encode())
    if not content.endswith(b"\r\n"):
        content += b"\r\n"
    is_ascii = content.isascii()
    charset = "us-ascii" if is_ascii else "utf-8"
    if (is_ascii or eight_bit) and max(map(len, content.split(b"\r\n"))) <= SHORT_LINE and not _unclean(content):
        return Text(content=content, charset=charset, encoding="7bit" if is_ascii else "8bit")
    encoded = b2a_qp(content, quotetabs=False, istext=True)
    if b" \r\n" in content or b"\t\r\n" in content:
        encoded = _overlong.sub(rb"\1=\r\n\2", encoded)
    return Text(content=encoded, charset=charset, encoding="quoted-printable")


@dataclass(frozen=True, slots=True)
class FileBody:
    """The content of a file, to be encoded when it is written.

    Attributes:
        source: where it is from.
        path: of the draft, for errors.
        start: where in an open file it begins.
        length: octets, not encoded.
        as_it_is: it is not encoded in base64.
    """

    source: bytes | Path | IO[bytes]
    path: str
    start: int
    length: int
    as_it_is: bool

    @property
    def size(self) -> int:
        """Octets, encoded."""
        if self.as_it_is:
            return self.length
        characters = (self.length + 2) // 3 * 4
        return characters + (characters + 75) // 76 * 2

    def chunks(self) -> Iterator[bytes]:
        """Yield it, encoded.

        Raises:
            InvalidDraft: the file cannot be read any more, or has another size than when the message was composed.
        """
        return self.raw_chunks() if self.as_it_is else map(base64_lines, self.raw_chunks())

    def raw_chunks(self) -> Iterator[bytes]:
        """Yield it in pieces of `CHUNK` octets, but for the last."""
        left = self.length
        if isinstance(self.source, bytes):
            for at in range(0, left, CHUNK):
                yield self.source[at : at + CHUNK]
            return
        with reading(self.source, self.path, self.start) as file:
            while left > 0:
                chunk = _read(file, min(CHUNK, left), self.path)
                left -= len(chunk)
                yield chunk
            if _read_some(file, 1, self.path):
                raise InvalidDraft("the file has become larger since the message was composed", self.path)


Piece: TypeAlias = bytes | FileBody


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A file's body and what its part's header says of it; no type for no Content-Type field."""

    media_type: MediaType | None
    encoding: str
    piece: Piece


def file_body(file: File, path: str, *, eight_bit: bool) -> Body:
    """Find out a file's size and type, and encode it if it is small.

    Args:
        file: to be sent.
        path: which of the draft it is, as `attachments[0]`.
        eight_bit: octets above 127 may stand as they are.

    Raises:
        InvalidDraft: it cannot be read; or is a message that is not to be encoded, and needs to.
    """
    source, start, length = _measured(file, f"{path}.data")
    content = FileBody(source, f"{path}.data", start, length, as_it_is=False)
    media_type = file.media_type
    if file.content_type is None:
        found = detect_content_type(file.file_name, _head(content))
        media_type = parse_media_type(found, "") if found else UNKNOWN
    if media_type is not None and media_type.name.startswith("message/"):
        return _message_body(content, media_type, path, eight_bit=eight_bit)
    if isinstance(source, bytes) and length <= IN_MEMORY:
        return Body(media_type=media_type, encoding="base64", piece=base64_lines(source))
    return Body(media_type=media_type, encoding="base64", piece=content)


def base64_lines(data: bytes) -> bytes:
    """Return base64 in lines of 76 characters, each ended; `data` is all, or as many octets as make whole lines."""
    out = io.BytesIO()
    with Base64Writer(out) as writer:
        writer.write(data)
    return out.getvalue()


def _message_body(content: FileBody, media_type: MediaType, path: str, *, eight_bit: bool) -> Body:
    """Return a message as it is: it is not to be encoded (RFC 2046 5.2.1), save as message/global (RFC 6532 3.5)."""
    source = content.source
    if isinstance(source, bytes):
        source = to_crlf(source)
        content = FileBody(source, content.path, 0, len(source), as_it_is=True)
    encoding = _plain_encoding(content)
    if encoding == "7bit" or (encoding == "8bit" and eight_bit):
        piece = source if isinstance(source, bytes) else replace(content, as_it_is=True)
        return Body(media_type=media_type, encoding=encoding, piece=piece)
    if media_type.name not in MESSAGE_TYPES:
        what = "this type is not encoded, and its content needs to be: line ends, long lines, NULs, octets above 127"
        raise InvalidDraft(what, f"{path}.content_type", value=media_type.name)
    return Body(media_type=GLOBAL, encoding="base64", piece=replace(content, as_it_is=False))


def _plain_encoding(content: FileBody) -> str:
    """Return 7bit or 8bit, as which it can be sent as it is; empty if it cannot."""
    check, rest = LineCheck(), b""
    try:
        for chunk in content.raw_chunks():
            check.feed(chunk)
            *lines, rest = (rest + chunk).split(b"\r\n")
            if len(rest) > LONG_LINE + 1 or max(map(len, lines), default=0) > LONG_LINE or b"\0" in chunk:
                return ""
        eight_bit = check.finish().eight_bit
    except InvalidMessage:
        return ""
    if len(rest) > LONG_LINE:
        return ""
    return "8bit" if eight_bit else "7bit"


def _measured(file: File, where: str) -> tuple[bytes | Path | IO[bytes], int, int]:
    data = file.data
    if isinstance(data, bytes | bytearray | memoryview):
        content = bytes(data)
        return content, 0, len(content)
    try:
        if isinstance(data, Path):
            return data, 0, data.stat().st_size
        start = data.tell()
        end = data.seek(0, os.SEEK_END)
        data.seek(start)
    except (OSError, ValueError, AttributeError) as error:
        raise InvalidDraft("neither octets, nor a path or an open file that can be read", where) from error
    return data, start, end - start


def _head(content: FileBody) -> bytes:
    if isinstance(content.source, bytes):
        return content.source[:SNIFFED]
    with reading(content.source, content.path, content.start) as file:
        return _read(file, min(SNIFFED, content.length), content.path) if content.length else b""


@contextmanager
def reading(source: Path | IO[bytes], where: str, start: int) -> Iterator[IO[bytes]]:
    """Open a path, or go to where an open file's content begins."""
    if isinstance(source, Path):
        try:
            opened = source.open("rb")
        except OSError as error:
            raise InvalidDraft("the file cannot be read", where) from error
        with opened:
            yield opened
        return
    try:
        source.seek(start)
    except (OSError, ValueError) as error:  # it was closed
        raise InvalidDraft("the file cannot be read", where) from error
    yield source


def _read(file: IO[bytes], size: int, where: str) -> bytes:
    """Read exactly `size` octets."""
    pieces: list[bytes] = []
    left = size
    while left > 0:
        piece = _read_some(file, left, where)
        if not piece:
            raise InvalidDraft("the file has become smaller since the message was composed", where)
        pieces.append(piece)
        left -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _read_some(file: IO[bytes], size: int, where: str) -> bytes:
    try:
        piece = file.read(size)
    except (OSError, ValueError) as error:
        raise InvalidDraft("the file cannot be read", where) from error
    if not isinstance(piece, bytes):
        raise InvalidDraft("the file is open as text", where)
    return piece
