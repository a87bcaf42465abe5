"""`LMTPTransport`: an outcome for each recipient, over TCP and over a Unix-domain socket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.direct_world import BODY, YES, delivery

from moxlib.errors import InputError
from moxlib.queue import Deferred, Delivered, Failed, LMTPTransport, Queue, Security
from moxlib.testing import ByCommand, FakeClock, SMTPPeer
from moxlib.testing.run import run_until_empty

if TYPE_CHECKING:
    from pathlib import Path

ALL = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES")


def per_recipient() -> ByCommand:
    """One recipient is refused at RCPT; of the others, the second one's mailbox is full at the end."""
    return ByCommand(
        {"RCPT TO:<gone@": "550 5.1.1 no such user", ".": ["250 2.1.5 kept", "452 4.2.2 full", "250 2.1.5 kept"]},
        extensions=ALL,
        lmtp=True,
    )


async def test_each_recipient_has_an_outcome_of_its_own() -> None:
    async with SMTPPeer(per_recipient()) as peer:
        transport = LMTPTransport("127.0.0.1", peer.port, security="none", ehlo_name="client.example")
        async with transport.running():
            outcomes = await transport.deliver(delivery("a@x", "gone@x", "full@x", "c@x"))
    assert [type(outcome) for outcome in outcomes] == [Delivered, Failed, Deferred, Delivered]
    assert [getattr(outcome, "code", None) for outcome in outcomes] == [250, 550, 452, 250]
    assert peer.lines[0] == "LHLO client.example"
    assert peer.messages == [BODY]


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    async with SMTPPeer(per_recipient()) as peer:
        path = str(tmp_path / "lmtp")
        # A socket whose other end is the peer's: what is said on one is said on the other.
        async with await asyncio.start_unix_server(Forward(peer.port), path):
            transport = LMTPTransport(path=path)
            async with transport.running():
                [outcome] = await transport.deliver(delivery("a@x"))
                assert isinstance(outcome, Delivered)
                assert outcome.peer == path
                [refused] = await transport.deliver(delivery("a@x", require_tls=YES))
                assert isinstance(refused, Failed)
                assert refused.enhanced == "5.7.30"
    assert peer.messages == [BODY]


class Forward:
    """Serves a connection by another one to a port on loopback."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            await asyncio.gather(self.pump(reader, onward), self.pump(onward_reader, writer))
        finally:
            onward.transport.abort()
            writer.transport.abort()

    async def pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.write_eof()


async def test_a_path_that_is_not_there_defers() -> None:
    transport = LMTPTransport(path="/nowhere/lmtp")
    async with transport.running():
        [outcome] = await transport.deliver(delivery("a@x"))
    assert isinstance(outcome, Deferred)


async def test_in_a_queue_what_was_deferred_is_tried_again(tmp_path: Path) -> None:
    clock = FakeClock()
    answers = ByCommand({".": ["250 2.1.5 kept", "452 4.2.2 full", "250 2.1.5 kept"]}, extensions=ALL, lmtp=True)
    async with SMTPPeer(answers) as peer:
        transport = LMTPTransport("127.0.0.1", peer.port, security="none", clock=clock)
        async with Queue.open(tmp_path / "queue.db", transports={"lmtp": transport}, clock=clock) as queue:
            receipts = await queue.submit(BODY, sender="a@client.example", recipients=["b@x.example", "c@x.example"])
            await run_until_empty(queue, clock)
            kept = [await queue.get_retired(receipt.id) for receipt in receipts]
    assert [retired.attempts for retired in kept if retired is not None] == [1, 2]
    recipients = [line for line in peer.lines if line.startswith("RCPT")]
    assert recipients == ["RCPT TO:<b@x.example>", "RCPT TO:<c@x.example>", "RCPT TO:<c@x.example>"]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"host": "x", "path": "/x"},
        {"path": "/x", "security": Security.VERIFIED},
        {"path": "/x", "port": 24},
        {"host": "x", "port": 0},
        {"host": "x", "port": 25},
    ],
)
def test_a_transport_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        LMTPTransport(**options)
