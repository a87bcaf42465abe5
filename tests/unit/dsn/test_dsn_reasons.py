"""A delivery status outside a multipart/report, whose reasons are in the text, as OpenSMTPD writes them."""

import pytest

from moxlib.dsn import Bounce, parse_report, read_bounce

MAIL = """\
From: Mailer Daemon <MAILER-DAEMON@mx.example>
To: news@here.example
Subject: Delivery status notification: failed
Message-ID: <1@mx.example>
Content-Type: multipart/mixed; boundary="5/mx.example"

--5/mx.example
Content-Type: text/plain; charset=us-ascii

    Hi!

    This is the MAILER-DAEMON, please DO NOT REPLY to this email.

    An error has occurred while attempting to deliver a message for
    the following list of recipients:

{reasons}

    Below is a copy of the original message:

--5/mx.example
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example

{status}

--5/mx.example
Content-Type: text/rfc822-headers

Message-ID: <17@here.example>

--5/mx.example--
"""
STATUS = "Final-Recipient: rfc822; {}\nAction: failed\nStatus: 5.0.0\n"


def read(reasons: str, *addresses: str) -> Bounce:
    status = "\n".join([STATUS.format(address) for address in addresses])
    mail = MAIL.format(reasons=reasons, status=status).replace("\n", "\r\n").encode()
    assert parse_report(mail) is None
    found = read_bounce(mail)
    assert found is not None
    return found


def test_the_text_has_the_reply_of_each() -> None:
    reasons = "a@hop.example: 550 5.1.1 nobody of this name\nb@hop.example: 552 5.2.2 full"
    found = read(reasons, "a@hop.example", "b@hop.example", "c@hop.example")
    assert found.recognised_by == "delivery-status"
    assert [(r.address, r.code, str(r.enhanced), r.text) for r in found.recipients] == [
        ("a@hop.example", 550, "5.1.1", "550 5.1.1 nobody of this name"),
        ("b@hop.example", 552, "5.2.2", "552 5.2.2 full"),
        ("c@hop.example", 500, "5.0.0", ""),
    ]
    assert found.returned_message_id == "<17@here.example>"


@pytest.mark.parametrize("reason", ["451 4.7.1 later", "Network error on destination MXs"])
def test_a_reason_of_another_class_is_no_reply_to_the_failure(reason: str) -> None:
    [recipient] = read(f"a@hop.example: {reason}", "a@hop.example").recipients
    assert (recipient.code, str(recipient.enhanced), recipient.text) == (500, "5.0.0", reason)
