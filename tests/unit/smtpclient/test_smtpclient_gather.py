"""Where mail goes: hosts, addresses, TLSA records, and what DNSSEC says of each step. Each branch by its table."""

import pickle
from collections.abc import Sequence
from ipaddress import IPv4Address, ip_address
from random import Random

import pytest

from moxlib.dns import TLSA, DNSError, Domain, IPAddress, IPDomain, parse_domain_lax, parse_ip_domain
from moxlib.errors import InputError, RemoteError
from moxlib.smtpclient import (
    Addresses,
    GatherError,
    Hosts,
    LookupFailed,
    NoAddresses,
    NoHosts,
    NoSuchDomain,
    NullMX,
    dane_applies,
    gather_hosts,
    gather_ips,
    gather_tlsa,
    tlsa_names,
)
from moxlib.smtpclient.gather import MAX_ADDRESSES, MAX_HOSTS
from moxlib.testing import MockResolver

EE = (3, 1, 1, b"\x01" * 32)
TA = (2, 0, 1, b"\x02" * 32)
PKIX = (1, 1, 1, b"\x03" * 32)


def domain(text: str) -> Domain:
    return parse_domain_lax(text)


def host(text: str) -> IPDomain:
    return parse_ip_domain(text)


def names(hosts: Hosts) -> list[str]:
    return [str(each) for each in hosts.hosts]


async def hosts_of(resolver: MockResolver, next_hop: str, seed: int = 1) -> Hosts:
    return await gather_hosts(resolver, host(next_hop), random=Random(seed))


# hosts


@pytest.mark.parametrize("literal", ["[192.0.2.1]", "[IPv6:2001:db8::1]"])
async def test_an_address_literal_is_its_own_host(literal: str) -> None:
    resolver = MockResolver()
    assert await hosts_of(resolver, literal) == Hosts(next_hop=host(literal), hosts=(host(literal),))
    assert resolver.lookups == []


async def test_no_destination_is_a_mistake() -> None:
    with pytest.raises(InputError):
        await gather_hosts(MockResolver(), IPDomain(), random=Random(1))


@pytest.mark.parametrize("authentic", [True, False])
async def test_hosts_by_preference(authentic: bool) -> None:
    resolver = MockResolver(
        mx={"example.com": [(20, "c.example"), (10, "b.example"), (30, "a.example")]}, all_authentic=authentic
    )
    assert await hosts_of(resolver, "example.com") == Hosts(
        next_hop=host("example.com"),
        hosts=(host("b.example"), host("c.example"), host("a.example")),
        preferences=(10, 20, 30),
        have_mx=True,
        expanded=domain("example.com"),
        next_hop_authentic=authentic,
        expanded_authentic=authentic,
    )
    assert resolver.lookups == ["mx example.com"], "one question is enough"


async def test_hosts_of_one_preference_are_shuffled() -> None:
    resolver = MockResolver(mx={"example.com": [(10, f"mx{i}.example") for i in range(4)] + [(5, "first.example")]})
    orders = [names(await hosts_of(resolver, "example.com", seed)) for seed in range(40)]
    assert {order[0] for order in orders} == {"first.example"}
    assert {order[1] for order in orders} == {f"mx{i}.example" for i in range(4)}
    assert names(await hosts_of(resolver, "example.com", 7)) == orders[7]


async def test_a_host_that_is_listed_twice_is_tried_once() -> None:
    resolver = MockResolver(mx={"example.com": [(20, "a.example"), (10, "b.example"), (5, "A.example")]})
    found = await hosts_of(resolver, "example.com")
    assert (names(found), found.preferences) == (["a.example", "b.example"], (5, 10))


@pytest.mark.parametrize("bad", ["192.0.2.1", "a b.example", "-x-.example", ".", "*.example"])
async def test_what_is_no_host_is_skipped(bad: str) -> None:
    resolver = MockResolver(mx={"example.com": [(0, bad.replace(" ", "\\032")), (10, "mx_1.example")]})
    assert names(await hosts_of(resolver, "example.com")) == ["mx_1.example"]


