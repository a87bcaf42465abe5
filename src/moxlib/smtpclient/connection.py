"""An SMTP connection of a client: open it, deliver messages over it, close it."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Final, Self

from moxlib._clock import Clock, SystemClock
from moxlib.errors import InputError, MoxlibError
from moxlib.moxio import tls_info
from moxlib.sasl import Credentials
from moxlib.smtpclient.dialing import why_unusable
from moxlib.smtpclient.dsn import DSNParameters
from moxlib.smtpclient.errors import CommandTimeout, ConnectionLost, LocalAddressUnusable, SMTPError, TLSFailed
from moxlib.smtpclient.extensions import Extensions
from moxlib.smtpclient.login import Login
from moxlib.smtpclient.reply import Command
from moxlib.smtpclient.result import DeliveryResult
from moxlib.smtpclient.session import Session
from moxlib.smtpclient.socks import Proxy
from moxlib.smtpclient.timeouts import Timeouts
from moxlib.smtpclient.tls import (
    CheckCertificates,
    TLSInfo,
    TLSMode,
    channel_binding,
    is_verified,
    peer_chain,
    unverified_context,
    verified_context,
)
from moxlib.smtpclient.transaction import Transaction
from moxlib.smtpclient.wire import BLOCK, Wire

__all__ = ["SMTPConnection"]

SMTP_PORT: Final = 25
SENT_WHOLE: Final = 256 * 1024  # bytes of content that are sent in one write; more goes in blocks, as the peer takes it
MAX_REASON: Final = 300  # characters of what the operating system or OpenSSL says that are kept


class SMTPConnection:
    """One connection to one server, ready for messages; made by `connect`, never directly.

        async with await SMTPConnection.connect("mx.example", ehlo_name="client.example") as connection:
            result = await connection.deliver("a@client.example", ["b@example.org"], content)

    Deliveries may be asked for concurrently: they run one after another, and with PIPELINING each begins in the same
    write as the one before it ends. Leaving the block says QUIT and closes.
    """

    def __init__(
        self, wire: Wire, *, host: str, port: int, check_certificates: CheckCertificates | None = None
    ) -> None:
        self._wire = wire
        self._check_certificates = check_certificates
        self._session = wire.session
        self.host = host
        self.port = port
        self._tls: TLSInfo | None = None
        self._local_address = ""

    @classmethod
    async def connect(  # noqa: PLR0913 - options by keyword; each is a fact about this one server
        cls,
        host: str,
        port: int = 25,
        *,
        ehlo_name: str,
        tls: TLSMode = TLSMode.OPPORTUNISTIC,
        tls_context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
        check_certificates: CheckCertificates | None = None,
        credentials: Credentials | None = None,
        local_address: str | None = None,
        family: socket.AddressFamily = socket.AF_UNSPEC,
        proxy: Proxy | None = None,
        sock: socket.socket | None = None,
        lmtp: bool = False,
        timeouts: Timeouts | None = None,
        clock: Clock | None = None,
    ) -> Self:
        """Connect, greet, start TLS as `tls` says, and authenticate when there are `credentials`.

        Args:
            host: name or address to connect to.
            port: 25 for delivery, 587 for submission, 465 for submission with immediate TLS, by convention.
            ehlo_name: this side's name for EHLO: a domain, or an address literal in brackets.
            tls: whether TLS is used, and from when.
            tls_context: with what; by default one that verifies for IMMEDIATE and REQUIRED, and for OPPORTUNISTIC one
                that does not. Loading the system's authorities takes milliseconds: keep the context for many
                connections.
            server_hostname: the name the certificate must have, and sent as SNI; `host` by default.
            check_certificates: is given the certificates that the server sent, right after the handshake and before
                anything else is said; what it raises as a `MoxlibError` ends the connection as `TLSFailed`. The
                connection counts as verified if it returns. Nothing is checked where there is no TLS.
            credentials: to log in with, by the strongest mechanism both sides allow.
            local_address: the address to connect from.
            family: AF_INET or AF_INET6 to use only that.
            proxy: makes the connection on our behalf; `local_address` is then the one towards it.
            sock: one that is connected already, by `dial` for example, so that `host` is only a name. It is closed with
                the connection, or when an `SMTPError` is raised.
            lmtp: the server speaks LMTP (RFC 2033); by convention it listens on port 24.
            timeouts: how long each step may take.
            clock: what the time is taken from.

        Raises:
            ConnectionLost: no connection, or it ended early; `LocalAddressUnusable` if none can be made from
                `local_address`.
            CommandTimeout: a step took too long.
            TLSFailed: the handshake failed or the certificate was not accepted.
            ReplyError: the server refused to serve us, or the credentials.
            ProtocolError: it did not speak SMTP; `ResponseInjected` if data came before the handshake.
            AuthenticationFailed: there is no common mechanism, or the exchange failed.
            InputError: LMTP on port 25, which RFC 2033 5 forbids; or `sock` beside what says how to connect.
        """
        if sock is not None and (proxy is not None or local_address is not None or family != socket.AF_UNSPEC):
            raise InputError("a connected socket is connected already: no proxy, local_address or family")
        if lmtp and port == SMTP_PORT:
            raise InputError("LMTP is not spoken on port 25 (RFC 2033 5)")
        clock = clock if clock is not None else SystemClock()
        timeouts = timeouts if timeouts is not None else Timeouts()
        if tls is not TLSMode.NONE and tls_context is None:
            tls_context = unverified_context() if tls is TLSMode.OPPORTUNISTIC else verified_context()
        session = Session(ehlo_name, tls=tls is TLSMode.IMMEDIATE, lmtp=lmtp)
        wire = Wire(session, clock, timeouts)
        connection = cls(wire, host=host, port=port, check_certificates=check_certificates)
        at_once = tls_context if tls is TLSMode.IMMEDIATE else None
        name = server_hostname if server_hostname is not None else host
        greeting = session.greet()  # before there is a connection: the server speaks as soon as there is one
        try:
            await connection._open(at_once, name, local_address, family, proxy, sock, timeouts, clock)
            await wire.finish(greeting)
            if tls is TLSMode.REQUIRED or (tls is TLSMode.OPPORTUNISTIC and session.extensions.starttls):
                assert tls_context is not None
                await connection._start_tls(tls_context, name, timeouts)
            if credentials is not None:
                await connection._authenticate(credentials)
        except BaseException as error:
            if isinstance(error, SMTPError):
                error.local_address, error.server = connection.local_address, connection.server
            await connection.close()
            raise
        return connection

    @classmethod
    async def connect_unix(
        cls,
        path: str,
        *,
        ehlo_name: str,
        lmtp: bool = True,
        timeouts: Timeouts | None = None,
        clock: Clock | None = None,
    ) -> Self:
        """Connect to a Unix-domain socket and greet; without TLS, as nobody is in between.

        Args:
            path: the socket. It stands as `host` of the connection, with port 0.
            ehlo_name: this side's name for LHLO, or EHLO.
            lmtp: the server speaks LMTP (RFC 2033), as those on such sockets do; False: SMTP.
            timeouts: how long each step may take.
            clock: what the time is taken from.

        Raises:
            ConnectionLost: no connection, or it ended early.
            CommandTimeout: a step took too long.
            ReplyError: the server refused to serve us.
            ProtocolError: it did not speak the protocol.
        """
        clock = clock if clock is not None else SystemClock()
        timeouts = timeouts if timeouts is not None else Timeouts()
        session = Session(ehlo_name, lmtp=lmtp)
        wire = Wire(session, clock, timeouts)
        connection = cls(wire, host=path, port=0)
        greeting = session.greet()
        try:
            try:
                async with clock.timeout(timeouts.connect):
                    await asyncio.get_running_loop().create_unix_connection(lambda: wire, path)
            except TimeoutError as error:
                raise CommandTimeout(command=Command.CONNECT, seconds=timeouts.connect) from error
            except OSError as error:
                raise ConnectionLost(command=Command.CONNECT, reason=_reason(error)) from error
            await wire.finish(greeting)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _open(
        self,
        context: ssl.SSLContext | None,
        name: str,
        local_address: str | None,
        family: socket.AddressFamily,
        proxy: Proxy | None,
        sock: socket.socket | None,
        timeouts: Timeouts,
        clock: Clock,
    ) -> None:
        seconds = timeouts.connect + (timeouts.tls if context is not None else 0.0)
        server_hostname = name if context is not None else None
        loop = asyncio.get_running_loop()
        try:
            async with clock.timeout(seconds):
                if proxy is not None and sock is None:
                    sock = await proxy.open(self.host, self.port, local_address=local_address)
                if sock is not None:
                    try:
                        await loop.create_connection(
                            lambda: self._wire, sock=sock, ssl=context, server_hostname=server_hostname
                        )
                    except BaseException:
                        sock.close()
                        raise
                else:
                    await loop.create_connection(
                        lambda: self._wire,
                        self.host,
                        self.port,
                        ssl=context,
                        server_hostname=server_hostname,
                        family=family,
                        local_addr=(local_address, 0) if local_address is not None else None,
                    )
        except TimeoutError as error:
            raise CommandTimeout(command=Command.CONNECT, seconds=seconds) from error
        except ssl.SSLError as error:
            raise _tls_failed(error) from error
        except OSError as error:
            raise _not_made(error, local_address) from error
        if proxy is None:
            self._local_address = _local_address(self._wire.transport)
        if context is not None:
            self._note_tls(context)

    async def _start_tls(self, context: ssl.SSLContext, name: str, timeouts: Timeouts) -> None:
        try:
            await self._wire.start_tls(context, name, timeouts.tls)
        except SMTPError:
            raise
        except TimeoutError as error:
            raise CommandTimeout(command=Command.TLS, seconds=timeouts.tls) from error
        except OSError as error:
            raise _tls_failed(error) from error
        self._note_tls(context)
        await self._wire.finish(self._session.hello())

    async def _authenticate(self, credentials: Credentials) -> None:
        binding = channel_binding(self._ssl_object()) if self._tls is not None else None
        login = Login(
            self._session.extensions.auth,
            credentials,
            channel_binding=binding,
            verified_tls=self._tls is not None and self._tls.verified,
        )
        line: str | None = login.first_line
        while line is not None:
            reply = await self._wire.finish(self._session.auth_line(line, enhanced=login.verdict_due))
            # Not in the loop's thread: SCRAM's key takes up to some tenths of a second, as the server chooses.
            line = await asyncio.to_thread(login.next_line, reply)
        login.result()

    def _note_tls(self, context: ssl.SSLContext) -> None:
        connection = self._ssl_object()
        version, cipher = tls_info(connection)
        by = ["pkix"] if is_verified(context) else []
        if self._check_certificates is not None:
            try:
                by.append(self._check_certificates(peer_chain(connection)))
            except MoxlibError as error:
                raise TLSFailed(command=Command.TLS, reason=str(error)[:MAX_REASON], certificate=True) from error
        self._tls = TLSInfo(
            version=version,
            cipher=cipher,
            verified=bool(by),
            certificate=connection.getpeercert(binary_form=True),
            by="+".join(by),
        )

    def _ssl_object(self) -> ssl.SSLObject:
        connection: ssl.SSLObject = self._wire.transport.get_extra_info("ssl_object")
        return connection

    # Facts

    @property
    def extensions(self) -> Extensions:
        """What the server announced, after TLS if there is any."""
        return self._session.extensions

    @property
    def server(self) -> str:
        """The text of the server's greeting, escaped."""
        return self._session.server

    @property
    def local_address(self) -> str:
        """The address it comes from; empty where that is not known: through a proxy, or to a Unix-domain socket."""
        return self._local_address

    @property
    def tls_info(self) -> TLSInfo | None:
        """What protects the connection; None in clear."""
        return self._tls

    @property
    def usable(self) -> bool:
        """Whether another message can be expected to go over it.

        False once the protocol is out of step, the connection ended, the server sent 421, or its LIMITS MAILMAX is
        reached.
        """
        return self._session.usable and self._wire.is_open

    @property
    def transactions(self) -> int:
        """How many transactions were begun on it."""
        return self._session.transactions

    # Commands

    async def deliver(
        self,
        mail_from: str,
        recipients: Sequence[str],
        content: bytes | AsyncIterator[bytes],
        *,
        size: int | None = None,
        needs_8bit: bool = False,
        needs_smtputf8: bool = False,
        require_tls: bool = False,
        lines_checked: bool = False,
        dsn: DSNParameters | None = None,
        chunking: bool = True,
        when_cancelled: Callable[[DeliveryResult], object] | None = None,
    ) -> DeliveryResult:
        """Deliver one message to `recipients` in one transaction, and return what became of it for each of them.

        What goes wrong at the server or on the way is a result, not an exception. Cancelled while it is under way, the
        connection is aborted, since its protocol is out of step then.

        Args:
            mail_from: the reverse-path's address, without angle brackets; empty for a DSN.
            recipients: the forward-paths' addresses; at most `extensions.rcpt_max`, where there is one.
            content: the message with CRLF line ends, whole or in chunks. Chunks are sent as the server takes them, in
                memory that does not grow with the message. A generator is closed, whether it was needed or not.
            size: the message's length in bytes; needed with chunks, and not heeded without.
            needs_8bit: it has bytes over 127; without 8BITMIME that fails for good.
            needs_smtputf8: it is internationalized (RFC 6531); without SMTPUTF8 that fails for now. Implied by an
                address that is not ASCII.
            require_tls: send with REQUIRETLS (RFC 8689); without it that fails for now.
            lines_checked: the caller knows that the message has no bare CR or LF, so they need not be looked for again.
            dsn: what is asked of delivery status notifications (RFC 3461); where `extensions.dsn` is false, nothing is.
            chunking: a message that is there whole may go by BDAT (RFC 3030), where that saves a round trip.
            when_cancelled: called before a cancellation goes on, if the transaction had begun, with what is known of
                it: `Unknown` for those to whom the whole message was sent, and the reply if it came at the same time.

        Raises:
            InputError: an address that cannot stand in a command, no recipients, DSN parameters for other recipients,
                or chunks without `size`.
            Exception: what `content` raised; the connection is aborted then, and nothing was delivered.
        """
        if isinstance(content, bytes):
            size = len(content)
            whole = content if size <= SENT_WHOLE else None
        elif size is None:
            raise InputError("content in chunks needs its size")
        else:
            whole = None
        transaction = Transaction(
            self._session,
            mail_from=mail_from,
            recipients=recipients,
            content=whole,
            size=size,
            needs_8bit=needs_8bit,
            needs_smtputf8=needs_smtputf8,
            require_tls=require_tls,
            lines_checked=lines_checked,
            dsn=dsn,
            chunking=chunking,
        )
        try:
            if whole is not None:
                await self._wire.run(transaction)
            else:
                await self._run_in_chunks(transaction, _blocks(content) if isinstance(content, bytes) else content)
        except asyncio.CancelledError:
            if when_cancelled is not None and transaction.done:
                when_cancelled(transaction.result)
            raise
        return transaction.result

    async def _run_in_chunks(self, transaction: Transaction, chunks: AsyncIterator[bytes]) -> None:
        wire = self._wire
        try:
            await wire.run(transaction)
            if transaction.wants_content:
                await wire.send_content(transaction, chunks)
                await wire.wait(transaction)
        finally:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()

    async def reset(self) -> None:
        """Say RSET; the next delivery does so by itself where it is needed.

        Raises:
            SMTPError: the server refused, or the connection failed.
        """
        await self._wire.finish(self._session.reset())

    async def quit(self) -> None:
        """Say QUIT, wait a little for the answer, and close; nothing that goes wrong with it matters any more."""
        if self._session.failure is None and self._session.closing is None:
            with contextlib.suppress(SMTPError):  # every transaction has had its reply
                await self._wire.finish(self._session.quit())
        await self._wire.close(politely=True)

    async def close(self) -> None:
        """Close the connection at once, without QUIT; what is under way ends as lost."""
        await self._wire.close(politely=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc is None:
            await self.quit()
        else:
            await self.close()


async def _blocks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), BLOCK):
        yield content[start : start + BLOCK]


def _reason(error: Exception) -> str:
    return str(error)[:MAX_REASON] or type(error).__name__


def _local_address(transport: asyncio.Transport) -> str:
    name = transport.get_extra_info("sockname")
    return str(name[0]).partition("%")[0] if isinstance(name, tuple) else ""  # without the zone (RFC 4007 11)


def _not_made(error: OSError, local_address: str | None) -> ConnectionLost:
    if local_address is not None and (why := why_unusable(local_address)):
        return LocalAddressUnusable(command=Command.CONNECT, address=local_address, reason=why)
    return ConnectionLost(command=Command.CONNECT, reason=_reason(error))


def _tls_failed(error: OSError) -> TLSFailed:
    return TLSFailed(
        command=Command.TLS, reason=_reason(error), certificate=isinstance(error, ssl.SSLCertVerificationError)
    )
