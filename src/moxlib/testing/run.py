"""Run a queue without waiting: until nothing is due, or until nothing is left."""

from datetime import timedelta

from moxlib.queue import Queue
from moxlib.testing.clock import FakeClock

__all__ = ["run_until_empty", "run_until_idle"]

LONGEST = timedelta(days=365)  # of the clock's time; a schedule that never ends is a mistake in the test


async def run_until_idle(queue: Queue) -> None:
    """Deliver all that is due now, and settle it.

    Messages that are held, or due later, stay queued.
    """
    async with queue.worker() as worker:
        await worker.wait_idle()


async def run_until_empty(queue: Queue, clock: FakeClock) -> None:
    """Deliver all there is: move `clock`, the queue's own, to each next attempt until none is left.

    Held messages stay queued.

    Raises:
        AssertionError: messages are still retried after a year of the clock's time.
    """
    end = clock.now() + LONGEST
    await run_until_idle(queue)
    while (due := await queue.next_due()) is not None:
        if due > end:
            raise AssertionError(f"messages are still waiting for attempts after {LONGEST.days} days")
        clock.set(max(due, clock.now()))
        await run_until_idle(queue)
