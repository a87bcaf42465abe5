"""The header block of a message: checked, and what a queue must know of it, in one pass of regular expressions.

The full reader of messages is another matter; this one is on the path of every submission, so what costs more than a
look (addresses, encoded words) is worked out when asked for.
"""

import re
from dataclasses import dataclass, field
from typing import Final, NoReturn

from moxlib.message.addresses import split_addresses
from moxlib.message.envelope import AddressFields, Envelope
from moxlib.message.errors import InvalidMessage
from moxlib.message.lines import find_bare
from moxlib.message.words import decode_words, printable

__all__ = ["MAX_HEADER", "MAX_SUBJECT", "HeaderFacts", "check_header_value", "inspect_header"]

MAX_HEADER: Final = 1024 * 1024  # octets; what Exim takes. Postfix stops at 100 KiB, so no sane message is refused.
MAX_SUBJECT: Final = 998  # characters: RFC 5322 2.1.1 has no longer line, and the subject is kept for people to read

# RFC 5322 2.2, and 4.5 for the blanks before the colon. Possessive: a refusal costs one pass.
# Groups repeat inside atomic ones, (?>(?:...)*): Python before 3.11.5 matches (?:...)*+ wrongly (CPython gh-106052).
_FIELD = rb"[!-9;-~]++[ \t]*+:[^\r\n\0]*+(?>(?:\r\n[ \t][^\r\n\0]*+)*)\r\n"
_block = re.compile(rb"(?>(?:" + _FIELD + rb")*)").match
_known_field = re.compile(
    rb"\r\n(message-id|date|subject|tls-required|(?:resent-)?(?:from|sender|to|cc|bcc|date))[ \t]*+:"
    rb"([^\r\n]*+(?>(?:\r\n[ \t][^\r\n]*+)*))",
    re.IGNORECASE,
).finditer
_field_start = re.compile(rb"[!-9;-~]++[ \t]*+:").match
_fold = re.compile(r"\r\n[ \t]")
_controls = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_name = re.compile(r"[!-9;-~]+").fullmatch


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderFacts:
    """What `inspect_header` found. Names of fields are matched without case; of repeated ones the first counts.

    Attributes:
        block: the header block itself, with its blank line.
        size: octets of the header block with its blank line: the offset of the body.
        has_blank_line: whether the block ended in one; a message may be a header alone.
        message_id: as it stands in the header, unfolded and stripped; empty if there is none.
        raw_subject: likewise; `subject` is decoded.
        has_date: there is a Date field.
        tls_required_no: there are TLS-Required fields, and all say "no" (RFC 8689 5).
        needs_smtputf8: some octet is above 127, so that the header is in UTF-8 and only SMTPUTF8 can carry it.
        bcc_spans: (start, end) of each Bcc and Resent-Bcc field in the block, with its line end.
        address_fields: names in lower case and raw values of the fields that name senders and recipients.
    """

    block: bytes = field(repr=False)
    size: int
    has_blank_line: bool
    message_id: str
    raw_subject: str
    has_date: bool
    tls_required_no: bool
    needs_smtputf8: bool
    bcc_spans: tuple[tuple[int, int], ...]
    address_fields: tuple[tuple[str, str], ...] = field(repr=False)

    @property
    def has_message_id(self) -> bool:
        """Whether there is a Message-ID field with a value."""
        return self.message_id != ""

    @property
    def subject(self) -> str:
        """The subject with encoded words decoded and controls made spaces, at most 998 characters; empty if none."""
        return printable(decode_words(self.raw_subject))[:MAX_SUBJECT]

    @property
    def from_addresses(self) -> tuple[str, ...]:
        """The addr-specs of From, in order."""
        return self._fields.addresses("from")

    @property
    def sender(self) -> str:
        """The addr-spec of Sender, else the first of From; empty if there is neither."""
        return self._fields.sender("")

    @property
    def recipients(self) -> tuple[str, ...]:
        """The addr-specs of To, Cc and Bcc, in this order, each once."""
        return self._fields.recipients("")

    def envelope(self) -> Envelope:
        """Return sender and recipients as `envelope_of` does, from the Resent- fields if the message was resent.

        Raises:
            InvalidMessage: it was resent more than once, so that these fields cannot be told apart.
        """
        return self._fields.envelope()

    def without_bcc(self) -> bytes:
        """Return the header block without its Bcc and Resent-Bcc fields."""
        kept, position = [], 0
        for start, end in self.bcc_spans:
            kept.append(self.block[position:start])
            position = end
        kept.append(self.block[position:])
        return b"".join(kept)

    @property
    def _fields(self) -> AddressFields:
        return AddressFields([(name, split_addresses(value)) for name, value in self.address_fields])


