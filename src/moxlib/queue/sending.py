"""How much an account may send in a day: the limits, and what is counted for them. Pure.

They bound what a stolen account can do. Recipients are counted over the last 24 hours, in steps of ten minutes: what
was sent in one step counts until the last of it is 24 hours old, and so up to ten minutes longer.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from moxlib.errors import InputError
from moxlib.queue.errors import MessageLimitReached, RecipientLimitReached

__all__ = [
    "DAY",
    "REMEMBERED_DAYS",
    "STEP",
    "TOUCHED_DAYS",
    "SendingLimits",
    "Sent",
    "check_limits",
    "day_of",
    "first_step",
    "recipient_keys",
    "step_of",
]

DAY: Final = 86_400_000_000  # µs
STEP: Final = DAY // 144  # µs, ten minutes: at most 145 rows are added up for an account, however much it sends
REMEMBERED_DAYS: Final = 400  # who gets mail once a year stays known
TOUCHED_DAYS: Final = 30  # how old the note of the last time must be to be written anew
KEY: Final = 16  # octets: no two of a million million million addresses have the same by chance


@dataclass(frozen=True, slots=True, kw_only=True)
class SendingLimits:
    """How much an account may send in a day; see `Queue.submit`.

    Raises:
        InputError: a limit that is no whole number, or below zero.
    """

    messages_per_day: int | None = None
    """Recipients of all its messages together, each counted each time; None for no limit."""
    first_time_recipients_per_day: int | None = None
    """Recipients to whom it had not sent before, or not for 400 days, while it had this limit; None for no limit."""

    def __post_init__(self) -> None:
        """Refuse what is no limit."""
        for value in (self.messages_per_day, self.first_time_recipients_per_day):
            if value is not None and (type(value) is not int or value < 0):
                raise InputError(f"a limit of SendingLimits is a whole number, not {value!r:.100}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What an account has sent in a day, or is about to send."""

    recipients: int = 0
    """Each counted each time."""
    first_time: int = 0
    """Those to whom it had not sent before."""

    def __add__(self, other: "Sent") -> "Sent":
        """Return both together."""
        return Sent(recipients=self.recipients + other.recipients, first_time=self.first_time + other.first_time)


def check_limits(limits: SendingLimits, sent: Sent, more: Sent) -> None:
    """Refuse to send more than is allowed.

    Differs: mox also refuses mail to known recipients when more first-time ones were counted than are allowed.

    Raises:
        MessageLimitReached: it would be too many recipients.
        RecipientLimitReached: it would be too many first-time ones.
    """
    total = sent + more
    if limits.messages_per_day is not None and total.recipients > limits.messages_per_day:
        raise MessageLimitReached(limits.messages_per_day)
    allowed = limits.first_time_recipients_per_day
    if allowed is not None and more.first_time and total.first_time > allowed:
        raise RecipientLimitReached(allowed)


def recipient_keys(addresses: Iterable[str]) -> frozenset[bytes]:
    """Return by what recipients are known: not their addresses, which outlive the history, but a hash of each.

    It is of the whole address in lower case: with another tag behind a separator it may be somebody else.
    """
    octets = [address.lower().encode("utf-8", "surrogatepass") for address in addresses]
    return frozenset([blake2b(each, digest_size=KEY).digest() for each in octets])


def step_of(at: int) -> int:
    """Return the number of the step that a time is in, given in microseconds since 1970."""
    return at // STEP


def first_step(at: int) -> int:
    """Return the number of the first step that counts at a time."""
    return (at - DAY) // STEP


def day_of(at: int) -> int:
    """Return the number of the day that a time is in."""
    return at // DAY
