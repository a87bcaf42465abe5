"""Operators and attempts under way; rules from loose data; what is held because nobody knows."""

from typing import TYPE_CHECKING, Any

import pytest

from moxlib.queue import Deferred, EventType, HoldRule, InvalidFilter, MessageFilter, State, Unknown

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Depot

ALL = MessageFilter()


async def test_an_attempt_under_way_goes_on_when_its_message_is_held(depot: "Depot") -> None:
    depot.sink.answers["a@one.example"] = [Deferred(text="later")]
    depot.sink.gate.clear()
    async with depot.queue() as queue:
        [receipt] = await depot.submit(queue)
        async with queue.worker() as worker:
            await depot.sink.began(1)
            assert await queue.hold(ALL) == 1
            depot.sink.gate.set()
            await worker.wait_idle()
        message = await depot.message(queue, receipt.id)
        assert (message.hold, message.attempts) == (True, 1)
        await depot.empty(queue)
        assert await queue.count_messages() == 1


async def test_a_new_time_for_a_message_in_flight_has_no_effect(depot: "Depot") -> None:
    depot.sink.answers["a@one.example"] = [Deferred(text="later")]
    depot.sink.gate.clear()
    async with depot.queue(schedule="1h") as queue:
        [receipt] = await depot.submit(queue)
        async with queue.worker() as worker:
            await depot.sink.began(1)
            await queue.retry_now(ALL)
            depot.sink.gate.set()
            await worker.wait_idle()
        assert len(depot.sink.deliveries) == 1
        assert (await depot.message(queue, receipt.id)).next_attempt > depot.clock.now()


@pytest.mark.parametrize(("how", "event"), [("drop", EventType.CANCELED), ("fail", EventType.FAILED)])
async def test_the_outcome_of_an_attempt_whose_message_was_ended_is_lost(
    depot: "Depot", how: str, event: EventType
) -> None:
    depot.sink.gate.clear()
    async with depot.queue() as queue:
        [receipt] = await depot.submit(queue)
        async with queue.worker() as worker:
            await depot.sink.began(1)
            assert await getattr(queue, how)(ALL) == 1
            depot.sink.gate.set()
            await depot.ear.heard("lease_lost")
            await worker.wait_idle()
        assert (await depot.retired(queue, receipt.id)).event is event
        assert [told.type for told in await queue.list_events()] == [event]


async def test_a_rule_from_loose_data(depot: "Depot") -> None:
    with pytest.raises(InvalidFilter, match=r"'recipient'.*recipient_domain"):
        HoldRule.of({"recipient": "one.example"})
    async with depot.queue() as queue:
        rule, _ = await queue.add_hold_rule(HoldRule.of({"recipient_domain": "ONE.example"}))
        assert await queue.hold_rules() == (rule,) == (HoldRule(recipient_domain="one.example"),)
        with pytest.raises(InvalidFilter, match="domain"):
            await queue.add_hold_rule(HoldRule.of({"recipient_domain": "a b"}))


@pytest.mark.parametrize("account", ["a\0b", "a\ud800", 17])
async def test_a_rule_for_an_account_that_no_message_can_have_is_refused(depot: "Depot", account: Any) -> None:
    async with depot.queue() as queue:
        with pytest.raises(InvalidFilter, match="account"):
            await queue.add_hold_rule(account=account)
        assert await queue.hold_rules() == ()


async def test_explain_what_is_held_because_nobody_knows(depot: "Depot") -> None:
    depot.sink.answer = lambda _: Unknown(text="lost after the final dot")
    async with depot.queue(on_unknown="hold") as queue:
        [receipt] = await depot.submit(queue)
        await depot.idle(queue)
        explanation = await queue.explain(receipt.id)
    assert explanation is not None
    assert explanation.state is State.HELD
    assert "nobody knows" in explanation.reason
    assert "unknown lost after the final dot" in str(explanation)
