"""Bounces that are no DSNs: what makes a message one, and whom it names. Samples are read in test_dsn_samples.py."""

import pytest

from moxlib.dsn import (
    DSN,
    MTA,
    Action,
    Bounce,
    InvalidDSN,
    RecipientStatus,
    TypedAddress,
    compose,
    parse_report,
    read_bounce,
)
from moxlib.dsn.styles import MAX_REASON
from moxlib.dsn.types import MAX_RECIPIENTS

QMAIL = (
    "Hi. This is the qmail-send program at qmail.example.net.\n\n{}\n--- Below this line is a copy of the message.\n"
)
NAMED = "<jo@example.com>:\n550 5.1.1 no\n\n"


def found(header: str, body: str) -> Bounce | None:
    return read_bounce(f"{header}\n\n{body}".encode())


def qmail(named: str) -> Bounce:
    bounce = found("From: mailer-daemon@qmail.example.net", QMAIL.format(named))
    assert bounce is not None
    return bounce


def of_status(status: str) -> Bounce | None:
    return found(
        "From: x@example.net\nContent-Type: multipart/report; boundary=B",
        f"--B\n\nSorry.\n--B\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; a\n\n{status}\n--B--\n",
    )


@pytest.mark.parametrize(
    "header",
    [
        "From: MAILER-DAEMON",
        "From: Mailer-Daemon@example.net",
        "From: postmaster@example.net",
        "From: Mail Delivery System <x@example.net>",
        "From: x@example.net\nReturn-Path: <>",
        "From: x@example.net\nReturn-Path: < >",
        "From: x@example.net\nX-Failed-Recipients: jo@example.com",
        "From: x@example.net\nContent-Type: multipart/report",
    ],
)
def test_a_mail_system_wrote_it(header: str) -> None:
    body = QMAIL.format(NAMED)
    if "multipart" in header:
        header += "; boundary=B"
        body = f"--B\n\n{body}\n--B--\n"
    bounce = found(header, body)
    assert bounce is not None
    assert (bounce.recognised_by, [one.address for one in bounce.recipients]) == ("qmail", ["jo@example.com"])


@pytest.mark.parametrize("header", ["", "From: x@example.net", "From: x@example.net\nReturn-Path: <x@example.net>"])
def test_nobody_says_that_a_mail_system_wrote_it(header: str) -> None:
    assert found(header, QMAIL.format(NAMED)) is None


def test_an_address_is_named_once() -> None:
    bounce = qmail(NAMED + NAMED.replace("550 5.1.1 no", "552 5.2.2 full") + NAMED.replace("jo@", "ines@"))
    assert [(one.address, one.code) for one in bounce.recipients] == [
        ("jo@example.com", 550),
        ("ines@example.com", 550),
    ]


def test_addresses_that_are_none_are_passed_over() -> None:
    assert [one.address for one in qmail(NAMED.replace("jo@example.com", "jo@a..b") + NAMED).recipients] == [
        "jo@example.com"
    ]
    assert found("From: mailer-daemon@a.example", QMAIL.format(NAMED.replace("jo@example.com", "jo@a..b"))) is None


def test_reasons_are_bounded() -> None:
    [one] = qmail(f"<jo@example.com>:\n{'x ' * MAX_REASON}\n\n").recipients
    assert len(one.text) == MAX_REASON - 1


def test_recipients_are_bounded() -> None:
    assert (
        len(qmail("".join(f"<{n}@a.example>:\n\n" for n in range(MAX_RECIPIENTS + 100))).recipients) == MAX_RECIPIENTS
    )
    many = "".join(f"Final-Recipient: rfc822; {n}@a.example\n\n" for n in range(MAX_RECIPIENTS + 100))
    bounce = of_status(many)
    assert bounce is not None
    assert len(bounce.recipients) == MAX_RECIPIENTS


