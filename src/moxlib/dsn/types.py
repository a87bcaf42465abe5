"""What a delivery status notification says (RFC 3464, RFC 6533), as data that is the same in either form.

A notification may be written in UTF-8, or in 7 bits with escapes, encoded words and domains in their ASCII form; what
is read from either is equal. So domains are kept in ASCII here, and an address has the type utf-8 exactly if its
localpart is not ASCII.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeVar

from moxlib.dns import InvalidDomain, parse_domain
from moxlib.dsn.errors import InvalidDSN
from moxlib.errors import LimitExceeded
from moxlib.smtp import EnhancedCode, InvalidAddress, parse_path

__all__ = [
    "DSN",
    "MAX_EXTENSIONS",
    "MAX_RECIPIENTS",
    "MAX_TEXT",
    "MAX_VALUE",
    "MTA",
    "Action",
    "RecipientStatus",
    "Returned",
    "TypedAddress",
]

MAX_RECIPIENTS: Final = 1000  # of one notification; ten times what servers must take at once (RFC 5321 4.5.3.1.8)
MAX_EXTENSIONS: Final = 200  # fields of one message or recipient; Exchange, which has most, writes about twenty
MAX_VALUE: Final = 16 * 1024  # characters of a field: a reply of 32 lines of 512 octets (RFC 5321 4.5.3.1.5)
MAX_TEXT: Final = 256 * 1024  # characters; Exchange's text, the longest, has some tens of thousands

MIN_YEAR: Final = 1900  # RFC 5322 3.3
MAX_YEAR: Final = 9998  # so that it is a date in every zone

RFC822: Final = "rfc822"
UTF8: Final = "utf-8"
MAIL_TYPES: Final = frozenset((RFC822, UTF8))

T = TypeVar("T")

find_control: Callable[[str], re.Match[str] | None] = re.compile(
    r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]"
).search
_atom = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}").fullmatch
_message_id = re.compile(r"<[!-;=?-~]{1,900}>").fullmatch
_extension_name = re.compile(r"[!-9;-~]{1,200}").fullmatch
_not_in_name = re.compile(r'[()"\\;]').search
_ip_in_comment = re.compile(r"\[?(?:IPv6:)?([0-9A-Fa-f.:]{2,45})").match
_reply = re.compile(r"([245][0-9]{2})(?:[ -]+([245]\.[0-9]{1,5}\.[0-9]{1,5})(?![0-9.]))?(?![0-9])").match
_returned_id = re.compile(rb"(?:^|\n)message-id[ \t]*+:([^\n]*+(?>(?:\n[ \t][^\n]*+)*))", re.IGNORECASE).search
_body = re.compile(rb"\r?\n\r?\n").search
_line_end = re.compile(r"\r++\n")

PER_MESSAGE: Final = frozenset(
    ("original-envelope-id", "reporting-mta", "dsn-gateway", "received-from-mta", "arrival-date")
)
PER_RECIPIENT: Final = frozenset(
    (
        "original-recipient",
        "final-recipient",
        "action",
        "status",
        "remote-mta",
        "diagnostic-code",
        "last-attempt-date",
        "final-log-id",
        "will-retry-until",
    )
)
KNOWN: Final = PER_MESSAGE | PER_RECIPIENT  # in lower case


class Action(StrEnum):
    """What was done for a recipient (RFC 3464 2.3.3)."""

    FAILED = "failed"  # given up; the sender hears no more
    DELAYED = "delayed"  # not delivered yet, and tried again
    DELIVERED = "delivered"
    RELAYED = "relayed"  # handed to a system that does not tell more
    EXPANDED = "expanded"  # delivered to an alias or a list, and on to several


_DEFAULT_STATUS: Final = {Action.FAILED: EnhancedCode(5, 0, 0), Action.DELAYED: EnhancedCode(4, 0, 0)}
_SUCCESS: Final = EnhancedCode(2, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedAddress:
    """An address with its type (RFC 3464 2.1.2, RFC 6533 3).

    Attributes:
        address: for mail addresses the text `str(moxlib.smtp.Path)` gives: quoted where needed, the domain in ASCII.
            The constructor takes other forms of it too. For other types, any line of text.
        type: `rfc822` for mail addresses, and `utf-8` for those whose localpart is not ASCII; whichever of the two is
            given, it becomes the right one. Otherwise the type that the sender named (RFC 3461 4.2), in lower case.

    Raises:
        InvalidDSN: the address is none of its type.
    """

    address: str
    type: str = RFC822

    def __post_init__(self) -> None:
        kind = self.type.lower()
        if kind in MAIL_TYPES:
            try:
                address = str(parse_path(self.address))
            except InvalidAddress as error:
                raise InvalidDSN(error.reason, "an address", value=self.address) from error
            if not address:
                raise InvalidDSN("empty", "an address")
            object.__setattr__(self, "address", address)
            kind = RFC822 if address.isascii() else UTF8
        elif not _atom(kind):
            raise InvalidDSN("not an address type", "an address", value=self.type)
        else:
            _set_line(self, "address", "an address")
        object.__setattr__(self, "type", kind)

    @property
    def is_mail(self) -> bool:
        """Whether it is a mail address, not one of another system's."""
        return self.type in MAIL_TYPES

    def __str__(self) -> str:
        """Return the address, without its type."""
        return self.address


