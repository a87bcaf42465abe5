"""What becomes of a webhook after a call: the decision, and what is told to storage. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from moxlib.queue.hooks.caller import CallResult
from moxlib.queue.hooks.records import Hook, HookOutcome, HookResult
from moxlib.queue.hooks.verdict import Disable, Refused, Retry, Success, next_call
from moxlib.queue.schedule import RetrySchedule

__all__ = [
    "FALLBACK_WAIT",
    "HookDisable",
    "HookGiveBack",
    "HookMove",
    "HookRetire",
    "HookRetry",
    "HookSettlement",
    "attempts_made",
    "decide",
    "journalled_wait",
]

MAX_FORGIVEN = 20  # interrupted attempts; a webhook that still ends its worker each time is the cause, not a victim
FALLBACK_WAIT = timedelta(hours=1)  # after attempts that a schedule does not foresee: the last one was interrupted, say


@dataclass(frozen=True, slots=True, kw_only=True)
class HookRetire:
    """It is done: into the history, if that keeps it after `now`; the next one of its message may be called."""

    hook: Hook
    result: HookResult
    outcome: HookOutcome
    keep_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HookRetry:
    """It waits for its next attempt; with `slow_until`, nothing is sent to its endpoint before that."""

    hook: Hook
    result: HookResult
    next_attempt: datetime
    slow_until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HookDisable:
    """Its endpoint is gone: disable it, and log that. The webhook waits like all others, should it be enabled again."""

    hook: Hook
    result: HookResult
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HookGiveBack:
    """The call never began: it waits as before, and the attempt is not counted."""

    hook: Hook


@dataclass(frozen=True, slots=True, kw_only=True)
class HookMove:
    """Its account's webhook has another URL now: it is to go there, and the attempt is not counted."""

    hook: Hook
    url: str


HookSettlement = HookRetire | HookRetry | HookDisable | HookGiveBack | HookMove


def attempts_made(hook: Hook) -> int:
    """Return how many attempts count against the schedule, since it was queued or replayed.

    Those that a dead worker left do not, up to a number: it had claimed hundreds, and called few of them.
    """
    before = hook.attempts - 1  # the last one is under way
    recent = hook.results[-before:] if before else ()
    return hook.attempts - min(sum(result.interrupted for result in recent), MAX_FORGIVEN)


def decide(
    hook: Hook, call: CallResult, schedule: RetrySchedule, *, retention: timedelta, now: datetime, jitter: float
) -> HookSettlement:
    """Return what becomes of a webhook.

    Args:
        hook: as it was claimed.
        call: how the call ended.
        schedule: the waits between attempts.
        retention: how long it is kept when it is done.
        now: the end of the call.
        jitter: -1 to 1; spreads the wait by as many hundredths.
    """
    result = HookResult(
        attempt=hook.attempts,
        started=call.started,
        duration=call.duration,
        status=call.status,
        text=call.text.replace("\0", "\ufffd"),
        error=call.error.replace("\0", "\\0"),
    )
    match call.verdict:
        case Success():
            return HookRetire(hook=hook, result=result, outcome=HookOutcome.DELIVERED, keep_until=now + retention)
        case Disable():
            return HookDisable(hook=hook, result=result, why=result.error)
        case Retry() | Refused() as verdict:
            due = next_call(verdict, schedule, attempts=attempts_made(hook), now=now, jitter=jitter)
            if due is None:
                return HookRetire(hook=hook, result=result, outcome=HookOutcome.FAILED, keep_until=now + retention)
            after = verdict.after if isinstance(verdict, Retry) else None
            slow_until = None if after is None else now + after
            return HookRetry(hook=hook, result=result, next_attempt=due, slow_until=slow_until)
        case _:
            assert_never(call.verdict)


def journalled_wait(schedule: RetrySchedule, attempt: int) -> timedelta:
    """Return when the next attempt is to be, should nobody ever say how this one (from 1) ended."""
    return schedule(attempt) or FALLBACK_WAIT
