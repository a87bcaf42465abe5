"""What a stored message says, for MessageGet: who wrote to whom, its text, and what it is made of."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from moxlib.dns import InvalidDomain, parse_domain
from moxlib.message import HeaderAddress, Part, readable, structure
from moxlib.message import Structure as MessageStructure
from moxlib.webapi.mailbox import OpenMessage
from moxlib.webhook import NameAddress, Structure

__all__ = ["MessageContents", "contents_of", "read_contents"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageContents:
    """What MessageGet tells of a message itself: `Message` and `Structure` of its answer."""

    from_: tuple[NameAddress, ...] = ()
    to: tuple[NameAddress, ...] = ()
    cc: tuple[NameAddress, ...] = ()
    bcc: tuple[NameAddress, ...] = ()
    reply_to: tuple[NameAddress, ...] = ()
    message_id: str = ""
    """In `<>`, as those that follow."""
    references: tuple[str, ...] = ()
    """The oldest first; In-Reply-To before them, if it is not among them."""
    date: datetime | None = None
    subject: str = ""
    text: str = ""
    """With LF line ends, cut at 1 MiB."""
    html: str = ""
    """Likewise. It is the sender's: never show it as it is."""
    structure: Structure


async def read_contents(opened: OpenMessage) -> MessageContents:
    """Read a message that is open, all of it once; memory does not grow with its size.

    Raises:
        OSError: what reading the file does.
    """
    return await opened.read(lambda: contents_of(opened.root))


def contents_of(part: Part) -> MessageContents:
    """Return what a message says. Reading it may block."""
    header = part.envelope
    text = readable(part)
    references = part.references
    if header.in_reply_to and header.in_reply_to not in references:
        references = (header.in_reply_to, *references)
    return MessageContents(
        from_=_addresses(header.from_),
        to=_addresses(header.to),
        cc=_addresses(header.cc),
        bcc=_addresses(header.bcc),
        reply_to=_addresses(header.reply_to),
        message_id=header.message_id,
        references=references,
        date=header.date,
        subject=header.subject,
        text=text.text,
        html=text.html,
        structure=_structure(structure(part)),
    )


def _addresses(addresses: Iterable[HeaderAddress]) -> tuple[NameAddress, ...]:
    return tuple([NameAddress(name=each.name, address=_shown(each)) for each in addresses])


def _shown(address: HeaderAddress) -> str:
    """Return an address with its domain in Unicode, as mox does here (webhooks have ASCII)."""
    try:
        return f"{address.user}@{parse_domain(address.host).name}"
    except InvalidDomain:  # with a numeric top-level label, say
        return address.address


def _structure(read: MessageStructure) -> Structure:
    return Structure(
        content_type=read.content_type,
        content_type_params=read.parameters,
        content_id=read.content_id,
        content_disposition=read.disposition,
        filename=read.filename,
        decoded_size=read.decoded_size,
        parts=tuple([_structure(part) for part in read.parts]),
    )
