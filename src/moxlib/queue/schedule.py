"""When the next attempt is made: retry schedules as data, and the decision on them. Pure.

A schedule is the waits between attempts: `"7m30s, 15m, 30m"` is three waits and so four attempts at most;
`"1m, 5m*2, 1h*3"` repeats a wait. The wait after attempt n is the n-th; the schedule's end is the end of trying,
unless the message's own maximum of attempts comes first.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from moxlib.errors import InputError
from moxlib.queue.errors import InvalidSchedule
from moxlib.queue.types import AttemptResult, Message, ResultKind

__all__ = [
    "DELAYED_AFTER",
    "MOX_SCHEDULE",
    "RetrySchedule",
    "ScheduleFunction",
    "attempts_made",
    "check_reschedule",
    "delayed_dsn_due",
    "end_of_schedule",
    "next_attempt",
]

ScheduleFunction = Callable[[int], timedelta | None]
"""Given the number of attempts made (from 1), the wait before the next one; None gives up."""

MAX_WAITS = 1000  # a schedule is stored with each message that names one; more is a mistake
MAX_WAIT = timedelta(days=60)  # as long as FUTURERELEASE may defer (RFC 4865 leaves it open; mox: 60 days)
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)  # an earlier time says no more, and could be moved out of datetime's range
DELAYED_AFTER = timedelta(hours=1, minutes=45)  # of the default schedule, the fifth attempt: as mox, in time
MAX_FORGIVEN = 50  # interrupted attempts; a message that still ends its worker each time is the cause, not a victim
JITTER = 0.01  # each wait varies by about 1 %, so that a thousand messages deferred at once do not return at once

# An attempt of which nobody knows how it ended has not succeeded as far as is known; one that a dying worker
# interrupted tells nothing of the recipient's server.
_FAILED = frozenset((ResultKind.DEFERRED, ResultKind.UNKNOWN))

_WAIT = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?(?:\*(\d{1,4}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """The waits between attempts; valid by construction."""

    waits: tuple[timedelta, ...]

    def __post_init__(self) -> None:
        """Hold the limits on the number and the length of waits."""
        if len(self.waits) > MAX_WAITS:
            raise InvalidSchedule(f"more than {MAX_WAITS} waits", f"<{len(self.waits)} waits>")
        for position, wait in enumerate(self.waits, 1):
            if not timedelta(0) < wait <= MAX_WAIT:
                raise InvalidSchedule(f"a wait must be over 0 and at most {MAX_WAIT.days} days", str(wait), position)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `"7m30s, 15m, 1h*3"`: units d, h, m, s in that order, `*N` for N such waits in a row.

        An empty text is the schedule of a single attempt.

        Raises:
            InvalidSchedule: with the position of the part that cannot be read.
        """
        waits: list[timedelta] = []
        parts = text.split(",") if text.strip() else []
        for position, part in enumerate(parts, 1):
            match = _WAIT.fullmatch(part.strip())
            if match is None or not any(match.group(1, 2, 3, 4)):
                reason = f"{part.strip()[:40]!r} is not a wait like '7m30s' or '1h*3'"
                raise InvalidSchedule(reason, text[:200], position)
            days, hours, minutes, seconds = (int(n or 0) for n in match.group(1, 2, 3, 4))
            wait = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
            times = int(match.group(5) or 1)
            if times == 0 or len(waits) + times > MAX_WAITS:
                raise InvalidSchedule(f"a schedule has 1 to {MAX_WAITS} waits", text[:200], position)
            if not timedelta(0) < wait <= MAX_WAIT:
                reason = f"a wait must be over 0 and at most {MAX_WAIT.days} days"
                raise InvalidSchedule(reason, text[:200], position)
            waits += [wait] * times
        return cls(tuple(waits))

    def __str__(self) -> str:
        """Return the schedule as text that `parse` reads back to an equal one (to the second)."""
        parts: list[str] = []
        index = 0
        while index < len(self.waits):
            wait = self.waits[index]
            end = index
            while end < len(self.waits) and self.waits[end] == wait:
                end += 1
            parts.append(_wait_text(wait) + (f"*{end - index}" if end - index > 1 else ""))
            index = end
        return ", ".join(parts)

    def __call__(self, attempts: int) -> timedelta | None:
        """Return the wait after so many attempts (from 1); None at the schedule's end."""
        return self.waits[attempts - 1] if 1 <= attempts <= len(self.waits) else None

    @property
    def max_attempts(self) -> int:
        """How many attempts this schedule allows."""
        return len(self.waits) + 1


