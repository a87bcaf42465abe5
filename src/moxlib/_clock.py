"""Time as a seam: what asks for the time, or waits, gets a `Clock`.

The system's clock is `SystemClock`; tests drive `moxlib.testing.FakeClock`.
"""

import asyncio
import time
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


class Clock(Protocol):
    """Wall-clock time, a monotonic reading, and the two ways of waiting on them."""

    def now(self) -> datetime:
        """Return the time now, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start, never going back: for durations."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`; at once (but through the event loop) when not positive."""
        ...

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        """Return a context whose body is cancelled, and `TimeoutError` raised, after `seconds` (None: never)."""
        ...


class SystemClock:
    """The machine's own clocks and the event loop's timers."""

    def now(self) -> datetime:
        """Return the time now, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start, never going back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""
        await asyncio.sleep(max(0.0, seconds))

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        """Return `asyncio.timeout(seconds)`."""
        return asyncio.timeout(seconds)
