"""`FakeClock`: time that moves when the test says so.

What sleeps or has a deadline is kept in order of time. `await clock.advance(3600)` walks through an hour: at each
instant at which something is due it stops, wakes it, and lets it run before it walks on.
"""

import asyncio
import heapq
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

__all__ = ["START", "FakeClock"]

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
"""Where a fake clock starts unless told otherwise. Any fixed instant would do."""

# Turns of the event loop that woken tasks get before time moves on: a task that wakes another through a queue, an
# event and a task group needs about six. Work in threads takes no turns: wait for it by other means.
TURNS = 20


class _Timer:
    """One thing to do at one time; `done` once it was, or was given up."""

    __slots__ = ("action", "done", "due", "order")

    def __init__(self, due: timedelta, order: int, action: Callable[[], None]) -> None:
        self.due = due
        self.order = order
        self.action = action
        self.done = False

    def __lt__(self, other: "_Timer") -> bool:
        return (self.due, self.order) < (other.due, other.order)


class FakeClock:
    """A `Clock` that stands still until it is told to move. Times are exact to the microsecond.

    It belongs to the thread of the event loop it is used in, and may be used in one loop after another.

    Args:
        start: the instant at which it starts, aware.

    Raises:
        ValueError: `start` has no time zone.
    """

    def __init__(self, start: datetime = START) -> None:
        if start.tzinfo is None:
            raise ValueError("start must be an aware datetime (with a time zone)")
        self._start = start.astimezone(UTC)
        self._elapsed = timedelta(0)
        self._timers: list[_Timer] = []
        self._timers_made = 0

    # what the code under test uses

    def now(self) -> datetime:
        """Return the time now, aware, in UTC."""
        return self._start + self._elapsed

    def monotonic(self) -> float:
        """Return the seconds this clock has moved since it was made."""
        return self._elapsed.total_seconds()

    async def sleep(self, seconds: float) -> None:
        """Return when the clock has been moved by `seconds`; at once (but through the event loop) when not positive."""
        due = self._due(seconds)
        if due <= self._elapsed:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = self._at(due, lambda: None if woken.done() else woken.set_result(None))
        try:
            await woken
        finally:
            self._forget(timer)

    @asynccontextmanager
    async def timeout(self, seconds: float | None) -> AsyncGenerator[asyncio.Timeout]:
        """Return a context whose body is cancelled, and `TimeoutError` raised, when the clock has moved by `seconds`.

        It is `asyncio.timeout` with this clock in place of the loop's, so it nests and minds foreign cancellation as
        that does. None: never.
        """
        async with asyncio.timeout(None) as inner:
            if seconds is None:
                yield inner
                return
            loop = asyncio.get_running_loop()
            # A deadline that has passed by the loop's own clock makes `inner` cancel its body at the loop's next turn.
            timer = self._at(self._due(seconds), lambda: inner.reschedule(loop.time()))
            self._fire_due()
            try:
                yield inner
            finally:
                self._forget(timer)

    # what the test uses

    async def advance(self, by: float | timedelta) -> None:
        """Move on by seconds or a `timedelta`, stopping at each instant at which a sleeper or a timeout is due.

        What is due is woken in order of time (of equal times, in the order it began to wait) and runs, with `now()`
        at that instant, before the clock moves on; what it then waits for is met on the way as well. Returns when the
        tasks woken last have had their turns of the loop too.

        Raises:
            ValueError: `by` is negative.
        """
        target = self._target(by)
        await self._let_run()
        while self._timers and self._timers[0].due <= target:
            self._elapsed = max(self._elapsed, self._timers[0].due)
            self._fire_due()
            await self._let_run()
        self._elapsed = max(self._elapsed, target)
        await self._let_run()

    def set(self, to: datetime) -> None:
        """Move to a later instant in one step, from code that is not async.

        What is due by then is woken in order of time, but runs only when the event loop does, and finds the clock at
        `to` already.

        Raises:
            ValueError: `to` has no time zone, or is before `now()`.
        """
        if to.tzinfo is None:
            raise ValueError("to must be an aware datetime (with a time zone)")
        self._elapsed = self._target(to - self.now())
        self._fire_due()

    @property
    def next_wakeup(self) -> datetime | None:
        """The instant of the earliest sleeper or timeout; None when nothing waits on this clock."""
        return self._start + self._timers[0].due if self._timers else None

    @property
    def waiting(self) -> int:
        """How many sleeps and timeouts wait on this clock."""
        return len(self._timers)

    # inside

    def _due(self, seconds: float) -> timedelta:
        try:
            return self._elapsed + timedelta(seconds=seconds)
        except OverflowError:  # infinity, or as good as
            return timedelta.max if seconds > 0 else timedelta.min

    def _target(self, by: float | timedelta) -> timedelta:
        step = by if isinstance(by, timedelta) else timedelta(seconds=by)
        if step < timedelta(0):
            raise ValueError(f"time does not go back: {step} was asked for")
        return self._elapsed + step

    def _at(self, due: timedelta, action: Callable[[], None]) -> _Timer:
        self._timers_made += 1
        timer = _Timer(due, self._timers_made, action)
        heapq.heappush(self._timers, timer)
        return timer

    def _forget(self, timer: _Timer) -> None:
        if not timer.done:
            timer.done = True
            self._timers.remove(timer)
            heapq.heapify(self._timers)

    def _fire_due(self) -> None:
        while self._timers and self._timers[0].due <= self._elapsed:
            timer = heapq.heappop(self._timers)
            timer.done = True
            timer.action()

    async def _let_run(self) -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)
