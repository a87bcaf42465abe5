"""The contract of `Storage`: what tells a sender is stored with what it tells of, or not at all."""

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.contract.conftest import content_of, submission_to

from moxlib.queue.selection import MessageFilter
from moxlib.queue.storage.settlement import Retire, Settlement
from moxlib.queue.submission import NewSubmission
from moxlib.queue.types import EventType, HoldRule, ResultKind

if TYPE_CHECKING:
    from tests.contract.conftest import Desk

BODY = b"Subject: it failed\r\n\r\nSo it did.\r\n"
FAILED = {"event": EventType.FAILED}


def note(desk: "Desk", recipient: str = "sender@here.example", **fields: Any) -> NewSubmission:
    """Return what tells a sender."""
    return submission_to(recipient, sender="", sender_domain="", content=content_of(BODY), queued=desk.now, **fields)


def failed(desk: "Desk", message: Any, **fields: Any) -> Retire:
    return replace(desk.deliver(message, **FAILED), result=desk.result(message, ResultKind.FAILED, code=550), **fields)


@pytest.mark.parametrize("ends", [True, False], ids=["retire", "retry"])
async def test_it_is_queued_with_the_settlement(desk: "Desk", ends: bool) -> None:
    [receipt] = await desk.submit("a@x.example")
    worker = await desk.worker()
    message = (await desk.claim_one(worker)).message
    settlement = failed(desk, message) if ends else desk.retry(message, after=60)
    await desk.settle(worker, replace(settlement, notification=note(desk)))

    [told] = [each for each in await desk.messages() if each.id != receipt.id]
    assert (told.sender, told.recipient, told.account) == ("", "sender@here.example", "shop")
    assert told.size == len(BODY)
    assert await desk.storage.next_due() == desk.now
    claim = await desk.claim_one(worker)
    assert claim.message.id == told.id
    assert claim.content is not None
    assert claim.content.body == BODY


async def test_it_is_not_queued_for_a_settlement_that_is_lost(desk: "Desk") -> None:
    await desk.submit("a@x.example", "b@y.example")
    worker, other = await desk.worker(), await desk.worker("host/2")
    one, two = [claim.message for claim in (await desk.claim(worker)).claims]
    told: list[Settlement] = [
        failed(desk, one, notification=note(desk)),
        replace(desk.retry(two), notification=note(desk)),
    ]

    assert await desk.settle(other, *told) == {one.id, two.id}
    assert {message.id for message in await desk.messages()} == {one.id, two.id}

    assert await desk.settle(worker, *told) == frozenset()
    assert await desk.settle(worker, *told) == {one.id, two.id}, "as after a commit that nobody knows the end of"
    assert [message.sender for message in await desk.messages()].count("") == 2


async def test_one_is_queued_for_each_that_is_settled(desk: "Desk") -> None:
    await desk.submit("a@x.example", "b@x.example", "c@x.example")
    worker = await desk.worker()
    one, two, three = [claim.message for claim in (await desk.claim(worker)).claims]
    await desk.storage.retire(
        MessageFilter(ids=(two.id,)), event=EventType.CANCELED, text="dropped", now=desk.now, keep={}
    )

    settled = [failed(desk, m, notification=note(desk, f"s{m.id}@here.example")) for m in (one, two, three)]
    assert await desk.settle(worker, *settled) == {two.id}
    assert [m.recipient for m in await desk.messages()] == [f"s{m.id}@here.example" for m in (one, three)]


async def test_a_rule_holds_it(desk: "Desk") -> None:
    await desk.submit("a@x.example")
    worker = await desk.worker()
    message = (await desk.claim_one(worker)).message
    await desk.storage.add_hold_rule(HoldRule(recipient_domain="here.example"))
    await desk.settle(worker, failed(desk, message, notification=note(desk)))

    [told] = await desk.messages()
    assert told.hold
    assert await desk.storage.next_due() is None


async def test_what_is_given_up_is_told_with_it(desk: "Desk") -> None:
    one, two, three = await desk.submit("a@x.example", "b@x.example", "c@x.example")
    gone = await desk.storage.retire(
        MessageFilter(ids=(one.id, two.id)),
        event=EventType.FAILED,
        text="given up",
        now=desk.now,
        keep={"": timedelta(days=1)},
        notifications={id_: note(desk, f"s{id_}@here.example") for id_ in (one.id, three.id)},
    )

    assert gone == 2
    assert [m.recipient for m in await desk.messages()] == ["c@x.example", f"s{one.id}@here.example"]


async def test_it_outlives_what_it_tells_of(desk: "Desk") -> None:
    await desk.submit("a@x.example")
    worker = await desk.worker()
    message = (await desk.claim_one(worker)).message
    await desk.settle(worker, failed(desk, message, keep_until=desk.now, notification=note(desk)))
    await desk.reopen()

    [told] = await desk.messages()
    content = await desk.storage.content(told.base_id)
    assert content is not None
    assert content.body == BODY
