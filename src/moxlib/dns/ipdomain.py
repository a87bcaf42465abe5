"""A host as SMTP names it: a domain name, an IP address, or none at all."""

from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from moxlib.dns.domain import Domain, parse_domain
from moxlib.dns.errors import InvalidDomain

__all__ = ["IPDomain", "parse_ip_domain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IPDomain:
    """A domain name, an IP address, or nothing.

    An IPv4 address mapped into IPv6 (`::ffff:192.0.2.1`) becomes the IPv4 address it is.

    Attributes:
        host: None for an empty one, as in the null reverse-path.
    """

    host: Domain | IPv4Address | IPv6Address | None = None

    def __post_init__(self) -> None:
        if isinstance(self.host, IPv6Address) and self.host.ipv4_mapped is not None:
            object.__setattr__(self, "host", self.host.ipv4_mapped)

    @property
    def domain(self) -> Domain | None:
        """The domain name, if it is one."""
        return self.host if isinstance(self.host, Domain) else None

    @property
    def ip(self) -> IPv4Address | IPv6Address | None:
        """The IP address, if it is one."""
        return self.host if isinstance(self.host, IPv4Address | IPv6Address) else None

    def text(self, utf8: bool) -> str:
        """Return the name (in Unicode if `utf8` and it is international) or the bare IP address, or nothing."""
        if isinstance(self.host, Domain):
            return self.host.xname(utf8)
        return "" if self.host is None else str(self.host)

    def literal(self, utf8: bool) -> str:
        """Return the host as SMTP writes it: an IP address in brackets, IPv6 tagged (RFC 5321 4.1.3)."""
        match self.host:
            case IPv4Address():
                return f"[{self.host}]"
            case IPv6Address():
                return f"[IPv6:{self.host}]"
            case _:
                return self.text(utf8)

    def log_string(self) -> str:
        """Return `unicode/ascii` for an international name, else as `text`."""
        return self.host.log_string() if isinstance(self.host, Domain) else self.text(utf8=False)

    def __str__(self) -> str:
        """Return the SMTP form with an ASCII name."""
        return self.literal(utf8=False)


def parse_ip_domain(text: str, *, numeric_tld: bool = False) -> IPDomain:
    """Parse a domain name or an SMTP address literal (RFC 5321 4.1.3).

    Args:
        text: `example.com`, `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
        numeric_tld: as for `parse_domain`.

    Raises:
        InvalidDomain: neither; a bare IP address without brackets is refused too, as are zones (`%eth0`).
    """
    if not text.startswith("["):
        return IPDomain(host=parse_domain(text, numeric_tld=numeric_tld))
    inner = text[1:-1]
    try:
        if not text.endswith("]") or "%" in inner:
            raise InvalidDomain("not an address literal", text)
        if inner[:5].lower() == "ipv6:":
            return IPDomain(host=IPv6Address(inner[5:]))
        return IPDomain(host=IPv4Address(inner))
    except AddressValueError as err:
        raise InvalidDomain("not an address literal", text) from err
