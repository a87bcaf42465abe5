"""A receiver of webhooks on loopback that answers with whatever octets it is told to, and keeps what it got."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

__all__ = ["OK", "Connection", "Receiver", "Request", "answer", "receiving", "saying"]


def answer(status: str = "200 OK", body: bytes = b"ok", *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", "")
    return "\r\n".join(lines).encode() + body


OK = answer()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    connection: int
    """Which connection it came on, from 1."""
    nth: int
    """Which request of that connection it is, from 1."""
    line: str
    headers: dict[str, str]
    """Names in lower case."""
    names: list[str]
    """Names as they came."""
    body: bytes


@dataclass(slots=True)
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, octets: bytes) -> None:
        self.writer.write(octets)
        await self.writer.drain()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        self.writer.transport.abort()


Handler = Callable[["Receiver", Request, Connection], Awaitable[None]]


@dataclass(slots=True)
class Receiver:
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    """Requests that are being answered."""
    most: int = 0
    """As many at once at most."""
    came: asyncio.Condition = field(default_factory=asyncio.Condition)
    """Notified when a request comes, and when a connection ends."""
    ended: int = 0
    """Connections that have ended."""

    def url(self, path: str = "/hook", host: str = "127.0.0.1", scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    async def wait(self, requests: int = 0, ended: int = 0) -> None:
        async with self.came:
            await self.came.wait_for(lambda: len(self.requests) >= requests and self.ended >= ended)


async def _read(connection: Connection, number: int, nth: int) -> Request | None:
    try:
        head = (await connection.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    pairs = [line.split(": ", 1) for line in head[1:] if line]
    headers = {name.lower(): value for name, value in pairs}
    body = await connection.reader.readexactly(int(headers["content-length"]))
    return Request(
        connection=number, nth=nth, line=head[0], headers=headers, names=[name for name, _ in pairs], body=body
    )


@asynccontextmanager
async def receiving(
    handler: Handler, *, context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Receiver]:
    """Run a receiver whose answers the handler sends."""
    receiver = Receiver()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        receiver.connections += 1
        number, nth = receiver.connections, 0
        connection = Connection(reader, writer)
        try:
            while not writer.is_closing():
                nth += 1
                request = await _read(connection, number, nth)
                if request is None:
                    break
                await _answer(receiver, handler, request, connection)
        except (ConnectionError, asyncio.CancelledError, asyncio.IncompleteReadError):
            pass  # the caller went away, or the test is over
        finally:
            tasks.discard(task)
            writer.close()
            receiver.ended += 1
            async with receiver.came:
                receiver.came.notify_all()

    server = await asyncio.start_server(serve, host, 0, ssl=context)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


async def _answer(receiver: Receiver, handler: Handler, request: Request, connection: Connection) -> None:
    receiver.open += 1
    receiver.most = max(receiver.most, receiver.open)
    try:
        async with receiver.came:
            receiver.requests.append(request)
            receiver.came.notify_all()
        await handler(receiver, request, connection)
    finally:
        receiver.open -= 1


def saying(octets: bytes = OK, *, close: bool = False) -> Handler:
    """Return a handler that answers everything with these octets, and may then close."""

    async def handler(_receiver: Receiver, _request: Request, connection: Connection) -> None:
        await connection.send(octets)
        if close:
            connection.close()

    return handler
