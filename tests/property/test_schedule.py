"""Retry schedules, filters and cursors: text goes there and back, and any text is read or refused."""

from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from moxlib.queue.errors import InvalidFilter, InvalidSchedule
from moxlib.queue.schedule import JITTER, MAX_WAIT, MAX_WAITS, RetrySchedule, next_attempt
from moxlib.queue.selection import Cursor, Sort

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

waits = st.integers(1, int(MAX_WAIT.total_seconds())).map(lambda n: timedelta(seconds=n))
# Of few different waits too, so that repeats come up.
schedules = st.one_of(
    st.lists(waits, max_size=20),
    st.lists(st.sampled_from([timedelta(minutes=1), timedelta(hours=25)]), max_size=60),
).map(lambda found: RetrySchedule(tuple(found)))
texts = st.one_of(
    st.text(max_size=60),
    st.text("0123456789dhms*, ", max_size=40),
    st.lists(st.from_regex(r"\d{1,3}[dhms](\d{1,2}[ms])?(\*\d{1,3})?", fullmatch=True), max_size=8).map(", ".join),
)


@given(schedules)
def test_a_schedules_text_reads_back(schedule: RetrySchedule) -> None:
    assert RetrySchedule.parse(str(schedule)) == schedule


@given(texts)
@example("1s*1000")
@example("99999999999999999999d")
def test_any_text_is_a_schedule_or_refused(text: str) -> None:
    try:
        schedule = RetrySchedule.parse(text)
    except InvalidSchedule as error:
        assert 1 <= error.position <= text.count(",") + 1  # noqa: PT017 - either of the two may come
        return
    assert len(schedule.waits) <= MAX_WAITS
    assert all(timedelta(0) < wait <= MAX_WAIT for wait in schedule.waits)
    assert RetrySchedule.parse(str(schedule)) == schedule


@given(
    schedules,
    st.integers(1, 70),
    st.integers(1, 70),
    st.floats(-1, 1),
    st.none() | st.timedeltas(min_value=timedelta(days=-1), max_value=timedelta(days=100)),
)
def test_the_next_attempt(
    schedule: RetrySchedule, attempts: int, max_attempts: int, jitter: float, not_before: timedelta | None
) -> None:
    due = next_attempt(
        schedule, attempts=attempts, max_attempts=max_attempts, now=NOON, jitter=jitter, not_before=not_before
    )
    assert (due is None) == (attempts >= min(max_attempts, schedule.max_attempts))
    if due is None:
        return
    wait, nominal = due - NOON, schedule.waits[attempts - 1]
    rounding = timedelta(microseconds=1)
    assert wait >= nominal * (1 - JITTER) - rounding
    if not_before is not None:
        assert wait >= min(not_before, MAX_WAIT)
    if not_before is None or not_before <= nominal * (1 - JITTER):
        assert wait <= nominal * (1 + JITTER) + rounding


@given(st.integers(1, 1000), st.integers(2, 1000), st.floats(-1, 1))
def test_attempts_never_exceed_the_maximum(maximum: int, length: int, jitter: float) -> None:
    schedule = RetrySchedule((timedelta(minutes=1),) * length)
    attempts = 1
    while next_attempt(schedule, attempts=attempts, max_attempts=maximum, now=NOON, jitter=jitter) is not None:
        attempts += 1
    assert attempts == min(maximum, schedule.max_attempts)


@given(st.sampled_from(Sort), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_a_cursor_reads_back(sort: Sort, descending: bool, key: int, id_: int) -> None:
    cursor = Cursor(sort=sort, descending=descending, key=key, id=id_)
    assert Cursor.parse(str(cursor)) == cursor


@given(st.text(max_size=80) | st.text("ABCDWIjsx019-_=", max_size=80))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    try:
        cursor = Cursor.parse(text)
    except InvalidFilter:
        return
    assert str(cursor) == text
