"""The values of fields: parameters, encoded words, dates, addresses with names, references."""

import encodings
from datetime import UTC, datetime, timedelta, timezone

import pytest

from moxlib.message import decode_words, parse_date, read_message, readable
from moxlib.message.addresses import split_mailboxes
from moxlib.message.charset import _CODECS, codec_for, decode, text_of
from moxlib.message.parameters import parse_parameters


@pytest.mark.parametrize(
    ("value", "parameters"),
    [
        ("a/b", {}),
        ("a/b; C=d", {"c": "d"}),
        ('a/b;c="d;e";f=g', {"c": "d;e", "f": "g"}),
        (r'a/b; c="d\"e\\f\g"', {"c": r"d\"e\f\g".replace(r"\"", '"')}),
        ("a/b; c = d ; e= f", {"c": "d", "e": "f"}),
        ("a/b; c=d (a comment); e=f", {"c": "d", "e": "f"}),
        ("a/b;; c=d;", {"c": "d"}),
        ("a/b; c; d; e=f", {"e": "f"}),
        ("a/b; c=; e=f", {"e": "f"}),
        ('a/b; c=""; e=f', {"c": "", "e": "f"}),
        ("a/b; c=d; c=e", {"c": "d"}),
        ('a/b; c="not closed; d=e', {"c": "not closed; d=e"}),
        ('a/b; c="d" junk; e=f', {"c": "d", "e": "f"}),
        ("a/b; c=two words; e=f", {"c": "two words", "e": "f"}),
        ("a/b; c=d=e; f=g", {"f": "g"}),
        ("a/b; boundary=----=_Part_1; f=g", {"boundary": "----=_Part_1", "f": "g"}),
        ("a/b; boundary==_x", {"boundary": "=_x"}),
        ("a/b; ü=é", {"ü": "é"}),
        ("; c=d", {"c": "d"}),
        (";;;", {}),
    ],
)
def test_parameters(value: str, parameters: dict[str, str]) -> None:
    assert parse_parameters(value)[1] == parameters


@pytest.mark.parametrize(
    ("sections", "text"),
    [
        ("n*=UTF-8''na%C3%AFve%20file", "naïve file"),
        ("n*=iso-8859-1'en'%E9", "é"),
        ("n*=x-unknown''%C3%A9", "é"),
        ("n*=''%C3%A9", "é"),
        ("n*=%C3%A9", "é"),
        ("n*=it's", "it's"),
        ("n*0=it's; n*1=' '", "it's' '"),
        ('n*0=a; n*1=b; N*2="c d"', "abc d"),
        ("n*1=b; n*0=a", "ab"),
        ("n*0*=UTF-8''%E2%98; n*1*=%BA-; n*2=%41", "☺-%41"),
        ("n*0=a; n*2=c", "a"),
        ("n*1=b", ""),
        ("n=plain; n*=UTF-8''better", "better"),
        ("n*0=a; n=plain", "a"),
        ("n*=utf-8''100%; m=x", "100%"),
        ("n*=utf-8''%ff%", "\ufffd%"),
    ],
)
def test_sections_of_rfc_2231(sections: str, text: str) -> None:
    assert parse_parameters(f"a/b; {sections}")[1]["n"] == text


