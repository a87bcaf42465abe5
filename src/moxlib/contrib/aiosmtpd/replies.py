"""What is answered where something goes wrong: a reply for each error, in which nothing of a client breaks the line."""

import logging
from typing import Final

from moxlib.errors import InputError, LimitExceeded, MoxlibError, StorageError
from moxlib.queue.errors import MessageTooLarge, StorageFull, TooManyRecipients
from moxlib.queue.extra_headers import InvalidExtraHeader
from moxlib.queue.fromid import InvalidFromID
from moxlib.smtp import InvalidAddress

__all__ = ["refusal"]

log: logging.Logger = logging.getLogger("moxlib.contrib.aiosmtpd")

MAX_TEXT: Final = 300  # characters; a reply line has 512 octets (RFC 5321 4.5.3.1.5)


def refusal(error: MoxlibError) -> str:
    """Return the reply to a message that could not be taken: for good where the client is wrong, else for now."""
    match error:
        case InvalidFromID() | InvalidExtraHeader():
            return _reply(error.code, error.enhanced, error)
        case TooManyRecipients():
            return _reply(452, "4.5.3", error)
        case MessageTooLarge() | LimitExceeded():
            return _reply(552, "5.3.4", error)
        case InvalidAddress():
            return _reply(553, "5.1.3", error)
        case InputError():
            return _reply(554, "5.6.0", error)
        case StorageFull():
            log.error("mail was refused for now: %s", error)
            return "452 4.3.1 there is no space left, try again later"
        case StorageError():
            log.error("mail was refused for now: %s", error)
            return "451 4.3.0 it cannot be stored now, try again later"
        case _:
            log.error("mail was refused for now: %s", error)
            return "421 4.3.2 out of service, try again later"


def _reply(code: int, enhanced: str, error: Exception) -> str:
    return f"{code} {enhanced} {_line(str(error))}"


def _line(text: str) -> str:
    """Return a text as one line of printable ASCII."""
    text = " ".join(text.split())[:MAX_TEXT]
    return "".join(char if " " <= char <= "~" else ascii(char)[1:-1] for char in text)[:MAX_TEXT] or "refused"
