"""How many deliveries at once a site takes, and whether it is up: learned from how they end. Pure.

This is the scheduling feedback of Postfix, as its SCHEDULER_README describes it. Each site has a *window*: the number
of deliveries at once. It grows with each success and shrinks with each failure, by the *feedback*; fractions add up
until they make a whole step (the hysteresis), and a step one way throws away the fractions of the other. Failures with
no success between them count as shares of a *cohort*, one over the window each; when as many cohorts failed as the
settings allow, the site is taken for dead, and nothing is sent there for a while. Then a single delivery, the *probe*,
finds out whether it came back.

Success and failure are the site's: a recipient that is refused is a success here, for the server answered. Failures are
connections that cannot be made or break, sessions that do not begin, and 421 (RFC 5321 3.8: the server shuts down).

Differs from Postfix: a site that stays dead is left alone for longer each time.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import sqrt
from typing import Final, Self

from moxlib.errors import InputError

__all__ = ["Concurrency", "Feedback", "Window"]

MAX_WINDOW: Final = 10_000  # deliveries at once to one site; more is a mistake, and no server takes it
MAX_COHORTS: Final = 1000  # as good as never; 0 is never
MAX_SUSPENSION: Final = timedelta(days=7)  # messages are given up before that
STEP: Final = 1  # the hysteresis, of both directions: Postfix's, for feedback that is at most 1

_NUMBER: Final = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_feedback = re.compile(rf" *({_NUMBER}) *(?:/ *(concurrency|sqrt_concurrency|{_NUMBER}) *)?").fullmatch


def _per_concurrency(window: int) -> float:
    return window


def _per_root(window: int) -> float:
    return sqrt(window)


def _constant(window: int) -> float:  # noqa: ARG001 - one signature for the three
    return 1


_DIVISORS: Final[dict[str, Callable[[int], float]]] = {
    "concurrency": _per_concurrency,
    "sqrt_concurrency": _per_root,
    "": _constant,
}


@dataclass(frozen=True, slots=True)
class Feedback:
    """How far one delivery's end moves the window: a number, perhaps over the window or its square root.

    `"1/concurrency"` moves it by 1 for as many deliveries as the window has; `"1"` by 1 for each.
    """

    amount: float
    per: str = ""
    """What it is divided by: "concurrency", "sqrt_concurrency", or "" for nothing."""

    def __post_init__(self) -> None:
        """Refuse what is no feedback.

        Raises:
            InputError: the amount is not from 0 to 1, or `per` is none of the three.
        """
        if not 0 <= self.amount <= 1 or self.per not in _DIVISORS:
            raise InputError(f"a feedback is from 0 to 1, as it is or /concurrency or /sqrt_concurrency: not {self}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read Postfix's notation: `"0.5"`, `"1/8"`, `"1/concurrency"`, `"1/sqrt_concurrency"`.

        Raises:
            InputError: it is not so written, or is over 1.
        """
        match = _feedback(text)
        if match is None:
            raise InputError(f"not a feedback like '1', '1/8' or '1/concurrency': {text[:80]!r}")
        amount, per = float(match[1]), match[2] or ""
        if per in _DIVISORS:
            return cls(amount, per)
        if not (divisor := float(per)):
            raise InputError(f"a feedback divided by 0: {text[:80]!r}")
        return cls(amount / divisor)

    def __str__(self) -> str:
        """Return what `parse` reads, but for the digits of a fraction."""
        return f"{self.amount:g}/{self.per}" if self.per else f"{self.amount:g}"

    def at(self, window: int) -> float:
        """Return what one delivery counts for at a window."""
        return self.amount / _DIVISORS[self.per](window)


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """How the number of deliveries at once to a site follows what happens there.

    The defaults grow by one for each windowful of successes and shrink by one for each failure. (Postfix's grow by one
    for each success. To have that: `positive="1"`.)
    """

    initial: int = 5
    """Deliveries at once to a site of which nothing is known, or that just came back."""
    maximum: int = 20
    """Deliveries at once at most."""
    positive: str = "1/concurrency"
    """How far a success moves the window: see `Feedback.parse`."""
    negative: str = "1"
    """How far a failure moves it."""
    failed_cohorts: float = 1
    """Cohorts that fail with no success between them before the site counts as dead; 0: it never does."""
    suspend_for: timedelta = timedelta(minutes=5)
    """How long a dead site is left alone; twice as long each time that the probe after it fails, too."""
    suspend_at_most: timedelta = timedelta(hours=1)

    def __post_init__(self) -> None:
        """Refuse what could not work.

        Raises:
            InputError: the text names the field.
        """
        if not 1 <= self.maximum <= MAX_WINDOW:
            raise InputError(f"Concurrency.maximum must be from 1 to {MAX_WINDOW}, not {self.maximum}")
        if not 1 <= self.initial <= self.maximum:
            raise InputError(f"Concurrency.initial must be from 1 to the maximum, {self.maximum}, not {self.initial}")
        for name in ("positive", "negative"):
            try:
                Feedback.parse(getattr(self, name))
            except InputError as error:
                raise InputError(f"Concurrency.{name}: {error}") from error
        if not 0 <= self.failed_cohorts <= MAX_COHORTS:
            raise InputError(f"Concurrency.failed_cohorts must be from 0 to {MAX_COHORTS}, not {self.failed_cohorts}")
        if not timedelta(0) < self.suspend_for <= self.suspend_at_most <= MAX_SUSPENSION:
            days = MAX_SUSPENSION.days
            raise InputError(
                f"Concurrency.suspend_for must be over 0, and suspend_at_most from that to {days} days, "
                f"not {self.suspend_for} and {self.suspend_at_most}"
            )

    def suspension(self, times: int) -> timedelta:
        """Return how long a site is left alone that was found dead so many times in a row, from 1."""
        enough = (self.suspend_at_most // self.suspend_for).bit_length()
        return min(self.suspend_at_most, self.suspend_for * (1 << min(times - 1, enough)))


@dataclass(slots=True)
class _Dead:
    """A site that is taken for dead."""

    since: datetime
    lasting: timedelta
    probe_since: datetime | None = None

    def is_suspended(self, now: datetime) -> bool:
        # A clock that was set back to before the beginning must not make it longer: it is over then.
        return timedelta(0) <= now - self.since < self.lasting

    def has_probe(self, now: datetime) -> bool:
        """Whether a probe is out; one of which nobody told how it ended is given up after as long again."""
        return self.probe_since is not None and timedelta(0) <= now - self.probe_since < self.lasting


@dataclass(slots=True, eq=False)
class Window:
    """What is known of one site: how many deliveries at once, and whether it is dead.

    Ask `admits` before each delivery, keep to `limit`, and tell how each ended: `succeeded`, `failed` or `withdrawn`.
    """

    settings: Concurrency = field(default_factory=Concurrency)
    _limit: int = field(init=False)
    _positive: Feedback = field(init=False, repr=False)
    _negative: Feedback = field(init=False, repr=False)
    _success: float = field(init=False, default=0.0)
    """Fractions of a step up."""
    _failure: float = field(init=False, default=0.0)
    """What is left before the next step down: at 0, the next failure makes one, however small it is."""
    _cohorts: float = field(init=False, default=0.0)
    """Cohorts that failed since the last success."""
    _deaths: int = field(init=False, default=0)
    """How many times in a row it was found dead."""
    _dead: _Dead | None = field(init=False, default=None)
    _last_failure: datetime | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Begin with the initial window."""
        self._limit = self.settings.initial
        self._positive = Feedback.parse(self.settings.positive)
        self._negative = Feedback.parse(self.settings.negative)

    @property
    def limit(self) -> int:
        """How many deliveries at once, from 1 to the maximum; 1 while the site counts as dead."""
        return self._limit if self._dead is None else 1

    @property
    def is_dead(self) -> bool:
        """Whether it counts as dead: suspended, or a probe has yet to say that it came back."""
        return self._dead is not None

    @property
    def is_fresh(self) -> bool:
        """Whether it may be forgotten: no failure is remembered that a new window would not know of.

        A window that has grown is not kept for that: what a site took some time ago, it need not take now.
        """
        return self._dead is None and not self._cohorts and self._limit >= self.settings.initial

    def is_stale(self, now: datetime) -> bool:
        """Say whether it may be forgotten: it is fresh, or its failures are older than the longest suspension."""
        if self.is_fresh or self._last_failure is None:
            return True
        age = now - self._last_failure
        lasting = self._dead.lasting if self._dead is not None else timedelta(0)
        return not timedelta(0) <= age < lasting + self.settings.suspend_at_most

    def suspended_until(self, now: datetime) -> datetime | None:
        """Return the end of the suspension, or None when the site is not suspended at this time."""
        if self._dead is None or not self._dead.is_suspended(now):
            return None
        return self._dead.since + self._dead.lasting

    def admits(self, now: datetime) -> bool:
        """Say whether one more delivery may be tried; when a suspension has just passed, it is the probe.

        A dead site admits nothing while it is suspended, then one, and others when that one has succeeded. So call it
        once for each delivery. A probe whose end nobody tells of is given up after as long as the suspension was.
        """
        dead = self._dead
        if dead is None:
            return True
        if dead.is_suspended(now) or dead.has_probe(now):
            return False
        dead.probe_since = now
        return True

    def succeeded(self, busy: int | None = None) -> None:
        """Note that the site answered as a working server does.

        Args:
            busy: deliveries under way now, this one included: the window then grows no further than the initial window
                above it, since what was never tried is not known to work. None: it does not matter.
        """
        self._cohorts = 0.0
        self._deaths = 0
        if self._dead is not None:
            self._revive()
        elif self._limit < self.settings.maximum and (busy is None or self._limit < busy + self.settings.initial):
            self._grow()

    def _revive(self) -> None:
        self._dead = None
        self._limit = self.settings.initial  # whatever it took before may have been what was too much
        self._success = self._failure = 0.0

    def _grow(self) -> None:
        feedback = self._positive.at(self._limit)
        self._success += feedback
        if self._success + feedback / 2 >= STEP:  # a step is made at the delivery that comes nearest to it
            self._limit = min(self._limit + STEP, self.settings.maximum)
            self._success -= STEP
            self._failure = 0.0

    def failed(self, now: datetime) -> None:
        """Note that the site could not be reached, or sent us away.

        Deliveries that were under way when it was found dead are not counted again as they fail, too.
        """
        self._last_failure = now
        if self._dead is not None:
            if self._dead.has_probe(now):
                self._die(now)
            return
        self._cohorts += 1 / self._limit
        if self.settings.failed_cohorts and self._cohorts >= self.settings.failed_cohorts:
            self._die(now)
        else:
            self._shrink()

    def _die(self, now: datetime) -> None:
        self._deaths += 1
        self._dead = _Dead(since=now, lasting=self.settings.suspension(self._deaths))

    def _shrink(self) -> None:
        feedback = self._negative.at(self._limit)
        self._failure -= feedback
        if self._failure + feedback / 2 < 0:  # likewise
            self._limit = max(self._limit - STEP, 1)
            self._success = 0.0
            self._failure += STEP

    def withdrawn(self) -> None:
        """Note that a delivery ended without having tried the site; if it was the probe, another may be."""
        if self._dead is not None:
            self._dead.probe_since = None
