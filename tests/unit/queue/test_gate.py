"""The way to a site: who goes in, who waits in line, who is turned away, and who finds out whether it came back."""

from __future__ import annotations

import asyncio
import pickle
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from moxlib.queue.congestion import Concurrency, Window
from moxlib.queue.transport.gate import IN_PASSING, Gate, Passage, Suspended
from moxlib.testing import FakeClock

MINUTES = timedelta(minutes=1)
FOR = timedelta(minutes=5)
GUARD = 10  # seconds after which a test that hangs fails instead


@dataclass
class Site:
    """A gate, and those who want to pass."""

    clock: FakeClock
    gate: Gate
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def wants(self, *, insist: bool = False) -> asyncio.Task[Passage]:
        """Return a delivery that is on its way in."""
        return asyncio.create_task(self._enter(self.gate.passage(insist=insist)))

    async def _enter(self, passage: Passage) -> Passage:
        async with asyncio.timeout(GUARD):
            return await passage.__aenter__()

    async def fail(self, passage: Passage, reason: str = "no answer") -> None:
        passage.failed(reason)
        await leave(passage)

    async def die(self) -> None:
        """Fail as often as makes it count as dead."""
        while not self.gate.window.is_dead:
            passage = self.gate.passage()
            await passage.__aenter__()
            await self.fail(passage)

    def later(self, by: timedelta = FOR) -> None:
        self.clock.set(self.clock.now() + by)


def site(initial: int = 2, maximum: int = 4, **options: object) -> Site:
    clock = FakeClock()
    settings = Concurrency(initial=initial, maximum=maximum, suspend_for=FOR, **options)  # type: ignore[arg-type]
    return Site(clock, Gate(Window(settings), clock))


async def leave(passage: Passage) -> None:
    await passage.__aexit__(None, None, None)


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def done(*tasks: asyncio.Task[Any]) -> list[bool]:
    return [task.done() for task in tasks]


async def turned_away(task: asyncio.Task[Passage]) -> Suspended:
    with pytest.raises(Suspended) as caught:
        await task
    return caught.value


# places


async def test_as_many_go_in_as_the_window_has_places_and_the_others_in_order() -> None:
    there = site(initial=2)
    first, second, third, fourth = [there.wants() for _ in range(4)]
    await turns()
    assert done(first, second, third, fourth) == [True, True, False, False]
    await leave(first.result())
    await turns()
    assert done(third, fourth) == [True, False]
    await leave(second.result())
    await leave(third.result())
    await leave(await fourth)
    assert there.gate.is_idle


async def test_a_success_opens_the_gate_wider() -> None:
    there = site(initial=1, maximum=2, positive="1")
    first, second, third = [there.wants() for _ in range(3)]
    await turns()
    assert done(first, second, third) == [True, False, False]
    first.result().succeeded()
    await turns()
    assert done(second, third) == [True, False]
    await leave(first.result())
    await leave(second.result())
    await leave(await third)


async def test_a_place_that_is_given_back_goes_to_who_comes_in_the_same_turn_a_few_times_in_a_row() -> None:
    there = site(initial=1, maximum=1)
    passage = there.gate.passage()
    await passage.__aenter__()
    waits, also = there.wants(), there.wants()
    await turns()
    for _ in range(IN_PASSING):
        await leave(passage)
        passage = there.gate.passage()
        async with asyncio.timeout(GUARD):
            await passage.__aenter__()  # as the task goes on with its next delivery
        await turns()
        assert not waits.done()
    await leave(passage)
    late = there.wants()
    await turns()
    assert (waits.done(), also.done(), late.done()) == (True, False, False)
    await leave(await waits)
    await turns()
    assert (also.done(), late.done()) == (True, False)
    await leave(await also)
    await leave(await late)
    assert there.gate.is_idle


async def test_a_place_that_nobody_comes_for_goes_to_the_line_at_the_end_of_the_turn() -> None:
    there = site(initial=1, maximum=1)
    passage = there.gate.passage()
    await passage.__aenter__()
    waits = there.wants()
    await turns()
    await leave(passage)
    late = there.wants()  # in a later turn
    await turns()
    assert (waits.done(), late.done()) == (True, False)
    await leave(await waits)
    await leave(await late)


async def test_who_steps_out_makes_room_and_comes_in_again() -> None:
    there = site(initial=1)
    first = await there.wants()
    second = there.wants()
    first.step_out()
    first.step_out()  # it has no other place to give
    await turns()
    assert second.done()
    again = asyncio.create_task(first.enter())
    await turns()
    assert not again.done()
    await leave(second.result())
    await again
    await first.enter()  # it is inside
    await leave(first)
    assert there.gate.is_idle


