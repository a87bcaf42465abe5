"""The contract of `Storage`: rates. So many messages are claimed, and connections taken, in a time, by all workers."""

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from moxlib.queue import MessageFilter
from moxlib.queue.limits import Rate
from moxlib.queue.storage.claims import DestinationLimits
from moxlib.queue.storage.operations import operate

if TYPE_CHECKING:
    from tests.contract.conftest import Desk

X, Y = "x.example", "y.example"
SECOND = timedelta(seconds=1)


def rate(burst: int, seconds: float = 1) -> Rate:
    """One in so many seconds, in bursts."""
    return Rate(count=1, per=timedelta(seconds=seconds), burst=burst)


async def backlog(desk: "Desk", *domains: str, count: int = 20) -> None:
    for domain in domains:
        await desk.submit(*(f"a{n}@{domain}" for n in range(count)))


# messages


async def test_no_more_are_claimed_than_the_rate_allows(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default_messages=rate(burst=3))
    await backlog(desk, X)
    worker = await desk.worker()
    assert len(await desk.claimed(worker)) == 3
    assert await desk.claimed(worker) == []
    claimed = []
    for _ in range(5):
        desk.later(0.5)
        claimed.append(len(await desk.claimed(worker)))
    assert claimed == [0, 1, 0, 1, 0]
    desk.later(60)
    assert len(await desk.claimed(worker)) == 3  # what was not used is kept up to the burst


async def test_in_any_time_at_most_its_length_times_the_rate_and_a_burst(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default=100, default_messages=Rate(count=7, per=SECOND, burst=4))
    await backlog(desk, X, count=60)
    worker = await desk.worker()
    total = len(await desk.claimed(worker))
    for _ in range(50):
        desk.later(0.13)
        total += len(await desk.claimed(worker))
    assert total == 4 + int(50 * 0.13 * 7)


async def test_the_next_turn_is_when_a_message_may_go(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default_messages=rate(burst=2, seconds=10))
    await backlog(desk, X)
    worker = await desk.worker()
    await desk.quiet(worker)
    result = await desk.claim(worker)
    assert len(result.claims) == 2
    assert result.next_turn == await desk.storage.next_due() == desk.now + 10 * SECOND
    desk.now += 10 * SECOND - timedelta(microseconds=1)
    assert await desk.claimed(worker) == []
    desk.now += timedelta(microseconds=1)
    assert len(await desk.claimed(worker)) == 1


async def test_a_quick_rate_is_looked_at_in_helpings_worth_the_while(desk: "Desk") -> None:
    """For 1,000 a second, nobody looks a thousand times a second."""
    desk.limits = DestinationLimits(default_messages=Rate.per_second(1000))
    await backlog(desk, X, count=1600)
    worker = await desk.worker()
    assert len(await desk.claimed(worker, limit=2000, default_room=2000)) == 1000
    turn = await desk.storage.next_due()
    assert turn is not None
    assert timedelta(milliseconds=5) <= turn - desk.now <= timedelta(milliseconds=500)
    came = (turn - desk.now) // timedelta(milliseconds=1)
    desk.now = turn
    assert len(await desk.claimed(worker, limit=2000, default_room=2000)) == came


async def test_all_workers_share_a_destinations_rate(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default_messages=rate(burst=4))
    await backlog(desk, X)
    workers = [await desk.worker(f"host/{n}") for n in range(3)]
    claimed = [len(await desk.claimed(worker, limit=2)) for worker in workers]
    assert claimed == [2, 2, 0]
    for worker in workers:
        await desk.storage.unregister_worker(worker, now=desk.now)
    assert await desk.claimed(await desk.worker("host/4")) == []


async def test_workers_that_claim_at_once_share_it_too(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default=100, default_messages=rate(burst=5))
    await backlog(desk, X, Y, count=40)
    workers = [await desk.worker(f"host/{n}") for n in range(4)]
    taken: Counter[str] = Counter()
    for _ in range(4):  # one that finds a destination in another's hands comes back
        claims = await asyncio.gather(*(desk.claim(worker) for worker in workers))
        taken += Counter(claim.message.destination for result in claims for claim in result.claims)
    assert taken == {X: 5, Y: 5}


