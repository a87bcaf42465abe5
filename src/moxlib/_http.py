"""What outgoing HTTP has in common, on aiohttp, which is loaded when a session is made.

A session asks nobody but who it is told to: no proxy and no netrc from the environment, no cookies, addresses from a
resolver of moxlib's own. Everything a server sends is limited.
"""

import socket
import ssl
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Protocol

from moxlib.errors import LimitExceeded, MissingExtra, RemoteError

if TYPE_CHECKING:
    import aiohttp
    from aiohttp.abc import AbstractResolver, ResolveResult

__all__ = [
    "AddressResolver",
    "Addresses",
    "NoAddress",
    "adapt_resolver",
    "need_aiohttp",
    "open_session",
    "read_body",
    "verified_context",
]


class Addresses(Protocol):
    """What an `AddressResolver` answers."""

    @property
    def records(self) -> Sequence[IPv4Address | IPv6Address]:
        """The addresses; none where there are none."""
        ...


class AddressResolver(Protocol):
    """The part of `moxlib.dns.Resolver` that HTTP needs."""

    async def lookup_ip(self, name: str, *, ipv4: bool = True, ipv6: bool = True) -> Addresses:
        """Return the addresses of a name; raise an `OSError` when they could not be found out."""
        ...


class NoAddress(RemoteError):
    """A host does not exist, or has no address.

    Attributes:
        host: its name.
    """

    def __init__(self, host: str) -> None:
        super().__init__(f"{host[:253]!a} has no address")
        self.host = host

    def __reduce__(self) -> tuple[type["NoAddress"], tuple[str]]:
        """Pickle by fields, not by text."""
        return type(self), (self.host,)


def need_aiohttp(what: str) -> None:
    """Look whether aiohttp is installed, for the constructor of what will need it.

    Raises:
        MissingExtra: it is not; `what` is the part that needs it.
    """
    try:
        import aiohttp  # noqa: F401, PLC0415 - of the extra `http`
    except ImportError as error:
        raise MissingExtra("http", what) from error


def verified_context() -> ssl.SSLContext:
    """Return a new client context that checks certificate and name by the system's authorities; TLS 1.2 up."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996, RFC 9325 3.1.1
    return context


def open_session(resolver: AddressResolver, context: ssl.SSLContext, user_agent: str) -> "aiohttp.ClientSession":
    """Return a session, for `async with`, each of whose requests has a connection of its own.

    It has no time-outs: bound the use of it by a `Clock`. Bodies are not decompressed.

    Args:
        resolver: whom it asks for addresses.
        context: for TLS.
        user_agent: what it calls itself.
    """
    import aiohttp  # noqa: PLC0415 - of the extra `http`

    connector = aiohttp.TCPConnector(
        resolver=adapt_resolver(resolver), ssl=context, use_dns_cache=False, force_close=True
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": user_agent, "Accept-Encoding": "identity"},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        auto_decompress=False,
        trust_env=False,
    )


def adapt_resolver(resolver: AddressResolver) -> "AbstractResolver":
    """Return a resolver of moxlib's as one of aiohttp's."""
    from aiohttp.abc import AbstractResolver  # noqa: PLC0415

    class Adapter(AbstractResolver):
        """Asks an `AddressResolver` for aiohttp."""

        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> "list[ResolveResult]":
            wanted = {"ipv4": family != socket.AF_INET6, "ipv6": family != socket.AF_INET}
            found = [_resolved(host, port, address) for address in (await resolver.lookup_ip(host, **wanted)).records]
            if not found:
                raise NoAddress(host)
            return found

        async def close(self) -> None:
            """Do nothing: the resolver is not ours."""

    return Adapter()


def _resolved(host: str, port: int, address: IPv4Address | IPv6Address) -> "ResolveResult":
    return {
        "hostname": host,
        "host": str(address),
        "port": port,
        "family": socket.AF_INET if address.version == 4 else socket.AF_INET6,  # noqa: PLR2004
        "proto": socket.IPPROTO_TCP,
        "flags": socket.AI_NUMERICHOST,
    }


async def read_body(response: "aiohttp.ClientResponse", limit: int) -> bytes:
    """Return the whole body, not decompressed.

    Raises:
        LimitExceeded: it has, or says that it has, more than `limit` bytes; no more than that is kept.
        aiohttp.ClientError: the connection broke before its end.
    """
    if (response.content_length or 0) > limit:
        raise LimitExceeded(limit, "the body")
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > limit:
            raise LimitExceeded(limit, "the body")
    return bytes(body)
