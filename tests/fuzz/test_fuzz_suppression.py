"""Tokens, CSV and headers: whatever comes in is read, or refused with one of our errors."""

import base64
import hmac
import io
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moxlib.errors import InputError
from moxlib.message import InvalidMessage, inspect_header
from moxlib.queue.extra_headers import ExtraHeaders, take_extra_headers
from moxlib.queue.suppression import (
    DEFAULT_POLICY,
    Failure,
    InvalidTable,
    Origin,
    SuppressionPolicy,
    decide,
    diagnostic_codes,
    read_suppressions,
    suppress,
)
from moxlib.queue.suppression.table import COLUMNS
from moxlib.queue.unsubscribe import InvalidToken, UnsubscribeTokens, token_in_subject
from moxlib.smtp import parse_address

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KEY = b"k" * 32
TOKENS = UnsubscribeTokens(keys=(KEY, b"l" * 32))


@given(st.one_of(st.text(), st.text("ABab01-_", max_size=700)))
def test_any_text_is_no_token(text: str) -> None:
    with pytest.raises(InvalidToken) as caught:
        TOKENS.read(text, NOW)
    assert len(str(caught.value)) < 200
    with pytest.raises(InvalidToken):
        TOKENS.read(token_in_subject(text), NOW)


@given(st.binary(max_size=120))
def test_whatever_is_signed_is_read_or_malformed(rest: bytes) -> None:
    payload = b"\x01" + rest
    token = base64.urlsafe_b64encode(payload + hmac.digest(KEY, b"moxlib unsubscribe token\0" + payload, "sha256"))
    try:
        claim = TOKENS.read(token.decode().rstrip("="), NOW)
    except InvalidToken:
        return
    assert TOKENS.sign(claim) == token.decode().rstrip("=") or rest[:8] != bytes(8)


cells = st.one_of(
    st.sampled_from(
        [
            *COLUMNS,
            "email",
            "created",
            "a@b.example",
            "manual",
            "reply",
            "2026-01-31",
            "1769846400",
            "'=a",
            "",
            "9" * 20,
        ]
    ),
    st.text(max_size=10),
)
tables = st.lists(st.lists(cells, max_size=8).map(",".join), max_size=6).map("\r\n".join)


@given(st.one_of(st.text(), st.text('",;\t\r\n\ufeffa@b.\0', max_size=60), tables))
@example("address,base_address,cause,since\na@b.example,,manual,0001-01-01T00:00:00+23:59\n")
@example("address,base_address,cause,since,expires\na@b.example,,manual,9999-12-31T23:59:59-23:59,\n")
@example("email,created\na@b.example,99999999999999\n")
@example("email,created\na@b.example,Fri\n")
def test_any_text_is_read_as_csv_or_refused(text: str) -> None:
    refused: list[InvalidTable] = []
    try:
        entries = list(read_suppressions(io.StringIO(text, newline=""), now=NOW, account="a", on_error=refused.append))
    except InvalidTable as error:
        refused.append(error)
        entries = []
    for entry in entries:
        assert entry.base_address
        assert entry.since.utcoffset() is not None
        assert len(entry.reason) <= 1000
    for each in refused:
        assert 1 <= each.line <= text.count("\n") + text.count("\r") + 1
        assert len(str(each)) < 1000


lines = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from([b"X-Mox-Extra-A: b", b"x-mox-extra-", b" folded", b"From: a@b.example", b"", b"\r", b"\n"]),
        st.binary(max_size=20).map(lambda rest: b"X-Mox-Extra-" + rest),
    ),
    max_size=8,
).map(b"\r\n".join)


@given(st.one_of(st.binary(), lines))
def test_any_octets_are_a_header_or_refused(head: bytes) -> None:
    try:
        found = take_extra_headers(head)
    except InputError as error:
        refused = error
    else:
        check(found, head)
        return
    assert len(str(refused)) < 600


def check(found: ExtraHeaders, head: bytes) -> None:
    assert found.size <= len(head)
    assert len(found.block) <= found.size
    for key, value in found.extra.items():
        assert key
        assert not set(key + value) & set("\r\n\0")
    try:
        facts = inspect_header(found.block)
    except InvalidMessage:
        return
    assert b"\r\nx-mox-extra-" not in (b"\r\n" + facts.block).lower(), "what is left is a header without them"


failures = st.builds(
    Failure,
    origin=st.sampled_from(Origin),
    code=st.integers(-1, 1000) | st.sampled_from([550, 551, 554]),
    enhanced=st.text(max_size=12) | st.sampled_from(["", "5.1.1", "5.7.1"]),
    command=st.text() | st.sampled_from(["RCPT TO", "DATA"]),
    text=st.text(),
)


@given(failures, st.booleans())
def test_whatever_a_peer_said_makes_a_suppression_that_can_be_stored(failure: Failure, mox: bool) -> None:
    policy = SuppressionPolicy.mox() if mox else DEFAULT_POLICY
    decision = decide(policy, failure)
    if decision is None:
        return
    made = suppress(decision, account="a", address=parse_address("a@b.example"), policy=policy, now=NOW)
    assert made.reason.isprintable()
    assert made.explain(NOW).isprintable()
    made.explain(NOW).encode()


@given(st.text())
def test_any_text_has_codes_or_none(text: str) -> None:
    code, enhanced = diagnostic_codes(text)
    assert code == 0 or 200 <= code <= 599
    assert enhanced == "" or text[4:].startswith(enhanced)
