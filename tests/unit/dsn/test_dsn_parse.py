"""What is read of a DSN that is not as RFC 3464 has it, and what is refused."""

import pickle
from datetime import UTC, datetime, timedelta, timezone

import pytest

from moxlib.dsn import (
    DSN,
    MTA,
    AbuseReport,
    Action,
    InvalidDSN,
    InvalidReport,
    NotADSN,
    RecipientStatus,
    Returned,
    TypedAddress,
    parse_dsn,
    parse_report,
)
from moxlib.dsn.lines import MAX_LINE, MAX_STATUS, read_groups
from moxlib.dsn.received import MAX_RETURNED
from moxlib.dsn.types import MAX_EXTENSIONS, MAX_RECIPIENTS
from moxlib.errors import LimitExceeded
from moxlib.message import read_message
from moxlib.smtp import EnhancedCode

MESSAGE = "Reporting-MTA: dns; mx.example.net\n"
RECIPIENT = "Final-Recipient: rfc822; jo@example.com\nAction: failed\nStatus: 5.1.1\n"


def message(
    status: str = f"{MESSAGE}\n{RECIPIENT}",
    *,
    head: str = "",
    text: str = "Content-Type: text/plain\n\nSorry.\n",
    returned: str = "",
    subtype: str = "delivery-status",
    end: str = "--B--\n",
) -> bytes:
    third = f"--B\n{returned}\n" if returned else ""
    whole = (
        f"From: <mailer-daemon@mx.example.net>\nTo: <shop@example.org>\nSubject: x\n{head}"
        f'Content-Type: multipart/report; report-type=delivery-status; boundary="B"\n\n'
        f"--B\n{text}\n--B\nContent-Type: message/{subtype}\n\n{status}\n{third}{end}"
    )
    return whole.encode("utf-8", "surrogateescape").replace(b"\n", b"\r\n")


def parsed(status: str, **parts: str) -> DSN:
    return parse_dsn(message(status, **parts))


def recipient(fields: str) -> RecipientStatus:
    """Read a recipient with these fields; those of `RECIPIENT` that are not among them are added."""
    given = {line.partition(":")[0].lower() for line in fields.split("\n")}
    rest = "".join(f"{line}\n" for line in RECIPIENT.splitlines() if line.partition(":")[0].lower() not in given)
    [found] = parsed(f"{MESSAGE}\n{fields}\n{rest}").recipients
    return found


def refusal(status: str, **parts: str) -> InvalidDSN:
    with pytest.raises(InvalidDSN) as caught:
        parsed(status, **parts)
    with pytest.raises(InvalidDSN):
        parse_report(message(status, **parts))
    return caught.value


def test_plainest() -> None:
    assert parsed(f"{MESSAGE}\n{RECIPIENT}") == DSN(
        reporting_mta=MTA(name="mx.example.net"),
        recipients=(
            RecipientStatus(
                final_recipient=TypedAddress(address="jo@example.com"),
                action=Action.FAILED,
                status=EnhancedCode(5, 1, 1),
            ),
        ),
        subject="x",
        from_address="mailer-daemon@mx.example.net",
        to_address="shop@example.org",
        text="Sorry.\n",
    )


def test_a_part_can_be_given_that_was_read_already() -> None:
    assert parse_dsn(read_message(message())) == parse_dsn(message())


# Where mox fails, and we read


@pytest.mark.parametrize(
    "text",
    [
        "9 Feb 2024 03:04:05 +0000",
        "Fri, 9 Feb 2024 03:04:05 +0000",
        "Fri,  9 Feb 2024 03:04:05 GMT",
        "9 Feb 2024 03:04:05 +0000 (UTC)",
        "Fri, 09 Feb 2024 03:04:05 +0000 (UTC)",
        "(on) 9 Feb 2024 (at) 03:04:05 (in) +0000",
        "Fri, 9 Feb 2024 04:04:05 +0100 (CET)",
        "Thu, 8 Feb 2024 22:04:05 EST",
        "Friday, 09-Feb-24 03:04:05 UT",
    ],
)
def test_dates(text: str) -> None:
    assert recipient(f"Last-Attempt-Date: {text}").last_attempt_date == datetime(2024, 2, 9, 3, 4, 5, tzinfo=UTC)


