"""Webhooks of a queue, on each storage: which events become calls, in what order, and what becomes of the answers."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.queue.hook_desk import GUARD, URL, FakeCaller, hook_config

from moxlib.queue import AccountConfig, Deferred, EventType, Failed, MessageFilter, Queue, WorkerConfig
from moxlib.queue.hooks import (
    Disable,
    Hook,
    HookConfig,
    HookEndpoint,
    HookFilter,
    HookOutcome,
    Refused,
    Replay,
    RetiredHook,
    Retry,
    Success,
)
from moxlib.queue.schedule import RetrySchedule
from moxlib.queue.storage.hooks import HookClaimRequest
from moxlib.testing import MemoryStorage
from moxlib.webhook import Call, Outgoing, OutgoingEvent, decode

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Depot

MINUTE = timedelta(minutes=1)
EXACT = RetrySchedule.parse("1m, 2m")  # three attempts


@pytest.fixture
def caller(depot: "Depot") -> FakeCaller:
    return FakeCaller(depot.clock)


def queue_of(depot: "Depot", caller: FakeCaller, webhook: HookConfig | None = None, **config: Any) -> Queue:
    queue = depot.queue(webhook=webhook or hook_config(), **config)
    queue._webhook_caller = caller
    return queue


@asynccontextmanager
async def opened(depot: "Depot", caller: FakeCaller, *webhook: HookConfig, **config: Any) -> AsyncIterator[Queue]:
    async with queue_of(depot, caller, *webhook, **config) as queue:
        yield queue


async def retired(queue: Queue, id_: int) -> RetiredHook:
    hook = await queue.get_retired_webhook(id_)
    assert hook is not None, f"webhook {id_} is not in the history"
    return hook


async def waiting(queue: Queue, id_: int) -> Hook:
    hook = await queue.get_webhook(id_)
    assert hook is not None, f"webhook {id_} does not wait"
    return hook


async def test_an_event_is_called_with_what_mox_sends(depot: "Depot", caller: FakeCaller) -> None:
    depot.sink.answers["a@one.example"] = [Failed(code=550, enhanced="5.1.1", text="no such user", command="RCPT TO")]
    async with opened(depot, caller) as queue:
        [receipt] = await depot.submit(queue, extra={"order": "17"})
        await depot.idle(queue)
        [event] = await queue.list_events()
        [(config, call)] = caller.calls
        assert config.url == URL
        assert (call.ids, call.attempt) == ((1,), 1)
        payload = decode(call.body)
        assert isinstance(payload, Outgoing)
        assert payload.event == "failed"
        assert (payload.smtp_code, payload.smtp_enhanced_code, payload.suppressing) == (550, "5.1.1", True)
        assert (payload.queue_msg_id, payload.message_id, payload.subject) == (
            receipt.id,
            "<1@here.example>",
            "hello",
        )
        assert payload.extra == {"order": "17"}
        assert payload.webhook_queued == event.at
        done = await retired(queue, 1)
        assert (done.outcome, done.event_id, done.message) == (HookOutcome.DELIVERED, event.id, receipt.id)
        [result] = done.results
        assert (result.attempt, result.status, result.text, result.error) == (1, 204, "ok", "")
        assert await queue.count_webhooks() == 0
        assert await queue.webhook_endpoints() == (HookEndpoint(url=URL),)


async def test_only_events_that_are_wanted_are_called_and_accounts_have_their_own(
    depot: "Depot", caller: FakeCaller
) -> None:
    theirs = hook_config(url="https://hooks.example/shop", events=frozenset({OutgoingEvent.CANCELED}))
    accounts = {"shop": AccountConfig(webhook=theirs)}
    async with opened(depot, caller, hook_config(events=frozenset({OutgoingEvent.DELIVERED})), accounts=accounts) as q:
        await depot.submit(q)
        await depot.submit(q, account="shop")
        await q.drop(MessageFilter(ids=(1, 2)[1:]))
        await depot.submit(q)
        await q.drop(MessageFilter(ids=(3,)))
        await depot.idle(q)
        assert [(c.url, json.loads(call.body)["Event"]) for c, call in caller.calls] == [
            ("https://hooks.example/shop", "canceled"),
            (URL, "delivered"),
        ]


async def test_nothing_is_inserted_and_nobody_calls_without_webhooks(depot: "Depot", caller: FakeCaller) -> None:
    queue = depot.queue()
    queue._webhook_caller = caller
    async with queue:
        await depot.submit(queue)
        await depot.idle(queue)
        assert await queue.count_webhooks() == 0
    assert caller.calls == []


async def test_a_failed_call_is_repeated_by_the_schedule_with_the_same_id(depot: "Depot", caller: FakeCaller) -> None:
    caller.verdicts = [Retry(), Refused(location="x")]
    async with opened(depot, caller, hook_config(schedule=EXACT)) as queue:
        await depot.submit(queue)
        await depot.idle(queue)
        first = await waiting(queue, 1)
        assert (first.attempts, first.in_flight, first.results[0].error) == (1, False, "HTTP status 500")
        assert abs(first.next_attempt - depot.clock.now() - MINUTE) <= timedelta(seconds=0.6)
        assert first.results[0].text == "no\ufffd"
        await depot.empty(queue)
        assert caller.ids == [(1,), (1,), (1,)]
        assert caller.attempts == [1, 2, 3]
        done = await retired(queue, 1)
        assert (done.outcome, done.attempts, len(done.results)) == (HookOutcome.DELIVERED, 3, 3)
        assert len({call.body for _, call in caller.calls}) == 1


async def test_after_the_last_attempt_it_is_given_up(depot: "Depot", caller: FakeCaller) -> None:
    caller.answer = lambda _: Retry()
    async with opened(depot, caller, hook_config(schedule=EXACT)) as queue:
        await depot.submit(queue)
        await depot.empty(queue)
        assert len(caller.calls) == 3
        assert (await retired(queue, 1)).outcome is HookOutcome.FAILED


async def test_events_of_a_message_come_in_order_though_the_first_fails(depot: "Depot", caller: FakeCaller) -> None:
    depot.sink.answers["a@one.example"] = [Deferred(code=451, text="busy"), Deferred(code=451, text="busy")]
    caller.verdicts = [Retry()]
    async with opened(depot, caller, hook_config(schedule=RetrySchedule.parse("1h*3")), schedule="1m, 1m, 1m") as queue:
        await depot.submit(queue)
        await depot.idle(queue)
        for _ in range(2):
            await depot.clock.advance(130)
            await depot.idle(queue)
        assert caller.ids == [(1,)]
        hooks = (await queue.list_webhooks()).items
        assert [(hook.id, hook.event, hook.blocked) for hook in hooks] == [
            (1, "delayed", False),
            (2, "delayed", True),
            (3, "delivered", True),
        ]
        await depot.submit(queue, "b@two.example")  # of another message: it waits for nobody
        await depot.idle(queue)
        assert caller.ids == [(1,), (4,)]
        await depot.empty(queue)
        assert caller.ids == [(1,), (4,), (1,), (2,), (3,)]
        assert caller.most == 1


async def test_with_latest_only_what_waits_is_superseded(depot: "Depot", caller: FakeCaller) -> None:
    depot.sink.answers["a@one.example"] = [Deferred(code=451, text="busy")]
    caller.verdicts = [Retry()]
    webhook = hook_config(schedule=RetrySchedule.parse("1h*3"), keep="latest")
    async with opened(depot, caller, webhook, schedule="1m, 1m") as queue:
        await depot.submit(queue)
        await depot.idle(queue)
        await depot.clock.advance(90)
        await depot.idle(queue)
        assert [json.loads(call.body)["Event"] for _, call in caller.calls] == ["delayed", "delivered"]
        assert (await retired(queue, 1)).outcome is HookOutcome.SUPERSEDED
        assert (await retired(queue, 2)).outcome is HookOutcome.DELIVERED


async def test_calls_to_one_url_are_made_at_once_as_many_as_it_may_have(depot: "Depot", caller: FakeCaller) -> None:
    caller.gate.clear()
    async with opened(depot, caller, hook_config(max_at_once=3)) as queue:
        await depot.submit(queue, *[f"r{number}@one.example" for number in range(8)])
        async with queue.worker() as worker, asyncio.timeout(GUARD):
            await caller.came(3)
            caller.gate.set()
            await worker.wait_idle()
        assert caller.most == 3
        assert sorted(caller.ids) == [(n,) for n in range(1, 9)]
        assert await queue.count_webhook_history() == 8


async def test_calls_to_all_urls_are_bounded(depot: "Depot", caller: FakeCaller) -> None:
    caller.gate.clear()
    accounts = {f"a{n}": AccountConfig(webhook=hook_config(url=f"https://h{n}.example/")) for n in range(5)}
    settings = WorkerConfig(settle_gather=timedelta(0), webhook_calls=2)
    async with opened(depot, caller, accounts=accounts, worker=settings) as queue:
        for account in accounts:
            await depot.submit(queue, account=account)
        async with queue.worker() as worker, asyncio.timeout(GUARD):
            await caller.came(2)
            caller.gate.set()
            await worker.wait_idle()
        assert caller.most == 2
        assert len(caller.calls) == 5


async def test_an_idle_worker_has_no_endpoint(depot: "Depot", caller: FakeCaller) -> None:
    storage = MemoryStorage()
    async with opened(depot, caller, storage=storage) as queue, queue.worker() as worker, asyncio.timeout(GUARD):
        await depot.submit(queue)
        await worker.wait_idle()
        assert len(caller.calls) == 1
        assert storage._state.hooks.owners == {}


async def test_410_disables_the_endpoint_with_an_event(depot: "Depot", caller: FakeCaller) -> None:
    caller.verdicts = [Disable()]
    async with opened(depot, caller, hook_config(max_at_once=1)) as queue:
        await depot.submit(queue, "a@one.example", "b@one.example")
        await depot.idle(queue)
        assert len(caller.calls) == 1
        types = [event.type for event in await queue.list_events()]
        assert types == [EventType.DELIVERED, EventType.DELIVERED, EventType.WEBHOOK_DISABLED]
        disabled = (await queue.list_events())[-1]
        assert URL in disabled.error
        [endpoint] = await queue.webhook_endpoints()
        assert endpoint.disabled_since == depot.clock.now()
        assert await queue.count_webhooks() == 2
        assert await queue.next_due() is None
        await depot.submit(queue, "c@one.example")  # not sent while it is disabled, but in the log
        await depot.clock.advance(MINUTE * 10)
        await depot.idle(queue)
        assert len(caller.calls) == 1
        assert await queue.enable_webhook(URL)
        assert not await queue.enable_webhook(URL)
        await depot.idle(queue)
        assert sorted(caller.ids[1:]) == [(1,), (2,)]
        assert await queue.replay_webhooks(Replay(delivered=False)) == 1
        await depot.idle(queue)
        assert caller.ids[3:] == [(3,)]
        assert json.loads(caller.calls[-1][1].body)["QueueMsgID"] == 3


async def test_retry_after_slows_the_whole_endpoint_down(depot: "Depot", caller: FakeCaller) -> None:
    caller.verdicts = [Retry(after=MINUTE * 10)]
    async with opened(depot, caller, hook_config(max_at_once=1)) as queue:
        await depot.submit(queue, "a@one.example", "b@one.example")
        await depot.idle(queue)
        assert caller.ids == [(1,)]
        assert (await waiting(queue, 2)).attempts == 0
        [endpoint] = await queue.webhook_endpoints()
        assert endpoint.slowed_until == depot.clock.now() + MINUTE * 10
        await depot.clock.advance(MINUTE * 9)
        await depot.idle(queue)
        assert caller.ids == [(1,)]
        await depot.empty(queue)
        assert sorted(caller.ids[1:]) == [(1,), (2,)]


async def test_a_batch_carries_several_and_a_later_attempt_one(depot: "Depot", caller: FakeCaller) -> None:
    caller.answer = lambda call: Success() if call.attempt > 3 else Retry()
    webhook = hook_config(batch=3, max_at_once=1, schedule=RetrySchedule.parse("1m*5"))
    async with opened(depot, caller, webhook) as queue:
        await depot.submit(queue, *[f"r{number}@one.example" for number in range(4)])
        await queue.drop(MessageFilter())
        await depot.empty(queue)
        assert [len(ids) for ids in caller.ids] == [3, 1, 3, 1, *[1] * 8]
        assert caller.attempts == [1, 1, 2, 2, *[3] * 4, *[4] * 4]
        assert all(isinstance(json.loads(call.body), list) for _, call in caller.calls)
        assert await queue.count_webhook_history() == 4


async def test_an_account_that_lost_its_webhook_is_told_so(depot: "Depot", caller: FakeCaller) -> None:
    accounts = {"shop": AccountConfig(webhook=hook_config())}
    queue = depot.queue(accounts=accounts)
    async with queue:
        await depot.submit(queue, account="shop")
        await queue.drop(MessageFilter())
    other = depot.queue(accounts={"other": AccountConfig(webhook=hook_config())})
    other._webhook_caller = caller
    async with other:
        await depot.idle(other)
        hook = await waiting(other, 1)
        assert "no webhook any more" in hook.results[0].error
    assert caller.calls == []


async def test_a_new_url_takes_over_what_waits(depot: "Depot", caller: FakeCaller) -> None:
    async with queue_of(depot, caller) as queue:
        await depot.submit(queue)
        await queue.drop(MessageFilter())
    async with queue_of(depot, caller, hook_config(url="https://new.example/")) as queue:
        await depot.idle(queue)
        assert [(config.url, call.ids, call.attempt) for config, call in caller.calls] == [
            ("https://new.example/", (1,), 1)
        ]
        assert (await retired(queue, 1)).url == "https://new.example/"


async def test_stopping_gives_back_what_has_not_begun_and_settles_what_is_cut(
    depot: "Depot", caller: FakeCaller
) -> None:
    caller.gate.clear()
    settings = WorkerConfig(settle_gather=timedelta(0), drain_timeout=timedelta(0))
    async with opened(depot, caller, hook_config(max_at_once=1), worker=settings) as queue:
        await depot.submit(queue, "a@one.example", "b@one.example")
        async with asyncio.timeout(GUARD), queue.worker():
            await caller.came(1)
        cut, other = await waiting(queue, 1), await waiting(queue, 2)
        if caller.ids == [(2,)]:
            cut, other = other, cut
        assert (cut.attempts, cut.in_flight) == (1, False)
        assert "under way" in cut.results[0].error
        assert (other.attempts, other.in_flight, other.results) == (0, False, ())
        caller.gate.set()
        await depot.empty(queue)
        assert sorted(caller.ids[1:]) == [(1,), (2,)]
    assert caller.opened == 0


async def test_a_dead_workers_webhook_is_called_again_with_the_same_id(depot: "Depot", caller: FakeCaller) -> None:
    async with opened(depot, caller) as queue:
        await depot.submit(queue)
        await queue.drop(MessageFilter())
        dead = await queue._storage.register_worker("elsewhere/1", now=depot.clock.now(), lease=MINUTE)
        request = HookClaimRequest(
            now=depot.clock.now(), limit=10, max_bytes=10_000, wait=lambda _account, _attempt: MINUTE * 2
        )
        claim = await queue._storage.hooks.claim(dead, request)
        assert [(hook.id, hook.attempts, hook.in_flight) for hook in claim.hooks] == [(1, 1, True)]
        await depot.idle(queue)
        assert caller.calls == []
        await depot.clock.advance(MINUTE)
        await depot.idle(queue)
        assert (caller.ids, caller.attempts) == ([(1,)], [2])
        done = await retired(queue, 1)
        assert [result.attempt for result in done.results] == [1, 2]
        assert done.results[0].interrupted
        assert "died" in done.results[0].error


async def test_crashes_take_no_attempts_from_a_webhook(depot: "Depot", caller: FakeCaller) -> None:
    caller.answer = lambda _: Retry()
    request = partial(HookClaimRequest, limit=10, max_bytes=10_000, wait=lambda _account, _attempt: MINUTE * 2)
    async with opened(depot, caller, hook_config(schedule=EXACT)) as queue:
        storage = queue._storage
        await depot.submit(queue)
        await queue.drop(MessageFilter())
        for _ in range(5):
            dead = await storage.register_worker("elsewhere/1", now=depot.clock.now(), lease=MINUTE)
            assert (await storage.hooks.claim(dead, request(now=depot.clock.now()))).hooks
            await depot.clock.advance(MINUTE)
            await storage.take_back(now=depot.clock.now())
        await depot.empty(queue)
        assert caller.attempts == [6, 7, 8]
        assert (await retired(queue, 1)).outcome is HookOutcome.FAILED
        caller.calls.clear()
        await queue.replay_webhooks()
        await depot.empty(queue)
        assert caller.attempts == [1, 2, 3]


async def test_a_caller_that_raises_ends_nothing(
    depot: "Depot", caller: FakeCaller, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_call: Call) -> Success:
        raise RuntimeError("boo")

    caller.answer = broken
    async with opened(depot, caller) as queue:
        await depot.submit(queue)
        await depot.idle(queue)
        assert "RuntimeError" in (await waiting(queue, 1)).results[0].error
    assert "calling a webhook raised" in caplog.text


# operators


async def test_canceled_webhooks_are_in_the_history_and_let_the_next_through(
    depot: "Depot", caller: FakeCaller
) -> None:
    depot.sink.answers["a@one.example"] = [Deferred(code=451, text="busy")]
    caller.verdicts = [Retry()]
    webhook = hook_config(schedule=RetrySchedule.parse("1h*3"))
    async with opened(depot, caller, webhook, schedule="1m, 1m") as queue:
        await depot.submit(queue)
        await depot.idle(queue)
        await depot.clock.advance(90)
        await depot.idle(queue)
        assert await queue.cancel_webhooks(HookFilter(event="delayed")) == 1
        canceled = await retired(queue, 1)
        assert (canceled.outcome, canceled.results[-1].attempt) == (HookOutcome.CANCELED, 0)
        await depot.idle(queue)
        assert caller.ids == [(1,), (2,)]


@pytest.mark.parametrize(
    "move",
    [
        lambda q: q.retry_webhooks_now(HookFilter(ids=(1,))),
        lambda q: q.reschedule_webhooks(HookFilter(ids=(1,)), by=-timedelta(hours=2)),
    ],
    ids=["now", "by"],
)
async def test_a_webhook_is_called_sooner(depot: "Depot", caller: FakeCaller, move: Callable[[Queue], Any]) -> None:
    caller.verdicts = [Retry()]
    async with opened(depot, caller, hook_config(schedule=RetrySchedule.parse("1h*3"))) as queue:
        await depot.submit(queue)
        await depot.idle(queue)
        assert await move(queue) == 1
        await depot.idle(queue)
        assert caller.attempts == [1, 2]


async def test_what_was_sent_is_replayed_by_range_under_the_same_id(depot: "Depot", caller: FakeCaller) -> None:
    async with opened(depot, caller) as queue:
        for _ in range(4):
            await depot.submit(queue)
            await depot.idle(queue)
            await depot.clock.advance(MINUTE)
        assert caller.ids == [(1,), (2,), (3,), (4,)]
        assert await queue.replay_webhooks(Replay(first_event=2, last_event=3)) == 2
        await depot.idle(queue)
        assert sorted(caller.ids[4:]) == [(2,), (3,)]
        assert await queue.replay_webhooks(Replay(delivered=False)) == 0
        assert await queue.count_webhook_history() == 4
        assert len((await retired(queue, 2)).results) == 2


async def test_old_history_of_webhooks_is_purged(depot: "Depot", caller: FakeCaller) -> None:
    async with opened(depot, caller, keep_webhooks=timedelta(days=1)) as queue:
        await depot.submit(queue)
        await depot.idle(queue)
        assert await queue.count_webhook_history() == 1
        await depot.clock.advance(timedelta(days=2))
        await queue._storage.purge(now=depot.clock.now(), events_before=depot.clock.now() - timedelta(days=30))
        assert await queue.count_webhook_history() == 0


async def test_none_is_kept_where_none_is_wanted(depot: "Depot", caller: FakeCaller) -> None:
    async with opened(depot, caller, keep_webhooks=timedelta(0)) as queue:
        await depot.submit(queue)
        await depot.idle(queue)
        assert len(caller.calls) == 1
        assert (await queue.count_webhooks(), await queue.count_webhook_history()) == (0, 0)
