"""SMTP through a SOCKS5 proxy: the client, the relay's transport, and direct delivery."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from tests.integration.direct_world import BODY, Authorities, MailHost, World, delivery, running
from tests.integration.socks_server import SOCKSServer

from moxlib.errors import InputError, MissingExtra
from moxlib.queue import Deferred, Delivered, SMTPTransport
from moxlib.smtpclient import CommandTimeout, ConnectionLost, SMTPConnection, SOCKS5Proxy, Timeouts, TLSMode
from moxlib.testing import FakeClock, SMTPPeer


async def connect(server: SOCKSServer, peer: SMTPPeer, host: str = "mx.example", **options: Any) -> SMTPConnection:
    proxy = SOCKS5Proxy(
        host="127.0.0.1", port=server.port, **{k: options.pop(k) for k in ("username", "password") if k in options}
    )
    return await SMTPConnection.connect(
        host, peer.port, ehlo_name="client.example", tls=TLSMode.NONE, proxy=proxy, **options
    )


@pytest.mark.parametrize("host", ["mx.example", "192.0.2.1", "2001:db8::1"])
async def test_a_message_goes_through(host: str) -> None:
    async with SMTPPeer() as peer, SOCKSServer() as server:
        async with await connect(server, peer, host) as connection:
            await connection.deliver("a@client.example", ["b@example.org"], BODY)
        assert peer.messages == [BODY]
        assert server.asked == [(host, peer.port)]


async def test_with_a_password() -> None:
    async with SMTPPeer() as peer, SOCKSServer(users={"user": "sesame"}) as server:
        async with await connect(server, peer, username="user", password="sesame") as connection:
            await connection.deliver("a@client.example", ["b@example.org"], BODY)
        assert peer.messages == [BODY]


@pytest.mark.parametrize(
    "server",
    [
        SOCKSServer(users={"user": "sesame"}),
        SOCKSServer(refuse=1),
        SOCKSServer(refuse=5),
        SOCKSServer(garbage=b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    ],
    ids=["no password", "general failure", "refused", "another protocol"],
)
async def test_a_proxy_that_does_not_is_a_lost_connection(server: SOCKSServer) -> None:
    async with SMTPPeer() as peer, server:
        with pytest.raises(ConnectionLost, match="connect: the proxy refuses"):
            await connect(server, peer)
        assert peer.sessions == []


async def test_a_proxy_that_stalls_is_given_up() -> None:
    clock = FakeClock()
    async with SMTPPeer() as peer, SOCKSServer(stall=True) as server:
        attempt = asyncio.create_task(connect(server, peer, timeouts=Timeouts(connect=30), clock=clock))
        for _ in range(10):  # until it waits
            await asyncio.sleep(0)
        await clock.advance(31)
        with pytest.raises(CommandTimeout):
            await attempt


async def test_a_wrong_password_is_one_too() -> None:
    async with SMTPPeer() as peer, SOCKSServer(users={"user": "sesame"}) as server:
        with pytest.raises(ConnectionLost, match="proxy refuses"):
            await connect(server, peer, username="user", password="open")


async def test_a_proxy_that_is_not_there() -> None:
    async with SMTPPeer() as peer, SOCKSServer() as server:
        port = server.port
    gone = SOCKSServer(port=port)
    with pytest.raises(ConnectionLost, match="cannot be reached"):
        await connect(gone, peer)


async def test_a_relay_behind_a_proxy() -> None:
    async with SMTPPeer() as peer, SOCKSServer() as server:
        proxy = SOCKS5Proxy(host="127.0.0.1", port=server.port)
        transport = SMTPTransport("relay.example", peer.port, security="none", proxy=proxy)
        async with transport.running():
            [outcome] = await transport.deliver(delivery())
        assert isinstance(outcome, Delivered)
        assert server.asked == [("relay.example", peer.port)]


async def test_direct_delivery_gives_the_proxy_addresses() -> None:
    dns = {"mx": {"example.org": [(10, "mx1.example.org")]}, "a": {"mx1.example.org": ["192.0.2.1"]}}
    async with SOCKSServer() as server:
        proxy = SOCKS5Proxy(host="127.0.0.1", port=server.port)
        world = World(hosts=[MailHost(address="127.0.0.1")], dns=dns, options={"proxy": proxy})
        async with running(world, Authorities()) as there:
            [outcome] = await there.transport.deliver(delivery())
            assert isinstance(outcome, Delivered)
            assert outcome.trace.dialed == (("mx1.example.org", "192.0.2.1"),)
            assert server.asked == [("192.0.2.1", there.transport.port)]
            server.refuse = 5
            await there.transport.deliver(delivery())  # over the connection that there is


async def test_direct_delivery_goes_on_to_the_next_host_when_the_proxy_refuses() -> None:
    dns = {"mx": {"example.org": [(10, "mx1.example.org")]}, "a": {"mx1.example.org": ["192.0.2.1", "192.0.2.2"]}}
    async with SOCKSServer(refuse=5) as server:
        proxy = SOCKS5Proxy(host="127.0.0.1", port=server.port)
        async with running(World(dns=dns, options={"proxy": proxy}), Authorities()) as there:
            [outcome] = await there.transport.deliver(delivery())
    assert isinstance(outcome, Deferred)
    assert [host for host, _ in server.asked] == ["192.0.2.1", "192.0.2.2"]


@pytest.mark.parametrize(
    "options",
    [
        {"host": ""},
        {"host": "proxy.example", "port": 0},
        {"host": "proxy.example", "username": "u"},
        {"host": "proxy.example", "username": "u", "password": "x" * 256},
    ],
)
def test_a_proxy_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        SOCKS5Proxy(**options)


def test_without_the_extra_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_socks", None)
    with pytest.raises(MissingExtra, match=r"moxlib\[socks\]"):
        SOCKS5Proxy(host="proxy.example")


def test_the_password_is_not_shown() -> None:
    assert "sesame" not in repr(SOCKS5Proxy(host="proxy.example", username="u", password="sesame"))