def test_dates_keep_their_zone() -> None:
    date = recipient("Last-Attempt-Date: 9 Feb 2024 03:04:05 +1400").last_attempt_date
    assert date is not None
    assert date.utcoffset() == timedelta(hours=14)
    assert date == datetime(2024, 2, 9, 3, 4, 5, tzinfo=timezone(timedelta(hours=14)))


@pytest.mark.parametrize(
    ("value", "kind", "text", "code", "enhanced"),
    [
        ("smtp; 550 5.7.1 no", "smtp", "550 5.7.1 no", 550, "5.7.1"),
        (" SMTP  ;   550 5.7.1 no  ", "smtp", "550 5.7.1 no", 550, "5.7.1"),
        ("smtp; 550-5.7.1 no\n 550 5.7.1 really", "smtp", "550-5.7.1 no 550 5.7.1 really", 550, "5.7.1"),
        ("smtp; 550 no", "smtp", "550 no", 550, None),
        ("smtp; 5501 no", "smtp", "5501 no", 500, "5.1.1"),
        ("smtp; it closed the connection", "smtp", "it closed the connection", 500, "5.1.1"),
        ("smtp;", "smtp", "", 500, "5.1.1"),
        ("X-Postfix; 550 5.7.1 no", "x-postfix", "550 5.7.1 no", 500, "5.1.1"),
        ('x-unix; "No such user"', "x-unix", '"No such user"', 500, "5.1.1"),
        ("X-Notes; unknown; unknown", "x-notes", "unknown; unknown", 500, "5.1.1"),
        ("550 5.7.1 no", "", "550 5.7.1 no", 550, "5.7.1"),
        ("550 5.7.1; no", "", "550 5.7.1; no", 550, "5.7.1"),
        ("", "", "", 500, "5.1.1"),
        ("smtp; =?utf-8?q?550_5=2E7=2E1_n=C3=B6?=", "smtp", "550 5.7.1 nö", 550, "5.7.1"),
    ],
)
def test_diagnostic_codes(value: str, kind: str, text: str, code: int, enhanced: str | None) -> None:
    found = recipient(f"Diagnostic-Code: {value}")
    assert (found.diagnostic_type, found.diagnostic_text) == (kind, text)
    assert (found.code, found.enhanced and str(found.enhanced)) == (code, enhanced)


@pytest.mark.parametrize(
    ("value", "status", "comment"),
    [
        ("5.1.1", "5.1.1", ""),
        ("5.1.1 (user unknown)", "5.1.1", "user unknown"),
        ("5.1.1 (user (really) unknown)", "5.1.1", "user (really) unknown"),
        ("5.1.1 (user unknown", "5.1.1", "user unknown"),
        (r"5.1.1 (user :\) unknown)", "5.1.1", "user :) unknown"),
        ("5.1.1 (=?utf-8?q?unbekannter_Empf=C3=A4nger?=)", "5.1.1", "unbekannter Empfänger"),
        ("5.1.1 user unknown", "5.1.1", ""),
        ("5.7.1.", "5.7.1", ""),
        ("unknown", "None", "unknown"),
        ("5.1", "None", "5.1"),
    ],
)
def test_statuses(value: str, status: str, comment: str) -> None:
    found = recipient(f"Status: {value}")
    assert (str(found.status), found.status_comment) == (status, comment)


