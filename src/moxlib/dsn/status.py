"""A delivery-status part, read (RFC 3464 2, RFC 6533 4): the fields of the message, and those of each recipient.

Which fields are a recipient's is told by a Final-Recipient among them, not by counting blank lines: servers put in too
many of these, and too few. Within a group, fields come in any order.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from moxlib.dns import MAX_LABEL
from moxlib.dsn.errors import InvalidDSN
from moxlib.dsn.lines import is_field_name, read_date, read_groups, split_comments
from moxlib.dsn.types import (
    KNOWN,
    MAIL_TYPES,
    MAX_EXTENSIONS,
    MAX_RECIPIENTS,
    MTA,
    PER_MESSAGE,
    RFC822,
    UTF8,
    Action,
    RecipientStatus,
    TypedAddress,
    is_reporting_type,
    trusted,
)
from moxlib.errors import LimitExceeded
from moxlib.message import decode_words
from moxlib.message.words import printable
from moxlib.smtp import MAX_LOCALPART, Address, EnhancedCode, InvalidAddress, parse_address, parse_dsn_address

__all__ = ["StatusPart", "read_status"]

_code = re.compile(r"(?<![0-9.])([245])\.([0-9]{1,5})\.([0-9]{1,5})(?![0-9])").search
_diagnostic_type = re.compile(r"[A-Za-z][A-Za-z0-9._+-]*").fullmatch
_word = re.compile(r"[^ ;]+").fullmatch
# What most servers write, and `parse_address` takes and `str` gives back as it is; they need twice as long for it.
_usual_address = re.compile(
    r"(?:rfc822|RFC822);[ ]?([A-Za-z0-9_+=-]++(?>(?:\.[A-Za-z0-9_+=-]++)*))"
    r"@((?>(?:[a-z0-9]++(?>(?:-[a-z0-9]++)*)\.)*)[a-z]++)"
).fullmatch
_escape = re.compile(r"\\x\{[0-9A-Fa-f]{1,6}\}")
_plain_name = re.compile(r"[A-Za-z0-9._-]+").fullmatch
_not_in_name = re.compile(r'[()"\\;]+')
# The usual spellings, so that most names need no lowering.
_KEYS: Final = {"-".join(word.capitalize() for word in key.split("-")).replace("-Mta", "-MTA"): key for key in KNOWN}
_ACTIONS: Final = {str(action): action for action in Action}


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusPart:
    """What a delivery-status part says; the attributes are those of `DSN`."""

    reporting_mta: MTA
    recipients: tuple[RecipientStatus, ...]
    dsn_gateway: MTA | None
    received_from_mta: MTA | None
    arrival_date: datetime | None
    original_envelope_id: str
    extensions: tuple[tuple[str, str], ...]


def read_status(data: bytes, *, utf8: bool) -> StatusPart:
    """Read a delivery-status part.

    Args:
        data: its content, transfer encoding undone.
        utf8: its type is message/global-delivery-status, so that its addresses may be in UTF-8.

    Raises:
        InvalidDSN: a malformed, repeated or missing field.
        LimitExceeded: it is too large, or has too many recipients or fields.
    """
    message, recipients = _sorted_groups(read_groups(data))
    known = message.known
    if "reporting-mta" not in known:
        raise InvalidDSN("missing", "Reporting-MTA")
    if not recipients:
        raise InvalidDSN("no recipient", "second part")
    return trusted(
        StatusPart,
        reporting_mta=_mta(known["reporting-mta"], "Reporting-MTA"),
        recipients=tuple([_recipient(fields, number, utf8=utf8) for number, fields in enumerate(recipients, 1)]),
        dsn_gateway=_mta(known["dsn-gateway"], "DSN-Gateway") if "dsn-gateway" in known else None,
        received_from_mta=_mta(known["received-from-mta"], "Received-From-MTA")
        if "received-from-mta" in known
        else None,
        arrival_date=_date(known.get("arrival-date"), "Arrival-Date"),
        original_envelope_id=_ascii(known.get("original-envelope-id", "")),
        extensions=tuple(message.extensions),
    )


class _Fields:
    """The fields of the message or of one recipient: known ones by name in lower case, and others in order."""

    __slots__ = ("extensions", "known")

    def __init__(self) -> None:
        self.known: dict[str, str] = {}
        self.extensions: list[tuple[str, str]] = []

    def take(self, group: str) -> None:
        known = self.known
        for line in group.split("\n"):
            name, colon, value = line.partition(":")
            key = _KEYS.get(name) or name.lower()
            if not colon or (key not in KNOWN and not is_field_name(name)):
                raise InvalidDSN("not a field", "second part", value=line)
            if key not in KNOWN:
                self.extensions.append((name, _text(value)))
            elif key in known:
                raise InvalidDSN("repeated", name, value=value.strip())
            else:
                known[key] = value.strip(" ")
        if len(self.extensions) > MAX_EXTENSIONS:
            raise LimitExceeded(MAX_EXTENSIONS, "the number of extension fields")


def _sorted_groups(groups: list[str]) -> tuple[_Fields, list[_Fields]]:
    """Return the fields of the message, and those of each recipient."""
    message = _Fields()
    recipients: list[_Fields] = []
    for group in groups:
        fields = _Fields()
        try:
            fields.take(group)
            if "final-recipient" in fields.known:
                recipients.append(fields)
            else:  # of the recipient before: a blank line too many
                (recipients[-1] if recipients else message).take(group)
        except InvalidDSN as error:
            number = len(recipients) + ("final-recipient:" in group.lower())
            raise InvalidDSN(error.reason, error.where, recipient=number, value=error.value) from None
        if len(recipients) > MAX_RECIPIENTS:
            raise LimitExceeded(MAX_RECIPIENTS, "the number of a DSN's recipients")
    for fields in recipients:
        # No blank line before the first recipient; or Exchange's Arrival-Date for each.
        if not PER_MESSAGE.isdisjoint(fields.known):
            message.known = {key: value for key, value in fields.known.items() if key in PER_MESSAGE} | message.known
    return message, recipients


def _recipient(fields: _Fields, number: int, *, utf8: bool) -> RecipientStatus:
    known = fields.known
    for name in ("action", "status"):
        if name not in known:
            raise InvalidDSN("missing", name.title(), recipient=number)
    action = _ACTIONS.get(split_comments(known["action"])[0].lower())
    if action is None:
        raise InvalidDSN("unknown", "Action", recipient=number, value=known["action"])
    status, comment = _status(known["status"])
    kind, text = _diagnostic(known.get("diagnostic-code", ""), number)
    original, remote = known.get("original-recipient"), known.get("remote-mta")
    retry = known.get("will-retry-until")
    return trusted(
        RecipientStatus,
        final_recipient=_address(known["final-recipient"], "Final-Recipient", number, utf8=utf8),
        action=action,
        status=status,
        status_comment=comment,
        original_recipient=None
        if original is None
        else _address(original, "Original-Recipient", number, utf8=utf8, mail_only=False),
        remote_mta=None if not remote else _remote_mta(remote),
        diagnostic_type=kind,
        diagnostic_text=text,
        last_attempt_date=_date(known.get("last-attempt-date"), "Last-Attempt-Date", number),
        final_log_id=_text(known.get("final-log-id", "")),
        will_retry_until=None if retry is None else read_date(retry),  # mox takes any text for it, too
        extensions=tuple(fields.extensions),
    )


def _text(value: str) -> str:
    """Return a value, encoded words in it decoded (RFC 2047), as a line without controls."""
    return printable(decode_words(value)) if "=?" in value else value.strip(" ")


def _ascii(value: str) -> str:
    """Return an ENVID, which is ASCII; of what is not, something that no ENVID equals."""
    return value if value.isascii() else value.encode("ascii", "replace").decode()


def _status(value: str) -> tuple[EnhancedCode | None, str]:
    """Return the code, if there is one, and the comment; of a text without a code, it as the comment."""
    match = _code(value)
    if match is None:
        return None, _text(value)
    comment = "" if match.end() == len(value) else _text(split_comments(value)[1])
    return EnhancedCode(int(match[1]), int(match[2]), int(match[3])), comment


def _diagnostic(value: str, number: int) -> tuple[str, str]:
    kind, semicolon, text = value.partition(";")
    kind = kind.strip(" ")
    if semicolon and _diagnostic_type(kind):
        return kind.lower(), _text(text)
    if value and _word(value):
        raise InvalidDSN("a type without a text", "Diagnostic-Code", recipient=number, value=value)
    return "", _text(value)


def _address(value: str, where: str, number: int, *, utf8: bool, mail_only: bool = True) -> TypedAddress:
    usual = _usual_address(value)
    if usual is not None and len(usual[1]) <= MAX_LOCALPART and len(usual[2]) <= MAX_LABEL:
        return trusted(TypedAddress, address=f"{usual[1]}@{usual[2]}", type=RFC822)
    kind, semicolon, address = (split_comments(value)[0] if "(" in value else value).partition(";")
    kind, address = kind.strip(" ").lower(), address.strip(" ")
    if not semicolon:
        raise InvalidDSN("without a type", where, recipient=number, value=value)
    try:
        if kind in MAIL_TYPES:
            if address.startswith("<") and address.endswith(">"):
                address = address[1:-1].strip(" ")
            address = str(_mail_address(kind, address, utf8=utf8))
            return trusted(TypedAddress, address=address, type=RFC822 if address.isascii() else UTF8)
        if not mail_only:
            return TypedAddress(address=_text(address), type=kind)
    except (InvalidAddress, InvalidDSN) as error:
        raise InvalidDSN(error.reason, where, recipient=number, value=value) from error
    raise InvalidDSN("unknown type of address", where, recipient=number, value=value)


def _mail_address(kind: str, address: str, *, utf8: bool) -> Address:
    r"""Parse a mail address, which may have `\x{...}` escapes (RFC 6533 3) under either type: mox writes them in both.

    Raises:
        InvalidAddress: it is none; or it is beyond what a 7-bit part may have.
    """
    if not utf8 and not address.isascii():
        raise InvalidAddress("UTF-8 in a 7-bit part", address)
    if "\\" not in address or address.startswith('"'):
        if kind == UTF8 and not utf8:
            # What is ASCII is of type rfc822 where the part is; and mox refuses it.
            raise InvalidAddress("type utf-8 in a 7-bit part", address)
        return parse_address(address)
    escaped = address.replace("\\X{", "\\x{")
    if "\\" in _escape.sub("", escaped):
        raise InvalidAddress("an unfinished escape", address)
    parsed = parse_dsn_address(escaped)
    if kind == RFC822 and parsed.localpart.value.strip(" ") != parsed.localpart.value:
        # mox quotes nothing and escapes all; but no such address is one that anybody has, and mox does not read it.
        raise InvalidAddress("a blank at an end of the localpart", address)
    return parsed


def _mta(value: str, where: str) -> MTA:
    text, comment = split_comments(value)
    kind, semicolon, name = text.partition(";")
    if not semicolon:
        raise InvalidDSN("without a type", where, value=value)
    kind = kind.strip(" ").lower()
    if not is_reporting_type(kind):
        raise InvalidDSN("unknown type of name", where, value=value)
    return _named(kind, name, comment)


def _remote_mta(value: str) -> MTA | None:
    text, comment = split_comments(value)
    kind, semicolon, name = text.partition(";")
    kind = kind.strip(" ").lower()
    if not semicolon or not _diagnostic_type(kind):
        kind, name = "", text
    return _named(kind, name, comment) if kind or name else None


def _named(kind: str, name: str, comment: str) -> MTA:
    name = name.strip(" ")
    if _plain_name(name):
        return trusted(MTA, name=name, type=kind, comment=_text(comment))
    name = _not_in_name.sub(" ", _text(name))
    return MTA(name=name, type=kind, comment=_text(comment))


def _date(value: str | None, where: str, number: int = 0) -> datetime | None:
    if value is None:
        return None
    date = read_date(value)
    if date is None:
        raise InvalidDSN("not a date and time with seconds", where, recipient=number, value=value)
    return date
