"""Records by which domains ask for reports."""

import pickle

import pytest

from moxlib.dns import DNSError, parse_domain
from moxlib.errors import InputError, RemoteError
from moxlib.testing import MockResolver
from moxlib.tlsrpt import InvalidRecord, Record, UnusableRecord, lookup_record, parse_record

DOMAIN = parse_domain("example.com")
NAME = "_smtp._tls.example.com"
MAIL = "mailto:tlsrpt@example.com"
HTTPS = "https://reporting.example.com/v1/tlsrpt?a=b"


@pytest.mark.parametrize(
    ("text", "record"),
    [
        (f"v=TLSRPTv1; rua={MAIL}", Record(rua=(MAIL,))),
        (f"v=TLSRPTv1;rua={MAIL};", Record(rua=(MAIL,))),
        (f"v=TLSRPTv1 ; rua={MAIL} ,\t{HTTPS} ; x=y", Record(rua=(MAIL, HTTPS), extensions=(("x", "y"),))),
        (f"v=TLSRPTv1; rua={MAIL}; rua={HTTPS}", Record(rua=(MAIL, HTTPS))),
        ("v=TLSRPTv1; rua=mailto:a%2Cb@example.com", Record(rua=("mailto:a%2Cb@example.com",))),
        ("v=TLSRPTv1; rua=other:", Record(rua=("other:",))),
    ],
)
def test_records(text: str, record: Record) -> None:
    assert parse_record(text) == record
    assert parse_record(str(record)) == record


def test_a_record_as_text() -> None:
    record = Record(rua=("mailto:a,b;c!d@example.com", HTTPS), extensions=(("x", "y"),))
    assert str(record) == f"v=TLSRPTv1; rua=mailto:a%2Cb%3Bc%21d@example.com,{HTTPS}; x=y"


def test_the_addresses_of_a_record() -> None:
    record = parse_record(f"v=TLSRPTv1; rua=MAILTO:a%2Bb@example.com?subject=x,{HTTPS},mailto:c@example.com")
    assert record.addresses == ("a+b@example.com", "c@example.com")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", False),
        ("v=spf1 -all", False),
        (f"v=TLSRPTv2; rua={MAIL}", False),
        (f"v=TLSRPTv1, rua={MAIL}", False),
        ("v=TLSRPTv1;", True),
        ("v=TLSRPTv1; x=y", True),
        ("v=TLSRPTv1; rua=", True),
        ("v=TLSRPTv1; rua=tlsrpt@example.com", True),
        (f"v=TLSRPTv1; rua={MAIL},", True),
        (f"v=TLSRPTv1; rua={MAIL} {HTTPS}", True),
        (f"v=TLSRPTv1; rua={MAIL}!10m", True),
        (f"v=TLSRPTv1; rua={MAIL}\x00", True),
        (f"v=TLSRPTv1; rua={MAIL}; x=\ud800", True),
        (f"v=TLSRPTv1; rua={MAIL}; x=" + "y" * 70_000, True),
    ],
)
def test_what_is_no_record(text: str, meant: bool) -> None:
    with pytest.raises(InvalidRecord) as caught:
        parse_record(text)
    error = caught.value
    assert isinstance(error, InputError)
    assert (error.value, error.meant) == (text, meant)
    assert len(str(error)) < 700
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.reason, copy.value, copy.meant, str(copy)) == (error.reason, text, meant, str(error))


async def test_the_record_of_a_domain() -> None:
    resolver = MockResolver(txt={NAME: ["v=spf1 -all", f"v=TLSRPTv1; rua={MAIL}"]})
    assert await lookup_record(resolver, DOMAIN) == Record(rua=(MAIL,))
    assert resolver.lookups == [f"txt {NAME}"]
    assert await lookup_record(MockResolver(), DOMAIN) is None
    label = "a" * 63
    assert await lookup_record(MockResolver(), parse_domain(".".join([label, label, label, "b" * 61]))) is None


@pytest.mark.parametrize("texts", [[f"v=TLSRPTv1; rua={MAIL}"] * 2, ["v=TLSRPTv1; rua="]])
async def test_several_or_malformed_ones_are_unusable(texts: list[str]) -> None:
    with pytest.raises(UnusableRecord) as caught:
        await lookup_record(MockResolver(txt={NAME: texts}), DOMAIN)
    assert isinstance(caught.value, RemoteError)
    assert caught.value.name == NAME
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


async def test_what_cannot_be_found_out_is_an_error() -> None:
    with pytest.raises(DNSError):
        await lookup_record(MockResolver(fail=[NAME]), DOMAIN)
