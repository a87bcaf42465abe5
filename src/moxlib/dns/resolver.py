"""The `Resolver` protocol: what moxlib asks of the DNS, with answers that say whether DNSSEC authenticated them.

That there is nothing is an answer, not an error: `Answer.records` is empty then, and may be authentic all the same.
What is raised is a `DNSError`: nobody knows what there is.
"""

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Generic, Protocol, TypeVar

__all__ = ["MX", "TLSA", "Answer", "IPAddress", "Resolver"]

T_co = TypeVar("T_co", covariant=True)

IPAddress = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Generic[T_co]):
    """What the DNS says of one name and type.

    Attributes:
        records: in the order received; empty when there are none.
        authentic: every step, CNAMEs and the proof that there is nothing included, was authenticated by DNSSEC, by a
            resolver that is trusted to say so.
        name: the name the records are of, behind all CNAMEs: ASCII, lower case, without a final dot.
        nxdomain: that name does not exist, not even with records of another type.
    """

    records: tuple[T_co, ...]
    authentic: bool
    name: str
    nxdomain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class MX:
    """A mail exchanger (RFC 5321 5.1): `host` in ASCII without a final dot; empty for the root: null MX (RFC 7505)."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSA:
    """A TLSA record (RFC 6698 2.1), its fields as they came, whether known or not."""

    usage: int
    selector: int
    matching_type: int
    data: bytes = field(repr=False)

    def __str__(self) -> str:
        """Return it as in a zone file."""
        return f"{self.usage} {self.selector} {self.matching_type} {self.data.hex()}"


class Resolver(Protocol):
    """Looks names up. Names are absolute, in ASCII, without a final dot; no search list is applied to them.

    Every method raises `DNSError` when it could not be found out (a time-out, SERVFAIL, a bogus signature, CNAMEs that
    lead in a circle or through more than 16 names, ...), and `InvalidDomain` for a text that is no such name. A name
    longer than the DNS has room for cannot exist, and is answered so, not authentic.
    """

    async def lookup_cname(self, name: str) -> Answer[str]:
        """Return the CNAME of a name itself, not followed: one record, or none."""
        ...

    async def lookup_mx(self, name: str) -> Answer[MX]:
        """Return its mail exchangers, CNAMEs followed."""
        ...

    async def lookup_ip(self, name: str, *, ipv4: bool = True, ipv6: bool = True) -> Answer[IPAddress]:
        """Return its addresses of the families asked for, CNAMEs followed.

        With one family that could not be looked up, those of the other are returned, if it has any, and authentic says
        whether these are: who can make a lookup fail must not be able to turn DANE off by that.
        """
        ...

    async def lookup_txt(self, name: str) -> Answer[str]:
        """Return its TXT records, CNAMEs followed; the strings of each joined."""
        ...

    async def lookup_tlsa(self, name: str) -> Answer[TLSA]:
        """Return its TLSA records, CNAMEs followed. `name` has the prefix already: `_25._tcp.mx.example`."""
        ...
