"""What responses are taken to say, and what is kept of them. Without a network."""

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from dns.message import Message

from moxlib.dns.answers import FAILURE_TTL, Alias, Failed, Found, read, refusal
from moxlib.dns.cache import Cache
from moxlib.dns.exchange import _reason
from moxlib.testing import FakeClock


def response(kind: str, *records: str, rcode: dns.rcode.Rcode = dns.rcode.NOERROR, ad: bool = False) -> Message:
    """Answer a question for `www.example.com`; a record of the authority section begins with "!"."""
    answer = dns.message.make_response(dns.message.make_query("www.example.com.", kind))
    answer.set_rcode(rcode)
    answer.flags |= dns.flags.AD if ad else 0
    for record in records:
        name, ttl, of, rdata = record.removeprefix("!").split(" ", 3)
        section = answer.authority if record.startswith("!") else answer.answer
        section.append(dns.rrset.from_text(name, int(ttl), "IN", of, rdata))
    return dns.message.from_wire(answer.to_wire())


SOA = "!example.com. 100 SOA ns.example. h.example. 1 1 1 1 40"


def test_only_who_is_trusted_is_believed() -> None:
    for ad in (True, False):
        for trusted in (True, False):
            found = read(response("A", "www.example.com. 60 A 192.0.2.1", ad=ad), trusted=trusted)
            assert isinstance(found, Found)
            assert found.authentic is (ad and trusted)


@pytest.mark.parametrize(
    ("records", "rcode", "nxdomain", "ttl"),
    [
        ([SOA], dns.rcode.NOERROR, False, 40),
        ([SOA], dns.rcode.NXDOMAIN, True, 40),
        (["!example.com. 30 SOA ns.example. h.example. 1 1 1 1 40"], dns.rcode.NXDOMAIN, True, 30),
        (["www.example.com. 20 CNAME x.example.com.", SOA], dns.rcode.NXDOMAIN, True, 20),
        (["www.example.com. 20 CNAME x.example.com.", SOA], dns.rcode.NOERROR, False, 20),
    ],
)
def test_nothing_and_for_how_long(records: list[str], rcode: dns.rcode.Rcode, nxdomain: bool, ttl: float) -> None:
    found = read(response("A", *records, rcode=rcode), trusted=True)
    assert isinstance(found, Found)
    assert (found.records, found.nxdomain, found.ttl) == ((), nxdomain, ttl)


def test_nothing_without_a_word_of_for_how_long_is_not_kept() -> None:
    for rcode in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        found = read(response("A", rcode=rcode), trusted=True)
        assert isinstance(found, Found)
        assert (found.records, found.ttl) == ((), 0)


def test_a_chain_whose_end_is_not_there_is_to_be_followed() -> None:
    records = ["www.example.com. 20 CNAME x.example.com.", "x.example.com. 10 CNAME y.example.net."]
    alias = read(response("MX", *records, ad=True), trusted=True)
    assert isinstance(alias, Alias)
    assert (alias.target.to_text(), alias.cnames, alias.authentic, alias.ttl) == ("y.example.net.", 2, True, 10)


def test_records_of_other_names_are_not_looked_at() -> None:
    found = read(response("A", "www.example.com. 60 A 192.0.2.1", "evil.example. 60 A 192.0.2.9"), trusted=True)
    assert isinstance(found, Found)
    assert [str(record) for record in found.records] == ["192.0.2.1"]


@pytest.mark.parametrize(
    ("records", "rcode", "reason"),
    [
        (["www.example.com. 60 A 192.0.2.1"], dns.rcode.NXDOMAIN, "malformed answer"),
        (["www.example.com. 60 CNAME www.example.com."], dns.rcode.NOERROR, "a CNAME loop, or more than 15 CNAMEs"),
    ],
)
def test_what_makes_no_sense(records: list[str], rcode: dns.rcode.Rcode, reason: str) -> None:
    assert read(response("A", *records, rcode=rcode), trusted=True) == Failed(reason=reason)


@pytest.mark.parametrize("rcode", [dns.rcode.NOERROR, dns.rcode.NXDOMAIN])
def test_answers_are_no_refusals(rcode: dns.rcode.Rcode) -> None:
    assert refusal(response("A", rcode=rcode)) is None


def test_failures_are_kept_as_long_as_rfc_9520_allows() -> None:
    assert 1 <= FAILURE_TTL <= 300


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (EOFError("EOF"), "closed the connection"),
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (OSError("what the peer said"), "OSError"),
        (ValueError("what the peer said"), "malformed answer"),
    ],
)
def test_reasons_are_our_words(error: Exception, reason: str) -> None:
    assert _reason(error) == reason


async def test_a_cache_keeps_the_latest_for_its_time() -> None:
    clock = FakeClock()
    cache: Cache[str, int] = Cache(size=2, clock=clock)
    cache.put("a", 1, seconds=10)
    cache.put("a", 2, seconds=20)
    await clock.advance(19.9)
    assert cache.get("a") == 2
    await clock.advance(0.1)
    assert cache.get("a") is None
    assert len(cache) == 0


def test_a_cache_never_has_more_than_its_size() -> None:
    cache: Cache[int, int] = Cache(size=3, clock=FakeClock())
    for i in range(10):
        cache.put(i, i, seconds=10)
        cache.get(0)
        assert len(cache) <= 3
    assert [cache.get(i) for i in (0, 8, 9, 7)] == [0, 8, 9, None]


def test_what_is_not_to_be_kept_is_forgotten() -> None:
    cache: Cache[str, int] = Cache(size=3, clock=FakeClock())
    cache.put("a", 1, seconds=10)
    cache.put("a", 2, seconds=0)
    assert cache.get("a") is None
