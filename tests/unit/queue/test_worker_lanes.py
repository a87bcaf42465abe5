"""How much a worker claims ahead: its lanes."""

from typing import TYPE_CHECKING, cast

from moxlib.queue.worker.hook_lanes import HookLane
from moxlib.queue.worker.lanes import MIN_AHEAD, Lane

if TYPE_CHECKING:
    from moxlib.queue.hooks.records import Hook
    from moxlib.queue.storage.base import Claim

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
