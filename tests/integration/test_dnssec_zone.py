"""What DNSSEC says, from real zones signed for the test, through a real validating name server."""

from collections.abc import Generator, Mapping, Sequence
from ipaddress import IPv4Address
from random import Random

import pytest
from tests.dnssec import ProgramMissingError, SignedZones

from moxlib.dns import MX, TLSA, Answer, DNSError, IPDomain, parse_domain
from moxlib.smtpclient import LookupFailed, dane_applies, gather_hosts, gather_ips, gather_tlsa, tlsa_names

DIGEST = "ab" * 32
RECORDS: Mapping[str, Sequence[str]] = {
    "mx example.com": ["10 mx.example.com."],
    "a mx.example.com": ["192.0.2.1"],
    "aaaa mx.example.com": ["2001:db8::1"],
    "tlsa _25._tcp.mx.example.com": [f"3 1 1 {DIGEST}"],
    "txt bad.example.com": ['"tampered"'],
    "a bad.example.com": ["192.0.2.6"],
    "aaaa bad.example.com": ["2001:db8::6"],
    "tlsa _25._tcp.bad.example.com": [f"3 1 1 {DIGEST}"],
    "mx bad.example.com": ["10 bad.example.com."],
    "cname inside.example.com": ["mx.example.com."],
    "cname outside.example.com": ["mx.unsigned.example."],
    "cname mx.dangling.example.com": ["nowhere.example.net."],
    "tlsa _25._tcp.outside.example.com": [f"3 1 1 {DIGEST}"],
    "mx unsigned.example": ["10 mx.unsigned.example."],
    "a mx.unsigned.example": ["192.0.2.2"],
    "tlsa _25._tcp.mx.unsigned.example": [f"3 1 1 {DIGEST}"],
    "cname back.unsigned.example": ["mx.example.com."],
    "mx expired.example": ["10 mx.expired.example."],
    "mx example.net": ["10 inside.example.com."],
    "mx example.org": ["10 outside.example.com."],
}
TAMPERED = ["txt bad.example.com", "a bad.example.com", "tlsa _25._tcp.bad.example.com"]


@pytest.fixture(scope="module")
def zones() -> Generator[SignedZones]:
    try:
        made = SignedZones(
            RECORDS,
            signed=["example.com", "example.net", "example.org"],
            unsigned=["unsigned.example"],
            expired=["expired.example"],
            tampered=TAMPERED,
        )
    except ProgramMissingError as error:
        pytest.skip(str(error))
    with made:
        yield made


async def test_signed_records_are_authentic(zones: SignedZones) -> None:
    resolver = zones.resolver()
    assert await resolver.lookup_mx("example.com") == Answer(
        records=(MX(preference=10, host="mx.example.com"),), authentic=True, name="example.com"
    )
    addresses = await resolver.lookup_ip("mx.example.com")
    assert (len(addresses.records), addresses.authentic) == (2, True)
    tlsa = await resolver.lookup_tlsa("_25._tcp.mx.example.com")
    assert tlsa.records == (TLSA(usage=3, selector=1, matching_type=1, data=bytes.fromhex(DIGEST)),)
    assert tlsa.authentic


async def test_they_are_not_when_the_name_server_is_not_trusted(zones: SignedZones) -> None:
    assert not (await zones.resolver(trust_ad=False).lookup_mx("example.com")).authentic


async def test_an_unsigned_zone_is_not_authentic(zones: SignedZones) -> None:
    resolver = zones.resolver()
    mx = await resolver.lookup_mx("unsigned.example")
    assert (len(mx.records), mx.authentic) == (1, False)
    assert not (await resolver.lookup_ip("mx.unsigned.example")).authentic
    assert not (await resolver.lookup_tlsa("_25._tcp.mx.unsigned.example")).authentic
    assert await resolver.lookup_mx("nowhere.unsigned.example") == Answer(
        records=(), authentic=False, name="nowhere.unsigned.example", nxdomain=True
    )


