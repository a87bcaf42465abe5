"""Addresses that an account does not mail any more: looked up, kept, judged by how messages ended."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from moxlib.queue.errors import StorageDamaged
from moxlib.queue.reply_class import ReplyClass
from moxlib.queue.storage.operations.rows import load_feedback, load_results, micros, moment
from moxlib.queue.storage.settlement import Retire
from moxlib.queue.storage.tx import Row, Tx, in_lists
from moxlib.queue.suppression import (
    Cause,
    Evidence,
    Failure,
    Feedback,
    Origin,
    Past,
    Suppression,
    SuppressionPolicy,
    lifted_by,
    past_of,
    suppression_by,
)
from moxlib.queue.types import EventType, Message, ResultKind, Retired

__all__ = [
    "ANY",
    "in_force",
    "judge",
    "judge_recipients",
    "lift",
    "list_suppressions",
    "past",
    "put_suppressions",
    "remove_suppression",
    "suppression",
]

COLUMNS = "account, base_address, original_address, since, expires, cause, reason, repeats, evidence"
ANY = "SELECT 1 FROM moxlib_suppression LIMIT 1"
AMONG = f"""SELECT {COLUMNS} FROM moxlib_suppression
    WHERE base_address IN ({{addresses}}) AND (expires IS NULL OR expires > ?)"""  # noqa: S608 - constants only
ONE = f"SELECT {COLUMNS} FROM moxlib_suppression WHERE account = ? AND base_address = ?"  # noqa: S608 - constants only
LIST = f"SELECT id, {COLUMNS} FROM moxlib_suppression WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608 - constants only
LIST_ACCOUNT = f"""SELECT id, {COLUMNS} FROM moxlib_suppression
    WHERE account = ? AND id > ? ORDER BY id LIMIT ?"""  # noqa: S608 - constants only
# What has expired gives way, with its place in the list.
PUT = f"""INSERT INTO moxlib_suppression ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (base_address, account) DO UPDATE SET original_address = excluded.original_address,
        since = excluded.since, expires = excluded.expires, cause = excluded.cause, reason = excluded.reason,
        repeats = excluded.repeats, evidence = excluded.evidence
    WHERE moxlib_suppression.expires IS NOT NULL AND moxlib_suppression.expires <= ?"""  # noqa: S608 - constants only
REMOVE = "DELETE FROM moxlib_suppression WHERE account = ? AND base_address = ?"
PAST = """SELECT m.event, m.results, m.feedback FROM moxlib_retired m JOIN moxlib_submission s ON s.id = m.submission
    WHERE m.base_address = ? AND m.base_address <> '' AND s.account = ? AND m.id <> ?
    ORDER BY m.finished DESC, m.id DESC LIMIT ?"""

MAX_PAST = 100  # earlier messages looked at; of them, those that were cancelled count for nothing

Key = tuple[str, str]
"""Account and base address."""


def in_force(tx: Tx, keys: Iterable[Key], *, at: int) -> Mapping[Key, Suppression]:
    """Return the suppressions among these that are in force; ask `ANY` before, which costs next to nothing."""
    wanted = {key for key in keys if key[1]}
    found: dict[Key, Suppression] = {}
    for marks, piece in in_lists(sorted({address for _, address in wanted})):
        for row in tx.query(AMONG.format(addresses=marks), (*piece, at)):
            if (row[0], row[1]) in wanted:
                found[row[0], row[1]] = _of(row)
    return found


def suppression(tx: Tx, *, account: str, base_address: str) -> Suppression | None:
    """Return what an account has on a base address."""
    for row in tx.query(ONE, (account, base_address)):
        return _of(row)
    return None


def list_suppressions(tx: Tx, *, account: str | None, after: int, limit: int) -> tuple[tuple[int, Suppression], ...]:
    """Return suppressions with their numbers, in order."""
    rows = tx.query(LIST, (after, limit)) if account is None else tx.query(LIST_ACCOUNT, (account, after, limit))
    return tuple([(number, _of(row)) for number, *row in rows])


def put_suppressions(tx: Tx, suppressions: Sequence[Suppression], *, now: datetime) -> tuple[bool, ...]:
    """Add suppressions; say which are new."""
    at = micros(now)
    return tuple([tx.execute(PUT, (*_row(made), at)) == 1 for made in suppressions])


def remove_suppression(tx: Tx, *, account: str, base_address: str) -> bool:
    """Remove a suppression."""
    return tx.execute(REMOVE, (account, base_address)) == 1


def past(tx: Tx, *, account: str, base_address: str, limit: int, but: int = 0) -> tuple[Past, ...]:
    """Return how messages to a base address ended, the latest first; that of message `but` left out."""
    rows = tx.query(PAST, (base_address, account, but, limit))
    return tuple(
        [past_of(EventType(event), load_results(results), load_feedback(feedback)) for event, results, feedback in rows]
    )


def judge_recipients(tx: Tx, retired: Iterable[Retire], now: datetime) -> frozenset[int]:
    """Suppress recipients, or no more, by how their messages ended; return the ids of the messages that suppress.

    The messages are in the history already, those that it keeps.
    """
    suppressing: set[int] = set()
    made: dict[Key, Suppression] = {}
    for s in retired:
        message, key = s.message, (s.message.account, s.message.base_address)
        if s.policy is None or not message.base_address:
            continue
        if s.event is EventType.FAILED and s.result.kind is not ResultKind.CANCELED:
            failure = Failure.of_attempt(s.result)
            new = None if key in made else judge(tx, message, failure, s.policy, now=now, attempt=s.result.attempt)
            if new is not None:
                made[key] = new
                suppressing.add(message.id)
        elif s.event is EventType.DELIVERED:
            lift(tx, message, s.policy, now=now)
    put_suppressions(tx, [made[key] for key in sorted(made)], now=now)  # in order, as others do it at the same time
    return frozenset(suppressing)


def judge(
    tx: Tx,
    message: Message | Retired,
    feedback: Feedback,
    policy: SuppressionPolicy,
    *,
    now: datetime,
    attempt: int | None = None,
    dsn_message_id: str = "",
) -> Suppression | None:
    """Return the suppression that comes of what was seen of a message's recipient, not kept yet; None for none."""
    account, base_address = message.account, message.base_address
    return suppression_by(
        feedback,
        message,
        policy=policy,
        recent=past(tx, account=account, base_address=base_address, limit=MAX_PAST, but=message.id),
        earlier=partial(suppression, tx, account=account, base_address=base_address),
        now=now,
        attempt=attempt,
        dsn_message_id=dsn_message_id,
    )