@pytest.mark.parametrize("action", ["failed", "FAILED", "  Failed  ", "failed (permanently)", "(it) failed"])
def test_actions_with_comments(action: str) -> None:
    assert recipient(f"Action: {action}").action is Action.FAILED


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("rfc822; <jo@example.com>", "jo@example.com"),
        ("RFC822;JO@EXAMPLE.COM", "JO@example.com"),
        ("rfc822; jo@example.com (Jo)", "jo@example.com"),
        ('rfc822; "a(b)"@example.com', '"a(b)"@example.com'),
        ('rfc822; "a b"@example.com', '"a b"@example.com'),
        ('rfc822; "a;b"@example.com', '"a;b"@example.com'),
        ('rfc822; "a@b"@example.com', '"a@b"@example.com'),
        ("rfc822; jo@xn--bcher-kva.example", "jo@xn--bcher-kva.example"),
        (r"rfc822; jo\x{2b}books@example.com", "jo+books@example.com"),
        (r"rfc822; a\x{20}b\x{5c}c@example.com", r'"a b\\c"@example.com'),  # what mox writes, and does not read
        (r"rfc822; m\X{F8}x@example.com", "møx@example.com"),
        (r"utf-8; m\x{F8}x@example.com", "møx@example.com"),
    ],
)
def test_addresses(value: str, address: str) -> None:
    found = recipient(f"Final-Recipient: {value}").final_recipient
    assert found == TypedAddress(address=address)
    assert found.address == address
    assert found.type == ("rfc822" if address.isascii() else "utf-8")


@pytest.mark.parametrize("value", ["utf-8; møx@bücher.example", r"utf-8; m\x{f8}x@xn--bcher-kva.example"])
def test_addresses_in_utf8(value: str) -> None:
    found = parsed(f"{MESSAGE}\n{RECIPIENT.replace('rfc822; jo@example.com', value)}", subtype="global-delivery-status")
    assert found.recipients[0].final_recipient.address == "møx@xn--bcher-kva.example"


def test_original_recipients_are_what_the_sender_named() -> None:
    assert recipient("Original-Recipient: x400; /c=us/s=jo/").original_recipient == TypedAddress(
        address="/c=us/s=jo/", type="x400"
    )


@pytest.mark.parametrize(
    ("value", "name", "kind", "comment", "ip"),
    [
        ("dns; mail.example.com", "mail.example.com", "dns", "", None),
        ("DNS;mail.example.com (192.0.2.25)", "mail.example.com", "dns", "192.0.2.25", "192.0.2.25"),
        ("dns;mail.example.com ([IPv6:2001:db8::1])", "mail.example.com", "dns", "[IPv6:2001:db8::1]", "2001:db8::1"),
        (
            "dns; mail.example.com. (192.0.2.25, the one)",
            "mail.example.com.",
            "dns",
            "192.0.2.25, the one",
            "192.0.2.25",
        ),
        ("mail.example.com", "mail.example.com", "", "", None),
        ("dns; ([192.0.2.1])", "", "dns", "[192.0.2.1]", "192.0.2.1"),
        ("dns; mail.example.com (port 25)", "mail.example.com", "dns", "port 25", None),
        ("dns; mail.example.com (a.b)", "mail.example.com", "dns", "a.b", None),
    ],
)
def test_remote_servers(value: str, name: str, kind: str, comment: str, ip: str | None) -> None:
    found = recipient(f"Remote-MTA: {value}").remote_mta
    assert found == MTA(name=name, type=kind, comment=comment)
    assert found is not None
    assert (found.ip and str(found.ip)) == ip


@pytest.mark.parametrize("name", ["sender@example.org", "[192.0.2.5]", "client.example.org.", "a b"])
def test_names_that_are_no_domains(name: str) -> None:
    found = parsed(f"{MESSAGE}Received-From-MTA: dns; {name}\n\n{RECIPIENT}").received_from_mta
    assert found == MTA(name=name)


@pytest.mark.parametrize(
    "status",
    [
        f"{MESSAGE}\n{RECIPIENT}\n",
        f"{MESSAGE}\n{RECIPIENT}\n\n\n",
        f"\n\n{MESSAGE}\n\n\n{RECIPIENT}",
        f"{MESSAGE} \t \n  \n{RECIPIENT}",
        f"{MESSAGE}{RECIPIENT}",
        f"{MESSAGE}\nStatus: 5.1.1\nAction: failed\nFinal-Recipient: rfc822; jo@example.com\n",
        f"{MESSAGE}\nFinal-Recipient: rfc822; jo@example.com\n\nAction: failed\n\nStatus: 5.1.1\n",
        f"{MESSAGE}\nFinal-Recipient: rfc822;\n\tjo@example.com\nAction: \n failed\nStatus: 5.1.1  \n",
    ],
)
def test_blank_lines_and_order(status: str) -> None:
    assert parsed(status) == parsed(f"{MESSAGE}\n{RECIPIENT}")
    assert parse_dsn(message(status).replace(b"\r\n", b"\n")) == parsed(f"{MESSAGE}\n{RECIPIENT}")