async def test_who_only_tries_goes_before_those_in_line_or_not_at_all() -> None:
    there = site(initial=1)
    first = await there.wants()
    assert first.try_enter()  # it is inside
    first.step_out()
    second = await there.wants()
    third = there.wants()
    await turns()
    assert not first.try_enter()
    second.step_out()
    await turns()
    assert third.done()
    assert not first.try_enter()
    fourth = there.wants()
    await turns()
    third.result().step_out()  # it goes to the fourth
    await leave(await fourth)
    assert first.try_enter()
    await leave(first)
    await leave(second)
    await leave(third.result())
    assert there.gate.is_idle


async def test_who_only_tries_is_not_let_in_to_a_site_that_is_down() -> None:
    there = site(initial=2, negative="0")
    patient, insisting = await there.wants(), await there.wants(insist=True)
    patient.step_out()
    insisting.step_out()
    await there.die()
    assert (patient.try_enter(), insisting.try_enter()) == (False, True)
    await leave(insisting)
    there.later()
    assert patient.try_enter()  # it finds out whether the site is back
    second = there.wants()
    await turns()
    assert not second.done()
    await there.fail(patient)
    await turned_away(second)


async def test_who_is_cancelled_in_line_takes_no_place() -> None:
    there = site(initial=1)
    first = await there.wants()
    second, third = there.wants(), there.wants()
    await turns()
    second.cancel()
    await leave(first)
    await leave(await third)
    assert second.cancelled()
    assert there.gate.is_idle


async def test_a_place_that_comes_with_cancellation_is_passed_on() -> None:
    there = site(initial=1)
    first = await there.wants()
    second, third = there.wants(), there.wants()
    await turns()
    await leave(first)  # it is the second's now
    second.cancel()
    await leave(await third)
    assert second.cancelled()
    assert there.gate.is_idle


# a site that is down


async def test_after_a_cohort_of_failures_nobody_goes_in_for_a_while() -> None:
    there = site(initial=2)
    await there.die()
    there.later(2 * MINUTES)
    error = await turned_away(there.wants())
    assert (error.reason, error.seconds) == ("no answer", 180.0)
    assert str(error) == "delivery to this destination is suspended: no answer"
    assert not there.gate.is_idle  # that it is down is worth remembering


def test_why_it_is_suspended_survives_pickling() -> None:
    copy = pickle.loads(pickle.dumps(Suspended("no answer", 2.5)))
    assert (copy.reason, copy.seconds, str(copy)) == (
        "no answer",
        2.5,
        "delivery to this destination is suspended: no answer",
    )


async def test_who_waits_in_line_is_told_that_it_is_down() -> None:
    there = site(initial=1)
    first = await there.wants()
    waiting = [there.wants() for _ in range(3)]
    await turns()
    first.failed("no answer")
    errors = [await turned_away(task) for task in waiting]
    assert [(error.reason, error.seconds) for error in errors] == [("no answer", 300.0)] * 3
    assert len({id(error) for error in errors}) == 3  # each its own: a traceback is no thing to share
    await leave(first)


async def test_who_insists_goes_in_nevertheless_one_at_a_time() -> None:
    there = site(initial=2)
    await there.die()
    first, second = there.wants(insist=True), there.wants(insist=True)
    await turns()
    assert done(first, second) == [True, False]
    await leave(first.result())
    await there.fail(await second)
    assert there.gate.window.suspended_until(there.clock.now()) == there.clock.now() + FOR  # of before: it was no probe


async def test_who_insists_in_line_stays_there() -> None:
    there = site(initial=1)
    first = await there.wants()
    patient, insisting = there.wants(), there.wants(insist=True)
    await turns()
    first.failed("no answer")
    await turned_away(patient)
    assert not insisting.done()
    await leave(first)
    await leave(await insisting)


async def test_a_success_of_who_insists_ends_the_suspension() -> None:
    there = site(initial=2)
    await there.die()
    insisting = await there.wants(insist=True)
    insisting.succeeded()
    await leave(await there.wants())
    await leave(insisting)


# the probe


async def test_after_the_suspension_one_goes_in_and_the_others_wait_for_how_it_fares() -> None:
    there = site(initial=2)
    await there.die()
    there.later()
    probe, second, third = there.wants(), there.wants(), there.wants()
    await turns()
    assert done(probe, second, third) == [True, False, False]
    probe.result().succeeded()
    await turns()
    assert done(second, third) == [True, False]
    await leave(probe.result())
    await leave(second.result())
    await leave(await third)


async def test_when_the_probe_fails_all_are_turned_away_for_longer() -> None:
    there = site(initial=2)
    await there.die()
    there.later()
    probe, second, third = there.wants(), there.wants(), there.wants()
    await turns()
    await there.fail(probe.result(), "still no answer")
    for task in (second, third):
        error = await turned_away(task)
        assert (error.reason, error.seconds) == ("still no answer", 600.0)


