"""TLS: STARTTLS and immediate, certificates accepted and refused, and a man in the middle."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trustme
from aiosmtpd.smtp import SMTP, Envelope
from aiosmtpd.smtp import Session as ServerSession

from moxlib.smtpclient import (
    Accepted,
    Command,
    CommandTimeout,
    ReplyError,
    ResponseInjected,
    SMTPConnection,
    SMTPError,
    Timeouts,
    TLSFailed,
    TLSMode,
    unverified_context,
    verified_context,
)
from moxlib.testing import FakeClock
from moxlib.testing.smtp_peer import Answer, ByCommand, Close, SMTPPeer, StartTLS

MESSAGE = b"Subject: hi\r\n\r\n.dot\r\n"
STARTTLS = ("STARTTLS", "PIPELINING")


@pytest.fixture(scope="module")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("mx.example", "127.0.0.1").configure_cert(context)
    return context


async def connect(port: int, tls: TLSMode, context: ssl.SSLContext | None = None, **more: object) -> SMTPConnection:
    return await SMTPConnection.connect(
        "127.0.0.1",
        port,
        ehlo_name="client.example",
        tls=tls,
        tls_context=context,
        **more,  # type: ignore[arg-type]  # as each test gives them
    )


class Kept:
    """An aiosmtpd handler that keeps what comes."""

    def __init__(self) -> None:
        self.contents: list[bytes] = []

    async def handle_DATA(self, server: SMTP, session: ServerSession, envelope: Envelope) -> str:
        assert isinstance(envelope.original_content, bytes)
        self.contents.append(envelope.original_content)
        return "250 kept"


@asynccontextmanager
async def aiosmtpd_server(
    context: ssl.SSLContext, *, immediate: bool = False, require_starttls: bool = False
) -> AsyncIterator[tuple[int, Kept]]:
    kept = Kept()
    loop = asyncio.get_running_loop()

    def make() -> SMTP:
        starttls = None if immediate else context
        return SMTP(kept, hostname="mx.example", tls_context=starttls, require_starttls=require_starttls, loop=loop)

    server = await loop.create_server(make, "127.0.0.1", 0, ssl=context if immediate else None)
    async with server:
        yield server.sockets[0].getsockname()[1], kept


@pytest.mark.parametrize("mode", [TLSMode.REQUIRED, TLSMode.OPPORTUNISTIC])
async def test_starttls_with_aiosmtpd(server_context: ssl.SSLContext, trusting: ssl.SSLContext, mode: TLSMode) -> None:
    async with (
        aiosmtpd_server(server_context, require_starttls=True) as (port, kept),
        await connect(port, mode, trusting, server_hostname="mx.example") as connection,
    ):
        assert connection.tls_info is not None
        assert connection.tls_info.version == "tls1.3"
        assert connection.tls_info.cipher.startswith("tls_")
        assert connection.tls_info.verified
        assert connection.tls_info.certificate
        assert not connection.extensions.starttls
        result = await connection.deliver("a@x", ["b@x", "c@x"], MESSAGE)
        assert [type(one) for one in result.recipients] == [Accepted, Accepted]
    assert kept.contents == [MESSAGE]


async def test_immediate_tls_with_aiosmtpd(server_context: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    async with (
        aiosmtpd_server(server_context, immediate=True) as (port, kept),
        await connect(port, TLSMode.IMMEDIATE, trusting) as connection,
    ):
        assert connection.tls_info is not None
        for _ in range(2):
            assert (await connection.deliver("", ["b@x"], MESSAGE)).usable
    assert kept.contents == [MESSAGE] * 2


async def test_opportunistic_tls_checks_nothing_by_default(server_context: ssl.SSLContext) -> None:
    async with SMTPPeer(ByCommand(extensions=STARTTLS), tls_context=server_context) as peer:
        async with await connect(peer.port, TLSMode.OPPORTUNISTIC) as connection:
            assert connection.tls_info is not None
            assert not connection.tls_info.verified
            await connection.deliver("a@x", ["b@x"], MESSAGE)
        await peer.all_ended()
    assert peer.sessions[0].tls
    assert peer.lines[:3] == ["EHLO client.example", "STARTTLS", "EHLO client.example"]


@pytest.mark.parametrize("mode", [TLSMode.OPPORTUNISTIC, TLSMode.NONE])
async def test_no_tls_where_it_is_not_offered_or_not_wanted(mode: TLSMode) -> None:
    extensions = STARTTLS if mode is TLSMode.NONE else ()
    async with SMTPPeer(ByCommand(extensions=extensions)) as peer, await connect(peer.port, mode) as connection:
        assert connection.tls_info is None
    assert "STARTTLS" not in peer.lines


async def test_required_starttls_is_sent_even_if_not_announced() -> None:
    async with SMTPPeer(ByCommand({"STARTTLS": "502 5.5.1 no"}, extensions=())) as peer:
        with pytest.raises(ReplyError) as caught:
            await connect(peer.port, TLSMode.REQUIRED, unverified_context())
    assert (caught.value.command, caught.value.permanent) == (Command.STARTTLS, True)


@pytest.mark.parametrize("immediate", [True, False])
@pytest.mark.parametrize("reason", ["unknown authority", "another name"])
async def test_a_certificate_that_is_not_accepted(
    server_context: ssl.SSLContext, trusting: ssl.SSLContext, immediate: bool, reason: str
) -> None:
    context = verified_context() if reason == "unknown authority" else trusting
    name = "mx.example" if reason == "unknown authority" else "other.example"
    mode = TLSMode.IMMEDIATE if immediate else TLSMode.REQUIRED
    answers = ByCommand(extensions=STARTTLS)
    async with SMTPPeer(answers, tls_context=server_context, immediate_tls=immediate) as peer:
        with pytest.raises(TLSFailed) as caught:
            await connect(peer.port, mode, context, server_hostname=name)
        assert caught.value.certificate
        assert caught.value.command is Command.TLS
    assert not any(line.startswith("MAIL") for line in peer.lines)


async def test_a_server_that_speaks_no_tls() -> None:
    async with SMTPPeer() as peer:
        with pytest.raises(SMTPError) as caught:
            await connect(peer.port, TLSMode.IMMEDIATE, unverified_context())
    assert isinstance(caught.value, TLSFailed)
    assert not caught.value.certificate


@pytest.mark.parametrize("answer", [Close("220 go\r\n"), Close("220 go\r\n", reset=True)])
async def test_a_handshake_that_breaks_off(answer: Answer) -> None:
    async with SMTPPeer(ByCommand({"STARTTLS": answer}, extensions=STARTTLS)) as peer:
        with pytest.raises(SMTPError):
            await connect(peer.port, TLSMode.REQUIRED, unverified_context())
        await peer.all_ended()


async def test_a_handshake_that_does_not_come() -> None:
    granted, over = asyncio.Event(), asyncio.Event()

    async def grant_and_wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for reply in (b"220 x\r\n", b"250-x\r\n250 STARTTLS\r\n"):
            writer.write(reply)
            await reader.readline()
        writer.write(b"220 go\r\n")
        granted.set()
        await over.wait()
        writer.transport.abort()

    clock = FakeClock()
    async with await asyncio.start_server(grant_and_wait, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        connecting = asyncio.create_task(
            connect(port, TLSMode.REQUIRED, unverified_context(), clock=clock, timeouts=Timeouts(tls=7))
        )
        await granted.wait()
        while not connecting.done():
            await clock.advance(1)
        with pytest.raises(CommandTimeout) as caught:
            await connecting
        assert (caught.value.command, caught.value.seconds) == (Command.TLS, 7)
        over.set()


@pytest.mark.parametrize(
    "inject", [b"250 ok\r\n", b"250-mx\r\n250 AUTH PLAIN\r\n", b"250 half a line", b"MAIL FROM:<x>\r\n", b"\x16\x03"]
)
async def test_responses_injected_before_the_handshake(server_context: ssl.SSLContext, inject: bytes) -> None:
    answers = ByCommand({"STARTTLS": StartTLS(inject=inject)}, extensions=STARTTLS)
    async with SMTPPeer(answers, tls_context=server_context) as peer:
        with pytest.raises(ResponseInjected) as caught:
            await connect(peer.port, TLSMode.OPPORTUNISTIC)
        assert caught.value.command is Command.STARTTLS
        await peer.all_ended()
    assert peer.lines == ["EHLO client.example", "STARTTLS"]


async def test_what_was_announced_in_clear_is_forgotten(server_context: ssl.SSLContext) -> None:
    ehlos: list[Answer] = ["250-peer\r\n250-AUTH PLAIN\r\n250 STARTTLS", "250-peer\r\n250 REQUIRETLS"]
    async with (
        SMTPPeer(ByCommand({"EHLO": ehlos}), tls_context=server_context) as peer,
        await connect(peer.port, TLSMode.OPPORTUNISTIC) as connection,
    ):
        assert connection.extensions.auth == ()
        assert connection.extensions.require_tls
        await connection.deliver("a@x", ["b@x"], MESSAGE, require_tls=True)
    assert "MAIL FROM:<a@x> REQUIRETLS" in peer.lines


async def test_a_large_message_over_tls(server_context: ssl.SSLContext) -> None:
    large = b"a line of text\r\n" * 60_000

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(large), 10_000):
            yield large[start : start + 10_000]

    async with (
        SMTPPeer(ByCommand(extensions=STARTTLS), tls_context=server_context) as peer,
        await connect(peer.port, TLSMode.OPPORTUNISTIC) as connection,
    ):
        await connection.deliver("a@x", ["b@x"], chunks(), size=len(large))
    assert peer.messages == [large]
