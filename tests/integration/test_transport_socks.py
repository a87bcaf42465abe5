"""Delivery through a SOCKS5 proxy: to a relay, and directly."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from tests.integration.direct_world import Authorities, MailHost, World, delivery, running
from tests.integration.socks_server import SOCKSServer

from moxlib.errors import InputError, MissingExtra
from moxlib.queue import Deferred, Delivered, SMTPTransport
from moxlib.smtpclient import SOCKS5Proxy
from moxlib.testing import SMTPPeer


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


async def test_a_relay_behind_a_proxy_that_wants_a_password() -> None:
    async with SMTPPeer() as peer, SOCKSServer(users={"user": "sesame"}) as server:
        for password, outcome in (("sesame", Delivered), ("open", Deferred)):
            proxy = SOCKS5Proxy(host="127.0.0.1", port=server.port, username="user", password=password)
            transport = SMTPTransport("relay.example", peer.port, security="none", proxy=proxy)
            async with transport.running():
                [found] = await transport.deliver(delivery())
            assert isinstance(found, outcome)


@pytest.mark.parametrize(
    "options",
    [
        {"host": ""},
        {"host": "proxy.example", "port": 0},
        {"host": "proxy.example", "username": "u"},
        {"host": "proxy.example", "username": "u", "password": "x" * 256},
    ],
    ids=["no host", "no port", "no password", "a long password"],
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
