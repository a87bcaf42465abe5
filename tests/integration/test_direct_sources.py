"""Where mail comes from, as the servers see it: the address and the name of each connection."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.direct_world import delivery

from moxlib.queue import (
    Concurrency,
    Deferred,
    Delivered,
    DirectTransport,
    Shaping,
    ShapingRules,
    SMTPTransport,
    Source,
    SourceSet,
)
from moxlib.testing import FakeClock, MockResolver, SMTPPeer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from moxlib.queue import Outcome, Transport
    from moxlib.testing.smtp_peer import Conversation

ONE, SIX = "127.0.0.2", "::1"
OUT1, OUT2 = "127.0.0.21", "127.0.0.22"
MX = "mx.example"
GUARD = 60  # seconds after which a test that hangs fails instead

FIRST = Source(ipv4=OUT1, ehlo_name="out1.example")
SECOND = Source(ipv4=OUT2, ehlo_name="out2.example")


class Watchful(SMTPPeer):
    """Notes where its clients come from."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.clients: list[str] = []

    async def _greet(self, talk: Conversation) -> bool:
        self.clients.append(talk.writer.get_extra_info("peername")[0])
        return await super()._greet(talk)

    def met(self) -> list[tuple[str, str]]:
        """Return the address and the name of each connection."""
        names = [session.lines[0].removeprefix("EHLO ") for session in self.sessions]
        return list(zip(self.clients, names, strict=True))


@dataclass
class Net:
    """Servers, and what transports to them need."""

    servers: dict[str, Watchful]
    zone: dict[str, Any]
    clock: FakeClock = field(default_factory=FakeClock)

    @property
    def port(self) -> int:
        return next(iter(self.servers.values())).port

    @asynccontextmanager
    async def sending(self, sources: Sequence[Source] | SourceSet, **options: Any) -> AsyncIterator[DirectTransport]:
        transport = DirectTransport(
            sources=sources,
            resolver=MockResolver(**self.zone),
            mta_sts=None,
            port=self.port,
            clock=self.clock,
            random=Random(1),
            **options,
        )
        async with transport.running():
            yield transport


@asynccontextmanager
async def servers(*addresses: str, dns: Sequence[str] | None = None, domains: int = 1) -> AsyncIterator[Net]:
    """Run servers at the addresses; the host has those that `dns` says, by default the same."""
    known = addresses if dns is None else dns
    async with asyncio.timeout(GUARD), AsyncExitStack() as stack:
        running: dict[str, Watchful] = {}
        port = 0
        for address in addresses:
            running[address] = await stack.enter_async_context(Watchful(address=address, port=port))
            port = running[address].port
        zone = {
            "mx": {domain(number): [(10, MX)] for number in range(domains)},
            "a": {MX: [address for address in known if ":" not in address]},
            "aaaa": {MX: [address for address in known if ":" in address]},
        }
        yield Net(running, zone)


def domain(number: int) -> str:
    return f"d{number}.example"


async def send(transport: Transport, number: int = 0, **changes: Any) -> Outcome:
    [outcome] = await transport.deliver(delivery(f"b@{domain(number)}", **changes))
    return outcome


async def test_a_server_sees_each_source_by_its_own_name() -> None:
    async with servers(ONE, domains=10) as net, net.sending([FIRST, SECOND]) as transport:
        for number in range(10):
            assert isinstance(await send(transport, number), Delivered)
        assert sorted(net.servers[ONE].met()) == [(OUT1, "out1.example"), (OUT2, "out2.example")]


async def test_a_destination_keeps_its_source_in_every_process() -> None:
    seen = []
    async with servers(ONE, domains=20) as net:
        for order in ([FIRST, SECOND], [SECOND, FIRST]):
            async with net.sending(order) as transport:
                for number in range(20):
                    await send(transport, number)
            seen.append(by_domain(net.servers[ONE]))
    assert seen[0] == seen[1]
    assert {len(names) for names in seen[1].values()} == {1}
    assert set.union(*seen[1].values()) == {"out1.example", "out2.example"}


def by_domain(server: Watchful) -> dict[str, set[str]]:
    """Return the names under which the mail for each domain came."""
    found: dict[str, set[str]] = {}
    for session in server.sessions:
        for line in session.lines:
            if line.startswith("RCPT"):
                found.setdefault(line, set()).add(session.lines[0].removeprefix("EHLO "))
    return found


async def test_a_source_gets_destinations_by_its_weight() -> None:
    heavy = Source(ipv4=OUT1, ehlo_name="out1.example", weight=9)
    async with servers(ONE, domains=60) as net, net.sending([heavy, SECOND]) as transport:
        for number in range(60):
            await send(transport, number)
        names = [name for names in by_domain(net.servers[ONE]).values() for name in names]
    assert 45 <= names.count("out1.example") < 60


async def test_where_it_may_change_a_source_is_chosen_for_each_delivery_and_connections_are_not_mixed() -> None:
    async with servers(ONE) as net, net.sending(SourceSet((FIRST, SECOND), stable=False)) as transport:
        for _ in range(20):
            await send(transport)
        server = net.servers[ONE]
        assert sorted(server.met()) == [(OUT1, "out1.example"), (OUT2, "out2.example")]
        assert sorted(len(session.messages) > 3 for session in server.sessions) == [True, True]


async def test_a_source_has_an_address_for_each_family() -> None:
    both = Source(ipv4=OUT1, ipv6=SIX, ehlo_name="out.example")
    async with servers(ONE, SIX) as net, net.sending([both]) as transport:
        await send(transport)
        await send(transport, dialed=[(MX, SIX)])
        assert net.servers[SIX].met() == [(SIX, "out.example")]
        assert net.servers[ONE].met() == [(OUT1, "out.example")]


