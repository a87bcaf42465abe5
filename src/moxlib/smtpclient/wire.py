"""The asyncio side of a session: its bytes, its deadlines, its flow control. Decides nothing."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Final, TypeVar, cast

from moxlib._clock import Clock
from moxlib.smtpclient.errors import CommandTimeout, InvalidContent, SMTPError
from moxlib.smtpclient.reply import Command
from moxlib.smtpclient.session import Exchange, Session
from moxlib.smtpclient.timeouts import Timeouts
from moxlib.smtpclient.transaction import Transaction

__all__ = ["Wire"]

RECEIVE_BUFFER: Final = 16 * 1024  # Replies are short. A buffer of one's own spares an allocation of 256 KiB per read.
BLOCK: Final = 64 * 1024  # What is written at once of content in chunks, and so about what a slow peer makes us hold.

T = TypeVar("T")


class Wire(asyncio.BufferedProtocol):
    """Carries one `Session` over one asyncio transport.

    A deadline runs while the peer owes an answer. It is set anew with each complete reply and with each block of
    content that the peer takes, so neither silence nor a trickle of bytes holds a connection for longer than one limit.
    """

    def __init__(self, session: Session, clock: Clock, timeouts: Timeouts) -> None:
        self.session = session
        self._clock = clock
        self._monotonic = clock.monotonic
        self._limits = timeouts.by_command()
        self._tick = min(self._limits.values())
        self._buffer = bytearray(RECEIVE_BUFFER)
        self._view = memoryview(self._buffer)
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._deadline: float | None = None
        self._deadline_for: Command | None = None
        self._watchdog: asyncio.Task[None] | None = None
        self._drained: asyncio.Future[None] | None = None  # waited for while writing is paused
        self._paused = False
        self._flush_due = False
        self._hold: Exchange[object] | None = None
        self.closed: asyncio.Future[None] = self._loop.create_future()

    @property
    def transport(self) -> asyncio.Transport:
        """The transport, once there is a connection."""
        assert self._transport is not None
        return self._transport

    @property
    def is_open(self) -> bool:
        """Whether the connection is up, as far as this side knows."""
        return self._transport is not None and not self._transport.is_closing()

    # What callers do

    async def finish(self, exchange: Exchange[T]) -> T:
        """Return the result of a submitted exchange.

        Raises:
            SMTPError: it failed.
        """
        self.flush()
        await self.wait(exchange)
        return exchange.result

    async def run(self, transaction: Transaction) -> None:
        """Submit a transaction, and return when it is done or wants its content."""
        self.session.submit(transaction)
        self.flush()
        transaction.prepare()
        await self.wait(transaction)

    async def start_tls(self, context: ssl.SSLContext, name: str, seconds: float) -> None:
        """Say STARTTLS, and do the handshake.

        Raises:
            SMTPError: the server refused, or sent more than its reply (`ResponseInjected`).
            OSError: the handshake failed; `ssl.SSLError` is one.
        """
        exchange = self.session.starttls()
        self._hold = exchange  # From its reply on, nothing is read but by the handshake.
        self.flush()
        await self.wait(exchange)
        exchange.result  # noqa: B018 - raises
        if self.session.failure is not None:
            raise self.session.failure
        try:
            self._transport = await self._handshake(context, name, seconds)
        except BaseException:
            self.abort("the handshake failed")
            if not self.closed.done():
                self.closed.set_result(None)  # asyncio does not tell of a connection that is lost in a handshake
            raise
        self.session.tls_started()

    async def _handshake(self, context: ssl.SSLContext, name: str, seconds: float) -> asyncio.Transport:
        async with self._clock.timeout(seconds):
            transport = await self._loop.start_tls(
                self.transport, self, context, server_hostname=name, ssl_handshake_timeout=seconds
            )
        if transport is None:
            raise ConnectionResetError("the connection was closed during the handshake")
        return transport

    async def wait(self, exchange: Exchange[object]) -> None:
        """Return when `exchange` is done, or wants something."""
        if exchange.done:
            return
        waiter: asyncio.Future[None] = self._loop.create_future()
        exchange.on_wake = waiter.set_result
        try:
            await waiter
        except asyncio.CancelledError:
            exchange.on_wake = None
            if not self.session.withdraw(exchange) and exchange.awaiting is not None:
                self.abort("cancelled here")
            raise

    async def send_content(self, transaction: Transaction, content: AsyncIterator[bytes]) -> None:
        """Send a transaction's content in blocks no faster than the peer takes them, and the final dot.

        Returns early when the transaction is over before. An exception of `content` aborts the connection, so that no
        part of a message is taken for the whole, and is passed on.
        """
        block = bytearray()
        try:
            async for chunk in content:
                if transaction.done:
                    return
                block += transaction.feed(chunk)
                if len(block) >= BLOCK:
                    await self._write_block(bytes(block))
                    block.clear()
            if transaction.done:
                return
            self.session.send(bytes(block))
            transaction.end()
        except InvalidContent as error:
            self.session.abandon(transaction, error)
            self._close_now()
        except BaseException:
            if not transaction.done:
                self.abort("the content could not be read to its end")
            raise
        else:
            self.flush()

    async def _write_block(self, data: bytes) -> None:
        self.transport.write(data)
        self._touch()
        if self._paused and self.is_open:
            self._drained = self._loop.create_future()
            await self._drained
            self._touch()
        else:
            await asyncio.sleep(0)  # A fast reader and a fast peer shall not keep the loop to themselves.

    def _flush_now(self) -> None:
        if self._flush_due:
            self.flush()

    def flush(self) -> None:
        """Send what the session has to send, and let its deadline run."""
        self._flush_due = False
        transport = self._transport
        if transport is not None and not transport.is_closing():
            data = self.session.data_to_send()
            if data:
                transport.write(data)
        elif not self.session.idle:
            self.session.lost(self.session.connection_lost("the connection is closed"))
        self._touch()

    def abort(self, reason: str) -> None:
        """End the session and the connection at once."""
        self.session.lost(self.session.connection_lost(reason))
        self._close_now()

    async def close(self, *, politely: bool) -> None:
        """Close the connection and return when it is closed; `politely` includes TLS's own farewell."""
        if self._transport is None:
            return
        if politely and self.session.failure is None:
            self.session.lost(self.session.connection_lost("closed here"))
            self.transport.close()
            try:
                async with self._clock.timeout(self._limits[Command.QUIT]):
                    await asyncio.shield(self.closed)
            except TimeoutError:
                self.transport.abort()
        else:
            self.abort("closed here")
        watchdog = self._watchdog
        if watchdog is not None:
            watchdog.cancel()
            await asyncio.wait([watchdog])
        await asyncio.wait([self.closed], timeout=self._limits[Command.QUIT])  # at once, when aborted

    # Deadlines

    def _touch(self) -> None:
        """Set the deadline for what is awaited now."""
        command = self._deadline_for = self.session.awaiting
        if command is None:
            self._deadline = None
            return
        self._deadline = self._monotonic() + self._limits[command]
        if self._watchdog is None:
            self._watchdog = self._loop.create_task(self._watch())

    async def _watch(self) -> None:
        """End the session when a deadline passes; end by itself when nothing is awaited.

        It sleeps for no longer than the shortest limit, so a deadline set meanwhile is never over before it wakes: each
        command then costs one reading of the clock, and not a timer of its own.
        """
        try:
            while self._deadline is not None:
                left = self._deadline - self._monotonic()
                if left <= 0 and self._deadline_for is not None:
                    seconds = self._limits[self._deadline_for]
                    self._end(CommandTimeout(command=self._deadline_for, seconds=seconds))
                    return
                await self._clock.sleep(min(left, self._tick))
        finally:
            self._watchdog = None

    def _end(self, error: SMTPError) -> None:
        self.session.lost(error)
        self._close_now()

    def _close_now(self) -> None:
        self._deadline = None
        if self._transport is not None:
            self._transport.abort()
        self._let_go()

    def _let_go(self) -> None:
        if self._drained is not None:
            if not self._drained.done():
                self._drained.set_result(None)
            self._drained = None

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Return where the next bytes shall be put."""
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """Give the session what came, and send what it answers."""
        session = self.session
        ended = session.ended
        if session.receive(bytes(self._view[:nbytes])):
            if session.ended == ended or session.idle or not session.has_output:
                self.flush()
            elif not self._flush_due:
                # Whose exchange has ended may begin another one when woken: then a message and its successor's MAIL,
                # RCPT and DATA leave in one write.
                self._flush_due = True
                self._loop.call_soon(self._flush_now)
        if session.failure is not None:
            self._close_now()
        elif self._hold is not None and self._hold.done:
            self._hold = None
            self.transport.pause_reading()

    def eof_received(self) -> None:
        """End the session; the transport then closes itself."""
        self.session.lost(self.session.connection_lost("the server closed the connection"))
        self._let_go()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the session, if the peer or the network ended the connection."""
        reason = "the server closed the connection" if exc is None else f"the connection broke: {exc}"
        self.session.lost(self.session.connection_lost(reason))
        self._deadline = None
        self._let_go()
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        """The peer does not take what is sent as fast as it comes."""
        self._paused = True

    def resume_writing(self) -> None:
        """It has taken enough of it."""
        self._paused = False
        self._let_go()
