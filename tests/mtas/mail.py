"""A message as a mail server has delivered it."""

import re
from dataclasses import dataclass

__all__ = ["Mail", "read"]

# The server's own fields, of which Received is the last; a field goes on in lines that begin with a blank.
_TRACE = re.compile(rb"(?:[!-9;-~]+:.*\n(?:[ \t].*\n)*?)*?Received:.*\n(?:[ \t].*\n)*")
_SENDER = re.compile(r"^Return-path: *<(.*)>$", re.IGNORECASE | re.MULTILINE)
_RECIPIENT = re.compile(r"^(?:Delivered-To|Envelope-to): *(.*)$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """A message in the server's mailbox.

    Attributes:
        sender: the reverse-path.
        recipient: whom it was delivered for: each recipient has a message of its own.
        received: the trace that the server put before the content, down to its Received field.
        content: what is behind that, with CRLF line ends.
    """

    sender: str
    recipient: str
    received: str
    content: bytes


def read(stored: bytes) -> Mail:
    """Read a message as a server has put it into a Maildir."""
    trace = _TRACE.match(stored)
    assert trace is not None, stored[:1000]
    text = trace[0].decode()
    sender, recipient = _SENDER.search(text), _RECIPIENT.search(text)
    assert recipient is not None, text
    content = stored[trace.end() :]
    return Mail(
        sender="" if sender is None else sender[1],  # OpenSMTPD writes none for the null reverse-path
        recipient=recipient[1],
        received=text,
        content=content.replace(b"\n", b"\r\n"),
    )
