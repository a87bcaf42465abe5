"""The contract of `Storage`: what operators change in the queue, and hold rules."""

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from moxlib.queue.selection import MessageFilter
from moxlib.queue.storage.claims import DestinationLimits
from moxlib.queue.storage.settlement import Quarantine
from moxlib.queue.types import HoldRule, RequireTLS, ResultKind

if TYPE_CHECKING:
    from tests.contract.conftest import Desk

SECOND = timedelta(seconds=1)
ANYTHING = MessageFilter()


async def test_hold_and_release(desk: "Desk") -> None:
    a, b = await desk.submit("a@x.example", "b@y.example")
    worker = await desk.worker()
    assert await desk.storage.set_hold(MessageFilter(ids=(a.id,)), hold=True) == 1
    assert await desk.claimed(worker) == ["b@y.example"]
    assert await desk.storage.next_due() is None  # the claim found out that nothing more can be claimed
    assert await desk.storage.set_hold(MessageFilter(ids=(a.id,)), hold=False) == 1
    assert await desk.storage.next_due() == (await desk.message(a.id)).next_attempt
    assert await desk.claimed(worker) == ["a@x.example"]
    assert b.id != a.id


async def test_holding_counts_what_it_changed(desk: "Desk") -> None:
    a, _ = await desk.submit("a@x.example", "b@x.example")
    assert await desk.storage.set_hold(ANYTHING, hold=False) == 0
    assert await desk.storage.set_hold(MessageFilter(ids=(a.id,)), hold=True) == 1
    assert await desk.storage.set_hold(ANYTHING, hold=True) == 1
    assert await desk.storage.set_hold(ANYTHING, hold=True) == 0
    assert await desk.storage.set_hold(ANYTHING, hold=False) == 2


async def test_hold_changes_nothing_else(desk: "Desk") -> None:
    [receipt] = await desk.submit("a@x.example")
    before = await desk.message(receipt.id)
    await desk.storage.set_hold(ANYTHING, hold=True)
    await desk.storage.set_hold(ANYTHING, hold=False)
    assert await desk.message(receipt.id) == before


async def test_a_message_may_be_held_while_in_flight(desk: "Desk") -> None:
    [receipt] = await desk.submit("a@x.example")
    worker = await desk.worker()
    claimed = (await desk.claim_one(worker)).message
    assert await desk.storage.set_hold(ANYTHING, hold=True) == 1
    assert (await desk.message(receipt.id)).in_flight
    assert await desk.settle(worker, desk.deliver(claimed)) == frozenset()  # the attempt was under way


async def test_releasing_in_flight_wakes_nobody(desk: "Desk") -> None:
    await desk.submit("a@x.example")
    worker = await desk.worker()
    await desk.claim(worker)
    await desk.storage.set_hold(ANYTHING, hold=False)
    assert await desk.storage.next_due() is None
    assert await desk.claimed(worker) == []


async def test_releasing_clears_a_quarantine_and_holding_does_not(desk: "Desk") -> None:
    [receipt] = await desk.submit("a@x.example")
    worker = await desk.worker()
    claimed = (await desk.claim_one(worker)).message
    result = desk.result(claimed, ResultKind.QUARANTINED, text="torn")
    await desk.settle(worker, Quarantine(message=claimed, result=result))
    await desk.storage.set_hold(ANYTHING, hold=True)
    assert (await desk.message(receipt.id)).quarantine == "torn"
    assert await desk.storage.count_messages(MessageFilter(quarantined=True)) == 1
    await desk.storage.set_hold(ANYTHING, hold=False)
    message = await desk.message(receipt.id)
    assert (message.quarantine, message.hold) == ("", False)
    assert await desk.claimed(worker) == ["a@x.example"]


async def test_retry_now_brings_the_turn_forward(desk: "Desk") -> None:
    [a] = await desk.submit("a@x.example", due=3600)
    worker = await desk.worker()
    assert await desk.claimed(worker) == []
    assert await desk.storage.set_next_attempt(MessageFilter(ids=(a.id,)), desk.now) == 1
    assert (await desk.message(a.id)).next_attempt == desk.now
    assert await desk.storage.next_due() == desk.now
    assert await desk.claimed(worker) == ["a@x.example"]


