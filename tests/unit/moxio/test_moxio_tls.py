"""PrefixConn, TLS over what was read ahead, tls_info, and is_closed on alerts: over real connections."""

import asyncio
import io
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Generic, TypeVar

import pytest
import trustme

from moxlib.errors import InputError, StateError, UnexpectedEOF
from moxlib.moxio import (
    AsyncPrefixConn,
    AsyncTLSConn,
    Bufpool,
    PrefixConn,
    TLSConn,
    is_closed,
    tls_info,
    wrap_tls,
    wrap_tls_async,
)

T = TypeVar("T")

LARGE = bytes(range(256)) * 4000  # many TLS records, and more than the sockets buffer
READ_AHEAD = [0, 1, 5, 100, 10_000]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


class InThread(Generic[T]):
    """Runs one end of a connection; `result` waits for its end."""

    def __init__(self, run: Callable[[], T]) -> None:
        self.future: Future[T] = Future()
        threading.Thread(target=self.run, args=(run,), daemon=True).start()

    def run(self, run: Callable[[], T]) -> None:
        try:
            self.future.set_result(run())
        except Exception as err:  # noqa: BLE001 - it is raised by result
            self.future.set_exception(err)

    def result(self) -> T:
        return self.future.result(60)


Pair = tuple[socket.socket, socket.socket]


def read_ahead(conn: socket.socket, size: int) -> bytes:
    """Return the first bytes that came, as a buffer would have read them."""
    return conn.recv(size) if size else b""


def test_a_prefix_and_then_the_socket(pair: Pair) -> None:
    ours, theirs = pair
    conn = PrefixConn(b"read ahead", ours)
    theirs.sendall(b" and not")
    assert conn.recv(4) == b"read"
    assert conn.recv(100) == b" ahead"
    assert conn.recv(0) == b""
    assert conn.recv(4) == b" and"
    buffer = bytearray(b"........")
    assert conn.recv_into(buffer, 2) == 2
    assert conn.recv_into(buffer) == 2
    assert buffer == b"ot......"
    conn.sendall(b"answer")
    assert theirs.recv(100) == b"answer"
    theirs.close()
    assert conn.recv(1) == b""
    with pytest.raises(InputError):
        conn.recv(-1)


def test_the_end_of_the_prefix_is_not_the_end_of_a_file(pair: Pair) -> None:
    ours, theirs = pair
    theirs.sendall(b"O\r\nQUIT\r\n")
    theirs.shutdown(socket.SHUT_WR)
    reader = PrefixConn(io.BytesIO(b"EHL"), ours).makefile()
    assert [Bufpool(1, 100).readline(reader) for _ in range(2)] == [b"EHLO", b"QUIT"]
    assert reader.read() == b""


def test_a_prefixed_socket_is_otherwise_the_socket(pair: Pair) -> None:
    ours, _ = pair
    with PrefixConn(b"x", ours) as conn:
        assert conn.fileno() == ours.fileno()
        conn.settimeout(0.5)
        assert ours.gettimeout() == conn.gettimeout() == 0.5
    assert ours.fileno() == -1
    with pytest.raises(AttributeError):
        _ = PrefixConn.__new__(PrefixConn).fileno


@pytest.mark.parametrize("size", READ_AHEAD)
def test_tls_over_what_was_read_ahead(
    pair: Pair, server_context: ssl.SSLContext, client_context: ssl.SSLContext, size: int
) -> None:
    ours, theirs = pair

    def client() -> bytes:
        with client_context.wrap_socket(theirs, server_hostname="localhost") as tls:
            tls.sendall(LARGE)
            received = b""
            while len(received) < len(LARGE):
                received += tls.recv(65536)
            tls.unwrap()
            return received

    running = InThread(client)
    with wrap_tls(PrefixConn(read_ahead(ours, size), ours), server_context, server_side=True) as tls:
        reader = tls.makefile()
        assert reader.read(len(LARGE)) == LARGE
        tls.sendall(LARGE)
        assert reader.read(1) == b""  # the client ended TLS
    assert running.result() == LARGE
    assert ours.fileno() == -1


