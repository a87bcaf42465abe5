"""Feedback that comes in by mail: what a bounce or a complaint says, and which messages it is about. Pure.

read_report(part, ...) -> ReceivedFeedback      what it says, as far as it can be told
attribute(report, matches, ...) -> Attribution  which of the messages it may be about it is about
"""

from moxlib.queue.feedback.attribute import About, Attribution, Candidate, attribute
from moxlib.queue.feedback.report import ReceivedFeedback, ReportedStatus, read_report

__all__ = ["About", "Attribution", "Candidate", "ReceivedFeedback", "ReportedStatus", "attribute", "read_report"]
