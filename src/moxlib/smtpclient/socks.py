"""Connecting through a SOCKS5 proxy (RFC 1928, 1929), by `python-socks`."""

import socket
from dataclasses import dataclass, field
from typing import Final, Protocol

from moxlib.errors import InputError, MissingExtra

__all__ = ["Proxy", "SOCKS5Proxy"]

MAX_PORT: Final = 65535
MAX_CREDENTIAL: Final = 255  # octets: RFC 1929 2
PATIENCE: Final = 86_400.0  # seconds: who connects has a limit of its own, which comes first


class Proxy(Protocol):
    """What makes TCP connections on behalf of a client."""

    async def open(self, host: str, port: int, *, local_address: str | None = None) -> socket.socket:
        """Return a connected socket, which belongs to the caller.

        Args:
            host: name or address of the server.
            port: its port.
            local_address: from which address to connect to the proxy; None: the system's choice.

        Raises:
            OSError: the proxy could not be reached, or did not do as it was asked.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SOCKS5Proxy:
    """A SOCKS5 proxy.

    Attributes:
        host: its name or address.
        port: its port; 1080 by convention.
        username: to authenticate with (RFC 1929), in clear; empty: not.
        password: the same.

    Raises:
        MissingExtra: the extra `socks` is not installed.
        InputError: a port that cannot be, or credentials that are too long, or not ASCII, which is all that the library
            sends.
    """

    host: str
    port: int = 1080
    username: str = ""
    password: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        try:
            import python_socks  # noqa: F401, PLC0415 - an extra
        except ImportError as error:
            raise MissingExtra("socks", "SOCKS5Proxy") from error
        if not self.host or not 0 < self.port <= MAX_PORT:
            raise InputError(f"not a proxy to connect to: {self.host!r} port {self.port}")
        for name, value in (("username", self.username), ("password", self.password)):
            if not value.isascii():
                raise InputError(f"SOCKS5Proxy.{name} is not ASCII")
            if len(value) > MAX_CREDENTIAL:
                raise InputError(f"SOCKS5Proxy.{name} is longer than {MAX_CREDENTIAL} octets (RFC 1929 2)")
        if bool(self.username) != bool(self.password):
            raise InputError("SOCKS5Proxy needs both a username and a password, or neither (RFC 1929 2)")

    async def open(self, host: str, port: int, *, local_address: str | None = None) -> socket.socket:
        """Return a socket that the proxy connected to a server; names are resolved by the proxy.

        Raises:
            OSError: the proxy could not be reached, or did not do as it was asked.
        """
        from python_socks import ProxyConnectionError, ProxyError, ProxyType  # noqa: PLC0415 - an extra
        from python_socks.async_.asyncio import Proxy as Client  # noqa: PLC0415 - an extra

        client = Client(ProxyType.SOCKS5, self.host, self.port, self.username or None, self.password or None, rdns=True)
        local = {} if local_address is None else {"local_addr": (local_address, 0)}
        try:
            return await client.connect(host, port, timeout=PATIENCE, **local)
        except ProxyConnectionError as error:
            raise OSError(f"the proxy cannot be reached: {error}") from error
        except ProxyError as error:
            raise OSError(f"the proxy refuses: {error}") from error
        except ValueError as error:  # a name of the proxy's, or one for it, that is none
            raise OSError(f"the proxy is not understood, or does not understand: {type(error).__name__}") from error
