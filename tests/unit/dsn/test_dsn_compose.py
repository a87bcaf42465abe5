"""DSNs written: octet for octet, and what cannot be. Reading them back is a property, tests/property/test_dsn.py."""

import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from moxlib.dns import parse_domain
from moxlib.dsn import (
    DSN,
    MTA,
    Action,
    InvalidDSN,
    RecipientStatus,
    Returned,
    TypedAddress,
    compose,
    needs_utf8,
    parse_dsn,
)
from moxlib.dsn.types import MAX_EXTENSIONS, MAX_RECIPIENTS, MAX_TEXT, MAX_VALUE
from moxlib.errors import InputError, LimitExceeded
from moxlib.message import check_lines, read_message
from moxlib.smtp import Address, EnhancedCode, Localpart
from moxlib.testing import FakeClock

RECIPIENT = RecipientStatus(final_recipient=TypedAddress(address="jo@example.com"), action=Action.FAILED)
PLAIN = DSN(
    reporting_mta=MTA(name="mx.example.org"),
    recipients=(RECIPIENT,),
    subject="mail delivery failed",
    from_address="postmaster@example.org",
    to_address="shop@example.org",
    message_id="<1@example.org>",
    text="Sorry.\n",
)
FULL = replace(
    PLAIN,
    subject="Zustellung fehlgeschlagen",
    to_address="møx@bücher.example",
    references=("<orig@example.org>",),
    text="Für Jörg:\n\nnicht zugestellt.\n",
    dsn_gateway=MTA(name="gw.example"),
    received_from_mta=MTA(name="relay.example", comment="[192.0.2.44]"),
    arrival_date=datetime(2024, 1, 1, 9, 59, tzinfo=UTC),
    original_envelope_id="env+1",
    extensions=(("Future-Release-Request", "for;60"),),
    recipients=(
        RecipientStatus(
            original_recipient=TypedAddress(address='"a b"@example.org'),
            final_recipient=TypedAddress(address="jörg+x@bücher.example"),
            action=Action.DELAYED,
            status=EnhancedCode(4, 4, 1),
            status_comment="keine Antwort :)",
            remote_mta=MTA(name="mx.bücher.example", comment="192.0.2.8"),
            diagnostic_type="smtp",
            diagnostic_text="451 4.4.1 später",
            last_attempt_date=datetime(2024, 1, 1, 11, 0, tzinfo=timezone(timedelta(hours=1))),
            final_log_id="x1",
            will_retry_until=datetime(2024, 1, 3, 10, 0, tzinfo=UTC),
            extensions=(("X-Try", "5"),),
        ),
        replace(RECIPIENT, diagnostic_type="X-Unix", diagnostic_text="no (such) user"),
    ),
    returned=Returned(content="Subject: für Jörg\r\n".encode(), whole=False),
)


def composed(dsn: DSN, *, utf8: bool = False) -> bytes:
    return compose(dsn, smtputf8=utf8, clock=FakeClock(datetime(2024, 1, 1, 12, 0, tzinfo=UTC)), boundary="B")


def test_plain() -> None:
    assert composed(PLAIN).decode().split("\r\n") == [
        "From: <postmaster@example.org>",
        "To: <shop@example.org>",
        "Subject: mail delivery failed",
        "Message-Id: <1@example.org>",
        "Date: 1 Jan 2024 12:00:00 +0000",
        "MIME-Version: 1.0",
        'Content-Type: multipart/report; report-type="delivery-status";',
        ' boundary="B"',
        "",
        "--B",
        "Content-Type: text/plain; charset=us-ascii",
        "Content-Transfer-Encoding: 7bit",
        "",
        "Sorry.",
        "",
        "--B",
        "Content-Type: message/delivery-status",
        "Content-Transfer-Encoding: 7bit",
        "",
        "Reporting-MTA: dns; mx.example.org",
        "",
        "Final-Recipient: rfc822;jo@example.com",
        "Action: failed",
        "Status: 5.0.0",
        "",
        "--B--",
        "",
    ]


