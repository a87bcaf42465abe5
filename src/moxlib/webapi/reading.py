"""A message of the mailbox, as MessageGet tells of it. It may read from a file; no other I/O."""

from moxlib.message import Part, readable, structure
from moxlib.queue.hooks.incoming import shown_addresses, shown_structure
from moxlib.webapi import types as t
from moxlib.webapi.mailbox import OpenMessage

__all__ = ["message_of"]


def message_of(message: OpenMessage) -> t.MessageGetResult:
    """Return what is told of a message.

    Raises:
        OSError: what reading the file it lies in does.
    """
    part, stored = message.root, message.message
    origin = stored.origin
    return t.MessageGetResult(
        message=_message(part),
        structure=shown_structure(structure(part)),
        meta=t.MessageMeta(
            size=stored.size,
            dsn=origin.is_dsn,
            flags=stored.flags,
            mail_from=origin.mail_from,
            mail_from_validated=origin.mail_from_validated,
            rcpt_to=origin.rcpt_to,
            msg_from=origin.msg_from,
            msg_from_validated=origin.msg_from_validated,
            dkim_verified_domains=origin.dkim_verified_domains,
            remote_ip=origin.remote_ip,
            mailbox_name=stored.mailbox,
        ),
    )


def _message(part: Part) -> t.Message:
    header, text = part.envelope, readable(part)
    references = part.references
    if header.in_reply_to and header.in_reply_to not in references:
        references = (header.in_reply_to, *references)
    return t.Message(
        from_=shown_addresses(header.from_),
        to=shown_addresses(header.to),
        cc=shown_addresses(header.cc),
        bcc=shown_addresses(header.bcc),
        reply_to=shown_addresses(header.reply_to),
        message_id=header.message_id,
        references=references,
        date=header.date,
        subject=header.subject,
        text=text.text,
        html=text.html,
    )
