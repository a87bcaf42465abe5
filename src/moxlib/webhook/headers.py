"""The headers of a webhook call: mox's, and those of Standard Webhooks where there is a secret."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from moxlib import __version__
from moxlib.errors import InputError
from moxlib.webhook.secret import Secret

__all__ = ["CONTENT_TYPE", "MAX_BATCH", "USER_AGENT", "Call", "call_headers", "check_authorization"]

CONTENT_TYPE: Final = "application/json; charset=utf-8"
USER_AGENT: Final = f"moxlib/{__version__} (webhook)"

MAX_BATCH: Final = 100  # ids in a header: of 20 octets, 2 KB; servers take lines of 4 or 8 KB
MAX_ID: Final = 2**63 - 1
MAX_AUTHORIZATION: Final = 4096  # octets; a token may be long, and servers take 8 KB of all headers at least

_field_value = re.compile(r"[!-~](?:[!-~ \t]*[!-~])?").fullmatch  # RFC 9110 5.5, without obs-text


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call: what is sent, and what it is known by.

    Raises:
        InputError: no id or more than `MAX_BATCH`, an id that is not positive or has no room in 64 bits, or an attempt
            before the first.
    """

    ids: tuple[int, ...]
    """Of each payload, in order. They stay the same in each attempt, so that the receiver can tell."""
    attempt: int = 1
    """From 1."""
    body: bytes
    """One payload by `encode`, or several by `join`."""

    def __post_init__(self) -> None:
        """Refuse what has no headers."""
        if not 1 <= len(self.ids) <= MAX_BATCH:
            raise InputError(f"a call has 1 to {MAX_BATCH} ids, not {len(self.ids)}")
        if not all(0 < id_ <= MAX_ID for id_ in self.ids):
            raise InputError("the id of a call is positive and has room in 64 bits")
        if self.attempt < 1:
            raise InputError("attempts are counted from 1")

    @property
    def webhook_id(self) -> str:
        """The id of Standard Webhooks: `msg_12`; of a batch, `msg_12_13`. It has no full stop, and is signed."""
        return "msg_" + "_".join(map(str, self.ids))


def check_authorization(value: str) -> None:
    """Check that a value can be that of an Authorization header.

    Raises:
        InputError: it is empty or too long, or not visible ASCII with blanks between; nothing of it is in the text.
    """
    if len(value) > MAX_AUTHORIZATION or not _field_value(value):
        raise InputError(f"an Authorization header has visible ASCII and blanks between, up to {MAX_AUTHORIZATION}")


def call_headers(
    call: Call,
    *,
    now: datetime,
    secrets: Sequence[Secret] = (),
    authorization: str = "",
    user_agent: str = USER_AGENT,
) -> dict[str, str]:
    """Return the headers of a call.

    Args:
        call: the call.
        now: when this attempt is made; aware.
        secrets: signs with each of them. While a secret is replaced, name the old and the new one; a receiver takes
            either. With none, there are mox's headers only.
        authorization: the value of that header, as the receiver wants it; "" for none.
        user_agent: what the sender calls itself.

    Raises:
        InputError: `authorization` cannot be in a header.
    """
    headers = {
        "Content-Type": CONTENT_TYPE,
        "User-Agent": user_agent,
        "X-Mox-Webhook-ID": ",".join(map(str, call.ids)),
        "X-Mox-Webhook-Attempt": str(call.attempt),
    }
    if authorization:
        check_authorization(authorization)
        headers["Authorization"] = authorization
    if secrets:
        id_, timestamp = call.webhook_id, int(now.timestamp())
        headers["webhook-id"] = id_
        headers["webhook-timestamp"] = str(timestamp)
        headers["webhook-signature"] = " ".join([secret.sign(id_, timestamp, call.body) for secret in secrets])
    return headers
