"""What a notification says for people to read. Pure."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from moxlib.dsn import Action
from moxlib.queue.notify.decide import Notice
from moxlib.queue.suppression.feedback import shown
from moxlib.queue.types import AttemptResult, ResultKind

__all__ = ["subject", "text"]

MAX_ANSWER: Final = 500  # characters of one attempt's answer: what people read of it; the history has more
MAX_NAME: Final = 255  # characters of an address or a host
MAX_SUBJECT: Final = 200
FIRST: Final = 3  # attempts told, of many: how it began,
LAST: Final = 12  # and how it went on since

_SUBJECT: Final = {
    Action.FAILED: "Not delivered",
    Action.DELAYED: "Delayed, still trying",
    Action.RELAYED: "Handed on",
    Action.DELIVERED: "Delivered",
}
_SUCCESS: Final = frozenset((Action.RELAYED, Action.DELIVERED))


def subject(notice: Notice) -> str:
    """Return a notification's subject: what happened, to which message."""
    about = shown(notice.message.subject, MAX_SUBJECT) or f"your message to {_recipient(notice)}"
    return f"{_SUBJECT[notice.action]}: {about}"


def text(notice: Notice, hostname: str) -> str:
    """Return a notification's text, with bare newlines: what happened and why, what comes, and what was tried."""
    message = notice.message
    paragraphs = [f"This is the mail system at {hostname}.", *_what(notice)]
    attempts = [result for result in notice.results if result.attempt > 0]
    if attempts and notice.action not in _SUCCESS:
        lines = "\n".join(_attempts(attempts))
        paragraphs.append(f"What was tried so far (times are in UTC):\n\n{lines}")
    facts = [("Subject", shown(message.subject, MAX_SUBJECT)), ("Message-ID", shown(message.message_id, MAX_SUBJECT))]
    about = [f"  {name}: {value}" for name, value in facts if value]
    about.append(f"  Queued: {_time(message.queued)}")
    paragraphs.append("The message was:\n\n" + "\n".join(about))
    return "\n\n".join(paragraphs) + "\n"


def _what(notice: Notice) -> Iterator[str]:
    recipient, result = _recipient(notice), notice.result
    if notice.action is Action.RELAYED:
        by = f" by {shown(result.peer, MAX_NAME)}" if result.peer else ""
        yield f"Your message to\n\n  {recipient}\n\nwas taken{by}, which does not report whether it delivers it."
        return
    if notice.action is Action.DELIVERED:
        yield f"Your message to\n\n  {recipient}\n\nwas delivered."
        return
    if notice.action is Action.DELAYED:
        yield f"Your message to\n\n  {recipient}\n\ncould not be delivered yet. {_why(result)}"
        until = f", the last time about {_time(notice.retry_until)}" if notice.retry_until else ""
        yield f"It will be tried again{until}. You need not send it again. If all fails, you will be told."
        return
    yield f"Your message to\n\n  {recipient}\n\ncould not be delivered. {_why(result)}"
    yield "It will not be tried again."


def _why(result: AttemptResult) -> str:
    answer = shown(result.summary, MAX_ANSWER)
    match result.kind:
        case ResultKind.SUPPRESSED:
            return f"Nothing was sent, as mail to this address is stopped here:\n\n  {answer}"
        case ResultKind.CANCELED:
            return f"It was taken out of the queue:\n\n  {answer}"
        case _ if result.command and result.peer:
            return f"The server {shown(result.peer, MAX_NAME)} answered:\n\n  {answer}"
        case _:
            return f"The reason:\n\n  {answer or 'not known'}"


def _attempts(results: Sequence[AttemptResult]) -> Iterator[str]:
    left_out = len(results) - FIRST - LAST
    for index, result in enumerate(results):
        if left_out > 0 and FIRST <= index < FIRST + left_out:
            if index == FIRST:
                yield f"  ({left_out} more)"
            continue
        by = f"{shown(result.peer, MAX_NAME)}: " if result.peer else ""
        yield f"  {result.attempt}. {_time(result.started)}, {by}{shown(result.summary, MAX_ANSWER) or result.kind}"


def _recipient(notice: Notice) -> str:
    return shown(notice.message.recipient, MAX_NAME)


def _time(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