def status_of(raw: bytes) -> list[str]:
    return read_message(raw).parts[1].body(10_000).decode().split("\r\n")


def test_full_in_7_bits() -> None:
    raw = composed(FULL)
    assert raw.isascii()
    assert parse_dsn(raw) == FULL
    message = read_message(raw)
    assert message.get("to") == "=?utf-8?q?m=C3=B8x=40xn--bcher-kva=2Eexample?= :;"
    assert [part.media_type for part in message.parts] == [
        "text/plain",
        "message/delivery-status",
        "text/rfc822-headers",
    ]
    assert [part.transfer_encoding for part in message.parts] == ["quoted-printable", "7bit", "base64"]
    assert status_of(raw) == [
        "Original-Envelope-Id: env+1",
        "Reporting-MTA: dns; mx.example.org",
        "DSN-Gateway: dns; gw.example",
        "Received-From-MTA: dns; relay.example ([192.0.2.44])",
        "Arrival-Date: 1 Jan 2024 09:59:00 +0000",
        "Future-Release-Request: for;60",
        "",
        'Original-Recipient: rfc822;"a b"@example.org',
        r"Final-Recipient: utf-8;j\x{f6}rg\x{2b}x@xn--bcher-kva.example",
        "Action: delayed",
        r"Status: 4.4.1 (keine Antwort :\))",
        "Remote-MTA: dns; mx.xn--bcher-kva.example (192.0.2.8)",
        "Diagnostic-Code: smtp; =?utf-8?b?NDUxIDQuNC4xIHNww6R0ZXI=?=",
        "Last-Attempt-Date: 1 Jan 2024 11:00:00 +0100",
        "Final-Log-ID: x1",
        "Will-Retry-Until: 3 Jan 2024 10:00:00 +0000",
        "X-Try: 5",
        "",
        "Final-Recipient: rfc822;jo@example.com",
        "Action: failed",
        "Status: 5.0.0",
        "Diagnostic-Code: x-unix; no (such) user",
        "",
    ]


def test_full_in_utf8() -> None:
    raw = composed(FULL, utf8=True)
    assert parse_dsn(raw) == FULL
    message = read_message(raw)
    assert message.get("to") == "<møx@bücher.example>"
    assert [part.media_type for part in message.parts] == [
        "text/plain",
        "message/global-delivery-status",
        "message/global-headers",
    ]
    assert [part.transfer_encoding for part in message.parts] == ["8bit", "8bit", "8bit"]
    status = status_of(raw)
    assert 'Original-Recipient: utf-8;"a b"@example.org' in status
    assert "Final-Recipient: utf-8;jörg+x@bücher.example" in status
    assert "Remote-MTA: dns; mx.bücher.example (192.0.2.8)" in status
    assert "Diagnostic-Code: smtp; 451 4.4.1 später" in status


def test_which_form_says_more() -> None:
    assert not needs_utf8(PLAIN)
    assert not needs_utf8(replace(PLAIN, text="ü"))  # transfer encodings do for that
    assert needs_utf8(replace(PLAIN, subject="ü"))
    assert needs_utf8(replace(PLAIN, to_address="møx@example.org"))
    assert needs_utf8(FULL)


def test_boundaries() -> None:
    assert compose(PLAIN, smtputf8=False, clock=FakeClock()) != compose(PLAIN, smtputf8=False, clock=FakeClock())
    for boundary in ("", "a b", 'a"b', "ü", "x" * 71, "a\r\nb"):
        with pytest.raises(InvalidDSN, match="not a boundary"):
            compose(PLAIN, smtputf8=False, boundary=boundary)
    for part in ({"text": "--Bcc"}, {"returned": Returned(content=b"A: b\r\n--B", whole=False)}):
        with pytest.raises(InvalidDSN, match="occurs in the content"):
            composed(replace(PLAIN, **part))


