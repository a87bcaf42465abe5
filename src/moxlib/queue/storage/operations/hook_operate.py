"""What operators do to webhooks, and settling them where an endpoint is disabled by it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from moxlib.queue.hooks.payload import hook_of_event
from moxlib.queue.hooks.records import HookOutcome, HookResult, NewHook, PlanFor, Replay
from moxlib.queue.hooks.selection import HookFilter
from moxlib.queue.hooks.settlement import HookDisable, HookSettlement
from moxlib.queue.storage.hooks import Replayed
from moxlib.queue.storage.operations import hooks
from moxlib.queue.storage.operations.hook_look import conditions_of
from moxlib.queue.storage.operations.hook_rows import dump_hook_results, load_hook_results
from moxlib.queue.storage.operations.look import events
from moxlib.queue.storage.operations.rows import micros
from moxlib.queue.storage.operations.settle import EventRow, insert_events
from moxlib.queue.storage.operations.where import Conditions
from moxlib.queue.storage.tx import Row, Tx, Value, in_lists
from moxlib.queue.types import EventType

__all__ = [
    "add_next_attempt",
    "cancel",
    "enable",
    "insert",
    "replay_events",
    "replay_history",
    "set_next_attempt",
    "settle",
]

TO_CANCEL = "SELECT m.id, m.account, m.url, m.message, m.results FROM moxlib_hook m WHERE {where} ORDER BY m.id"
TO_MOVE = "SELECT m.id, m.url FROM moxlib_hook m WHERE {where} ORDER BY m.id"
SET = "UPDATE moxlib_hook SET next_attempt = ? WHERE id = ?"
ADD = "UPDATE moxlib_hook SET next_attempt = next_attempt + ? WHERE id = ?"
ENABLE = """UPDATE moxlib_hook_endpoint SET disabled_since = NULL, disabled_why = '', slowed_until = NULL
    WHERE url = ? AND (disabled_since IS NOT NULL OR slowed_until IS NOT NULL)"""
DONE = """SELECT m.id, m.event_id, m.queued, m.account, m.message, m.url FROM moxlib_hook_retired m
    WHERE {where} ORDER BY m.id LIMIT ?"""
BRING_BACK = """INSERT INTO moxlib_hook (id, account, url, event_id, message, event, queued, next_attempt, last_attempt,
        blocked, results, payload)
    SELECT m.id, m.account, m.url, m.event_id, m.message, m.event, m.queued, ?, m.last_attempt, ?, m.results, m.payload
    FROM moxlib_hook_retired m WHERE m.id = ?"""
FORGET = "DELETE FROM moxlib_hook_retired WHERE id = ?"
HAVING = "SELECT DISTINCT message FROM moxlib_hook WHERE message IN ({messages})"
KNOWN = """SELECT event_id FROM moxlib_hook WHERE event_id IN ({ids})
    UNION ALL SELECT event_id FROM moxlib_hook_retired WHERE event_id IN ({ids})"""


def insert(tx: Tx, new: Sequence[NewHook]) -> None:
    """Add webhooks of no event in the log."""
    hooks.insert_hooks(tx, new)


def settle(tx: Tx, worker: int, settlements: Sequence[HookSettlement], *, now: datetime) -> frozenset[int]:
    """Settle what the worker owns, and log which endpoints are disabled by it; return the ids it no longer owns."""
    if any(isinstance(s, HookDisable) for s in settlements):
        tx.serialize("events")  # before the webhooks' lock, as everywhere
    lost, disabled = hooks.settle(tx, worker, settlements, now=now)
    insert_events(tx, [_disabled_row(s, micros(now)) for s in disabled])
    return lost


def _disabled_row(s: HookDisable, at: int) -> EventRow:
    text = f"{s.hook.url}: {s.why}"
    type_ = EventType.WEBHOOK_DISABLED.value
    return (at, type_, s.hook.account, s.hook.message or 0, "", s.result.status, "", text, "", 0, "", "", "{}", "", 0)


def cancel(tx: Tx, where: HookFilter, *, text: str, now: datetime, keep: Callable[[str], timedelta]) -> int:
    """Cancel webhooks; returns how many."""
    tx.serialize(hooks.LOCK)
    at = micros(now)
    conditions = conditions_of(where)
    found = tx.query(TO_CANCEL.format(where=conditions.sql), conditions.params)
    result = HookResult(attempt=0, started=now, error=text)
    kept: list[Row] = []
    for id_, account, _, _, results in found:
        until = micros(now + keep(account))
        if until > at:
            dumped = dump_hook_results((*load_hook_results(results), result))
            kept.append((at, until, HookOutcome.CANCELED.value, dumped, id_))
    hooks.retire_rows(tx, kept, [row[0] for row in found])
    urls = {row[2] for row in found} | hooks.unblock(tx, [row[3] for row in found if row[3] is not None])
    hooks.set_turns(tx, urls)
    return len(found)


def set_next_attempt(tx: Tx, where: HookFilter, at: datetime) -> int:
    """Set the next attempt; returns of how many."""
    return _move(tx, where, SET, micros(at))


def add_next_attempt(tx: Tx, where: HookFilter, delay: timedelta) -> int:
    """Move each next attempt; returns of how many."""
    return _move(tx, where, ADD, delay // timedelta(microseconds=1))


def _move(tx: Tx, where: HookFilter, sql: str, by: int) -> int:
    tx.serialize(hooks.LOCK)
    conditions = conditions_of(where)
    found = tx.query(TO_MOVE.format(where=conditions.sql), conditions.params)
    tx.executemany(sql, [(by, id_) for id_, _ in found])
    hooks.set_turns(tx, {url for _, url in found})
    if found:
        tx.announce()
    return len(found)


def enable(tx: Tx, url: str) -> bool:
    """Enable an endpoint again; False when it was neither disabled nor slow."""
    tx.serialize(hooks.LOCK)
    if tx.execute(ENABLE, (url,)) == 0:
        return False
    hooks.set_turns(tx, [url])
    tx.announce()
    return True


def replay_history(tx: Tx, replay: Replay, *, after: int, up_to: int, limit: int, now: datetime) -> Replayed:
    """Take webhooks back from the history; a later one of a message waits for those of it that wait already."""
    tx.serialize(hooks.LOCK)
    conditions = Conditions()
    conditions.add("m.id > ? AND m.id <= ?", after, up_to)
    for clause, value in (
        ("m.event_id >= ?", replay.first_event),
        ("m.event_id <= ?", replay.last_event),
        ("m.queued >= ?", None if replay.since is None else micros(replay.since)),
        ("m.queued < ?", None if replay.until is None else micros(replay.until)),
        ("m.account = ?", replay.account),
        ("m.outcome <> ?", None if replay.delivered else HookOutcome.DELIVERED.value),
    ):
        if value is not None:
            conditions.add(clause, value)
    found = tx.query(DONE.format(where=conditions.sql), (*conditions.params, limit))
    messages: list[Value] = sorted({row[4] for row in found if row[4] is not None})
    busy: set[int] = set()
    for marks, piece in in_lists(messages):
        busy |= {message for (message,) in tx.query(HAVING.format(messages=marks), piece)}
    rows: list[Row] = []
    for id_, _, _, _, message, _ in found:
        rows.append((micros(now), int(message in busy), id_))
        if message is not None:
            busy.add(message)
    tx.executemany(BRING_BACK, rows)
    tx.executemany(FORGET, [(row[0],) for row in found])
    if found:
        hooks.set_turns(tx, {row[5] for row in found})
        tx.announce()
    return Replayed(count=len(found), after=found[-1][0] if len(found) == limit else None)


def replay_events(tx: Tx, replay: Replay, *, plan_for: PlanFor, after: int, limit: int) -> Replayed:
    """Make webhooks of events that have none."""
    tx.serialize(hooks.LOCK)
    read = events(tx, after=after, limit=limit)
    known: set[int] = set()
    for marks, piece in in_lists([event.id for event in read]):
        known |= {id_ for (id_,) in tx.query(KNOWN.format(ids=marks), (*piece, *piece))}
    new: list[NewHook] = []
    for event in read:
        if event.id in known or not replay.covers(event_id=event.id, at=event.at, account=event.account):
            continue
        plan = plan_for(event.account, event.type)
        if plan is not None:
            new.append(hook_of_event(replace(plan, keep_latest=False), event))  # what waits may be later
    hooks.insert_hooks(tx, new)
    last = read[-1].id if len(read) == limit else None
    if replay.last_event is not None and last is not None and last >= replay.last_event:
        last = None
    return Replayed(count=len(new), after=last)
