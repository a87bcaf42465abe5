"""Suppressions as they are made, renewed, kept, lifted and told of."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from moxlib.queue.suppression import (
    Cause,
    Complaint,
    Evidence,
    Expiry,
    Failure,
    InvalidSuppression,
    Origin,
    Suppress,
    Suppression,
    SuppressionPolicy,
    add,
    decide,
    lifted_by,
    suppress,
)
from moxlib.smtp import parse_address

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
JANE = parse_address("Jane+Shop@example.org")
GONE = Failure(origin=Origin.REPLY, code=550, enhanced="5.1.1", command="RCPT TO", text="RCPT TO: no such user")
EXPIRING = SuppressionPolicy(expiry=Expiry(first=30 * DAY, factor=2, max=100 * DAY), remove_on_success=True)


def decision(policy: SuppressionPolicy, feedback: Failure | Complaint = GONE) -> Suppress:
    made = decide(policy, feedback)
    assert made is not None
    return made


def suppressed(
    policy: SuppressionPolicy, now: datetime, earlier: Suppression | None = None, evidence: Evidence | None = None
) -> Suppression:
    return suppress(
        decision(policy), account="shop", address=JANE, policy=policy, now=now, earlier=earlier, evidence=evidence
    )


def test_a_decision_becomes_a_suppression_with_its_evidence() -> None:
    made = suppressed(SuppressionPolicy(), NOW)
    assert (made.account, made.base_address, made.original_address) == (
        "shop",
        "jane@example.org",
        "Jane+Shop@example.org",
    )
    assert (made.since, made.expires, made.repeats, made.cause, made.manual) == (NOW, None, 0, Cause.REPLY_CODE, False)
    assert made.evidence == Evidence.of(GONE)
    assert made.evidence is not None
    assert made.evidence.summary == "550 5.1.1 RCPT TO: no such user"
    assert made.is_active(NOW + 10_000 * DAY)


def test_evidence_can_say_more_than_the_feedback() -> None:
    evidence = Evidence.of(GONE, message=17, attempt=1, message_id="<a@shop.example>", dsn_message_id="<b@mx.example>")
    made = suppressed(SuppressionPolicy(), NOW, evidence=evidence)
    assert made.evidence is evidence


def test_what_is_in_force_stays_as_it_is() -> None:
    first = suppressed(EXPIRING, NOW)
    assert suppressed(EXPIRING, NOW + DAY, earlier=first) is first


def test_what_expired_comes_back_for_longer() -> None:
    first = suppressed(EXPIRING, NOW)
    assert first.expires == NOW + 30 * DAY
    assert first.is_active(NOW + 30 * DAY - timedelta(microseconds=1))
    assert not first.is_active(NOW + 30 * DAY)
    second = suppressed(EXPIRING, NOW + 40 * DAY, earlier=first)
    assert (second.repeats, second.expires) == (1, NOW + 100 * DAY)
    third = suppressed(EXPIRING, NOW + 200 * DAY, earlier=second)
    assert (third.repeats, third.expires) == (2, NOW + 300 * DAY)


def test_what_somebody_added_lasts_unless_they_say_otherwise() -> None:
    made = add("shop", JANE, now=NOW, reason="asked on the phone")
    assert (made.cause, made.manual, made.expires, made.evidence) == (Cause.MANUAL, True, None, None)
    assert add("shop", JANE, now=NOW, cause=Cause.UNSUBSCRIBED).manual
    assert add("shop", JANE, now=NOW, expires=NOW + DAY).expires == NOW + DAY
    assert suppressed(EXPIRING, NOW + DAY, earlier=made) is made


def test_a_complaint_has_no_evidence_of_a_failure() -> None:
    policy = SuppressionPolicy(complaints=True)
    made = suppress(decision(policy, Complaint()), account="shop", address=JANE, policy=policy, now=NOW)
    assert (made.cause, made.evidence, made.manual) == (Cause.COMPLAINT, None, False)


def test_a_later_delivery_lifts_what_a_rule_made_where_that_is_chosen() -> None:
    made = suppressed(EXPIRING, NOW)
    assert lifted_by(EXPIRING, made, NOW + DAY)
    assert not lifted_by(EXPIRING, made, NOW)
    assert not lifted_by(replace(EXPIRING, remove_on_success=False), made, NOW + DAY)
    for cause in (Cause.MANUAL, Cause.UNSUBSCRIBED, Cause.IMPORTED, Cause.COMPLAINT):
        assert not lifted_by(EXPIRING, replace(made, cause=cause), NOW + DAY)


def test_a_dry_run_says_what_a_submit_would_meet_and_why() -> None:
    made = replace(suppressed(EXPIRING, NOW), repeats=2)
    assert made.explain(NOW + DAY) == (
        "jane@example.org (first seen as Jane+Shop@example.org) is suppressed since 2026-03-01 12:00 UTC until "
        "2026-03-31 12:00 UTC: reply-code; reply 550 5.1.1 to RCPT TO: enhanced code 5.1.1 with 550 suppresses at "
        "once; evidence: 550 5.1.1 RCPT TO: no such user; suppressed 2 times before"
    )
    assert " was suppressed " in made.explain(NOW + 50 * DAY)
    plain = add("shop", parse_address("jane@example.org"), now=NOW)
    assert plain.explain(NOW) == "jane@example.org is suppressed since 2026-03-01 12:00 UTC until it is removed: manual"


def test_what_a_peer_wrote_is_bounded_and_escaped() -> None:
    hostile = replace(GONE, text="no\r\nsuch\x1b[31m user\u202e \ud800" + "x" * 5000, enhanced="9" * 100, command="\n")
    evidence = Evidence.of(hostile)
    assert evidence.text.startswith("no\\r\\nsuch\\x1b[31m user\\u202e \\ud800xxx")
    assert (len(evidence.text), len(evidence.enhanced), evidence.command) == (500, 20, "\\n")
    assert replace(evidence) == evidence, "what is stored comes back as it was"


def test_nothing_that_a_peer_wrote_keeps_a_suppression_from_being_made() -> None:
    policy = SuppressionPolicy(commands=None)
    hostile = replace(GONE, enhanced="5.1.1\0\ud800", command="\0\r\nRCPT\ud800" * 500, text="\0\ud800" * 10_000)
    made = suppress(decision(policy, hostile), account="shop", address=JANE, policy=policy, now=NOW)
    assert made.reason.isprintable()
    assert len(made.reason) < 200
    assert made.explain(NOW).isprintable()


@pytest.mark.parametrize(
    "change",
    [
        {"base_address": ""},
        {"original_address": ""},
        {"since": NOW.replace(tzinfo=None)},
        {"expires": (NOW + DAY).replace(tzinfo=None)},
        {"expires": NOW},
        {"repeats": -1},
        {"reason": "x" * 1001},
        {"reason": "nul \0"},
        {"account": "\udc80"},
        {"account": "x" * 1025},
    ],
)
def test_a_suppression_that_could_not_be_stored_cannot_be_made(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidSuppression):
        replace(add("shop", JANE, now=NOW), **change)
