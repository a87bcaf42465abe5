"""Filters, sort orders and cursors as SQL. Values are always parameters, never part of the text."""

from moxlib.queue.errors import InvalidFilter
from moxlib.queue.selection import Cursor, HistoryFilter, MessageFilter, Sort
from moxlib.queue.storage.operations.rows import micros
from moxlib.queue.storage.tx import Value

__all__ = ["Conditions", "message_conditions", "message_key", "page_clause", "retired_conditions", "retired_key"]

_MESSAGE_KEYS = {
    Sort.QUEUED: "m.id",
    Sort.NEXT_ATTEMPT: "m.next_attempt",
    Sort.LAST_ACTIVITY: "coalesce(m.claimed_at, m.last_attempt, s.queued)",
}
_RETIRED_KEYS = {Sort.QUEUED: "m.id", Sort.LAST_ACTIVITY: "m.finished"}


class Conditions:
    """An AND of conditions, with their parameters in order."""

    def __init__(self) -> None:
        self.clauses: list[str] = []
        self.params: list[Value] = []

    def add(self, clause: str, *params: Value) -> None:
        """Add a condition."""
        self.clauses.append(clause)
        self.params += params

    @property
    def sql(self) -> str:
        """The text for WHERE."""
        return " AND ".join(self.clauses) or "1 = 1"


def message_key(sort: Sort) -> str:
    """Return the SQL expression of a sort key for the queue."""
    return _MESSAGE_KEYS[sort]


def retired_key(sort: Sort) -> str:
    """Return the SQL expression of a sort key for the history.

    Raises:
        InvalidFilter: the history has no such key.
    """
    if sort not in _RETIRED_KEYS:
        raise InvalidFilter("finished messages have no next attempt to sort by")
    return _RETIRED_KEYS[sort]


def message_conditions(where: MessageFilter) -> Conditions:
    """Return the conditions of a filter on `MESSAGE_TABLES`."""
    found = _common(where)
    if where.destination is not None:
        found.add("m.destination = ?", where.destination.lower())
    if where.hold is not None:
        found.add("m.hold = ?", int(where.hold))
    if where.in_flight is not None:
        found.add("m.owner IS NOT NULL" if where.in_flight else "m.owner IS NULL")
    if where.quarantined is not None:
        found.add("m.quarantine <> ''" if where.quarantined else "m.quarantine = ''")
    if where.next_attempt_after is not None:
        found.add("m.next_attempt > ?", micros(where.next_attempt_after))
    if where.next_attempt_before is not None:
        found.add("m.next_attempt < ?", micros(where.next_attempt_before))
    _between(found, where, _MESSAGE_KEYS[Sort.LAST_ACTIVITY])
    return found


def retired_conditions(where: HistoryFilter) -> Conditions:
    """Return the conditions of a filter on `RETIRED_TABLES`; what is only kept for feedback is not in any list."""
    found = _common(where)
    found.add("m.hidden = 0")
    if where.destination is not None:
        found.add("m.destination = ?", where.destination.lower())
    if where.success is not None:
        found.add("m.event = 'delivered'" if where.success else "m.event <> 'delivered'")
    if where.event is not None:
        found.add("m.event = ?", where.event.value)
    _between(found, where, _RETIRED_KEYS[Sort.LAST_ACTIVITY])
    return found


def _common(where: MessageFilter | HistoryFilter) -> Conditions:
    found = Conditions()
    if where.ids is not None:
        # Ids are whole numbers by type; as text they need no parameter each, of which SQLite has a limited number.
        found.add(f"m.id IN ({','.join(str(int(id_)) for id_ in where.ids) or 'NULL'})")
    if where.base_id is not None:
        found.add("m.submission = ?", where.base_id)
        # Its messages' ids follow each other, so that they are found by the table's key.
        last = "m.id < ? + (SELECT recipients FROM moxlib_submission WHERE id = ?)"
        found.add(f"m.id >= ? AND {last}", where.base_id, where.base_id, where.base_id)
    if where.account is not None:
        found.add("s.account = ?", where.account)
    if where.sender is not None:
        found.add("moxlib_contains(s.sender, ?)", where.sender.lower())
    if where.recipient is not None:
        found.add("moxlib_contains(m.recipient, ?)", where.recipient.lower())
    if where.transport is not None:
        found.add("coalesce(m.transport, '') = ?", where.transport)
    if where.queued_after is not None:
        found.add("s.queued > ?", micros(where.queued_after))
    if where.queued_before is not None:
        found.add("s.queued < ?", micros(where.queued_before))
    return found


def _between(found: Conditions, where: MessageFilter | HistoryFilter, activity: str) -> None:
    if where.last_activity_after is not None:
        found.add(f"{activity} > ?", micros(where.last_activity_after))
    if where.last_activity_before is not None:
        found.add(f"{activity} < ?", micros(where.last_activity_before))


def page_clause(conditions: Conditions, key: str, sort: Sort, *, descending: bool, after: Cursor | None) -> str:
    """Add the cursor's condition and return the ORDER BY for one page.

    Raises:
        InvalidFilter: the cursor is of another order.
    """
    if after is not None:
        after.check(sort, descending=descending)
        beyond = "<" if descending else ">"
        if key == "m.id":
            conditions.add(f"m.id {beyond} ?", after.id)
        else:
            conditions.add(f"({key}, m.id) {beyond} (?, ?)", after.key, after.id)
    order = "DESC" if descending else "ASC"
    return f"ORDER BY m.id {order}" if key == "m.id" else f"ORDER BY {key} {order}, m.id {order}"
