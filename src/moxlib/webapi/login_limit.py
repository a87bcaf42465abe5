"""`LoginLimit`: who has failed to log in too often has to wait, and so has the network around.

Failures are counted for three networks around an address, in a window of a minute and in one of a day (UTC), as in mox:

    one address (IPv4 /32, IPv6 /64)     10 a minute,   50 a day
    its network (IPv4 /26, IPv6 /48)     30 a minute,  150 a day
    a wider one (IPv4 /21, IPv6 /32)     90 a minute,  450 a day

An attempt counts while it is under way: of hundreds made at once, no more are tried than may fail. The others wait for
those to end, so that many right logins at once are not refused.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import TracebackType
from typing import Final, Self, TypeAlias

from moxlib._clock import Clock, SystemClock
from moxlib.errors import InputError

__all__ = ["DEFAULT_WINDOWS", "Attempt", "FailureWindow", "LoginLimit", "TooManyFailures"]

IPV4: Final = (32, 26, 21)  # prefix lengths, as mox
IPV6: Final = (64, 48, 32)
MAX_NETWORKS: Final = 20_000  # of each length and window: 25 MB in all. Those longest without a failure are forgotten
MAX_WAITING: Final = 200  # of one wide network: more at once are no people
SOON: Final = timedelta(seconds=1)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Network: TypeAlias = tuple[int, int, int]
"""IP version, prefix length, prefix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureWindow:
    """How many logins may fail from when a multiple of `length` begins, until the next one does.

    Raises:
        InputError: a length that is not positive, or limits below 1.
    """

    length: timedelta
    limits: tuple[int, int, int]
    """Of one address, of its network, and of the wider one."""

    def __post_init__(self) -> None:
        """Refuse what would let nobody in, or has no end."""
        if self.length <= timedelta(0) or len(self.limits) != len(IPV4) or min(self.limits) < 1:
            raise InputError("a window of login failures has a positive length, and three limits of at least 1")


