"""The queue's vocabulary: messages, how their attempts ended, what was heard of them later, events.

All of it is frozen data, valid by construction, and knows nothing of SQL, sockets or JSON.
Times are aware datetimes in UTC; durations are `timedelta`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Self

from moxlib.queue.errors import InvalidFilter
from moxlib.queue.reply_class import ReplyClass

__all__ = [
    "NO_EXTRA",
    "AttemptResult",
    "Event",
    "EventType",
    "FeedbackResult",
    "FeedbackSource",
    "HoldRule",
    "Message",
    "RequireTLS",
    "ResultKind",
    "Retired",
]

NO_EXTRA: Mapping[str, str] = MappingProxyType({})


class RequireTLS(StrEnum):
    """What a message asks of the connections it travels on (RFC 8689)."""

    POLICY = "policy"
    """Follow the recipient domain's published policies: the default."""
    YES = "yes"
    """Verified TLS and the peer's REQUIRETLS on every hop, or no delivery."""
    NO = "no"
    """Delivery before secrecy: `TLS-Required: No`."""


class ResultKind(StrEnum):
    """How one attempt in a message's history ended."""

    DELIVERED = "delivered"
    DEFERRED = "deferred"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """The connection died between the final dot and the reply."""
    INTERRUPTED = "interrupted"
    """The worker died, or lost its lease, while the attempt was under way: nobody knows how it ended."""
    CANCELED = "canceled"
    """An operator dropped or failed the message."""
    QUARANTINED = "quarantined"
    """The stored content was damaged; nothing was sent."""
    SUPPRESSED = "suppressed"
    """The recipient is suppressed; nothing was sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptResult:
    """One attempt, as the history keeps it."""

    attempt: int
    """Counted from 1; 0 for what an operator did between attempts."""
    kind: ResultKind
    started: datetime
    duration: timedelta = timedelta(0)
    code: int = 0
    """The SMTP reply code; 0 where no reply was involved."""
    enhanced: str = ""
    """The enhanced status code with its class (`5.1.1`), or empty."""
    text: str = ""
    transport: str = ""
    peer: str = ""
    """Host name or address of the server that answered, where there was one."""
    command: str = ""
    """What a refusal answered, such as "RCPT TO"; "" where the failure was found here, or there is none."""
    reply_class: ReplyClass | None = None
    """What a failure means, by its code and text; None for an attempt that did not fail."""
    dialed: tuple[tuple[str, str], ...] = ()
    """Host and address of each connection tried or used, in order."""
    tls: str = ""
    """What protected the connection, such as "tls1.3 dane"."""

    @property
    def summary(self) -> str:
        """Code, enhanced code and text in one line: `550 5.1.1 RCPT TO: no such user`."""
        return " ".join(part for part in (str(self.code or ""), self.enhanced, self.text) if part)


class EventType(StrEnum):
    """What can happen; the names are mox's webhook events, and those of what only the queue itself tells."""

    DELIVERED = "delivered"
    DELAYED = "delayed"
    FAILED = "failed"
    SUPPRESSED = "suppressed"
    CANCELED = "canceled"
    RELAYED = "relayed"
    """A DSN says that it went to a system that tells no more."""
    EXPANDED = "expanded"
    """A DSN says that it reached a list or an alias, and went on from there to several."""
    UNRECOGNIZED = "unrecognized"
    """Something came in for the address that its feedback goes to, and is none."""
    COMPLAINED = "complained"
    """The recipient called it spam. Ours."""
    QUARANTINED = "quarantined"
    """Its stored content was found damaged. The queue's own."""
    WEBHOOK_DISABLED = "webhook_disabled"
    """An endpoint answered 410 to the webhook of this message's event, and is sent no more; `error` names it."""


