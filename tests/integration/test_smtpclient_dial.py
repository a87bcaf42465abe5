"""Connecting to a host that has several addresses, on both loops."""

from __future__ import annotations

import asyncio
import gc
import pickle
import socket
import ssl
from contextlib import closing, contextmanager
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any

import pytest
import trustme
import uvloop

from moxlib.errors import InputError
from moxlib.smtpclient import (
    CommandTimeout,
    ConnectionLost,
    Dialed,
    DialFailed,
    LocalAddressUnusable,
    SMTPConnection,
    SOCKS5Proxy,
    Timeouts,
    TLSFailed,
    TLSMode,
    dial,
    verified_context,
)
from moxlib.testing import FakeClock, SMTPPeer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from moxlib.dns import IPAddress

HERE, SIXTH = IPv4Address("127.0.0.1"), IPv6Address("::1")
OTHERS = [IPv4Address("127.0.0.2"), IPv4Address("127.0.0.3")]  # nobody listens there
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
LOOPS = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


@contextmanager
def listening(address: IPAddress = HERE) -> Iterator[int]:
    """A server that accepts nothing by itself: its port. The system connects to it all the same."""
    with socket.create_server((str(address), 0), family=FAMILIES[address.version]) as server:
        yield server.getsockname()[1]


def came_from(dialed: Dialed) -> str:
    with closing(dialed.sock) as sock:
        address: str = sock.getsockname()[0]
    return address


