"""The bucket in the process: never more than the rate allows, and no later than it does."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from moxlib.queue.limits import Rate
from moxlib.queue.shaping import Bucket

START = datetime(2026, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

rates = st.one_of(
    st.floats(0.01, 10_000).map(Rate.per_second),
    st.integers(1, 1000).map(Rate.per_minute),
    st.builds(Rate, count=st.integers(1, 50), per=st.just(timedelta(seconds=7)), burst=st.integers(1, 100)),
)
asked = st.lists(st.tuples(st.integers(0, 10_000_000), st.integers(0, 20)), min_size=1, max_size=30)


def tokens(rate: Rate, micros: int) -> Fraction:
    return Fraction(rate.count) * micros / (rate.per // MICROSECOND)


def served(rate: Rate, steps: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Return when was asked, when all was there, in microseconds, and how many."""
    bucket, now, found = Bucket(rate), 0, []
    for step, count in steps:
        now += step
        wait = bucket.reserve(count, START + now * MICROSECOND)
        found.append((now, now + round(wait * 1_000_000), count))
    return found


@given(rates, asked)
def test_never_more_than_the_rate_allows(rate: Rate, steps: list[tuple[int, int]]) -> None:
    """Over every interval between two moments at which something is there."""
    found = served(rate, steps)
    for first, (_, begin, _) in enumerate(found):
        total = 0
        for _, end, count in found[first:]:
            total += count
            # What is taken together is there at the end of its wait: up to the burst, the rest came before. One
            # microsecond for each token of the burst is rounding.
            head = max(0, found[first][2] - rate.burst)
            assert total - head <= tokens(rate, end - begin + rate.burst + 2) + rate.burst


@given(rates, asked)
def test_in_the_order_of_asking_and_at_once_where_nothing_was_taken_for_long(
    rate: Rate, steps: list[tuple[int, int]]
) -> None:
    found = served(rate, steps)
    there = [end for begin, end, _ in found if end > begin]
    assert there == sorted(there)
    begin, end, count = found[0]
    assert end == begin or count > rate.burst


@given(rates, asked)
def test_no_later_than_the_rate_allows(rate: Rate, steps: list[tuple[int, int]]) -> None:
    """All that was asked for since the bucket was last full is there once that many tokens have come."""
    total = 0
    for begin, end, count in served(rate, steps):
        total += count
        latest = rate.time_for(max(0, total)) + len(steps)
        assert end <= begin + latest


@given(rates, asked, st.integers(0, 10**12))
def test_a_clock_set_back_changes_nothing(rate: Rate, steps: list[tuple[int, int]], back: int) -> None:
    straight, stepped, now = Bucket(rate), Bucket(rate), 0
    for step, count in steps:
        now += step
        straight.reserve(count, START + now * MICROSECOND)
        stepped.reserve(count, START + now * MICROSECOND)
    wait = straight.reserve(1, START + now * MICROSECOND)
    assert stepped.reserve(1, START + (now - back) * MICROSECOND) == wait
