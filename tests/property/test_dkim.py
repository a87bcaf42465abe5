"""What is signed verifies, here and by dkimpy; what was changed does not; and dkimpy's signatures verify here."""

import asyncio
import base64
import re
from datetime import UTC, datetime
from typing import Any

import dkim  # type: ignore[import-untyped]
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from moxlib.dkim import (
    Canonicalization,
    PrivateKey,
    Result,
    Selector,
    Status,
    generate_ed25519_key,
    generate_rsa_key,
    private_key_pem,
    sign,
    verify,
)
from moxlib.dkim.canonical import BodyHash, canonical_field, canonical_fields
from moxlib.dns import parse_domain
from moxlib.testing import MockResolver

DOMAIN = parse_domain("example.org")
NOW = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
KEYS: dict[str, PrivateKey] = {"rsa": generate_rsa_key(1024), "ed25519": generate_ed25519_key()}
FORMS = st.sampled_from(list(Canonicalization))

names = st.sampled_from([b"To", b"to", b"Subject", b"X-A", b"Received", b"List-Unsubscribe", b"MIME-Version"])
blanks = st.sampled_from([b"", b" ", b"\t", b"  ", b"\r\n ", b"\r\n\t "])
words = st.binary(min_size=1, max_size=8).map(lambda word: bytes(33 + octet % 94 for octet in word))
values = st.lists(st.tuples(blanks, words).map(b"".join), min_size=1, max_size=4).map(b" ".join)
fields = st.tuples(names, st.sampled_from([b":", b": ", b" :"]), values, st.just(b"\r\n")).map(b"".join)
bodies = st.lists(st.sampled_from([b" ", b"\t", b"  ", b"\r\n", b"\r\n\r\n", b" \r\n", b"."]) | words, max_size=12).map(
    b"".join
)
messages = st.builds(
    lambda before, after, body: b"".join([*before, b"From: a@example.org\r\n", *after, b"\r\n", body]),
    st.lists(fields, max_size=4),
    st.lists(fields, max_size=4),
    bodies,
)


@st.composite
def selectors(draw: st.DrawFn, /, **options: Any) -> Selector:
    kind = draw(st.sampled_from(list(KEYS)))
    return Selector(
        **{
            "domain": DOMAIN,
            "name": kind,
            "private_key": KEYS[kind],
            "header_form": draw(FORMS),
            "body_form": draw(FORMS),
            "headers": ("From", *draw(st.lists(st.sampled_from(["To", "Subject", "X-a", "Cc", "From"]), max_size=5))),
            "oversign": draw(st.booleans()),
            **options,
        }
    )


def verified(message: bytes, *made: Selector) -> tuple[Result, ...]:
    resolver = MockResolver(txt={each.record_name: [str(each.record())] for each in made})
    return asyncio.run(verify(message, resolver=resolver, now=NOW))


@given(messages, st.lists(selectors(), min_size=1, max_size=3))
def test_what_is_signed_verifies(message: bytes, made: list[Selector]) -> None:
    signed = sign(message, made, now=NOW) + message
    assert [each.status for each in verified(signed, *made)] == [Status.PASS] * len(made)


@given(messages, selectors())
def test_the_line_end_that_smtp_gives_a_message_breaks_nothing(message: bytes, made: Selector) -> None:
    [result] = verified(sign(message, [made], now=NOW) + message + b"\r\n", made)
    assert result.status is Status.PASS


@given(messages, selectors(oversign=True), st.data())
def test_a_change_to_what_is_signed_breaks_it(message: bytes, made: Selector, data: st.DataObject) -> None:
    """An octet of the body that is no blank, or one of From, or one of the signature's own field."""
    field = sign(message, [made], now=NOW)
    body, from_ = message.index(b"\r\n\r\n") + 4, message.index(b"From: ") + 6
    places = [
        *(len(field) + place for place in range(body, len(message)) if message[place] > 32),
        *(len(field) + place for place in range(from_, from_ + 13)),
        # The last group of base64 has bits that are not used.
        *(place for place in range(field.index(b"bh="), len(field) - 6) if field[place] not in b" \t\r\n="),
    ]
    place = data.draw(st.sampled_from(places))
    signed = bytearray(field + message)
    signed[place] ^= data.draw(st.sampled_from([1, 2]))
    [result] = verified(bytes(signed), made)
    assert result.status in {Status.FAIL, Status.PERMERROR}


@given(bodies, FORMS, st.integers(1, 7))
def test_how_a_body_is_cut_does_not_matter(body: bytes, form: Canonicalization, size: int) -> None:
    whole, cut = BodyHash(form), BodyHash(form)
    whole.feed(body)
    for start in range(0, len(body), size):
        cut.feed(body[start : start + size])
    assert (whole.digest(), whole.size) == (cut.digest(), cut.size)


@given(st.lists(fields, min_size=1, max_size=5), FORMS)
def test_a_header_is_made_canonical_as_its_fields_are(texts: list[bytes], form: Canonicalization) -> None:
    expected: dict[bytes, list[bytes]] = {}
    for text in texts:
        name = text.partition(b":")[0].strip().lower()
        expected.setdefault(name, []).append(canonical_field(text.removesuffix(b"\r\n"), form))
    found = canonical_fields(b"".join(texts), form)
    assert found == expected
    for of_name in found.values():
        assert [canonical_field(each, form) for each in of_name] == of_name


def common(message: bytes) -> bytes:
    """Return a message that dkimpy reads as we do: its last line ended, and no blanks before a colon.

    dkimpy keeps a blank at the end of a body whose last line is not ended, and refuses RFC 5322 4.5.
    """
    header, blank_line, body = message.partition(b"\r\n\r\n")
    message = re.sub(rb"(?m)^([!-9;-~]+) :", rb"\1:", header) + blank_line + body
    return message if message.endswith(b"\r\n") else message + b"\r\n"


@given(messages.map(common), selectors())
def test_dkimpy_verifies_what_is_signed_here(message: bytes, made: Selector) -> None:
    signed = sign(message, [made], now=NOW) + message
    assert dkim.verify(signed, dnsfunc=lambda name, timeout=5: str(made.record()).encode(), minkey=1024)


@pytest.mark.parametrize("kind", KEYS)
@given(
    message=messages.map(common),
    header_form=FORMS,
    body_form=FORMS,
    length=st.booleans(),
    names=st.none() | st.lists(st.sampled_from([b"to", b"subject", b"x-a"]), max_size=3),
)
def test_what_dkimpy_signs_verifies_here(
    message: bytes,
    kind: str,
    header_form: Canonicalization,
    body_form: Canonicalization,
    length: bool,
    names: list[bytes] | None,
) -> None:
    key = KEYS[kind]
    if kind == "rsa":
        private = private_key_pem(key).encode()
    else:
        private = base64.b64encode(key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))
    field = dkim.sign(
        message,
        kind.encode(),
        b"example.org",
        private,
        canonicalize=(header_form.encode(), body_form.encode()),
        signature_algorithm=f"{kind}-sha256".encode(),
        include_headers=None if names is None else [b"from", *names],  # pyright: ignore[reportArgumentType] - it may
        length=length,
    )
    made = Selector(domain=DOMAIN, name=kind, private_key=key)
    resolver = MockResolver(txt={made.record_name: [str(made.record())]})
    [result] = asyncio.run(verify(field + message, resolver=resolver))
    assert (result.status, result.error) == (Status.PASS, "")
