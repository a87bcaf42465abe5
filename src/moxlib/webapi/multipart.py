"""`MultipartForm`: Starlette's parser of forms with files, told to read text as the octets it is, and to its end.

It needs the extra `webapi` when it is imported.
"""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers
from starlette.formparsers import MultiPartException, MultiPartParser

__all__ = ["MultipartForm", "as_text"]

IN_MEMORY: Final = 64 * 1024  # octets of each file, and there may be a hundred; what is larger is on disk

_boundary = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]").fullmatch  # RFC 2046 5.1.1


class MultipartForm(MultiPartParser):
    """Reads a form once. Texts are octets, each a character of Latin-1; `as_text()` has them in UTF-8.

    A form's charset counts for nothing (RFC 7578 5.1.2): Starlette would read text in any encoding that Python has.

    Args:
        content_type: the header's value.
        stream: the body.
        max_files: how many files there may be.
        max_fields: how many others.
        max_text: octets of all those others.

    Raises:
        MultiPartException: there is no boundary, or none that can be.
    """

    spool_max_size = IN_MEMORY

    def __init__(
        self, content_type: str, stream: AsyncGenerator[bytes], *, max_files: int, max_fields: int, max_text: int
    ) -> None:
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if not _boundary(boundary):
            raise MultiPartException("Missing boundary in multipart.")
        type_ = b'multipart/form-data; charset=latin-1; boundary="%s"' % boundary
        super().__init__(
            Headers(raw=[(b"content-type", type_)]),
            self._to_its_end(stream),
            max_files=max_files,
            max_fields=max_fields,
            max_part_size=max_text,
        )
        self._ended = False

    def on_part_end(self) -> None:
        """Leave the next text what room there is."""
        super().on_part_end()
        _, value = self.items[-1]
        if isinstance(value, str):
            self.max_part_size -= len(value)

    def on_end(self) -> None:
        """Note that the last boundary came."""
        self._ended = True

    async def parse(self) -> FormData:
        """Return the form, with open files.

        Raises:
            MultiPartException: it cannot be read, has too much of something, or has not come to its end.
        """
        async with aclosing(self.stream):
            return await super().parse()

    async def _to_its_end(self, stream: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        """Yield all of the body; that it was cut off is found here, where files that are open get closed for it."""
        async for chunk in stream:
            yield chunk
        if not self._ended:
            raise MultiPartException("The last boundary is missing.")


def as_text(octets: str) -> str:
    """Return the text that octets are in UTF-8."""
    return octets.encode("latin-1").decode("utf-8", "replace")
