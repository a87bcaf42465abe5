"""`LoopbackServer` with clients that are not moxlib's, and what it does at its end."""

import asyncio
import smtplib
from contextlib import suppress

import pytest

from moxlib.errors import StateError
from moxlib.localserve import LoopbackServer

LIMIT = 30.0  # seconds; only ends what hangs


class Picky:
    def recipient(self, address: str) -> str:
        return "550 5.1.1 no such user" if address.startswith("gone@") else ""

    def message(self, recipients: tuple[str, ...]) -> str:
        return "552 5.2.2 mailbox full" if "full@b.example" in recipients else ""


def send(port: int, recipients: list[str], content: bytes, options: tuple[str, ...] = ()) -> object:
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example") as client:
        return client.sendmail("a@a.example", recipients, content, options)


async def test_it_keeps_what_it_accepts_to_the_octet() -> None:
    content = b"Subject: \xe9\r\n\r\n.dot\r\n..\r\n" + b"x" * 5000 + b"\r\n"
    async with LoopbackServer() as server:
        await asyncio.to_thread(send, server.port, ["b@b.example", "c@c.example"], content, ("BODY=8BITMIME",))
        await asyncio.to_thread(send, server.port, ["d@d.example"], b"\r\n")
    first, second = server.received
    assert (first.sender, first.recipients, first.content) == ("a@a.example", ("b@b.example", "c@c.example"), content)
    assert (second.recipients, second.content) == (("d@d.example",), b"\r\n")


async def test_rules_refuse_a_recipient_or_a_message() -> None:
    async with LoopbackServer(Picky(), hostname="mx.b.example") as server:
        refused = await asyncio.to_thread(send, server.port, ["gone@b.example", "b@b.example"], b"\r\n")
        assert refused == {"gone@b.example": (550, b"5.1.1 no such user")}
        with pytest.raises(smtplib.SMTPDataError, match="mailbox full"):
            await asyncio.to_thread(send, server.port, ["full@b.example"], b"\r\n")
    assert [message.recipients for message in server.received] == [("b@b.example",)]


async def test_it_introduces_itself() -> None:
    async with LoopbackServer(hostname="mx.b.example") as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        assert (await reader.readline()).startswith(b"220 mx.b.example ")
        writer.write(b"EHLO client.example\r\n")
        lines = [await reader.readline()]
        while lines[-1][3:4] == b"-":
            lines.append(await reader.readline())
        assert {b"8BITMIME", b"SMTPUTF8"} <= {line[4:].strip() for line in lines}
        writer.close()
        await writer.wait_closed()


async def test_leaving_the_block_cuts_open_connections() -> None:
    async with LoopbackServer() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        await reader.readline()
    async with asyncio.timeout(LIMIT):
        with suppress(ConnectionError):  # cut, with a reset or without
            assert await reader.read() == b""
    writer.close()


async def test_it_has_a_port_only_while_it_runs_and_may_run_again() -> None:
    server = LoopbackServer()
    with pytest.raises(StateError, match="not running"):
        server.port  # noqa: B018 - the access is the test
    for _ in range(2):
        async with server:
            await asyncio.to_thread(send, server.port, ["b@b.example"], b"\r\n")
    assert len(server.received) == 2
    with pytest.raises(StateError):
        server.port  # noqa: B018
