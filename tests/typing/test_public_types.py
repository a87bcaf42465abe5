"""What type checkers must infer from the public names; mypy and pyright check it, and it runs as a test as well.

A `type: ignore` here stands on what must be an error: where it is none, mypy reports the comment as unused.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import assert_never, assert_type

import pytest

import moxlib.moxio
import moxlib.queue
from moxlib.errors import LimitExceeded, MissingExtra
from moxlib.queue import (
    Deferred,
    Delivered,
    Delivery,
    Explanation,
    Failed,
    Message,
    Outcome,
    Page,
    Queue,
    Retired,
    RetrySchedule,
    Submission,
    Transport,
    Unknown,
)
from moxlib.queue.schedule import ScheduleFunction, next_attempt


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


class Accepting:
    """A transport by its shape alone."""

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        return [Delivered() for _ in delivery.recipients]


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


def test_lazy_packages_have_their_own_names_and_no_others() -> None:
    with pytest.raises(AttributeError):
        moxlib.moxio.Base64Riter  # type: ignore[attr-defined]  # noqa: B018 - the access is the test
    with pytest.raises(AttributeError):
        moxlib.queue.Cue  # type: ignore[attr-defined]  # noqa: B018


async def test_the_queue_returns_typed_data(tmp_path: Path) -> None:
    transport: Transport = Accepting()
    async with Queue.open(tmp_path / "mail.db", transports={"accepting": transport}) as queue:
        receipts = await queue.submit(b"Subject: hi\r\n\r\n", sender="a@a.example", recipients="b@b.example")
        assert_type(receipts, tuple[Submission, ...])
        assert_type(await queue.list_messages(), Page[Message])
        assert_type(await queue.get(receipts[0].id), Message | None)
        async with queue.worker() as worker:
            await worker.wait_idle()
        assert_type(await queue.list_history(), Page[Retired])
        explanation = assert_type(await queue.explain(receipts[0].id), Explanation | None)
        assert explanation is not None
        assert explanation.state == "delivered"


async def test_misuse_is_a_type_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="deliver"):
        Queue.open(tmp_path / "mail.db", transports={"wrong": object()})  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        Deferred("positional")  # type: ignore[call-arg]