OPENSMTPD_DELIVERED = """\
Subject: Delivery status notification: delivered
From: Mailer Daemon <MAILER-DAEMON@mx.example>
To: news@here.example
Message-ID: <3040703a293b15ca@mx.example>
MIME-Version: 1.0
Content-Type: multipart/mixed;boundary="7367070068696493085/mx.example"

This is a MIME-encapsulated message.

--7367070068696493085/mx.example
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

    Hi!

    This is the MAILER-DAEMON, please DO NOT REPLY to this email.

    Your message was successfully delivered to these recipients.

ann@mx.example:\x20

    Below is a copy of the original message:

--7367070068696493085/mx.example
Content-Description: Delivery Report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example

Final-Recipient: rfc822; ann@mx.example
Action: delivered
Status: 2.0.0

--7367070068696493085/mx.example
Content-Description: Message headers
Content-Type: text/rfc822-headers

From: news@here.example
Subject: hello
Message-ID: <17@here.example>

--7367070068696493085/mx.example--
"""


@pytest.mark.parametrize(
    ("fields", "action"),
    [
        ("Action: failed\nStatus: 4.4.7\n", Action.FAILED),
        ("Action: delayed\nStatus: 5.0.0\n", Action.DELAYED),
        ("Status: 4.4.1\n", Action.DELAYED),
        ("Status: 5.1.1\n", Action.FAILED),
        ("", Action.FAILED),
    ],
)
def test_actions_of_a_malformed_status(fields: str, action: Action) -> None:
    bounce = of_status(f"Original-Recipient: rfc822; jo@example.com\n{fields}")
    assert bounce is not None
    assert [(one.address, one.action) for one in bounce.recipients] == [("jo@example.com", action)]


def test_a_malformed_status_may_tell_of_success_too() -> None:
    bounce = of_status(
        "Final-Recipient: rfc822; jo@example.com\nAction: delivered\nStatus: 2.0.0\n\n"
        "Final-Recipient: rfc822; ines@example.com\nAction: failed\n"
    )
    assert bounce is not None
    assert [(one.address, one.action, one.code) for one in bounce.recipients] == [
        ("jo@example.com", Action.DELIVERED, 200),
        ("ines@example.com", Action.FAILED, 0),
    ]
    bounce = of_status("Final-Recipient: rfc822; jo@example.com\nAction: Relayed (to a host)\n")
    assert bounce is not None
    assert [one.action for one in bounce.recipients] == [Action.RELAYED]
    assert of_status("Final-Recipient: rfc822; jo@example.com\nAction: eaten\n") is None


def test_a_success_as_opensmtpd_tells_it_is_no_failure() -> None:
    bounce = read_bounce(OPENSMTPD_DELIVERED.encode())
    assert bounce is not None
    [one] = bounce.recipients
    assert (one.address, one.action, one.code, str(one.enhanced), one.text) == (
        "ann@mx.example",
        Action.DELIVERED,
        200,
        "2.0.0",
        "",
    )
    assert bounce.returned_message_id == "<17@here.example>"


def test_recipients_at_address_literals_which_mox_refuses() -> None:
    literal = RecipientStatus(final_recipient=TypedAddress(address="jo@[192.0.2.1]"), action=Action.FAILED)
    dsn = DSN(
        reporting_mta=MTA(name="a.example"),
        recipients=(literal,),
        from_address="postmaster@a.example",
        message_id="<1@a.example>",
    )
    raw = compose(dsn, smtputf8=False)
    with pytest.raises(InvalidDSN):
        parse_report(raw)
    bounce = read_bounce(raw)
    assert bounce is not None
    assert [(one.address, one.code) for one in bounce.recipients] == [("jo@[192.0.2.1]", 500)]


def test_failed_recipients_in_the_header() -> None:
    bounce = found(
        "From: x@example.net\nX-Failed-Recipients: jo@example.com,\n ines@example.com",
        "Sorry.\n\n  ines@example.com\n    552 5.2.2 full\n",
    )
    assert bounce is not None
    assert bounce.recognised_by == "x-failed-recipients"
    assert [(one.address, one.code) for one in bounce.recipients] == [("jo@example.com", 0), ("ines@example.com", 552)]
    many = found("X-Failed-Recipients: " + ",".join(f"{n}@a.example" for n in range(MAX_RECIPIENTS + 100)), "Sorry.\n")
    assert many is not None
    assert len(many.recipients) == MAX_RECIPIENTS