def test_a_boundary_that_occurs_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(["taken", "free"])
    monkeypatch.setattr(secrets, "token_hex", lambda _size: next(drawn))
    raw = compose(replace(PLAIN, text="--=_taken\n"), smtputf8=False, clock=FakeClock())
    assert read_message(raw).parameters["boundary"] == "=_free"


@pytest.mark.parametrize("localpart", ["ü(x)", "<ü>", "ü<", '"ü"', "ü x", r"ü\\", "ü@"])
@pytest.mark.parametrize("utf8", [False, True])
def test_addresses_with_what_means_something_in_a_field(localpart: str, utf8: bool) -> None:
    address = Address(localpart=Localpart(value=localpart), domain=parse_domain("example.org")).pack(smtputf8=True)
    dsn = replace(PLAIN, recipients=(replace(RECIPIENT, final_recipient=TypedAddress(address=address)),))
    assert parse_dsn(composed(dsn, utf8=utf8)) == dsn


@pytest.mark.parametrize(
    ("content", "whole", "utf8", "kind", "encoding"),
    [
        (b"A: b\r\n", False, False, "text/rfc822-headers", "7bit"),
        (b"A: b\r\n", False, True, "message/global-headers", "7bit"),
        ("A: ü\r\n".encode(), False, False, "text/rfc822-headers", "base64"),
        ("A: ü\r\n".encode(), False, True, "message/global-headers", "8bit"),
        (b"A: b\nC: d\r\n", False, False, "text/rfc822-headers", "base64"),
        (b"A: \0\r\n", False, True, "message/global-headers", "base64"),
        (b"A: b\r\n\r\nhi\r\n", True, False, "message/rfc822", "7bit"),
        (b"A: b\r\n\r\nhi\r\n", True, True, "message/global", "7bit"),
        ("A: b\r\n\r\nü\r\n".encode(), True, False, "message/rfc822", "8bit"),
        ("A: ü\r\n\r\nhi\r\n".encode(), True, False, "message/global", "base64"),
        ("A: ü\r\n\r\nhi\r\n".encode(), True, True, "message/global", "8bit"),
        (b"A: b\r\n\r\n" + b"x" * 999, True, False, "message/global", "base64"),
        (b"A: b\r\n\r\n" + b"x" * 998, True, False, "message/rfc822", "7bit"),
    ],
)
def test_returned(content: bytes, whole: bool, utf8: bool, kind: str, encoding: str) -> None:
    dsn = replace(PLAIN, returned=Returned(content=content, whole=whole))
    raw = composed(dsn, utf8=utf8)
    part = read_message(raw).parts[2]
    assert (part.media_type, part.transfer_encoding) == (kind, encoding)
    assert parse_dsn(raw) == dsn
    check_lines(raw)


@pytest.mark.parametrize(
    "text", ["", "\n", "x", "x\n", " x \n", "x\ry\n", "x\0\x1by", "x" * 2000, "a=3D\n", "ü" * 500, "."]
)
@pytest.mark.parametrize("utf8", [False, True])
def test_texts(text: str, utf8: bool) -> None:
    raw = composed(replace(PLAIN, text=text), utf8=utf8)
    assert parse_dsn(raw).text == text
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert utf8 or raw.isascii()


def test_newlines_of_a_text_become_bare() -> None:
    # Doubled CRs, as a text that went through a text-mode file has, are one line end.
    assert replace(PLAIN, text="a\r\nb\r\r\nc\n").text == "a\nb\nc\n"


# Nothing becomes a field of its own


CONTROLS = ["\r\nBcc: x@example.org", "\n", "\r", "a\0b", "\x1b[0m", "\x85", "\u2028x"]


