"""A message that came in, as a webhook. Pure, save that the message may be read from a file."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from moxlib.dns import InvalidDomain, parse_domain
from moxlib.message import HeaderAddress, Part, readable, structure
from moxlib.message import Structure as MessageStructure
from moxlib.queue.feedback import IncomingEnvelope, is_automated
from moxlib.queue.hooks.records import INCOMING, HookPlan, NewHook
from moxlib.webhook import Incoming, IncomingMeta, NameAddress, Structure, encode

__all__ = ["incoming_hooks", "incoming_payload", "shown_addresses", "shown_structure"]


def incoming_hooks(
    part: Part, envelope: IncomingEnvelope, *, plan: HookPlan, account: str, now: datetime
) -> tuple[NewHook, ...]:
    """Return the webhooks that tell of a message, one for each of its recipients.

    Raises:
        OSError: what reading the file it lies in does.
    """
    first = incoming_payload(part, envelope, now=now)
    payloads = [replace(first, meta=replace(first.meta, rcpt_to=recipient)) for recipient in envelope.recipients]
    return tuple(
        [NewHook(plan=plan, account=account, event=INCOMING, payload=encode(each), queued=now) for each in payloads]
    )


def incoming_payload(part: Part, envelope: IncomingEnvelope, *, now: datetime) -> Incoming:
    """Return what a webhook tells of a message, as for the first of its recipients."""
    header = part.envelope
    text = readable(part)
    return Incoming(
        from_=shown_addresses(header.from_),
        to=shown_addresses(header.to),
        cc=shown_addresses(header.cc),
        bcc=shown_addresses(header.bcc),
        reply_to=shown_addresses(header.reply_to),
        subject=header.subject,
        message_id=header.message_id,
        in_reply_to=header.in_reply_to,
        references=part.references,
        date=header.date,
        text=text.text,
        html=text.html,
        structure=shown_structure(structure(part)),
        meta=IncomingMeta(
            msg_id=envelope.message,
            mail_from=envelope.mail_from,
            mail_from_validated=envelope.mail_from_validated,
            msg_from_validated=envelope.from_validated,
            rcpt_to=envelope.recipients[0],
            dkim_verified_domains=envelope.dkim_domains,
            remote_ip=envelope.remote_ip,
            received=envelope.received or now,
            mailbox_name=envelope.mailbox,
            automated=is_automated(part, envelope.mail_from),
        ),
    )


def shown_addresses(addresses: Iterable[HeaderAddress]) -> tuple[NameAddress, ...]:
    """Return addresses of a header as programs are told of them."""
    return tuple([NameAddress(name=each.name, address=_shown(each)) for each in addresses])


def _shown(address: HeaderAddress) -> str:
    """Return an address, all of it in Unicode where its localpart is not ASCII (RFC 6531 3.7.1)."""
    if address.user.isascii():
        return address.address
    try:
        return f"{address.user}@{parse_domain(address.host).name}"
    except InvalidDomain:  # headers may have one with a numeric top-level label, to which nothing can be sent
        return address.address


def shown_structure(read: MessageStructure) -> Structure:
    """Return what a message is made of, as programs are told of it."""
    return Structure(
        content_type=read.content_type,
        content_type_params=read.parameters,
        content_id=read.content_id,
        content_disposition=read.disposition,
        filename=read.filename,
        decoded_size=read.decoded_size,
        parts=tuple([shown_structure(part) for part in read.parts]),
    )
