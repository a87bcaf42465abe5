"""Webhook calls a second from a filled queue to a receiver in a process of its own, with history kept.

Each call is claimed, made and settled durably: what is called is journalled before, and what became of it is on disk
afterwards, many in one commit. One URL and 50; one event a call, and up to 20. The peer is aiohttp alone, which sends
the same bodies over as many connections and keeps no record of them.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp

from benchmarks._hook_receiver import Receiver
from benchmarks._mail import SENDER, message, recipient
from benchmarks._options import Engine, Options
from benchmarks._place import Place, places
from benchmarks._report import Figure, compare
from moxlib.queue import AccountConfig, MessageFilter, Queue, QueueConfig
from moxlib.queue.hooks import HookConfig
from moxlib.webhook import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

COUNT = 5_000
AT_ONCE = 4
SECRET = Secret(bytes(range(32)))
# As for delivering: a process that only works runs SQLite's transactions in the event loop.
OPEN: Mapping[Engine, Mapping[str, Any]] = {Engine.SQLITE: {"transactions": "loop"}, Engine.POSTGRES: {}}


def figures(options: Options) -> Iterator[Figure]:
    """Yield figures for one URL, for 50, and for batches, on each engine."""
    count = COUNT // 20 if options.quick else COUNT
    rounds = 2 if options.quick else 5
    for engine in options.engines:
        with places(engine) as place:
            ours = partial(drain, place, count, OPEN[engine])
            peer = {"aiohttp": partial(call_with_aiohttp, count)}
            yield compare(ours, peer, rounds, name=f"webhooks, {engine}, 1 URL", unit="calls/s")
            yield compare(partial(ours, urls=50), None, rounds, name=f"webhooks, {engine}, 50 URLs", unit="calls/s")
            name = f"webhooks, {engine}, 1 URL, batches of 20"
            yield compare(partial(ours, batch=20), None, rounds, name=name, unit="webhooks/s")


def drain(place: Place, count: int, options: Mapping[str, Any], *, urls: int = 1, batch: int = 1) -> float:
    """Fill a queue with webhooks, then measure how fast one worker calls all of them."""
    return asyncio.run(_drain(place, count, options, urls, batch))


async def _drain(place: Place, count: int, options: Mapping[str, Any], urls: int, batch: int) -> float:
    with place() as where, Receiver() as receiver:
        accounts = {
            str(number): AccountConfig(
                webhook=HookConfig(
                    url=f"{receiver.url}{number}",
                    secrets=(SECRET,),
                    max_at_once=AT_ONCE,
                    batch=batch,
                    allow_private=True,
                )
            )
            for number in range(urls)
        }
        config = QueueConfig(accounts=accounts)
        async with Queue.open(where, config=config, **options) as queue:
            data = message()
            for number in range(urls):
                to = [recipient(n, 1) for n in range(count // urls)]
                for start in range(0, len(to), 500):
                    here = to[start : start + 500]
                    await queue.submit(data, sender=SENDER, recipients=here, account=str(number))
            assert await queue.drop(MessageFilter()) == count
            start_time = time.perf_counter()
            async with queue.worker() as worker:
                await worker.wait_idle()
                seconds = time.perf_counter() - start_time
            assert await queue.count_webhook_history() == count
        ids, calls = receiver.end()
        assert ids == count
        assert calls == count or batch > 1
    return count / seconds


def call_with_aiohttp(count: int) -> float:
    """Send as many bodies of that size over as many connections."""
    return asyncio.run(_call_with_aiohttp(count))


async def _call_with_aiohttp(count: int) -> float:
    with Receiver() as receiver:
        numbers = iter(range(count))

        async def calls(session: aiohttp.ClientSession) -> None:
            for number in numbers:
                headers = {"X-Mox-Webhook-ID": str(number), "X-Mox-Webhook-Attempt": "1"}
                async with session.post(receiver.url, data=b"x" * 400, headers=headers) as response:
                    await response.read()

        async with aiohttp.ClientSession() as session:
            start = time.perf_counter()
            await asyncio.gather(*(calls(session) for _ in range(AT_ONCE)))
            return count / (time.perf_counter() - start)
