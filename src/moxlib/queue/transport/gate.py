"""How many deliveries run at once to a site: a number that follows how they end; and none to a site that is down.

The number is that of a `Window` (`moxlib.queue.congestion`). Who comes when all places are taken waits in line. When a
site's suspension is over, one goes in, the probe; the others wait in line for how it fares.
"""

import asyncio
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from moxlib._clock import Clock
from moxlib.errors import MoxlibError
from moxlib.queue.congestion import Window

__all__ = ["Gate", "Passage", "Suspended"]


class Suspended(MoxlibError):
    """The site is down, as far as is known: nothing is dialled for a while.

    Attributes:
        reason: the last failure, in words.
        seconds: how long it lasts.
    """

    def __init__(self, reason: str, seconds: float) -> None:
        super().__init__(f"delivery to this destination is suspended: {reason}")
        self.reason = reason
        self.seconds = seconds

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by fields, not by text."""
        return type(self), (self.reason, self.seconds)


@dataclass(slots=True)
class _Waiter:
    turn: "asyncio.Future[bool]"
    """Done when there is a place: whether it is the probe's."""
    insist: bool


class Gate:
    """Lets deliveries through to one site; all of them belong to one event loop."""

    def __init__(self, window: Window, clock: Clock) -> None:
        self.window = window
        self._clock = clock
        self._inside = 0
        self._line: deque[_Waiter] = deque()
        self._reason = ""

    @property
    def is_idle(self) -> bool:
        """Whether nobody is inside or waits, and nothing that matters would be forgotten with it."""
        return not self._inside and not self._line and self.window.is_stale(self._clock.now())

    def passage(self, *, insist: bool = False) -> "Passage":
        """Return the way through for one delivery; `insist`: even if the site is down, since it is its last attempt."""
        return Passage(self, insist=insist)

    def enter_at_once(self) -> bool:
        """Take a place if there is one and all is well; return whether it was so."""
        window = self.window
        if self._line or window.is_dead or self._inside >= window.limit:
            return False
        self._inside += 1
        return True

    async def enter(self, *, insist: bool) -> bool:
        """Wait for a place; return whether this is the probe.

        Raises:
            Suspended: the site is down.
        """
        if not insist:
            self._check()
        if not self._line and self._admits(insist=insist):
            self._inside += 1
            return self._probing()
        waiter = _Waiter(asyncio.get_running_loop().create_future(), insist)
        self._line.append(waiter)
        try:
            return await waiter.turn
        except BaseException:
            if waiter in self._line:
                self._line.remove(waiter)
            elif not waiter.turn.cancelled() and waiter.turn.exception() is None:
                self.leave()  # the place came with the cancellation
                if waiter.turn.result():
                    self.withdrawn()
            raise

    def _probing(self) -> bool:
        """Say whether who was just let in is the probe: nobody else is, while the site counts as dead."""
        now = self._clock.now()
        return self.window.is_dead and self.window.suspended_until(now) is None

    def _check(self) -> None:
        if not self.window.is_dead:
            return
        now = self._clock.now()
        until = self.window.suspended_until(now)
        if until is not None:
            raise Suspended(self._reason, (until - now).total_seconds())

    def _admits(self, *, insist: bool) -> bool:
        if self._inside >= self.window.limit:
            return False
        return not self.window.is_dead or self.window.admits(self._clock.now()) or insist

    def leave(self) -> None:
        """Give the place back."""
        self._inside -= 1
        if self._line:
            self._let_in()

    def _let_in(self) -> None:
        while self._line and self._admits(insist=self._line[0].insist):
            waiter = self._line.popleft()
            if not waiter.turn.done():
                self._inside += 1
                waiter.turn.set_result(self._probing())

    def succeeded(self) -> None:
        """Note that the site took a message, or refused one for reasons of its own."""
        self.window.succeeded(self._inside)
        if self._line:
            self._let_in()

    def failed(self, reason: str) -> None:
        """Note that the site could not be reached, or sent us away; who waits is told, if it counts as down now."""
        self._reason = reason
        self.window.failed(self._clock.now())
        try:
            self._check()
        except Suspended as suspended:
            for waiter in [waiter for waiter in self._line if not waiter.insist]:
                self._line.remove(waiter)
                if not waiter.turn.done():
                    waiter.turn.set_exception(Suspended(suspended.reason, suspended.seconds))

    def withdrawn(self) -> None:
        """Note that the probe ended without having found out anything: another one may."""
        self.window.withdrawn()
        self._let_in()


class Passage:
    """One delivery's place, as an async context manager; it may step out for a while in between."""

    def __init__(self, gate: Gate, *, insist: bool) -> None:
        self._gate = gate
        self._insist = insist
        self._inside = False
        self._is_probe = False

    async def enter(self) -> None:
        """Wait for a place, unless there is one.

        Raises:
            Suspended: the site is down.
        """
        if not self._inside:
            self._is_probe = await self._gate.enter(insist=self._insist)
            self._inside = True

    def step_out(self) -> None:
        """Give the place back, if there is one."""
        if self._inside:
            self._inside = False
            self._gate.leave()

    def succeeded(self) -> None:
        """Tell that the site works."""
        self._is_probe = False
        self._gate.succeeded()

    def failed(self, reason: str) -> None:
        """Tell that it could not be reached, or sent us away."""
        self._is_probe = False
        self._gate.failed(reason)

    async def __aenter__(self) -> Self:
        if self._gate.enter_at_once():  # as nearly always; spares two coroutines
            self._inside = True
        else:
            await self.enter()
        return self

    async def __aexit__(
        self, class_: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.step_out()
        if self._is_probe:
            self._gate.withdrawn()  # it ended without having found out anything
