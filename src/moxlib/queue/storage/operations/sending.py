"""How much accounts have sent in a day, counted in the transaction that queues it.

In PostgreSQL, those who queue mail of one account pass one after the other, up to their commit. Not so in the
application's own transactions, which may go on for long: they count in rows of their own (`slot`), so that nobody waits
for them, and what is not committed yet is not counted.
"""

from collections.abc import Collection, Mapping, Sequence

from moxlib.queue.sending import (
    REMEMBERED_DAYS,
    TOUCHED_DAYS,
    Sent,
    check_limits,
    day_of,
    first_step,
    recipient_keys,
    step_of,
)
from moxlib.queue.storage.operations.rows import micros
from moxlib.queue.storage.tx import Tx, in_lists
from moxlib.queue.submission import NewSubmission

__all__ = ["KNOWN", "PURGE_RECIPIENTS", "PURGE_STEPS", "SUM", "TOUCH", "count_sent", "purge_sent", "sent", "unknown"]

SUM = """SELECT COALESCE(SUM(recipients), 0), COALESCE(SUM(first_time), 0) FROM moxlib_sent
    WHERE account = ? AND step >= ?"""
KNOWN = "SELECT recipient, last_day FROM moxlib_sent_to WHERE account = ? AND recipient IN ({marks})"
ADD = """INSERT INTO moxlib_sent (account, step, slot, recipients, first_time) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (account, step, slot) DO UPDATE SET recipients = moxlib_sent.recipients + excluded.recipients,
        first_time = moxlib_sent.first_time + excluded.first_time"""
RECIPIENT = ("moxlib_sent_to", ["account", "recipient", "slot", "last_day"])
TOUCH = "UPDATE moxlib_sent_to SET last_day = ? WHERE account = ? AND recipient = ?"
PURGE_STEPS = """DELETE FROM moxlib_sent WHERE step < ? AND (account, step, slot) IN
    (SELECT account, step, slot FROM moxlib_sent WHERE step < ? LIMIT ?
        /*pg FOR UPDATE SKIP LOCKED */)"""
PURGE_RECIPIENTS = """DELETE FROM moxlib_sent_to WHERE last_day < ? AND (account, recipient, slot) IN
    (SELECT account, recipient, slot FROM moxlib_sent_to WHERE last_day < ? ORDER BY last_day LIMIT ?
        /*pg FOR UPDATE SKIP LOCKED */)"""
OURS = 0  # the slot of all but the application's transactions


def count_sent(tx: Tx, submissions: Sequence[tuple[int, NewSubmission]]) -> None:
    """Count what submissions that have limits send.

    Args:
        tx: the transaction that queues them.
        submissions: each with its base id; those without limits are passed over.

    Raises:
        MessageLimitReached, RecipientLimitReached: one of them is beyond its limits.
    """
    limited = [(base_id, new) for base_id, new in submissions if new.limits is not None]
    if not tx.lasting:
        for account in sorted({new.account for _, new in limited}):  # in one order, so that no two wait for each other
            tx.serialize(f"sent {account}")
    for base_id, new in limited:
        _count(tx, new, base_id if tx.lasting else OURS)


def _count(tx: Tx, new: NewSubmission, slot: int) -> None:
    limits, at = new.limits, micros(new.queued)
    assert limits is not None
    keys: Collection[bytes] = ()
    if limits.first_time_recipients_per_day is not None:
        keys = sorted(recipient_keys(recipient.address for recipient in new.recipients))
    last_days = _last_days(tx, new.account, keys)
    first_time = _first_time(keys, last_days, at)
    more = Sent(recipients=len(new.recipients), first_time=len(first_time))
    check_limits(limits, sent(tx, new.account, at=at), more)
    tx.executemany(ADD, [(new.account, step_of(at), slot, more.recipients, more.first_time)])
    today = day_of(at)
    added = [key for key in first_time if slot != OURS or key not in last_days]
    tx.insert_rows(*RECIPIENT, [(new.account, key, slot, today) for key in added])
    old = [key for key, day in last_days.items() if day < today - TOUCHED_DAYS]
    if slot == OURS:
        tx.executemany(TOUCH, [(today, new.account, key) for key in old])


def sent(tx: Tx, account: str, *, at: int) -> Sent:
    """Return what an account has sent in the day before a time."""
    [(recipients, first_time)] = tx.query(SUM, (account, first_step(at)))
    return Sent(recipients=int(recipients), first_time=int(first_time))


def unknown(tx: Tx, account: str, addresses: Collection[str], *, at: int) -> int:
    """Return how many of some addresses an account has not sent to."""
    keys = sorted(recipient_keys(addresses))
    return len(_first_time(keys, _last_days(tx, account, keys), at))


def _first_time(keys: Collection[bytes], last_days: Mapping[bytes, int], at: int) -> list[bytes]:
    """Return the recipients that are not known, or not any more though they were not purged yet."""
    oldest = day_of(at) - REMEMBERED_DAYS
    return [key for key in keys if last_days.get(key, oldest - 1) < oldest]


def _last_days(tx: Tx, account: str, keys: Collection[bytes]) -> Mapping[bytes, int]:
    """Return when an account last sent to those that it has sent to: the day, give or take some weeks."""
    found: dict[bytes, int] = {}
    for marks, piece in in_lists(list(keys)):
        for key, day in tx.query(KNOWN.format(marks=marks), (account, *piece)):
            found[bytes(key)] = max(day, found.get(bytes(key), day))
    return found


def purge_sent(tx: Tx, at: int, limit: int) -> int:
    """Delete what does not count any more, at most so many of each kind; return how many."""
    step, day = first_step(at), day_of(at) - REMEMBERED_DAYS
    return tx.execute(PURGE_STEPS, (step, step, limit)) + tx.execute(PURGE_RECIPIENTS, (day, day, limit))
