"""Messages a second from a filled queue through SMTP to a local sink, with history and events kept.

One domain and 200 domains, in SQLite and in PostgreSQL, beside smtplib and aiosmtplib that send the same messages with
no queue at all, so that they neither read nor record anything. And the direct transport, with a resolver that knows all
the domains, beside the one for a relay.
"""

from __future__ import annotations

import asyncio
import smtplib
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import aiosmtplib

from benchmarks._mail import SENDER, fill, message, recipient
from benchmarks._options import Engine, Options
from benchmarks._place import Place, places
from benchmarks._report import Figure, compare
from benchmarks._sink import Sink
from moxlib.queue import DirectTransport, Queue, Shaping, ShapingRules, SMTPTransport
from moxlib.testing import MockResolver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from moxlib.queue import Transport

COUNT = 5_000
CONNECTIONS = 4
# A process that only delivers runs SQLite's transactions in the event loop, as the how-to on workers says.
OPEN: Mapping[Engine, Mapping[str, Any]] = {Engine.SQLITE: {"transactions": "loop"}, Engine.POSTGRES: {}}


def figures(options: Options) -> Iterator[Figure]:
    """Yield a figure for one domain and one for 200 on each engine."""
    count = COUNT // 20 if options.quick else COUNT
    for engine in options.engines:
        with Sink() as sink, places(engine) as place:
            for domains in (1, 200):
                yield compare(
                    partial(drain, place, sink.port, domains, count, OPEN[engine], direct),
                    {"relay": partial(drain, place, sink.port, domains, count, OPEN[engine], relay)},
                    rounds=2 if options.quick else 5,
                    name=f"drain direct, {engine}, {domains} domain{'s' if domains > 1 else ''}",
                    unit="messages/s",
                )
                yield compare(
                    partial(drain, place, sink.port, domains, count, OPEN[engine]),
                    {
                        "smtplib": partial(send_with_smtplib, sink.port, domains, count),
                        "aiosmtplib": partial(send_with_aiosmtplib, sink.port, domains, count),
                    },
                    rounds=2 if options.quick else 5,
                    name=f"drain, {engine}, {domains} domain{'s' if domains > 1 else ''}",
                    unit="messages/s",
                )


def relay(port: int, _domains: int) -> Transport:
    """Return the transport that hands everything to the sink."""
    return SMTPTransport("127.0.0.1", port, security="none", max_connections=CONNECTIONS)


def direct(port: int, domains: int) -> Transport:
    """Return the transport that looks up each domain, of which all have the sink for their host."""
    names = [f"d{number}.example" for number in range(domains)]
    resolver = MockResolver(mx={name: [(10, "sink.example")] for name in names}, a={"sink.example": ["127.0.0.1"]})
    shaping = ShapingRules(default=Shaping(max_connections=CONNECTIONS))
    return DirectTransport(ehlo_name="client.example", resolver=resolver, mta_sts=None, port=port, shaping=shaping)


def drain(
    place: Place,
    port: int,
    domains: int,
    count: int,
    options: Mapping[str, Any],
    make: Callable[[int, int], Transport] = relay,
) -> float:
    """Fill a queue, then measure how fast one worker empties it; `options` are `Queue.open`'s for a worker."""
    return asyncio.run(_drain(place, port, domains, count, options, make))


async def _drain(
    place: Place,
    port: int,
    domains: int,
    count: int,
    options: Mapping[str, Any],
    make: Callable[[int, int], Transport],
) -> float:
    with place() as where:
        await fill(where, domains, count)
        transport = make(port, domains)
        async with Queue.open(where, transports={"sink": transport}, **options) as queue:
            start = time.perf_counter()
            async with queue.worker() as worker:
                await worker.wait_idle()
                seconds = time.perf_counter() - start
            assert await queue.count_messages() == 0
            assert await queue.count_history() == count
    return count / seconds


def send_with_smtplib(port: int, domains: int, count: int) -> float:
    """Send the messages with the standard library over one connection."""
    data = message()
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example") as client:
        start = time.perf_counter()
        for number in range(count):
            client.sendmail(SENDER, [recipient(number, domains)], data)
        return count / (time.perf_counter() - start)


def send_with_aiosmtplib(port: int, domains: int, count: int) -> float:
    """Send the messages with aiosmtplib over as many connections as the queue may use."""
    return asyncio.run(_send_with_aiosmtplib(port, domains, count))


async def _send_with_aiosmtplib(port: int, domains: int, count: int) -> float:
    data = message()
    numbers = iter(range(count))

    async def connection() -> None:
        client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, use_tls=False, start_tls=False)
        async with client:
            for number in numbers:
                await client.sendmail(SENDER, [recipient(number, domains)], data)

    start = time.perf_counter()
    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return count / (time.perf_counter() - start)
