"""The contract of `Storage`: what becomes of claimed messages, the history, the event log, purging."""

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from moxlib.queue.selection import HistoryFilter, MessageFilter
from moxlib.queue.storage.settlement import Quarantine
from moxlib.queue.types import AttemptResult, Event, EventType, RequireTLS, ResultKind, Retired

if TYPE_CHECKING:
    from tests.contract.conftest import Desk

    from moxlib.queue.storage.settlement import Settlement

SECOND = timedelta(seconds=1)


# Retry


async def test_a_retry_is_due_again_with_its_result(desk: "Desk") -> None:
    [receipt] = await desk.submit("a@x.example")
    worker = await desk.worker()
    claimed = (await desk.claim_one(worker)).message
    result = AttemptResult(
        attempt=1,
        kind=ResultKind.DEFERRED,
        started=desk.now + timedelta(microseconds=7),
        duration=timedelta(milliseconds=1500, microseconds=3),
        code=451,
        enhanced="4.7.1",
        text='greylisted "ü"\n',
        transport="relay",
        peer="mx1.x.example [2001:db8::1]",
    )
    began = desk.now
    desk.later(5)
    lost = await desk.settle(worker, desk.retry(claimed, after=60, result=result))
    assert lost == frozenset()
    message = await desk.message(receipt.id)
    assert message.results == (result,)
    assert (message.in_flight, message.hold, message.next_attempt) == (False, False, desk.now + 60 * SECOND)
    assert (message.attempts, message.last_attempt) == (1, began)
    assert await desk.storage.next_due() == desk.now + 60 * SECOND
    assert await desk.storage.events(after=0, limit=9) == ()
    desk.later(59)
    assert await desk.claimed(worker) == []
    desk.later(1)
    assert (await desk.claim_one(worker)).message.attempts == 2


async def test_results_add_up(desk: "Desk") -> None:
    await desk.submit("a@x.example")
    worker = await desk.worker()
    for _ in range(3):
        desk.later(60)
        await desk.settle(worker, desk.retry((await desk.claim_one(worker)).message, after=60))
    message = await desk.message(1)
    assert [result.attempt for result in message.results] == [1, 2, 3]
    assert [result.started for result in message.results] == [desk.now - 120 * SECOND, desk.now - 60 * SECOND, desk.now]


async def test_a_retry_may_hold(desk: "Desk") -> None:
    await desk.submit("a@x.example")
    worker = await desk.worker()
    await desk.settle(worker, desk.retry((await desk.claim_one(worker)).message, after=-5, hold=True))
    assert (await desk.message(1)).hold
    assert await desk.storage.next_due() is None
    assert await desk.claimed(worker) == []


async def test_a_delayed_retry_logs_it(desk: "Desk") -> None:
    await desk.submit("a@x.example")
    worker = await desk.worker()
    claimed = (await desk.claim_one(worker)).message
    desk.later()
    await desk.settle(worker, desk.retry(claimed, delayed=True))
    assert await desk.storage.events(after=0, limit=9) == (
        Event(
            id=1,
            at=desk.now,
            type=EventType.DELAYED,
            account="shop",
            message=1,
            recipient="a@x.example",
            code=451,
            enhanced="4.3.0",
            error="was deferred",
        ),
    )


async def test_what_operators_did_meanwhile_stays_save_the_next_attempt(desk: "Desk") -> None:
    await desk.submit("a@x.example")
    worker = await desk.worker()
    claimed = (await desk.claim_one(worker)).message
    anything = MessageFilter()
    await desk.storage.set_hold(anything, hold=True)
    await desk.storage.set_transport(anything, "other")
    await desk.storage.set_require_tls(anything, RequireTLS.NO)
    await desk.storage.set_next_attempt(anything, desk.now + 3600 * SECOND)
    await desk.settle(worker, desk.retry(claimed, after=60))
    message = await desk.message(1)
    assert (message.hold, message.transport, message.require_tls) == (True, "other", RequireTLS.NO)
    assert message.next_attempt == desk.now + 60 * SECOND


# GiveBack


