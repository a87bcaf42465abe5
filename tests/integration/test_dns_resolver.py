"""How `DNSResolver` asks: over UDP and TCP, several servers, once for many, and how long it keeps what it heard."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from ipaddress import IPv4Address

import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import pytest
import uvloop
from tests.dnsserver import (
    DNSServer,
    Fault,
    always_truncated,
    garbage,
    half,
    over_tcp,
    refuse,
    stall,
    truncated,
    without_edns,
    wrong_id,
    wrong_question,
)

from moxlib.dns import MX, DNSError, DNSResolver, stub
from moxlib.dns.answers import MAX_RECORDS
from moxlib.dns.exchange import MAX_UNDER_WAY
from moxlib.errors import InputError
from moxlib.testing import FakeClock

RECORDS = {"mx example.com": ["10 mx.example.com."], "a mx.example.com": ["192.0.2.1"]}
FOUND = (MX(preference=10, host="mx.example.com"),)

Pair = tuple[DNSServer, DNSServer]


class Servers:
    """Starts servers that are stopped with the test, at one port of several loopback addresses if asked."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def __call__(self, faults: dict[str, Fault] | None = None, **options: object) -> DNSServer:
        server = DNSServer(RECORDS, faults=faults, **options)  # type: ignore[arg-type]
        return await self._stack.enter_async_context(server)


@pytest.fixture
async def serve() -> AsyncGenerator[Servers]:
    async with AsyncExitStack() as stack:
        yield Servers(stack)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def failure(resolver: DNSResolver, name: str = "example.com") -> DNSError:
    with pytest.raises(DNSError) as caught:
        await resolver.lookup_mx(name)
    return caught.value


# what is asked


async def test_a_trusted_server_is_asked_for_dnssec(serve: Servers) -> None:
    server = await serve(all_authentic=True)
    assert (await DNSResolver(["127.0.0.1"], port=server.port).lookup_mx("example.com")).authentic
    [query] = server.queries
    assert query.flags == dns.flags.RD | dns.flags.AD
    assert (query.edns, query.ednsflags, query.payload) == (0, dns.flags.DO, 1232)


async def test_the_ad_bit_of_another_counts_for_nothing(serve: Servers) -> None:
    server = await serve(all_authentic=True)
    resolver = DNSResolver(["127.0.0.1"], port=server.port, trust_ad=False)
    assert not (await resolver.lookup_mx("example.com")).authentic
    [query] = server.queries
    assert (query.flags, query.ednsflags, query.payload) == (dns.flags.RD, 0, 1232)


@pytest.mark.parametrize(
    ("nameservers", "trust_ad", "trusted"),
    [
        (["127.0.0.1"], None, True),
        (["127.0.0.53", "::1"], None, True),
        (["127.0.0.1", "192.0.2.53"], None, False),
        (["2001:db8::53"], None, False),
        (["192.0.2.53"], True, True),
        (["127.0.0.1"], False, False),
    ],
)
def test_which_servers_are_trusted(nameservers: list[str], trust_ad: bool | None, trusted: bool) -> None:
    resolver = DNSResolver(nameservers, trust_ad=trust_ad)
    assert resolver._servers is not None
    assert resolver._servers.trusted is trusted


async def test_a_server_without_edns(serve: Servers) -> None:
    server = await serve({"example.com": without_edns})
    assert (await DNSResolver(["127.0.0.1"], port=server.port).lookup_mx("example.com")).records == FOUND
    assert [query.edns for query in server.queries] == [0, -1]


async def test_ids_differ(serve: Servers) -> None:
    server = await serve()
    resolver = DNSResolver(["127.0.0.1"], port=server.port, cache_size=0)
    for _ in range(8):
        await resolver.lookup_mx("example.com")
    assert len({query.id for query in server.queries}) > 1


# the servers of the system


