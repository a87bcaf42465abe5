"""Domain names: parsing, their ASCII and Unicode forms, and hosts that are a name or an IP address.

parse_domain(text) -> Domain            strict; Unicode accepted, canonical forms out
parse_domain_lax(text) -> Domain        underscores too (`_dmarc.example.com`), in ASCII names only
Domain(ascii=..., unicode="")           `name`, `xname(utf8)`, `ascii_extra(utf8)`, `log_string()`
IPDomain(host=Domain | IPv4Address | IPv6Address | None)
parse_ip_domain(text) -> IPDomain       a name, or an SMTP address literal: `[192.0.2.1]`, `[IPv6:2001:db8::1]`
InvalidDomain                           an `InputError` with `reason` and `value`
"""

from moxlib.dns.domain import MAX_LABEL, MAX_NAME, Domain, parse_domain, parse_domain_lax
from moxlib.dns.errors import InvalidDomain
from moxlib.dns.ipdomain import IPDomain, parse_ip_domain

__all__ = [
    "MAX_LABEL",
    "MAX_NAME",
    "Domain",
    "IPDomain",
    "InvalidDomain",
    "parse_domain",
    "parse_domain_lax",
    "parse_ip_domain",
]