@pytest.mark.parametrize("text", CONTROLS)
def test_controls_are_refused_in_every_field(text: str) -> None:
    def refused(**changes: object) -> None:
        with pytest.raises(InputError):
            replace(PLAIN, **changes)  # type: ignore[arg-type]

    refused(subject=text)
    refused(message_id=f"<{text}@example.org>")
    refused(references=(f"<a@b>{text}",))
    refused(from_address=f"a{text}@example.org")
    refused(to_address=f"<a@example.org>{text}")
    refused(original_envelope_id=text)
    refused(extensions=(("X-A", text),))
    refused(extensions=((f"X-A{text}", "b"),))
    for make in (
        lambda: MTA(name=text),
        lambda: MTA(name=f"a{text}b.example"),
        lambda: MTA(name="a.example", type=text),
        lambda: MTA(name="a.example", comment=text),
        lambda: TypedAddress(address=text),
        lambda: TypedAddress(address=text, type="x400"),
        lambda: TypedAddress(address="x", type=text),
        lambda: replace(RECIPIENT, status_comment=text),
        lambda: replace(RECIPIENT, diagnostic_type=text),
        lambda: replace(RECIPIENT, diagnostic_text=text),
        lambda: replace(RECIPIENT, final_log_id=text),
        lambda: replace(RECIPIENT, extensions=(("X-A", text),)),
    ):
        with pytest.raises(InputError):
            make()


@pytest.mark.parametrize("name", ["", "Action", "reporting-mta", "X A", "X:", "Ü", "x" * 201])
def test_names_of_extensions(name: str) -> None:
    with pytest.raises(InvalidDSN):
        replace(PLAIN, extensions=((name, "x"),))
    with pytest.raises(InvalidDSN):
        replace(RECIPIENT, extensions=((name, "x"),))


def test_lone_surrogates_are_refused() -> None:
    with pytest.raises(InputError):
        replace(PLAIN, subject="\udcff")
    with pytest.raises(InputError):
        replace(PLAIN, text="\udcff")


# What data can be


@pytest.mark.parametrize(
    ("given", "address", "kind"),
    [
        ("jo@EXAMPLE.com", "jo@example.com", "rfc822"),
        ("<jo@example.com>", "jo@example.com", "rfc822"),
        ('"jo"@example.com', "jo@example.com", "rfc822"),
        ("jo@bücher.example", "jo@xn--bcher-kva.example", "rfc822"),
        ("jörg@bücher.example", "jörg@xn--bcher-kva.example", "utf-8"),
        ("jo@[192.0.2.1]", "jo@[192.0.2.1]", "rfc822"),
    ],
)
@pytest.mark.parametrize("type_", ["rfc822", "utf-8", "RFC822"])
def test_addresses_have_one_form(given: str, address: str, kind: str, type_: str) -> None:
    made = TypedAddress(address=given, type=type_)
    assert (made.address, made.type, str(made)) == (address, kind, address)


