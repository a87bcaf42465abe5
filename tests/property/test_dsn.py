"""What is composed is read back as equal data, in both forms; and what is read may be composed again."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from moxlib.dns import parse_domain
from moxlib.dsn import (
    DSN,
    MTA,
    Action,
    RecipientStatus,
    Returned,
    TypedAddress,
    compose,
    needs_utf8,
    parse_dsn,
    parse_report,
)
from moxlib.dsn.lines import split_comments
from moxlib.dsn.status import _address
from moxlib.dsn.types import KNOWN
from moxlib.smtp import Address, EnhancedCode, InvalidAddress, Localpart, parse_address
from moxlib.testing import FakeClock

chars = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp"))
# What means something somewhere: comments, quotes, encoded words, blanks, escapes, long words, and line-like things.
pieces = st.sampled_from(
    ["(", ")", '"', "\\", "=?", "?=", "=?utf-8?q?x?=", " ", "  ", "\t", ";", ":", "<", ">", "--", "ü", "\U0001f44d",
     "x" * 90, "y " * 40, "é" * 400, "z" * 1000, "550 5.1.1 no", "a\\x{41}", "\xa0", "From ", ".", ","]
)  # fmt: skip
lines = st.lists(pieces | chars, max_size=12).map("".join)
words = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
texts = st.lists(
    pieces | chars | st.sampled_from(["\n", "\r", "\r\n", "\n\n", "\x00", "\x1b", " \n", "\n.\n"]), max_size=30
).map("".join)
domains = st.sampled_from(["example.com", "a-b.c1.example", "bücher.example", "xn--mnchen-3ya.example", "例子.example"])


@st.composite
def localparts(draw: st.DrawFn) -> str:
    value = draw(
        st.text(
            st.characters(codec="utf-8", exclude_categories=("C", "Z")) | st.sampled_from(' "\\+=@()x'), max_size=12
        )
    )
    try:
        return Localpart(value=value).value
    except InvalidAddress:  # not in NFC
        return "x"


addresses = st.builds(
    lambda localpart, domain: Address(localpart=Localpart(value=localpart or "e"), domain=parse_domain(domain)).pack(
        smtputf8=True
    ),
    localparts(),
    domains,
)
mail = st.builds(TypedAddress, address=addresses, type=st.sampled_from(["rfc822", "utf-8"]))
others = st.builds(TypedAddress, address=lines, type=st.sampled_from(["x400", "unknown"]))
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
dates = st.datetimes(datetime(1900, 1, 2), datetime(9998, 12, 30), timezones=zones | st.just(UTC))
names = (
    words | domains | st.sampled_from(["", "[192.0.2.1]", "a b", "sender@example.org", "=?utf-8?q?x?=", "höst_name"])
)
reporting = st.builds(MTA, name=names, type=st.sampled_from(["dns", "x-local"]), comment=lines)
remote = st.builds(MTA, name=names.filter(bool), type=st.sampled_from(["dns", "x-y", "smtp", ""]), comment=lines)
extensions = st.lists(st.tuples(words.filter(lambda name: name.lower() not in KNOWN), lines), max_size=4).map(tuple)
enhanced = st.builds(EnhancedCode, st.sampled_from([2, 4, 5]), st.integers(0, 99999), st.integers(0, 99999))
recipients = st.builds(
    RecipientStatus,
    final_recipient=mail,
    action=st.sampled_from(Action),
    status=st.none() | enhanced,
    status_comment=lines,
    original_recipient=st.none() | mail | others,
    remote_mta=st.none() | remote,
    diagnostic_type=st.sampled_from(["smtp", "X-Unix", "x-postfix"]),
    diagnostic_text=lines,
    last_attempt_date=st.none() | dates,
    final_log_id=lines,
    will_retry_until=st.none() | dates,
    extensions=extensions,
)
message_ids = words.map(lambda word: f"<{word}@example.org>")
octets = st.sampled_from(
    [
        b"Subject: x\r\n",
        b"Message-ID: <a@b>\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"\xc3\xbc",
        b"\xff",
        b"\0",
        b"x" * 1000,
        b"--",
        b" ",
    ]
)
contents = st.lists(octets | st.binary(max_size=20), max_size=10).map(b"".join)
dsns = st.builds(
    DSN,
    reporting_mta=reporting,
    recipients=st.lists(recipients, min_size=1, max_size=3).map(tuple),
    subject=lines,
    from_address=addresses,
    to_address=st.just("") | addresses,
    message_id=message_ids,
    references=st.lists(message_ids, max_size=3).map(tuple),
    text=texts,
    dsn_gateway=st.none() | reporting,
    received_from_mta=st.none() | reporting,
    arrival_date=st.none() | dates,
    original_envelope_id=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=100),
    extensions=extensions,
    returned=st.none() | st.builds(Returned, content=contents, whole=st.booleans()),
)


@given(dsns, st.booleans())
def test_what_is_composed_is_read_back(dsn: DSN, utf8: bool) -> None:
    raw = compose(dsn, smtputf8=utf8, clock=FakeClock())
    assert parse_dsn(raw) == dsn
    assert parse_report(raw) == dsn
    assert parse_dsn(compose(parse_dsn(raw), smtputf8=not utf8)) == dsn


@given(dsns, st.booleans())
def test_what_is_composed_is_a_message(dsn: DSN, utf8: bool) -> None:
    raw = compose(dsn, smtputf8=utf8)
    lines_ = raw.split(b"\r\n")
    assert max(map(len, lines_)) <= 998
    assert b"\r" not in b"".join(lines_)
    assert b"\n" not in b"".join(lines_)
    assert b"\0" not in raw
    if not utf8 and (dsn.returned is None or not dsn.returned.whole):
        assert raw.isascii()
    header = raw.partition(b"\r\n\r\n")[0].decode()
    fields = [line.partition(":")[0] for line in header.split("\r\n") if not line.startswith((" ", "\t"))]
    assert set(fields) <= {"From", "To", "Subject", "Message-Id", "References", "Date", "MIME-Version", "Content-Type"}
    assert len(set(fields)) == len(fields)
    returned_8bit = dsn.returned is not None and not dsn.returned.content.isascii()
    if not needs_utf8(dsn) and dsn.text.isascii() and not returned_8bit:
        assert compose(dsn, smtputf8=True).isascii()


@given(addresses)
def test_usual_addresses_are_read_as_all_are(address: str) -> None:
    parsed = parse_address(address)
    if str(parsed).isascii():
        assert _address(f"rfc822; {parsed}", "x", 1, utf8=False).address == str(parsed)


@given(st.from_regex(r"[a-zA-Z0-9._+=-]{1,70}@[a-z0-9.-]{1,70}", fullmatch=True))
def test_what_looks_usual_is_what_parse_address_takes(text: str) -> None:
    try:
        expected = str(parse_address(text))
    except InvalidAddress:
        expected = ""
    try:
        assert _address(f"rfc822; {text}", "x", 1, utf8=False).address == expected
    except ValueError:
        assert not expected


@given(st.lists(st.sampled_from([*'()"\\ ab']), max_size=30).map("".join))
def test_comments_are_what_is_in_parentheses(value: str) -> None:
    text, comment = split_comments(value)
    assert len(text) + len(comment) <= len(value)
    assert split_comments(f"x ({comment})" if comment.isalpha() else "x")[0] == "x"
    assert text.count("(") <= value.count("\\(") + value.count('"')
