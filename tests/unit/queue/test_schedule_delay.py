"""When a delay is told, and until when is tried: the fifth attempt of the default schedule, and the true end of any."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from moxlib.queue import MOX_SCHEDULE, AttemptResult, InvalidSchedule, ResultKind, RetrySchedule
from moxlib.queue.schedule import ScheduleFunction, delayed_dsn_due, end_of_schedule, next_attempt

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
VECTORS = Path(__file__).resolve().parents[4] / "shared" / "vectors" / "schedules.json"


def result(after: timedelta, kind: ResultKind = ResultKind.DEFERRED) -> AttemptResult:
    return AttemptResult(attempt=1, kind=kind, started=NOW + after)


def told_after(schedule: RetrySchedule, *, jitter: float = 0.0, took: timedelta = timedelta(0)) -> list[int]:
    """Let all attempts fail, and return those after which a delay was told."""

    def attempts() -> Iterator[int]:
        results: list[AttemptResult] = []
        due: datetime | None = NOW
        while due is not None:
            results.append(AttemptResult(attempt=len(results) + 1, kind=ResultKind.DEFERRED, started=due))
            due = next_attempt(schedule, attempts=len(results), max_attempts=1000, now=due + took, jitter=jitter)
            if delayed_dsn_due(queued=NOW, results=results, next_attempt=due):
                yield len(results)

    return list(attempts())


@pytest.mark.parametrize("jitter", [-1.0, 0.0, 1.0])
def test_by_default_the_delay_is_told_after_the_fifth_attempt(jitter: float) -> None:
    assert told_after(MOX_SCHEDULE, jitter=jitter) == [5]
    assert told_after(MOX_SCHEDULE, jitter=jitter, took=MINUTE) == [5]


if VECTORS.is_file():  # beside the checkout; a source package has none

    def test_the_delay_is_told_when_mox_tells_it() -> None:
        [case] = [case for case in json.loads(VECTORS.read_text("utf-8")) if "delayed_dsn_after_attempt" in case]
        assert told_after(MOX_SCHEDULE) == [case["delayed_dsn_after_attempt"]]
        waits = [each["nominal_seconds"] for each in case["measured"] if "nominal_seconds" in each]
        assert [int(wait.total_seconds()) for wait in MOX_SCHEDULE.waits] == waits


@pytest.mark.parametrize(
    ("schedule", "attempts"),
    [
        ("1m*200", [106]),  # the attempt 105 minutes after the first
        ("1m*105", []),  # which is the last one here: "failed" is told
        ("1m*106", [106]),
        ("105m, 1h", [2]),
        ("104m, 1m, 1h", [3]),
        ("1d, 1h", [2]),
        ("1h", []),
        ("", []),
    ],
)
def test_it_is_told_once_and_not_after_the_last_attempt(schedule: str, attempts: list[int]) -> None:
    assert told_after(RetrySchedule.parse(schedule)) == attempts


LATE = 2 * HOUR


@pytest.mark.parametrize(
    ("results", "due"),
    [
        ([], False),
        ([result(LATE)], True),
        ([result(LATE, ResultKind.UNKNOWN)], True),
        ([result(LATE, ResultKind.INTERRUPTED)], False),  # the worker's end, not an attempt's
        ([result(LATE, ResultKind.INTERRUPTED), result(LATE + HOUR)], True),
        ([result(LATE), result(LATE + HOUR, ResultKind.INTERRUPTED)], False),
        ([result(LATE), result(LATE + HOUR)], False),
        ([result(LATE), result(LATE, ResultKind.INTERRUPTED), result(LATE + HOUR)], False),
        ([result(LATE), result(MINUTE)], False),
        ([result(105 * MINUTE - timedelta(microseconds=1))], False),
        ([result(105 * MINUTE)], True),
        ([result(LATE, ResultKind.CANCELED)], False),
    ],
)
def test_what_counts_as_a_failed_attempt(results: list[AttemptResult], due: bool) -> None:
    assert delayed_dsn_due(queued=NOW, results=results, next_attempt=NOW + 4 * HOUR) is due
    assert not delayed_dsn_due(queued=NOW, results=results, next_attempt=None)


def test_the_time_can_be_another() -> None:
    assert delayed_dsn_due(queued=NOW, results=[result(MINUTE)], next_attempt=NOW + HOUR, after=MINUTE)


def end(schedule: ScheduleFunction, attempts: int, max_attempts: int = 1000) -> timedelta:
    until = end_of_schedule(schedule, attempts=attempts, max_attempts=max_attempts, next_attempt=NOW)
    assert until.utcoffset() == timedelta(0)
    return until - NOW


def test_the_end_is_that_of_the_last_attempt() -> None:
    assert end(MOX_SCHEDULE, 5) == 12 * HOUR  # the sixth attempt is at NOW, then come 4 and 8 hours
    assert end(MOX_SCHEDULE, 6) == 8 * HOUR
    assert end(MOX_SCHEDULE, 7) == timedelta(0)
    assert end(MOX_SCHEDULE, 1) == sum(MOX_SCHEDULE.waits[1:], timedelta(0))


def test_the_end_comes_earlier_with_fewer_attempts() -> None:
    assert end(MOX_SCHEDULE, 5, max_attempts=7) == 4 * HOUR
    assert end(MOX_SCHEDULE, 5, max_attempts=6) == timedelta(0)


def test_the_end_of_a_function_is_where_it_gives_up_or_the_attempts_do() -> None:
    assert end(lambda attempts: HOUR if attempts < 10 else None, 5) == 4 * HOUR
    assert end(lambda attempts: HOUR, 5) == 994 * HOUR
    assert end(lambda attempts: HOUR, 1, max_attempts=10**9) == 1000 * HOUR, "bounded"


def test_the_end_agrees_with_the_attempts_made() -> None:
    due: datetime | None = NOW
    attempts = 0
    last = NOW
    ends = set()
    while due is not None:
        last = due
        ends.add(end_of_schedule(MOX_SCHEDULE, attempts=attempts, max_attempts=8, next_attempt=due))
        attempts += 1
        due = next_attempt(MOX_SCHEDULE, attempts=attempts, max_attempts=8, now=due, jitter=0)
    assert ends == {last}


def test_a_function_that_fails_is_told_of() -> None:
    def broken(attempts: int) -> timedelta:
        raise KeyError(attempts)

    with pytest.raises(InvalidSchedule, match="KeyError after attempt 6"):
        end(broken, 5)
    with pytest.raises(InvalidSchedule):
        end(lambda attempts: timedelta(days=61), 5)
