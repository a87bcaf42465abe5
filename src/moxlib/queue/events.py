"""What a queue offers on its event log: pages of it, following it, and calls for each event. `Queue` inherits it.

Events come in the order of their ids, and none is missed: whoever appends to the log does so one after the other, up to
the commit, on every engine.
"""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Final

from moxlib._clock import Clock
from moxlib.errors import StorageError
from moxlib.queue.config import QueueConfig
from moxlib.queue.errors import QueueClosed
from moxlib.queue.selection import check_page
from moxlib.queue.storage.base import Storage
from moxlib.queue.types import Event
from moxlib.queue.worker.group import task_group

__all__ = ["EventFeed", "EventMethods"]

log: logging.Logger = logging.getLogger("moxlib.queue")

PAGE: Final = 500  # events read at once: some hundred octets each
TROUBLE_SECONDS: Final = (0.1, 1.0, 5.0, 30.0)  # between calls of what raised; the last one repeats


class EventFeed:
    """Wakes those who follow the log: when this process has appended to it, and when the storage has changed."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._followers: set[asyncio.Event] = set()
        self._watching: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """There may be something new."""
        for woken in self._followers:
            woken.set()

    @asynccontextmanager
    async def following(self) -> AsyncIterator[asyncio.Event]:
        """Return what is set when there may be something new. The storage is watched while anybody follows."""
        woken = asyncio.Event()
        self._followers.add(woken)
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch(), name="moxlib events")
        try:
            yield woken
        finally:
            self._followers.discard(woken)
            if not self._followers:
                await self.stop()

    async def stop(self) -> None:
        """Let everybody look once more, and watch no more."""
        self.wake()
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            await asyncio.wait([watching])

    async def _watch(self) -> None:
        try:
            await self._storage.watch(self.wake)
        except Exception:
            log.exception("watching for events failed; they are looked for at intervals")


class EventMethods:
    """The event log: what happened to messages, for `QueueConfig.keep_events`."""

    _storage: Storage
    _config: QueueConfig
    _clock: Clock
    _feed: EventFeed
    _open: bool

    async def list_events(self, *, after: int = 0, limit: int = 1000) -> tuple[Event, ...]:
        """Return events of the durable log with an id over `after`, in order; none when there is none yet.

        Raises:
            InvalidFilter: a limit that cannot be.
        """
        check_page(limit)
        return await self._storage.events(after=after, limit=limit)

    async def last_event(self) -> int:
        """Return the id of the last event of the log; 0 when it is empty. After it comes only what is yet to happen."""
        return await self._storage.last_event()

    async def events(self, *, after: int = 0) -> AsyncIterator[Event]:
        """Follow the durable log: yield the events with an id over `after`, in order, then wait for more, for ever.

            async for event in queue.events(after=cursor):
                ...
                cursor = event.id

        None is missed, and each comes once. Keep the id of the last one that you have dealt with, and go on after it
        when the program starts again; what you do twice if it ends in between, the id tells. Events of this process
        come at once; those of others as the engine tells of them, or after `WorkerConfig.poll_interval`.

        Raises:
            QueueClosed: the queue is not open, or was closed.
            StorageError: the log could not be read; go on after the last one that came.
        """
        async with self._feed.following() as woken:
            while True:
                woken.clear()
                if not self._open:
                    raise QueueClosed("the queue is closed")
                page = await self._storage.events(after=after, limit=PAGE)
                for event in page:
                    yield event
                    after = event.id
                if not page:
                    await self._pause_events(woken)

    @asynccontextmanager
    async def on_event(
        self, callback: Callable[[Event], Awaitable[object] | object], *, after: int | None = None
    ) -> AsyncIterator[None]:
        """Call a function for each event, in order, until the block ends.

        If it raises, that is logged, and it is called with the same event again after some seconds: so none is left
        out. It should tell by the id whether it has dealt with one already.

        Args:
            callback: gets an `Event`; async, or not.
            after: the id of the last event that was dealt with; None: what happens from now on.
        """
        cursor = await self.last_event() if after is None else after
        async with task_group() as group:
            following = group.create_task(self._call_back(callback, cursor), name="moxlib event callback")
            try:
                yield
            finally:
                following.cancel()

    async def _call_back(self, callback: Callable[[Event], Awaitable[object] | object], after: int) -> None:
        tries = 0
        while True:
            try:
                async with aclosing(self.events(after=after)) as following:  # type: ignore[type-var]
                    async for event in following:
                        done = callback(event)
                        if inspect.isawaitable(done):
                            await done
                        after, tries = event.id, 0
            except QueueClosed:
                return
            except StorageError as error:
                log.error("following events failed, and will be tried again: %s", error)  # noqa: TRY400 - no bug here
            except Exception:
                log.exception("the callback raised for the event after %d; it will be called again", after)
            await self._clock.sleep(TROUBLE_SECONDS[min(tries, len(TROUBLE_SECONDS) - 1)])
            tries += 1

    async def _pause_events(self, woken: asyncio.Event) -> None:
        try:
            async with self._clock.timeout(self._config.worker.poll_interval.total_seconds()):
                await woken.wait()
        except TimeoutError:
            return
