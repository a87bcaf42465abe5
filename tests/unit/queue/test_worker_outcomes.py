"""What the worker makes of outcomes, schedules, routes, and of transports that misbehave."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from moxlib.errors import StateError
from moxlib.queue import (
    AccountConfig,
    Deferred,
    Delivered,
    Delivery,
    DomainConfig,
    EventType,
    Failed,
    FailTransport,
    MessageFilter,
    Outcome,
    RequireTLS,
    ResultKind,
    Route,
    Unknown,
    WorkerConfig,
)
from moxlib.testing import FakeClock

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Depot, Sink

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
GUARD = 60  # seconds after which a test that hangs fails instead
ALL = MessageFilter()


def kinds(results: Sequence[Any]) -> list[str]:
    return [result.kind.value for result in results]


# outcomes


async def test_delivered_goes_into_the_history(depot: "Depot") -> None:
    depot.sink.answer = lambda _: Delivered(code=250, enhanced="2.0.0", text="queued as 17", peer="mx.one.example")
    async with depot.queue(keep_history=HOUR) as queue:
        [receipt] = await depot.submit(queue, extra={"invoice": "17"}, account="shop")
        await depot.idle(queue)
        assert await queue.get(receipt.id) is None
        retired = await depot.retired(queue, receipt.id)
        [event] = await queue.list_events()
    assert retired.success
    assert (retired.event, retired.attempts, retired.account) == (EventType.DELIVERED, 1, "shop")
    assert (retired.sender, retired.recipient, retired.extra) == (
        "sender@here.example",
        "a@one.example",
        {"invoice": "17"},
    )
    assert retired.keep_until == depot.clock.now() + HOUR
    [result] = retired.results
    assert (result.kind, result.attempt, result.code, result.enhanced) == (ResultKind.DELIVERED, 1, 250, "2.0.0")
    assert (result.text, result.peer, result.transport) == ("queued as 17", "mx.one.example", "sink")
    assert (event.type, event.message, event.recipient) == (EventType.DELIVERED, receipt.id, "a@one.example")


async def test_failed_ends_at_once(depot: "Depot") -> None:
    depot.sink.answer = lambda _: Failed(code=550, enhanced="5.1.1", text="no such user")
    async with depot.queue() as queue:
        [receipt] = await depot.submit(queue)
        await depot.empty(queue)
        retired = await depot.retired(queue, receipt.id)
        [event] = await queue.list_events()
    assert (retired.event, retired.attempts, retired.success) == (EventType.FAILED, 1, False)
    assert (event.code, event.enhanced, event.error) == (550, "5.1.1", "no such user")


async def test_deferred_is_tried_again_by_the_schedule_until_it_ends(depot: "Depot") -> None:
    depot.sink.answer = lambda _: Deferred(code=451, enhanced="4.3.0", text="later")
    begun = []
    async with depot.queue(schedule="1m, 1h") as queue:
        [receipt] = await depot.submit(queue)
        await depot.idle(queue)
        message = await depot.message(queue, receipt.id)
        assert (message.attempts, message.in_flight, kinds(message.results)) == (1, False, ["deferred"])
        assert abs(message.next_attempt - depot.clock.now() - MINUTE) <= MINUTE * 0.01
        begun.append(depot.clock.now())
        await depot.empty(queue)
        retired = await depot.retired(queue, receipt.id)
        events = await queue.list_events()
    assert (retired.event, retired.attempts, kinds(retired.results)) == (EventType.FAILED, 3, ["deferred"] * 3)
    assert [result.attempt for result in retired.results] == [1, 2, 3]
    waits = [b.started - a.started for a, b in zip(retired.results, retired.results[1:], strict=False)]
    assert [round(wait / MINUTE) for wait in waits] == [1, pytest.approx(60, abs=1)]
    assert [event.type for event in events] == [EventType.DELAYED, EventType.DELAYED, EventType.FAILED]
    assert [event.error for event in events] == ["later"] * 3


async def test_the_waits_vary_by_a_hundredth(depot: "Depot") -> None:
    depot.sink.answer = lambda _: Deferred(text="later")
    async with depot.queue(schedule="1h") as queue:
        for n in range(20):
            await depot.submit(queue, f"a{n}@one.example")
        await depot.idle(queue)
        waits = {m.next_attempt - depot.clock.now() for m in (await queue.list_messages()).items}
    assert len(waits) == 20
    assert all(abs(wait - HOUR) <= HOUR * 0.01 for wait in waits)


async def test_deferred_then_delivered(depot: "Depot") -> None:
    depot.sink.answers["a@one.example"] = [Deferred(text="later"), Deferred(text="later")]
    async with depot.queue() as queue:
        [receipt] = await depot.submit(queue)
        await depot.empty(queue)
        retired = await depot.retired(queue, receipt.id)
    assert kinds(retired.results) == ["deferred", "deferred", "delivered"]


async def test_retry_after_puts_the_next_attempt_off(depot: "Depot") -> None:
    depot.sink.answers = {
        "a@one.example": [Deferred(text="later", retry_after=HOUR)],
        "b@two.example": [Deferred(text="later", retry_after=MINUTE / 10)],
        "c@three.example": [Deferred(text="later", retry_after=timedelta(days=900))],
    }
    async with depot.queue(schedule="1m*5") as queue:
        receipts = await depot.submit(queue, *depot.sink.answers)
        await depot.idle(queue)
        waits = [(await depot.message(queue, r.id)).next_attempt - depot.clock.now() for r in receipts]
    assert waits[0] == HOUR
    assert waits[1] == pytest.approx(MINUTE, abs=MINUTE / 50)  # the schedule's, which is longer
    assert waits[2] == timedelta(days=60)


async def test_max_attempts_end_the_schedule_early(depot: "Depot") -> None:
    depot.sink.answer = lambda _: Deferred(text="later")
    async with depot.queue() as queue:
        [receipt] = await depot.submit(queue, max_attempts=2)
        await depot.empty(queue)
        assert (await depot.retired(queue, receipt.id)).attempts == 2


async def test_unknown_is_recorded_and_tried_again(depot: "Depot") -> None:
    depot.sink.answers["a@one.example"] = [Unknown(text="lost after the final dot", peer="mx")]
    async with depot.queue() as queue:
        [receipt] = await depot.submit(queue)
        await depot.idle(queue)
        message = await depot.message(queue, receipt.id)
        assert (message.hold, kinds(message.results), message.results[0].peer) == (False, ["unknown"], "mx")
        await depot.empty(queue)
        assert kinds((await depot.retired(queue, receipt.id)).results) == ["unknown", "delivered"]


async def test_unknown_is_held_when_configured_so(depot: "Depot") -> None:
    depot.sink.answers["a@one.example"] = [Unknown(text="lost")]
    async with depot.queue(on_unknown="hold") as queue:
        [receipt] = await depot.submit(queue)
        await depot.empty(queue)
        assert (await depot.message(queue, receipt.id)).hold
        assert await queue.release(ALL) == 1
        await depot.empty(queue)
        assert kinds((await depot.retired(queue, receipt.id)).results) == ["unknown", "delivered"]


async def test_unknown_at_the_last_attempt_is_held_and_once_released_tried_again(depot: "Depot") -> None:
    depot.sink.answers["a@one.example"] = [Unknown(text="lost")]
    async with depot.queue(on_unknown="hold") as queue:
        [receipt] = await depot.submit(queue, max_attempts=1)
        await depot.empty(queue)
        assert (await depot.message(queue, receipt.id)).hold
        await queue.release(ALL)
        await depot.empty(queue)
        assert kinds((await depot.retired(queue, receipt.id)).results) == ["unknown", "delivered"]


async def test_unknown_at_the_last_attempt_fails_when_it_is_not_held(depot: "Depot") -> None:
    depot.sink.answer = lambda _: Unknown(text="lost")
    async with depot.queue() as queue:
        [receipt] = await depot.submit(queue, max_attempts=1)
        await depot.empty(queue)
        retired = await depot.retired(queue, receipt.id)
    assert (retired.event, kinds(retired.results)) == (EventType.FAILED, ["unknown"])


async def test_recipients_of_one_delivery_have_outcomes_of_their_own(depot: "Depot") -> None:
    outcomes: list[Outcome] = [
        Delivered(text="ok"),
        Failed(code=550, text="no"),
        Deferred(text="later"),
        Unknown(text="?"),
    ]
    addresses = [f"{name}@one.example" for name in "abcd"]
    depot.sink.answers = {address: [outcome] for address, outcome in zip(addresses, outcomes, strict=True)}
    async with depot.queue() as queue:
        receipts = await depot.submit(queue, *addresses)
        await depot.idle(queue)
        assert depot.sink.recipients == [tuple(addresses)]
        assert (await depot.retired(queue, receipts[0].id)).event is EventType.DELIVERED
        assert (await depot.retired(queue, receipts[1].id)).event is EventType.FAILED
        assert kinds((await depot.message(queue, receipts[2].id)).results) == ["deferred"]
        assert kinds((await depot.message(queue, receipts[3].id)).results) == ["unknown"]


async def test_long_and_odd_texts_of_a_transport_are_kept_within_bounds(depot: "Depot") -> None:
    depot.sink.answers = {
        "a@one.example": [Deferred(text="x" * 10_000), Failed(text="caf\udce9 \ud800 \0", peer="\udcff", enhanced="")]
    }
    async with depot.queue() as queue:
        [receipt] = await depot.submit(queue)
        await depot.empty(queue)
        first, second = (await depot.retired(queue, receipt.id)).results
    assert len(first.text) == 2000
    assert second.text.startswith("caf")
    second.text.encode()
    second.peer.encode()


# schedules of the caller's


@pytest.mark.parametrize("problem", [ZeroDivisionError(), 60, timedelta(-1), timedelta(days=61), "1m"], ids=repr)
async def test_a_schedule_function_that_fails_loses_no_message(depot: "Depot", problem: Any) -> None:
    def schedule(attempts: int) -> Any:
        if isinstance(problem, Exception):
            raise problem
        return problem

    depot.sink.answers["a@one.example"] = [Deferred(text="later"), Deferred(text="later")]
    async with depot.queue(schedule=schedule) as queue:
        [receipt] = await depot.submit(queue)
        await depot.idle(queue)
        message = await depot.message(queue, receipt.id)
        assert message.next_attempt == depot.clock.now() + HOUR
        explanation = await queue.explain(receipt.id)
        assert explanation is not None
        assert explanation.upcoming == (message.next_attempt,)
        await depot.empty(queue)
        assert (await depot.retired(queue, receipt.id)).success


async def test_a_schedule_that_is_no_longer_registered_loses_no_message(depot: "Depot") -> None:
    depot.sink.answer = lambda _: Deferred(text="later")
    async with depot.queue(schedules={"mine": lambda _: MINUTE if _ else None}) as queue:
        [receipt] = await depot.submit(queue, schedule="mine", max_attempts=3)
    async with depot.queue() as queue:
        await depot.empty(queue)
        assert (await depot.retired(queue, receipt.id)).attempts == 3


async def test_a_schedule_function_decides_by_attempts(depot: "Depot") -> None:
    asked = []

    def schedule(attempts: int) -> timedelta | None:
        asked.append(attempts)
        return MINUTE * attempts if attempts < 4 else None

    depot.sink.answer = lambda _: Deferred(text="later")
    async with depot.queue(schedule=schedule) as queue:
        [receipt] = await depot.submit(queue)
        await depot.empty(queue)
        assert (await depot.retired(queue, receipt.id)).attempts == 4
    assert asked == [1, 2, 3, 4]


# transports that misbehave


class Odd:
    """A transport that does as told the first time, and delivers after that."""

    def __init__(self, act: Callable[[Delivery], Any]) -> None:
        self._act = act
        self.calls = 0

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        self.calls += 1
        if self.calls > 1:
            return [Delivered()] * len(delivery.messages)
        answer = self._act(delivery)
        if isinstance(answer, BaseException):
            raise answer
        result: Sequence[Outcome] = answer
        return result


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


ODD: dict[str, tuple[Callable[[Delivery], Any], str]] = {
    "raises": (lambda d: ValueError("boom"), "raised ValueError: boom"),
    "raises what cannot be printed": (lambda d: Unprintable(), "raised Unprintable"),
    "raises text that cannot be stored": (lambda d: OSError("caf\udce9"), "raised OSError"),
    "raises a group": (lambda d: ExceptionGroup("several", [ValueError("x")]), "raised ExceptionGroup"),
    "times out itself": (lambda d: TimeoutError("its own"), "raised TimeoutError: its own"),
    "cancels itself": (lambda d: asyncio.CancelledError("its own"), "raised CancelledError: its own"),
    "stops iteration": (lambda d: StopAsyncIteration(), "raised StopAsyncIteration"),
    "answers nothing": (lambda d: None, "answered NoneType for 2 recipients"),
    "answers too few": (lambda d: [Delivered()], "answered 1 outcomes for 2 recipients"),
    "answers too many": (lambda d: [Delivered()] * 3, "answered 3 outcomes for 2 recipients"),
    "answers a generator": (lambda d: (Delivered() for _ in d.messages), "answered generator for 2 recipients"),
    "answers strings": (lambda d: ["250 ok", "250 ok"], "answered a str, which is no outcome"),
    "answers classes": (lambda d: [Delivered, Delivered], "answered a type, which is no outcome"),
    "gives a code as text": (lambda d: [Delivered(code="250")] * 2, "code"),  # type: ignore[arg-type]  # that is odd
    "gives no text": (lambda d: [Deferred(text=None)] * 2, "text"),  # type: ignore[arg-type]  # that is odd
    "gives bytes": (lambda d: [Failed(text=b"no")] * 2, "text"),  # type: ignore[arg-type]  # that is odd
    "gives a peer that is none": (lambda d: [Unknown(text="", peer=7)] * 2, "peer"),  # type: ignore[arg-type]  # odd
    "gives a code of no reply": (lambda d: [Delivered(code=2**70)] * 2, "code"),
    "gives seconds": (lambda d: [Deferred(text="", retry_after=60)] * 2, "retry_after"),  # type: ignore[arg-type]  # odd
}


@pytest.mark.parametrize("case", ODD)
async def test_a_transport_that_misbehaves_costs_its_delivery_a_deferral(depot: "Depot", case: str) -> None:
    act, text = ODD[case]
    odd = Odd(act)
    routes = (Route(transport="odd", recipient_domains=("odd.example",)), Route(transport="sink"))
    async with depot.queue(transports={"odd": odd, "sink": depot.sink}, routes=routes) as queue:
        async with queue.worker() as worker:
            receipts = await depot.submit(queue, "a@odd.example", "b@odd.example")
            [other] = await depot.submit(queue, "c@two.example")
            await worker.wait_idle()
            assert (await depot.retired(queue, other.id)).success
            for receipt in receipts:
                message = await depot.message(queue, receipt.id)
                assert kinds(message.results) == ["deferred"]
                assert text in message.results[0].text
        await depot.empty(queue)
        assert (await depot.retired(queue, receipts[0].id)).success
        assert (await depot.retired(queue, receipts[1].id)).success


async def test_a_transport_that_hangs_is_cancelled(depot: "Depot") -> None:
    depot.sink.gate.clear()
    settings = WorkerConfig(delivery_timeout=timedelta(minutes=5), settle_gather=timedelta(0))
    async with depot.queue(worker=settings) as queue:
        [receipt] = await depot.submit(queue)
        async with queue.worker() as worker:
            await depot.sink.began(1)
            await depot.clock.advance(299)
            assert depot.ear.of("attempted") == []
            await depot.clock.advance(1)
            [(_, result)] = await depot.ear.heard("attempted")
            depot.sink.gate.set()
            await worker.wait_idle()
        assert (result.kind, result.duration) == (ResultKind.DEFERRED, timedelta(minutes=5))
        assert "took longer than 300 s" in result.text
        assert (await depot.message(queue, receipt.id)).attempts == 1


async def test_a_missing_transport_defers(depot: "Depot") -> None:
    async with depot.queue(transports={}) as queue:
        [receipt] = await depot.submit(queue, transport="relay")
        [other] = await depot.submit(queue)
    async with depot.queue(transports={"a": depot.sink, "b": FailTransport()}) as queue:
        await depot.idle(queue)
        texts = [(await depot.message(queue, r.id)).results[0].text for r in (receipt, other)]
    assert texts == ["no transport is registered as 'relay'", "no transport is registered as 'default'"]


async def test_a_managed_transport_runs_as_long_as_the_worker(depot: "Depot") -> None:
    class Managed(Odd):
        def __init__(self) -> None:
            super().__init__(lambda d: [Delivered()] * len(d.messages))
            self.log: list[str] = []

        @asynccontextmanager
        async def running(self) -> AsyncIterator[None]:
            self.log.append("opened")
            yield
            self.log.append("closed")

        async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
            self.log.append("delivered")
            return await super().deliver(delivery)

    managed = Managed()
    async with depot.queue(transports={"a": managed, "b": managed}, default_transport="b") as queue:
        await depot.submit(queue)
        await depot.idle(queue)
    assert managed.log == ["opened", "delivered", "closed"]


async def test_a_managed_transport_that_cannot_be_opened_is_told_to_the_caller(depot: "Depot") -> None:
    class Broken(Odd):
        @asynccontextmanager
        async def running(self) -> AsyncIterator[None]:
            raise StateError("no")
            yield

    async with depot.queue(transports={"a": Broken(lambda d: None)}) as queue:
        with pytest.raises(StateError, match="no"):
            async with queue.worker():
                await asyncio.Event().wait()
        with pytest.raises(StateError, match="no"):
            await queue.run_worker()


# routes


async def test_routes_of_account_then_sender_domain_then_all(depot: "Depot") -> None:
    sinks = {name: type(depot.sink)() for name in ("account", "domain", "special", "rest")}
    config: dict[str, Any] = {
        "accounts": {"shop": AccountConfig(routes=(Route(transport="account", recipient_domains=("one.example",)),))},
        "domains": {
            "here.example": DomainConfig(routes=(Route(transport="domain", recipient_domains=(".two.example",)),))
        },
        "routes": (
            Route(transport="special", recipient_domains=("two.example", "one.example")),
            Route(transport="rest"),
        ),
    }
    async with depot.queue(transports=sinks, **config) as queue:
        await depot.submit(queue, "a@one.example", account="shop")
        await depot.submit(queue, "b@one.example")
        await depot.submit(queue, "c@mx.two.example", account="shop")
        await depot.submit(queue, "d@two.example", sender="s@other.example")
        await depot.submit(queue, "e@three.example")
        await depot.submit(queue, "f@one.example", account="shop", transport="rest")
        await depot.idle(queue)
    assert {name: sorted(r for d in sink.recipients for r in d) for name, sink in sinks.items()} == {
        "account": ["a@one.example"],
        "domain": ["c@mx.two.example"],
        "special": ["b@one.example", "d@two.example"],
        "rest": ["e@three.example", "f@one.example"],
    }


async def test_a_route_may_wait_for_failed_attempts(depot: "Depot") -> None:
    first: Sink = type(depot.sink)(lambda _: Deferred(text="later"))
    routes = (Route(transport="second", min_attempts=2), Route(transport="first"))
    async with depot.queue(transports={"first": first, "second": depot.sink}, routes=routes) as queue:
        [receipt] = await depot.submit(queue)
        for transport in ("first", "first", "second"):
            explanation = await queue.explain(receipt.id)
            assert explanation is not None
            assert explanation.transport == transport
            due = await queue.next_due()
            assert due is not None
            depot.clock.set(due)
            await depot.idle(queue)
        retired = await depot.retired(queue, receipt.id)
    assert [result.transport for result in retired.results] == ["first", "first", "second"]


async def test_the_only_transport_is_the_default_whatever_its_name(depot: "Depot") -> None:
    async with depot.queue(transports={"only": depot.sink}) as queue:
        [receipt] = await depot.submit(queue)
        await depot.idle(queue)
        assert (await depot.retired(queue, receipt.id)).results[0].transport == "only"


# sharing


async def test_recipients_of_one_submission_at_one_domain_share_a_delivery(depot: "Depot") -> None:
    async with depot.queue() as queue:
        await depot.submit(queue, "a@one.example", "b@two.example", "c@ONE.example")
        await depot.submit(queue, "d@one.example")
        await depot.idle(queue)
    assert sorted(depot.sink.recipients) == [
        ("a@one.example", "c@one.example"),
        ("b@two.example",),
        ("d@one.example",),
    ]


async def test_what_differs_in_attempts_transport_or_tls_is_delivered_apart(depot: "Depot") -> None:
    addresses = [f"{name}@one.example" for name in "abcd"]
    async with depot.queue(transports={"sink": depot.sink, "other": depot.sink}, default_transport="sink") as queue:
        receipts = await depot.submit(queue, *addresses)
        await queue.set_transport(MessageFilter(ids=(receipts[1].id,)), "other")
        await queue.set_require_tls(MessageFilter(ids=(receipts[2].id,)), RequireTLS.NO)
        await depot.idle(queue)
    assert sorted(depot.sink.recipients) == [(addresses[0], addresses[3]), (addresses[1],), (addresses[2],)]


async def test_a_delivery_tells_the_transport_all(depot: "Depot") -> None:
    async with depot.queue() as queue:
        await queue.submit(
            "From: käse@here.example\r\nTo: a@one.example\r\n\r\nüber\r\n".encode(),
            require_tls=RequireTLS.YES,
            extra={"k": "v"},
        )
        await depot.idle(queue)
    [delivery] = depot.sink.deliveries
    assert (delivery.sender, delivery.recipients, delivery.destination) == (
        "käse@here.example",
        ("a@one.example",),
        "one.example",
    )
    assert (delivery.needs_8bit, delivery.needs_smtputf8, delivery.require_tls) == (True, True, RequireTLS.YES)
    assert (delivery.attempt, delivery.transport, delivery.messages[0].extra) == (1, "sink", {"k": "v"})
    assert delivery.content.size == len(depot.sink.contents[0])
    assert depot.sink.contents[0].startswith(
        b"Date: Thu, 01 Jan 2026 12:00:00 +0000\r\nMessage-ID: <token@localhost>\r\n"
    )


# retention


async def test_without_retention_nothing_is_kept(depot: "Depot") -> None:
    depot.sink.answers["b@two.example"] = [Failed(text="no")]
    async with depot.queue(keep_history=timedelta(0)) as queue:
        receipts = await depot.submit(queue, "a@one.example", "b@two.example")
        await depot.idle(queue)
        assert await queue.count_history() == 0
        assert [await queue.get_retired(r.id) for r in receipts] == [None, None]
        assert sorted(event.type for event in await queue.list_events()) == [EventType.DELIVERED, EventType.FAILED]


async def test_history_and_events_are_purged_when_their_time_is_over(depot: "Depot") -> None:
    keep: dict[str, Any] = {
        "keep_history": timedelta(days=2),
        "keep_events": timedelta(days=3),
        "accounts": {"shop": AccountConfig(keep_history=timedelta(days=1))},
    }
    async with depot.queue(**keep) as queue:
        await depot.submit(queue, "a@one.example", account="shop")
        await depot.submit(queue, "b@one.example")
        await depot.idle(queue)
    for counts in [(1, 2), (0, 2), (0, 2), (0, 0)]:
        await depot.clock.advance(timedelta(days=1))
        async with depot.queue(**keep) as queue, queue.worker(), asyncio.timeout(GUARD):
            while (await queue.count_history(), len(await queue.list_events())) != counts:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0)  # a worker begins with purging


# the observer


async def test_events_are_told_in_order(depot: "Depot") -> None:
    depot.sink.answers["a@one.example"] = [Deferred(text="later"), Unknown(text="lost")]
    async with depot.queue() as queue:
        await depot.submit(queue)
        await depot.empty(queue)
        events = await queue.list_events()
    assert [what for what, _ in depot.ear.told] == ["submitted", "attempted", "attempted", "attempted"]
    assert [result.kind.value for _, result in depot.ear.of("attempted")] == ["deferred", "unknown", "delivered"]
    assert [(event.id, event.type.value) for event in events] == [
        (events[0].id, "delayed"),
        (events[0].id + 1, "delayed"),
        (events[0].id + 2, "delivered"),
    ]
    assert [e.at for e in events] == sorted(e.at for e in events)


async def test_an_observer_that_raises_does_not_matter(depot: "Depot") -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise ZeroDivisionError

    async with depot.queue(observer=Broken()) as queue:
        [receipt] = await depot.submit(queue)
        await depot.idle(queue)
        assert (await depot.retired(queue, receipt.id)).success


# looks


async def test_waiting_for_idle_again_and_again(depot: "Depot") -> None:
    async with depot.queue() as queue, queue.worker() as worker:
        async with asyncio.timeout(30):
            for n in range(3):
                await worker.wait_idle()
                await worker.wait_idle()
                await depot.submit(queue, f"a{n}@one.example")
                await worker.wait_idle()
                assert len(depot.sink.deliveries) == n + 1


@pytest.mark.parametrize(
    "settings", [{"max_claimed": 1}, {"claim_batch": 1}, {"max_claimed": 2, "claim_batch": 1}], ids=str
)
async def test_a_worker_that_has_no_room_does_not_ask(
    depot: "Depot", monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    storage = depot.make_storage()
    claim = storage.claim
    asked: list[int] = []

    async def counted(worker: int, request: Any) -> Any:
        asked.append(request.limit)
        return await claim(worker, request)

    monkeypatch.setattr(storage, "claim", counted)
    worker_config = WorkerConfig(settle_gather=timedelta(0), **settings)
    async with depot.queue(storage=storage, worker=worker_config) as queue:
        for n in range(6):
            await depot.submit(queue, f"a{n}@d{n}.example")
        depot.sink.gate.clear()
        async with queue.worker() as worker:
            await depot.sink.began(settings.get("max_claimed", 6))
            for _ in range(200):
                await asyncio.sleep(0)
            assert 0 not in asked
            assert len(asked) < 20
            depot.sink.gate.set()
            async with asyncio.timeout(30):
                await worker.wait_idle()
        assert await queue.count_messages() == 0


async def test_jitter_comes_from_the_given_random(depot: "Depot") -> None:
    from moxlib.queue import Queue  # noqa: PLC0415 - beside the depot's own

    depot.sink.answer = lambda _: Deferred(text="later")
    due: list[datetime | None] = []
    for _ in range(2):
        clock = FakeClock()
        async with Queue.open(
            depot.directory / f"jitter{len(due)}.db", transports={"s": depot.sink}, clock=clock, random=Random(7)
        ) as queue:
            await depot.submit(queue)
            await depot.idle(queue)
            due.append(await queue.next_due())
    assert due[0] == due[1]
