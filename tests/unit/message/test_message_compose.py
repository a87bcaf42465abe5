"""Composing: header, nesting, encodings, and what the envelope needs."""

from datetime import UTC, datetime, timedelta, timezone
from ipaddress import ip_address

import pytest

from moxlib.errors import LimitExceeded
from moxlib.message import (
    Composed,
    Draft,
    File,
    InvalidDraft,
    NamedAddress,
    Part,
    Received,
    check_lines,
    compose,
    inspect_header,
    read_message,
)
from moxlib.testing import FakeClock

WHEN = datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1)))
HIDDEN = "hidden@example.org"


def draft(**changes: object) -> Draft:
    given: dict[str, object] = {
        "from_": NamedAddress(address="shop@example.com", name="The Shop"),
        "to": "jane@example.org",
        "subject": "Order 17",
        "date": WHEN,
        "message_id": "<17@example.com>",
        "user_agent": "",
        "text": "Thank you.\n",
    }
    return Draft(**given | changes)  # type: ignore[arg-type]


def composed(**changes: object) -> Composed:
    return compose(draft(**changes))


def shape(part: Part) -> object:
    return (part.media_type, [shape(child) for child in part.parts]) if part.is_multipart else part.media_type


def test_plain_text_alone_is_no_multipart() -> None:
    assert composed().to_bytes() == (
        b'From: "The Shop" <shop@example.com>\r\n'
        b"To: <jane@example.org>\r\n"
        b"Subject: Order 17\r\n"
        b"Date: 2 Jan 2024 03:04:05 +0100\r\n"
        b"Message-Id: <17@example.com>\r\n"
        b"MIME-Version: 1.0\r\n"
        b"Content-Type: text/plain; charset=us-ascii\r\n"
        b"Content-Transfer-Encoding: 7bit\r\n"
        b"\r\n"
        b"Thank you.\r\n"
    )


def test_fields_are_in_the_order_that_mox_has_them_in() -> None:
    message = composed(
        sender="desk@example.com",
        reply_to=["a@example.com", "b@example.com"],
        cc="cc@example.org",
        references=["<1@x.example>", "<2@x.example>"],
        headers=[("X-First", "1"), ("x-second", "2"), ("X-First", "3")],
        user_agent="shop/1.0",
        received=Received(from_host="web.example.com", by_host="mx.example.com", date=WHEN),
    )
    names = [line.partition(b":")[0].decode() for line in message.header.split(b"\r\n") if line[:1].strip()]
    assert names == [
        *("Received", "From", "Sender", "Reply-To", "To", "Cc", "Subject", "Date", "Message-Id", "References"),
        *("In-Reply-To", "MIME-Version", "X-First", "x-second", "X-First", "User-Agent"),
        *("Content-Type", "Content-Transfer-Encoding"),
    ]
    read = read_message(message.to_bytes())
    assert read.values("x-first") == ("1", "3")
    assert read.get("user-agent") == "shop/1.0"
    assert read.references == ("<1@x.example>", "<2@x.example>")
    assert read.get("in-reply-to") == "<2@x.example>"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"text": ""}, "text/plain"),
        ({"html": "<p>"}, ("multipart/alternative", ["text/plain", "text/html"])),
        ({"text": "", "html": "<p>"}, "text/html"),
        ({"attachments": 1}, ("multipart/mixed", ["text/plain", "image/png"])),
        ({"text": "", "attachments": 1}, ("multipart/mixed", ["image/png"])),
        ({"text": "", "html": "<p>", "inline": 1}, ("multipart/related", ["text/html", "image/png"])),
        ({"alternatives": 1}, ("multipart/alternative", ["text/plain", "image/png"])),
        ({"text": "", "alternatives": 1}, ("multipart/alternative", ["image/png"])),
        (
            {"html": "<p>", "alternatives": 1, "inline": 2, "attachments": 1},
            (
                "multipart/mixed",
                [
                    (
                        "multipart/related",
                        [
                            ("multipart/alternative", ["text/plain", "text/html", "image/png"]),
                            "image/png",
                            "image/png",
                        ],
                    ),
                    "image/png",
                ],
            ),
        ),
    ],
)
def test_parts_are_nested_only_as_needed(given: dict[str, object], expected: object) -> None:
    file = File(data=b"\x89PNG\r\n\x1a\n", name="x.png")
    changes = {name: [file] * count if isinstance(count, int) else count for name, count in given.items()}
    message = composed(**changes)
    assert shape(read_message(message.to_bytes())) == expected
    assert len(message.to_bytes()) == message.size


