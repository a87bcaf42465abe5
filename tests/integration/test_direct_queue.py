"""Direct delivery by a queue's worker: what becomes of messages and recipients when hosts fail them, and come back."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.direct_world import Authorities, Policies

from moxlib.queue import (
    Concurrency,
    DirectTransport,
    DomainConfig,
    DSNConfig,
    NullObserver,
    Queue,
    QueueConfig,
    ReplyClass,
    ResultKind,
    Shaping,
    ShapingRules,
    SMTPTransport,
    WorkerConfig,
)
from moxlib.testing import (
    Answer,
    ByCommand,
    Close,
    FakeClock,
    MemoryStorage,
    MockResolver,
    PeerSession,
    SMTPPeer,
    Stall,
)
from moxlib.testing.run import run_until_empty, run_until_idle
from moxlib.tlsrpt import merge, parse_report, render_report

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from ssl import SSLContext

    from moxlib.queue import Message, Retired
    from moxlib.tlsrpt import Result

DOMAIN, OTHER = "example.org", "example.net"
MX1, MX2 = "mx1.example.org", "mx2.example.org"
ONE, TWO = "127.0.0.2", "127.0.0.3"
BODY = b"Subject: hi\r\n\r\nhello\r\n"
GUARD = 60  # seconds after which a test that hangs fails instead
DAY = timedelta(days=1)
# Looking often, and renewing leases, costs a fake clock much, and is not what is tested here.
PATIENT: dict[str, Any] = {"lease": DAY, "poll_interval": DAY, "purge_interval": DAY, "settle_gather": timedelta(0)}


class Host(ByCommand):
    """Keeps which recipients it accepted messages for, and how often."""

    def __init__(self, answers: Mapping[str, Answer | list[Answer]] | None = None, **options: Any) -> None:
        super().__init__(answers, **options)
        self.took: Counter[str] = Counter()

    def __call__(self, line: str, session: PeerSession) -> Answer:
        answer = super().__call__(line, session)
        if line == "." and isinstance(answer, str) and answer.startswith("250"):
            self.took.update(recipient[9:].partition("@")[0] for recipient in session.recipients)
        return answer


class Listener(NullObserver):
    """Hears of TLS."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, tuple[Result, ...]]] = []

    def tls_results(self, domain: str, results: tuple[Result, ...]) -> None:
        self.heard.append((domain, results))


@dataclass
class Scene:
    """A queue that delivers to two hosts: example.org's are MX1, then MX2; example.net has MX1 only."""

    queue: Queue
    clock: FakeClock
    peers: list[SMTPPeer]
    hosts: list[Host]
    listener: Listener = field(default_factory=Listener)

    async def submit(self, *recipients: str, **options: Any) -> list[int]:
        """Submit one message to all."""
        receipts = await self.queue.submit(BODY, sender="a@client.example", recipients=recipients, **options)
        return [receipt.id for receipt in receipts]

    async def submit_each(self, count: int, domain: str = DOMAIN, **options: Any) -> list[int]:
        """Submit so many messages, for one recipient each."""
        return [number for index in range(count) for number in await self.submit(f"b{index}@{domain}", **options)]

    async def idle(self) -> None:
        async with asyncio.timeout(GUARD):
            await run_until_idle(self.queue)

    async def empty(self) -> None:
        async with asyncio.timeout(GUARD):
            await run_until_empty(self.queue, self.clock)

    def later(self, by: timedelta) -> None:
        self.clock.set(self.clock.now() + by)

    async def message(self, number: int) -> Message:
        found = await self.queue.get(number)
        assert found is not None
        return found

    async def retired(self, number: int) -> Retired:
        found = await self.queue.get_retired(number)
        assert found is not None
        return found

    def has_taken(self, count: int) -> bool:
        """Say whether the first host has so many messages."""
        return len(self.peers[0].messages) == count

    def took(self) -> Counter[str]:
        """Return how often each recipient has had the message, over all hosts."""
        return sum((host.took for host in self.hosts), Counter())


