"""A SOCKS5 server on loopback (RFC 1928, 1929) that does what a test tells it."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

VERSION, NO_AUTHENTICATION, PASSWORD, NOTHING = 5, 0, 2, 255
IPV4, NAME, IPV6 = 1, 3, 4


@dataclass
class SOCKSServer:
    """Connects to 127.0.0.1 whatever it is asked for, at the port that it is asked for.

    Attributes:
        port: where it listens.
        asked: what it was asked to connect to.
    """

    users: dict[str, str] = field(default_factory=dict)
    """With passwords; none: anybody may use it."""
    refuse: int = 0
    """The reply code, instead of a connection (RFC 1928 6)."""
    garbage: bytes = b""
    """Said instead of anything else."""
    stall: bool = False
    port: int = 0
    asked: list[tuple[str, int]] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, class_: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._converse(reader, writer)
        except (OSError, EOFError):
            pass  # the client has gone
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        version, count = await reader.readexactly(2)
        assert version == VERSION
        methods = await reader.readexactly(count)
        if self.garbage:
            writer.write(self.garbage)
            await reader.read()
            return
        if self.stall:
            await asyncio.Event().wait()
        wanted = PASSWORD if self.users else NO_AUTHENTICATION
        if wanted not in methods:
            writer.write(bytes((VERSION, NOTHING)))
            await reader.read()
            return
        writer.write(bytes((VERSION, wanted)))
        if self.users and not await self._authenticate(reader, writer):
            return
        _, _, _, kind = await reader.readexactly(4)
        host = await self._host(reader, kind)
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.asked.append((host, port))
        if self.refuse:
            writer.write(bytes((VERSION, self.refuse, 0, IPV4)) + bytes(6))
            await reader.read()
            return
        onward_reader, onward = await asyncio.open_connection("127.0.0.1", port)
        writer.write(bytes((VERSION, 0, 0, IPV4)) + bytes(6))
        try:
            await asyncio.gather(pump(reader, onward), pump(onward_reader, writer))
        finally:
            onward.transport.abort()

    async def _authenticate(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        _, length = await reader.readexactly(2)
        user = (await reader.readexactly(length)).decode()
        [length] = await reader.readexactly(1)
        password = (await reader.readexactly(length)).decode()
        known = self.users.get(user) == password
        writer.write(bytes((1, 0 if known else 1)))
        return known

    async def _host(self, reader: asyncio.StreamReader, kind: int) -> str:
        if kind == NAME:
            [length] = await reader.readexactly(1)
            return (await reader.readexactly(length)).decode()
        family, size = (socket.AF_INET, 4) if kind == IPV4 else (socket.AF_INET6, 16)
        return socket.inet_ntop(family, await reader.readexactly(size))


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.transport.abort()
