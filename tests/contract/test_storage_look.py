"""The contract of `Storage`: listing, counting, filtering, pagination."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from moxlib.queue.errors import InvalidFilter
from moxlib.queue.selection import Cursor, HistoryFilter, MessageFilter, Page, Sort
from moxlib.queue.types import EventType, Message, Retired

if TYPE_CHECKING:
    from tests.contract.conftest import Desk

SECOND = timedelta(seconds=1)
ORDERS = [(sort, descending) for sort in Sort for descending in (False, True)]


async def fill(desk: "Desk") -> None:
    """Queue a dozen messages that differ in everything a filter can ask for."""
    await desk.submit("alice@x.example", "BOB@y.example", "Jörg@z.example", sender="Sales@Here.example")
    desk.later()
    await desk.submit("alice@y.example", account="else", transport="relay", sender="Ä@hier.example")
    await desk.submit("100%_a@x.example", "100xya@x.example", transport="relay", due=30)
    desk.later()
    await desk.submit("held@x.example", "alicia@z.example", "damaged@z.example", sender="")
    await desk.storage.set_hold(MessageFilter(recipient="held"), hold=True)
    worker = await desk.worker()
    for claim in (await desk.claim(worker, limit=5)).claims[1:]:
        desk.later()
        await desk.settle(worker, desk.retry(claim.message, after=-7 * claim.message.id % 50))
    await desk.submit("last@x.example")


async def fill_history(desk: "Desk") -> None:
    """Finish a dozen messages in as many ways."""
    await fill(desk)
    worker = await desk.worker()
    desk.later(100)
    await desk.storage.set_hold(MessageFilter(), hold=False)
    for n, claim in enumerate((await desk.claim(worker)).claims):
        if n % 2:
            desk.later()
        event = (EventType.DELIVERED, EventType.FAILED)[n % 3 == 0]
        await desk.settle(worker, desk.deliver(claim.message, event=event))
    await desk.storage.retire(
        MessageFilter(), event=EventType.CANCELED, text="", now=desk.now, keep={"": timedelta(days=1)}
    )


NOON_FILTERS: list[dict[str, Any]] = [
    {},
    {"ids": ()},
    {"ids": (1, 3, 4711)},
    {"ids": tuple(range(1, 3000))},
    {"base_id": 1},
    {"base_id": 2},
    {"account": "shop"},
    {"account": "Shop"},
    {"account": ""},
    {"sender": "sales@here"},
    {"sender": "ä@HIER"},
    {"sender": ""},
    {"recipient": "ALI"},
    {"recipient": "bob"},
    {"recipient": "JÖRG"},
    {"recipient": "%_"},
    {"recipient": "%"},
    {"recipient": "\\"},
    {"recipient": "'"},
    {"destination": "x.example"},
    {"destination": "X.Example"},
    {"destination": "example"},
    {"transport": "relay"},
    {"transport": ""},
    {"transport": "Relay"},
    {"recipient": "ali", "account": "shop"},
    {"destination": "x.example", "transport": "relay", "recipient": "a"},
]
MESSAGE_FILTERS: list[dict[str, Any]] = [
    *NOON_FILTERS,
    {"hold": True},
    {"hold": False},
    {"in_flight": True},
    {"in_flight": False},
    {"quarantined": True},
    {"quarantined": False},
]
HISTORY_FILTERS: list[dict[str, Any]] = [
    *NOON_FILTERS,
    {"success": True},
    {"success": False},
    *({"event": event} for event in EventType),
    {"success": False, "event": EventType.CANCELED},
]


@pytest.mark.parametrize("conditions", MESSAGE_FILTERS, ids=str)
async def test_message_filters_agree_with_matches(desk: "Desk", conditions: dict[str, Any]) -> None:
    await fill(desk)
    where = MessageFilter(**conditions)
    everything = await desk.messages()
    assert len(everything) == 10
    expected = [message for message in everything if where.matches(message)]
    assert await desk.messages(where) == expected
    assert await desk.storage.count_messages(where) == len(expected)


@pytest.mark.parametrize("conditions", HISTORY_FILTERS, ids=str)
async def test_history_filters_agree_with_matches(desk: "Desk", conditions: dict[str, Any]) -> None:
    await fill_history(desk)
    where = HistoryFilter(**conditions)
    everything = await history(desk)
    assert len(everything) == 10
    expected = [retired for retired in everything if where.matches(retired)]
    assert await history(desk, where) == expected
    assert await desk.storage.count_retired(where) == len(expected)


async def test_bounds_in_time_exclude_the_instant_given(desk: "Desk") -> None:
    await fill(desk)
    everything = await desk.messages()
    for sort in Sort:
        for instant in {message_time(sort, m) for m in everything}:
            before = MessageFilter(**{f"{sort}_before": instant})  # type: ignore[arg-type]  # only times are so named
            after = MessageFilter(**{f"{sort}_after": instant})  # type: ignore[arg-type]  # the same
            assert await desk.messages(before) == [m for m in everything if message_time(sort, m) < instant]
            assert await desk.messages(after) == [m for m in everything if message_time(sort, m) > instant]


async def test_bounds_in_the_historys_time_exclude_the_instant_given(desk: "Desk") -> None:
    await fill_history(desk)
    everything = await history(desk)
    for sort in (Sort.QUEUED, Sort.LAST_ACTIVITY):
        for instant in {retired_time(sort, r) for r in everything}:
            before = HistoryFilter(**{f"{sort}_before": instant})  # type: ignore[arg-type]  # only times are so named
            after = HistoryFilter(**{f"{sort}_after": instant})  # type: ignore[arg-type]  # the same
            assert await history(desk, before) == [r for r in everything if retired_time(sort, r) < instant]
            assert await history(desk, after) == [r for r in everything if retired_time(sort, r) > instant]


# order and pages


def message_time(sort: Sort, message: Message) -> datetime:
    times = {
        Sort.QUEUED: message.queued,
        Sort.NEXT_ATTEMPT: message.next_attempt,
        Sort.LAST_ACTIVITY: message.last_attempt or message.queued,
    }
    return times[sort]


def retired_time(sort: Sort, retired: Retired) -> datetime:
    return retired.queued if sort is Sort.QUEUED else retired.finished


def place(sort: Sort, time: datetime, id_: int) -> tuple[Any, ...]:
    """Return what a listing is ordered by: by queueing, the ids, whatever the clock said."""
    return (id_,) if sort is Sort.QUEUED else (time, id_)


async def history(desk: "Desk", where: HistoryFilter | None = None, **fields: Any) -> list[Retired]:
    usual: dict[str, Any] = {"sort": Sort.QUEUED, "descending": False, "limit": 100, "after": None}
    page = await desk.storage.list_retired(where or HistoryFilter(), **(usual | fields))
    return list(page.items)


@pytest.mark.parametrize("limit", [1, 3, 5, 10, 11])
@pytest.mark.parametrize(("sort", "descending"), ORDERS)
async def test_pages_of_messages_follow_each_other(desk: "Desk", sort: Sort, descending: bool, limit: int) -> None:
    await fill(desk)
    everything = await desk.messages()
    expected = sorted(everything, key=lambda m: place(sort, message_time(sort, m), m.id), reverse=descending)
    seen: list[Message] = []
    after: Cursor | None = None
    for _ in range(20):
        page = await desk.page(sort=sort, descending=descending, limit=limit, after=after)
        assert len(page.items) <= limit
        seen += page.items
        if page.next is None:
            break
        assert len(page.items) == limit
        after = Cursor.parse(str(page.next))
    assert seen == expected


@pytest.mark.parametrize("limit", [1, 4, 10])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", [Sort.QUEUED, Sort.LAST_ACTIVITY])
async def test_pages_of_the_history_follow_each_other(desk: "Desk", sort: Sort, descending: bool, limit: int) -> None:
    await fill_history(desk)
    everything = await history(desk)
    expected = sorted(everything, key=lambda r: place(sort, retired_time(sort, r), r.id), reverse=descending)
    assert len(expected) == 10
    seen: list[Retired] = []
    page: Page[Retired] = Page(items=(), next=None)
    for _ in range(20):
        page = await desk.storage.list_retired(
            HistoryFilter(), sort=sort, descending=descending, limit=limit, after=page.next
        )
        seen += page.items
        if page.next is None:
            break
    assert seen == expected


async def test_there_is_no_next_page_after_the_last_row(desk: "Desk") -> None:
    await desk.submit("a@x.example", "b@x.example")
    assert (await desk.page(limit=2)).next is None
    assert (await desk.page(limit=3)).next is None
    first = await desk.page(limit=1)
    assert first.next is not None
    assert (await desk.page(limit=1, after=first.next)).next is None


@pytest.mark.parametrize("descending", [False, True])
async def test_pages_stand_still_while_the_queue_moves(desk: "Desk", descending: bool) -> None:
    for n in range(6):
        desk.later()
        await desk.submit(f"{n}@x.example")
    first = await desk.page(limit=3, descending=descending)
    gone = first.items[-1].id  # the very row the cursor stands on
    await desk.storage.retire(MessageFilter(ids=(gone,)), event=EventType.CANCELED, text="", now=desk.now, keep={})
    await desk.submit("early@x.example", queued=desk.now - 3600 * SECOND)
    await desk.submit("late@x.example", queued=desk.now + 3600 * SECOND)
    second = await desk.page(limit=3, descending=descending, after=first.next)
    names = [m.recipient[0] for m in (*first.items, *second.items)]
    assert names == (list("543210") if descending else list("012345"))


async def test_pages_are_of_what_the_filter_leaves(desk: "Desk") -> None:
    await desk.submit(*(f"{n}@{'xy'[n % 2]}.example" for n in range(10)))
    where = MessageFilter(destination="y.example")
    first = await desk.page(where, limit=3)
    second = await desk.page(where, limit=3, after=first.next)
    assert [m.recipient[0] for m in (*first.items, *second.items)] == list("13579")
    assert second.next is None


async def test_the_history_has_no_next_attempt_to_sort_by(desk: "Desk") -> None:
    with pytest.raises(InvalidFilter):
        await history(desk, sort=Sort.NEXT_ATTEMPT)


@pytest.mark.parametrize("wrong", [{"sort": Sort.NEXT_ATTEMPT}, {"descending": True}])
async def test_a_cursor_serves_only_the_order_it_came_from(desk: "Desk", wrong: dict[str, Any]) -> None:
    await desk.submit("a@x.example", "b@x.example")
    page = await desk.page(limit=1)
    with pytest.raises(InvalidFilter):
        await desk.page(limit=1, after=page.next, **wrong)
