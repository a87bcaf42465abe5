"""What an SMTP client is answered: reply lines that nothing in them can break, and what errors become. Pure."""

import logging
import re
from collections.abc import Awaitable
from typing import Final, Self

from moxlib.errors import InputError, LimitExceeded, StorageError
from moxlib.message import InvalidMessage
from moxlib.queue import (
    IdempotencyConflict,
    InvalidSubmission,
    QueueClosed,
    StorageFull,
    TooManyRecipients,
)
from moxlib.queue.extra_headers import InvalidExtraHeader
from moxlib.queue.fromid import InvalidFromID
from moxlib.smtp import InvalidAddress

__all__ = ["Refused", "answered", "checked", "refusal", "reply"]

MAX_TEXT: Final = 400  # octets; with codes and CRLF it stays below a reply line's 512 (RFC 5321 4.5.3.1.5)

log: logging.Logger = logging.getLogger("moxlib.contrib.aiosmtpd")

# What errors are answered, the first that fits; an empty text stands for the error's own.
_REFUSALS: Final[tuple[tuple[type[Exception], int, str, str], ...]] = (
    (InvalidAddress, 553, "5.1.3", ""),  # RFC 3463: bad destination mailbox address syntax
    (TooManyRecipients, 452, "4.5.3", ""),  # RFC 5321 4.5.3.1.10: the rest in another transaction
    (LimitExceeded, 552, "5.3.4", ""),  # MessageTooLarge among them
    (InvalidMessage, 554, "5.6.0", ""),
    (InvalidSubmission, 554, "5.5.4", ""),
    (IdempotencyConflict, 554, "5.5.0", "another message was submitted under this idempotency key"),
    (QueueClosed, 451, "4.3.2", "the queue is closed; try again later"),
    (StorageFull, 452, "4.3.1", "no space to store this; try again later"),
    (StorageError, 451, "4.3.0", "this could not be stored; try again later"),
)

_not_plain = re.compile(r"[^ -~]")
_reply_line = re.compile(r"[245][0-9]{2}[ ][ -~]{1,500}").fullmatch


class Refused(InputError):
    """A command is refused.

    Attributes:
        code: the reply code.
        enhanced: the enhanced status code.
        text: why.
    """

    def __init__(self, code: int, enhanced: str, text: str) -> None:
        super().__init__(f"{code} {enhanced} {text}")
        self.code = code
        self.enhanced = enhanced
        self.text = text

    def __reduce__(self) -> tuple[type[Self], tuple[int, str, str]]:
        """Pickle by fields, not by text."""
        return type(self), (self.code, self.enhanced, self.text)


def reply(code: int, enhanced: str, text: str) -> str:
    """Return a reply of one line: what is not printable ASCII in the text is escaped, and it is cut to fit."""
    plain = _not_plain.sub(lambda match: match[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text)
    return f"{code} {enhanced} {plain[:MAX_TEXT]}"


def checked(line: str) -> str:
    """Return a reply that a host's own code gave.

    Raises:
        ValueError: it is none; it would break the dialogue.
    """
    if not _reply_line(line):
        raise ValueError(f"not one line of a reply such as '550 5.1.1 no such user': {line[:200]!a}")
    return line


def refusal(error: Exception) -> str:
    """Return the reply to a command that failed with an error.

    What the client could mend is refused for good, and says why. What is this side's trouble is logged, and answered so
    that the client tries again; of it the client learns no more than that.
    """
    if isinstance(error, Refused):
        return reply(error.code, error.enhanced, error.text)
    if isinstance(error, InvalidFromID | InvalidExtraHeader):
        return reply(error.code, error.enhanced, str(error))
    if isinstance(error, StorageError):
        log.warning("mail was not taken: %s", error)
    for kind, code, enhanced, text in _REFUSALS:
        if isinstance(error, kind):
            return reply(code, enhanced, text or str(error))
    log.error("mail was not taken", exc_info=error)
    return reply(451, "4.3.0", "local error; try again later")


async def answered(doing: Awaitable[str]) -> str:
    """Return the reply that `doing` comes to, whatever it raises; aiosmtpd would make a 500 of it, which is final."""
    try:
        return await doing
    except Exception as error:  # noqa: BLE001 - each becomes a reply; what is unforeseen is logged there
        return refusal(error)
