"""A message that came in, read as feedback: which recipients it speaks of, and how it is to be matched. Pure.

Well-formed DSNs (RFC 3464), abuse reports (RFC 5965) and bounces of other forms; anything else says nothing but that
it came.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, assert_never

from moxlib.dsn import (
    DSN,
    AbuseReport,
    Action,
    Bounce,
    BouncedRecipient,
    InvalidReport,
    RecipientStatus,
    parse_report,
    read_bounce,
)
from moxlib.errors import LimitExceeded
from moxlib.message import Part
from moxlib.queue.reply_class import Classifier, ReplyClass
from moxlib.queue.types import EventType, FeedbackSource
from moxlib.smtp import (
    Address,
    EnhancedCode,
    InvalidAddress,
    InvalidXtext,
    decode_xtext,
    parse_address,
    parse_path,
)

__all__ = ["ReceivedFeedback", "ReportedStatus", "address_key", "read_report"]

MAX_TEXT: Final = 2000  # characters of a reason that are kept, as of a reply
MAX_ID: Final = 998  # of an identifier: a line (RFC 5322 2.1.1)
DIGEST: Final = 32  # hexadecimal digits: 128 bits, which no two reports share by chance
NO_COMPLAINT: Final = frozenset(("not-spam", "auth-failure", "dmarc"))  # RFC 6430, 6591: about messages, against nobody

_EVENTS: Final = {
    Action.FAILED: EventType.FAILED,
    Action.DELAYED: EventType.DELAYED,
    Action.DELIVERED: EventType.DELIVERED,
    Action.RELAYED: EventType.RELAYED,
    Action.EXPANDED: EventType.EXPANDED,
}
FAILURES: Final = range(400, 600)
_FAILED: Final = frozenset((EventType.FAILED, EventType.DELAYED))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedStatus:
    """What a report says of one recipient."""

    recipients: tuple[str, ...]
    """The addresses it is known by there, as `address_key` gives them, the sender's own first; empty: not told."""
    address: str
    """The last of them, the one that failed, for people."""
    event: EventType
    code: int = 0
    enhanced: str = ""
    text: str = ""
    reply_class: ReplyClass | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedFeedback:
    """A message that came in, as feedback."""

    source: FeedbackSource
    digest: str
    """The same for the same report handed in again, whatever header lines were added on its way."""
    fromids: tuple[str, ...] = ()
    """What may be the fromid of the message it is about, the likeliest first."""
    envid: str = ""
    message_id: str = ""
    """Of the message it returns: with angle brackets, as there."""
    report_id: str = ""
    """Its own Message-ID."""
    reporter: str = ""
    """The server that wrote it."""
    statuses: tuple[ReportedStatus, ...]
    """At least one."""

    @property
    def decoded_envid(self) -> str:
        """What `envid` stands for if it is xtext (RFC 3461 4), in which Exim returns it; "" if only for itself."""
        try:
            decoded = decode_xtext(self.envid)
        except InvalidXtext:
            return ""
        # An envelope identifier is printable, and a database does not take every control.
        return decoded if decoded != self.envid and decoded.isprintable() else ""


def address_key(address: str) -> str:
    """Return what an address is compared by: its ASCII form where it has one, whatever the case.

    Localparts may tell cases apart (RFC 5321 2.4); reports often do not keep them.
    """
    try:
        return str(parse_path(address)).lower()
    except InvalidAddress:
        return address.lower()


FromIDs = Callable[[Iterable[Address]], tuple[str, ...]]
"""Given addresses, what may be fromids in them, the likeliest first."""


def read_report(
    part: Part, *, addresses: Iterable[Address] = (), fromids: FromIDs, classifier: Classifier
) -> ReceivedFeedback:
    """Tell what a message that came in says of messages that were sent.

    Args:
        part: the message. Only its header and the parts that make a report are read, and its octets are hashed.
        addresses: those that it came in for.
        fromids: finds what may be fromids in addresses.
        classifier: says what failures mean.

    Raises:
        OSError: what reading the file it lies in does.
    """
    report_id = part.get("message-id")[:MAX_ID]
    digest = _digest(part, report_id)
    read, broken = _read(part)
    if isinstance(read, AbuseReport):
        addresses = (*addresses, *_addresses(read.original_mail_from))
    found = fromids(addresses)
    match read:
        case None:
            status = ReportedStatus(recipients=(), address="", event=EventType.UNRECOGNIZED)
            source = FeedbackSource.DSN if broken else FeedbackSource.OTHER
            return ReceivedFeedback(
                source=source, digest=digest, fromids=found, report_id=report_id, statuses=(status,)
            )
        case DSN():
            return ReceivedFeedback(
                source=FeedbackSource.DSN,
                digest=digest,
                fromids=found,
                envid=read.original_envelope_id,
                message_id=read.returned_message_id[:MAX_ID],
                report_id=report_id,
                reporter=read.reporting_mta.name,
                statuses=tuple([_of_status(recipient, classifier) for recipient in read.recipients]),
            )
        case Bounce():
            return ReceivedFeedback(
                source=FeedbackSource.BOUNCE,
                digest=digest,
                fromids=found,
                message_id=read.returned_message_id[:MAX_ID],
                report_id=report_id,
                statuses=tuple([_of_bounced(recipient, classifier) for recipient in read.recipients]),
            )
        case AbuseReport():
            return ReceivedFeedback(
                source=FeedbackSource.COMPLAINT,
                digest=digest,
                fromids=found,
                envid=read.original_envelope_id,
                message_id=read.returned_message_id[:MAX_ID],
                report_id=report_id,
                reporter=read.reporting_mta,
                statuses=_complaints(read),
            )
        case _:
            assert_never(read)


