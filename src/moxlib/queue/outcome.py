"""Outcomes: what a transport says of one recipient after one attempt. Frozen data."""

from dataclasses import dataclass
from datetime import timedelta

__all__ = ["NO_TRACE", "Deferred", "Delivered", "Failed", "Outcome", "Trace", "Unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """How an attempt travelled, as far as a transport says.

    Raises:
        TypeError: something in it is not a text.
    """

    dialed: tuple[tuple[str, str], ...] = ()
    """Host and address of each connection tried or used, in order: the next attempt takes other addresses by it."""
    tls: str = ""
    """What protected the connection: such as "tls1.3 dane"; "" for none, or where there was no connection."""

    def __post_init__(self) -> None:
        """Refuse here what could not be stored."""
        try:
            pairs = tuple([(host, address) for host, address in self.dialed])
        except ValueError as error:
            raise TypeError(f"Trace.dialed has pairs of host and address: {error}") from error
        if not all(isinstance(text, str) for text in (self.tls, *(text for pair in pairs for text in pair))):
            raise TypeError("a Trace is of texts")
        object.__setattr__(self, "dialed", pairs)


NO_TRACE = Trace()


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """The next server took responsibility for this recipient."""

    code: int = 250
    enhanced: str = ""
    text: str = ""
    peer: str = ""
    trace: Trace = NO_TRACE
    dsn: bool | None = None
    """Whether it offers DSN, and so was told when its delivery is to be reported (RFC 3461 4.1); None: not known."""
    final: bool = False
    """It is where its recipient reads it, and not on its way there: whoever asked to hear of that does so from here,
    unless the server offers DSN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deferred:
    """A temporary failure: the queue tries again by the schedule, not before `retry_after` if that is given."""

    text: str
    code: int = 0
    enhanced: str = ""
    peer: str = ""
    retry_after: timedelta | None = None
    command: str = ""
    """What the peer's reply answered, such as "RCPT TO"; "" where the failure was found here."""
    trace: Trace = NO_TRACE


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A permanent failure: no further attempt."""

    text: str
    code: int = 0
    enhanced: str = ""
    peer: str = ""
    command: str = ""
    """What the peer's reply answered, such as "RCPT TO"; "" where the failure was found here."""
    trace: Trace = NO_TRACE


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """The connection died after the whole message was sent and before the reply: it may have been delivered."""

    text: str
    peer: str = ""
    trace: Trace = NO_TRACE


Outcome = Delivered | Deferred | Failed | Unknown
