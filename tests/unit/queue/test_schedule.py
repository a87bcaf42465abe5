"""Retry schedules: what is read and what is refused, and when the next attempt is made."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from moxlib.queue.errors import InvalidSchedule
from moxlib.queue.schedule import MAX_WAIT, MAX_WAITS, MOX_SCHEDULE, RetrySchedule, next_attempt

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("", []),
        ("  ", []),
        ("1m", [1]),
        ("7m30s, 15m, 30m", [7.5, 15, 30]),
        ("1m, 5m*2, 1h*3", [1, 5, 5, 60, 60, 60]),
        ("1d2h3m4s", [1440 + 120 + 3 + 4 / 60]),
        ("90s,90m ,  1h", [1.5, 90, 60]),
        ("5m*1", [5]),
        ("60d", [60 * 1440]),
        ("0h5m", [5]),
    ],
)
def test_what_is_read(text: str, minutes: list[float]) -> None:
    schedule = RetrySchedule.parse(text)
    assert schedule.waits == tuple(n * MINUTE for n in minutes)
    assert schedule.max_attempts == len(minutes) + 1


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("soon", 1),
        ("1m, , 2m", 2),
        ("1m,", 2),
        (",", 1),
        ("5", 1),
        ("1m, -5m", 2),
        ("5m30", 1),
        ("30s5m", 1),
        ("1.5h", 1),
        ("1m, 2m, 0s", 3),
        ("*3", 1),
        ("5m*0", 1),
        ("5m*", 1),
        ("5m*2*2", 1),
        ("5m * 2", 1),
        ("61d", 1),
        ("60d1s", 1),
        ("1s*1001", 1),
        ("1s*600, 1s*401", 2),
        ("9999999s", 1),
        ("5M", 1),
        ("\u0665m", 1),
        ("1m\n2m", 1),
    ],
)
def test_what_is_refused_names_the_part(text: str, position: int) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        RetrySchedule.parse(text)
    assert (caught.value.position, caught.value.schedule) == (position, text)
    assert f"(part {position})" in str(caught.value)


def test_a_refusal_is_short_however_long_the_text() -> None:
    with pytest.raises(InvalidSchedule) as caught:
        RetrySchedule.parse("x" * 100_000)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("wait", [timedelta(0), -MINUTE, MAX_WAIT + timedelta(microseconds=1)])
def test_waits_are_checked_however_the_schedule_is_made(wait: timedelta) -> None:
    with pytest.raises(InvalidSchedule) as caught:
        RetrySchedule((MINUTE, wait))
    assert caught.value.position == 2


def test_as_many_waits_as_the_limit_and_no_more() -> None:
    assert RetrySchedule((MINUTE,) * MAX_WAITS).max_attempts == MAX_WAITS + 1
    assert RetrySchedule.parse(f"1m*{MAX_WAITS}").waits == (MINUTE,) * MAX_WAITS
    with pytest.raises(InvalidSchedule):
        RetrySchedule((MINUTE,) * (MAX_WAITS + 1))


def test_moxs_schedule() -> None:
    assert str(MOX_SCHEDULE) == "7m30s, 15m, 30m, 1h, 2h, 4h, 8h"
    assert MOX_SCHEDULE.max_attempts == 8
    assert [MOX_SCHEDULE(n) for n in (0, 1, 7, 8, -1)] == [None, 7.5 * MINUTE, 480 * MINUTE, None, None]


def test_repeats_are_written_short() -> None:
    assert str(RetrySchedule.parse("60s, 1m, 1m, 3600s, 26h")) == "1m*3, 1h, 1d2h"


# the next attempt


def at(attempts: int, **fields: object) -> timedelta | None:
    options = {"max_attempts": 8, "now": NOON, "jitter": 0.0} | fields
    due = next_attempt(MOX_SCHEDULE, attempts=attempts, **options)  # type: ignore[arg-type]  # of mixed types
    return None if due is None else due - NOON


def test_the_wait_after_an_attempt_is_the_schedules() -> None:
    assert [at(n) for n in range(1, 9)] == [*MOX_SCHEDULE.waits, None]


def test_the_messages_own_maximum_comes_first() -> None:
    assert [at(n, max_attempts=2) for n in (1, 2, 3)] == [7.5 * MINUTE, None, None]
    assert at(8, max_attempts=100) is None


def test_jitter_is_one_percent_and_no_more() -> None:
    wait = 7.5 * MINUTE
    assert at(1, jitter=1.0) == wait * 1.01
    assert at(1, jitter=-1.0) == wait * 0.99
    assert at(1, jitter=50.0) == wait * 1.01
    assert at(1, jitter=-50.0) == wait * 0.99


def test_the_peers_own_wish_counts_when_it_is_later_up_to_the_longest_wait() -> None:
    assert at(1, not_before=MINUTE) == 7.5 * MINUTE
    assert at(1, not_before=60 * MINUTE) == 60 * MINUTE
    assert at(1, not_before=timedelta(days=5000)) == MAX_WAIT
    assert at(1, not_before=-MINUTE) == 7.5 * MINUTE
    assert at(8, not_before=60 * MINUTE) is None


def test_a_function_is_a_schedule() -> None:
    seen: list[int] = []

    def doubling(attempts: int) -> timedelta | None:
        seen.append(attempts)
        return MINUTE * 2**attempts if attempts < 3 else None

    results = [next_attempt(doubling, attempts=n, max_attempts=10, now=NOON, jitter=0) for n in (1, 2, 3)]
    assert results == [NOON + 2 * MINUTE, NOON + 4 * MINUTE, None]
    assert seen == [1, 2, 3]


def test_a_function_may_ask_for_the_next_attempt_at_once() -> None:
    assert next_attempt(lambda _: timedelta(0), attempts=1, max_attempts=2, now=NOON, jitter=1) == NOON


@pytest.mark.parametrize("wait", [-MINUTE, MAX_WAIT + MINUTE])
def test_a_function_that_returns_no_wait_is_refused(wait: timedelta) -> None:
    with pytest.raises(InvalidSchedule, match="after attempt 3"):
        next_attempt(lambda _: wait, attempts=3, max_attempts=9, now=NOON, jitter=0)


def test_the_time_comes_back_in_utc() -> None:
    there = NOON.astimezone(timezone(timedelta(hours=5)))
    due = next_attempt(MOX_SCHEDULE, attempts=1, max_attempts=8, now=there, jitter=0)
    assert due is not None
    assert due == NOON + 7.5 * MINUTE
    assert due.tzinfo is UTC
