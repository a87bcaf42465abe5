"""Direct delivery as a whole: what deliveries share, what a queue shows of them, and a site that is down."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from itertools import pairwise
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.direct_world import (
    BODY,
    DOMAIN,
    Authorities,
    MailHost,
    Policies,
    World,
    delivery,
    message,
    running,
)

from moxlib.errors import InputError
from moxlib.queue import (
    Concurrency,
    Delivered,
    Delivery,
    DirectTransport,
    Failed,
    NullObserver,
    Queue,
    QueueConfig,
    ReplyClass,
    Shaping,
    ShapingChange,
    ShapingRules,
    Source,
    WorkerConfig,
)
from moxlib.testing import ByCommand, Close, FakeClock, MockResolver, SMTPPeer
from moxlib.testing.run import run_until_empty, run_until_idle
from moxlib.tlsrpt import merge, render_report

if TYPE_CHECKING:
    from pathlib import Path

    from moxlib.tlsrpt import Result

ONE, TWO, SIX = "127.0.0.2", "127.0.0.3", "::1"
MX1 = "mx1.example.org"
ENFORCE = f"version: STSv1\nmode: enforce\nmx: {MX1}\nmax_age: 86400\n"


def to(domain: str, number: int = 0, **changes: Any) -> Delivery:
    return delivery(f"b{number}@{domain}", **changes)


def many(*domains: str, **more: Any) -> dict[str, Any]:
    """Domains whose mail the same host takes."""
    return {"mx": {domain: [(10, MX1)] for domain in domains}, "a": {MX1: [ONE]}, **more}


# what deliveries share


async def test_domains_with_the_same_hosts_share_a_connection() -> None:
    world = World(hosts=[MailHost(address=ONE)], dns=many("a.example", "b.example", "c.example"))
    async with running(world, Authorities()) as there:
        for domain in ("a.example", "b.example", "c.example", "a.example"):
            [outcome] = await there.transport.deliver(to(domain))
            assert isinstance(outcome, Delivered)
        assert len(there.peers[ONE].sessions) == 1
        assert len(there.peers[ONE].messages) == 4


async def test_what_a_policy_protects_does_not_travel_on_a_connection_that_another_domain_opened() -> None:
    dns = many(DOMAIN, "other.example")
    world = World(hosts=[MailHost(address=ONE, tls="good")], dns=dns, policy=ENFORCE)
    async with running(world, Authorities()) as there:
        [other] = await there.transport.deliver(to("other.example"))
        [protected] = await there.transport.deliver(to(DOMAIN))
        assert (other.trace.tls, protected.trace.tls) == ("tls1.3 unverified", "tls1.3 pkix")
        assert len(there.peers[ONE].sessions) == 2


async def test_a_burst_looks_each_name_up_once() -> None:
    world = World(hosts=[MailHost(address=ONE)], dns=many(DOMAIN))
    async with running(world, Authorities()) as there:
        for number in range(20):
            await there.transport.deliver(to(DOMAIN, number))
        asked = list(there.resolver.lookups)
        assert len(asked) == len(set(asked)), asked
        await there.clock.advance(31)
        await there.transport.deliver(to(DOMAIN))
        assert there.resolver.lookups.count(f"mx {DOMAIN}") == 2
        assert len(there.peers[ONE].messages) == 21


async def test_a_connection_carries_as_many_messages_as_it_may() -> None:
    rules = ShapingRules(hosts={".example.org": ShapingChange(messages_per_connection=3)})
    world = World(hosts=[MailHost(address=ONE)], dns=many(DOMAIN), options={"shaping": rules})
    async with running(world, Authorities()) as there:
        for number in range(7):
            await there.transport.deliver(to(DOMAIN, number))
        assert [len(session.messages) for session in there.peers[ONE].sessions] == [3, 3, 1]


async def test_messages_are_paced() -> None:
    rules = ShapingRules(domains={DOMAIN: ShapingChange(messages_per_second=0.5)})
    world = World(hosts=[MailHost(address=ONE)], dns=many(DOMAIN), options={"shaping": rules})
    async with running(world, Authorities()) as there:
        tasks = [asyncio.create_task(there.transport.deliver(to(DOMAIN, number))) for number in range(3)]
        for expected in (1, 2, 3):
            done, _ = await asyncio.wait(tasks[:expected], timeout=30)
            assert len(done) == expected
            assert not any(task.done() for task in tasks[expected:])
            await there.clock.advance(2)


# sources


async def test_a_source_is_an_address_and_a_name() -> None:
    source = Source(ipv4="127.0.0.21", ehlo_name="out1.client.example")
    options: dict[str, Any] = {"ehlo_name": None, "sources": [source]}
    dns = {"mx": {DOMAIN: [(10, MX1)]}, "a": {MX1: [ONE]}, "aaaa": {MX1: [SIX]}}
    world = World(hosts=[MailHost(address=ONE), MailHost(address=SIX)], dns=dns, options=options)
    async with running(world, Authorities()) as there:
        [outcome] = await there.transport.deliver(to(DOMAIN))
        assert isinstance(outcome, Delivered)
        assert there.called() == [ONE]
        assert there.peers[ONE].lines[0] == "EHLO out1.client.example"


async def test_a_destination_keeps_its_source() -> None:
    sources = [Source(ipv4=f"127.0.0.{20 + n}", ehlo_name=f"out{n}.client.example") for n in range(4)]
    domains = [f"d{number}.example" for number in range(12)]
    options: dict[str, Any] = {"ehlo_name": None, "sources": sources}
    world = World(hosts=[MailHost(address=ONE)], dns=many(*domains), options=options)
    async with running(world, Authorities()) as there:
        for _ in range(2):
            for domain in domains:
                await there.transport.deliver(to(domain))
        names: dict[str, set[str]] = {}
        for session in there.peers[ONE].sessions:
            for line in session.lines:
                if line.startswith("RCPT"):
                    names.setdefault(line, set()).add(session.lines[0])
    assert all(len(used) == 1 for used in names.values())
    assert len(set.union(*names.values())) > 1


async def test_a_host_of_another_family_than_the_sources_is_for_later() -> None:
    options: dict[str, Any] = {"ehlo_name": None, "sources": [Source(ipv4="127.0.0.21", ehlo_name="x.example")]}
    dns = {"mx": {DOMAIN: [(10, MX1)]}, "aaaa": {MX1: [SIX]}}
    async with running(World(hosts=[MailHost(address=SIX)], dns=dns, options=options), Authorities()) as there:
        [outcome] = await there.transport.deliver(to(DOMAIN))
        assert "family" in outcome.text
        assert there.called() == []


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ehlo_name": "x", "sources": [Source(ehlo_name="y")]},
        {"ehlo_name": "x", "family": "ipv5"},
        {"ehlo_name": "x", "port": 0},
        {"ehlo_name": "not a name"},
        {"sources": [Source(ipv4="192.0.2.1")], "family": "ipv6"},
    ],
)
def test_a_transport_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        DirectTransport(mta_sts=None, **options)


# several recipients


async def test_each_recipient_is_delivered_once_over_two_hosts() -> None:
    first = {"RCPT TO:<grey@": "450 4.7.1 greylisted", "RCPT TO:<gone@": "550 5.1.1 no such user"}
    hosts = [MailHost(address=ONE, answers=first), MailHost(address=TWO)]
    dns = {"mx": {DOMAIN: [(10, MX1), (20, "mx2.example.org")]}, "a": {MX1: [ONE], "mx2.example.org": [TWO]}}
    async with running(World(hosts=hosts, dns=dns), Authorities()) as there:
        names = [f"{name}@{DOMAIN}" for name in ("ok", "grey", "gone")]
        outcomes = await there.transport.deliver(delivery(*names))
        assert [type(outcome) for outcome in outcomes] == [Delivered, Delivered, Failed]
        assert [outcome.peer for outcome in outcomes] == [MX1, "mx2.example.org", MX1]
        taken = [line for line in there.peers[TWO].lines if line.startswith("RCPT")]
        assert taken == [f"RCPT TO:<grey@{DOMAIN}>"]


# in a queue


class Ear(NullObserver):
    """Hears of TLS."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, tuple[Result, ...]]] = []

    def tls_results(self, domain: str, results: tuple[Result, ...]) -> None:
        self.heard.append((domain, results))


