"""TLS over connections that are no plain sockets: in memory, through `ssl.MemoryBIO` and `ssl.SSLObject`."""

from __future__ import annotations

import asyncio
import io
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from moxlib.errors import InputError, UnexpectedEOF
from moxlib.moxio._io import read_into
from moxlib.moxio.isclosed import is_closed
from moxlib.moxio.prefixconn import ReceiveIO

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from typing_extensions import Buffer

    from moxlib.moxio.prefixconn import SocketLike
    from moxlib.moxio.streams import AsyncReader, AsyncWriter

__all__ = ["AsyncTLSConn", "TLSConn", "wrap_tls", "wrap_tls_async"]

T = TypeVar("T")

CUT = "the peer closed the connection without ending TLS (RFC 8446 6.1)"
RECEIVE_SIZE = 64 * 1024  # bytes a read or write: four TLS records (RFC 8446 5.1: at most 2**14 bytes each)


class _TLS:
    """Bytes of the connection in and out on one side, an `ssl.SSLObject` on the other. No I/O."""

    __slots__ = ("_cut", "_incoming", "_outgoing", "ssl_object")

    def __init__(self, context: ssl.SSLContext, *, server_side: bool, server_hostname: str | None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._cut = False
        self.ssl_object = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )

    def attempt(self, step: Callable[[], T]) -> tuple[T] | None:
        """Return the result of `step`, or None when that wants more from the peer first.

        Raises:
            UnexpectedEOF: there is no more from the peer.
            ssl.SSLError: TLS failed; `output` has the alert for the peer.
        """
        try:
            result = step()
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLEOFError as err:
            raise UnexpectedEOF(CUT) from err
        except ssl.SSLError as err:
            # What Python before 3.11.3 makes of it with OpenSSL 3, depending on the options of the context.
            cut = err.reason == "UNEXPECTED_EOF_WHILE_READING" or (
                isinstance(err, ssl.SSLZeroReturnError) and self._cut
            )
            if cut:
                raise UnexpectedEOF(CUT) from err
            raise
        # Python before 3.11.3 has OpenSSL 3 take any end for the end of TLS, as does whoever sets that option.
        if self._cut and result == b"":
            raise UnexpectedEOF(CUT)
        return (result,)

    def feed(self, data: bytes) -> None:
        """Take what the peer sent; `b""` is the end, and cuts TLS off, which had not ended and so asked for more."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()
            self._cut = True

    def output(self) -> bytes:
        """Return what is to be sent to the peer now."""
        return self._outgoing.read()

    def end(self) -> bytes:
        """Return what tells the peer that we send no more."""
        # The peer's own end is not waited for, and a TLS that failed or never began has none. In each case the peer is
        # told what can be told; whether what it sent was whole has been answered by the reads.
        with suppress(ssl.SSLError):
            self.ssl_object.unwrap()
        return self.output()


class TLSConn:
    """TLS over a socket, a `PrefixConn` or another `TLSConn`; `wrap_tls` makes it and does the handshake.

    For one thread at a time.

    Attributes:
        ssl_object: for the peer's certificate, the cipher, channel binding and so on; not for reading and writing.
    """

    def __init__(
        self,
        conn: SocketLike,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
    ) -> None:
        self._conn = conn
        self._tls = _TLS(context, server_side=server_side, server_hostname=server_hostname)
        self.ssl_object: ssl.SSLObject = self._tls.ssl_object

    def do_handshake(self) -> None:
        """Shake hands.

        Raises:
            ssl.SSLError: the peer's certificate or its TLS is not acceptable, or it sent an alert.
            UnexpectedEOF: the connection ended.
            OSError: as the socket's.
        """
        self._drive(self.ssl_object.do_handshake)

    def recv(self, size: int, /) -> bytes:
        """Return up to `size` bytes, waiting for at least one; `b""` when the peer has ended TLS.

        Raises:
            UnexpectedEOF: the connection ended and TLS had not: somebody may have cut it.
            OSError: as the socket's, and `ssl.SSLError`.
        """
        if size < 0:
            raise InputError("recv needs a size: all there is has no bound")
        return self._drive(lambda: self.ssl_object.read(size)) if size else b""

    def recv_into(self, buffer: Buffer, size: int = 0, /) -> int:
        """Receive up to `size` bytes (0: as many as fit) into `buffer`; return how many; 0 at the end.

        Raises:
            UnexpectedEOF: as `recv`.
            OSError: as `recv`.
        """
        view = memoryview(buffer).cast("B")
        return read_into(self.recv, view[:size] if size else view)

    def makefile(self) -> io.BufferedReader:
        """Return a buffered reader of what is received; closing it does not close the connection."""
        return io.BufferedReader(ReceiveIO(self.recv))

    def sendall(self, data: bytes, /) -> None:
        """Send all of `data`.

        Raises:
            OSError: as the socket's, and `ssl.SSLError`.
        """
        view = memoryview(data).cast("B")
        while view:
            part = view[:RECEIVE_SIZE]
            view = view[self._write(part) :]

    def settimeout(self, seconds: float | None, /) -> None:
        """Bound each read and write of the connection beneath; None for no bound."""
        self._conn.settimeout(seconds)

    def close(self) -> None:
        """End TLS, without waiting for the peer to do so, and close the connection beneath.

        Raises:
            OSError: as the socket's, unless it says that the connection is gone already.
        """
        try:
            self._tell(self._tls.end())
        finally:
            self._conn.close()

    def _write(self, part: memoryview) -> int:
        return self._drive(lambda: self.ssl_object.write(part))

    def _drive(self, step: Callable[[], T]) -> T:
        while True:
            try:
                result = self._tls.attempt(step)
            except ssl.SSLError:
                self._tell(self._tls.output())
                raise
            if output := self._tls.output():
                self._conn.sendall(output)
            if result is not None:
                return result[0]
            self._tls.feed(self._conn.recv(RECEIVE_SIZE))

    def _tell(self, last: bytes) -> None:
        """Send what the peer is to know of the end, if it is still there."""
        try:
            if last:
                self._conn.sendall(last)
        except OSError as err:
            if not is_closed(err):
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncTLSConn:
    """TLS over asyncio's pair of streams or an `AsyncPrefixConn`; `wrap_tls_async` makes it and does the handshake.

    It is reader and writer in one. One task may read while another writes.

    Attributes:
        ssl_object: for the peer's certificate, the cipher, channel binding and so on; not for reading and writing.
    """

    def __init__(
        self,
        reader: AsyncReader,
        writer: AsyncWriter,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._tls = _TLS(context, server_side=server_side, server_hostname=server_hostname)
        self._unsent = bytearray()  # not empty only while TLS wants to read before it can write
        self._receiving = asyncio.Lock()
        self._received = 0  # how many times
        self.ssl_object: ssl.SSLObject = self._tls.ssl_object

    async def do_handshake(self) -> None:
        """Shake hands.

        Raises:
            ssl.SSLError: the peer's certificate or its TLS is not acceptable, or it sent an alert.
            UnexpectedEOF: the connection ended.
            OSError: as the streams'.
        """
        await self._drive(self.ssl_object.do_handshake)

    async def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, waiting for at least one; `b""` when the peer has ended TLS.

        Raises:
            UnexpectedEOF: the connection ended and TLS had not: somebody may have cut it.
            OSError: as the streams', and `ssl.SSLError`.
        """
        if size < 0:
            raise InputError("read needs a size: all there is has no bound")
        return await self._drive(lambda: self.ssl_object.read(size)) if size else b""

    def write(self, data: bytes, /) -> None:
        """Encrypt `data` and queue it for sending.

        Raises:
            OSError: as the writer's, and `ssl.SSLError`.
        """
        self._unsent += data
        self._tls.attempt(self._encrypt)
        self._send()

    async def drain(self) -> None:
        """Return when enough of what is queued has been sent to queue more.

        Raises:
            OSError: as the streams', and `ssl.SSLError`.
        """
        await self._drive(self._encrypt)
        await self._writer.drain()

    def close(self) -> None:
        """End TLS, without waiting for the peer to do so, and close once what is queued has been sent."""
        last = self._tls.end()
        if last and not self._writer.is_closing():
            self._writer.write(last)
        self._writer.close()

    async def wait_closed(self) -> None:
        """Return when closed."""
        await self._writer.wait_closed()

    def is_closing(self) -> bool:
        """Return whether it is closed or about to be."""
        return self._writer.is_closing()

    def _encrypt(self) -> None:
        while self._unsent:
            del self._unsent[: self.ssl_object.write(self._unsent)]

    def _send(self) -> bool:
        output = self._tls.output()
        if output:
            self._writer.write(output)
        return bool(output)

    async def _drive(self, step: Callable[[], T]) -> T:
        while True:
            received = self._received
            try:
                result = self._tls.attempt(step)
            finally:
                sent = self._send()  # after an error that is the alert about it
            if sent:
                await self._writer.drain()
            if result is not None:
                return result[0]
            async with self._receiving:
                if received == self._received:  # else another task has received, and it may be enough
                    data = await self._reader.read(RECEIVE_SIZE)
                    self._received += 1
                    self._tls.feed(data)


