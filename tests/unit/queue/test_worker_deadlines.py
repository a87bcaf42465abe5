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


async def attempt(deadlines: Deadlines, until: asyncio.Event, paused_until: asyncio.Event | None = None) -> str:
    """Wait for an event as a transport would, after a pause that ends by another; say how it ended."""
    task = deadlines.begin()
    try:
        if paused_until is not None:
            with deadlines.paused(task):
                await paused_until.wait()
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


async def test_a_pause_does_not_count(deadlines: Deadlines, clock: FakeClock) -> None:
    go, never = asyncio.Event(), asyncio.Event()
    first = asyncio.create_task(attempt(deadlines, never, go))
    await clock.advance(3600)
    second = asyncio.create_task(attempt(deadlines, never))  # what is watched now is overdue later than the first one
    await clock.advance(1)
    go.set()
    await clock.advance(8.9)
    assert (first.done(), second.done()) == (False, False)
    await clock.advance(0.1)
    assert (first.done(), second.done()) == (False, True)
    await clock.advance(1)
    assert await first == "overdue"


async def test_what_was_used_before_a_pause_counts(deadlines: Deadlines, clock: FakeClock) -> None:
    async def paused_midway() -> str:
        task = deadlines.begin()
        try:
            await clock.sleep(7)
            with deadlines.paused(task):
                await clock.sleep(100)
            await clock.sleep(100)
        except asyncio.CancelledError:
            return f"overdue: {deadlines.end(task)}"
        return "not overdue"

    long = asyncio.create_task(attempt(deadlines, asyncio.Event(), asyncio.Event()))
    task = asyncio.create_task(paused_midway())
    await clock.advance(109.9)
    assert not task.done()
    await clock.advance(0.1)
    assert await task == "overdue: True"
    assert not long.done()
    long.cancel()
    await asyncio.wait([long])


async def test_a_pause_that_outlives_its_attempt_is_forgotten(deadlines: Deadlines, clock: FakeClock) -> None:
    """A transport left a task behind; what it does touches no later attempt of the same task."""
    go, done = asyncio.Event(), asyncio.Event()

    async def leaves_a_task() -> asyncio.Task[None]:
        task = deadlines.begin()

        async def pause() -> None:
            with deadlines.paused(task):
                await go.wait()

        left = asyncio.create_task(pause())
        await asyncio.sleep(0)
        deadlines.end(task)
        go.set()
        await left
        await done.wait()
        return left

    task = asyncio.create_task(leaves_a_task())
    await clock.advance(100)
    assert not task.done()
    done.set()
    assert (await task).done()