@asynccontextmanager
async def scene(
    *hosts: Host,
    greeting: Answer = "220 mx.example ESMTP",
    shaping: Shaping | None = None,
    config: Mapping[str, Any] | None = None,
    worker: Mapping[str, Any] | None = None,
    tls: SSLContext | None = None,
    txt: Mapping[str, Sequence[str]] | None = None,
    **options: Any,
) -> AsyncIterator[Scene]:
    clock = FakeClock()
    async with asyncio.timeout(GUARD), AsyncExitStack() as stack:
        peers: list[SMTPPeer] = []
        for host, address in zip(hosts or (Host(),), (ONE, TWO), strict=False):
            port = peers[0].port if peers else 0
            peer = SMTPPeer(host, greeting=greeting, address=address, port=port, tls_context=tls)
            peers.append(await stack.enter_async_context(peer))
        resolver = MockResolver(
            mx={DOMAIN: [(10, MX1), (20, MX2)][: len(peers)], OTHER: [(10, MX1)]},
            a={MX1: [ONE], MX2: [TWO]},
            txt=txt,
        )
        usual: dict[str, Any] = {"ehlo_name": "client.example", "mta_sts": None}
        transport = DirectTransport(
            resolver=resolver,
            port=peers[0].port,
            clock=clock,
            random=Random(1),
            shaping=ShapingRules(default=shaping or Shaping()),
            **(usual | options),
        )
        settings: dict[str, Any] = {"dsn": DSNConfig.off(), **(config or {})}
        listener = Listener()
        queue = Queue(
            MemoryStorage(),
            transports={"direct": transport},
            config=QueueConfig(worker=WorkerConfig(**{**PATIENT, **(worker or {})}), **settings),
            clock=clock,
            random=Random(1),
            observer=listener,
        )
        async with queue:
            yield Scene(queue, clock, peers, [peer._answers for peer in peers], listener)  # type: ignore[misc]


async def until(condition: Callable[[], object]) -> None:
    """Return once the sockets have brought something about."""
    while not condition():  # noqa: ASYNC110 - of the sockets' own time
        await asyncio.sleep(0)


def kinds(message: Message | Retired) -> list[str]:
    return [result.kind.value for result in message.results]


# a host that is down


async def test_a_host_that_is_down_is_left_alone_and_then_asked_by_one() -> None:
    """Fifty messages, five deliveries at once: a handful of connections; one after the suspension; and all arrive."""
    shaping = Shaping(concurrency=Concurrency(initial=5))
    async with scene(greeting=Close(), shaping=shaping) as there, there.queue.worker() as worker:
        [peer] = there.peers
        ids = await there.submit_each(50)
        await worker.wait_idle()
        dialled = len(peer.sessions)
        assert 1 <= dialled <= 5
        messages = [await there.message(number) for number in ids]
        suspended = [found for found in messages if "suspended" in found.results[0].text]
        assert len(suspended) == 50 - dialled
        # Not before the suspension is over, whatever the schedule says.
        assert min(found.next_attempt for found in suspended) >= there.clock.now() + timedelta(minutes=5)
        assert {found.results[0].dialed for found in suspended} == {()}
        assert {found.results[0].enhanced for found in suspended} == {"4.4.1"}
        there.later(timedelta(minutes=30))
        await worker.wait_idle()
        assert len(peer.sessions) == dialled + 1  # the one that finds out, and it fails
        peer._greeting = "220 back again"
        before = len(peer.sessions)
        while (due := await there.queue.next_due()) is not None:
            there.clock.set(max(due, there.clock.now()))
            await worker.wait_idle()
        assert there.took() == Counter({f"b{index}": 1 for index in range(50)})
        assert len(peer.sessions) - before <= 20


async def test_last_attempts_are_made_although_the_host_is_down() -> None:
    """Nobody is to be told that a message could not be delivered when that was not tried."""
    async with scene(greeting=Close(), shaping=Shaping(concurrency=Concurrency(initial=1))) as there:
        ids = await there.submit_each(5, max_attempts=1)
        await there.idle()
        assert len(there.peers[0].sessions) == 5
        for number in ids:
            found = await there.retired(number)
            assert (kinds(found), found.success) == (["deferred"], False)
            assert found.results[0].dialed == ((MX1, ONE),)
        there.peers[0]._greeting = "220 back again"
        [number] = await there.submit(f"c@{DOMAIN}", max_attempts=1)
        await there.idle()
        assert (await there.retired(number)).success


async def test_a_host_that_is_down_does_not_keep_other_hosts_waiting() -> None:
    answers: dict[str, Answer | list[Answer]] = {"MAIL": "421 4.3.2 closing"}
    async with scene(Host(answers), Host(), shaping=Shaping(concurrency=Concurrency(initial=1))) as there:
        await there.submit_each(10, OTHER)
        await there.submit_each(10)  # their second host takes them
        await there.idle()
        assert there.hosts[1].took == Counter({f"b{index}": 1 for index in range(10)})