def test_several_recipients() -> None:
    other = RECIPIENT.replace("jo@", "ines@").replace("failed", "delivered").replace("5.1.1", "2.1.5")
    found = parsed(f"{MESSAGE}\n{RECIPIENT}\n{other}\n{RECIPIENT}").recipients
    assert [(str(one.final_recipient), one.action, one.code) for one in found] == [
        ("jo@example.com", Action.FAILED, 500),
        ("ines@example.com", Action.DELIVERED, 200),
        ("jo@example.com", Action.FAILED, 500),
    ]


def test_extensions_in_order_and_repeated() -> None:
    found = parsed(f"X-B: 1\n{MESSAGE}x-a: =?utf-8?b?w7w=?=\nX-B: 2\n\n{RECIPIENT}X-C:\nLocalized: ü\n")
    assert found.extensions == (("X-B", "1"), ("x-a", "ü"), ("X-B", "2"))
    assert found.recipients[0].extensions == (("X-C", ""), ("Localized", "ü"))


def test_controls_are_blanks() -> None:
    found = parsed(f"{MESSAGE}X-A: a\x07b\x85c\u2028d\x1be\n\n{RECIPIENT}")
    assert found.extensions == (("X-A", "a b c d e"),)


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("<mailer-daemon@mx.example.net>", "mailer-daemon@mx.example.net"),
        ("Mail Delivery System <MAILER-DAEMON@MX.example.net>", "MAILER-DAEMON@mx.example.net"),
        ('"Mail, Delivery" <mailer-daemon@mx.example.net>', "mailer-daemon@mx.example.net"),
        ("mailer-daemon@mx.example.net (Mail Delivery System)", "mailer-daemon@mx.example.net"),
        ("mailer-daemon@mx.example.net (Mail (Delivery))", "mailer-daemon@mx.example.net"),
        ("<mailer-daemon@[192.0.2.1]>", "mailer-daemon@[192.0.2.1]"),
        ('"a b"@example.org', '"a b"@example.org'),
        ("Mail Delivery System <>", ""),
        ("mailer-daemon", ""),
        ("<a@example.net>, <b@example.net>", ""),
        ("undisclosed-recipients:;", ""),
        ("=?utf-8?q?m=C3=B8x=40mox=2Eexample?= :;", "møx@mox.example"),  # RFC 6857 3.1.8
        ("<møx@bücher.example>", "møx@xn--bcher-kva.example"),
    ],
)
def test_addresses_in_the_header(value: str, address: str) -> None:
    raw = message().replace(b"<mailer-daemon@mx.example.net>", value.encode())
    assert parse_dsn(raw).from_address == address


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("\nplain\n", "plain\n"),
        ("Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: base64\n\n/A==\n", "ü"),
        ("Content-Type: text/html\n\n<p>one<br>two &lt;</p><style>x{}</style>\n", "one\ntwo <\n"),
        (
            "Content-Type: multipart/mixed; boundary=C\n\n--C\nContent-Type: text/html\n\nh\n--C\n\nplain\n--C--\n",
            "plain",
        ),
        ("Content-Type: image/png\n\nx\n", ""),
        (
            "Content-Type: multipart/x; boundary=C\n\n--C\nContent-Disposition: attachment\n\n\n--C\n\nplain\n--C--\n",
            "plain",
        ),
    ],
)
def test_texts(text: str, read: str) -> None:
    assert parse_dsn(message(text=text)).text == read


