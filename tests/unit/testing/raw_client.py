"""A client of a peer that says what it is told, byte by byte, and knows nothing of SMTP but where a reply ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from moxlib.testing import SMTPPeer

__all__ = ["Client", "client_of"]


class Client:
    """What a client says, as it is, and what it hears."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def hear(self) -> str:
        lines = [await self._reader.readline()]
        while lines[-1][3:4] == b"-":
            lines.append(await self._reader.readline())
        return b"".join(lines).decode().rstrip("\r\n")

    async def say(self, *lines: str) -> list[str]:
        """Say each line, and return the code of each answer."""
        self.writer.write("".join(f"{line}\r\n" for line in lines).encode())
        return [(await self.hear())[:3] for _ in lines]

    async def read(self, limit: int) -> bytes:
        return await self._reader.read(limit)

    async def rest(self) -> bytes:
        return await self._reader.read()


@asynccontextmanager
async def client_of(peer: SMTPPeer, hello: str = "EHLO client.example") -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", peer.port)
    try:
        client = Client(reader, writer)
        assert (await client.hear()).startswith("220")
        assert (await client.say(hello)) == ["250"]
        yield client
    finally:
        writer.close()
        with suppress(ConnectionError):  # the server may have reset it
            await writer.wait_closed()
