"""Unsubscribe tokens and headers."""

import base64
import hashlib
import hmac
import pickle
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import SMTP

import pytest

from moxlib.errors import InputError
from moxlib.message import inspect_header
from moxlib.queue.unsubscribe import (
    ExpiredToken,
    ForgedToken,
    InvalidToken,
    MalformedToken,
    Unsubscribe,
    UnsubscribeHeaders,
    UnsubscribeTokens,
    is_one_click,
    token_in_subject,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD, NEW = b"o" * 32, b"n" * 32
TOKENS = UnsubscribeTokens(keys=(NEW, OLD))
CLAIM = Unsubscribe(account="shop", recipient="jane+x@example.org", tag="news")
HEADERS = UnsubscribeHeaders(url="https://example.org/unsubscribe?t={token}", mailbox="unsubscribe@example.org")


def test_a_token_comes_back_as_what_it_claims() -> None:
    token = TOKENS.sign(CLAIM)
    assert TOKENS.read(token, NOW) == CLAIM
    assert TOKENS.sign(CLAIM) == token, "the same each time"
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def test_a_tokens_form_is_what_the_documentation_says() -> None:
    payload = b"\x01" + bytes(8) + b"\0\4shop" + b"\0\x12jane+x@example.org" + b"\0\4news"
    digest = hmac.new(NEW, b"moxlib unsubscribe token\0" + payload, hashlib.sha256).digest()
    assert TOKENS.sign(CLAIM) == base64.urlsafe_b64encode(payload + digest).decode().rstrip("=")


def test_keys_are_rotated() -> None:
    token = UnsubscribeTokens(keys=(OLD,)).sign(CLAIM)
    assert TOKENS.read(token, NOW) == CLAIM
    assert TOKENS.sign(CLAIM) != token, "the first key signs"
    with pytest.raises(ForgedToken):
        UnsubscribeTokens(keys=(NEW,)).read(token, NOW)


def test_every_key_is_compared_whichever_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def counted(first: bytes, second: bytes) -> bool:
        compared.append(first)
        return first == second

    token = TOKENS.sign(CLAIM)
    monkeypatch.setattr(hmac, "compare_digest", counted)
    assert TOKENS.read(token, NOW) == CLAIM
    assert len(compared) == 2


def test_a_token_may_expire() -> None:
    until = NOW + timedelta(days=30)
    token = TOKENS.sign(CLAIM, expires=until)
    assert TOKENS.read(token, until - timedelta(seconds=1)) == CLAIM
    with pytest.raises(ExpiredToken) as caught:
        TOKENS.read(token, until)
    assert (caught.value.claim, caught.value.expired) == (CLAIM, until)
    assert pickle.loads(pickle.dumps(caught.value)).claim == CLAIM
    for early in (datetime(1969, 1, 1, tzinfo=UTC), datetime(1970, 1, 1, tzinfo=UTC)):
        with pytest.raises(InputError):
            TOKENS.sign(CLAIM, expires=early)


def test_a_token_altered_anywhere_is_refused() -> None:
    token = TOKENS.sign(CLAIM)
    for at in range(len(token)):
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        with pytest.raises(InvalidToken):
            TOKENS.read(changed, NOW)
        with pytest.raises(InvalidToken):
            TOKENS.read(token[:at], NOW)


@pytest.mark.parametrize("token", ["", "x", " ", "A" * 601, "A" * 60, "ü" * 60, "\0", "AQ" * 40 + "\n", "AQ==" * 20])
def test_what_is_no_token_is_malformed(token: str) -> None:
    with pytest.raises(MalformedToken) as caught:
        TOKENS.read(token, NOW)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_bits_behind_the_end_do_not_make_another_token() -> None:
    claim = Unsubscribe(account="a", recipient="b@c.example")
    token = TOKENS.sign(claim)
    assert len(token) % 4, "there are such bits"
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet[alphabet.index(token[-1]) + 1]
    assert base64.urlsafe_b64decode(token[:-1] + last + "==") == base64.urlsafe_b64decode(token + "==")
    with pytest.raises(MalformedToken):
        TOKENS.read(token[:-1] + last, NOW)


@pytest.mark.parametrize(
    "payload",
    [
        b"\x01" + bytes(8) + b"\0\1a\0\x0bb@c.example",  # two texts
        b"\x01" + bytes(8) + b"\0\1a\0\x0bb@c.example\0\0\0\0",  # four
        b"\x01" + bytes(8) + b"\0\1a\0\x0bb@c.example\0\5x",  # cut off
        b"\x01" + bytes(8) + b"\0\1a\0\x0bb@c.example\0",
        b"\x01" + bytes(8) + b"\0\1\xff\0\x0bb@c.example\0\0",
        b"\x01" + bytes(8) + b"\0\1a\0\4nope\0\0",
        b"\x01" + b"\xff" * 8 + b"\0\1a\0\x0bb@c.example\0\0",
        b"\x02" + bytes(8) + b"\0\1a\0\x0bb@c.example\0\0",
    ],
)
def test_what_was_signed_in_another_form_is_malformed(payload: bytes) -> None:
    digest = hmac.digest(NEW, b"moxlib unsubscribe token\0" + payload, "sha256")
    with pytest.raises(MalformedToken):
        TOKENS.read(base64.urlsafe_b64encode(payload + digest).decode().rstrip("="), NOW)


def test_another_signature_with_the_key_is_no_token() -> None:
    payload = base64.urlsafe_b64decode(TOKENS.sign(CLAIM) + "==")[:-32]
    token = base64.urlsafe_b64encode(payload + hmac.digest(NEW, payload, "sha256")).decode().rstrip("=")
    with pytest.raises(ForgedToken):
        TOKENS.read(token, NOW)


@pytest.mark.parametrize("keys", [(), (b"x" * 31,), (NEW, b""), (NEW,) * 11])
def test_keys_that_could_be_guessed_are_refused(keys: tuple[bytes, ...]) -> None:
    with pytest.raises(InputError):
        UnsubscribeTokens(keys=keys)
    assert "n" * 32 not in repr(TOKENS)


@pytest.mark.parametrize(
    ("account", "recipient", "tag"),
    [
        ("a", "nobody", ""),
        ("a", "<>", ""),
        ("a", "b@c.example", "x" * 400),
        ("\ud800", "b@c.example", ""),
        ("a", "b@c.example", "\udfff"),
    ],
)
def test_claims_that_could_not_be_followed_are_refused(account: str, recipient: str, tag: str) -> None:
    with pytest.raises(InputError):
        Unsubscribe(account=account, recipient=recipient, tag=tag)


def test_the_longest_claim_fits() -> None:
    claim = Unsubscribe(account="a" * 378, recipient="b@c.example", tag="ü" * 5 + "x")
    token = TOKENS.sign(claim, expires=NOW)
    assert len(token) <= 600
    assert TOKENS.read(token, NOW - timedelta(days=1)) == claim
    for line in HEADERS.block(token).splitlines():
        assert len(line) <= 998


def test_headers_name_both_ways() -> None:
    token = TOKENS.sign(CLAIM)
    (name, uris), post = HEADERS.fields(token)
    assert name == "List-Unsubscribe"
    web, mail = uris.split(", ")
    assert web == f"<https://example.org/unsubscribe?t={token}>"
    assert mail == f"<mailto:unsubscribe@example.org?subject=unsubscribe%20{token}>"
    assert post == ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click")
    assert UnsubscribeHeaders(url=HEADERS.url).fields(token)[0] == (name, web)


def test_the_block_of_headers_is_read_as_what_it_says() -> None:
    token = TOKENS.sign(CLAIM)
    data = HEADERS.block(token) + b"From: shop@example.org\r\n\r\nhello\r\n"
    inspect_header(data)
    message = message_from_bytes(data, policy=SMTP)
    assert tuple((name, message[name].replace("\t", " ")) for name, _ in HEADERS.fields(token)) == HEADERS.fields(token)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/{token}",
        "https://example.org/",
        "https:///{token}",
        "https://{token}",
        "https://example.org/{token}{token}",
        "https://example.org/{x}/{token}",
        "https://example.org/a b?{token}",
        "https://example.org/a,b?{token}",
        "https://example.org/>?{token}",
        "https://example.org/\r\nBcc:?{token}",
        "https://bücher.example/{token}",
        "https://example.org/#{token}",
    ],
)
def test_urls_that_cannot_stand_in_the_header_are_refused(url: str) -> None:
    with pytest.raises(InputError):
        UnsubscribeHeaders(url=url)