def inspect_header(head: bytes) -> HeaderFacts:
    """Check the header block at the beginning of a message and say what is in it.

    Args:
        head: the message, or its first octets: the whole header block at least, or more than `MAX_HEADER` octets.

    Raises:
        InvalidMessage: no header at all, a line that is not a header field, a bare CR or LF or a NUL in it, an
            unended last line, or a block over `MAX_HEADER` octets.
    """
    end = 0 if head.startswith(b"\r\n") else head.find(b"\r\n\r\n") + 2
    has_blank_line = end != 1
    if not has_blank_line:
        end = len(head)
    if end > MAX_HEADER:
        raise InvalidMessage(f"a header of more than {MAX_HEADER} octets", offset=MAX_HEADER)
    match = _block(head, 0, end)
    if match is None or match.end() != end:
        _raise_malformed(head, match.end() if match else 0, end)
    if end == 0:
        raise InvalidMessage("no header", 1, 0)
    size = end + 2 if has_blank_line else end
    return _facts(head[:size], size=size, has_blank_line=has_blank_line)


def _facts(block: bytes, *, size: int, has_blank_line: bool) -> HeaderFacts:
    message_id = subject = None
    has_date = False
    tls_required: list[str] = []
    bcc_spans: list[tuple[int, int]] = []
    address_fields: list[tuple[str, str]] = []
    for match in _known_field(b"\r\n" + block):
        name, value = match.group(1, 2)
        name = name.lower()
        if name == b"date":
            has_date = True
        elif name == b"message-id":
            message_id = message_id or _unfolded(value)
        elif name == b"subject":
            subject = _unfolded(value) if subject is None else subject
        elif name == b"tls-required":
            tls_required.append(_unfolded(value).lower())
        else:
            address_fields.append((name.decode("ascii"), _text(value)))
            if name.endswith(b"bcc"):
                bcc_spans.append((match.start(), match.end()))  # in the block: less the CRLF before, plus that after
    return HeaderFacts(
        block=block,
        size=size,
        has_blank_line=has_blank_line,
        message_id=message_id or "",
        raw_subject=subject or "",
        has_date=has_date,
        tls_required_no=bool(tls_required) and all(value == "no" for value in tls_required),
        needs_smtputf8=not block.isascii(),
        bcc_spans=tuple(bcc_spans),
        address_fields=tuple(address_fields),
    )


def _raise_malformed(head: bytes, position: int, end: int) -> NoReturn:
    """Say what is wrong with the field at `position`, which may be on one of its folded lines."""
    first, line = True, head.count(b"\n", 0, position) + 1
    while True:
        newline = head.find(b"\n", position, end)
        stop = end if newline < 0 else newline + 1
        text = head[position:stop]
        if bare := find_bare(text):
            what = "a bare CR" if bare[0] == b"\r" else "a bare LF"
            raise InvalidMessage(what, line, position + bare.start())
        if b"\0" in text:
            raise InvalidMessage("a NUL in the header", line, position + text.index(b"\0"))
        if first and not _field_start(text):
            raise InvalidMessage("a line that is no header field", line, position)
        if newline < 0:
            raise InvalidMessage("a header line without its end", line, position)
        first, line, position = False, line + 1, stop


def _text(value: bytes) -> str:
    """Decode a field's value so that invalid UTF-8 stays recognisable."""
    return value.decode("utf-8", "surrogateescape")


def _unfolded(value: bytes) -> str:
    return _fold.sub(" ", value.decode("utf-8", "replace")).strip(" \t")


def check_header_value(name: str, value: str) -> None:
    """Check a header field that one is about to write, so that it is one field and stays one.

    Raises:
        InvalidMessage: the name is not a field name, or the value has a line end, a NUL or another control but tab.
    """
    if not _name(name):
        raise InvalidMessage("not a header field name")
    if _controls.search(value.replace("\t", " ")):
        raise InvalidMessage("a line end or control character in a header value")
