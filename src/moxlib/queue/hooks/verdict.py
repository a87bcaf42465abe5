"""What an answer to a webhook call means, and when the next attempt is. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final

from moxlib.queue.hooks.retry_after import read_retry_after
from moxlib.queue.schedule import RetrySchedule, next_attempt

__all__ = ["HOOK_SCHEDULE", "RATE_WAIT", "Disable", "Refused", "Retry", "Success", "Verdict", "judge", "next_call"]

HOOK_SCHEDULE: Final = RetrySchedule.parse("1m, 2m, 4m, 7m30s, 15m, 30m, 1h, 2h, 4h, 8h, 16h")
"""mox's waits between the attempts of a webhook: twelve attempts in 32 hours."""

RATE_WAIT: Final = timedelta(minutes=1)  # for a 429 that does not say how long: as the schedule's first wait
MAX_LOCATION: Final = 200  # characters of where a redirect led that are kept, for the history


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """The receiver has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """It failed; try again by the schedule."""

    after: timedelta | None = None
    """Not before so long from now, neither this call nor any other to this endpoint: the receiver asked for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A redirect, which is not followed: try again by the schedule. Somebody has to mend the URL."""

    location: str = ""
    """Where it led, escaped, and cut at 200 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disable:
    """The endpoint is gone for good (410): neither this call nor any other is to be made."""


Verdict = Success | Retry | Refused | Disable


def judge(status: int, headers: Mapping[str, str], *, now: datetime) -> Verdict:
    """Return what an answer means.

    Args:
        status: of HTTP.
        headers: the answer's; their names are compared in any case.
        now: when it came; aware.
    """
    if 200 <= status <= 299:  # noqa: PLR2004 - the class. Differs: mox takes 200 only for success
        return Success()
    if 300 <= status <= 399:  # noqa: PLR2004
        return Refused(location=_shown(_header(headers, "location")))
    match status:
        case HTTPStatus.GONE:
            return Disable()
        case HTTPStatus.TOO_MANY_REQUESTS:  # RFC 6585 4: it may say how long
            wait = read_retry_after(_header(headers, "retry-after"), now)
            return Retry(after=RATE_WAIT if wait is None else wait or None)
        case HTTPStatus.SERVICE_UNAVAILABLE:
            return Retry(after=read_retry_after(_header(headers, "retry-after"), now) or None)
        case _:
            return Retry()


def next_call(
    verdict: Retry | Refused, schedule: RetrySchedule, *, attempts: int, now: datetime, jitter: float
) -> datetime | None:
    """Return when to try again, or None when that was the last attempt.

    Args:
        verdict: of the last attempt.
        schedule: the waits.
        attempts: attempts made so far, from 1.
        now: the end of the last one; aware.
        jitter: -1 to 1; spreads the wait by as many hundredths.
    """
    return next_attempt(
        schedule,
        attempts=attempts,
        max_attempts=schedule.max_attempts,
        now=now,
        jitter=jitter,
        not_before=verdict.after if isinstance(verdict, Retry) else None,
    )


def _header(headers: Mapping[str, str], name: str) -> str:
    return next((value for key, value in headers.items() if key.lower() == name), "")


def _shown(text: str) -> str:
    return text[:MAX_LOCATION].encode("unicode_escape").decode("ascii")[:MAX_LOCATION]
