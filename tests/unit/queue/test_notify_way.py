"""The way of what tells senders: through the queue as other mail, and back in, where it is no feedback."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.queue.conftest import MAIL, Depot

from moxlib.dsn import parse_dsn
from moxlib.queue import (
    AccountConfig,
    Deferred,
    Delivered,
    DSNConfig,
    DSNRequest,
    EventType,
    Failed,
    HistoryFilter,
    HoldRule,
    IncomingEnvelope,
    MessageFilter,
    NotFeedback,
    Notify,
    Outcome,
    RequireTLS,
    Unknown,
    WorkerConfig,
)

TOLD = DSNConfig()
LATE = 3  # attempts, an hour apart: the last one is late
REFUSED = Failed(text="RCPT TO: no such user", code=550, enhanced="5.1.1", command="RCPT TO", peer="mx.one.example")
LATER = Deferred(text="RCPT TO: try later", code=451, enhanced="4.2.1", command="RCPT TO", peer="mx.one.example")


def _answer(depot: Depot, outcome: Outcome) -> None:
    """Let all have that outcome but what tells a sender."""
    depot.sink.answer = lambda message: outcome if message.sender else Delivered(text="ok", peer="sink")


async def _all_told(depot: Depot, recipient: str, outcome: Outcome, **options: Any) -> list[str]:
    """Return the actions of all that a sender is told of a message with such outcomes, in order."""
    _answer(depot, outcome)
    async with depot.queue(dsn=TOLD) as queue:
        await depot.submit(queue, recipient, **options)
        await depot.empty(queue)
    pairs = zip(depot.sink.deliveries, depot.sink.contents, strict=True)
    return [parse_dsn(content).recipients[0].action.value for delivery, content in pairs if not delivery.sender]


@pytest.mark.parametrize(
    ("notify", "late", "refused", "taken"),
    [
        ((), ["delayed", "failed"], ["failed"], []),
        ((Notify.NEVER,), [], [], []),
        ((Notify.SUCCESS,), [], [], ["relayed"]),
        ((Notify.FAILURE,), ["failed"], ["failed"], []),
        ((Notify.DELAY,), ["delayed"], [], []),
        ((Notify.SUCCESS, Notify.FAILURE, Notify.DELAY), ["delayed", "failed"], ["failed"], ["relayed"]),
    ],
)
async def test_notify_says_what_is_told(
    depot: Depot, notify: tuple[Notify, ...], late: list[str], refused: list[str], taken: list[str]
) -> None:
    told = []
    outcomes: list[Outcome] = [LATER, REFUSED, Delivered(dsn=False, peer="mx.one.example")]
    for number, outcome in enumerate(outcomes):
        depot.sink.deliveries.clear()
        depot.sink.contents.clear()
        told.append(await _all_told(depot, f"{number}@one.example", outcome, dsn=DSNRequest(notify=notify)))

    assert told == [late, refused, taken]


async def test_what_tells_is_held_where_its_account_is(depot: Depot) -> None:
    _answer(depot, REFUSED)
    async with depot.queue(dsn=TOLD) as queue:
        await depot.submit(queue, account="shop")
        await queue.add_hold_rule(HoldRule(sender_domain="here.example"))
        await queue.release(MessageFilter())
        await depot.idle(queue)
        assert await queue.count_history() == 2, "it comes from nobody, and so from no domain that is held"

        await queue.add_hold_rule(HoldRule(account="shop"))
        await depot.submit(queue, account="shop")
        await queue.release(MessageFilter())
        await depot.idle(queue)
        [note] = (await queue.list_messages()).items
        assert (note.sender, note.account, note.hold) == ("", "shop", True)
        assert note.attempts == 0

        await queue.release(MessageFilter())
        await depot.idle(queue)
        assert await queue.count_messages() == 0


async def test_what_waits_for_an_operator_is_not_told_of_until_it_is_given_up(depot: Depot) -> None:
    _answer(depot, Unknown(text="lost"))
    async with depot.queue(dsn=TOLD, on_unknown="hold") as queue:
        await depot.submit(queue, max_attempts=1)
        await depot.idle(queue)
        [held] = (await queue.list_messages()).items
        assert held.hold

        await queue.fail(MessageFilter())
        await depot.idle(queue)
        assert [delivery.sender for delivery in depot.sink.deliveries] == ["sender@here.example", ""]


async def test_what_is_held_late_is_not_told_of_as_delayed(depot: Depot) -> None:
    depot.sink.answer = lambda message: LATER if message.attempts < LATE else Unknown(text="lost")
    async with depot.queue(dsn=TOLD, on_unknown="hold") as queue:
        await depot.submit(queue)
        for _ in range(LATE):
            await depot.idle(queue)
            await depot.clock.advance(timedelta(hours=1))
        [held] = (await queue.list_messages()).items
        assert (held.hold, held.attempts) == (True, LATE)

    assert [delivery.sender for delivery in depot.sink.deliveries] == ["sender@here.example"] * LATE


async def test_what_tells_is_tried_as_often_as_other_mail_and_then_gone(depot: Depot) -> None:
    depot.sink.answer = lambda _: LATER
    accounts = {"shop": AccountConfig(max_attempts=2)}
    async with depot.queue(dsn=TOLD, accounts=accounts) as queue:
        await depot.submit(queue, account="shop", max_attempts=1)
        await depot.empty(queue)

        ended = (await queue.list_history(HistoryFilter(), descending=False)).items
        assert [(item.sender, item.attempts, item.event) for item in ended] == [
            ("sender@here.example", 1, EventType.FAILED),
            ("", 2, EventType.FAILED),
        ]
        assert await queue.count_messages() == 0, "of what tells, nothing is told"


async def test_a_delay_that_many_meet_is_told_to_each(depot: Depot) -> None:
    _answer(depot, LATER)
    async with depot.queue(dsn=TOLD) as queue:
        for n in range(3):
            await depot.submit(queue, f"u{n}@one.example", f"v{n}@one.example", sender=f"s{n}@here.example")
        await depot.empty(queue)

    told = [delivery.recipients for delivery in depot.sink.deliveries if not delivery.sender]
    assert sorted(told) == sorted(4 * [("s0@here.example",), ("s1@here.example",), ("s2@here.example",)])


@pytest.mark.parametrize("recipient", ["jösé@one.example", "a@bücher.example", "a@xn--bcher-kva.example"])
@pytest.mark.parametrize("sender", ["sender@here.example", "sénder@here.example"])
async def test_addresses_in_utf8_are_told_as_both_sides_can_read_them(
    depot: Depot, sender: str, recipient: str
) -> None:
    _answer(depot, REFUSED)
    async with depot.queue(dsn=TOLD) as queue:
        await queue.submit(MAIL, sender=sender, recipients=recipient)
        await depot.idle(queue)

    asked, note = depot.sink.deliveries
    dsn = parse_dsn(depot.sink.contents[1])
    assert note.recipients == (sender,)
    assert dsn.to_address == sender
    assert dsn.recipients[0].final_recipient.address == asked.messages[0].recipient
    assert note.needs_smtputf8 or depot.sink.contents[1].isascii()
    assert not note.needs_smtputf8 or asked.needs_smtputf8, "RFC 6533 3: only if its sender could send it"
    assert note.needs_smtputf8 is not sender.isascii() or asked.needs_smtputf8


@pytest.mark.parametrize("expires", [False, True])
async def test_what_tells_is_no_feedback_when_it_comes_in(depot: Depot, expires: bool) -> None:
    _answer(depot, LATER if expires else REFUSED)
    async with depot.queue(dsn=TOLD) as queue:
        [receipt] = await depot.submit(queue, max_attempts=1, dsn=DSNRequest(ret="HDRS"))
        await depot.idle(queue)
        before = await queue.last_event()
        note = depot.sink.contents[1]

        received = b"Received: by mx.here.example; Mon, 02 Nov 2026 10:00:00 +0000\r\n" + note
        found = await queue.incoming(received, IncomingEnvelope(recipients=("sender@here.example",)))

        assert found == NotFeedback(automated=True), "it is mail for the sender"
        assert await queue.last_event() == before
        assert (await depot.retired(queue, receipt.id)).feedback == ()


async def test_what_others_tell_is_feedback_beside_what_was_told_here(depot: Depot) -> None:
    _answer(depot, REFUSED)
    async with depot.queue(dsn=TOLD) as queue:
        [receipt] = await depot.submit(queue)
        await depot.idle(queue)
        theirs = depot.sink.contents[1].replace(b"\r\nMessage-Id: <token@", b"\r\nMessage-Id: <theirs@", 1)
        await queue.incoming(theirs, IncomingEnvelope(recipients=("sender@here.example",)))

        assert len((await depot.retired(queue, receipt.id)).feedback) == 1


async def test_nothing_is_returned_in_clear_of_what_may_not_travel_so(depot: Depot) -> None:
    _answer(depot, REFUSED)
    async with depot.queue(dsn=TOLD) as queue:
        await depot.submit(queue, require_tls=RequireTLS.NO)
        await depot.idle(queue)

    assert [d.messages[0].require_tls for d in depot.sink.deliveries] == [RequireTLS.NO, RequireTLS.POLICY]


async def test_an_address_literal_is_told_as_it_stands(depot: Depot) -> None:
    _answer(depot, REFUSED)
    async with depot.queue(dsn=TOLD) as queue:
        await depot.submit(queue, sender="sender@[192.0.2.1]")
        await depot.idle(queue)

    assert depot.sink.deliveries[1].recipients == ("sender@[192.0.2.1]",)
    assert depot.sink.deliveries[1].destination == "[192.0.2.1]", "as of other mail"


async def test_a_worker_that_is_stopped_while_it_reads_what_comes_back_tells_all_the_same(
    depot: Depot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait for what it cannot have: a message that is settled is told of."""

    reading = asyncio.Event()

    async def never(*_: Any, **__: Any) -> Any:
        reading.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("moxlib.queue.notify.notifier.Notifier._read", never)
    _answer(depot, REFUSED)
    at_once = WorkerConfig(settle_gather=timedelta(0), drain_timeout=timedelta(0))
    async with depot.queue(dsn=TOLD, worker=at_once) as queue:
        await depot.submit(queue)
        async with queue.worker():
            await reading.wait()
        [note] = (await queue.list_messages()).items
        assert note.sender == ""
        assert await queue.count_history() == 1
