"""From a notice to the notification that is queued: the DSN's data, its form, and its envelope. Pure."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

from moxlib._clock import Clock
from moxlib.dsn import DSN, MTA, Action, InvalidDSN, RecipientStatus, Returned, TypedAddress, compose, needs_utf8
from moxlib.dsn.types import is_message_id
from moxlib.errors import InputError
from moxlib.queue.config import QueueConfig, as_schedule
from moxlib.queue.fromid import plain
from moxlib.queue.notify import words
from moxlib.queue.notify.decide import Notice
from moxlib.queue.schedule import RetrySchedule
from moxlib.queue.submission import NewRecipient, NewSubmission, StoredContent
from moxlib.queue.suppression.feedback import shown
from moxlib.queue.types import AttemptResult, Message, RequireTLS, ResultKind
from moxlib.smtp import Address, EnhancedCode, parse_path

__all__ = ["POSTMASTER", "head_of", "is_report", "notification"]

POSTMASTER: Final = "postmaster"  # RFC 5321 4.5.1: the one mailbox that every host has
PREFIX: Final = b"Auto-Submitted: auto-replied\r\n"  # RFC 3834 3.1.7, RFC 5321 6.1
MAX_DIAGNOSTIC: Final = 2000  # characters, as the history keeps them
FUNCTION_ATTEMPTS: Final = 8  # of a schedule that is a function; as mox's

_report = re.compile(rb"(?:^|\n)content-type[ \t]*:[ \t\r\n]*multipart/report\b", re.IGNORECASE).search
_end = re.compile(rb"\r?\n\r?\n").search
_host = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,254}").match
_enhanced = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}").fullmatch


def notification(
    notice: Notice, returned: Returned | None, *, config: QueueConfig, clock: Clock, token: Callable[[], str]
) -> NewSubmission | None:
    """Return the submission that tells a message's sender of what became of it.

    Args:
        notice: what is told.
        returned: the message, or its header; None where it could not be read.
        config: whose host it is, and how it is delivered.
        clock: tells the date.
        token: makes the Message-ID and the envelope identifier.

    Returns:
        None for a message that is a report itself, which its header says.
    """
    if returned is not None and is_report(returned.header):
        return None
    now = clock.now()
    to = _sender(notice.message, config)
    dsn = _dsn(notice, returned, to=to, hostname=config.hostname, message_id=f"<{token()}@{config.hostname}>")
    # Only where the message had it may its sender be known to read it (RFC 6533 3).
    utf8 = notice.message.needs_smtputf8 and needs_utf8(dsn)
    content = compose(dsn, smtputf8=utf8, clock=clock)
    return _submission(notice, dsn, content, to=to, utf8=utf8, config=config, now=now, envid=token())


def is_report(header: bytes) -> bool:
    """Say whether a header is that of a report, of whose own fate none is made."""
    return _report(header) is not None


def head_of(content: bytes, limit: int) -> bytes:
    """Return the header of a message that may be cut off, of at most so many octets, cut between lines."""
    end = _end(content)
    header = content if end is None else content[: end.start()] + b"\r\n"
    if len(header) > limit or (end is None and not header.endswith(b"\n")):
        header = header[: header.rfind(b"\n", 0, limit) + 1]
    return header


def _sender(message: Message, config: QueueConfig) -> str:
    """Return the address to tell: the sender's, without a fromid, as mail to that is taken for feedback."""
    address = parse_path(message.sender).address
    if not message.fromid or not isinstance(address, Address):
        return message.sender
    return str(plain(address, message.fromid, config.fromids_for(message.account).separators_for(address)))


def _dsn(notice: Notice, returned: Returned | None, *, to: str, hostname: str, message_id: str) -> DSN:
    message = notice.message
    dsn = DSN(
        reporting_mta=MTA(name=hostname),
        recipients=(_status(notice),),
        subject=words.subject(notice),
        from_address=f"{POSTMASTER}@{hostname}",
        to_address=to,
        message_id=message_id,
        references=(message.message_id,) if is_message_id(message.message_id) else (),
        text=words.text(notice, hostname),
        arrival_date=message.queued,
        returned=returned,
    )
    try:
        return replace(dsn, original_envelope_id=message.envid)
    except InvalidDSN:  # none that could have been sent either
        return dsn


