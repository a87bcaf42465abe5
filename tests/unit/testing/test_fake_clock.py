"""`FakeClock`: order, exactness, and the corners of cancellation that `asyncio.timeout` defines."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest

from moxlib.testing.clock import START, FakeClock

if TYPE_CHECKING:
    from moxlib._clock import Clock


def test_it_is_a_clock_and_starts_where_told() -> None:
    clock: Clock = FakeClock()
    assert clock.now() == START
    assert clock.now().utcoffset() == timedelta(0)
    elsewhere = datetime(2030, 5, 1, 2, tzinfo=timezone(timedelta(hours=2)))
    assert FakeClock(elsewhere).now() == datetime(2030, 5, 1, tzinfo=UTC)
    assert FakeClock(elsewhere).now().tzinfo is UTC
    with pytest.raises(ValueError, match="aware"):
        FakeClock(datetime(2030, 5, 1))


async def test_time_stands_still_until_moved() -> None:
    clock = FakeClock()
    await asyncio.sleep(0)
    assert (clock.now(), clock.monotonic()) == (START, 0.0)
    await clock.advance(1.5)
    assert (clock.now(), clock.monotonic()) == (START + timedelta(seconds=1.5), 1.5)
    await clock.advance(timedelta(days=1))
    assert clock.monotonic() == 86401.5
    clock.set(START + timedelta(days=2))
    assert (clock.now(), clock.monotonic()) == (START + timedelta(days=2), 2 * 86400)


async def test_time_does_not_go_back() -> None:
    clock = FakeClock()
    with pytest.raises(ValueError, match="go back"):
        await clock.advance(-1)
    with pytest.raises(ValueError, match="go back"):
        clock.set(START - timedelta(microseconds=1))
    with pytest.raises(ValueError, match="aware"):
        clock.set(datetime(2030, 5, 1))
    clock.set(START)
    assert clock.now() == START


async def test_sleepers_wake_in_order_of_time_and_see_their_own_instant() -> None:
    clock = FakeClock()
    woken: list[tuple[str, datetime]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.now()))

    async with asyncio.TaskGroup() as group:
        for name, seconds in (("c", 30), ("a", 10), ("b", 20), ("b2", 20), ("later", 31)):
            group.create_task(sleeper(name, seconds))
        await clock.advance(30)
        at = [(name, (when - START).total_seconds()) for name, when in woken]
        assert at == [("a", 10), ("b", 20), ("b2", 20), ("c", 30)]
        assert clock.next_wakeup == START + timedelta(seconds=31)
        assert clock.waiting == 1
        await clock.advance(1)
    assert woken[-1][0] == "later"
    assert clock.next_wakeup is None


async def test_a_sleep_begun_on_the_way_is_met_on_the_way() -> None:
    clock = FakeClock()
    ticks: list[float] = []

    async def ticker() -> None:
        for _ in range(5):
            await clock.sleep(1)
            ticks.append(clock.monotonic())

    task = asyncio.create_task(ticker())
    await clock.advance(10)  # the task had not even begun
    assert ticks == [1, 2, 3, 4, 5]
    assert task.done()
    await task


async def test_one_microsecond_short_is_not_enough() -> None:
    clock = FakeClock()
    task = asyncio.create_task(clock.sleep(0.1))
    await clock.advance(timedelta(microseconds=99_999))
    assert not task.done()
    await clock.advance(timedelta(microseconds=1))
    assert task.done()
    await task


@pytest.mark.parametrize("seconds", [0, -1, float("-inf")])
async def test_a_sleep_that_is_not_positive_returns_without_the_clock_but_through_the_loop(seconds: float) -> None:
    clock = FakeClock()
    ran: list[str] = []
    asyncio.get_running_loop().call_soon(ran.append, "other")
    await clock.sleep(seconds)
    assert ran == ["other"]
    assert clock.waiting == 0


async def test_a_cancelled_sleep_leaves_nothing_behind() -> None:
    clock = FakeClock()
    task = asyncio.create_task(clock.sleep(float("inf")))
    await clock.advance(timedelta(days=3650))
    assert (task.done(), clock.waiting) == (False, 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (clock.waiting, clock.next_wakeup) == (0, None)


async def test_set_wakes_but_lets_nothing_run() -> None:
    clock = FakeClock()
    seen: list[datetime] = []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        seen.append(clock.now())

    tasks = [asyncio.create_task(sleeper(n)) for n in (2, 1)]
    await asyncio.sleep(0)
    clock.set(START + timedelta(seconds=5))
    assert (seen, clock.waiting) == ([], 0)
    await asyncio.gather(*tasks)
    assert seen == [START + timedelta(seconds=5)] * 2


async def test_timeout_expires_in_the_task_of_its_body() -> None:
    clock = FakeClock()
    times: list[float] = []

    async def patient() -> str:
        with pytest.raises(TimeoutError):
            async with clock.timeout(5):
                await asyncio.Event().wait()
        times.append(clock.monotonic())
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await clock.sleep(1)  # the task is not marked as cancelled: it can wait again
        return "went on"

    task = asyncio.create_task(patient())
    await clock.advance(4.9)
    assert times == []
    await clock.advance(10)
    assert times == [5.0]
    assert await task == "went on"
    assert clock.waiting == 0


async def test_a_body_in_time_leaves_no_timer() -> None:
    clock = FakeClock()
    async with clock.timeout(5):
        assert clock.waiting == 1
    assert clock.waiting == 0
    with pytest.raises(KeyError):
        async with clock.timeout(5):
            raise KeyError
    assert clock.waiting == 0
    await clock.advance(10)


async def test_no_timeout_never_expires() -> None:
    clock = FakeClock()
    async with clock.timeout(None):
        await clock.advance(timedelta(days=10_000))
    async with clock.timeout(float("inf")):
        await clock.advance(timedelta(days=10_000))


@pytest.mark.parametrize("seconds", [0, -3])
async def test_a_timeout_that_has_passed_stops_the_first_wait(seconds: float) -> None:
    clock = FakeClock()
    reached: list[int] = []

    async def body() -> None:
        async with clock.timeout(seconds):
            reached.append(1)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            reached.append(2)

    with pytest.raises(TimeoutError):
        await body()
    assert reached == [1]


@pytest.mark.parametrize(("inner", "outer", "expired"), [(1, 2, "inner"), (2, 1, "outer"), (1, 1, "outer")])
async def test_nested_timeouts(inner: float, outer: float, expired: str) -> None:
    clock = FakeClock()
    caught: list[str] = []

    async def body() -> None:
        try:
            async with clock.timeout(outer):
                try:
                    async with clock.timeout(inner):
                        await asyncio.Event().wait()
                except TimeoutError:
                    caught.append("inner")
        except TimeoutError:
            caught.append("outer")

    task = asyncio.create_task(body())
    await clock.advance(5)
    await task
    assert caught == [expired]
    assert clock.waiting == 0


async def test_foreign_cancellation_is_not_turned_into_a_timeout() -> None:
    clock = FakeClock()

    async def body() -> None:
        async with clock.timeout(5):
            await asyncio.Event().wait()

    task = asyncio.create_task(body())
    await clock.advance(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock.waiting == 0


async def test_foreign_cancellation_at_the_deadline_wins() -> None:
    clock = FakeClock()

    async def body() -> None:
        async with clock.timeout(5):
            await asyncio.Event().wait()

    task = asyncio.create_task(body())
    await asyncio.sleep(0)
    clock.set(START + timedelta(seconds=5))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_timeout_may_be_caught_by_a_task_group() -> None:
    clock = FakeClock()
    ended: list[str] = []

    async def child() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("child")

    async def body() -> None:
        with pytest.raises(TimeoutError):
            async with clock.timeout(5), asyncio.TaskGroup() as group:
                group.create_task(child())

    task = asyncio.create_task(body())
    await clock.advance(6)
    await task
    assert ended == ["child"]


def test_it_serves_one_loop_after_another() -> None:
    clock = FakeClock()

    async def hour() -> None:
        task = asyncio.create_task(clock.sleep(3600))
        await clock.advance(3600)
        await task

    asyncio.run(hour())
    asyncio.run(hour())
    assert clock.monotonic() == 7200
