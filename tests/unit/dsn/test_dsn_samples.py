"""Reports as servers write them. The samples are in the style of each; addresses and hosts in them are invented.

Each is read with bare newlines, as its file has them, and with CRLF, as it would come.
"""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from moxlib.dsn import (
    DSN,
    MTA,
    AbuseReport,
    Action,
    Bounce,
    BouncedRecipient,
    InvalidDSN,
    RecipientStatus,
    Report,
    TypedAddress,
    parse_dsn,
    parse_report,
    read_bounce,
)
from moxlib.smtp import EnhancedCode

SAMPLES = Path(__file__).parent / "samples"
ORIGINAL = "<20240311.0815.7f3a@shop.example.org>"
ENVELOPE = "bounce+k7Q2x@shop.example.org"


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.eml").read_bytes()


def report(name: str) -> Report | None:
    """Read a sample in both forms, and see that they say the same."""
    raw = sample(name)
    assert b"\r" not in raw
    found = parse_report(raw)
    crlf = parse_report(raw.replace(b"\n", b"\r\n"))
    assert _without_content(found) == _without_content(crlf)
    return crlf


def _without_content(found: Report | None) -> object:
    return str(found).replace("\\r\\n", "\\n")


def dsn(name: str) -> DSN:
    found = report(name)
    assert isinstance(found, DSN)
    assert parse_dsn(sample(name)) == parse_report(sample(name))
    assert read_bounce(sample(name)) is None, "it is a report"
    return found


def address(text: str) -> TypedAddress:
    return TypedAddress(address=text)


def when(day: int, hour: int, minute: int, second: int) -> datetime:
    return datetime(2024, 3, day, hour, minute, second, tzinfo=UTC)


