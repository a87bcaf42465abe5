"""What the webapi's methods take and give: one request and one result for each, and what is in them.

The names are Python's. Those of the JSON are mox's, and follow from them by rule (`moxlib.webapi.wire`). Times are
aware; files and messages are octets, which the JSON has in base64.

A result holds what the server said; that a server of mox leaves out a value or says null of it shows as the empty one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final

from moxlib.errors import InputError
from moxlib.webapi.errors import Code, WebAPIError
from moxlib.webhook import NameAddress, Structure

__all__ = [
    "Fault",
    "File",
    "Message",
    "MessageDeleteRequest",
    "MessageDeleteResult",
    "MessageFlagsAddRequest",
    "MessageFlagsAddResult",
    "MessageFlagsRemoveRequest",
    "MessageFlagsRemoveResult",
    "MessageGetRequest",
    "MessageGetResult",
    "MessageMeta",
    "MessageMoveRequest",
    "MessageMoveResult",
    "MessagePartGetRequest",
    "MessageRawGetRequest",
    "NameAddress",
    "SendBatchRequest",
    "SendBatchResult",
    "SendRawRequest",
    "SendRequest",
    "SendResult",
    "Structure",
    "Submission",
    "Suppression",
    "SuppressionAddRequest",
    "SuppressionAddResult",
    "SuppressionListRequest",
    "SuppressionListResult",
    "SuppressionPresentRequest",
    "SuppressionPresentResult",
    "SuppressionRemoveRequest",
    "SuppressionRemoveResult",
]

INT64: Final = range(-(2**63), 2**63)  # what numbers are in mox


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


# sending


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
        _check_time(self, "date")


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

    extra: Mapping[str, str] = field(default_factory=_nothing, hash=False)
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
        _keep_mapping(self, "extra")
        _check_time(self, "future_release")


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
        _check_number(self, "queue_msg_id")


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
    extra: Mapping[str, str] = field(default_factory=_nothing, hash=False)
    """As in `SendRequest`, and the next two likewise."""
    require_tls: bool | None = None
    future_release: datetime | None = None

    def __post_init__(self) -> None:
        """Keep an `extra` of its own, and refuse what has no JSON."""
        _keep_mapping(self, "extra")
        _check_time(self, "future_release")


# suppressions


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """An address that the account's messages are not sent to.

    Raises:
        InputError: an id that has no room in 64 bits, or a time without a zone.
    """

    id: int
    created: datetime
    account: str
    base_address: str
    """What addresses are compared by: without what follows a separator, and with other spellings made alike."""
    original_address: str
    """The address that led to it."""
    manual: bool = False
    """Whether it was added on purpose, and not by what became of messages."""
    reason: str = ""

    def __post_init__(self) -> None:
        """Refuse what has no JSON."""
        _check_number(self, "id")
        _check_time(self, "created")


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionListRequest:
    """Ask for the account's suppressions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionListResult:
    """The account's suppressions."""

    suppressions: tuple[Suppression, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionAddRequest:
    """Have an address suppressed."""

    email_address: str
    manual: bool = False
    """Whether to list it as added on purpose."""
    reason: str = ""
    """For those who read the list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionAddResult:
    """The address is suppressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionRemoveRequest:
    """Have an address no longer suppressed."""

    email_address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionRemoveResult:
    """The address is not suppressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionPresentRequest:
    """Ask whether an address is suppressed."""

    email_address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionPresentResult:
    """Whether the address is suppressed."""

    present: bool


# messages of the mailbox


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfMessage:
    """About one message of the mailbox."""

    msg_id: int
    """The message's id in the mailbox; webhooks of incoming messages tell it."""

    def __post_init__(self) -> None:
        """Refuse what has no JSON."""
        _check_number(self, "msg_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageGetRequest(_OfMessage):
    """Ask for a message as it was read.

    Raises:
        InputError: an id that has no room in 64 bits.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageMeta:
    """What is known of a message beside what is in it.

    Raises:
        InputError: a size that has no room in 64 bits.
    """

    size: int = 0
    """Of the whole message, in octets."""
    dsn: bool = False
    """Whether it is a delivery status notification."""
    flags: tuple[str, ...] = ()
    r"""Such as `\seen`, `\answered`, `$forwarded`, `$junk`, and keywords of any name."""
    mail_from: str = ""
    mail_from_validated: bool = False
    """By SPF."""
    rcpt_to: str = ""
    msg_from: str = ""
    """The address of the From header."""
    msg_from_validated: bool = False
    """The From header's address, by DMARC or as DMARC would."""
    dkim_verified_domains: tuple[str, ...] = ()
    """They may have nothing to do with any of the addresses."""
    remote_ip: str = ""
    """Where it came from."""
    mailbox_name: str = ""
    """The folder that it is in."""

    def __post_init__(self) -> None:
        """Refuse what has no JSON."""
        _check_number(self, "size")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageGetResult:
    """A message as it was read: text and HTML to 1 MiB each, and what it is made of."""

    message: Message
    structure: Structure
    meta: MessageMeta


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRawGetRequest(_OfMessage):
    """Ask for a message as it came, header and body.

    Raises:
        InputError: an id that has no room in 64 bits.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class MessagePartGetRequest(_OfMessage):
    """Ask for the decoded body of a part of a message.

    Raises:
        InputError: a number that has no room in 64 bits.
    """

    part_path: tuple[int, ...] = ()
    """Which part, counted from 0 in each multipart on the way in; none is the body of the whole message."""

    def __post_init__(self) -> None:
        """Refuse what has no JSON."""
        _OfMessage.__post_init__(self)
        if any(index not in INT64 for index in self.part_path):
            raise InputError("MessagePartGetRequest.part_path has a number that has no room in 64 bits")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDeleteRequest(_OfMessage):
    """Have a message removed for good.

    Raises:
        InputError: an id that has no room in 64 bits.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDeleteResult:
    """The message is removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFlagsAddRequest(_OfMessage):
    """Have flags set on a message; those it has stay.

    Raises:
        InputError: an id that has no room in 64 bits.
    """

    flags: tuple[str, ...] = ()
    r"""Such as `\seen`, `\answered`, `$forwarded`, `$junk`, or keywords of any name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFlagsAddResult:
    """The flags are set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFlagsRemoveRequest(_OfMessage):
    """Have flags cleared on a message; the others stay.

    Raises:
        InputError: an id that has no room in 64 bits.
    """

    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFlagsRemoveResult:
    """The flags are cleared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageMoveRequest(_OfMessage):
    """Have a message put into another folder.

    Raises:
        InputError: an id that has no room in 64 bits.
    """

    dest_mailbox_name: str
    """Such as `Inbox`; it has to exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageMoveResult:
    """The message is in the other folder."""


def _keep_mapping(record: object, name: str) -> None:
    object.__setattr__(record, name, MappingProxyType(dict(getattr(record, name))))


def _check_number(record: object, name: str) -> None:
    if getattr(record, name) not in INT64:
        raise InputError(f"{type(record).__name__}.{name} has no room in 64 bits")


def _check_time(record: object, name: str) -> None:
    time: datetime | None = getattr(record, name)
    if time is not None and time.tzinfo is None:
        raise InputError(f"{type(record).__name__}.{name} must be an aware datetime")
