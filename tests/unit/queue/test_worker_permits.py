"""Permits to open connections: who gets one when, and who is sent back without."""

import asyncio
import gc
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from moxlib.errors import StorageError
from moxlib.queue.limits import Rate, take
from moxlib.queue.storage.claims import DestinationLimits
from moxlib.queue.worker.deadlines import Deadlines
from moxlib.queue.worker.permits import NoPermit, Permits
from moxlib.testing import FakeClock

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
RATE = Rate.per_minute(12)  # two at once, then one in five seconds
PATIENCE = 60.0
TIMEOUT = 10.0


class Buckets:
    """What permits want of a storage."""

    def __init__(self) -> None:
        self.states: dict[str, int] = {}
        self.asked: list[str] = []
        self.error: Exception | None = None

    async def take_connection(self, destination: str, rate: Rate, *, now: datetime) -> datetime | None:
        self.asked.append(destination)
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        taken = take(rate, self.states.get(destination), now=(now - EPOCH) // MICROSECOND, wanted=1)
        self.states[destination] = taken.full_at
        return None if taken.granted else EPOCH + taken.next_at * MICROSECOND


@dataclass
class Office:
    """One worker's permits, and attempts that want them."""

    clock: FakeClock
    deadlines: Deadlines
    buckets: Buckets = field(default_factory=Buckets)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    owned: bool = True
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        storage: Any = self.buckets
        limits = DestinationLimits(connections={"one.example": RATE, "two.example": RATE})
        self.permits = Permits(storage, limits, self.clock, self.deadlines, patience=PATIENCE, stopping=self.stopping)

    async def is_owned(self) -> bool:
        return self.owned

    async def attempt(self, name: str, destination: str = "one.example") -> None:
        """Want one connection, and log how that ended."""
        task = self.deadlines.begin()
        permit = self.permits.of(destination, still_owned=self.is_owned)
        assert permit is not None
        try:
            await permit.granted()
        except NoPermit as error:
            self.log.append(f"{name}: {error}")
        except asyncio.CancelledError:
            self.log.append(f"{name}: {'overdue' if self.deadlines.end(task) else 'cancelled'}")
            raise
        else:
            self.log.append(name)
        self.deadlines.end(task)

    def attempts(self, names: str, destination: str = "one.example") -> list[asyncio.Task[None]]:
        return [asyncio.create_task(self.attempt(name, destination)) for name in names]

    def seen(self) -> list[str]:
        """What was logged since this was asked last."""
        log, self.log = self.log, []
        return log


@pytest.fixture
async def office() -> AsyncGenerator[Office]:
    clock = FakeClock()
    deadlines = Deadlines(clock, TIMEOUT)
    watching = asyncio.create_task(deadlines.watch())
    yield Office(clock, deadlines)
    watching.cancel()
    await asyncio.wait([watching])


async def test_there_is_none_where_there_is_no_limit(office: Office) -> None:
    assert office.permits.of("three.example", still_owned=office.is_owned) is None


async def test_they_come_in_turn_as_the_rate_allows(office: Office) -> None:
    tasks = office.attempts("abcd")
    await office.clock.advance(4.9)
    assert office.seen() == ["a", "b"]
    await office.clock.advance(0.1)
    assert office.seen() == ["c"]
    tasks += office.attempts("e")
    await office.clock.advance(5)
    assert office.seen() == ["d"]
    await office.clock.advance(5)
    assert office.seen() == ["e"]
    await asyncio.gather(*tasks)


async def test_destinations_wait_apart(office: Office) -> None:
    tasks = office.attempts("abc") + office.attempts("xy", "two.example")
    await office.clock.advance(1)
    assert sorted(office.seen()) == ["a", "b", "x", "y"]
    await office.clock.advance(4)
    assert office.seen() == ["c"]
    await asyncio.gather(*tasks)


async def test_the_storage_is_asked_about_once_for_each_connection(office: Office) -> None:
    """However many wait, and however many are served otherwise meanwhile."""
    tasks = office.attempts("abcdefghijklmnopqrst")
    await office.clock.advance(1)
    for task in tasks[2:12]:
        task.cancel()
    await office.clock.advance(40)
    assert all(task.done() for task in tasks)
    # All that were granted one, and the first to be told to wait after each of these but the last.
    assert len(office.buckets.asked) == 2 * 10 - 2


async def test_what_was_told_is_forgotten_with_the_last_who_waited(office: Office) -> None:
    tasks = office.attempts("abc")
    await office.clock.advance(10)
    await asyncio.gather(*tasks)
    tasks.clear()
    gc.collect()  # a task that has ended may be part of a cycle
    assert not office.permits._lines


async def test_who_waits_when_the_worker_stops_is_sent_back(office: Office) -> None:
    tasks = office.attempts("abcd")
    await office.clock.advance(1)
    office.seen()
    office.stopping.set()
    await asyncio.gather(*tasks)
    assert office.seen() == ["c: the worker was told to stop", "d: the worker was told to stop"]
    await office.attempt("e")
    assert office.seen() == ["e: the worker was told to stop"]


async def test_who_need_not_wait_gets_a_permit_while_the_worker_stops(office: Office) -> None:
    office.stopping.set()
    await office.attempt("a")
    assert office.seen() == ["a"]


async def test_who_waits_for_too_long_is_sent_back(office: Office) -> None:
    names = "abcdefghijklmnopqrst"
    tasks = office.attempts(names)
    await office.clock.advance(PATIENCE - 0.1)
    assert office.seen() == list(names[:13])
    await office.clock.advance(0.2)
    assert sorted(office.seen()) == [
        "n: there was no permit for too long",
        *(f"{name}: it was not this delivery's turn for too long" for name in names[14:]),
    ]
    await asyncio.gather(*tasks)


async def test_waiting_is_not_part_of_the_attempt(office: Office) -> None:
    tasks = office.attempts("abcde")
    await office.clock.advance(TIMEOUT + 5)
    assert office.seen() == list("abcde")
    await asyncio.gather(*tasks)


async def test_the_storages_trouble_is_told(office: Office) -> None:
    office.buckets.error = StorageError("the disk is gone")
    task = asyncio.current_task()
    assert task is not None
    permit = office.permits.of("one.example", still_owned=office.is_owned)
    assert permit is not None
    with pytest.raises(NoPermit) as caught:
        await permit.granted()
    assert caught.value.__cause__ is office.buckets.error
    office.buckets.error = None
    await permit.granted()


async def test_messages_that_were_lost_meanwhile_are_not_delivered(office: Office) -> None:
    tasks = office.attempts("abc")
    await office.clock.advance(1)
    office.owned = False
    await office.clock.advance(4)
    assert office.seen() == ["a", "b", "c: the messages are another worker's by now"]
    await asyncio.gather(*tasks)


async def test_who_is_cancelled_holds_nobody_up(office: Office) -> None:
    tasks = office.attempts("abcde")
    await office.clock.advance(1)
    tasks[2].cancel()
    tasks[3].cancel()
    await office.clock.advance(4)
    assert sorted(office.seen()) == ["a", "b", "c: cancelled", "d: cancelled", "e"]
    assert [task.cancelled() for task in tasks] == [False, False, True, True, False]