def transport_to(port: int, clock: FakeClock, resolver: MockResolver, **options: Any) -> DirectTransport:
    usual: dict[str, Any] = {"ehlo_name": "client.example", "mta_sts": None, "random": Random(1)}
    return DirectTransport(resolver=resolver, port=port, clock=clock, **(usual | options))


async def submit(queue: Queue, *recipients: str) -> list[int]:
    receipts = await queue.submit(BODY, sender="a@client.example", recipients=list(recipients))
    return [receipt.id for receipt in receipts]


async def test_the_history_says_how_it_went(tmp_path: Path) -> None:
    clock, ear = FakeClock(), Ear()
    answers: dict[str, Any] = {
        "RCPT TO:<full@": ["452 4.2.2 mailbox full", "250 2.1.5 ok"],
        "RCPT TO:<gone@": "550 5.1.1 no such user",
    }
    async with SMTPPeer(ByCommand(answers)) as peer:
        resolver = MockResolver(mx={DOMAIN: [(10, MX1)]}, a={MX1: ["127.0.0.1"]})
        transport = transport_to(peer.port, clock, resolver)
        async with Queue.open(tmp_path / "q.db", transports={"mx": transport}, clock=clock, observer=ear) as queue:
            [full] = await submit(queue, f"full@{DOMAIN}")
            [gone] = await submit(queue, f"gone@{DOMAIN}")
            await run_until_empty(queue, clock)
            kept, lost = await queue.get_retired(full), await queue.get_retired(gone)
            events = await queue.list_events()
    assert kept is not None
    assert lost is not None
    assert [result.reply_class for result in kept.results] == [ReplyClass.FULL, None]
    assert kept.results[0].command == "RCPT TO"
    assert kept.results[0].dialed == ((MX1, "127.0.0.1"),)
    assert [result.reply_class for result in lost.results] == [ReplyClass.HARD]
    assert {event.reply_class for event in events} == {ReplyClass.FULL, ReplyClass.HARD, None}
    assert kept.envid
    [(domain, results)] = ear.heard[:1]
    assert domain == DOMAIN
    report = render_report(
        merge(results),
        organization="Client",
        contact="postmaster@client.example",
        report_id="1",
        start=clock.now() - timedelta(days=1),
        end=clock.now(),
    )
    assert [policy["policy"]["policy-domain"] for policy in json.loads(report)["policies"]] == [DOMAIN, MX1]


