"""Signing: what selectors and messages are refused, and what the field has."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.dkim.keys import DOMAIN, ED25519, RSA, RSA_1024, published, selector

from moxlib.dkim import DEFAULT_HEADERS, Identity, Signer, Status, parse_signature, private_key_pem, sign, verify
from moxlib.dns import InvalidDomain, parse_domain
from moxlib.errors import InputError, LimitExceeded
from moxlib.message import InvalidMessage
from moxlib.smtp import Localpart
from moxlib.testing import FakeClock

NOW = datetime(2024, 1, 2, 3, 4, 5, 678900, tzinfo=UTC)
SECONDS = 1704164645
MESSAGE = b"From: a@example.org\r\nTo: b@example.com\r\nSubject: x\r\nMIME-Version: 1.0\r\n\r\nHello\r\n"


def tags(field: bytes) -> Any:
    name, _, value = field.partition(b":")
    assert (name, value[-2:]) == (b"DKIM-Signature", b"\r\n")
    return parse_signature(value[:-2])


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"name": "a b"}, InvalidDomain),
        ({"name": ".".join(["a" * 60] * 4)}, InvalidDomain),
        ({"headers": ("To",)}, InputError),
        ({"headers": ("From", "a:b")}, InputError),
        ({"headers": ("From", "a;b")}, InputError),
        ({"headers": ("From", "a\r\n")}, InputError),
        ({"headers": ("From", "")}, InputError),
        ({"headers": ("From", "DKIM-signature")}, InputError),
        ({"headers": ("From", "ä")}, InputError),
        ({"headers": ("From",) * 201}, InputError),
        ({"headers_if_present": ("a b",)}, InputError),
        ({"expires_after": timedelta(0)}, InputError),
        ({"identity": Identity(domain=parse_domain("example.com"))}, InputError),
        ({"header_form": "nofws"}, ValueError),
    ],
)
def test_selectors_that_cannot_be(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        selector(**options)


def test_a_selector_keeps_the_key_and_hides_it() -> None:
    pem = private_key_pem(ED25519)
    made = selector(key=pem, name="2026A")
    assert (made.name, made.record_name) == ("2026a", "2026a._domainkey.example.org")
    assert made.private_key is made.key
    assert replace(made, oversign=False).key is made.key
    assert "rivate" not in repr(made)
    assert str(made.record(testing=True)).startswith("v=DKIM1;k=ed25519;t=y;")


async def test_the_field_says_what_the_selector_does() -> None:
    made = selector(
        header_form="simple",
        body_form="relaxed",
        headers=("From", "Subject"),
        headers_if_present=("To", "Cc"),
        oversign=False,
        expires_after=timedelta(days=3, milliseconds=900),
        identity=Identity(domain=parse_domain("mail.example.org"), localpart="a"),
    )
    field = sign(MESSAGE, [made], localpart=Localpart(value="ignored"), now=NOW)
    signature = tags(field)
    assert signature.headers == ("From", "Subject", "To")
    assert (signature.header_form, signature.body_form) == (made.header_form, made.body_form)
    assert (signature.signed_at, signature.expires_at) == (SECONDS, SECONDS + 3 * 86400)
    assert str(signature.identity) == "a@mail.example.org"
    assert (signature.domain, signature.selector, signature.algorithm) == (DOMAIN, "ed", "ed25519-sha256")
    [result] = await verify(field + MESSAGE, resolver=published(made), now=NOW)
    assert result.status is Status.PASS


def test_each_name_is_listed_once_more_than_it_is_there() -> None:
    message = b"Received: 1\r\nreceived: 2\r\n" + MESSAGE
    made = selector(headers=("From", "From", "Cc", "Received"), headers_if_present=("MIME-Version", "List-Id"))
    assert tags(sign(message, [made])).headers == (
        *("From", "From", "Cc", "Received", "MIME-Version"),
        *("Received", "Received", "MIME-Version"),
    )
    assert tags(sign(message, [replace(made, oversign=False)])).headers == (
        *("From", "From", "Cc", "Received", "MIME-Version"),
    )
    twice = selector(headers=("From", "Received", "Received"), headers_if_present=())
    assert tags(sign(b"Received: 0\r\n" + message, [twice])).headers == (
        *("From", "Received", "Received"),
        *("From", "Received", "Received"),
    )
    assert tags(sign(MESSAGE, [selector()])).headers == (
        *DEFAULT_HEADERS,
        *("MIME-Version", "From", "To", "Subject", "MIME-Version"),
    )


async def test_a_name_stands_for_the_last_field_of_that_name() -> None:
    """What is added above it was not signed, what is added below it is taken for it (RFC 6376 5.4.2)."""
    made = selector(headers=("From", "To", "X"), headers_if_present=(), oversign=False)
    message = b"X: 1\r\n" + MESSAGE
    signed = sign(message, [made], now=NOW) + message
    for changed, status in (
        (b"X: 0\r\n" + signed, Status.PASS),
        (signed.replace(b"\r\n\r\n", b"\r\nX: 2\r\n\r\n", 1), Status.FAIL),
    ):
        [result] = await verify(changed, resolver=published(made), now=NOW)
        assert result.status is status


@pytest.mark.parametrize("added", [b"From: c@example.com\r\n", b"Cc: c@example.com\r\n", b"mime-version: 2\r\n"])
async def test_nothing_can_be_added_to_what_was_oversigned(added: bytes) -> None:
    made = selector()
    signed = sign(MESSAGE, [made]) + MESSAGE
    for message in (added + signed, signed.replace(b"\r\n\r\n", b"\r\n" + added + b"\r\n", 1)):
        [result] = await verify(message, resolver=published(made))
        assert result.status in {Status.FAIL, Status.PERMERROR}
    [result] = await verify(b"X-Other: 1\r\n" + signed, resolver=published(made))
    assert result.status is Status.PASS


async def test_several_selectors_sign_each_for_themselves() -> None:
    selectors = [
        selector("rsa", RSA, body_form="simple"),
        selector("ed", domain=parse_domain("example.net")),
        selector("old", RSA_1024, header_form="simple"),
    ]
    clock = FakeClock(NOW)
    fields = Signer(selectors, clock=clock).sign(MESSAGE, localpart=Localpart(value="a b"))
    assert fields.count(b"DKIM-Signature:") == 3
    results = await verify(fields + MESSAGE, resolver=published(*selectors), now=NOW)
    assert [(each.status, each.selector, str(each.identity)) for each in results] == [
        (Status.PASS, "rsa", '"a b"@example.org'),
        (Status.PASS, "ed", '"a b"@example.net'),
        (Status.PASS, "old", '"a b"@example.org'),
    ]
    assert [each.signature.signed_at for each in results if each.signature] == [SECONDS] * 3


def test_bodies_are_read_once_for_each_form() -> None:
    body = b"x" * 200_000

    class Counting:
        def __init__(self) -> None:
            self.octets = 0

        def read_at(self, size: int, offset: int, /) -> bytes:
            data = (MESSAGE + body)[offset : offset + size]
            self.octets += len(data)
            return data

    def octets_read(*forms: str) -> int:
        source = Counting()
        sign(source, [selector(body_form=form) for form in forms], size=len(MESSAGE + body))
        return source.octets

    assert octets_read("relaxed", "relaxed", "relaxed") == octets_read("relaxed")
    assert (
        octets_read("relaxed", "simple", "relaxed") - octets_read("relaxed") > 190_000
    )  # the last block is kept, and not read again


def test_files_are_signed_as_memory_is(tmp_path: Path) -> None:
    message = MESSAGE + b"a  line\t\r\n\r\n" * 50_000 + b"end"
    path = tmp_path / "message.eml"
    path.write_bytes(message + b"not of it")
    expected = sign(message, [selector()], now=NOW)
    with path.open("rb") as file:
        assert sign(file, [selector()], size=len(message), now=NOW) == expected
    for given in (bytearray(message), memoryview(message)):
        assert sign(given, [selector()], now=NOW) == expected
    with pytest.raises(InputError):
        sign(message, [selector()], size=-1)


def test_no_field_of_what_is_signed_can_be_injected() -> None:
    with pytest.raises(InputError):
        sign(MESSAGE, [selector()], localpart=Localpart(value="a\nBcc: b"))
    field = sign(MESSAGE, [selector()], localpart=Localpart(value='a; d=example.com; "b'))
    signature = tags(field)
    assert (signature.domain, signature.identity.localpart) == (DOMAIN, r'"a; d=example.com; \"b"')
    assert field.count(b"\r\n") == field.count(b"\r\n\t") + 1


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (b"", "no header"),
        (b"\r\nbody", "no header"),
        (b"From: a@b.example\r\n", "no blank line"),
        (b"From: a@b.example\r\nTo: x", "without its end"),
        (b"To: a@b.example\r\n\r\n", "0 From fields"),
        (b"From: a@b.example\r\nfrom : b\r\n\r\n", "2 From fields"),
        (b"From: a@b.example\nTo: b\r\n\r\n", "a bare LF"),
        (b"From: a@b.example\rTo: b\r\n\r\n", "a bare CR"),
        (b"From: a\0\r\n\r\n", "a NUL"),
        (b"From: a\r\nno field\r\n\r\n", "no header field"),
        (b" From: a\r\n\r\n", "no header field"),
        (b"From: a\r\n: b\r\n\r\n", "no header field"),
    ],
)
def test_messages_that_are_not_signed(message: bytes, reason: str) -> None:
    for given in (message, _Reader(message)):
        with pytest.raises(InvalidMessage, match=reason):
            sign(given, [selector()])


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read_at(self, size: int, offset: int, /) -> bytes:
        self._file.seek(offset)
        return self._file.read(size)


def test_headers_have_limits() -> None:
    with pytest.raises(LimitExceeded):
        sign(b"From: a\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", [selector()])
    with pytest.raises(LimitExceeded):
        sign(b"From: a\r\nX: " + b"y" * (1 << 20) + b"\r\n\r\n", [selector()])
    assert sign(b"From: a\r\n" + b"X: y\r\n" * 19_000 + b"\r\n", [selector()])


def test_somebody_has_to_sign() -> None:
    with pytest.raises(InputError, match="no selector"):
        Signer([])