async def test_no_host_is_left() -> None:
    resolver = MockResolver(mx={"example.com": [(0, "192.0.2.1"), (5, ".")]})
    with pytest.raises(NoHosts) as caught:
        await hosts_of(resolver, "example.com")
    assert (caught.value.permanent, caught.value.code, str(caught.value.enhanced)) == (False, 451, "4.4.4")


async def test_of_many_hosts_the_best_are_tried() -> None:
    resolver = MockResolver(mx={"example.com": [(i, f"mx{i}.example") for i in range(MAX_HOSTS + 5, 0, -1)]})
    assert names(await hosts_of(resolver, "example.com")) == [f"mx{i}.example" for i in range(1, MAX_HOSTS + 1)]


@pytest.mark.parametrize("records", [[(0, ".")], [(10, "")]])
async def test_null_mx(records: list[tuple[int, str]]) -> None:
    with pytest.raises(NullMX) as caught:
        await hosts_of(MockResolver(mx={"example.com": records}), "example.com")
    error = caught.value
    assert (error.permanent, error.code, str(error.enhanced)) == (True, 556, "5.1.10")
    assert error.name == "example.com"


@pytest.mark.parametrize("authentic", [True, False])
async def test_without_mx_records_the_domain_is_the_host(authentic: bool) -> None:
    resolver = MockResolver(a={"example.com": ["192.0.2.1"]}, all_authentic=authentic)
    assert await hosts_of(resolver, "example.com") == Hosts(
        next_hop=host("example.com"),
        hosts=(host("example.com"),),
        expanded=domain("example.com"),
        next_hop_authentic=authentic,
        expanded_authentic=authentic,
    )


@pytest.mark.parametrize("maps", [{}, {"cname": {"example.com": "gone.example"}}])
async def test_a_domain_that_does_not_exist(maps: dict[str, dict[str, str]]) -> None:
    with pytest.raises(NoSuchDomain) as caught:
        await hosts_of(MockResolver(cname=maps.get("cname")), "example.com")
    error = caught.value
    assert (error.permanent, error.code, str(error.enhanced)) == (True, 550, "5.1.2")


@pytest.mark.parametrize("bogus", [True, False])
async def test_a_lookup_that_fails(bogus: bool) -> None:
    failing = ["mx example.com"]
    resolver = MockResolver(
        mx={"example.com": [(10, "mx.example")]}, fail=[] if bogus else failing, bogus=failing if bogus else []
    )
    with pytest.raises(LookupFailed) as caught:
        await hosts_of(resolver, "example.com")
    error = caught.value
    assert (error.permanent, error.code, str(error.enhanced), error.bogus) == (False, 451, "4.4.3", bogus)
    assert isinstance(error.__cause__, DNSError)
    assert str(error) == str(error.__cause__)


async def test_a_cname_loop_is_temporary() -> None:
    with pytest.raises(LookupFailed) as caught:
        await hosts_of(MockResolver(cname={"a.example": "b.example", "b.example": "a.example"}), "a.example")
    assert not caught.value.permanent


CNAMES = {"alias.example": "middle.example", "middle.example": "example.com"}
STEPS = ["cname alias.example", "cname middle.example", "mx example.com"]


@pytest.mark.parametrize(
    ("left_out", "next_hop", "expanded"),
    [
        ("", True, True),
        ("cname alias.example", False, False),
        ("cname middle.example", True, False),
        ("mx example.com", True, False),
    ],
)
@pytest.mark.parametrize("mx", [{}, {"example.com": [(10, "mx.example")]}])
async def test_a_destination_that_is_a_cname(
    mx: dict[str, list[tuple[int, str]]], left_out: str, next_hop: bool, expanded: bool
) -> None:
    resolver = MockResolver(
        mx=mx, cname=CNAMES, a={"example.com": ["192.0.2.1"]}, authentic=[step for step in STEPS if step != left_out]
    )
    assert await hosts_of(resolver, "alias.example") == Hosts(
        next_hop=host("alias.example"),
        hosts=(host("mx.example" if mx else "alias.example"),),
        preferences=(10,) if mx else (),
        have_mx=bool(mx),
        expanded=domain("example.com"),
        next_hop_authentic=next_hop,
        expanded_authentic=expanded,
    )


