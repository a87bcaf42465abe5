"""What every `Resolver` answers: the one in plain maps, and the one that asks a real name server on loopback."""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from ipaddress import IPv4Address, IPv6Address

import pytest
from tests.dnsserver import DNSServer, Fault, refuse

from moxlib.dns import MX, TLSA, Answer, DNSError, DNSResolver, InvalidDomain, Resolver
from moxlib.errors import InputError
from moxlib.testing import MockResolver

RECORDS: Mapping[str, Sequence[str]] = {
    "mx example.com": ["20 mx2.example.com.", "10 MX1.Example.com."],
    "txt example.com": ['"v=one " "two"', '"other"'],
    "a mx1.example.com": ["192.0.2.1", "192.0.2.2"],
    "aaaa mx1.example.com": ["2001:db8::1"],
    "a mx2.example.com": ["192.0.2.3"],
    "tlsa _25._tcp.mx1.example.com": ["3 1 1 " + "ab" * 32, "9 9 9 00"],
    "mx null.example": ["0 ."],
    "cname www.example.net": ["alias.example.net."],
    "cname alias.example.net": ["example.com."],
    "cname mail.example.net": ["mx1.example.com."],
    "cname _25._tcp.mail.example.net": ["_25._tcp.mx1.example.com."],
    "cname dangling.example.net": ["nowhere.example.org."],
    "cname nodata.example.net": ["mx2.example.com."],
    "cname loop1.example.net": ["loop2.example.net."],
    "cname loop2.example.net": ["loop1.example.net."],
    **{f"cname c{i}.chain.example": [f"c{i + 1}.chain.example."] for i in range(16)},
    "mx c16.chain.example": ["10 mx1.example.com."],
}

MX1 = [MX(preference=10, host="mx1.example.com"), MX(preference=20, host="mx2.example.com")]


class World:
    """Makes resolvers that all know `RECORDS`, of one kind, and takes down what they need."""

    def __init__(self, kind: str, stack: AsyncExitStack) -> None:
        self.kind = kind
        self._stack = stack

    async def resolver(
        self,
        *,
        fail: Collection[str] = (),
        bogus: Collection[str] = (),
        authentic: Collection[str] = (),
        all_authentic: bool = False,
    ) -> Resolver:
        if self.kind == "mock":
            return mock(fail=fail, bogus=bogus, authentic=authentic, all_authentic=all_authentic)
        faults: dict[str, Fault] = {**dict.fromkeys(fail, refuse()), **dict.fromkeys(bogus, refuse(22, 7, 2))}
        server = await self._stack.enter_async_context(
            DNSServer(
                RECORDS,
                authentic=authentic,
                all_authentic=all_authentic,
                faults=faults,
                chase=self.kind == "chasing server",
            )
        )
        return DNSResolver(["127.0.0.1"], port=server.port)


def mock(
    *, fail: Collection[str], bogus: Collection[str], authentic: Collection[str], all_authentic: bool
) -> MockResolver:
    def of(kind: str) -> dict[str, Sequence[str]]:
        return {where.split(" ")[1]: records for where, records in RECORDS.items() if where.split(" ")[0] == kind}

    def mx(text: str) -> tuple[int, str]:
        preference, host = text.split(" ")
        return int(preference), host

    def tlsa(text: str) -> tuple[int, int, int, bytes]:
        usage, selector, matching_type, data = text.split(" ")
        return int(usage), int(selector), int(matching_type), bytes.fromhex(data)

    return MockResolver(
        mx={name: [mx(record) for record in records] for name, records in of("mx").items()},
        a=of("a"),
        aaaa=of("aaaa"),
        cname={name: records[0] for name, records in of("cname").items()},
        txt={name: ["".join(each.strip('"') for each in t.split('" "')) for t in ts] for name, ts in of("txt").items()},
        tlsa={name: [tlsa(record) for record in records] for name, records in of("tlsa").items()},
        fail=fail,
        bogus=bogus,
        authentic=authentic,
        all_authentic=all_authentic,
    )


@pytest.fixture(params=["mock", "chasing server", "lazy server"])
async def world(request: pytest.FixtureRequest) -> AsyncGenerator[World]:
    async with AsyncExitStack() as stack:
        yield World(request.param, stack)