def wrap_tls(
    conn: SocketLike, context: ssl.SSLContext, *, server_side: bool = False, server_hostname: str | None = None
) -> TLSConn:
    """Shake hands over `conn` and return the TLS connection; `conn` is closed if that fails.

    Args:
        conn: a connected, blocking socket, or a `PrefixConn` with what was read ahead.
        context: as for `ssl.SSLContext.wrap_socket`.
        server_side: whether the peer begins.
        server_hostname: the name to ask for and, if the context checks names, to check.

    Raises:
        ssl.SSLError: the peer's certificate or its TLS is not acceptable, or it sent an alert.
        UnexpectedEOF: the connection ended.
        OSError: as the socket's.
    """
    tls = TLSConn(conn, context, server_side=server_side, server_hostname=server_hostname)
    try:
        tls.do_handshake()
    except BaseException:
        conn.close()
        raise
    return tls


async def wrap_tls_async(
    reader: AsyncReader,
    writer: AsyncWriter,
    context: ssl.SSLContext,
    *,
    server_side: bool = False,
    server_hostname: str | None = None,
) -> AsyncTLSConn:
    """Do as `wrap_tls` over asyncio's pair of streams, or an `AsyncPrefixConn` given as both.

    Raises:
        ssl.SSLError: the peer's certificate or its TLS is not acceptable, or it sent an alert.
        UnexpectedEOF: the connection ended.
        OSError: as the streams'.
    """
    tls = AsyncTLSConn(reader, writer, context, server_side=server_side, server_hostname=server_hostname)
    try:
        await tls.do_handshake()
    except BaseException:
        writer.close()
        raise
    return tls
