"""A message read lazily, as a tree of offsets (RFC 5322, 2045-2049, 2183, 2231, 6532).

A `Part` is a range of octets. Its header is read when something of it is asked for; a multipart is searched for its
next delimiter when a child is asked for; a body is read, and decoded, as it is streamed. Nothing that is wrong with a
message is an error: it is read as far as it can be.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from moxlib.errors import LimitExceeded
from moxlib.message.charset import text_of
from moxlib.message.fields import Fields, parse_fields, unfolded
from moxlib.message.heading import HeaderEnvelope, read_envelope, read_references
from moxlib.message.limits import Limits
from moxlib.message.parameters import first_token, parse_parameters
from moxlib.message.parts import Parts
from moxlib.message.source import Source, SupportsReadAt, chunks_of, in_memory, open_source
from moxlib.message.transfer import decode_chunks
from moxlib.message.words import decode_words, printable

__all__ = ["Part", "read_message"]

DEFAULT_LIMITS: Final = Limits()
HEAD: Final = 8 * 1024  # octets in which a header is looked for first; few have more
MAX_DECODINGS: Final = 3  # one within the other: each is in memory, and RFC 2046 5.2.1 has none
TEXT_PLAIN: Final = "text/plain"
MESSAGE_TYPES: Final = frozenset(("message/rfc822", "message/global", "message/news"))  # RFC 2046 5.2.1, 6532 3.7, 5537
_UNKNOWN_TYPE: Final = "application/octet-stream"


class Part:
    """A message, or a part of one. Made by `read_message`, and by other parts.

    Not to be used by several threads at once. Offsets count from the beginning of the source; in a message that was
    embedded with a transfer encoding, from the beginning of the decoded one.

    Attributes:
        header_start: the offset of the header.
        end: the offset after the body. The line end before a delimiter belongs to the delimiter (RFC 2046 5.1.1).
        depth: how many parts it is within.
        limits: how far it is read.
    """

    __slots__ = (
        "_body_start",
        "_decoded_size",
        "_default_type",
        "_disposition",
        "_fields",
        "_message",
        "_parts",
        "_source",
        "_type",
        "depth",
        "end",
        "header_start",
        "limits",
    )

    def __init__(
        self, source: Source, start: int, end: int, *, limits: Limits, depth: int = 0, default_type: str = TEXT_PLAIN
    ) -> None:
        self._source = source
        self._default_type = default_type
        self._fields: Fields | None = None
        self._body_start = -1
        self._type: tuple[str, dict[str, str]] | None = None
        self._disposition: tuple[str, dict[str, str]] | None = None
        self._parts: Parts | None = None
        self._message: Part | None = None
        self._decoded_size = -1
        self.header_start: int = start
        self.end: int = end
        self.depth: int = depth
        self.limits: Limits = limits

    def __repr__(self) -> str:
        """Show the offsets, and nothing that would have to be read."""
        return f"<Part {self.header_start}-{self.end}>"

    # Header

    @property
    def header(self) -> bytes:
        """The header block as it is, with its blank line."""
        return self._source.read(self.header_start, self.body_start)

    @property
    def body_start(self) -> int:
        """The offset of the body, after the blank line; `end` if there is no body."""
        if self._fields is None:
            self._read_header()
        return self._body_start

    def values(self, name: str) -> tuple[str, ...]:
        """Return the values of the fields of a name (in any case), in order, unfolded, octets above 127 decoded.

        Encoded words are not decoded: see `envelope`, and `decode_words`.
        """
        found = self._values().get(name.lower().encode("utf-8", "replace"))
        return tuple(map(unfolded, found)) if found else ()

    def get(self, name: str) -> str:
        """Return the first value of a name, as `values` does; empty if there is none."""
        found = self._values().get(name.lower().encode("utf-8", "replace"))
        return unfolded(found[0]) if found else ""

    def _values(self) -> Fields:
        return self._read_header() if self._fields is None else self._fields

    def _read_header(self) -> Fields:
        """Find where the header ends, and its fields."""
        head, blank = self._head()
        if blank is None and len(head) == self.limits.max_header and self.header_start + len(head) < self.end:
            head = head[: head.rfind(b"\n") + 1] or head
        block, rest = (head, len(head)) if blank is None else (head[: blank[0]], blank[1])
        fields, length = parse_fields(block)
        # Lines before the blank line that are no fields, and that none follows, are the body's.
        self._body_start = self.header_start + (rest if length == len(block) else length)
        self._fields = fields
        return fields

    def _head(self) -> tuple[bytes, tuple[int, int] | None]:
        """Return the octets that the header is in, and where in them its blank line is, if there is one."""
        start, size = self.header_start, HEAD
        while True:
            size = min(size, self.limits.max_header, self.end - start)
            head = self._source.read(start, start + size)
            if head.startswith((b"\r\n", b"\n")):
                return head, (0, head.index(b"\n") + 1)
            blank = head.find(b"\n\r\n")
            other = head.find(b"\n\n", 0, blank if blank >= 0 else size)
            if other >= 0:
                return head, (other + 1, other + 2)
            if blank >= 0:
                return head, (blank + 1, blank + 3)
            if len(head) < size or size in (self.limits.max_header, self.end - start):
                return head, None
            size *= 8

    # What the header says of the body

    @property
    def media_type(self) -> str:
        """The type and subtype in lower case.

        Without Content-Type it is text/plain, and message/rfc822 in a multipart/digest (RFC 2045 5.2, 2046 5.1.5). One
        that is no type is application/octet-stream.
        """
        return (self._type or self._content_type())[0]

    @property
    def parameters(self) -> Mapping[str, str]:
        """The parameters of Content-Type; names in lower case, sections joined and charsets decoded (RFC 2231)."""
        return (self._type or self._content_type())[1]

    def _content_type(self) -> tuple[str, dict[str, str]]:
        value = self.get("content-type")
        if value:
            media_type, parameters = parse_parameters(value)
            self._type = (media_type if "/" in media_type else _UNKNOWN_TYPE, parameters)
        else:
            self._type = (self._default_type, {})
        return self._type

    @property
    def transfer_encoding(self) -> str:
        """The value of Content-Transfer-Encoding in lower case, without comments; 7bit if there is none."""
        return first_token(self.get("content-transfer-encoding").strip('"')) or "7bit"

    @property
    def disposition(self) -> str:
        """The value of Content-Disposition in lower case (inline, attachment ...); empty if there is none."""
        return self._content_disposition()[0]

    @property
    def disposition_parameters(self) -> Mapping[str, str]:
        """The parameters of Content-Disposition, as `parameters`."""
        return self._content_disposition()[1]

    def _content_disposition(self) -> tuple[str, dict[str, str]]:
        if self._disposition is None:
            self._disposition = parse_parameters(self.get("content-disposition"))
        return self._disposition

    @property
    def filename(self) -> str:
        r"""The name to save the body under, as the sender gave it; empty if there is none.

        From `filename` of Content-Disposition, else `name` of Content-Type; encoded words are decoded, though they
        have no place there. Never with a directory (up to the last "/") or controls. A "\" is kept: on Windows, cut
        there too.
        """
        name = self.disposition_parameters.get("filename") or self.parameters.get("name", "")
        if name.startswith("=?") or name.endswith("?="):
            name = decode_words(name)
        name = printable(name.rpartition("/")[2])
        return "" if name in (".", "..") else name

    @property
    def content_id(self) -> str:
        """The value of Content-ID, with its angle brackets; empty if there is none."""
        return self.get("content-id")

    @property
    def report_type(self) -> str:
        """The report-type of a multipart/report (RFC 6522) in lower case: delivery-status, feedback-report ...

        Empty if it is no report, or does not say of what.
        """
        if self.media_type != "multipart/report":
            return ""
        return self.parameters.get("report-type", "").strip().lower()

    @property
    def envelope(self) -> HeaderEnvelope:
        """Who wrote to whom, when, and about what. Worked out anew each time."""
        return read_envelope(self.values)

    @property
    def references(self) -> tuple[str, ...]:
        """The message identifiers in the References fields, each in angle brackets, in order."""
        return read_references(self.values("references"))

    # Tree

    @property
    def is_multipart(self) -> bool:
        """Whether its type is a multipart; it may have no parts all the same."""
        return self.media_type.startswith("multipart/")

    @property
    def parts(self) -> "Sequence[Part]":
        """The children of a multipart; none for another type, without a boundary, or beyond the limit of depth.

        A lazy sequence: the multipart is searched up to the end of the child that is asked for, and to its own end for
        the length, an index from the end, or a slice.
        """
        if not self.is_multipart or self.depth >= self.limits.max_depth:
            return ()
        if self._parts is None:
            boundary = self.parameters.get("boundary", "").rstrip()
            self._parts = Parts(
                self._source,
                self.body_start,
                self.end,
                boundary=boundary.encode("utf-8", "replace"),
                make=self._child,
                max_parts=self.limits.max_parts,
            )
        return self._parts

    @property
    def message(self) -> "Part | None":
        """The message in a message/rfc822, message/global or message/news; None for another type, or too deep.

        Too deep is also what has a transfer encoding in a message that came out of three of them already.
        """
        if self._message is None and self.media_type in MESSAGE_TYPES and self.depth < self.limits.max_depth:
            source, start, end = self._source, self.body_start, self.end
            if self.transfer_encoding in ("base64", "quoted-printable"):  # allowed for message/global (RFC 6532 3.5)
                if source.decodings == MAX_DECODINGS:
                    return None
                decoded = b"".join(_up_to(self.limits.max_message, self.chunks()))
                source, start, end = in_memory(decoded, source.decodings + 1), 0, len(decoded)
            self._message = Part(source, start, end, limits=self.limits, depth=self.depth + 1)
        return self._message

    def walk(self, *, messages: bool = False) -> "Iterator[Part]":
        """Yield this part and those in it, each before its children, `limits.max_parts` at most.

        Args:
            messages: also go into embedded messages.
        """
        stack: list[Iterator[Part]] = [iter((self,))]
        left = self.limits.max_parts
        while stack and left > 0:
            part = next(stack[-1], None)
            if part is None:
                stack.pop()
                continue
            left -= 1
            yield part
            if part.is_multipart:
                stack.append(iter(part.parts))
            elif messages and (embedded := part.message) is not None:
                stack.append(iter((embedded,)))

    def _child(self, start: int, end: int) -> "Part":
        default_type = "message/rfc822" if self.media_type == "multipart/digest" else TEXT_PLAIN
        return Part(self._source, start, end, limits=self.limits, depth=self.depth + 1, default_type=default_type)

    # Body

    def raw_body(self, max_size: int | None = None) -> bytes:
        """Return the body as it is, in its transfer encoding.

        Args:
            max_size: octets that it may have; None for as many as it has.

        Raises:
            LimitExceeded: it has more.
        """
        if max_size is not None and self.end - self.body_start > max_size:
            raise LimitExceeded(max_size, "a raw body")
        return self._source.read(self.body_start, self.end)

    def raw_chunks(self) -> Iterator[bytes]:
        """Yield the body as it is, 64 KiB at most at a time."""
        return chunks_of(self._source, self.body_start, self.end)

    def chunks(self) -> Iterator[bytes]:
        """Yield the body without its transfer encoding, up to about 64 KiB at a time.

        Broken base64 ends at its padding, or is decoded as far as it goes; what is no escape in quoted-printable stays.
        That of a multipart is as it is (RFC 2045 6.4).
        """
        return decode_chunks("" if self.is_multipart else self.transfer_encoding, self.raw_chunks())

    def body(self, max_size: int) -> bytes:
        """Return the body without its transfer encoding, as `chunks` yields it.

        Raises:
            LimitExceeded: it has more than `max_size` octets.
        """
        pieces = list(_up_to(max_size + 1, self.chunks()))
        if sum(map(len, pieces)) > max_size:
            raise LimitExceeded(max_size, "a body")
        return b"".join(pieces)

    def text(self, max_size: int) -> str:
        """Return the body as text, cut, at a character, to `max_size` octets of UTF-8. Line ends are as they are.

        By the charset parameter; by UTF-8 without one, or if it is unknown. What is not of the charset is U+FFFD.
        """
        return text_of(self.chunks(), self.parameters.get("charset", ""), max_size)

    @property
    def decoded_size(self) -> int:
        """Octets of the body without its transfer encoding; in text, line ends of LF alone are counted as CRLF.

        It takes reading the body once. That of a multipart is as it is.
        """
        if self._decoded_size < 0:
            is_text = self.media_type.startswith("text/")
            total, previous = 0, b""
            for chunk in self.chunks():
                total += len(chunk)
                if is_text:
                    total += chunk.count(b"\n") - chunk.count(b"\r\n")
                    total -= chunk.startswith(b"\n") and previous.endswith(b"\r")
                    previous = chunk[-1:]
            self._decoded_size = total
        return self._decoded_size


def _up_to(size: int, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the first `size` octets of `chunks`, and ask for no chunk beyond them."""
    while size > 0 and (chunk := next(chunks, b"")):
        yield chunk[:size]
        size -= len(chunk)


def read_message(
    source: bytes | bytearray | memoryview | SupportsReadAt,
    *,
    size: int | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Part:
    """Return the root of a message; nothing is read of it yet, save the size of a file.

    Args:
        source: the message; or what it is in: an object with `read_at(size, offset)`, an open file, or a file
            descriptor, which must stay open as long as the tree is used, and is not closed. Reading it blocks.
        size: octets of the message, from the beginning of `source`; by default all that there are.
        limits: how far to read.

    Raises:
        InputError: `size` is negative.
        OSError: the size of the file cannot be found out. Any use of a `Part` may raise what reading the file does.
    """
    opened = open_source(source, size)
    return Part(opened, 0, opened.size, limits=limits)
