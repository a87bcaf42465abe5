"""One timer for all attempts: cancels those that take longer than any may.

All have the same time, so the one that began first is the first to be overdue; a timer for each would cost every
attempt what only a hanging one needs.
"""

import asyncio

from moxlib._clock import Clock

__all__ = ["Deadlines"]


class Deadlines:
    """Watches tasks from `begin` to `end`; each makes one attempt at a time."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self.seconds: float = seconds
        self._clock = clock
        self._running: dict[asyncio.Task[object], float] = {}  # in order of beginning
        self._overdue: set[asyncio.Task[object]] = set()
        self._begun = asyncio.Event()

    def begin(self) -> asyncio.Task[object]:
        """Note that the current task begins an attempt; returns the task, for `end`."""
        task = asyncio.current_task()
        assert task is not None
        self._running[task] = self._clock.monotonic() + self.seconds
        if len(self._running) == 1:
            self._begun.set()
        return task

    def end(self, task: asyncio.Task[object]) -> bool:
        """Note that the attempt ended; True when it was cancelled here, and nobody else wants the task to end."""
        self._running.pop(task, None)
        if task not in self._overdue:
            return False
        self._overdue.discard(task)
        return task.uncancel() == 0

    async def watch(self) -> None:
        """Cancel what is overdue, until cancelled."""
        while True:
            if not self._running:
                self._begun.clear()
                await self._begun.wait()
                continue
            task, deadline = next(iter(self._running.items()))
            seconds = deadline - self._clock.monotonic()
            if seconds > 0:
                await self._clock.sleep(seconds)
            else:
                del self._running[task]
                self._overdue.add(task)
                task.cancel()
