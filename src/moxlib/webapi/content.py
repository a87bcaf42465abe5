"""What is too large for JSON: files that are uploaded with a message, and messages and parts that are streamed."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from os import PathLike
from typing import BinaryIO, Final

from moxlib.errors import InputError, LimitExceeded

__all__ = ["NO_UPLOADS", "ByteStream", "Upload", "Uploads"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that goes with a message, streamed from where it is.

    Raises:
        InputError: a header's value has control characters.
    """

    content: bytes | PathLike[str] | BinaryIO
    """The octets; a path, which is opened when it is sent; or an open binary file, which is read from its beginning, in
    threads, and not closed."""
    name: str = ""
    """What it is called when it is saved; a path's own is not taken by itself."""
    content_type: str = ""
    """Such as `application/pdf`; "" has it found out from the data."""
    content_id: str = ""
    """In `<>`: what HTML shows it by, as `cid:` and the id without them."""

    def __post_init__(self) -> None:
        """Refuse what cannot stand in a header of the form."""
        for name in ("name", "content_type", "content_id"):
            if any(character < " " or character == "\x7f" for character in getattr(self, name)):
                raise InputError(f"Upload.{name} must not have control characters")


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploads:
    """The files that are uploaded with a message, behind those in the request."""

    alternative: tuple[Upload, ...] = ()
    """The same content in other forms, such as a calendar's event."""
    inline: tuple[Upload, ...] = ()
    """What the HTML shows, such as pictures."""
    attached: tuple[Upload, ...] = ()

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.alternative or self.inline or self.attached)


NO_UPLOADS: Final = Uploads()


class ByteStream:
    """A message or a part of one, chunk by chunk: iterate over it once, or `read()` it whole.

    Args:
        chunks: its octets.
        content_type: what they are, for HTTP.
        size: how many, if that is known.
    """

    def __init__(self, chunks: AsyncIterator[bytes], *, content_type: str, size: int | None = None) -> None:
        self._chunks = chunks
        self.content_type = content_type
        """As the server says; "" where it does not."""
        self.size = size
        """In octets; None where it is not known before the end."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the chunks, none of them empty."""
        return self._chunks

    async def read(self, limit: int) -> bytes:
        """Return all that is left.

        Raises:
            LimitExceeded: that is more than `limit` octets; no more is kept.
            CallError: from a server, the rest did not come.
        """
        octets = bytearray()
        async for chunk in self._chunks:
            octets += chunk
            if len(octets) > limit:
                raise LimitExceeded(limit, "the content")
        return bytes(octets)
