"""Where mail for a domain goes, by the DNS: its hosts, their addresses, and their TLSA records.

    hosts = await gather_hosts(resolver, next_hop, random=random)
    for host in hosts.hosts:
        addresses = await gather_ips(resolver, host, dialed=dialed)
        if dane_applies(hosts, addresses):
            tlsa = await gather_tlsa(resolver, host.domain, ...)

Each of them asks a `Resolver` and decides; none connects to a mail server. What the DNS authenticated of each step is
kept, since DANE depends on it (RFC 7672).
"""

from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from random import Random
from typing import Final, TypeVar

from moxlib.dane import usable
from moxlib.dns import (
    MAX_NAME,
    MX,
    TLSA,
    Answer,
    DNSError,
    Domain,
    InvalidDomain,
    IPAddress,
    IPDomain,
    Resolver,
    parse_domain_lax,
)
from moxlib.errors import InputError
from moxlib.smtpclient.gather_errors import LookupFailed, NoAddresses, NoHosts, NoSuchDomain, NullMX

__all__ = [
    "MAX_ADDRESSES",
    "MAX_HOSTS",
    "Addresses",
    "Hosts",
    "TLSARecords",
    "dane_applies",
    "gather_hosts",
    "gather_ips",
    "gather_tlsa",
    "tlsa_names",
]

# Every host, and every address of it, can cost an attempt the time-out of a connection. The large receivers of mail
# have five hosts of a handful of addresses; of more, the best are tried (RFC 5321 5.1 allows a limit of two addresses).
MAX_HOSTS: Final = 16
MAX_ADDRESSES: Final = 8  # of each family, so that one does not crowd out the other

T = TypeVar("T")

BROADCAST: Final = IPv4Address("255.255.255.255")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """The hosts that take mail for a destination.

    Attributes:
        next_hop: the destination, as it was asked for.
        hosts: in the order to try them; one at least. Without MX records, the destination itself.
        preferences: of the hosts; none without MX records.
        have_mx: whether the hosts come from MX records.
        expanded: the domain behind the CNAMEs of the destination; the same if it has none, None for an IP address.
        next_hop_authentic: DNSSEC authenticated what the DNS has at the destination itself: its CNAME, or its MX
            records (or that there are none).
        expanded_authentic: as well as all behind it.
    """

    next_hop: IPDomain
    hosts: tuple[IPDomain, ...]
    preferences: tuple[int, ...] = ()
    have_mx: bool = False
    expanded: Domain | None = None
    next_hop_authentic: bool = False
    expanded_authentic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """The addresses of a host.

    Attributes:
        ips: in the order to try them; one at least.
        authentic: DNSSEC authenticated what the DNS has at the host itself: its CNAME, or its addresses.
        expanded_authentic: as well as all behind it, the addresses included.
        expanded: the name behind the CNAMEs of the host; the same if it has none, None for an IP address.
        dual_stack: there are addresses of both families.
    """

    ips: tuple[IPAddress, ...]
    authentic: bool = False
    expanded_authentic: bool = False
    expanded: Domain | None = None
    dual_stack: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSARecords:
    """What the DNS says of a host's certificates.

    Attributes:
        required: there are TLSA records, so TLS is required; verified by `records`, if there are any.
        records: those that can be used for SMTP (RFC 7672 3.1).
        base_domain: the name they were found at, or would have been.
    """

    required: bool
    records: tuple[TLSA, ...]
    base_domain: Domain


