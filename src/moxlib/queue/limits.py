"""How much of what is limited by time may go now: a token bucket, as one integer. Pure.

It is the bucket's GCRA form (ITU-T I.371): the state is the time at which the bucket is full again, its *theoretical
arrival time*. Tokens taken put it off; that it comes nearer as time goes on is all the refilling there is. Everything
is counted in whole microseconds, so that every engine, and a model of it, come to the same numbers.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self

from moxlib.errors import InputError

__all__ = ["MAX_PER_SECOND", "MIN_PER_DAY", "Rate", "Taken", "take"]

MAX_PER_SECOND: Final = 1_000_000  # one a microsecond, which is as fine as times are stored; more is no limit
MIN_PER_DAY: Final = 1  # less is a mistake in the unit, or a hold; and the state must stay a time that can be stored

SECOND: Final = 1_000_000  # µs
DAY: Final = 86_400 * SECOND
MICROSECOND: Final = timedelta(microseconds=1)

USEFUL: Final = SECOND // 5  # µs: who found the bucket empty comes back for what this long brings, not for each token
MAX_SKEW: Final = 60 * SECOND  # µs that two machines' clocks may differ: a lease's length, beyond which nothing works


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """So many in so long, and so many at once after a pause; valid by construction.

    Raises:
        InputError: the rate is not a number from one a day to a million a second, or the burst is under 1.
    """

    count: float
    """How many in `per`; fractions are exact."""
    per: timedelta
    burst: int = 1
    """How many the bucket holds."""

    def __post_init__(self) -> None:
        """Refuse what is no rate."""
        seconds = self.per.total_seconds()
        # As written, a comparison with NaN is false too.
        if not (seconds > 0 and MIN_PER_DAY / 86_400 <= self.count / seconds <= MAX_PER_SECOND):
            raise InputError(f"a rate must be from {MIN_PER_DAY} a day to {MAX_PER_SECOND} a second, not {self.text}")
        if self.burst < 1:
            raise InputError(f"a burst must be at least 1, not {self.burst}")

    @classmethod
    def per_second(cls, count: float) -> Self:
        """Return `count` a second, in bursts of a second's worth."""
        return cls(count=count, per=timedelta(seconds=1), burst=_burst(count))

    @classmethod
    def per_minute(cls, count: float) -> Self:
        """Return `count` a minute, in bursts of ten seconds' worth."""
        return cls(count=count, per=timedelta(minutes=1), burst=_burst(count / 6))

    @property
    def text(self) -> str:
        """The rate in words, for people."""
        return f"{self.count:g} in {self.per.total_seconds():g} s"

    def time_for(self, tokens: int) -> int:
        """Return the microseconds that so many tokens take to come, rounded up."""
        numerator, denominator = self.count.as_integer_ratio()
        return -(-tokens * (self.per // MICROSECOND) * denominator // numerator)

    def tokens_in(self, micros: int) -> int:
        """Return how many whole tokens come in so many microseconds."""
        numerator, denominator = self.count.as_integer_ratio()
        return micros * numerator // ((self.per // MICROSECOND) * denominator)


def _burst(count: float) -> int:
    return int(count) if 1 <= count <= MAX_PER_SECOND else 1  # what is out of range is refused with the count


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a bucket gave."""

    granted: int
    """Tokens taken."""
    full_at: int
    """The state to store; it need not be if nothing was granted."""
    next_at: int
    """When to ask again: now, if a token is left; else when enough are there to be worth asking for."""


def take(rate: Rate, full_at: int | None, *, now: int, wanted: int) -> Taken:
    """Take as many of `wanted` tokens as there are.

    In any time, at most its length times the rate, plus the burst, are granted. (Times are whole microseconds: for each
    token of the burst, what one microsecond brings may come on top, once; so the burst is as good one by one.)

    Two machines' clocks may differ by a minute: the slower one then waits until its clock is where the faster one's
    was. A state that lies further ahead can only come from a clock that was set back since, or from a rate that was
    lower: then the bucket counts as empty but for one token, rather than as empty for as long as the clock was wrong.

    Args:
        rate: the bucket's.
        full_at: its state, in microseconds of the same clock as `now`; None: nothing was taken yet.
        now: the time now, in microseconds.
        wanted: how many to take at most.
    """
    capacity = rate.burst * rate.time_for(1)
    full = now if full_at is None else max(full_at, now)
    if full > now + capacity + MAX_SKEW:
        full = now + capacity - rate.time_for(1)
    granted = max(0, min(wanted, rate.burst, rate.tokens_in(now + capacity - full)))
    full += rate.time_for(granted)
    empty_until = full - capacity  # a token is there once its own time has passed since
    worth = 1 if now >= empty_until + rate.time_for(1) else max(1, min(rate.burst, rate.tokens_in(USEFUL)))
    return Taken(granted=granted, full_at=full, next_at=max(now, empty_until + rate.time_for(worth)))
