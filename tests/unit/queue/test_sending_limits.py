"""`Queue.submit(limits=...)`: what an account sends in a day is limited, and can be asked for."""

import pickle
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from moxlib.errors import InputError, LimitExceeded
from moxlib.queue import MessageFilter, MessageLimitReached, RecipientLimitReached, SendingLimits, Sent
from moxlib.smtp import InvalidAddress

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Depot

LIMITS = SendingLimits(messages_per_day=3, first_time_recipients_per_day=2)


async def test_what_is_over_a_limit_is_not_queued(depot: "Depot") -> None:
    async with depot.queue() as queue:
        await depot.submit(queue, "a@x.example", "b@x.example", account="shop", limits=LIMITS)
        with pytest.raises(RecipientLimitReached):
            await depot.submit(queue, "c@x.example", account="shop", limits=LIMITS)
        await depot.submit(queue, "A@X.example", account="shop", limits=LIMITS)
        with pytest.raises(MessageLimitReached):
            await depot.submit(queue, "a@x.example", account="shop", limits=LIMITS)
        assert await queue.count_messages(MessageFilter()) == 3
        assert len(depot.ear.of("submitted")) == 2
        assert await queue.sent_in_a_day("shop") == Sent(recipients=3, first_time=2)
        assert await queue.sent_in_a_day() == Sent()
        await depot.clock.advance(timedelta(hours=24, minutes=10))
        assert await queue.sent_in_a_day("shop") == Sent()
        await depot.submit(queue, "c@x.example", "d@x.example", account="shop", limits=LIMITS)


async def test_doubles_are_left_out_and_not_counted(depot: "Depot") -> None:
    async with depot.queue() as queue:
        await depot.submit(queue, "a@x.example", "a@X.example", "A@x.example", limits=LIMITS)
        assert await queue.sent_in_a_day() == Sent(recipients=2, first_time=1)


async def test_limits_can_be_checked_before_anything_is_made(depot: "Depot") -> None:
    async with depot.queue() as queue:
        for _ in range(3):
            await queue.check_sending_limits(["a@x.example", "b@x.example", "a@x.example"], limits=LIMITS)
        assert await queue.sent_in_a_day() == Sent()
        with pytest.raises(RecipientLimitReached):
            await queue.check_sending_limits(["a@x.example", "b@x.example", "c@x.example"], limits=LIMITS)
        await depot.submit(queue, "a@x.example", "b@x.example", limits=LIMITS)
        await queue.check_sending_limits("A@X.EXAMPLE", limits=LIMITS)
        with pytest.raises(RecipientLimitReached):
            await queue.check_sending_limits("c@x.example", limits=LIMITS)
        await queue.check_sending_limits("c@x.example", limits=SendingLimits(messages_per_day=3))
        with pytest.raises(MessageLimitReached):
            await queue.check_sending_limits(["a@x.example", "b@x.example"], limits=LIMITS)
        await queue.check_sending_limits(["a@x.example", "b@x.example"], account="other", limits=LIMITS)
        with pytest.raises(InvalidAddress):
            await queue.check_sending_limits("nobody", limits=LIMITS)


async def test_international_recipients_are_known_in_any_form(depot: "Depot") -> None:
    async with depot.queue() as queue:
        await depot.submit(queue, "jörg@bücher.example", limits=LIMITS)
        await depot.submit(queue, "jo\u0308rg@xn--bcher-kva.example", limits=LIMITS)
        assert await queue.sent_in_a_day() == Sent(recipients=2, first_time=1)


async def test_what_does_not_count_any_more_is_forgotten_when_the_queue_is_purged(depot: "Depot") -> None:
    async with depot.queue(keep_history=timedelta(0), keep_feedback=timedelta(0)) as queue:
        await depot.submit(queue, limits=LIMITS)
        await depot.empty(queue)
        now = depot.clock.now()
        await queue._storage.purge(now=now + timedelta(seconds=1), events_before=now + timedelta(seconds=1))
        assert await queue._storage.purge(now=now + timedelta(days=399), events_before=now) == 1  # of the day
        assert await queue._storage.purge(now=now + timedelta(days=500), events_before=now) == 1  # the recipient
        assert await queue._storage.purge(now=now + timedelta(days=500), events_before=now) == 0


@pytest.mark.parametrize("value", [-1, 1.5, True, "10"])
def test_what_is_no_limit_is_refused(value: Any) -> None:
    for name in ("messages_per_day", "first_time_recipients_per_day"):
        with pytest.raises(InputError):
            SendingLimits(**{name: value})


@pytest.mark.parametrize("error", [MessageLimitReached(5), RecipientLimitReached(7)])
def test_limits_that_were_reached_are_errors_with_their_limit(error: LimitExceeded) -> None:
    assert isinstance(error, InputError)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), copy.limit) == (type(error), str(error), error.limit)
