"""`run_worker()` in a process of its own: it delivers, and SIGTERM or SIGINT ends it when its attempts are done."""

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from moxlib.queue import Queue, ResultKind

GUARD = 60  # seconds after which a test that hangs fails instead
MAIL = b"From: s@here.example\r\nTo: a@one.example\r\nDate: x\r\nMessage-ID: <1@x>\r\n\r\nhello\r\n"

# Delivers by appending to a file; what is for slow.example it begins, says so, and ends when it is told.
PROGRAM = """
import asyncio, sys
from moxlib.queue import Delivered, Queue, QueueConfig

path, log = sys.argv[1:]

class Appending:
    async def deliver(self, delivery):
        if delivery.destination == "slow.example":
            print("begun", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
        with open(log, "a") as file:
            file.writelines(recipient + "\\n" for recipient in delivery.recipients)
        if delivery.destination != "slow.example":
            print("delivered", flush=True)
        return [Delivered()] * len(delivery.recipients)

async def main():
    config = QueueConfig(concurrency=1)
    async with Queue.open(path, transports={"appending": Appending()}, config=config) as queue:
        await queue.run_worker()

asyncio.run(main())
print("ended", flush=True)
"""


class Program:
    """The process, and what it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def says(self, expected: str) -> None:
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), GUARD)
        assert line.decode().strip() == expected, await self._error()

    def tell(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"go on\n")

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), GUARD)

    async def _error(self) -> str:
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode() if self.process.returncode else ""


@asynccontextmanager
async def started(directory: Path) -> AsyncGenerator[Program]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        str(directory / "mail.db"),
        str(directory / "log"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_attempts_finish_and_ends_the_process(tmp_path: Path, number: signal.Signals) -> None:
    async with Queue.open(tmp_path / "mail.db") as queue:
        await queue.submit(MAIL)
        async with started(tmp_path) as program:
            await program.says("delivered")
            [first] = await queue.submit(MAIL, recipients=["b@slow.example"])  # seen at its next poll
            await program.says("begun")
            [second] = await queue.submit(MAIL, recipients=["c@slow.example"])
            program.process.send_signal(number)
            program.process.send_signal(number)  # an impatient one changes nothing
            program.tell()
            await program.says("ended")
            assert await program.ended() == 0
        retired = await queue.get_retired(first.id)
        assert retired is not None
        assert [result.kind for result in retired.results] == [ResultKind.DELIVERED]
        message = await queue.get(second.id)
        assert message is not None
        assert (message.attempts, message.in_flight, message.results) == (0, False, ())
        assert await queue._storage.workers() == ()
    assert (tmp_path / "log").read_text() == "a@one.example\nb@slow.example\n"


async def test_its_successor_takes_over_at_once_from_a_process_that_was_killed(tmp_path: Path) -> None:
    async with Queue.open(tmp_path / "mail.db") as queue:
        [receipt] = await queue.submit(MAIL, recipients=["b@slow.example"])
        async with started(tmp_path) as program:
            await program.says("begun")
            program.process.kill()
            await program.ended()
        async with started(tmp_path) as program:
            await program.says("begun")  # long before the lease of a minute runs out
            program.tell()
            program.process.terminate()
            await program.says("ended")
        retired = await queue.get_retired(receipt.id)
        assert retired is not None
        assert [result.kind for result in retired.results] == [ResultKind.INTERRUPTED, ResultKind.DELIVERED]


async def test_the_programs_own_signal_handlers_are_put_back(tmp_path: Path) -> None:
    def handler(number: int, frame: object) -> None:
        raise AssertionError("not to be called")

    before = signal.signal(signal.SIGTERM, handler)
    try:
        async with Queue.open(tmp_path / "queue.db") as queue:
            working = asyncio.create_task(queue.run_worker())
            while signal.getsignal(signal.SIGTERM) is handler:  # noqa: ASYNC110 - nothing tells when it is set
                await asyncio.sleep(0)
            signal.raise_signal(signal.SIGTERM)
            await asyncio.wait_for(working, GUARD)
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)
