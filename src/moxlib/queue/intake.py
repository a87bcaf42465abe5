"""From what a caller submits to what storage takes: checks, envelope, missing headers, content.

Everything is checked before anything is stored; where content is large, it is streamed and checked as it passes.
"""

import asyncio
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.message import Message as EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from moxlib.message import (
    MAX_HEADER,
    HeaderFacts,
    LineCheck,
    LineFacts,
    check_lines,
    envelope_of,
    inspect_header,
    serialize,
)
from moxlib.queue.config import QueueConfig, as_schedule
from moxlib.queue.dsn_request import NO_REQUEST, DSNRequest
from moxlib.queue.errors import InvalidSchedule, InvalidSubmission, MessageTooLarge, TooManyRecipients
from moxlib.queue.fingerprint import fingerprint, message_digest
from moxlib.queue.fromid import FromIDForSeveral, InvalidFromID, fromid_of, mail_from
from moxlib.queue.schedule import MAX_WAIT, RetrySchedule
from moxlib.queue.selection import is_text
from moxlib.queue.sending import SendingLimits
from moxlib.queue.storage.content import ContentWriter
from moxlib.queue.suppression import BaseRules, base_key
from moxlib.queue.types import Idempotency, NewRecipient, NewSubmission, RequireTLS, StoredContent
from moxlib.smtp import Address, parse_address, parse_path
from moxlib.smtp import Path as SMTPPath

__all__ = ["Entropy", "MessageSource", "Options", "prepare"]

MessageSource: TypeAlias = "EmailMessage[Any, Any] | bytes | str | os.PathLike[str] | BinaryIO"
"""A message object, its bytes with CRLF line ends, a file's path, or an open binary file."""

READ = 256 * 1024  # bytes read at once from a file
MAX_ATTEMPTS = 1_000_000  # more than two years of one a minute; the history keeps them all in one row
FUNCTION_ATTEMPTS = 1000  # for schedules that are functions, and so end when they say so
MAX_KEY = 255  # characters of an idempotency key: a UUID, an order's number, an HTTP header's value
MAX_EXTRA = 64 * 1024  # characters of keys and values together: they travel with every event of the message
BLANK_LINE = b"\r\n\r\n"
SECOND = timedelta(seconds=1)

