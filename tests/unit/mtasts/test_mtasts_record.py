"""Records of MTA-STS: what is one, and which one of a domain counts."""

import pickle

import pytest

from moxlib.dns import DNSError, parse_domain
from moxlib.errors import InputError, RemoteError
from moxlib.mtasts import InvalidRecord, Record, UnusableRecord, lookup_record, parse_record
from moxlib.testing import MockResolver

DOMAIN = parse_domain("example.com")
NAME = "_mta-sts.example.com"


@pytest.mark.parametrize(
    ("text", "record"),
    [
        ("v=STSv1; id=20160831085700Z;", Record(id="20160831085700Z")),
        ("v=STSv1;id=1", Record(id="1")),
        ("v=STSv1 ;\tid=1 ; ", Record(id="1")),
        ("v=STSv1; a=b; id=1; c_d=!~", Record(id="1", extensions=(("a", "b"), ("c_d", "!~")))),
        ("v=STSv1; id=1; id=2", Record(id="1")),  # the first of several (RFC 8461 3.2)
        (f"v=STSv1; id={'a' * 32}", Record(id="a" * 32)),
    ],
)
def test_records(text: str, record: Record) -> None:
    assert parse_record(text) == record
    assert parse_record(str(record)) == record


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", False),
        ("v=spf1 -all", False),
        ("v=STSv11; id=1", False),
        ("v=STSv1", False),
        ("v=STSv1;", True),
        ("v=STSv1; a=b", True),
        ("v=STSv1; id=", True),
        (f"v=STSv1; id={'a' * 33}", True),
        ("v=STSv1; id=1; id=-", True),
        ("v=STSv1; id=1 2", True),
        ("v=STSv1; id=1; a=\ud800", True),
        ("v=STSv1; id=1; a=" + "b" * 70_000, True),
    ],
)
def test_what_is_no_record(text: str, meant: bool) -> None:
    with pytest.raises(InvalidRecord) as caught:
        parse_record(text)
    error = caught.value
    assert isinstance(error, InputError)
    assert (error.value, error.meant) == (text, meant)
    assert len(str(error)) < 700
    assert str(error).isascii()
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.reason, copy.value, copy.meant, str(copy)) == (error.reason, text, meant, str(error))


async def test_the_record_of_a_domain() -> None:
    resolver = MockResolver(txt={NAME: ["v=spf1 -all", "v=STSv1; id=7"]})
    assert await lookup_record(resolver, DOMAIN) == Record(id="7")
    assert resolver.lookups == [f"txt {NAME}"]


async def test_a_record_behind_a_cname() -> None:
    resolver = MockResolver(cname={NAME: "sts.provider.example"}, txt={"sts.provider.example": ["v=STSv1; id=7"]})
    assert await lookup_record(resolver, DOMAIN) == Record(id="7")


async def test_none_is_none() -> None:
    assert await lookup_record(MockResolver(), DOMAIN) is None
    assert await lookup_record(MockResolver(txt={NAME: ["v=spf1 -all"]}), DOMAIN) is None


async def test_a_name_too_long_has_none() -> None:
    resolver = MockResolver()
    label = "a" * 63
    assert await lookup_record(resolver, parse_domain(".".join([label, label, label, "b" * 61]))) is None
    assert resolver.lookups == []


@pytest.mark.parametrize(
    ("texts", "reason_code"),
    [
        (["v=STSv1; id=1", "v=STSv1; id=1"], "multiple-mta-sts-records"),
        (["v=STSv1; id=1", "v=STSv1; id="], "record-syntax-error"),
        (["v=STSv1; id=-"], "record-syntax-error"),
    ],
)
async def test_several_or_malformed_ones_are_unusable(texts: list[str], reason_code: str) -> None:
    with pytest.raises(UnusableRecord) as caught:
        await lookup_record(MockResolver(txt={NAME: texts}), DOMAIN)
    error = caught.value
    assert isinstance(error, RemoteError)
    assert (error.name, error.reason_code) == (NAME, reason_code)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.reason_code) == (str(error), reason_code)


async def test_what_cannot_be_found_out_is_an_error() -> None:
    with pytest.raises(DNSError):
        await lookup_record(MockResolver(fail=[NAME]), DOMAIN)
