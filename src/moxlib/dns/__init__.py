"""Domain names, hosts that are a name or an IP address, and looking them up.

parse_domain(text) -> Domain            strict; Unicode accepted, canonical forms out
parse_domain_lax(text) -> Domain        underscores too (`_dmarc.example.com`), in ASCII names only
Domain(ascii=..., unicode="")           `name`, `xname(utf8)`, `ascii_extra(utf8)`, `log_string()`
IPDomain(host=Domain | IPv4Address | IPv6Address | None)
parse_ip_domain(text) -> IPDomain       a name, or an SMTP address literal: `[192.0.2.1]`, `[IPv6:2001:db8::1]`
InvalidDomain                           an `InputError` with `reason` and `value`
Resolver                                the protocol: `lookup_mx(name)` and its like return an `Answer`
DNSResolver(nameservers=None)           one that asks the system's name servers, or others, by dnspython
DNSError                                a `RemoteError`: it could not be found out
"""

from typing import TYPE_CHECKING

from moxlib._lazy import lazy_names
from moxlib.dns.domain import MAX_LABEL, MAX_NAME, Domain, parse_domain, parse_domain_lax
from moxlib.dns.errors import DNSError, InvalidDomain
from moxlib.dns.ipdomain import IPDomain, parse_ip_domain
from moxlib.dns.resolver import MX, TLSA, Answer, IPAddress, Resolver

if TYPE_CHECKING:
    from moxlib.dns.stub import DNSResolver

__all__ = [
    "MAX_LABEL",
    "MAX_NAME",
    "MX",
    "TLSA",
    "Answer",
    "DNSError",
    "DNSResolver",
    "Domain",
    "IPAddress",
    "IPDomain",
    "InvalidDomain",
    "Resolver",
    "parse_domain",
    "parse_domain_lax",
    "parse_ip_domain",
]

if not TYPE_CHECKING:  # a type checker that saw __getattr__ would let every misspelt name pass
    # Alone of these it needs asyncio and dnspython, which those who only parse names do not pay for.
    __getattr__, _ = lazy_names(__name__, {"DNSResolver": ".stub"})

    def __dir__() -> list[str]:
        return sorted(__all__)
