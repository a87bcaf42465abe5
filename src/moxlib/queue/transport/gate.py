"""How many deliveries run at once to a site: a number that follows how they end; and none to a site that is down.

The number is that of a `Window` (`moxlib.queue.congestion`). Who comes when all places are taken waits in line. A place
that is given back goes to the line at the end of the event loop's turn: until then, a delivery that comes may have it,
nearly always the next one of the task that gave it back. That spares waking another task for each delivery; so that the
line moves, it happens a few times in a row only. When a site's suspension is over, one goes in, the probe; the others
wait in line for how it fares.
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


IN_PASSING = 10  # places in a row that go past those in line


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


@dataclass(slots=True, eq=False)
class _Waiter:
    passage: "Passage"
    turn: "asyncio.Future[None]"
    """Done when there is a place for it."""


class Gate:
    """Lets deliveries through to one site; all of them belong to one event loop."""

    def __init__(self, window: Window, clock: Clock) -> None:
        self.window = window
        self._clock = clock
        self._inside = 0
        self._line: deque[_Waiter] = deque()
        self._probe: Passage | None = None
        """Who finds out whether the site came back, inside or not; its role ends with it, or with what it found."""
        self._reason = ""
        self._offered = False
        """A place was given back in this turn of the event loop; at its end it goes to the line."""
        self._passed = 0
        """Places that have gone past the line since the last that it had."""

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
        if window.is_dead or self._inside >= window.limit:
            return False
        if self._line:
            if not self._offered:
                return False
            self._passed += 1
        self._inside += 1
        return True

    def try_enter(self, passage: "Passage") -> bool:
        """Take a place if there is one, before those in line; return whether it was so."""
        admitted = self._admits(passage)
        self._inside += admitted
        return admitted

    async def enter(self, passage: "Passage") -> None:
        """Wait for a place.

        Raises:
            Suspended: the site is down.
        """
        self.check(insist=passage.insist)
        if not self._line and self._admits(passage):
            self._inside += 1
            return
        waiter = _Waiter(passage, asyncio.get_running_loop().create_future())
        if passage is self._probe:
            self._line.appendleft(waiter)  # the others wait for what it finds out
        else:
            self._line.append(waiter)
        if self.window.is_dead:
            self._let_in()  # who waits already may do so for the probe alone
        try:
            await waiter.turn
        except BaseException:
            if waiter in self._line:
                self._line.remove(waiter)
            elif not waiter.turn.cancelled() and waiter.turn.exception() is None:
                self.leave()  # the place came with the cancellation
            self.end(passage)
            raise

    def check(self, *, insist: bool = False) -> None:
        """Return, unless the site is down.

        Raises:
            Suspended: it is.
        """
        if insist or not self.window.is_dead:
            return
        now = self._clock.now()
        until = self.window.suspended_until(now)
        if until is not None:
            raise Suspended(self._reason, (until - now).total_seconds())

    def _admits(self, passage: "Passage") -> bool:
        """Say whether there is a place for a passage now, which may make it the probe."""
        if self._inside >= self.window.limit:
            return False
        if not self.window.is_dead or passage is self._probe:
            return True
        if self._probe is None and self.window.admits(self._clock.now()):
            self._probe = passage
            return True
        return passage.insist

    def leave(self) -> None:
        """Give a place back."""
        self._inside -= 1
        if not self._line or self._offered:
            return
        if self.window.is_dead or self._passed >= IN_PASSING:
            self._let_in()
        else:
            self._offered = True
            asyncio.get_running_loop().call_soon(self._hand_on)

    def _hand_on(self) -> None:
        self._offered = False
        self._let_in()

    def _let_in(self) -> None:
        served: list[_Waiter] = []
        for waiter in self._line:
            if self._inside >= self.window.limit:
                break
            if waiter.turn.done():  # it was cancelled, and is about to go
                served.append(waiter)
            elif self._admits(waiter.passage):
                served.append(waiter)
                self._inside += 1
                self._passed = 0
                waiter.turn.set_result(None)
        for waiter in served:
            self._line.remove(waiter)

    def succeeded(self) -> None:
        """Note that the site took a message, or refused one for reasons of its own."""
        self.window.succeeded(self._inside)
        self._probe = None
        if self._line:
            self._let_in()

    def failed(self, passage: "Passage", reason: str) -> None:
        """Note that the site could not be reached, or sent us away; who waits is told, if it counts as down now."""
        self._reason = reason
        now = self._clock.now()
        if passage is self._probe:
            # The window gives a probe up that takes longer than a suspension does; but here is what it found.
            self.window.withdrawn()
            self.window.admits(now)
        self.window.failed(now)
        try:
            self.check()
        except Suspended as suspended:
            self._probe = None  # whoever it was that failed: the probe's time is over
            for waiter in [waiter for waiter in self._line if not waiter.passage.insist]:
                self._line.remove(waiter)
                if not waiter.turn.done():
                    waiter.turn.set_exception(Suspended(suspended.reason, suspended.seconds))

    def end(self, passage: "Passage") -> None:
        """Note that a passage is over; if it was the probe, it found out nothing, and another may."""
        if passage is self._probe:
            self._probe = None
            self.window.withdrawn()
            self._let_in()


class Passage:
    """One delivery's place, as an async context manager; it may step out for a while in between."""

    def __init__(self, gate: Gate, *, insist: bool) -> None:
        self.insist = insist
        self._gate = gate
        self._inside = False

    async def enter(self) -> None:
        """Wait for a place, unless there is one.

        Raises:
            Suspended: the site is down.
        """
        if not self._inside:
            await self._gate.enter(self)
            self._inside = True

    def try_enter(self) -> bool:
        """Enter, if there is a place; return whether it is inside.

        It goes before those in line: for who has what they would wait for when they were inside.
        """
        self._inside = self._inside or self._gate.try_enter(self)
        return self._inside

    def step_out(self) -> None:
        """Give the place back, if there is one."""
        if self._inside:
            self._inside = False
            self._gate.leave()

    def succeeded(self) -> None:
        """Tell that the site works."""
        self._gate.succeeded()

    def failed(self, reason: str) -> None:
        """Tell that it could not be reached, or sent us away."""
        self._gate.failed(self, reason)

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
        self._gate.end(self)