async def test_a_probe_that_finds_out_nothing_makes_way_for_another() -> None:
    there = site(initial=2)
    await there.die()
    there.later()
    probe, second, third = there.wants(), there.wants(), there.wants()
    await turns()
    await leave(probe.result())
    await turns()
    assert done(second, third) == [True, False]
    await there.fail(second.result())
    await turned_away(third)


async def test_a_probe_that_is_cancelled_as_it_gets_its_place_makes_way_for_another() -> None:
    there = site(initial=1)
    old = await there.wants()
    old.failed("no answer")
    there.later()
    second, third = there.wants(), there.wants()
    await turns()
    assert done(second, third) == [False, False]  # there is one place, and the old delivery has it
    await leave(old)
    second.cancel()
    await leave(await third)


async def test_a_probe_may_step_out() -> None:
    """It needs a permit to connect, and waits for that outside; nobody takes its part meanwhile."""
    there = site(initial=2)
    await there.die()
    there.later()
    probe = await there.wants()
    second = there.wants()
    await turns()
    probe.step_out()
    await turns()
    assert not second.done()
    async with asyncio.timeout(GUARD):
        await probe.enter()
    assert not second.done()
    probe.succeeded()
    await leave(await second)
    await leave(probe)


async def test_a_probe_that_is_cancelled_outside_makes_way_for_another() -> None:
    there = site(initial=2)
    await there.die()
    there.later()
    probe, second = await there.wants(), there.wants()
    await turns()
    probe.step_out()
    await leave(probe)
    await leave(await second)


async def test_who_insists_goes_past_those_who_wait_for_the_probe_that_stepped_out() -> None:
    there = site(initial=2)
    await there.die()
    there.later()
    probe, second = await there.wants(), there.wants()
    await turns()
    probe.step_out()
    insisting = there.wants(insist=True)
    await turns()
    assert done(second, insisting) == [False, True]
    other = there.wants(insist=True)
    await turns()
    again = asyncio.create_task(probe.enter())
    await turns()
    assert done(other, again) == [False, False]  # one at a time
    await leave(insisting.result())
    await again  # all the others wait for what it finds out
    assert done(second, other) == [False, False]
    await there.fail(probe)
    await turned_away(second)
    await leave(await other)


async def test_who_insists_may_be_the_probe_and_then_nobody_else_is() -> None:
    there = site(initial=2)
    await there.die()
    there.later()
    insisting = await there.wants(insist=True)
    second = there.wants()
    insisting.step_out()
    await turns()
    assert not second.done()
    await insisting.enter()
    insisting.succeeded()
    await leave(await second)
    await leave(insisting)


async def test_who_insists_beside_the_probe_takes_nothing_from_it() -> None:
    there = site(initial=2)
    await there.die()
    there.later()
    probe = await there.wants()
    probe.step_out()
    await leave(await there.wants(insist=True))  # it found out nothing, and is not who was to
    second = there.wants()
    await turns()
    assert not second.done()
    await there.fail(probe)
    assert (await turned_away(second)).seconds == 600.0


async def test_a_failure_of_before_beside_the_probe_ends_its_part() -> None:
    there = site(initial=2, negative="0")
    old = await there.wants()
    await there.die()
    there.later()
    waiting = there.wants()
    await turns()
    assert not waiting.done()
    old.step_out()
    probe = await waiting
    probe.step_out()
    old.failed("still no answer")
    assert not probe.try_enter()
    with pytest.raises(Suspended):
        await probe.enter()
    await leave(probe)
    await leave(old)
    await turned_away(there.wants())


async def test_a_probe_that_takes_longer_than_a_suspension_is_the_only_one_and_its_failure_counts() -> None:
    """Waiting for a greeting alone may take as long."""
    there = site(initial=2)
    await there.die()
    there.later()
    probe = await there.wants()
    probe.step_out()
    there.later(3 * FOR)
    second = there.wants()
    await turns()
    assert not second.done()
    await there.fail(probe, "no greeting")
    assert (await turned_away(second)).seconds == 600.0


async def test_a_failure_while_it_is_up_only_makes_the_gate_narrower() -> None:
    there = site(initial=3)
    passages = [await there.wants() for _ in range(3)]
    passages[0].failed("421 4.3.2 closing")
    await leave(passages[0])
    waiting = there.wants()
    await turns()
    assert not waiting.done()  # there are two places now
    await leave(passages[1])
    await leave(await waiting)
    await leave(passages[2])


async def test_a_window_that_never_dies_never_turns_anybody_away() -> None:
    there = site(initial=2, failed_cohorts=0)
    for _ in range(20):
        await there.fail(await there.wants())
    assert there.gate.window.limit == 1


async def test_what_is_known_is_forgotten_in_time() -> None:
    there = site(initial=2)
    await there.die()
    there.later(FOR + timedelta(minutes=59))
    assert not there.gate.is_idle
    there.later(2 * MINUTES)
    assert there.gate.is_idle