async def gather_hosts(resolver: Resolver, next_hop: IPDomain, *, random: Random) -> Hosts:
    """Return the hosts for mail to `next_hop`: by MX preference, those of one preference in random order.

    CNAMEs are followed (RFC 5321 5.1). MX records that do not name a host (an IP address, say) are skipped. Without MX
    records, the destination itself is the host; whether it has addresses, `gather_ips` finds out.

    Differs from mox: a domain that does not exist is permanent (RFC 5321 5.1: it must be reported as an error), so that
    who mistyped it is told now. A lookup that fails is not, nor is a host without addresses.

    Args:
        resolver: whom to ask.
        next_hop: the domain of the recipient, or the address literal in its place.
        random: shuffles.

    Raises:
        NullMX, NoSuchDomain: permanent.
        NoHosts, LookupFailed: temporary.
        InputError: `next_hop` is empty.
    """
    domain = next_hop.domain
    if domain is None:
        if next_hop.ip is None:
            raise InputError("no destination")
        return Hosts(next_hop=next_hop, hosts=(next_hop,))
    answer = await _looked_up(domain, resolver.lookup_mx(domain.ascii))
    if answer.nxdomain:
        raise NoSuchDomain(name=domain.ascii)
    expanded = _expanded(domain, answer.name)
    authentic = await _authentic_at(resolver, domain, answer)
    if not answer.records:
        return Hosts(
            next_hop=next_hop,
            hosts=(next_hop,),
            expanded=expanded,
            next_hop_authentic=authentic,
            expanded_authentic=answer.authentic,
        )
    if not any(mx.host for mx in answer.records):  # RFC 7505 3
        raise NullMX(name=domain.ascii)
    best = _in_order(answer.records, random)
    if not best:
        raise NoHosts(name=domain.ascii)
    return Hosts(
        next_hop=next_hop,
        hosts=tuple(IPDomain(host=host) for host in best),
        preferences=tuple(best.values()),
        have_mx=True,
        expanded=expanded,
        next_hop_authentic=authentic,
        expanded_authentic=answer.authentic,
    )


async def gather_ips(
    resolver: Resolver,
    host: IPDomain,
    *,
    ipv4: bool = True,
    ipv6: bool = True,
    dialed: Sequence[IPAddress] = (),
) -> Addresses:
    """Return the addresses of a host in the order to try them.

    That order is the resolver's as long as no connection was made. From then on, the family of the address connected
    to last goes last; and in that family, that address goes first if no other connection was made to the family.

    Args:
        resolver: whom to ask.
        host: one of `Hosts.hosts`.
        ipv4: whether IPv4 addresses are wanted.
        ipv6: whether IPv6 addresses are.
        dialed: the addresses of this host that earlier attempts for the same message connected to, the oldest first.

    Raises:
        NoAddresses, LookupFailed: temporary.
        InputError: `host` is empty, or neither family is wanted.
    """
    if not (ipv4 or ipv6):
        raise InputError("neither IPv4 nor IPv6 is wanted")
    if host.ip is not None:
        if not _wanted(host.ip, ipv4=ipv4, ipv6=ipv6):
            raise NoAddresses(name=str(host))
        return Addresses(ips=(host.ip,))
    if host.domain is None:
        raise InputError("no host")
    domain = host.domain
    answer = await _looked_up(domain, resolver.lookup_ip(domain.ascii, ipv4=ipv4, ipv6=ipv6))
    found = [_unmapped(ip) for ip in answer.records]
    ips = tuple(dict.fromkeys(ip for ip in found if _wanted(ip, ipv4=ipv4, ipv6=ipv6)))
    if not ips:
        raise NoAddresses(name=domain.ascii)
    return Addresses(
        ips=_limited(_ordered(ips, dialed)),
        authentic=await _authentic_at(resolver, domain, answer),
        expanded_authentic=answer.authentic,
        expanded=_expanded(domain, answer.name),
        dual_stack=len({ip.version for ip in ips}) > 1,
    )


def dane_applies(hosts: Hosts, addresses: Addresses) -> bool:
    """Return whether TLSA records are to be looked up for a host (RFC 7672 2.2.1, 2.2.2).

    The destination, the MX records, and what the DNS has at the host must be authentic. Hosts whose zones are not
    signed are not asked: some of their name servers never answer such questions.
    """
    if addresses.expanded is None:  # an IP address
        return False
    reached = hosts.expanded_authentic if hosts.have_mx else hosts.next_hop_authentic
    return reached and hosts.next_hop_authentic and addresses.authentic


