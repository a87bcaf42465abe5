"""`explain()` says where a message is, and why, in every state there is."""

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from moxlib.queue import (
    AccountConfig,
    Deferred,
    Explanation,
    Failed,
    MessageFilter,
    Queue,
    ResultKind,
    Route,
    State,
)

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Depot

ALL = MessageFilter()
LARGE = b"From: s@here.example\r\n\r\n" + (b"y" * 70 + b"\r\n") * 3000
MINUTE = timedelta(minutes=1)
DEFERRED = Deferred(text="greylisted", code=451, enhanced="4.7.1", peer="mx.one.example")


async def explained(queue: Queue, id_: int) -> Explanation:
    explanation = await queue.explain(id_)
    assert explanation is not None
    assert explanation.id == id_
    lines = str(explanation).splitlines()
    assert lines[0] == f"message {id_} to {explanation.message.recipient}: {explanation.state}"
    assert lines[1] == explanation.reason
    assert len(lines) == 2 + len(explanation.attempts) + len(explanation.upcoming)
    return explanation


async def test_a_message_that_is_not_known_is_not_explained(depot: "Depot") -> None:
    async with depot.queue() as queue:
        assert await queue.explain(1) is None


async def test_due(depot: "Depot") -> None:
    async with depot.queue(schedule="1m, 5m*2") as queue:
        [message] = await depot.submit(queue)
        start = depot.clock.now()
        depot.clock.set(start + MINUTE)
        found = await explained(queue, message.id)
        assert (found.state, found.attempts, found.transport) == (State.DUE, (), "sink")
        assert found.reason.startswith("due since 2026-01-01 12:00:00 UTC")
        now = start + MINUTE
        assert found.upcoming == (now, now + MINUTE, now + 6 * MINUTE, now + 11 * MINUTE)
        assert "2026-01-01 12:12:00 would be the next attempt" in str(found)


async def test_waiting_after_a_deferral(depot: "Depot") -> None:
    depot.sink.answer = lambda _: DEFERRED
    async with depot.queue(schedule="1m, 5m*2") as queue:
        [message] = await depot.submit(queue)
        await depot.idle(queue)
        found = await explained(queue, message.id)
        queued = await depot.message(queue, message.id)
        assert found.state is State.WAITING
        assert found.reason == f"attempt 2 of 4 is due at {queued.next_attempt:%Y-%m-%d %H:%M:%S} UTC"
        due = queued.next_attempt
        assert found.upcoming == (due, due + 5 * MINUTE, due + 10 * MINUTE)
        [attempt] = found.attempts
        assert (attempt.kind, attempt.code) == (ResultKind.DEFERRED, 451)
        assert "2026-01-01 12:00:00 attempt 1: deferred 451 4.7.1 greylisted" in str(found)


async def test_the_times_told_are_those_at_which_it_is_attempted(depot: "Depot") -> None:
    depot.sink.answer = lambda _: DEFERRED
    async with depot.queue(schedule="1m, 5m*2, 1h") as queue:
        [message] = await depot.submit(queue)
        told = (await explained(queue, message.id)).upcoming
        await depot.empty(queue)
        made = [result.started for result in (await depot.retired(queue, message.id)).results]
        assert len(made) == len(told) == 5
        for planned, real in zip(told, made, strict=True):
            assert abs(planned - real) <= (planned - told[0]) * 0.011  # jitter


async def test_upcoming_is_bounded_and_survives_a_schedule_that_fails(depot: "Depot") -> None:
    def failing(_: int) -> timedelta:
        raise ZeroDivisionError

    schedules = {"long": "1m*900", "failing": failing}
    async with depot.queue(schedules=schedules) as queue:
        [long] = await depot.submit(queue, schedule="long")
        [failed] = await depot.submit(queue, schedule="failing")
        [short] = await depot.submit(queue, schedule="long", max_attempts=2)
        assert len((await explained(queue, long.id)).upcoming) == 50
        assert len((await explained(queue, failed.id)).upcoming) == 1
        assert len((await explained(queue, short.id)).upcoming) == 2
    async with depot.queue() as queue:  # where that name means nothing
        assert (await explained(queue, long.id)).upcoming == (depot.clock.now(),)


async def test_waiting_for_a_time_of_its_own(depot: "Depot") -> None:
    async with depot.queue(schedule="1m") as queue:
        later = depot.clock.now() + 10 * MINUTE
        [message] = await depot.submit(queue, not_before=later)
        found = await explained(queue, message.id)
        assert (found.state, found.upcoming) == (State.WAITING, (later, later + MINUTE))
        assert found.reason == "attempt 1 of 2 is due at 2026-01-01 12:10:00 UTC"