async def test_each_destination_has_its_own_rate_or_none(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default=100, messages={X: rate(burst=1), Y: rate(burst=2)})
    await backlog(desk, X, Y, "z.example")
    worker = await desk.worker()
    taken = Counter(recipient.split("@")[1] for recipient in await desk.claimed(worker))
    assert taken == {X: 1, Y: 2, "z.example": 20}
    desk.limits = DestinationLimits(default=100, default_messages=rate(burst=1), messages={X: rate(burst=9)})
    assert desk.limits.message_rate(X) == rate(burst=9)
    assert desk.limits.message_rate(Y) == rate(burst=1)


async def test_a_destination_out_of_tokens_stands_in_nobodys_way(desk: "Desk") -> None:
    desk.limits = DestinationLimits(messages={X: rate(burst=1, seconds=3600)})
    await backlog(desk, X)
    worker = await desk.worker()
    assert await desk.claimed(worker) == [f"a0@{X}"]
    desk.later()
    await desk.submit(f"new@{Y}")
    assert await desk.claimed(worker, limit=1) == [f"new@{Y}"]


async def test_only_what_is_claimed_takes_tokens(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default_messages=rate(burst=4, seconds=3600))
    await desk.submit(f"due@{X}")
    await desk.submit(f"later@{X}", due=60)
    [held] = await desk.submit(f"held@{X}")
    await desk.storage.set_hold(MessageFilter(ids=(held.id,)), hold=True)
    worker = await desk.worker()
    assert await desk.claimed(worker) == [f"due@{X}"]
    for _ in range(5):
        desk.later()
        assert await desk.claimed(worker) == []
    await backlog(desk, X)
    assert len(await desk.claimed(worker, limit=2)) == 2
    assert len(await desk.claimed(worker)) == 1


async def test_no_tokens_go_where_no_slot_is_free(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default=1, default_messages=rate(burst=5, seconds=3600))
    await backlog(desk, X)
    one, other = await desk.worker("host/1"), await desk.worker("host/2")
    assert len(await desk.claimed(one, limit=1)) == 1
    for _ in range(3):
        desk.later()
        assert await desk.claimed(other) == []
    desk.later()
    assert len(await desk.claimed(one)) == 4


async def test_attempts_made_again_take_tokens_again(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default_messages=rate(burst=2, seconds=10))
    await desk.submit(f"a@{X}")
    worker = await desk.worker()
    for _ in range(2):
        claim = await desk.claim_one(worker)
        await desk.settle(worker, desk.retry(claim.message, after=0))
    assert await desk.claimed(worker) == []
    desk.later(10)
    claim = await desk.claim_one(worker)
    await desk.settle(worker, desk.give_back(claim.message))
    assert await desk.claimed(worker) == []  # one given back has had its token all the same
    desk.later(10)
    assert await desk.claimed(worker) == [f"a@{X}"]


async def test_what_was_taken_is_remembered(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default_messages=rate(burst=2, seconds=60))
    await backlog(desk, X)
    assert len(await desk.claimed(await desk.worker())) == 2
    desk.later()
    await desk.reopen()
    await desk.storage.set_next_attempt(MessageFilter(), desk.now)
    assert await desk.claimed(await desk.worker()) == []


async def test_a_rate_may_be_changed_and_lifted(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default_messages=rate(burst=1, seconds=3600))
    await backlog(desk, X)
    worker = await desk.worker()
    assert len(await desk.claimed(worker)) == 1
    desk.limits = DestinationLimits()
    await desk.storage.set_next_attempt(MessageFilter(), desk.now)  # or when its turn comes
    assert len(await desk.claimed(worker)) == 19


