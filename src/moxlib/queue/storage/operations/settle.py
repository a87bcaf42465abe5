"""Settling claimed messages: outcomes, history and events of many deliveries in one transaction.

Whatever this worker no longer owns is left untouched, and so is what it owns by a later claim than the one it settles:
owner, attempt and time of the claim are the fencing token.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from types import MappingProxyType

from moxlib.queue.storage.operations.destination import lower_turns, lower_turns_of
from moxlib.queue.storage.operations.fromids import forget_fromids
from moxlib.queue.storage.operations.hooks import insert_hooks_of_events
from moxlib.queue.storage.operations.insert import insert_all
from moxlib.queue.storage.operations.rows import dump_extra, dump_results, micros, moment
from moxlib.queue.storage.operations.suppression import judge_recipients
from moxlib.queue.storage.settlement import GiveBack, Quarantine, Retire, Retry, Settlement
from moxlib.queue.storage.tx import DropFile, Given, Row, Tx, Value, in_lists
from moxlib.queue.types import AttemptResult, EventType, FeedbackResult, FeedbackSource, Message, Retired

__all__ = ["event_row", "insert_events", "lock_submissions", "retire_rows", "settle"]

OWNED = """SELECT id, attempts, claimed_at, destination, hold FROM moxlib_message
    WHERE owner = ? AND id IN ({ids}) ORDER BY id /*pg FOR UPDATE */"""
RETRY = """UPDATE moxlib_message SET owner = NULL, last_attempt = claimed_at, claimed_at = NULL, next_attempt = ?,
    hold = ?, results = ? WHERE id = ?"""
GIVE_BACK = "UPDATE moxlib_message SET owner = NULL, claimed_at = NULL, attempts = attempts - 1 WHERE id = ?"
QUARANTINE = """UPDATE moxlib_message SET owner = NULL, last_attempt = claimed_at, claimed_at = NULL, hold = 1,
    quarantine = ?, results = ? WHERE id = ?"""
RETIRED = """moxlib_retired (id, submission, destination, recipient, finished, keep_until, forget_at, hidden,
        event, attempts, max_attempts, last_attempt, transport, require_tls, results, base_address, fromid, feedback)"""
RETIRE = """SELECT m.id, m.submission, m.destination, m.recipient, given.finished, given.keep_until, given.forget_at,
        given.hidden, given.event, m.attempts, m.max_attempts, coalesce(m.claimed_at, m.last_attempt), m.transport,
        m.require_tls, given.results, m.base_address, m.fromid, m.feedback
    FROM given CROSS JOIN moxlib_message m WHERE m.id = given.id"""
HISTORY: Given = MappingProxyType(
    {
        "finished": "bigint",
        "keep_until": "bigint",
        "forget_at": "bigint",
        "hidden": "bigint",
        "event": "text",
        "results": "text",
        "id": "bigint",
    }
)
DELETE_MESSAGES = "DELETE FROM moxlib_message WHERE id IN ({ids})"
# Of two transactions that retire the last two messages of a submission, the second must see what the first deleted.
LOCK_SUBMISSIONS = "SELECT id FROM moxlib_submission WHERE id IN ({ids}) AND recipients > 1 ORDER BY id FOR UPDATE"
OUTSIDE = """SELECT submission, file, chunks FROM moxlib_content
    WHERE submission IN ({ids}) AND (file IS NOT NULL OR chunks IS NOT NULL)"""
DELETE_CHUNKS = "DELETE FROM moxlib_chunk WHERE submission = ?"
DELETE_CONTENT = """DELETE FROM moxlib_content WHERE submission IN ({ids})
    AND NOT EXISTS (SELECT 1 FROM moxlib_message m, moxlib_submission s WHERE s.id = moxlib_content.submission
        AND m.id >= s.id AND m.id < s.id + s.recipients)"""
HAS_CONTENT = "SELECT 1 FROM moxlib_content WHERE submission = ?"
DELETE_SUBMISSION = """DELETE FROM moxlib_submission WHERE id = ?
    AND NOT EXISTS (SELECT 1 FROM moxlib_message m
        WHERE m.id >= moxlib_submission.id AND m.id < moxlib_submission.id + moxlib_submission.recipients)
    AND NOT EXISTS (SELECT 1 FROM moxlib_retired r
        WHERE r.id >= moxlib_submission.id AND r.id < moxlib_submission.id + moxlib_submission.recipients)"""
EVENT = (
    "moxlib_event",
    (
        "at",
        "type",
        "account",
        "message",
        "recipient",
        "code",
        "enhanced",
        "error",
        "class",
        "suppressing",
        "message_id",
        "subject",
        "extra",
        "from_id",
        "dsn",
    ),
)

DSN_SOURCES = frozenset((FeedbackSource.DSN, FeedbackSource.BOUNCE))

EventRow = tuple[Value, ...]


def settle(
    tx: Tx, worker: int, settlements: Sequence[Settlement], *, now: datetime, drop_file: DropFile
) -> frozenset[int]:
    """Settle what the worker owns; return the ids it no longer does. `drop_file` removes a content file."""
    at = micros(now)
    owned = _owned(tx, worker, settlements)
    lost: set[int] = set()
    retry: list[Retry] = []
    give_back: list[GiveBack] = []
    retire: list[Retire] = []
    quarantine: list[Quarantine] = []
    for settlement in settlements:
        if settlement.message.id not in owned:
            lost.add(settlement.message.id)
            continue
        match settlement:
            case Retire():
                retire.append(settlement)
            case Retry():
                retry.append(settlement)
            case GiveBack():
                give_back.append(settlement)
            case Quarantine():
                quarantine.append(settlement)
    _retire(tx, retire, at, drop_file)
    _retry(tx, retry, owned)
    _give_back(tx, [settlement.message.id for settlement in give_back])
    _quarantine(tx, quarantine)
    told: list[Retire | Retry] = [*retire, *retry]
    if notifications := [s.notification for s in told if s.notification is not None]:
        insert_all(tx, notifications, drop_file=drop_file)
    suppressing = judge_recipients(tx, retire, now)
    events = [*_events(retire, at, suppressing), *_events(retry, at), *_events(quarantine, at)]
    insert_events(tx, events)
    plans = [*(s.hook for s in retire), *(s.hook for s in retry if s.delayed), *(None for _ in quarantine)]
    if any(plans):
        insert_hooks_of_events(tx, events, plans)
    return frozenset(lost)


def _events(
    settlements: Iterable[Retire | Retry | Quarantine], at: int, suppressing: Container[int] = ()
) -> Iterator[EventRow]:
    for s in settlements:
        match s:
            case Retire():
                yield event_row(s.message, s.event, s.result, at, suppressing=s.message.id in suppressing)
            case Quarantine():
                yield event_row(s.message, EventType.QUARANTINED, s.result, at)
            case Retry():
                if s.delayed:
                    yield event_row(s.message, EventType.DELAYED, s.result, at)


def _owned(tx: Tx, worker: int, settlements: Sequence[Settlement]) -> Mapping[int, tuple[str, bool]]:
    claims = {s.message.id: (s.message.attempts, s.message.last_attempt) for s in settlements}
    owned: dict[int, tuple[str, bool]] = {}
    for marks, piece in in_lists(sorted(claims)):
        for id_, attempts, claimed_at, destination, hold in tx.query(OWNED.format(ids=marks), (worker, *piece)):
            if claims[id_] == (attempts, moment(claimed_at)):
                owned[id_] = (destination, bool(hold))
    return owned


def event_row(
    message: Message | Retired,
    type_: EventType,
    result: AttemptResult | FeedbackResult,
    at: int,
    *,
    suppressing: bool = False,
) -> EventRow:
    """Return the event of a message's attempt, or of feedback on it; a delivery has no code and no error."""
    account, recipient = message.account, message.recipient
    dsn = isinstance(result, FeedbackResult) and result.source in DSN_SOURCES
    about = (message.message_id, message.subject, dump_extra(message.extra), message.fromid, int(dsn))
    if type_ is EventType.DELIVERED:
        return (at, "delivered", account, message.id, recipient, 0, "", "", "", 0, *about)
    class_ = result.reply_class.value if result.reply_class is not None else ""
    told = (result.code, result.enhanced, result.text, class_, int(suppressing))
    return (at, type_.value, account, message.id, recipient, *told, *about)


