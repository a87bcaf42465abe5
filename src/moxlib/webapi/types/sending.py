"""Sending: what a message is made of, and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from moxlib.webapi.errors import Code, WebAPIError
from moxlib.webapi.types._checks import check_number, check_time, keep_mapping, nothing
from moxlib.webhook import NameAddress

__all__ = [
    "Fault",
    "File",
    "Message",
    "SendBatchRequest",
    "SendBatchResult",
    "SendRawRequest",
    "SendRequest",
    "SendResult",
    "Submission",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as people see it: who it is from and for, and what it says. All of it is optional.

    Raises:
        InputError: the date has no zone.
    """

    from_: tuple[NameAddress, ...] = ()
    """To send: one at most; none is the login's own address, with the account's name."""
    to: tuple[NameAddress, ...] = ()
    cc: tuple[NameAddress, ...] = ()
    bcc: tuple[NameAddress, ...] = ()
    """To send: they get the message, and only the copy in the Sent mailbox names them."""
    reply_to: tuple[NameAddress, ...] = ()
    message_id: str = ""
    """In `<>`. To send: "" has one made."""
    references: tuple[str, ...] = ()
    """Message-IDs in `<>`, the oldest first. To send: the last is also what In-Reply-To says."""
    date: datetime | None = None
    """Of the header. To send: None is the time of the call."""
    subject: str = ""
    text: str = ""
    """The text, with LF line ends. To send: there must be a text or HTML, and of both a reader gets to choose."""
    html: str = ""
    """Likewise, as HTML. What came in is the sender's: never show it as it is."""

    def __post_init__(self) -> None:
        """Refuse what has no JSON."""
        check_time(self, "date")


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file of a message, inside a request; larger ones are better uploaded (`moxlib.webapi.content.Upload`)."""

    name: str = ""
    """What it is called when it is saved."""
    content_type: str = ""
    """Such as `application/pdf`; "" has it found out from the data."""
    content_id: str = ""
    """In `<>`: what HTML shows it by, as `cid:` and the id without them."""
    data: bytes
    """Its octets; base64 in JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRequest(Message):
    """A message to be composed, signed and queued, for each of its recipients.

    Raises:
        InputError: a time has no zone.
    """

    extra: Mapping[str, str] = field(default_factory=nothing, hash=False)
    """Of your own: it comes back with each event and webhook about the message. It is not sent."""
    headers: tuple[tuple[str, str], ...] = ()
    """More header fields, names and values. A User-Agent is added where there is none, nor an X-Mailer."""
    alternative_files: tuple[File, ...] = ()
    """The same content in other forms, such as a calendar's event."""
    inline_files: tuple[File, ...] = ()
    """What the HTML shows, such as pictures."""
    attached_files: tuple[File, ...] = ()
    require_tls: bool | None = None
    """True: verified TLS on the whole way, or no delivery (RFC 8689). False: policies may be passed over, if that is
    what gets it delivered. None: as the recipients' domains ask for."""
    future_release: datetime | None = None
    """Not to be attempted sooner."""
    save_sent: bool = False
    """Whether to keep a copy in the Sent mailbox."""

    def __post_init__(self) -> None:
        """Keep an `extra` of its own, and refuse what has no JSON."""
        Message.__post_init__(self)
        keep_mapping(self, "extra")
        check_time(self, "future_release")


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One recipient's message, in the queue.

    Raises:
        InputError: an id that has no room in 64 bits.
    """

    address: str
    """The recipient, as the request has it."""
    queue_msg_id: int
    """The message's id in the queue, by which events and webhooks call it."""
    from_id: str = ""
    """The part of MAIL FROM that is this message's alone; "" where the login is not one that gets it."""

    def __post_init__(self) -> None:
        """Refuse what has no JSON."""
        check_number(self, "queue_msg_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class SendResult:
    """What was queued. It is on disk."""

    message_id: str
    """In `<>`: the one given, or the one made."""
    submissions: tuple[Submission, ...]
    """In the order of To, CC and BCC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendBatchRequest:
    """Many messages in one call, queued in one commit. Differs: mox has no such method."""

    requests: tuple[SendRequest, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why one message of a batch was not queued; the others may have been."""

    code: Code | str
    message: str

    def __post_init__(self) -> None:
        """Make a known code the enumeration's."""
        object.__setattr__(self, "code", Code.known(self.code))

    def error(self) -> WebAPIError:
        """Return it as the error that a call for this message alone would have raised."""
        return WebAPIError(self.code, self.message)


@dataclass(frozen=True, slots=True, kw_only=True)
class SendBatchResult:
    """What became of each message of a batch."""

    results: tuple[SendResult | Fault, ...]
    """As many as there were requests, in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendRawRequest:
    """A message that is finished, to be queued as it is. Differs: mox has no such method.

    Raises:
        InputError: a time has no zone.
    """

    message: bytes
    """Header and body, with CRLF line ends; base64 in JSON."""
    mail_from: str = ""
    """The address for MAIL FROM; "" is the login's own."""
    recipients: tuple[str, ...] = ()
    """Addresses for RCPT TO; none has those of To, Cc and Bcc taken from the header."""
    extra: Mapping[str, str] = field(default_factory=nothing, hash=False)
    """As in `SendRequest`, and the next two likewise."""
    require_tls: bool | None = None
    future_release: datetime | None = None

    def __post_init__(self) -> None:
        """Keep an `extra` of its own, and refuse what has no JSON."""
        keep_mapping(self, "extra")
        check_time(self, "future_release")
