"""A server that listens on loopback, and a client that says one line after the other."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from moxlib.queue import Queue, QueueConfig, WorkerConfig
from moxlib.testing import FakeClock, MemoryStorage, RecordingTransport

if TYPE_CHECKING:
    from aiosmtpd.smtp import SMTP

GUARD = 20  # seconds after which a test that hangs fails instead


@asynccontextmanager
async def listening(factory: Callable[[], "SMTP"], *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve, and say at which port; what is still connected at the end is cut."""
    connections: list[SMTP] = []

    def connected() -> "SMTP":
        connections.append(factory())
        return connections[-1]

    server = await asyncio.get_running_loop().create_server(connected, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in connections:
            if isinstance(connection.transport, asyncio.Transport):
                connection.transport.abort()
        await server.wait_closed()


class Client:
    """An SMTP client that sends what it is told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def reply(self) -> str:
        """Return the next reply, its lines with LF between them."""
        lines: list[str] = []
        async with asyncio.timeout(GUARD):
            while not lines or lines[-1][3:4] == "-":
                line = await self._reader.readuntil(b"\r\n")
                lines.append(line.decode("utf-8").removesuffix("\r\n"))
        return "\n".join(lines)

    async def say(self, line: str | bytes) -> str:
        """Send a line and return what is answered."""
        self._writer.write((line.encode() if isinstance(line, str) else line) + b"\r\n")
        return await self.reply()

    async def send(self, message: bytes, *recipients: str, sender: str = "MAIL FROM:<>") -> str:
        """Send a message, each of whose recipients must be accepted; return what is answered in the end."""
        assert (await self.say(sender)).startswith("250")
        for recipient in recipients:
            answer = await self.say(recipient if recipient.startswith("RCPT") else f"RCPT TO:<{recipient}>")
            assert answer.startswith("250"), answer
        assert (await self.say("DATA")).startswith("354")
        return await self.say(message + b".")


@asynccontextmanager
async def connected(port: int, *, tls: ssl.SSLContext | None = None, greet: bool = True) -> AsyncIterator[Client]:
    """Connect a client that says EHLO, unless told not to."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    try:
        client = Client(reader, writer)
        assert (await client.reply()).startswith("220")
        if greet:
            assert (await client.say("EHLO client.example")).startswith("250")
        yield client
    finally:
        writer.transport.abort()


class Place:
    """A queue in memory on a fake clock, and what it delivers."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.sent = RecordingTransport()

    def queue(self, **config: Any) -> Queue:
        """Return a queue that is not open yet."""
        return Queue(
            MemoryStorage(),
            transports={"sent": self.sent},
            config=QueueConfig(worker=WorkerConfig(settle_gather=timedelta(0)), **config),
            clock=self.clock,
            token=lambda: "token",
        )