async def test_records_of_each_type(world: World) -> None:
    resolver = await world.resolver()
    mx = await resolver.lookup_mx("example.com")
    assert sorted(mx.records) == MX1
    assert (mx.name, mx.authentic, mx.nxdomain) == ("example.com", False, False)
    assert (await resolver.lookup_mx("null.example")).records == (MX(preference=0, host=""),)
    assert sorted((await resolver.lookup_txt("example.com")).records) == ["other", "v=one two"]
    assert set((await resolver.lookup_tlsa("_25._tcp.mx1.example.com")).records) == {
        TLSA(usage=3, selector=1, matching_type=1, data=b"\xab" * 32),
        TLSA(usage=9, selector=9, matching_type=9, data=b"\x00"),
    }
    assert (await resolver.lookup_cname("www.example.net")).records == ("alias.example.net",)


@pytest.mark.parametrize(
    ("ipv4", "ipv6", "addresses"),
    [
        (True, True, ["2001:db8::1", "192.0.2.1", "192.0.2.2"]),
        (True, False, ["192.0.2.1", "192.0.2.2"]),
        (False, True, ["2001:db8::1"]),
    ],
)
async def test_addresses_of_the_families_asked_for(world: World, ipv4: bool, ipv6: bool, addresses: list[str]) -> None:
    answer = await (await world.resolver()).lookup_ip("mx1.example.com", ipv4=ipv4, ipv6=ipv6)
    assert [str(each) for each in answer.records[:1]] == addresses[:1] or not ipv6, "those of IPv6 are first"
    assert {str(each) for each in answer.records} == set(addresses)
    assert (answer.name, answer.authentic, answer.nxdomain) == ("mx1.example.com", False, False)


async def test_no_family_is_a_mistake(world: World) -> None:
    with pytest.raises(InputError):
        await (await world.resolver()).lookup_ip("mx1.example.com", ipv4=False, ipv6=False)


@pytest.mark.parametrize("name", ["EXAMPLE.com", "example.com.", "Example.COM."])
async def test_case_and_a_final_dot_do_not_matter(world: World, name: str) -> None:
    answer = await (await world.resolver()).lookup_mx(name)
    assert (sorted(answer.records), answer.name) == (MX1, "example.com")


@pytest.mark.parametrize("name", ["", ".", "a..example", "bücher.example", ".example", "a\\.b\\"])
async def test_what_is_no_name(world: World, name: str) -> None:
    with pytest.raises(InvalidDomain):
        await (await world.resolver()).lookup_mx(name)
    with pytest.raises(InvalidDomain):
        await (await world.resolver()).lookup_ip(name)


@pytest.mark.parametrize("name", ["a" * 64 + ".example", ".".join(["abcdefg"] * 32), f"{'a' * 70}.Example."])
async def test_a_name_too_long_to_exist_does_not(world: World, name: str) -> None:
    resolver = await world.resolver(all_authentic=True)
    nothing = name.lower().removesuffix(".")
    assert await resolver.lookup_mx(name) == Answer(records=(), authentic=False, name=nothing, nxdomain=True)
    assert await resolver.lookup_ip(name) == Answer(records=(), authentic=False, name=nothing, nxdomain=True)


@pytest.mark.parametrize("authentic", [True, False])
async def test_that_there_is_nothing_is_an_answer(world: World, authentic: bool) -> None:
    resolver = await world.resolver(all_authentic=authentic)
    assert await resolver.lookup_mx("absent.example") == Answer(
        records=(), authentic=authentic, name="absent.example", nxdomain=True
    )
    assert await resolver.lookup_ip("absent.example") == Answer(
        records=(), authentic=authentic, name="absent.example", nxdomain=True
    )
    # Of another type there is something, or below it.
    assert await resolver.lookup_mx("mx2.example.com") == Answer(
        records=(), authentic=authentic, name="mx2.example.com"
    )
    assert await resolver.lookup_tlsa("_tcp.mx1.example.com") == Answer(
        records=(), authentic=authentic, name="_tcp.mx1.example.com"
    )
    assert await resolver.lookup_cname("example.com") == Answer(records=(), authentic=authentic, name="example.com")
    assert await resolver.lookup_ip("mx2.example.com", ipv4=False) == Answer(
        records=(), authentic=authentic, name="mx2.example.com"
    )


