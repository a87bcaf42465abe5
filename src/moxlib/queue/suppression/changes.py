"""What becomes of an account's list: a suppression is made, renewed, kept, or lifted. Pure."""

from dataclasses import replace
from datetime import datetime

from moxlib.queue.suppression.base import BASE_RULES, BaseRules, base_address
from moxlib.queue.suppression.decision import Suppress
from moxlib.queue.suppression.entry import MAX_REASON, Cause, Evidence, Suppression
from moxlib.queue.suppression.feedback import Failure
from moxlib.queue.suppression.policy import SuppressionPolicy
from moxlib.smtp import Address, Path

__all__ = ["add", "lifted_by", "suppress"]


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


def lifted_by(policy: SuppressionPolicy, suppression: Suppression, delivered: datetime) -> bool:
    """Say whether a delivery to the address removes a suppression.

    Only a rule's own, and only one that was there before the delivery: what people asked for stays, and so does what a
    recipient who complained wants.
    """
    by_failure = suppression.cause in (Cause.REPLY_CODE, Cause.IN_A_ROW)
    return policy.remove_on_success and by_failure and delivered > suppression.since
