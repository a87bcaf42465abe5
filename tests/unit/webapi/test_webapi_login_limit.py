"""Failed logins are counted for an address and the networks around it, as in mox, also while they are under way."""

import asyncio
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from moxlib.errors import InputError
from moxlib.testing.clock import FakeClock
from moxlib.webapi.login_limit import Attempt, FailureWindow, LoginLimit, TooManyFailures

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
ONE = "192.0.2.1"


class Door:
    """Logs in with wrong passwords, and says whether that was let in."""

    def __init__(self, **options: object) -> None:
        self.clock = FakeClock(datetime(2026, 1, 1, 12, 0, 15, tzinfo=UTC))
        self.limit = LoginLimit(clock=self.clock, **options)  # type: ignore[arg-type]

    async def fails(self, address: str = ONE) -> bool:
        admitted = await self.limit.admit(address)
        if isinstance(admitted, TooManyFailures):
            return False
        with admitted:
            admitted.failed()
        return True

    async def failures(self, count: int, address: str = ONE) -> int:
        return sum([await self.fails(address) for _ in range(count)])

    async def succeeds(self, address: str = ONE) -> bool:
        admitted = await self.limit.admit(address)
        if isinstance(admitted, TooManyFailures):
            return False
        with admitted:
            admitted.succeeded()
        return True

    async def wait(self, address: str = ONE) -> timedelta:
        refused = await self.limit.admit(address)
        assert isinstance(refused, TooManyFailures)
        return refused.retry_after


async def test_ten_a_minute_then_everybody_from_there_waits_for_the_next_one() -> None:
    door = Door()
    assert await door.failures(12) == 10
    assert not await door.succeeds()
    assert await door.wait() == timedelta(seconds=45)
    assert await door.fails("192.0.2.2")
    await door.clock.advance(44.9)
    assert not await door.fails()
    await door.clock.advance(0.1)
    assert await door.failures(12) == 10


async def test_fifty_a_day_then_everybody_from_there_waits_for_the_next_one() -> None:
    door = Door()
    for minute in range(6):
        assert await door.failures(10) == (10 if minute < 5 else 0)
        await door.clock.advance(60)
    assert await door.wait() == timedelta(hours=12) - timedelta(minutes=6, seconds=15)
    await door.clock.advance(timedelta(hours=12))
    assert await door.failures(12) == 10


async def test_who_is_over_both_limits_waits_for_the_longer_window() -> None:
    door = Door(windows=[FailureWindow(length=length, limits=(1, 9, 9)) for length in (MINUTE, DAY)])
    assert await door.failures(2) == 1
    assert await door.wait() == timedelta(hours=12) - timedelta(seconds=15)


@pytest.mark.parametrize(
    ("near", "wider", "outside"),
    [
        ([f"192.0.2.{n}" for n in range(64)], [f"192.0.{n}.200" for n in range(1, 8)], "192.0.8.1"),
        (
            [f"2001:db8:0:{n:x}::1" for n in range(64)],
            [f"2001:db8:{n:x}::1" for n in range(1, 12)],
            "2001:db9::1",
        ),
    ],
)
async def test_networks_have_three_and_nine_times_the_limit(near: list[str], wider: list[str], outside: str) -> None:
    door = Door()
    assert sum([await door.failures(1, address) for address in near]) == 30
    assert sum([await door.failures(10, address) for address in wider]) == 60
    assert not await door.fails(wider[-1])
    assert await door.fails(outside)


async def test_an_ipv6_client_has_its_whole_network() -> None:
    door = Door()
    assert sum([await door.failures(1, f"2001:db8::{n:x}") for n in range(1, 20)]) == 10


async def test_ipv4_is_the_same_however_it_is_written() -> None:
    door = Door()
    assert await door.failures(10, "::ffff:192.0.2.1") == 10
    assert not await door.fails()
    assert isinstance(await door.limit.admit(ip_address(ONE)), TooManyFailures)


@pytest.mark.parametrize("address", ["", "localhost", "192.0.2.1:25", "192.0.2", "x" * 1000])
async def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InputError) as caught:
        await Door().limit.admit(address)
    assert len(str(caught.value)) < 150


