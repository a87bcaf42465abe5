"""Hosts that cannot be reached: they are dialled behind the others for a while, and never left out."""

from __future__ import annotations

import asyncio
import socket
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.direct_world import DOMAIN, Authorities, MailHost, World, delivery, running

from moxlib.queue import Concurrency, Deferred, Delivered, Shaping, ShapingRules, Source
from moxlib.smtpclient import Timeouts
from moxlib.testing import Answer, Stall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.integration.direct_world import Running

    from moxlib.queue import Outcome

ONE, TWO, THREE = "127.0.0.2", "127.0.0.3", "127.0.0.4"
MX1, MX2, MX3 = "mx1.example.org", "mx2.example.org", "mx3.example.org"
ADDRESSES = {MX1: ONE, MX2: TWO, MX3: THREE}
GUARD = 60  # seconds after which a test that hangs fails instead
# A connection carries one message, so that each delivery shows whom it dials; and the site is never suspended.
RULES = ShapingRules(
    default=Shaping(
        messages_per_connection=1,
        concurrency=Concurrency(failed_cohorts=0, suspend_for=timedelta(minutes=5)),
    )
)


class Net:
    """The way to the hosts, on which some cannot be reached; keeps whom it was asked for."""

    def __init__(self, *down: str) -> None:
        self.down = set(down)
        self.hanging: set[str] = set()
        self.dialled: list[str] = []

    async def open(self, host: str, port: int, *, local_address: str | None = None) -> socket.socket:
        self.dialled.append(host)
        if host in self.hanging:
            await asyncio.Event().wait()
        if host in self.down:
            raise OSError("nobody is there")
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
        return sock

    def taken(self) -> list[str]:
        """Return whom it was asked for since this was called last."""
        dialled, self.dialled = self.dialled, []
        return dialled


def world(net: Net, *hosts: str, greeting: Answer = "220 host.example ESMTP", **more: Any) -> World:
    """Hosts in the order of preference; `greeting` is that of the first."""
    hosts = hosts or (MX1, MX2)
    there = [MailHost(address=ONE, greeting=greeting), MailHost(address=TWO), MailHost(address=THREE)]
    dns = {
        "mx": {DOMAIN: [(10 * number, name) for number, name in enumerate(hosts, 1)]},
        "a": {name: [ADDRESSES[name]] for name in hosts},
    }
    return World(
        hosts=there[: len(hosts)], dns=dns, options={"proxy": net, "shaping": RULES, **more.pop("options", {})}, **more
    )


async def send(there: Running, **changes: Any) -> Outcome:
    async with asyncio.timeout(GUARD):
        [outcome] = await there.transport.deliver(delivery(**changes))
    return outcome


@pytest.fixture(scope="module")
def authorities() -> Authorities:
    return Authorities()


async def test_a_host_that_cannot_be_reached_is_dialled_by_one_delivery_and_not_by_each(
    authorities: Authorities,
) -> None:
    net = Net(ONE)
    async with running(world(net), authorities) as there:
        for _ in range(4):
            assert isinstance(await send(there), Delivered)
    assert net.dialled == [ONE, TWO, TWO, TWO, TWO]


async def test_after_a_while_one_delivery_finds_out_whether_it_is_back_and_the_others_do_not_wait_for_it(
    authorities: Authorities,
) -> None:
    net = Net(ONE)
    async with running(world(net), authorities) as there:
        await send(there)
        net.hanging.add(ONE)
        await there.clock.advance(299)
        await send(there)
        assert net.taken() == [ONE, TWO, TWO]
        await there.clock.advance(1)
        probe = asyncio.create_task(send(there))
        await there.clock.advance(0)
        assert net.taken() == [ONE]
        for _ in range(3):
            await send(there)
        assert net.taken() == [TWO, TWO, TWO]
        await there.clock.advance(60)
        assert isinstance(await probe, Delivered)
        assert net.taken() == [TWO]


async def test_a_host_that_is_back_has_its_place_again(authorities: Authorities) -> None:
    net = Net(ONE)
    async with running(world(net), authorities) as there:
        await send(there)
        net.down.clear()
        await there.clock.advance(300)
        for _ in range(3):
            await send(there)
        assert net.dialled == [ONE, TWO, ONE, ONE, ONE]
        assert there.called() == [ONE, TWO]