async def test_a_cname_to_what_is_no_host_name() -> None:
    resolver = MockResolver(cname={"a.example": "x\\032y.example"}, txt={"x\\032y.example": ["exists"]})
    with pytest.raises(LookupFailed) as caught:
        await hosts_of(resolver, "a.example")
    assert "x\\\\032y.example" in str(caught.value)


async def test_a_cname_to_a_name_with_an_underscore() -> None:
    resolver = MockResolver(cname={"a.example": "_mail.example"}, mx={"_mail.example": [(1, "mx.example")]})
    assert (await hosts_of(resolver, "a.example")).expanded == domain("_mail.example")


async def test_the_first_step_of_a_cname_cannot_be_looked_up() -> None:
    resolver = MockResolver(mx={"example.com": [(10, "mx.example")]}, cname={"a.example": "example.com"})
    lookup_cname = MockResolver(fail=["cname a.example"]).lookup_cname
    resolver.lookup_cname = lookup_cname  # type: ignore[method-assign]
    with pytest.raises(LookupFailed):
        await hosts_of(resolver, "a.example")


# addresses

V4 = ["192.0.2.1", "192.0.2.2"]
V6 = ["2001:db8::1", "2001:db8::2"]


async def ips_of(
    resolver: MockResolver, name: str, *, dialed: Sequence[str] = (), ipv4: bool = True, ipv6: bool = True
) -> Addresses:
    before: list[IPAddress] = [ip_address(each) for each in dialed]
    return await gather_ips(resolver, host(name), ipv4=ipv4, ipv6=ipv6, dialed=before)


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "expected", "dual"),
    [(True, True, V6 + V4, True), (True, False, V4, False), (False, True, V6, False)],
)
@pytest.mark.parametrize("authentic", [True, False])
async def test_addresses(ipv4: bool, ipv6: bool, expected: list[str], dual: bool, authentic: bool) -> None:
    resolver = MockResolver(a={"mx.example": V4}, aaaa={"mx.example": V6}, all_authentic=authentic)
    assert await ips_of(resolver, "mx.example", ipv4=ipv4, ipv6=ipv6) == Addresses(
        ips=tuple(ip_address(each) for each in expected),
        authentic=authentic,
        expanded_authentic=authentic,
        expanded=domain("mx.example"),
        dual_stack=dual,
    )
    assert len(resolver.lookups) == 1


@pytest.mark.parametrize(
    ("dialed", "expected"),
    [
        ([], ["6a", "6b", "4a", "4b"]),
        (["6a"], ["4a", "4b", "6a", "6b"]),  # the other family
        (["6b"], ["4a", "4b", "6b", "6a"]),  # ... and the same address, if this family comes to be tried
        (["6a", "4b"], ["6a", "6b", "4b", "4a"]),
        (["6a", "4b", "6a"], ["4a", "4b", "6a", "6b"]),  # twice in this family: back to the order of the DNS
        (["6b", "4b", "6b"], ["4a", "4b", "6a", "6b"]),
        (["4a", "4b"], ["6a", "6b", "4a", "4b"]),
        (["4c"], ["6a", "6b", "4a", "4b"]),  # an address that the host no longer has
        (["m4b"], ["6a", "6b", "4b", "4a"]),  # written as IPv6
    ],
)
async def test_the_order_by_what_was_connected_to(dialed: list[str], expected: list[str]) -> None:
    letters = {"4a": V4[0], "4b": V4[1], "6a": V6[0], "6b": V6[1], "4c": "192.0.2.9", "m4b": f"::ffff:{V4[1]}"}
    resolver = MockResolver(a={"mx.example": V4}, aaaa={"mx.example": V6})
    found = await ips_of(resolver, "mx.example", dialed=[letters[each] for each in dialed])
    assert [str(ip) for ip in found.ips] == [letters[each] for each in expected]