DSNS = {
    "postfix": (
        MTA(name="mx.example.net"),
        [
            RecipientStatus(
                final_recipient=address("jo.vermeer@example.com"),
                original_recipient=address("jo@example.com"),
                action=Action.FAILED,
                status=EnhancedCode(5, 1, 1),
                remote_mta=MTA(name="mail.example.com"),
                diagnostic_type="smtp",
                diagnostic_text="550 5.1.1 <jo.vermeer@example.com>: Recipient address rejected: User unknown in "
                "virtual mailbox table",
            ),
            RecipientStatus(
                final_recipient=address("info@nowhere.example"),
                original_recipient=address("info@nowhere.example"),
                action=Action.FAILED,
                status=EnhancedCode(5, 4, 4),
                diagnostic_type="x-postfix",
                diagnostic_text="Host or domain name not found. Name service error for name=nowhere.example "
                "type=AAAA: Host not found",
            ),
        ],
    ),
    "postfix-delayed": (
        MTA(name="mx.example.net"),
        [
            RecipientStatus(
                final_recipient=address("ines@busy.example"),
                original_recipient=address("ines@busy.example"),
                action=Action.DELAYED,
                status=EnhancedCode(4, 4, 1),
                diagnostic_type="x-postfix",
                diagnostic_text="connect to mail.busy.example[203.0.113.40]:25: Connection timed out",
                will_retry_until=when(16, 8, 15, 7),
            )
        ],
    ),
    "postfix-smtputf8": (
        MTA(name="mx.example.net"),
        [
            RecipientStatus(
                final_recipient=TypedAddress(address="jürgen@bücher.example", type="utf-8"),
                original_recipient=address("jürgen@xn--bcher-kva.example"),
                action=Action.FAILED,
                status=EnhancedCode(5, 1, 1),
                remote_mta=MTA(name="mail.bücher.example"),
                diagnostic_type="smtp",
                diagnostic_text="550 5.1.1 Empfänger unbekannt",
            )
        ],
    ),
    "exim": (
        MTA(name="exim.example.net"),
        [
            RecipientStatus(
                final_recipient=address("jo@example.com"),
                action=Action.FAILED,
                status=EnhancedCode(5, 0, 0),
                remote_mta=MTA(name="mail.example.com"),
                diagnostic_type="smtp",
                diagnostic_text="550 No such user here",
            ),
            RecipientStatus(final_recipient=address("info@nowhere.example"), action=Action.FAILED),
        ],
    ),
    "sendmail": (
        MTA(name="sm.example.net"),
        [
            RecipientStatus(
                final_recipient=address("jo@example.com"),
                action=Action.FAILED,
                status=EnhancedCode(5, 1, 1),
                remote_mta=MTA(name="mail.example.com"),
                diagnostic_type="smtp",
                diagnostic_text="550 5.1.1 <jo@example.com>... User unknown",
                last_attempt_date=when(11, 8, 15, 9),
            )
        ],
    ),
    "office365": (
        MTA(name="AM8PR04MB7123.eurprd04.prod.outlook.example"),
        [
            RecipientStatus(
                final_recipient=address("jo@contoso.example"),
                action=Action.FAILED,
                status=EnhancedCode(5, 1, 10),
                diagnostic_type="smtp",
                diagnostic_text="550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient jo@contoso.example not found by "
                "SMTP address lookup",
                extensions=(("X-Display-Name", "Jo Vermeer"),),
            )
        ],
    ),
    "exchange-base64": (
        MTA(name="ex2.fabrikam.example"),
        [
            RecipientStatus(
                final_recipient=address("jo@fabrikam.example"),
                original_recipient=address("jo@fabrikam.example"),
                action=Action.FAILED,
                status=EnhancedCode(5, 2, 2),
                diagnostic_type="smtp",
                diagnostic_text="554 5.2.2 mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException."
                "MapiExceptionShutoffQuotaExceeded",
                extensions=(("X-Display-Name", "Jo Vermeér"),),
            )
        ],
    ),
    "gmail": (
        MTA(name="googlemail.example"),
        [
            RecipientStatus(
                final_recipient=address("jo@gmail.example"),
                action=Action.FAILED,
                status=EnhancedCode(5, 1, 1),
                remote_mta=MTA(
                    name="gmail-smtp-in.l.gmail.example.",
                    comment="203.0.113.26, the server for the domain gmail.example.",
                ),
                diagnostic_type="smtp",
                diagnostic_text="550-5.1.1 The email account that you tried to reach does not exist. Please try "
                "550-5.1.1 double-checking the recipient's email address for typos or "
                "550-5.1.1 unnecessary spaces. For more information, go to "
                "550 5.1.1  https://support.gmail.example/mail/?p=NoSuchUser b19-20020a05gsmtp",
                last_attempt_date=when(11, 8, 15, 9),
            )
        ],
    ),
    "mox": (
        MTA(name="mail.mox.example"),
        [
            RecipientStatus(
                final_recipient=address("jo+books@example.com"),
                action=Action.FAILED,
                status=EnhancedCode(5, 1, 1),
                status_comment="remote smtp server said: 550 5.1.1 no such user",
                remote_mta=MTA(name="mail.example.com", comment="[203.0.113.25]"),
                diagnostic_type="smtp",
                diagnostic_text="550 5.1.1 no such user",
                last_attempt_date=when(11, 8, 15, 12),
            )
        ],
    ),
    "domino": (
        MTA(name="domino1.example.net"),
        [
            RecipientStatus(
                final_recipient=address("jo@example.net"),
                action=Action.FAILED,
                status=EnhancedCode(5, 1, 1),
                diagnostic_type="x-notes",
                diagnostic_text="User Jo Vermeer (jo@example.net) not listed in Domino Directory",
            )
        ],
    ),
    "untidy": (
        MTA(name="untidy.example.net", comment="a server"),
        [
            RecipientStatus(
                final_recipient=address("jo@example.com"),
                action=Action.FAILED,
                status=EnhancedCode(5, 7, 1),
                status_comment="blocked (see http://block.example/)",
                remote_mta=MTA(name="mail.example.com [203.0.113.25]", comment="TCP|192.0.2.25|25"),
                diagnostic_type="smtp",
                diagnostic_text="554-5.7.1 Blocked 554 5.7.1 for reasons",
            )
        ],
    ),
}


@pytest.mark.parametrize("name", DSNS)
def test_what_is_said_for_programs(name: str) -> None:
    found = dsn(name)
    reporting_mta, recipients = DSNS[name]
    assert (found.reporting_mta, list(found.recipients)) == (reporting_mta, recipients)
    assert found.to_address == ENVELOPE
    if name != "untidy":
        assert found.returned_message_id == ORIGINAL


# How the text for people begins; From; Message-ID
HEADINGS = {
    "postfix": ("This is the mail system at host mx.example.net.\n", "MAILER-DAEMON@mx.example.net"),
    "exim": ("This message was created automatically", "Mailer-Daemon@exim.example.net"),
    "sendmail": ("The original message was received at", "MAILER-DAEMON@sm.example.net"),
    "office365": ("[cid:1.png]\nYour message to jo@contoso.example couldn't", "postmaster@contoso.example"),
    "exchange-base64": (
        "Fehler bei der Nachrichtenzustellung an folgende Empfänger",
        "MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@fabrikam.example",
    ),
    "gmail": ("\n** Address not found **\n", "mailer-daemon@googlemail.example"),
    "domino": ("Ihre Nachricht\n\n  Betreff: Your order 4711\n\nkonnte nicht zugestellt werden für:", None),
    "untidy": ("Your message was not delivered.\nSorry & good luck\n", "mailer-daemon@untidy.example.net"),
}


