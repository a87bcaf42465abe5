"""The rules, a test for each clause of what they promise."""

from datetime import UTC, datetime, timedelta

import pytest

from moxlib.errors import InputError
from moxlib.queue import AttemptResult, ReplyClass, ResultKind
from moxlib.queue.suppression import (
    DEFAULT_POLICY,
    Cause,
    Complaint,
    Expiry,
    Failure,
    Origin,
    Past,
    PastKind,
    Spare,
    Suppress,
    SuppressionPolicy,
    decide,
    failures_in_a_row,
    judge,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MOX = SuppressionPolicy.mox()
REPLY, DSN, LOCAL = Origin.REPLY, Origin.DSN, Origin.LOCAL
DELIVERED, FAILED, BOUNCED = Past(kind=PastKind.DELIVERED), Past(kind=PastKind.FAILED), Past(kind=PastKind.BOUNCED)
CANCELED, SUPPRESSED = Past(kind=PastKind.CANCELED), Past(kind=PastKind.SUPPRESSED)


def failure(code: int, enhanced: str = "", command: str = "RCPT TO", origin: Origin = REPLY) -> Failure:
    return Failure(origin=origin, code=code, enhanced=enhanced, command="" if origin is not REPLY else command)


def suppresses(seen: Failure, *recent: Past, policy: SuppressionPolicy = DEFAULT_POLICY) -> bool:
    return decide(policy, seen, recent) is not None


# "replies to RCPT or DATA, and DSNs, with 521, 550, 551, 553, 556 or other 5xx and an enhanced code of
#  1.1, 1.2, 1.3, 1.6, 2.1 or 1.10"


@pytest.mark.parametrize("detail", ["1.1", "1.2", "1.3", "1.6", "2.1", "1.10"])
@pytest.mark.parametrize("code", [500, 521, 550, 551, 552, 553, 554, 556, 599])
def test_any_5xx_with_an_enhanced_code_that_says_no_mailbox(code: int, detail: str) -> None:
    assert suppresses(failure(code, f"5.{detail}"))
    assert suppresses(failure(code, f"5.{detail}", origin=DSN))


@pytest.mark.parametrize(
    "detail", ["1.0", "1.4", "1.5", "1.7", "1.8", "1.11", "2.0", "2.2", "2.3", "5.0", "6.0", "0.0"]
)
@pytest.mark.parametrize("code", [521, 550, 551, 553, 556, 554])
def test_not_with_another_enhanced_code(code: int, detail: str) -> None:
    assert not suppresses(failure(code, f"5.{detail}"))
    assert not suppresses(failure(code, f"5.{detail}", origin=DSN))


@pytest.mark.parametrize("code", [0, 250, 421, 450, 451, 452, 499, 600])
def test_not_with_another_class_of_code(code: int) -> None:
    assert not suppresses(failure(code, "5.1.1"))
    assert not suppresses(failure(code, "4.1.1", origin=DSN))


# "or those first five codes with no enhanced code"


@pytest.mark.parametrize("code", [521, 550, 551, 553, 556])
@pytest.mark.parametrize("enhanced", ["", "5", "5.1.1.1", "5.01.1", "x", "5.1. 1"])
def test_five_codes_alone(code: int, enhanced: str) -> None:
    assert suppresses(failure(code, enhanced))
    assert suppresses(failure(code, enhanced, origin=DSN))


@pytest.mark.parametrize("code", [500, 501, 503, 530, 552, 554, 555])
def test_no_other_code_alone(code: int) -> None:
    assert not suppresses(failure(code))


# "never X.7.x, X.3.x, X.4.x"


@pytest.mark.parametrize("enhanced", ["5.7.1", "5.7.26", "4.7.0", "5.3.0", "5.3.4", "5.4.1", "5.4.7"])
@pytest.mark.parametrize("code", [550, 554, 450])
@pytest.mark.parametrize("origin", [REPLY, DSN])
def test_never_on_policy_system_and_network(code: int, enhanced: str, origin: Origin) -> None:
    assert not suppresses(failure(code, enhanced, origin=origin), FAILED, FAILED, FAILED)


def test_and_such_failures_do_not_count_for_others() -> None:
    blocked = Past(kind=PastKind.FAILED, failure=failure(550, "5.7.1"))
    assert not suppresses(failure(552, "5.2.2"), blocked, blocked)
    assert suppresses(failure(552, "5.2.2"), blocked, FAILED, blocked, FAILED), "nor do they end a row"


# "not replies to MAIL FROM"


@pytest.mark.parametrize("command", ["MAIL FROM", "greeting", "EHLO", "AUTH", "STARTTLS"])
def test_not_on_replies_to_commands_that_are_not_about_the_recipient(command: str) -> None:
    assert not suppresses(failure(550, "5.1.1", command), FAILED, FAILED)


@pytest.mark.parametrize("command", ["RCPT TO", "DATA", "end of data"])
def test_on_replies_to_rcpt_and_data(command: str) -> None:
    assert suppresses(failure(550, "5.1.1", command))


# "not failures made here, save null MX"


@pytest.mark.parametrize(("code", "enhanced"), [(0, ""), (550, "5.1.1"), (550, ""), (556, ""), (554, "5.7.30")])
def test_not_on_failures_made_here(code: int, enhanced: str) -> None:
    assert not suppresses(failure(code, enhanced, origin=LOCAL), FAILED, FAILED)


def test_save_null_mx() -> None:
    null_mx = failure(556, "5.1.10", origin=LOCAL)
    decision = decide(DEFAULT_POLICY, null_mx)
    assert decision is not None
    assert decision.cause is Cause.REPLY_CODE
    assert "takes no mail" in decision.why
    assert not suppresses(null_mx, policy=SuppressionPolicy(null_mx=False))


# "and three failures in a row to that recipient from this account"


def test_three_failures_in_a_row() -> None:
    full = failure(552, "5.2.2")
    assert not suppresses(full)
    assert not suppresses(full, FAILED)
    decision = decide(DEFAULT_POLICY, full, [FAILED, FAILED, DELIVERED])
    assert decision is not None
    assert (decision.cause, decision.failures) == (Cause.IN_A_ROW, 3)
    assert not suppresses(full, FAILED, DELIVERED, FAILED), "a delivery ends the row"


def test_messages_that_ran_out_of_attempts_count() -> None:
    assert suppresses(failure(452, "4.2.2"), FAILED, FAILED)


def test_a_dsn_without_any_code_counts() -> None:
    assert suppresses(failure(0, origin=DSN), FAILED, FAILED)


# "bounces counted, cancelled and suppressed ones not"


def test_bounces_count() -> None:
    assert suppresses(failure(0, origin=DSN), BOUNCED, BOUNCED, DELIVERED)


def test_cancelled_and_suppressed_messages_are_passed_over() -> None:
    full = failure(552, "5.2.2")
    assert not suppresses(full, CANCELED, CANCELED)
    assert not suppresses(full, SUPPRESSED, SUPPRESSED)
    assert suppresses(full, CANCELED, FAILED, SUPPRESSED, FAILED, DELIVERED)
    assert not suppresses(full, CANCELED, FAILED, SUPPRESSED, DELIVERED, FAILED)


def test_no_more_of_the_past_is_read_than_needed() -> None:
    read = iter([FAILED, BOUNCED, DELIVERED, FAILED])
    assert failures_in_a_row(DEFAULT_POLICY, read) == 2
    assert next(read) in (DELIVERED, FAILED)
    assert failures_in_a_row(SuppressionPolicy(in_a_row=1), [FAILED]) == 0


# the rules are data


def test_the_row_can_be_longer_or_left_out() -> None:
    full = failure(552, "5.2.2")
    assert suppresses(full, policy=SuppressionPolicy(in_a_row=1))
    assert not suppresses(full, FAILED, FAILED, policy=SuppressionPolicy(in_a_row=4))
    assert not suppresses(full, FAILED, FAILED, policy=SuppressionPolicy(in_a_row=0))
    for in_a_row in (-1, 1001):
        with pytest.raises(InputError):
            SuppressionPolicy(in_a_row=in_a_row)


def test_classes_can_be_left_out() -> None:
    blocked = Failure(origin=REPLY, code=550, command="RCPT TO", reply_class=ReplyClass.REPUTATION)
    assert suppresses(blocked)
    assert not suppresses(blocked, policy=SuppressionPolicy(never_classes=frozenset((ReplyClass.REPUTATION,))))


def test_complaints_suppress_where_that_is_chosen() -> None:
    assert decide(DEFAULT_POLICY, Complaint()) is None
    decision = decide(SuppressionPolicy(complaints=True), Complaint())
    assert decision is not None
    assert (decision.cause, decision.failures) == (Cause.COMPLAINT, 0)


# mox's rule


def test_mox_takes_any_command_local_codes_and_policy() -> None:
    assert suppresses(failure(550, "5.7.1", "MAIL FROM"), policy=MOX)
    assert suppresses(failure(554, "5.7.1"), policy=MOX)
    assert suppresses(failure(556, "5.1.10", origin=LOCAL), policy=MOX)
    assert not suppresses(failure(554, "5.1.10"), policy=MOX)
    assert not suppresses(failure(552, "5.2.2"), policy=MOX)


def test_mox_counts_what_was_cancelled_and_suppressed_and_no_bounces() -> None:
    full = failure(552, "5.2.2")
    assert suppresses(full, CANCELED, SUPPRESSED, policy=MOX)
    assert suppresses(failure(554, "5.7.30", origin=LOCAL), FAILED, FAILED, policy=MOX)
    assert not suppresses(full, FAILED, BOUNCED, FAILED, policy=MOX)


@pytest.mark.parametrize("origin", [LOCAL, DSN])
def test_mox_does_not_count_failures_without_a_code(origin: Origin) -> None:
    assert not suppresses(failure(0, origin=origin), FAILED, FAILED, policy=MOX)


# why, in words


@pytest.mark.parametrize(
    ("seen", "recent", "words"),
    [
        (failure(550, "5.1.1"), (), "reply 550 5.1.1 to RCPT TO: enhanced code 5.1.1 with 550 suppresses at once"),
        (failure(551), (), "code 551 without an enhanced code"),
        (failure(550, "5.7.1"), (), "X.7.x is about the receiving system, the way there, or the sender"),
        (failure(550, command="MAIL FROM"), (), "not about the recipient"),
        (failure(0, origin=LOCAL), (), "local without a code: it was found on this side"),
        (failure(552, "5.2.2"), (FAILED,), "failure 2 in a row, and 3 suppress"),
        (failure(552, "5.2.2", origin=DSN), (FAILED, FAILED), "dsn 552 5.2.2: 3 failures in a row"),
    ],
)
def test_a_verdict_says_why(seen: Failure, recent: tuple[Past, ...], words: str) -> None:
    verdict = judge(DEFAULT_POLICY, seen, recent)
    assert words in verdict.why
    assert isinstance(verdict, Suppress | Spare)
    assert verdict.feedback is seen


# what an attempt says


def test_an_attempts_result_is_a_reply_where_a_command_was_answered() -> None:
    result = AttemptResult(
        attempt=1,
        kind=ResultKind.FAILED,
        started=NOW,
        code=550,
        enhanced="5.1.1",
        text="RCPT TO: no such user",
        command="RCPT TO",
        reply_class=ReplyClass.HARD,
    )
    seen = Failure.of_attempt(result)
    assert (seen.origin, seen.code, seen.command, seen.reply_class) == (REPLY, 550, "RCPT TO", ReplyClass.HARD)
    assert suppresses(seen)
    null_mx = AttemptResult(attempt=1, kind=ResultKind.FAILED, started=NOW, code=556, enhanced="5.1.10")
    assert Failure.of_attempt(null_mx).is_null_mx


# expiry


def test_a_suppression_lasts_longer_each_time() -> None:
    expiry = Expiry(first=timedelta(days=10), factor=3, max=timedelta(days=100))
    assert [expiry.duration(repeats).days for repeats in range(5)] == [10, 30, 90, 100, 100]
    assert expiry.duration(10**6) == timedelta(days=100)
    assert expiry.until(NOW, 1) == NOW + timedelta(days=30)


@pytest.mark.parametrize(
    ("first", "factor", "longest"),
    [(0, 2, 10), (-1, 2, 10), (11, 2, 10), (1, 0.5, 10), (1, float("nan"), 10), (1, 2, 40_000), (1, float("inf"), 10)],
)
def test_an_expiry_that_ends_too_early_or_never_is_refused(first: int, factor: float, longest: int) -> None:
    with pytest.raises(InputError):
        Expiry(first=timedelta(days=first), factor=factor, max=timedelta(days=longest))
