"""Where a session was that a TLS report tells of: the addresses of both ends, and what the host called itself."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from tests.integration.direct_world import DOMAIN, Authorities, MailHost, World, delivery, running

from moxlib.queue import Source

ONE, HERE = "127.0.0.2", "127.0.0.21"
MX1 = "mx1.example.org"
POLICY = f"version: STSv1\nmode: enforce\nmx: {MX1}\nmax_age: 86400\n"
DNS: dict[str, Any] = {"mx": {DOMAIN: [(10, MX1)]}, "a": {MX1: [ONE]}}
GREETING = "220 mx-7.host.example ESMTP ready"


@pytest.fixture(scope="module")
def authorities() -> Authorities:
    return Authorities()


async def places(world: World, authorities: Authorities) -> set[tuple[str, str, str, str]]:
    """Deliver; return the places that the details of the results have."""
    async with running(world, authorities) as there:
        await there.transport.deliver(delivery())
        details = [each for result in there.merged() for each in result.details]
    assert details
    return {
        (each.sending_mta_ip, each.receiving_mx_hostname, each.receiving_mx_helo, each.receiving_ip) for each in details
    }


def world(tls: str, greeting: str = GREETING, *, source: str | None = HERE, **more: Any) -> World:
    options: dict[str, Any] = {"ehlo_name": None, "sources": [Source(ipv4=source, ehlo_name="client.example")]}
    options |= more.pop("options", {})
    hosts = [MailHost(address=ONE, tls=tls, greeting=greeting)]
    return World(hosts=hosts, options=options, **({"dns": DNS, "policy": POLICY} | more))


@pytest.mark.parametrize(
    ("tls", "more"),
    [
        ("refused", {}),
        ("broken", {}),
        ("untrusted", {}),
        ("wrong name", {}),
        ("", {}),
        ("", {"policy": None}),
        ("broken", {"policy": None}),
        ("good", {"policy": None, "dns": DNS | {"all_authentic": True}, "tlsa": {MX1: ["other"]}}),
    ],
    ids=["refused", "broken", "untrusted", "wrong name", "lacking", "in clear", "broken, then in clear", "DANE"],
)
async def test_a_session_that_failed_has_its_place(tls: str, more: dict[str, Any], authorities: Authorities) -> None:
    assert await places(world(tls, **more), authorities) == {(HERE, MX1, "mx-7.host.example", ONE)}


async def test_the_address_that_the_system_chose_is_told_too(authorities: Authorities) -> None:
    [(local, *_)] = await places(world("untrusted", source=None), authorities)
    assert local == "127.0.0.1"


@pytest.mark.parametrize(
    ("greeting", "name"),
    [
        ("220 [192.0.2.1]", "[192.0.2.1]"),
        ("220-mx.host.example\r\n220 more.of.it", "mx.host.example"),
        ("220 ", ""),
        (f"220 {'x' * 400} ESMTP", "x" * 255),
        ("220 bell\x07.example ESMTP", r"bell\x07.example"),
    ],
    ids=["address", "lines", "none", "long", "control"],
)
async def test_what_a_host_calls_itself_is_the_first_word_of_its_greeting(
    greeting: str, name: str, authorities: Authorities
) -> None:
    [(*_, helo, _)] = await places(world("untrusted", greeting), authorities)
    assert helo == name


class Direct:
    """A proxy that is none."""

    async def open(self, host: str, port: int, *, local_address: str | None = None) -> socket.socket:
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
        return sock


async def test_through_a_proxy_the_address_that_the_host_saw_is_not_known(authorities: Authorities) -> None:
    for tls in ("", "untrusted"):
        there = world(tls, options={"proxy": Direct()}, source=None)
        assert await places(there, authorities) == {("", MX1, "mx-7.host.example", ONE)}


async def test_where_there_was_no_session_there_is_no_place(authorities: Authorities) -> None:
    other = POLICY.replace(MX1, "mx9.example.org")
    assert await places(world("good", policy=other), authorities) == {("", MX1, "", "")}