@pytest.mark.parametrize("name", HEADINGS)
def test_what_is_said_for_people(name: str) -> None:
    found = dsn(name)
    text, from_address = HEADINGS[name]
    assert found.text.startswith(text)
    assert from_address in (None, found.from_address)


def test_facts_of_the_message() -> None:
    found = dsn("postfix-delayed")
    assert found.original_envelope_id == "k7Q2x"
    assert found.arrival_date == when(11, 8, 15, 7)
    assert found.extensions == (
        ("X-Postfix-Queue-ID", "4TtWqq5vYfz2xP"),
        ("X-Postfix-Sender", f"rfc822; {ENVELOPE}"),
    )
    assert found.subject == "Delayed Mail (still being retried)"
    assert found.message_id == "<20240311123507.4TtbMz71Rcz2xT@mx.example.net>"

    exchange = dsn("exchange-base64")
    assert exchange.subject == "Unzustellbar: Your order 4711 für Sie"
    assert exchange.references == (ORIGINAL,)
    assert exchange.received_from_mta == MTA(name="out.shop.example.org")


def test_extensions_may_come_several_times_and_arrival_dates_with_a_recipient() -> None:
    found = dsn("untidy")
    assert found.extensions == (("X-Note", "one"), ("X-Note", "two"))
    assert found.arrival_date == when(11, 8, 15, 14)
    assert found.returned is None


def test_returned_messages_and_headers() -> None:
    whole, header = dsn("postfix").returned, dsn("postfix-delayed").returned
    assert whole is not None
    assert header is not None
    assert (whole.whole, header.whole) == (True, False)
    assert whole.content.startswith(b"Received: from app7.shop.example.org")
    assert whole.content.endswith(b"--=_orig4711--\r\n")
    assert whole.header.endswith(b'boundary="=_orig4711"\r\n')
    assert header.header == header.content
    quoted = dsn("exchange-base64").returned
    assert quoted is not None
    assert b"=3D" not in quoted.content, "quoted-printable is undone"


CODES = {
    "postfix": [(550, "5.1.1"), (500, "5.4.4")],  # the second is from Status: it has no reply
    "postfix-delayed": [(400, "4.4.1")],
    "exim": [(550, None), (500, "5.0.0")],  # Exim's 5.0.0 beside a reply says nothing that the reply does not
    "sendmail": [(550, "5.1.1")],
    "exchange-base64": [(554, "5.2.2")],
    "gmail": [(550, "5.1.1")],
    "domino": [(500, "5.1.1")],
    "untidy": [(554, "5.7.1")],
}


@pytest.mark.parametrize("name", CODES)
def test_codes(name: str) -> None:
    got = [(one.code, one.enhanced and str(one.enhanced)) for one in dsn(name).recipients]
    assert got == CODES[name]


def test_abuse_report() -> None:
    found = report("arf")
    assert isinstance(found, AbuseReport)
    assert (found.feedback_type, found.user_agent, found.version) == ("abuse", "ExampleFBL/0.3 (build 7)", "1")
    assert (found.original_mail_from, found.original_rcpt_to) == (ENVELOPE, ("jo@example.com",))
    assert (found.original_envelope_id, found.reporting_mta) == ("k7Q2x", "mail.example.com")
    assert (str(found.source_ip), found.incidents) == ("192.0.2.25", 3)
    assert found.arrival_date == when(11, 8, 15, 0)
    assert [value.partition(";")[0] for value in found.authentication_results] == ["mail.example.com"] * 2
    assert found.reported_domains == ("shop.example.org",)
    assert found.reported_uris == ("https://shop.example.org/offers", "mailto:orders@shop.example.org")
    assert found.extensions == (("X-Removal-Recipient", "jo@example.com"),)
    assert found.returned_message_id == ORIGINAL
    assert found.from_address == "abusedesk@example.com"
    assert found.text.startswith("This is an email abuse report")


def test_abuse_report_of_which_much_was_left_out() -> None:
    found = report("arf-redacted")
    assert isinstance(found, AbuseReport)
    assert (found.feedback_type, found.incidents, found.source_ip) == ("abuse", 1, None)
    assert found.original_rcpt_to == ()
    assert found.arrival_date == when(11, 8, 15, 9)
    assert found.returned_message_id == ORIGINAL
    assert found.returned is not None
    assert not found.returned.whole


def bounce(name: str) -> Bounce:
    raw = sample(name)
    found, crlf = read_bounce(raw), read_bounce(raw.replace(b"\n", b"\r\n"))
    assert found is not None
    assert _without_content_of(found) == _without_content_of(crlf)
    return found


def _without_content_of(found: Bounce | None) -> object:
    return str(found).replace("\\r\\n", "\\n")


