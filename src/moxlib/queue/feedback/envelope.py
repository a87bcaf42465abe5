"""What a host knows of a message that came in: the facts of its SMTP transaction, and what was verified. Pure."""

from dataclasses import dataclass
from datetime import datetime

from moxlib.errors import InputError
from moxlib.message import Part, is_report
from moxlib.smtp import Address, InvalidAddress, parse_path

__all__ = ["IncomingEnvelope", "is_automated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingEnvelope:
    """How a message came in.

    Only the recipients are needed to match feedback; the rest is told to incoming webhooks.

    Raises:
        InputError: no recipient, an address that is none, a time without a zone.
    """

    recipients: tuple[str, ...]
    """RCPT TO, those that this message is handed in for."""
    mail_from: str = ""
    """MAIL FROM; "" for the null reverse-path."""
    remote_ip: str = ""
    received: datetime | None = None
    """When it came; None: now."""
    message: int = 0
    """Its id at the host, if it has one."""
    mailbox: str = ""
    """The mailbox it was put in."""
    mail_from_validated: bool = False
    """By SPF."""
    from_validated: bool = False
    """The From header's address, by DMARC or as DMARC would."""
    dkim_domains: tuple[str, ...] = ()
    """Domains of DKIM signatures that verified."""

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        recipients: object = self.recipients
        if isinstance(recipients, str) or not recipients:
            raise InputError("the recipients of a message that came in must be a list, of one at least")
        for name, address in (
            ("mail_from", self.mail_from or "<>"),
            *(("recipients", each) for each in self.recipients),
        ):
            try:
                parse_path(address)
            except InvalidAddress as error:
                raise InputError(f"IncomingEnvelope.{name}: {error}") from error
        if self.received is not None and self.received.utcoffset() is None:
            raise InputError("IncomingEnvelope.received has no time zone")
        object.__setattr__(self, "recipients", tuple(self.recipients))
        object.__setattr__(self, "dkim_domains", tuple(self.dkim_domains))

    def addresses(self) -> tuple[Address, ...]:
        """Return the recipients that are addresses of a domain, in order."""
        paths = [parse_path(address) for address in self.recipients]
        return tuple([path.address for path in paths if isinstance(path.address, Address)])


def is_automated(part: Part, mail_from: str) -> bool:
    """Say whether a program sent a message, so that no program should answer it (RFC 3834 2, RFC 2919, RFC 3464)."""
    if mail_from in ("", "<>") or is_report(part):
        return True
    if any(part.values(name) for name in ("list-id", "list-unsubscribe", "list-unsubscribe-post", "precedence")):
        return True
    submitted = [value.partition(";")[0].strip().lower() for value in part.values("auto-submitted")]
    return any(value != "no" for value in submitted)
