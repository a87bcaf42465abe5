"""Messages, composed: header, text, HTML and files, as octets or in chunks (RFC 5322, RFC 2045, RFC 2046).

Header fields are in mox's order, and parts are nested as mox nests them.
"""

import io
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, BinaryIO, cast

from moxlib._clock import Clock, SystemClock
from moxlib.dns import InvalidDomain, parse_domain
from moxlib.errors import LimitExceeded
from moxlib.message.assembly import assemble, random_token
from moxlib.message.content import Piece
from moxlib.message.draft import Draft
from moxlib.message.encoded_text import date_text
from moxlib.message.errors import InvalidDraft
from moxlib.message.header import MAX_HEADER
from moxlib.message.header_fields import (
    Addressing,
    address_field,
    further_fields,
    refuse_international_identifiers,
    subject_field,
    thread_fields,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Composed", "compose"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """A message that was composed; every line ends in CRLF.

    Attributes:
        header: its header block, with the blank line.
        pieces: what is after it.
        size: octets of all of it.
        message_id: with its angle brackets.
        date: as in its header.
        sender: the address that sends it, for MAIL FROM, in ASCII but for its localpart.
        recipients: the addresses of To, Cc and Bcc, in this order, each once, for RCPT TO.
        needs_8bit: octets above 127 are in it, so that it needs 8BITMIME.
        needs_smtputf8: an address, or the header, is not in ASCII, so that only SMTPUTF8 can carry it.
        bcc_field: the Bcc field, with its line end, which is not in the message; empty if there are no such recipients.
    """

    header: bytes = field(repr=False)
    pieces: tuple[Piece, ...] = field(repr=False)
    size: int
    message_id: str
    date: datetime
    sender: str
    recipients: tuple[str, ...]
    needs_8bit: bool
    needs_smtputf8: bool
    bcc_field: bytes = field(repr=False)

    def chunks(self) -> Iterator[bytes]:
        """Yield it. Files are read as it goes; each call begins anew.

        Raises:
            InvalidDraft: a file cannot be read any more, or has another size than when the message was composed.
        """
        yield self.header
        for piece in self.pieces:
            if isinstance(piece, bytes):
                yield piece
            else:
                yield from piece.chunks()

    def to_bytes(self) -> bytes:
        """Return all of it.

        Raises:
            InvalidDraft: as `chunks`.
        """
        return b"".join(self.chunks())

    def open(self) -> BinaryIO:
        """Return it as a file to be read once, from its beginning to its end; closing it closes no file of the draft.

        What reads it gets the errors of `chunks`.
        """
        return cast("BinaryIO", io.BufferedReader(_ChunkReader(self.chunks())))

    def with_bcc(self) -> "Composed":
        """Return it with its Bcc field before all others: for the copy that a sender keeps, not to be sent."""
        return replace(self, header=self.bcc_field + self.header, bcc_field=b"", size=self.size + len(self.bcc_field))


class _ChunkReader(io.RawIOBase):
    """Chunks as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """It can be read."""
        return True

    def readinto(self, buffer: "Buffer", /) -> int:
        """Fill as much of `buffer` as the chunk that is next can."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        target = memoryview(buffer).cast("B")
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def compose(
    draft: Draft,
    *,
    smtputf8: bool | None = None,
    eight_bit: bool = True,
    keep_encoded_words: bool = False,
    hostname: str = "",
    max_size: int | None = None,
    clock: Clock | None = None,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> Composed:
    """Compose a message.

    Plain text alone is no multipart. Text and HTML, and further forms of them, are a multipart/alternative; files that
    are part of them go with it into a multipart/related; and attachments go with that into a multipart/mixed.

    Args:
        draft: what it consists of.
        smtputf8: write the header in UTF-8 (RFC 6532), or not. None does if an address needs it, as one that is not
            ASCII before its "@" does; else domains are in ASCII, and other text is in encoded words.
        eight_bit: text beyond ASCII with short lines goes as it is; else all text is in 7 bits.
        keep_encoded_words: encoded words in the subject are to be read as such, as mox has it; else a subject that has
            some is read as it was given.
        hostname: what a new message identifier ends in; the domain of From if empty.
        max_size: octets that the message may have.
        clock: tells the date of a draft that has none; the system's if not given.
        random: makes identifiers and boundaries: returns so many octets.

    Raises:
        InvalidDraft: a file that cannot be read; a header field with a word too long for a line; without `smtputf8`, an
            address or identifier that needs it.
        LimitExceeded: the message is larger than `max_size`, or its header than 1 MiB.
    """
    addressing = Addressing.of(draft)
    utf8 = addressing.needs_smtputf8 if smtputf8 is None else smtputf8
    if not utf8:
        addressing.refuse_international()
        refuse_international_identifiers(draft)
    when = (draft.date or (clock or SystemClock()).now()).replace(microsecond=0)
    message_id = draft.message_id or _new_identifier(hostname, addressing, random)
    body = assemble(draft, eight_bit=eight_bit, random=random)
    header = _header(
        draft,
        (
            *addressing.fields(utf8=utf8),
            subject_field(draft.subject, utf8=utf8, keep_encoded_words=keep_encoded_words),
            f"Date: {date_text(when)}\r\nMessage-Id: {message_id}\r\n",
            *thread_fields(draft),
            "MIME-Version: 1.0\r\n",
            *further_fields(draft, utf8=utf8),
            body.header,
            "\r\n",
        ),
        utf8=utf8,
    )
    size = len(header) + sum([len(piece) if isinstance(piece, bytes) else piece.size for piece in body.pieces])
    if max_size is not None and size > max_size:
        raise LimitExceeded(max_size, "the message")
    return Composed(
        header=header,
        pieces=body.pieces,
        size=size,
        message_id=message_id,
        date=when,
        sender=addressing.mail_from,
        recipients=addressing.recipients,
        needs_8bit=body.eight_bit or not header.isascii(),
        needs_smtputf8=addressing.envelope_needs_smtputf8 or not header.isascii(),
        bcc_field=address_field("Bcc", addressing.bcc, utf8=utf8).encode(),
    )


def _header(draft: Draft, fields: Sequence[str], *, utf8: bool) -> bytes:
    header = "".join(fields).encode()
    if draft.received is not None:
        header = draft.received.field(smtputf8=utf8) + header
    if len(header) > MAX_HEADER:
        raise LimitExceeded(MAX_HEADER, "the header")
    return header


def _new_identifier(hostname: str, addressing: Addressing, random: Callable[[int], bytes]) -> str:
    try:
        domain = parse_domain(hostname) if hostname else addressing.author.parsed.domain
    except InvalidDomain as error:
        raise InvalidDraft(error.reason, "hostname", value=hostname) from error
    return f"<{random_token(random)}@{domain.ascii}>"