async def test_a_relay_that_is_down_is_suspended_and_comes_back() -> None:
    clock, host = FakeClock(), Host()
    async with asyncio.timeout(GUARD), SMTPPeer(host, greeting=Close()) as peer:
        relay = SMTPTransport(
            "127.0.0.1", peer.port, security="none", concurrency=Concurrency(initial=2), max_connections=4, clock=clock
        )
        config = QueueConfig(worker=WorkerConfig(**PATIENT), dsn=DSNConfig.off())
        async with Queue(MemoryStorage(), transports={"relay": relay}, config=config, clock=clock) as queue:
            recipients = [f"b{index}@d{index % 5}.example" for index in range(40)]
            for recipient in recipients:
                await queue.submit(BODY, sender="a@client.example", recipients=recipient)
            async with queue.worker() as worker:
                await worker.wait_idle()
                dialled = len(peer.sessions)
                assert 1 <= dialled <= 3
                page = await queue.list_messages()
                texts = Counter("suspended" in found.results[0].text for found in page.items)
                assert texts == {True: 40 - dialled, False: dialled}
                assert {found.results[0].peer for found in page.items} == {"127.0.0.1"}
                [last] = await queue.submit(BODY, sender="a@client.example", recipients="c@x.example", max_attempts=1)
                await worker.wait_idle()
                assert len(peer.sessions) == dialled + 1
                assert await queue.get_retired(last.id) is not None
            peer._greeting = "220 back again"
            await run_until_empty(queue, clock)
    assert host.took == Counter({recipient.partition("@")[0]: 1 for recipient in recipients})


# each recipient once


async def test_a_relay_that_took_the_message_for_some_is_not_given_it_for_them_again() -> None:
    """It takes one recipient at a time, and time runs out at the second one."""
    answers: dict[str, Answer | list[Answer]] = {"RCPT TO:<b@": Stall("250 2.1.5 ok")}
    clock, host = FakeClock(), Host(answers, extensions=("PIPELINING", "LIMITS RCPTMAX=1"))
    minutes = timedelta(minutes=2)
    async with asyncio.timeout(GUARD), SMTPPeer(host) as peer:
        relay = SMTPTransport("127.0.0.1", peer.port, security="none", clock=clock)
        config = QueueConfig(worker=WorkerConfig(**PATIENT, delivery_timeout=minutes), dsn=DSNConfig.off())
        async with Queue(MemoryStorage(), transports={"relay": relay}, config=config, clock=clock) as queue:
            recipients = [f"{name}@{DOMAIN}" for name in ("a", "b", "c")]
            receipts = await queue.submit(BODY, sender="x@client.example", recipients=recipients)
            async with queue.worker() as worker:
                await peer.stalled()
                await clock.advance(minutes)
                await worker.wait_idle()
                first = await queue.get_retired(receipts[0].id)
                assert first is not None
                assert kinds(first) == ["delivered"]
            peer.resume()
            await run_until_empty(queue, clock)
    assert host.took == Counter({"a": 1, "b": 1, "c": 1})


async def test_recipients_that_fare_differently_at_two_hosts_are_settled_each_by_its_own() -> None:
    first: dict[str, Answer | list[Answer]] = {
        "RCPT TO:<grey@": ["450 4.7.1 greylisted", "450 4.7.1 greylisted"],
        "RCPT TO:<slow@": "451 4.3.0 later",
        "RCPT TO:<gone@": "550 5.1.1 no such user",
    }
    second: dict[str, Answer | list[Answer]] = {"RCPT TO:<slow@": ["450 4.2.2 full", "250 2.1.5 ok"]}
    async with scene(Host(first), Host(second)) as there:
        ids = await there.submit(*(f"{name}@{DOMAIN}" for name in ("ok", "grey", "slow", "gone")))
        await there.empty()
        found = [await there.retired(number) for number in ids]
        assert [kinds(each) for each in found] == [["delivered"], ["delivered"], ["deferred", "delivered"], ["failed"]]
        assert there.took() == Counter({"ok": 1, "grey": 1, "slow": 1})
        assert [each.results[-1].peer for each in found] == [MX1, MX2, MX2, MX1]
        assert found[2].results[0].reply_class is ReplyClass.FULL
        events = [(event.recipient.partition("@")[0], event.type.value) for event in await there.queue.list_events()]
        assert sorted(events) == [
            ("gone", "failed"),
            ("grey", "delivered"),
            ("ok", "delivered"),
            ("slow", "delayed"),
            ("slow", "delivered"),
        ]