async def test_a_later_attempt_is_made_later(desk: "Desk") -> None:
    await desk.submit("a@x.example")
    await desk.storage.set_next_attempt(ANYTHING, desk.now + 60 * SECOND)
    worker = await desk.worker()
    assert await desk.claimed(worker) == []
    assert (await desk.claim(worker)).next_turn == desk.now + 60 * SECOND


@pytest.mark.parametrize("seconds", [-90, 0, 90])
async def test_next_attempts_move_by_a_delay(desk: "Desk", seconds: int) -> None:
    a, b, c = (
        *(await desk.submit("a@x.example", due=100)),
        *(await desk.submit("b@y.example", due=200)),
        *(await desk.submit("c@z.example", due=300)),
    )
    count = await desk.storage.add_next_attempt(MessageFilter(ids=(a.id, b.id)), seconds * SECOND)
    assert count == 2
    moved = [(await desk.message(s.id)).next_attempt - desk.now for s in (a, b, c)]
    assert moved == [(100 + seconds) * SECOND, (200 + seconds) * SECOND, 300 * SECOND]
    desk.later(100 + seconds)
    assert await desk.claimed(await desk.worker()) == ["a@x.example"]


async def test_rescheduling_what_is_held_wakes_nobody(desk: "Desk") -> None:
    await desk.submit("a@x.example", due=60)
    worker = await desk.worker()
    await desk.storage.set_hold(ANYTHING, hold=True)
    desk.later(60)
    await desk.claim(worker)
    await desk.storage.set_next_attempt(ANYTHING, desk.now)
    await desk.storage.add_next_attempt(ANYTHING, -SECOND)
    assert await desk.storage.next_due() is None
    assert await desk.claimed(worker) == []


async def test_rescheduling_in_flight_has_no_effect_beyond_the_attempt(desk: "Desk") -> None:
    [receipt] = await desk.submit("a@x.example")
    worker = await desk.worker()
    claimed = (await desk.claim_one(worker)).message
    assert await desk.storage.set_next_attempt(ANYTHING, desk.now - SECOND) == 1
    assert await desk.storage.next_due() is None
    assert await desk.claimed(worker) == []
    await desk.settle(worker, desk.retry(claimed, after=60))
    assert (await desk.message(receipt.id)).next_attempt == desk.now + 60 * SECOND


async def test_set_and_clear_the_transport(desk: "Desk") -> None:
    a, b = await desk.submit("a@x.example", "b@x.example")
    assert await desk.storage.set_transport(MessageFilter(ids=(a.id,)), "relay") == 1
    assert [(await desk.message(s.id)).transport for s in (a, b)] == ["relay", None]
    assert await desk.storage.set_transport(MessageFilter(transport="relay"), None) == 1
    assert (await desk.message(a.id)).transport is None
    assert [claim.message.transport for claim in (await desk.claim(await desk.worker())).claims] == [None, None]


@pytest.mark.parametrize("require_tls", list(RequireTLS))
async def test_set_require_tls(desk: "Desk", require_tls: RequireTLS) -> None:
    a, b = await desk.submit("a@x.example", "b@x.example")
    assert await desk.storage.set_require_tls(MessageFilter(ids=(b.id,)), require_tls) == 1
    assert [(await desk.message(s.id)).require_tls for s in (a, b)] == [RequireTLS.POLICY, require_tls]