async def test_giving_back_leaves_no_trace(desk: "Desk") -> None:
    await desk.submit("a@x.example")
    worker = await desk.worker()
    before = await desk.message(1)
    desk.later()
    claimed = (await desk.claim_one(worker)).message
    desk.later()
    assert await desk.settle(worker, desk.give_back(claimed)) == frozenset()
    assert await desk.message(1) == before
    assert await desk.storage.next_due() == before.next_attempt
    assert await desk.storage.events(after=0, limit=9) == ()
    assert (await desk.claim_one(worker)).message.attempts == 1


async def test_giving_back_a_later_attempt_leaves_the_earlier_ones(desk: "Desk") -> None:
    await desk.submit("a@x.example")
    worker = await desk.worker()
    await desk.settle(worker, desk.retry((await desk.claim_one(worker)).message, after=1))
    before = await desk.message(1)
    desk.later(10)
    await desk.settle(worker, desk.give_back((await desk.claim_one(worker)).message))
    assert await desk.message(1) == before


async def test_what_is_given_back_has_what_operators_set_meanwhile(desk: "Desk") -> None:
    await desk.submit("a@x.example", "b@x.example")
    worker = await desk.worker()
    one, other = (await desk.claim(worker)).claims
    await desk.storage.set_hold(MessageFilter(ids=(one.message.id,)), hold=True)
    await desk.storage.set_next_attempt(MessageFilter(), desk.now + 50 * SECOND)
    await desk.settle(worker, desk.give_back(one.message), desk.give_back(other.message))
    assert (await desk.message(one.message.id)).hold
    assert await desk.storage.next_due() == desk.now + 50 * SECOND


# Quarantine


async def test_quarantine_holds_says_why_and_logs(desk: "Desk") -> None:
    [receipt] = await desk.submit("a@x.example")
    worker = await desk.worker()
    claimed = (await desk.claim_one(worker)).message
    result = desk.result(claimed, ResultKind.QUARANTINED, text="3 bytes are missing")
    desk.later()
    await desk.settle(worker, Quarantine(message=claimed, result=result))
    message = await desk.message(receipt.id)
    assert (message.hold, message.quarantine, message.in_flight) == (True, "3 bytes are missing", False)
    assert (message.attempts, message.results) == (1, (result,))
    [event] = await desk.storage.events(after=0, limit=9)
    assert (event.type, event.error, event.code, event.at) == (
        EventType.QUARANTINED,
        "3 bytes are missing",
        0,
        desk.now,
    )
    assert await desk.claimed(worker) == []
    assert await desk.storage.content(receipt.base_id) is not None


# Retire


async def test_retiring_moves_to_the_history_and_logs(desk: "Desk") -> None:
    [receipt] = await desk.submit(
        "a@x.example", message_id="<m@here>", subject="ü", transport="relay", schedule="1m", extra={"k": "v"}
    )
    worker = await desk.worker()
    queued = desk.now
    await desk.settle(worker, desk.retry((await desk.claim_one(worker)).message))
    desk.later(60)
    began = desk.now
    claimed = (await desk.claim_one(worker)).message
    desk.later(2)
    settlement = desk.deliver(claimed)
    assert await desk.settle(worker, settlement) == frozenset()
    assert await desk.storage.get(receipt.id) is None
    assert await desk.storage.count_messages(MessageFilter()) == 0
    expected = Retired(
        id=receipt.id,
        base_id=receipt.base_id,
        account="shop",
        sender="sender@here.example",
        recipient="a@x.example",
        destination="x.example",
        queued=queued,
        finished=desk.now,
        keep_until=settlement.keep_until,
        event=EventType.DELIVERED,
        attempts=2,
        max_attempts=8,
        last_attempt=began,
        results=(*claimed.results, settlement.result),
        size=claimed.size,
        message_id="<m@here>",
        subject="ü",
        transport="relay",
        schedule="1m",
        extra={"k": "v"},
    )
    retired = await desk.storage.get_retired(receipt.id)
    assert retired == expected
    assert retired is not None
    assert retired.success
    assert await desk.storage.events(after=0, limit=9) == (
        Event(
            id=1,
            at=desk.now,
            type=EventType.DELIVERED,
            account="shop",
            message=receipt.id,
            recipient="a@x.example",
            message_id="<m@here>",
            subject="ü",
            extra={"k": "v"},
        ),
    )


