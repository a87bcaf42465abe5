"""`DNSResolver`: a stub resolver on dnspython, for asyncio, that keeps what it found out.

It asks recursive name servers; it does not validate DNSSEC itself, but believes a validating name server that is on
this machine, or that it is told to trust. Nothing but the DNS is asked: there is no search list and no hosts file, and
"localhost" is a name like any other.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final, TypeVar

import dns.exception
import dns.name
import dns.rdatatype
import dns.resolver

from moxlib._clock import Clock, SystemClock
from moxlib._sharedcalls import SharedCalls
from moxlib.dns.absolute import absolute_name
from moxlib.dns.answers import MAX_CNAMES, Alias, Failed, Found, read
from moxlib.dns.cache import Cache
from moxlib.dns.errors import DNSError
from moxlib.dns.exchange import Exchange
from moxlib.dns.resolver import MX, TLSA, Answer, IPAddress
from moxlib.errors import InputError

__all__ = ["DNSResolver"]

R = TypeVar("R", str, MX, TLSA)

# Larger answers are not kept, so that a cache of 10,000 has 20 MB at most: few records of mail have half of this.
MAX_KEPT: Final = 2048  # bytes, about

_Key = tuple[dns.name.Name, dns.rdatatype.RdataType]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Servers:
    exchange: Exchange
    trusted: bool


class DNSResolver:
    """A `Resolver` that asks name servers over UDP and TCP.

    The same question asked by many at the same time is sent once. What was found is kept as long as it says, that there
    is nothing as long as the zone says (RFC 2308), and a failure for five seconds (RFC 9520). It may be used in one
    event loop after another, but not in two at once; there is nothing to close.

    Args:
        nameservers: IP addresses of recursive name servers, the preferred one first. None: those of the system
            (`/etc/resolv.conf`), read once, at the first lookup.
        port: where all of them listen.
        trust_ad: whether they, and the way to them, are trusted to say what DNSSEC authenticated (the AD bit, RFC 4035
            4.9.3). None: only if all of them are on this machine, at loopback addresses.
        timeout: seconds to wait for one name server.
        lifetime: seconds for one question, all attempts and all name servers together.
        max_ttl: seconds that anything is kept at most.
        cache_size: answers that are kept; 0 for none.
        clock: what the seconds are counted by.

    Raises:
        InputError: no name servers, one that is no IP address, or a number out of range.
    """

    def __init__(
        self,
        nameservers: Sequence[str] | None = None,
        *,
        port: int = 53,
        trust_ad: bool | None = None,
        timeout: float = 5.0,
        lifetime: float = 20.0,
        max_ttl: float = 3600.0,
        cache_size: int = 10_000,
        clock: Clock | None = None,
    ) -> None:
        if not (timeout > 0 and lifetime > 0 and max_ttl >= 0 and cache_size >= 0):
            raise InputError("timeout and lifetime must be positive, max_ttl and cache_size at least 0")
        self._port = port
        self._trust_ad = trust_ad
        self._timeout = timeout
        self._lifetime = lifetime
        self._max_ttl = max_ttl
        self._clock = clock or SystemClock()
        self._cache: Cache[_Key, Found | Failed] = Cache(size=cache_size, clock=self._clock)
        self._calls: SharedCalls[_Key, Found | Failed] = SharedCalls()
        self._servers = None if nameservers is None else self._use(nameservers)

    async def lookup_cname(self, name: str) -> Answer[str]:
        """Return the CNAME of a name itself, not followed: one record, or none."""
        return await self._lookup(name, dns.rdatatype.CNAME, str)

    async def lookup_mx(self, name: str) -> Answer[MX]:
        """Return its mail exchangers, CNAMEs followed."""
        return await self._lookup(name, dns.rdatatype.MX, MX)

    async def lookup_txt(self, name: str) -> Answer[str]:
        r"""Return its TXT records, CNAMEs followed; the strings of each joined, what is not UTF-8 as `\xff`."""
        return await self._lookup(name, dns.rdatatype.TXT, str)

    async def lookup_tlsa(self, name: str) -> Answer[TLSA]:
        """Return its TLSA records, CNAMEs followed."""
        return await self._lookup(name, dns.rdatatype.TLSA, TLSA)

    async def lookup_ip(self, name: str, *, ipv4: bool = True, ipv6: bool = True) -> Answer[IPAddress]:
        """Return its addresses, CNAMEs followed; those of IPv6 first. Both families are asked for at the same time."""
        kinds = [dns.rdatatype.AAAA] * ipv6 + [dns.rdatatype.A] * ipv4
        if not kinds:
            raise InputError("neither IPv4 nor IPv6 is asked for")
        absolute = absolute_name(name)
        if absolute is None:
            return _impossible(name)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._find(absolute, kind)) for kind in kinds]
        outcomes = [task.result() for task in tasks]
        found = [outcome for outcome in outcomes if isinstance(outcome, Found)]
        addresses = tuple(
            record for each in found for record in each.records if isinstance(record, IPv4Address | IPv6Address)
        )
        failed = [(outcome, kind) for outcome, kind in zip(outcomes, kinds, strict=True) if isinstance(outcome, Failed)]
        if failed and not addresses:
            raise _error(name, *max(failed, key=lambda each: each[0].bogus))
        first = next((each for each in found if each.records), found[0])
        return Answer(
            records=addresses,
            authentic=all(each.authentic for each in found),
            name=first.name,
            nxdomain=all(each.nxdomain for each in found),
        )

    async def _lookup(self, name: str, kind: dns.rdatatype.RdataType, record: type[R]) -> Answer[R]:
        absolute = absolute_name(name)
        if absolute is None:
            return _impossible(name)
        outcome = await self._find(absolute, kind)
        if isinstance(outcome, Failed):
            raise _error(name, outcome, kind)
        records = tuple(each for each in outcome.records if isinstance(each, record))
        return Answer(records=records, authentic=outcome.authentic, name=outcome.name, nxdomain=outcome.nxdomain)

    async def _find(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> Found | Failed:
        key = name, kind
        outcome = self._cache.get(key)
        if outcome is None:
            outcome = await self._calls.run(key, self._find_out(name, kind))
        return outcome

    async def _find_out(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> Found | Failed:
        """Ask, and keep what was found out."""
        outcome = await self._follow(name, kind)
        if isinstance(outcome, Failed) or _size(outcome) <= MAX_KEPT:
            self._cache.put((name, kind), outcome, seconds=min(outcome.ttl, self._max_ttl))
        return outcome

    async def _follow(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> Found | Failed:
        """Ask, also for what is behind CNAMEs where the name server did not look there itself."""
        servers = self._servers
        if servers is None:
            try:
                servers = self._servers = self._use(_system_nameservers())
            except (dns.exception.DNSException, OSError) as error:
                return Failed(reason=f"the system's name servers are not known: {type(error).__name__}", ttl=0)
        authentic, ttl, cnames = True, self._max_ttl, 0
        while True:
            response = await servers.exchange.ask(name, kind)
            if isinstance(response, Failed):
                return response
            outcome = read(response, trusted=servers.trusted)
            if isinstance(outcome, Failed):
                return outcome
            authentic = authentic and outcome.authentic
            ttl = min(ttl, outcome.ttl)
            cnames += outcome.cnames
            if cnames > MAX_CNAMES:
                return Failed(reason=f"a CNAME loop, or more than {MAX_CNAMES} CNAMEs")
            if isinstance(outcome, Found):
                return replace(outcome, authentic=authentic, ttl=ttl)
            assert isinstance(outcome, Alias)
            name = outcome.target

    def _use(self, nameservers: Sequence[str]) -> _Servers:
        try:
            loopback = [ip_address(server).is_loopback for server in nameservers]
        except ValueError as error:
            raise InputError(f"a name server is given by its IP address: {error}") from error
        if not loopback:
            raise InputError("no name servers")
        trusted = all(loopback) if self._trust_ad is None else self._trust_ad
        exchange = Exchange(
            nameservers,
            port=self._port,
            dnssec=trusted,
            timeout=self._timeout,
            lifetime=self._lifetime,
            clock=self._clock,
        )
        return _Servers(exchange=exchange, trusted=trusted)


def _system_nameservers() -> Sequence[str]:
    return [str(server) for server in dns.resolver.Resolver(configure=True).nameservers]


def _impossible(name: str) -> Answer[Any]:
    """Return that a name which is too long does not exist."""
    return Answer(records=(), authentic=False, name=name.lower().removesuffix("."), nxdomain=True)


def _error(name: str, failed: Failed, kind: dns.rdatatype.RdataType) -> DNSError:
    return DNSError(
        name=name,
        kind=dns.rdatatype.to_text(kind),
        reason=failed.reason,
        extended=failed.extended,
        bogus=failed.bogus,
    )


def _size(found: Found) -> int:
    """Return about how many bytes the records of an answer take."""
    sizes = (
        len(each) if isinstance(each, str) else len(each.data) if isinstance(each, TLSA) else 32
        for each in found.records
    )
    return sum(sizes)
