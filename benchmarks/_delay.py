"""A relay that makes a network long: `python -m benchmarks._delay PORT [--milliseconds 10]`.

It runs in a process of its own, listens on a port of 127.0.0.1 that it prints, and passes on to PORT what it receives,
and back, each piece so many milliseconds after it came, however much is under way: time is added, bandwidth is not
taken away. `Delay` starts one and stops it.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Delay"]

PIECE: Final = 64 * 1024
END: Final = b""


async def _receive(reader: asyncio.StreamReader, pieces: asyncio.Queue[tuple[float, bytes]], delay: float) -> None:
    """Note what comes, and when it is to go on."""
    loop = asyncio.get_running_loop()
    data = b"begun"
    while data != END:
        try:
            data = await reader.read(PIECE)
        except ConnectionError:
            data = END
        pieces.put_nowait((loop.time() + delay, data))


async def _send(pieces: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
    """Pass it on at its time."""
    loop = asyncio.get_running_loop()
    while True:
        due, data = await pieces.get()
        left = due - loop.time()
        if left > 0:
            await asyncio.sleep(left)
        if data == END:
            writer.close()
            return
        writer.write(data)


async def serve(port: int, delay: float) -> None:
    """Listen on loopback, print the port, and relay until the process is ended."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        there: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        back: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            group.create_task(_receive(reader, there, delay))
            group.create_task(_send(there, far_writer))
            group.create_task(_receive(far_reader, back, delay))
            group.create_task(_send(back, writer))

    listener = await asyncio.start_server(relay, "127.0.0.1", 0)
    print(listener.sockets[0].getsockname()[1], flush=True)
    await listener.serve_forever()


class Delay:
    """A relay in a process of its own, as a context manager.

    Attributes:
        port: where it listens, on 127.0.0.1.
    """

    def __init__(self, port: int, *, milliseconds: float = 10) -> None:
        self.port = 0
        self._command = [sys.executable, "-m", "benchmarks._delay", str(port), "--milliseconds", str(milliseconds)]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.terminate()
        self._process.wait()
        self._process.stdout.close()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser("python -m benchmarks._delay", description="A relay that adds time.")
    parser.add_argument("port", type=int)
    parser.add_argument("--milliseconds", type=float, default=10)
    arguments = parser.parse_args()
    try:
        asyncio.run(serve(arguments.port, arguments.milliseconds / 1000))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