def _status(notice: Notice) -> RecipientStatus:
    message, result = notice.message, notice.result
    kind, diagnostic = _diagnostic(result)
    last = [each.started for each in notice.results if each.attempt > 0]
    return RecipientStatus(
        final_recipient=TypedAddress(address=message.recipient),
        action=notice.action,
        status=_code(notice),
        original_recipient=_original(message.orcpt),
        remote_mta=_remote(result),
        diagnostic_type=kind,
        diagnostic_text=diagnostic,
        last_attempt_date=last[-1] if last else None,
        final_log_id=str(message.id),
        will_retry_until=notice.retry_until,
    )


def _code(notice: Notice) -> EnhancedCode:
    """Return the status of the last attempt, else what is known beside it (RFC 3463)."""
    result = notice.result
    if notice.action in (Action.RELAYED, Action.DELIVERED):
        return EnhancedCode(2, 0, 0)
    if _enhanced(result.enhanced) and not result.enhanced.startswith("2"):
        return EnhancedCode.parse(result.enhanced)
    if notice.action is Action.DELAYED:
        return EnhancedCode(4, 0, 0)
    match result.kind:
        case ResultKind.SUPPRESSED:
            return EnhancedCode(5, 7, 1)  # delivery not authorized
        case ResultKind.DEFERRED | ResultKind.UNKNOWN | ResultKind.INTERRUPTED:
            return EnhancedCode(5, 4, 7)  # delivery time expired
        case _:
            return EnhancedCode(5, 0, 0)


def _diagnostic(result: AttemptResult) -> tuple[str, str]:
    """Return the type and the text of a Diagnostic-Code: a server's reply, or what was found here."""
    text = shown(result.summary, MAX_DIAGNOSTIC).strip()
    if result.command:  # the text begins with it, which is not the server's
        said = result.text.removeprefix(f"{result.command}: ")
        text = shown(replace(result, text=said).summary, MAX_DIAGNOSTIC).strip()
    if not text:
        return "", ""
    return ("smtp" if result.command or result.kind is ResultKind.DELIVERED else "x-moxlib"), text


def _original(orcpt: str) -> TypedAddress | None:
    kind, _, address = orcpt.partition(";")
    try:
        return TypedAddress(type=kind, address=address) if address else None
    except InputError:
        return None


def _remote(result: AttemptResult) -> MTA | None:
    if not result.command and result.kind is not ResultKind.DELIVERED:
        return None  # RFC 3464 2.3.5: the server that answered
    found = _host(result.peer)
    return MTA(name=found[0]) if found else None


def _submission(
    notice: Notice, dsn: DSN, content: bytes, *, to: str, utf8: bool, config: QueueConfig, now: datetime, envid: str
) -> NewSubmission:
    message = notice.message
    path = parse_path(to)
    domain = str(path.host)
    # Their failures say nothing of how the account's mail is received: they count for no suppression.
    recipient = NewRecipient(address=str(path), domain=domain, destination=domain)
    return NewSubmission(
        account=message.account,
        sender="",
        sender_domain="",
        recipients=(recipient,),
        content=StoredContent(size=len(content), sha256=hashlib.sha256(content).digest(), body=content),
        queued=now,
        next_attempt=now,
        max_attempts=_max_attempts(config, message.account, domain),
        message_id=dsn.message_id,
        subject=dsn.subject,
        prefix=PREFIX,
        needs_8bit=not content.isascii(),
        needs_smtputf8=utf8 or not str(path).isascii(),
        require_tls=RequireTLS.YES if message.require_tls is RequireTLS.YES else RequireTLS.POLICY,  # RFC 8689 5
        transport=config.dsn_for(message.account).transport,
        envid=envid,
    )


def _max_attempts(config: QueueConfig, account: str, domain: str) -> int:
    own = config.accounts.get(account)
    for limit in (own.max_attempts if own else None, config.max_attempts):
        if limit is not None:
            return limit
    schedule = as_schedule(config.schedule_for(named=None, account=account, recipient_domain=domain))
    return schedule.max_attempts if isinstance(schedule, RetrySchedule) else FUNCTION_ATTEMPTS