async def test_who_has_the_message_does_not_get_it_again_when_time_runs_out_for_the_others() -> None:
    first: dict[str, Answer | list[Answer]] = {"RCPT TO:<grey@": "450 4.7.1 greylisted"}
    second: dict[str, Answer | list[Answer]] = {"RCPT TO:<grey@": Stall("250 2.1.5 ok")}
    minutes = timedelta(minutes=2)
    async with scene(Host(first), Host(second), worker={"delivery_timeout": minutes}) as there:
        ok, grey = await there.submit(f"ok@{DOMAIN}", f"grey@{DOMAIN}")
        async with there.queue.worker() as worker:
            await there.peers[1].stalled()
            await there.clock.advance(minutes)
            await worker.wait_idle()
            assert kinds(await there.retired(ok)) == ["delivered"]
            waiting = await there.message(grey)
            assert kinds(waiting) == ["deferred"]
            assert waiting.results[0].dialed[0] == (MX1, ONE)
        there.peers[1].resume()
        await there.empty()
        assert there.took() == Counter({"ok": 1, "grey": 1})


async def test_who_has_the_message_does_not_get_it_again_when_the_worker_is_made_to_end() -> None:
    first: dict[str, Answer | list[Answer]] = {"RCPT TO:<grey@": "450 4.7.1 greylisted"}
    second: dict[str, Answer | list[Answer]] = {"RCPT TO:<grey@": Stall("250 2.1.5 ok")}
    async with scene(Host(first), Host(second), worker={"drain_timeout": timedelta(seconds=10)}) as there:
        ok, grey = await there.submit(f"ok@{DOMAIN}", f"grey@{DOMAIN}")
        working = there.queue.worker()
        await working.__aenter__()
        await there.peers[1].stalled()
        ending = asyncio.create_task(working.__aexit__(None, None, None))
        while not ending.done():
            await there.clock.advance(10)
        await ending
        assert kinds(await there.retired(ok)) == ["delivered"]
        assert kinds(await there.message(grey)) == ["deferred"]
        there.peers[1].resume()
        await there.empty()
        assert there.took() == Counter({"ok": 1, "grey": 1})


async def test_who_nothing_is_known_of_is_interrupted_when_the_worker_is_made_to_end() -> None:
    answers: dict[str, Answer | list[Answer]] = {"RCPT": Stall("250 2.1.5 ok")}
    async with scene(Host(answers), worker={"drain_timeout": timedelta(seconds=10)}) as there:
        [number] = await there.submit(f"ok@{DOMAIN}")
        working = there.queue.worker()
        await working.__aenter__()
        await there.peers[0].stalled()
        ending = asyncio.create_task(working.__aexit__(None, None, None))
        while not ending.done():
            await there.clock.advance(10)
        await ending
        assert kinds(await there.message(number)) == ["interrupted"]


# the queue's own rate of connections


async def test_who_waits_for_the_queues_rate_of_connections_keeps_nobody_out() -> None:
    """Two domains have one host, and it takes one delivery at once; one domain's connections are limited."""
    config = {"domains": {DOMAIN: DomainConfig(connections_per_minute=6)}, "concurrency": 20}
    shaping = Shaping(messages_per_connection=1, concurrency=Concurrency(initial=1, maximum=1))
    async with scene(shaping=shaping, config=config) as there:
        limited = await there.submit_each(3)
        async with there.queue.worker() as worker:
            await until(lambda: len(there.peers[0].messages) == 1)
            free = await there.submit_each(5, OTHER)
            await until(lambda: len(there.peers[0].messages) == 6)
            for count in (7, 8):
                await there.clock.advance(9.9)
                assert len(there.peers[0].messages) == count - 1
                await there.clock.advance(0.1)
                await until(partial(there.has_taken, count))
            await worker.wait_idle()
        for number in (*limited, *free):
            assert (await there.retired(number)).success


async def test_a_host_that_comes_back_is_found_out_also_where_connections_are_limited() -> None:
    config = {"domains": {DOMAIN: DomainConfig(connections_per_minute=60)}}
    async with scene(greeting=Close(), shaping=Shaping(concurrency=Concurrency(initial=1)), config=config) as there:
        await there.submit_each(5)
        await there.idle()
        assert len(there.peers[0].sessions) == 1
        there.peers[0]._greeting = "220 back again"
        await there.empty()
        assert there.took() == Counter({f"b{index}": 1 for index in range(5)})