@pytest.mark.parametrize("authentic", [True, False])
async def test_cnames_are_followed(world: World, authentic: bool) -> None:
    resolver = await world.resolver(all_authentic=authentic)
    mx = await resolver.lookup_mx("www.example.net")
    assert (sorted(mx.records), mx.name, mx.authentic) == (MX1, "example.com", authentic)
    ip = await resolver.lookup_ip("mail.example.net")
    assert (len(ip.records), ip.name, ip.authentic) == (3, "mx1.example.com", authentic)
    tlsa = await resolver.lookup_tlsa("_25._tcp.mail.example.net")
    assert (len(tlsa.records), tlsa.name, tlsa.authentic) == (2, "_25._tcp.mx1.example.com", authentic)
    assert await resolver.lookup_mx("dangling.example.net") == Answer(
        records=(), authentic=authentic, name="nowhere.example.org", nxdomain=True
    )
    assert await resolver.lookup_txt("nodata.example.net") == Answer(
        records=(), authentic=authentic, name="mx2.example.com"
    )


@pytest.mark.parametrize("left_out", ["cname www.example.net", "cname alias.example.net", "mx example.com"])
async def test_one_step_that_is_not_authentic_is_enough(world: World, left_out: str) -> None:
    steps = ["cname www.example.net", "cname alias.example.net", "mx example.com"]
    assert (await (await world.resolver(authentic=steps)).lookup_mx("www.example.net")).authentic
    steps.remove(left_out)
    answer = await (await world.resolver(authentic=steps)).lookup_mx("www.example.net")
    assert sorted(answer.records) == MX1
    assert not answer.authentic


async def test_a_cname_is_not_followed_where_it_is_what_is_asked_for(world: World) -> None:
    resolver = await world.resolver(authentic=["cname www.example.net"])
    assert await resolver.lookup_cname("www.example.net") == Answer(
        records=("alias.example.net",), authentic=True, name="www.example.net"
    )
    assert await resolver.lookup_cname("alias.example.net") == Answer(
        records=("example.com",), authentic=False, name="alias.example.net"
    )
    assert (await resolver.lookup_cname("loop1.example.net")).records == ("loop2.example.net",)


@pytest.mark.parametrize("name", ["loop1.example.net", "c0.chain.example"])
async def test_cnames_without_end_are_an_error(world: World, name: str) -> None:
    resolver = await world.resolver()
    with pytest.raises(DNSError) as caught:
        await resolver.lookup_mx(name)
    assert (caught.value.name, caught.value.kind, caught.value.bogus) == (name, "MX", False)
    assert caught.value.reason == "a CNAME loop, or more than 15 CNAMEs"


async def test_fifteen_cnames_are_not_too_many(world: World) -> None:
    answer = await (await world.resolver()).lookup_mx("c1.chain.example")
    assert (answer.records, answer.name) == ((MX1[0],), "c16.chain.example")


async def test_a_failure_is_an_error_and_nothing_else_fails(world: World) -> None:
    resolver = await world.resolver(fail=["mx example.com"])
    with pytest.raises(DNSError) as caught:
        await resolver.lookup_mx("Example.com")
    error = caught.value
    assert (error.name, error.kind, error.extended, error.bogus) == ("Example.com", "MX", None, False)
    assert error.reason == "SERVFAIL"
    assert len((await resolver.lookup_txt("example.com")).records) == 2


async def test_bogus_signatures_are_told_apart(world: World) -> None:
    resolver = await world.resolver(bogus=["tlsa _25._tcp.mx1.example.com"])
    with pytest.raises(DNSError) as caught:
        await resolver.lookup_tlsa("_25._tcp.mx1.example.com")
    assert caught.value.bogus
    assert caught.value.extended == (6 if world.kind == "mock" else 7)


@pytest.mark.parametrize(
    ("fails", "left"),
    [
        ("a mx1.example.com", {IPv6Address("2001:db8::1")}),
        ("aaaa mx1.example.com", {IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2")}),
    ],
)
async def test_addresses_of_one_family_when_the_other_fails(world: World, fails: str, left: set[object]) -> None:
    resolver = await world.resolver(bogus=[fails], all_authentic=True)
    answer = await resolver.lookup_ip("mx1.example.com")
    assert (set(answer.records), answer.authentic, answer.nxdomain) == (left, True, False)


async def test_nobody_knows_when_one_family_fails_and_the_other_has_nothing(world: World) -> None:
    resolver = await world.resolver(fail=["aaaa mx2.example.com", "a absent.example"], bogus=["aaaa absent.example"])
    assert len((await resolver.lookup_ip("mx2.example.com")).records) == 1
    with pytest.raises(DNSError) as caught:
        await resolver.lookup_ip("mx2.example.com", ipv4=False)
    assert caught.value.kind == "AAAA"
    with pytest.raises(DNSError) as caught:
        await resolver.lookup_ip("absent.example")
    assert caught.value.bogus, "the worse of two failures is told"
