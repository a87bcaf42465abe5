"""A process that delivers, until it is terminated or the queue is empty."""

import asyncio
import hashlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from random import Random

from tests.crash.programs.mail import Log, Settings, be_quiet, opened, say
from tests.crash.programs.receiver import LogCaller

from moxlib.dsn import parse_dsn
from moxlib.queue import (
    AttemptResult,
    Deferred,
    Delivered,
    Delivery,
    Failed,
    Message,
    NullObserver,
    Outcome,
    Security,
    SMTPTransport,
    Transport,
)

REFUSED = Failed(text="not from you", code=550, enhanced="5.7.1", command="RCPT TO")  # suppresses nobody


class Peer:
    """A transport whose other end is a log: what is written there, the peer has taken."""

    def __init__(self, settings: Settings) -> None:
        self._log = Log(settings.log)
        self._settings = settings
        self._random = Random(os.getpid())

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        self._log.write(start=delivery.destination, at=time.monotonic_ns(), pid=os.getpid())
        if self._settings.gated:
            say(begun=delivery.destination)
        await self._while_away()
        outcomes = await self._take(delivery)
        await self._while_away()
        self._log.write(end=delivery.destination, at=time.monotonic_ns(), pid=os.getpid())
        return outcomes

    async def _while_away(self) -> None:
        if self._settings.gated:
            await asyncio.to_thread(sys.stdin.readline)
        else:
            await asyncio.sleep(self._random.uniform(0, self._settings.pause))

    async def _take(self, delivery: Delivery) -> list[Outcome]:
        digest = hashlib.sha256()
        async for chunk in delivery.content.chunks():
            digest.update(chunk)
        outcomes: list[Outcome] = []
        for message in delivery.messages:
            if self._settings.defer and message.id % 10 == 0 and message.attempts == 1:
                outcomes.append(Deferred(text="come back later", code=451))
                continue
            self._log.write(
                taken=message.message_id,
                recipient=message.recipient,
                sha256=digest.hexdigest(),
                id=message.id,
                attempt=message.attempts,
                pid=os.getpid(),
            )
            outcomes.append(Delivered(text="taken"))
        return outcomes


class RefusingPeer:
    """A peer that refuses all mail, and takes what tells its senders so: who is told of what, the log says."""

    def __init__(self, settings: Settings, reached: Callable[[str], None] = lambda _: None) -> None:
        self._log = Log(settings.log)
        self._reached = reached

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        self._reached("before the peer is asked")
        if delivery.sender:
            outcomes: Sequence[Outcome] = [REFUSED] * len(delivery.messages)
        else:
            content = b"".join([chunk async for chunk in delivery.content.chunks()])
            [told] = parse_dsn(content).recipients
            for message in delivery.messages:
                self._log.write(told=message.recipient, by=message.id, about=int(told.final_log_id))
            outcomes = [Delivered(text="taken")] * len(delivery.messages)
        self._reached("after the peer answered")
        return outcomes


class Telling(NullObserver):
    """Tells the test what must, or must not, happen."""

    def attempted(self, message: Message, result: AttemptResult) -> None:
        say(attempted=message.id, attempt=result.attempt, kind=result.kind.value)

    def lease_lost(self, worker: int, lost: int) -> None:
        say(lease_lost=lost)

    def trouble(self, doing: str, error: Exception) -> None:
        say(trouble=f"{doing}: {error!r}")


async def main(settings: Settings) -> None:
    transport: Transport = Peer(settings)
    if settings.port:
        transport = SMTPTransport("127.0.0.1", settings.port, security=Security.NONE)
    caller = LogCaller(settings)
    async with opened(settings, transports={"peer": transport}, observer=Telling(), webhook_caller=caller) as queue:
        if not settings.until_empty:
            await queue.run_worker()
            return
        async with queue.worker():
            # Asked of the file: others work on it too.
            while await queue.count_messages() or await queue.count_webhooks():  # noqa: ASYNC110
                await asyncio.sleep(0.05)


if __name__ == "__main__":
    be_quiet()
    asyncio.run(main(Settings.given()))
