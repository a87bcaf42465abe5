"""What calls of the webapi raise.

Below the roots of `moxlib.errors`::

    MoxlibError   └── WebAPIError          the method answered with an error: `code` says which, for programs
    RemoteError   └── CallError            there is no answer of the method's at all (method: which one)
                      ├── CallFailed       the server could not be reached, or the connection ended
                      ├── CallTimeout      it took too long (seconds; also a TimeoutError)
                      ├── Unauthorized     401: the address, the password, or a login that is disabled
                      ├── UnknownMethod    404: the server has no such method, or nothing at this address
                      ├── TooManyRequests  429: too many failed logins (retry_after)
                      ├── UnexpectedStatus any other status (status, text)
                      └── InvalidAnswer    the answer is not what this method answers (reason)

Where a call ended without an answer, the server may have done what it was to do. An idempotency key makes it safe to
send again.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from moxlib.errors import MoxlibError, RemoteError

__all__ = [
    "CallError",
    "CallFailed",
    "CallTimeout",
    "Code",
    "InvalidAnswer",
    "TooManyRequests",
    "Unauthorized",
    "UnexpectedStatus",
    "UnknownMethod",
    "WebAPIError",
]

MAX_TEXT: Final = 1000  # characters of a peer's text that errors show


class Code(StrEnum):
    """What went wrong, for programs. Servers may have more codes than these."""

    USER = "user"
    """The request cannot be done as it is; the message says why."""
    SERVER = "server"
    """The server's own trouble: the same request may do later."""
    PROTOCOL = "protocol"
    """It is no request of this method's: not JSON, an unknown field, a value of another kind."""
    BAD_ADDRESS = "badAddress"
    """An email address that is none."""
    MISSING_BODY = "missingBody"
    """Neither text nor HTML."""
    MULTIPLE_FROM = "multipleFrom"
    """More than one From address."""
    BAD_FROM = "badFrom"
    """A From address that is not the account's."""
    DOMAIN_DISABLED = "domainDisabled"
    """The From address's domain sends nothing for now."""
    NO_RECIPIENTS = "noRecipients"
    """Nobody to send to."""
    MESSAGE_LIMIT_REACHED = "messageLimitReached"
    """The account has sent as many messages as it may in a day."""
    RECIPIENT_LIMIT_REACHED = "recipientLimitReached"
    """The account has written to as many new recipients as it may in a day."""
    MALFORMED_MESSAGE_ID = "malformedMessageID"
    """A Message-ID that is none."""
    MESSAGE_TOO_LARGE = "messageTooLarge"
    """More than the server takes."""
    SENT_OVER_QUOTA = "sentOverQuota"
    """The account's mailbox has no room for the copy that was to be kept. From mox: the message was sent."""
    MESSAGE_NOT_FOUND = "messageNotFound"
    """No message with this id."""
    PART_NOT_FOUND = "partNotFound"
    """The message has no such part."""
    IDEMPOTENCY_CONFLICT = "idempotencyConflict"
    """Something else was sent under this idempotency key. Differs: mox has no such keys."""

    @classmethod
    def known(cls, code: str) -> "Code | str":
        """Return the code as one of these, or as the text it is, where a server knows more."""
        try:
            return cls(code)
        except ValueError:
            return code


class WebAPIError(MoxlibError):
    """A method answered with an error; it did nothing of what it was asked for.

    Attributes:
        code: what went wrong; a plain text where the server has a code of its own.
        message: the same for people; a server's text, of which this error's own text shows a part, escaped.
    """

    def __init__(self, code: Code | str, message: str) -> None:
        super().__init__(f"{shown(code)}: {shown(message)}")
        self.code: Code | str = Code.known(code)
        self.message = message

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by fields, not by text."""
        return type(self), (self.code, self.message)


class CallError(RemoteError):
    """A call has no answer of the method's.

    Attributes:
        method: its name, such as `Send`.
    """

    def __init__(self, text: str, *, method: str) -> None:
        super().__init__(f"webapi {method}: {text}")
        self.method = method
        self._text = text

    def _fields(self) -> dict[str, Any]:
        """The constructor's keyword arguments, from which a pickled error is made again."""
        return {"text": self._text, "method": self.method}

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by fields, not by text."""
        return _rebuild, (type(self), self._fields())


def _rebuild(class_: type[CallError], fields: dict[str, Any]) -> CallError:
    return class_(**fields)


class CallFailed(CallError):
    """The server could not be reached, or the connection ended before its answer did."""


class CallTimeout(CallError, TimeoutError):
    """The call, or the next piece of what it streams, did not come in time.

    Attributes:
        seconds: how long was waited.
    """

    def __init__(self, *, method: str, seconds: float) -> None:
        super().__init__(f"no answer within {seconds:g} seconds", method=method)
        self.seconds = seconds

    def _fields(self) -> dict[str, Any]:
        return {"method": self.method, "seconds": self.seconds}


class Unauthorized(CallError):
    """The server does not know this address and password, or the login is disabled (401).

    Attributes:
        text: the server's, escaped and bounded.
    """

    def __init__(self, *, method: str, text: str) -> None:
        super().__init__(f"the login was refused: {shown(text)}", method=method)
        self.text: str = shown(text)

    def _fields(self) -> dict[str, Any]:
        return {"method": self.method, "text": self.text}


class UnknownMethod(CallError):
    """The server has no such method, or nothing at all at this address (404)."""

    def __init__(self, *, method: str) -> None:
        super().__init__("the server has no such method at this address", method=method)

    def _fields(self) -> dict[str, Any]:
        return {"method": self.method}


class TooManyRequests(CallError):
    """The server takes no calls from this network for now, after too many failed logins (429).

    Attributes:
        retry_after: how long to wait, if the server said so; a day at most.
    """

    def __init__(self, *, method: str, retry_after: timedelta | None) -> None:
        wait = "" if retry_after is None else f", for {retry_after}"
        super().__init__(f"the server takes no calls from here{wait}", method=method)
        self.retry_after = retry_after

    def _fields(self) -> dict[str, Any]:
        return {"method": self.method, "retry_after": self.retry_after}


class UnexpectedStatus(CallError):
    """An answer with a status that no method answers with.

    Attributes:
        status: of HTTP.
        text: the beginning of the answer, escaped and bounded.
    """

    def __init__(self, *, method: str, status: int, text: str) -> None:
        super().__init__(f"status {status}: {shown(text)}", method=method)
        self.status = status
        self.text: str = shown(text)

    def _fields(self) -> dict[str, Any]:
        return {"method": self.method, "status": self.status, "text": self.text}


class InvalidAnswer(CallError):
    """The answer is too large, or not what this method answers.

    Attributes:
        reason: what is wrong with it.
    """

    def __init__(self, *, method: str, reason: str) -> None:
        super().__init__(f"the answer {reason}", method=method)
        self.reason = reason

    def _fields(self) -> dict[str, Any]:
        return {"method": self.method, "reason": self.reason}


def shown(text: str, limit: int = MAX_TEXT) -> str:
    """Return a peer's text as errors and logs show it: its beginning, with what is not printable escaped."""
    cut = text[: limit + 1]
    if not cut.isprintable():
        cut = "".join([c if c.isprintable() else ascii(c)[1:-1] for c in cut])
    return cut if len(cut) <= limit else cut[: limit - 3] + "..."