async def test_success_forgives_what_failed_from_there_and_only_that() -> None:
    door = Door()
    for address in (ONE, "192.0.2.2", "192.0.2.3"):
        await door.failures(9, address)
    assert await door.succeeds()
    assert await door.failures(20) == 10  # the network has 12 left
    assert await door.failures(20, "192.0.2.4") == 2
    assert await door.failures(9, "192.0.2.2") == 0


async def test_success_forgives_nothing_where_it_should_not() -> None:
    door = Door(forgive=False)
    assert await door.failures(9) == 9
    assert await door.succeeds()
    assert await door.failures(9) == 1


async def test_no_more_are_tried_at_once_than_may_fail() -> None:
    door = Door()
    begun: list[Attempt] = []
    refused: list[TooManyFailures] = []

    async def attempt() -> None:
        match await door.limit.admit(ONE):
            case TooManyFailures() as result:
                refused.append(result)
            case Attempt() as admitted:
                begun.append(admitted)

    async with asyncio.timeout(5):
        async with asyncio.TaskGroup() as tasks:
            for _ in range(100):
                tasks.create_task(attempt())
            await door.clock.advance(0)
            assert (len(begun), len(refused)) == (10, 0)
            for each in tuple(begun):
                with each:
                    each.failed()
    assert (len(begun), len(refused)) == (10, 90)


async def test_right_logins_at_once_all_get_in() -> None:
    door = Door()

    async def attempt() -> bool:
        admitted = await door.limit.admit(ONE)
        assert isinstance(admitted, Attempt)
        with admitted:
            await door.clock.sleep(1)
            admitted.succeeded()
        return True

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        all_ = [tasks.create_task(attempt()) for _ in range(35)]
        await door.clock.advance(4)
    assert all(task.result() for task in all_)


async def test_who_goes_away_is_not_counted_and_makes_room() -> None:
    door = Door()
    attempts = [await door.limit.admit(ONE) for _ in range(10)]
    waiting = asyncio.ensure_future(door.limit.admit(ONE))
    gone = asyncio.ensure_future(door.limit.admit(ONE))
    await door.clock.advance(0)
    gone.cancel()
    for each in attempts:
        assert isinstance(each, Attempt)
        with each:
            pass
    async with asyncio.timeout(5):
        admitted = await waiting
    assert isinstance(admitted, Attempt)
    with admitted:
        admitted.failed()
    with admitted:  # an attempt ends once
        admitted.failed()
    assert await door.failures(20) == 9


async def test_not_everybody_can_wait() -> None:
    door = Door()
    for _ in range(10):
        await door.limit.admit(ONE)
    waiting = [asyncio.ensure_future(door.limit.admit(ONE)) for _ in range(200)]
    await door.clock.advance(0)
    assert await door.wait() == timedelta(seconds=1)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_the_networks_kept_are_bounded_and_the_wide_ones_stay_longest() -> None:
    door = Door(max_networks=4)
    for number in range(32):
        await door.failures(1, f"192.0.2.{number}")
    assert not await door.fails("192.0.2.60")
    for counts in door.limit._counts:
        assert [len(failures) for failures in counts._failures] == [4, 1, 1]


async def test_a_clock_that_goes_back_opens_nothing() -> None:
    door = Door()
    await door.failures(10)
    door.limit._clock = FakeClock(datetime(2025, 12, 31, tzinfo=UTC))
    assert not await door.fails()


@pytest.mark.parametrize(
    "options", [{"length": timedelta(0), "limits": (1, 1, 1)}, {"length": DAY, "limits": (1, 0, 1)}]
)
def test_a_window_that_cannot_be_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        FailureWindow(**options)  # type: ignore[arg-type]


async def test_windows_may_be_ones_own() -> None:
    door = Door(windows=(FailureWindow(length=MINUTE, limits=(1, 2, 3)),))
    assert await door.failures(2) == 1
    assert await door.failures(2, "192.0.2.2") == 1
    assert await door.failures(2, "192.0.2.200") == 1
    assert not await door.fails("192.0.3.1")