DEFAULT_WINDOWS: Final = (
    FailureWindow(length=timedelta(minutes=1), limits=(10, 30, 90)),
    FailureWindow(length=timedelta(days=1), limits=(50, 150, 450)),
)
"""As in mox."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TooManyFailures:
    """No attempt is to be made: answer 429, whatever the password."""

    retry_after: timedelta
    """How long to wait; more than zero. For the header Retry-After, round up."""


class _Counts:
    """The failures of one window, while it lasts."""

    def __init__(self, window: FailureWindow, max_networks: int) -> None:
        self.window = window
        self._max_networks = max_networks
        self._number = 0
        self._failures: tuple[OrderedDict[Network, int], ...] = tuple(OrderedDict() for _ in IPV4)

    def turn(self, now: datetime) -> None:
        """Begin anew if the window has ended. A clock that goes back changes nothing."""
        number = (now - EPOCH) // self.window.length
        if number > self._number:
            self._number = number
            for failures in self._failures:
                failures.clear()

    def left(self, networks: Sequence[Network]) -> list[int]:
        """Return how many more may fail, of each network."""
        return [
            limit - failures.get(network, 0)
            for limit, failures, network in zip(self.window.limits, self._failures, networks, strict=True)
        ]

    def ends_in(self, now: datetime) -> timedelta:
        return max(SOON, EPOCH + (self._number + 1) * self.window.length - now)

    def add(self, networks: Sequence[Network]) -> None:
        for failures, network in zip(self._failures, networks, strict=True):
            failures[network] = failures.pop(network, 0) + 1
            if len(failures) > self._max_networks:
                failures.popitem(last=False)

    def forgive(self, networks: Sequence[Network]) -> None:
        """Take the failures of the address back, also from the networks around it."""
        forgiven = self._failures[0].get(networks[0], 0)
        for failures, network in zip(self._failures, networks, strict=True):
            left = failures.get(network, 0) - forgiven
            if left > 0:
                failures[network] = left
            else:
                failures.pop(network, None)


class LoginLimit:
    """Counts failed logins by where they come from, in memory; for use in one event loop at a time.

        match await limit.admit(remote_ip):
            case TooManyFailures(retry_after=wait):
                ...
            case attempt:
                with attempt:
                    ...
                    attempt.failed()

    Args:
        windows: how many may fail, in what time.
        forgive: whether a login that succeeds takes back the failures of its address, as in mox: one program with an
            old password then does not lock out all others in the house. Who has an account himself can use that to try
            more passwords of others, from his own address.
        max_networks: how many are kept of each kind.
        clock: what the time is taken from.
    """

    def __init__(
        self,
        *,
        windows: Sequence[FailureWindow] = DEFAULT_WINDOWS,
        forgive: bool = True,
        max_networks: int = MAX_NETWORKS,
        clock: Clock | None = None,
    ) -> None:
        if max_networks < 1:
            raise InputError("max_networks is at least 1")
        self._clock: Clock = clock or SystemClock()
        self._forgive = forgive
        self._counts = tuple(_Counts(window, max_networks) for window in windows)
        self._under_way: Counter[Network] = Counter()
        self._waiting: dict[Network, list[asyncio.Future[None]]] = {}

    async def admit(self, address: str | IPv4Address | IPv6Address) -> "Attempt | TooManyFailures":
        """Let an attempt to log in begin, or say how long to wait; use the attempt as a context, which ends it.

        While as many are under way from there as may still fail, it waits for one of them to end.

        Raises:
            InputError: not an IP address.
        """
        networks = networks_of(address)
        while True:
            now = self._clock.now()
            refused = self._refused(networks, now)
            if refused is not None:
                return refused
            if not self._crowded(networks):
                self._under_way.update(networks)
                return Attempt(self, networks)
            waiting = self._waiting.setdefault(networks[-1], [])
            if len(waiting) >= MAX_WAITING:
                return TooManyFailures(retry_after=SOON)
            ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            waiting.append(ended)
            try:
                await ended
            finally:
                waiting.remove(ended)

    def _refused(self, networks: Sequence[Network], now: datetime) -> TooManyFailures | None:
        waits = []
        for counts in self._counts:
            counts.turn(now)
            if min(counts.left(networks)) <= 0:
                waits.append(counts.ends_in(now))
        return TooManyFailures(retry_after=max(waits)) if waits else None

    def _crowded(self, networks: Sequence[Network]) -> bool:
        """Say whether some limit would be passed if all that is under way failed, and one more."""
        return any(
            self._under_way[network] >= left
            for counts in self._counts
            for network, left in zip(networks, counts.left(networks), strict=True)
        )

    def _end(self, networks: Sequence[Network], succeeded: bool | None) -> None:
        self._under_way.subtract(networks)
        for network in networks:
            if not self._under_way[network]:
                del self._under_way[network]
        now = self._clock.now()
        for counts in self._counts:
            counts.turn(now)
            if succeeded is False:
                counts.add(networks)
            elif succeeded and self._forgive:
                counts.forgive(networks)
        for ended in self._waiting.pop(networks[-1], ()):
            if not ended.done():
                ended.set_result(None)


class Attempt:
    """One attempt to log in, which counts as a failure while it is under way. A context, whose end ends it.

    An attempt of which neither is said, as when the client went away, is not counted: nobody learned from it.
    """

    def __init__(self, limit: LoginLimit, networks: Sequence[Network]) -> None:
        self._limit = limit
        self._networks = networks
        self._succeeded: bool | None = None
        self._ended = False

    def failed(self) -> None:
        """Note that it was in vain."""
        self._succeeded = False

    def succeeded(self) -> None:
        """Note that the login was right."""
        self._succeeded = True

    def __enter__(self) -> Self:
        """Return the attempt."""
        return self

    def __exit__(
        self, class_: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Count it, and let others begin. Once."""
        if not self._ended:
            self._ended = True
            self._limit._end(self._networks, self._succeeded)  # noqa: SLF001 - two halves of one thing


def networks_of(address: str | IPv4Address | IPv6Address) -> tuple[Network, ...]:
    """Return the networks that an address is counted in, the narrowest first.

    Raises:
        InputError: not an IP address.
    """
    try:
        parsed = ip_address(address)
    except ValueError as error:
        raise InputError(f"not an IP address: {str(address)[:80]!a}") from error
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is not None:  # one client, however the server listens
        parsed = parsed.ipv4_mapped
    lengths = IPV4 if parsed.version == 4 else IPV6  # noqa: PLR2004 - the name of a protocol
    return tuple((parsed.version, length, int(parsed) >> (parsed.max_prefixlen - length)) for length in lengths)
