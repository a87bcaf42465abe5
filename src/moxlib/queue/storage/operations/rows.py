"""Rows to data and back: times as microseconds, results and extra as JSON."""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import wraps
from types import MappingProxyType
from typing import Any, TypeVar

from moxlib._making import maker
from moxlib.queue.errors import StorageDamaged
from moxlib.queue.reply_class import ReplyClass
from moxlib.queue.storage.tx import Row
from moxlib.queue.types import (
    NO_EXTRA,
    AttemptResult,
    Event,
    EventType,
    FeedbackResult,
    FeedbackSource,
    HoldRule,
    Message,
    RequireTLS,
    ResultKind,
    Retired,
)

__all__ = [
    "EVENT_COLUMNS",
    "MESSAGE_COLUMNS",
    "MESSAGE_TABLES",
    "RETIRED_COLUMNS",
    "RETIRED_TABLES",
    "dump_extra",
    "dump_feedback",
    "dump_results",
    "event_of",
    "hold_rule_of",
    "load_feedback",
    "load_results",
    "message_of",
    "micros",
    "moment",
    "retired_of",
]

R = TypeVar("R")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
_POLICY = RequireTLS.POLICY
_KINDS = {kind.value: kind for kind in ResultKind}
_make_message = maker(Message)


def _of_sound_rows(convert: Callable[[Row], R]) -> Callable[[Row], R]:
    """Let a row that this module never wrote be told as what it is: damage."""

    @wraps(convert)
    def checked(row: Row) -> R:
        try:
            return convert(row)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            text = f"row {row[0]!a:.40} of the database is damaged ({type(error).__name__}: {error!a:.200})"
            raise StorageDamaged(text) from error

    return checked


def micros(moment: datetime) -> int:
    """Return microseconds since 1970. Exact: a float's spacing at today's seconds is a quarter of a microsecond."""
    return round(moment.timestamp() * 1e6)


def moment(micros: int) -> datetime:
    """Return the aware UTC datetime of microseconds since 1970."""
    return EPOCH + timedelta(0, 0, micros)


def dump_extra(extra: Mapping[str, str]) -> str:
    """Return a string map as JSON."""
    return _encode(dict(extra)) if extra else "{}"


def _load_extra(text: str) -> Mapping[str, str]:
    return MappingProxyType(json.loads(text)) if text != "{}" else NO_EXTRA


def dump_results(results: tuple[AttemptResult, ...]) -> str:
    """Return attempt results as JSON, an array each."""
    return _encode(
        [
            [
                r.attempt,
                r.kind.value,
                micros(r.started),
                r.duration // MICROSECOND,
                r.code,
                r.enhanced,
                r.text,
                r.transport,
                r.peer,
                *_more(r),
            ]
            for r in results
        ]
    )


def _more(result: AttemptResult) -> tuple[dict[str, object], ...]:
    """Return what not every attempt has, by name; nothing, where there is none of it."""
    more: dict[str, object] = {}
    if result.command:
        more["command"] = result.command
    if result.reply_class is not None:
        more["class"] = result.reply_class.value
    if result.dialed:
        more["dialed"] = result.dialed
    if result.tls:
        more["tls"] = result.tls
    return (more,) if more else ()


def load_results(text: str) -> tuple[AttemptResult, ...]:
    """Read attempt results back."""
    if text == "[]":
        return ()
    return tuple(
        AttemptResult(
            attempt=attempt,
            kind=_KINDS[kind],
            started=moment(started),
            duration=timedelta(microseconds=duration),
            code=code,
            enhanced=enhanced,
            text=text,
            transport=transport,
            peer=peer,
            **(_load_more(more[0]) if more else {}),
        )
        for attempt, kind, started, duration, code, enhanced, text, transport, peer, *more in json.loads(text)
    )


def _load_more(more: dict[str, Any]) -> dict[str, Any]:
    return {
        "command": more.get("command", ""),
        "reply_class": _class_of(more.get("class", "")),
        "dialed": tuple([(host, address) for host, address in more.get("dialed", ())]),
        "tls": more.get("tls", ""),
    }


def _class_of(name: str) -> ReplyClass | None:
    return ReplyClass(name) if name else None


def dump_feedback(feedback: tuple[FeedbackResult, ...]) -> str:
    """Return what came in about a message as JSON, an object each; nothing is an empty text."""
    if not feedback:
        return ""
    return _encode([_fields_of(result) for result in feedback])


def _fields_of(result: FeedbackResult) -> dict[str, object]:
    fields: dict[str, object] = {
        "at": micros(result.at),
        "event": result.event.value,
        "source": result.source.value,
        "digest": result.digest,
        "code": result.code,
        "enhanced": result.enhanced,
        "text": result.text,
        "reply_class": "" if result.reply_class is None else result.reply_class.value,
        "recipient": result.recipient,
        "reporter": result.reporter,
        "report_id": result.report_id,
        "suppressing": result.suppressing,
    }
    return {name: value for name, value in fields.items() if value}


def load_feedback(text: str) -> tuple[FeedbackResult, ...]:
    """Read back what came in about a message."""
    if not text:
        return ()
    return tuple(
        FeedbackResult(
            **fields
            | {
                "at": moment(fields["at"]),
                "event": EventType(fields["event"]),
                "source": FeedbackSource(fields["source"]),
                "reply_class": _class_of(fields.get("reply_class", "")),
            }
        )
        for fields in json.loads(text)
    )


MESSAGE_TABLES = "moxlib_message m JOIN moxlib_submission s ON s.id = m.submission"

