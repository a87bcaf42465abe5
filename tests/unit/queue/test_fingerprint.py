"""`moxlib.queue.fingerprint`: a message built anew is the same one; whatever a person would call a change is one."""

import email.policy
from collections.abc import Callable
from email import message_from_bytes
from email.message import EmailMessage
from email.message import Message as LegacyMessage
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from itertools import combinations
from typing import Any

import pytest

from moxlib.queue.fingerprint import fingerprint, message_digest

CONTENT = bytes(32)


def attached(**headers: str) -> EmailMessage:
    """Return a message to attach to another."""
    message = EmailMessage()
    message["From"], message["Subject"] = "friend@there.example", "forwarded"
    message["Date"], message["Message-ID"] = "Thu, 1 Jan 2026 12:00:00 +0000", "<7@there.example>"
    for name, value in headers.items():
        del message[name]
        message[name] = value
    message.set_content("look at this\n")
    return message


def invoice(number: int = 1, **headers: str) -> EmailMessage:
    """Return a message as a program builds it, the `number`th time it tries."""
    message = EmailMessage()
    usual = {
        "From": "shop@here.example",
        "To": "a@one.example",
        "Cc": "b@two.example",
        "Bcc": "archive@here.example",
        "Subject": "Grüße",
        "X-First": "1",
        "X-Second": "2",
        "Date": f"Thu, {number} Jan 2026 12:00:00 +0000",
        "Message-ID": f"<{number}@here.example>",
    }
    for name, value in (usual | headers).items():
        if value:
            message[name] = value
    message.set_content("Your invoice is attached.\n")
    message.add_alternative("<p>Your invoice is attached.</p>\n", subtype="html")
    message.add_attachment(b"%PDF-1", maintype="application", subtype="pdf", filename="invoice.pdf")
    message.add_attachment("a note\n", filename="note.txt")
    message.add_attachment(attached())
    return message


def test_a_message_built_anew_is_the_same() -> None:
    digest = message_digest(invoice())
    assert len(digest) == 32
    assert message_digest(invoice(2)) == digest
    assert message_digest(invoice(3, **{"Date": "", "Message-ID": ""})) == digest


def test_its_boundaries_do_not_count_nor_does_writing_it_out() -> None:
    """A boundary is chosen, at random, when a message is first written."""
    one, two = invoice(), invoice()
    assert one.as_bytes() != two.as_bytes()
    assert one.get_boundary() != two.get_boundary()
    assert message_digest(one) == message_digest(two) == message_digest(invoice())
    two.set_boundary("mine")
    assert message_digest(two) == message_digest(one)


def test_the_case_of_header_names_does_not_count() -> None:
    one, two = invoice(), invoice()
    two.replace_header("X-First", "1")
    del two["X-Second"]
    two["x-SECOND"] = "2"
    del one["X-Second"]
    one["X-Second"] = "2"
    assert message_digest(one) == message_digest(two)


def parts(message: EmailMessage) -> Any:
    return message.get_payload()


def replace_body(message: EmailMessage) -> None:
    parts(message)[0].get_payload()[0].set_content("Your invoice is not attached.\n")


def move_a_byte(message: EmailMessage) -> None:
    body = parts(message)[0]
    body.get_payload()[0].set_payload("Your invoice is attached.\n<")
    body.get_payload()[1].set_payload("p>Your invoice is attached.</p>\n")


def forward(**headers: str) -> Callable[[EmailMessage], None]:
    def change(message: EmailMessage) -> None:
        parts(message)[3].set_payload([attached(**headers)])

    return change


def change_what_is_forwarded(message: EmailMessage) -> None:
    parts(message)[3].get_payload()[0].set_content("look at that\n")


def header(name: str, *values: str) -> Callable[[EmailMessage], None]:
    def change(message: EmailMessage) -> None:
        del message[name]
        for value in values:
            message[name] = value

    return change


