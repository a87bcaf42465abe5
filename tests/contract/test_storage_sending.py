"""The contract of `Storage`: how much an account sends in a day is counted with the submit, exactly."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.contract.conftest import submission_to
from tests.contract.database import GUARD, IN_DATABASES, connect, counts

from moxlib.queue import IdempotencyConflict, MessageFilter, MessageLimitReached, RecipientLimitReached
from moxlib.queue.sending import SendingLimits, Sent
from moxlib.queue.submission import Idempotency, Submission

if TYPE_CHECKING:
    from tests.contract.conftest import Desk

DAY = timedelta(days=1)
TEN = SendingLimits(messages_per_day=10)
THREE_NEW = SendingLimits(first_time_recipients_per_day=3)
EITHER = SendingLimits(messages_per_day=100, first_time_recipients_per_day=100)


async def send(desk: "Desk", *recipients: str, limits: SendingLimits = EITHER, **fields: Any) -> tuple[Submission, ...]:
    return await desk.submit(*(recipients or ("a@x.example",)), limits=limits, **fields)


async def sent(desk: "Desk", account: str = "shop") -> tuple[int, int]:
    found = await desk.storage.sent(account, now=desk.now)
    return found.recipients, found.first_time


async def queued(desk: "Desk") -> int:
    return await desk.storage.count_messages(MessageFilter())


async def test_recipients_are_counted_each_time(desk: "Desk") -> None:
    for _ in range(4):
        await send(desk, "a@x.example", "b@x.example", limits=TEN)
        desk.later(3600)
    assert await sent(desk) == (8, 0)
    with pytest.raises(MessageLimitReached) as caught:
        await send(desk, "a@x.example", "b@x.example", "c@x.example", limits=TEN)
    assert caught.value.limit == 10
    assert (await queued(desk), await sent(desk)) == (8, (8, 0))
    await send(desk, "a@x.example", "b@x.example", limits=TEN)
    with pytest.raises(MessageLimitReached):
        await send(desk, limits=TEN)
    await desk.reopen()
    with pytest.raises(MessageLimitReached):
        await send(desk, limits=TEN)


async def test_the_window_slides_in_steps_of_ten_minutes(desk: "Desk") -> None:
    desk.now = datetime(2026, 3, 1, 12, 5, tzinfo=UTC)
    await send(desk, *[f"{n}@x.example" for n in range(6)], limits=TEN)
    desk.later(5 * 60)
    await send(desk, *[f"{n}@x.example" for n in range(4)], limits=TEN)
    desk.now += DAY - timedelta(microseconds=1)
    assert await sent(desk) == (10, 0)
    desk.now += timedelta(microseconds=1)
    assert await sent(desk) == (4, 0)
    await send(desk, *[f"{n}@x.example" for n in range(6)], limits=TEN)
    with pytest.raises(MessageLimitReached):
        await send(desk, limits=TEN)
    desk.later(10 * 60)
    assert await sent(desk) == (6, 0)


async def test_first_time_recipients_are_those_never_written_to(desk: "Desk") -> None:
    await send(desk, "a@x.example", "b@x.example", limits=THREE_NEW)
    for _ in range(5):
        await send(desk, "A@x.example", "b@x.example", limits=THREE_NEW)
    assert await sent(desk) == (12, 2)
    with pytest.raises(RecipientLimitReached) as caught:
        await send(desk, "a@x.example", "c@x.example", "d@x.example", limits=THREE_NEW)
    assert caught.value.limit == 3
    assert await queued(desk) == 12
    await send(desk, "c@x.example", limits=THREE_NEW)
    with pytest.raises(RecipientLimitReached):
        await send(desk, "d@x.example", limits=THREE_NEW)
    await send(desk, "c@x.example", limits=THREE_NEW)  # those known get mail all the same
    desk.now += DAY + timedelta(minutes=10)
    await send(desk, "d@x.example", "e@x.example", "f@x.example", "a@x.example", limits=THREE_NEW)
    assert await sent(desk) == (4, 3)


async def test_another_tag_is_another_recipient_and_a_form_of_an_address_is_none(desk: "Desk") -> None:
    await send(desk, "jörg@x.example")
    await send(desk, "JÖRG@x.example", "jörg+tag@x.example")
    assert await sent(desk) == (3, 2)
    assert (
        await desk.storage.first_time_recipients(
            "shop", ["jörg@x.example", "Jörg+Tag@x.example", "new@x.example", "NEW@x.example"], now=desk.now
        )
        == 1
    )
    assert await desk.storage.first_time_recipients("shop", [], now=desk.now) == 0


async def test_a_limit_that_was_lowered_lets_mail_to_known_recipients_pass(desk: "Desk") -> None:
    await send(desk, "a@x.example", "b@x.example")
    one = SendingLimits(first_time_recipients_per_day=1)
    await send(desk, "a@x.example", limits=one)
    with pytest.raises(RecipientLimitReached):
        await send(desk, "c@x.example", limits=one)


async def test_both_limits_hold_and_that_of_messages_is_told_first(desk: "Desk") -> None:
    limits = SendingLimits(messages_per_day=2, first_time_recipients_per_day=1)
    with pytest.raises(RecipientLimitReached):
        await send(desk, "a@x.example", "b@x.example", limits=limits)
    with pytest.raises(MessageLimitReached):
        await send(desk, "a@x.example", "b@x.example", "c@x.example", limits=limits)
    await send(desk, limits=limits)
    await send(desk, limits=limits)
    none = SendingLimits(messages_per_day=0)
    with pytest.raises(MessageLimitReached):
        await send(desk, account="other", limits=none)


async def test_each_account_is_counted_by_itself(desk: "Desk") -> None:
    for account in ("shop", "", "SHOP", "shöp"):
        await send(desk, *[f"{n}@x.example" for n in range(10)], limits=TEN, account=account)
        assert await sent(desk, account) == (10, 0)
    for account in ("shop", ""):
        with pytest.raises(MessageLimitReached):
            await send(desk, limits=TEN, account=account)


@IN_DATABASES
async def test_without_limits_nothing_is_written(desk: "Desk") -> None:
    await desk.submit("a@x.example")
    await send(desk, limits=TEN)
    assert counts(desk.storage, "sent", "sent_to") == {"sent": 1, "sent_to": 0}
    await send(desk, "b@x.example", limits=THREE_NEW)
    assert counts(desk.storage, "sent", "sent_to") == {"sent": 1, "sent_to": 1}
    assert await sent(desk) == (2, 1)


async def test_a_repeat_is_not_counted_and_never_refused(desk: "Desk") -> None:
    one = SendingLimits(messages_per_day=1, first_time_recipients_per_day=1)

    def key(fingerprint: bytes = b"this".ljust(32)) -> Idempotency:
        return Idempotency(key="k", fingerprint=fingerprint, keep_until=desk.now + DAY)

    [first] = await send(desk, limits=one, idempotency=key())
    for _ in range(3):
        [again] = await send(desk, limits=one, idempotency=key())
        assert (again, again.repeated) == (first, True)
    assert await sent(desk) == (1, 1)
    with pytest.raises(IdempotencyConflict):
        await send(desk, limits=one, idempotency=key(b"other".ljust(32)))
    other = Idempotency(key="other", fingerprint=b"".ljust(32), keep_until=desk.now + DAY)
    with pytest.raises(MessageLimitReached):
        await send(desk, limits=one, idempotency=other)
    [free] = await send(desk, account="else", limits=one, idempotency=other)
    assert not free.repeated
    desk.now += DAY + timedelta(minutes=10)
    [later] = await send(desk, limits=one, idempotency=other)  # the key was left free
    assert not later.repeated


async def test_of_many_at_once_exactly_as_many_pass_as_may(desk: "Desk") -> None:
    async with asyncio.timeout(GUARD):
        results = await asyncio.gather(
            *[send(desk, "a@x.example", "b@x.example", limits=TEN) for _ in range(40)],
            *[desk.submit("free@x.example") for _ in range(10)],
            *[send(desk, account=f"a{n}") for n in range(10)],
            return_exceptions=True,
        )
    refused = [result for result in results if isinstance(result, BaseException)]
    assert [type(error) for error in refused] == [MessageLimitReached] * 35
    assert (await queued(desk), await sent(desk)) == (30, (10, 0))


@pytest.mark.parametrize("desk", ["sqlite", "postgres"], indirect=True)
async def test_of_many_at_once_from_several_processes_exactly_as_many_pass_as_may(desk: "Desk") -> None:
    others = [desk.make() for _ in range(2)]
    for other in others:
        await other.open(desk.now)
    try:
        async with asyncio.timeout(GUARD):
            results = await asyncio.gather(
                *[
                    storage.insert(submission_to(f"{n}@x.example", account=account, limits=limits, queued=desk.now))
                    for n in range(20)
                    for storage in (desk.storage, *others)
                    for account, limits in (("shop", TEN), ("b", THREE_NEW), ("c", EITHER))
                ],
                return_exceptions=True,
            )
    finally:
        for other in others:
            await other.close()
    failed = [type(result) for result in results if isinstance(result, BaseException)]
    assert failed.count(MessageLimitReached) == 50
    assert set(failed) == {MessageLimitReached, RecipientLimitReached}
    assert await sent(desk) == (10, 0)
    assert (await sent(desk, "b"))[1] == 3
    assert await sent(desk, "c") == (60, 20)


async def test_who_was_not_written_to_for_long_is_new_again(desk: "Desk") -> None:
    await send(desk, "rare@x.example", "often@x.example")
    for _ in range(5):
        desk.now += timedelta(days=100)
        await send(desk, "often@x.example")
        assert await sent(desk) == (1, 0)
    assert await desk.storage.first_time_recipients("shop", ["rare@x.example", "often@x.example"], now=desk.now) == 1
    await send(desk, "rare@x.example")
    assert await sent(desk) == (2, 1)


@IN_DATABASES
async def test_what_does_not_count_any_more_is_purged(desk: "Desk") -> None:
    for n in range(4):
        await send(desk, f"{n}@x.example")
        desk.later(600)
    await send(desk, "0@x.example", account="other")
    assert counts(desk.storage, "sent", "sent_to") == {"sent": 5, "sent_to": 5}
    assert await desk.storage.purge(now=desk.now, events_before=desk.now) == 0
    desk.now += DAY
    assert await desk.storage.purge(now=desk.now, events_before=desk.now) == 4
    assert counts(desk.storage, "sent", "sent_to") == {"sent": 1, "sent_to": 5}
    desk.now += timedelta(days=401)
    await send(desk, "1@x.example")
    assert await desk.storage.purge(now=desk.now, events_before=desk.now) == 5
    assert counts(desk.storage, "sent", "sent_to") == {"sent": 1, "sent_to": 1}
    assert await desk.storage.purge(now=desk.now, events_before=desk.now) == 0


async def test_purging_takes_a_bounded_number_at_once(desk: "Desk") -> None:
    limits = SendingLimits(first_time_recipients_per_day=5000)
    await send(desk, *[f"{n}@x.example" for n in range(1200)], limits=limits)
    assert await sent(desk) == (1200, 1200)
    desk.now += timedelta(days=500)
    assert await desk.storage.purge(now=desk.now, events_before=desk.now) == 1001
    assert await desk.storage.purge(now=desk.now, events_before=desk.now) == 200


@IN_DATABASES
async def test_in_the_applications_own_transaction_it_is_counted_when_that_commits(desk: "Desk") -> None:
    two = SendingLimits(messages_per_day=2, first_time_recipients_per_day=2)

    def submission(n: int) -> Any:
        return submission_to(f"{n}@x.example", limits=two, queued=desk.now)

    with connect(desk.storage) as connection:
        await desk.storage.insert_within(connection, submission(1))
        connection.rollback()
    assert await sent(desk) == (0, 0)
    with connect(desk.storage) as connection:
        await desk.storage.insert_within(connection, submission(1))
        await desk.storage.insert_within(connection, submission(1))
        with pytest.raises(MessageLimitReached):
            await desk.storage.insert_within(connection, submission(3))
        connection.commit()
    assert (await sent(desk), await queued(desk)) == ((2, 1), 2)
    with pytest.raises(MessageLimitReached):
        await desk.storage.insert(submission(1))


@pytest.mark.parametrize("desk", ["postgres"], indirect=True)
async def test_nobody_waits_for_a_transaction_of_the_applications(desk: "Desk") -> None:
    with connect(desk.storage) as slow, connect(desk.storage) as other:
        for connection in (slow, other):
            await desk.storage.insert_within(connection, submission_to("new@x.example", limits=EITHER))
        async with asyncio.timeout(GUARD):
            await send(desk, "new@x.example")
            assert await sent(desk) == (1, 1)
        slow.commit()
        other.commit()
    assert await sent(desk) == (3, 3)
    await send(desk, "new@x.example")
    assert await sent(desk) == (4, 3)


def test_what_is_added_up() -> None:
    assert Sent(recipients=1, first_time=2) + Sent(recipients=3, first_time=5) == Sent(recipients=4, first_time=7)