@pytest.mark.parametrize(
    ("returned", "content", "whole", "message_id"),
    [
        (
            "Content-Type: message/rfc822\n\nMessage-ID: <a@b>\n\nhi\n",
            b"Message-ID: <a@b>\r\n\r\nhi\r\n",
            True,
            "<a@b>",
        ),
        ("Content-Type: message/rfc822\n\n\n", b"\r\n", True, ""),
        ("Content-Type: message/rfc822\n\n\nMessage-ID: <a@b>\n", b"\r\nMessage-ID: <a@b>\r\n", True, ""),
        ("Content-Type: message/rfc822\n\nSubject: x\n\nMessage-ID: <a@b>\n", None, True, ""),
        ("Content-Type: text/rfc822-headers\n\nX: y\nmessage-id:\n <a@b>\n", None, False, "<a@b>"),
        ("Content-Type: message/global-headers\n\nMessage-Id: <ü@b>\n", None, False, "<ü@b>"),
        (
            "Content-Type: text/rfc822-headers\nContent-Transfer-Encoding: base64\n\nTWVzc2FnZS1JRDogPGFAYj4NCg==\n",
            b"Message-ID: <a@b>\r\n",
            False,
            "<a@b>",
        ),
    ],
)
def test_returned(returned: str, content: bytes | None, whole: bool, message_id: str) -> None:
    found = parse_dsn(message(returned=returned)).returned
    assert found is not None
    assert (found.whole, found.message_id) == (whole, message_id)
    assert content in (None, found.content)


def test_a_header_is_a_header_also_after_a_blank_line() -> None:
    returned = Returned(content=b"Subject: x\r\n\r\nMessage-ID: <a@b>\r\n", whole=False)
    assert (returned.header, returned.message_id) == (returned.content, "<a@b>")


def test_of_a_large_returned_message_the_header_is_kept() -> None:
    large = (
        "Content-Type: message/rfc822\n\nMessage-ID: <a@b>\n\n"
        + "x" * 70
        + "\n"
        + ("y" * 70 + "\n") * (MAX_RETURNED // 71)
    )
    found = parse_dsn(message(returned=large))
    assert found.returned is not None
    assert not found.returned.whole
    assert len(found.returned.content) < 100
    assert found.returned_message_id == "<a@b>"


# What is refused


@pytest.mark.parametrize(
    ("status", "reason", "where", "number"),
    [
        (f"{MESSAGE}{MESSAGE}\n{RECIPIENT}", "repeated", "Reporting-MTA", 0),
        (RECIPIENT, "missing", "Reporting-MTA", 0),
        (f"Arrival-Date: now\n{MESSAGE}\n{RECIPIENT}", "not a date and time with seconds", "Arrival-Date", 0),
        (f"{MESSAGE}DSN-Gateway: smtp; gw.example\n\n{RECIPIENT}", "unknown type of name", "DSN-Gateway", 0),
        (f"{MESSAGE}DSN-Gateway: gw.example\n\n{RECIPIENT}", "without a type", "DSN-Gateway", 0),
        (MESSAGE, "no recipient", "second part", 0),
        ("", "missing", "Reporting-MTA", 0),
        (f"{MESSAGE}\nAction: failed\nStatus: 5.1.1\n", "no recipient", "second part", 0),
        (f"{MESSAGE}\n{RECIPIENT}Status: 5.1.2\n", "repeated", "Status", 1),
        (f"{MESSAGE}\n{RECIPIENT}not a field\n", "not a field", "second part", 1),
        (f"{MESSAGE}\n{RECIPIENT}not : a field\n", "not a field", "second part", 1),
        (f"{MESSAGE}\n{RECIPIENT}\nX-A: a\0b\n", "a NUL", "second part", 0),
        (f"{MESSAGE}\n{RECIPIENT}\n{RECIPIENT.replace('Status', 'State')}", "missing", "Status", 2),
        (f"{MESSAGE}\n{RECIPIENT.replace('failed', 'lost')}", "unknown", "Action", 1),
        (f"{MESSAGE}\n{RECIPIENT}Diagnostic-Code: smtp\n", "a type without a text", "Diagnostic-Code", 1),
        (f"{MESSAGE}\n{RECIPIENT}Last-Attempt-Date: 30 Feb 2024 03:04:05 +0000\n", None, "Last-Attempt-Date", 1),
        (f"{MESSAGE}\n{RECIPIENT}Last-Attempt-Date: 9 Feb 2024 03:04 +0000\n", None, "Last-Attempt-Date", 1),
        (f"{MESSAGE}\n{RECIPIENT}Original-Recipient: jo@example.com\n", "without a type", "Original-Recipient", 1),
    ],
)
def test_refused(status: str, reason: str | None, where: str, number: int) -> None:
    error = refusal(status)
    assert (error.where, error.recipient) == (where, number)
    assert reason in (None, error.reason)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("x400; /c=us/", "unknown type of address"),
        ("jo@example.com", "without a type"),
        ("", "without a type"),
        ("rfc822;", "empty"),
        ("rfc822; postmaster", "no @"),
        ("rfc822; jo@mail_host.example", "domain: an underscore"),
        ("rfc822; jo@[192.0.2.1]", None),
        (f"rfc822; {'j' * 65}@example.com", "localpart longer than 64 octets"),
        (f"rfc822; jo@{'e' * 64}.example", "domain: a label is longer than 63 octets"),
        ("rfc822; møx@example.com", "UTF-8 in a 7-bit part"),
        ("utf-8; jo@example.com", "type utf-8 in a 7-bit part"),
        (r"rfc822; m\x{f8x@example.com", "an unfinished escape"),
        (r"rfc822; a\x{1f44d}b\x{20}@example.com", "a blank at an end of the localpart"),
    ],
)
def test_refused_recipients(value: str, reason: str | None) -> None:
    error = refusal(f"{MESSAGE}\n{RECIPIENT.replace('rfc822; jo@example.com', value)}")
    assert (error.where, error.recipient, error.value) == ("Final-Recipient", 1, value.strip())
    if reason is not None and "underscore" not in reason:
        assert error.reason == reason


