"""Submissions: what goes into storage, checked, and the receipts that come back. Frozen data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import BinaryIO

from moxlib.queue.sending import SendingLimits
from moxlib.queue.types import NO_EXTRA, Message, RequireTLS

__all__ = ["Idempotency", "NewRecipient", "NewSubmission", "StoredContent", "Submission"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredContent:
    """Where a submission's content lies, and what it must be. Exactly one of the four places is set."""

    size: int
    sha256: bytes
    body: bytes | None = None
    file: str | None = None
    """A name in the queue's content directory."""
    chunks_of: int | None = None
    """The submission whose chunks in the database hold it."""
    spool: BinaryIO | None = field(default=None, compare=False, repr=False)
    """On its way into chunks: an open file to read it from."""

    def __post_init__(self) -> None:
        """Hold the "exactly one" above."""
        places = (self.body, self.file, self.chunks_of, self.spool)
        if places.count(None) != len(places) - 1:
            raise ValueError("exactly one of body, file, chunks_of and spool must be given")


@dataclass(frozen=True, slots=True, kw_only=True)
class Idempotency:
    """A submission's idempotency key, what was submitted under it, and until when that is remembered."""

    key: str
    fingerprint: bytes
    """SHA-256 of all that makes the submission what it is."""
    keep_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRecipient:
    """One recipient of a submission on its way into storage."""

    address: str
    domain: str
    """The recipient's domain in lower-case ASCII form; the literal for an IP address."""
    destination: str
    """The key under which deliveries are limited and taken in turn: the domain, unless configured otherwise."""
    notify: str = ""
    orcpt: str = ""
    base_address: str = ""
    """What a suppression of it is on; "": it is looked up on none."""
    mail_from: str = ""
    """Its own MAIL FROM, with a fromid; "": the submission's sender."""
    fromid: str = ""
    """What tells it from all others in bounces; "": nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSubmission:
    """A checked submission on its way into storage: one content, one or more recipients."""

    account: str
    sender: str
    """MAIL FROM, as submitted; empty for the null reverse-path."""
    sender_domain: str
    recipients: tuple[NewRecipient, ...]
    content: StoredContent
    queued: datetime
    next_attempt: datetime
    max_attempts: int
    message_id: str = ""
    subject: str = ""
    prefix: bytes = b""
    """Header lines sent before the content (Received, DKIM-Signature, a missing Date or Message-ID)."""
    needs_8bit: bool = False
    needs_smtputf8: bool = False
    require_tls: RequireTLS = RequireTLS.POLICY
    transport: str | None = None
    schedule: str | None = None
    """A schedule's text or its registered name; None for the configured one."""
    extra: Mapping[str, str] = field(default_factory=lambda: NO_EXTRA)
    idempotency: Idempotency | None = None
    envid: str = ""
    ret: str = ""
    is_report: bool = False
    limits: SendingLimits | None = None
    """How much the account may send in a day, this included; None: it is not counted."""

    def message(self, recipient: NewRecipient, *, id_: int, base_id: int, hold: bool) -> "Message":
        """Return one recipient's message as it is when it was just queued."""
        return Message(
            id=id_,
            base_id=base_id,
            account=self.account,
            sender=self.sender,
            sender_domain=self.sender_domain,
            recipient=recipient.address,
            recipient_domain=recipient.domain,
            destination=recipient.destination,
            queued=self.queued,
            hold=hold,
            attempts=0,
            max_attempts=self.max_attempts,
            next_attempt=self.next_attempt,
            last_attempt=None,
            in_flight=False,
            results=(),
            size=self.content.size,
            message_id=self.message_id,
            subject=self.subject,
            prefix=self.prefix,
            needs_8bit=self.needs_8bit,
            needs_smtputf8=self.needs_smtputf8,
            require_tls=self.require_tls,
            transport=self.transport,
            schedule=self.schedule,
            extra=self.extra,
            envid=self.envid,
            ret=self.ret,
            is_report=self.is_report,
            notify=recipient.notify,
            orcpt=recipient.orcpt,
            base_address=recipient.base_address,
            mail_from=recipient.mail_from,
            fromid=recipient.fromid,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """The queue's receipt for one recipient: the message is on disk."""

    id: int
    """Identifies this recipient's message in the queue and, later, in its history."""
    base_id: int
    """Shared by the recipients of one `submit()`."""
    recipient: str
    hold: bool = False
    """A hold rule matched: no attempt is made before the message is released."""
    suppressed: str = ""
    """Why this recipient is not mailed any more: its message will fail unsent, with event suppressed. "": it is."""
    fromid: str = ""
    """What is unique to it in its MAIL FROM, for who reads bounces; "": there is none."""
    repeated: bool = field(default=False, compare=False)
    """An earlier submit with the same idempotency key queued it; this one queued nothing."""
