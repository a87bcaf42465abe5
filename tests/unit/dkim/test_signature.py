"""The DKIM-Signature field: what is read of it, and what is refused."""

import base64
import pickle

import pytest

from moxlib.dkim import Canonicalization, Identity, InvalidSignature, Signature, parse_signature
from moxlib.dkim.signature import MAX_FIELD, fold, fold_signature, unsigned
from moxlib.dns import parse_domain
from moxlib.errors import InputError

TAGS = {
    "v": "1",
    "a": "rsa-sha256",
    "b": "AAAA",
    "bh": base64.b64encode(b"h" * 32).decode(),
    "d": "example.org",
    "h": "From:To",
    "s": "sel",
}


def parsed(**changes: str | None) -> Signature:
    tags = {name: value for name, value in {**TAGS, **changes}.items() if value is not None}
    return parse_signature("; ".join(f"{name}={value}" for name, value in tags.items()).encode())


def test_what_holds_if_nothing_is_said() -> None:
    assert parsed() == Signature(
        domain=parse_domain("example.org"),
        selector="sel",
        algorithm="rsa-sha256",
        header_form=Canonicalization.SIMPLE,
        body_form=Canonicalization.SIMPLE,
        headers=("From", "To"),
        body_hash=b"h" * 32,
        value=b"\0\0\0",
    )


def test_all_tags() -> None:
    signature = parsed(
        a="Ed25519-SHA256",
        c="Relaxed/simple",
        d="EXAMPLE.org",
        s="A.b_c",
        i='"a=3Bb=3D" c=40@mail.Example.org',
        l="12",
        q="dns/TXT:x/y",
        t="1",
        x="2",
        h="From :\r\n\tTo: From",
        z="anything|=20",
        unknown="any; V=1",
    )
    assert (signature.algorithm, signature.domain.ascii, signature.selector) == (
        "ed25519-sha256",
        "example.org",
        "a.b_c",
    )
    assert (signature.header_form, signature.body_form) == (Canonicalization.RELAXED, Canonicalization.SIMPLE)
    assert signature.identity == Identity(domain=parse_domain("mail.example.org"), localpart='"a;b=" c@')
    assert (signature.body_length, signature.signed_at, signature.expires_at) == (12, 1, 2)
    assert signature.query_methods == ("dns/txt", "x/y")
    assert signature.headers == ("From", "To", "From")


def test_domains_in_utf8_are_read() -> None:
    signature = parsed(d="bücher.example", s="ä", i="jörg@a.bücher.example")
    assert (signature.domain, signature.selector) == (parse_domain("xn--bcher-kva.example"), "xn--4ca")
    assert str(signature.identity) == "jörg@a.xn--bcher-kva.example"


@pytest.mark.parametrize("name", TAGS)
def test_required_tags(name: str) -> None:
    with pytest.raises(InvalidSignature, match=f"without the tag {name}$"):
        parsed(**{name: None})


@pytest.mark.parametrize(
    "changes",
    [
        {"v": "2"},
        {"v": "1.0"},
        {"v": ""},
        {"a": "rsa"},
        {"a": "rsa-sha256-x"},
        {"a": "-"},
        {"b": "A"},
        {"b": "AAA="[:3]},
        {"b": "ä"},
        {"bh": "AAAA"},
        {"bh": "?"},
        {"c": "nofws"},
        {"c": "relaxed/relaxed/relaxed"},
        {"d": ""},
        {"d": "bü_cher.example"},
        {"s": "a_ü"},
        {"d": "a b"},
        {"s": "a b"},
        {"s": ""},
        {"h": ""},
        {"h": "From::To"},
        {"h": "From:T o"},
        {"i": "example.org"},
        {"i": "@"},
        {"i": "@example.com"},
        {"i": "@notexample.org"},
        {"i": "@org"},
        {"i": "a=0D=0Ab@example.org"},
        {"l": "-1"},
        {"l": "1" * 77},
        {"t": "1" * 13},
        {"t": "x"},
        {"x": "٣"},
        {"t": "2", "x": "2"},
        {"z": "a\x00b"},
        {"z": "a\nb"},
        {"z": "a\r\nb"},
        {"1": "a"},
        {"v ": "1"},
    ],
)
def test_what_is_malformed(changes: dict[str, str]) -> None:
    with pytest.raises(InvalidSignature) as caught:
        parsed(**changes)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.reason == caught.value.reason


def test_not_a_list_of_tags() -> None:
    for value in (b"", b";", b"v", b"v=1;;a=b", b"\xff=1", b"v=1; =", b"x" * (MAX_FIELD + 1)):
        with pytest.raises(InvalidSignature):
            parse_signature(value)


def test_what_is_hashed_of_a_field() -> None:
    assert unsigned(b": v=1; b=AA\r\n BB ; bh=CC; x=b") == b": v=1; b=; bh=CC; x=b"
    assert unsigned(b" :\tb \r\n = A=; c=d;") == b" :\tb \r\n =; c=d;"
    assert unsigned(b": bb=A; B=C; z=b=d; b=") == b": bb=A; B=C; z=b=d; b="


def test_identities() -> None:
    domain = parse_domain("example.org")
    identity = Identity(domain=parse_domain("a.example.org"), localpart='"a;=b"')
    assert str(identity) == '"a;=b"@a.example.org'
    assert identity.tag() == '"a=3B=3Db"@a.example.org'
    assert identity.within(domain)
    assert not Identity(domain=domain).within(identity.domain)
    for control in "\r\n\0\x7f\u2028\udc80":
        with pytest.raises(InputError):
            Identity(domain=domain, localpart=f"a{control}b")


def test_folding() -> None:
    assert fold([(b"", b"a" * 70), (b" ", b"b" * 5)]) == b"a" * 70 + b" bbbbb"
    assert fold([(b"", b"a" * 70), (b" ", b"b" * 6)]) == b"a" * 70 + b"\r\n\tbbbbbb"
    assert fold([(b"", b"a" * 80), (b" ", b"b" * 74), (b" ", b"c"), (b"", b"d")]) == (
        b"a" * 80 + b"\r\n\t" + b"b" * 74 + b"\r\n\tcd"
    )
    assert (
        fold_signature(b"x" * 70, b"y" * 100)
        == b"x" * 70 + b"y" * 6 + b"\r\n\t" + b"y" * 75 + b"\r\n\t" + b"y" * 19 + b"\r\n"
    )
    assert fold_signature(b"x" * 70, b"y" * 6) == b"x" * 70 + b"y" * 6 + b"\r\n"
