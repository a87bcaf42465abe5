"""Transports that hand mail to one SMTP server: a relay, or a submission service.

TLS with a verified certificate is required unless told otherwise by name; a message that itself requires TLS then fails
(554 5.7.30) rather than travel unprotected.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from moxlib._clock import Clock, SystemClock
from moxlib.errors import InputError
from moxlib.queue.congestion import MAX_WINDOW, Concurrency
from moxlib.queue.outcome import Deferred, Failed, Outcome
from moxlib.queue.shaping import Shaping
from moxlib.queue.transport.base import Delivery
from moxlib.queue.transport.gate import Passage, Suspended
from moxlib.queue.transport.outcomes import is_settled, no_session, with_known
from moxlib.queue.transport.site import Site
from moxlib.queue.transport.transactions import MAX_STALE, Transactions
from moxlib.queue.types import RequireTLS
from moxlib.sasl import Credentials
from moxlib.smtpclient import (
    LocalAddressUnusable,
    Proxy,
    Session,
    SMTPConnection,
    SMTPError,
    Timeouts,
    TLSMode,
    unverified_context,
    verified_context,
)

__all__ = ["LMTPTransport", "SMTPTransport", "Security", "SubmissionTransport", "SubmissionsTransport"]

MAX_PORT = 65535
INITIAL: Final = (
    20  # deliveries at once to a relay that nothing is known of: it is asked to take mail, not surprised by it
)


class Security(StrEnum):
    """How a transport protects its connections."""

    VERIFIED = "verified"
    """TLS, and a certificate for the server's name from a known authority: the default."""
    UNVERIFIED = "unverified"
    """TLS with whoever answers."""
    NONE = "none"
    """No TLS, not even where it is offered."""


