"""The contract of `Storage`: opening and closing, submitting, content."""

import asyncio
import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from moxlib.queue.errors import QueueClosed
from moxlib.queue.selection import MessageFilter
from moxlib.queue.submission import NewRecipient, StoredContent
from moxlib.queue.types import HoldRule, Message, RequireTLS

if TYPE_CHECKING:
    from tests.contract.conftest import Desk


async def test_a_new_storage_is_empty(desk: "Desk") -> None:
    assert (await desk.page()).items == ()
    assert await desk.storage.count_messages(MessageFilter()) == 0
    assert await desk.storage.next_due() is None
    assert await desk.storage.workers() == ()
    assert await desk.storage.hold_rules() == ()
    assert await desk.storage.events(after=0, limit=10) == ()
    assert await desk.storage.get(1) is None
    assert await desk.storage.get_retired(1) is None
    assert await desk.storage.content(1) is None


async def test_receipts_come_in_order_and_ids_count_from_one(desk: "Desk") -> None:
    first = await desk.submit("b@x.example", "a@y.example", "c@x.example")
    assert [(s.id, s.base_id, s.recipient, s.hold) for s in first] == [
        (1, 1, "b@x.example", False),
        (2, 1, "a@y.example", False),
        (3, 1, "c@x.example", False),
    ]
    [second] = await desk.submit("d@x.example")
    assert (second.id, second.base_id) == (4, 4)


async def test_everything_submitted_comes_back(desk: "Desk") -> None:
    fields: dict[str, Any] = {
        "account": "büro",
        "sender": "jö'rg\"@hier.example",
        "sender_domain": "hier.example",
        "recipients": (
            NewRecipient(address="ü@bücher.example", domain="xn--bcher-kva.example", destination="mx.example"),
        ),
        "queued": desk.now - timedelta(seconds=5),
        "next_attempt": desk.now + timedelta(microseconds=1),
        "max_attempts": 3,
        "message_id": "<1@hier.example>",
        "subject": "Grüße \U0001f600",
        "prefix": b"Received: from \xff\r\n",
        "needs_8bit": True,
        "needs_smtputf8": True,
        "require_tls": RequireTLS.YES,
        "transport": "relay",
        "schedule": "1m, 5m*2",
        "extra": {"invoice": "17", "ключ": "значение", "": "empty"},
    }
    [receipt] = await desk.submit(**fields)
    expected = Message(
        id=receipt.id,
        base_id=receipt.base_id,
        account="büro",
        sender="jö'rg\"@hier.example",
        sender_domain="hier.example",
        recipient="ü@bücher.example",
        recipient_domain="xn--bcher-kva.example",
        destination="mx.example",
        queued=desk.now - timedelta(seconds=5),
        hold=False,
        attempts=0,
        max_attempts=3,
        next_attempt=desk.now + timedelta(microseconds=1),
        last_attempt=None,
        in_flight=False,
        results=(),
        size=len(b"Subject: hello\r\n\r\nhello\r\n"),
        message_id="<1@hier.example>",
        subject="Grüße \U0001f600",
        prefix=b"Received: from \xff\r\n",
        needs_8bit=True,
        needs_smtputf8=True,
        require_tls=RequireTLS.YES,
        transport="relay",
        schedule="1m, 5m*2",
        quarantine="",
        extra={"invoice": "17", "ключ": "значение", "": "empty"},
    )
    message = await desk.message(receipt.id)
    assert message == expected
    assert message.queued.utcoffset() == timedelta(0)
    await desk.reopen()
    assert await desk.message(receipt.id) == expected


async def test_unset_fields_come_back_unset(desk: "Desk") -> None:
    [receipt] = await desk.submit("a@x.example", sender="", sender_domain="")
    message = await desk.message(receipt.id)
    assert (message.sender, message.transport, message.schedule, dict(message.extra)) == ("", None, None, {})


async def test_content_is_shared_by_the_recipients(desk: "Desk") -> None:
    body = bytes(range(256)) * 300
    content = StoredContent(size=len(body), sha256=hashlib.sha256(body).digest(), body=body)
    a, b = await desk.submit("a@x.example", "b@y.example", content=content)
    assert await desk.storage.content(a.base_id) == content
    assert await desk.storage.content(b.id) is None
    await desk.reopen()
    assert await desk.storage.content(a.base_id) == content


async def test_empty_content_is_content(desk: "Desk") -> None:
    content = StoredContent(size=0, sha256=hashlib.sha256(b"").digest(), body=b"")
    [a] = await desk.submit("a@x.example", content=content)
    assert await desk.storage.content(a.base_id) == content
    assert (await desk.claim_one(await desk.worker())).content == content