@pytest.mark.parametrize("dialed", [(), [(MX, ONE)]], ids=["at first", "after an attempt by IPv4"])
async def test_a_source_of_one_family_never_dials_the_other(dialed: Any) -> None:
    """Not even when nobody answers in its own."""
    dead = "127.0.0.99"
    async with servers(SIX, dns=[dead, SIX]) as net, net.sending([FIRST]) as transport:
        outcome = await send(transport, dialed=dialed)
        assert isinstance(outcome, Deferred)
        assert net.servers[SIX].sessions == []
    async with servers(ONE, SIX) as net, net.sending([FIRST]) as transport:
        assert isinstance(await send(transport, dialed=dialed), Delivered)
        assert (net.servers[ONE].clients, net.servers[SIX].sessions) == ([OUT1], [])


async def test_a_host_of_one_family_gets_a_source_that_has_it() -> None:
    six = Source(ipv6=SIX, ehlo_name="six.example")
    async with servers(SIX, domains=10) as net, net.sending([FIRST, SECOND, six]) as transport:
        for number in range(10):
            assert isinstance(await send(transport, number), Delivered)
        assert net.servers[SIX].met() == [(SIX, "six.example")]


async def test_a_family_that_is_not_wanted_is_not_used_whatever_the_source_has() -> None:
    both = Source(ipv4=OUT1, ipv6=SIX, ehlo_name="out.example")
    async with servers(ONE, SIX) as net, net.sending([both], family="ipv4") as transport:
        for _ in range(2):
            assert isinstance(await send(transport, dialed=[(MX, ONE)]), Delivered)
        assert net.servers[SIX].sessions == []


ELSEWHERE = Source(ipv4="203.0.113.9", ehlo_name="out.example")


async def test_an_address_that_is_not_ours_is_told_as_such() -> None:
    async with servers(ONE) as net, net.sending([ELSEWHERE]) as transport:
        outcome = await send(transport)
        assert isinstance(outcome, Deferred)
        assert (outcome.code, outcome.enhanced) == (0, "4.3.5")
        assert "cannot connect from 203.0.113.9: Cannot assign requested address" in outcome.text
        assert net.servers[ONE].sessions == []


async def test_an_address_that_is_not_ours_is_no_fault_of_the_site() -> None:
    gentle = ShapingRules(default=Shaping(concurrency=Concurrency(initial=1, failed_cohorts=1)))
    async with servers(ONE) as net, net.sending([ELSEWHERE], shaping=gentle) as transport:
        for _ in range(5):
            outcome = await send(transport)
            assert isinstance(outcome, Deferred)
            assert outcome.retry_after is None
            assert "203.0.113.9" in outcome.text


class Counting:
    """A permit for any number of connections, which counts them."""

    def __init__(self) -> None:
        self.granted_times = 0

    async def granted(self) -> None:
        self.granted_times += 1


@pytest.mark.parametrize("stable", [True, False])
async def test_where_one_source_cannot_be_used_another_one_is_and_the_first_not_asked_again_at_once(
    stable: bool,
) -> None:
    permit = Counting()
    sources = SourceSet((replace(ELSEWHERE, weight=1000), SECOND), stable=stable)
    async with servers(ONE, domains=10) as net, net.sending(sources) as transport:
        for number in range(10):
            [outcome] = await transport.deliver(replace(delivery(f"b@{domain(number)}"), permit=permit))
            assert isinstance(outcome, Delivered)
        assert net.servers[ONE].met() == [(OUT2, "out2.example")]
        assert permit.granted_times == 2  # one for each source
        await net.clock.advance(61)
        await transport.deliver(replace(delivery(f"b@{domain(1)}"), permit=permit))
        assert permit.granted_times == 4  # and once more for each, in case that it is ours by now


async def test_a_source_is_used_in_the_family_that_it_can_be_used_in() -> None:
    half = Source(ipv4="203.0.113.9", ipv6=SIX, ehlo_name="half.example")
    async with servers(ONE, SIX) as net, net.sending([half]) as transport:
        assert isinstance(await send(transport, dialed=[(MX, SIX)]), Delivered)
        assert (net.servers[ONE].met(), net.servers[SIX].met()) == ([], [(SIX, "half.example")])


async def test_a_site_that_does_not_answer_in_one_family_is_at_fault_whatever_ails_the_other() -> None:
    half = Source(ipv4="203.0.113.9", ipv6=SIX, ehlo_name="half.example")
    gentle = ShapingRules(default=Shaping(concurrency=Concurrency(initial=1, failed_cohorts=1)))
    for dialed in ([(MX, SIX)], [(MX, ONE)]):
        async with servers(ONE, dns=[ONE, SIX]) as net, net.sending([half], shaping=gentle) as transport:
            first, second = [await send(transport, dialed=dialed) for _ in range(2)]
            assert "203.0.113.9" not in first.text
            assert "suspended" in second.text


async def test_a_relay_is_not_blamed_for_an_address_that_is_not_ours() -> None:
    async with servers(ONE) as net:
        relay = SMTPTransport(
            ONE,
            net.port,
            security="none",
            local_address="203.0.113.9",
            concurrency=Concurrency(initial=1, failed_cohorts=1),
            clock=net.clock,
        )
        async with relay.running():
            for _ in range(3):
                outcome = await send(relay)
                assert isinstance(outcome, Deferred)
                assert outcome.enhanced == "4.3.5"
                assert "cannot connect from 203.0.113.9" in outcome.text
