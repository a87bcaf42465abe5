"""What receiving a webhook call raises.

Below the roots of `moxlib.errors`::

    InputError     └── InvalidSecret          a text that is no webhook secret: yours, mend it
    RemoteError    └── WebhookError           a call that must not be acted upon: answer it with its `status`
                       ├── InvalidHeaders        400  a header is missing, there twice, or malformed
                       ├── InvalidAuthorization  401  not the Authorization that was agreed upon
                       ├── InvalidSignature      401  no signature by one of the secrets
                       ├── StaleTimestamp        401  signed too long ago, or for the future: a replay, or a wrong clock
                       ├── BodyTooLarge          413  more than the limit
                       └── InvalidPayload        400  not JSON, or not what mox and moxlib send

The texts hold nothing of the body, of a secret or of a signature.
"""

from datetime import datetime, timedelta
from typing import ClassVar, Self

from moxlib.errors import InputError, RemoteError

__all__ = [
    "BodyTooLarge",
    "InvalidAuthorization",
    "InvalidHeaders",
    "InvalidPayload",
    "InvalidSecret",
    "InvalidSignature",
    "StaleTimestamp",
    "WebhookError",
]


class InvalidSecret(InputError):
    """A text is no secret of Standard Webhooks.

    Attributes:
        reason: what is wrong with it. Nothing of the secret is in it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"invalid webhook secret: {reason}")
        self.reason = reason

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        """Pickle by fields, not by text."""
        return type(self), (self.reason,)


class WebhookError(RemoteError):
    """A webhook call that must not be acted upon; the class says why.

    Attributes:
        status: the HTTP status to answer it with. The sender tries again later, as after any failure.
        reason: why, a short phrase.
    """

    status: ClassVar[int] = 400

    def __init__(self, reason: str) -> None:
        super().__init__(f"webhook call refused: {reason}")
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by fields, not by text."""
        return type(self), (self.reason,)


class InvalidHeaders(WebhookError):
    """A header that a call has to have is missing, is there more than once, or malformed.

    Attributes:
        header: its name, in lower case.
    """

    def __init__(self, header: str, reason: str) -> None:
        super().__init__(f"header {header}: {reason}")
        self.header = header
        self._problem = reason

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by fields, not by text."""
        return type(self), (self.header, self._problem)


class InvalidAuthorization(WebhookError):
    """The Authorization header is missing, or another one than was agreed upon."""

    status = 401


class InvalidSignature(WebhookError):
    """None of the signatures was made with one of the secrets over this body, or there is none."""

    status = 401


class StaleTimestamp(WebhookError):
    """The call is rightly signed, but for a time that is too far from now.

    Attributes:
        timestamp: when it says it was made.
        now: the time it was compared with.
        tolerance: how far apart they may be.
    """

    status = 401

    def __init__(self, timestamp: datetime, now: datetime, tolerance: timedelta) -> None:
        super().__init__(f"made at {timestamp.isoformat()}, which is more than {tolerance} from {now.isoformat()}")
        self.timestamp = timestamp
        self.now = now
        self.tolerance = tolerance

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by fields, not by text."""
        return type(self), (self.timestamp, self.now, self.tolerance)


class BodyTooLarge(WebhookError):
    """The body is larger than the limit.

    Attributes:
        limit: in bytes.
    """

    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is larger than the limit of {limit} bytes")
        self.limit = limit

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by fields, not by text."""
        return type(self), (self.limit,)


class InvalidPayload(WebhookError):
    """The body is not JSON, or not a payload, or not as many as the call has ids."""
