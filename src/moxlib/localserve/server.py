"""`LoopbackServer`: a real SMTP server (aiosmtpd) on 127.0.0.1 that keeps what it accepts."""

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from moxlib.errors import InputError, MissingExtra, StateError

if TYPE_CHECKING:
    from aiosmtpd.smtp import SMTP, Envelope, Session

__all__ = ["AcceptAll", "LoopbackServer", "Received", "Rules"]

MAX_LINE = 1024 * 1024  # bytes; RFC 5321 4.5.3.1.6 says 1,000, which the files people have at hand do not all keep to
MAX_MESSAGE = 128 * 1024 * 1024  # bytes, all of which are kept in memory: more than a queue takes by default


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One message that a server took responsibility for."""

    sender: str
    """MAIL FROM; empty for the null reverse-path."""
    recipients: tuple[str, ...]
    """The recipients accepted in this transaction."""
    content: bytes
    """As it was sent: CRLF line ends, dots unstuffed."""


class Rules(Protocol):
    """What a server answers where it could refuse; an empty text accepts."""

    def recipient(self, address: str) -> str:
        """Return the reply to RCPT TO, such as "550 5.1.1 no such user"."""
        ...

    def message(self, recipients: tuple[str, ...]) -> str:
        """Return the reply to the end of a message for the accepted recipients."""
        ...


class AcceptAll:
    """Rules that refuse nothing."""

    def recipient(self, address: str) -> str:  # noqa: ARG002 - as any rules
        """Accept."""
        return ""

    def message(self, recipients: tuple[str, ...]) -> str:  # noqa: ARG002
        """Accept."""
        return ""


class LoopbackServer:
    """An SMTP server on loopback, as an async context manager.

    It speaks 8BITMIME, SMTPUTF8 and SIZE, without TLS, and lives in the event loop it is entered in.

    Args:
        rules: what it refuses.
        hostname: how it introduces itself.
        port: where it listens; 0: the system chooses.
        handler: an aiosmtpd handler that takes what comes in instead, such as those of `moxlib.contrib.aiosmtpd`.
            Nothing is in `received` then, and there are no rules.

    Raises:
        MissingExtra: aiosmtpd is not installed.
    """

    def __init__(
        self, rules: Rules | None = None, *, hostname: str = "localhost", port: int = 0, handler: object | None = None
    ) -> None:
        try:
            from aiosmtpd.smtp import SMTP  # noqa: PLC0415 - an extra: missing, it is reported here and not on import
        except ModuleNotFoundError as error:
            raise MissingExtra("localserve", "an SMTP server on loopback") from error

        class Protocol_(SMTP):  # noqa: N801 - local, because its base class may be missing
            line_length_limit = MAX_LINE

        self._protocol: type[SMTP] = Protocol_
        if rules is not None and handler is not None:
            raise InputError("give either rules or a handler")
        self._keeping = _Keeping(rules or AcceptAll())
        self._handler = self._keeping if handler is None else handler
        self._hostname = hostname
        self._wanted_port = port
        self._server: asyncio.Server | None = None
        self._connections: list[SMTP] = []

    @property
    def port(self) -> int:
        """The port it listens on.

        Raises:
            StateError: it is not running.
        """
        if self._server is None:
            raise StateError("the server is not running: use it inside `async with`")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def received(self) -> tuple[Received, ...]:
        """What it has accepted, in order."""
        return tuple(self._keeping.received)

    async def __aenter__(self) -> Self:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._connection, "127.0.0.1", self._wanted_port)
        return self

    async def __aexit__(
        self, class_: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop listening and cut the connections that are left."""
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            if isinstance(connection.transport, asyncio.Transport):
                connection.transport.abort()
        await self._server.wait_closed()
        self._server = None
        self._connections.clear()

    def _connection(self) -> "SMTP":
        self._connections = [c for c in self._connections if c.transport is None or not c.transport.is_closing()]
        connection = self._protocol(
            self._handler,
            hostname=self._hostname,
            ident="moxlib localserve",
            data_size_limit=MAX_MESSAGE,
            enable_SMTPUTF8=True,
            loop=asyncio.get_running_loop(),
        )
        self._connections.append(connection)
        return connection


class _Keeping:
    """aiosmtpd's hooks; it finds them by their names."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self.received: list[Received] = []

    async def handle_RCPT(  # noqa: N802
        self,
        server: "SMTP",  # noqa: ARG002
        session: "Session",  # noqa: ARG002
        envelope: "Envelope",
        address: str,
        options: list[str],
    ) -> str:
        if refusal := self._rules.recipient(address):
            return refusal
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: "SMTP", session: "Session", envelope: "Envelope") -> str:  # noqa: ARG002, N802
        recipients = tuple(envelope.rcpt_tos)
        if refusal := self._rules.message(recipients):
            return refusal
        assert isinstance(envelope.content, bytes), "aiosmtpd decodes only when told to"
        self.received.append(Received(sender=envelope.mail_from or "", recipients=recipients, content=envelope.content))
        return "250 2.0.0 OK: message accepted for delivery"
