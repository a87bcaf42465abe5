"""Whatever is in the DNS, gathering ends with something that can be tried, in bounds, or with our error."""

import asyncio
from ipaddress import IPv4Address, IPv6Address, ip_address
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from moxlib.dns import DNSError, IPAddress, IPDomain, parse_domain
from moxlib.smtpclient import GatherError, dane_applies, gather_hosts, gather_ips, gather_tlsa, tlsa_names
from moxlib.smtpclient.gather import MAX_ADDRESSES, MAX_HOSTS
from moxlib.testing import MockResolver

NAMES = [f"{letter}.example" for letter in "abcdefgh"]
name = st.sampled_from(NAMES)
host = st.one_of(
    name, st.just(""), st.sampled_from(["192.0.2.1", "x\\032y.example", "_mx.example", "\\255", "h.example"])
)
ipv4 = st.one_of(st.sampled_from(["192.0.2.1", "192.0.2.2", "0.0.0.0"]), st.ip_addresses(v=4).map(str))
ipv6 = st.one_of(st.sampled_from(["2001:db8::1", "::ffff:192.0.2.1", "::"]), st.ip_addresses(v=6).map(str))
kind = st.sampled_from(["mx", "a", "aaaa", "cname", "tlsa"])
wheres = st.sets(st.tuples(kind, st.one_of(name, name.map("_25._tcp.{}".format))).map(" ".join), max_size=3)
tlsa = st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(0, 3), st.binary(max_size=40))


@st.composite
def resolvers(draw: st.DrawFn) -> MockResolver:
    return MockResolver(
        mx=draw(st.dictionaries(name, st.lists(st.tuples(st.integers(0, 3), host), max_size=40))),
        a=draw(st.dictionaries(name, st.lists(ipv4, max_size=30))),
        aaaa=draw(st.dictionaries(name, st.lists(ipv6, max_size=30))),
        cname=draw(st.dictionaries(name, name, max_size=5)),
        tlsa=draw(st.dictionaries(name.map("_25._tcp.{}".format), st.lists(tlsa, max_size=3))),
        fail=draw(wheres),
        bogus=draw(wheres),
        all_authentic=draw(st.booleans()),
        inauthentic=draw(wheres),
    )


@given(resolvers(), name, st.lists(st.one_of(ipv4, ipv6).map(ip_address), max_size=4), st.integers(0, 3))
def test_any_records_give_a_bounded_result_or_our_error(
    resolver: MockResolver, next_hop: str, dialed: list[IPAddress], seed: int
) -> None:
    async def gather() -> None:
        hosts = await gather_hosts(resolver, IPDomain(host=parse_domain(next_hop)), random=Random(seed))
        assert 1 <= len(hosts.hosts) == len(set(hosts.hosts)) <= MAX_HOSTS
        assert len(hosts.preferences) == (len(hosts.hosts) if hosts.have_mx else 0)
        assert list(hosts.preferences) == sorted(hosts.preferences)
        assert hosts.next_hop_authentic or not hosts.expanded_authentic
        for each in hosts.hosts:
            try:
                addresses = await gather_ips(resolver, each, dialed=dialed)
            except GatherError as error:
                errors.append(error)
                continue
            ips = addresses.ips
            assert 1 <= len(ips) == len(set(ips)) <= 2 * MAX_ADDRESSES
            assert not any(ip.is_unspecified or ip.is_multicast for ip in ips)
            assert addresses.dual_stack == (len({type(ip) for ip in ips}) == 2)
            assert addresses.authentic or not addresses.expanded_authentic
            assert addresses.expanded is not None
            if dialed and addresses.dual_stack:
                last = dialed[-1]
                mapped = isinstance(last, IPv6Address) and last.ipv4_mapped is not None
                assert isinstance(ips[0], IPv6Address) is (isinstance(last, IPv4Address) or mapped)
            assert each.domain is not None
            if dane_applies(hosts, addresses):
                try:
                    found = await gather_tlsa(
                        resolver,
                        each.domain,
                        expanded_authentic=addresses.expanded_authentic,
                        expanded_host=addresses.expanded,
                    )
                except DNSError:
                    continue
                assert found.required or not found.records
                assert found.base_domain in {each.domain, addresses.expanded}
                allowed = tlsa_names(hosts, each.domain, found.base_domain)
                assert allowed[0] == found.base_domain
                assert len(set(allowed)) == len(allowed) <= 4

    errors: list[GatherError] = []
    try:
        asyncio.run(gather())
    except GatherError as error:
        errors.append(error)
    else:
        assert not any(error.permanent for error in errors), "of one host"
    assert all(len(str(error)) < 1000 for error in errors)
    assert all(error.permanent is error.enhanced.is_permanent for error in errors)
