"""What operators do to the queue: hold, release, reschedule, drop, fail, hold rules, and keeping the history short."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from moxlib.queue.hooks.records import PlanFor
from moxlib.queue.selection import INT64, MessageFilter
from moxlib.queue.storage.operations.destination import lower_turns_of
from moxlib.queue.storage.operations.fromids import forget_fromids
from moxlib.queue.storage.operations.hook_look import purge_hooks
from moxlib.queue.storage.operations.hooks import insert_hooks_of_events
from moxlib.queue.storage.operations.idempotency import purge_keys
from moxlib.queue.storage.operations.insert import insert_all
from moxlib.queue.storage.operations.rows import (
    MESSAGE_COLUMNS,
    MESSAGE_TABLES,
    hold_rule_of,
    message_of,
    micros,
)
from moxlib.queue.storage.operations.sending import purge_sent
from moxlib.queue.storage.operations.settle import (
    DELETE_SUBMISSION,
    event_row,
    history_row,
    insert_events,
    lock_submissions,
    retire_rows,
)
from moxlib.queue.storage.operations.where import Conditions, message_conditions
from moxlib.queue.storage.tx import DropFile, Tx, Value
from moxlib.queue.submission import NewSubmission
from moxlib.queue.types import AttemptResult, EventType, HoldRule, RequireTLS, ResultKind

__all__ = [
    "add_hold_rule",
    "add_next_attempt",
    "purge",
    "remove_hold_rule",
    "retire",
    "set_hold",
    "set_next_attempt",
    "set_require_tls",
    "set_transport",
]

LOCK = "/*pg FOR UPDATE OF m */"
LAST_RULE = "(SELECT coalesce(max(id), 0) FROM moxlib_hold_rule)"
FIND_RULE = """SELECT id, account, sender_domain, recipient_domain FROM moxlib_hold_rule
    WHERE account = ? AND sender_domain = ? AND recipient_domain = ?"""
ADD_RULE = "INSERT INTO moxlib_hold_rule (account, sender_domain, recipient_domain) VALUES (?, ?, ?)"
REMOVE_RULE = "DELETE FROM moxlib_hold_rule WHERE id = ?"
# In order of id, as everybody locks messages: so no two wait for each other.
HOLD_MATCHING = """UPDATE moxlib_message SET hold = 1 WHERE id IN
    (SELECT m.id FROM moxlib_message m JOIN moxlib_submission s ON s.id = m.submission
        WHERE m.hold = 0 AND (? = '' OR m.recipient_domain = ?) AND (? = '' OR s.account = ?)
        AND (? = '' OR s.sender_domain = ?) ORDER BY m.id /*pg FOR UPDATE OF m */)"""
PURGE_RETIRED = """DELETE FROM moxlib_retired WHERE id IN
    (SELECT id FROM moxlib_retired WHERE forget_at <= ? ORDER BY forget_at LIMIT ? /*pg FOR UPDATE SKIP LOCKED */)
    RETURNING submission, fromid"""
HIDE_RETIRED = """UPDATE moxlib_retired SET hidden = 1 WHERE id IN
    (SELECT id FROM moxlib_retired WHERE hidden = 0 AND keep_until < forget_at AND keep_until <= ? AND forget_at > ?
        ORDER BY keep_until LIMIT ?
        /*pg FOR UPDATE SKIP LOCKED */)"""
# The log is in order of time, and needs no index for it.
PURGE_EVENTS = """DELETE FROM moxlib_event WHERE at < ? AND id IN
    (SELECT id FROM moxlib_event ORDER BY id LIMIT ? /*pg FOR UPDATE SKIP LOCKED */)"""
IDLE_DESTINATIONS = "SELECT count(*) FROM moxlib_destination WHERE turn IS NULL"
PRUNE_DESTINATIONS = """DELETE FROM moxlib_destination WHERE name IN (SELECT name FROM moxlib_destination
    WHERE turn IS NULL AND coalesce(messages_full_at, 0) < ? AND coalesce(connections_full_at, 0) < ?
    /*pg FOR UPDATE SKIP LOCKED */)"""

MAX_IDLE_DESTINATIONS = 10_000  # kept for their next message, which then need not add them
PURGE_BATCH = 1000  # rows a call: a few milliseconds, so that purging never stands in the way of a submit


def _select_ids(tx: Tx, where: MessageFilter) -> list[int]:
    conditions = message_conditions(where)
    return _selected(tx, conditions)


def _selected(tx: Tx, conditions: Conditions) -> list[int]:
    sql = f"SELECT m.id FROM {MESSAGE_TABLES} WHERE {conditions.sql} ORDER BY m.id {LOCK}"  # noqa: S608 - values are parameters
    return [id_ for (id_,) in tx.query(sql, conditions.params)]


def _update(tx: Tx, ids: list[int], assignments: str, *params: Value) -> int:
    sql = f"UPDATE moxlib_message SET {assignments} WHERE id = ?"  # noqa: S608 - assignments are constants below
    tx.executemany(sql, [(*params, id_) for id_ in ids])
    return len(ids)


def set_hold(tx: Tx, where: MessageFilter, *, hold: bool) -> int:
    """Hold or release; returns how many changed. Releasing lifts a quarantine."""
    conditions = message_conditions(where)
    conditions.add("m.hold <> ?", int(hold))
    ids = _selected(tx, conditions)
    if hold:
        return _update(tx, ids, "hold = 1")
    _update(tx, ids, f"hold = 0, quarantine = '', rules_seen = {LAST_RULE}")
    lower_turns_of(tx, ids)
    return len(ids)


def set_next_attempt(tx: Tx, where: MessageFilter, at: datetime) -> int:
    """Set the next attempt."""
    ids = _select_ids(tx, where)
    _update(tx, ids, "next_attempt = ?", micros(at))
    lower_turns_of(tx, ids)
    return len(ids)


def add_next_attempt(tx: Tx, where: MessageFilter, delay: timedelta) -> int:
    """Move each message's next attempt."""
    ids = _select_ids(tx, where)
    _update(tx, ids, "next_attempt = next_attempt + ?", delay // timedelta(microseconds=1))
    lower_turns_of(tx, ids)
    return len(ids)


def set_transport(tx: Tx, where: MessageFilter, transport: str | None) -> int:
    """Set or clear the transport."""
    return _update(tx, _select_ids(tx, where), "transport = ?", transport)


def set_require_tls(tx: Tx, where: MessageFilter, require_tls: RequireTLS) -> int:
    """Set what the messages ask of TLS."""
    return _update(tx, _select_ids(tx, where), "require_tls = ?", require_tls.value)


def retire(
    tx: Tx,
    where: MessageFilter,
    *,
    event: EventType,
    text: str,
    now: datetime,
    keep: Mapping[str, timedelta],
    keep_feedback: timedelta,
    notifications: Mapping[int, NewSubmission],
    plan_for: PlanFor,
    drop_file: DropFile,
) -> int:
    """Drop or fail messages, and queue their notifications; returns how many."""
    at = micros(now)
    conditions = message_conditions(where)
    sql = f"SELECT {MESSAGE_COLUMNS} FROM {MESSAGE_TABLES} WHERE {conditions.sql} ORDER BY m.id {LOCK}"  # noqa: S608
    messages = [message_of(row) for row in tx.query(sql, conditions.params)]
    result = AttemptResult(attempt=0, kind=ResultKind.CANCELED, started=now, text=text)
    kept = []
    for message in messages:
        keep_until = now + keep.get(message.account, keep.get("", timedelta(0)))
        row = history_row(message, result, event, at=at, keep_until=keep_until, forget_at=now + keep_feedback)
        if row is not None:
            kept.append(row)
        else:
            forget_fromids(tx, [message.fromid])
    retire_rows(tx, kept, [(message.id, message.base_id) for message in messages], drop_file)
    if told := [notifications[message.id] for message in messages if message.id in notifications]:
        insert_all(tx, told, drop_file=drop_file)
    events = [event_row(message, event, result, at) for message in messages]
    insert_events(tx, events)
    plans = [plan_for(message.account, event) for message in messages]
    if any(plans):
        insert_hooks_of_events(tx, events, plans)
    return len(messages)


def add_hold_rule(tx: Tx, rule: HoldRule) -> tuple[HoldRule, int]:
    """Add a rule and hold what matches; an equal rule is returned as it is, and applied again."""
    tx.serialize("hold rules")
    key = (rule.account, rule.sender_domain, rule.recipient_domain)
    if not tx.query(FIND_RULE, key):
        tx.execute(ADD_RULE, key)
    stored = hold_rule_of(tx.query(FIND_RULE, key)[0])
    domain, account, sender = rule.recipient_domain, rule.account, rule.sender_domain
    held = tx.execute(HOLD_MATCHING, (domain, domain, account, account, sender, sender))
    return stored, held


def remove_hold_rule(tx: Tx, rule_id: int) -> bool:
    """Remove a rule; releases nothing."""
    tx.serialize("hold rules")
    return rule_id in INT64 and tx.execute(REMOVE_RULE, (rule_id,)) == 1


def purge(tx: Tx, *, now: datetime, events_before: datetime) -> int:
    """Hide history, and delete history and events, that are past their time, a batch a call; returns how many."""
    at = micros(now)
    gone = tx.query(PURGE_RETIRED, (at, PURGE_BATCH))
    forget_fromids(tx, [fromid for _, fromid in gone])
    submissions = sorted({(submission,) for submission, _ in gone})
    lock_submissions(tx, [id_ for (id_,) in submissions])
    tx.executemany(DELETE_SUBMISSION, submissions)
    purged = len(gone) + purge_keys(tx, at, PURGE_BATCH)
    purged += tx.execute(HIDE_RETIRED, (at, at, PURGE_BATCH))
    purged += tx.execute(PURGE_EVENTS, (micros(events_before), PURGE_BATCH))
    purged += purge_hooks(tx, at, PURGE_BATCH)
    purged += purge_sent(tx, at, PURGE_BATCH)
    if tx.query(IDLE_DESTINATIONS)[0][0] > MAX_IDLE_DESTINATIONS:
        tx.execute(PRUNE_DESTINATIONS, (at, at))
    return purged
