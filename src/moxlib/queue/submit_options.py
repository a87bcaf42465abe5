"""What a submit is asked for beside the message, and what of it cannot be."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from moxlib.queue.config import QueueConfig, as_schedule
from moxlib.queue.dsn_request import DSNRequest
from moxlib.queue.errors import InvalidSchedule, InvalidSubmission
from moxlib.queue.schedule import MAX_WAIT, RetrySchedule
from moxlib.queue.selection import is_text
from moxlib.queue.sending import SendingLimits
from moxlib.queue.types import RequireTLS

__all__ = ["Options"]

MAX_ATTEMPTS = 1_000_000  # more than two years of one a minute; the history keeps them all in one row
MAX_KEY = 255  # characters of an idempotency key: a UUID, an order's number, an HTTP header's value
MAX_EXTRA = 64 * 1024  # characters of keys and values together: they travel with every event of the message
SECOND = timedelta(seconds=1)

_surrogate = re.compile(r"[\ud800-\udfff]").search  # what UTF-8 cannot encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `Queue.submit` was asked for, beside the message."""

    account: str = ""
    sender: str | None = None
    recipients: Sequence[str] | None = None
    extra: Mapping[str, str] | None = None
    schedule: str | RetrySchedule | None = None
    max_attempts: int | None = None
    transport: str | None = None
    require_tls: RequireTLS | None = None
    not_before: datetime | None = None
    idempotency_key: str | None = None
    idempotency_digest: bytes | None = None
    dsn: DSNRequest | None = None
    is_report: bool = False
    login: str | None = None
    fromid: bool | str | None = None
    keep_doubles: bool = False
    limits: SendingLimits | None = None

    def check(self, config: QueueConfig, now: datetime) -> None:
        """Check all that can be checked without the message.

        Raises:
            InvalidSubmission: one of them cannot be.
            InvalidSchedule: a schedule that is neither registered nor readable.
        """
        if self.schedule is not None:
            _check_schedule(self.schedule, config)
        if self.max_attempts is not None and self.max_attempts not in range(1, MAX_ATTEMPTS + 1):
            raise InvalidSubmission(f"max_attempts must be 1 to {MAX_ATTEMPTS:,}, not {self.max_attempts!r:.100}")
        if self.not_before is not None:
            _check_not_before(self.not_before, now)
        if self.extra:
            _check_extra(self.extra)
        if self.require_tls is not None and self.require_tls not in tuple(RequireTLS):
            raise InvalidSubmission(f"require_tls is one of {', '.join(RequireTLS)}, not {self.require_tls!r:.100}")
        if not isinstance(self.fromid, bool | str | None):
            raise InvalidSubmission(f"fromid is True, False, None or a text, not {self.fromid!r:.100}")
        if not _is_text(self.account):
            raise InvalidSubmission("the account must be a text, without NUL and lone surrogates")
        if self.transport is not None and not _is_text(self.transport):
            raise InvalidSubmission("the transport must be a text, without NUL and lone surrogates")
        key = self.idempotency_key
        if key is not None and not (_is_text(key) and 1 <= len(key) <= MAX_KEY):
            raise InvalidSubmission(
                f"an idempotency key must be a text of 1 to {MAX_KEY} characters, without NUL and lone surrogates"
            )


def _is_text(value: str) -> bool:
    """Say whether every database takes it as text: UTF-8, without NUL."""
    return is_text(value) and "\0" not in value


def _check_schedule(schedule: object, config: QueueConfig) -> None:
    if not isinstance(schedule, str | RetrySchedule):
        raise InvalidSubmission("a message's schedule is a text; register a function in QueueConfig.schedules")
    if isinstance(schedule, str):
        as_schedule(config.schedules.get(schedule, schedule))
    elif any(wait % SECOND for wait in schedule.waits):  # it is stored with the message as its text
        raise InvalidSchedule("a message's waits are whole seconds", repr(schedule)[:200])


def _check_not_before(not_before: datetime, now: datetime) -> None:
    if not_before.tzinfo is None:
        raise InvalidSubmission("not_before must be an aware datetime (with a time zone)")
    if not_before > now + MAX_WAIT:
        raise InvalidSubmission(f"not_before is more than {MAX_WAIT // timedelta(days=1)} days ahead")


def _check_extra(extra: Mapping[str, str]) -> None:
    for key, value in extra.items():
        if {type(key), type(value)} != {str}:
            raise InvalidSubmission(f"extra maps strings to strings; {key!r:.100} does not")
        if _surrogate(key) or _surrogate(value):
            raise InvalidSubmission(f"extra cannot hold lone surrogates; {key!a:.100} does")
    if sum(len(key) + len(value) for key, value in extra.items()) > MAX_EXTRA:
        raise InvalidSubmission(f"extra is larger than {MAX_EXTRA} characters")
