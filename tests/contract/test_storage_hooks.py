"""What every storage promises of webhooks: fencing, one worker for each endpoint, order, and doubts cleared up."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from moxlib.queue.hooks.records import Hook, HookOutcome, HookPlan, HookResult, NewHook
from moxlib.queue.hooks.settlement import HookGiveBack, HookRetire
from moxlib.queue.storage.hooks import HookClaim, HookClaimRequest

if TYPE_CHECKING:
    from tests.contract.conftest import Desk

ONE, TWO = "https://one.example/", "https://two.example/"
DAY = timedelta(days=1)


async def insert(desk: "Desk", *messages: int | None, url: str = ONE) -> None:
    hooks = [
        NewHook(
            plan=HookPlan(url=url), account="shop", event="incoming", payload=b"{}", queued=desk.now, message=message
        )
        for message in messages
    ]
    await desk.storage.hooks.insert(hooks)


async def claim(desk: "Desk", worker: int, **options: Any) -> HookClaim:
    usual: dict[str, Any] = {
        "now": desk.now,
        "limit": 10,
        "max_bytes": 1000,
        "wait": lambda _account, attempt: attempt * DAY,
    }
    return await desk.storage.hooks.claim(worker, HookClaimRequest(**(usual | options)))


def ids(claimed: HookClaim) -> list[int]:
    return [hook.id for hook in claimed.hooks]


def done(desk: "Desk", hook: Hook) -> HookRetire:
    result = HookResult(attempt=hook.attempts, started=desk.now, status=200)
    return HookRetire(hook=hook, result=result, outcome=HookOutcome.DELIVERED, keep_until=desk.now + DAY)


async def test_a_claim_journals_the_attempt(desk: "Desk") -> None:
    await insert(desk, None)
    worker = await desk.worker()
    [hook] = (await claim(desk, worker)).hooks
    assert (hook.attempts, hook.last_attempt, hook.next_attempt) == (1, desk.now, desk.now + DAY)
    assert await desk.storage.hooks.get(hook.id) == hook
    assert hook.in_flight
    assert ids(await claim(desk, worker)) == []


async def test_webhooks_of_one_message_are_claimed_one_after_the_other(desk: "Desk") -> None:
    await insert(desk, 5, 5, 6, None, None)
    worker = await desk.worker()
    first = await claim(desk, worker)
    assert ids(first) == [1, 3, 4, 5]
    assert await desk.storage.hooks.settle(worker, [done(desk, first.hooks[0])], now=desk.now) == frozenset()
    assert ids(await claim(desk, worker)) == [2]


async def test_an_endpoint_is_one_workers_until_it_gives_it_back(desk: "Desk") -> None:
    await insert(desk, None, None)
    await insert(desk, None, url=TWO)
    first, second = await desk.worker(), await desk.worker("host/2")
    taken = await claim(desk, first, limit=1)
    assert [hook.url for hook in taken.hooks] == [ONE]
    assert [hook.url for hook in (await claim(desk, second)).hooks] == [TWO]
    await desk.storage.hooks.settle(first, [done(desk, taken.hooks[0])], now=desk.now)
    assert ids(await claim(desk, second)) == []
    await claim(desk, first, limit=1, room={ONE: 0}, default_room=0, release=[ONE])
    assert ids(await claim(desk, second)) == [2]


async def test_a_worker_that_lost_its_lease_settles_nothing(desk: "Desk") -> None:
    await insert(desk, None)
    late, other = await desk.worker(lease=1), await desk.worker("host/2", lease=600)
    [hook] = (await claim(desk, late)).hooks
    desk.later(2)
    assert await desk.storage.take_back(now=desk.now) == (late,)
    [again] = (await claim(desk, other)).hooks
    assert (again.id, again.attempts, again.results[0].interrupted) == (hook.id, 2, True)
    assert await desk.storage.hooks.settle(late, [done(desk, hook)], now=desk.now) == frozenset({hook.id})
    assert ids(await claim(desk, late)) == []
    assert await desk.storage.hooks.settle(other, [done(desk, again)], now=desk.now) == frozenset()
    retired = await desk.storage.hooks.get_retired(hook.id)
    assert retired is not None
    assert [result.attempt for result in retired.results] == [1, 2]


async def test_what_a_worker_settles_once_more_leaves_its_next_claim_alone(desk: "Desk") -> None:
    """So it is after a commit whose end the worker did not hear of: it tries again, and has claimed anew meanwhile."""
    await insert(desk, None)
    worker = await desk.worker()
    [hook] = (await claim(desk, worker)).hooks
    given_back = HookGiveBack(hook=hook)
    assert await desk.storage.hooks.settle(worker, [given_back], now=desk.now) == frozenset()
    desk.later(1)
    [again] = (await claim(desk, worker)).hooks
    assert await desk.storage.hooks.settle(worker, [given_back], now=desk.now) == frozenset({hook.id})
    assert await desk.storage.hooks.get(hook.id) == again
    assert await desk.storage.hooks.settle(worker, [done(desk, again)], now=desk.now) == frozenset()


async def test_what_is_given_back_is_as_it_was(desk: "Desk") -> None:
    await insert(desk, None)
    before = await desk.storage.hooks.get(1)
    worker = await desk.worker()
    [hook] = (await claim(desk, worker)).hooks
    await desk.storage.hooks.settle(worker, [HookGiveBack(hook=hook)], now=desk.now)
    assert await desk.storage.hooks.get(1) == before


async def test_what_a_worker_does_not_know_it_claimed_it_can_claim_again(desk: "Desk") -> None:
    await insert(desk, None, None)
    worker = await desk.worker()
    one, _ = (await claim(desk, worker)).hooks  # and nobody could tell it of the other
    again = await claim(desk, worker, held=frozenset({one.claim}))
    assert [(hook.id, hook.attempts) for hook in again.hooks] == [(2, 1)]


async def test_what_it_claimed_anew_and_does_not_know_of_it_can_claim_again(desk: "Desk") -> None:
    """It holds what it has given back and did not hear that this was committed."""
    await insert(desk, None)
    worker = await desk.worker()
    [first] = (await claim(desk, worker)).hooks
    await desk.storage.hooks.settle(worker, [HookGiveBack(hook=first)], now=desk.now)
    desk.later(1)
    assert ids(await claim(desk, worker)) == [1]  # and nobody could tell it
    [again] = (await claim(desk, worker, held=frozenset({first.claim}))).hooks
    assert (again.id, again.attempts, again.results) == (1, 1, ())


async def test_payloads_bound_a_claim_and_one_that_is_larger_comes_alone(desk: "Desk") -> None:
    await insert(desk, None, None, None)
    worker = await desk.worker()
    assert ids(await claim(desk, worker, max_bytes=4)) == [1, 2]
    assert ids(await claim(desk, worker, max_bytes=1)) == [3]