def test_names_that_are_no_sections_stay() -> None:
    assert parse_parameters("a/b; *=x; n*x=y; n**=z; n*99999=q") == (
        "a/b",
        {"*": "x", "n*x": "y", "n**": "z", "n*99999": "q"},
    )


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("plain =? text", "plain =? text"),
        ("=?utf-8?q?J=C3=BCrgen?=", "Jürgen"),
        ("=?UTF-8?B?w7xiZXI=?= plain =?utf-8?q?_q?=", "über plain  q"),
        ("=?utf-8?q?a?= =?utf-8?q?b?=  =?utf-8?b?Yw==?=", "abc"),
        ("=?utf-8?q?a?= x =?utf-8?q?b?=", "a x b"),
        ("=?utf-8?q?a?=b=?utf-8?q?c?=", "abc"),
        ("=?utf-8?q?=C3?= =?utf-8?q?=BC?=", "ü"),
        ("=?utf-8?q?=C3?= =?iso-8859-1?q?=FC?=", "\ufffdü"),
        ("=?utf-8?b?w7w?=", "ü"),
        ("=?utf-8?q?not closed", "=?utf-8?q?not closed"),
        ("=?bogus?q?abc?= =?utf-8?q?d?=", "=?bogus?q?abc?= d"),
        ("=?utf-8?q?d?= =?bogus?q?abc?= =?utf-8?q?e?=", "d =?bogus?q?abc?= e"),
        ("=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
        ("=?utf-8*en?q?a?=", "a"),
        ("=?us-ascii?q?a b?=", "a b"),
        ("=?utf-8?q??=", ""),
        ("=?utf-8?q?a_?=", "a "),
        ("=?utf-8?q?=ZZ=?=", "=ZZ"),
        ("=?iso-2022-jp?b?GyRCJDMbKEI=?=", "こ"),
    ],
)
def test_encoded_words(text: str, decoded: str) -> None:
    assert decode_words(text) == decoded


def _at(hours: float, *when: int) -> datetime:
    return datetime(*when, tzinfo=timezone(timedelta(hours=hours)))  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("value", "date"),
    [
        ("Mon, 1 Jan 2024 10:00:00 +0100", _at(1, 2024, 1, 1, 10)),
        ("1 Jan 2024 10:00 -0330", _at(-3.5, 2024, 1, 1, 10)),
        ("Mon,1 Jan 2024 10:00:00 +0530", _at(5.5, 2024, 1, 1, 10)),
        ("Monday, 01-January-2024 10:00:00.5 GMT (a (zone))", _at(0, 2024, 1, 1, 10)),
        ("(x) 1 (y) jan 24 10:00:00 EST", _at(-5, 2024, 1, 1, 10)),
        ("1 Jan 99 10:00:00 PDT", _at(-7, 1999, 1, 1, 10)),
        ("1 Jan 124 10:00:00 Z", _at(0, 2024, 1, 1, 10)),
        ("1 Jan 2024 10:00:00 -0000", _at(0, 2024, 1, 1, 10)),
        ("1 Jan 2024 10:00:00 CEST", _at(0, 2024, 1, 1, 10)),
        ("1 Jan 2024 10:00:00 +2400", _at(0, 2023, 12, 31, 10)),
        ("1 Jan 2024 10:00:00 -9999", _at(0, 2024, 1, 5, 14, 39)),
        ("Thu, 29 Feb 2024 23:59:60 +0000", _at(0, 2024, 3, 1)),
        ("31 Dec 9999 23:59:59 +0000", _at(0, 9999, 12, 31, 23, 59, 59)),
    ],
)
def test_dates(value: str, date: datetime) -> None:
    found = parse_date(value)
    assert found == date
    assert found is not None
    assert found.utcoffset() == date.utcoffset()


@pytest.mark.parametrize(
    "value",
    [
        *("", "garbage", "1 Jan 2024", "1 Jan 2024 10:00:00", "Mon Jan  1 10:00:00 2024", "2024-01-01T10:00:00Z"),
        *("1 Jan 12024 10:00:00 +0000", "1 Jan 2024 25:00:00 +0000", "1 Jan 2024 10:00:61 +0000", "32 Jan 2024 0:00 Z"),
        *(
            "30 Feb 2024 10:00:00 +0000",
            "1 Foo 2024 10:00:00 +0000",
            "1 Jan 0001 00:00:00 +0000",
            "1 Jan 2024 1:00 +01",
        ),
        *("31 Dec 9999 23:59:60 +0000", "31 Dec 9999 23:59:59 -0001", "1 Jan ٢٠٢٤ 10:00:00 +0000", "0 Jan 2024 0:00 Z"),
        "1 Jan 2024 10:00:00 +00000",
    ],
)
def test_what_is_no_date_with_a_zone(value: str) -> None:
    assert parse_date(value) is None