async def test_one_family_alone_stays_with_its_address_once() -> None:
    resolver = MockResolver(a={"mx.example": V4})
    for dialed, first in (([], V4[0]), ([V4[1]], V4[1]), ([V4[1], V4[1]], V4[0])):
        found = await ips_of(resolver, "mx.example", dialed=dialed)
        assert (str(found.ips[0]), found.dual_stack) == (first, False)


@pytest.mark.parametrize(("ipv4", "ipv6"), [(True, False), (False, True)])
async def test_an_address_is_its_own(ipv4: bool, ipv6: bool) -> None:
    literal = "[192.0.2.1]" if ipv4 else "[IPv6:2001:db8::1]"
    resolver = MockResolver()
    found = await ips_of(resolver, literal, ipv4=ipv4, ipv6=ipv6)
    assert found == Addresses(ips=(ip_address("192.0.2.1" if ipv4 else "2001:db8::1"),))
    with pytest.raises(NoAddresses):
        await ips_of(resolver, literal, ipv4=ipv6, ipv6=ipv4)
    assert resolver.lookups == []


@pytest.mark.parametrize("literal", ["[0.0.0.0]", "[IPv6:::]", "[255.255.255.255]", "[224.0.0.1]", "[IPv6:ff02::1]"])
async def test_an_address_that_no_host_has(literal: str) -> None:
    with pytest.raises(NoAddresses):
        await ips_of(MockResolver(), literal)


async def test_addresses_that_no_host_has_are_left_out() -> None:
    resolver = MockResolver(
        a={"mx.example": ["0.0.0.0", V4[0], V4[0]]}, aaaa={"mx.example": ["::", f"::ffff:{V4[0]}", "ff02::1"]}
    )
    assert (await ips_of(resolver, "mx.example")).ips == (IPv4Address(V4[0]),)
    with pytest.raises(NoAddresses):
        await ips_of(resolver, "mx.example", ipv4=False)


@pytest.mark.parametrize("maps", [{}, {"txt": {"mx.example": ["exists"]}}])
async def test_a_host_without_addresses_is_temporary(maps: dict[str, dict[str, list[str]]]) -> None:
    with pytest.raises(NoAddresses) as caught:
        await ips_of(MockResolver(txt=maps.get("txt")), "mx.example")
    error = caught.value
    assert (error.permanent, error.code, str(error.enhanced), error.name) == (False, 451, "4.4.4", "mx.example")


async def test_addresses_that_cannot_be_looked_up() -> None:
    with pytest.raises(LookupFailed) as caught:
        await ips_of(MockResolver(bogus=["ip mx.example"]), "mx.example")
    assert caught.value.bogus
    found = await ips_of(MockResolver(a={"mx.example": V4}, fail=["aaaa mx.example"]), "mx.example")
    assert len(found.ips) == 2, "those of the other family will do"


async def test_many_addresses() -> None:
    many4 = [f"192.0.2.{i}" for i in range(1, 100)]
    many6 = [f"2001:db8::{i}" for i in range(1, 100)]
    resolver = MockResolver(a={"mx.example": many4}, aaaa={"mx.example": many6})
    found = await ips_of(resolver, "mx.example")
    assert [str(ip) for ip in found.ips] == many6[:MAX_ADDRESSES] + many4[:MAX_ADDRESSES]
    found = await ips_of(resolver, "mx.example", dialed=[many4[50]])
    assert str(found.ips[MAX_ADDRESSES]) == many4[50], "the order comes before the limit"