CHANGES: dict[str, Callable[[EmailMessage], Any]] = {
    "none": lambda _: None,
    "another subject": header("Subject", "Gruesse"),
    "no subject": header("Subject"),
    "another sender": header("From", "other@here.example"),
    "another name": header("From", "Shop <shop@here.example>"),
    "another recipient": header("To", "c@one.example"),
    "another Cc": header("Cc", "c@one.example"),
    "another Bcc": header("Bcc", "c@one.example"),
    "a header more": header("X-Third", "3"),
    "a header twice": lambda message: message.add_header("X-First", "1"),
    "headers in another order": header("X-First", "1"),
    "a value in another case": header("X-First", "I"),
    "a header with another name": lambda message: (header("X-First")(message), header("X-Fourth", "1")(message)),
    "another body": replace_body,
    "a byte moved from part to part": move_a_byte,
    "the alternatives in another order": lambda message: parts(parts(message)[0]).reverse(),
    "the attachments in another order": lambda message: parts(message).insert(1, parts(message).pop(2)),
    "an attachment less": lambda message: parts(message).pop(),
    "an attachment twice": lambda message: parts(message).append(parts(message)[1]),
    "an attachment inside another part": lambda message: parts(parts(message)[0]).append(parts(message).pop()),
    "another attachment": lambda message: parts(message)[1].set_content(b"%PDF-2", "application", "pdf"),
    "another file name": lambda message: parts(message)[1].set_param(
        "filename", "bill.pdf", header="Content-Disposition"
    ),
    "another type": lambda message: parts(message)[1].set_type("application/x-pdf"),
    "another parameter": lambda message: parts(message)[2].set_param("format", "flowed"),
    "another multipart": lambda message: parts(message)[0].set_type("multipart/related"),
    "another multipart outside": lambda message: message.set_type("multipart/digest"),
    "another disposition": lambda message: parts(message)[1].replace_header("Content-Disposition", "inline"),
    "what is forwarded has another date": forward(Date="Fri, 2 Jan 2026 12:00:00 +0000"),
    "what is forwarded has another id": forward(**{"Message-ID": "<8@there.example>"}),
    "what is forwarded has another subject": forward(Subject="forward"),
    "what is forwarded has another body": change_what_is_forwarded,
}


def changed(name: str) -> EmailMessage:
    message = invoice()
    CHANGES[name](message)
    return message


def test_all_changes_make_different_messages() -> None:
    digests = {name: message_digest(changed(name)) for name in CHANGES}
    for one, other in combinations(CHANGES, 2):
        assert digests[one] != digests[other], f"{one!r} looks like {other!r}"


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_made_anew_is_the_same(name: str) -> None:
    assert message_digest(changed(name)) == message_digest(changed(name))


# what could be taken for something else


def leaf(payload: str | None, **headers: str) -> LegacyMessage:
    message = LegacyMessage()
    for name, value in headers.items():
        message[name] = value
    if payload is not None:
        message.set_payload(payload)
    return message


def mixed(*inner: LegacyMessage) -> LegacyMessage:
    message = MIMEMultipart()
    for part in inner:
        message.attach(part)
    return message


LOOK_ALIKES: dict[str, tuple[LegacyMessage, LegacyMessage]] = {
    "one part's header and body, the other's": (
        mixed(leaf("c", a="b"), leaf("d")),
        mixed(leaf("a"), leaf("d", b="c")),
    ),
    "a header's name and a body": (mixed(leaf("x", a="b"), leaf("y")), mixed(leaf("a"), leaf("y", b="x"))),
    "no body and the word None": (leaf(None, a="b"), leaf("None", a="b")),
    "no body and an empty one": (leaf(None, a="b"), leaf("", a="b")),
    "a body that reads as if parts came": (mixed(leaf("1 parts"), leaf("x")), mixed(mixed(leaf("x")))),
    "parts in parts": (mixed(mixed(leaf("a")), leaf("b")), mixed(mixed(leaf("a"), leaf("b")))),
    "a digit more": (leaf("1:a", a="b"), leaf("a", a="b1:")),
}


@pytest.mark.parametrize("what", [name for name in LOOK_ALIKES if name != "no body and an empty one"])
def test_what_is_not_the_same_does_not_look_the_same(what: str) -> None:
    one, other = LOOK_ALIKES[what]
    assert one.as_bytes() != other.as_bytes()
    assert message_digest(one) != message_digest(other)


@pytest.mark.parametrize("where", ["preamble", "epilogue"])
def test_text_around_the_parts_counts(where: str) -> None:
    """It is sent, and old programs show it."""
    one, other = mixed(leaf("a")), mixed(leaf("a"))
    setattr(other, where, "This is a message in several parts.\n")
    assert message_digest(one) != message_digest(other)


# messages of all kinds


