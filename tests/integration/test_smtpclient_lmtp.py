"""LMTP over real connections, TCP and Unix-domain sockets."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from moxlib.errors import InputError
from moxlib.smtpclient import (
    Accepted,
    Command,
    CommandTimeout,
    ConnectionLost,
    NotSent,
    Refused,
    ReplyError,
    SMTPConnection,
    Timeouts,
    TLSMode,
    Unknown,
)
from moxlib.testing import FakeClock
from moxlib.testing.smtp_peer import ByCommand, Close, SMTPPeer, Stall

MESSAGE = b"Subject: hi\r\n\r\n.dot\r\n"
WAYS = [
    ("ENHANCEDSTATUSCODES",),
    ("PIPELINING", "ENHANCEDSTATUSCODES"),
    ("PIPELINING", "CHUNKING", "ENHANCEDSTATUSCODES"),
]


async def connect(peer: SMTPPeer, clock: FakeClock | None = None, timeouts: Timeouts | None = None) -> SMTPConnection:
    return await SMTPConnection.connect(
        "127.0.0.1", peer.port, ehlo_name="client.example", tls=TLSMode.NONE, lmtp=True, clock=clock, timeouts=timeouts
    )


@asynccontextmanager
async def unix_relay(port: int) -> AsyncIterator[str]:
    """Give the path of a Unix-domain socket behind which the server at `port` is."""
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory, "lmtp"))
        connections: set[asyncio.Task[None]] = set()

        async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(4096):
                writer.write(data)
            writer.close()

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            async with asyncio.TaskGroup() as group:
                group.create_task(pump(reader, far_writer))
                group.create_task(pump(far_reader, writer))

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connections.add(asyncio.create_task(relay(reader, writer)))

        server = await asyncio.start_unix_server(accept, path)
        try:
            yield path
        finally:
            server.close()
            if connections:
                await asyncio.wait(connections)
            await server.wait_closed()


@pytest.mark.parametrize("extensions", WAYS)
async def test_each_recipient_has_its_own_reply(extensions: tuple[str, ...]) -> None:
    end = "BDAT" if "CHUNKING" in extensions else "."
    answers = ByCommand(
        {"RCPT TO:<no@": "550 5.1.1 no", end: ["250 2.0.0 a", "452 4.2.2 b is full", "250 2.0.0 c"]},
        extensions=extensions,
        lmtp=True,
    )
    async with SMTPPeer(answers) as peer, await connect(peer) as connection:
        result = await connection.deliver("s@x", ["a@x", "no@x", "b@x", "c@x"], MESSAGE)
        assert [(type(one), one.code, one.lines) for one in result.recipients] == [
            (Accepted, 250, ("250 2.0.0 a",)),
            (Refused, 550, ("550 5.1.1 no",)),
            (Refused, 452, ("452 4.2.2 b is full",)),
            (Accepted, 250, ("250 2.0.0 c",)),
        ]
        assert result.usable
    assert peer.lines[0] == "LHLO client.example"
    assert peer.messages == [MESSAGE]


@pytest.mark.parametrize("extensions", WAYS)
async def test_concurrent_deliveries_keep_in_step(extensions: tuple[str, ...]) -> None:
    answers = ByCommand({"RCPT TO:<no": "550 5.1.1 no"}, extensions=extensions, lmtp=True)
    async with SMTPPeer(answers) as peer, await connect(peer) as connection:
        groups = [[f"{'no' if n % (k + 2) == 0 else 'yes'}{n}.{k}@x" for k in range(n % 4 + 1)] for n in range(12)]
        results = await asyncio.gather(*(connection.deliver("s@x", group, MESSAGE) for group in groups))
    for group, result in zip(groups, results, strict=True):
        assert [one.recipient for one in result.recipients] == group
        kinds = [type(one) for one in result.recipients]
        assert kinds == [Refused if name.startswith("no") else Accepted for name in group]
        assert result.usable


@pytest.mark.parametrize("extensions", WAYS)
async def test_a_connection_lost_between_the_replies(extensions: tuple[str, ...]) -> None:
    end = "BDAT" if "CHUNKING" in extensions else "."
    answers = ByCommand({end: ["250 2.0.0 a", Close()]}, extensions=extensions, lmtp=True)
    async with SMTPPeer(answers) as peer:
        connection = await connect(peer)
        result = await connection.deliver("s@x", ["a@x", "b@x", "c@x"], MESSAGE)
        assert [type(one) for one in result.recipients] == [Accepted, Unknown, Unknown]
        assert not result.usable
        await connection.close()


async def test_a_deadline_for_each_reply() -> None:
    clock = FakeClock()
    answers = ByCommand({".": ["250 2.0.0 a", Stall()]}, extensions=("PIPELINING",), lmtp=True)
    async with SMTPPeer(answers) as peer:
        connection = await connect(peer, clock, Timeouts(end_of_data=17))
        delivery = asyncio.create_task(connection.deliver("s@x", ["a@x", "b@x"], MESSAGE))
        await peer.stalled()
        await clock.advance(17)
        a, b = (await delivery).recipients
        assert isinstance(a, Accepted)
        assert isinstance(b, Unknown)
        assert isinstance(b.error, CommandTimeout)
        await connection.close()


async def test_content_in_chunks() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield MESSAGE[:7]
        yield MESSAGE[7:]

    async with SMTPPeer(ByCommand(lmtp=True)) as peer, await connect(peer) as connection:
        result = await connection.deliver("s@x", ["a@x", "b@x"], chunks(), size=len(MESSAGE))
        assert [type(one) for one in result.recipients] == [Accepted, Accepted]
    assert peer.messages == [MESSAGE]


async def test_an_smtp_server_is_none() -> None:
    async with SMTPPeer(ByCommand()) as peer:
        with pytest.raises(ReplyError) as caught:
            await connect(peer)
    assert caught.value.command is Command.LHLO
    assert caught.value.permanent


async def test_not_on_port_25() -> None:
    with pytest.raises(InputError):
        await SMTPConnection.connect("127.0.0.1", ehlo_name="client.example", lmtp=True)


@pytest.mark.parametrize("lmtp", [True, False])
async def test_over_a_unix_domain_socket(lmtp: bool) -> None:
    async with (
        SMTPPeer(ByCommand({".": ["250 2.0.0 a", "550 5.2.1 b"]}, lmtp=lmtp)) as peer,
        unix_relay(peer.port) as path,
        await SMTPConnection.connect_unix(path, ehlo_name="client.example", lmtp=lmtp) as connection,
    ):
        result = await connection.deliver("s@x", ["a@x", "b@x"], MESSAGE)
        assert [type(one) for one in result.recipients] == [Accepted, Refused if lmtp else Accepted]
        assert (connection.host, connection.port, connection.tls_info) == (path, 0, None)
    assert peer.messages == [MESSAGE]


async def test_no_unix_domain_socket(tmp_path: Path) -> None:
    with pytest.raises(ConnectionLost) as caught:
        await SMTPConnection.connect_unix(str(tmp_path / "none"), ehlo_name="client.example")
    assert caught.value.command is Command.CONNECT


async def test_a_unix_domain_socket_that_says_nothing() -> None:
    clock = FakeClock()
    async with SMTPPeer(ByCommand(lmtp=True), greeting=Stall()) as peer, unix_relay(peer.port) as path:
        connecting = asyncio.create_task(
            SMTPConnection.connect_unix(path, ehlo_name="client.example", clock=clock, timeouts=Timeouts(greeting=11))
        )
        await peer.stalled()
        await clock.advance(11)
        with pytest.raises(CommandTimeout) as caught:
            await connecting
    assert caught.value.command is Command.GREETING


async def test_after_the_connection_ended_nothing_is_sent() -> None:
    async with SMTPPeer(ByCommand({"MAIL": Close()}, lmtp=True)) as peer:
        connection = await connect(peer)
        for _ in range(2):
            result = await connection.deliver("s@x", ["a@x"], MESSAGE)
            assert isinstance(result.recipients[0], NotSent)
            assert not result.answered
        await connection.close()
