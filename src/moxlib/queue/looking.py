"""What a queue says of its messages and its history. `Queue` inherits it."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime

from moxlib._clock import Clock
from moxlib.queue.config import QueueConfig
from moxlib.queue.errors import ContentDamaged, InvalidFilter
from moxlib.queue.explain import Explanation, explain_message, explain_retired
from moxlib.queue.selection import Cursor, HistoryFilter, MessageFilter, Page, Sort, page_start
from moxlib.queue.storage.base import Storage
from moxlib.queue.storage.content import MessageContent
from moxlib.queue.transport.base import Transport
from moxlib.queue.types import Message, Retired

__all__ = ["LookMethods"]


class LookMethods:
    """Looking: what is queued, what has become of the rest, and why."""

    _storage: Storage
    _transports: Mapping[str, Transport]
    _config: QueueConfig
    _clock: Clock

    async def get(self, id_: int) -> Message | None:
        """Return a queued message; None when there is none (any more)."""
        return await self._storage.get(id_)

    async def list_messages(
        self,
        where: MessageFilter | None = None,
        *,
        sort: Sort = Sort.QUEUED,
        descending: bool = False,
        limit: int = 100,
        after: Cursor | str | None = None,
    ) -> Page[Message]:
        """Return one page of queued messages; `page.next` is the `after` of the next one.

        Raises:
            InvalidFilter: a limit that cannot be, or a cursor of another order.
        """
        cursor = page_start(limit, after)
        return await self._storage.list_messages(
            where or MessageFilter(), sort=sort, descending=descending, limit=limit, after=cursor
        )

    async def count_messages(self, where: MessageFilter | None = None) -> int:
        """Count queued messages."""
        return await self._storage.count_messages(where or MessageFilter())

    async def get_retired(self, id_: int) -> Retired | None:
        """Return a finished message from the history; None when there is none (any more)."""
        return await self._storage.get_retired(id_)

    async def list_history(
        self,
        where: HistoryFilter | None = None,
        *,
        sort: Sort = Sort.LAST_ACTIVITY,
        descending: bool = True,
        limit: int = 100,
        after: Cursor | str | None = None,
    ) -> Page[Retired]:
        """Return one page of finished messages, the newest first by default.

        Raises:
            InvalidFilter: a limit that cannot be, a cursor of another order, or `Sort.NEXT_ATTEMPT`.
        """
        cursor = page_start(limit, after)
        return await self._storage.list_retired(
            where or HistoryFilter(), sort=sort, descending=descending, limit=limit, after=cursor
        )

    async def count_history(self, where: HistoryFilter | None = None) -> int:
        """Count finished messages."""
        return await self._storage.count_retired(where or HistoryFilter())

    async def explain(self, id_: int) -> Explanation | None:
        """Say where a message is and why: attempts made and to come, rules, transport. None: it is not known."""
        message = await self._storage.get(id_)
        if message is None:
            retired = await self._storage.get_retired(id_)
            return None if retired is None else explain_retired(retired)
        return explain_message(
            message,
            rules=await self._storage.hold_rules(),
            config=self._config,
            transports=self._transports,
            now=self._clock.now(),
            suppression=await self._storage.suppression(message.account, message.base_address),
        )

    async def dump(self, id_: int) -> AsyncIterator[bytes]:
        """Stream what would be sent for a queued message: its added header lines and its content.

        Raises:
            InvalidFilter: no such message is in the queue.
            ContentDamaged: the content is not what was stored.
        """
        message = await self._storage.get(id_)
        stored = None if message is None else await self._storage.content(message.base_id)
        if message is None:
            raise InvalidFilter(f"no message {id_} is in the queue")
        if stored is None:
            raise ContentDamaged("the content is not in storage any more")
        content = MessageContent(message.prefix, stored, self._storage)
        await content.verify()
        async for chunk in content.chunks():
            yield chunk

    async def next_due(self) -> datetime | None:
        """Return when a worker will next find something to do, at the earliest; None when nothing waits for one."""
        due = await self._storage.next_due()
        called = await self._storage.hooks.next_due() if self._config.has_webhooks else None
        return min((at for at in (due, called) if at is not None), default=None)
