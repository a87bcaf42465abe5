"""Which IP addresses a webhook may not go to unless its owner says so: all that are not of the public Internet. Pure.

Who may enter a URL would otherwise make this machine ask its own services, those beside it, or the cloud's metadata
server, for what only this machine may see (server-side request forgery). The lists are those of IANA's registries of
special-purpose addresses, not `ipaddress.is_global`, whose own list is another one in each release of Python.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from moxlib.errors import RemoteError

__all__ = ["AddressRefused", "check_address", "why_refused"]

_IPV4: Final = tuple(
    (IPv4Network(network), what)
    for network, what in (
        ("0.0.0.0/8", "this host"),  # Linux connects 0.0.0.0 to loopback
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by a carrier's customers"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "the metadata server of Azure"),
        ("169.254.0.0/16", "link-local"),  # also the metadata servers of most clouds
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", "for documentation"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved, or broadcast"),
    )
)
_IPV6: Final = tuple(
    (IPv6Network(network), what)
    for network, what in (
        ("::/128", "this host"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "a mapped IPv4 address"),
        ("2001::/23", "reserved for protocols"),  # Teredo as well, which carries an IPv4 address
        ("2001:db8::/32", "for documentation"),
        ("2002::/16", "6to4, which carries an IPv4 address"),
        ("3fff::/20", "for documentation"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")  # all that was ever given out
_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052 2.1: how a network without IPv4 reaches an IPv4 address


class AddressRefused(RemoteError):
    """A webhook was not sent, as its host is at an address that is not public.

    Attributes:
        address: which.
        reason: what it is.
    """

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"{address[:60]!a} is {reason}")
        self.address = address
        self.reason = reason

    def __reduce__(self) -> tuple[type["AddressRefused"], tuple[str, str]]:
        """Pickle by fields, not by text."""
        return type(self), (self.address, self.reason)


def why_refused(address: IPv4Address | IPv6Address) -> str | None:
    """Return what an address is that is not of the public Internet, in a word or two; None for one that is."""
    if isinstance(address, IPv4Address):
        return next((what for network, what in _IPV4 if address in network), None)
    if address in _NAT64:
        return why_refused(IPv4Address(int(address) & 0xFFFF_FFFF))
    found = next((what for network, what in _IPV6 if address in network), None)
    return found if found or address in _GLOBAL_UNICAST else "not of the public Internet"


def check_address(address: str) -> None:
    """Check the address of a connection that is about to be made.

    Raises:
        AddressRefused: it is not of the public Internet.
    """
    reason = why_refused(ip_address(address))
    if reason is not None:
        raise AddressRefused(address, reason)
