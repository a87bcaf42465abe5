"""What is told of errors: the caller's own, and of the server's only that it has trouble."""

import logging

import pytest

from moxlib.errors import InputError, LimitExceeded, StorageError
from moxlib.queue import IdempotencyConflict, MessageLimitReached, TooManyRecipients
from moxlib.webapi import Code, WebAPIError
from moxlib.webapi.mailbox import MailboxNotFound, MessageNotFound, OverQuota, PartNotFound
from moxlib.webapi.troubles import as_answer


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MessageNotFound(3), Code.MESSAGE_NOT_FOUND),
        (PartNotFound((1, 2), 1), Code.PART_NOT_FOUND),
        (MailboxNotFound("x"), Code.USER),
        (OverQuota(1), Code.SENT_OVER_QUOTA),
        (MessageLimitReached(1), Code.MESSAGE_LIMIT_REACHED),
        (IdempotencyConflict("k"), Code.IDEMPOTENCY_CONFLICT),
        (TooManyRecipients(1), Code.USER),
        (LimitExceeded(1, "x"), Code.MESSAGE_TOO_LARGE),
        (InputError("why"), Code.USER),
    ],
)
def test_the_callers_errors_are_told(error: Exception, code: Code, caplog: pytest.LogCaptureFixture) -> None:
    answer = as_answer(error, "doing it")
    assert (answer.code, answer.message) == (code, str(error))
    assert not caplog.records


def test_an_answer_stays_one() -> None:
    answer = WebAPIError(Code.BAD_FROM, "x")
    assert as_answer(answer, "doing it") is answer


def test_what_is_told_is_bounded_and_escaped() -> None:
    message = as_answer(InputError("\x1b" + "x" * 100_000), "doing it").message
    assert len(message) < 1100
    assert message.isprintable()


@pytest.mark.parametrize("error", [StorageError("/secret: disk"), OSError("/secret"), TimeoutError("/secret")])
def test_the_servers_troubles_are_logged_and_not_told(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    answer = as_answer(error, "doing it")
    assert (answer.code, answer.message) == (Code.SERVER, "doing it failed; try again later")
    assert "secret" in caplog.text
    assert all(record.levelno == logging.ERROR and record.exc_info is None for record in caplog.records)


def test_a_defect_is_logged_with_where_it_is(caplog: pytest.LogCaptureFixture) -> None:
    error = ZeroDivisionError("secret")
    answer = as_answer(error, "doing it")
    assert answer.code is Code.SERVER
    assert "secret" not in answer.message
    [record] = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is error
