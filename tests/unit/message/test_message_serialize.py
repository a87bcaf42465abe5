import email
import email.policy
from email.header import Header
from email.message import EmailMessage, Message
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from typing import Any

import pytest

from moxlib.message import InvalidMessage, check_lines, envelope_of, inspect_header, serialize


def _modern() -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Jürgen <j@example.com>"
    message["To"] = '"Doe, Jane" <jane@example.com>, Ünal <u@example.com>'
    message["Cc"] = "jane@example.com, c@example.com"
    message["Bcc"] = "hidden@example.com"
    message["Subject"] = "Grüße"
    message.set_content("one\n.two\n\nthree ü\n")
    return message


def test_serializes_with_crlf_and_without_bcc() -> None:
    message = _modern()
    before = message.as_bytes()
    data = serialize(message)
    facts = check_lines(data)
    assert facts.ends_in_crlf
    assert b"hidden" not in data
    head = inspect_header(data)
    assert head.subject == "Grüße"
    assert not head.needs_smtputf8
    parsed = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    assert parsed.get_content() == "one\r\n.two\r\n\r\nthree ü\r\n"
    assert message.as_bytes() == before
    assert message["Bcc"] == "hidden@example.com"


def test_the_message_is_not_changed_even_where_boundaries_are_made_up() -> None:
    inner = MIMEMultipart("alternative")
    inner.attach(MIMEText("x"))
    message = MIMEMultipart()
    message["From"] = "j@example.com"
    message.attach(inner)
    headers = (message.items(), inner.items())
    data = serialize(message)
    assert (message.items(), inner.items()) == headers
    assert email.message_from_bytes(data).get_payload(0).get_payload(0).get_payload() == "x"  # type: ignore[union-attr]  # parts


def test_a_message_without_a_body_or_a_last_line_end_is_ended() -> None:
    message = Message()
    message["From"] = "j@example.com"
    assert serialize(message) == b"From: j@example.com\r\n\r\n"
    message.set_payload("no end")
    assert serialize(message) == b"From: j@example.com\r\n\r\nno end\r\n"


def test_line_ends_of_any_kind_in_the_body_become_crlf() -> None:
    message = Message()
    message["From"] = "j@example.com"
    message.set_payload("a\rb\nc\r\nd\r\r\n")
    assert serialize(message).partition(b"\r\n\r\n")[2] == b"a\r\nb\r\nc\r\nd\r\n\r\n"


def test_international_addresses_make_a_utf8_header() -> None:
    message = EmailMessage()
    message["From"] = "jürgen@example.com"
    message["Subject"] = "Grüße"
    data = serialize(message)
    head = inspect_header(data)
    assert head.needs_smtputf8
    assert (head.sender, head.subject) == ("jürgen@example.com", "Grüße")
    assert envelope_of(message) == ("jürgen@example.com", ())


def test_international_domains_are_written_in_ascii() -> None:
    message = EmailMessage()
    message["From"] = "Jürgen <j@zürich.example>"
    message["Sender"] = "s@zürich.example"
    message["To"] = "Team: a@zürich.example, B <b@example.com>;"
    head = inspect_header(serialize(message))
    assert not head.needs_smtputf8
    assert head.sender == "s@xn--zrich-kva.example"
    assert head.from_addresses == ("j@xn--zrich-kva.example",)
    assert head.recipients == ("a@xn--zrich-kva.example", "b@example.com")
    assert b"From: =?utf-8?" in head.block
    assert message["From"] == "Jürgen <j@zürich.example>"
    assert envelope_of(message)[0] == "s@zürich.example"


def test_domains_that_cannot_be_are_left_for_the_envelope_to_refuse() -> None:
    message = EmailMessage()
    message["To"] = "c@-ü.example"
    assert inspect_header(serialize(message)).recipients == ("c@-ü.example",)


def test_parsed_messages_are_written_back() -> None:
    raw = b"From: j@example.com\r\nSubject: folded\r\n one\r\nBcc: x@example.com\r\n\r\nbody\r\n"
    for policy in (email.policy.compat32, email.policy.default, email.policy.SMTP):
        message = email.message_from_bytes(raw, policy=policy)
        data = serialize(message)
        assert inspect_header(data).subject == "folded one"
        assert data.endswith(b"\r\n\r\nbody\r\n")
        assert b"x@example.com" not in data


@pytest.mark.parametrize(
    "value",
    [
        "a\r\nBcc: x@example.com",
        "a\nBcc: x@example.com",
        "a\rBcc: x@example.com",
        "a\r\n\r\nbody",
        "a\x0bBcc: x@example.com",
        "a\u2028Bcc: x@example.com",
        "a\n",
        "a\0b",
    ],
)
def test_header_injection_is_refused(value: str) -> None:
    message = Message()
    message["From"] = "j@example.com"
    message["Subject"] = value
    with pytest.raises(InvalidMessage, match="a line end or NUL in a header value"):
        serialize(message)
    outer = MIMEMultipart()
    outer.attach(message)
    with pytest.raises(InvalidMessage, match="a line end or NUL in a header value"):
        serialize(outer)


def test_injection_through_a_header_object_is_refused() -> None:
    message: Message[Any, Any] = Message()
    message["Subject"] = Header("a\nBcc: x@example.com")
    with pytest.raises(InvalidMessage, match="a line end"):
        serialize(message)


@pytest.mark.parametrize("name", ["A b", "A:", "A\r\nB", "Ä"])
def test_bad_header_names_are_refused(name: str) -> None:
    message = Message()
    message[name] = "x"
    with pytest.raises(InvalidMessage, match="not a header field name"):
        serialize(message)


@pytest.mark.parametrize("payload", [object(), ["a part"], "\ud800"])
def test_what_the_email_package_cannot_write_is_refused(payload: Any) -> None:
    message: Message[Any, Any] = Message()
    message["From"] = "j@example.com"
    message.set_payload(payload)
    with pytest.raises(InvalidMessage, match="cannot write") as caught:
        serialize(message)
    assert caught.value.__cause__ is not None


def test_envelopes() -> None:
    assert envelope_of(_modern()) == (
        "j@example.com",
        ("jane@example.com", "u@example.com", "c@example.com", "hidden@example.com"),
    )
    old: Message[Any, Any] = Message()
    old["from"] = "a@example.com, b@example.com"
    old["SENDER"] = "s@example.com"
    old["To"] = Header("Jane (x) <jane@example.com>")
    old["To"] = "friends: a@example.com;"
    assert envelope_of(old) == ("s@example.com", ("jane@example.com", "a@example.com"))
    assert envelope_of(Message()) == ("", ())


def test_envelope_of_a_resent_message() -> None:
    message = _modern()
    message["Resent-Date"] = "Mon, 23 Nov 2026 12:00:00 +0000"
    message["Resent-From"] = "r@example.com"
    message["Resent-To"] = "t@example.com"
    assert envelope_of(message) == ("r@example.com", ("t@example.com",))
    message["Resent-Date"] = "Mon, 23 Nov 2026 13:00:00 +0000"
    with pytest.raises(InvalidMessage, match="resent more than once"):
        envelope_of(message)


def test_text_that_is_no_address_is_not_passed_over() -> None:
    message = EmailMessage()
    message["From"] = "j@example.com"
    message["To"] = "jane@example.com, Not An Address"
    _, recipients = envelope_of(message)
    assert recipients[0] == "jane@example.com"
    assert len(recipients) == 2