_surrogate = re.compile(r"[\ud800-\udfff]").search  # what UTF-8 cannot encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `Queue.submit` was asked for, beside the message."""

    account: str = ""
    sender: str | None = None
    recipients: Sequence[str] | None = None
    extra: Mapping[str, str] | None = None
    schedule: str | RetrySchedule | None = None
    max_attempts: int | None = None
    transport: str | None = None
    require_tls: RequireTLS | None = None
    not_before: datetime | None = None
    idempotency_key: str | None = None
    idempotency_digest: bytes | None = None
    dsn: DSNRequest | None = None
    is_report: bool = False
    login: str | None = None
    fromid: bool | str | None = None
    keep_doubles: bool = False
    limits: SendingLimits | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entropy:
    """Where what nobody may guess comes from."""

    token: Callable[[], str]
    """Makes the left-hand side of Message-IDs, and envelope identifiers."""
    octets: Callable[[int], bytes]
    """Returns so many random octets, for fromids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Envelope:
    """Sender and recipients as given or found, parsed."""

    sender: Address | SMTPPath | None
    recipients: tuple[NewRecipient, ...]
    needs_smtputf8: bool
    strip_bcc: bool
    """The recipients came from the header, so its Bcc fields have done their work."""


async def prepare(
    source: MessageSource,
    options: Options,
    *,
    config: QueueConfig,
    writer: ContentWriter,
    now: datetime,
    random: Entropy,
) -> NewSubmission:
    """Check a message and its options, write its content, and return what storage takes.

    Raises:
        InvalidSubmission: options that cannot be, or a file that cannot be read.
        InvalidAddress: the sender or a recipient.
        InvalidMessage: bare CR or LF, no header, a header that cannot be.
        MessageTooLarge, TooManyRecipients: over the configured limits.
        InvalidSchedule: a schedule that is neither registered nor readable.
        StorageFull, StorageReadOnly: the content could not be written.
    """
    _check_options(options, config, now)
    digest: bytes | None = None
    if isinstance(source, EmailMessage):
        given = _Given.of_message(source, options)
        data = serialize(source)
        if options.idempotency_key is not None:
            digest = message_digest(source)
    elif isinstance(source, bytes | bytearray | memoryview):
        given = _Given.of(options)
        data = bytes(source)
    else:
        given = _Given.of(options)
        if not isinstance(source, str | os.PathLike) and not callable(getattr(source, "read", None)):
            what = type(source).__name__
            raise InvalidSubmission(f"a message is an EmailMessage, bytes, a path or a binary file; {what} is neither")
        taken = await asyncio.to_thread(_take_file, source, given, config, writer)
        return _submission(options, *taken, config=config, now=now, random=random, digest=None)
    if len(data) > config.inline_content:
        taken = await asyncio.to_thread(_take_bytes, data, given, config, writer)
    else:
        taken = _take_bytes(data, given, config, writer)
    return _submission(options, *taken, config=config, now=now, random=random, digest=digest)


@dataclass(frozen=True, slots=True)
class _Given:
    """The envelope as far as the caller gave it; what is None comes from the header."""

    sender: str | None
    recipients: Sequence[str] | None
    null_sender: bool
    """The caller said that there is no sender; a header that names none does not."""
    dsn: DSNRequest
    account: str
    keep_doubles: bool

    @classmethod
    def of(cls, options: Options) -> "_Given":
        dsn = options.dsn or NO_REQUEST
        null_sender = options.sender == ""
        return cls(options.sender, options.recipients, null_sender, dsn, options.account, options.keep_doubles)

    @classmethod
    def of_message(cls, message: "EmailMessage[Any, Any]", options: Options) -> "_Given":
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

    def complete(self, header: HeaderFacts, config: QueueConfig) -> _Envelope:
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
        return _Envelope(
            sender=mail_from,
            recipients=tuple(
                [_recipient(text, address, named.get(text, text), self.dsn, rules) for text, address in wanted]
            ),
            needs_smtputf8=any(a.needs_smtputf8 for a in parsed)
            or (mail_from is not None and mail_from.needs_smtputf8),
            strip_bcc=self.recipients is None,
        )


_Taken: TypeAlias = tuple[HeaderFacts, LineFacts, StoredContent, _Envelope]


def _take_bytes(data: bytes, given: _Given, config: QueueConfig, writer: ContentWriter) -> _Taken:
    if len(data) > config.max_message_size:  # before the passes over it
        raise MessageTooLarge(config.max_message_size)
    lines = check_lines(data)
    header = inspect_header(data)
    envelope = given.complete(header, config)
    writer.write(_without_bcc(data, header) if envelope.strip_bcc and header.bcc_spans else data)
    if not lines.ends_in_crlf:
        writer.write(b"\r\n")
    return header, lines, writer.finish(), envelope


def _take_file(
    source: str | os.PathLike[str] | BinaryIO, given: _Given, config: QueueConfig, writer: ContentWriter
) -> _Taken:
    check = LineCheck()
    with _opened(source) as file:
        head = _read(file)
        while BLANK_LINE not in head and len(head) <= MAX_HEADER and (chunk := _read(file)):
            head += chunk
        check.feed(head)
        header = inspect_header(head)
        envelope = given.complete(header, config)
        writer.write(_without_bcc(head, header) if envelope.strip_bcc and header.bcc_spans else head)
        while chunk := _read(file):
            check.feed(chunk)
            writer.write(chunk)
    lines = check.finish()
    if not lines.ends_in_crlf:
        writer.write(b"\r\n")
    return header, lines, writer.finish(), envelope


@contextmanager
def _opened(source: str | os.PathLike[str] | BinaryIO) -> Iterator[BinaryIO]:
    if not isinstance(source, str | os.PathLike):
        yield source
        return
    try:
        file = Path(source).open("rb")  # noqa: SIM115 - closed below; only the opening's errors are translated here
    except OSError as error:
        raise InvalidSubmission(f"{os.fspath(source)}: cannot be read: {error.strerror or error}") from error
    with file:
        yield file


def _read(file: BinaryIO) -> bytes:
    try:
        chunk = file.read(READ)
    except UnicodeDecodeError as error:  # only text mode decodes
        raise InvalidSubmission("the message must be read as bytes: open it in binary mode") from error
    except OSError as error:
        raise InvalidSubmission(f"the message cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a closed file
        raise InvalidSubmission(f"the message cannot be read: {error}") from error
    if not isinstance(chunk, bytes):
        raise InvalidSubmission(
            f"the message must be read as bytes, not {type(chunk).__name__}: open it in binary mode"
        )
    return chunk


def _without_bcc(data: bytes, header: HeaderFacts) -> bytes:
    return header.without_bcc() + data[header.size :]


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


def _submission(
    options: Options,
    header: HeaderFacts,
    lines: LineFacts,
    content: StoredContent,
    envelope: _Envelope,
    *,
    config: QueueConfig,
    now: datetime,
    random: Entropy,
    digest: bytes | None,
) -> NewSubmission:
    sender, token = envelope.sender, random.token
    prefix, message_id = b"", header.message_id
    if config.add_missing_headers and not (header.has_date and message_id):
        prefix, message_id = _missing_headers(header, config, now, token)
    schedule = None if options.schedule is None else str(options.schedule)
    return NewSubmission(
        account=options.account,
        sender="" if sender is None else str(sender),
        sender_domain=""
        if sender is None
        else str(sender.domain.ascii if isinstance(sender, Address) else sender.host),
        recipients=_with_fromids(envelope, options, config, random),
        content=content,
        queued=now,
        next_attempt=now if options.not_before is None else max(now, options.not_before),
        max_attempts=_max_attempts(options, config, schedule, {r.domain for r in envelope.recipients}),
        message_id=message_id,
        subject=header.subject,
        prefix=prefix,
        needs_8bit=lines.eight_bit,
        needs_smtputf8=header.needs_smtputf8 or envelope.needs_smtputf8,
        require_tls=_require_tls(options, header),
        transport=options.transport,
        schedule=schedule,
        extra=dict(options.extra or {}),
        idempotency=_idempotency(
            options, envelope, options.idempotency_digest or digest or content.sha256, config, now
        ),
        envid=options.dsn.envid if options.dsn is not None and options.dsn.envid else token(),
        ret=options.dsn.ret if options.dsn is not None else "",
        is_report=options.is_report,
        limits=options.limits,
    )


def _with_fromids(
    envelope: _Envelope, options: Options, config: QueueConfig, random: Entropy
) -> tuple[NewRecipient, ...]:
    """Return the recipients, each with a MAIL FROM of its own where that is wanted.

    Raises:
        InvalidFromID: it is wanted, and cannot be.
    """
    recipients, sender, wanted = envelope.recipients, envelope.sender, options.fromid
    config_ = config.fromids_for(options.account)
    if wanted is False or (wanted is None and (options.login is None or not config_.separators)):
        return recipients
    if not isinstance(sender, Address):
        if wanted is None:
            return recipients
        raise InvalidFromID("only an address with a domain can have a fromid", "" if sender is None else str(sender))
    separators = config_.separators_for(sender)
    if isinstance(wanted, str):
        if wanted not in fromid_of(sender, separators):
            raise InvalidFromID("the fromid does not stand in it, behind a separator", str(sender))
        if len(recipients) > 1:
            raise FromIDForSeveral(sender=str(sender))
        return tuple([replace(recipient, mail_from=str(sender), fromid=wanted) for recipient in recipients])
    login = None if options.login is None else parse_address(options.login)
    if wanted is None and not config_.applies(login, sender):
        return recipients
    made = mail_from(sender, recipients=len(recipients), separators=separators, random=random.octets)
    return tuple(
        [
            replace(recipient, mail_from=str(own.address), fromid=own.fromid)
            for recipient, own in zip(recipients, made, strict=True)
        ]
    )


def _idempotency(
    options: Options, envelope: _Envelope, digest: bytes, config: QueueConfig, now: datetime
) -> Idempotency | None:
    if options.idempotency_key is None:
        return None
    asked: list[object] = [
        sorted((options.extra or {}).items()),
        None if options.schedule is None else str(options.schedule),
        options.max_attempts,
        options.transport,
        options.require_tls,
    ]
    dsn = options.dsn or NO_REQUEST
    if dsn != NO_REQUEST or options.is_report:
        wanted = [[recipient.notify, recipient.orcpt] for recipient in envelope.recipients]
        asked += [dsn.ret, dsn.envid, wanted, options.is_report]
    if options.fromid is not None:
        asked.append(["fromid", options.fromid])
    found = fingerprint(
        digest,
        sender="" if envelope.sender is None else str(envelope.sender),
        recipients=[recipient.address for recipient in envelope.recipients],
        options=asked,
    )
    return Idempotency(key=options.idempotency_key, fingerprint=found, keep_until=now + config.keep_idempotency_keys)


def _missing_headers(
    header: HeaderFacts, config: QueueConfig, now: datetime, token: Callable[[], str]
) -> tuple[bytes, str]:
    """Return the lines for a missing Date and Message-ID (RFC 6409 8.2, 8.3), and the Message-ID there then is."""
    prefix, message_id = "", header.message_id
    if not header.has_date:
        prefix += f"Date: {format_datetime(now)}\r\n"
    if not message_id:
        message_id = f"<{token()}@{config.hostname}>"
        prefix += f"Message-ID: {message_id}\r\n"
    return prefix.encode("ascii"), message_id


def _max_attempts(options: Options, config: QueueConfig, schedule: str | None, domains: Iterable[str]) -> int:
    """Return the message's own maximum, else the account's, else the queue's, else what its schedule allows.

    Where the recipients' domains have schedules of their own, that is the longest one's: each ends by itself.
    """
    account = config.accounts.get(options.account)
    for limit in (options.max_attempts, account.max_attempts if account else None, config.max_attempts):
        if limit is not None:
            return limit
    schedules = [
        config.schedule_for(named=schedule, account=options.account, recipient_domain=domain) for domain in domains
    ]
    return max(s.max_attempts if isinstance(s, RetrySchedule) else FUNCTION_ATTEMPTS for s in schedules)


def _require_tls(options: Options, header: HeaderFacts) -> RequireTLS:
    """Return what the caller asked; else what the header does: `TLS-Required: No` (RFC 8689 5)."""
    if options.require_tls is not None:
        return RequireTLS(options.require_tls)
    return RequireTLS.NO if header.tls_required_no else RequireTLS.POLICY


def _check_options(options: Options, config: QueueConfig, now: datetime) -> None:
    if options.schedule is not None:
        _check_schedule(options.schedule, config)
    if options.max_attempts is not None and options.max_attempts not in range(1, MAX_ATTEMPTS + 1):
        raise InvalidSubmission(f"max_attempts must be 1 to {MAX_ATTEMPTS:,}, not {options.max_attempts!r:.100}")
    if options.not_before is not None:
        _check_not_before(options.not_before, now)
    if options.extra:
        _check_extra(options.extra)
    if options.require_tls is not None and options.require_tls not in tuple(RequireTLS):
        raise InvalidSubmission(f"require_tls is one of {', '.join(RequireTLS)}, not {options.require_tls!r:.100}")
    if not isinstance(options.fromid, bool | str | None):
        raise InvalidSubmission(f"fromid is True, False, None or a text, not {options.fromid!r:.100}")
    if not _is_text(options.account):
        raise InvalidSubmission("the account must be a text, without NUL and lone surrogates")
    if options.transport is not None and not _is_text(options.transport):
        raise InvalidSubmission("the transport must be a text, without NUL and lone surrogates")
    key = options.idempotency_key
    if key is not None and not (_is_text(key) and 1 <= len(key) <= MAX_KEY):
        raise InvalidSubmission(
            f"an idempotency key must be a text of 1 to {MAX_KEY} characters, without NUL and lone surrogates"
        )


def _is_text(value: str) -> bool:
    """Say whether every database takes it as text: UTF-8, without NUL."""
    return is_text(value) and "\0" not in value


def _check_schedule(schedule: object, config: QueueConfig) -> None:
    if not isinstance(schedule, str | RetrySchedule):
        raise InvalidSubmission("a message's schedule is a text; register a function in QueueConfig.schedules")
    if isinstance(schedule, str):
        as_schedule(config.schedules.get(schedule, schedule))
    elif any(wait % SECOND for wait in schedule.waits):  # it is stored with the message as its text
        raise InvalidSchedule("a message's waits are whole seconds", repr(schedule)[:200])


def _check_not_before(not_before: datetime, now: datetime) -> None:
    if not_before.tzinfo is None:
        raise InvalidSubmission("not_before must be an aware datetime (with a time zone)")
    if not_before > now + MAX_WAIT:
        raise InvalidSubmission(f"not_before is more than {MAX_WAIT // timedelta(days=1)} days ahead")


def _check_extra(extra: Mapping[str, str]) -> None:
    for key, value in extra.items():
        if {type(key), type(value)} != {str}:
            raise InvalidSubmission(f"extra maps strings to strings; {key!r:.100} does not")
        if _surrogate(key) or _surrogate(value):
            raise InvalidSubmission(f"extra cannot hold lone surrogates; {key!a:.100} does")
    if sum(len(key) + len(value) for key, value in extra.items()) > MAX_EXTRA:
        raise InvalidSubmission(f"extra is larger than {MAX_EXTRA} characters")
