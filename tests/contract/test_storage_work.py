"""The contract of `Storage`: workers and their leases, claims."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from moxlib.queue.selection import MessageFilter
from moxlib.queue.storage.claims import CLAIM_BODY_MAX, ClaimResult, DestinationLimits, WorkerInfo
from moxlib.queue.submission import StoredContent
from moxlib.queue.types import ResultKind

if TYPE_CHECKING:
    from tests.contract.conftest import Desk

SECOND = timedelta(seconds=1)


def by_destination(result: ClaimResult) -> Counter[str]:
    return Counter(claim.message.destination for claim in result.claims)


# workers


async def test_workers_are_listed_in_order_of_id(desk: "Desk") -> None:
    a = await desk.worker("host/1", lease=60)
    b = await desk.worker("host/2", lease=30)
    assert 0 < a < b
    assert await desk.storage.workers() == (
        WorkerInfo(id=a, identity="host/1", lease_until=desk.now + 60 * SECOND),
        WorkerInfo(id=b, identity="host/2", lease_until=desk.now + 30 * SECOND),
    )


async def test_a_workers_id_is_never_used_again(desk: "Desk") -> None:
    seen: list[int] = []
    for _ in range(3):
        worker = await desk.worker()
        assert all(worker > old for old in seen)
        seen.append(worker)
        await desk.storage.unregister_worker(worker, now=desk.now)
        await desk.reopen()


async def test_renewing_extends_the_lease(desk: "Desk") -> None:
    worker = await desk.worker(lease=60)
    desk.later(59)
    assert await desk.storage.renew(worker, now=desk.now, lease=60 * SECOND)
    [info] = await desk.storage.workers()
    assert info.lease_until == desk.now + 60 * SECOND
    desk.later(59)
    assert await desk.storage.take_back(now=desk.now) == ()


async def test_a_lease_that_ran_out_can_be_renewed_until_it_is_taken_back(desk: "Desk") -> None:
    worker = await desk.worker(lease=60)
    desk.later(600)
    assert await desk.storage.renew(worker, now=desk.now, lease=60 * SECOND)
    desk.later(60)
    assert await desk.storage.take_back(now=desk.now) == (worker,)
    assert not await desk.storage.renew(worker, now=desk.now, lease=60 * SECOND)
    assert await desk.storage.workers() == ()
    assert not await desk.storage.renew(4711, now=desk.now, lease=60 * SECOND)


async def test_take_back_takes_the_expired_and_the_dead(desk: "Desk") -> None:
    expired, exact, alive, dead = [await desk.worker(lease=n) for n in (59, 60, 61, 600)]
    desk.later(60)
    assert await desk.storage.take_back(now=desk.now, dead=[dead, 4711]) == (expired, exact, dead)
    assert [worker.id for worker in await desk.storage.workers()] == [alive]
    assert await desk.storage.take_back(now=desk.now, dead=[dead]) == ()


@pytest.mark.parametrize("hold_interrupted", [False, True])
async def test_what_the_taken_back_owned_is_due_again(desk: "Desk", hold_interrupted: bool) -> None:
    [receipt] = await desk.submit("a@x.example")
    worker = await desk.worker(lease=60)
    desk.later(5)
    claimed = (await desk.claim_one(worker)).message
    began = desk.now
    desk.later(100)
    await desk.storage.take_back(now=desk.now, hold_interrupted=hold_interrupted)
    message = await desk.message(receipt.id)
    assert (message.in_flight, message.hold, message.next_attempt) == (False, hold_interrupted, desk.now)
    assert (message.attempts, message.last_attempt) == (1, began)
    [result] = message.results
    assert (result.attempt, result.kind, result.started) == (1, ResultKind.INTERRUPTED, began)
    assert (result.duration, result.code, result.enhanced) == (timedelta(0), 0, "")
    successor = await desk.worker()
    assert await desk.claimed(successor) == ([] if hold_interrupted else ["a@x.example"])
    # The late settlement finds nothing to settle, whoever owns the message now.
    before = await desk.message(receipt.id)
    assert await desk.settle(worker, desk.deliver(claimed)) == {receipt.id}
    assert await desk.settle(worker, desk.retry(claimed)) == {receipt.id}
    assert await desk.settle(worker, desk.give_back(claimed)) == {receipt.id}
    assert await desk.message(receipt.id) == before
    assert await desk.storage.get_retired(receipt.id) is None


async def test_take_back_leaves_the_living_alone(desk: "Desk") -> None:
    await desk.submit("a@x.example", "b@x.example")
    one, other = await desk.worker(lease=60), await desk.worker(lease=600)
    [mine] = (await desk.claim(one, limit=1)).claims
    [theirs] = (await desk.claim(other, limit=1)).claims
    desk.later(60)
    await desk.storage.take_back(now=desk.now)
    assert not (await desk.message(mine.message.id)).in_flight
    assert await desk.message(theirs.message.id) == theirs.message
    assert await desk.settle(other, desk.deliver(theirs.message)) == frozenset()


async def test_a_message_held_in_flight_stays_held_when_taken_back(desk: "Desk") -> None:
    [receipt] = await desk.submit("a@x.example")
    worker = await desk.worker()
    await desk.claim(worker)
    await desk.storage.set_hold(MessageFilter(), hold=True)
    await desk.storage.take_back(now=desk.now, dead=[worker])
    assert (await desk.message(receipt.id)).hold


async def test_take_back_frees_the_delivery_slots(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default=1)
    await desk.submit("a@x.example", "b@x.example")
    one, other = await desk.worker(lease=60), await desk.worker(lease=600)
    assert len((await desk.claim(one, limit=1)).claims) == 1
    assert (await desk.claim(other)).claims == ()
    desk.later(60)
    await desk.storage.take_back(now=desk.now)
    next_due = await desk.storage.next_due()
    assert next_due is not None
    assert next_due <= desk.now
    # "b" was due first; "a" is due again since it was taken back.
    assert await desk.claimed(other) == ["b@x.example", "a@x.example"]


async def test_unregistering_frees_slots_and_gives_up_what_is_owned(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default=1)
    a, b = await desk.submit("a@x.example", "b@x.example")
    worker = await desk.worker()
    await desk.claim(worker, limit=1)
    desk.later()
    await desk.storage.unregister_worker(worker, now=desk.now)
    assert await desk.storage.workers() == ()
    message = await desk.message(a.id)
    assert (message.in_flight, message.next_attempt, message.hold) == (False, desk.now, False)
    assert [r.kind for r in message.results] == [ResultKind.INTERRUPTED]
    assert (await desk.message(b.id)).results == ()
    assert await desk.claimed(await desk.worker()) == ["b@x.example", "a@x.example"]
    await desk.storage.unregister_worker(worker, now=desk.now)  # ending it again changes nothing
    assert await desk.storage.count_messages(MessageFilter(in_flight=True)) == 2


# claims


async def test_a_claim_journals_the_attempt(desk: "Desk") -> None:
    [receipt] = await desk.submit("a@x.example")
    before = await desk.message(receipt.id)
    desk.later(3)
    claim = await desk.claim_one(await desk.worker())
    message = claim.message
    assert (message.attempts, message.last_attempt, message.in_flight) == (1, desk.now, True)
    assert (message.id, message.recipient, message.next_attempt) == (before.id, before.recipient, before.next_attempt)
    assert message.results == ()
    assert await desk.message(receipt.id) == message
    await desk.reopen()
    assert await desk.message(receipt.id) == message


async def test_only_what_is_due_and_not_held_is_claimed_and_only_once(desk: "Desk") -> None:
    await desk.submit("late@x.example", due=60)
    [held] = await desk.submit("held@x.example")
    await desk.submit("due@x.example")
    await desk.storage.set_hold(MessageFilter(ids=(held.id,)), hold=True)
    one, other = await desk.worker(), await desk.worker()
    assert await desk.claimed(one) == ["due@x.example"]
    assert await desk.claimed(other) == []
    assert await desk.claimed(one) == []
    desk.later(60)  # exactly due
    assert await desk.claimed(other) == ["late@x.example"]


async def test_claims_of_a_destination_come_in_due_order(desk: "Desk") -> None:
    for name, due in (("c", 3), ("a", 1), ("b", 2), ("a2", 1)):
        await desk.submit(f"{name}@x.example", due=due)
    desk.later(10)
    assert await desk.claimed(await desk.worker()) == ["a@x.example", "a2@x.example", "b@x.example", "c@x.example"]


async def test_a_worker_that_is_not_registered_claims_nothing(desk: "Desk") -> None:
    await desk.submit("a@x.example")
    worker = await desk.worker()
    await desk.storage.unregister_worker(worker, now=desk.now)
    for unknown in (worker, worker + 1, 0):
        result = await desk.claim(unknown)
        assert (result.claims, dict(result.slots)) == ((), {})
    assert (await desk.message(1)).attempts == 0


async def test_a_lease_that_ran_out_is_no_bar_until_it_is_taken_back(desk: "Desk") -> None:
    await desk.submit("a@x.example")
    worker = await desk.worker(lease=1)
    desk.later(5)
    assert await desk.claimed(worker) == ["a@x.example"]


@pytest.mark.parametrize(("size", "comes"), [(CLAIM_BODY_MAX, True), (CLAIM_BODY_MAX + 1, False)])
async def test_small_content_comes_with_the_claim(desk: "Desk", size: int, comes: bool) -> None:
    content = StoredContent(size=size, sha256=bytes(32), body=b"x" * size)
    await desk.submit("a@x.example", "b@x.example", content=content)
    claims = (await desk.claim(await desk.worker())).claims
    assert [claim.content for claim in claims] == [content if comes else None] * 2
    assert await desk.storage.content(1) == content


async def test_a_claim_takes_no_more_than_its_limit(desk: "Desk") -> None:
    for n in range(6):
        await desk.submit(*(f"{m}@d{n}.example" for m in range(3)))
    worker = await desk.worker()
    first = await desk.claim(worker, limit=7)
    assert len(first.claims) == 7
    assert first.next_turn is not None
    assert first.next_turn <= desk.now
    assert len((await desk.claim(worker, limit=7)).claims) == 7
    assert len((await desk.claim(worker, limit=7)).claims) == 4
    assert (await desk.claim(worker, limit=7)).claims == ()


async def test_room_bounds_what_is_taken_of_each_destination(desk: "Desk") -> None:
    for domain in ("x", "y", "z"):
        await desk.submit(*(f"{n}@{domain}.example" for n in range(5)))
    worker = await desk.worker()
    result = await desk.claim(worker, default_room=2, room={"x.example": 3, "y.example": 0})
    assert by_destination(result) == {"x.example": 3, "z.example": 2}
    assert set(result.slots) == {"x.example", "z.example"}


async def test_no_room_by_default_asks_for_the_named_destinations_only(desk: "Desk") -> None:
    for n in range(5):
        await desk.submit(f"a@d{n}.example")
    result = await desk.claim(await desk.worker(), limit=2, default_room=0, room={"d4.example": 1})
    assert by_destination(result) == {"d4.example": 1}


async def test_next_turn_looks_only_where_there_is_room(desk: "Desk") -> None:
    await desk.submit("a@x.example", "b@x.example")
    await desk.submit("c@y.example", due=30)
    worker = await desk.worker()
    await desk.quiet(worker)
    result = await desk.claim(worker, room={"x.example": 1})
    assert (len(result.claims), result.next_turn) == (1, desk.now + 30 * SECOND)  # there is more, but no room for it
    result = await desk.claim(worker, room={"x.example": 0})
    assert (result.claims, result.next_turn) == ((), desk.now + 30 * SECOND)
    result = await desk.claim(worker, room={"x.example": 0, "y.example": 0})
    assert (result.claims, result.next_turn) == ((), None)
    assert await desk.storage.next_due() == desk.now


async def test_next_turn_is_none_when_nothing_waits(desk: "Desk") -> None:
    worker = await desk.worker()
    assert (await desk.claim(worker)).next_turn is None
    await desk.submit("a@x.example")
    await desk.quiet(worker)
    assert (await desk.claim(worker)).next_turn is None
    assert await desk.storage.next_due() is None


async def test_a_backlog_for_one_destination_does_not_delay_another(desk: "Desk") -> None:
    await desk.submit(*(f"{n}@big.example" for n in range(200)))
    worker = await desk.worker()
    assert by_destination(await desk.claim(worker, limit=5)) == {"big.example": 5}
    desk.later()
    await desk.submit("new@small.example")
    desk.later()
    assert "small.example" in by_destination(await desk.claim(worker, limit=21))


async def test_destinations_are_served_in_rotation(desk: "Desk") -> None:
    names = [f"d{n}.example" for n in range(8)]
    for name in names:
        await desk.submit(*(f"{n}@{name}" for n in range(10)))
    worker = await desk.worker()
    served: list[str] = []
    for _ in range(8):
        desk.later()
        served += by_destination(await desk.claim(worker, limit=4, default_room=2))
    assert Counter(served) == dict.fromkeys(names, 2)
    assert served[:8] == names


async def test_a_destinations_turn_waits_for_its_next_message(desk: "Desk") -> None:
    await desk.submit("now@x.example")
    await desk.submit("later@x.example", due=90)
    worker = await desk.worker()
    assert await desk.storage.next_due() == desk.now
    await desk.quiet(worker)
    result = await desk.claim(worker)
    assert result.next_turn == desk.now + 90 * SECOND
    assert await desk.storage.next_due() == desk.now + 90 * SECOND


async def test_held_messages_hide_nothing_behind_them(desk: "Desk") -> None:
    for n in range(4):
        await desk.submit(f"held@h{n}.example")
    await desk.storage.set_hold(MessageFilter(), hold=True)
    await desk.submit("a@x.example")
    assert await desk.claimed(await desk.worker(), limit=1) == ["a@x.example"]


async def test_looking_further_takes_no_second_helping(desk: "Desk") -> None:
    await desk.submit("held@h1.example", "held@h2.example")
    await desk.storage.set_hold(MessageFilter(), hold=True)
    await desk.submit(*(f"{n}@x.example" for n in range(9)))
    result = await desk.claim(await desk.worker(), limit=3, default_room=1)
    assert by_destination(result) == {"x.example": 1}


# slots


async def test_a_worker_gets_as_many_slots_as_it_has_use_for(desk: "Desk") -> None:
    await desk.submit("1@x.example", "2@x.example", "3@x.example")
    await desk.submit("1@y.example")
    result = await desk.claim(await desk.worker())
    assert result.slots == {"x.example": 3, "y.example": 1}


async def test_slots_stay_within_the_limit_however_many_messages_are_taken(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default=4, by_destination={"y.example": 2})
    await desk.submit(*(f"{n}@x.example" for n in range(9)))
    await desk.submit(*(f"{n}@y.example" for n in range(9)))
    result = await desk.claim(await desk.worker(), default_room=9)
    assert result.slots == {"x.example": 4, "y.example": 2}
    assert by_destination(result) == {"x.example": 9, "y.example": 9}


async def test_workers_share_a_destinations_slots(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default=10)
    await desk.submit(*(f"{n}@x.example" for n in range(90)))
    workers = [await desk.worker() for _ in range(3)]
    slots = []
    for worker in workers:
        desk.later()
        slots.append((await desk.claim(worker, default_room=20)).slots["x.example"])
    assert slots == [3, 3, 3]


async def test_a_share_is_one_slot_at_least_but_never_over_the_limit(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default=2)
    await desk.submit(*(f"{n}@x.example" for n in range(9)))
    workers = [await desk.worker() for _ in range(3)]
    granted = []
    for worker in workers:
        result = await desk.claim(worker, default_room=2)
        granted.append(result.slots.get("x.example", 0))
    assert granted == [1, 1, 0]


async def test_with_no_slot_free_the_turn_moves_on_a_second(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default=1)
    await desk.submit("1@x.example", "2@x.example")
    one, other = await desk.worker(), await desk.worker()
    await desk.claim(one, limit=1)
    result = await desk.claim(other)
    assert (result.claims, result.next_turn) == ((), desk.now + SECOND)
    assert await desk.storage.next_due() == desk.now + SECOND


async def test_a_later_worker_does_not_take_what_an_earlier_one_holds(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default=10)
    await desk.submit(*(f"{n}@x.example" for n in range(40)))
    one = await desk.worker()
    assert (await desk.claim(one, default_room=8)).slots == {"x.example": 8}
    other = await desk.worker()
    assert (await desk.claim(other, default_room=9)).slots == {"x.example": 2}
    # What the first worker holds over its new share stays its own until it gives it back.
    assert (await desk.claim(one, default_room=9)).slots == {"x.example": 8}


async def test_released_slots_go_to_others_at_once(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default=1)
    await desk.submit("1@x.example", "2@x.example")
    one, other = await desk.worker(), await desk.worker()
    [claim] = (await desk.claim(one, limit=1)).claims
    assert (await desk.claim(other)).claims == ()
    await desk.settle(one, desk.deliver(claim.message))
    result = await desk.claim(one, room={"x.example": 0}, release=["x.example", "never-heard-of.example"])
    assert result.claims == ()
    assert await desk.storage.next_due() == desk.now
    assert await desk.claimed(other) == ["2@x.example"]


async def test_released_slots_may_be_claimed_anew_in_the_same_call(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default=5)
    await desk.submit(*(f"{n}@x.example" for n in range(6)))
    worker = await desk.worker()
    assert (await desk.claim(worker, default_room=5)).slots == {"x.example": 5}
    assert (await desk.claim(worker, release=["x.example"])).slots == {"x.example": 1}


async def test_settling_keeps_the_slots(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default=3)
    await desk.submit(*(f"{n}@x.example" for n in range(4)))
    worker = await desk.worker()
    result = await desk.claim(worker, default_room=3)
    await desk.settle(worker, *(desk.deliver(claim.message) for claim in result.claims))
    assert (await desk.claim(worker)).slots == {"x.example": 3}


async def test_claims_at_once_share_out_the_queue(desk: "Desk") -> None:
    for n in range(20):
        await desk.submit(*(f"{m}@d{n}.example" for m in range(5)))
    workers = [await desk.worker() for _ in range(4)]
    results = await asyncio.gather(*(desk.claim(worker, limit=10) for worker in workers for _ in range(4)))
    ids = [claim.message.id for result in results for claim in result.claims]
    assert len(ids) == len(set(ids)) == await desk.storage.count_messages(MessageFilter(in_flight=True))


async def test_unregistering_may_hold_what_was_interrupted(desk: "Desk") -> None:
    await desk.submit("a@x.example")
    worker = await desk.worker()
    await desk.claim_one(worker)
    await desk.storage.unregister_worker(worker, now=desk.now, hold_interrupted=True)
    message = await desk.message(1)
    assert (message.hold, message.in_flight, message.results[-1].kind) == (True, False, ResultKind.INTERRUPTED)
