"""What becomes of feedback: what the history keeps of it, what it says of the recipient, and what its sender hears.

Pure.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from moxlib.queue.feedback.attribute import About
from moxlib.queue.feedback.report import ReceivedFeedback, ReportedStatus
from moxlib.queue.suppression import Complaint, Failure, Feedback
from moxlib.queue.types import EventType, FeedbackResult

__all__ = ["MatchedBy", "RecordedFeedback", "RecordedResult", "feedback_result", "recorded_result", "seen_by"]

MatchedBy = Literal["", "fromid", "envid", "message-id"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedResult:
    """One message, and what was told of it."""

    message: int
    account: str
    recipient: str
    result: FeedbackResult
    certain: bool
    """The report names the message's recipient; else nobody was suppressed for it."""
    recorded: bool
    """It is new; False: the same report had told it before, or there is too much already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFeedback:
    """What became of feedback that was handed in."""

    by: MatchedBy = ""
    """What its messages were found by; "": none was."""
    recorded: tuple[RecordedResult, ...] = ()
    """In order of message id."""
    unmatched: tuple[ReportedStatus, ...] = ()
    """What it says of recipients that no message was to."""


def feedback_result(
    report: ReceivedFeedback, status: ReportedStatus, *, now: datetime, suppressing: bool = False
) -> FeedbackResult:
    """Return what the history keeps of one recipient's status; texts as a database takes them."""
    return FeedbackResult(
        at=now,
        event=status.event,
        source=report.source,
        digest=report.digest,
        code=status.code,
        enhanced=status.enhanced,
        text=_storable(status.text),
        reply_class=status.reply_class,
        recipient=_storable(status.address),
        reporter=_storable(report.reporter),
        report_id=_storable(report.report_id),
        suppressing=suppressing,
    )


def recorded_result(about: About, result: FeedbackResult, *, recorded: bool) -> RecordedResult:
    """Return what is told of one message to who handed the report in."""
    message = about.message
    return RecordedResult(
        message=message.id,
        account=message.account,
        recipient=message.recipient,
        result=result,
        certain=about.certain,
        recorded=recorded,
    )


def seen_by(result: FeedbackResult) -> Feedback | None:
    """Return what may suppress a recipient: a failure or a complaint; None for anything else."""
    match result.event:
        case EventType.FAILED:
            return Failure.of_feedback(result)
        case EventType.COMPLAINED:
            return Complaint(text=result.text)
        case _:
            return None


def _storable(text: str) -> str:
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode()
    return text.replace("\0", "\\0")