def test_dates_can_be_converted_to_any_zone_near_the_year_9999() -> None:
    found = parse_date("31 Dec 9999 23:59:59 +0100")
    assert found is not None
    assert found.astimezone(UTC).year == 9999


@pytest.mark.parametrize(
    ("value", "mailboxes"),
    [
        ("a@b", [("", "a@b")]),
        ("<a@b>", [("", "a@b")]),
        ("Jane Doe <a@b>, c@d", [("Jane Doe", "a@b"), ("", "c@d")]),
        ('"Doe, \\"J\\" Jane" <a@b>', [('Doe, "J" Jane', "a@b")]),
        ('"Doe"  Jane   <a@b>', [("Doe Jane", "a@b")]),
        ("=?iso-8859-1?Q?Andr=E9?= Pirard <a@b>", [("André Pirard", "a@b")]),
        ("=?utf-8?q?a?= =?utf-8?q?b?= <a@b>", [("ab", "a@b")]),
        ("=?utf-8?q?Doe,_J._(x):?= <a@b>, c@d", [("Doe, J. (x):", "a@b"), ("", "c@d")]),
        ("=?utf-8?q?Doe, <a@b>", [("", "=?utf-8?q?Doe"), ("", "a@b")]),
        ('"=?utf-8?q?a?=" <a@b>', [("=?utf-8?q?a?=", "a@b")]),
        ("a@b (Jane =?utf-8?q?D=C3=B6?=)", [("Jane Dö", "a@b")]),
        ("(comment) a@b", [("comment", "a@b")]),
        ("a@b (Jane), c@d", [("Jane", "a@b"), ("", "c@d")]),
        ("Jane <a@b> (not the name)", [("Jane", "a@b")]),
        ("Friends: Jane <a@b>, c@d;, e@f", [("Jane", "a@b"), ("", "c@d"), ("", "e@f")]),
        ("undisclosed-recipients:;", []),
        ('"a b"@c', [("", '"a b"@c')]),
        ('J <"a b"@c>', [("J", '"a b"@c')]),
        ("J. R. <a@b>", [("J. R.", "a@b")]),
        ("nobody, <>", [("", "nobody")]),
        ('"not closed <a@b>', [("", '"not closed <a@b>')]),
        ("", []),
    ],
)
def test_mailboxes(value: str, mailboxes: list[tuple[str, str]]) -> None:
    assert split_mailboxes(value) == mailboxes


def test_envelope() -> None:
    envelope = read_message(
        b"From: =?utf-8?q?J=C3=BCrgen=0D=0ABcc:?= <j@example.org>\r\n"
        b'Sender: "A B" <"a b"@M\xc3\xbcnchen.example>\r\n'
        b"Reply-To: <r@example.org>\r\n"
        b"To: b@example.org\r\nTo: c@example.org, Group: d@example.org;\r\n"
        b"Cc: e@example.org\r\nBcc: f@example.org\r\n"
        b"Subject: =?utf-8?q?one=0Atwo?=\r\nSubject: two\r\n"
        b"Date: 1 Jan 2024 10:00:00 GMT\r\nMessage-ID: <m@x>\r\nIn-Reply-To: <p@x> <q@x>\r\n\r\n"
    ).envelope
    assert envelope.from_ == (("Jürgen Bcc:", "j", "example.org"),)
    assert envelope.from_[0].address == "j@example.org"
    assert envelope.sender == (("A B", '"a b"', "xn--mnchen-3ya.example"),)
    assert envelope.reply_to[0].address == "r@example.org"
    assert [address.user for address in envelope.to] == ["b", "c", "d"]
    assert [address.user for address in envelope.cc + envelope.bcc] == ["e", "f"]
    assert (envelope.subject, envelope.date) == ("one two", datetime(2024, 1, 1, 10, tzinfo=UTC))
    assert (envelope.message_id, envelope.in_reply_to) == ("<m@x>", "<p@x> <q@x>")