async def test_attempts_alternate_between_families(tmp_path: Path) -> None:
    clock = FakeClock()
    later: dict[str, Any] = {"RCPT TO:": ["450 4.7.1 greylisted", "450 4.7.1 greylisted", "250 2.1.5 ok"]}
    async with SMTPPeer(ByCommand(later)) as four:
        async with SMTPPeer(ByCommand(later), address=SIX, port=four.port) as six:
            resolver = MockResolver(mx={DOMAIN: [(10, MX1)]}, a={MX1: ["127.0.0.1"]}, aaaa={MX1: [SIX]})
            transport = transport_to(four.port, clock, resolver)
            async with Queue.open(tmp_path / "q.db", transports={"mx": transport}, clock=clock) as queue:
                [number] = await submit(queue, f"b@{DOMAIN}")
                await run_until_empty(queue, clock)
                kept = await queue.get_retired(number)
        assert six.messages or four.messages
    assert kept is not None
    addresses = [address for result in kept.results for _, address in result.dialed]
    assert all(one != other for one, other in pairwise(addresses))
    assert len(addresses) == 5


async def test_a_site_that_is_down_is_not_dialled_by_every_message(tmp_path: Path) -> None:
    clock = FakeClock()
    config = QueueConfig(concurrency=50, worker=WorkerConfig(claim_batch=100))
    async with SMTPPeer(greeting=Close()) as peer:
        resolver = MockResolver(mx={DOMAIN: [(10, MX1)]}, a={MX1: ["127.0.0.1"]})
        shaping = ShapingRules(default=Shaping(concurrency=Concurrency(initial=3, maximum=3)))
        transport = transport_to(peer.port, clock, resolver, shaping=shaping)
        async with Queue.open(tmp_path / "q.db", transports={"mx": transport}, clock=clock, config=config) as queue:
            await submit(queue, *(f"b{number}@{DOMAIN}" for number in range(40)))
            for number in range(40):
                await submit(queue, f"c{number}@{DOMAIN}")
            await run_until_idle(queue)
            dialled = len(peer.sessions)
            assert dialled <= 6
            waiting = (await queue.list_messages()).items
            assert len(waiting) == 80
            assert all(found.attempts == 1 for found in waiting)
            peer._greeting = "220 back again"
            await run_until_empty(queue, clock)
            assert await queue.count_history() == 80
        taken = [line for line in peer.lines if line.startswith("RCPT")]
        assert len(set(taken)) == len(taken) == 80


async def test_policies_outlive_the_process(tmp_path: Path) -> None:
    clock, authorities = FakeClock(), Authorities()
    fetcher = Policies(ENFORCE)
    async with SMTPPeer(ByCommand(extensions=("STARTTLS",)), tls_context=authorities.server_context("good")) as peer:
        resolver = MockResolver(
            mx={DOMAIN: [(10, MX1)]}, a={MX1: ["127.0.0.1"]}, txt={f"_mta-sts.{DOMAIN}": ["v=STSv1; id=1;"]}
        )
        for _ in range(2):
            transport = transport_to(
                peer.port, clock, resolver, mta_sts=fetcher, verified_context=authorities.client_context
            )
            async with Queue.open(tmp_path / "q.db", transports={"mx": transport}, clock=clock) as queue:
                [number] = await submit(queue, f"b@{DOMAIN}")
                await run_until_empty(queue, clock)
                kept = await queue.get_retired(number)
                assert kept is not None
                assert kept.results[-1].tls == "tls1.3 pkix"
    assert fetcher.fetched == 1


def test_a_message_tells_what_was_dialled() -> None:
    found = message(f"b@{DOMAIN}", dialed=[(MX1, ONE), ("mx2.example.org", TWO), (MX1, SIX)])
    assert found.dialed(MX1) == (ONE, SIX)
    assert found.dialed("mx3.example.org") == ()
