"""What becomes of an account's list: a suppression is made, renewed, kept, or lifted. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from moxlib.queue.suppression.base import BASE_RULES, BaseRules, base_address
from moxlib.queue.suppression.decision import Suppress, decide
from moxlib.queue.suppression.entry import MAX_REASON, Cause, Evidence, Suppression
from moxlib.queue.suppression.feedback import Failure, Feedback, Past
from moxlib.queue.suppression.policy import SuppressionPolicy
from moxlib.queue.types import Message, Retired
from moxlib.smtp import Address, Path, parse_path

__all__ = ["add", "lifted_by", "suppress", "suppression_by"]


def add(
    account: str,
    address: Address | Path,
    *,
    now: datetime,
    rules: BaseRules = BASE_RULES,
    cause: Cause = Cause.MANUAL,
    reason: str = "",
    expires: datetime | None = None,
) -> Suppression:
    """Return a suppression that somebody asked for.

    Args:
        account: whose messages are meant.
        address: the recipient.
        now: since when.
        rules: those of the policy, `SuppressionPolicy.base`.
        cause: who asked.
        reason: for people.
        expires: until when; None: until it is removed.

    Raises:
        InvalidSuppression: see `Suppression`.
    """
    return Suppression(
        account=account,
        base_address=str(base_address(address, rules)),
        original_address=str(address),
        since=now,
        cause=cause,
        reason=reason,
        expires=expires,
    )


def suppress(
    decision: Suppress,
    *,
    account: str,
    address: Address | Path,
    policy: SuppressionPolicy,
    now: datetime,
    evidence: Evidence | None = None,
    earlier: Suppression | None = None,
) -> Suppression:
    """Return the suppression to have after a decision.

    Args:
        decision: what `decide` returned.
        account: whose messages are meant.
        address: the recipient.
        policy: gives the base address and the expiry.
        now: the time of the feedback.
        evidence: by default, what the feedback itself says.
        earlier: what this account has on the base address, expired or not.

    Returns:
        `earlier`, the same object, while that is in force: the first evidence stays. Else a new one, which counts how
        often there was one before, and lasts the longer for it.
    """
    if earlier is not None and earlier.is_active(now):
        return earlier
    repeats = 0 if earlier is None else earlier.repeats + 1
    if evidence is None and isinstance(decision.feedback, Failure):
        evidence = Evidence.of(decision.feedback, failures=decision.failures)
    made = add(account, address, now=now, rules=policy.base, cause=decision.cause, reason=decision.why[:MAX_REASON])
    expires = policy.expiry.until(now, repeats) if policy.expiry is not None else None
    return replace(made, evidence=evidence, repeats=repeats, expires=expires)


def suppression_by(
    feedback: Feedback,
    message: Message | Retired,
    *,
    policy: SuppressionPolicy,
    recent: Iterable[Past],
    earlier: Callable[[], Suppression | None],
    now: datetime,
    attempt: int | None = None,
    dsn_message_id: str = "",
) -> Suppression | None:
    """Return the new suppression that comes of what was seen of a message's recipient; None for none.

    Args:
        feedback: how the message ended, or what came in about it.
        message: the message.
        policy: the rules of its account.
        recent: how earlier messages to the recipient ended, the latest first, without this one; read only if needed.
        earlier: returns what the account has on the base address, expired or not; asked only if needed.
        now: the time of the feedback.
        attempt: of the message, where one told.
        dsn_message_id: the Message-ID of the mail that told.
    """
    decision = decide(policy, feedback, recent)
    if decision is None:
        return None
    evidence = None
    if isinstance(feedback, Failure):
        evidence = Evidence.of(
            feedback,
            failures=decision.failures,
            message=message.id,
            attempt=attempt,
            message_id=message.message_id,
            dsn_message_id=dsn_message_id,
        )
    there = earlier()
    made = suppress(
        decision,
        account=message.account,
        address=parse_path(message.recipient),
        policy=policy,
        now=now,
        evidence=evidence,
        earlier=there,
    )
    return None if made is there else made


def lifted_by(policy: SuppressionPolicy, suppression: Suppression, delivered: datetime) -> bool:
    """Say whether a delivery to the address removes a suppression.

    Only a rule's own, and only one that was there before the delivery: what people asked for stays, and so does what a
    recipient who complained wants.
    """
    by_failure = suppression.cause in (Cause.REPLY_CODE, Cause.IN_A_ROW)
    return policy.remove_on_success and by_failure and delivered > suppression.since
