"""How gently a site is treated: limits as data, and the choice of them by recipient domain and mail exchanger. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

from moxlib.errors import InputError
from moxlib.queue.congestion import MAX_WINDOW, Concurrency
from moxlib.queue.limits import Rate

__all__ = ["Bucket", "Shaping", "ShapingChange", "ShapingRules"]

MAX_PIPELINE: Final = 100  # deliveries on one connection are done one after the other: more only waits longer
MAX_TIME: Final = timedelta(days=1)  # that a connection is kept; no server does
MAX_MESSAGES: Final = 1_000_000  # on one connection; more is no limit

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shaping:
    """The limits of one site, in one process.

    Raises:
        InputError: a value that cannot be; the text names the field.
    """

    max_connections: int = 20
    """Connections at once."""
    pipeline: int = 3
    """Deliveries at once on one connection, when no more may be opened and the server has PIPELINING."""
    messages_per_connection: int | None = None
    """Messages after which a connection is not used again; None: any number."""
    max_age: timedelta = timedelta(minutes=5)
    """How long a connection is used."""
    max_idle: timedelta = timedelta(seconds=30)
    """How long a connection is kept without use."""
    messages_per_second: float | None = None
    """From one a day to a million a second, 0.5 is one in two seconds; None: no limit."""
    connections_per_minute: float | None = None
    """Connections opened; None: no limit."""
    concurrency: Concurrency = field(default_factory=Concurrency)
    """Deliveries at once, and how that follows what happens."""

    def __post_init__(self) -> None:
        """Refuse what could not work."""
        _check(self)

    @property
    def message_rate(self) -> Rate | None:
        """`messages_per_second` as a rate."""
        return None if self.messages_per_second is None else Rate.per_second(self.messages_per_second)

    @property
    def connection_rate(self) -> Rate | None:
        """`connections_per_minute` as a rate."""
        return None if self.connections_per_minute is None else Rate.per_minute(self.connections_per_minute)

    def changed(self, change: "ShapingChange") -> "Shaping":
        """Return this with the fields that a change gives."""
        given = {each.name: getattr(change, each.name) for each in fields(change)}
        return replace(self, **{name: value for name, value in given.items() if value is not None})


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapingChange:
    """What is different for some sites: the fields of `Shaping`; None leaves one as it is.

    To free a site from a rate or a number of messages that others have, give one that it never reaches.

    Raises:
        InputError: as `Shaping`.
    """

    max_connections: int | None = None
    pipeline: int | None = None
    messages_per_connection: int | None = None
    max_age: timedelta | None = None
    max_idle: timedelta | None = None
    messages_per_second: float | None = None
    connections_per_minute: float | None = None
    concurrency: Concurrency | None = None
    """The whole of it is replaced."""

    def __post_init__(self) -> None:
        """Refuse what could not work."""
        _check(self)


_NUMBERS: Final[Mapping[str, int]] = MappingProxyType(
    {"max_connections": MAX_WINDOW, "pipeline": MAX_PIPELINE, "messages_per_connection": MAX_MESSAGES}
)
_RATES: Final = MappingProxyType({"messages_per_second": Rate.per_second, "connections_per_minute": Rate.per_minute})


def _check(shaping: Shaping | ShapingChange) -> None:
    who = type(shaping).__name__
    for name, most in _NUMBERS.items():
        number = getattr(shaping, name)
        if number is not None and not 1 <= number <= most:
            raise InputError(f"{who}.{name} must be from 1 to {most}, not {number}")
    for name in ("max_age", "max_idle"):
        time = getattr(shaping, name)
        if time is not None and not timedelta(0) < time <= MAX_TIME:
            raise InputError(f"{who}.{name} must be over 0 and at most {MAX_TIME.days} day, not {time}")
    for name, make in _RATES.items():
        try:
            if (count := getattr(shaping, name)) is not None:
                make(count)
        except InputError as error:
            raise InputError(f"{who}.{name}: {error}") from error


def _no_changes() -> Mapping[str, ShapingChange]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapingRules:
    """Which limits a site has: the default, changed by what is said of its hosts, then of the recipient's domain.

    Keys are names in lower-case ASCII form; `.example` stands for example and its subdomains. The more special key has
    its way, field by field: the domain's over the hosts', a name over a suffix, a longer suffix over a shorter one.

    Raises:
        InputError: a key that could never match.
    """

    default: Shaping = field(default_factory=Shaping)
    hosts: Mapping[str, ShapingChange] = field(default_factory=_no_changes)
    """By mail exchanger. It is enough that one of a site's hosts matches."""
    domains: Mapping[str, ShapingChange] = field(default_factory=_no_changes)
    """By recipient domain."""

    def __post_init__(self) -> None:
        """Check the keys."""
        for name in ("hosts", "domains"):
            for key in getattr(self, name):
                if not key.isascii() or key != key.lower() or not key.removeprefix(".") or key.endswith("."):
                    raise InputError(f"ShapingRules.{name}: not a domain in lower-case ASCII form: {key[:80]!r}")

    def shaping_for(self, *, domain: str, hosts: Iterable[str] = ()) -> Shaping:
        """Return the limits of the site with these hosts, for mail to a domain.

        Args:
            domain: the recipient's, in lower-case ASCII form; "" for a site that is no domain's, as a relay.
            hosts: the site's hosts, likewise. Where two of them match keys of one length, the later one has its way.
        """
        shaping = self.default
        of_hosts = [key for host in hosts for key in _keys(host, self.hosts)]
        for key in sorted(of_hosts, key=_weight):
            shaping = shaping.changed(self.hosts[key])
        for key in sorted(_keys(domain, self.domains), key=_weight):
            shaping = shaping.changed(self.domains[key])
        return shaping


def _keys(name: str, changes: Mapping[str, ShapingChange]) -> list[str]:
    """Return the keys that match a name: itself, and the suffixes of whole labels."""
    if not changes or not name:
        return []
    labels = name.split(".")
    suffixes = ["." + ".".join(labels[start:]) for start in range(len(labels))]
    return [key for key in (name, *suffixes) if key in changes]


def _weight(key: str) -> tuple[bool, int]:
    return not key.startswith("."), len(key)


class Bucket:
    """A rate kept in this process: who wants to go is told how long to wait, in the order of asking.

    Args:
        rate: how many in how long, or so many a second.
    """

    def __init__(self, rate: Rate | float) -> None:
        self.rate: Rate = rate if isinstance(rate, Rate) else Rate.per_second(rate)
        self._full_at = 0
        self._asked_at = 0

    def reserve(self, tokens: int, now: datetime) -> float:
        """Take tokens, those to come included, and return the seconds until they are all there.

        In any time at most its length times the rate, plus the burst, are there. More than a burst may be taken at
        once. A clock that is set back changes nothing about the wait.
        """
        micros = (now - _EPOCH) // _MICROSECOND
        if micros < self._asked_at:
            self._full_at -= self._asked_at - micros
        self._asked_at = micros
        self._full_at = max(self._full_at, micros) + self.rate.time_for(max(0, tokens))
        empty_until = self._full_at - self.rate.burst * self.rate.time_for(1)
        return max(0, empty_until - micros) / 1_000_000
