"""Who wrote to whom, when and about what, by the header of a message (RFC 5322 3.6)."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from moxlib.message.addresses import split_mailboxes
from moxlib.message.dates import parse_date
from moxlib.message.words import decode_words, printable
from moxlib.smtp import InvalidAddress, parse_address

__all__ = ["HeaderAddress", "HeaderEnvelope", "read_addresses", "read_envelope", "read_references"]

_reference = re.compile(r"<([^<>]++)>").finditer
_blanks = re.compile(r"[ \t]++")


class HeaderAddress(NamedTuple):
    """An address as headers have it.

    Attributes:
        name: for people to read, decoded, without controls; empty if there is none.
        user: the localpart as SMTP writes it, with quotes where it needs them.
        host: the domain in ASCII.
    """

    name: str
    user: str
    host: str

    @property
    def address(self) -> str:
        """The address itself, `user@host`."""
        return f"{self.user}@{self.host}"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderEnvelope:
    """The fields that IMAP calls the envelope of a message. It has nothing to do with that of SMTP.

    Of addresses those that are valid are here, of all fields of the name; groups are taken apart. Of repeated other
    fields the first counts.

    Attributes:
        subject: with its encoded words decoded, without controls.
        date: with its zone, in UTC where that is no zone of less than a day; None if there is no date, or no zone.
        message_id: with its angle brackets, as it stands in the header.
        in_reply_to: likewise; may hold several.
    """

    from_: tuple[HeaderAddress, ...]
    sender: tuple[HeaderAddress, ...]
    reply_to: tuple[HeaderAddress, ...]
    to: tuple[HeaderAddress, ...]
    cc: tuple[HeaderAddress, ...]
    bcc: tuple[HeaderAddress, ...]
    subject: str
    date: datetime | None
    message_id: str
    in_reply_to: str


def read_envelope(values: Callable[[str], tuple[str, ...]]) -> HeaderEnvelope:
    """Read the fields of a header, of which `values` returns those of a name, unfolded."""

    def first(name: str) -> str:
        found = values(name)
        return found[0] if found else ""

    return HeaderEnvelope(
        from_=read_addresses(values("from")),
        sender=read_addresses(values("sender")),
        reply_to=read_addresses(values("reply-to")),
        to=read_addresses(values("to")),
        cc=read_addresses(values("cc")),
        bcc=read_addresses(values("bcc")),
        subject=printable(decode_words(first("subject"))),
        date=parse_date(first("date")),
        message_id=printable(first("message-id")),
        in_reply_to=printable(first("in-reply-to")),
    )


def read_addresses(values: Iterable[str]) -> tuple[HeaderAddress, ...]:
    """Return the addresses in unfolded values of address fields, in order; what is no valid address is left out."""
    return tuple(
        address for value in values for name, spec in split_mailboxes(value) if (address := _address(name, spec))
    )


def _address(name: str, spec: str) -> HeaderAddress | None:
    try:
        parsed = parse_address(spec)
    except InvalidAddress:
        return None
    if not parsed.localpart.value:
        return None
    return HeaderAddress(printable(name), str(parsed.localpart), parsed.domain.ascii)


def read_references(values: Iterable[str]) -> tuple[str, ...]:
    """Return the message identifiers in unfolded References fields, each in angle brackets, in order, with repeats.

    Blanks within one go: senders fold in the middle of them.
    """
    return tuple(
        f"<{identifier}>"
        for value in values
        for match in _reference(value)
        if (identifier := _blanks.sub("", printable(match[1])))
    )
