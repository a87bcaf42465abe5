"""What a report says outside its machine-readable part: its header, its text, and what it returns.

The returned message is not read beyond its header.
"""

import re
from dataclasses import dataclass
from html import unescape
from typing import Final

from moxlib.dsn.types import MAX_TEXT, MAX_VALUE, Returned, is_message_id, trusted
from moxlib.message import Limits, Part, decode_words, read_message, split_addresses
from moxlib.message import readable as read_text
from moxlib.message.words import printable
from moxlib.smtp import InvalidAddress, parse_address, parse_path

__all__ = ["HEADER_TYPES", "LIMITS", "MAX_RETURNED", "MESSAGE_TYPES", "Heading", "opened", "readable", "returned_in"]

MAX_RETURNED: Final = 1024 * 1024  # octets of a returned message that are kept; of a larger one it is the header
MAX_REFERENCES: Final = 100  # kept; the last ones, which are those that answer

MESSAGE_TYPES: Final = frozenset(("message/rfc822", "message/global"))
HEADER_TYPES: Final = frozenset(("text/rfc822-headers", "message/global-headers", "text/rfc822-header"))

# Few parts, not deep: Exchange and Gmail have the most, a multipart/alternative within a multipart/related.
LIMITS: Final = Limits(max_header=256 * 1024, max_depth=10, max_parts=50)

# What most servers write, for which `split_addresses` takes several times as long.
_SPEC: Final = r'[^\s"(),:;<>@\[\]\\]++@[^\s"(),:;<>@\[\]\\]++'
_usual = re.compile(rf'(?:"[^"\\]*+"|[^"(),:;<>@\[\]\\]*+)\s*+<({_SPEC})>|({_SPEC})(?:\s*+\([^()\\]*+\))?').fullmatch
_group = re.compile(r"((?>(?:=\?[^?\s]++\?[BbQq]\?[^?\s]*+\?=\s*+)+)):\s*+;?\s*+").fullmatch
# What is not closed goes to the end, or each further one would be searched to there, too.
_hidden = re.compile(r"<(style|script|head)\b.*?(?:</\1\s*+>|\Z)|<!--.*?(?:-->|\Z)", re.IGNORECASE | re.DOTALL)
_line_tag = re.compile(r"<(?:br|/p|/div|/tr|/h[1-6]|/li|/td)\b[^<>]*+>", re.IGNORECASE)
_tag = re.compile(r"<[^<>]*+>")
_blanks = re.compile(r"[ \t\xa0]+")
_line_end = re.compile(r"\r++\n")


def opened(source: bytes | Part) -> Part:
    """Return the message that a source is."""
    return source if isinstance(source, Part) else read_message(source, limits=LIMITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """The header of a report; the attributes are those of `DSN`."""

    subject: str
    from_address: str
    to_address: str
    message_id: str
    references: tuple[str, ...]

    @classmethod
    def of(cls, message: Part) -> "Heading":
        """Read it; what of it is malformed counts as not there."""
        message_id, references = message.get("message-id"), message.get("references")
        return trusted(
            cls,
            subject=printable(decode_words(message.get("subject")))[:MAX_VALUE],
            from_address=_one_address(message.get("from")),
            to_address=_one_address(message.get("to")),
            message_id=message_id if is_message_id(message_id) else "",
            references=tuple(filter(is_message_id, references.split()[-MAX_REFERENCES:])) if references else (),
        )


def _one_address(value: str) -> str:
    """Return the address in a field that has one; empty if it has none, or several."""
    if not value:
        return ""
    usual = _usual(value)
    if usual is not None:
        specs = [usual[1] or usual[2]]
    elif (group := _group(value)) is not None:  # RFC 6857 3.1.8: one that 7 bits cannot say
        specs = [decode_words(group[1].rstrip())]
    else:
        specs = split_addresses(value)
    if len(specs) != 1:
        return ""
    try:
        return str(parse_path(specs[0]) if "[" in specs[0] else parse_address(specs[0]))
    except InvalidAddress:
        return ""


def readable(part: Part, max_size: int = MAX_TEXT) -> str:
    """Return the first plain text in a part, else what is to be read of its HTML; empty if it has neither."""
    for inner in part.walk():
        if inner.media_type == "text/plain" and inner.disposition != "attachment":
            return _with_newlines(inner.text(max_size))
    return _without_tags(read_text(part, max_size).html)


def _with_newlines(text: str) -> str:
    return _line_end.sub("\n", text) if "\r" in text else text


def _without_tags(html: str) -> str:
    """Return what is to be read of HTML, roughly: a line for each block, without tags."""
    text = _hidden.sub("", html).replace("\n", " ")
    text = unescape(_tag.sub("", _line_tag.sub("\n", text)))
    return "\n".join(_blanks.sub(" ", line).strip() for line in text.split("\n"))


def returned_in(part: Part) -> Returned | None:
    """Return the message or header that a part is; None if it is neither, by its type."""
    media_type = part.media_type
    if media_type in MESSAGE_TYPES:
        if part.end - part.body_start > MAX_RETURNED:
            inner = part.message
            return None if inner is None else Returned(content=inner.header, whole=False)
        return Returned(content=_content(part), whole=True)
    if media_type in HEADER_TYPES:
        return Returned(content=_content(part), whole=False)
    return None


def _content(part: Part) -> bytes:
    if part.transfer_encoding in {"base64", "quoted-printable"}:
        return next(part.chunks(), b"") if part.end - part.body_start > MAX_RETURNED else b"".join(part.chunks())
    return part.raw_body()[:MAX_RETURNED]
