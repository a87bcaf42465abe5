"""Sends a second over real HTTP, durable: composed, checked and on disk when the answer comes.

1, 8 and 32 clients, each with a connection of its own that it keeps, in a process beside the server's; they write a
request that is ready, and read the answer, with as little work as Python allows. And moxlib's own client, 32 calls at
once. No DKIM, which `dkim` measures, and no limits for a day.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from benchmarks._place import Place, places
from benchmarks._report import Figure, compare
from benchmarks._webapi_server import LOGIN, PASSWORD, Server
from moxlib.webapi import Client, NameAddress, SendRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks._options import Options

COUNT = 3_000
TEXT = "Your order has been shipped. It should be with you on Thursday.\n" * 16  # 1 KB, as most notifications


def figures(options: Options) -> Iterator[Figure]:
    """Yield a figure for each number of clients, on each engine."""
    count = COUNT // 30 if options.quick else COUNT
    rounds = 1 if options.quick else 5  # each has a server of its own, which takes a second to start
    for engine in options.engines:
        with places(engine) as place:
            for clients in (1, 8, 32):
                yield compare(
                    partial(sends, place, clients, count if clients > 1 else count // 3),
                    rounds=rounds,
                    name=f"webapi, {engine}, {clients} client{'s' if clients > 1 else ''}",
                    unit="Sends/s",
                )
            yield compare(
                partial(sends_by_client, place, 32, count),
                rounds=rounds,
                name=f"webapi, {engine}, 32 calls at once by moxlib's client",
                unit="Sends/s",
            )


def sends(place: Place, clients: int, count: int) -> float:
    """Return how many Sends a second a server answers."""
    with place() as where, Server(where) as server:
        return asyncio.run(_sends(server.port, clients, count))


async def _sends(port: int, clients: int, count: int) -> float:
    request = _request()
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(clients)]
    await _call(*connections[0], request)  # the password is checked once
    numbers = iter(range(count))

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in numbers:
            await _call(reader, writer, request)

    start = time.perf_counter()
    await asyncio.gather(*(client(*connection) for connection in connections))
    seconds = time.perf_counter() - start
    for _, writer in connections:
        writer.close()
    return count / seconds


async def _call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    body = await reader.readexactly(length)
    assert head.startswith(b"HTTP/1.1 200 "), head + body


def _request() -> bytes:
    """Return the same Send each time, as a form."""
    call = {
        "To": [{"Name": "Receiver", "Address": "receiver@d0.example"}],
        "Subject": "Your order has been shipped",
        "Text": TEXT,
        "Extra": {"order": "17"},
    }
    body = b"request=" + quote(json.dumps(call)).encode()
    credentials = base64.b64encode(f"{LOGIN}:{PASSWORD}".encode()).decode()
    head = (
        "POST /v0/Send HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"Authorization: Basic {credentials}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def sends_by_client(place: Place, at_once: int, count: int) -> float:
    """Return how many Sends a second moxlib's client makes."""
    with place() as where, Server(where) as server:
        return asyncio.run(_sends_by_client(server.port, at_once, count))


async def _sends_by_client(port: int, at_once: int, count: int) -> float:
    request = SendRequest(
        to=(NameAddress(name="Receiver", address="receiver@d0.example"),),
        subject="Your order has been shipped",
        text=TEXT,
        extra={"order": "17"},
    )
    async with Client(f"http://127.0.0.1:{port}/v0/", username=LOGIN, password=PASSWORD) as client:
        await client.send(request)
        numbers = iter(range(count))

        async def lane() -> None:
            for _ in numbers:
                await client.send(request)

        start = time.perf_counter()
        await asyncio.gather(*(lane() for _ in range(at_once)))
        return count / (time.perf_counter() - start)
