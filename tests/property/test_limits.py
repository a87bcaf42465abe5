"""The token bucket: never more than the rate allows, never less than it promises, whatever the clock does."""

from datetime import timedelta
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from moxlib.queue.limits import MAX_SKEW, SECOND, USEFUL, Rate, take

NOW = 1_767_268_800 * SECOND
DAY = 86_400 * SECOND

rates = st.one_of(
    st.floats(0.001, 100_000).map(Rate.per_second),
    st.integers(1, 1_000_000).map(Rate.per_second),
    st.floats(0.001, 100_000).map(Rate.per_minute),
    st.builds(Rate, count=st.integers(1, 50), per=st.just(timedelta(days=1)), burst=st.integers(1, 100)),
)
states = st.none() | st.integers(NOW - DAY, NOW + DAY)
steps = st.lists(st.tuples(st.integers(0, 5 * SECOND) | st.integers(0, DAY), st.integers(0, 2000)), max_size=30)


def tokens(rate: Rate, micros: int) -> Fraction:
    """Exactly what comes in a time."""
    return Fraction(rate.count) * micros / (rate.per // timedelta(microseconds=1))


@given(rates, states, st.integers(-5, 3000))
def test_what_is_granted_at_once(rate: Rate, state: int | None, wanted: int) -> None:
    taken = take(rate, state, now=NOW, wanted=wanted)
    assert 0 <= taken.granted <= max(0, min(wanted, rate.burst))
    assert taken.next_at >= NOW
    assert NOW <= taken.full_at <= NOW + rate.burst * rate.time_for(1) + MAX_SKEW
    if taken.granted < wanted:  # it gave all it had, but for what rounding leaves
        assert take(rate, taken.full_at, now=NOW, wanted=10**9).granted <= tokens(rate, rate.burst)


@given(rates, states, steps)
def test_never_more_than_the_rate_allows(rate: Rate, state: int | None, asked: list[tuple[int, int]]) -> None:
    """Over every interval between two askings."""
    now = NOW
    granted: list[tuple[int, int]] = []
    for step, wanted in asked:
        now += step
        taken = take(rate, state, now=now, wanted=wanted)
        state = taken.full_at
        granted.append((now, taken.granted))
    for first, (begin, _) in enumerate(granted):
        total = 0
        for end, count in granted[first:]:
            total += count
            assert total <= tokens(rate, end - begin + rate.burst) + rate.burst


@given(rates, states, st.integers(1, 60))
def test_who_asks_when_told_to_gets_all_that_the_rate_allows(rate: Rate, state: int | None, times: int) -> None:
    now = NOW
    begin: int | None = None
    total = 0
    for _ in range(times):
        taken = take(rate, state, now=now, wanted=10**9)
        state = taken.full_at
        if begin is None:
            begin = now
        else:
            assert taken.granted >= 1
            total += taken.granted
        now = taken.next_at
    assert begin is not None
    # Each batch costs a microsecond of rounding at most; what the last wait brings is not taken yet.
    last = max(tokens(rate, USEFUL), Fraction(1)) + 1
    assert total >= tokens(rate, now - begin - times) - last


@given(rates, states, st.integers(1, 3000))
def test_a_token_is_there_at_the_time_told_and_not_before(rate: Rate, state: int | None, wanted: int) -> None:
    taken = take(rate, state, now=NOW, wanted=wanted)
    assert take(rate, taken.full_at, now=taken.next_at, wanted=1).granted == 1
    if taken.next_at > NOW:
        worth = max(1, min(rate.burst, rate.tokens_in(USEFUL)))
        assert take(rate, taken.full_at, now=taken.next_at, wanted=10**9).granted >= worth
        assert take(rate, taken.full_at, now=taken.next_at - 1, wanted=10**9).granted < worth


@given(rates)
def test_the_burst_is_as_good_one_by_one(rate: Rate) -> None:
    state: int | None = None
    count = min(rate.burst, 500)
    for _ in range(count):
        taken = take(rate, state, now=NOW, wanted=1)
        assert taken.granted == 1
        state = taken.full_at


@given(rates, states, st.lists(st.tuples(st.integers(-DAY, DAY), st.integers(0, 100)), max_size=30))
def test_a_clock_that_steps_does_not_stop_it(rate: Rate, state: int | None, asked: list[tuple[int, int]]) -> None:
    """Wherever the clock went: from the last state on, a token is there within the bucket's time and a minute."""
    now = NOW
    for step, wanted in asked:
        now += step
        taken = take(rate, state, now=now, wanted=wanted)
        if taken.granted:  # else it need not be stored
            state = taken.full_at
    wait = take(rate, state, now=now, wanted=1).next_at - now
    assert wait <= rate.time_for(max(1, min(rate.burst, rate.tokens_in(USEFUL)))) + MAX_SKEW