class SMTPTransport:
    """Hands mail to one server over SMTP, port 25 by default, with STARTTLS.

    Connections are kept for the next delivery and shared by all destinations; recipients of one delivery share a
    transaction, as many as the server takes.

    Args:
        host: name or address of the server.
        port: its port.
        security: what protects the connections.
        tls_context: for TLS with other authorities, or a client certificate; its own settings then decide. One that
            does not verify is as `Security.UNVERIFIED` for a message that requires TLS.
        credentials: to log in with.
        ehlo_name: this host's name, as it introduces itself.
        local_address: the address to connect from.
        proxy: makes the connections, such as a `SOCKS5Proxy`.
        max_connections: at once, over all destinations of this transport in this process.
        pipeline: deliveries at once on one connection, when `max_connections` are open and the server has PIPELINING.
        max_idle: seconds that an unused connection is kept.
        max_age: seconds after which a connection is not used again.
        messages_per_connection: messages after which it is not; None: any number.
        messages_per_second: recipients handed over, in this process; None: no limit.
        connections_per_minute: connections opened, in this process; None: no limit.
        concurrency: deliveries at once, and how that follows what happens; while the server is down, nothing is dialled
            for a time. By default it begins with 20, or with what `max_connections` and `pipeline` allow if that is
            less.
        timeouts: how long each SMTP command may take.
        clock: what the time is taken from.

    Raises:
        InputError: a port, a limit or a combination that cannot be.
    """

    DEFAULT_PORT = 25
    IMMEDIATE_TLS = False
    LMTP = False

    def __init__(  # noqa: PLR0913 - options by keyword; each is a fact about this one server
        self,
        host: str,
        port: int | None = None,
        *,
        security: Security | str = Security.VERIFIED,
        tls_context: ssl.SSLContext | None = None,
        credentials: Credentials | None = None,
        ehlo_name: str = "localhost",
        local_address: str | None = None,
        proxy: Proxy | None = None,
        max_connections: int = 20,
        pipeline: int = 3,
        max_idle: float = 30.0,
        max_age: float = 300.0,
        messages_per_connection: int | None = None,
        messages_per_second: float | None = None,
        connections_per_minute: float | None = None,
        concurrency: Concurrency | None = None,
        timeouts: Timeouts | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.host = host
        self.port: int = self.DEFAULT_PORT if port is None else port
        if security not in list(Security):
            raise InputError(f"not a security: {security!r}; there are {', '.join(Security)}")
        self.security: Security = Security(security)
        if not host or not 0 < self.port <= MAX_PORT:
            raise InputError(f"not a server to connect to: {host!r} port {self.port}")
        if min(max_connections, pipeline, max_idle, max_age) <= 0:
            raise InputError("max_connections, pipeline, max_idle and max_age must be positive")
        if self.IMMEDIATE_TLS and self.security is Security.NONE:
            raise InputError("a submissions transport is TLS from the first byte: it cannot be without")
        if tls_context is not None and self.security is Security.NONE:
            raise InputError("a TLS context is of no use without TLS")
        Session(ehlo_name)  # raises, if that cannot be one
        self._credentials = credentials
        self._ehlo_name = ehlo_name
        self._local_address = local_address
        self._proxy = proxy
        self._timeouts = timeouts
        self._clock = clock or SystemClock()
        self._tls_context = tls_context
        places = min(max_connections * pipeline, MAX_WINDOW)
        shaping = Shaping(
            max_connections=max_connections,
            pipeline=pipeline,
            max_idle=timedelta(seconds=max_idle),
            max_age=timedelta(seconds=max_age),
            messages_per_connection=messages_per_connection,
            messages_per_second=messages_per_second,
            connections_per_minute=connections_per_minute,
            concurrency=concurrency or Concurrency(initial=min(INITIAL, places), maximum=places),
        )
        self._site = Site(shaping, self._clock)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep connections while the block runs."""
        if self._tls_context is None and self.security is not Security.NONE:
            verified = self.security is Security.VERIFIED
            self._tls_context = verified_context() if verified else unverified_context()
        async with self._site.pool.running():
            yield

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        """Deliver to the server, in one transaction or as many as it asks for.

        Cancelled when some recipients have the message, or nobody knows whether they do, it ends early and says so:
        nobody is to get it again unasked.
        """
        count = len(delivery.recipients)
        if delivery.require_tls is RequireTLS.YES and not self._verifies():
            text = f"the message requires TLS, and the transport to {self.host} does not verify it"
            return [Failed(code=554, enhanced="5.7.30", text=text, peer=self.host)] * count
        transactions = Transactions(delivery, range(count), chunking=self._site.chunking, final=self.LMTP)
        outcomes = transactions.outcomes
        try:
            if self._site.paces_messages:
                await self._site.pace_messages(count, insist=delivery.is_last)
            async with self._site.gate.passage(insist=delivery.is_last) as passage:
                rest = await self._pass(transactions, passage)
        except Suspended as suspended:
            again = timedelta(seconds=suspended.seconds)
            rest = Deferred(enhanced="4.4.1", text=str(suspended), peer=self.host, retry_after=again)
        except (Exception, asyncio.CancelledError) as error:
            if not is_settled(outcomes):
                raise
            return with_known(outcomes, count, error, peer=self.host)
        return [outcomes.get(index, rest) for index in range(count)]

    def _verifies(self) -> bool:
        context = self._tls_context
        if self.security is not Security.VERIFIED:
            return False
        return context is None or (context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname)

    async def _pass(self, transactions: Transactions, passage: Passage) -> Deferred:
        """Deliver, and tell the gate how it went; return the outcome of those who are left nevertheless."""
        try:
            rest = await self._all(transactions, passage)
        except SMTPError as error:
            if not isinstance(error, LocalAddressUnusable):
                passage.failed(str(error))
            return no_session(error, self.host)  # always temporary: a relay's fault is not the recipient's
        if transactions.closing:
            passage.failed(next((outcome.text for outcome in transactions.outcomes.values()), rest.text))
        elif transactions.outcomes:
            passage.succeeded()
        return rest

    async def _all(self, transactions: Transactions, passage: Passage) -> Deferred:
        """Deliver over as many connections as that takes; return the outcome of those who are left nevertheless."""
        fruitless = 0
        fresh = False
        while fruitless < MAX_STALE:
            known = len(transactions.outcomes)
            if not await self._try(transactions, passage, fresh=fresh):
                break
            fruitless = fruitless + 1 if len(transactions.outcomes) == known else 0
            fresh = True
        return Deferred(text="the connection ended before a transaction for this recipient could begin", peer=self.host)

    async def _try(self, transactions: Transactions, passage: Passage, *, fresh: bool) -> bool:
        """Deliver on one connection; return whether to go on with another one."""
        pool = self._site.pool
        pooled = None if fresh else pool.take(None)
        if pooled is None:
            pooled = await self._site.acquire(self._connect, transactions.delivery, passage, fresh=fresh)
        used = not pooled.fresh or pooled.load > 1
        try:
            return await transactions.run(pooled.connection, peer=self.host, used=used, trace=pooled.trace)
        finally:
            self._site.chunking = self._site.chunking and transactions.chunking
            # Whatever was raised: what leaves the connection out of step has ended it already, and what does not
            # (an address that cannot be sent, a delivery cancelled before it began) is no matter of its neighbours'.
            if not pool.give_back(pooled):
                await pool.end(pooled)

    async def _connect(self) -> SMTPConnection:
        await self._site.pace_connection()
        return await self._open()

    async def _open(self) -> SMTPConnection:
        mode = TLSMode.IMMEDIATE if self.IMMEDIATE_TLS else TLSMode.REQUIRED
        return await SMTPConnection.connect(
            self.host,
            self.port,
            ehlo_name=self._ehlo_name,
            tls=TLSMode.NONE if self.security is Security.NONE else mode,
            tls_context=self._tls_context,
            credentials=self._credentials,
            local_address=self._local_address,
            proxy=self._proxy,
            lmtp=self.LMTP,
            timeouts=self._timeouts,
            clock=self._clock,
        )


class SubmissionTransport(SMTPTransport):
    """Hands mail to a submission service with STARTTLS, port 587 by default (RFC 6409)."""

    DEFAULT_PORT = 587


class SubmissionsTransport(SMTPTransport):
    """Hands mail to a submission service with TLS from the first byte, port 465 by default (RFC 8314)."""

    DEFAULT_PORT = 465
    IMMEDIATE_TLS = True


class LMTPTransport(SMTPTransport):
    """Hands mail to a server that delivers it itself, over LMTP (RFC 2033): one answer for each recipient.

        LMTPTransport(path="/run/dovecot/lmtp")                  # a Unix-domain socket: nobody is in between
        LMTPTransport("mail.internal.example", 24, ...)          # TLS, verified, unless told otherwise

    Args:
        host: name or address of the server; not with `path`.
        port: its port; 24 by convention.
        path: the server's Unix-domain socket. `security` is then `Security.NONE`.
        options: as for `SMTPTransport`.

    Raises:
        InputError: both a host and a path, or neither; TLS over a path; otherwise as `SMTPTransport`.
    """

    DEFAULT_PORT = 24
    LMTP = True

    def __init__(
        self, host: str | None = None, port: int | None = None, *, path: str | None = None, **options: Any
    ) -> None:
        if (host is None) == (path is None):
            raise InputError("an LMTP transport needs either a host or the path of a Unix-domain socket")
        if path is not None:
            security = options.setdefault("security", Security.NONE)
            if security != Security.NONE or port is not None or options.get("proxy") is not None:
                raise InputError("a Unix-domain socket has no port, no proxy and no TLS")
        if port == SMTPTransport.DEFAULT_PORT:
            raise InputError("LMTP is not spoken on port 25 (RFC 2033 5)")
        super().__init__(host or path or "", port, **options)
        self._path = path

    async def _open(self) -> SMTPConnection:
        if self._path is None:
            return await super()._open()
        return await SMTPConnection.connect_unix(
            self._path, ehlo_name=self._ehlo_name, timeouts=self._timeouts, clock=self._clock
        )
