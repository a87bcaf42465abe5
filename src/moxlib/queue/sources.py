"""Where mail comes from: local addresses with their names and weights, and the choice among them. Pure.

By default a destination keeps its source: receivers judge an address by what they know of it, greylisting by whether
they saw it before. The choice is by rendezvous hashing: each source gets a number from its addresses and the
destination, and the highest wins. So all processes choose alike with nothing to share, and when a source is added or
removed, only the destinations that it gains or loses move.
"""

from collections import Counter
from collections.abc import Callable, Container
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address
from math import log
from typing import Final

from moxlib.errors import InputError
from moxlib.smtpclient import Session

__all__ = ["Source", "SourceSet"]

MAX_NAME: Final = 255  # octets of a domain: RFC 5321 4.5.3.1.2
MAX_WEIGHT: Final = 1_000_000
MAX_SOURCES: Final = 10_000  # each is looked at for each delivery
_BITS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One local host, as others see it.

    Without any address the system chooses one, of either family. With one, no connections of the other family can be
    made from it.

    Raises:
        InputError: an address that is none of its family or cannot be one's own, a name that cannot be one, or a weight
            that is not from 1 to a million; the text names the field.
    """

    ipv4: str | None = None
    """The local address of IPv4 connections."""
    ipv6: str | None = None
    """The local address of IPv6 connections."""
    ehlo_name: str = "localhost"
    """How it introduces itself: the name that the DNS has for its addresses, with these addresses (RFC 5321 4.1.4)."""
    weight: int = 1
    """How much it gets, in proportion to the others."""

    def __post_init__(self) -> None:
        """Check the fields, and bring the addresses into their usual form."""
        for name, family, value in (("ipv4", IPv4Address, self.ipv4), ("ipv6", IPv6Address, self.ipv6)):
            if value is not None:
                object.__setattr__(self, name, str(_own_address(name, family, value)))
        try:
            Session(self.ehlo_name)
        except InputError as error:
            raise InputError(f"Source.ehlo_name: {error}") from error
        if len(self.ehlo_name) > MAX_NAME:
            raise InputError(f"Source.ehlo_name is longer than {MAX_NAME} octets")
        if not 1 <= self.weight <= MAX_WEIGHT:
            raise InputError(f"Source.weight must be from 1 to {MAX_WEIGHT}, not {self.weight}")

    def has(self, *, ipv4: bool, ipv6: bool) -> bool:
        """Say whether it can make connections of one of these families."""
        any_address = self.ipv4 is None and self.ipv6 is None
        return (ipv4 and (any_address or self.ipv4 is not None)) or (ipv6 and (any_address or self.ipv6 is not None))


def _own_address(
    field: str, family: Callable[[str], IPv4Address | IPv6Address], text: str
) -> IPv4Address | IPv6Address:
    try:
        address = family(text)
    except ValueError as error:
        raise InputError(f"Source.{field}: not an address of that family: {text[:80]!r}") from error
    if address.is_unspecified or address.is_multicast:
        raise InputError(f"Source.{field}: not the address of a host: {text[:80]!r}")
    return address


@dataclass(frozen=True, slots=True)
class SourceSet:
    """The sources of a transport.

    Raises:
        InputError: there is none, or two have an address in common.
    """

    sources: tuple[Source, ...]
    stable: bool = True
    """Whether a destination keeps its source; else each delivery has its own, at random."""

    @property
    def is_fixed(self) -> bool:
        """Whether the same destination always gets the same source."""
        return self.stable or len(self.sources) == 1

    def __post_init__(self) -> None:
        """Refuse sets in which nothing can be chosen, or one thing twice."""
        if not 1 <= len(self.sources) <= MAX_SOURCES:
            raise InputError(f"there must be from 1 to {MAX_SOURCES} sources, not {len(self.sources)}")
        addresses = [address for source in self.sources for address in _addresses(source)]
        for address, times in Counter(addresses).items():
            if times > 1:
                raise InputError(f"two sources with the same address: {address}")

    def choose(
        self,
        key: str,
        random: Callable[[], float],
        *,
        ipv4: bool = True,
        ipv6: bool = True,
        avoid: Container[Source] = (),
    ) -> Source | None:
        """Return the source of a delivery; None where no source has an address of a family wanted.

        Over many destinations (or, where the choice is not stable, many deliveries), each gets its weight's share of
        those that it can be chosen for.

        Args:
            key: the destination, by the name under which its source is to stay the same.
            random: returns a number from 0 up to but not including 1; only called where the choice is not stable.
            ipv4: whether the destination has addresses of this family.
            ipv6: likewise.
            avoid: those that are chosen only if there are no others.
        """
        possible = [source for source in self.sources if source.has(ipv4=ipv4, ipv6=ipv6)]
        possible = [source for source in possible if source not in avoid] or possible
        if len(possible) < 2:  # noqa: PLR2004 - no choice
            return possible[0] if possible else None
        if self.stable:
            return max(possible, key=lambda source: _score(source, key))
        point = random() * sum(source.weight for source in possible)
        for source in possible:
            point -= source.weight
            if point < 0:
                return source
        return possible[-1]  # rounding


def _addresses(source: Source) -> tuple[str, ...]:
    return tuple(address for address in (source.ipv4, source.ipv6) if address) or ("what the system chooses",)


def _score(source: Source, key: str) -> float:
    """Return the number by which a source bids for a destination: -weight / ln(u), u even between 0 and 1.

    The highest of such numbers is a source's with a probability in proportion to its weight. The weight and the name
    are no part of what is hashed: a weight that grows only takes destinations, one that shrinks only gives them away.
    """
    text = f"{source.ipv4 or ''} {source.ipv6 or ''} {key}".encode("utf-8", "surrogatepass")
    number = int.from_bytes(blake2b(text, digest_size=_BITS // 8).digest(), "big")
    return -source.weight / log((number + 0.5) / 2**_BITS)
