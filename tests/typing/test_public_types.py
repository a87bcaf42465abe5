"""What type checkers must infer from the public names; mypy and pyright check it, and it runs as a test as well."""

from datetime import datetime, timedelta
from typing import assert_never, assert_type

from moxlib.errors import LimitExceeded, MissingExtra
from moxlib.queue.schedule import RetrySchedule, ScheduleFunction, next_attempt
from moxlib.queue.types import Deferred, Delivered, Failed, Outcome, Unknown


def verdict(outcome: Outcome) -> str:
    match outcome:
        case Delivered():
            return "delivered"
        case Deferred():
            return "deferred"
        case Failed():
            return "failed"
        case Unknown():
            return "unknown"
        case _:
            assert_never(outcome)  # a fifth outcome would be an error here


def test_outcomes_are_a_closed_union() -> None:
    outcomes: list[Outcome] = [Delivered(), Deferred(text=""), Failed(text=""), Unknown(text="")]
    assert [verdict(outcome) for outcome in outcomes] == ["delivered", "deferred", "failed", "unknown"]


def test_errors_carry_typed_fields() -> None:
    assert assert_type(LimitExceeded(10).limit, int) == 10
    assert assert_type(MissingExtra("http", "the webhook sender").extra, str) == "http"


def test_a_schedule_is_a_schedule_function() -> None:
    schedule: ScheduleFunction = RetrySchedule.parse("1m")
    assert assert_type(schedule(1), timedelta | None) == timedelta(minutes=1)
    due = next_attempt(schedule, attempts=2, max_attempts=3, now=datetime.now().astimezone(), jitter=0.0)
    assert assert_type(due, datetime | None) is None
