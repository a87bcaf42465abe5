"""The contract of `Storage.insert_within`: what others did while the caller's transaction was open is not missed."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.contract.conftest import content_of, submission_to
from tests.contract.database import GUARD, IN_DATABASES, connect, execute

from moxlib.queue import HoldRule, InvalidConnection, MessageFilter
from moxlib.queue.storage.claims import DestinationLimits
from moxlib.queue.submission import NewSubmission, Submission

if TYPE_CHECKING:
    from tests.contract.conftest import Desk

RULE = HoldRule(recipient_domain="x.example")
ON_A_SERVER = pytest.mark.parametrize("desk", ["postgres"], indirect=True)


def new(desk: "Desk", *addresses: str, **fields: Any) -> NewSubmission:
    return submission_to(*addresses, **{"queued": desk.now, "next_attempt": desk.now} | fields)


async def slow_submit(desk: "Desk", *addresses: str) -> tuple[Submission, ...]:
    """Submit in a transaction in which, before its commit, somebody adds a rule."""
    with connect(desk.storage) as connection:
        receipts = await desk.storage.insert_within(connection, new(desk, *addresses))
        await desk.storage.add_hold_rule(RULE)
        connection.commit()
    return receipts


@IN_DATABASES
async def test_it_does_what_insert_does(desk: "Desk") -> None:
    fields: dict[str, Any] = {
        "extra": {"order": "17"},
        "transport": "relay",
        "content": content_of(b"x" * 50_000),
        "schedule": "1m",
    }
    [a, b] = await desk.submit("a@x.example", "b@y.example", **fields)
    with connect(desk.storage) as connection:
        [c, d] = await desk.storage.insert_within(connection, new(desk, "a@x.example", "b@y.example", **fields))
        assert await desk.storage.get(c.id) is None
        connection.commit()
    for inserted, joined in ((a, c), (b, d)):
        one, two = await desk.message(inserted.id), await desk.message(joined.id)
        assert (one.recipient, one.extra, one.queued, one.size) == (two.recipient, two.extra, two.queued, two.size)
        assert (one.transport, one.schedule, one.hold) == (two.transport, two.schedule, two.hold)
    assert await desk.storage.content(c.id) == content_of(b"x" * 50_000)
    assert (c.base_id, d.base_id, d.id) == (c.id, c.id, c.id + 1)
    assert len(await desk.claimed(await desk.worker())) == 4


@pytest.mark.parametrize("desk", ["memory"], indirect=True)
async def test_a_storage_without_a_database_refuses(desk: "Desk") -> None:
    with pytest.raises(InvalidConnection):
        await desk.storage.insert_within(object(), new(desk, "a@x.example"))
    assert await desk.messages() == []


@IN_DATABASES
async def test_a_rule_that_was_there_before_holds(desk: "Desk") -> None:
    await desk.storage.add_hold_rule(RULE)
    with connect(desk.storage) as connection:
        held, free = await desk.storage.insert_within(connection, new(desk, "a@x.example", "b@y.example"))
        connection.commit()
    assert (held.hold, free.hold) == (True, False)
    assert await desk.claimed(await desk.worker()) == ["b@y.example"]


@ON_A_SERVER
async def test_a_rule_that_came_in_between_holds_at_the_claim(desk: "Desk") -> None:
    a, b = await slow_submit(desk, "a@x.example", "b@y.example")
    assert (a.hold, (await desk.message(a.id)).hold) == (False, False)
    worker = await desk.worker()
    assert await desk.claimed(worker) == ["b@y.example"]
    message = await desk.message(a.id)
    assert (message.hold, message.in_flight, message.attempts, message.last_attempt) == (True, False, 0, None)
    assert (message.quarantine, message.results) == ("", ())
    assert await desk.storage.set_hold(MessageFilter(ids=(a.id,)), hold=False) == 1
    assert await desk.claimed(worker) == ["a@x.example"]
    assert (await desk.message(b.id)).in_flight


@ON_A_SERVER
async def test_only_a_rule_that_is_newer_and_matches_holds_at_the_claim(desk: "Desk") -> None:
    await desk.storage.add_hold_rule(HoldRule(account="shop", recipient_domain="z.example"))
    [early] = await desk.submit("early@x.example")
    await slow_submit(desk, "b@y.example")  # its rule does not match
    await desk.storage.set_hold(MessageFilter(ids=(early.id,)), hold=False)  # in spite of the rule
    assert sorted(await desk.claimed(await desk.worker())) == ["b@y.example", "early@x.example"]


@ON_A_SERVER
async def test_what_is_set_aside_by_a_rule_holds_no_slot(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default=1)
    await slow_submit(desk, "a@x.example")
    one, other = await desk.worker("host/1"), await desk.worker("host/2")
    result = await desk.claim(one)
    assert (result.claims, dict(result.slots)) == ((), {})
    assert execute(desk.storage, "SELECT * FROM moxlib_slot") == []
    await desk.storage.set_hold(MessageFilter(), hold=False)
    assert await desk.claimed(other) == ["a@x.example"]


@pytest.mark.parametrize("desk", ["sqlite", "sqlite-in-loop", "postgres"], indirect=True)
async def test_what_is_set_aside_as_damaged_holds_no_slot(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default=2)
    one, other = await desk.worker("host/1"), await desk.worker("host/2")
    await desk.submit("broken@x.example")
    execute(desk.storage, "UPDATE moxlib_message SET results = '[['")
    result = await desk.claim(one)
    assert (result.claims, dict(result.slots)) == ((), {})
    assert execute(desk.storage, "SELECT * FROM moxlib_slot") == []
    await desk.submit("a@x.example")
    assert await desk.claimed(other) == ["a@x.example"]
    assert execute(desk.storage, "SELECT slots FROM moxlib_slot") == [(1,)]


@pytest.mark.parametrize("desk", ["sqlite", "sqlite-in-loop", "postgres"], indirect=True)
async def test_slots_that_a_worker_has_already_stay_its_own(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default=2)
    worker = await desk.worker()
    await desk.submit("a@x.example")
    assert await desk.claimed(worker) == ["a@x.example"]
    await desk.submit("broken@x.example")
    execute(desk.storage, "UPDATE moxlib_message SET results = '[[' WHERE owner IS NULL")
    assert (await desk.claim(worker)).claims == ()
    assert execute(desk.storage, "SELECT slots FROM moxlib_slot WHERE slots >= 1") != []


@ON_A_SERVER
async def test_messages_committed_late_and_early_are_all_claimed(desk: "Desk") -> None:
    """Ids are given out in another order than they are committed; nothing is passed over by that."""
    with connect(desk.storage) as one, connect(desk.storage) as two:
        await desk.storage.insert_within(one, new(desk, "first@x.example"))
        await desk.submit("second@x.example")
        await desk.storage.insert_within(two, new(desk, "third@x.example"))
        await desk.submit("fourth@x.example")
        worker = await desk.worker()
        assert await desk.claimed(worker) == ["second@x.example", "fourth@x.example"]
        assert (await desk.claim(worker)).next_turn is None
        two.commit()
        assert await desk.storage.next_due() == desk.now
        assert await desk.claimed(worker) == ["third@x.example"]
        one.commit()
        assert await desk.claimed(worker) == ["first@x.example"]


@ON_A_SERVER
async def test_what_is_due_later_is_known_from_the_commit_on(desk: "Desk") -> None:
    due = desk.now + timedelta(seconds=60)
    with connect(desk.storage) as connection:
        await desk.storage.insert_within(connection, new(desk, "a@x.example", next_attempt=due))
        assert await desk.storage.next_due() is None
        connection.commit()
    assert await desk.storage.next_due() == due
    worker = await desk.worker()
    assert await desk.claimed(worker) == []
    assert (await desk.claim(worker)).next_turn == due


@ON_A_SERVER
async def test_a_claim_does_not_wait_for_an_open_transaction(desk: "Desk") -> None:
    desk.limits = DestinationLimits(default=100)
    await desk.submit(*(f"a{n}@x.example" for n in range(5)))
    with connect(desk.storage) as connection:
        await desk.storage.insert_within(connection, new(desk, "mine@x.example"))
        async with asyncio.timeout(GUARD):
            assert len(await desk.claimed(await desk.worker())) == 5
        connection.rollback()
    assert await desk.storage.next_due() is None
