"""Giving messages up by hand, and telling their senders."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from moxlib.queue.config import QueueConfig
from moxlib.queue.notify.decide import operator_notice
from moxlib.queue.notify.notifier import Notifier
from moxlib.queue.selection import MessageFilter, Sort
from moxlib.queue.storage.base import Storage
from moxlib.queue.types import AttemptResult, EventType, NewSubmission, ResultKind

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
    after = None
    while True:
        page = await storage.list_messages(where, sort=Sort.QUEUED, descending=False, limit=BATCH, after=after)
        if page.items:
            notices = {
                message.id: notice
                for message in page.items
                if (notice := operator_notice(message, result, config)) is not None
            }
            returned = await notifier.returned(notices)
            told: dict[int, NewSubmission] = {}
            for id_, notice in notices.items():
                if (new := notifier.notification(notice, returned)) is not None:
                    told[id_] = new
            failed += await storage.retire(
                replace(where, ids=tuple([message.id for message in page.items])),  # those that still match
                event=EventType.FAILED,
                text=text,
                now=now,
                keep=keep,
                keep_feedback=config.keep_feedback,
                notifications=told,
                plan_for=config.hook_plan,
            )
        after = page.next
        if after is None:
            return failed