MESSAGE_COLUMNS = """m.id, m.submission, s.account, s.sender, s.sender_domain, m.recipient, m.recipient_domain,
    m.destination, s.queued, m.hold, m.attempts, m.max_attempts, m.next_attempt,
    coalesce(m.claimed_at, m.last_attempt), m.owner, m.results, s.size, s.message_id, s.subject, s.prefix,
    s.needs_8bit, s.needs_smtputf8, m.require_tls, m.transport, s.schedule, m.quarantine, s.extra, s.envid, s.ret,
    s.is_report, m.notify, m.orcpt, m.base_address, m.mail_from,
    m.fromid, m.feedback"""


@_of_sound_rows
def message_of(row: Row) -> Message:
    """Return the message of a row of `MESSAGE_COLUMNS`."""
    (
        id_,
        submission,
        account,
        sender,
        sender_domain,
        recipient,
        recipient_domain,
        destination,
        queued,
        hold,
        attempts,
        max_attempts,
        next_attempt,
        last_attempt,
        owner,
        results,
        size,
        message_id,
        subject,
        prefix,
        needs_8bit,
        needs_smtputf8,
        require_tls,
        transport,
        schedule,
        quarantine,
        extra,
        envid,
        ret,
        is_report,
        notify,
        orcpt,
        base_address,
        mail_from,
        fromid,
        feedback,
    ) = row
    return _make_message(
        id=id_,
        base_id=submission,
        account=account,
        sender=sender,
        sender_domain=sender_domain,
        recipient=recipient,
        recipient_domain=recipient_domain,
        destination=destination,
        queued=moment(queued),
        hold=bool(hold),
        attempts=attempts,
        max_attempts=max_attempts,
        next_attempt=moment(next_attempt),
        last_attempt=None if last_attempt is None else moment(last_attempt),
        in_flight=owner is not None,
        results=load_results(results),
        size=size,
        message_id=message_id,
        subject=subject,
        prefix=prefix,
        needs_8bit=bool(needs_8bit),
        needs_smtputf8=bool(needs_smtputf8),
        require_tls=_POLICY if require_tls == "policy" else RequireTLS(require_tls),
        transport=transport,
        schedule=schedule,
        quarantine=quarantine,
        extra=_load_extra(extra),
        envid=envid,
        ret=ret,
        is_report=bool(is_report),
        notify=notify,
        orcpt=orcpt,
        base_address=base_address,
        mail_from=mail_from,
        fromid=fromid,
        feedback=load_feedback(feedback),
    )


RETIRED_TABLES = "moxlib_retired m JOIN moxlib_submission s ON s.id = m.submission"

RETIRED_COLUMNS = """m.id, m.submission, s.account, s.sender, m.recipient, m.destination, s.queued, m.finished,
    m.keep_until, m.event, m.attempts, m.max_attempts, m.last_attempt, m.results, s.size, s.message_id, s.subject,
    m.require_tls, m.transport, s.schedule, s.extra, s.envid, m.base_address, m.fromid,
    m.feedback"""


@_of_sound_rows
def retired_of(row: Row) -> Retired:
    """Return the retired message of a row of `RETIRED_COLUMNS`."""
    (
        id_,
        submission,
        account,
        sender,
        recipient,
        destination,
        queued,
        finished,
        keep_until,
        event,
        attempts,
        max_attempts,
        last_attempt,
        results,
        size,
        message_id,
        subject,
        require_tls,
        transport,
        schedule,
        extra,
        envid,
        base_address,
        fromid,
        feedback,
    ) = row
    return Retired(
        id=id_,
        base_id=submission,
        account=account,
        sender=sender,
        recipient=recipient,
        destination=destination,
        queued=moment(queued),
        finished=moment(finished),
        keep_until=moment(keep_until),
        event=EventType(event),
        attempts=attempts,
        max_attempts=max_attempts,
        last_attempt=None if last_attempt is None else moment(last_attempt),
        results=load_results(results),
        size=size,
        message_id=message_id,
        subject=subject,
        require_tls=RequireTLS(require_tls),
        transport=transport,
        schedule=schedule,
        extra=_load_extra(extra),
        envid=envid,
        base_address=base_address,
        fromid=fromid,
        feedback=load_feedback(feedback),
    )


EVENT_COLUMNS = """id, at, type, account, message, recipient, code, enhanced, error, class, suppressing, message_id,
    subject, extra, from_id, dsn"""


@_of_sound_rows
def event_of(row: Row) -> Event:
    """Return the event of a row of `EVENT_COLUMNS`."""
    (
        id_,
        at,
        type_,
        account,
        message,
        recipient,
        code,
        enhanced,
        error,
        class_,
        suppressing,
        message_id,
        subject,
        extra,
        from_id,
        dsn,
    ) = row
    return Event(
        id=id_,
        at=moment(at),
        type=EventType(type_),
        account=account,
        message=message,
        recipient=recipient,
        code=code,
        enhanced=enhanced,
        error=error,
        reply_class=_class_of(class_),
        suppressing=bool(suppressing),
        message_id=message_id,
        subject=subject,
        extra=_load_extra(extra),
        from_id=from_id,
        dsn=bool(dsn),
    )


def hold_rule_of(row: Row) -> HoldRule:
    """Return the hold rule of a row (id, account, sender_domain, recipient_domain)."""
    id_, account, sender_domain, recipient_domain = row
    return HoldRule(id=id_, account=account, sender_domain=sender_domain, recipient_domain=recipient_domain)
