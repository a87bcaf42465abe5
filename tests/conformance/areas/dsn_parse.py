"""DSNs: whole messages, and the delivery status of what a received message is.

mox keeps the fields as they stand; here they are taken apart. So what is compared is each value that both have, and of
the fields as they stand, those that are extensions here.
"""

import base64
from datetime import datetime
from typing import Any

from moxlib.dns import parse_domain
from moxlib.dns.errors import InvalidDomain
from moxlib.dsn import DSN, MTA, InvalidReport, NotADSN, RecipientStatus, parse_dsn, parse_report
from moxlib.dsn.types import KNOWN
from moxlib.errors import LimitExceeded
from moxlib.smtp import parse_address


def outcome(case: dict[str, Any]) -> tuple[object, object]:
    raw = base64.b64decode(case["raw"])
    expected = {"parse": _expected(case["parse"])}
    got = {"parse": _parsed(raw)}
    if "incoming_decode" in case:
        expected["status"] = _without_header(_expected(case["incoming_decode"]))
        got["status"] = _without_header(_reported(raw))
    return expected, got


def _parsed(raw: bytes) -> object:
    try:
        return plain(parse_dsn(raw))
    except (InvalidReport, NotADSN, LimitExceeded):
        return "refused"


def _reported(raw: bytes) -> object:
    try:
        report = parse_report(raw)
    except (InvalidReport, LimitExceeded):
        return "refused"
    return plain(report) if isinstance(report, DSN) else "no DSN"


def _without_header(value: object) -> object:
    if not isinstance(value, dict):
        return value
    return {key: inner for key, inner in value.items() if key not in {"subject", "from", "to", "text"}}


def _expected(result: dict[str, Any]) -> object:
    return plain_of_mox(result["message"]) if result["ok"] else "refused"


def plain_of_mox(message: dict[str, Any]) -> dict[str, object]:
    return {
        "subject": message["Subject"],
        "from": _mox_path(message["From"]),
        "to": _mox_path(message["To"]),
        "text": message["TextBody"],
        "envid": message["OriginalEnvelopeID"],
        "reporting": _name(message["ReportingMTA"]),
        "gateway": _name(message["DSNGateway"]),
        "received_from": _mox_host(message["ReceivedFromMTA"]),
        "arrival": _mox_date(message["ArrivalDate"]),
        "extensions": _mox_extensions(message["MessageHeader"]),
        "recipients": [_mox_recipient(recipient) for recipient in message["Recipients"]],
    }


def _mox_recipient(recipient: dict[str, Any]) -> dict[str, object]:
    status, comment = recipient["Status"], recipient["StatusComment"]
    if "(" in status:  # of a comment that is not closed, mox has all as the status
        status, _, comment = status.partition(" (")
    return {
        "action": recipient["Action"],
        "status": status,
        "comment": comment,
        "original": _mox_path(recipient["OriginalRecipient"]),
        "final": _mox_path(recipient["FinalRecipient"]),
        "remote": _mox_remote(recipient["RemoteMTA"]),
        "diagnostic": recipient["DiagnosticCodeSMTP"],
        "last_attempt": _mox_date(recipient["LastAttemptDate"]),
        "log_id": recipient["FinalLogID"],
        "retry_until": _mox_date(recipient["WillRetryUntil"]),
        "extensions": _mox_extensions(recipient["Header"]),
    }


def _mox_path(path: dict[str, str] | None) -> tuple[str, ...] | None:
    return None if path is None else (path["localpart"], path["domain_ascii"], path["domain_unicode"])


def _mox_host(host: str | None) -> str:
    return _name(host or "")


def _mox_remote(value: str) -> str:
    """mox has the field as it stands, with its type and comment."""
    return _name(value.partition("(")[0].rpartition(";")[2].strip())


def _mox_date(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text and not text.startswith("0001") else None


def _mox_extensions(header: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: values for name, values in header.items() if name.lower() not in KNOWN}


def plain(dsn: DSN) -> dict[str, object]:
    return {
        "subject": dsn.subject,
        "from": _path(dsn.from_address),
        "to": _path(dsn.to_address),
        "text": dsn.text,
        "envid": dsn.original_envelope_id,
        "reporting": _mta(dsn.reporting_mta),
        "gateway": _mta(dsn.dsn_gateway),
        "received_from": _mta(dsn.received_from_mta),
        "arrival": dsn.arrival_date,
        "extensions": _extensions(dsn.extensions),
        "recipients": [_recipient(recipient) for recipient in dsn.recipients],
    }


def _recipient(recipient: RecipientStatus) -> dict[str, object]:
    return {
        "action": recipient.action.value,
        "status": str(recipient.status),
        "comment": recipient.status_comment,
        "original": recipient.original_recipient and _path(recipient.original_recipient.address),
        "final": _path(recipient.final_recipient.address),
        "remote": _mta(recipient.remote_mta),
        "diagnostic": recipient.diagnostic_text,
        "last_attempt": recipient.last_attempt_date,
        "log_id": recipient.final_log_id,
        "retry_until": recipient.will_retry_until,
        "extensions": _extensions(recipient.extensions),
    }


def _path(text: str) -> tuple[str, ...] | None:
    if not text:
        return None
    address = parse_address(text)
    return address.localpart.value, address.domain.ascii, address.domain.unicode


def _mta(mta: MTA | None) -> str:
    return "" if mta is None else _name(mta.name)


def _name(name: str) -> str:
    """Return a name in the form of it that both have."""
    try:
        return parse_domain(name).ascii if not name.isascii() else name
    except InvalidDomain:
        return name


def _extensions(fields: tuple[tuple[str, str], ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in fields:
        found.setdefault("-".join(word.capitalize() for word in name.split("-")), []).append(value)
    return found