async def test_idle_destinations_are_not_forgotten_while_they_owe(
    desk: "Desk", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operate, "MAX_IDLE_DESTINATIONS", 0)
    desk.limits = DestinationLimits(default_messages=rate(burst=1, seconds=60))
    worker = await desk.worker()
    await desk.submit(f"a@{X}")
    await desk.settle(worker, desk.deliver((await desk.claim_one(worker)).message))
    assert await desk.storage.take_connection(Y, rate(burst=1, seconds=60), now=desk.now) is None
    for _ in range(2):
        desk.later(29)
        await desk.storage.purge(now=desk.now, events_before=desk.now)
    await desk.submit(f"b@{X}")
    assert await desk.claimed(worker) == []
    assert await desk.storage.take_connection(Y, rate(burst=1, seconds=60), now=desk.now) == desk.now + 2 * SECOND
    desk.later(2)
    await desk.storage.purge(now=desk.now, events_before=desk.now)
    assert await desk.claimed(worker) == [f"b@{X}"]
    assert await desk.storage.take_connection(Y, rate(burst=1, seconds=60), now=desk.now) is None


# connections


async def take(desk: "Desk", name: str, allowed: Rate) -> datetime | None:
    return await desk.storage.take_connection(name, allowed, now=desk.now)


async def test_connections_are_given_out_until_the_bucket_is_empty(desk: "Desk") -> None:
    allowed = rate(burst=2, seconds=10)
    assert [await take(desk, X, allowed) for _ in range(2)] == [None, None]
    ask_again = desk.now + 10 * SECOND
    assert [await take(desk, X, allowed) for _ in range(3)] == [ask_again] * 3  # asking takes nothing
    desk.now = ask_again - timedelta(microseconds=1)
    assert await take(desk, X, allowed) == ask_again
    desk.now = ask_again
    assert await take(desk, X, allowed) is None
    assert await take(desk, X, allowed) == desk.now + 10 * SECOND
    desk.later(3600)
    assert [await take(desk, X, allowed) for _ in range(3)] == [None, None, desk.now + 10 * SECOND]


async def test_connections_of_destinations_are_counted_apart(desk: "Desk") -> None:
    allowed = rate(burst=1, seconds=10)
    assert [await take(desk, name, allowed) for name in (X, Y, "[192.0.2.1]", "ü.example", "")] == [None] * 5
    assert await take(desk, X, allowed) is not None
    assert await desk.storage.next_due() is None  # a destination that is only connected to has no turn
    assert await desk.claimed(await desk.worker()) == []


async def test_connections_asked_for_at_once_are_not_given_twice(desk: "Desk") -> None:
    allowed = rate(burst=5, seconds=10)
    given = await asyncio.gather(*(take(desk, X, allowed) for _ in range(20)))
    assert Counter(given) == {None: 5, desk.now + 10 * SECOND: 15}


async def test_connections_taken_are_remembered(desk: "Desk") -> None:
    allowed = rate(burst=1, seconds=10)
    assert await take(desk, X, allowed) is None
    await desk.reopen()
    assert await take(desk, X, allowed) == desk.now + 10 * SECOND


async def test_connections_and_messages_have_buckets_of_their_own(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default_messages=rate(burst=1, seconds=60))
    await backlog(desk, X, count=3)
    worker = await desk.worker()
    assert await take(desk, X, rate(burst=1, seconds=10)) is None
    assert len(await desk.claimed(worker)) == 1
    assert await take(desk, X, rate(burst=1, seconds=10)) == desk.now + 10 * SECOND
    desk.later(10)
    assert await take(desk, X, rate(burst=1, seconds=10)) is None
    assert await desk.claimed(worker) == []
    desk.later(50)
    assert len(await desk.claimed(worker)) == 1


async def test_a_claim_goes_on_while_connections_are_taken(desk: "Desk") -> None:
    allowed = rate(burst=50, seconds=1)
    await backlog(desk, X, Y)
    worker = await desk.worker()
    claiming = asyncio.create_task(desk.claimed(worker))
    assert await asyncio.gather(*(take(desk, X, allowed) for _ in range(10))) == [None] * 10
    claimed = await claiming
    claimed += await desk.claimed(worker)  # what a connection was just being taken for
    assert len(claimed) == 40
