"""What a SOCKS5 proxy may do to who connects through it: every step of RFC 1928 and 1929, on both loops."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme
import uvloop
from tests.integration.socks_server import SOCKSServer

from moxlib.errors import InputError
from moxlib.smtpclient import (
    CommandTimeout,
    ConnectionLost,
    SMTPConnection,
    SOCKS5Proxy,
    Timeouts,
    TLSFailed,
    TLSMode,
    verified_context,
)
from moxlib.testing import FakeClock, SMTPPeer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
METHOD, PASSWORD, GRANTED = b"\x05\x00", b"\x05\x02", b"\x01\x00"
BOUND = b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x19"


class Scripted:
    """Says each piece after the client has said something, and then ends, or waits."""

    def __init__(self, *pieces: bytes, then_wait: bool = False) -> None:
        self.pieces = pieces
        self.then_wait = then_wait
        self.heard: list[bytes] = []
        self.said_all, self.gone = asyncio.Event(), asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for piece in self.pieces:
                self.heard.append(await reader.read(1024))
                writer.write(piece)
            self.said_all.set()
            while self.then_wait and await reader.read(1024):
                pass
        except ConnectionResetError:
            pass  # closed with something unread
        finally:
            self.gone.set()
            writer.transport.abort()
            with contextlib.suppress(ConnectionResetError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def listening(script: Scripted) -> AsyncIterator[int]:
    async with await asyncio.start_server(script, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def connect(port: int, host: str = "mx.example", **options: Any) -> SMTPConnection:
    proxy = SOCKS5Proxy(host="127.0.0.1", port=port, **options.pop("login", {}))
    return await SMTPConnection.connect(
        host, 25, ehlo_name="client.example", **{"tls": TLSMode.NONE, "proxy": proxy, **options}
    )


LOGIN: dict[str, Any] = {"login": {"username": "user", "password": "sesame"}}


@LOOPS
@pytest.mark.parametrize(
    ("pieces", "options"),
    [
        ([], {}),
        ([b"\x05"], {}),
        ([b"\x04\x00"], {}),
        ([b"\x05\xff"], {}),
        ([b"\x05\x02"], {}),  # a method that was not offered
        ([b"\x05\x63"], {}),
        ([PASSWORD, b"\x01"], LOGIN),
        ([PASSWORD, b"\x01\x01"], LOGIN),
        ([PASSWORD, b"\x05\x00"], LOGIN),
        ([METHOD, b""], {}),
        ([METHOD, BOUND[:-1]], {}),
        ([METHOD, b"\x04" + BOUND[1:]], {}),
        ([METHOD, b"\x05\x01\x00"], {}),
        ([METHOD, b"\x05\x09\x00"], {}),
        ([METHOD, b"\x05\xff\x00"], {}),
        ([METHOD, b"\x05\x00\x01" + BOUND[3:]], {}),
        ([METHOD, b"\x05\x00\x00\x07\x00\x19"], {}),
        ([METHOD, b"\x05\x00\x00\x03\x02\xff\xfe\x00\x19"], {}),  # a name that is not UTF-8
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], {}),
        ([b"220 mx.example ESMTP\r\n"], {}),
    ],
    ids=lambda value: "-".join(piece.hex()[:12] for piece in value) if isinstance(value, list) else "",
)
def test_a_proxy_that_does_not_do_as_asked(
    run: Callable[[Coroutine[Any, Any, None]], None], pieces: list[bytes], options: dict[str, Any]
) -> None:
    async def main() -> None:
        script = Scripted(*pieces)
        async with listening(script) as port:
            with pytest.raises(ConnectionLost) as caught:
                await connect(port, **options)
            assert caught.value.reason.isprintable()
            assert len(caught.value.reason) < 300
            await script.gone.wait()

    run(main())


@LOOPS
def test_a_password_goes_to_a_proxy_that_asks_for_it_only(run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    async def main() -> None:
        for method, said in [(METHOD, False), (PASSWORD, True)]:
            script = Scripted(method, b"\x01\x01")
            async with listening(script) as port:
                with pytest.raises(ConnectionLost):
                    await connect(port, **LOGIN)
            assert any(b"sesame" in heard for heard in script.heard) is said

    run(main())


@pytest.mark.parametrize(
    "pieces", [[], [METHOD], [METHOD, BOUND[:3]], [PASSWORD], [METHOD, BOUND]], ids=lambda pieces: str(len(pieces))
)
async def test_a_proxy_that_stalls_is_given_up_and_closed(pieces: list[bytes]) -> None:
    """The last one has connected; then it is the server that does not greet."""
    clock, script = FakeClock(), Scripted(*pieces, then_wait=True)
    options: dict[str, Any] = {**LOGIN, "clock": clock, "timeouts": Timeouts(connect=5, greeting=7)}
    async with listening(script) as port:
        connecting = asyncio.create_task(connect(port, **options))
        await script.said_all.wait()
        while not connecting.done():
            await clock.advance(1)
        with pytest.raises(CommandTimeout) as caught:
            await connecting
        assert caught.value.seconds == (7 if BOUND in pieces else 5)
        await script.gone.wait()  # that our end is closed


@pytest.mark.parametrize(
    "pieces", [[], [METHOD], [METHOD, BOUND[:3]], [METHOD, BOUND]], ids=lambda some: str(len(some))
)
async def test_who_is_cancelled_closes_the_connection(pieces: list[bytes]) -> None:
    script = Scripted(*pieces, then_wait=True)
    async with listening(script) as port:
        connecting = asyncio.create_task(connect(port))
        await script.said_all.wait()
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        await script.gone.wait()


@pytest.mark.parametrize("host", ["x" * 300, "a..b", "x" * 64 + ".example"])
async def test_a_name_that_no_proxy_could_be_asked_for(host: str) -> None:
    async with SOCKSServer() as server:
        with pytest.raises(ConnectionLost):
            await connect(server.port, host)
        assert server.asked == []


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example", "x.invalid\0"])
async def test_a_proxy_with_a_name_that_is_none(host: str) -> None:
    with pytest.raises(ConnectionLost):
        await SMTPConnection.connect("mx.example", 25, ehlo_name="a", proxy=SOCKS5Proxy(host=host))


@pytest.mark.parametrize("login", [{"username": "jürg", "password": "p"}, {"username": "u", "password": "pässword"}])
def test_a_password_that_cannot_be_sent(login: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="not ASCII") as caught:
        SOCKS5Proxy(host="proxy.example", **login)
    assert login["password"] not in str(caught.value)


@LOOPS
@pytest.mark.parametrize("known", [True, False], ids=["verified", "refused"])
def test_immediate_tls_through_a_proxy(run: Callable[[Coroutine[Any, Any, None]], None], known: bool) -> None:
    """The name is the server's, not the proxy's."""
    authority = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("mx.example").configure_cert(server_side)
    client_side = verified_context()
    if known:
        authority.configure_trust(client_side)

    async def main() -> None:
        async with SMTPPeer(tls_context=server_side, immediate_tls=True) as peer, SOCKSServer() as server:
            options: dict[str, Any] = {"tls": TLSMode.IMMEDIATE, "tls_context": client_side}
            proxy = SOCKS5Proxy(host="127.0.0.1", port=server.port)
            connecting = SMTPConnection.connect("mx.example", peer.port, ehlo_name="a", proxy=proxy, **options)
            if known:
                connection = await connecting
                assert connection.tls_info is not None
                assert connection.tls_info.verified
                await connection.quit()
            else:
                with pytest.raises(TLSFailed) as caught:
                    await connecting
                assert caught.value.certificate
            assert server.asked == [("mx.example", peer.port)]

    run(main())


async def test_from_a_local_address_to_the_proxy() -> None:
    seen: list[str] = []

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername")[0])
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, family=socket.AF_INET) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionLost):
            await connect(port, local_address="127.0.0.7")
    assert seen == ["127.0.0.7"]