@pytest.mark.parametrize(
    ("text", "encoding", "charset", "content"),
    [
        ("x" * 76, "7bit", "us-ascii", b"x" * 76 + b"\r\n"),
        ("x" * 77, "quoted-printable", "us-ascii", b"x" * 75 + b"=\r\nxx\r\n"),
        ("ü", "8bit", "utf-8", "ü\r\n".encode()),
        ("ü" * 39, "quoted-printable", "utf-8", None),
        ("a\r\nb\rc\nd", "7bit", "us-ascii", b"a\r\nb\r\nc\r\nd\r\n"),
        ("a\0b\n", "quoted-printable", "us-ascii", b"a=00b\r\n"),
        ("a\x1bb\n", "quoted-printable", "us-ascii", b"a=1Bb\r\n"),
        ("tab\there \n.\nFrom me", "7bit", "us-ascii", b"tab\there \r\n.\r\nFrom me\r\n"),
        ("x" * 74 + " \n" + "y" * 80, "quoted-printable", "us-ascii", None),
    ],
)
def test_text_goes_as_it_is_or_quoted_printable(text: str, encoding: str, charset: str, content: bytes | None) -> None:
    raw = composed(text=text).to_bytes()
    message = read_message(raw)
    assert message.transfer_encoding == encoding
    assert message.parameters == {"charset": charset}
    if content is not None:
        assert message.raw_body() == content
    assert max(map(len, message.raw_body().split(b"\r\n"))) <= 76
    assert message.text(1000).replace("\r\n", "\n").rstrip("\n") == "\n".join(text.splitlines()).rstrip("\n")


def test_without_eight_bits_text_is_in_seven() -> None:
    message = compose(draft(text="grün", html="<p>ü"), eight_bit=False)
    assert message.to_bytes().isascii()
    assert not message.needs_8bit
    assert [part.text(100) for part in read_message(message.to_bytes()).parts] == ["grün\r\n", "<p>ü\r\n"]
    assert compose(draft(text="grün")).needs_8bit


def test_a_multipart_of_eight_bits_says_so() -> None:
    png = File(data=b"\x89PNG\r\n\x1a\n")
    [alternative, image] = read_message(composed(text="ü", html="<p>", attachments=png).to_bytes()).parts
    assert [part.transfer_encoding for part in (alternative, image, *alternative.parts)] == [
        *("8bit", "base64", "8bit", "7bit")
    ]
    for message in (composed(html="<p>ü", inline=png), compose(draft(html="<p>ü"), eight_bit=False)):
        related = read_message(message.to_bytes())
        assert related.transfer_encoding == ("8bit" if message.needs_8bit else "7bit")
        assert related.get("content-transfer-encoding") == ("8bit" if message.needs_8bit else "")


def test_bcc_is_not_in_the_message_but_in_the_envelope_and_in_the_copy_that_is_kept() -> None:
    message = composed(to=["jane@example.org", "joe@EXAMPLE.org"], cc="joe@example.org", bcc=HIDDEN)
    assert HIDDEN.encode() not in message.to_bytes()
    assert message.recipients == ("jane@example.org", "joe@example.org", HIDDEN)
    assert message.sender == "shop@example.com"
    kept = message.with_bcc()
    assert kept.to_bytes() == b"Bcc: <hidden@example.org>\r\n" + message.to_bytes()
    assert kept.size == len(kept.to_bytes())
    assert kept.with_bcc() == kept