async def test_content_goes_with_the_last_queued_message(desk: "Desk") -> None:
    a, b = await desk.submit("a@x.example", "b@x.example")
    worker = await desk.worker()
    first, second = (await desk.claim(worker)).claims
    await desk.settle(worker, desk.deliver(first.message))
    assert await desk.storage.content(a.base_id) is not None
    await desk.settle(worker, desk.retry(second.message))
    assert await desk.storage.content(a.base_id) is not None
    desk.later(60)
    await desk.settle(worker, desk.deliver((await desk.claim_one(worker)).message))
    assert await desk.storage.content(a.base_id) is None
    assert await desk.storage.get_retired(b.id) is not None


async def test_hold_rules_hold_what_is_submitted(desk: "Desk") -> None:
    await desk.storage.add_hold_rule(HoldRule(account="shop", recipient_domain="x.example"))
    held, free = await desk.submit("a@x.example", "b@y.example")
    [other] = await desk.submit("c@x.example", account="else")
    assert (held.hold, free.hold, other.hold) == (True, False, False)
    assert (await desk.message(held.id)).hold
    assert await desk.claimed(await desk.worker()) == ["c@x.example", "b@y.example"]


@pytest.mark.parametrize(
    "rule",
    [
        HoldRule(),
        HoldRule(account="shop"),
        HoldRule(sender_domain="here.example"),
        HoldRule(recipient_domain="x.example"),
        HoldRule(account="shop", sender_domain="here.example", recipient_domain="x.example"),
    ],
)
async def test_an_empty_field_of_a_rule_matches_anything(desk: "Desk", rule: HoldRule) -> None:
    await desk.storage.add_hold_rule(rule)
    [receipt] = await desk.submit("a@x.example")
    assert receipt.hold


@pytest.mark.parametrize(
    "rule",
    [
        HoldRule(account="shop", recipient_domain="y.example"),
        HoldRule(account="else", recipient_domain="x.example"),
        HoldRule(sender_domain="x.example"),
        HoldRule(recipient_domain="example"),
    ],
)
async def test_all_set_fields_of_a_rule_must_match(desk: "Desk", rule: HoldRule) -> None:
    [queued] = await desk.submit("a@x.example")
    assert (await desk.storage.add_hold_rule(rule))[1] == 0
    [receipt] = await desk.submit("a@x.example")
    assert (receipt.hold, (await desk.message(queued.id)).hold) == (False, False)


async def test_submits_at_once_each_get_their_own_ids(desk: "Desk") -> None:
    receipts = await asyncio.gather(*(desk.submit(f"a{n}@x.example", f"b{n}@y.example") for n in range(40)))
    assert sorted(s.id for pair in receipts for s in pair) == list(range(1, 81))
    assert all(a.base_id == b.base_id == a.id == b.id - 1 for a, b in receipts)
    assert await desk.storage.count_messages(MessageFilter()) == 80


async def test_ids_are_not_used_again(desk: "Desk") -> None:
    [first] = await desk.submit("a@x.example")
    worker = await desk.worker()
    now = desk.now
    await desk.settle(worker, desk.deliver((await desk.claim_one(worker)).message, keep_until=now))
    await desk.reopen()
    [second] = await desk.submit("a@x.example")
    assert second.id > first.id


async def test_everything_survives_closing(desk: "Desk") -> None:
    await desk.submit("a@x.example", "b@y.example", "c@z.example")
    await desk.storage.add_hold_rule(HoldRule(account="else"))
    worker = await desk.worker(lease=600)
    claims = (await desk.claim(worker)).claims
    await desk.settle(worker, desk.deliver(claims[0].message), desk.retry(claims[1].message))

    async def everything() -> object:
        return (
            await desk.messages(),
            await desk.storage.get_retired(claims[0].message.id),
            await desk.storage.events(after=0, limit=100),
            await desk.storage.workers(),
            await desk.storage.hold_rules(),
            await desk.storage.next_due(),
        )

    before = await everything()
    await desk.reopen()
    assert await everything() == before
    assert await desk.settle(worker, desk.deliver(claims[2].message)) == frozenset()  # its claim survived too


async def test_closing_twice_is_closing_once(desk: "Desk") -> None:
    await desk.storage.close()
    await desk.storage.close()


async def test_what_is_not_open_refuses(desk: "Desk") -> None:
    await desk.storage.close()
    with pytest.raises(QueueClosed):
        await desk.storage.count_messages(MessageFilter())
    with pytest.raises(QueueClosed):
        await desk.submit("a@x.example")
    unopened = desk.make()
    with pytest.raises(QueueClosed):
        await unopened.workers()
