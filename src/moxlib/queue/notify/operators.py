"""Giving messages up by hand, and telling their senders."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from moxlib.queue.config import QueueConfig
from moxlib.queue.notify.decide import operator_notice
from moxlib.queue.notify.notifier import Notifier
from moxlib.queue.selection import Cursor, MessageFilter, Sort
from moxlib.queue.storage.base import Storage
from moxlib.queue.submission import NewSubmission
from moxlib.queue.types import AttemptResult, EventType, Message, ResultKind

__all__ = ["fail_and_tell"]

BATCH: Final = 200  # messages a transaction; with what comes back of each, some megabytes


async def fail_and_tell(
    storage: Storage, notifier: Notifier, where: MessageFilter, *, text: str, now: datetime, config: QueueConfig
) -> int:
    """Give up the messages that match, a batch a transaction, and queue what tells their senders with it.

    Raises:
        StorageError: the messages of the batches before are given up.
    """
    result = AttemptResult(attempt=0, kind=ResultKind.CANCELED, started=now, text=text)
    keep = config.retentions()
    failed = 0
    async for messages in _batches(storage, where):
        told = await _notifications(notifier, messages, result, config)
        failed += await storage.retire(
            replace(where, ids=tuple([message.id for message in messages])),  # those that still match
            event=EventType.FAILED,
            text=text,
            now=now,
            keep=keep,
            keep_feedback=config.keep_feedback,
            notifications=told,
            plan_for=config.hook_plan,
        )
    return failed


async def _batches(storage: Storage, where: MessageFilter) -> AsyncIterator[Sequence[Message]]:
    """Yield what matches now, in the order of ids; not what is queued meanwhile, which may be a notification."""
    newest = await storage.list_messages(where, sort=Sort.QUEUED, descending=True, limit=1, after=None)
    last = newest.items[0].id if newest.items else 0
    after: Cursor | None = None
    while last:
        page = await storage.list_messages(where, sort=Sort.QUEUED, descending=False, limit=BATCH, after=after)
        messages = [message for message in page.items if message.id <= last]
        if messages:
            yield messages
        after = page.next
        if after is None or len(messages) < len(page.items):
            return


async def _notifications(
    notifier: Notifier, messages: Sequence[Message], result: AttemptResult, config: QueueConfig
) -> Mapping[int, NewSubmission]:
    notices = {
        message.id: notice for message in messages if (notice := operator_notice(message, result, config)) is not None
    }
    returned = await notifier.returned(notices)
    told = {id_: notifier.notification(notice, returned) for id_, notice in notices.items()}
    return {id_: new for id_, new in told.items() if new is not None}