def test_errors_say_where_and_show_little() -> None:
    error = refusal(f"{MESSAGE}\n" + RECIPIENT.replace("failed", "löst" * 50))
    assert str(error).startswith(r"invalid DSN: Action of recipient 1 'l\xf6stl\xf6st")
    assert str(error).endswith(": unknown")
    assert len(str(error)) < 250
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is InvalidDSN
    assert (str(again), again.recipient, again.value) == (str(error), 1, error.value)
    not_one = NotADSN("its type is 'text/plain'")
    assert str(pickle.loads(pickle.dumps(not_one))) == str(not_one) == "not a DSN: its type is 'text/plain'"


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b"Subject: x\r\n\r\nhi\r\n", "its type is 'text/plain'"),
        (b"", "its type is 'text/plain'"),
        (message().replace(b"multipart/report", b"multipart/mixed"), "its type is 'multipart/mixed'"),
        (message(subtype="feedback-report"), "its second part is no delivery status"),
        (message().replace(b"message/delivery-status", b"text/plain"), "its second part is no delivery status"),
        (message().replace(b'boundary="B"', b"x=y"), "its second part is no delivery status"),
    ],
)
def test_other_messages_are_no_dsns(raw: bytes, what: str) -> None:
    with pytest.raises(NotADSN) as caught:
        parse_dsn(raw)
    assert caught.value.reason == what


def test_boundaries_need_no_quotes() -> None:
    # A "/" in a boundary needs them by RFC 2045 5.1; without, mox takes the message for application/octet-stream.
    raw = message().replace(b'"B"', b"B/1").replace(b"--B", b"--B/1")
    assert parse_dsn(raw) == parse_dsn(message())


RETURNED = "Content-Type: message/rfc822\n\nMessage-ID: <a@b>\n\nhi\n"


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ({"returned": RETURNED.replace("message/rfc822", "text/plain")}, "neither a message nor a header"),
        ({"returned": RETURNED.replace("message/rfc822", "message/partial")}, "neither a message nor a header"),
        ({"returned": f"{RETURNED}\n--B\n\nfour\n"}, "more than three parts"),
        ({"returned": RETURNED, "end": ""}, "its last part does not end"),
    ],
)
def test_form_matters_to_parse_dsn_and_not_to_parse_report(parts: dict[str, str], reason: str) -> None:
    raw = message(**parts)
    with pytest.raises(InvalidDSN) as caught:
        parse_dsn(raw)
    assert caught.value.reason == reason
    found = parse_report(raw)
    assert isinstance(found, DSN)
    assert found.recipients == parse_dsn(message()).recipients


