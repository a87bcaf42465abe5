"""Messages of the mailbox: reading, flagging, moving and removing them."""

from dataclasses import dataclass

from moxlib.errors import InputError
from moxlib.webapi.types._checks import INT64, check_number
from moxlib.webapi.types.sending import Message
from moxlib.webhook import Structure

__all__ = [
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
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfMessage:
    """About one message of the mailbox."""

    msg_id: int
    """The message's id in the mailbox; webhooks of incoming messages tell it."""

    def __post_init__(self) -> None:
        """Refuse what has no JSON."""
        check_number(self, "msg_id")


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
        check_number(self, "size")


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
