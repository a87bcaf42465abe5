"""Feedback that came in: finding the messages it is about, and adding it to them with all that follows."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from moxlib.queue.feedback import (
    About,
    Candidate,
    ReceivedFeedback,
    RecordedFeedback,
    RecordedResult,
    attribute,
    feedback_result,
    recorded_result,
    seen_by,
)
from moxlib.queue.hooks.records import PlanFor
from moxlib.queue.storage.base import MAX_FEEDBACK, MAX_MATCHES, Matches, PolicyFor
from moxlib.queue.storage.operations.hooks import insert_hooks_of_events
from moxlib.queue.storage.operations.rows import (
    MESSAGE_COLUMNS,
    MESSAGE_TABLES,
    RETIRED_COLUMNS,
    RETIRED_TABLES,
    dump_feedback,
    load_feedback,
    message_of,
    micros,
    retired_of,
)
from moxlib.queue.storage.operations.settle import event_row, insert_events
from moxlib.queue.storage.operations.suppression import judge, lift, put_suppressions
from moxlib.queue.storage.tx import Tx, in_lists
from moxlib.queue.suppression import Suppression, SuppressionPolicy
from moxlib.queue.types import EventType, FeedbackResult

__all__ = ["match_feedback", "record_feedback"]

BY_FROMID = "SELECT message FROM moxlib_fromid WHERE fromid IN ({fromids})"
# What is empty is in no index: the condition says so, for SQLite to see it.
BY_ENVID = "SELECT id, recipients FROM moxlib_submission WHERE envid = ? AND envid <> '' ORDER BY id LIMIT ?"
BY_MESSAGE_ID = """SELECT id, recipients FROM moxlib_submission WHERE message_id = ? AND message_id <> ''
    ORDER BY id LIMIT ?"""
# Without an index of its own: by that of BY_MESSAGE_ID.
OWN = "SELECT 1 FROM moxlib_submission WHERE message_id = ? AND message_id <> '' AND sender = '' LIMIT 1"
QUEUED = f"SELECT {MESSAGE_COLUMNS} FROM {MESSAGE_TABLES} WHERE m.id IN ({{ids}}) ORDER BY m.id"  # noqa: S608
RETIRED = f"SELECT {RETIRED_COLUMNS} FROM {RETIRED_TABLES} WHERE m.id IN ({{ids}}) ORDER BY m.id"  # noqa: S608
TOLD = "SELECT feedback FROM {table} WHERE id = ? /*pg FOR UPDATE */"
APPEND = "UPDATE {table} SET feedback = ? WHERE id = ?"


def match_feedback(tx: Tx, *, fromids: Sequence[str] = (), envid: str = "", message_id: str = "") -> Matches:
    """Return the messages that feedback may be about."""
    if fromids:
        ids: list[int] = []
        for marks, piece in in_lists(fromids):
            ids += [id_ for (id_,) in tx.query(BY_FROMID.format(fromids=marks), piece)]
        if found := _found(tx, ids):
            return replace(found, by="fromid")
    if envid and (found := _found(tx, _ids(tx, BY_ENVID, envid))):
        return replace(found, by="envid")
    if message_id and (found := _found(tx, _ids(tx, BY_MESSAGE_ID, message_id))):
        return replace(found, by="message-id")
    return Matches()


def _ids(tx: Tx, sql: str, value: str) -> list[int]:
    ids: list[int] = []
    for first, recipients in tx.query(sql, (value, MAX_MATCHES)):
        ids += range(first, first + recipients)
    return ids[:MAX_MATCHES]


def _found(tx: Tx, ids: Sequence[int]) -> Matches | None:
    """Return what there still is of messages; None if nothing."""
    queued = [message_of(row) for marks, piece in in_lists(ids) for row in tx.query(QUEUED.format(ids=marks), piece)]
    retired = [retired_of(row) for marks, piece in in_lists(ids) for row in tx.query(RETIRED.format(ids=marks), piece)]
    if not queued and not retired:
        return None
    return Matches(queued=tuple(queued), retired=tuple(retired), alone=len(ids) == 1)


def record_feedback(
    tx: Tx,
    report: ReceivedFeedback,
    *,
    account: str | None,
    policy_for: PolicyFor,
    plan_for: PlanFor,
    now: datetime,
) -> RecordedFeedback:
    """Add what a report says to the messages it is about."""
    found = match_feedback(tx, fromids=report.fromids, envid=report.envid, message_id=report.message_id)
    if found.by and tx.query(OWN, (report.report_id,)):
        return RecordedFeedback()  # it was written here, about what is known here
    known: list[Candidate] = [*found.queued, *found.retired]
    candidates = [m for m in known if account is None or m.account == account]
    attribution = attribute(report, candidates, alone=found.alone)
    told: list[tuple[Candidate, RecordedResult]] = []
    made: dict[tuple[str, str], Suppression] = {}
    for about in attribution.about:
        message = about.message
        there = _locked(tx, message.id)
        if there is None:
            continue  # forgotten meanwhile
        table, results = there
        recorded = len(results) < MAX_FEEDBACK and all(result.digest != report.digest for result in results)
        result = feedback_result(report, about.status, now=now)
        key = (message.account, message.base_address)
        new = _judged(tx, about, result, policy_for(message.account)) if recorded and key not in made else None
        if new is not None:
            made[key] = new
            result = replace(result, suppressing=True)
        if recorded:
            tx.execute(APPEND.format(table=table), (dump_feedback((*results, result)), message.id))
        told.append((message, recorded_result(about, result, recorded=recorded)))
    put_suppressions(tx, [made[key] for key in sorted(made)], now=now)
    _log(tx, [(message, one.result) for message, one in told if one.recorded], plan_for, now)
    by = found.by if told else ""
    return RecordedFeedback(by=by, recorded=tuple([one for _, one in told]), unmatched=attribution.unmatched)


def _locked(tx: Tx, id_: int) -> tuple[str, tuple[FeedbackResult, ...]] | None:
    """Return in which table a message is, and what was told of it; it stays so. In the queue first: it may retire."""
    for table in ("moxlib_message", "moxlib_retired"):
        for (feedback,) in tx.query(TOLD.format(table=table), (id_,)):
            return table, load_feedback(feedback)
    return None


def _judged(tx: Tx, about: About, result: FeedbackResult, policy: SuppressionPolicy) -> Suppression | None:
    """Return the new suppression that comes of it, if one does; and end one, where a delivery does that."""
    message = about.message
    if not message.base_address or not about.certain:
        return None
    seen = seen_by(result)
    if seen is not None:
        return judge(tx, message, seen, policy, now=result.at, dsn_message_id=result.report_id)
    if result.event is EventType.DELIVERED:
        lift(tx, message, policy, now=result.at)
    return None


def _log(tx: Tx, told: Sequence[tuple[Candidate, FeedbackResult]], plan_for: PlanFor, now: datetime) -> None:
    at = micros(now)
    events = [event_row(message, result.event, result, at, suppressing=result.suppressing) for message, result in told]
    insert_events(tx, events)
    plans = [plan_for(message.account, result.event) for message, result in told]
    if any(plans):
        insert_hooks_of_events(tx, events, plans)
