"""Bounces that are no delivery status notifications, or malformed ones, read as far as they can be recognised.

There is no standard for these. A message counts as one only if its header says that a mail system wrote it, and its
text is built as one of the programs builds it that `styles` knows; a person who quotes a bounce is not taken for one.
"""

import re
from dataclasses import dataclass, replace
from typing import Final

from moxlib.dsn.lines import MAX_STATUS, read_groups, split_comments
from moxlib.dsn.parse import STATUS_TYPES, parse_report
from moxlib.dsn.received import Heading, opened, readable, returned_in
from moxlib.dsn.styles import MAX_OPENING, STYLES, Named
from moxlib.dsn.types import MAX_RECIPIENTS, Action, Returned
from moxlib.errors import InputError
from moxlib.message import Part, split_addresses
from moxlib.smtp import EnhancedCode, InvalidAddress, parse_path

__all__ = ["Bounce", "BouncedRecipient", "read_bounce"]

MAX_TEXT_READ: Final = 64 * 1024  # octets in which recipients are looked for; what follows is the message
MAX_PARTS: Final = 20  # in which a returned message or a status is looked for

_DAEMONS: Final = frozenset(
    (
        "mailer-daemon",
        "postmaster",
        "mail-daemon",
        "mailerdaemon",
        "mdaemon",
        "bounce",
        "bounces",
        "mail-delivery-subsystem",
    )
)
_daemon_name = re.compile(r"mailer[- ]?daemon|mail delivery (?:sub)?system|postmaster|microsoft outlook", re.IGNORECASE)
_reply = re.compile(
    r"(?<![0-9.])([45][0-9]{2})[ #:-]+([245]\.[0-9]{1,3}\.[0-9]{1,3})(?![0-9])"  # 550 5.1.1, 550 #5.1.1, 550: 5.1.1
    r"|(?<![0-9.:])([45][0-9]{2})(?=[ :-]+[^0-9\s])"  # 550 no, 550: no
    r"|(?<![0-9.])#?([245]\.[0-9]{1,3}\.[0-9]{1,3})(?![0-9.])"  # #5.1.1, (5.1.1)
)
_ACTIONS: Final = frozenset(Action)
_delay = re.compile(r"\bdelayed\b|\bwill (?:be retried|retry|keep trying)\b|not yet been delivered", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class BouncedRecipient:
    """A recipient that a bounce names.

    Attributes:
        address: as `TypedAddress` has mail addresses.
        action: failed, or delayed if the bounce says so. A success only where fields of a delivery status say it:
            OpenSMTPD tells of all that it tells in a multipart/mixed.
        code: the reply code that is told; 0 if none is.
        enhanced: the enhanced code, likewise.
        text: the reason, in one line; empty if none is told.
    """

    address: str
    action: Action = Action.FAILED
    code: int = 0
    enhanced: EnhancedCode | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounce:
    """What could be recognised of a bounce.

    Attributes:
        recognised_by: `delivery-status`, for fields of a delivery status that is malformed otherwise;
            `x-failed-recipients`, for this header field, which Exim and Gmail write; else the program whose texts look
            so: `qmail`, `postfix`, `exim`, `sendmail`, `gmail`, `yahoo`, `exchange`, `opensmtpd`.
        recipients: at least one, in order, each once.
        subject: of the bounce, decoded.
        from_address: the address in its From; empty if there is none, or several.
        to_address: likewise in To.
        message_id: as it stands in its header, `<...>`; empty if there is none.
        text: of the bounce, with bare newlines, up to 64 KiB.
        returned: the message that it is about, or its header, if it came with it.
    """

    recognised_by: str
    recipients: tuple[BouncedRecipient, ...]
    subject: str = ""
    from_address: str = ""
    to_address: str = ""
    message_id: str = ""
    text: str = ""
    returned: Returned | None = None

    @property
    def returned_message_id(self) -> str:
        """The Message-ID of the returned message, as it stands in its header; empty if it is not known."""
        return "" if self.returned is None else self.returned.message_id


def read_bounce(source: bytes | Part) -> Bounce | None:
    """Recognise a bounce that is not a well-formed DSN, as far as that can be done.

    Ask `parse_report` first. Unlike what it returns, this is a reading of words meant for people: take `recognised_by`
    into account before an address is suppressed for it.

    Returns:
        None if the message is no bounce that is known here, names no recipient, or is a well-formed report.
    """
    message = opened(source)
    heading = Heading.of(message)
    if not _is_from_a_mail_system(message, heading):
        return None
    try:
        if parse_report(message) is not None:
            return None
    except InputError:
        pass  # a malformed one: what of it can be read?
    text = readable(message, MAX_TEXT_READ)
    returned = _returned(message)
    recognised = _by_status(message, text) or _by_style(text) or _by_field(message, text)
    if recognised is None:
        return None
    recognised_by, recipients, copy = recognised
    if returned is None and copy:
        returned = Returned(content=copy.encode("utf-8", "replace"), whole=True)
    return Bounce(
        recognised_by=recognised_by,
        recipients=recipients,
        subject=heading.subject,
        from_address=heading.from_address,
        to_address=heading.to_address,
        message_id=heading.message_id,
        text=text,
        returned=returned,
    )


_Recognised = tuple[str, tuple[BouncedRecipient, ...], str]  # by what, whom, and the copy of the message in the text


def _is_from_a_mail_system(message: Part, heading: Heading) -> bool:
    """Whether a header says that no person wrote the message."""
    localpart = heading.from_address.rpartition("@")[0].lower()
    return (
        message.media_type == "multipart/report"
        or localpart in _DAEMONS
        or message.get("return-path").replace(" ", "") == "<>"
        or message.get("x-failed-recipients") != ""
        or _daemon_name.search(message.get("from")) is not None
    )


def _by_status(message: Part, text: str) -> _Recognised | None:
    """Read the recipients of a delivery status that is malformed as a whole, or not in a multipart/report.

    Of those that it gives no reason for, the text may have it: OpenSMTPD writes "Status: 5.0.0", and the reply there.
    """
    for part, _ in zip(message.walk(), range(MAX_PARTS), strict=False):
        if part.media_type in STATUS_TYPES:
            try:
                groups = read_groups(part.body(MAX_STATUS))
            except InputError:
                continue
            found = [_of_fields(group) for group in groups]
            if recipients := _each_once(found):
                return "delivery-status", _with_reasons(recipients, text), ""
    return None


def _with_reasons(recipients: tuple[BouncedRecipient, ...], text: str) -> tuple[BouncedRecipient, ...]:
    if all(recipient.text for recipient in recipients):
        return recipients
    styled = _by_style(text)
    told = {} if styled is None else {recipient.address: recipient for recipient in styled[1]}
    return tuple([_with_reason(recipient, told.get(recipient.address)) for recipient in recipients])


def _with_reason(recipient: BouncedRecipient, told: BouncedRecipient | None) -> BouncedRecipient:
    if recipient.text or told is None:
        return recipient
    if told.code // 100 != recipient.code // 100:  # it is not of the failure that the status is of
        return replace(recipient, text=told.text)
    return replace(recipient, code=told.code, enhanced=told.enhanced, text=told.text)


def _of_fields(group: str) -> BouncedRecipient | None:
    fields = {name.lower(): value for name, _, value in (line.partition(":") for line in group.split("\n"))}
    address = fields.get("final-recipient", "") or fields.get("original-recipient", "")
    action = split_comments(fields.get("action", ""))[0].lower()
    status = fields.get("status", "")
    if not action:
        action = "delayed" if status.strip().startswith("4") else "failed"
    if action not in _ACTIONS:
        return None
    reason = fields.get("diagnostic-code", "").partition(";")[2].strip()
    code, enhanced = _codes(reason or status)
    return _recipient(split_comments(address)[0].rpartition(";")[2], reason, code, enhanced, Action(action))


def _by_style(text: str) -> _Recognised | None:
    opening = text[:MAX_OPENING].lower()
    for style in STYLES:
        section = style.section(text, opening)
        if section is None:
            continue
        begin, end, copy = section
        # A code that begins with 4 is no delay, if the text speaks of a failure: then it was retried long enough.
        delayed = _delay.search(text, 0, end) is not None
        if recipients := _each_once([_of_named(named, delayed=delayed) for named in style.named(text[begin:end])]):
            return style.name, recipients, text[copy:]
    return None


def _of_named(named: Named, *, delayed: bool) -> BouncedRecipient | None:
    code, enhanced = _codes(named.reason)
    return _recipient(named.address, named.reason, code, enhanced, Action.DELAYED if delayed else Action.FAILED)


def _by_field(message: Part, text: str) -> _Recognised | None:
    """Read X-Failed-Recipients, and the reason of each from where the text names it, if it does."""
    found = []
    value = ", ".join(message.values("x-failed-recipients"))
    for spec in split_addresses(value[:MAX_TEXT_READ])[:MAX_RECIPIENTS]:
        at = text.find(spec)
        reason = " ".join(text[at + len(spec) : at + 1000].split()) if spec and at >= 0 else ""
        code, enhanced = _codes(reason)
        found.append(_recipient(spec, reason if code or enhanced else "", code, enhanced, Action.FAILED))
    recipients = _each_once(found)
    return ("x-failed-recipients", recipients, "") if recipients else None


def _recipient(
    address: str, reason: str, code: int, enhanced: EnhancedCode | None, action: Action
) -> BouncedRecipient | None:
    try:
        parsed = str(parse_path(address.strip(" \t<>")))
    except InvalidAddress:
        return None
    return BouncedRecipient(address=parsed, action=action, code=code, enhanced=enhanced, text=reason)


def _codes(reason: str) -> tuple[int, EnhancedCode | None]:
    """Return the first reply code, else the first enhanced code, that a reason tells."""
    match = _reply.search(reason)
    if match is None:
        return 0, None
    code, enhanced = match[1] or match[3], match[2] or match[4]
    parsed = EnhancedCode.parse(enhanced) if enhanced else None
    return int(code) if code else parsed.class_ * 100 if parsed else 0, parsed


def _each_once(found: list[BouncedRecipient | None]) -> tuple[BouncedRecipient, ...]:
    """Return the first of each address."""
    first: dict[str, BouncedRecipient] = {}
    for recipient in found:
        if recipient is not None and len(first) < MAX_RECIPIENTS:
            first.setdefault(recipient.address, recipient)
    return tuple(first.values())


def _returned(message: Part) -> Returned | None:
    for part, _ in zip(message.walk(), range(MAX_PARTS), strict=False):
        if part is not message and (returned := returned_in(part)) is not None:
            return returned
    return None