@pytest.mark.parametrize("mailbox", ["nobody", "<>", "a@b.example>,<x", "a@b.example\r\nBcc: c@d.example"])
def test_mailboxes_that_are_none_are_refused(mailbox: str) -> None:
    with pytest.raises(InputError):
        UnsubscribeHeaders(url=HEADERS.url, mailbox=mailbox)


def test_a_mailbox_is_encoded_for_its_uri() -> None:
    headers = UnsubscribeHeaders(url=HEADERS.url, mailbox='"a>, <b?"@example.org')
    assert headers.uris("x")[1] == "mailto:%22a%3E%2C%20%3Cb%3F%22@example.org?subject=unsubscribe%20x"


@pytest.mark.parametrize("token", ["", "a b", "a>", "a\r\nb", "ü"])
def test_only_tokens_go_into_headers(token: str) -> None:
    with pytest.raises(MalformedToken):
        HEADERS.block(token)


def test_a_uri_that_no_line_holds_is_refused() -> None:
    with pytest.raises(InputError):
        HEADERS.uris("x" * 980)


def test_one_click_is_told_from_other_posts() -> None:
    assert is_one_click({"List-Unsubscribe": "One-Click"})
    assert is_one_click([("t", "x"), ("List-Unsubscribe", "One-Click")])
    assert not is_one_click({"List-Unsubscribe": "one"})
    assert not is_one_click({})


@pytest.mark.parametrize("subject", ["unsubscribe {}", "{}", "Re: unsubscribe\r\n {}", "  AW:  unsubscribe  {}  "])
def test_a_token_is_found_in_a_subject(subject: str) -> None:
    token = TOKENS.sign(CLAIM)
    assert TOKENS.read(token_in_subject(subject.format(token)), NOW) == CLAIM


@pytest.mark.parametrize("subject", ["", "  ", "unsubscribe me!", "x" * 601, "x" * 3000])
def test_a_subject_without_a_token_says_so(subject: str) -> None:
    with pytest.raises(MalformedToken):
        token_in_subject(subject)
