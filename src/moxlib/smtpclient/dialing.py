"""Connecting to a host that has several addresses: to each in turn, until one answers."""

import asyncio
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from moxlib._clock import Clock, SystemClock
from moxlib.dns import IPAddress
from moxlib.errors import InputError
from moxlib.smtpclient.errors import ConnectionLost
from moxlib.smtpclient.reply import Command

__all__ = ["DialFailed", "DialFailure", "Dialed", "dial", "why_unusable"]

MAX_REASON: Final = 100  # characters of what the operating system says that are kept, of each address
_FAMILIES: Final = {4: socket.AF_INET, 6: socket.AF_INET6}


@dataclass(frozen=True, slots=True, kw_only=True)
class DialFailure:
    """An address that did not answer, or was not tried, and why."""

    address: IPAddress
    reason: str

    def __str__(self) -> str:
        """Return both."""
        return f"{self.address}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialed:
    """A connection.

    Attributes:
        sock: connected, not blocking; it belongs to the caller: `SMTPConnection.connect` takes it over.
        address: of those given, the one that answered.
        failures: those before it.
    """

    sock: socket.socket
    address: IPAddress
    failures: tuple[DialFailure, ...] = ()


class DialFailed(ConnectionLost):
    """None of a host's addresses answered.

    Attributes:
        failures: what was wrong with each, in the order given.
    """

    def __init__(self, failures: Iterable[DialFailure]) -> None:
        self.failures: tuple[DialFailure, ...] = tuple(failures)
        super().__init__(command=Command.CONNECT, reason="; ".join(map(str, self.failures)))

    def _fields(self) -> dict[str, Any]:
        return {"failures": self.failures}


async def dial(
    addresses: Sequence[IPAddress],
    port: int,
    *,
    local_addresses: Sequence[IPAddress] = (),
    seconds: float = 30.0,
    clock: Clock | None = None,
) -> Dialed:
    """Connect to the first address that answers.

    They are tried one after another in the order given, and not at the same time: mail servers count connections, and
    one that is closed unused is held against who made it.

    Args:
        addresses: of one host; `gather_ips` returns them in the right order.
        port: 25 for delivery, by convention.
        local_addresses: those to connect from: the first of the right family. Addresses of a family that they lack are
            not tried. None: the system's choice, of any family.
        seconds: how long each may take to answer.
        clock: what the time is taken from.

    Raises:
        DialFailed: none answered.
        InputError: no addresses.
    """
    if not addresses:
        raise InputError("no addresses to connect to")
    clock = clock if clock is not None else SystemClock()
    locals_ = {address.version: str(address) for address in reversed(local_addresses)}
    failures: list[DialFailure] = []
    for address in addresses:
        if locals_ and address.version not in locals_:
            failures.append(DialFailure(address=address, reason=f"no local address of IPv{address.version}"))
            continue
        try:
            async with clock.timeout(seconds):
                sock = await _connected(address, port, locals_.get(address.version))
        except TimeoutError:  # before OSError, of which it is one
            failures.append(DialFailure(address=address, reason=f"no answer within {seconds:g} seconds"))
        except OSError as error:
            failures.append(DialFailure(address=address, reason=_reason(error)))
        else:
            return Dialed(sock=sock, address=address, failures=tuple(failures))
    raise DialFailed(failures)


def why_unusable(local_address: str) -> str:
    """Return why no connection can be made from a local address; empty if one can, or if it is a name.

    To be asked when a connection failed. What was raised then does not say it for certain: each event loop, and each
    proxy, has its own words for it, and the system the same number for other failures.
    """
    try:
        family = _FAMILIES[ip_address(local_address).version]
    except ValueError:
        return ""
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.bind((local_address, 0))
    except OSError as error:
        return _reason(error)
    return ""


def _reason(error: OSError) -> str:
    """Return what it is, in the system's words; the event loops put in their own."""
    return (os.strerror(error.errno) if error.errno else str(error))[:MAX_REASON]


async def _connected(address: IPAddress, port: int, local: str | None) -> socket.socket:
    sock = socket.socket(_FAMILIES[address.version], socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if local is not None:
            sock.bind((local, 0))
        await asyncio.get_running_loop().sock_connect(sock, (str(address), port))
    except BaseException:
        sock.close()
        raise
    return sock