async def test_a_failure_is_logged_with_its_code(desk: "Desk") -> None:
    await desk.submit("a@x.example")
    worker = await desk.worker()
    claimed = (await desk.claim_one(worker)).message
    result = desk.result(claimed, ResultKind.FAILED, code=550, enhanced="5.1.1", text="no such user")
    await desk.settle(worker, desk.deliver(claimed, event=EventType.FAILED, result=result))
    [event] = await desk.storage.events(after=0, limit=9)
    assert (event.type, event.code, event.enhanced, event.error) == (EventType.FAILED, 550, "5.1.1", "no such user")
    retired = await desk.storage.get_retired(1)
    assert retired is not None
    assert not retired.success


async def test_what_is_not_kept_past_now_is_not_kept(desk: "Desk") -> None:
    await desk.submit("a@x.example", "b@x.example", "c@x.example")
    worker = await desk.worker()
    a, b, c = ((claim.message) for claim in (await desk.claim(worker)).claims)
    await desk.settle(
        worker,
        desk.deliver(a, keep_until=desk.now),
        desk.deliver(b, keep_until=desk.now - SECOND),
        desk.deliver(c, keep_until=desk.now + timedelta(microseconds=1)),
    )
    assert [await desk.storage.get_retired(m.id) is not None for m in (a, b, c)] == [False, False, True]
    assert await desk.storage.count_retired(HistoryFilter()) == 1
    assert len(await desk.storage.events(after=0, limit=9)) == 3
    assert await desk.storage.content(a.base_id) is None


# settle


async def test_only_the_owner_settles(desk: "Desk") -> None:
    a, b, c = await desk.submit("a@x.example", "b@x.example", "c@x.example", due=1)
    unclaimed = await desk.message(c.id)
    await desk.storage.set_hold(MessageFilter(ids=(c.id,)), hold=True)
    desk.later()
    one, other = await desk.worker(), await desk.worker()
    [mine] = (await desk.claim(one, limit=1)).claims
    [theirs] = (await desk.claim(other, limit=1)).claims
    lost = await desk.settle(one, desk.deliver(mine.message), desk.deliver(theirs.message), desk.retry(unclaimed))
    assert lost == {b.id, c.id}
    assert await desk.storage.get(a.id) is None
    assert await desk.message(b.id) == theirs.message
    assert (await desk.message(c.id)).results == ()
    assert await desk.settle(other, desk.deliver(theirs.message)) == frozenset()


async def test_a_message_is_settled_once(desk: "Desk") -> None:
    await desk.submit("a@x.example")
    worker = await desk.worker()
    claimed = (await desk.claim_one(worker)).message
    await desk.settle(worker, desk.retry(claimed))
    before = await desk.message(1)
    for again in (desk.retry(claimed), desk.deliver(claimed), desk.give_back(claimed)):
        assert await desk.settle(worker, again) == {1}
    assert await desk.message(1) == before
    assert await desk.storage.events(after=0, limit=9) == ()


@pytest.mark.parametrize("kind", ["retry", "deliver", "give back"])
async def test_what_a_worker_settles_once_more_leaves_its_next_claim_alone(desk: "Desk", kind: str) -> None:
    """So it is after a commit whose end the worker did not hear of: it tries again, and has claimed anew meanwhile."""
    await desk.submit("a@x.example")
    worker = await desk.worker()
    claimed = (await desk.claim_one(worker)).message
    settlements: dict[str, Settlement] = {
        "retry": desk.retry(claimed, after=1),
        "deliver": desk.deliver(claimed),
        "give back": desk.give_back(claimed),
    }
    first = "give back" if kind == "give back" else "retry"
    assert await desk.settle(worker, settlements[first]) == frozenset()
    desk.later(1)
    again = (await desk.claim_one(worker)).message
    assert await desk.settle(worker, settlements[kind]) == {1}
    assert await desk.message(1) == again
    assert await desk.settle(worker, desk.deliver(again)) == frozenset()
    retired = await desk.storage.get_retired(1)
    assert retired is not None
    assert [result.attempt for result in retired.results] == list(range(1, again.attempts + 1))