def insert_events(tx: Tx, rows: Iterable[EventRow]) -> None:
    """Append to the event log; last in its transaction, as one at a time does so.

    Ids are then seen to come in order: whoever read on from one has missed none before it.
    """
    rows = list(rows)
    if rows:
        tx.serialize("events")
        tx.insert_rows(*EVENT, rows)


def _retire(tx: Tx, settlements: Sequence[Retire], at: int, drop_file: DropFile) -> None:
    if not settlements:
        return
    kept: list[Row] = []
    gone: list[str] = []
    for s in settlements:
        row = history_row(s.message, s.result, s.event, at=at, keep_until=s.keep_until, forget_at=s.forget_at)
        if row is not None:
            kept.append(row)
        elif s.message.fromid:
            gone.append(s.message.fromid)
    retire_rows(tx, kept, [(s.message.id, s.message.base_id) for s in settlements], drop_file)
    forget_fromids(tx, gone)


def history_row(
    message: Message,
    result: AttemptResult,
    event: EventType,
    *,
    at: int,
    keep_until: datetime,
    forget_at: datetime | None,
) -> Row | None:
    """Return what goes into the history of a message; None if nothing is to be known of it any more."""
    until = micros(keep_until)
    forget = until if forget_at is None else max(until, micros(forget_at))
    if forget <= at:
        return None
    return (at, until, forget, int(until <= at), event.value, dump_results((*message.results, result)), message.id)


