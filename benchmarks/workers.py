"""Messages a second from a filled PostgreSQL queue with 1, 2, 4 and 8 worker processes.

To a transport that answers at once, which shows the queue, and through SMTP to a local sink. Measured from when all
processes have the queue open until it is empty; that each message was delivered once shows in the history.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import time
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Self

from benchmarks._mail import ROOT, fill
from benchmarks._options import Engine, Options
from benchmarks._place import Place, places
from benchmarks._report import Figure
from benchmarks._sink import Sink
from moxlib.queue import Delivered, Queue, SMTPTransport
from moxlib.queue.observer import NullObserver

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moxlib.queue import AttemptResult, Delivery, Message, Outcome, Transport

PROCESSES = (1, 2, 4, 8)
COUNT = 10_000
DOMAINS = 200
CONNECTIONS = 4  # of one process to the sink


def figures(options: Options) -> Iterator[Figure]:
    """Yield a figure for each number of processes, with its ratio to that of one process in the same round."""
    with Sink() as sink, places(Engine.POSTGRES) as place:
        for name, port in (("at once", None), (sink.program, sink.port)):
            yield from _figures(partial(drain, place, port), name, options)


def _figures(measure: partial[float], name: str, options: Options) -> Iterator[Figure]:
    count = COUNT // 50 if options.quick else COUNT
    numbers = PROCESSES[:2] if options.quick else PROCESSES
    rounds = [{number: measure(number, count) for number in numbers} for _ in range(2 if options.quick else 5)]
    for number in numbers:
        rates = [rates[number] for rates in rounds]
        yield Figure(
            name=f"workers, {number} process{'es' if number > 1 else ''}, {name}",
            unit="messages/s",
            value=median(rates),
            low=min(rates),
            high=max(rates),
            ratio={"1 process": median(rates[number] / rates[1] for rates in rounds)},
        )


def drain(place: Place, port: int | None, processes: int, count: int) -> float:
    """Fill a queue, then measure how fast so many processes empty it."""
    return asyncio.run(_drain(place, port, processes, count))


async def _drain(place: Place, port: int | None, processes: int, count: int) -> float:
    with place() as where:
        await fill(where, DOMAINS, count)
        with Team(where, port, processes) as team:
            async with Queue.open(where) as queue:
                await asyncio.to_thread(team.wait_for, processes)  # each says that it is ready
                start = time.perf_counter()
                team.go()
                await asyncio.to_thread(team.wait_for, count)  # each attempt is told when it has ended,
                while await queue.count_messages():  # and is on disk a moment later
                    pass
                seconds = time.perf_counter() - start
                assert await queue.count_history() == count
            assert team.end() == [0] * processes
    return count / seconds


class Team:
    """Worker processes, which write a byte when they are ready and when an attempt has ended."""

    def __init__(self, where: str, port: int | None, processes: int) -> None:
        self._told, tells = os.pipe()
        waits, go = os.pipe()
        self._go = os.fdopen(go, "wb")
        command = [sys.executable, "-m", "benchmarks.workers", where, *([] if port is None else [f"--port={port}"])]
        try:
            self._processes = [subprocess.Popen(command, cwd=ROOT, stdin=waits, stdout=tells) for _ in range(processes)]
        finally:
            os.close(tells)
            os.close(waits)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.end()
        self._go.close()
        os.close(self._told)

    def wait_for(self, count: int) -> None:
        """Return when they have written so many bytes together."""
        while count > 0:
            told = os.read(self._told, min(count, 65536))
            assert told, "the workers have ended"
            count -= len(told)

    def go(self) -> None:
        """Let them begin."""
        self._go.close()  # all of them see the end of their standard input at once

    def end(self) -> list[int]:
        """Have them stop; return their exit codes."""
        for process in self._processes:
            process.terminate()
        return [process.wait() for process in self._processes]


class AtOnce:
    """A transport that reads the message and has it delivered."""

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        async for _ in delivery.content.chunks():
            pass
        return [Delivered()] * len(delivery.recipients)


class Teller(NullObserver):
    """Writes a byte for each attempt."""

    def attempted(self, message: Message, result: AttemptResult) -> None:  # noqa: ARG002 - the protocol's
        """Tell that it has ended."""
        os.write(sys.stdout.fileno(), b".")


async def work(where: str, port: int | None) -> None:
    """Be one of the processes."""
    transport: Transport = AtOnce()
    if port is not None:
        transport = SMTPTransport("127.0.0.1", port, security="none", max_connections=CONNECTIONS)
    async with Queue.open(where, transports={"sink": transport}, observer=Teller()) as queue:
        os.write(sys.stdout.fileno(), b"r")
        await asyncio.to_thread(sys.stdin.read)
        await queue.run_worker()


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m benchmarks.workers", description=work.__doc__)
    parser.add_argument("where")
    parser.add_argument("--port", type=int)
    arguments = parser.parse_args()
    asyncio.run(work(arguments.where, arguments.port))
