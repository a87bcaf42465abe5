"""One question put to the name servers, over UDP and TCP, until one of them answers or time is up."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Final

import dns.asyncbackend
import dns.asyncquery
import dns.exception
import dns.flags
import dns.inet
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype

from moxlib._clock import Clock
from moxlib.dns.answers import Failed, refusal

__all__ = ["Exchange"]

# What fits every path without fragments, which are forged more easily than whole datagrams (dnsflagday.net/2020).
UDP_PAYLOAD: Final = 1232

# Questions under way at once, each of which has a socket; the next one waits. A process often has 1,024 descriptors.
MAX_UNDER_WAY: Final = 100


class Exchange:
    """Asks name servers, which are equals: the next one is asked when one is silent, cannot be reached, or refuses.

    It may be used in one event loop after another, but not in two at once.

    Args:
        servers: IP addresses, at least one.
        port: where all of them listen.
        dnssec: ask for what DNSSEC says (RFC 3225, RFC 6840 5.7).
        timeout: seconds to wait for one server.
        lifetime: seconds for all attempts together.
        clock: what the seconds are counted by.
    """

    def __init__(
        self, servers: Sequence[str], *, port: int, dnssec: bool, timeout: float, lifetime: float, clock: Clock
    ) -> None:
        self._servers = list(servers)
        self._port = port
        self._dnssec = dnssec
        self._timeout = timeout
        self._lifetime = lifetime
        self._clock = clock
        self._slots: tuple[asyncio.AbstractEventLoop, asyncio.Semaphore] | None = None

    async def ask(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> dns.message.Message | Failed:
        """Return the first answer, or what went wrong last.

        A server that found DNSSEC's signatures bogus ends it: the next one might not look at them.
        """
        async with self._slot():
            return await self._ask(name, kind)

    async def _ask(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> dns.message.Message | Failed:
        deadline = self._clock.monotonic() + self._lifetime
        left = list(self._servers)
        failed: Failed | None = None
        while left:
            for server in tuple(left):
                seconds = min(self._timeout, deadline - self._clock.monotonic())
                if seconds <= 0:
                    return failed or Failed(reason=f"no answer within {self._lifetime:g} seconds")
                try:
                    async with self._clock.timeout(seconds):
                        response = await self._ask_server(server, name, kind)
                except TimeoutError:
                    self._put_last(server)
                    continue
                except (OSError, EOFError, ValueError, dns.exception.DNSException) as error:
                    failed = Failed(reason=f"name server {server}: {_reason(error)}")
                    self._put_last(server)
                else:
                    failed = refusal(response)
                    if failed is None:
                        return response
                    if failed.bogus:
                        return failed
                left.remove(server)
        assert failed is not None
        return failed

    async def _ask_server(self, server: str, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> dns.message.Message:
        flags = dns.flags.RD | dns.flags.AD if self._dnssec else dns.flags.RD
        query = dns.message.make_query(
            name, kind, use_edns=0, want_dnssec=self._dnssec, payload=UDP_PAYLOAD, flags=flags
        )
        response = await self._exchange(server, query)
        if response.edns < 0 and response.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP):
            # RFC 6891 7: it may know nothing of EDNS.
            response = await self._exchange(server, dns.message.make_query(name, kind, flags=flags))
        return response

    async def _exchange(self, server: str, query: dns.message.Message) -> dns.message.Message:
        # What does not answer this very query is not looked at any further: anybody may have sent it.
        backend = dns.asyncbackend.get_backend("asyncio")
        family = dns.inet.af_for_address(server)
        # A connected socket takes datagrams of this server only, and hears of it when nobody listens there.
        peer = (server, self._port)
        made = backend.make_socket(family, socket.SOCK_DGRAM, 0, None, peer)  # type: ignore[no-untyped-call]
        async with await made as connected:
            try:
                return await dns.asyncquery.udp(
                    query,
                    server,
                    port=self._port,
                    sock=connected,
                    ignore_unexpected=True,
                    ignore_errors=True,
                    raise_on_truncation=True,
                )
            except dns.message.Truncated:
                pass
        response = await dns.asyncquery.tcp(query, server, port=self._port, backend=backend)
        if response.flags & dns.flags.TC:  # what is left out here is nowhere else
            raise dns.exception.FormError
        return response

    def _put_last(self, server: str) -> None:
        """Ask the others first from now on: waiting for a dead one would cost every question its time-out."""
        self._servers.remove(server)
        self._servers.append(server)

    def _slot(self) -> asyncio.Semaphore:
        loop = asyncio.get_running_loop()
        if self._slots is None or self._slots[0] is not loop:
            self._slots = loop, asyncio.Semaphore(MAX_UNDER_WAY)
        return self._slots[1]


def _reason(error: Exception) -> str:
    """Say what happened, without anything that the server wrote."""
    match error:
        case EOFError():
            return "closed the connection"
        case OSError():
            return error.strerror or type(error).__name__
        case _:
            return "malformed answer"
