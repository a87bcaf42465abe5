"""The SMTP client on one connection beside smtplib and aiosmtplib: 4 KB messages to a sink in another process."""

from __future__ import annotations

import asyncio
import importlib.util
import smtplib
import time
from typing import TYPE_CHECKING

import aiosmtplib

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


def message() -> bytes:
    """Return a message of 4 KB in lines of 72 octets, one of which begins with a dot."""
    head = b"From: %s\r\nTo: %s\r\nSubject: benchmark\r\n\r\n.\r\n" % (SENDER.encode(), RECIPIENT.encode())
    body = (b"x" * 70 + b"\r\n") * (SIZE // 72 + 1)
    return head + body[: SIZE - len(head) - 2] + b"\r\n"


MESSAGE = message()


def figures(options: Options) -> Iterator[Figure]:
    """Yield messages a second and CPU time a message, with and without pipelining."""
    count, rounds = (200, 3) if options.quick else (4_000, 7)
    for pipelining in (True, False):
        with Sink(pipelining=pipelining) as sink:
            yield from _figures(sink.port, count, rounds, suffix="" if pipelining else "_no_pipelining")


def _figures(port: int, count: int, rounds: int, *, suffix: str) -> Iterator[Figure]:
    ours: dict[str, Callable[[Timer], None]] = {
        "": lambda timer: asyncio.run(_one_by_one(port, count, timer)),
        f"_{IN_FLIGHT}_in_flight": lambda timer: asyncio.run(_at_once(port, count, timer)),
    }
    if suffix:
        ours = {"": ours[""]}  # without pipelining they run one by one anyway
    elif importlib.util.find_spec("uvloop") is not None:
        import uvloop  # noqa: PLC0415 - an extra

        ours["_uvloop"] = lambda timer: uvloop.run(_one_by_one(port, count, timer))
        ours[f"_{IN_FLIGHT}_in_flight_uvloop"] = lambda timer: uvloop.run(_at_once(port, count, timer))
    peers: dict[str, Callable[[Timer], None]] = {
        "smtplib": lambda timer: _smtplib(port, count, timer),
        "aiosmtplib": lambda timer: asyncio.run(_aiosmtplib(port, count, timer)),
    }
    for name, client in ours.items():
        yield compare(
            _rate(client, count),
            {peer: _rate(its, count) for peer, its in peers.items()},
            rounds,
            name=f"client{suffix}{name}",
            unit="messages/s",
        )
        yield compare(
            _cpu(client, count),
            {peer: _cpu(its, count) for peer, its in peers.items()},
            rounds,
            name=f"client_cpu{suffix}{name}",
            unit="us/message",
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


def _rate(client: Callable[[Timer], None], count: int) -> Callable[[], float]:
    def run() -> float:
        timer = Timer(time.perf_counter)
        client(timer)
        return count / timer.spent

    return run


def _cpu(client: Callable[[Timer], None], count: int) -> Callable[[], float]:
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
