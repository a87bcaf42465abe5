"""Following the event log, on each storage: nothing missed, nothing twice, at once or at intervals; and callbacks."""

import asyncio
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from tests.unit.queue.hook_desk import GUARD

from moxlib.errors import StorageError
from moxlib.queue import Event, EventType, MessageFilter, Queue, QueueClosed
from moxlib.queue.events import PAGE

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Depot


async def take(queue: Queue, count: int, *, after: int = 0) -> list[Event]:
    """Return the next so many events that come."""
    taken: list[Event] = []
    async with asyncio.timeout(GUARD), aclosing(queue.events(after=after)) as following:  # type: ignore[type-var]
        async for event in following:
            taken.append(event)
            if len(taken) == count:
                break
    return taken


async def drop_one(depot: "Depot", queue: Queue) -> None:
    [receipt] = await depot.submit(queue)
    await queue.drop(MessageFilter(ids=(receipt.id,)))


async def settled(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_is_there_comes_first_in_order_from_the_cursor_on(depot: "Depot") -> None:
    async with depot.queue() as queue:
        for _ in range(3):
            await drop_one(depot, queue)
        assert [event.id for event in await take(queue, 3)] == [1, 2, 3]
        assert [event.id for event in await take(queue, 1, after=2)] == [3]
        assert await queue.last_event() == 3


async def test_more_than_a_page_comes_without_gap(depot: "Depot") -> None:
    count = PAGE + 3
    async with depot.queue() as queue:
        await depot.submit(queue, *[f"r{number}@one.example" for number in range(count)])
        await queue.drop(MessageFilter())
        assert [event.id for event in await take(queue, count)] == list(range(1, count + 1))


async def test_what_this_process_does_comes_at_once(depot: "Depot") -> None:
    async with depot.queue() as queue:
        following = asyncio.create_task(take(queue, 2))
        await settled()
        await drop_one(depot, queue)
        await depot.submit(queue)
        await depot.idle(queue)
        assert [event.type for event in await following] == [EventType.CANCELED, EventType.DELIVERED]
        assert queue._feed._followers == set()
        assert queue._feed._watching is None


async def test_what_another_queue_does_comes_by_the_engine_or_at_the_next_look(depot: "Depot") -> None:
    async with depot.queue() as queue, depot.queue() as other:
        following = asyncio.create_task(take(queue, 1))
        await settled()
        await drop_one(depot, other)
        while not following.done():
            if depot.kind != "sqlite":  # there, the file is watched
                await depot.clock.advance(1)
            await asyncio.sleep(0.001)
        [event] = await following
        assert event.type is EventType.CANCELED


async def test_several_follow_each_for_itself(depot: "Depot") -> None:
    async with depot.queue() as queue:
        followers = [asyncio.create_task(take(queue, 2)) for _ in range(3)]
        await settled()
        await drop_one(depot, queue)
        await drop_one(depot, queue)
        for taken in await asyncio.gather(*followers):
            assert [event.id for event in taken] == [1, 2]


async def test_closing_the_queue_ends_who_follows(depot: "Depot") -> None:
    async with depot.queue() as queue:
        following = asyncio.create_task(take(queue, 1))
        await settled()
    with pytest.raises(QueueClosed):
        await following
    with pytest.raises(QueueClosed):
        await take(queue, 1)


async def test_a_callback_hears_of_each_event_from_then_on(depot: "Depot") -> None:
    heard: asyncio.Queue[Event] = asyncio.Queue()
    async with depot.queue() as queue:
        await drop_one(depot, queue)
        async with queue.on_event(heard.put_nowait), asyncio.timeout(GUARD):
            await drop_one(depot, queue)
            assert (await heard.get()).id == 2
        await drop_one(depot, queue)
        async with queue.on_event(heard.put, after=0), asyncio.timeout(GUARD):
            assert [(await heard.get()).id for _ in range(3)] == [1, 2, 3]
        assert heard.empty()


async def test_a_callback_that_raises_is_called_again_and_none_is_left_out(
    depot: "Depot", caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[int] = []
    failures = [RuntimeError("boo"), StorageError("full")]
    done = asyncio.Event()

    def hear(event: Event) -> None:
        heard.append(event.id)
        if event.id == 2 and failures:
            raise failures.pop()
        if event.id == 3:
            done.set()

    async with depot.queue() as queue:
        for _ in range(3):
            await drop_one(depot, queue)
        async with queue.on_event(hear, after=0), asyncio.timeout(GUARD):
            while not done.is_set():
                await depot.clock.advance(timedelta(seconds=1))
                await asyncio.sleep(0.001)
    assert heard == [1, 2, 2, 2, 3]
    assert "called again" in caplog.text


async def test_a_callback_ends_with_its_block_and_the_queue_closes_under_it(depot: "Depot") -> None:
    heard: list[Event] = []
    async with depot.queue() as queue:
        async with queue.on_event(heard.append):
            pass
        await drop_one(depot, queue)
        manager = queue.on_event(heard.append)
        await manager.__aenter__()
    await settled()
    await manager.__aexit__(None, None, None)
    assert heard == []
