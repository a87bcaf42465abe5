"""One timer for all attempts: cancels those that take longer than any may.

A timer for each would cost every attempt what only a hanging one needs.
"""

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager

from moxlib._clock import Clock

__all__ = ["SAME", "Deadlines"]

SAME = 1e-6  # seconds: clocks may be no finer, and sums of floats are not exact


class Deadlines:
    """Watches tasks from `begin` to `end`; each makes one attempt at a time."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.seconds: float = seconds
        self._clock = clock
        self._running: dict[asyncio.Task[object], float] = {}
        self._paused: dict[asyncio.Task[object], float] = {}
        """What each that is paused had left, in seconds."""
        self._overdue: set[asyncio.Task[object]] = set()
        self._looks_at = math.inf
        """When `watch` looks again; some of what it then finds has ended long since."""
        self._sooner = asyncio.Event()
        """One may be overdue before that."""

    def begin(self) -> asyncio.Task[object]:
        """Note that the current task begins an attempt; returns the task, for `end`."""
        task = asyncio.current_task()
        assert task is not None
        self._run(task, self.seconds)
        return task

    def _run(self, task: asyncio.Task[object], seconds: float) -> None:
        deadline = self._running[task] = self._clock.monotonic() + seconds
        if deadline < self._looks_at:
            self._sooner.set()

    def end(self, task: asyncio.Task[object]) -> bool:
        """Note that the attempt ended; True when it was cancelled here, and nobody else wants the task to end."""
        self._running.pop(task, None)
        self._paused.pop(task, None)
        if task not in self._overdue:
            return False
        self._overdue.discard(task)
        return task.uncancel() == 0

    @contextmanager
    def paused(self, task: asyncio.Task[object]) -> Iterator[None]:
        """Let the block's time not count, if the task makes an attempt that is not overdue."""
        deadline = self._running.pop(task, None)
        if deadline is None:
            yield
            return
        self._paused[task] = deadline - self._clock.monotonic()
        try:
            yield
        finally:
            left = self._paused.pop(task, None)
            if left is not None:  # else the attempt has ended meanwhile
                self._run(task, left)

    async def watch(self) -> None:
        """Cancel what is overdue, until cancelled."""
        while True:
            self._sooner.clear()
            self._cancel_overdue()
            self._looks_at = min(self._running.values(), default=math.inf)
            seconds = self._looks_at - self._clock.monotonic() if self._running else None
            try:
                async with self._clock.timeout(seconds):
                    await self._sooner.wait()
            except TimeoutError:
                continue

    def _cancel_overdue(self) -> None:
        now = self._clock.monotonic()
        for task in [task for task, deadline in self._running.items() if deadline - now < SAME]:
            del self._running[task]
            self._overdue.add(task)
            task.cancel()