def test_parse_report_finds_what_makes_a_report_wherever_it_is() -> None:
    raw = message(returned=RETURNED).replace(
        b"--B\r\nContent-Type: message/delivery", b"--B\r\n\r\nx\r\n--B\r\nContent-Type: message/delivery"
    )
    found = parse_report(raw)
    assert isinstance(found, DSN)
    assert (found.text, found.returned_message_id) == ("Sorry.\n", "<a@b>")
    assert parse_report(message(subtype="disposition-notification")) is None
    assert parse_report(b"Subject: x\r\n\r\nhi\r\n") is None
    assert isinstance(parse_report(message("Feedback-Type: abuse\n", subtype="feedback-report")), AbuseReport)


def test_parse_report_looks_at_ten_parts() -> None:
    def after(count: int) -> bytes:
        return message().replace(b"--B\r\n", b"--B\r\n\r\nx\r\n" * count + b"--B\r\n", 1)

    assert isinstance(parse_report(after(8)), DSN)
    assert parse_report(after(9)) is None


@pytest.mark.parametrize("status", ["", "User-Agent: x\n", "Feedback-Type:\n", "Feedback-Type: abuse\nno field\n"])
def test_malformed_abuse_reports(status: str) -> None:
    with pytest.raises(InvalidReport) as caught:
        parse_report(message(status, subtype="feedback-report"))
    assert not isinstance(caught.value, InvalidDSN)
    assert str(caught.value).startswith("invalid report: ")


@pytest.mark.parametrize(
    ("value", "count"),
    [
        ("3", 3),
        (" 3 (of many)", 3),
        ("999999999", 999_999_999),
        ("9" * 10, 1),
        ("9" * 7000, 1),
        ("-3", 1),
        ("³", 1),
        ("", 1),
    ],
)
def test_counts_of_incidents(value: str, count: int) -> None:
    found = parse_report(message(f"Feedback-Type: abuse\nIncidents: {value}\n", subtype="feedback-report"))
    assert isinstance(found, AbuseReport)
    assert found.incidents == count


# Limits


@pytest.mark.parametrize(
    "status",
    [
        f"{MESSAGE}\n" + f"{RECIPIENT}\n" * (MAX_RECIPIENTS + 1),
        f"{MESSAGE}" + "X-A: b\n" * (MAX_EXTENSIONS + 1) + f"\n{RECIPIENT}",
        f"{MESSAGE}X-A: {'b' * MAX_LINE}\n\n{RECIPIENT}",
        f"{MESSAGE}X-A: b\n" + " bbbbbbb\n" * 3000 + f"\n{RECIPIENT}",
        f"{MESSAGE}\n{RECIPIENT}\n" + "X:\n" * 21_000,
        f"{MESSAGE}\n{RECIPIENT}\n" + (f"X: {'y' * 8000}\n" * 300),
    ],
)
def test_limits(status: str) -> None:
    with pytest.raises(LimitExceeded):
        parsed(status)
    with pytest.raises(LimitExceeded):
        parse_report(message(status))


def test_a_status_part_has_a_size() -> None:
    assert read_groups(b"X: y\n" + b" " * (MAX_STATUS - 5)) == ["X: y"]
    with pytest.raises(LimitExceeded):
        read_groups(b"X: y\n" + b" " * (MAX_STATUS - 4))


def test_up_to_the_limits() -> None:
    status = f"{MESSAGE}" + "X-A: b\n" * MAX_EXTENSIONS + f"X-B: {'b' * 0}\n\n"
    found = parsed(status.replace("X-B: \n", "") + f"{RECIPIENT}\n" * MAX_RECIPIENTS)
    assert (len(found.recipients), len(found.extensions)) == (MAX_RECIPIENTS, MAX_EXTENSIONS)
    assert parsed(f"{MESSAGE}X-A: {'b' * (MAX_LINE - 5)}\n\n{RECIPIENT}").extensions[0][1] == "b" * (MAX_LINE - 5)