async def test_operators_reach_many_at_once_and_only_what_matches(desk: "Desk") -> None:
    await desk.submit(*(f"{n}@{'xy'[n % 2]}.example" for n in range(1300)))
    half = MessageFilter(destination="y.example")
    assert await desk.storage.set_hold(half, hold=True) == 650
    assert await desk.storage.set_next_attempt(half, desk.now + SECOND) == 650
    assert await desk.storage.add_next_attempt(half, SECOND) == 650
    assert await desk.storage.set_transport(half, "t") == 650
    assert await desk.storage.set_require_tls(half, RequireTLS.NO) == 650
    changed = MessageFilter(hold=True, transport="t", next_attempt_after=desk.now + SECOND)
    assert await desk.storage.count_messages(changed) == 650
    assert await desk.storage.set_hold(half, hold=False) == 650
    assert await desk.storage.set_hold(MessageFilter(account="nobody"), hold=True) == 0
    assert await desk.storage.count_messages(MessageFilter(hold=True)) == 0


async def test_an_operators_work_does_not_jump_the_limit_of_a_destination(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default=1)
    await desk.submit("a@x.example", "b@x.example")
    one, other = await desk.worker(), await desk.worker()
    await desk.claim(one, limit=1)
    await desk.storage.set_next_attempt(ANYTHING, desk.now)
    assert await desk.claimed(other) == []


# hold rules


async def test_hold_rules_are_listed_in_order_of_id(desk: "Desk") -> None:
    first, _ = await desk.storage.add_hold_rule(HoldRule(account="b"))
    second, _ = await desk.storage.add_hold_rule(HoldRule(account="a", sender_domain="s", recipient_domain="r"))
    assert 0 < first.id < second.id
    assert second == HoldRule(account="a", sender_domain="s", recipient_domain="r")
    rules = await desk.storage.hold_rules()
    assert [(rule.id, rule) for rule in rules] == [(first.id, first), (second.id, second)]


async def test_adding_a_rule_holds_what_matches_and_is_not_held_yet(desk: "Desk") -> None:
    [claimed_one] = await desk.submit("flying@x.example")
    worker = await desk.worker()
    claimed = (await desk.claim_one(worker)).message
    [held] = await desk.submit("held@x.example")
    await desk.storage.set_hold(MessageFilter(ids=(held.id,)), hold=True)
    [matching, other] = await desk.submit("a@x.example", "b@y.example")
    rule, count = await desk.storage.add_hold_rule(HoldRule(account="shop", recipient_domain="x.example"))
    assert count == 2
    assert rule.id > 0
    held_now = [(await desk.message(s.id)).hold for s in (claimed_one, held, matching, other)]
    assert held_now == [True, True, True, False]
    await desk.settle(worker, desk.retry(claimed, after=0))
    assert await desk.claimed(worker) == ["b@y.example"]


async def test_an_equal_rule_is_returned_not_doubled_and_applied_again(desk: "Desk") -> None:
    [receipt] = await desk.submit("a@x.example")
    rule, count = await desk.storage.add_hold_rule(HoldRule(recipient_domain="x.example"))
    assert count == 1
    await desk.storage.set_hold(ANYTHING, hold=False)
    again, count = await desk.storage.add_hold_rule(HoldRule(recipient_domain="x.example", id=99))
    assert (again.id, again, count) == (rule.id, rule, 1)
    assert len(await desk.storage.hold_rules()) == 1
    assert (await desk.message(receipt.id)).hold


async def test_removing_a_rule_releases_nothing_and_lets_the_next_pass(desk: "Desk") -> None:
    rule, _ = await desk.storage.add_hold_rule(HoldRule())
    [held] = await desk.submit("a@x.example")
    assert await desk.storage.remove_hold_rule(rule.id)
    assert (await desk.message(held.id)).hold
    assert await desk.storage.hold_rules() == ()
    assert not await desk.storage.remove_hold_rule(rule.id)
    [free] = await desk.submit("b@x.example")
    assert not free.hold


async def test_a_released_message_is_not_caught_again_by_its_rule(desk: "Desk") -> None:
    await desk.storage.add_hold_rule(HoldRule())
    await desk.submit("a@x.example")
    await desk.storage.set_hold(ANYTHING, hold=False)
    worker = await desk.worker()
    claimed = (await desk.claim_one(worker)).message
    await desk.settle(worker, desk.retry(claimed, after=0))
    assert await desk.claimed(worker) == ["a@x.example"]
