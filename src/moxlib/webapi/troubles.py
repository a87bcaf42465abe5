"""What the queue and the mailbox raise, as what a method answers with."""

import logging
from typing import Final

from moxlib.errors import InputError, LimitExceeded, MoxlibError
from moxlib.queue import (
    IdempotencyConflict,
    MessageLimitReached,
    MessageTooLarge,
    RecipientLimitReached,
    TooManyRecipients,
)
from moxlib.smtp import InvalidAddress
from moxlib.webapi.errors import Code, WebAPIError, shown
from moxlib.webapi.mailbox import MessageNotFound, OverQuota, PartNotFound

__all__ = ["as_answer"]

log: logging.Logger = logging.getLogger("moxlib.webapi")

_CODES: Final = (
    (MessageNotFound, Code.MESSAGE_NOT_FOUND),
    (PartNotFound, Code.PART_NOT_FOUND),
    (OverQuota, Code.SENT_OVER_QUOTA),
    (MessageLimitReached, Code.MESSAGE_LIMIT_REACHED),
    (RecipientLimitReached, Code.RECIPIENT_LIMIT_REACHED),
    (MessageTooLarge, Code.MESSAGE_TOO_LARGE),
    (IdempotencyConflict, Code.IDEMPOTENCY_CONFLICT),
    (InvalidAddress, Code.BAD_ADDRESS),
    (TooManyRecipients, Code.USER),
    (LimitExceeded, Code.MESSAGE_TOO_LARGE),
    (InputError, Code.USER),
)


def as_answer(error: Exception, doing: str) -> WebAPIError:
    """Return what a method answers with.

    What is the server's own is logged, and the caller learns only that it is: `doing` says at what.
    """
    if isinstance(error, WebAPIError):
        return error
    for class_, code in _CODES:
        if isinstance(error, class_):
            return WebAPIError(code, shown(str(error)))
    if isinstance(error, MoxlibError | OSError):
        log.error("%s failed: %s", doing, error)
    else:
        log.error("%s failed", doing, exc_info=error)
    return WebAPIError(Code.SERVER, f"{doing} failed; try again later")
