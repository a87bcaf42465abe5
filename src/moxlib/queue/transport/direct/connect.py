"""Opening a connection to one host: its addresses in turn, from one of our own, with what must protect it."""

import ssl
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from moxlib._clock import Clock
from moxlib.dane import verify
from moxlib.dns import IPAddress
from moxlib.queue.sources import Source
from moxlib.queue.transport.direct.policy import Try
from moxlib.queue.transport.troubled import Troubled
from moxlib.smtpclient import (
    Command,
    LocalAddressUnusable,
    Proxy,
    SMTPConnection,
    SMTPError,
    Timeouts,
    TLSMode,
)

__all__ = ["Endpoint", "Opener"]

UNUSABLE_SECONDS: Final = 60.0  # before a source is tried again: an operator mends it, and a try costs next to nothing
MAX_LABELS: Final = 100_000  # as many as hosts, times sources, times what policies ask for


@dataclass(frozen=True, slots=True)
class Endpoint:
    """All that makes one connection as good as another.

    Attributes:
        host: the host's name, or its address.
        addresses: in the order in which to try them, at least one.
        how: what must protect it.
        source: where it comes from.
    """

    host: str
    addresses: tuple[IPAddress, ...]
    how: Try
    source: Source


class Opener:
    """Opens connections.

    Args:
        port: where hosts listen.
        verified: for TLS with certificates that an authority vouches for.
        unverified: for TLS with whoever answers, or whose certificates TLSA records verify.
        proxy: makes the connections; None: they are made from here.
        timeouts: how long each SMTP command may take.
        clock: what the time is taken from.

    Attributes:
        unusable: sources from which no connection could be made of late, for a reason that is here.
    """

    def __init__(
        self,
        *,
        port: int,
        verified: ssl.SSLContext,
        unverified: ssl.SSLContext,
        proxy: Proxy | None,
        timeouts: Timeouts | None,
        clock: Clock,
    ) -> None:
        self._port = port
        self._verified = verified
        self._unverified = unverified
        self._proxy = proxy
        self._timeouts = timeouts
        self._clock = clock
        self.unusable: Troubled[Source] = Troubled(UNUSABLE_SECONDS, clock)
        self._labels: dict[Endpoint, int] = {}
        self._next_label = 0

    def label(self, endpoint: Endpoint) -> int:
        """Return the label of connections to an endpoint: a number, since they are compared again and again.

        In which order the DNS has the addresses of one family, and the TLSA records, makes no other endpoint.
        """
        endpoint = _in_one_order(endpoint)
        number = self._labels.get(endpoint)
        if number is None:
            if len(self._labels) >= MAX_LABELS:
                self._labels.clear()  # numbers are not used again, so connections of before are merely closed in time
            number = self._labels[endpoint] = self._next_label
            self._next_label += 1
        return number

    async def open(self, endpoint: Endpoint, reached: list[str]) -> SMTPConnection:
        """Open a connection to the first of the host's addresses that answers.

        Args:
            endpoint: where to, and how.
            reached: gets the address that a connection was made to, even if it came to nothing.

        Raises:
            LocalAddressUnusable: the source has no address that can be used. It is noted as unusable.
            SMTPError: none answered (the last one's error), or the one that did does not do as it must.
        """
        problem: SMTPError | None = None
        for address in endpoint.addresses:
            try:
                connection = await self._open(endpoint, address)
            except SMTPError as error:
                if error.command is Command.CONNECT:
                    if problem is None or not isinstance(error, LocalAddressUnusable):
                        problem = error  # what a host says, or that it says nothing, tells more than what is wrong here
                    continue
                reached.append(str(address))
                raise
            reached.append(str(address))
            return connection
        assert problem is not None, "an endpoint has addresses"
        if isinstance(problem, LocalAddressUnusable):
            self.unusable.note(endpoint.source)
        raise problem

    async def _open(self, endpoint: Endpoint, address: IPAddress) -> SMTPConnection:
        how, source = endpoint.how, endpoint.source
        name = how.names[0].ascii if how.names else endpoint.host
        return await SMTPConnection.connect(
            str(address),
            self._port,
            ehlo_name=source.ehlo_name,
            tls=how.mode,
            tls_context=None if how.mode is TLSMode.NONE else self._verified if how.pkix else self._unverified,
            server_hostname=name,
            check_certificates=partial(self._check, how) if how.dane else None,
            local_address=source.ipv4 if address.version == 4 else source.ipv6,  # noqa: PLR2004 - the family
            proxy=self._proxy,
            timeouts=self._timeouts,
            clock=self._clock,
        )

    def _check(self, how: Try, chain: tuple[bytes, ...]) -> str:
        verify(how.dane, chain, how.names, self._clock.now())
        return "dane"


def _in_one_order(endpoint: Endpoint) -> Endpoint:
    families = list(dict.fromkeys([address.version for address in endpoint.addresses]))  # their order says something
    addresses = sorted(endpoint.addresses, key=lambda address: (families.index(address.version), int(address)))
    records = sorted(endpoint.how.dane, key=lambda r: (r.usage, r.selector, r.matching_type, r.data))
    return replace(endpoint, addresses=tuple(addresses), how=replace(endpoint.how, dane=tuple(records)))