@pytest.mark.parametrize(("name", "kind"), [("bad.example.com", "TXT"), ("_25._tcp.bad.example.com", "TLSA")])
async def test_a_signature_that_was_tampered_with_is_bogus(zones: SignedZones, name: str, kind: str) -> None:
    resolver = zones.resolver()
    lookup = resolver.lookup_txt if kind == "TXT" else resolver.lookup_tlsa
    with pytest.raises(DNSError) as caught:
        await lookup(name)
    error = caught.value
    assert (error.kind, error.bogus, error.extended) == (kind, True, 6)


async def test_an_expired_signature_is_bogus(zones: SignedZones) -> None:
    with pytest.raises(DNSError) as caught:
        await zones.resolver().lookup_mx("expired.example")
    assert caught.value.bogus
    assert caught.value.extended in {6, 7, 9}


async def test_a_cname_is_authentic_if_all_behind_it_is(zones: SignedZones) -> None:
    resolver = zones.resolver()
    inside = await resolver.lookup_ip("inside.example.com")
    assert (len(inside.records), inside.name, inside.authentic) == (2, "mx.example.com", True)
    outside = await resolver.lookup_ip("outside.example.com", ipv6=False)
    assert outside == Answer(records=(IPv4Address("192.0.2.2"),), authentic=False, name="mx.unsigned.example")
    assert (await resolver.lookup_cname("outside.example.com")).authentic
    assert not (await resolver.lookup_ip("back.unsigned.example")).authentic


async def test_that_there_is_nothing_is_authentic_in_a_signed_zone(zones: SignedZones) -> None:
    resolver = zones.resolver()
    assert await resolver.lookup_mx("nowhere.example.com") == Answer(
        records=(), authentic=True, name="nowhere.example.com", nxdomain=True
    )
    assert await resolver.lookup_mx("mx.example.com") == Answer(records=(), authentic=True, name="mx.example.com")
    assert await resolver.lookup_mx("nowhere.invalid.org") == Answer(
        records=(), authentic=True, name="nowhere.invalid.org", nxdomain=True
    )
    assert await resolver.lookup_ip("mx.dangling.example.com") == Answer(
        records=(), authentic=True, name="nowhere.example.net", nxdomain=True
    )


async def gathered(zones: SignedZones, domain: str) -> tuple[bool, bool, str, list[str]]:
    """Return whether DANE applies, whether there are TLSA records, at which name, and the names in certificates."""
    resolver = zones.resolver()
    hosts = await gather_hosts(resolver, IPDomain(host=parse_domain(domain)), random=Random(1))
    [host] = hosts.hosts
    addresses = await gather_ips(resolver, host)
    assert host.domain is not None
    assert addresses.expanded is not None
    if not dane_applies(hosts, addresses):
        return False, False, "", []
    tlsa = await gather_tlsa(
        resolver, host.domain, expanded_authentic=addresses.expanded_authentic, expanded_host=addresses.expanded
    )
    names = tlsa_names(hosts, host.domain, tlsa.base_domain)
    return True, tlsa.required, str(tlsa.base_domain), [str(name) for name in names]


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("example.com", (True, True, "mx.example.com", ["mx.example.com", "example.com"])),
        ("example.net", (True, True, "mx.example.com", ["mx.example.com", "inside.example.com", "example.net"])),
        # Its CNAME is authentic, what is behind it is not: RFC 7672 2.2.2 has its own name asked for.
        ("example.org", (True, True, "outside.example.com", ["outside.example.com", "example.org"])),
        ("unsigned.example", (False, False, "", [])),
    ],
)
async def test_gathering_for_dane(zones: SignedZones, domain: str, expected: tuple[object, ...]) -> None:
    assert await gathered(zones, domain) == expected


async def test_gathering_meets_a_bogus_signature(zones: SignedZones) -> None:
    with pytest.raises(LookupFailed) as caught:
        await gathered(zones, "expired.example")
    assert caught.value.bogus
    # Whoever can spoil the answer for one family cannot turn DANE off: the TLSA records are still to be found.
    with pytest.raises(DNSError) as failed:
        await gathered(zones, "bad.example.com")
    assert failed.value.kind == "TLSA"
    assert failed.value.bogus
