"""Feedback that comes in by mail: what a bounce or a complaint says, and which messages it is about. Pure.

read_report(part, ...) -> ReceivedFeedback      what it says, as far as it can be told
attribute(report, matches, ...) -> Attribution  which of the messages it may be about it is about
feedback_result(...), seen_by(result)           what the history keeps of it, and what it may suppress for
RecordedFeedback                                what became of it
"""

from moxlib.queue.feedback.attribute import About, Attribution, Candidate, attribute
from moxlib.queue.feedback.envelope import IncomingEnvelope, is_automated
from moxlib.queue.feedback.recorded import (
    MatchedBy,
    RecordedFeedback,
    RecordedResult,
    feedback_result,
    recorded_result,
    seen_by,
)
from moxlib.queue.feedback.report import ReceivedFeedback, ReportedStatus, read_report

__all__ = [
    "About",
    "Attribution",
    "Candidate",
    "IncomingEnvelope",
    "MatchedBy",
    "ReceivedFeedback",
    "RecordedFeedback",
    "RecordedResult",
    "ReportedStatus",
    "attribute",
    "feedback_result",
    "is_automated",
    "read_report",
    "recorded_result",
    "seen_by",
]
