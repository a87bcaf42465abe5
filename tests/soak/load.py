"""A queue's configuration, transport and workers, for all processes of a soak test."""

import asyncio
import os
from collections.abc import Sequence
from datetime import timedelta
from random import Random

from moxlib.queue import Deferred, Delivered, Delivery, Failed, Outcome, Queue, QueueConfig, Unknown, WorkerConfig
from moxlib.queue.storage.content import CHUNK

MESSAGES = int(os.environ.get("MOXLIB_SOAK_MESSAGES", "3000"))
SEED = int(os.environ.get("MOXLIB_SOAK_SEED", "1"))
INLINE = 2000  # bytes: a tenth of the messages are larger, and lie in files or chunks


CONFIG = QueueConfig(
    schedule=lambda _: timedelta(milliseconds=20),
    max_attempts=6,
    inline_content=INLINE,
    keep_history=timedelta(seconds=1),
    keep_events=timedelta(seconds=20),
    worker=WorkerConfig(
        poll_interval=timedelta(milliseconds=50),
        purge_interval=timedelta(milliseconds=500),
        delivery_timeout=timedelta(milliseconds=200),
    ),
)


class Moody:
    """A transport that does everything transports do."""

    def __init__(self, random: Random) -> None:
        self._random = random

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        dice = self._random.random()
        async for chunk in delivery.content.chunks():
            assert len(chunk) <= CHUNK
        if dice < 0.002:
            await asyncio.Event().wait()  # hangs: the worker cuts it off
        if dice < 0.01:
            raise ConnectionResetError("the peer went away")
        if dice < 0.02:
            return []
        await asyncio.sleep(0)
        return [self._outcome() for _ in delivery.messages]

    def _outcome(self) -> Outcome:
        dice = self._random.random()
        if dice < 0.8:
            return Delivered(text="taken")
        if dice < 0.95:
            return Deferred(text="later", code=451)
        return Failed(text="no", code=550) if dice < 0.98 else Unknown(text="gone")


async def work(queue: Queue, random: Random) -> None:
    """Run a worker that is stopped and started now and then."""
    while True:
        async with queue.worker():
            await asyncio.sleep(random.uniform(0.3, 2))