def test_what_is_missing_is_made_of_clock_and_randomness() -> None:
    made = compose(
        draft(date=None, message_id="", html="<p>"), clock=FakeClock(), random=lambda count: bytes(range(count))
    )
    assert made.message_id == "<AAECAwQFBgcICQoLDA0ODw@example.com>"
    assert made.date == FakeClock().now().replace(microsecond=0)
    facts = inspect_header(made.to_bytes())
    assert (facts.message_id, facts.has_date) == (made.message_id, True)
    assert b'boundary="=_aAAECAwQFBgcICQoLDA0ODw"' in made.header
    assert compose(draft(message_id=""), hostname="Mx.Bücher.example").message_id.endswith("@mx.xn--bcher-kva.example>")
    assert compose(draft(message_id="")).message_id != compose(draft(message_id="")).message_id


def test_a_boundary_is_not_in_the_content() -> None:
    tokens = [b"\0" * 16, b"\xff" * 16]
    message = compose(draft(text="--=_aAAAAAAAAAAAAAAAAAAAAAA\n", html="<p>"), random=lambda count: tokens.pop(0))
    assert [part.media_type for part in read_message(message.to_bytes()).parts] == ["text/plain", "text/html"]
    with pytest.raises(InvalidDraft, match="boundary"):
        compose(draft(text="AAAAAAAAAAAAAAAAAAAAAA", html="<p>"), random=bytes)


def test_international_domains_are_ascii_and_localparts_need_smtputf8() -> None:
    ascii_only = composed(to="jane@bücher.example", bcc="x@bücher.example")
    assert b"To: <jane@xn--bcher-kva.example>\r\n" in ascii_only.header
    assert ascii_only.bcc_field == b"Bcc: <x@xn--bcher-kva.example>\r\n"
    assert not ascii_only.needs_smtputf8
    assert ascii_only.recipients == ("jane@xn--bcher-kva.example", "x@xn--bcher-kva.example")
    both = composed(to=[NamedAddress(address="jörg@bücher.example", name="Jörg")], subject="Grüße")
    assert 'To: "Jörg" <jörg@bücher.example>\r\nSubject: Grüße\r\n'.encode() in both.header
    assert both.needs_smtputf8
    assert both.needs_8bit
    assert compose(draft(subject="Grüße"), smtputf8=True).needs_smtputf8
    assert compose(draft(reply_to="jörg@example.com")).needs_smtputf8
    hidden = composed(bcc="jörg@example.com")
    assert hidden.header.isascii()
    assert hidden.needs_smtputf8


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"to": ["a@example.com", "jörg@example.com"]}, "to[1]"),
        ({"from_": "jörg@example.com"}, "from_"),
        ({"sender": "jörg@example.com"}, "sender"),
        ({"bcc": "jörg@example.com"}, "bcc[0]"),
        ({"reply_to": "jörg@example.com"}, "reply_to[0]"),
        ({"message_id": "<jörg@example.com>"}, "message_id"),
        ({"references": "<jörg@example.com>"}, "references"),
        ({"in_reply_to": "<jörg@example.com>"}, "in_reply_to"),
    ],
)
def test_what_needs_smtputf8_is_refused_without_it(changes: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidDraft) as caught:
        compose(draft(**changes), smtputf8=False)
    assert caught.value.field == field
    assert compose(draft(**changes), smtputf8=True).needs_smtputf8


