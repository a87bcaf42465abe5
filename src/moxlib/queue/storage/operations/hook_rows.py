"""Rows of webhooks to data and back."""

import json
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import TypeVar

from moxlib.queue.errors import StorageDamaged
from moxlib.queue.hooks.records import Hook, HookEndpoint, HookOutcome, HookResult, RetiredHook
from moxlib.queue.storage.operations.rows import micros, moment
from moxlib.queue.storage.tx import Row

__all__ = [
    "ENDPOINT_COLUMNS",
    "HOOK_COLUMNS",
    "RETIRED_HOOK_COLUMNS",
    "dump_hook_results",
    "endpoint_of",
    "hook_of",
    "load_hook_results",
    "retired_hook_of",
]

R = TypeVar("R")

HOOK_COLUMNS = """m.id, m.account, m.url, m.event_id, m.message, m.event, m.payload, m.queued, m.attempts,
    m.next_attempt, coalesce(m.claimed_at, m.last_attempt), m.owner, m.blocked, m.results"""
RETIRED_HOOK_COLUMNS = """m.id, m.account, m.url, m.event_id, m.message, m.event, m.payload, m.queued, m.finished,
    m.keep_until, m.outcome, m.attempts, m.last_attempt, m.results"""
ENDPOINT_COLUMNS = "url, disabled_since, disabled_why, slowed_until"

MAX_RESULTS = 50  # that are kept, the last ones: a webhook may be replayed, and then has as many attempts once more
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def _of_sound_rows(convert: Callable[[Row], R]) -> Callable[[Row], R]:
    """Let a row that this module never wrote be told as what it is: damage."""

    @wraps(convert)
    def checked(row: Row) -> R:
        try:
            return convert(row)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            text = f"webhook {row[0]!a:.40} of the database is damaged ({type(error).__name__}: {error!a:.200})"
            raise StorageDamaged(text) from error

    return checked


def dump_hook_results(results: tuple[HookResult, ...]) -> str:
    """Return results as JSON, an array each."""
    return _encode(
        [
            [
                r.attempt,
                micros(r.started),
                r.duration // timedelta(microseconds=1),
                r.status,
                r.text,
                r.error,
                int(r.interrupted),
            ]
            for r in results[-MAX_RESULTS:]
        ]
    )


def load_hook_results(text: str) -> tuple[HookResult, ...]:
    """Read results back."""
    if text == "[]":
        return ()
    return tuple(
        HookResult(
            attempt=attempt,
            started=moment(started),
            duration=timedelta(microseconds=duration),
            status=status,
            text=text,
            error=error,
            interrupted=bool(interrupted),
        )
        for attempt, started, duration, status, text, error, interrupted in json.loads(text)
    )


@_of_sound_rows
def hook_of(row: Row) -> Hook:
    """Return the webhook of a row of `HOOK_COLUMNS`."""
    (
        id_,
        account,
        url,
        event_id,
        message,
        event,
        payload,
        queued,
        attempts,
        next_attempt,
        last_attempt,
        owner,
        blocked,
        results,
    ) = row
    return Hook(
        id=id_,
        account=account,
        url=url,
        event_id=event_id,
        message=message,
        event=event,
        payload=payload,
        queued=moment(queued),
        attempts=attempts,
        next_attempt=moment(next_attempt),
        last_attempt=None if last_attempt is None else moment(last_attempt),
        in_flight=owner is not None,
        blocked=bool(blocked),
        results=load_hook_results(results),
    )


@_of_sound_rows
def retired_hook_of(row: Row) -> RetiredHook:
    """Return the webhook of a row of `RETIRED_HOOK_COLUMNS`."""
    (
        id_,
        account,
        url,
        event_id,
        message,
        event,
        payload,
        queued,
        finished,
        keep_until,
        outcome,
        attempts,
        last_attempt,
        results,
    ) = row
    return RetiredHook(
        id=id_,
        account=account,
        url=url,
        event_id=event_id,
        message=message,
        event=event,
        payload=payload,
        queued=moment(queued),
        finished=moment(finished),
        keep_until=moment(keep_until),
        outcome=HookOutcome(outcome),
        attempts=attempts,
        last_attempt=None if last_attempt is None else moment(last_attempt),
        results=load_hook_results(results),
    )


@_of_sound_rows
def endpoint_of(row: Row) -> HookEndpoint:
    """Return the endpoint of a row of `ENDPOINT_COLUMNS`."""
    url, disabled_since, disabled_why, slowed_until = row
    return HookEndpoint(
        url=url,
        disabled_since=None if disabled_since is None else moment(disabled_since),
        disabled_why=disabled_why,
        slowed_until=None if slowed_until is None else moment(slowed_until),
    )