def retire_rows(tx: Tx, kept: Sequence[Row], gone: Sequence[tuple[int, int]], drop_file: DropFile) -> None:
    """Move messages out of the queue, and drop what nothing refers to any more.

    Args:
        tx: the transaction.
        kept: what goes into the history, by `history_row`.
        gone: (message id, submission id) of all that leave the queue.
        drop_file: removes a content file; called only once this is durable.
    """
    submissions = sorted({submission for _, submission in gone})
    lock_submissions(tx, submissions)
    outside: list[Row] = []
    for marks, piece in in_lists(submissions):
        outside += tx.query(OUTSIDE.format(ids=marks), piece)
    tx.insert_given(RETIRED, RETIRE, HISTORY, kept)
    for marks, piece in in_lists([id_ for id_, _ in gone]):
        tx.executemany(DELETE_MESSAGES.format(ids=marks), [piece])
    for marks, piece in in_lists(submissions):
        tx.executemany(DELETE_CONTENT.format(ids=marks), [piece])
    for submission, file, _ in outside:
        if tx.query(HAS_CONTENT, (submission,)):
            continue
        if file is None:
            tx.execute(DELETE_CHUNKS, (submission,))
        else:
            tx.after_commit(partial(drop_file, file))
    if len(kept) < len(gone):
        tx.executemany(DELETE_SUBMISSION, [(submission,) for submission in submissions])


def lock_submissions(tx: Tx, ids: Sequence[int]) -> None:
    """Keep other transactions from retiring, meanwhile, other messages of the same submissions."""
    if tx.concurrent:
        for marks, piece in in_lists(ids):
            tx.query(LOCK_SUBMISSIONS.format(ids=marks), piece)


def _retry(tx: Tx, settlements: Sequence[Retry], owned: Mapping[int, tuple[str, bool]]) -> None:
    if not settlements:
        return
    updates = []
    turns: dict[str, int] = {}
    for s in settlements:
        destination, held = owned[s.message.id]
        held = held or s.hold
        due = micros(s.next_attempt)
        updates.append((due, int(held), dump_results((*s.message.results, s.result)), s.message.id))
        if not held:
            turns[destination] = min(due, turns.get(destination, due))
    tx.executemany(RETRY, updates)
    lower_turns(tx, turns)


def _give_back(tx: Tx, ids: Sequence[int]) -> None:
    tx.executemany(GIVE_BACK, [(id_,) for id_ in ids])
    lower_turns_of(tx, ids)


def _quarantine(tx: Tx, settlements: Sequence[Quarantine]) -> None:
    tx.executemany(
        QUARANTINE,
        [(s.result.text, dump_results((*s.message.results, s.result)), s.message.id) for s in settlements],
    )
