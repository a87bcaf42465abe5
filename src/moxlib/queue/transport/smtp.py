"""Transports that hand mail to one SMTP server: a relay, or a submission service.

TLS with a verified certificate is required unless told otherwise by name; a message that itself requires TLS then fails
(554 5.7.30) rather than travel unprotected.
"""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import assert_never

from moxlib._clock import Clock, SystemClock
from moxlib.errors import InputError
from moxlib.queue.transport.base import Delivery
from moxlib.queue.transport.pool import ConnectionPool
from moxlib.queue.types import Deferred, Delivered, Failed, Outcome, RequireTLS
from moxlib.queue.types import Unknown as UnknownOutcome
from moxlib.sasl import Credentials
from moxlib.smtpclient import (
    Accepted,
    DeliveryResult,
    NotSent,
    RecipientResult,
    Refused,
    ReplyError,
    Session,
    SMTPConnection,
    SMTPError,
    Timeouts,
    TLSMode,
    Unknown,
    unverified_context,
    verified_context,
)

__all__ = ["SMTPTransport", "Security", "SubmissionTransport", "SubmissionsTransport"]

MAX_PORT = 65535
MAX_STALE = (
    3  # connections in a row that are gone before MAIL is answered; then the server, or the way to it, is at fault
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
        max_connections: at once, over all destinations of this transport in this process.
        pipeline: deliveries at once on one connection, when `max_connections` are open and the server has PIPELINING.
        max_idle: seconds that an unused connection is kept.
        max_age: seconds after which a connection is not used again.
        timeouts: how long each SMTP command may take.
        clock: what the time is taken from.

    Raises:
        InputError: a port, a limit or a combination that cannot be.
    """

    DEFAULT_PORT = 25
    IMMEDIATE_TLS = False

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
        max_connections: int = 20,
        pipeline: int = 3,
        max_idle: float = 30.0,
        max_age: float = 300.0,
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
        self._timeouts = timeouts
        self._clock = clock or SystemClock()
        self._tls_context = tls_context
        self._pool = ConnectionPool(
            self._connect,
            clock=self._clock,
            max_connections=max_connections,
            pipeline=pipeline,
            max_idle=max_idle,
            max_age=max_age,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep connections while the block runs."""
        if self._tls_context is None and self.security is not Security.NONE:
            verified = self.security is Security.VERIFIED
            self._tls_context = verified_context() if verified else unverified_context()
        async with self._pool.running():
            yield

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        """Deliver to the server, in one transaction or as many as it asks for."""
        count = len(delivery.recipients)
        if delivery.require_tls is RequireTLS.YES and not self._verifies():
            text = f"the message requires TLS, and the transport to {self.host} does not verify it"
            return [Failed(code=554, enhanced="5.7.30", text=text, peer=self.host)] * count
        outcomes: dict[int, Outcome] = {}
        try:
            rest = await self._all(delivery, outcomes)
        except SMTPError as error:
            rest = _no_session(error, self.host)
        except Exception as error:
            if not outcomes:
                raise
            # Some have had the message, and what is raised would be taken for the outcome of all.
            text = f"after a transaction for other recipients: {type(error).__name__}: {error}"
            rest = Deferred(text=text, peer=self.host)
        return [outcomes.get(index, rest) for index in range(count)]

    def _verifies(self) -> bool:
        context = self._tls_context
        if self.security is not Security.VERIFIED:
            return False
        return context is None or (context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname)

    async def _all(self, delivery: Delivery, outcomes: dict[int, Outcome]) -> Deferred:
        """Deliver over as many connections as that takes; return the outcome of those who are left nevertheless."""
        fruitless = 0
        fresh = False
        while fruitless < MAX_STALE:
            known = len(outcomes)
            if not await self._try(delivery, outcomes, fresh=fresh):
                break
            fruitless = fruitless + 1 if len(outcomes) == known else 0
            fresh = True
        return Deferred(text="the connection ended before a transaction for this recipient could begin", peer=self.host)

    async def _try(self, delivery: Delivery, outcomes: dict[int, Outcome], *, fresh: bool) -> bool:
        """Deliver on one connection; return whether to go on with another one."""
        permit = None if delivery.permit is None else delivery.connecting
        pooled = await self._pool.acquire(permit, fresh=fresh)
        used = not pooled.fresh or pooled.load > 1
        try:
            return await self._transactions(pooled.connection, delivery, outcomes, used=used)
        finally:
            # Whatever was raised: what leaves the connection out of step has ended it already, and what does not
            # (an address that cannot be sent, a delivery cancelled before it began) is no matter of its neighbours'.
            await self._pool.release(pooled)

    async def _connect(self) -> SMTPConnection:
        mode = TLSMode.IMMEDIATE if self.IMMEDIATE_TLS else TLSMode.REQUIRED
        return await SMTPConnection.connect(
            self.host,
            self.port,
            ehlo_name=self._ehlo_name,
            tls=TLSMode.NONE if self.security is Security.NONE else mode,
            tls_context=self._tls_context,
            credentials=self._credentials,
            local_address=self._local_address,
            timeouts=self._timeouts,
            clock=self._clock,
        )

    async def _transactions(
        self, connection: SMTPConnection, delivery: Delivery, outcomes: dict[int, Outcome], *, used: bool
    ) -> bool:
        """Run transactions on one connection, until each recipient has an outcome or it cannot carry more.

        Args:
            connection: what to deliver over.
            delivery: what to deliver.
            outcomes: by the recipient's index; those of others are added.
            used: the connection served others already.

        Returns:
            Whether to go on with another connection: the server takes no more transactions on this one, or had closed
            it before this one began, which is no attempt.
        """
        waiting = [index for index in range(len(delivery.recipients)) if index not in outcomes]
        while waiting:
            now = waiting[: connection.extensions.rcpt_max or len(waiting)]
            result = await self._transaction(connection, delivery, now)
            if used and not result.answered and not result.usable:
                return True
            used = True
            mail_max = connection.extensions.mail_max
            spent = mail_max is not None and connection.transactions >= mail_max
            again: list[int] = []
            for index, recipient in zip(now, result.recipients, strict=True):
                if isinstance(recipient, Refused) and recipient.further_transaction and (result.usable or spent):
                    again.append(index)
                else:
                    outcomes[index] = _outcome(recipient, self.host)
            waiting = again + waiting[len(now) :]
            if not result.usable:
                return spent and bool(waiting)
        return False

    async def _transaction(self, connection: SMTPConnection, delivery: Delivery, now: list[int]) -> DeliveryResult:
        recipients = delivery.recipients
        content = delivery.content
        data = content.data
        return await connection.deliver(
            delivery.sender,
            [recipients[index] for index in now],
            content.chunks() if data is None else data,
            size=content.size,
            needs_8bit=delivery.needs_8bit,
            needs_smtputf8=delivery.needs_smtputf8,
            require_tls=delivery.require_tls is RequireTLS.YES,
            lines_checked=True,  # at submit; and the content is what was submitted, by its SHA-256
        )


class SubmissionTransport(SMTPTransport):
    """Hands mail to a submission service with STARTTLS, port 587 by default (RFC 6409)."""

    DEFAULT_PORT = 587


class SubmissionsTransport(SMTPTransport):
    """Hands mail to a submission service with TLS from the first byte, port 465 by default (RFC 8314)."""

    DEFAULT_PORT = 465
    IMMEDIATE_TLS = True


def _outcome(result: RecipientResult, peer: str) -> Outcome:
    match result:
        case Accepted():
            return Delivered(code=result.code, enhanced=result.enhanced, text=_text(result), peer=peer)
        case Unknown():
            return UnknownOutcome(text=str(result.error), peer=peer)
        case Refused():
            text = f"{result.command.value}: {_text(result)}"
        case NotSent():
            text = str(result.error)
        case _:
            assert_never(result)
    class_ = Failed if result.permanent else Deferred
    return class_(code=result.code, enhanced=result.enhanced, text=text, peer=peer)


def _no_session(error: SMTPError, peer: str) -> Deferred:
    """Return the outcome of a session that never began. Always temporary: a relay's fault is not the recipient's."""
    if isinstance(error, ReplyError):
        reply = error.reply
        return Deferred(code=reply.code, enhanced=reply.enhanced, text=str(error), peer=peer)
    return Deferred(text=str(error), peer=peer)


def _text(result: Accepted | Refused) -> str:
    """Return what the reply says beside its codes, which the history keeps on their own."""
    texts = (text.removeprefix(result.enhanced).lstrip() for text in result.reply.texts)
    return " / ".join(text for text in texts if text)
