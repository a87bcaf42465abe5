"""The form that a call posts (RFC 7578): the request as JSON, and the files that are uploaded with it, streamed."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import quote_from_bytes

from moxlib.errors import InputError
from moxlib.webapi.content import Upload, Uploads

__all__ = ["Form", "opened_form", "plain_form"]

MAX_PLAIN: Final = 8 * 1024  # octets of JSON that are sent percent-encoded; more would grow too much by it
CHUNK: Final = 64 * 1024  # octets that a file is read by
URLENCODED: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A part of a form: its header, and its octets or the file that has them."""

    head: bytes
    content: bytes | BinaryIO
    size: int


class Form:
    """What is posted: its type, its size, and its octets, chunk by chunk.

    Args:
        json: the request.
        parts: the files.
        boundary: what stands between them, and in none of them: random.
    """

    def __init__(self, json: bytes, parts: tuple[_Part, ...], *, boundary: str) -> None:
        head = b'Content-Disposition: form-data; name="request"\r\n\r\n'  # with a type, it would be a file to mox
        self._parts = (_Part(head=head, content=json, size=len(json)), *parts)
        self._delimiter = f"--{boundary}\r\n".encode()
        self._end = f"--{boundary}--\r\n".encode()
        self.content_type: str = f"multipart/form-data; boundary={boundary}"
        """For the header."""
        around = len(self._delimiter) + len(b"\r\n")
        self.size: int = sum([around + len(part.head) + part.size for part in self._parts]) + len(self._end)
        """In octets."""

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield its octets.

        Raises:
            OSError: a file cannot be read, or has changed its size since the form was made.
        """
        for part in self._parts:
            yield self._delimiter + part.head
            if isinstance(part.content, bytes):
                yield part.content
            else:
                async for chunk in _read(part.content, part.size):
                    yield chunk
            yield b"\r\n"
        yield self._end


def plain_form(json: bytes) -> bytes | None:
    """Return a form with a request alone, percent-encoded (`URLENCODED`); None if that would be much larger."""
    return b"request=" + quote_from_bytes(json, safe="").encode() if len(json) <= MAX_PLAIN else None


@contextmanager
def opened_form(json: bytes, uploads: Uploads, *, boundary: str) -> Iterator[Form]:
    """Open the files that are given by path, and return the form; close those files in the end.

    Raises:
        InputError: an open file cannot be read from its beginning.
        OSError: a file cannot be opened.
    """
    opened: list[BinaryIO] = []
    try:
        parts = [
            _part(field, upload, opened)
            for field, files in (
                ("alternativefile", uploads.alternative),
                ("inlinefile", uploads.inline),
                ("attachedfile", uploads.attached),
            )
            for upload in files
        ]
        yield Form(json, tuple(parts), boundary=boundary)
    finally:
        for file in opened:
            file.close()


def _part(field: str, upload: Upload, opened: list[BinaryIO]) -> _Part:
    content = upload.content
    head = _head(field, upload)
    if isinstance(content, bytes):
        return _Part(head=head, content=content, size=len(content))
    if isinstance(content, os.PathLike):
        content = Path(content).open("rb")  # noqa: SIM115 - closed by who opened the form
        opened.append(content)
    if not content.seekable():
        raise InputError("an Upload's file has to be one that can be read from its beginning")
    size = content.seek(0, os.SEEK_END)
    content.seek(0)
    return _Part(head=head, content=content, size=size)


def _head(field: str, upload: Upload) -> bytes:
    """Return a part's header; names as browsers write them (HTML, 4.10.21.8), which is what servers read."""
    name = upload.name.replace('"', "%22")
    lines = [f'Content-Disposition: form-data; name="{field}"; filename="{name}"']
    if upload.content_type or not upload.name:  # mox takes what has neither for no file
        lines.append(f"Content-Type: {upload.content_type or 'application/octet-stream'}")
    if upload.content_id:
        lines.append(f"Content-ID: {upload.content_id}")
    return "".join([f"{line}\r\n" for line in (*lines, "")]).encode(errors="replace")


async def _read(file: BinaryIO, size: int) -> AsyncIterator[bytes]:
    while size > 0:
        chunk = await asyncio.to_thread(file.read, min(CHUNK, size))
        if not chunk:
            raise OSError("a file that is uploaded became shorter while it was")
        size -= len(chunk)
        yield chunk
