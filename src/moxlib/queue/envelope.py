"""Sender and recipients of a message: as the caller gave them, and for the rest as its header says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moxlib.message import HeaderFacts, envelope_of
from moxlib.queue.config import QueueConfig
from moxlib.queue.dsn_request import NO_REQUEST, DSNRequest
from moxlib.queue.errors import InvalidSubmission, TooManyRecipients
from moxlib.queue.submission import NewRecipient
from moxlib.queue.submit_options import Options
from moxlib.queue.suppression import BaseRules, base_key
from moxlib.smtp import Address, parse_address, parse_path
from moxlib.smtp import Path as SMTPPath

if TYPE_CHECKING:
    from email.message import Message as EmailMessage

__all__ = ["Envelope", "GivenEnvelope"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Sender and recipients as given or found, parsed."""

    sender: Address | SMTPPath | None
    recipients: tuple[NewRecipient, ...]
    needs_smtputf8: bool
    strip_bcc: bool
    """The recipients came from the header, so its Bcc fields have done their work."""


@dataclass(frozen=True, slots=True)
class GivenEnvelope:
    """The envelope as far as the caller gave it; what is None comes from the header."""

    sender: str | None
    recipients: Sequence[str] | None
    null_sender: bool
    """The caller said that there is no sender; a header that names none does not."""
    dsn: DSNRequest
    account: str
    keep_doubles: bool

    @classmethod
    def of(cls, options: Options) -> "GivenEnvelope":
        """Return what the options say."""
        dsn = options.dsn or NO_REQUEST
        null_sender = options.sender == ""
        return cls(options.sender, options.recipients, null_sender, dsn, options.account, options.keep_doubles)

    @classmethod
    def of_message(cls, message: "EmailMessage[Any, Any]", options: Options) -> "GivenEnvelope":
        """Return what the options say, and for the rest what the fields of a message object do."""
        if options.sender is not None and options.recipients is not None:
            return cls.of(options)
        sender, recipients = envelope_of(message)
        return cls(
            sender if options.sender is None else options.sender,
            recipients if options.recipients is None else options.recipients,
            options.sender == "",
            options.dsn or NO_REQUEST,
            options.account,
            options.keep_doubles,
        )

    def complete(self, header: HeaderFacts, config: QueueConfig) -> Envelope:
        """Fill in what the header says, and parse all of it."""
        sender, recipients = self.sender, self.recipients
        if sender is None or recipients is None:
            found_sender, found_recipients = header.envelope()
            sender = found_sender if sender is None else sender
            recipients = found_recipients if recipients is None else recipients
        if not sender and not self.null_sender:
            raise InvalidSubmission("there is no sender: none was given, and the header has no From or Sender")
        if isinstance(recipients, str):
            recipients = (recipients,)
        if not recipients:
            raise InvalidSubmission("there are no recipients: none were given, or the header names none")
        if len(recipients) > config.max_recipients:
            raise TooManyRecipients(config.max_recipients)
        parsed = [_parse(text) for text in recipients]
        mail_from = _parse(sender) if sender else None
        wanted = [(str(address), address) for address in parsed]
        if not self.keep_doubles:
            wanted = list(dict(wanted).items())
        named = _named(recipients, parsed, self.dsn) if self.dsn.recipients else {}
        rules = config.suppression_for(self.account).base
        return Envelope(
            sender=mail_from,
            recipients=tuple(
                [_recipient(text, address, named.get(text, text), self.dsn, rules) for text, address in wanted]
            ),
            needs_smtputf8=any(a.needs_smtputf8 for a in parsed)
            or (mail_from is not None and mail_from.needs_smtputf8),
            strip_bcc=self.recipients is None,
        )


def _named(recipients: Sequence[str], parsed: Sequence[Address | SMTPPath], dsn: DSNRequest) -> Mapping[str, str]:
    """Return by what name the request has a recipient, by its ASCII form; nothing where it is that, or has none."""
    forms = [str(address) for address in parsed]
    known = {*recipients, *forms}
    for name in dsn.recipients:
        if name not in known:
            raise InvalidSubmission(f"the DSN request is about {name!a:.100}, which is no recipient")
    return {form: text for text, form in zip(recipients, forms, strict=True) if text in dsn.recipients}


def _parse(text: str) -> Address | SMTPPath:
    return parse_path(text) if "[" in text or text.startswith("<") else parse_address(text)


def _domain(address: Address | SMTPPath) -> str:
    return address.domain.ascii if isinstance(address, Address) else str(address.host)


def _recipient(text: str, address: Address | SMTPPath, named: str, dsn: DSNRequest, rules: BaseRules) -> NewRecipient:
    """Return a recipient: `text` is its ASCII form, `named` by what the DSN request knows it."""
    domain = _domain(address)
    if not domain:
        raise InvalidSubmission(f"{text!r} has no domain to send to: is an address in the header malformed?")
    return NewRecipient(
        address=text,
        domain=domain,
        destination=domain,
        notify=dsn.notify_for(named),
        orcpt=dsn.orcpt_for(named),
        base_address=base_key(address, rules),
    )
