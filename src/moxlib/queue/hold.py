"""Which hold rule keeps a message back. Pure."""

from collections.abc import Iterable

from moxlib.queue.types import HoldRule

__all__ = ["first_match", "matches"]


def matches(rule: HoldRule, *, account: str, sender_domain: str, recipient_domain: str) -> bool:
    """Say whether all the rule's set fields match.

    Differs: mox holds queued mail when any set field matches; here all must, for new and queued mail alike.
    """
    return (
        rule.account in ("", account)
        and rule.sender_domain in ("", sender_domain)
        and rule.recipient_domain in ("", recipient_domain)
    )


def first_match(
    rules: Iterable[HoldRule], *, account: str, sender_domain: str, recipient_domain: str
) -> HoldRule | None:
    """Return the first rule that matches, or None."""
    for rule in rules:
        if matches(rule, account=account, sender_domain=sender_domain, recipient_domain=recipient_domain):
            return rule
    return None
