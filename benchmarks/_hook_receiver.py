"""A minimal receiver of webhooks in a process of its own: `python -m benchmarks._hook_receiver`.

It answers 200 to every POST, over connections that it keeps, with as little work as Python allows, so that what is
measured is the sender. It prints its port, and when its input ends, how many different webhooks it was sent, and how
many calls it had.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
END = b"\r\n\r\n"
LENGTH = b"content-length: "
ID = b"x-mox-webhook-id: "


class Counts:
    """What the connections share."""

    def __init__(self) -> None:
        self.calls = 0
        self.ids: set[bytes] = set()


class Connection(asyncio.Protocol):
    """One client. Requests may be cut anywhere."""

    def __init__(self, counts: Counts) -> None:
        self.counts = counts
        self.data = b""
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        self.data += data
        while (end := self.data.find(END)) >= 0:
            head = self.data[:end].lower()
            whole = end + len(END) + int(_value(head, LENGTH))
            if len(self.data) < whole:
                return
            self.data = self.data[whole:]
            self.counts.calls += 1
            self.counts.ids.update(_value(head, ID).split(b","))
            self.transport.write(ANSWER)


def _value(head: bytes, name: bytes) -> bytes:
    return head.partition(name)[2].partition(b"\r\n")[0]


async def main() -> None:
    """Serve until the input ends."""
    counts = Counts()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(counts), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.buffer.read)
    print(len(counts.ids), counts.calls, flush=True)


class Receiver:
    """Runs one: `with Receiver() as receiver:`."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "benchmarks._hook_receiver"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url: str = f"http://127.0.0.1:{int(self._process.stdout.readline())}/"
        return self

    def end(self) -> tuple[int, int]:
        """End it; return how many webhooks it was sent, and how many calls it had."""
        out, _ = self._process.communicate("")
        ids, calls = out.split()
        return int(ids), int(calls)

    def __exit__(
        self, class_: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()


if __name__ == "__main__":
    asyncio.run(main())
