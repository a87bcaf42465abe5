"""How much a worker claims ahead, and how many deliveries of a destination run at once: its lanes."""

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from moxlib.queue.worker.hook_lanes import HookLane
from moxlib.queue.worker.lanes import MIN_AHEAD, Lane
from moxlib.queue.worker.widening import ENOUGH, FEW, STUCK_TICKS, TICK_SECONDS, Widening

if TYPE_CHECKING:
    from collections.abc import Callable

    from moxlib.queue.hooks.records import Hook
    from moxlib.queue.storage.claims import Claim

CLAIM = cast("Claim", object())
HOOK = cast("Hook", object())


def test_a_lane_wants_more_while_half_of_it_waits_though_some_began_during_the_claim() -> None:
    lane = Lane("b.example")
    lane.fill([(CLAIM,)] * MIN_AHEAD, room=MIN_AHEAD, slots=3, now=0.0)
    for _ in range(MIN_AHEAD // 2):
        lane.pop()
    assert lane.wants_more(now=0.1)
    asked = lane.room
    lane.pop()
    lane.pop()
    lane.fill([(CLAIM,)] * asked, room=asked, slots=3, now=0.2)  # all of what was asked for: there may be more
    while lane.count > lane.ahead // 2:
        lane.pop()
    assert lane.wants_more(now=0.3)


def test_a_lane_that_got_less_than_it_asked_for_waits_to_be_woken() -> None:
    lane = Lane("b.example")
    lane.fill([(CLAIM,)] * (MIN_AHEAD - 1), room=MIN_AHEAD, slots=3, now=0.0)
    lane.clear()
    assert not lane.wants_more(now=0.1)


def test_where_the_claim_was_full_a_lane_that_got_less_wants_more() -> None:
    lane = Lane("b.example")
    lane.fill([(CLAIM,)] * (MIN_AHEAD - 1), room=MIN_AHEAD, slots=3, now=0.0, cut=True)
    assert not lane.wants_more(now=0.1)
    lane.clear()
    assert lane.wants_more(now=0.1)
    hooks = HookLane("https://b.example/")
    hooks.fill([HOOK] * (MIN_AHEAD - 1), room=MIN_AHEAD, now=0.0, cut=True)
    assert not hooks.wants_more(now=0.1)
    hooks.clear()
    assert hooks.wants_more(now=0.1)


def test_an_endpoints_lane_does_so_likewise() -> None:
    lane = HookLane("https://b.example/")
    lane.fill([HOOK] * MIN_AHEAD, room=MIN_AHEAD, now=0.0)
    while len(lane.waiting) > lane.ahead // 2:
        lane.waiting.popleft()
    assert lane.wants_more(now=0.1)
    asked = lane.room
    lane.waiting.popleft()
    lane.fill([HOOK] * asked, room=asked, now=0.2)
    while len(lane.waiting) > lane.ahead // 2:
        lane.waiting.popleft()
    assert lane.wants_more(now=0.3)


class Timers:
    """The event loop's timers, fired by hand, and the processor time that passes meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.cpu = 0.0
        self.waiting: list[Callable[[], None]] = []
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "call_later", self._call_later)
        monkeypatch.setattr("moxlib.queue.worker.widening.time.perf_counter", lambda: self.now)
        monkeypatch.setattr("moxlib.queue.worker.widening.time.thread_time", lambda: self.cpu)

    def _call_later(self, delay: float, callback: "Callable[[], None]") -> asyncio.TimerHandle:
        assert delay == TICK_SECONDS
        self.waiting.append(callback)
        return asyncio.TimerHandle(delay, callback, (), asyncio.get_running_loop())

    def tick(self, *, busy: bool) -> None:
        [callback] = self.waiting
        self.waiting.clear()
        self.now += TICK_SECONDS
        self.cpu += TICK_SECONDS * (0.95 if busy else 0.3)
        callback()


def run(lane: Lane) -> None:
    lane.running += 1
    lane.pop()


@pytest.fixture
async def timers(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("moxlib.queue.worker.widening.FEW", FEW)
    yield Timers(monkeypatch)
    monkeypatch.undo()


def filled(count: int, slots: int = 20) -> Lane:
    lane = Lane("b.example")
    lane.fill([(CLAIM,)] * count, room=count, slots=slots, now=0.0)
    return lane


async def test_while_the_loop_has_time_a_lane_gets_as_many_again(timers: Timers) -> None:
    lane = filled(100)
    runners = Widening(run)
    runners.begin(lane)
    seen = [lane.running]
    while timers.waiting:
        timers.tick(busy=False)
        seen.append(lane.running)
    assert seen == [FEW, 2 * FEW, 4 * FEW, 8 * FEW, 20, 20]


async def test_a_busy_loop_gives_more_only_to_lanes_that_stand_still(timers: Timers) -> None:
    slow, *quick = lanes = [filled(100) for _ in range(ENOUGH // FEW)]
    runners = Widening(run)
    for lane in lanes:
        runners.begin(lane)
    for _ in range(STUCK_TICKS):
        for lane in quick:
            lane.ended += 1
        assert {lane.running for lane in lanes} == {FEW}
        timers.tick(busy=True)
    assert {lane.running for lane in quick} == {FEW}
    assert slow.running == 2 * FEW


async def test_a_busy_loop_has_enough_deliveries_under_way(timers: Timers) -> None:
    lane = filled(100)
    runners = Widening(run)
    runners.begin(lane)
    for _ in range(STUCK_TICKS):
        lane.ended += 1
        timers.tick(busy=True)
    assert ENOUGH <= lane.running < 20


async def test_a_lane_whose_work_is_done_is_not_watched_any_more(timers: Timers) -> None:
    lane = filled(FEW + 1)
    runners = Widening(run)
    runners.begin(lane)
    lane.pop()
    timers.tick(busy=False)
    assert lane.running == FEW
    assert not timers.waiting


async def test_a_lane_that_is_filled_again_while_it_runs_gets_no_few_more(timers: Timers) -> None:
    lane = filled(100)
    runners = Widening(run)
    runners.begin(lane)
    lane.fill([(CLAIM,)] * 10, room=10, slots=20, now=0.1)
    runners.begin(lane)
    assert lane.running == FEW
    assert len(timers.waiting) == 1


async def test_after_the_end_no_runner_starts(timers: Timers) -> None:
    lane = filled(100)
    runners = Widening(run)
    runners.begin(lane)
    runners.stop()
    assert timers.waiting  # cancelled
    [callback] = timers.waiting
    callback()
    assert lane.running == FEW