async def test_it_is_not_left_out_and_what_it_takes_then_gives_it_its_place_again(authorities: Authorities) -> None:
    net = Net(ONE)
    async with running(world(net), authorities) as there:
        await send(there)
        net.down = {TWO}
        assert isinstance(await send(there), Delivered)
        assert isinstance(await send(there), Delivered)
        assert net.dialled == [ONE, TWO, TWO, ONE, ONE]


async def test_where_none_can_be_reached_all_are_dialled_in_order(authorities: Authorities) -> None:
    net = Net(ONE, TWO, THREE)
    async with running(world(net, MX1, MX2, MX3), authorities) as there:
        for _ in range(3):
            assert isinstance(await send(there), Deferred)
    assert net.dialled == [ONE, TWO, THREE] * 3


async def test_those_that_can_be_reached_keep_their_order(authorities: Authorities) -> None:
    net = Net(ONE, TWO)
    async with running(world(net, MX2, MX1, MX3), authorities) as there:
        await send(there)
        assert net.taken() == [TWO, ONE, THREE]
        net.down = {TWO, THREE}
        await send(there)
        assert net.taken() == [THREE, TWO, ONE]
        await send(there)
        assert net.taken() == [ONE]
        await there.clock.advance(300)
        await send(there)
        assert net.taken() == [TWO, ONE]


async def test_it_is_remembered_while_there_is_little_to_deliver(authorities: Authorities) -> None:
    """Connections are closed meanwhile, and what the DNS said is asked anew."""
    net = Net(ONE)
    async with running(world(net), authorities) as there:
        await send(there)
        for _ in range(4):
            await there.clock.advance(70)
            await send(there)
    assert net.dialled == [ONE, TWO, TWO, TWO, TWO, TWO]


async def test_domains_with_the_same_hosts_know_of_it_from_each_other(authorities: Authorities) -> None:
    net = Net(ONE)
    there_is = world(net)
    mx = there_is.dns["mx"]
    mx["other.example"] = mx[DOMAIN]
    async with running(there_is, authorities) as there:
        await send(there)
        [outcome] = await there.transport.deliver(delivery("b@other.example"))
        assert isinstance(outcome, Delivered)
    assert net.dialled == [ONE, TWO, TWO]


async def test_a_policy_still_decides_which_host_may_be_used(authorities: Authorities) -> None:
    net = Net(ONE)
    policy = f"version: STSv1\nmode: enforce\nmx: {MX1}\nmax_age: 86400\n"
    async with running(world(net, policy=policy), authorities) as there:
        for _ in range(3):
            assert isinstance(await send(there), Deferred)
    assert net.dialled == [ONE, ONE, ONE]


async def test_a_host_that_says_nothing_costs_no_less_time_and_is_remembered_too(authorities: Authorities) -> None:
    net = Net()
    timeouts = {"timeouts": Timeouts(greeting=20)}
    async with running(world(net, greeting=Stall(), options=timeouts), authorities) as there:
        first = asyncio.create_task(send(there))
        await there.peers[ONE].stalled()
        await there.clock.advance(20)
        assert isinstance(await first, Delivered)
        assert isinstance(await send(there), Delivered)
    assert net.dialled == [ONE, TWO, TWO]


async def test_a_host_that_sends_us_away_can_be_reached(authorities: Authorities) -> None:
    net = Net()
    async with running(world(net, greeting="421 4.3.2 not now"), authorities) as there:
        for _ in range(2):
            assert isinstance(await send(there), Delivered)
    assert net.dialled == [ONE, TWO, ONE, TWO]


async def test_a_source_that_cannot_be_used_says_nothing_of_the_hosts(authorities: Authorities) -> None:
    """MX1 is for IPv4, which no source can be used for; MX2 has IPv6, too."""
    sources: Sequence[Source] = [Source(ipv4="203.0.113.9"), Source(ipv6="::1")]
    hosts = [MailHost(address="::1")]
    dns = {"mx": {DOMAIN: [(10, MX1), (20, MX2)]}, "a": {MX1: [ONE]}, "aaaa": {MX2: ["::1"]}}
    options = {"ehlo_name": None, "sources": sources, "shaping": RULES}
    async with running(World(hosts=hosts, dns=dns, options=options), authorities) as there:
        for _ in range(2):
            assert isinstance(await send(there), Delivered)
        [site] = there.transport._running._sites.values()  # type: ignore[union-attr]
        assert not site.unreached.noted