def bounced(address: str, code: int = 0, enhanced: str = "", text: str = "") -> BouncedRecipient:
    parsed = EnhancedCode.parse(enhanced) if enhanced else None
    return BouncedRecipient(address=address, code=code, enhanced=parsed, text=text)


BOUNCES = {
    "qmail": (
        "qmail",
        [
            bounced(
                "jo@example.com",
                550,
                "5.1.1",
                "203.0.113.25 does not like recipient. Remote host said: 550 5.1.1 <jo@example.com>: no mailbox by "
                "that name Giving up on 203.0.113.25.",
            ),
            bounced(
                "info@nowhere.example",
                500,
                "5.1.2",
                "Sorry, I couldn't find any host named nowhere.example. (#5.1.2)",
            ),
            bounced(  # it is given up all the same
                "ines@busy.example",
                400,
                "4.4.2",
                "Connected to 203.0.113.40 but connection died. (#4.4.2) I'm not going to try again; this message has "
                "been in the queue too long.",
            ),
        ],
    ),
    "exim-plain": (
        "exim",
        [
            bounced(
                "jo@example.com",
                550,
                "5.7.1",
                "SMTP error from remote mail server after RCPT TO:<jo@example.com>: host mail.example.com "
                "[203.0.113.25]: 550-5.7.1 Your address is on our list. 550 5.7.1 Ask postmaster@example.com",
            ),
            bounced("ines@busy.example", text="(generated from list@example.net) retry timeout exceeded"),
        ],
    ),
    "sendmail-plain": (
        "sendmail",
        [
            bounced(
                "jo@example.com",
                550,
                "5.1.1",
                "(unrecoverable error) ----- Transcript of session follows ----- ... while talking to "
                "mail.example.com.: >>> RCPT To:<jo@example.com> <<< 550 5.1.1 <jo@example.com>... User unknown "
                "550 5.1.1 <jo@example.com>... User unknown",
            )
        ],
    ),
    "gmail-plain": (
        "gmail",
        [
            bounced(
                "jo@example.com",
                550,
                "5.2.1",
                "Technical details of permanent failure: Our server tried to deliver your message, but it was rejected "
                "by the server for the recipient domain example.com by mail.example.com. [203.0.113.25]. The error "
                "that the other server returned was: 550 5.2.1 The email account that you tried to reach is disabled.",
            )
        ],
    ),
    "yahoo-plain": (
        "yahoo",
        [
            bounced(
                "jo@example.com",
                550,
                "5.1.1",
                "550: 5.1.1 <jo@example.com>: Recipient address rejected: User unknown in relay recipient table",
            ),
            bounced("ines@busy.example", text="Unable to deliver message after multiple retries, giving up."),
        ],
    ),
    "exchange-plain": (
        "exchange",
        [
            bounced(
                "jo@adatum.example",
                550,
                "5.1.1",
                "on Mon, 11 Mar 2024 08:15:12 -0000 The recipient name is not recognized The MTS-ID of the original "
                "message is: c=us;a= ;p=adatum;l=EX1240311 MSEXCH:IMS:ADATUM:HQ:EX1 0 (000C05A6) 550 5.1.1 Unknown "
                "Recipient",
            )
        ],
    ),
    "opensmtpd": ("opensmtpd", [bounced("jo@example.com", 550, "5.1.1", "550 5.1.1 User unknown")]),
}


@pytest.mark.parametrize("name", BOUNCES)
def test_bounces_of_other_forms(name: str) -> None:
    assert report(name) is None
    found = bounce(name)
    recognised_by, recipients = BOUNCES[name]
    assert (found.recognised_by, list(found.recipients)) == (recognised_by, recipients)
    assert found.to_address == ENVELOPE
    if name != "yahoo-plain":
        assert found.returned_message_id == ORIGINAL


def test_a_malformed_report_is_read_as_a_bounce() -> None:
    with pytest.raises(InvalidDSN) as caught:
        parse_report(sample("groupwise"))
    assert (caught.value.reason, caught.value.where, caught.value.recipient) == ("missing", "Action", 1)
    found = bounce("groupwise")
    assert found.recognised_by == "delivery-status"
    assert list(found.recipients) == [bounced("jo@example.net", 550, "5.1.1", "550 5.1.1 user not found")]
    assert found.returned_message_id == ORIGINAL


@pytest.mark.parametrize("name", ["reply-that-quotes", "out-of-office"])
def test_what_people_and_their_programs_write_is_no_bounce(name: str) -> None:
    assert report(name) is None
    assert read_bounce(sample(name)) is None


def test_every_sample_is_in_a_test() -> None:
    tested = {*DSNS, *BOUNCES, "arf", "arf-redacted", "groupwise", "reply-that-quotes", "out-of-office"}
    assert {path.stem for path in SAMPLES.glob("*.eml")} == tested
