"""A caller of webhooks in memory, for tests of what a queue does with their answers."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from moxlib.queue.hooks import CallResult, HookConfig, Success, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from moxlib.testing import FakeClock
    from moxlib.webhook import Call

__all__ = ["GUARD", "URL", "FakeCaller", "hook_config"]

GUARD = 30  # seconds after which a test that hangs fails instead
URL = "https://hooks.example/in"


def hook_config(**options: Any) -> HookConfig:
    return HookConfig(**{"url": URL, **options})


class FakeCaller:
    """Records calls and answers them: by `verdicts` in turn, then by `answer`; stalls while `gate` is shut."""

    def __init__(self, clock: "FakeClock") -> None:
        self.clock = clock
        self.calls: list[tuple[HookConfig, Call]] = []
        self.verdicts: list[Verdict] = []
        self.answer: Callable[[Call], Verdict] = lambda _: Success()
        self.gate = asyncio.Event()
        self.gate.set()
        self.active = 0
        self.most = 0
        """The most calls at once."""
        self.opened = 0
        self._came = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self.opened += 1
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: "TracebackType | None"
    ) -> None:
        self.opened -= 1

    async def call(self, config: HookConfig, call: "Call") -> CallResult:
        assert self.opened == 1
        self.active += 1
        self.most = max(self.most, self.active)
        self.calls.append((config, call))
        started = self.clock.now()
        try:
            async with self._came:
                self._came.notify_all()
            await self.gate.wait()
            await asyncio.sleep(0)
            verdict = self.verdicts.pop(0) if self.verdicts else self.answer(call)
        finally:
            self.active -= 1
        good = isinstance(verdict, Success)
        status = 204 if good else 500
        return CallResult(
            started=started,
            duration=timedelta(0),
            status=status,
            text="ok" if good else "no\0",
            verdict=verdict,
            error="" if good else "HTTP status 500",
        )

    async def came(self, count: int) -> None:
        """Return once so many calls have come."""
        async with asyncio.timeout(GUARD), self._came:
            await self._came.wait_for(lambda: len(self.calls) >= count)

    @property
    def ids(self) -> list[tuple[int, ...]]:
        return [call.ids for _, call in self.calls]

    @property
    def attempts(self) -> list[int]:
        return [call.attempt for _, call in self.calls]
