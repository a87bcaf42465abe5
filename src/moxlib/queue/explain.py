"""Why a message is where it is: `Explanation`. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from moxlib.queue import hold
from moxlib.queue.config import QueueConfig
from moxlib.queue.errors import InvalidSchedule
from moxlib.queue.schedule import attempts_made, next_attempt
from moxlib.queue.suppression import Suppression
from moxlib.queue.transport.base import Transport
from moxlib.queue.types import AttemptResult, EventType, HoldRule, Message, ResultKind, Retired
from moxlib.queue.worker.attempt import choose_transport

__all__ = ["Explanation", "State", "explain_message", "explain_retired"]

_UNKNOWN = (ResultKind.UNKNOWN, ResultKind.INTERRUPTED)
MAX_UPCOMING = 50  # attempts told ahead


class State(StrEnum):
    """Where a message is in its life."""

    WAITING = "waiting"
    """Its next attempt is in the future."""
    DUE = "due"
    """It could be attempted now: a worker will take it in its turn."""
    IN_FLIGHT = "in flight"
    HELD = "held"
    QUARANTINED = "quarantined"
    DELIVERED = "delivered"
    FAILED = "failed"
    SUPPRESSED = "suppressed"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What is known of one message, put so that a person understands it; `str()` gives it as lines of text."""

    id: int
    state: State
    reason: str
    """One sentence: what it waits for, or how it ended."""
    attempts: tuple[AttemptResult, ...]
    upcoming: tuple[datetime, ...]
    """When further attempts would be made if each were deferred, without jitter."""
    hold_rules: tuple[HoldRule, ...]
    """Rules in force that match it (they hold it again if it is submitted anew)."""
    transport: str
    """Which transport its next attempt takes, or its last one took; empty when there was none."""
    message: Message | Retired

    def __str__(self) -> str:
        """Return the explanation as lines of text."""
        lines = [f"message {self.id} to {self.message.recipient}: {self.state}", self.reason]
        for result in self.attempts:
            who = f"attempt {result.attempt}" if result.attempt else "operator"
            lines.append(f"{result.started:%Y-%m-%d %H:%M:%S} {who}: {result.kind} {result.summary}".rstrip())
        lines += [f"{moment:%Y-%m-%d %H:%M:%S} would be the next attempt" for moment in self.upcoming]
        return "\n".join(lines)


def explain_message(
    message: Message,
    *,
    rules: Sequence[HoldRule],
    config: QueueConfig,
    transports: Mapping[str, Transport],
    now: datetime,
    suppression: Suppression | None = None,
) -> Explanation:
    """Explain a queued message; `suppression` is what its account has on its recipient."""
    matching = tuple(
        rule
        for rule in rules
        if hold.matches(
            rule,
            account=message.account,
            sender_domain=message.sender_domain,
            recipient_domain=message.recipient_domain,
        )
    )
    state, reason = _state(message, matching, config, now)
    if suppression is not None and suppression.is_active(now) and not message.in_flight:
        reason = f"{reason}. Its next attempt will fail unsent: {suppression.explain(now)}"
    return Explanation(
        id=message.id,
        state=state,
        reason=reason,
        attempts=message.results,
        upcoming=_upcoming(message, config, now) if state in (State.WAITING, State.DUE) else (),
        hold_rules=matching,
        transport=choose_transport(message, config, transports),
        message=message,
    )


def explain_retired(retired: Retired) -> Explanation:
    """Explain a message of the history."""
    last = retired.results[-1] if retired.results else None
    how = f": {last.text}" if last is not None and last.text else ""
    count = f"{retired.attempts} attempt{'' if retired.attempts == 1 else 's'}"
    states = {
        EventType.DELIVERED: State.DELIVERED,
        EventType.FAILED: State.FAILED,
        EventType.SUPPRESSED: State.SUPPRESSED,
    }
    return Explanation(
        id=retired.id,
        state=states.get(retired.event, State.CANCELED),
        reason=f"{retired.event} at {retired.finished:%Y-%m-%d %H:%M:%S} UTC after {count}{how}",
        attempts=retired.results,
        upcoming=(),
        hold_rules=(),
        transport=next((result.transport for result in reversed(retired.results) if result.attempt), ""),
        message=retired,
    )


def _state(message: Message, matching: tuple[HoldRule, ...], config: QueueConfig, now: datetime) -> tuple[State, str]:
    if message.in_flight:
        return State.IN_FLIGHT, f"a worker has it: attempt {attempts_made(message)} of {message.max_attempts}"
    if message.quarantine:
        return State.QUARANTINED, f"its content is damaged, so it is not sent: {message.quarantine}"
    if message.hold:
        if matching:
            return State.HELD, f"held; it matches the rule {_rule_text(matching[0])}"
        if config.on_unknown == "hold" and message.results and message.results[-1].kind in _UNKNOWN:
            return State.HELD, "held: nobody knows how its last attempt ended; released, it is tried again"
        return State.HELD, "held until someone releases it"
    if message.next_attempt > now:
        which = f"attempt {attempts_made(message) + 1} of {message.max_attempts}"
        return State.WAITING, f"{which} is due at {message.next_attempt:%Y-%m-%d %H:%M:%S} UTC"
    return (
        State.DUE,
        f"due since {message.next_attempt:%Y-%m-%d %H:%M:%S} UTC; a worker takes it in its destination's turn",
    )


def _rule_text(rule: HoldRule) -> str:
    fields = {"account": rule.account, "sender domain": rule.sender_domain, "recipient domain": rule.recipient_domain}
    return ", ".join(f"{name} {value}" for name, value in fields.items() if value) or "everything"


def _upcoming(message: Message, config: QueueConfig, now: datetime) -> tuple[datetime, ...]:
    moments = [max(message.next_attempt, now)]
    try:
        schedule = config.schedule_for(
            named=message.schedule, account=message.account, recipient_domain=message.recipient_domain
        )
        made = attempts_made(message)
        for attempts in range(made + 1, made + MAX_UPCOMING):
            following = next_attempt(
                schedule, attempts=attempts, max_attempts=message.max_attempts, now=moments[-1], jitter=0.0
            )
            if following is None:
                break
            moments.append(following)
    except InvalidSchedule:
        return tuple(moments)
    return tuple(moments)
