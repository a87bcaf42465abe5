"""What webhook calls carry: `Outgoing`, what became of a message, and `Incoming`, a message that came in.

The names are Python's; those of the JSON, which are mox's, are in `moxlib.webhook.codec`. Times are aware.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from moxlib.errors import InputError

__all__ = [
    "Incoming",
    "IncomingMeta",
    "NameAddress",
    "Outgoing",
    "OutgoingEvent",
    "Payload",
    "Structure",
]

INT64: Final = range(-(2**63), 2**63)  # what numbers are in mox


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


class OutgoingEvent(StrEnum):
    """What became of a message, as far as is known."""

    DELIVERED = "delivered"
    """The next server took responsibility for it; that need not be the recipient's mailbox."""
    SUPPRESSED = "suppressed"
    """It was not sent: the recipient is on the suppression list."""
    DELAYED = "delayed"
    """An attempt failed; there will be another one."""
    FAILED = "failed"
    """It will not be delivered."""
    RELAYED = "relayed"
    """It was passed on to where nothing is reported of it."""
    EXPANDED = "expanded"
    """It was accepted for several recipients, of whom more may be heard."""
    CANCELED = "canceled"
    """It was taken out of the queue."""
    UNRECOGNIZED = "unrecognized"
    """Something came in answer to it that could not be made sense of."""
    COMPLAINED = "complained"
    """The recipient called it spam. Differs: mox has no such event."""


_EVENTS: Final = MappingProxyType({event.value: event for event in OutgoingEvent})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """What became of a message that was sent.

    Raises:
        InputError: a number that has no room in 64 bits, or a time without a zone.
    """

    version: int = 0
    """Of the format; 0 is the only one."""
    event: OutgoingEvent | str
    """What happened; a plain text where a newer sender knows more events than this moxlib."""
    dsn: bool = False
    """Whether a delivery status notification told it."""
    suppressing: bool = False
    """Whether the recipient is on the suppression list from now on, because of this."""
    queue_msg_id: int = 0
    from_id: str = ""
    """The part of MAIL FROM that is the message's alone; "" if it has none."""
    message_id: str = ""
    """Of the message's header, in `<>`."""
    subject: str = ""
    webhook_queued: datetime
    """When the event happened."""
    smtp_code: int = 0
    """Such as 550; 0 where there is none, and for delivered."""
    smtp_enhanced_code: str = ""
    """Such as "5.1.1"."""
    error: str = ""
    extra: Mapping[str, str] = field(default_factory=_nothing, hash=False)
    """What was submitted with the message."""

    def __post_init__(self) -> None:
        """Make a known event the enumeration's, and keep an `extra` of its own."""
        object.__setattr__(self, "event", _EVENTS.get(self.event, self.event))
        object.__setattr__(self, "extra", MappingProxyType(dict(self.extra)))
        _check_numbers(self, ("version", "queue_msg_id", "smtp_code"))
        _check_time("webhook_queued", self.webhook_queued)


@dataclass(frozen=True, slots=True, kw_only=True)
class NameAddress:
    """An address of a header, with the name beside it, if any."""

    name: str = ""
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """A MIME part, and those in it.

    Raises:
        InputError: a size that has no room in 64 bits.
    """

    content_type: str = ""
    """In lower case."""
    content_type_params: Mapping[str, str] = field(default_factory=_nothing, hash=False)
    """Names in lower case, values as they are."""
    content_id: str = ""
    """In `<>`."""
    content_disposition: str = ""
    """In lower case, without parameters."""
    filename: str = ""
    """Decoded."""
    decoded_size: int = 0
    """Bytes, before the line ends of text became LF."""
    parts: tuple["Structure", ...] = ()

    def __post_init__(self) -> None:
        """Keep parameters of its own."""
        object.__setattr__(self, "content_type_params", MappingProxyType(dict(self.content_type_params)))
        _check_numbers(self, ("decoded_size",))


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingMeta:
    """How an incoming message came.

    Raises:
        InputError: an id that has no room in 64 bits, or a time without a zone.
    """

    msg_id: int = 0
    """The message's at the server that took it."""
    mail_from: str = ""
    mail_from_validated: bool = False
    """By SPF."""
    msg_from_validated: bool = False
    """The From header's address, by DMARC or as DMARC would."""
    rcpt_to: str = ""
    dkim_verified_domains: tuple[str, ...] = ()
    remote_ip: str = ""
    received: datetime
    mailbox_name: str = ""
    automated: bool = False
    """Whether a program sent it, so that no program should answer it."""

    def __post_init__(self) -> None:
        """Refuse what has no JSON."""
        _check_numbers(self, ("msg_id",))
        _check_time("received", self.received)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A message that came in, as far as a program can use it at once.

    Raises:
        InputError: a version that has no room in 64 bits, or a time without a zone.
    """

    version: int = 0
    """Of the format; 0 is the only one."""
    from_: tuple[NameAddress, ...] = ()
    to: tuple[NameAddress, ...] = ()
    cc: tuple[NameAddress, ...] = ()
    bcc: tuple[NameAddress, ...] = ()
    reply_to: tuple[NameAddress, ...] = ()
    subject: str = ""
    message_id: str = ""
    """In `<>`, as those that follow."""
    in_reply_to: str = ""
    references: tuple[str, ...] = ()
    """The oldest first."""
    date: datetime | None = None
    """Of the header, whatever the sender wrote there; None where that is no time."""
    text: str = ""
    """The text, with LF line ends, cut at 1 MiB."""
    html: str = ""
    """Likewise, as HTML. It is the sender's: never show it as it is."""
    structure: Structure
    meta: IncomingMeta

    def __post_init__(self) -> None:
        """Refuse what has no JSON."""
        _check_numbers(self, ("version",))
        if self.date is not None:
            _check_time("date", self.date)


Payload = Outgoing | Incoming
"""What a call carries."""


def _check_numbers(record: object, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(record, name) not in INT64:
            raise InputError(f"{type(record).__name__}.{name} has no room in 64 bits")


def _check_time(name: str, time: datetime) -> None:
    if time.tzinfo is None:
        raise InputError(f"{name} must be an aware datetime")
