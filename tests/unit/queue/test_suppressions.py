"""A queue's suppressions: what they stop, what makes them, what ends them, and what is told of them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from moxlib.queue import (
    AccountConfig,
    Deferred,
    Delivered,
    EventType,
    Failed,
    HistoryFilter,
    Message,
    MessageFilter,
    Outcome,
    Queue,
    ResultKind,
    State,
)
from moxlib.queue.errors import InvalidFilter
from moxlib.queue.suppression import Cause, Expiry, InvalidSuppression, InvalidTable, Origin, SuppressionPolicy
from moxlib.smtp import InvalidAddress

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Depot

DAY = timedelta(days=1)
NO_MAILBOX = Failed(code=550, enhanced="5.1.1", text="RCPT TO: no such user", command="RCPT TO", peer="mx")


def refusing(*addresses: str, refusal: Outcome = NO_MAILBOX) -> Callable[[Message], Outcome]:
    """Answer with a refusal for some addresses."""
    return lambda message: refusal if message.recipient in addresses else Delivered(text="ok")


async def last_event(queue: Queue) -> tuple[str, bool]:
    event = (await queue.list_events())[-1]
    return event.type.value, event.suppressing


async def test_a_suppressed_recipient_is_told_at_once_and_never_mailed(depot: "Depot") -> None:
    async with depot.queue() as queue:
        made = await queue.suppress("a+tag@one.example", reason="asked for it")
        assert (made.base_address, made.original_address, made.cause) == (
            "a@one.example",
            "a+tag@one.example",
            "manual",
        )
        one, two = await depot.submit(queue, "A+other@one.example", "b@one.example")
        assert "asked for it" in one.suppressed
        assert two.suppressed == ""
        await depot.empty(queue)
        assert depot.sink.recipients == [("b@one.example",)]
        retired = await depot.retired(queue, one.id)
        assert (retired.event, retired.success, retired.attempts) == (EventType.SUPPRESSED, False, 1)
        [result] = retired.results
        assert (result.kind, result.transport, result.code) == (ResultKind.SUPPRESSED, "", 0)
        assert "asked for it" in result.text
        events = {event.message: event for event in await queue.list_events()}
        assert (events[one.id].type, events[one.id].error) == (EventType.SUPPRESSED, result.text)
        explained = await queue.explain(one.id)
        assert explained is not None
        assert explained.state is State.SUPPRESSED
        assert await queue.count_history(HistoryFilter(success=False)) == 1


async def test_only_the_account_it_is_of_is_concerned(depot: "Depot") -> None:
    async with depot.queue() as queue:
        await queue.suppress("a@one.example", account="shop")
        [receipt] = await depot.submit(queue, "a@one.example")
        assert receipt.suppressed == ""
        [receipt] = await depot.submit(queue, "a@one.example", account="shop")
        assert receipt.suppressed != ""


async def test_what_is_queued_already_is_stopped_too(depot: "Depot") -> None:
    depot.sink.answer = lambda _: Deferred(text="later", code=451)
    async with depot.queue() as queue:
        [receipt] = await depot.submit(queue, "a@one.example")
        await depot.idle(queue)
        await queue.suppress("a@one.example")
        explained = await queue.explain(receipt.id)
        assert explained is not None
        assert "will fail unsent" in explained.reason
        await queue.retry_now(MessageFilter())
        await depot.empty(queue)
        assert len(depot.sink.deliveries) == 1
        retired = await depot.retired(queue, receipt.id)
        assert [result.kind for result in retired.results] == [ResultKind.DEFERRED, ResultKind.SUPPRESSED]


async def test_a_refused_mailbox_is_suppressed_in_the_same_transaction(depot: "Depot") -> None:
    depot.sink.answer = refusing("a@one.example")
    async with depot.queue() as queue:
        [receipt] = await depot.submit(queue, "a@one.example")
        await depot.empty(queue)
        assert await last_event(queue) == ("failed", True)
        there = await queue.suppression("a@one.example")
        assert there is not None
        assert (there.cause, there.since, there.expires) == (Cause.REPLY_CODE, depot.clock.now(), None)
        evidence = there.evidence
        assert evidence is not None
        assert (evidence.origin, evidence.code, evidence.enhanced) == (Origin.REPLY, 550, "5.1.1")
        assert (evidence.message, evidence.attempt, evidence.message_id) == (receipt.id, 1, "<1@here.example>")
        [again] = await depot.submit(queue, "a@one.example")
        assert "550" in again.suppressed


async def test_a_refusal_by_policy_does_not_suppress(depot: "Depot") -> None:
    depot.sink.answer = refusing("a@one.example", refusal=replace(NO_MAILBOX, enhanced="5.7.1"))
    async with depot.queue() as queue:
        for _ in range(4):
            await depot.submit(queue, "a@one.example")
            await depot.empty(queue)
        assert await last_event(queue) == ("failed", False)
        assert await queue.suppression("a@one.example") is None


async def test_the_third_failure_in_a_row_suppresses(depot: "Depot") -> None:
    full = replace(NO_MAILBOX, code=554, enhanced="5.2.2", text="RCPT TO: mailbox full")
    answers: list[Outcome] = [full, full, Delivered(text="ok"), full, full, full]
    depot.sink.answers["a@one.example"] = answers
    async with depot.queue() as queue:
        told = []
        for _ in range(6):
            await depot.submit(queue, "a@one.example")
            await depot.empty(queue)
            await depot.clock.advance(60)
            told.append(await last_event(queue))
        assert told == [
            ("failed", False),
            ("failed", False),
            ("delivered", False),
            ("failed", False),
            ("failed", False),
            ("failed", True),
        ]
        there = await queue.suppression("a@one.example")
        assert there is not None
        assert there.evidence is not None
        assert (there.cause, there.evidence.failures) == (Cause.IN_A_ROW, 3)


async def test_others_failures_and_operators_do_not_count(depot: "Depot") -> None:
    full = replace(NO_MAILBOX, code=554, enhanced="5.2.2")
    depot.sink.answer = refusing("a@one.example", refusal=full)
    async with depot.queue() as queue:
        for account in ("", "", "shop"):
            await depot.submit(queue, "a@one.example", account=account)
            await depot.empty(queue)
        await queue.hold(MessageFilter())
        await depot.submit(queue, "a@one.example")
        await queue.fail(MessageFilter())
        assert (await queue.list_suppressions()).items == ()
        await depot.submit(queue, "a@one.example")
        await depot.empty(queue)
        assert [s.account for s in (await queue.list_suppressions()).items] == [""]


@pytest.mark.parametrize(("keep", "suppressed"), [(DAY, True), (timedelta(0), False)])
async def test_failures_count_as_long_as_feedback_knows_of_them(
    depot: "Depot", keep: timedelta, suppressed: bool
) -> None:
    full = replace(NO_MAILBOX, code=554, enhanced="5.2.2")
    depot.sink.answer = refusing("a@one.example", refusal=full)
    async with depot.queue(keep_history=timedelta(0), keep_feedback=keep) as queue:
        for _ in range(3):
            await depot.submit(queue, "a@one.example")
            await depot.empty(queue)
        assert (await queue.suppression("a@one.example") is not None) == suppressed
        assert await queue.count_history() == 0


async def test_an_account_has_rules_of_its_own(depot: "Depot") -> None:
    never = SuppressionPolicy(codes=frozenset(), details=frozenset(), in_a_row=0)
    accounts = {"never": AccountConfig(suppression=never)}
    depot.sink.answer = refusing("a@one.example")
    async with depot.queue(accounts=accounts) as queue:
        await depot.submit(queue, "a@one.example", account="never")
        await depot.empty(queue)
        assert (await queue.list_suppressions()).items == ()


async def test_a_suppression_expires_and_lasts_longer_the_next_time(depot: "Depot") -> None:
    policy = SuppressionPolicy(expiry=Expiry(first=DAY, factor=2.0, max=10 * DAY))
    depot.sink.answer = refusing("a@one.example")
    async with depot.queue(suppression=policy) as queue:
        ends = []
        for _ in range(3):
            await depot.submit(queue, "a@one.example")
            await depot.empty(queue)
            there = await queue.suppression("a@one.example")
            assert there is not None
            assert there.expires is not None
            assert there.is_active(depot.clock.now())
            ends.append((there.repeats, there.expires - depot.clock.now()))
            await depot.clock.advance((there.expires - depot.clock.now()).total_seconds())
        assert ends == [(0, DAY), (1, 2 * DAY), (2, 4 * DAY)]
        assert depot.sink.recipients == [("a@one.example",)] * 3


async def test_a_later_delivery_removes_it_if_chosen(depot: "Depot") -> None:
    policy = SuppressionPolicy(expiry=Expiry(first=DAY), remove_on_success=True)
    depot.sink.answer = refusing("a@one.example")
    async with depot.queue(suppression=policy) as queue:
        await depot.submit(queue, "a@one.example")
        await depot.empty(queue)
        await depot.clock.advance(DAY.total_seconds())
        depot.sink.answer = lambda _: Delivered(text="ok")
        await queue.suppress("b@one.example", expires=depot.clock.now() + DAY)
        await depot.clock.advance(DAY.total_seconds())
        await depot.submit(queue, "a@one.example", "b@one.example")
        await depot.empty(queue)
        assert await queue.suppression("a@one.example") is None
        assert await queue.suppression("b@one.example") is not None  # somebody asked for it


async def test_removing_one_lets_mail_through_again(depot: "Depot") -> None:
    async with depot.queue() as queue:
        await queue.suppress("a@one.example")
        assert await queue.unsuppress("A+x@one.example")
        assert not await queue.unsuppress("a@one.example")
        await depot.submit(queue, "a@one.example")
        await depot.empty(queue)
        assert depot.sink.recipients == [("a@one.example",)]


async def test_suppressing_again_keeps_the_first(depot: "Depot") -> None:
    async with depot.queue() as queue:
        first = await queue.suppress("a@one.example", reason="one")
        await depot.clock.advance(60)
        assert await queue.suppress("a@one.example", reason="two") == first


async def test_one_of_several_recipients_being_suppressed_leaves_the_others_their_transaction(depot: "Depot") -> None:
    async with depot.queue() as queue:
        await queue.suppress("b@one.example")
        await depot.submit(queue, "a@one.example", "b@one.example", "c@one.example")
        await depot.empty(queue)
        assert depot.sink.recipients == [("a@one.example", "c@one.example")]


async def test_an_idempotent_submit_says_again_what_was_said(depot: "Depot") -> None:
    async with depot.queue() as queue:
        await queue.suppress("b@one.example")
        first = await depot.submit(queue, "a@one.example", "b@one.example", idempotency_key="k")
        await queue.unsuppress("b@one.example")
        again = await depot.submit(queue, "a@one.example", "b@one.example", idempotency_key="k")
        assert again == first
        assert [receipt.suppressed != "" for receipt in again] == [False, True]


async def test_lists_come_in_pages(depot: "Depot") -> None:
    async with depot.queue() as queue:
        for number in range(5):
            await queue.suppress(f"{number}@one.example", account="shop" if number % 2 else "")
        page = await queue.list_suppressions(limit=2)
        seen = list(page.items)
        while page.next is not None:
            page = await queue.list_suppressions(limit=2, after=str(page.next))
            seen += page.items
        assert [s.base_address for s in seen] == [f"{number}@one.example" for number in range(5)]
        assert [s.base_address for s in (await queue.list_suppressions("shop")).items] == [
            "1@one.example",
            "3@one.example",
        ]
        with pytest.raises(InvalidFilter):
            await queue.list_suppressions(limit=0)


async def test_export_and_import_give_the_same_list(depot: "Depot") -> None:
    depot.sink.answer = refusing("a@one.example")
    async with depot.queue() as queue:
        await depot.submit(queue, "a@one.example")
        await depot.empty(queue)
        await queue.suppress("b@two.example", account="shop", reason='said "no", twice')
        before = (await queue.list_suppressions()).items
        written: list[int] = []
        lines = [line async for line in queue.export_suppressions(progress=written.append)]
        assert written == [2]
        for there in before:
            assert await queue.unsuppress(there.base_address, account=there.account)
        read: list[int] = []
        assert await queue.import_suppressions(lines, account=None, progress=read.append) == 2
        assert read == [2]
        after = (await queue.list_suppressions()).items
        assert [replace(s, evidence=None) for s in after] == [replace(s, evidence=None) for s in before]
        assert await queue.import_suppressions(lines, account=None) == 0


async def test_an_empty_list_is_exported_as_its_header(depot: "Depot") -> None:
    async with depot.queue() as queue:
        assert len([line async for line in queue.export_suppressions()]) == 1


async def test_a_bad_record_is_told_or_raised(depot: "Depot") -> None:
    lines = ["email\r\n", "a@one.example\r\n", "nobody\r\n", "b@one.example\r\n"]
    async with depot.queue() as queue:
        with pytest.raises(InvalidTable):
            await queue.import_suppressions(lines)
        bad: list[InvalidTable] = []
        assert await queue.import_suppressions(lines, on_error=bad.append) == 2
        assert len(bad) == 1


async def test_what_is_no_address_is_refused(depot: "Depot") -> None:
    async with depot.queue() as queue:
        for bad in ("nobody", "<>", ""):
            with pytest.raises(InvalidAddress):
                await queue.suppress(bad)
        with pytest.raises(InvalidSuppression):
            await queue.suppress("a@one.example", account="\0")
        with pytest.raises(InvalidSuppression):
            await queue.suppress("a@one.example", expires=depot.clock.now())


async def test_a_preview_says_what_a_submit_would_do_and_stores_nothing(depot: "Depot") -> None:
    message = b"From: s@here.example\r\nTo: a@one.example, b@two.example\r\nSubject: hi\r\n\r\nhi\r\n"
    async with depot.queue() as queue:
        await queue.suppress("a@one.example", reason="asked for it")
        await queue.add_hold_rule(recipient_domain="two.example")
        one, two = await queue.preview(message)
        assert one.state is State.DUE
        assert "asked for it" in one.reason
        assert (two.state, two.id, two.message.recipient) == (State.HELD, 0, "b@two.example")
        assert await queue.count_messages() == 0
