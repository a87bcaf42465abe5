"""The SMTP client on one connection beside smtplib and aiosmtplib: 4 KB messages to a sink in another process.

On loopback, where the programs' own time counts, and with a round-trip time of 20 ms, where it counts how often a
client waits. The sink offers PIPELINING, or PIPELINING and CHUNKING, or neither; the peers make use of neither.
"""

from __future__ import annotations

import asyncio
import importlib.util
import smtplib
import time
from typing import TYPE_CHECKING, TypeAlias

import aiosmtplib

from benchmarks._delay import Delay
from benchmarks._report import Figure, compare
from benchmarks._sink import Sink
from moxlib.smtpclient import Accepted, SMTPConnection, TLSMode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks._options import Options

SENDER = "sender@client.example"
RECIPIENT = "recipient@server.example"
SIZE = 4096
IN_FLIGHT = 8  # deliveries at once on one connection, so that one begins in the write in which another ends
# A figure's name, and whether the sink offers PIPELINING and CHUNKING.
SINKS = (("", True, False), ("_chunking", True, True), ("_no_pipelining", False, False))
ROUND_TRIP = 20  # milliseconds, of a connection through `Delay`


def message() -> bytes:
    """Return a message of 4 KB in lines of 72 octets, one of which begins with a dot."""
    head = b"From: %s\r\nTo: %s\r\nSubject: benchmark\r\n\r\n.\r\n" % (SENDER.encode(), RECIPIENT.encode())
    body = (b"x" * 70 + b"\r\n") * (SIZE // 72 + 1)
    return head + body[: SIZE - len(head) - 2] + b"\r\n"


MESSAGE = message()


def figures(options: Options) -> Iterator[Figure]:
    """Yield messages a second and CPU time a message: by what the server offers, near and far away."""
    count, rounds = (200, 3) if options.quick else (4_000, 7)
    far, far_rounds = (4, 1) if options.quick else (25, 3)
    for suffix, pipelining, chunking in SINKS:
        with Sink(pipelining=pipelining, chunking=chunking) as sink:
            yield from _near(sink.port, count, rounds, suffix)
            with Delay(sink.port, milliseconds=ROUND_TRIP / 2) as delay:
                yield from _far(delay.port, far, far_rounds, f"{suffix}_{ROUND_TRIP}ms")


def _near(port: int, count: int, rounds: int, suffix: str) -> Iterator[Figure]:
    peers = _peers(port, count)
    for name, client in _ours(port, count, suffix).items():
        yield _compared(f"client{suffix}{name}", "messages/s", _rate, client, peers, count, rounds)
        yield _compared(f"client_cpu{suffix}{name}", "us/message", _cpu, client, peers, count, rounds)


def _far(port: int, count: int, rounds: int, suffix: str) -> Iterator[Figure]:
    clients = _ours(port, count, suffix, uvloop=False)  # whatever the loop, it waits
    for name, client in clients.items():
        yield _compared(f"client{suffix}{name}", "messages/s", _rate, client, _peers(port, count), count, rounds)


def _ours(port: int, count: int, suffix: str, *, uvloop: bool = True) -> dict[str, Client]:
    """Return our ways to send so many messages."""
    in_flight = f"_{IN_FLIGHT}_in_flight"
    ours: dict[str, Client] = {"": lambda timer: asyncio.run(_one_by_one(port, count, timer))}
    if "_no_pipelining" in suffix:
        return ours  # they run one by one anyway
    ours[in_flight] = lambda timer: asyncio.run(_at_once(port, count, timer))
    if uvloop and importlib.util.find_spec("uvloop") is not None:
        from uvloop import run  # noqa: PLC0415 - an extra

        ours["_uvloop"] = lambda timer: run(_one_by_one(port, count, timer))
        ours[f"{in_flight}_uvloop"] = lambda timer: run(_at_once(port, count, timer))
    return ours


def _peers(port: int, count: int) -> dict[str, Client]:
    return {
        "smtplib": lambda timer: _smtplib(port, count, timer),
        "aiosmtplib": lambda timer: asyncio.run(_aiosmtplib(port, count, timer)),
    }


def _compared(
    name: str,
    unit: str,
    measure: Callable[[Client, int], Callable[[], float]],
    client: Client,
    peers: dict[str, Client],
    count: int,
    rounds: int,
) -> Figure:
    return compare(
        measure(client, count),
        {peer: measure(its, count) for peer, its in peers.items()},
        rounds,
        name=name,
        unit=unit,
    )


class Timer:
    """Measures what is within its block, which leaves out connecting and imports."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.spent = 0.0

    def __enter__(self) -> None:
        self.spent -= self._clock()

    def __exit__(self, *exc: object) -> None:
        self.spent += self._clock()


Client: TypeAlias = "Callable[[Timer], None]"
"""Sends the messages, within the timer's block."""


def _rate(client: Client, count: int) -> Callable[[], float]:
    def run() -> float:
        timer = Timer(time.perf_counter)
        client(timer)
        return count / timer.spent

    return run


def _cpu(client: Client, count: int) -> Callable[[], float]:
    def run() -> float:
        timer = Timer(time.process_time)
        client(timer)
        return timer.spent / count * 1e6

    return run


async def _connection(port: int) -> SMTPConnection:
    return await SMTPConnection.connect("127.0.0.1", port, ehlo_name="client.example", tls=TLSMode.NONE)


async def _deliver(connection: SMTPConnection) -> None:
    result = await connection.deliver(SENDER, [RECIPIENT], MESSAGE, lines_checked=True)
    if not isinstance(result.recipients[0], Accepted):
        raise TypeError(f"not accepted: {result}")


async def _one_by_one(port: int, count: int, timer: Timer) -> None:
    async with await _connection(port) as connection:
        with timer:
            for _ in range(count):
                await _deliver(connection)


async def _at_once(port: int, count: int, timer: Timer) -> None:
    async with await _connection(port) as connection:
        numbers = iter(range(count))

        async def work() -> None:
            for _ in numbers:
                await _deliver(connection)

        with timer:
            async with asyncio.TaskGroup() as group:
                for _ in range(IN_FLIGHT):
                    group.create_task(work())


def _smtplib(port: int, count: int, timer: Timer) -> None:
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example") as client:
        client.ehlo()
        with timer:
            for _ in range(count):
                client.sendmail(SENDER, [RECIPIENT], MESSAGE)


async def _aiosmtplib(port: int, count: int, timer: Timer) -> None:
    client = aiosmtplib.SMTP(hostname="127.0.0.1", port=port, start_tls=False, local_hostname="client.example")
    async with client:
        with timer:
            for _ in range(count):
                await client.sendmail(SENDER, [RECIPIENT], MESSAGE)