async def test_many_kinds_settle_together(desk: "Desk") -> None:
    await desk.submit(*(f"{n}@x.example" for n in range(4)))
    worker = await desk.worker()
    retried, delivered, back, damaged = ((claim.message) for claim in (await desk.claim(worker)).claims)
    result = desk.result(damaged, ResultKind.QUARANTINED)
    assert not await desk.settle(
        worker,
        desk.retry(retried, delayed=True),
        Quarantine(message=damaged, result=result),
        desk.deliver(delivered),
        desk.give_back(back),
    )
    assert [(m.id, m.attempts, m.in_flight, m.hold) for m in await desk.messages()] == [
        (retried.id, 1, False, False),
        (back.id, 0, False, False),
        (damaged.id, 1, False, True),
    ]
    events = await desk.storage.events(after=0, limit=9)
    assert {(event.type, event.message) for event in events} == {
        (EventType.DELAYED, retried.id),
        (EventType.QUARANTINED, damaged.id),
        (EventType.DELIVERED, delivered.id),
    }


async def test_settling_nothing_is_nothing(desk: "Desk") -> None:
    assert await desk.settle(await desk.worker()) == frozenset()


async def test_many_settle_at_once(desk: "Desk") -> None:
    await desk.submit(*(f"{n}@x.example" for n in range(1200)))
    worker = await desk.worker()
    claims = (await desk.claim(worker, limit=1200, default_room=1200)).claims
    assert len(claims) == 1200
    assert await desk.settle(worker, *(desk.deliver(claim.message) for claim in claims)) == frozenset()
    assert await desk.storage.count_retired(HistoryFilter(success=True)) == 1200
    assert len(await desk.storage.events(after=0, limit=5000)) == 1200


# events


async def test_events_are_read_from_a_cursor_on(desk: "Desk") -> None:
    await desk.submit(*(f"{n}@x.example" for n in range(5)))
    worker = await desk.worker()
    for claim in (await desk.claim(worker)).claims:
        desk.later()
        await desk.settle(worker, desk.deliver(claim.message))
    everything = await desk.storage.events(after=0, limit=100)
    assert [event.message for event in everything] == [1, 2, 3, 4, 5]
    ids = [event.id for event in everything]
    assert ids == sorted(set(ids))
    assert await desk.storage.events(after=0, limit=2) == everything[:2]
    assert await desk.storage.events(after=ids[1], limit=2) == everything[2:4]
    assert await desk.storage.events(after=ids[-1], limit=2) == ()


# purge


async def test_purge_deletes_what_is_past_its_time(desk: "Desk") -> None:
    await desk.submit("a@x.example", "b@x.example", "c@x.example")
    worker = await desk.worker()
    for seconds, claim in zip((10, 20, 21), (await desk.claim(worker)).claims, strict=True):
        await desk.settle(worker, desk.deliver(claim.message, keep_until=desk.now + seconds * SECOND))
    start = desk.now
    assert await desk.storage.purge(now=start, events_before=start) == 0
    assert await desk.storage.purge(now=start + 20 * SECOND, events_before=start) == 2
    assert [await desk.storage.get_retired(n) is not None for n in (1, 2, 3)] == [False, False, True]
    assert len(await desk.storage.events(after=0, limit=9)) == 3
    assert await desk.storage.purge(now=start, events_before=start + timedelta(microseconds=1)) == 3
    assert await desk.storage.events(after=0, limit=9) == ()
    assert await desk.storage.count_retired(HistoryFilter()) == 1


async def test_purging_touches_nothing_that_is_queued(desk: "Desk") -> None:
    await desk.submit("a@x.example", "b@y.example")
    worker = await desk.worker()
    one, other = (await desk.claim(worker)).claims
    await desk.settle(worker, desk.deliver(one.message, keep_until=desk.now + SECOND), desk.retry(other.message))
    desk.later(3600)
    before = await desk.message(other.message.id)
    assert await desk.storage.purge(now=desk.now, events_before=desk.now) == 2
    assert await desk.message(other.message.id) == before
    assert await desk.storage.content(other.message.base_id) is not None
    assert await desk.claimed(worker) == ["b@y.example"]


async def test_a_destination_that_was_purged_can_be_submitted_to_again(desk: "Desk") -> None:
    await desk.submit("a@x.example")
    worker = await desk.worker()
    claim = await desk.claim_one(worker)
    await desk.settle(worker, desk.deliver(claim.message, keep_until=desk.now))
    await desk.claim(worker, release=["x.example"])
    desk.later()
    await desk.storage.purge(now=desk.now, events_before=desk.now)
    await desk.submit("b@x.example")
    assert await desk.claimed(worker) == ["b@x.example"]


