"""Who may call an endpoint now: so many at once for each URL, the others in the order they came."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

__all__ = ["Turns"]


@dataclass(slots=True)
class _Line:
    inside: int = 0
    waiting: "deque[tuple[int, asyncio.Future[None]]]" = field(default_factory=deque)
    """For each, how many may be inside with it, and what is done when it is."""

    def admit(self) -> None:
        while self.waiting:
            at_once, turn = self.waiting[0]
            gave_up = turn.done()
            if not gave_up and self.inside >= at_once:
                return
            self.waiting.popleft()
            if not gave_up:
                self.inside += 1
                turn.set_result(None)


class Turns:
    """Keeps a line for each URL that is being called, and forgets it when nobody is left."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    def __len__(self) -> int:
        """Return how many URLs are being called."""
        return len(self._lines)

    @asynccontextmanager
    async def turn(self, url: str, at_once: int) -> AsyncGenerator[None]:
        """Wait for a place at a URL, where no more than `at_once` have one, and hold it for the body."""
        line = self._lines.setdefault(url, _Line())
        try:
            if line.inside < at_once and not line.waiting:
                line.inside += 1
            else:
                await self._wait(line, at_once)
            try:
                yield
            finally:
                line.inside -= 1
                line.admit()
        finally:
            if not line.inside and not line.waiting and self._lines.get(url) is line:
                del self._lines[url]

    @staticmethod
    async def _wait(line: _Line, at_once: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.waiting.append((at_once, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was given a place in the same moment
                line.inside -= 1
            line.admit()  # also if it was first in line, and would have let in fewer than those behind it
            raise
