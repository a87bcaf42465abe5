"""DSNs written: parsed, mox's and ours have the same header, parts and status; and ours is what was to be written.

How addresses are written differs on purpose (RFC 6533 3: escapes, and the type utf-8, only for what is not ASCII), and
so do transfer encodings; so what is compared is read. Of mox's that is done by `moxlib.message`, since it writes what
it does not read.
"""

import base64
from datetime import datetime
from typing import Any

from moxlib.dsn import (
    DSN,
    MTA,
    Action,
    InvalidDSN,
    RecipientStatus,
    Returned,
    TypedAddress,
    compose,
    parse_dsn,
)
from moxlib.dsn.status import read_status
from moxlib.message import Part, decode_words, read_message, split_addresses
from moxlib.smtp import EnhancedCode, parse_address
from moxlib.testing import FakeClock

SAME_AS_THEY_STAND = ("Message-Id", "References", "MIME-Version")


def outcome(case: dict[str, Any]) -> tuple[object, object]:
    utf8 = case["smtputf8"] and case["message"]["SMTPUTF8"]  # mox composes in UTF-8 only for a message that was
    try:
        dsn = built(case["message"])
        ours = compose(dsn, smtputf8=utf8, clock=FakeClock())
    except InvalidDSN:
        return case["ok"], False
    if not case["ok"]:
        return False, True
    theirs = base64.b64decode(case["output"])
    reread = parse_dsn(ours)
    return (_read(theirs, utf8=utf8), dsn), (_read(ours, utf8=utf8), reread)


def built(message: dict[str, Any]) -> DSN:
    """Return the data of a case."""
    received = message.get("ReceivedFromMTA")
    original = base64.b64decode(message["Original"]) if message.get("Original") else b""
    extensions = (
        (("Future-Release-Request", message["FutureReleaseRequest"]),) if "FutureReleaseRequest" in message else ()
    )
    return DSN(
        reporting_mta=MTA(name=message["ReportingMTA"]),
        recipients=tuple(_recipient(recipient) for recipient in message["Recipients"]),
        subject=message["Subject"],
        from_address=message["From"],
        to_address=message["To"],
        message_id=f"<{message['MessageID']}>" if message["MessageID"] else "",
        references=tuple(message.get("References", "").split()),
        text=message["TextBody"],
        dsn_gateway=MTA(name=message["DSNGateway"]) if "DSNGateway" in message else None,
        received_from_mta=_mta(received, "ConnIP") if received else None,
        arrival_date=_date(message.get("ArrivalDate")),
        original_envelope_id=message.get("OriginalEnvelopeID", ""),
        extensions=extensions,
        returned=Returned(content=_header_of(original), whole=False) if original else None,
    )


def _recipient(recipient: dict[str, Any]) -> RecipientStatus:
    status, original, remote = (recipient.get(key) for key in ("Status", "OriginalRecipient", "RemoteMTA"))
    diagnostic = recipient.get("DiagnosticCodeSMTP", "")
    return RecipientStatus(
        final_recipient=TypedAddress(address=recipient["FinalRecipient"]),
        action=Action(recipient["Action"]),
        status=EnhancedCode.parse(status) if status else None,
        status_comment=recipient.get("StatusComment", ""),
        original_recipient=TypedAddress(address=original) if original else None,
        remote_mta=_mta(remote, "IP") if remote else None,
        diagnostic_type="smtp" if diagnostic else "",
        diagnostic_text=diagnostic,
        last_attempt_date=_date(recipient.get("LastAttemptDate")),
        final_log_id=recipient.get("FinalLogID", ""),
        will_retry_until=_date(recipient.get("WillRetryUntil")),
    )


def _mta(host: dict[str, str], ip: str) -> MTA:
    address = host.get(ip, "")
    literal = f"[IPv6:{address}]" if ":" in address else f"[{address}]" if address else ""
    return MTA(name=host["Name"], comment=literal)


def _date(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _header_of(original: bytes) -> bytes:
    """Return the header of a message, which is all that mox returns."""
    header, blank, _ = original.partition(b"\r\n\r\n")
    return header + b"\r\n" if blank else original


def _read(raw: bytes, *, utf8: bool) -> object:
    message = read_message(raw)
    parts = message.parts
    return {
        "fields": [line.partition(b":")[0].lower() for line in message.header.split(b"\r\n") if line[:1].strip()],
        "header": {name: message.get(name) for name in SAME_AS_THEY_STAND},
        "subject": decode_words(message.get("subject")),
        "addresses": [_address(message.get(name)) for name in ("from", "to")],
        "report-type": message.parameters["report-type"],
        "types": [part.media_type for part in parts],
        "text": parts[0].body(1000),
        "status": _status(parts[1], utf8=utf8),
        "returned": parts[2].body(10_000) if len(parts) > 2 else None,
    }


def _address(value: str) -> str:
    """Return the address in a field; mox writes in UTF-8 also what is to be 7-bit, and we name it then."""
    group, end, _ = value.partition(" :;")
    spec = decode_words(group) if end else split_addresses(value)[0]
    return str(parse_address(spec))


def _status(part: Part, *, utf8: bool) -> object:
    return read_status(part.body(10_000), utf8=utf8)