def test_messages_of_the_old_classes() -> None:
    def build(text: str) -> LegacyMessage:
        message = MIMEMultipart("mixed")
        message["From"] = "shop@here.example"
        message.attach(MIMEText(text, "plain", "utf-8"))
        part = MIMEBase("application", "octet-stream")
        part.set_payload(b"\x00\xff\r\n")
        message.attach(part)
        return message

    assert message_digest(build("ü")) == message_digest(build("ü"))
    assert message_digest(build("ü")) != message_digest(build("u"))


PARSED = (
    b"From: =?utf-8?q?J=C3=B6rg?= <j@here.example>\r\nSubject: \xff\xfe\r\nX: \xc3\xbc\r\n"
    b"Content-Type: text/plain; charset=; =x\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xff\x00body \xc3\xbc\r\n"
)


@pytest.mark.parametrize("policy", [email.policy.default, email.policy.compat32, email.policy.SMTP])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\xff\x00body", b"\xfe\x00body"),
        (b"body \xc3\xbc", b"body \xc3\xbd"),
        (b"\xff\xfe", b"\xfe\xff"),
        (b"X: \xc3\xbc", b"X: \xc3\xbd"),
        (b"J=C3=B6rg", b"J=C3=BCrg"),
    ],
)
def test_every_byte_of_a_parsed_message_counts(policy: "email.policy.Policy[Any]", old: bytes, new: bytes) -> None:
    """Also of one that is not as it should be: bytes over 127 in a header, or in a body of no known charset."""
    one, two = (message_from_bytes(PARSED, policy=policy) for _ in range(2))
    other = message_from_bytes(PARSED.replace(old, new), policy=policy)
    assert message_digest(one) == message_digest(two)
    assert message_digest(one) != message_digest(other)


def test_bytes_that_were_attached_as_they_are_count() -> None:
    def build(data: bytes) -> EmailMessage:
        message = EmailMessage()
        message.set_content("hello\n")
        message.add_attachment(data, maintype="image", subtype="png", cte="binary")
        return message_from_bytes(build_bytes(message), policy=email.policy.default)

    assert message_digest(build(b"\x89PNG\xf0\xf1")) == message_digest(build(b"\x89PNG\xf0\xf1"))
    assert message_digest(build(b"\x89PNG\xf0\xf1")) != message_digest(build(b"\x89PNG\xf2\xf3"))


def build_bytes(message: EmailMessage) -> bytes:
    message.set_boundary("x")
    return message.as_bytes(policy=email.policy.SMTP)


def test_a_message_without_anything() -> None:
    assert message_digest(EmailMessage()) == message_digest(EmailMessage())


# what was asked for besides


def test_everything_asked_for_counts() -> None:
    usual: dict[str, Any] = {"sender": "a@x", "recipients": ["b@x", "c@x"], "options": [[], None, None, None, None]}
    others: list[tuple[bytes, dict[str, Any]]] = [
        (CONTENT, {}),
        (b"\x01" + bytes(31), {}),
        (CONTENT, {"sender": ""}),
        (CONTENT, {"sender": "A@x"}),
        (CONTENT, {"recipients": ["c@x", "b@x"]}),
        (CONTENT, {"recipients": ["b@x"]}),
        (CONTENT, {"recipients": ["b@x", "c@x", "c@x"]}),
        (CONTENT, {"recipients": ["b@x,c@x"]}),
        (CONTENT, {"recipients": ['b@x", "c@x']}),
        (CONTENT, {"sender": "a@x b@x", "recipients": ["c@x"]}),
        (CONTENT, {"options": [[["invoice", "17"]], None, None, None, None]}),
        (CONTENT, {"options": [[["invoice17", ""]], None, None, None, None]}),
        (CONTENT, {"options": [[], "1m", None, None, None]}),
        (CONTENT, {"options": [[], None, 3, None, None]}),
        (CONTENT, {"options": [[], None, None, "3", None]}),
        (CONTENT, {"options": [[], None, None, None, "yes"]}),
        (CONTENT, {"options": [[], None, None, None, ""]}),
    ]
    made = [fingerprint(content, **(usual | fields)) for content, fields in others]
    assert len(set(made)) == len(others)
    assert made == [fingerprint(content, **(usual | fields)) for content, fields in others]
    assert {len(digest) for digest in made} == {32}


def test_any_text_will_do() -> None:
    one = fingerprint(CONTENT, sender="ü@x", recipients=["\U0001f600@x"], options=[])
    assert one != fingerprint(CONTENT, sender="\\u00fc@x", recipients=["\U0001f600@x"], options=[])