async def test_the_servers_of_the_system_are_asked_for_at_the_first_lookup(
    serve: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serve(all_authentic=True)
    read: list[None] = []

    def configured() -> list[str]:
        read.append(None)
        return ["127.0.0.1"]

    monkeypatch.setattr(stub, "_system_nameservers", configured)
    resolver = DNSResolver(port=server.port)
    assert read == []
    assert (await resolver.lookup_mx("example.com")).authentic
    assert (await resolver.lookup_mx("absent.example")).nxdomain
    assert len(read) == 1


async def test_a_system_without_servers_is_a_failure_until_it_has_some(
    serve: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unconfigured() -> list[str]:
        raise dns.resolver.NoResolverConfiguration

    server = await serve()
    monkeypatch.setattr(stub, "_system_nameservers", unconfigured)
    resolver = DNSResolver(port=server.port)
    assert (await failure(resolver)).reason == "the system's name servers are not known: NoResolverConfiguration"
    monkeypatch.setattr(stub, "_system_nameservers", lambda: ["127.0.0.1"])
    assert (await resolver.lookup_mx("example.com")).records == FOUND


@pytest.mark.parametrize(
    "arguments",
    [
        {"nameservers": []},
        {"nameservers": ["ns.example"]},
        {"nameservers": ["127.0.0.1"], "timeout": 0},
        {"nameservers": ["127.0.0.1"], "lifetime": -1},
        {"nameservers": ["127.0.0.1"], "max_ttl": -1},
        {"nameservers": ["127.0.0.1"], "cache_size": -1},
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(InputError):
        DNSResolver(**arguments)  # type: ignore[arg-type]


# TCP


async def test_what_does_not_fit_is_asked_for_over_tcp(serve: Servers) -> None:
    server = await serve({"example.com": truncated})
    assert (await DNSResolver(["127.0.0.1"], port=server.port).lookup_mx("example.com")).records == FOUND
    assert server.asked == ["udp mx example.com", "tcp mx example.com"]


async def test_a_long_answer_comes_over_tcp(serve: Servers) -> None:
    server = await serve()
    server.records["txt example.com"] = [" ".join(['"' + "x" * 255 + '"'] * 100)]
    answer = await DNSResolver(["127.0.0.1"], port=server.port).lookup_txt("example.com")
    assert answer.records == ("x" * 25500,)
    assert server.asked == ["udp txt example.com", "tcp txt example.com"]


@pytest.mark.parametrize("fault", [always_truncated, over_tcp(half), over_tcp(garbage), over_tcp(wrong_id)])
async def test_nonsense_over_tcp(serve: Servers, fault: Fault) -> None:
    server = await serve({"example.com": fault})
    error = await failure(DNSResolver(["127.0.0.1"], port=server.port))
    assert error.reason == "name server 127.0.0.1: malformed answer"


async def test_tcp_that_ends_early(serve: Servers) -> None:
    server = await serve({"example.com": over_tcp(lambda *_: b"")})
    error = await failure(DNSResolver(["127.0.0.1"], port=server.port))
    assert error.reason == "name server 127.0.0.1: malformed answer"


async def test_tcp_that_stalls(serve: Servers, clock: FakeClock) -> None:
    server = await serve({"example.com": over_tcp(stall)})
    resolver = DNSResolver(["127.0.0.1"], port=server.port, timeout=5, lifetime=5, clock=clock)
    task = asyncio.create_task(failure(resolver))
    await server.wait_asked(2)
    await clock.advance(5)
    assert (await task).reason == "no answer within 5 seconds"


# silence and nonsense over UDP


@pytest.mark.parametrize("fault", [stall, garbage, half, wrong_id, wrong_question])
async def test_what_is_no_answer_to_the_question_is_waited_out(serve: Servers, clock: FakeClock, fault: Fault) -> None:
    server = await serve({"example.com": fault})
    resolver = DNSResolver(["127.0.0.1"], port=server.port, timeout=5, lifetime=12, clock=clock)
    task = asyncio.create_task(failure(resolver))
    for asked, seconds in ((1, 5), (2, 5), (3, 2)):
        await server.wait_asked(asked)
        assert not task.done()
        await clock.advance(seconds)
    assert (await task).reason == "no answer within 12 seconds"
    assert len(server.asked) == 3


async def test_an_answer_to_a_later_attempt(serve: Servers, clock: FakeClock) -> None:
    server = await serve({"example.com": stall})
    resolver = DNSResolver(["127.0.0.1"], port=server.port, clock=clock)
    task = asyncio.create_task(resolver.lookup_mx("example.com"))
    await server.wait_asked(1)
    server.faults.clear()
    await clock.advance(5)
    assert (await task).records == FOUND


async def test_nobody_there() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    error = await failure(DNSResolver(["127.0.0.1"], port=port))
    assert error.reason == "name server 127.0.0.1: Connection refused"


# several servers: at one port of 127.0.0.1 and 127.0.0.2


@pytest.fixture
async def pair() -> AsyncGenerator[Pair]:
    async with DNSServer(RECORDS) as first, DNSServer(RECORDS, host="127.0.0.2", port=first.port) as second:
        yield first, second


def asking(pair: Pair, **options: object) -> DNSResolver:
    return DNSResolver(["127.0.0.1", "127.0.0.2"], port=pair[0].port, **options)  # type: ignore[arg-type]


async def test_the_first_server_is_asked_first(pair: Pair) -> None:
    resolver = asking(pair)
    await resolver.lookup_mx("example.com")
    await resolver.lookup_ip("mx.example.com")
    assert pair[1].asked == []


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED, dns.rcode.FORMERR, dns.rcode.NOTIMP])
async def test_the_next_one_is_asked_when_one_refuses(pair: Pair, rcode: dns.rcode.Rcode) -> None:
    pair[0].faults["example.com"] = refuse(rcode=rcode)
    resolver = asking(pair)
    assert (await resolver.lookup_mx("example.com")).records == FOUND
    assert len(pair[0].asked) == 1
    await resolver.lookup_ip("mx.example.com", ipv6=False)
    assert len(pair[0].asked) == 2, "it stays the first: it may well know other names"


async def test_all_refuse(pair: Pair) -> None:
    pair[0].faults["example.com"] = refuse()
    pair[1].faults["example.com"] = refuse(18, rcode=dns.rcode.REFUSED)
    error = await failure(asking(pair))
    assert (error.reason, error.extended, error.bogus) == ("REFUSED, extended error 18", 18, False)
    assert [len(server.asked) for server in pair] == [1, 1]


@pytest.mark.parametrize("code", [1, 2, 5, 6, 7, 8, 9, 10, 11, 12])
async def test_bogus_is_final(pair: Pair, code: int) -> None:
    pair[0].faults["example.com"] = refuse(code)
    error = await failure(asking(pair))
    assert (error.extended, error.bogus) == (code, True)
    assert pair[1].asked == [], "it may not validate"


async def test_a_silent_server_is_asked_last_from_then_on(pair: Pair, clock: FakeClock) -> None:
    pair[0].faults["example.com"] = stall
    resolver = asking(pair, clock=clock)
    task = asyncio.create_task(resolver.lookup_mx("example.com"))
    await pair[0].wait_asked(1)
    await clock.advance(5)
    assert (await task).records == FOUND
    await resolver.lookup_ip("mx.example.com", ipv6=False)
    assert [len(server.asked) for server in pair] == [1, 2]


async def test_what_a_server_said_is_told_rather_than_that_the_other_was_silent(pair: Pair, clock: FakeClock) -> None:
    pair[0].faults["example.com"] = refuse(23)
    pair[1].faults["example.com"] = stall
    task = asyncio.create_task(failure(asking(pair, clock=clock, timeout=5, lifetime=10)))
    for asked in (1, 2):
        await pair[1].wait_asked(asked)
        await clock.advance(5)
    assert (await task).reason == "SERVFAIL, extended error 23"
    assert len(pair[0].asked) == 1, "it has said what it has to say"


# what is kept


async def test_an_answer_is_kept_for_its_time_to_live(serve: Servers, clock: FakeClock) -> None:
    server = await serve(ttl=300, all_authentic=True)
    resolver = DNSResolver(["127.0.0.1"], port=server.port, clock=clock)
    first = await resolver.lookup_mx("example.com")
    await clock.advance(299)
    assert await resolver.lookup_mx("EXAMPLE.com.") == first
    assert len(server.asked) == 1
    await clock.advance(1)
    assert await resolver.lookup_mx("example.com") == first
    assert len(server.asked) == 2


@pytest.mark.parametrize(("minimum", "kept"), [(60, 60), (100_000, 300)])
@pytest.mark.parametrize("name", ["absent.example", "mx.example.com"])
async def test_that_there_is_nothing_is_kept_as_long_as_the_zone_says(
    serve: Servers, clock: FakeClock, name: str, minimum: int, kept: int
) -> None:
    server = await serve(ttl=300, minimum=minimum)
    resolver = DNSResolver(["127.0.0.1"], port=server.port, clock=clock)
    for asked, seconds in ((1, kept - 1), (1, 1), (2, 0)):
        assert not (await resolver.lookup_mx(name)).records
        assert len(server.asked) == asked
        await clock.advance(seconds)


async def test_nothing_is_kept_for_longer_than_the_maximum(serve: Servers, clock: FakeClock) -> None:
    server = await serve(ttl=86400)
    resolver = DNSResolver(["127.0.0.1"], port=server.port, clock=clock, max_ttl=30)
    for asked, seconds in ((1, 29), (1, 1), (2, 0)):
        await resolver.lookup_mx("example.com")
        assert len(server.asked) == asked
        await clock.advance(seconds)


async def test_a_failure_is_kept_for_five_seconds(serve: Servers, clock: FakeClock) -> None:
    server = await serve({"example.com": refuse(6)})
    resolver = DNSResolver(["127.0.0.1"], port=server.port, clock=clock)
    for asked, seconds in ((1, 4.9), (1, 0.1), (2, 0)):
        assert (await failure(resolver)).bogus
        assert len(server.asked) == asked
        await clock.advance(seconds)


async def test_a_time_to_live_of_nothing_is_not_kept(serve: Servers) -> None:
    server = await serve(ttl=0)
    resolver = DNSResolver(["127.0.0.1"], port=server.port)
    for asked in (1, 2):
        await resolver.lookup_mx("example.com")
        assert len(server.asked) == asked


async def test_the_least_used_goes_when_the_cache_is_full(serve: Servers) -> None:
    server = await serve()
    resolver = DNSResolver(["127.0.0.1"], port=server.port, cache_size=2)
    for name in ("a.example", "b.example", "a.example", "c.example", "a.example"):
        await resolver.lookup_mx(name)
    assert len(server.asked) == 3
    await resolver.lookup_mx("b.example")
    assert len(server.asked) == 4


async def test_what_is_large_is_not_kept(serve: Servers) -> None:
    server = await serve()
    server.records["txt example.com"] = [" ".join(['"' + "x" * 250 + '"'] * 9)]
    resolver = DNSResolver(["127.0.0.1"], port=server.port)
    for asked in (2, 4):
        await resolver.lookup_txt("example.com")
        assert len(server.asked) == asked


async def test_the_shortest_time_to_live_of_a_chain_counts(serve: Servers, clock: FakeClock) -> None:
    server = await serve(ttl=300, minimum=60, chase=False)
    server.records["cname www.example.net"] = ["absent.example."]
    resolver = DNSResolver(["127.0.0.1"], port=server.port, clock=clock)
    for asked, seconds in ((2, 59), (2, 1), (4, 0)):
        assert (await resolver.lookup_mx("www.example.net")).nxdomain
        assert len(server.asked) == asked
        await clock.advance(seconds)


# limits


async def test_more_records_than_anybody_needs_are_an_error(serve: Servers) -> None:
    server = await serve()
    resolver = DNSResolver(["127.0.0.1"], port=server.port, cache_size=0)
    server.records["mx example.com"] = [f"10 mx{i}.example.com." for i in range(MAX_RECORDS)]
    assert len((await resolver.lookup_mx("example.com")).records) == MAX_RECORDS
    server.records["mx example.com"] = [f"10 mx{i}.example.com." for i in range(MAX_RECORDS + 1)]
    assert (await failure(resolver)).reason == "more than 256 records"


async def test_names_and_texts_are_escaped(serve: Servers) -> None:
    server = await serve()
    server.records["mx example.com"] = ["10 \\027[31m\\.x.\\255.Example."]
    server.records["txt example.com"] = ['"\\255\\000ok"']
    resolver = DNSResolver(["127.0.0.1"], port=server.port)
    [mx] = (await resolver.lookup_mx("example.com")).records
    assert mx.host == "\\027[31m\\.x.\\255.example"
    assert (await resolver.lookup_txt("example.com")).records == ("\\xff\x00ok",)


async def test_questions_under_way_are_limited(serve: Servers, clock: FakeClock) -> None:
    names = [f"n{i}.example" for i in range(MAX_UNDER_WAY + 20)]
    server = await serve(dict.fromkeys(names, stall))
    resolver = DNSResolver(["127.0.0.1"], port=server.port, clock=clock, lifetime=5)
    tasks = [asyncio.create_task(failure(resolver, name)) for name in names]
    await server.wait_asked(MAX_UNDER_WAY)
    await clock.advance(4)
    assert len(server.asked) == MAX_UNDER_WAY
    await clock.advance(1)
    await server.wait_asked(len(names))
    await clock.advance(5)
    assert {error.reason for error in await asyncio.gather(*tasks)} == {"no answer within 5 seconds"}


# many who ask, loops


async def test_one_question_for_all_who_ask_at_the_same_time(serve: Servers) -> None:
    server = await serve()
    resolver = DNSResolver(["127.0.0.1"], port=server.port, cache_size=0)
    answers = await asyncio.gather(*(resolver.lookup_mx("example.com") for _ in range(20)))
    assert {answer.records for answer in answers} == {FOUND}
    assert len(server.asked) == 1


async def test_who_gives_up_leaves_the_others_their_answer(serve: Servers, clock: FakeClock) -> None:
    server = await serve({"example.com": stall})
    resolver = DNSResolver(["127.0.0.1"], port=server.port, clock=clock)
    first, second = (asyncio.create_task(resolver.lookup_mx("example.com")) for _ in range(2))
    await server.wait_asked(1)
    first.cancel()
    server.faults.clear()
    await clock.advance(5)
    assert (await second).records == FOUND
    assert first.cancelled()


async def test_both_families_are_asked_for_at_the_same_time(serve: Servers, clock: FakeClock) -> None:
    server = await serve({"aaaa mx.example.com": stall, "a mx.example.com": stall})
    resolver = DNSResolver(["127.0.0.1"], port=server.port, clock=clock)
    task = asyncio.create_task(resolver.lookup_ip("mx.example.com"))
    await server.wait_asked(2)
    server.faults.clear()
    await clock.advance(5)
    assert (await task).records == (IPv4Address("192.0.2.1"),)


async def _in_a_loop_of_its_own(resolver: DNSResolver, port: int, count: int) -> None:
    async with DNSServer(RECORDS, port=port) as server:
        answers = await asyncio.gather(*(resolver.lookup_mx(f"n{i}.example") for i in range(count)))
        assert len(server.asked) == count
        assert all(answer.nxdomain for answer in answers)
        assert (await resolver.lookup_mx("example.com")).records == FOUND
        server.faults["mx.example.com"] = over_tcp(half)
        with pytest.raises(DNSError):
            await resolver.lookup_ip("mx.example.com")


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_one_loop_after_another(factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    resolver = DNSResolver(["127.0.0.1"], port=port, cache_size=0)
    for _ in range(2):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(_in_a_loop_of_its_own(resolver, port, MAX_UNDER_WAY + 5))