@pytest.mark.parametrize(
    ("left_out", "authentic", "expanded"),
    [
        ("", True, True),
        ("cname mx.example", False, False),
        ("cname middle.example", True, False),
        ("ip host.example", True, False),
    ],
)
async def test_a_host_that_is_a_cname(left_out: str, authentic: bool, expanded: bool) -> None:
    steps = ["cname mx.example", "cname middle.example", "ip host.example"]
    resolver = MockResolver(
        cname={"mx.example": "middle.example", "middle.example": "host.example"},
        a={"host.example": V4},
        aaaa={"host.example": V6},
        authentic=[step for step in steps if step != left_out],
    )
    found = await ips_of(resolver, "mx.example")
    assert (found.authentic, found.expanded_authentic) == (authentic, expanded)
    assert (found.expanded, len(found.ips)) == (domain("host.example"), 4)


async def test_mistakes_about_addresses() -> None:
    with pytest.raises(InputError):
        await gather_ips(MockResolver(), IPDomain())
    with pytest.raises(InputError):
        await gather_ips(MockResolver(), host("mx.example"), ipv4=False, ipv6=False)


# whether DANE applies


@pytest.mark.parametrize(
    ("have_mx", "next_hop", "expanded", "address", "applies"),
    [
        (True, True, True, True, True),
        (True, True, True, False, False),
        (True, True, False, True, False),
        (True, False, True, True, False),
        (True, False, False, True, False),
        (False, True, True, True, True),
        (False, True, False, True, True),  # RFC 7672 2.2.2: the destination's own CNAME is authentic
        (False, False, False, True, False),
        (False, True, True, False, False),
    ],
)
def test_whether_dane_applies(have_mx: bool, next_hop: bool, expanded: bool, address: bool, applies: bool) -> None:
    hosts = Hosts(
        next_hop=host("example.com"),
        hosts=(host("mx.example"),),
        have_mx=have_mx,
        expanded=domain("example.com"),
        next_hop_authentic=next_hop,
        expanded_authentic=expanded,
    )
    ips = (IPv4Address("192.0.2.1"),)
    addresses = Addresses(ips=ips, authentic=address, expanded_authentic=address, expanded=domain("mx.example"))
    assert dane_applies(hosts, addresses) is applies
    assert not dane_applies(hosts, Addresses(ips=ips)), "an address has no TLSA records"


# TLSA records


async def tlsa_of(
    resolver: MockResolver, name: str, *, expanded: str = "", authentic: bool = True
) -> tuple[object, ...]:
    found = await gather_tlsa(
        resolver, domain(name), expanded_authentic=authentic, expanded_host=domain(expanded or name)
    )
    return (
        found.required,
        [(r.usage, r.selector, r.matching_type, r.data) for r in found.records],
        str(found.base_domain),
    )


AT = "_25._tcp."


@pytest.mark.parametrize(
    ("records", "expanded", "authentic", "expected", "asked"),
    [
        ({"mx.example": [EE]}, "", True, (True, [EE], "mx.example"), ["mx.example"]),
        ({"mx.example": [EE, TA]}, "", False, (True, [EE, TA], "mx.example"), ["mx.example"]),
        ({"mx.example": [PKIX, EE]}, "", True, (True, [EE], "mx.example"), ["mx.example"]),
        ({"mx.example": [PKIX]}, "", True, (True, [], "mx.example"), ["mx.example"]),
        ({}, "", True, (False, [], "mx.example"), ["mx.example"]),
        # behind a CNAME first, if it is authentic
        ({"mx.example": [EE], "h.example": [TA]}, "h.example", True, (True, [TA], "h.example"), ["h.example"]),
        ({"mx.example": [EE]}, "h.example", True, (True, [EE], "mx.example"), ["h.example", "mx.example"]),
        ({"mx.example": [EE], "h.example": [TA]}, "h.example", False, (True, [EE], "mx.example"), ["mx.example"]),
        ({"h.example": [PKIX], "mx.example": [EE]}, "h.example", True, (True, [], "h.example"), ["h.example"]),
        ({}, "h.example", True, (False, [], "mx.example"), ["h.example", "mx.example"]),
    ],
)
async def test_tlsa_records(
    records: dict[str, list[tuple[int, int, int, bytes]]],
    expanded: str,
    authentic: bool,
    expected: tuple[object, ...],
    asked: list[str],
) -> None:
    resolver = MockResolver(tlsa={AT + name: each for name, each in records.items()}, all_authentic=True)
    assert await tlsa_of(resolver, "mx.example", expanded=expanded, authentic=authentic) == expected
    assert resolver.lookups == [f"tlsa {AT}{name}" for name in asked]