async def gather_tlsa(
    resolver: Resolver, host: Domain, *, expanded_authentic: bool, expanded_host: Domain, port: int = 25
) -> TLSARecords:
    """Return the TLSA records of a host for which `dane_applies`.

    They are looked for at the name behind its CNAMEs, if these were authenticated, and then at its own (RFC 7672
    2.2.3). Records that are not authentic count as none.

    Args:
        resolver: whom to ask.
        host: one of `Hosts.hosts`.
        expanded_authentic: that of its `Addresses`.
        expanded_host: their `expanded`.
        port: the TCP port.

    Raises:
        DNSError: a lookup failed. There may be records, so the host must not be used without them (RFC 7672 2.1.2).
    """
    bases = dict.fromkeys((expanded_host, host) if expanded_authentic else (host,))
    for base in bases:
        name = f"_{port}._tcp.{base.ascii}"
        if len(name) > MAX_NAME:
            continue  # no such name can exist
        answer = await resolver.lookup_tlsa(name)
        if answer.records and answer.authentic:
            return TLSARecords(required=True, records=usable(answer.records), base_domain=base)
    return TLSARecords(required=False, records=(), base_domain=host)


def tlsa_names(hosts: Hosts, host: Domain, base_domain: Domain) -> tuple[Domain, ...]:
    """Return the names that a certificate under a DANE-TA record may have, that for SNI first (RFC 7672 3.2.2).

    Args:
        hosts: where the host comes from.
        host: the one of `hosts` that is connected to.
        base_domain: where its TLSA records were found.
    """
    names = [base_domain, host]
    if hosts.have_mx:
        if hosts.next_hop.domain is not None:
            names.append(hosts.next_hop.domain)
        if hosts.expanded is not None and hosts.expanded_authentic:
            names.append(hosts.expanded)
    return tuple(dict.fromkeys(names))


async def _looked_up(domain: Domain, lookup: Awaitable[Answer[T]]) -> Answer[T]:
    try:
        return await lookup
    except DNSError as error:
        raise LookupFailed(name=domain.ascii, reason=str(error), bogus=error.bogus) from error


async def _authentic_at(resolver: Resolver, domain: Domain, answer: Answer[T]) -> bool:
    """Return whether what the DNS has at `domain` itself is authentic, where `answer` may be behind its CNAME."""
    if answer.authentic or answer.name == domain.ascii:
        return answer.authentic
    return (await _looked_up(domain, resolver.lookup_cname(domain.ascii))).authentic


def _expanded(domain: Domain, name: str) -> Domain:
    """Parse the name behind CNAMEs, which may have underscores."""
    if name == domain.ascii:
        return domain
    try:
        return parse_domain_lax(name)
    except InvalidDomain as error:
        raise LookupFailed(name=domain.ascii, reason=f"the CNAME of {domain.ascii}: {error}") from error


def _in_order(records: Iterable[MX], random: Random) -> dict[Domain, int]:
    """Return the best hosts with their preferences, in the order to try them (RFC 5321 5.1)."""
    shuffled = list(records)
    random.shuffle(shuffled)
    hosts: dict[Domain, int] = {}
    for mx in sorted(shuffled, key=lambda mx: mx.preference):
        try:
            host = parse_domain_lax(mx.host)  # names with underscores are seen
        except InvalidDomain:
            continue
        if len(hosts) < MAX_HOSTS:
            hosts.setdefault(host, mx.preference)
    return hosts


def _unmapped(ip: IPAddress) -> IPAddress:
    """Return the IPv4 address that is written as an IPv6 one."""
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip


def _wanted(ip: IPAddress, *, ipv4: bool, ipv6: bool) -> bool:
    """Return whether it is of a wanted family, and one that a host can have: 0.0.0.0 would reach this very machine."""
    family = ipv4 if isinstance(ip, IPv4Address) else ipv6
    return family and not (ip.is_unspecified or ip.is_multicast or ip == BROADCAST)


def _ordered(ips: Sequence[IPAddress], dialed: Sequence[IPAddress]) -> list[IPAddress]:
    if not dialed:
        return list(ips)
    last = _unmapped(dialed[-1])
    once = sum(_unmapped(ip).version == last.version for ip in dialed) == 1
    return sorted(ips, key=lambda ip: (ip.version == last.version, not (once and ip == last)))


def _limited(ips: Iterable[IPAddress]) -> tuple[IPAddress, ...]:
    kept: list[IPAddress] = []
    for ip in ips:
        if sum(other.version == ip.version for other in kept) < MAX_ADDRESSES:
            kept.append(ip)
    return tuple(kept)
