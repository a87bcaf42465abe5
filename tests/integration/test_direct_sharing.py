"""What deliveries to one site share, and for how long: connections, limits, and what is known of the site."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.direct_world import BODY, DOMAIN, Authorities, InMemory, MailHost, Running, World, message
from tests.integration.direct_world import running as running_world

from moxlib.errors import StateError
from moxlib.queue import (
    Concurrency,
    ContentDamaged,
    Deferred,
    Delivered,
    Delivery,
    Failed,
    Outcome,
    Shaping,
    ShapingChange,
    ShapingRules,
    Unknown,
)
from moxlib.testing import Close, MockResolver, Stall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from moxlib.queue.transport.direct.transport import _Running
    from moxlib.testing import Answer, PeerSession

ONE, TWO, SIX = "127.0.0.2", "127.0.0.3", "::1"
MX1, MX2 = "mx1.example.org", "mx2.example.org"
GUARD = 60  # seconds after which a test that hangs fails instead
STEPWISE = ("8BITMIME", "ENHANCEDSTATUSCODES")
LATER = "451 4.3.0 later"


@pytest.fixture(scope="module")
def authorities() -> Authorities:
    return Authorities()


@asynccontextmanager
async def running(world: World, authorities: Authorities | None = None) -> AsyncIterator[Running]:
    async with asyncio.timeout(GUARD), running_world(world, authorities or Authorities()) as there:
        yield there


def site(*hosts: MailHost, shaping: Shaping | ShapingRules | None = None, **dns: Any) -> World:
    """A world in which one host takes the mail of three domains, two hosts that of example.org."""
    usual: dict[str, Any] = {
        "mx": {
            DOMAIN: [(10, MX1), (20, MX2)],
            "a.example": [(10, MX1)],
            "b.example": [(10, MX1)],
            "c.example": [(10, MX1)],
        },
        "a": {MX1: [ONE], MX2: [TWO]},
    }
    rules = ShapingRules(default=shaping) if isinstance(shaping, Shaping) else shaping
    options = {} if rules is None else {"shaping": rules}
    return World(hosts=hosts or (MailHost(address=ONE),), dns={**usual, **dns}, options=options)


def to(*recipients: str, content: Any = None, permit: Permit | None = None, **changes: Any) -> Delivery:
    messages = tuple([message(recipient, **changes) for recipient in recipients])
    return Delivery(messages=messages, content=content or InMemory(), transport="direct", permit=permit)


class Permit:
    """A permit that is there at once, or that there will never be."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.asked = 0

    async def granted(self) -> None:
        self.asked += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error


class Damaged:
    """Content that is found to be damaged when it is read for the second time."""

    def __init__(self, good: int = 1) -> None:
        self.data = None
        self.size = len(BODY)
        self.good = good

    async def chunks(self) -> AsyncIterator[bytes]:
        yield BODY[:5]
        self.good -= 1
        if self.good < 0:
            raise ContentDamaged("not what was stored")
        yield BODY[5:]


def inside(there: Running) -> _Running:
    running = there.transport._running
    assert running is not None
    return running


async def until(condition: Callable[[], object]) -> None:
    """Return once the sockets have brought something about."""
    while not condition():  # noqa: ASYNC110 - of the sockets' own time
        await asyncio.sleep(0)


async def due_in(there: Running, seconds: float, condition: Callable[[], object]) -> None:
    """Move the clock, and see something come about then and not before."""
    await there.clock.advance(seconds - 0.1)
    for _ in range(100):
        await asyncio.sleep(0)
    assert not condition()
    await there.clock.advance(0.1)
    await until(condition)


async def one(there: Running, recipient: str, **changes: Any) -> Outcome:
    [outcome] = await there.transport.deliver(to(recipient, **changes))
    return outcome


async def deliver(there: Running, *recipients: str, **changes: Any) -> list[asyncio.Task[Outcome]]:
    """Return deliveries, one for each recipient, that have begun."""
    tasks = [asyncio.create_task(one(there, recipient, **changes)) for recipient in recipients]
    for _ in range(10):
        await asyncio.sleep(0)
    return tasks


# connections


