"""From what a caller submits to what storage takes: checks, envelope, missing headers, content.

Everything is checked before anything is stored; where content is large, it is streamed and checked as it passes.
"""

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
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
    inspect_header,
    serialize,
)
from moxlib.queue.config import QueueConfig
from moxlib.queue.dsn_request import NO_REQUEST
from moxlib.queue.envelope import Envelope, GivenEnvelope
from moxlib.queue.errors import InvalidSubmission, MessageTooLarge
from moxlib.queue.fingerprint import fingerprint, message_digest
from moxlib.queue.fromid import FromIDForSeveral, InvalidFromID, fromid_of, mail_from
from moxlib.queue.schedule import RetrySchedule
from moxlib.queue.storage.content import ContentWriter
from moxlib.queue.submission import Idempotency, NewRecipient, NewSubmission, StoredContent
from moxlib.queue.submit_options import Options
from moxlib.queue.types import RequireTLS
from moxlib.smtp import Address, parse_address

__all__ = ["Entropy", "MessageSource", "prepare"]

MessageSource: TypeAlias = "EmailMessage[Any, Any] | bytes | str | os.PathLike[str] | BinaryIO"
"""A message object, its bytes with CRLF line ends, a file's path, or an open binary file."""

READ = 256 * 1024  # bytes read at once from a file
FUNCTION_ATTEMPTS = 1000  # for schedules that are functions, and so end when they say so
BLANK_LINE = b"\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entropy:
    """Where what nobody may guess comes from."""

    token: Callable[[], str]
    """Makes the left-hand side of Message-IDs, and envelope identifiers."""
    octets: Callable[[int], bytes]
    """Returns so many random octets, for fromids."""


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
    options.check(config, now)
    digest: bytes | None = None
    if isinstance(source, EmailMessage):
        given = GivenEnvelope.of_message(source, options)
        data = serialize(source)
        if options.idempotency_key is not None:
            digest = message_digest(source)
    elif isinstance(source, bytes | bytearray | memoryview):
        given = GivenEnvelope.of(options)
        data = bytes(source)
    else:
        given = GivenEnvelope.of(options)
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


_Taken: TypeAlias = tuple[HeaderFacts, LineFacts, StoredContent, Envelope]


def _take_bytes(data: bytes, given: GivenEnvelope, config: QueueConfig, writer: ContentWriter) -> _Taken:
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
    source: str | os.PathLike[str] | BinaryIO, given: GivenEnvelope, config: QueueConfig, writer: ContentWriter
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


def _submission(
    options: Options,
    header: HeaderFacts,
    lines: LineFacts,
    content: StoredContent,
    envelope: Envelope,
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
    envelope: Envelope, options: Options, config: QueueConfig, random: Entropy
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
    options: Options, envelope: Envelope, digest: bytes, config: QueueConfig, now: datetime
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
