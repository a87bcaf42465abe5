"""Whether the sender of a message is told of what became of it. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from moxlib.dsn import Action
from moxlib.queue.config import QueueConfig
from moxlib.queue.dsn_request import Notify
from moxlib.queue.errors import InvalidSchedule
from moxlib.queue.schedule import attempts_made, delayed_dsn_due, end_of_schedule
from moxlib.queue.storage.settlement import Retire, Retry, Settlement
from moxlib.queue.types import AttemptResult, EventType, Message

__all__ = ["Notice", "notice_of", "operator_notice"]

# What NOTIFY has to name for it; where there is no NOTIFY, failures and delays are told (RFC 3461 4.1).
_ASKED: Final = {
    Action.FAILED: Notify.FAILURE,
    Action.DELAYED: Notify.DELAY,
    Action.RELAYED: Notify.SUCCESS,
    Action.DELIVERED: Notify.SUCCESS,
}
_BY_DEFAULT: Final = frozenset((Action.FAILED, Action.DELAYED))


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What is to be told of a message."""

    action: Action
    message: Message
    results: tuple[AttemptResult, ...]
    """Its attempts in order, the one that is told of at the end."""
    retry_until: datetime | None = None
    """Of a delay: when the last attempt will be made, if that is known."""

    @property
    def result(self) -> AttemptResult:
        """The attempt that is told of."""
        return self.results[-1]


def notice_of(settlement: Settlement, config: QueueConfig) -> Notice | None:
    """Return what a settlement lets its sender know; None for nothing."""
    match settlement:
        case Retire(event=EventType.DELIVERED, message=message, success=action):  # first, as nearly all are
            if action is None or not message.notify:
                return None
            return _wanted(Notice(action=action, message=message, results=_results(settlement)), config)
        case Retire(event=EventType.FAILED | EventType.SUPPRESSED, message=message):
            return _wanted(Notice(action=Action.FAILED, message=message, results=_results(settlement)), config)
        case Retry(delayed=True, hold=False):
            return _delayed(settlement, config)
        case _:
            return None


def operator_notice(message: Message, result: AttemptResult, config: QueueConfig) -> Notice | None:
    """Return what the sender of a message hears when an operator gives it up; None for nothing."""
    return _wanted(Notice(action=Action.FAILED, message=message, results=(*message.results, result)), config)


def _results(settlement: Retire | Retry) -> tuple[AttemptResult, ...]:
    return (*settlement.message.results, settlement.result)


def _delayed(settlement: Retry, config: QueueConfig) -> Notice | None:
    message, results = settlement.message, _results(settlement)
    # Neither the wait until a time that was asked for nor a hold is a delay on the way: it is counted from the first
    # attempt, and not from queueing.
    if not delayed_dsn_due(queued=results[0].started, results=results, next_attempt=settlement.next_attempt):
        return None
    until = _end(settlement, config)
    return _wanted(Notice(action=Action.DELAYED, message=message, results=results, retry_until=until), config)


def _end(settlement: Retry, config: QueueConfig) -> datetime | None:
    message = settlement.message
    try:
        schedule = config.schedule_for(
            named=message.schedule, account=message.account, recipient_domain=message.recipient_domain
        )
        return end_of_schedule(
            schedule,
            attempts=attempts_made(message),
            max_attempts=message.max_attempts,
            next_attempt=settlement.next_attempt,
        )
    except (InvalidSchedule, OverflowError):
        return None  # it is tried further, and nobody can say until when


def _wanted(notice: Notice, config: QueueConfig) -> Notice | None:
    message = notice.message
    if not message.sender or message.is_report or not config.dsn_for(message.account).enabled:
        return None  # an empty MAIL FROM is a notification's own, and answered by none (RFC 5321 4.5.5)
    if not message.notify:
        return notice if notice.action in _BY_DEFAULT else None
    return notice if _ASKED[notice.action] in message.notify.split(",") else None