@pytest.mark.parametrize("inauthentic", [f"cname {AT}mx.example", f"tlsa {AT}h.example"])
async def test_tlsa_records_behind_a_cname_of_their_own(inauthentic: str) -> None:
    cname = {f"{AT}mx.example": f"{AT}h.example"}
    tlsa = {f"{AT}h.example": [EE]}
    resolver = MockResolver(cname=cname, tlsa=tlsa, all_authentic=True)
    assert await tlsa_of(resolver, "mx.example") == (True, [EE], "mx.example")
    resolver = MockResolver(cname=cname, tlsa=tlsa, all_authentic=True, inauthentic=[inauthentic])
    assert await tlsa_of(resolver, "mx.example") == (False, [], "mx.example"), "not authentic: as if there were none"


@pytest.mark.parametrize("where", [f"tlsa {AT}h.example", f"tlsa {AT}mx.example"])
async def test_tlsa_records_that_cannot_be_looked_up(where: str) -> None:
    resolver = MockResolver(bogus=[where], all_authentic=True)
    with pytest.raises(DNSError) as caught:
        await tlsa_of(resolver, "mx.example", expanded="h.example")
    assert caught.value.bogus


async def test_a_cname_loop_of_tlsa_records_is_an_error() -> None:
    resolver = MockResolver(cname={f"{AT}a.example": f"{AT}b.example", f"{AT}b.example": f"{AT}a.example"})
    with pytest.raises(DNSError):
        await tlsa_of(resolver, "a.example")


async def test_another_port() -> None:
    resolver = MockResolver(tlsa={"_465._tcp.mx.example": [EE]}, all_authentic=True)
    found = await gather_tlsa(
        resolver, domain("mx.example"), expanded_authentic=True, expanded_host=domain("mx.example"), port=465
    )
    assert found.records == (TLSA(usage=3, selector=1, matching_type=1, data=EE[3]),)


async def test_a_host_whose_tlsa_name_would_be_too_long() -> None:
    resolver = MockResolver(all_authentic=True)
    name = ".".join(["a" * 60] * 4) + ".exam"
    assert await tlsa_of(resolver, name) == (False, [], name)
    assert resolver.lookups == []


# names in certificates


@pytest.mark.parametrize(
    ("have_mx", "expanded_authentic", "base", "expected"),
    [
        (False, False, "c.example", ["c.example"]),
        (False, True, "d.example", ["d.example", "c.example"]),
        (True, True, "d.example", ["d.example", "c.example", "a.example", "b.example"]),
        (True, True, "c.example", ["c.example", "a.example", "b.example"]),
        (True, False, "c.example", ["c.example", "a.example"]),
    ],
)
def test_names_in_certificates(have_mx: bool, expanded_authentic: bool, base: str, expected: list[str]) -> None:
    hosts = Hosts(
        next_hop=host("a.example"),
        hosts=(host("c.example"),),
        have_mx=have_mx,
        expanded=domain("b.example"),
        next_hop_authentic=True,
        expanded_authentic=expanded_authentic,
    )
    assert [str(name) for name in tlsa_names(hosts, domain("c.example"), domain(base))] == expected


# errors


@pytest.mark.parametrize(
    "error",
    [
        NullMX(name="example.com"),
        NoSuchDomain(name="example.com"),
        NoHosts(name="example.com"),
        NoAddresses(name="mx.example.com"),
        LookupFailed(name="example.com", reason="SERVFAIL", bogus=True),
    ],
)
def test_errors_are_of_the_one_tree_and_pickle(error: GatherError) -> None:
    assert isinstance(error, RemoteError)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.__dict__) == (type(error), str(error), error.__dict__)
    assert copy.enhanced.is_permanent is copy.permanent
    assert copy.code // 100 == copy.enhanced.class_
