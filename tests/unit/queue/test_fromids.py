"""Fromids: each recipient's own MAIL FROM, unique over queue and history, and by which feedback finds its message."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from moxlib.queue import AccountConfig, HistoryFilter, MessageFilter
from moxlib.queue.errors import InvalidSubmission
from moxlib.queue.fromid import DuplicateFromID, FromIDConfig, FromIDForSeveral, InvalidFromID

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Depot

LOGIN = "login@here.example"
FROMIDS = FromIDConfig.of([LOGIN], {"here.example": ["+", "-"]})


async def test_each_recipient_has_a_sender_of_its_own(depot: "Depot") -> None:
    async with depot.queue(fromids=FROMIDS) as queue:
        one, two = await depot.submit(queue, "a@one.example", "b@one.example", login=LOGIN)
        assert len({one.fromid, two.fromid, ""}) == 3
        message = await depot.message(queue, one.id)
        assert (message.sender, message.mail_from) == ("sender@here.example", f"sender+{one.fromid}@here.example")
        await depot.empty(queue)
        assert {d.sender for d in depot.sink.deliveries} == {
            f"sender+{receipt.fromid}@here.example" for receipt in (one, two)
        }
        retired = await depot.retired(queue, one.id)
        assert (retired.sender, retired.fromid) == ("sender@here.example", one.fromid)


@pytest.mark.parametrize(
    "options", [{}, {"login": "other@here.example"}, {"login": LOGIN, "fromid": False}, {"login": LOGIN, "sender": ""}]
)
async def test_without_a_reason_there_is_none(depot: "Depot", options: dict[str, object]) -> None:
    async with depot.queue(fromids=FROMIDS) as queue:
        [receipt] = await depot.submit(queue, **options)
        assert receipt.fromid == ""
        message = await depot.message(queue, receipt.id)
        assert message.mail_from == ""


async def test_a_caller_may_want_one_and_an_account_have_its_own_rules(depot: "Depot") -> None:
    accounts = {"shop": AccountConfig(fromids=FromIDConfig.of([], {"here.example": ["-"]}))}
    async with depot.queue(accounts=accounts) as queue:
        [receipt] = await depot.submit(queue, account="shop", fromid=True)
        message = await depot.message(queue, receipt.id)
        assert message.mail_from == f"sender-{receipt.fromid}@here.example"
        with pytest.raises(InvalidFromID):
            await depot.submit(queue, fromid=True)  # the queue knows no separators
        with pytest.raises(InvalidFromID):
            await depot.submit(queue, account="shop", fromid=True, sender="")


async def test_one_that_was_given_is_used_once(depot: "Depot") -> None:
    async with depot.queue(fromids=FROMIDS) as queue:
        given = {"sender": "sender+mine@here.example", "fromid": "mine"}
        [receipt] = await depot.submit(queue, **given)
        assert receipt.fromid == "mine"
        with pytest.raises(DuplicateFromID):
            await depot.submit(queue, **given)
        await depot.empty(queue)
        with pytest.raises(DuplicateFromID):  # the history counts
            await depot.submit(queue, **given)
        assert await queue.count_messages() == 0
        with pytest.raises(FromIDForSeveral):
            await depot.submit(queue, "a@one.example", "b@one.example", sender="sender+x@here.example", fromid="x")
        with pytest.raises(InvalidFromID):
            await depot.submit(queue, sender="sender+y@here.example", fromid="x")
        with pytest.raises(InvalidSubmission):
            await depot.submit(queue, fromid=1)


async def test_one_that_is_refused_does_not_take_others_with_it(depot: "Depot") -> None:
    async with depot.queue(fromids=FROMIDS) as queue:
        senders = [("one", "one"), ("two", "two"), ("one", "one"), ("three", "three")]
        done = await asyncio.gather(
            *(depot.submit(queue, sender=f"s+{tag}@here.example", fromid=fromid) for tag, fromid in senders),
            return_exceptions=True,
        )
        assert sum(isinstance(result, DuplicateFromID) for result in done) == 1
        assert await queue.count_messages() == 3


async def test_it_may_be_used_again_when_it_is_forgotten(depot: "Depot") -> None:
    given = {"sender": "sender+mine@here.example", "fromid": "mine"}
    zero = timedelta(0)
    async with depot.queue(fromids=FROMIDS, keep_history=zero, keep_feedback=zero) as queue:
        await depot.submit(queue, **given)
        await depot.empty(queue)
        await depot.submit(queue, **given)
        await queue.drop(MessageFilter())
        await depot.submit(queue, **given)


async def test_a_repeated_submit_gets_the_same_fromid(depot: "Depot") -> None:
    async with depot.queue(fromids=FROMIDS) as queue:
        first = await depot.submit(queue, login=LOGIN, idempotency_key="k")
        again = await depot.submit(queue, login=LOGIN, idempotency_key="k")
        assert again == first
        assert first[0].fromid != ""


async def test_feedback_finds_messages_by_what_it_has_of_them(depot: "Depot") -> None:
    storage = depot.make_storage()
    async with depot.queue(storage=storage, fromids=FROMIDS) as queue:
        one, two = await depot.submit(queue, "a@one.example", "b@one.example", login=LOGIN)
        envid = (await depot.message(queue, one.id)).envid
        await queue.drop(MessageFilter(ids=(two.id,)))
        found = await storage.match_feedback(fromids=["nothing", one.fromid], envid=envid)
        assert (found.by, [m.id for m in found.queued], found.retired) == ("fromid", [one.id], ())
        found = await storage.match_feedback(fromids=[two.fromid])
        assert (found.queued, [m.id for m in found.retired]) == ((), [two.id])
        found = await storage.match_feedback(fromids=["nothing"], envid=envid, message_id="<1@here.example>")
        assert (found.by, [m.id for m in found.queued], [m.id for m in found.retired]) == ("envid", [one.id], [two.id])
        found = await storage.match_feedback(message_id="<1@here.example>")
        assert (found.by, [m.id for m in found.queued], [m.id for m in found.retired]) == (
            "message-id",
            [one.id],
            [two.id],
        )
        assert (await storage.match_feedback(message_id="<2@here.example>")).by == ""
        assert (await storage.match_feedback()).by == ""


async def test_what_the_history_does_not_show_is_still_found(depot: "Depot") -> None:
    storage = depot.make_storage()
    day = timedelta(days=1)
    settings: dict[str, Any] = {"fromids": FROMIDS, "keep_history": timedelta(0), "keep_feedback": 2 * day}
    async with depot.queue(storage=storage, **settings) as queue:
        [receipt] = await depot.submit(queue, login=LOGIN)
        await depot.empty(queue)
        assert await queue.get_retired(receipt.id) is None
        assert (await queue.list_history()).items == ()
        assert await queue.count_history() == 0
        assert await queue.count_history(HistoryFilter(success=True)) == 0
        for known in (True, False):
            [*found] = (await storage.match_feedback(fromids=[receipt.fromid])).retired
            assert bool(found) == known
            await depot.clock.advance(2 * day)
            await storage.purge(now=depot.clock.now(), events_before=depot.clock.now() - day)
