"""What `MemoryStorage` does with feedback: finds the messages it is about, and adds it to them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from moxlib.queue.feedback import (
    About,
    Candidate,
    ReceivedFeedback,
    RecordedFeedback,
    RecordedResult,
    attribute,
    feedback_result,
    recorded_result,
    seen_by,
)
from moxlib.queue.hooks.records import PlanFor
from moxlib.queue.storage.base import MAX_FEEDBACK, Matches, PolicyFor
from moxlib.queue.suppression import SuppressionPolicy
from moxlib.queue.types import EventType, FeedbackResult, Message
from moxlib.testing._memory_state import State

__all__ = ["match", "record"]


def match(state: State, *, fromids: Sequence[str] = (), envid: str = "", message_id: str = "") -> Matches:
    """Return the messages that feedback may be about."""
    known = _known(state)
    by_fromid = {state.fromids[fromid] for fromid in fromids if fromid in state.fromids}
    if found := [m for m in known if m.id in by_fromid]:
        return replace(_matches(found), by="fromid", alone=len(by_fromid) == 1)
    if envid and (found := [m for m in known if m.envid == envid]):
        return replace(_matches(found), by="envid", alone=_submitted(state, found) == 1)
    if message_id and (found := [m for m in known if m.message_id == message_id]):
        return replace(_matches(found), by="message-id", alone=_submitted(state, found) == 1)
    return Matches()


def _known(state: State) -> list[Candidate]:
    return [*state.messages.values(), *state.retired.values()]


def _matches(found: Iterable[Candidate]) -> Matches:
    ordered = sorted(found, key=lambda m: m.id)
    queued = tuple([m for m in ordered if isinstance(m, Message)])
    return Matches(queued=queued, retired=tuple([m for m in ordered if not isinstance(m, Message)]))


def _submitted(state: State, found: Iterable[Candidate]) -> int:
    return sum(state.recipients[base_id] for base_id in {m.base_id for m in found})


def record(
    state: State,
    report: ReceivedFeedback,
    *,
    account: str | None,
    policy_for: PolicyFor,
    plan_for: PlanFor,
    now: datetime,
) -> RecordedFeedback:
    """Add what a report says to the messages it is about."""
    found = match(state, fromids=report.fromids, envid=report.envid, message_id=report.message_id)
    if any(m.message_id == report.report_id and not m.sender for m in _known(state)):
        return RecordedFeedback()  # it was written here
    known: list[Candidate] = [*found.queued, *found.retired]
    candidates = [m for m in known if account in (None, m.account)]
    attribution = attribute(report, candidates, alone=found.alone)
    told: list[RecordedResult] = []
    for about in attribution.about:
        message = about.message
        result = feedback_result(report, about.status, now=now)
        recorded = len(message.feedback) < MAX_FEEDBACK and all(r.digest != report.digest for r in message.feedback)
        if recorded:
            suppressing = _judge(state, about, result, policy_for(message.account))
            result = replace(result, suppressing=suppressing)
            _append(state, message, result)
            plan = plan_for(message.account, result.event)
            state.log(result.event, message, result, now, suppressing=suppressing, hook=plan)
        told.append(recorded_result(about, result, recorded=recorded))
    return RecordedFeedback(by=found.by if told else "", recorded=tuple(told), unmatched=attribution.unmatched)


def _append(state: State, message: Candidate, result: FeedbackResult) -> None:
    feedback = (*message.feedback, result)
    if message.id in state.messages:
        state.messages[message.id] = replace(state.messages[message.id], feedback=feedback)
    else:
        state.retired[message.id] = replace(state.retired[message.id], feedback=feedback)


def _judge(state: State, about: About, result: FeedbackResult, policy: SuppressionPolicy) -> bool:
    message = about.message
    if not message.base_address or not about.certain:
        return False
    seen = seen_by(result)
    if seen is not None:
        return state.judge(message, seen, policy, now=result.at, dsn_message_id=result.report_id)
    if result.event is EventType.DELIVERED:
        state.lift(message, policy, result.at)
    return False