def _wait_text(wait: timedelta) -> str:
    minutes, seconds = divmod(int(wait.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = ((days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{number}{unit}" for number, unit in units if number)


MOX_SCHEDULE = RetrySchedule.parse("7m30s, 15m, 30m, 1h, 2h, 4h, 8h")
"""mox's waits: eight attempts over not quite sixteen hours."""


def attempts_made(message: Message) -> int:
    """Return how many attempts count against the message's schedule and maximum.

    Those that a dead worker left interrupted do not, up to a number: it had claimed hundreds of messages and begun few
    of them, and a few crashes must not make all of them fail untried.
    """
    if not message.results:
        return message.attempts
    interrupted = sum(result.kind is ResultKind.INTERRUPTED for result in message.results)
    return message.attempts - min(interrupted, MAX_FORGIVEN)


def next_attempt(
    schedule: ScheduleFunction,
    *,
    attempts: int,
    max_attempts: int,
    now: datetime,
    jitter: float,
    not_before: timedelta | None = None,
) -> datetime | None:
    """Return when to try again after `attempts` attempts, or None to give up.

    Args:
        schedule: the waits.
        attempts: attempts made so far, from 1.
        max_attempts: the message's own maximum.
        now: the end of the last attempt.
        jitter: -1 to 1; spreads the wait by as many hundredths.
        not_before: the peer's own wish, at least so long from now.

    Raises:
        InvalidSchedule: a schedule function raised, or returned a wait that is no wait.
    """
    wait = _wait_after(schedule, attempts, max_attempts)
    if wait is None:
        return None
    wait *= 1 + JITTER * max(-1.0, min(1.0, jitter))
    if not_before is not None:
        wait = max(wait, min(not_before, MAX_WAIT))
    return now.astimezone(UTC) + wait


def end_of_schedule(
    schedule: ScheduleFunction, *, attempts: int, max_attempts: int, next_attempt: datetime
) -> datetime:
    """Return when the last attempt will be made, if none succeeds: the Will-Retry-Until of a DSN (RFC 3464 2.3.9).

    It is the true end, to the jitter of the waits to come (about 1 %), and as long as nobody asks for later.

    Args:
        schedule: the waits.
        attempts: attempts made so far, from 1.
        max_attempts: the message's own maximum.
        next_attempt: when the next one is due, as `next_attempt` said.

    Raises:
        InvalidSchedule: as `next_attempt`.
    """
    end = next_attempt.astimezone(UTC)
    for attempt in range(attempts + 1, attempts + 1 + MAX_WAITS):
        if (wait := _wait_after(schedule, attempt, max_attempts)) is None:
            break
        end += wait
    return end


def delayed_dsn_due(
    *,
    queued: datetime,
    results: Sequence[AttemptResult],
    next_attempt: datetime | None,
    after: timedelta = DELAYED_AFTER,
) -> bool:
    """Say whether the "delayed" DSN goes out: after the first failed attempt so long after queueing, if not the last.

    Nothing has to be remembered: an earlier attempt for which this was true makes it false.

    Args:
        queued: when the message was queued; if it had to wait until a time asked for, that time.
        results: those of its attempts, the one that just failed at the end.
        next_attempt: when it is tried again; None: not at all, and "failed" is to be told.
        after: attempts that began this long after queueing.
    """
    late = [result.kind in _FAILED and result.started - queued >= after for result in results]
    return next_attempt is not None and late[-1:] == [True] and sum(late) == 1


def _wait_after(schedule: ScheduleFunction, attempts: int, max_attempts: int) -> timedelta | None:
    """Return the wait after so many attempts, without jitter; None: there is no further one.

    Raises:
        InvalidSchedule: see `next_attempt`.
    """
    if attempts >= max_attempts:
        return None
    try:
        wait: object = schedule(attempts)
    except Exception as error:
        reason = f"the schedule function raised {type(error).__name__} after attempt {attempts}"
        raise InvalidSchedule(reason, repr(schedule)) from error
    if wait is None:
        return None
    if not isinstance(wait, timedelta) or not timedelta(0) <= wait <= MAX_WAIT:
        raise InvalidSchedule(f"the schedule function returned {wait!r:.100} after attempt {attempts}", repr(schedule))
    return wait


def check_reschedule(at: datetime | None, by: timedelta | None, *, now: datetime) -> datetime | timedelta:
    """Return the time that an operator sets next attempts to, or the time they are moved by: the one that is given.

    Raises:
        InputError: neither or both, a naive time, or more than 60 days.
    """
    if at is not None and by is None:
        if at.tzinfo is None:
            raise InputError("at must be an aware datetime (with a time zone)")
        if at > now + MAX_WAIT:
            raise InputError(f"at is more than {MAX_WAIT.days} days ahead")
        return max(at, LONG_AGO)
    if by is None or at is not None:
        raise InputError("give either at= or by=")
    if not -MAX_WAIT <= by <= MAX_WAIT:
        raise InputError(f"by is more than {MAX_WAIT.days} days")
    return by
