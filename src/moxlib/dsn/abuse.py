"""Abuse reports (ARF, RFC 5965), read: what a receiver's users complain about.

Fields that a receiver left out or blacked out are common; only the type has to be there.
"""

from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

from moxlib.dsn.errors import InvalidReport
from moxlib.dsn.lines import is_field_name, read_groups, split_comments
from moxlib.dsn.received import Heading
from moxlib.dsn.types import Returned
from moxlib.message import Part, decode_words, parse_date

__all__ = ["FEEDBACK_TYPE", "AbuseReport", "read_feedback"]

FEEDBACK_TYPE: Final = "message/feedback-report"
MAX_FEEDBACK: Final = 256 * 1024  # octets of a feedback part, which has some ten fields
MAX_DIGITS: Final = 9  # of a count of messages


@dataclass(frozen=True, slots=True, kw_only=True)
class AbuseReport:
    """A complaint about a message (RFC 5965). Texts are what the report says, without angle brackets; empty if not.

    Attributes:
        feedback_type: `abuse`, `fraud`, `virus`, `not-spam`, `auth-failure`, `other` ...; in lower case.
        user_agent: the program that wrote the report.
        version: of the format; 1.
        original_mail_from: the MAIL FROM of the message.
        original_rcpt_to: the recipients; some receivers black them out, which is why fromids are of use.
        original_envelope_id: the sender's ENVID.
        arrival_date: when the message came.
        reporting_mta: the server that took it.
        source_ip: where that had it from.
        incidents: how many complaints the report stands for.
        authentication_results: the values of Authentication-Results.
        reported_domains: domains in the message that are complained about.
        reported_uris: URIs in it, likewise.
        extensions: further fields, in order, names as they are spelled.
        subject: of the report itself, decoded; the following likewise, as in `DSN`.
        from_address: see there.
        to_address: see there.
        message_id: see there.
        references: see there.
        text: see there.
        returned: the message that it is about, or its header, if it came with it.
    """

    feedback_type: str
    user_agent: str = ""
    version: str = ""
    original_mail_from: str = ""
    original_rcpt_to: tuple[str, ...] = ()
    original_envelope_id: str = ""
    arrival_date: datetime | None = None
    reporting_mta: str = ""
    source_ip: IPv4Address | IPv6Address | None = None
    incidents: int = 1
    authentication_results: tuple[str, ...] = ()
    reported_domains: tuple[str, ...] = ()
    reported_uris: tuple[str, ...] = ()
    extensions: tuple[tuple[str, str], ...] = ()
    subject: str = ""
    from_address: str = ""
    to_address: str = ""
    message_id: str = ""
    references: tuple[str, ...] = ()
    text: str = ""
    returned: Returned | None = None

    @property
    def returned_message_id(self) -> str:
        """The Message-ID of the message complained about, as it stands in its header; empty if it is not known."""
        return "" if self.returned is None else self.returned.message_id


_KNOWN: Final = frozenset(
    (
        "feedback-type",
        "user-agent",
        "version",
        "original-mail-from",
        "original-rcpt-to",
        "original-envelope-id",
        "arrival-date",
        "received-date",
        "reporting-mta",
        "source-ip",
        "incidents",
        "authentication-results",
        "reported-domain",
        "reported-uri",
    )
)


def read_feedback(part: Part, heading: Heading, text: str, returned: Returned | None) -> AbuseReport:
    """Read a message/feedback-report.

    Raises:
        InvalidReport: a line that is no field, or no Feedback-Type.
        LimitExceeded: it is too large.
    """
    values: dict[str, list[str]] = {}
    extensions: list[tuple[str, str]] = []
    for line in "\n".join(read_groups(part.body(MAX_FEEDBACK), error=InvalidReport)).split("\n"):
        name, colon, value = line.partition(":")
        if not colon or not is_field_name(name):
            raise InvalidReport("not a field", "second part", value=line)
        if name.lower() in _KNOWN:
            values.setdefault(name.lower(), []).append(value.strip(" "))
        else:
            extensions.append((name, decode_words(value.strip(" "))))

    def one(name: str) -> str:
        return values[name][0] if name in values else ""

    feedback_type = split_comments(one("feedback-type"))[0].lower()
    if not feedback_type:
        raise InvalidReport("missing", "Feedback-Type")
    return AbuseReport(
        feedback_type=feedback_type,
        user_agent=decode_words(one("user-agent")),
        version=split_comments(one("version"))[0],
        original_mail_from=_address(one("original-mail-from")),
        original_rcpt_to=tuple(filter(None, map(_address, values.get("original-rcpt-to", ())))),
        original_envelope_id=one("original-envelope-id"),
        arrival_date=parse_date(one("arrival-date") or one("received-date")),
        reporting_mta=split_comments(one("reporting-mta"))[0].rpartition(";")[2].strip(),
        source_ip=_ip(split_comments(one("source-ip"))[0]),
        incidents=_count(split_comments(one("incidents"))[0]),
        authentication_results=tuple(values.get("authentication-results", ())),
        reported_domains=tuple(values.get("reported-domain", ())),
        reported_uris=tuple(values.get("reported-uri", ())),
        extensions=tuple(extensions),
        subject=heading.subject,
        from_address=heading.from_address,
        to_address=heading.to_address,
        message_id=heading.message_id,
        references=heading.references,
        text=text,
        returned=returned,
    )


def _address(value: str) -> str:
    """Return an address as the report has it: also as a DSN has them, with a type."""
    text = split_comments(value)[0]
    kind, semicolon, address = text.partition(";")
    if semicolon and kind.strip().lower() in {"rfc822", "utf-8"}:
        text = address.strip()
    return text[1:-1].strip() if text.startswith("<") and text.endswith(">") else text


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text.strip("[]"))
    except ValueError:
        return None


def _count(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS else 1
