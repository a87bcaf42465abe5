"""The decision: whether what was seen of a recipient suppresses it, and why or why not. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import assert_never

from moxlib.queue.suppression.entry import Cause
from moxlib.queue.suppression.feedback import Complaint, Failure, Feedback, Past
from moxlib.queue.suppression.policy import SuppressionPolicy

__all__ = ["Spare", "Suppress", "Verdict", "decide", "failures_in_a_row", "judge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppress:
    """The address is to be suppressed."""

    cause: Cause
    why: str
    """A sentence for people, the reason that the suppression carries."""
    feedback: Feedback
    """What decided."""
    failures: int
    """In a row, this one included; 1 where the feedback alone decides, 0 for a complaint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spare:
    """The address is not to be suppressed."""

    why: str
    """A sentence for people."""
    feedback: Feedback
    failures: int = 0
    """In a row, this one included; 0 where it does not count."""


Verdict = Suppress | Spare


def decide(policy: SuppressionPolicy, feedback: Feedback, recent: Iterable[Past] = ()) -> Suppress | None:
    """Return what to do about a recipient, or None for nothing; see `judge`, which says why in both cases."""
    verdict = judge(policy, feedback, recent)
    return verdict if isinstance(verdict, Suppress) else None


def judge(policy: SuppressionPolicy, feedback: Feedback, recent: Iterable[Past] = ()) -> Verdict:
    """Say whether what was seen of a recipient suppresses it, and why.

    Args:
        policy: the rules.
        feedback: how a message ended, once that is final; do not ask about attempts that will be repeated.
        recent: how this account's earlier messages to the recipient ended, the latest first, without the one that the
            feedback is about. Read only as far as it is needed.
    """
    match feedback:
        case Complaint():
            if policy.complaints:
                why = "the recipient complained"
                return Suppress(cause=Cause.COMPLAINT, why=why, feedback=feedback, failures=0)
            return Spare(why="complaints do not suppress by this policy", feedback=feedback)
        case Failure():
            return _judge_failure(policy, feedback, recent)
        case _:
            assert_never(feedback)


def _judge_failure(policy: SuppressionPolicy, failure: Failure, recent: Iterable[Past]) -> Verdict:
    if nothing := policy.says_nothing(failure):
        return Spare(why=f"{failure.summary}: {nothing}", feedback=failure)
    if what := policy.at_once(failure):
        why = f"{failure.summary}: {what} suppresses at once"
        return Suppress(cause=Cause.REPLY_CODE, why=why, feedback=failure, failures=1)
    if not policy.in_a_row:
        return Spare(why=f"{failure.summary}: it does not suppress at once", feedback=failure, failures=1)
    failures = 1 + failures_in_a_row(policy, recent)
    if failures < policy.in_a_row:
        why = f"{failure.summary}: failure {failures} in a row, and {policy.in_a_row} suppress"
        return Spare(why=why, feedback=failure, failures=failures)
    why = f"{failure.summary}: {failures} failures in a row"
    return Suppress(cause=Cause.IN_A_ROW, why=why, feedback=failure, failures=failures)


def failures_in_a_row(policy: SuppressionPolicy, recent: Iterable[Past]) -> int:
    """Return how many of the latest outcomes are failures that count, up to one less than suppress.

    Args:
        policy: says what counts, what ends the row, and so what is passed over.
        recent: the latest first.
    """
    count = 0
    for past in recent:
        if count >= policy.in_a_row - 1 or past.kind in policy.ends_row:
            break
        if past.kind in policy.counted and not (past.failure is not None and policy.says_nothing(past.failure)):
            count += 1
    return count