def lift(tx: Tx, message: Message | Retired, policy: SuppressionPolicy, *, now: datetime) -> None:
    """Let a delivery end the suppression of its recipient, where the policy says so."""
    if not policy.remove_on_success or not message.base_address:
        return
    there = suppression(tx, account=message.account, base_address=message.base_address)
    if there is not None and lifted_by(policy, there, now):
        remove_suppression(tx, account=message.account, base_address=message.base_address)


def _row(made: Suppression) -> Row:
    return (
        made.account,
        made.base_address,
        made.original_address,
        micros(made.since),
        None if made.expires is None else micros(made.expires),
        made.cause.value,
        made.reason,
        made.repeats,
        "" if made.evidence is None else _dump(made.evidence),
    )


def _of(row: Sequence[Any]) -> Suppression:
    account, base_address, original_address, since, expires, cause, reason, repeats, evidence = row
    try:
        return Suppression(
            account=account,
            base_address=base_address,
            original_address=original_address,
            since=moment(since),
            cause=Cause(cause),
            reason=reason,
            evidence=_load(evidence) if evidence else None,
            expires=None if expires is None else moment(expires),
            repeats=repeats,
        )
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        text = f"the suppression of {base_address!a:.100} is damaged ({type(error).__name__}: {error!a:.200})"
        raise StorageDamaged(text) from error


def _dump(evidence: Evidence) -> str:
    fields: dict[str, object] = {
        "origin": evidence.origin.value,
        "code": evidence.code,
        "enhanced": evidence.enhanced,
        "command": evidence.command,
        "text": evidence.text,
        "class": "" if evidence.reply_class is None else evidence.reply_class.value,
        "failures": evidence.failures,
        "message": evidence.message,
        "attempt": evidence.attempt,
        "message_id": evidence.message_id,
        "dsn_message_id": evidence.dsn_message_id,
    }
    return json.dumps({name: value for name, value in fields.items() if value not in ("", None, 0)}, ensure_ascii=False)


def _load(text: str) -> Evidence:
    fields = json.loads(text)
    class_ = fields.pop("class", "")
    return Evidence(
        **fields | {"origin": Origin(fields["origin"]), "reply_class": ReplyClass(class_) if class_ else None}
    )
