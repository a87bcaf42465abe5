"""Pages of what is in memory."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from moxlib.queue.errors import InvalidFilter
from moxlib.queue.hooks.records import Hook, RetiredHook
from moxlib.queue.selection import Cursor, Page, Sort
from moxlib.queue.types import Message, Retired

__all__ = ["page"]

R = TypeVar("R", Message, Retired, Hook, RetiredHook)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def page(
    rows: Iterable[R],
    keys: Mapping[Sort, Callable[[R], datetime]],
    *,
    sort: Sort,
    descending: bool,
    limit: int,
    after: Cursor | None,
) -> Page[R]:
    """Return a page of rows in the order of a key."""
    if sort not in keys:
        raise InvalidFilter(f"cannot sort by {sort.value!r} here; known: {', '.join(keys)}")
    if after is not None:
        after.check(sort, descending=descending)

    def place(row: R) -> tuple[int, int]:
        return row.id if sort is Sort.QUEUED else (keys[sort](row) - EPOCH) // MICROSECOND, row.id

    ordered = sorted(rows, key=place, reverse=descending)
    if after is not None:
        seen = (after.key, after.id)
        ordered = [row for row in ordered if (place(row) < seen if descending else place(row) > seen)]
    items = tuple(ordered[:limit])
    if len(ordered) <= limit:
        return Page(items=items, next=None)
    key, id_ = place(items[-1])
    return Page(items=items, next=Cursor(sort=sort, descending=descending, key=key, id=id_))