def test_tls_from_the_client_and_inside_tls(
    pair: Pair, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    ours, theirs = pair

    def server() -> None:
        with wrap_tls(wrap_tls(theirs, server_context, server_side=True), server_context, server_side=True) as tls:
            tls.sendall(tls.recv(100).upper())

    running = InThread(server)
    with wrap_tls(ours, client_context, server_hostname="localhost") as outer:
        outer.settimeout(60)
        assert ours.gettimeout() == 60
        with wrap_tls(outer, client_context, server_hostname="localhost") as tls:
            tls.sendall(b"inner")
            buffer = bytearray(100)
            assert tls.recv_into(buffer) == 5
            assert buffer[:5] == b"INNER"
            assert tls.recv(0) == b""
            assert tls.recv(1) == b""
            with pytest.raises(InputError):
                tls.recv(-1)
    running.result()


def test_a_connection_cut_under_tls_is_no_end(
    pair: Pair, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    ours, theirs = pair

    def client() -> ssl.SSLSocket:
        tls = client_context.wrap_socket(theirs, server_hostname="localhost")
        tls.sendall(b"half of i")
        tls.shutdown(socket.SHUT_WR)  # beneath TLS, without its end
        return tls

    running = InThread(client)
    with wrap_tls(ours, server_context, server_side=True) as tls:
        assert tls.recv(100) == b"half of i"
        with pytest.raises(UnexpectedEOF) as raised:
            tls.recv(100)
        assert not is_closed(raised.value)
    running.result().close()


def test_an_alert_tells_each_side_its_own(pair: Pair, server_context: ssl.SSLContext) -> None:
    ours, theirs = pair
    running = InThread(lambda: wrap_tls(theirs, server_context, server_side=True))
    with pytest.raises(ssl.SSLCertVerificationError) as raised:
        wrap_tls(ours, ssl.create_default_context(), server_hostname="localhost")
    assert not is_closed(raised.value)
    with pytest.raises(ssl.SSLError, match="ALERT_UNKNOWN_CA") as told:
        running.result()
    assert is_closed(told.value)
    assert (ours.fileno(), theirs.fileno()) == (-1, -1)


def test_a_peer_that_goes_away_in_the_handshake(pair: Pair, client_context: ssl.SSLContext) -> None:
    ours, theirs = pair
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(UnexpectedEOF):
        wrap_tls(ours, client_context, server_hostname="localhost")
    assert ours.fileno() == -1


def test_closing_before_the_handshake_and_after_the_peer_has_gone(
    pair: Pair, client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    ours, theirs = pair
    running = InThread(lambda: wrap_tls(theirs, server_context, server_side=True))
    tls = wrap_tls(ours, client_context, server_hostname="localhost")
    running.result()
    theirs.close()
    tls.close()
    assert ours.fileno() == -1
    TLSConn(ours, client_context, server_hostname="localhost").close()


class Served:
    """An asyncio server that reads ahead and then speaks TLS; `connections` are awaited before it ends."""

    def __init__(self, context: ssl.SSLContext, ahead: int, talk: Callable[[AsyncTLSConn], object]) -> None:
        self.context, self.ahead, self.talk = context, ahead, talk
        self.done: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            prefix = await reader.read(self.ahead) if self.ahead else b""
            conn = AsyncPrefixConn(prefix, reader, writer)
            tls = await wrap_tls_async(conn, conn, self.context, server_side=True)
            try:
                result = self.talk(tls)
                if asyncio.iscoroutine(result):
                    result = await result
            finally:
                tls.close()
                await tls.wait_closed()
            assert tls.is_closing()
            self.done.set_result(result)
        except Exception as err:  # noqa: BLE001 - it is raised where done is awaited
            writer.close()
            self.done.set_exception(err)


@pytest.mark.parametrize("ahead", READ_AHEAD)
async def test_async_tls_over_what_was_read_ahead(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext, ahead: int
) -> None:
    async def talk(tls: AsyncTLSConn) -> bytes:
        async def send() -> None:  # at the same time as the other side, and as reading
            for at in range(0, len(LARGE), 100_000):
                tls.write(LARGE[at : at + 100_000])
                await tls.drain()

        sending = asyncio.create_task(send())
        received = b""
        while data := await tls.read(65536):
            received += data
        await sending
        assert await tls.read(0) == b""
        with pytest.raises(InputError):
            await tls.read(-1)
        return received

    served = Served(server_context, ahead, talk)
    async with await asyncio.start_server(served, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        tls = await wrap_tls_async(reader, writer, client_context, server_hostname="localhost")
        tls.write(LARGE)
        received = b""
        while len(received) < len(LARGE):
            received += await tls.read(65536)
        await tls.drain()
        tls.close()
        await tls.wait_closed()
        assert received == LARGE
        assert await served.done == LARGE


async def test_async_alerts_and_ends(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> None:
    served = Served(server_context, 0, lambda tls: None)
    async with await asyncio.start_server(served, "127.0.0.1", 0) as server:
        address = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address)
        with pytest.raises(ssl.SSLCertVerificationError):
            await wrap_tls_async(reader, writer, ssl.create_default_context(), server_hostname="localhost")
        assert writer.is_closing()
        with pytest.raises(ssl.SSLError, match="ALERT_UNKNOWN_CA") as told:
            await served.done
        assert is_closed(told.value)

        served.done = asyncio.get_running_loop().create_future()
        served.talk = lambda tls: tls.read(100)
        reader, writer = await asyncio.open_connection(*address)
        tls = await wrap_tls_async(reader, writer, client_context, server_hostname="localhost")
        writer.write_eof()  # beneath TLS, without its end
        with pytest.raises(UnexpectedEOF):
            await served.done
        writer.close()
        await tls.wait_closed()
        tls.close()  # there is nobody left to tell


async def test_async_prefix_conn_is_reader_and_writer() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(100))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        conn = AsyncPrefixConn(b"ahead", *await asyncio.open_connection(*server.sockets[0].getsockname()))
        assert await conn.read(3) == b"ahe"
        assert await conn.read(0) == b""
        conn.write(b"echo")
        await conn.drain()
        assert await conn.read(100) == b"ad"
        assert await conn.read(100) == b"echo"
        assert await conn.read(100) == b""
        with pytest.raises(InputError):
            await conn.read(-1)
        assert not conn.is_closing()
        conn.close()
        assert conn.is_closing()
        await conn.wait_closed()


@pytest.mark.parametrize(
    ("version", "cipher", "expected"),
    [
        (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-AES128-GCM-SHA256", "tls_ecdhe_rsa_with_aes_128_gcm_sha256"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-RSA-CHACHA20-POLY1305", "tls_ecdhe_rsa_with_chacha20_poly1305_sha256"),
        (ssl.TLSVersion.TLSv1_3, None, None),
    ],
)
def test_names_of_a_real_connection(
    pair: Pair,
    client_context: ssl.SSLContext,
    version: ssl.TLSVersion,
    cipher: str | None,
    expected: str | None,
) -> None:
    authority = trustme.CA(key_type=trustme.KeyType.RSA)
    authority.configure_trust(client_context)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", key_type=trustme.KeyType.RSA).configure_cert(server_context)
    client_context.minimum_version = client_context.maximum_version = version
    if cipher:
        client_context.set_ciphers(cipher)
    ours, theirs = pair
    running = InThread(lambda: wrap_tls(theirs, server_context, server_side=True))
    with closing(wrap_tls(ours, client_context, server_hostname="localhost")) as tls:
        running.result()
        name, suite = tls_info(tls.ssl_object)
    assert name == ("tls1.2" if expected else "tls1.3")
    assert suite == expected if expected else suite.startswith(("tls_aes_", "tls_chacha20_"))


def test_there_are_no_names_before_the_handshake(client_context: ssl.SSLContext) -> None:
    with pytest.raises(StateError):
        tls_info(client_context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost"))


class State:
    """What OpenSSL says of a connection."""

    def __init__(self, version: str, cipher: str) -> None:
        self._version, self._cipher = version, cipher

    def version(self) -> str:
        return self._version

    def cipher(self) -> tuple[str, str, int]:
        return self._cipher, self._version, 128


@pytest.mark.parametrize(
    ("openssl", "expected"), [("SSLv3", "sslv3"), ("TLSv1", "tls1.0"), ("TLSv1.1", "tls1.1"), ("TLSv1.3", "tls1.3")]
)
def test_versions(openssl: str, expected: str) -> None:
    assert tls_info(State(openssl, "AES128-SHA"))[0] == expected


# What `openssl ciphers -stdname` says, of OpenSSL 3.0 built with everything: its own name, and IANA's.
NAMES = [line.split() for line in Path(__file__).with_name("openssl_names.txt").read_text().splitlines()]


def test_suites_have_their_iana_names() -> None:
    assert len(NAMES) > 150
    got = {openssl: tls_info(State("TLSv1.2", openssl))[1] for openssl, _ in NAMES}
    assert got == {openssl: iana.lower() for openssl, iana in NAMES}


@pytest.mark.parametrize(
    ("openssl", "expected"),
    [
        ("DES-CBC3-SHA", "tls_rsa_with_3des_ede_cbc_sha"),
        ("EDH-RSA-DES-CBC3-SHA", "tls_dhe_rsa_with_3des_ede_cbc_sha"),
        ("ECDHE-RSA-RC4-SHA", "tls_ecdhe_rsa_with_rc4_128_sha"),
        ("GOST2001-GOST89-GOST89", "gost2001-gost89-gost89"),  # not known: OpenSSL's own
    ],
)
def test_suites_that_openssl_has_dropped(openssl: str, expected: str) -> None:
    assert tls_info(State("TLSv1", openssl))[1] == expected


def test_every_suite_of_this_python_has_its_iana_name() -> None:
    context = ssl.create_default_context()
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    names = [tls_info(State("TLSv1.2", cipher["name"]))[1] for cipher in context.get_ciphers()]
    assert len(names) > 20
    assert [name for name in names if not name.startswith("tls_")] == []
