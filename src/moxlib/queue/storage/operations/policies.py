"""Policies of MTA-STS, which outlive the process: one that is forgotten protects nobody."""

from datetime import datetime

from moxlib.mtasts import CachedPolicy
from moxlib.queue.storage.operations.rows import micros, moment
from moxlib.queue.storage.tx import Row, Tx

__all__ = ["due_policies", "get_policy", "purge_policies", "put_policy"]

COLUMNS = "domain, record_id, policy_text, fetched, valid_until, checked, last_used, retry_at"
GET = f"SELECT {COLUMNS} FROM moxlib_sts_policy WHERE domain = ?"  # noqa: S608 - constants only
PUT = f"""INSERT INTO moxlib_sts_policy ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (domain) DO UPDATE SET record_id = excluded.record_id, policy_text = excluded.policy_text,
        fetched = excluded.fetched, valid_until = excluded.valid_until, checked = excluded.checked,
        last_used = excluded.last_used, retry_at = excluded.retry_at"""  # noqa: S608 - constants only
DUE = f"""SELECT {COLUMNS} FROM moxlib_sts_policy WHERE policy_text <> '' AND checked < ?
    ORDER BY checked, domain LIMIT ?"""  # noqa: S608 - constants only
PURGE = "DELETE FROM moxlib_sts_policy WHERE last_used < ?"


def get_policy(tx: Tx, domain: str) -> CachedPolicy | None:
    """Return what is kept of a domain."""
    rows = tx.query(GET, (domain,))
    return _entry(rows[0]) if rows else None


def put_policy(tx: Tx, entry: CachedPolicy) -> None:
    """Keep an entry, in place of the one of the same domain."""
    tx.execute(
        PUT,
        (
            entry.domain,
            entry.record_id,
            entry.policy_text,
            micros(entry.fetched),
            micros(entry.valid_until),
            micros(entry.checked),
            micros(entry.last_used),
            None if entry.retry_at is None else micros(entry.retry_at),
        ),
    )


def due_policies(tx: Tx, before: datetime, limit: int) -> tuple[CachedPolicy, ...]:
    """Return entries that have a policy and were checked before a time, the longest ago first."""
    return tuple([_entry(row) for row in tx.query(DUE, (micros(before), limit))])


def purge_policies(tx: Tx, before: datetime) -> int:
    """Forget the entries last used before a time; return how many that were."""
    return tx.execute(PURGE, (micros(before),))


def _entry(row: Row) -> CachedPolicy:
    domain, record_id, policy_text, fetched, valid_until, checked, last_used, retry_at = row
    return CachedPolicy(
        domain=domain,
        record_id=record_id,
        policy_text=policy_text,
        fetched=moment(fetched),
        valid_until=moment(valid_until),
        checked=moment(checked),
        last_used=moment(last_used),
        retry_at=None if retry_at is None else moment(retry_at),
    )
