"""What a response of a name server says of one question. Pure: no I/O, no clock."""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Final, cast

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdatatype
import dns.rdtypes.ANY.CNAME
import dns.rdtypes.ANY.MX
import dns.rdtypes.ANY.TLSA
import dns.rdtypes.ANY.TXT
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA

from moxlib.dns.absolute import name_text
from moxlib.dns.resolver import MX, TLSA, IPAddress

__all__ = ["FAILURE_TTL", "MAX_CNAMES", "MAX_RECORDS", "Alias", "Failed", "Found", "Record", "read", "refusal"]

MAX_CNAMES: Final = 15
"""CNAMEs followed for one question, as by mox: the DNS has no limit. Chains of ten are seen, but not for mail."""

MAX_RECORDS: Final = 256  # of one name and type; a response of 64 KiB could hold 4,000. More is an error, never cut.

# Seconds for which a failure is remembered: RFC 9520 3.2 wants one at least and 300 at most. A retry of a message comes
# minutes later, and is to ask anew.
FAILURE_TTL: Final = 5.0

# RFC 8914 4: unsupported algorithm or digest (1, 2), indeterminate (5), bogus (6), signatures and keys (7 to 12).
_BOGUS: Final = frozenset({1, 2, *range(5, 13)})

Record = MX | TLSA | str | IPAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What there is, or that there is nothing; `name` is behind all `cnames`, and `ttl` the seconds it holds."""

    records: tuple[Record, ...]
    authentic: bool
    name: str
    nxdomain: bool
    ttl: float
    cnames: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """CNAMEs whose end the server did not follow: `target` is to be asked for."""

    target: dns.name.Name
    cnames: int
    authentic: bool
    ttl: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Nobody knows; the fields are those of `DNSError`."""

    reason: str
    extended: int | None = None
    bogus: bool = False
    ttl: float = field(default=FAILURE_TTL)


def refusal(response: dns.message.Message) -> Failed | None:
    """Return what is wrong with a response that is no answer; None if it is one (also that there is nothing)."""
    rcode = response.rcode()
    if rcode in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return None
    codes = [int(option.code) for option in response.options if isinstance(option, dns.edns.EDEOption)]
    extended = next((code for code in codes if code in _BOGUS), codes[0] if codes else None)
    detail = "" if extended is None else f", extended error {extended}"
    return Failed(reason=f"{dns.rcode.to_text(rcode)}{detail}", extended=extended, bogus=extended in _BOGUS)


def read(response: dns.message.Message, *, trusted: bool) -> Found | Alias | Failed:
    """Read a response that is an answer (`refusal` found nothing), to a question for one of `Record`'s types.

    Args:
        response: it answers the question that it repeats; who received it saw to that.
        trusted: the server may say what DNSSEC authenticated.
    """
    assert isinstance(response, dns.message.QueryMessage)
    try:
        chain = response.resolve_chaining()
    except dns.message.ChainTooLong:
        return Failed(reason=f"a CNAME loop, or more than {MAX_CNAMES} CNAMEs")
    except dns.exception.DNSException:
        return Failed(reason="malformed answer")
    authentic = trusted and bool(response.flags & dns.flags.AD)
    nxdomain = response.rcode() == dns.rcode.NXDOMAIN
    if chain.answer is None and chain.cnames and not nxdomain and not _denied(response):
        return Alias(
            target=chain.canonical_name, cnames=len(chain.cnames), authentic=authentic, ttl=float(chain.minimum_ttl)
        )
    rdatas = tuple(chain.answer or ())
    if len(rdatas) > MAX_RECORDS:
        return Failed(reason=f"more than {MAX_RECORDS} records")
    if response.question[0].rdtype == dns.rdatatype.CNAME:
        rdatas = rdatas[:1]  # RFC 1034 3.6.2: there is one; of several, take the one that following them takes
    return Found(
        records=tuple(map(_record, rdatas)),
        authentic=authentic,
        name=name_text(chain.canonical_name),
        nxdomain=nxdomain,
        # RFC 2308 5: that there is nothing is not kept where nobody says for how long.
        ttl=float(chain.minimum_ttl) if rdatas or _denied(response) else 0.0,
        cnames=len(chain.cnames),
    )


def _denied(response: dns.message.Message) -> bool:
    """Whether it says that the end of the chain has no such record (RFC 2308 2.2): there is an SOA then."""
    return any(rrset.rdtype == dns.rdatatype.SOA for rrset in response.authority)


def _record(rdata: dns.rdata.Rdata) -> Record:
    match rdata:
        case dns.rdtypes.IN.A.A():
            return IPv4Address(rdata.address)
        case dns.rdtypes.IN.AAAA.AAAA():
            return IPv6Address(rdata.address)
        case dns.rdtypes.ANY.MX.MX():
            return MX(preference=rdata.preference, host=name_text(rdata.exchange))
        case dns.rdtypes.ANY.TLSA.TLSA():
            return TLSA(usage=rdata.usage, selector=rdata.selector, matching_type=rdata.mtype, data=rdata.cert)
        case dns.rdtypes.ANY.TXT.TXT():
            return b"".join(rdata.strings).decode(errors="backslashreplace")
        case _:
            return name_text(cast("dns.rdtypes.ANY.CNAME.CNAME", rdata).target)
