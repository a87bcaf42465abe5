"""How many deliveries of a lane run at once: few at first, and more while that is of use.

What is quick needs few runners: those of many lanes would only wait for each other, for the same site or for the
processor. So a lane begins with a few, and gets as many again, up to its slots, each time a tick finds work left, and
the event loop with time to spare, or few deliveries under way at all, or that none of the lane has ended for a while.

Real time on purpose: it saves tasks and decides nothing, so that an injected clock has no say in it.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from moxlib.queue.worker.lanes import Lane

__all__ = ["FEW", "TICK_SECONDS", "Widening"]

FEW = 2  # runners that a lane begins with
TICK_SECONDS = 0.01
STUCK_TICKS = 20  # without an end of a delivery: the site is slow, however busy the loop is
BUSY = 0.6  # of the time: with more runners, more of them would only wait
ENOUGH = 16  # deliveries at once, in all lanes, that a busy loop should have: each of its turns serves several then


@dataclass(slots=True)
class _Watched:
    lane: Lane
    ended: int
    ticks: int = 0


class Widening:
    """Gives lanes their runners, by calling `start`; all of it belongs to one event loop."""

    def __init__(self, start: Callable[[Lane], None]) -> None:
        self._start = start
        self._watched: dict[int, _Watched] = {}
        self._at = 0.0
        self._cpu = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, lane: Lane) -> None:
        """Start a few runners for what waits, and watch whether it needs more."""
        self._run(lane, max(0, FEW - lane.running))
        if lane.lacking and id(lane) not in self._watched:
            self._watched[id(lane)] = _Watched(lane, lane.ended)
            self._set_timer()

    def stop(self) -> None:
        """Start no more."""
        self._watched.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        if self._timer is None:
            self._at, self._cpu = time.perf_counter(), time.thread_time()
            self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        self._timer = None
        enough = sum(watched.lane.running for watched in self._watched.values()) >= ENOUGH
        busy = time.thread_time() - self._cpu > BUSY * (time.perf_counter() - self._at)
        for key, watched in list(self._watched.items()):
            lane = watched.lane
            if not lane.lacking:
                del self._watched[key]
                continue
            watched.ticks = 0 if lane.ended != watched.ended else watched.ticks + 1
            watched.ended = lane.ended
            if not (busy and enough) or watched.ticks >= STUCK_TICKS:
                watched.ticks = 0
                self._run(lane, max(FEW, lane.running))
        if self._watched:
            self._set_timer()

    def _run(self, lane: Lane, most: int) -> None:
        for _ in range(min(lane.lacking, most)):
            self._start(lane)