@LOOPS
def test_the_first_that_answers(run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    async def main() -> None:
        with listening() as port:
            dialed = await dial([*OTHERS, HERE, IPv4Address("127.0.0.4")], port)
            with closing(dialed.sock) as sock:
                assert sock.getpeername() == (str(HERE), port)
            assert dialed.address == HERE
            assert [failure.address for failure in dialed.failures] == OTHERS
            assert {failure.reason for failure in dialed.failures} == {"Connection refused"}

    run(main())


@LOOPS
def test_none_answers(run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    async def main() -> None:
        with listening() as port:
            with pytest.raises(DialFailed) as caught:
                await dial(OTHERS, port)
            assert str(caught.value) == "connect: 127.0.0.2: Connection refused; 127.0.0.3: Connection refused"
            assert isinstance(caught.value, ConnectionLost)
            again = pickle.loads(pickle.dumps(caught.value))
            assert (str(again), again.failures) == (str(caught.value), caught.value.failures)

    run(main())


@pytest.fixture
def full() -> Iterator[int]:
    """The port of a server at 127.0.0.1 that takes no more connections: who connects hears nothing."""
    with socket.socket() as server, socket.socket() as first, socket.socket() as second:
        server.bind((str(HERE), 0))
        server.listen(0)
        for one in (first, second):
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        yield server.getsockname()[1]


async def patience(connecting: asyncio.Task[Any], clock: FakeClock) -> None:
    while not connecting.done():
        await clock.advance(1)


async def test_an_address_that_does_not_answer_is_given_up(full: int) -> None:
    clock = FakeClock()
    connecting = asyncio.create_task(dial([HERE, OTHERS[0], HERE], full, seconds=7, clock=clock))
    await patience(connecting, clock)
    with pytest.raises(DialFailed) as caught:
        await connecting
    assert [failure.reason for failure in caught.value.failures] == [
        "no answer within 7 seconds",
        "Connection refused",
        "no answer within 7 seconds",
    ]
    assert clock.monotonic() >= 14


@LOOPS
def test_who_is_cancelled_leaves_no_socket(run: Callable[[Coroutine[Any, Any, None]], None], full: int) -> None:
    def sockets() -> list[socket.socket]:
        return [one for one in gc.get_objects() if issubclass(type(one), socket.socket) and one.fileno() >= 0]

    async def main() -> None:
        before = sockets()
        connecting = asyncio.create_task(dial([HERE], full))
        await asyncio.sleep(0)
        assert len(sockets()) == len(before) + 1
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        assert len(sockets()) == len(before)

    run(main())


async def test_from_a_local_address_of_the_right_family() -> None:
    local: list[IPAddress] = [SIXTH, IPv4Address("127.0.0.7"), IPv4Address("127.0.0.8")]
    with listening() as port:
        assert came_from(await dial([HERE], port, local_addresses=local)) == "127.0.0.7"
        assert came_from(await dial([HERE], port, local_addresses=local[2:])) == "127.0.0.8"


async def test_a_family_that_has_no_local_address_is_not_tried() -> None:
    with listening() as port:
        dialed = await dial([SIXTH, HERE], port, local_addresses=[HERE])
        assert came_from(dialed) == str(HERE)
        assert [str(failure) for failure in dialed.failures] == ["::1: no local address of IPv6"]
        with pytest.raises(DialFailed, match="no local address of IPv4"):
            await dial([HERE], port, local_addresses=[SIXTH])


async def test_a_local_address_that_is_not_ours() -> None:
    with listening() as port, pytest.raises(DialFailed, match="Cannot assign requested address"):
        await dial([HERE], port, local_addresses=[IPv4Address("192.0.2.1")])


@pytest.fixture
def sixth() -> Iterator[int]:
    """The port of a server at ::1."""
    try:
        server = socket.create_server((str(SIXTH), 0), family=socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    with server:
        yield server.getsockname()[1]


@LOOPS
def test_ipv6(run: Callable[[Coroutine[Any, Any, None]], None], sixth: int) -> None:
    async def main() -> None:
        dialed = await dial([HERE, SIXTH], sixth, local_addresses=[HERE, SIXTH])
        assert dialed.address == SIXTH
        assert came_from(dialed) == str(SIXTH)

    run(main())


async def test_without_addresses() -> None:
    with pytest.raises(InputError):
        await dial([], 25)


# What is made of the socket


@LOOPS
@pytest.mark.parametrize("tls", [TLSMode.NONE, TLSMode.IMMEDIATE])
def test_a_session_over_it(run: Callable[[Coroutine[Any, Any, None]], None], tls: TLSMode) -> None:
    authority = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("mx.example").configure_cert(server_side)
    client_side = verified_context()
    authority.configure_trust(client_side)

    async def main() -> None:
        immediate = tls is TLSMode.IMMEDIATE
        async with SMTPPeer(tls_context=server_side, immediate_tls=immediate) as peer:
            dialed = await dial([*OTHERS, HERE], peer.port)
            connect = partial(SMTPConnection.connect, ehlo_name="client.example", tls=tls)
            connection = await connect("mx.example", peer.port, tls_context=client_side, sock=dialed.sock)
            assert connection.host == "mx.example"
            assert immediate is (connection.tls_info is not None)
            await connection.deliver("a@client.example", ["b@mx.example"], b"Subject: hi\r\n\r\n")
            await connection.quit()
            assert dialed.sock.fileno() == -1
            assert len(peer.messages) == 1

            if immediate:
                dialed = await dial([HERE], peer.port)
                with pytest.raises(TLSFailed):
                    await connect("other.example", peer.port, tls_context=client_side, sock=dialed.sock)
                await peer.all_ended()

    run(main())


async def test_it_is_closed_when_there_is_no_session() -> None:
    clock = FakeClock()
    with listening() as port:
        dialed = await dial([HERE], port)
        connecting = asyncio.create_task(
            SMTPConnection.connect(
                "mx.example", ehlo_name="a", sock=dialed.sock, clock=clock, timeouts=Timeouts(greeting=3)
            )
        )
        await patience(connecting, clock)
        with pytest.raises(CommandTimeout):
            await connecting
        assert dialed.sock.fileno() == -1


@pytest.mark.parametrize(
    "options",
    [
        {"local_address": "127.0.0.1"},
        {"family": socket.AF_INET},
        {"proxy": SOCKS5Proxy(host="127.0.0.1")},
    ],
    ids=lambda options: next(iter(options)),
)
async def test_what_says_how_to_connect_is_of_no_use_with_it(options: dict[str, Any]) -> None:
    with socket.socket() as sock, pytest.raises(InputError):
        await SMTPConnection.connect("mx.example", ehlo_name="a", sock=sock, **options)


@LOOPS
@pytest.mark.parametrize("elsewhere", ["203.0.113.9", "2001:db8::9"])
def test_a_local_address_that_is_not_ours_is_told_apart_from_a_host_that_does_not_answer(
    run: Callable[[Coroutine[Any, Any, None]], None], elsewhere: str
) -> None:
    host, here = ("::1", "::1") if ":" in elsewhere else ("127.0.0.1", "127.0.0.2")

    async def main() -> None:
        with pytest.raises(LocalAddressUnusable) as caught:
            await SMTPConnection.connect(host, 9, ehlo_name="client.example", local_address=elsewhere)
        assert str(caught.value) == f"connect: cannot connect from {elsewhere}: Cannot assign requested address"
        assert caught.value.reason == "Cannot assign requested address"
        assert isinstance(caught.value.__cause__, OSError)
        with socket.socket(FAMILIES[6 if ":" in host else 4]) as taken:
            taken.bind((host, 0))  # and nobody listens
            with pytest.raises(ConnectionLost) as lost:
                await SMTPConnection.connect(
                    host, taken.getsockname()[1], ehlo_name="client.example", local_address=here
                )
        assert type(lost.value) is ConnectionLost

    run(main())
