"""What a crash costs a message: a worker claims hundreds and dies, and has begun few of them."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from tests.crash.programs.mail import SENDER

from moxlib.queue import Deferred, Delivered, Delivery, DSNConfig, EventType, Outcome, Queue, QueueConfig, Retired
from moxlib.queue.schedule import MAX_FORGIVEN
from moxlib.queue.storage.claims import ClaimRequest, DestinationLimits
from moxlib.testing import FakeClock, MemoryStorage, run_until_empty, run_until_idle

MAIL = b"Subject: hello\r\n\r\nhello\r\n"
LEASE = timedelta(seconds=1)
CONFIG = QueueConfig(schedule="1m, 1h", max_attempts=3, dsn=DSNConfig.off())


class TakesTheThird:
    """A transport that defers twice, then delivers."""

    def __init__(self) -> None:
        self.calls = 0

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        self.calls += 1
        return [Deferred(text="later") if self.calls < 3 else Delivered()]


async def crash(storage: MemoryStorage, clock: FakeClock, times: int) -> None:
    """Have workers claim all that is due, and die."""
    for _ in range(times):
        worker = await storage.register_worker("another machine", now=clock.now(), lease=LEASE)
        request = ClaimRequest(now=clock.now(), limit=100, limits=DestinationLimits())
        assert (await storage.claim(worker, request)).claims
        clock.set(clock.now() + LEASE)
        assert await storage.take_back(now=clock.now()) == (worker,)


async def retired(queue: Queue, id_: int) -> Retired:
    found = await queue.get_retired(id_)
    assert found is not None
    return found


@pytest.mark.parametrize("crashes", [3, 8, MAX_FORGIVEN])
async def test_crashes_take_no_attempts_from_a_message(crashes: int) -> None:
    clock, storage, transport = FakeClock(), MemoryStorage(), TakesTheThird()
    async with Queue(storage, config=CONFIG, clock=clock, transports={"test": transport}) as queue:
        [receipt] = await queue.submit(MAIL, sender=SENDER, recipients="user@there.example")
        await crash(storage, clock, crashes)
        tried = clock.now()
        explanation = await queue.explain(receipt.id)
        await run_until_idle(queue)
        message = await queue.get(receipt.id)
        await run_until_empty(queue, clock)
        end = await retired(queue, receipt.id)
    assert explanation is not None
    assert len(explanation.upcoming) == 3
    assert message is not None
    assert timedelta(seconds=59) < message.next_attempt - tried < timedelta(seconds=61), "the schedule's first wait"
    kinds = [result.kind.value for result in end.results]
    assert kinds == ["interrupted"] * crashes + ["deferred", "deferred", "delivered"]
    assert end.attempts == crashes + 3


async def test_a_message_that_ends_its_worker_each_time_is_given_up_in_the_end() -> None:
    clock, storage, transport = FakeClock(), MemoryStorage(), TakesTheThird()
    async with Queue(storage, config=CONFIG, clock=clock, transports={"test": transport}) as queue:
        [receipt] = await queue.submit(MAIL, sender=SENDER, recipients="user@there.example")
        await crash(storage, clock, MAX_FORGIVEN + 3)
        await run_until_idle(queue)
        end = await retired(queue, receipt.id)
    assert end.event is EventType.FAILED
    assert transport.calls == 0
    assert end.results[-1].text == f"gave up: {MAX_FORGIVEN + 3} attempts were interrupted"