# policies and TLS


ENFORCE = f"version: STSv1\nmode: enforce\nmx: {MX1}\nmx: {MX2}\nmax_age: 2000000\n"
RECORD = {f"_mta-sts.{DOMAIN}": ["v=STSv1; id=1;"]}


@pytest.fixture(scope="module")
def authorities() -> Authorities:
    return Authorities()


def protected(authorities: Authorities, policies: Policies, kind: str = "good") -> dict[str, Any]:
    return {
        "tls": authorities.server_context(kind),
        "txt": RECORD,
        "mta_sts": policies,
        "verified_context": authorities.client_context,
    }


async def test_policies_are_refreshed_while_the_worker_runs(authorities: Authorities) -> None:
    policies = Policies(ENFORCE)
    host = Host(extensions=("PIPELINING", "STARTTLS"))
    before = asyncio.all_tasks()
    async with scene(host, **protected(authorities, policies)) as there:
        [number] = await there.submit(f"b@{DOMAIN}")
        async with there.queue.worker() as worker:
            await worker.wait_idle()
            assert (await there.retired(number)).results[0].tls == "tls1.3 pkix"
            assert policies.fetched == 1
            there.later(timedelta(hours=11))
            await asyncio.sleep(0)
            assert policies.fetched == 1
            for _ in range(20):  # its record is looked up after half a day; after half of its time it is fetched again
                there.later(timedelta(days=1))
                for _ in range(50):
                    await asyncio.sleep(0)
            assert policies.fetched > 1
        fetched = policies.fetched
        there.later(timedelta(days=30))
        for _ in range(50):
            await asyncio.sleep(0)
        assert policies.fetched == fetched  # its end is the worker's
    assert not {task for task in asyncio.all_tasks() - before if not task.done()}


async def test_what_is_learned_of_tls_makes_a_report(authorities: Authorities) -> None:
    host, without = Host(extensions=("PIPELINING", "STARTTLS")), Host({"STARTTLS": "502 5.5.1 not known"})
    async with scene(host, without, **protected(authorities, Policies(ENFORCE), "untrusted")) as there:
        [number] = await there.submit(f"b@{DOMAIN}", max_attempts=2)
        [report] = await there.submit(f"tlsrpt@{DOMAIN}", is_report=True, max_attempts=1)
        await there.empty()
        assert kinds(await there.retired(number)) == ["deferred"] * 2
        assert kinds(await there.retired(report)) == ["deferred"]  # of which there is no report
        assert {domain for domain, _ in there.listener.heard} == {DOMAIN}
        results = merge(result for _, results in there.listener.heard for result in results)
        rendered = render_report(
            results,
            organization="Client",
            contact="postmaster@client.example",
            report_id="1",
            start=there.clock.now() - DAY,
            end=there.clock.now(),
        )
        read = parse_report(rendered)
    of_domain = next(result for result in read.results if result.policy.domain == DOMAIN)
    assert (of_domain.successful, of_domain.failed) == (0, 4)  # two attempts at two hosts
    told = {(each.result_type, each.receiving_mx_hostname): each.failed_session_count for each in of_domain.details}
    assert told == {("certificate-not-trusted", MX1): 2, ("starttls-not-supported", MX2): 2}


async def test_the_history_tells_what_a_greylisting_host_said_and_what_was_dialled_meanwhile() -> None:
    answers: dict[str, Answer | list[Answer]] = {"RCPT": ["450 4.7.1 greylisted, come back later", "250 2.1.5 ok"]}
    async with scene(Host(answers)) as there:
        [number] = await there.submit(f"b@{DOMAIN}")
        await there.empty()
        found = await there.retired(number)
        events = await there.queue.list_events()
    first, last = found.results
    assert (first.kind, first.command, first.reply_class) == (ResultKind.DEFERRED, "RCPT TO", ReplyClass.GREYLISTING)
    assert (last.kind, last.command, last.reply_class) == (ResultKind.DELIVERED, "", None)
    assert (first.dialed, last.dialed, last.tls) == (((MX1, ONE),), ((MX1, ONE),), "")
    assert [(event.type.value, event.reply_class) for event in events] == [
        ("delayed", ReplyClass.GREYLISTING),
        ("delivered", None),
    ]
