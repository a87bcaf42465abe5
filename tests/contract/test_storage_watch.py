"""The contract of `Storage.watch`: it tells of what anybody may have made due, in this process or another.

What a storage does by itself, its own watch tells of too: who watches asks once more for nothing then. SQLite tells of
each change of the file, PostgreSQL of what may have made something due. A storage in memory, which nobody else can
reach, never tells.
"""

import asyncio
import gc
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from tests.contract.conftest import submission_to
from tests.contract.database import GUARD, IN_DATABASES, connect, execute

from moxlib.queue import EventType, MessageFilter
from moxlib.queue.storage.base import Storage
from moxlib.queue.storage.postgres import PostgresStorage, listen

if TYPE_CHECKING:
    from tests.contract.conftest import Desk

ALL = MessageFilter()


class Watch:
    """Somebody who watches, and counts."""

    def __init__(self) -> None:
        self.woken = 0
        self._changed = asyncio.Event()

    def wake(self) -> None:
        self.woken += 1
        self._changed.set()

    async def tells(self) -> None:
        """Return once it has told of something since the last time."""
        async with asyncio.timeout(GUARD):
            await self._changed.wait()
        self._changed.clear()


@asynccontextmanager
async def watching(storage: Storage) -> AsyncGenerator[Watch]:
    """Watch until the block ends; what comes after its beginning is seen."""
    watch = Watch()
    task = asyncio.create_task(storage.watch(watch.wake))
    try:
        if isinstance(storage, PostgresStorage):
            await watch.tells()  # at first, for what came before
        else:
            await asyncio.sleep(0)
        yield watch
        assert not task.done()
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@asynccontextmanager
async def another(desk: "Desk") -> AsyncGenerator[Storage]:
    """Another storage on the same data, as another process has."""
    storage = desk.make()
    await storage.open(desk.now)
    try:
        yield storage
    finally:
        await storage.close()


@IN_DATABASES
async def test_it_tells_of_what_another_submits(desk: "Desk") -> None:
    async with another(desk) as other, watching(desk.storage) as watch:
        for n in range(3):
            await other.insert(submission_to(f"a{n}@x.example"))
            await watch.tells()
            assert len(await desk.claimed(await desk.worker())) == 1


@IN_DATABASES
async def test_it_tells_of_what_the_same_storage_submits_too(desk: "Desk") -> None:
    async with watching(desk.storage) as watch:
        await desk.submit("a@x.example")
        await watch.tells()


@IN_DATABASES
async def test_all_who_watch_are_told(desk: "Desk") -> None:
    async with (
        another(desk) as other,
        watching(desk.storage) as one,
        watching(desk.storage) as two,
        watching(other) as three,
    ):
        await desk.submit("a@x.example")
        for watch in (one, two, three):
            await watch.tells()


async def releases(desk: "Desk") -> None:
    assert await desk.storage.set_hold(ALL, hold=False) == 1


async def reschedules(desk: "Desk") -> None:
    assert await desk.storage.set_next_attempt(ALL, desk.now) == 2


async def settles(desk: "Desk") -> None:
    worker = await desk.worker()
    await desk.settle(worker, desk.retry((await desk.claim_one(worker)).message))


async def dies(desk: "Desk") -> None:
    worker = await desk.worker()
    await desk.claim_one(worker)
    await desk.storage.take_back(now=desk.now, dead=[worker])


@IN_DATABASES
@pytest.mark.parametrize("does", [releases, reschedules, settles, dies])
async def test_it_tells_of_whatever_makes_something_due(
    desk: "Desk", does: Callable[["Desk"], Awaitable[None]]
) -> None:
    await desk.submit("a@x.example")
    [held] = await desk.submit("held@y.example")
    await desk.storage.set_hold(MessageFilter(ids=(held.id,)), hold=True)
    await desk.claim(await desk.worker("the first"), limit=1, room={"x.example": 0})  # others' wakes are done with
    async with another(desk) as other, watching(other) as watch:
        await does(desk)
        await watch.tells()


@IN_DATABASES
async def test_it_tells_of_a_callers_commit(desk: "Desk") -> None:
    async with watching(desk.storage) as watch:
        with connect(desk.storage) as connection:
            await desk.storage.insert_within(connection, submission_to("a@x.example"))
            connection.commit()
            await watch.tells()


@pytest.mark.parametrize("desk", ["postgres"], indirect=True)
async def test_it_does_not_tell_of_what_makes_nothing_due_nor_of_what_was_rolled_back(desk: "Desk") -> None:
    await desk.submit("a@x.example")
    assert isinstance(desk.storage, PostgresStorage)
    async with watching(desk.storage) as watch:
        before = watch.woken
        with connect(desk.storage) as connection:
            await desk.storage.insert_within(connection, submission_to("b@x.example"))
            connection.rollback()
        await desk.storage.set_hold(ALL, hold=True)
        await desk.storage.retire(ALL, event=EventType.CANCELED, text="dropped", now=desk.now, keep={})
        await desk.storage.purge(now=desk.now, events_before=desk.now)
        execute(desk.storage, f'NOTIFY "{desk.storage._dialect.channel}"')  # comes behind all that came before
        await watch.tells()
        assert watch.woken == before + 1


@pytest.mark.parametrize("desk", ["memory"], indirect=True)
async def test_in_memory_there_is_nothing_to_tell_of(desk: "Desk") -> None:
    async with watching(desk.storage) as watch:
        await desk.submit("a@x.example")
        await asyncio.sleep(0)
        assert watch.woken == 0


async def test_it_leaves_nothing_behind_when_it_is_cancelled(desk: "Desk") -> None:
    async with watching(desk.storage):
        await desk.submit("a@x.example")
    gc.collect()  # what was left open would warn, and a warning is an error
    if isinstance(desk.storage, PostgresStorage):
        listening = f"SELECT 1 FROM pg_stat_activity WHERE query = 'LISTEN \"{desk.storage._dialect.channel}\"'"
        async with asyncio.timeout(GUARD):
            while await asyncio.to_thread(execute, desk.storage, listening):
                pass


@pytest.mark.parametrize("desk", ["postgres"], indirect=True)
async def test_a_lost_connection_is_waited_out_and_told_of(
    desk: "Desk", monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listen, "WAITS", (0.0,))
    assert isinstance(desk.storage, PostgresStorage)
    channel = desk.storage._dialect.channel
    with caplog.at_level(logging.WARNING, "moxlib.queue"):
        async with watching(desk.storage) as watch:
            ended = execute(
                desk.storage,
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'LISTEN \"{channel}\"'",
            )
            assert ended == [(True,)]
            await watch.tells()  # when it is back, for what came meanwhile
            await desk.submit("a@x.example")
            await watch.tells()
    assert "listening for new messages failed" in caplog.text


@pytest.mark.parametrize("desk", ["sqlite", "sqlite-in-loop"], indirect=True)
async def test_a_locked_file_does_not_disturb_it(desk: "Desk") -> None:
    async with watching(desk.storage) as watch:
        with connect(desk.storage) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("UPDATE moxlib_sequence SET next_id = next_id + 1")
            connection.commit()
            await watch.tells()
