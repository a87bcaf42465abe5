"""The Received field (RFC 5321 4.4), which tells of one hop of a message."""

import re
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from moxlib.dns import Domain, InvalidDomain, parse_domain
from moxlib.message.encoded_text import check_text, date_text, field
from moxlib.message.errors import InvalidDraft
from moxlib.smtp import Address, InvalidAddress, parse_address

__all__ = ["Received"]

MAX_TLS: Final = 128  # characters: a version and a cipher suite are 50

_atom = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.@-]{1,128}").fullmatch  # RFC 5321 4.4: an id is an atom or a msg-id
_to_quote = re.compile(r"[()\\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """Who took a message from whom, when, and how.

    Attributes:
        from_host: the name of the host it came from.
        by_host: the name of the host that took it.
        date: when, with its zone.
        from_ip: the address it came from; None leaves it out.
        protocol: as ESMTPS (RFC 3848); empty leaves it out.
        id: by which `by_host` knows it; empty leaves it out.
        tls: what to say of the connection's TLS, as `TLS1.3 TLS_AES_128_GCM_SHA256`; empty leaves it out.
        for_address: the recipient, to be told of only if it is the only one; empty leaves it out.

    Raises:
        InvalidDraft: a name, address or identifier that is none, or a time without its zone.
    """

    from_host: str
    by_host: str
    date: datetime
    from_ip: IPv4Address | IPv6Address | None = None
    protocol: str = ""
    id: str = ""
    tls: str = ""
    for_address: str = ""

    def __post_init__(self) -> None:
        self._domain("from_host")
        self._domain("by_host")
        date_text(self.date, "received.date")
        check_text("received.tls", self.tls)
        if len(self.tls) > MAX_TLS:
            raise InvalidDraft(f"more than {MAX_TLS} characters", "received.tls", value=self.tls)
        for name, text in (("protocol", self.protocol), ("id", self.id)):
            if text and not _atom(text):
                raise InvalidDraft("not one word", f"received.{name}", value=text)
        if self.for_address:
            self._recipient()

    def field(self, *, smtputf8: bool = False) -> bytes:
        """Return the field with its line end.

        Args:
            smtputf8: write names in UTF-8; else in ASCII, and no recipient that has no ASCII form.
        """
        tokens = ["from", *_host(self._domain("from_host"), utf8=smtputf8)]
        if self.from_ip is not None:
            tokens.append(f"([{'IPv6:' if self.from_ip.version == 6 else ''}{self.from_ip}])")  # noqa: PLR2004
        tokens += ("by", *_host(self._domain("by_host"), utf8=smtputf8))
        for word, text in (("with", self.protocol), ("id", self.id)):
            if text:
                tokens += (word, text)
        if self.tls and (smtputf8 or self.tls.isascii()):
            tokens.append(f"({_to_quote.sub(_escaped, self.tls)})")
        if self.for_address:
            packed = self._recipient().pack(smtputf8)
            if smtputf8 or packed.isascii():
                tokens += ("for", f"<{packed}>")
        return field("Received", [*tokens[:-1], f"{tokens[-1]};", date_text(self.date)]).encode()

    def _domain(self, name: str) -> Domain:
        text: str = getattr(self, name)
        try:
            return parse_domain(text)
        except InvalidDomain as error:
            raise InvalidDraft(error.reason, f"received.{name}", value=text) from error

    def _recipient(self) -> Address:
        try:
            return parse_address(self.for_address)
        except InvalidAddress as error:
            raise InvalidDraft(error.reason, "received.for_address", value=self.for_address) from error


def _host(domain: Domain, *, utf8: bool) -> list[str]:
    """Return a host's name, with its ASCII form as a comment where that is another."""
    extra = domain.ascii_extra(utf8)
    return [domain.xname(utf8), f"({extra})"] if extra else [domain.xname(utf8)]


def _escaped(match: re.Match[str]) -> str:
    return f"\\{match[0]}"