async def test_in_flight(depot: "Depot") -> None:
    depot.sink.gate.clear()
    async with depot.queue() as queue:
        [message] = await depot.submit(queue)
        async with queue.worker():
            await depot.sink.began(1)
            await queue.hold(ALL)  # one under way goes on
            found = await explained(queue, message.id)
            depot.sink.gate.set()
        assert (found.state, found.upcoming, found.transport) == (State.IN_FLIGHT, (), "sink")
        assert found.reason == "a worker has it: attempt 1 of 8"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "everything"),
        ({"account": "shop"}, "account shop"),
        (
            {"account": "shop", "sender_domain": "here.example", "recipient_domain": "one.example"},
            "account shop, sender domain here.example, recipient domain one.example",
        ),
    ],
)
async def test_held_by_a_rule(depot: "Depot", fields: dict[str, str], text: str) -> None:
    async with depot.queue() as queue:
        await queue.add_hold_rule(account="other")
        rule, _ = await queue.add_hold_rule(**fields)
        [message] = await depot.submit(queue, account="shop")
        found = await explained(queue, message.id)
        assert (found.state, found.upcoming, found.hold_rules) == (State.HELD, (), (rule,))
        assert found.reason == f"held; it matches the rule {text}"
        await queue.release(ALL)
        found = await explained(queue, message.id)
        assert (found.state, found.hold_rules) == (State.DUE, (rule,))
        await queue.hold(ALL)
        await queue.remove_hold_rule(rule)
        assert (await explained(queue, message.id)).hold_rules == ()


async def test_held_by_hand(depot: "Depot") -> None:
    async with depot.queue() as queue:
        [message] = await depot.submit(queue)
        await queue.hold(ALL)
        found = await explained(queue, message.id)
        assert (found.state, found.reason, found.hold_rules) == (State.HELD, "held until someone releases it", ())


async def test_quarantined(disk: "Depot") -> None:
    async with disk.queue() as queue:
        [message] = await queue.submit(LARGE, recipients=["a@one.example"])
        [file] = (disk.directory / "mail.db.content").iterdir()
        file.write_bytes(b"torn")
        await disk.idle(queue)
        found = await explained(queue, message.id)
        queued = await disk.message(queue, message.id)
        assert (found.state, found.upcoming) == (State.QUARANTINED, ())
        assert queued.quarantine
        assert found.reason == f"its content is damaged, so it is not sent: {queued.quarantine}"
        assert [attempt.kind for attempt in found.attempts] == [ResultKind.QUARANTINED]


async def test_delivered(depot: "Depot") -> None:
    depot.sink.answers = {"a@one.example": [DEFERRED]}
    async with depot.queue() as queue:
        [message] = await depot.submit(queue)
        await depot.empty(queue)
        found = await explained(queue, message.id)
        finished = (await depot.retired(queue, message.id)).finished
        assert (found.state, found.upcoming, found.transport) == (State.DELIVERED, (), "sink")
        assert found.reason == f"delivered at {finished:%Y-%m-%d %H:%M:%S} UTC after 2 attempts: ok"
        assert [attempt.kind for attempt in found.attempts] == [ResultKind.DEFERRED, ResultKind.DELIVERED]


async def test_failed(depot: "Depot") -> None:
    depot.sink.answer = lambda _: Failed(text="no such user", code=550, enhanced="5.1.1")
    async with depot.queue() as queue:
        [message] = await depot.submit(queue)
        await depot.idle(queue)
        found = await explained(queue, message.id)
        assert found.state is State.FAILED
        assert found.reason == "failed at 2026-01-01 12:00:00 UTC after 1 attempt: no such user"
        assert str(found).endswith("attempt 1: failed 550 5.1.1 no such user")


async def test_failed_by_an_operator(depot: "Depot") -> None:
    async with depot.queue() as queue:
        [message] = await depot.submit(queue)
        await queue.fail(ALL)
        found = await explained(queue, message.id)
        assert (found.state, found.transport) == (State.FAILED, "")
        assert "after 0 attempts: given up by an operator" in found.reason
        assert "operator: canceled given up by an operator" in str(found)


async def test_canceled_names_the_transport_of_the_last_attempt(depot: "Depot") -> None:
    depot.sink.answer = lambda _: DEFERRED
    async with depot.queue() as queue:
        [message] = await depot.submit(queue)
        await depot.idle(queue)
        await queue.drop(ALL)
        found = await explained(queue, message.id)
        assert (found.state, found.transport) == (State.CANCELED, "sink")
        assert "after 1 attempt: dropped from the queue" in found.reason


async def test_the_transport_that_the_next_attempt_takes(depot: "Depot") -> None:
    depot.sink.answer = lambda _: DEFERRED
    transports = {"sink": depot.sink, "backup": depot.sink, "default": depot.sink}
    routes = (Route(transport="backup", min_attempts=1), Route(transport="sink"))
    accounts = {"routed": AccountConfig(routes=routes)}
    async with depot.queue(transports=transports, accounts=accounts) as queue:
        [plain] = await depot.submit(queue)
        [own] = await depot.submit(queue, "b@two.example", transport="sink")
        [routed] = await depot.submit(queue, "c@three.example", account="routed")
        ids = (plain.id, own.id, routed.id)
        assert [(await explained(queue, id_)).transport for id_ in ids] == ["default", "sink", "sink"]
        await depot.idle(queue)
        assert [(await explained(queue, id_)).transport for id_ in ids] == ["default", "sink", "backup"]
        assert sorted(delivery.transport for delivery in depot.sink.deliveries) == ["default", "sink", "sink"]
