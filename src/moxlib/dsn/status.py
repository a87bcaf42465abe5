"""A delivery-status part, read (RFC 3464 2, RFC 6533 4): the fields of the message, and those of each recipient.

Which fields are a recipient's is told by a Final-Recipient among them, not by counting blank lines: servers put in too
many of these, and too few. Within a group, fields come in any order.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from moxlib.dsn.errors import InvalidDSN
from moxlib.dsn.lines import Group, read_date, read_groups, split_comments
from moxlib.dsn.types import (
    KNOWN,
    MAX_RECIPIENTS,
    MTA,
    PER_MESSAGE,
    RFC822,
    UTF8,
    Action,
    RecipientStatus,
    TypedAddress,
    is_reporting_type,
)
from moxlib.errors import LimitExceeded
from moxlib.message import decode_words
from moxlib.smtp import Address, EnhancedCode, InvalidAddress, parse_address, parse_dsn_address

__all__ = ["StatusPart", "read_status"]

_code = re.compile(r"(?<![0-9.])[245]\.[0-9]{1,5}\.[0-9]{1,5}(?![0-9])").search
_diagnostic_type = re.compile(r"[A-Za-z][A-Za-z0-9._+-]*").fullmatch
_word = re.compile(r"[^ \t;]+").fullmatch
_escape = re.compile(r"\\x\{[0-9A-Fa-f]{1,6}\}")
_not_in_name = re.compile(r'[()"\\;]+')
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
        raise InvalidDSN("no recipient", "delivery-status part")
    return StatusPart(
        reporting_mta=_mta(known["reporting-mta"], "Reporting-MTA"),
        recipients=tuple([_recipient(fields, number, utf8=utf8) for number, fields in enumerate(recipients, 1)]),
        dsn_gateway=_mta(known["dsn-gateway"], "DSN-Gateway") if "dsn-gateway" in known else None,
        received_from_mta=_mta(known["received-from-mta"], "Received-From-MTA")
        if "received-from-mta" in known
        else None,
        arrival_date=_date(known.get("arrival-date"), "Arrival-Date"),
        original_envelope_id=known.get("original-envelope-id", ""),
        extensions=tuple(message.extensions),
    )


@dataclass(slots=True)
class _Fields:
    """The fields of the message or of one recipient: known ones by name in lower case, and others in order."""

    known: dict[str, str] = field(default_factory=dict)
    extensions: list[tuple[str, str]] = field(default_factory=list)

    def take(self, group: Group, recipient: int) -> None:
        known, extensions = self.known, self.extensions
        for name, value in group:
            lowered = name.lower()
            if lowered not in KNOWN:
                extensions.append((name, decode_words(value)))
            elif lowered in known:
                raise InvalidDSN("repeated", name, recipient=recipient)
            else:
                known[lowered] = value


def _sorted_groups(groups: list[Group]) -> tuple[_Fields, list[_Fields]]:
    message = _Fields()
    recipients: list[_Fields] = []
    for group in groups:
        if any(name.lower() == "final-recipient" for name, _ in group):
            recipients.append(_Fields())
            if len(recipients) > MAX_RECIPIENTS:
                raise LimitExceeded(MAX_RECIPIENTS, "the number of a DSN's recipients")
        (recipients[-1] if recipients else message).take(group, len(recipients))
    for fields in recipients:
        # No blank line before the first recipient; or Exchange's Arrival-Date for each.
        for name in PER_MESSAGE & fields.known.keys():
            message.known.setdefault(name, fields.known[name])
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
    return RecipientStatus(
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
        final_log_id=decode_words(known.get("final-log-id", "")),
        will_retry_until=None if retry is None else read_date(retry),  # mox takes any text for it, too
        extensions=tuple(fields.extensions),
    )


def _status(value: str) -> tuple[EnhancedCode | None, str]:
    """Return the code, if there is one, and the comment; of a text without a code, it as the comment."""
    match = _code(value)
    if match is None:
        return None, decode_words(value)
    comment = "" if match.end() == len(value) else decode_words(split_comments(value)[1])
    return EnhancedCode.parse(match[0]), comment


def _diagnostic(value: str, number: int) -> tuple[str, str]:
    kind, semicolon, text = value.partition(";")
    kind = kind.strip(" \t")
    if semicolon and _diagnostic_type(kind):
        return kind.lower(), decode_words(text)
    if value and _word(value):
        raise InvalidDSN("a type without a text", "Diagnostic-Code", recipient=number, value=value)
    return "", decode_words(value)


def _address(value: str, where: str, number: int, *, utf8: bool, mail_only: bool = True) -> TypedAddress:
    text = split_comments(value)[0]
    kind, semicolon, address = text.partition(";")
    kind, address = kind.strip(" \t").lower(), address.strip(" \t")
    if not semicolon:
        raise InvalidDSN("without a type", where, recipient=number, value=value)
    try:
        if kind in {RFC822, UTF8}:
            if address.startswith("<") and address.endswith(">"):
                address = address[1:-1].strip(" \t")
            return TypedAddress(address=str(_mail_address(kind, address, utf8=utf8)), type=kind)
        if not mail_only:
            return TypedAddress(address=decode_words(address), type=kind)
    except InvalidAddress as error:
        raise InvalidDSN(error.reason, where, recipient=number, value=value) from error
    except InvalidDSN as error:
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
    kind = kind.strip(" \t").lower()
    if not is_reporting_type(kind):
        raise InvalidDSN("unknown type of name", where, value=value)
    return MTA(name=_name(name), type=kind, comment=decode_words(comment))


def _remote_mta(value: str) -> MTA | None:
    text, comment = split_comments(value)
    kind, semicolon, name = text.partition(";")
    kind = kind.strip(" \t")
    if not semicolon or not _diagnostic_type(kind):
        kind, name = "", text
    name, comment = _name(name), decode_words(comment)
    return MTA(name=name, type=kind, comment=comment) if kind or name else None


def _name(text: str) -> str:
    name = decode_words(text)
    return _not_in_name.sub(" ", name) if _not_in_name.search(name) else name


def _date(value: str | None, where: str, number: int = 0) -> datetime | None:
    if value is None:
        return None
    date = read_date(value)
    if date is None:
        raise InvalidDSN("not a date and time with seconds", where, recipient=number, value=value)
    return date