@dataclass(frozen=True, slots=True, kw_only=True)
class MTA:
    """A mail server as a notification names it (RFC 3464 2.1.2).

    Attributes:
        name: its host name, as a rule; in ASCII if it has such a form.
        type: `dns`, as a rule. In lower case; empty if the notification gave none.
        comment: what stood in parentheses, most often its address.

    Raises:
        InvalidDSN: a line end, another control, or something that no name has.
    """

    name: str
    type: str = "dns"
    comment: str = ""

    def __post_init__(self) -> None:
        _set_line(self, "name", "an MTA")
        name = " ".join(self.name.split())
        if not name.isascii():
            name = _in_ascii(name)
        if _not_in_name(name):
            raise InvalidDSN("not the name of a server", "an MTA", value=name)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "type", self.type.lower())
        if self.type and not _atom(self.type):
            raise InvalidDSN("not a type of names", "an MTA", value=self.type)
        _set_line(self, "comment", "an MTA")
        if not self.type and not name:
            raise InvalidDSN("neither a type nor a name", "an MTA")

    @property
    def ip(self) -> IPv4Address | IPv6Address | None:
        """The address that the comment begins with, bare or as a literal."""
        match = _ip_in_comment(self.comment)
        if match is None:
            return None
        for kind in (IPv4Address, IPv6Address):
            try:
                return kind(match[1].rstrip(".:") if kind is IPv4Address else match[1])
            except ValueError:
                continue
        return None

    def __str__(self) -> str:
        """Return the name."""
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientStatus:
    """What became of a message for one recipient (RFC 3464 2.3).

    Texts have no line ends or other controls; tabs in them become blanks, and blanks around them do not count.

    Attributes:
        final_recipient: who it was delivered to, or could not be: the address of the last RCPT TO.
        action: what was done.
        status: the enhanced code with its class; if not given, X.0.0 with the class of the action. None in what was
            read, if what stands there is no such code; that is in `status_comment` then.
        status_comment: what stands after it in parentheses.
        original_recipient: who the sender sent to (ORCPT), if that is known.
        remote_mta: the server whose reply `diagnostic_text` is, if it is one's.
        diagnostic_type: where `diagnostic_text` is from: `smtp` for a reply, or `x-...`. In lower case; empty if there
            is no text, or one without a type.
        diagnostic_text: the reason in the words of that system; of an SMTP reply, its lines with blanks between.
        last_attempt_date: when it was last tried.
        final_log_id: what the reporting server's log knows it by.
        will_retry_until: until when it is tried further; for delays.
        extensions: further fields, in order, names as they are spelled.

    Raises:
        InvalidDSN: a control character in a text, an unknown name in `extensions`, a date without a time zone.
        LimitExceeded: a text or the number of extensions is beyond the limits.
    """

    final_recipient: TypedAddress
    action: Action
    status: EnhancedCode | None = None
    status_comment: str = ""
    original_recipient: TypedAddress | None = None
    remote_mta: MTA | None = None
    diagnostic_type: str = ""
    diagnostic_text: str = ""
    last_attempt_date: datetime | None = None
    final_log_id: str = ""
    will_retry_until: datetime | None = None
    extensions: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.final_recipient.is_mail:
            raise InvalidDSN("not a mail address", "Final-Recipient", value=self.final_recipient.type)
        if self.status is None:
            object.__setattr__(self, "status", default_status(self.action))
        if self.diagnostic_type:
            object.__setattr__(self, "diagnostic_type", self.diagnostic_type.lower())
            if not _atom(self.diagnostic_type):
                raise InvalidDSN("not a diagnostic type", "Diagnostic-Code", value=self.diagnostic_type)
        _set_line(self, "status_comment", "Status")
        _set_line(self, "diagnostic_text", "Diagnostic-Code")
        _set_line(self, "final_log_id", "Final-Log-Id")
        _set_date(self, "last_attempt_date", "Last-Attempt-Date")
        _set_date(self, "will_retry_until", "Will-Retry-Until")
        if self.extensions:
            object.__setattr__(self, "extensions", _checked_extensions(self.extensions))

    @property
    def code(self) -> int:
        """The reply code that `diagnostic_text` begins with if it is SMTP's; else 500, 400 or 200 by `status`, or 0."""
        found = self._reply()
        if found is not None:
            return int(found[1])
        return 0 if self.status is None else self.status.class_ * 100

    @property
    def has_reply(self) -> bool:
        """Whether `code` and `enhanced` are a server's reply, in `diagnostic_text`."""
        return self._reply() is not None

    @property
    def enhanced(self) -> EnhancedCode | None:
        """The enhanced code after the reply code in `diagnostic_text`; without a reply code there, `status`.

        A reply with a code and no enhanced code has none, whatever `status` says: that would be the reporting server's
        reading of it.
        """
        found = self._reply()
        if found is None:
            return self.status
        return EnhancedCode.parse(found[2]) if found[2] else None

    def _reply(self) -> re.Match[str] | None:
        return _reply(self.diagnostic_text) if self.diagnostic_type in {"smtp", ""} else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """The message that a report is about, or its header.

    Attributes:
        content: its octets, transfer encoding undone. Line ends are as they came.
        whole: it is the message; otherwise its header.
    """

    content: bytes
    whole: bool

    @property
    def header(self) -> bytes:
        """The header, without the blank line after it."""
        if not self.whole:
            return self.content
        if self.content.startswith((b"\r\n", b"\n")):
            return b""
        match = _body(self.content)
        return self.content[: match.start()] + b"\r\n" if match else self.content

    @property
    def message_id(self) -> str:
        """The Message-ID in the header, as it stands there, `<...>`; empty if there is none."""
        match = _returned_id(self.header)
        if match is None:
            return ""
        value = match[1].decode("utf-8", "replace")
        return " ".join(value.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class DSN:
    """A delivery status notification: its header, what it says for people and for programs, and what it returns.

    Attributes:
        reporting_mta: the server that reports.
        recipients: at least one, in order.
        subject: decoded.
        from_address: the address in From, as `TypedAddress` has them; empty if there is none, or several.
        to_address: likewise in To.
        message_id: as it stands in the header, `<...>`; empty if there is none. Composing needs one.
        references: the Message-IDs in References, each `<...>`.
        text: for people to read, with bare newlines.
        dsn_gateway: the gateway that translated a report of another system.
        received_from_mta: the server that the message came from.
        arrival_date: when it came.
        original_envelope_id: the sender's ENVID, decoded.
        extensions: further fields for the message, in order, names as they are spelled.
        returned: the message that it is about, or its header, if it came with it.

    Raises:
        InvalidDSN: no recipients, or as `RecipientStatus`.
        LimitExceeded: too many recipients, or too long a text.
    """

    reporting_mta: MTA
    recipients: tuple[RecipientStatus, ...]
    subject: str = ""
    from_address: str = ""
    to_address: str = ""
    message_id: str = ""
    references: tuple[str, ...] = ()
    text: str = ""
    dsn_gateway: MTA | None = None
    received_from_mta: MTA | None = None
    arrival_date: datetime | None = None
    original_envelope_id: str = ""
    extensions: tuple[tuple[str, str], ...] = ()
    returned: Returned | None = None

    def __post_init__(self) -> None:
        if not self.recipients:
            raise InvalidDSN("no recipient")
        if len(self.recipients) > MAX_RECIPIENTS:
            raise LimitExceeded(MAX_RECIPIENTS, "the number of a DSN's recipients")
        for mta, field in (
            (self.reporting_mta, "Reporting-MTA"),
            (self.dsn_gateway, "DSN-Gateway"),
            (self.received_from_mta, "Received-From-MTA"),
        ):
            if mta is not None and not is_reporting_type(mta.type):
                raise InvalidDSN("unknown type of name", field, value=mta.type)
        _set_line(self, "subject", "Subject")
        _set_line(self, "original_envelope_id", "Original-Envelope-Id")
        if not self.original_envelope_id.isascii():
            raise InvalidDSN("not ASCII", "Original-Envelope-Id", value=self.original_envelope_id)
        _set_address(self, "from_address", "From")
        _set_address(self, "to_address", "To")
        for id_ in (self.message_id, *self.references):
            if id_ and not is_message_id(id_):
                raise InvalidDSN("not a Message-ID", "Message-ID or References", value=id_)
        _set_date(self, "arrival_date", "Arrival-Date")
        if self.extensions:
            object.__setattr__(self, "extensions", _checked_extensions(self.extensions))
        object.__setattr__(self, "text", _checked_text(self.text))

    @property
    def returned_message_id(self) -> str:
        """The Message-ID of the returned message, as it stands in its header, `<...>`; empty if it is not known."""
        return "" if self.returned is None else self.returned.message_id


def trusted(kind: type[T], /, **values: object) -> T:
    """Make data without its constructor's checks, of values for all fields that were checked, and made fit, just now.

    Reading a report would take half as long again with them.
    """
    made = object.__new__(kind)
    for name, value in values.items():
        object.__setattr__(made, name, value)
    return made


def is_message_id(text: str) -> bool:
    """Return whether a text is a Message-ID with its angle brackets, as far as that matters: one word, in ASCII."""
    return _message_id(text) is not None


def is_reporting_type(kind: str) -> bool:
    """Return whether a type of names is one that a server may report by (RFC 3464 2.1.2, 9.2)."""
    return kind == "dns" or kind.startswith("x-")


def default_status(action: Action) -> EnhancedCode:
    """Return the enhanced code that says no more than an action does."""
    return _DEFAULT_STATUS.get(action, _SUCCESS)


def _in_ascii(name: str) -> str:
    try:
        return parse_domain(name).ascii
    except InvalidDomain:
        return name


def _set_line(data: object, name: str, where: str) -> None:
    value: str = getattr(data, name)
    if not value:
        return
    if len(value) > MAX_VALUE:
        raise LimitExceeded(MAX_VALUE, where)
    if find_control(value):
        raise InvalidDSN("a line end or control character", where, value=value)
    if "\t" in value or value[0] == " " or value[-1] == " ":
        object.__setattr__(data, name, value.replace("\t", " ").strip(" "))


def _set_address(data: object, name: str, where: str) -> None:
    value = getattr(data, name)
    if not value:
        return
    try:
        object.__setattr__(data, name, str(parse_path(value)))
    except InvalidAddress as error:
        raise InvalidDSN(error.reason, where, value=value) from error


def _set_date(data: object, name: str, where: str) -> None:
    value: datetime | None = getattr(data, name)
    if value is None:
        return
    offset = value.utcoffset()
    if offset is None:
        raise InvalidDSN("a date without a time zone", where)
    if not MIN_YEAR <= value.year <= MAX_YEAR:
        raise InvalidDSN("not a year for a message", where)
    if offset.seconds % 60 or offset.microseconds:
        value = value.astimezone(UTC)
    object.__setattr__(data, name, value.replace(microsecond=0))


def _checked_extensions(extensions: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    if len(extensions) > MAX_EXTENSIONS:
        raise LimitExceeded(MAX_EXTENSIONS, "the number of extension fields")
    checked = []
    for name, value in extensions:
        if not _extension_name(name) or name.lower() in KNOWN:
            raise InvalidDSN("not the name of an extension field", "extensions", value=name)
        if find_control(value):
            raise InvalidDSN("a line end or control character", name, value=value)
        if len(value) > MAX_VALUE:
            raise LimitExceeded(MAX_VALUE, name)
        checked.append((name, value.replace("\t", " ").strip(" ")))
    return tuple(checked)


def _checked_text(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise LimitExceeded(MAX_TEXT, "the text of a DSN")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidDSN("not Unicode text", "text") from error
    return _line_end.sub("\n", text) if "\r" in text else text
