"""One timer for all attempts: each is cancelled at its own time, and nobody else is."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from moxlib.queue.worker.deadlines import Deadlines
from moxlib.testing import FakeClock

SECONDS = 10.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def deadlines(clock: FakeClock) -> AsyncGenerator[Deadlines]:
    watched = Deadlines(clock, SECONDS)
    watching = asyncio.create_task(watched.watch())
    yield watched
    watching.cancel()
    await asyncio.wait([watching])


async def attempt(deadlines: Deadlines, until: asyncio.Event) -> str:
    """Wait for an event as a transport would; say how it ended."""
    task = deadlines.begin()
    try:
        await until.wait()
    except asyncio.CancelledError:
        if deadlines.end(task):
            return "overdue"
        raise
    deadlines.end(task)
    return "done"


async def test_each_is_overdue_at_its_own_time(deadlines: Deadlines, clock: FakeClock) -> None:
    never = asyncio.Event()
    first = asyncio.create_task(attempt(deadlines, never))
    await clock.advance(4)
    second = asyncio.create_task(attempt(deadlines, never))
    await clock.advance(5.9)
    assert not first.done()
    await clock.advance(0.1)
    assert (first.done(), second.done()) == (True, False)
    assert await first == "overdue"
    await clock.advance(4)
    assert await second == "overdue"
    assert (first.cancelling(), second.cancelling()) == (0, 0)


async def test_what_ended_in_time_is_left_alone_and_so_is_the_next_attempt_of_its_task(
    deadlines: Deadlines, clock: FakeClock
) -> None:
    go, never = asyncio.Event(), asyncio.Event()

    async def two_attempts() -> tuple[str, str]:
        return await attempt(deadlines, go), await attempt(deadlines, never)

    task = asyncio.create_task(two_attempts())
    await clock.advance(9)
    go.set()
    await clock.advance(9)  # past the first one's time, within the second one's
    assert not task.done()
    await clock.advance(1)
    assert await task == ("done", "overdue")


async def test_who_else_cancels_is_obeyed(deadlines: Deadlines, clock: FakeClock) -> None:
    task = asyncio.create_task(attempt(deadlines, asyncio.Event()))
    await clock.advance(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await clock.advance(60)


async def test_it_waits_for_the_first_attempt_and_again_after_the_last(deadlines: Deadlines, clock: FakeClock) -> None:
    await clock.advance(100)
    for _ in range(2):
        task = asyncio.create_task(attempt(deadlines, asyncio.Event()))
        await clock.advance(SECONDS - 1)
        assert not task.done()
        await clock.advance(1)
        assert await task == "overdue"
        await clock.advance(100)
