"""The classes: what a failure means for who sends. A closed set, stored by name."""

from enum import StrEnum

__all__ = ["ReplyClass"]


class ReplyClass(StrEnum):
    """What a failure means: what is wrong, and so what could help.

    Whether it is temporary is another question, which the code answers: a full mailbox may be a 452 or a 552.
    """

    HARD = "hard"
    """There is no such recipient, or no such domain, or it takes no mail."""
    DISABLED = "disabled"
    """There is a mailbox, but it is closed: suspended, inactive, moved."""
    FULL = "full"
    """The mailbox is over its quota."""
    SIZE = "size"
    """The message is too large for the server or the mailbox."""
    CONTENT = "content"
    """Something in the message is not taken: a virus, an attachment's type, malformed or missing header fields."""
    SPAM = "spam"
    """The message was judged to be spam, by its content or links."""
    REPUTATION = "reputation"
    """The sending address or domain has a bad name: a blocklist, complaints, too little history."""
    AUTHENTICATION = "authentication"
    """SPF, DKIM, DMARC or ARC failed or is missing, or the sending address has no right name (reverse DNS)."""
    POLICY = "policy"
    """A rule of the receiver's or the recipient's own forbids it: who may write to a list, what may come from where."""
    SENDER = "sender"
    """The address in MAIL FROM (or From) is not taken: its domain does not exist, or cannot be written to."""
    RELAY = "relay"
    """The server does not take mail for this domain from us: relaying denied, a login required."""
    GREYLISTING = "greylisting"
    """Deferred only because we have not been seen before: trying again is the cure."""
    RATE = "rate"
    """Too many messages, recipients or connections in too short a time: slower is the cure."""
    CAPACITY = "capacity"
    """The server is in trouble: busy, out of resources, misconfigured, an error inside it."""
    TLS = "tls"
    """TLS failed, is required and missing, or a certificate was not accepted."""
    PROTOCOL = "protocol"
    """The two sides do not understand each other: syntax, sequence, an extension that one of them lacks."""
    NETWORK = "network"
    """The way there: a name that could not be looked up, a connection that could not be made or broke, a mail loop."""
    LOCAL = "local"
    """Nothing of the peer's: the failure was made on this side, by configuration or by an error here."""
    OTHER = "other"
    """None of the rules knows it."""
