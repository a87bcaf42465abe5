"""The window against a plain rewriting of the documented formulae, whatever happens in whatever order."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from moxlib.errors import InputError
from moxlib.queue.congestion import Concurrency, Feedback, Window

START = datetime(2026, 1, 1, tzinfo=UTC)
FEEDBACK = ["0", "0.1", "1/3", "0.9", "1", "1/concurrency", "0.5/concurrency", "1/sqrt_concurrency"]


@st.composite
def concurrencies(draw: st.DrawFn) -> Concurrency:
    maximum = draw(st.integers(1, 30))
    shortest = draw(st.integers(1, 600))
    return Concurrency(
        initial=draw(st.integers(1, maximum)),
        maximum=maximum,
        positive=draw(st.sampled_from(FEEDBACK)),
        negative=draw(st.sampled_from(FEEDBACK)),
        failed_cohorts=draw(st.sampled_from([0, 0.5, 1, 2, 10])),
        suspend_for=timedelta(seconds=shortest),
        suspend_at_most=timedelta(seconds=draw(st.integers(shortest, 3600))),
    )


def feedback(text: str, window: int) -> float:
    amount, _, per = text.partition("/")
    match per:
        case "concurrency":
            return float(amount) / window
        case "sqrt_concurrency":
            return float(amount) / math.sqrt(window)
        case "":
            return float(amount)
        case _:
            return float(amount) / float(per)


@dataclass
class Model:
    """Postfix's scheduler feedback as its documentation has it, with a window of 0 for a dead site; and the probe."""

    settings: Concurrency
    window: int = 0
    success: float = 0
    failure: float = 0
    cohorts: float = 0
    deaths: int = 0
    back_at: float = 0
    length: float = 0
    probing: float | None = None

    def __post_init__(self) -> None:
        self.window = self.settings.initial

    def positive(self, busy: int | None) -> None:
        self.cohorts = 0
        self.deaths = 0
        if self.window == 0:
            self.window = self.settings.initial
            self.success = self.failure = 0
            self.probing = None
            return
        if self.window >= self.settings.maximum or (busy is not None and self.window >= busy + self.settings.initial):
            return
        step = feedback(self.settings.positive, self.window)
        self.success += step
        while self.success + step / 2 >= 1:
            self.window += 1
            self.success -= 1
            self.failure = 0
        self.window = min(self.window, self.settings.maximum)

    def negative(self, now: float) -> None:
        if self.window == 0:
            if self.probing is not None and now < self.probing + self.length:
                self.die(now)
            return
        self.cohorts += 1 / self.window
        if self.settings.failed_cohorts and self.cohorts >= self.settings.failed_cohorts:
            self.die(now)
            return
        step = feedback(self.settings.negative, self.window)
        self.failure -= step
        while self.failure + step / 2 < 0:
            self.window -= 1
            self.failure += 1
            self.success = 0
        self.window = max(self.window, 1)

    def die(self, now: float) -> None:
        self.window = 0
        self.length = self.settings.suspend_for.total_seconds()
        for _ in range(self.deaths):
            self.length = min(2 * self.length, self.settings.suspend_at_most.total_seconds())
        self.deaths += 1
        self.back_at = now + self.length
        self.probing = None

    def admits(self, now: float) -> bool:
        if self.window > 0:
            return True
        if now < self.back_at or (self.probing is not None and now < self.probing + self.length):
            return False
        self.probing = now
        return True


class WindowMachine(RuleBasedStateMachine):
    """A site to which things happen; the time only goes on."""

    @initialize(settings=concurrencies())
    def begin(self, settings: Concurrency) -> None:
        self.seconds = 0.0
        self.settings = settings
        self.window = Window(settings)
        self.model = Model(settings)

    @property
    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    @property
    def is_dead(self) -> bool:
        return self.model.window == 0

    @rule(seconds=st.integers(0, 5) | st.integers(0, 4000))
    def wait(self, seconds: int) -> None:
        self.seconds += seconds

    @rule()
    def wait_for_the_end_of_the_suspension(self) -> None:
        if (end := self.window.suspended_until(self.now)) is not None:
            self.seconds = (end - START).total_seconds()

    @rule(times=st.integers(1, 40), busy=st.none() | st.integers(1, 30))
    def succeed(self, times: int, busy: int | None) -> None:
        for _ in range(times):
            before = self.window.limit
            was_dead = self.is_dead
            self.window.succeeded(busy)
            self.model.positive(busy)
            assert self.window.limit >= before or was_dead
        assert self.window.admits(self.now)  # one success, and it is alive

    @rule(times=st.integers(1, 12))
    def fail(self, times: int) -> None:
        for _ in range(times):
            before = self.window.limit
            self.window.failed(self.now)
            self.model.negative(self.seconds)
            assert self.window.limit <= before

    @rule()
    def fail_until_dead(self) -> None:
        """A windowful of failures for each cohort, and one, are always enough: the window only shrinks meanwhile."""
        if not self.settings.failed_cohorts:
            return
        for _ in range(math.ceil(self.settings.failed_cohorts * self.window.limit) + 1):
            self.window.failed(self.now)
            self.model.negative(self.seconds)
        assert self.is_dead

    @rule(times=st.integers(1, 5))
    def ask(self, times: int) -> None:
        answers = [self.window.admits(self.now) for _ in range(times)]
        assert answers == [self.model.admits(self.seconds) for _ in range(times)]
        if self.is_dead:
            assert sum(answers) <= 1

    @precondition(lambda self: self.is_dead)
    @rule()
    def withdraw(self) -> None:
        self.window.withdrawn()
        self.model.probing = None

    @invariant()
    def agrees(self) -> None:
        assert 1 <= self.window.limit <= self.settings.maximum
        assert self.window.limit == max(self.model.window, 1)
        suspended = self.is_dead and self.seconds < self.model.back_at
        end = START + timedelta(seconds=self.model.back_at) if suspended else None
        assert self.window.suspended_until(self.now) == end
        if self.is_dead:
            assert not self.window.is_fresh


TestWindow = WindowMachine.TestCase


@given(concurrencies(), st.integers(1, 10**6))
def test_suspensions_grow_and_are_bounded(settings: Concurrency, times: int) -> None:
    first, then, later = (settings.suspension(each) for each in (1, times, times + 1))
    assert settings.suspend_for == first <= then <= later <= settings.suspend_at_most
    assert later in (2 * then, settings.suspend_at_most)


@given(concurrencies(), st.lists(st.booleans(), max_size=200), st.integers(0, 10))
def test_a_site_that_works_reaches_the_maximum(settings: Concurrency, before: list[bool], spare: int) -> None:
    """Whatever was before. A windowful of successes for each step is enough for each feedback of at least 1/window."""
    window = Window(settings)
    for success in before:
        if success:
            window.succeeded()
        else:
            window.failed(START)
    window.succeeded()
    if settings.positive in ("1", "0.9", "1/3", "1/concurrency", "1/sqrt_concurrency"):
        for _ in range(settings.maximum * (settings.maximum + 3) + spare):
            window.succeeded()
        assert window.limit == settings.maximum


@given(
    st.text(max_size=30) | st.from_regex(r"[0-9.]{0,4} ?/ ?(concurrency|sqrt_concurrency|[0-9.]{0,4})", fullmatch=True)
)
def test_any_text_is_a_feedback_or_refused(text: str) -> None:
    try:
        feedback = Feedback.parse(text)
    except InputError:
        return
    assert all(0 <= feedback.at(window) <= 1 for window in (1, 2, 10, 10_000))
