"""Reports, read: delivery status notifications whole, and what a received message is."""

from typing import Final, TypeAlias

from moxlib.dsn.abuse import FEEDBACK_TYPE, AbuseReport, read_feedback
from moxlib.dsn.errors import InvalidDSN, NotADSN
from moxlib.dsn.lines import MAX_STATUS
from moxlib.dsn.received import HEADER_TYPES, MESSAGE_TYPES, Heading, opened, readable, returned_in
from moxlib.dsn.status import read_status
from moxlib.dsn.types import DSN, Returned, trusted
from moxlib.message import Part

__all__ = ["Report", "parse_dsn", "parse_report"]

REPORT: Final = "multipart/report"  # RFC 6522
GLOBAL: Final = "message/global-delivery-status"  # RFC 6533 4
STATUS_TYPES: Final = frozenset(("message/delivery-status", GLOBAL))
RETURNED_TYPES: Final = MESSAGE_TYPES | HEADER_TYPES
MAX_PARTS: Final = 10  # that are looked at for what makes a report; RFC 6522 has two or three

Report: TypeAlias = DSN | AbuseReport
"""What `parse_report` reads; `match` tells them apart."""


def parse_dsn(source: bytes | Part) -> DSN:
    """Read a message that is a delivery status notification by RFC 3464 and RFC 6522.

    Its form has to be theirs: two or three parts, the second the delivery status, the third a message or header. What
    servers do within that form otherwise is read: see `docs/reference/dsn.md`. `parse_report` does not insist on it.

    Args:
        source: the message, with CRLF or bare newlines. Its parts may be in any transfer encoding.

    Raises:
        NotADSN: it is something else.
        InvalidDSN: it means to be one, and is malformed.
        LimitExceeded: its delivery status is too large, or has too many recipients or fields.
    """
    message = opened(source)
    if message.media_type != REPORT:
        raise NotADSN(f"its type is {message.media_type[:80]!a}")
    parts = message.parts
    count = len(parts)
    if count < 2 or parts[1].media_type not in STATUS_TYPES:  # noqa: PLR2004 - RFC 6522 3
        raise NotADSN("its second part is no delivery status")
    if count > 3:  # noqa: PLR2004
        raise InvalidDSN("more than three parts")
    if parts[-1].end == message.end:
        raise InvalidDSN("its last part does not end")
    if count == 3 and parts[2].media_type not in RETURNED_TYPES:  # noqa: PLR2004
        raise InvalidDSN("neither a message nor a header", "third part", value=parts[2].media_type)
    return _dsn(message, parts[0], parts[1], returned_in(parts[2]) if count == 3 else None)  # noqa: PLR2004


def parse_report(source: bytes | Part) -> Report | None:
    """Tell what report a received message is, if it is one, and read it.

    A message of the type multipart/report is one by its first part that is a delivery status or a feedback report,
    wherever that is, even if it is cut off after it. Bounces of other forms are for `read_bounce`.

    Returns:
        None for any other message.

    Raises:
        InvalidReport: it means to be one, and is malformed: `InvalidDSN`, if a delivery status.
        LimitExceeded: as `parse_dsn`.
    """
    message = opened(source)
    if message.media_type != REPORT:
        return None
    first: Part | None = None
    for index, part in enumerate(message.parts):
        if index == MAX_PARTS:
            break
        if part.media_type in STATUS_TYPES:
            return _dsn(message, first, part, _returned_after(message, index))
        if part.media_type == FEEDBACK_TYPE:
            text = "" if first is None else readable(first)
            return read_feedback(part, Heading.of(message), text, _returned_after(message, index))
        first = first or part
    return None


def _dsn(message: Part, text: Part | None, status: Part, returned: Returned | None) -> DSN:
    heading = Heading.of(message)
    said = read_status(status.body(MAX_STATUS), utf8=status.media_type == GLOBAL)
    return trusted(
        DSN,
        reporting_mta=said.reporting_mta,
        recipients=said.recipients,
        subject=heading.subject,
        from_address=heading.from_address,
        to_address=heading.to_address,
        message_id=heading.message_id,
        references=heading.references,
        text="" if text is None else readable(text),
        dsn_gateway=said.dsn_gateway,
        received_from_mta=said.received_from_mta,
        arrival_date=said.arrival_date,
        original_envelope_id=said.original_envelope_id,
        extensions=said.extensions,
        returned=returned,
    )


def _returned_after(message: Part, index: int) -> Returned | None:
    """Return the first message or header among the parts after one."""
    for part in message.parts[index + 1 : index + 1 + MAX_PARTS]:
        found = returned_in(part)
        if found is not None:
            return found
    return None
