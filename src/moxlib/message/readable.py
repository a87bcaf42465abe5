"""What of a message is there to be read, and a description of all of it: what webhooks and the webapi tell."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from moxlib.message.part import Part
from moxlib.message.words import printable

__all__ = ["MAX_READABLE", "ReadableText", "Structure", "is_dsn", "is_report", "readable", "structure"]

MAX_READABLE: Final = 1024 * 1024  # octets, as mox: texts that people write are far below it
_STATUS_TYPES: Final = frozenset(("message/delivery-status", "message/global-delivery-status"))  # RFC 3464, 6533
_NO_PARTS: Final = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadableText:
    """The text of a message.

    Attributes:
        text: of its plain text; empty if it has none. Lines end in LF.
        html: of its HTML, likewise. Not made safe to show.
        found: whether there was either, be it empty.
    """

    text: str = ""
    html: str = ""
    found: bool = False


def readable(part: Part, max_size: int = MAX_READABLE) -> ReadableText:
    """Return what a person reads first in a message.

    That is the part itself if it is plain text or HTML; else the first such child; of a multipart/alternative the last
    plain text and the last HTML; else what is readable in the first child that has something. Attachments do not count,
    nor embedded messages, save that a message which is nothing but another is read as that.

    Args:
        part: the root, or any other.
        max_size: octets of UTF-8, with lines ended by CRLF, that text and HTML are each cut to, at a character. Each is
            in memory several times while it is read.
    """
    while (embedded := part.message) is not None:
        part = embedded
    found = _found(part, iter(range(part.limits.max_parts)))
    return ReadableText(
        text=_text(found["text/plain"], max_size) if "text/plain" in found else "",
        html=_text(found["text/html"], max_size) if "text/html" in found else "",
        found=bool(found),
    )


def _found(part: Part, budget: Iterator[int]) -> Mapping[str, Part]:
    """Return the parts to read, by type. Each part that is looked at takes one from `budget`."""
    if _is_text(part):
        return {part.media_type: part}
    alternative = part.media_type == "multipart/alternative"
    found: dict[str, Part] = {}
    looked_at = []
    for child, _ in zip(part.parts, budget, strict=False):
        looked_at.append(child)
        if _is_text(child) and child.disposition != "attachment":
            found[child.media_type] = child
            if not alternative:
                return found
    if found:
        return found
    return next(filter(None, (_found(child, budget) for child in looked_at if child.is_multipart)), {})


def _is_text(part: Part) -> bool:
    return part.media_type in ("text/plain", "text/html")


def _text(part: Part, max_size: int) -> str:
    text = part.text(max_size + 1).replace("\0", "\N{REPLACEMENT CHARACTER}").replace("\r\n", "\n")
    octets = text.encode()  # one more than may be: else a CR at the end could be half of a line end
    if len(octets) + octets.count(b"\n") <= max_size:
        return text
    octets = octets.replace(b"\n", b"\r\n")[:max_size].removesuffix(b"\r")
    return octets.decode("utf-8", "ignore").replace("\r\n", "\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """What a message or part is, and what is in it.

    Attributes:
        content_type: in lower case; a multipart that has no parts is application/octet-stream.
        parameters: of the content type, without controls.
        content_id: with its angle brackets; empty if there is none.
        disposition: in lower case; empty if there is none.
        filename: as `Part.filename`.
        decoded_size: as `Part.decoded_size`; 0 for what has parts.
        parts: of a multipart. Embedded messages are not taken apart, save in a message that is nothing but one.
    """

    content_type: str
    parameters: Mapping[str, str]
    content_id: str
    disposition: str
    filename: str
    decoded_size: int
    parts: tuple["Structure", ...]


def structure(part: Part) -> Structure:
    """Return the structure of a message; it takes reading and decoding each body once, in bounded memory."""
    left = part.limits.max_parts

    def made(part: Part, embedded: Part | None) -> Structure:
        nonlocal left
        left -= 1
        parts: list[Structure] = []
        for child in part.parts if embedded is None else (embedded,):
            if left <= 0:
                break
            parts.append(made(child, None))
        return Structure(
            content_type=_NO_PARTS if part.is_multipart and not parts else part.media_type,
            parameters={name: printable(value) for name, value in part.parameters.items()},
            content_id=printable(part.content_id),
            disposition=part.disposition,
            filename=part.filename,
            decoded_size=0 if part.is_multipart and parts else part.decoded_size,
            parts=tuple(parts),
        )

    return made(part, part.message)


def is_report(part: Part) -> bool:
    """Return whether a message says that it is a report: of deliveries, of reading, of abuse (RFC 6522)."""
    return part.media_type == "multipart/report"


def is_dsn(part: Part) -> bool:
    """Return whether a message has the form of a delivery status notification (RFC 3464 2)."""
    return is_report(part) and any(child.media_type in _STATUS_TYPES for child in part.parts[1:2])