@pytest.mark.parametrize(
    ("fields", "references"),
    [
        (b"References: <r1@x>\r\n\t<r2@x> <P@x>\r\n", ("<r1@x>", "<r2@x>", "<P@x>")),
        (b"References: junk <a@x>, <b@x>\r\nReferences: <a@x>\r\n", ("<a@x>", "<b@x>", "<a@x>")),
        (b"References: <long\r\n er@x> <cut <b@x> <> < > <c\0@x>\r\n", ("<longer@x>", "<b@x>", "<c@x>")),
        (b"In-Reply-To: <a@x>\r\n", ()),
    ],
)
def test_references(fields: bytes, references: tuple[str, ...]) -> None:
    assert read_message(fields + b"\r\n").references == references


def test_charsets_by_name() -> None:
    assert codec_for("") == codec_for(" UTF-8 ") == codec_for("us-ascii") == "utf-8"
    assert codec_for("ISO-8859-1") == codec_for("latin1") == "iso8859-1"
    for name in (
        "punycode",
        "IDNA",
        "Raw_Unicode_Escape",
        "utf-7",
        "unicode-1-1-utf-7",
        "hex",
        "a\0",
        "../x",
        "é",
        "os",
    ):
        assert codec_for(name) is None
    assert decode(b"\xe9", "iso-8859-1") == "é"


@pytest.mark.parametrize("codec", sorted(_CODECS))
def test_any_codec_gives_text(codec: str) -> None:
    """Were there one that gives octets, or needs what another system has, decoding by it would raise."""
    assert codec_for(codec)
    assert isinstance(decode(b"\xffabc\0", codec), str)
    assert isinstance(text_of([b"\xff", b"abc\0"], codec, 100), str)


def test_names_of_charsets_are_not_kept() -> None:
    """Python keeps each name of a codec that it was asked for, for as long as the process lives, also unknown ones."""
    kept = encodings._cache
    assert codec_for("iso-8859-1") == codec_for("ISO_8859-1") == codec_for("iso8859.1") == "iso8859-1"
    before = len(kept)
    for number in range(50):
        assert codec_for(f"x-{number}") is None
        assert codec_for(f"encodings.x{number}") is None
        assert codec_for("iso" + "-" * (number + 1) + "8859_1") == "iso8859-1"
    assert len(kept) == before


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 7])
def test_text_does_not_depend_on_how_it_is_cut(cut: int) -> None:
    for charset, text in (("utf-8", "é€😀"), ("utf-16", "é€😀"), ("iso-2022-jp", "こんにちは"), ("gb18030", "中文€")):
        data = text.encode(charset)
        chunks = [data[start : start + cut] for start in range(0, len(data), cut)]
        assert text_of(chunks, charset, 100) == text
    endless = iter(lambda: b"abc", b"")
    assert text_of(endless, "", 7) == "abcabca"
    broken = b"\x1b$" * 40
    assert "\ufffd" in text_of([broken[start : start + 9] for start in range(0, 80, 9)], "iso-2022-jp", 1000)


def test_readable_text_of_alternatives() -> None:
    body = (
        b"--b\r\n\r\nfirst\r\n--b\r\n\r\nlast\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>\r\n"
        b"--b\r\nContent-Type: text/calendar\r\n\r\nBEGIN\r\n--b--\r\n"
    )
    for kind, text, html in ((b"alternative", "last", "<p>"), (b"mixed", "first", ""), (b"x", "first", "")):
        found = readable(read_message(b"Content-Type: multipart/" + kind + b"; boundary=b\r\n\r\n" + body))
        assert (found.text, found.html, found.found) == (text, html, True)
    nested = b"--o\r\nContent-Type: image/png\r\n\r\n\r\n--o\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n"
    found = readable(read_message(b"Content-Type: multipart/related; boundary=o\r\n\r\n" + nested + body + b"--o--"))
    assert (found.text, found.html) == ("last", "<p>")
    assert not readable(read_message(b"Content-Type: text/markdown\r\n\r\n# x")).found
