"""Any octets: a message is signed and verified, or refused with an error of ours; a record and a signature likewise."""

import asyncio
import contextlib

from hypothesis import given
from hypothesis import strategies as st

from moxlib.dkim import (
    InvalidRecord,
    InvalidSignature,
    Selector,
    Status,
    generate_ed25519_key,
    parse_record,
    parse_signature,
    sign,
    verify,
)
from moxlib.dns import parse_domain
from moxlib.errors import MoxlibError
from moxlib.testing import MockResolver

SELECTOR = Selector(domain=parse_domain("example.org"), name="s", private_key=generate_ed25519_key())
RESOLVER = MockResolver(txt={SELECTOR.record_name: [str(SELECTOR.record())]})

TAG_NAMES = ["v", "a", "b", "bh", "c", "d", "h", "i", "l", "q", "s", "t", "x", "z", "k", "p", "n", "g", "V", "", "b b"]
TAG_VALUES = [
    *("1", "DKIM1", "rsa-sha256", "ed25519-sha256", "rsa-sha1", "simple", "relaxed/relaxed", "example.org", "org"),
    *("From:To", "from : from", "a@example.org", "=3B@example.org", "dns/txt", "s", "y", "s:y", "*", "email", "rsa"),
    *(
        "ed25519",
        "=20",
        "=C3=A4=20",
        "0",
        "99999999999999",
        "AAAA",
        "A" * 43 + "=",
        "",
        " ",
        "\r\n ",
        "\r\n",
        "\0",
        "ä",
        "\udcff",
        "=",
        ";",
    ),
]
texts = st.lists(
    st.tuples(
        st.sampled_from(TAG_NAMES), st.sampled_from(["=", " = ", "\r\n =", "", ":"]), st.sampled_from(TAG_VALUES)
    ).map("".join)
    | st.text(max_size=10),
    max_size=12,
).map(";".join)
octets = texts.map(lambda text: text.encode("utf-8", "surrogateescape" if "\udcff" in text else "surrogatepass"))

lines = st.sampled_from([b"From: a@example.org", b"To: b", b"", b" folded", b"Subject :", b"\r", b"\n", b"\0: x"])
field = octets.map(lambda value: b"DKIM-Signature: " + value)
messages = st.lists(lines | field | st.binary(max_size=20), max_size=8).map(b"\r\n".join)


@given(messages | st.binary(max_size=60))
def test_any_message_is_verified_or_refused(message: bytes) -> None:
    try:
        results = asyncio.run(verify(message, resolver=RESOLVER))
    except MoxlibError:
        return
    for result in results:
        assert result.status is not Status.PASS
        assert result.problem is not None
        assert 0 < len(result.error) < 1000
        assert result.error.isprintable()


@given(messages | st.binary(max_size=60))
def test_any_message_is_signed_or_refused(message: bytes) -> None:
    try:
        field = sign(message, [SELECTOR])
    except MoxlibError:
        return
    assert asyncio.run(verify(field + message, resolver=RESOLVER))[0].status is Status.PASS


@given(octets)
def test_any_field_is_a_signature_or_none(value: bytes) -> None:
    with contextlib.suppress(InvalidSignature):
        parse_signature(value)


@given(texts)
def test_any_text_is_a_record_or_none(text: str) -> None:
    with contextlib.suppress(InvalidRecord):
        record = parse_record(text)
        assert parse_record(str(record)) == record
