"""Reading webhooks, and keeping their history short."""

from moxlib.queue.errors import InvalidFilter
from moxlib.queue.hooks.records import Hook, HookEndpoint, RetiredHook
from moxlib.queue.hooks.selection import HookFilter, HookHistoryFilter
from moxlib.queue.selection import Cursor, Page, Sort
from moxlib.queue.storage.operations.hook_rows import (
    ENDPOINT_COLUMNS,
    HOOK_COLUMNS,
    RETIRED_HOOK_COLUMNS,
    endpoint_of,
    hook_of,
    retired_hook_of,
)
from moxlib.queue.storage.operations.look import page
from moxlib.queue.storage.operations.rows import micros
from moxlib.queue.storage.operations.where import Conditions, page_clause
from moxlib.queue.storage.tx import Tx

__all__ = [
    "conditions_of",
    "count_retired",
    "count_waiting",
    "endpoints",
    "get",
    "get_retired",
    "last_retired",
    "list_retired",
    "list_waiting",
    "purge_hooks",
]

GET = f"SELECT {HOOK_COLUMNS} FROM moxlib_hook m WHERE m.id = ?"  # noqa: S608 - constants only
GET_RETIRED = f"SELECT {RETIRED_HOOK_COLUMNS} FROM moxlib_hook_retired m WHERE m.id = ?"  # noqa: S608 - constants only
LAST_RETIRED = "SELECT coalesce(max(id), 0) FROM moxlib_hook_retired"
ENDPOINTS = f"SELECT {ENDPOINT_COLUMNS} FROM moxlib_hook_endpoint ORDER BY url"  # noqa: S608 - constants only
PURGE = """DELETE FROM moxlib_hook_retired WHERE id IN
    (SELECT id FROM moxlib_hook_retired WHERE keep_until <= ? ORDER BY keep_until LIMIT ?
    /*pg FOR UPDATE SKIP LOCKED */)"""

_KEYS = {
    Sort.QUEUED: "m.id",
    Sort.NEXT_ATTEMPT: "m.next_attempt",
    Sort.LAST_ACTIVITY: "coalesce(m.claimed_at, m.last_attempt, m.queued)",
}
_RETIRED_KEYS = {Sort.QUEUED: "m.id", Sort.LAST_ACTIVITY: "m.finished"}


def get(tx: Tx, id_: int) -> Hook | None:
    """Return a webhook that waits."""
    for row in tx.query(GET, (id_,)):
        return hook_of(row)
    return None


def get_retired(tx: Tx, id_: int) -> RetiredHook | None:
    """Return a webhook of the history."""
    for row in tx.query(GET_RETIRED, (id_,)):
        return retired_hook_of(row)
    return None


def last_retired(tx: Tx) -> int:
    """Return the largest id in the history."""
    id_: int = tx.query(LAST_RETIRED)[0][0]
    return id_


def endpoints(tx: Tx) -> tuple[HookEndpoint, ...]:
    """Return the endpoints in order of their URLs."""
    return tuple([endpoint_of(row) for row in tx.query(ENDPOINTS)])


def list_waiting(
    tx: Tx, where: HookFilter, *, sort: Sort, descending: bool, limit: int, after: Cursor | None
) -> Page[Hook]:
    """Return one page of webhooks that wait."""
    conditions, key = conditions_of(where), _KEYS[sort]
    order = page_clause(conditions, key, sort, descending=descending, after=after)
    sql = f"SELECT {HOOK_COLUMNS}, {key} FROM moxlib_hook m WHERE {conditions.sql} {order} LIMIT ?"  # noqa: S608
    return page(tx, sql, conditions, hook_of, sort, descending=descending, limit=limit)


def count_waiting(tx: Tx, where: HookFilter) -> int:
    """Count webhooks that wait."""
    conditions = conditions_of(where)
    count: int = tx.query(f"SELECT count(*) FROM moxlib_hook m WHERE {conditions.sql}", conditions.params)[0][0]  # noqa: S608
    return count


def list_retired(
    tx: Tx, where: HookHistoryFilter, *, sort: Sort, descending: bool, limit: int, after: Cursor | None
) -> Page[RetiredHook]:
    """Return one page of the history.

    Raises:
        InvalidFilter: it has no such key to sort by.
    """
    if sort not in _RETIRED_KEYS:
        raise InvalidFilter("webhooks that are done have no next attempt to sort by")
    conditions, key = _retired_conditions(where), _RETIRED_KEYS[sort]
    order = page_clause(conditions, key, sort, descending=descending, after=after)
    columns = f"{RETIRED_HOOK_COLUMNS}, {key}"
    sql = f"SELECT {columns} FROM moxlib_hook_retired m WHERE {conditions.sql} {order} LIMIT ?"  # noqa: S608
    return page(tx, sql, conditions, retired_hook_of, sort, descending=descending, limit=limit)


def count_retired(tx: Tx, where: HookHistoryFilter) -> int:
    """Count webhooks of the history."""
    conditions = _retired_conditions(where)
    sql = f"SELECT count(*) FROM moxlib_hook_retired m WHERE {conditions.sql}"  # noqa: S608
    count: int = tx.query(sql, conditions.params)[0][0]
    return count


def conditions_of(where: HookFilter) -> Conditions:
    """Return the conditions of a filter on `moxlib_hook m`."""
    found = _common(where)
    if where.in_flight is not None:
        found.add("m.owner IS NOT NULL" if where.in_flight else "m.owner IS NULL")
    if where.next_attempt_after is not None:
        found.add("m.next_attempt > ?", micros(where.next_attempt_after))
    if where.next_attempt_before is not None:
        found.add("m.next_attempt < ?", micros(where.next_attempt_before))
    _between(found, where, _KEYS[Sort.LAST_ACTIVITY])
    return found


def _retired_conditions(where: HookHistoryFilter) -> Conditions:
    found = _common(where)
    if where.outcome is not None:
        found.add("m.outcome = ?", where.outcome.value)
    if where.success is not None:
        found.add("m.outcome = 'delivered'" if where.success else "m.outcome <> 'delivered'")
    _between(found, where, _RETIRED_KEYS[Sort.LAST_ACTIVITY])
    return found


def _common(where: HookFilter | HookHistoryFilter) -> Conditions:
    found = Conditions()
    if where.ids is not None:
        # Ids are whole numbers by type; as text they need no parameter each, of which SQLite has a limited number.
        found.add(f"m.id IN ({','.join(str(int(id_)) for id_ in where.ids) or 'NULL'})")
    if where.account is not None:
        found.add("m.account = ?", where.account)
    if where.url is not None:
        found.add("moxlib_contains(m.url, ?)", where.url.lower())
    if where.message is not None:
        found.add("m.message = ?", where.message)
    if where.event is not None:
        found.add("m.event = ?", where.event)
    if where.queued_after is not None:
        found.add("m.queued > ?", micros(where.queued_after))
    if where.queued_before is not None:
        found.add("m.queued < ?", micros(where.queued_before))
    return found


def _between(found: Conditions, where: HookFilter | HookHistoryFilter, activity: str) -> None:
    if where.last_activity_after is not None:
        found.add(f"{activity} > ?", micros(where.last_activity_after))
    if where.last_activity_before is not None:
        found.add(f"{activity} < ?", micros(where.last_activity_before))


def purge_hooks(tx: Tx, at: int, limit: int) -> int:
    """Delete from the history what is past its time; return how many."""
    return tx.execute(PURGE, (at, limit))
