"""What becomes of a message after an attempt: the decision on an outcome. Pure."""

from datetime import datetime, timedelta
from typing import assert_never

from moxlib._making import maker
from moxlib.dsn import Action
from moxlib.queue.config import QueueConfig
from moxlib.queue.errors import InvalidSchedule
from moxlib.queue.outcome import Deferred, Delivered, Failed, Outcome, Unknown
from moxlib.queue.reply_class import Classifier, ReplyClass
from moxlib.queue.schedule import attempts_made, next_attempt
from moxlib.queue.storage.settlement import Quarantine, Retire, Retry, Settlement
from moxlib.queue.suppression import Suppression
from moxlib.queue.types import AttemptResult, EventType, Message, ResultKind

__all__ = ["give_up", "interrupted", "quarantine", "settlement", "suppressed"]

MAX_TEXT = 2000  # characters of a reply kept in the history; a peer may send a hundred lines
MAX_DIALED = (
    50  # connections of one attempt that the history keeps; the last ones say what the next attempt wants to know
)
_make_result = maker(AttemptResult)
_make_retire = maker(Retire)
FALLBACK_WAIT = timedelta(hours=1)  # when a schedule cannot be used any more: the message must not be lost for that


def settlement(
    message: Message,
    outcome: Outcome,
    *,
    config: QueueConfig,
    transport: str,
    started: datetime,
    duration: timedelta,
    now: datetime,
    jitter: float,
    classifier: Classifier,
) -> Settlement:
    """Return the settlement of one recipient's outcome: history, or the next attempt."""
    match outcome:
        case Delivered():
            kind, wait = ResultKind.DELIVERED, None
        case Failed():
            kind, wait = ResultKind.FAILED, None
        case Deferred():
            kind, wait = ResultKind.DEFERRED, outcome.retry_after
        case Unknown():
            kind, wait = ResultKind.UNKNOWN, None
        case _:
            assert_never(outcome)
    result = _make_result(
        attempt=message.attempts,
        kind=kind,
        started=started,
        duration=duration,
        code=0 if isinstance(outcome, Unknown) else outcome.code,
        enhanced="" if isinstance(outcome, Unknown) else _storable(outcome.enhanced),
        text=_storable(outcome.text),
        transport=transport,
        peer=_storable(outcome.peer),
        command=_storable(outcome.command) if isinstance(outcome, Deferred | Failed) else "",
        reply_class=_class(outcome, classifier),
        dialed=tuple([(_storable(host), _storable(address)) for host, address in outcome.trace.dialed[-MAX_DIALED:]]),
        tls=_storable(outcome.trace.tls),
    )
    if isinstance(outcome, Delivered):
        return _retire(message, result, EventType.DELIVERED, config, now, success=_success(outcome))
    if kind is ResultKind.FAILED:
        return _retire(message, result, EventType.FAILED, config, now)
    hold = kind is ResultKind.UNKNOWN and config.on_unknown == "hold"
    return _retry(message, result, config=config, now=now, jitter=jitter, wait=wait, hold=hold)


def _success(outcome: Delivered) -> Action | None:
    """Return what is told of a delivery to whoever asked: RFC 3461 5.2.2 and 5.2.3; None where the server tells it."""
    if outcome.dsn:
        return None
    if outcome.final:
        return Action.DELIVERED
    return Action.RELAYED if outcome.dsn is False else None


def _class(outcome: Outcome, classifier: Classifier) -> ReplyClass | None:
    if isinstance(outcome, Deferred | Failed):
        return classifier.classify(outcome.code, outcome.enhanced, outcome.text, command=outcome.command)
    return None


def _storable(text: str) -> str:
    """Return a transport's text as a database takes it: bounded, in UTF-8, without NUL."""
    if not text:
        return text
    text = text[:MAX_TEXT]
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    return text.replace("\0", "\\0")


def interrupted(
    message: Message, *, config: QueueConfig, transport: str, started: datetime, now: datetime, jitter: float
) -> Settlement:
    """Return the settlement of an attempt that was cancelled: nobody knows how far it got."""
    result = AttemptResult(
        attempt=message.attempts,
        kind=ResultKind.INTERRUPTED,
        started=started,
        duration=now - started,
        text="the attempt was cancelled while the worker shut down",
        transport=transport,
    )
    hold = config.on_unknown == "hold"
    return _retry(message, result, config=config, now=now, jitter=jitter, wait=None, hold=hold)


def give_up(message: Message, *, config: QueueConfig, now: datetime) -> Settlement:
    """Return the settlement of a message whose attempts were interrupted too often: there is no further one."""
    interrupted = sum(result.kind is ResultKind.INTERRUPTED for result in message.results)
    text = f"gave up: {interrupted} attempts were interrupted"
    result = AttemptResult(attempt=message.attempts, kind=ResultKind.FAILED, started=now, text=text)
    return _retire(message, result, EventType.FAILED, config, now)


def suppressed(message: Message, suppression: Suppression, *, config: QueueConfig, now: datetime) -> Settlement:
    """Return the settlement of a message whose recipient is suppressed: nothing is sent."""
    result = AttemptResult(
        attempt=message.attempts, kind=ResultKind.SUPPRESSED, started=now, text=_storable(suppression.explain(now))
    )
    return _retire(message, result, EventType.SUPPRESSED, config, now)


def quarantine(message: Message, *, reason: str, transport: str, now: datetime) -> Settlement:
    """Return the settlement of a message whose content is damaged."""
    result = AttemptResult(
        attempt=message.attempts,
        kind=ResultKind.QUARANTINED,
        started=now,
        text=reason[:MAX_TEXT],
        transport=transport,
    )
    return Quarantine(message=message, result=result)


def _retry(
    message: Message,
    result: AttemptResult,
    *,
    config: QueueConfig,
    now: datetime,
    jitter: float,
    wait: timedelta | None,
    hold: bool,
) -> Settlement:
    try:
        schedule = config.schedule_for(
            named=message.schedule, account=message.account, recipient_domain=message.recipient_domain
        )
        due = next_attempt(
            schedule,
            attempts=attempts_made(message),
            max_attempts=message.max_attempts,
            now=now,
            jitter=jitter,
            not_before=wait,
        )
    except InvalidSchedule:
        # The schedule the message names is no longer registered, or its function fails: keep trying until max_attempts.
        due = None if attempts_made(message) >= message.max_attempts else now + FALLBACK_WAIT
    if due is None and result.kind is ResultKind.INTERRUPTED:
        due = now + FALLBACK_WAIT  # it was the worker's end, not an attempt's, so the message has another one
    if due is None and not hold:
        return _retire(message, result, EventType.FAILED, config, now)
    hook = config.hook_plan(message.account, EventType.DELAYED)
    return Retry(message=message, result=result, next_attempt=due or now, hold=hold, delayed=True, hook=hook)


def _retire(
    message: Message,
    result: AttemptResult,
    event: EventType,
    config: QueueConfig,
    now: datetime,
    *,
    success: Action | None = None,
) -> Settlement:
    account = message.account
    return _make_retire(
        message=message,
        result=result,
        event=event,
        keep_until=now + config.retention(account),
        forget_at=now + config.keep_feedback,
        policy=config.suppression_for(account),
        success=success,
        hook=config.hook_plan(account, event),
    )
