"""What we do with DSNs where the vectors mark mox's behaviour as a mistake: one case for each kind."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from moxlib.dsn import (
    DSN,
    MTA,
    Action,
    InvalidDSN,
    NotADSN,
    RecipientStatus,
    Returned,
    TypedAddress,
    compose,
    parse_dsn,
)
from moxlib.message import read_message

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "dsn_parse.json"

RECEIVED = b"""\
From: <mailer-daemon@mx.example.net>
Content-Type: multipart/report; report-type=delivery-status; boundary=B

--B
Content-Type: text/plain

Sorry.

--B
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.net
Received-From-MTA: dns; client.example.org
X-A: 1

Final-Recipient: rfc822; jo@example.com
Action: failed
Status: 5.1.1
Remote-MTA: dns; mail.example.com
Diagnostic-Code: smtp; 550 5.1.1 no
Last-Attempt-Date: 9 Feb 2024 03:04:05 +0000

--B--
""".replace(b"\n", b"\r\n")

AT = datetime(2024, 2, 9, 3, 4, 5, tzinfo=UTC)


def only(dsn: DSN) -> RecipientStatus:
    [recipient] = dsn.recipients
    return recipient


READ: dict[str, tuple[bytes, bytes, Callable[[DSN], object], object]] = {
    "names that are no domains": (
        b"dns; client.example.org",
        b"dns; [192.0.2.5]",
        lambda dsn: dsn.received_from_mta,
        MTA(name="[192.0.2.5]"),
    ),
    "parentheses in quotes": (
        b"jo@example.com",
        b'"a(b)"@example.com',
        lambda dsn: str(only(dsn).final_recipient),
        '"a(b)"@example.com',
    ),
    "addresses in angle brackets": (
        b"jo@example.com",
        b"<jo@example.com>",
        lambda dsn: str(only(dsn).final_recipient),
        "jo@example.com",
    ),
    "other diagnostic types": (
        b"smtp; 550 5.1.1 no",
        b"X-Notes; no",
        lambda dsn: (only(dsn).diagnostic_type, only(dsn).diagnostic_text),
        ("x-notes", "no"),
    ),
    "no diagnostic type": (
        b"smtp; 550 5.1.1 no",
        b"550 5.1.1 no",
        lambda dsn: (only(dsn).diagnostic_type, only(dsn).diagnostic_text, only(dsn).code),
        ("", "550 5.1.1 no", 550),
    ),
    "repeated extensions": (
        b"X-A: 1\r\n",
        b"X-A: 1\r\nX-A: 2\r\n",
        lambda dsn: dsn.extensions,
        (("X-A", "1"), ("X-A", "2")),
    ),
    "a first part that is HTML": (
        b"text/plain\r\n\r\nSorry.",
        b"text/html\r\n\r\n<p>Sorry.</p>",
        lambda dsn: dsn.text.strip(),
        "Sorry.",
    ),
    "bare LF": (b"\r\n", b"\n", lambda dsn: dsn.text, "Sorry.\n"),
    "dates with a weekday and a comment": (
        b"9 Feb 2024 03:04:05 +0000",
        b"Fri, 9 Feb 2024 03:04:05 +0000 (UTC)",
        lambda dsn: only(dsn).last_attempt_date,
        AT,
    ),
    "dates in GMT": (b"03:04:05 +0000", b"03:04:05 GMT", lambda dsn: only(dsn).last_attempt_date, AT),
    "a sender at an address literal": (
        b"<mailer-daemon@mx.example.net>",
        b"<mailer-daemon@[192.0.2.1]>",
        lambda dsn: dsn.from_address,
        "mailer-daemon@[192.0.2.1]",
    ),
    "a sender that is no address": (
        b"<mailer-daemon@mx.example.net>",
        b"Mailer-Daemon",
        lambda dsn: dsn.from_address,
        "",
    ),
    "a blank line too many": (b"\r\n\r\n--B--", b"\r\n\r\n\r\n--B--", lambda dsn: only(dsn).action, Action.FAILED),
    "a comment after the action": (
        b"Action: failed",
        b"Action: failed (for good)",
        lambda dsn: only(dsn).action,
        Action.FAILED,
    ),
    "a server with its address": (
        b"dns; mail.example.com",
        b"dns; mail.example.com ([192.0.2.25])",
        lambda dsn: (only(dsn).remote_mta, str(only(dsn).remote_mta.ip)),  # type: ignore[union-attr]
        (MTA(name="mail.example.com", comment="[192.0.2.25]"), "192.0.2.25"),
    ),
}


@pytest.mark.parametrize("kind", READ)
def test_what_mox_refuses_or_misreads(kind: str) -> None:
    plain, odd, value, expected = READ[kind]
    assert plain in RECEIVED
    assert value(parse_dsn(RECEIVED.replace(plain, odd))) == expected


def test_boundaries_that_should_be_in_quotes() -> None:
    raw = RECEIVED.replace(b"boundary=B", b"boundary=B/1").replace(b"--B", b"--B/1")
    assert parse_dsn(raw) == parse_dsn(RECEIVED)


@pytest.mark.parametrize("media_type", ["multipart/mixed", "text/plain"])
def test_the_error_says_what_a_message_is(media_type: str) -> None:
    with pytest.raises(NotADSN) as caught:
        parse_dsn(RECEIVED.replace(b"multipart/report", media_type.encode()))
    assert caught.value.reason == f"its type is '{media_type}'"


if VECTORS.is_file():

    def test_marked_cases_are_read() -> None:
        refused = []
        for case in json.loads(VECTORS.read_bytes()):
            if "mox_quirk" not in case:
                continue
            try:
                parse_dsn(base64.b64decode(case["raw"]))
            except NotADSN:
                refused.append(case["name"])
        assert sorted(refused) == ["multipart-mixed", "nested-report", "not-mime"]


# Composing


def composed(*, utf8: bool = False, recipient: str = "jo@example.com", **fields: Any) -> bytes:
    """Write a DSN, and see that it is read back."""
    dsn = DSN(
        reporting_mta=MTA(name="mx.example.org"),
        recipients=(RecipientStatus(final_recipient=TypedAddress(address=recipient), action=Action.FAILED),),
        message_id="<1@example.org>",
        **{"from_address": "postmaster@example.org", **fields},
    )
    raw = compose(dsn, smtputf8=utf8)
    assert parse_dsn(raw) == dsn
    return raw


def test_actions_are_those_of_the_standard() -> None:
    with pytest.raises(ValueError, match="bogus"):
        Action("bogus")


def test_a_subject_is_one_field() -> None:
    with pytest.raises(InvalidDSN, match="a line end or control character"):
        composed(subject="x\r\nBcc: y@example.org")


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": "für Sie"},
        {"text": "Für Sie.\n"},
        {"from_address": "møx@bücher.example"},
        {"to_address": "møx@bücher.example"},
        {"returned": Returned(content="Subject: für Sie\r\n".encode(), whole=False)},
        {"recipient": "møx@bücher.example"},
    ],
)
def test_what_is_8_bit_is_encoded_for_7(fields: dict[str, Any]) -> None:
    raw = composed(**fields)
    assert raw.isascii()
    # In the other form it stands as it is, or is marked as what it is.
    message = read_message(composed(utf8=True, **fields))
    for part in message.parts:
        assert part.raw_body().isascii() == (part.transfer_encoding == "7bit")


def test_a_zero_date_is_no_date() -> None:
    with pytest.raises(InvalidDSN, match="year"):
        composed(arrival_date=datetime(1, 1, 1, tzinfo=UTC))
    assert b"Arrival-Date" not in composed()


@pytest.mark.parametrize("utf8", [False, True])
@pytest.mark.parametrize("localpart", [r'"a b\\c"', r'"a@b"', r'"a\"b"', '"(a)"'])
def test_localparts_that_need_quotes_are_quoted(localpart: str, utf8: bool) -> None:
    assert f";{localpart}@example.com\r\n".encode() in composed(recipient=f"{localpart}@example.com", utf8=utf8)