@pytest.mark.parametrize(
    ("subject", "field"),
    [
        ("Grüße aus Köln", b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe_aus_K=C3=B6ln?=\r\n"),
        ("my Grüße to you", b"Subject: my =?utf-8?q?Gr=C3=BC=C3=9Fe?= to you\r\n"),
        ("日本語", b"Subject: =?utf-8?b?5pel5pys6Kqe?=\r\n"),
        ("a =?utf-8?q?b?= c", b"Subject: a =?utf-8?q?=3D=3Futf-8=3Fq=3Fb=3F=3D?= c\r\n"),
        (" word" * 20, b"Subject:  " + b"word " * 12 + b"word\r\n " + b"word " * 6 + b"word\r\n"),
        ("", b""),
    ],
)
def test_subjects(subject: str, field: bytes) -> None:
    header = composed(subject=subject).header
    start = header.find(b"Subject:")
    assert header[start : header.index(b"Date:")] == field if field else start < 0


def test_encoded_words_in_a_subject_can_be_kept() -> None:
    raw = compose(draft(subject="=?utf-8?q?Gr=C3=BC=C3=9Fe?="), keep_encoded_words=True).to_bytes()
    assert read_message(raw).envelope.subject == "Grüße"


def test_no_line_is_over_998_octets_and_those_that_can_be_folded_are_short() -> None:
    message = composed(
        subject="w" * 2000,
        to=[NamedAddress(address=f"a{number}@example.org", name="N" * 30 + " x") for number in range(50)]
        + [NamedAddress(address="last@example.org", name="n" * 2000)],
        references=[f"<{number}{'r' * 40}@example.org>" for number in range(20)],
        headers=[("X-Words", "some words " * 100), ("X-Long", "y" * 900), ("X-Wide", "ü" * 1000)],
    )
    lines = message.to_bytes().split(b"\r\n")
    assert [len(line) for line in lines if len(line) > 78] == [len("X-Long: ") + 900]
    read = read_message(message.to_bytes())
    assert read.envelope.subject == "w" * 2000
    assert read.envelope.to[-1].name == "n" * 2000
    assert len(read.references) == 20
    assert read.get("x-words") == ("some words " * 100).strip()


@pytest.mark.parametrize(
    ("when", "text"),
    [
        (datetime(2024, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), "31 Dec 2024 23:59:59 +0000"),
        (datetime(2024, 1, 1, tzinfo=timezone(-timedelta(hours=5, minutes=30))), "1 Jan 2024 00:00:00 -0530"),
        (datetime(1920, 1, 1, 12, tzinfo=timezone(timedelta(minutes=19, seconds=32))), "1 Jan 1920 11:59:28 +0019"),
    ],
)
def test_dates(when: datetime, text: str) -> None:
    message = composed(date=when)
    assert f"Date: {text}\r\n".encode() in message.header
    assert read_message(message.to_bytes()).envelope.date == when.replace(microsecond=0)


def test_a_message_may_not_be_larger_than_the_limit() -> None:
    size = composed().size
    assert compose(draft(), max_size=size).size == size
    with pytest.raises(LimitExceeded) as caught:
        compose(draft(), max_size=size - 1)
    assert caught.value.limit == size - 1
    with pytest.raises(LimitExceeded, match="header"):
        composed(headers=[("X-A", "b" * 800)] * 1400)


def test_replies_without_references_refer_to_what_they_reply_to() -> None:
    read = read_message(composed(in_reply_to="1@x.example").to_bytes())
    assert (read.references, read.get("in-reply-to")) == (("<1@x.example>",), "<1@x.example>")


def test_a_callers_user_agent_or_mailer_is_the_only_one() -> None:
    for name in ("User-Agent", "x-mailer"):
        read = read_message(composed(headers=[(name, "mine")], user_agent="other").to_bytes())
        assert read.get(name) == "mine"
        assert b"other" not in read.header
    assert compose(Draft(from_="a@example.com")).header.count(b"User-Agent: moxlib/") == 1


def test_received() -> None:
    received = Received(
        from_host="web.bücher.example",
        by_host="mx.example.com",
        date=WHEN,
        from_ip=ip_address("2001:db8::1"),
        protocol="ESMTPSA",
        id="17",
        tls="TLS1.3 (draft)",
        for_address="jörg@example.org",
    )
    assert received.field() == (
        b"Received: from web.xn--bcher-kva.example ([IPv6:2001:db8::1]) by\r\n"
        b" mx.example.com with ESMTPSA id 17 (TLS1.3 \\(draft\\));\r\n"
        b" 2 Jan 2024 03:04:05 +0100\r\n"
    )
    assert received.field(smtputf8=True).decode() == (
        "Received: from web.bücher.example (web.xn--bcher-kva.example)\r\n"
        " ([IPv6:2001:db8::1]) by mx.example.com with ESMTPSA id 17 (TLS1.3 \\(draft\\))\r\n"
        " for <jörg@example.org>; 2 Jan 2024 03:04:05 +0100\r\n"
    )
    assert composed(received=received).header.startswith(b"Received: from web.xn--bcher-kva.example")


def test_it_is_fit_to_be_sent() -> None:
    message = composed(html="<p>ü" + "x" * 100, attachments=File(data=b"\0" * 1000))
    facts = check_lines(message.to_bytes())
    assert (facts.size, facts.ends_in_crlf, facts.header_end) == (message.size, True, len(message.header))
