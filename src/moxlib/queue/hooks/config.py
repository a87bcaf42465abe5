"""Where webhooks go, and how: plain frozen data, checked when it is made."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Literal

from moxlib.dns import MAX_LABEL
from moxlib.errors import InputError
from moxlib.queue.hooks.addresses import why_refused
from moxlib.queue.hooks.verdict import HOOK_SCHEDULE
from moxlib.queue.schedule import RetrySchedule
from moxlib.webhook import MAX_BATCH, Call, OutgoingEvent, Secret, check_authorization, join

__all__ = ["HookConfig", "Keep"]

Keep = Literal["all", "latest"]
"""Whether every event of a message is sent, in order, or the latest one only, where several wait."""

MAX_URL: Final = 2048  # octets: what servers and proxies take at least, in practice
MAX_PORT: Final = 65535
MAX_TIMEOUT: Final = timedelta(hours=1)  # a connection is held as long, and the endpoint's next call waits
MAX_AT_ONCE: Final = 100  # to one endpoint; more is a mistake, or an attack on it

# RFC 3986, without user information (a password would be in every log) and fragment, and with names and addresses in
# ASCII only: what every parser of URLs reads alike.
_CHARACTERS: Final = r"A-Za-z0-9\-._~!$&'*+,;=:@/()"
_url = re.compile(
    r"(?i:https?)://(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::(?P<port>[0-9]{1,5}))?"
    rf"(?:/(?:[{_CHARACTERS}]|%[0-9A-Fa-f]{{2}})*)?(?:\?(?:[{_CHARACTERS}?]|%[0-9A-Fa-f]{{2}})*)?"
).fullmatch
_number = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*").fullmatch


@dataclass(frozen=True, slots=True, kw_only=True)
class HookConfig:
    """One endpoint: the URL that an account's events are sent to, and how.

    Raises:
        InputError: a URL that is none or goes to this machine, a value out of range, ...; no secret is in the text.
    """

    url: str
    """`https://` or `http://`, with a name or an IP address, without user and password."""
    authorization: str = field(default="", repr=False)
    """The value of the Authorization header, such as "Bearer ..."; "" for none."""
    secrets: tuple[Secret, ...] = ()
    """Each of them signs; two, while one replaces the other. None: calls are not signed."""
    events: frozenset[OutgoingEvent] = frozenset()
    """Which are sent; empty: all."""
    keep: Keep = "all"
    max_at_once: int = 4
    """Calls at the same time."""
    batch: int = 1
    """How many payloads a call may carry. With more than 1, its body is always a list, even of one."""
    timeout: timedelta = timedelta(seconds=60)
    """What a call may take in all, from looking the name up to the end of the answer."""
    schedule: RetrySchedule = HOOK_SCHEDULE
    allow_private: bool = False
    """Whether it may go to addresses that are not of the public Internet, such as those of this machine.

    Leave it off where people enter URLs whom you would not let into your network."""

    def __post_init__(self) -> None:
        """Refuse what could not work."""
        _check_url(self.url, self.allow_private)
        if self.authorization:
            check_authorization(self.authorization)
        if self.keep not in ("all", "latest"):
            raise InputError("HookConfig.keep must be 'all' or 'latest'")
        if not 1 <= self.max_at_once <= MAX_AT_ONCE:
            raise InputError(f"HookConfig.max_at_once must be 1 to {MAX_AT_ONCE}")
        if not 1 <= self.batch <= MAX_BATCH:
            raise InputError(f"HookConfig.batch must be 1 to {MAX_BATCH}")
        if not timedelta(0) < self.timeout <= MAX_TIMEOUT:
            raise InputError(f"HookConfig.timeout must be over 0 and at most {MAX_TIMEOUT}")
        object.__setattr__(self, "events", frozenset(map(_known_event, self.events)))

    def call(self, payloads: Sequence[tuple[int, bytes]], *, attempt: int) -> Call:
        """Return the call that carries these payloads, each with its id.

        Raises:
            InputError: none, or more than `batch`; or an id or attempt that is none.
        """
        if not 1 <= len(payloads) <= self.batch:
            raise InputError(f"a call to this endpoint carries 1 to {self.batch} payloads, not {len(payloads)}")
        bodies = [body for _, body in payloads]
        body = join(bodies) if self.batch > 1 else bodies[0]
        return Call(ids=tuple([id_ for id_, _ in payloads]), attempt=attempt, body=body)

    def wants(self, event: OutgoingEvent) -> bool:
        """Say whether an event is to be sent here."""
        return not self.events or event in self.events


def _known_event(event: str) -> OutgoingEvent:
    try:
        return OutgoingEvent(event)
    except ValueError:
        known = ", ".join(OutgoingEvent)
        raise InputError(f"HookConfig.events: {event!r:.100} is none of {known}") from None


def _check_url(url: str, allow_private: bool) -> None:
    """Check a URL, and its host as far as that can be seen without asking the DNS: for early errors.

    What counts is the address that is connected to; see `moxlib.queue.hooks.caller`.
    """
    match = _url(url) if len(url) <= MAX_URL else None
    if match is None:
        raise _invalid(url, f"it is not http(s)://host[:port][/path][?query] in ASCII, up to {MAX_URL} octets")
    if match["port"] and not 1 <= int(match["port"]) <= MAX_PORT:
        raise _invalid(url, "the port is out of range")
    host = match["host"].lower().removesuffix(".")
    address = _literal(url, host)
    if allow_private:
        return
    what = "this host" if host == "localhost" or host.endswith(".localhost") else None  # RFC 6761 6.3
    if address is not None:
        what = why_refused(address)
    if what is not None:
        raise _invalid(url, f"its host is {what}; if that is meant, say allow_private=True")


def _literal(url: str, host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a host is written as; None for a name.

    Raises:
        InputError: an address in a spelling that some take for one, and some for another: 127.1, 0x7f000001, 017.0.0.1.
    """
    try:
        if host.startswith("["):
            return IPv6Address(host[1:-1])
        if _number(host.rpartition(".")[2]):  # no top-level domain is a number
            return IPv4Address(host)
    except ValueError:
        raise _invalid(url, "its host is no IP address in the usual form") from None
    if not all(0 < len(label) <= MAX_LABEL for label in host.split(".")):
        raise _invalid(url, "its host has an empty label, or one that is too long")
    return None


def _invalid(url: str, reason: str) -> InputError:
    return InputError(f"HookConfig.url {url.partition('?')[0][:100]!a}: {reason}")
