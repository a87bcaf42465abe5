"""Rates and their token buckets, by example."""

from datetime import timedelta
from typing import Any

import pytest

from moxlib.errors import InputError
from moxlib.queue.limits import MAX_PER_SECOND, MAX_SKEW, MIN_PER_DAY, SECOND, Rate, Taken, take

NOW = 1_767_268_800 * SECOND


@pytest.mark.parametrize(
    ("rate", "burst", "interval"),
    [
        (Rate.per_second(100), 100, 10_000),
        (Rate.per_second(2.5), 2, 400_000),
        (Rate.per_second(0.5), 1, 2_000_000),
        (Rate.per_second(3), 3, 333_334),
        (Rate.per_second(MAX_PER_SECOND), 1_000_000, 1),
        (Rate.per_minute(60), 10, 1_000_000),
        (Rate.per_minute(12), 2, 5_000_000),
        (Rate.per_minute(5), 1, 12_000_000),
        (Rate.per_minute(0.5), 1, 120_000_000),
        (Rate(count=MIN_PER_DAY, per=timedelta(days=1)), 1, 86_400_000_000),
    ],
)
def test_a_rate(rate: Rate, burst: int, interval: int) -> None:
    assert (rate.burst, rate.time_for(1), rate.time_for(0)) == (burst, interval, 0)


@pytest.mark.parametrize("count", [0, -1, 1e-9, 1e9, float("nan"), float("inf"), float("-inf"), 1e300])
@pytest.mark.parametrize("make", [Rate.per_second, Rate.per_minute])
def test_what_is_no_rate_is_refused(make: Any, count: float) -> None:
    with pytest.raises(InputError, match="a rate must be from 1 a day to 1000000 a second, not "):
        make(count)


@pytest.mark.parametrize("options", [{"per": timedelta(0)}, {"per": timedelta(seconds=-1)}, {"burst": 0}])
def test_other_parts_of_a_rate_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Rate(**{"count": 1, "per": timedelta(seconds=1), **options})


def test_many_small_roundings_do_not_add_up() -> None:
    """A third of a second, thrice, is a second: what is rounded is the batch, not each token."""
    assert Rate.per_second(3).time_for(300) == 100 * SECOND


def test_a_bucket_never_touched_is_full() -> None:
    assert take(Rate.per_second(10), None, now=NOW, wanted=3) == Taken(granted=3, full_at=NOW + 300_000, next_at=NOW)


def test_no_more_than_the_burst_at_once() -> None:
    taken = take(Rate.per_second(10), None, now=NOW, wanted=1000)
    assert taken == Taken(granted=10, full_at=NOW + SECOND, next_at=NOW + 200_000)
    assert take(Rate.per_second(10), taken.full_at, now=NOW, wanted=1) == Taken(
        granted=0, full_at=taken.full_at, next_at=NOW + 200_000
    )


def test_it_fills_as_time_goes_on() -> None:
    rate = Rate.per_second(10)
    empty = take(rate, None, now=NOW, wanted=10).full_at
    assert [take(rate, empty, now=NOW + after, wanted=99).granted for after in (0, 99_999, 100_000, 250_000)] == [
        0,
        0,
        1,
        2,
    ]
    assert take(rate, empty, now=NOW + 3600 * SECOND, wanted=99).granted == 10


def test_who_found_it_empty_comes_back_for_a_batch_that_is_worth_it() -> None:
    """At a hundred a second not every 10 ms, but for twenty every 200 ms; at one in two seconds, for that one."""
    fast, slow = Rate.per_second(100), Rate.per_second(0.5)
    assert take(fast, None, now=NOW, wanted=100).next_at == NOW + 200_000
    assert take(slow, None, now=NOW, wanted=1).next_at == NOW + 2 * SECOND


def test_while_a_token_is_left_it_is_worth_asking() -> None:
    assert take(Rate.per_second(100), None, now=NOW, wanted=99).next_at == NOW


def test_a_clock_set_back_a_little_waits_for_its_old_time() -> None:
    """It may be another machine's clock, which is as right as this one's: the limit goes before the wait."""
    rate = Rate.per_second(10)
    empty = take(rate, None, now=NOW, wanted=10).full_at
    back = NOW - MAX_SKEW
    assert take(rate, empty, now=back, wanted=1) == Taken(granted=0, full_at=empty, next_at=NOW + 200_000)


def test_a_clock_set_back_a_lot_goes_on_with_one_token() -> None:
    rate = Rate.per_second(10)
    empty = take(rate, None, now=NOW, wanted=10).full_at
    back = NOW - 3600 * SECOND
    taken = take(rate, empty, now=back, wanted=9)
    assert taken == Taken(granted=1, full_at=back + SECOND, next_at=back + 200_000)
    assert take(rate, taken.full_at, now=back + 200_000, wanted=9).granted == 2


def test_a_rate_that_was_raised_counts_at_once() -> None:
    """What the lower rate had put off for a day is not waited for."""
    state = take(Rate(count=1, per=timedelta(days=1)), None, now=NOW, wanted=1).full_at
    assert take(Rate.per_second(10), state, now=NOW, wanted=9).granted == 1
