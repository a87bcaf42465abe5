"""Paths: what MAIL FROM and RCPT TO name (RFC 5321 4.1.2). An address, one at an IP address, or the null path."""

from dataclasses import dataclass, field

from moxlib.dns import InvalidDomain, IPDomain, parse_ip_domain
from moxlib.smtp.address import Address, InvalidAddress, Localpart, check_whole, split_localpart, whole_log_string

__all__ = ["Path", "parse_path"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """A localpart at a domain name or IP address; without either, the null reverse-path of notifications.

    Raises:
        InvalidAddress: longer than 256 octets packed, or a localpart with spaces beyond ASCII.
    """

    localpart: Localpart = field(default_factory=Localpart)
    host: IPDomain = field(default_factory=IPDomain)

    def __post_init__(self) -> None:
        check_whole(self.localpart, str(self.host), self.pack(smtputf8=False))

    @classmethod
    def of(cls, address: Address) -> "Path":
        """Return the path to an address."""
        return cls(localpart=address.localpart, host=IPDomain(host=address.domain))

    @property
    def is_null(self) -> bool:
        """Whether it is the null path, `<>`."""
        return self.host.host is None and not self.localpart.value

    @property
    def address(self) -> Address | None:
        """It as an address, if it has a domain name."""
        domain = self.host.domain
        return None if domain is None else Address(localpart=self.localpart, domain=domain)

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only SMTPUTF8 can carry it, its localpart not being ASCII."""
        return self.localpart.needs_smtputf8

    def pack(self, smtputf8: bool) -> str:
        """Return it as SMTP writes it between angle brackets: an IP address as a literal, the null path as nothing.

        A localpart without a host stands alone, as in `RCPT TO:<Postmaster>` (RFC 5321 4.1.1.3).
        """
        if self.host.host is None:
            return str(self.localpart) if self.localpart.value else ""
        return f"{self.localpart}@{self.host.literal(smtputf8)}"

    def text(self, utf8: bool) -> str:
        """Return it with a bare IP address, as mox does: for people and data exchange, not for SMTP."""
        return "" if self.is_null else f"{self.localpart}@{self.host.text(utf8)}"

    def ascii_extra(self, utf8: bool) -> str:
        """Return the ASCII form where `text(utf8)` is in Unicode, else nothing: for comments in trace headers."""
        domain = self.host.domain
        return self.text(utf8=False) if utf8 and domain is not None and domain.unicode else ""

    def dsn(self, utf8: bool) -> str:
        """Return the form for delivery status notifications (RFC 6533 3); 7-bit if not `utf8`."""
        return self.text(utf8) if utf8 else f"{self.localpart.dsn(utf8)}@{self.host.text(utf8)}"

    def log_string(self) -> str:
        """Return it in Unicode, and where that is not plain ASCII, `/` and it escaped in ASCII."""
        return (
            ""
            if self.is_null
            else whole_log_string(self.localpart, self.host.text(utf8=True), self.host.text(utf8=False))
        )

    def __str__(self) -> str:
        """Return it as SMTP writes it between angle brackets, with an ASCII domain."""
        return self.pack(smtputf8=False)


def parse_path(text: str) -> Path:
    """Parse a path: `user@example.com`, `user@[192.0.2.1]`, `<user@[IPv6:2001:db8::1]>`, or `<>`.

    Angle brackets may be left off, but the null path needs them, so that nothing at all is not taken for it. Source
    routes, which RFC 5321 appendix C deprecates, are refused.

    Raises:
        InvalidAddress: as `parse_address`; or brackets that do not match.
    """
    inner = text
    if text.startswith("<"):
        if not text.endswith(">"):
            raise InvalidAddress("no closing >", text)
        inner = text[1:-1]
        if not inner:
            return Path()
    value, rest = split_localpart(inner)
    try:
        host = parse_ip_domain(rest[1:], numeric_tld=True)
    except InvalidDomain as err:
        raise InvalidAddress(f"domain: {err.reason}", text) from err
    return Path(localpart=Localpart(value=value), host=host)