@pytest.mark.parametrize("address", ["", "<>", "jo", "jo@", "jo@a..b", "a b@example.com"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(InvalidDSN):
        TypedAddress(address=address)


def test_final_recipients_are_mail_addresses() -> None:
    with pytest.raises(InvalidDSN, match="Final-Recipient"):
        replace(RECIPIENT, final_recipient=TypedAddress(address="x", type="x400"))


@pytest.mark.parametrize(
    ("action", "status"),
    [("failed", "5.0.0"), ("delayed", "4.0.0"), ("delivered", "2.0.0"), ("relayed", "2.0.0"), ("expanded", "2.0.0")],
)
def test_a_status_is_made_up_from_the_action(action: str, status: str) -> None:
    made = RecipientStatus(final_recipient=RECIPIENT.final_recipient, action=Action(action))
    assert str(made.status) == status
    with pytest.raises(ValueError, match="bogus"):
        Action("bogus")


def test_dates_have_a_zone_and_whole_seconds() -> None:
    date = datetime(2024, 1, 1, 9, 59, 1, 999_999, tzinfo=UTC)
    assert replace(PLAIN, arrival_date=date).arrival_date == datetime(2024, 1, 1, 9, 59, 1, tzinfo=UTC)
    with pytest.raises(InvalidDSN, match="time zone"):
        replace(PLAIN, arrival_date=datetime(2024, 1, 1))
    with pytest.raises(InvalidDSN, match="year"):  # Go's zero time
        replace(RECIPIENT, last_attempt_date=datetime(1, 1, 1, tzinfo=UTC))
    odd = timezone(timedelta(hours=1, seconds=7))
    until = replace(RECIPIENT, will_retry_until=date.astimezone(odd)).will_retry_until
    assert until == date.replace(microsecond=0)
    assert until is not None
    assert until.utcoffset() == timedelta(0), "a zone of whole minutes, which can be written"


def test_absent_dates_are_not_written() -> None:
    assert not [line for line in status_of(composed(PLAIN)) if "Date" in line]


def test_names_of_servers() -> None:
    assert MTA(name="mx.bücher.example") == MTA(name="mx.xn--bcher-kva.example", type="DNS")
    for bad in ({"name": "a(b)"}, {"name": "a;b"}, {"name": "", "type": ""}, {"name": "a", "type": "b c"}):
        with pytest.raises(InvalidDSN):
            MTA(**bad)
    with pytest.raises(InvalidDSN, match="Reporting-MTA"):
        replace(PLAIN, reporting_mta=MTA(name="a", type="smtp"))


def test_limits() -> None:
    for change in (
        {"recipients": (RECIPIENT,) * (MAX_RECIPIENTS + 1)},
        {"text": "x" * (MAX_TEXT + 1)},
        {"subject": "x" * (MAX_VALUE + 1)},
        {"extensions": (("X-A", "b"),) * (MAX_EXTENSIONS + 1)},
        {"extensions": (("X-A", "b" * (MAX_VALUE + 1)),)},
    ):
        with pytest.raises(LimitExceeded):
            replace(PLAIN, **change)
    with pytest.raises(InvalidDSN, match="no recipient"):
        replace(PLAIN, recipients=())
    largest = replace(
        PLAIN,
        recipients=(replace(RECIPIENT, diagnostic_type="smtp", diagnostic_text="é" * MAX_VALUE),),
        text="x" * MAX_TEXT,
        subject="x" * MAX_VALUE,
    )
    with pytest.raises(LimitExceeded):  # encoded, it is longer than is read
        parse_dsn(composed(largest))


@pytest.mark.parametrize("missing", ["from_address", "message_id"])
def test_what_a_message_needs(missing: str) -> None:
    dsn = replace(PLAIN, **{missing: ""})  # type: ignore[arg-type]
    with pytest.raises(InvalidDSN, match="missing"):
        composed(dsn)


def test_a_diagnostic_text_needs_a_type_to_be_written() -> None:
    untyped = replace(RECIPIENT, diagnostic_text="550 no")
    assert (untyped.code, untyped.enhanced) == (550, None)
    with pytest.raises(InvalidDSN, match="without a type"):
        composed(replace(PLAIN, recipients=(untyped,)))


def test_long_fields_are_folded() -> None:
    words = "550 5.1.1 " + "no such user " * 20
    raw = composed(replace(PLAIN, recipients=(replace(RECIPIENT, diagnostic_type="smtp", diagnostic_text=words),)))
    lines = status_of(raw)
    assert max(map(len, lines)) <= 76
    assert [line for line in lines if line.startswith("Diagnostic")] == [
        "Diagnostic-Code: smtp; 550 5.1.1 no such user no such user no such user no"
    ]
    assert parse_dsn(raw).recipients[0].diagnostic_text == words.strip()


def test_a_word_too_long_for_a_line_begins_on_its_fields_line() -> None:
    raw = composed(replace(PLAIN, extensions=(("X-A", f"{'x' * 100} y"),)))
    assert f"X-A: {'x' * 100}" in status_of(raw)
    assert " y" in status_of(raw)