async def test_orders_of_addresses_have_connections_of_their_own() -> None:
    """One message goes to the IPv6 address, another one, which was there before, to the other; neither may be mixed."""
    world = site(MailHost(address=ONE), MailHost(address=SIX), aaaa={MX1: [SIX]})
    async with running(world) as there:
        for _ in range(2):
            first = await one(there, "x@a.example")
            again = await one(there, "y@a.example", dialed=[(MX1, SIX)])
            assert (first.trace.dialed, again.trace.dialed) == (((MX1, SIX),), ((MX1, ONE),))
        assert [len(there.peers[address].sessions) for address in (ONE, SIX)] == [1, 1]


async def test_connections_are_used_on_when_the_dns_says_the_same_in_another_order(
    authorities: Authorities, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Name servers turn their answers about; it is the same host, and the same protection."""
    world = World(
        hosts=[MailHost(address=ONE, tls="good"), MailHost(address=TWO, tls="good")],
        dns={"mx": {DOMAIN: [(10, MX1)]}, "a": {MX1: [ONE, TWO]}, "all_authentic": True},
        tlsa={MX1: ["good", "other"]},
    )
    async with running(world, authorities) as there:
        await one(there, f"x@{DOMAIN}")
        port = there.transport.port
        turned = MockResolver(
            mx={DOMAIN: [(10, MX1)]},
            a={MX1: [TWO, ONE]},
            tlsa={f"_{port}._tcp.{MX1}": [authorities.tlsa("other"), authorities.tlsa("good")]},
            all_authentic=True,
        )
        for name in ("lookup_ip", "lookup_tlsa"):
            monkeypatch.setattr(there.resolver, name, getattr(turned, name))
        await there.clock.advance(29)
        await one(there, f"x@{DOMAIN}")
        await there.clock.advance(2)
        outcome = await one(there, f"x@{DOMAIN}")
        assert turned.lookups
        assert outcome.trace.tls == "tls1.3 dane"
        assert [len(there.peers[address].sessions) for address in (ONE, TWO)] == [1, 0]


async def test_a_plan_made_anew_goes_on_with_open_connections() -> None:
    async with running(site()) as there:
        for _ in range(10):
            await one(there, "x@a.example")
            await there.clock.advance(20)
        assert there.resolver.lookups.count("mx a.example") == 5
        assert len(there.peers[ONE].sessions) == 1


async def test_there_are_no_more_connections_to_a_site_than_may_be_over_all_its_domains() -> None:
    world = site(
        MailHost(address=ONE, extensions=STEPWISE, answers={"RCPT TO:": Stall("250 2.1.5 ok")}),
        shaping=Shaping(max_connections=2, concurrency=Concurrency(initial=20)),
    )
    async with running(world) as there:
        peer = there.peers[ONE]
        recipients = [f"{number}@{name}.example" for number in range(3) for name in "abc"]
        tasks = await deliver(there, *recipients)
        await until(lambda: sum(line.startswith("RCPT") for line in peer.lines) == 2)
        for _ in range(200):
            await asyncio.sleep(0)
        assert len(peer.sessions) == 2
        peer.resume()
        assert all(isinstance(outcome, Delivered) for outcome in await asyncio.gather(*tasks))
        assert (len(peer.sessions), len(peer.messages)) == (2, 9)


async def test_deliveries_of_several_domains_take_turns_on_one_connection_without_waiting_for_replies() -> None:
    world = site(shaping=Shaping(max_connections=1, pipeline=3, concurrency=Concurrency(initial=20)))
    async with running(world) as there:
        recipients = [f"{number}@{name}.example" for number in range(4) for name in "abc"]
        outcomes = await asyncio.gather(*(one(there, recipient) for recipient in recipients))
        assert {type(outcome) for outcome in outcomes} == {Delivered}
        assert (len(there.peers[ONE].sessions), len(there.peers[ONE].messages)) == (1, 12)


async def test_a_connection_is_used_for_its_time_and_then_no_more() -> None:
    world = site(shaping=Shaping(max_age=timedelta(seconds=60)))
    async with running(world) as there:
        for _ in range(10):
            await one(there, "x@a.example")
            await there.clock.advance(20)
        assert [len(session.messages) for session in there.peers[ONE].sessions] == [3, 3, 3, 1]


async def test_idle_connections_are_closed_and_sites_forgotten() -> None:
    async with running(site()) as there:
        await one(there, "x@a.example")
        assert len(inside(there)._sites) == 1
        await there.clock.advance(29)
        assert not there.peers[ONE].sessions[0].ended
        await there.clock.advance(16)
        await until(lambda: there.peers[ONE].sessions[0].ended)
        assert there.peers[ONE].lines[-1] == "QUIT"
        await there.clock.advance(15)
        assert len(inside(there)._sites) == 0
        assert isinstance(await one(there, "x@a.example"), Delivered)
        assert len(there.peers[ONE].sessions) == 2


async def test_a_connection_that_the_server_has_closed_meanwhile_is_no_attempt() -> None:
    answers: dict[str, Answer | list[Answer]] = {"MAIL FROM:": ["250 2.1.0 ok", Close(), "250 2.1.0 ok"]}
    world = site(MailHost(address=ONE, answers=answers), shaping=Shaping(concurrency=Concurrency(initial=1, maximum=1)))
    async with running(world) as there:
        outcomes = [await one(there, "x@a.example") for _ in range(3)]
        assert {type(outcome) for outcome in outcomes} == {Delivered}
        assert outcomes[1].trace.dialed == ((MX1, ONE),)
        assert [len(session.messages) for session in there.peers[ONE].sessions] == [1, 2]


async def test_one_recipient_after_the_other_where_the_host_takes_so_few_at_once() -> None:
    extensions = (*STEPWISE, "LIMITS RCPTMAX=1 MAILMAX=2")
    async with running(site(MailHost(address=ONE, extensions=extensions))) as there:
        outcomes = await there.transport.deliver(to("1@a.example", "2@a.example", "3@a.example"))
        assert [type(outcome) for outcome in outcomes] == [Delivered] * 3
        assert [len(session.messages) for session in there.peers[ONE].sessions] == [2, 1]


# rates


async def test_a_domains_messages_have_their_rate_and_others_at_the_site_do_not() -> None:
    rules = ShapingRules(domains={"a.example": ShapingChange(messages_per_second=0.5)})
    async with running(site(shaping=rules)) as there:
        paced = await deliver(there, *(f"{number}@a.example" for number in range(3)))
        await asyncio.gather(*(one(there, f"{number}@b.example") for number in range(10)))
        await paced[0]
        await due_in(there, 2, paced[1].done)
        await due_in(there, 2, paced[2].done)


async def test_a_hosts_connections_have_their_rate_whichever_domain_they_are_for() -> None:
    change = ShapingChange(connections_per_minute=12, messages_per_connection=1)
    async with running(site(shaping=ShapingRules(hosts={MX1: change}))) as there:
        tasks = await deliver(there, "1@a.example", "2@b.example", "3@c.example", "4@a.example")

        def done() -> int:
            return sum(task.done() for task in tasks)

        await until(lambda: done() == 2)  # the burst: ten seconds' worth
        await due_in(there, 5, lambda: done() == 3)
        await due_in(there, 5, lambda: done() == 4)
        assert len(there.peers[ONE].sessions) == 4


async def test_who_waits_for_a_slow_rate_does_so_though_nothing_else_happens_at_the_site() -> None:
    """Its connections are closed meanwhile, and the site seems idle."""
    async with running(site(shaping=Shaping(messages_per_second=1 / 64))) as there:
        tasks = await deliver(there, *(f"{number}@a.example" for number in range(3)))
        assert isinstance(await tasks[0], Delivered)
        for task in tasks[1:]:
            await due_in(there, 64, task.done)
            assert isinstance(task.result(), Delivered)


async def test_who_waits_for_a_rate_is_served_however_late_the_clock_is_looked_at() -> None:
    async with running(site(shaping=Shaping(messages_per_second=1 / 64))) as there:
        tasks = await deliver(there, "1@a.example", "2@a.example")
        await tasks[0]
        there.clock.set(there.clock.now() + timedelta(hours=1))  # as after the machine slept
        assert isinstance(await tasks[1], Delivered)


@pytest.mark.parametrize(
    "shaping",
    [Shaping(messages_per_second=1 / 64), Shaping(connections_per_minute=60 / 64)],
    ids=["messages", "connections"],
)
async def test_a_rate_is_kept_over_idle_times(shaping: Shaping) -> None:
    async with running(site(shaping=shaping)) as there:
        await one(there, "1@a.example")
        await there.clock.advance(54)
        [task] = await deliver(there, "2@a.example")
        await due_in(there, 10, task.done)
        await there.clock.advance(64)
        await until(lambda: there.peers[ONE].sessions[-1].ended)
        await there.clock.advance(15)
        assert len(inside(there)._sites) == 0  # in the end there is nothing to be remembered


# a site that is down


async def test_after_a_cohort_of_failures_nothing_is_dialled_for_a_while() -> None:
    world = site(MailHost(address=ONE, greeting=Close()), shaping=Shaping(concurrency=Concurrency(initial=2)))
    async with running(world) as there:
        peer = there.peers[ONE]
        while not isinstance(outcome := await one(there, "x@a.example"), Deferred) or outcome.retry_after is None:
            assert len(peer.sessions) <= 3
        dialled = len(peer.sessions)
        assert (outcome.retry_after, outcome.enhanced) == (timedelta(minutes=5), "4.4.1")
        assert "suspended" in outcome.text
        await there.clock.advance(100)
        other = await one(there, "x@b.example")
        assert isinstance(other, Deferred)
        assert other.retry_after == timedelta(seconds=200)
        assert len(peer.sessions) == dialled
        await one(there, "x@a.example", attempts=8)  # the last one
        assert len(peer.sessions) == dialled + 1
        peer._greeting = "220 back again"
        assert isinstance(await one(there, "x@a.example", attempts=8), Delivered)
        assert isinstance(await one(there, "x@b.example"), Delivered)


async def test_after_the_suspension_one_delivery_finds_out_for_all() -> None:
    answers = {"RCPT TO:": Stall("250 2.1.5 ok")}
    world = site(
        MailHost(address=ONE, greeting=Close(), answers=answers),
        shaping=Shaping(concurrency=Concurrency(initial=1)),
    )
    async with running(world) as there:
        peer = there.peers[ONE]
        await one(there, "x@a.example")
        dialled = len(peer.sessions)
        peer._greeting = "220 back again"
        await there.clock.advance(300)
        tasks = await deliver(there, *(f"{number}@a.example" for number in range(5)))
        await peer.stalled()
        assert len(peer.sessions) == dialled + 1
        peer.resume()
        assert {type(outcome) for outcome in await asyncio.gather(*tasks)} == {Delivered}


@pytest.mark.parametrize("back", [True, False])
async def test_the_one_that_finds_out_may_need_a_permit_to_connect(back: bool) -> None:
    world = site(MailHost(address=ONE, greeting=Close()), shaping=Shaping(concurrency=Concurrency(initial=1)))
    async with running(world) as there:
        await one(there, "x@a.example")
        if back:
            there.peers[ONE]._greeting = "220 back again"
        await there.clock.advance(300)
        permit = Permit()
        outcomes = await asyncio.gather(
            *(there.transport.deliver(to(f"{number}@a.example", permit=permit)) for number in range(3))
        )
        assert {type(outcome) for [outcome] in outcomes} == ({Delivered} if back else {Deferred})
        assert permit.asked == 1 or back


async def test_who_waits_for_a_permit_keeps_nobody_else_out() -> None:
    world = site(shaping=Shaping(concurrency=Concurrency(initial=1, maximum=1)))
    async with running(world) as there:
        granted = asyncio.Event()

        class Late(Permit):
            async def granted(self) -> None:
                await granted.wait()

        waiting = asyncio.create_task(there.transport.deliver(to("x@a.example", permit=Late())))
        await asyncio.sleep(0)
        assert isinstance(await one(there, "x@b.example", dialed=[(MX1, TWO)]), Delivered)
        granted.set()
        assert isinstance((await waiting)[0], Delivered)


async def test_who_waited_for_a_permit_and_who_waits_for_a_connection_do_not_wait_for_each_other() -> None:
    """There is one place and one connection, which cannot be shared; one must not have the one, and one the other."""
    world = site(
        MailHost(address=ONE, extensions=STEPWISE, answers={"RCPT TO:": Stall("250 2.1.5 ok")}),
        shaping=Shaping(max_connections=1, concurrency=Concurrency(initial=1, maximum=1)),
    )
    granted = asyncio.Event()

    class Late(Permit):
        async def granted(self) -> None:
            await granted.wait()

    async with running(world) as there:
        limited = await deliver(there, "x@a.example", permit=Late())
        free = await deliver(there, "1@b.example", "2@b.example", "3@b.example")
        await there.peers[ONE].stalled()
        granted.set()
        for _ in range(20):
            await asyncio.sleep(0)
        there.peers[ONE].resume()
        outcomes = await asyncio.gather(*limited, *free)
        assert {type(outcome) for outcome in outcomes} == {Delivered}
        assert len(there.peers[ONE].messages) == 4


async def test_who_gets_a_connection_while_it_waits_for_a_permit_does_not_come_in_as_well() -> None:
    """It is not one more than the site has places for."""
    world = site(
        MailHost(address=ONE, extensions=STEPWISE),
        shaping=Shaping(max_connections=2, concurrency=Concurrency(initial=1, maximum=1)),
    )

    class Never(Permit):
        async def granted(self) -> None:
            await asyncio.Event().wait()

    async with running(world) as there:
        counting = there.peers[ONE]._answers = Counting(there.peers[ONE]._answers)
        limited = await deliver(there, "x@a.example", "y@a.example", permit=Never())
        free = await deliver(there, *(f"{number}@b.example" for number in range(10)))
        outcomes = await asyncio.gather(*limited, *free)
        assert {type(outcome) for outcome in outcomes} == {Delivered}
        assert len(there.peers[ONE].messages) == 12
        assert counting.most == 1


class Counting:
    """Counts the transactions under way at a server."""

    def __init__(self, answers: Callable[[str, PeerSession], Answer]) -> None:
        self.now = self.most = 0
        self._answers = answers

    def __call__(self, line: str, session: PeerSession) -> Answer:
        self.now += line.startswith("MAIL")
        self.now -= line == "."
        self.most = max(self.most, self.now)
        return self._answers(line, session)


async def test_a_site_that_is_down_is_not_dialled_by_those_who_waited_for_permits() -> None:
    world = site(MailHost(address=ONE, greeting=Close()), shaping=Shaping(concurrency=Concurrency(initial=1)))
    granted = asyncio.Event()

    class Late(Permit):
        async def granted(self) -> None:
            await granted.wait()

    async with running(world) as there:
        tasks = await deliver(there, *(f"{number}@a.example" for number in range(10)), permit=Late())
        granted.set()
        outcomes = await asyncio.gather(*tasks)
        assert len(there.peers[ONE].sessions) == 1
        assert sum(isinstance(each, Deferred) and each.retry_after is not None for each in outcomes) == 9


async def test_nobody_waits_for_a_rate_to_hear_that_the_site_is_down() -> None:
    shaping = Shaping(messages_per_second=1 / 64, concurrency=Concurrency(initial=1))
    async with running(site(MailHost(address=ONE, greeting=Close()), shaping=shaping)) as there:
        await one(there, "x@a.example")
        for _ in range(3):
            outcome = await one(there, "x@a.example")
            assert isinstance(outcome, Deferred)
            assert outcome.retry_after == timedelta(minutes=5)
        await there.clock.advance(64)
        assert isinstance(await one(there, "x@a.example", attempts=8), Deferred)
        assert len(there.peers[ONE].sessions) == 2


@pytest.mark.parametrize(
    "host",
    [
        MailHost(address=ONE, greeting="421 4.3.2 not now"),
        MailHost(address=ONE, answers={"MAIL FROM:": "421 4.3.2 closing"}),
        MailHost(address=ONE, answers={"RCPT TO:": "421 4.3.2 closing"}),
        MailHost(address=ONE, answers={".": "421 4.3.2 closing"}),
    ],
    ids=["greeting", "MAIL", "RCPT", "end of data"],
)
async def test_a_server_that_sends_us_away_gets_fewer_deliveries_and_then_none(host: MailHost) -> None:
    world = site(host, shaping=Shaping(concurrency=Concurrency(initial=4)))
    async with running(world) as there:
        outcome = await one(there, "x@a.example")
        assert isinstance(outcome, Deferred)
        assert (outcome.code, outcome.retry_after) == (421, None)
        [known] = inside(there)._sites.values()
        assert known.gate.window.limit == 3
        outcomes = [await one(there, "x@a.example") for _ in range(10)]
        assert isinstance(outcomes[-1], Deferred)
        assert outcomes[-1].retry_after == timedelta(minutes=5)
        assert 2 <= len(there.peers[ONE].sessions) <= 4


@pytest.mark.parametrize("answer", ["550 5.1.1 no such user", "450 4.2.0 not yet", "452 4.2.2 full"])
async def test_a_server_that_refuses_is_up(answer: str) -> None:
    world = site(
        MailHost(address=ONE, answers={"RCPT TO:": answer}), shaping=Shaping(concurrency=Concurrency(initial=1))
    )
    async with running(world) as there:
        for _ in range(10):
            outcome = await one(there, "x@a.example")
            assert isinstance(outcome, Deferred | Failed)
            assert outcome.code == int(answer[:3])


async def test_a_domain_without_a_host_that_may_be_used_says_nothing_of_the_site() -> None:
    """Its policy lists no host: nobody was asked, so that nobody is down."""
    world = site()
    policy = "version: STSv1\nmode: enforce\nmx: other.example\nmax_age: 86400\n"
    async with running(World(hosts=world.hosts, dns=world.dns, policy=policy)) as there:
        for _ in range(10):
            outcome = await one(there, f"x@{DOMAIN}")
            assert isinstance(outcome, Deferred)
            assert outcome.retry_after is None
        assert there.called() == []


# the end, and interruptions


async def test_after_the_end_nothing_is_delivered() -> None:
    async with running(site()) as there:
        pass
    with pytest.raises(StateError, match=r"inside `queue.worker\(\)`"):
        await one(there, "x@a.example")
    async with asyncio.timeout(GUARD), there.transport.running():
        with pytest.raises(StateError, match="running already"):
            async with there.transport.running():
                raise AssertionError
        outcome = await one(there, "x@a.example")  # nobody is there any more
        assert isinstance(outcome, Deferred)


async def test_the_end_leaves_no_connection_and_no_task() -> None:
    before = asyncio.all_tasks()
    async with running(site()) as there:
        during = asyncio.all_tasks()
        await asyncio.gather(*(one(there, f"{number}@{name}.example") for number in range(3) for name in "abc"))
        peers = dict(there.peers)
        transport_tasks = {task for task in during - before if "moxlib" in task.get_name()}
        assert len(transport_tasks) == 2  # what closes idle connections, and what keeps policies fresh
    assert not {task for task in asyncio.all_tasks() - before if not task.done()}
    assert all(session.lines[-1] == "QUIT" for session in peers[ONE].sessions)


@pytest.mark.parametrize("at", ["lookup", "greeting", "EHLO", "MAIL FROM:", "RCPT TO:", "DATA", "."])
async def test_a_delivery_may_be_cancelled_wherever_it_is(at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stall = Stall("354 go ahead" if at == "DATA" else "250 2.0.0 ok")
    host = MailHost(
        address=ONE,
        greeting=Stall("220 hello") if at == "greeting" else "220 hello",
        answers={} if at in ("lookup", "greeting") else {at: stall},
    )
    world = site(host, shaping=Shaping(max_connections=1, concurrency=Concurrency(initial=1, maximum=1)))
    async with running(world) as there:
        before = asyncio.all_tasks()
        if at == "lookup":
            asked = asyncio.Event()

            async def hang(name: str) -> Any:
                asked.set()
                await asyncio.Event().wait()

            with monkeypatch.context() as patch:
                patch.setattr(there.resolver, "lookup_mx", hang)
                [task] = await deliver(there, "x@a.example")
                await asked.wait()
                task.cancel()
                await asyncio.wait([task])
        else:
            [task] = await deliver(there, "x@a.example")
            await there.peers[ONE].stalled()
            task.cancel()
            await asyncio.wait([task])
        assert isinstance(task.result(), Unknown) if at == "." else task.cancelled()
        await asyncio.sleep(0)
        if at != "lookup":
            there.peers[ONE].resume()
            await until(lambda: there.peers[ONE].sessions[0].ended)
        # Neither its place at the gate nor that in the pool is lost, and it is not taken for a failure.
        assert isinstance(await one(there, "y@a.example"), Delivered)
        left = {task for task in asyncio.all_tasks() - before if "SMTPPeer" not in repr(task.get_coro())}
        assert not {task for task in left if "moxlib" in task.get_name()}


async def test_one_that_waits_for_its_turn_may_be_cancelled() -> None:
    world = site(
        MailHost(address=ONE, extensions=STEPWISE, answers={"RCPT TO:": Stall("250 2.1.5 ok")}),
        shaping=Shaping(max_connections=1, pipeline=1, concurrency=Concurrency(initial=1, maximum=1)),
    )
    async with running(world) as there:
        first, second, third = await deliver(there, *(f"{number}@a.example" for number in range(3)))
        await there.peers[ONE].stalled()
        second.cancel()
        await asyncio.wait([second])
        there.peers[ONE].resume()
        assert isinstance(await third, Delivered)
        assert isinstance(await first, Delivered)
        assert there.peers[ONE].lines.count("RCPT TO:<1@a.example>") == 0


OK, GREY = f"ok@{DOMAIN}", f"grey@{DOMAIN}"


def two_hosts(**second: Any) -> World:
    """The first host takes a message for one recipient, not yet for the other, who is for the second one then."""
    first = {"RCPT TO:<grey@": "450 4.7.1 greylisted"}
    return site(MailHost(address=ONE, answers=first), MailHost(address=TWO, **second))


def kinds(outcomes: Sequence[Outcome]) -> list[str]:
    return [type(outcome).__name__ for outcome in outcomes]


async def test_what_is_known_when_a_delivery_is_cancelled_is_not_lost() -> None:
    """One recipient has the message; that it is delivered to the other ones later must not give it a second one."""
    async with running(two_hosts(answers={"MAIL FROM:": Stall("250 2.1.0 ok")})) as there:
        task = asyncio.create_task(there.transport.deliver(to(OK, GREY)))
        await there.peers[TWO].stalled()
        task.cancel()
        outcomes = await task
        assert kinds(outcomes) == ["Delivered", "Deferred"]
        assert (outcomes[0].peer, outcomes[1].text) == (MX1, "RCPT TO: greylisted")
        there.peers[TWO].resume()


async def test_what_is_known_when_the_transport_runs_into_trouble_is_not_lost() -> None:
    async with running(two_hosts()) as there:
        outcomes = await there.transport.deliver(to(OK, GREY, permit=Second(RuntimeError("no"))))
        assert kinds(outcomes) == ["Delivered", "Deferred"]


class Second(Permit):
    """A permit of which there is only one."""

    async def granted(self) -> None:
        self.asked += 1
        if self.asked > 1 and self.error is not None:
            raise self.error


async def test_who_gets_no_permit_at_the_second_host_is_given_back_if_nothing_is_settled() -> None:
    first = {"MAIL FROM:": LATER}
    world = site(MailHost(address=ONE, answers=first), MailHost(address=TWO))
    async with running(world) as there:
        with pytest.raises(RuntimeError, match=r"^no$"):
            await there.transport.deliver(to(OK, GREY, permit=Second(RuntimeError("no"))))


async def test_content_that_is_damaged_is_found_out_also_after_a_host_refused_it() -> None:
    world = site(MailHost(address=ONE, answers={".": [LATER, "250 2.0.0 ok"]}), MailHost(address=TWO))
    async with running(world) as there:
        with pytest.raises(ContentDamaged):
            await there.transport.deliver(to(f"b@{DOMAIN}", content=Damaged()))
        assert there.peers[TWO].messages == []
        assert isinstance(await one(there, "x@a.example"), Delivered)


async def test_content_that_is_damaged_after_some_have_had_it_is_for_the_others_later() -> None:
    async with running(two_hosts()) as there:
        outcomes = await there.transport.deliver(to(OK, GREY, content=Damaged()))
        assert kinds(outcomes) == ["Delivered", "Deferred"]
        assert there.peers[TWO].messages == []