def _read(part: Part) -> tuple[DSN | AbuseReport | Bounce | None, bool]:
    """Return what a message is, if it can be told; and whether it is a report that could not be read."""
    broken = False
    report: DSN | AbuseReport | None = None
    try:
        report = parse_report(part)
    except (InvalidReport, LimitExceeded):
        broken = True
    if isinstance(report, DSN):
        return report, False
    if report is not None:
        return (None if report.feedback_type in NO_COMPLAINT else report), False
    bounce = read_bounce(part)
    if bounce is not None and bounce.recognised_by == "delivery-status" and _is_cut_off(part):
        return None, False  # what is missing of its fields may say otherwise
    return bounce, broken and not _is_cut_off(part)


def _is_cut_off(part: Part) -> bool:
    """Return whether a multipart has no end, so that its last part may have been longer."""
    parts = part.parts
    return bool(parts) and parts[-1].end == part.end


def _digest(part: Part, report_id: str) -> str:
    """Return what tells a report from others: its Message-ID and its body; its header grows with each hop."""
    hashed = sha256(report_id.encode("utf-8", "surrogateescape") + b"\0")
    for chunk in part.raw_chunks():
        hashed.update(chunk)
    return hashed.hexdigest()[:DIGEST]


def _of_status(recipient: RecipientStatus, classifier: Classifier) -> ReportedStatus:
    named = [recipient.final_recipient]
    if recipient.original_recipient is not None:
        named.insert(0, recipient.original_recipient)
    text = recipient.diagnostic_text or recipient.status_comment
    addresses = [each.address for each in named if each.is_mail]
    code, enhanced = _reply(recipient)
    return _status(addresses, _EVENTS[recipient.action], code, enhanced, text, classifier)


def _reply(recipient: RecipientStatus) -> tuple[int, EnhancedCode | None]:
    """Return the codes that say what the action says: of the reply, else of a failure's status; 0 for none."""
    failed = _EVENTS[recipient.action] in _FAILED
    if recipient.has_reply and (recipient.code in FAILURES) == failed:
        return recipient.code, recipient.enhanced
    status = recipient.status
    if not failed or status is None or status.class_ * 100 not in FAILURES:
        return 0, None
    return status.class_ * 100, status


def _of_bounced(recipient: BouncedRecipient, classifier: Classifier) -> ReportedStatus:
    event = _EVENTS[recipient.action]
    return _status([recipient.address], event, recipient.code, recipient.enhanced, recipient.text, classifier)


def _status(
    addresses: list[str],
    event: EventType,
    code: int,
    enhanced: EnhancedCode | None,
    text: str,
    classifier: Classifier,
) -> ReportedStatus:
    enhanced_text = "" if enhanced is None else str(enhanced)
    failed = event in _FAILED
    return ReportedStatus(
        recipients=tuple(map(address_key, addresses)),
        address=addresses[-1],
        event=event,
        code=code,
        enhanced=enhanced_text,
        text=text[:MAX_TEXT],
        reply_class=classifier.classify(code, enhanced_text, text[:MAX_TEXT]) if failed else None,
    )


def _addresses(text: str) -> tuple[Address, ...]:
    try:
        return (parse_address(text),)
    except InvalidAddress:
        return ()


def _complaints(report: AbuseReport) -> tuple[ReportedStatus, ...]:
    text = f"feedback type {report.feedback_type}"[:MAX_TEXT]
    if not report.original_rcpt_to:
        return (ReportedStatus(recipients=(), address="", event=EventType.COMPLAINED, text=text),)
    return tuple(
        [
            ReportedStatus(recipients=(address_key(address),), address=address, event=EventType.COMPLAINED, text=text)
            for address in report.original_rcpt_to
        ]
    )