class FeedbackSource(StrEnum):
    """What kind of mail told something of a message."""

    DSN = "dsn"
    """A delivery status notification (RFC 3464)."""
    BOUNCE = "bounce"
    """A bounce of another form, recognised by its words."""
    COMPLAINT = "complaint"
    """An abuse report (RFC 5965)."""
    OTHER = "other"
    """None of these, such as an automatic reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackResult:
    """What mail that came in told of a message, as the history keeps it."""

    at: datetime
    """When it was handed in."""
    event: EventType
    source: FeedbackSource
    digest: str
    """Tells the mail from others: handed in again, it changes nothing."""
    code: int = 0
    """The reply code in it; 400, 500 or 200 by the status code where it has none; 0 for none."""
    enhanced: str = ""
    text: str = ""
    reply_class: ReplyClass | None = None
    """What a failure means."""
    recipient: str = ""
    """The address it names, which may be another than the message's: where that was forwarded to."""
    reporter: str = ""
    """The server that wrote it."""
    report_id: str = ""
    """The Message-ID of the mail."""
    suppressing: bool = False
    """The recipient is suppressed because of it."""

    @property
    def summary(self) -> str:
        """Code, enhanced code and text in one line; of a reply, its text, which begins with them."""
        if self.code and self.text.startswith(str(self.code)):
            return self.text
        return " ".join(part for part in (str(self.code or ""), self.enhanced, self.text) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One recipient's message in the queue."""

    id: int
    base_id: int
    account: str
    sender: str
    sender_domain: str
    recipient: str
    recipient_domain: str
    destination: str
    queued: datetime
    hold: bool
    attempts: int
    """Attempts begun, the one under way included."""
    max_attempts: int
    next_attempt: datetime
    last_attempt: datetime | None
    in_flight: bool
    """A worker has claimed it: an attempt is under way or about to begin."""
    results: tuple[AttemptResult, ...]
    size: int
    """Bytes of the content, without `prefix`."""
    message_id: str = ""
    subject: str = ""
    prefix: bytes = b""
    needs_8bit: bool = False
    needs_smtputf8: bool = False
    require_tls: RequireTLS = RequireTLS.POLICY
    transport: str | None = None
    schedule: str | None = None
    quarantine: str = ""
    """Why the content is known to be damaged; empty when nothing is known against it."""
    extra: Mapping[str, str] = field(default_factory=lambda: NO_EXTRA)
    envid: str = ""
    """The envelope identifier (RFC 3461 4.4), by which DSNs of others are matched."""
    ret: str = ""
    """What a DSN is to return: "FULL", "HDRS", or "" as who writes it likes."""
    notify: str = ""
    """When a DSN is wanted, as in RCPT TO's NOTIFY: such as "FAILURE,DELAY"; "" by default."""
    orcpt: str = ""
    """The original recipient, as in RCPT TO's ORCPT: such as "rfc822;user@example.org"."""
    is_report: bool = False
    """It is a DMARC or TLS report: never sent without TLS only because TLS failed, and not reported about."""
    base_address: str = ""
    """What a suppression of its recipient is on; "": it is looked up on none."""
    mail_from: str = ""
    """Its own MAIL FROM, with a fromid; "": `sender`."""
    fromid: str = ""
    """What tells it from all others in bounces; "": nothing."""
    feedback: tuple[FeedbackResult, ...] = ()
    """What mail that came in told of it, in order."""

    def dialed(self, host: str) -> tuple[str, ...]:
        """Return the addresses of a host that earlier attempts dialled, in order."""
        return tuple(address for result in self.results for name, address in result.dialed if name == host)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retired:
    """A finished message, as the history keeps it."""

    id: int
    base_id: int
    account: str
    sender: str
    recipient: str
    destination: str
    queued: datetime
    finished: datetime
    keep_until: datetime
    event: EventType
    """How it ended: delivered, failed, suppressed or canceled."""
    attempts: int
    max_attempts: int
    last_attempt: datetime | None
    results: tuple[AttemptResult, ...]
    size: int
    message_id: str = ""
    subject: str = ""
    require_tls: RequireTLS = RequireTLS.POLICY
    transport: str | None = None
    schedule: str | None = None
    extra: Mapping[str, str] = field(default_factory=lambda: NO_EXTRA)
    envid: str = ""
    base_address: str = ""
    fromid: str = ""
    feedback: tuple[FeedbackResult, ...] = ()
    """What mail that came in told of it, in order."""

    @property
    def success(self) -> bool:
        """Whether the next server took responsibility for it."""
        return self.event is EventType.DELIVERED


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the durable event log, written in the transaction of what it tells."""

    id: int
    """Grows along the log; the cursor for reading on."""
    at: datetime
    type: EventType
    account: str
    message: int
    """The message's id."""
    recipient: str
    code: int = 0
    enhanced: str = ""
    error: str = ""
    reply_class: ReplyClass | None = None
    """What a failure means; None for an event that is none."""
    suppressing: bool = False
    """The recipient is suppressed because of it."""
    message_id: str = ""
    """Of the message's header, in `<>`."""
    subject: str = ""
    extra: Mapping[str, str] = field(default_factory=lambda: NO_EXTRA)
    """What was submitted with the message."""
    from_id: str = ""
    """The part of MAIL FROM that is the message's alone; "" if it has none."""
    dsn: bool = False
    """A delivery status notification told it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRule:
    """Hold what matches all the set fields. An empty field matches anything; an empty rule is "everything".

    Domains are compared in lower-case ASCII form.
    """

    account: str = ""
    sender_domain: str = ""
    recipient_domain: str = ""
    id: int = field(default=0, compare=False)

    @classmethod
    def of(cls, conditions: Mapping[str, Any]) -> Self:
        """Build a rule from loose data (a command line, a query string).

        Raises:
            InvalidFilter: a field does not exist; the text names it and those that do.
        """
        known = ("account", "sender_domain", "recipient_domain")
        unknown = sorted(set(conditions) - set(known))
        if unknown:
            raise InvalidFilter(f"unknown hold rule field {unknown[0]!r}; known: {', '.join(known)}")
        return cls(**conditions)