async def test_purge_is_bounded_and_gets_done_in_the_end(desk: "Desk") -> None:
    await desk.submit(*(f"{n}@x.example" for n in range(2500)))
    worker = await desk.worker()
    claims = (await desk.claim(worker, limit=2500, default_room=2500)).claims
    await desk.settle(worker, *(desk.deliver(c.message, keep_until=desk.now + SECOND) for c in claims))
    desk.later(2)
    purged = []
    while count := await desk.storage.purge(now=desk.now, events_before=desk.now):
        purged.append(count)
    assert sum(purged) == 5000
    assert max(purged) < 5000
    assert await desk.storage.count_retired(HistoryFilter()) == 0
    assert await desk.storage.events(after=0, limit=9) == ()


# retire, by an operator


@pytest.mark.parametrize("event", [EventType.CANCELED, EventType.FAILED])
async def test_operators_drop_and_fail(desk: "Desk", event: EventType) -> None:
    a, b = await desk.submit("a@x.example", "b@x.example")
    desk.later()
    count = await desk.storage.retire(
        MessageFilter(ids=(a.id,)), event=event, text="by hand", now=desk.now, keep={"": 60 * SECOND}
    )
    assert count == 1
    retired = await desk.storage.get_retired(a.id)
    assert retired is not None
    assert (retired.event, retired.finished, retired.keep_until) == (event, desk.now, desk.now + 60 * SECOND)
    assert retired.results == (AttemptResult(attempt=0, kind=ResultKind.CANCELED, started=desk.now, text="by hand"),)
    assert (retired.attempts, retired.last_attempt) == (0, None)
    [logged] = await desk.storage.events(after=0, limit=9)
    assert (logged.type, logged.code, logged.error, logged.message) == (event, 0, "by hand", a.id)
    assert [m.id for m in await desk.messages()] == [b.id]
    assert await desk.storage.content(a.base_id) is not None


async def test_retention_is_the_accounts_own_or_the_default(desk: "Desk") -> None:
    [a] = await desk.submit("a@x.example", account="one")
    [b] = await desk.submit("b@x.example", account="two")
    [c] = await desk.submit("c@x.example", account="three")
    keep = {"": 60 * SECOND, "two": 5 * SECOND, "three": timedelta(0)}
    anything = MessageFilter()
    count = await desk.storage.retire(anything, event=EventType.CANCELED, text="", now=desk.now, keep=keep)
    assert count == 3
    kept = [await desk.storage.get_retired(receipt.id) for receipt in (a, b, c)]
    assert [retired and retired.keep_until - desk.now for retired in kept] == [60 * SECOND, 5 * SECOND, None]
    assert len(await desk.storage.events(after=0, limit=9)) == 3


async def test_an_attempt_under_way_loses_its_result_when_the_message_is_dropped(desk: "Desk") -> None:
    [receipt] = await desk.submit("a@x.example")
    worker = await desk.worker()
    claimed = (await desk.claim_one(worker)).message
    await desk.storage.retire(MessageFilter(), event=EventType.CANCELED, text="", now=desk.now, keep={"": 60 * SECOND})
    before = await desk.storage.get_retired(receipt.id)
    assert before is not None
    assert before.attempts == 1
    for late in (desk.deliver(claimed), desk.retry(claimed), desk.give_back(claimed)):
        assert await desk.settle(worker, late) == {receipt.id}
    assert await desk.storage.get_retired(receipt.id) == before
    assert await desk.storage.get(receipt.id) is None
    assert await desk.storage.take_back(now=desk.now, dead=[worker]) == (worker,)
    assert await desk.storage.get(receipt.id) is None


async def test_dropping_what_does_not_match_drops_nothing(desk: "Desk") -> None:
    await desk.submit("a@x.example")
    nothing = MessageFilter(account="else")
    count = await desk.storage.retire(nothing, event=EventType.CANCELED, text="", now=desk.now, keep={})
    assert count == 0
    assert await desk.storage.count_messages(MessageFilter()) == 1
    assert await desk.storage.events(after=0, limit=9) == ()
