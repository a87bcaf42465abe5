"""`Client` and `ByteStream`: the webapi's client, behind a portal."""

import ssl
from collections.abc import Iterator
from datetime import timedelta
from types import TracebackType
from typing import Final, Self

from moxlib._clock import Clock
from moxlib.blocking.facade import Facade, blocking, holding
from moxlib.blocking.opened import Opened
from moxlib.blocking.portal import Portal
from moxlib.webapi.client import MAX_RESULT, TIMEOUT
from moxlib.webapi.client import Client as AsyncClient
from moxlib.webapi.content import ByteStream as AsyncByteStream

__all__ = ["ByteStream", "Client"]


class ByteStream(Facade[AsyncByteStream]):
    """A message or a part of one, chunk by chunk: iterate over it once, or `read()` it whole."""

    def __init__(self, portal: Portal, stream: AsyncByteStream) -> None:
        self._portal = portal
        self._stream = stream

    @property
    def content_type(self) -> str:
        """As the server says; "" where it does not."""
        return self._stream.content_type

    @property
    def size(self) -> int | None:
        """In octets; None where it is not known before the end."""
        return self._stream.size

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the chunks, none of them empty."""
        return self._portal.iterate(aiter(self._stream))

    read: Final = blocking(AsyncByteStream.read)

    def _reach(self) -> tuple[Portal, AsyncByteStream]:
        return self._portal, self._stream


class Client(Opened[AsyncClient]):
    """Calls the webapi's methods of a server, for code that is not async; as `moxlib.webapi.Client` in all else.

        with Client("https://mail.example/webapi/v0/", username="me@shop.example", password="...") as client:
            result = client.send(SendRequest(to=(NameAddress(address="you@there.example"),), text="Hello"))

    While it is open, an event loop runs in a thread of its own. Every method may be called from any thread, and blocks
    that one alone; `KeyboardInterrupt` cancels what a thread waits for. It is of the process that opened it: open one
    in each. If the interpreter exits while it is open, it is closed.

    Args:
        base_url: where the methods are, http or https; mox has them at `/webapi/v0/`.
        username: an email address of the account; "" for no login.
        password: its password.
        timeout: for a call, or the next piece of what is streamed. What is sent gets a second more for each 64 KiB.
        max_result: octets of a result; not of what is streamed.
        ssl_context: for https; None: one that verifies by the system's authorities.
        clock: counts the time.

    Raises:
        InputError: the address or the login cannot be.
        MissingExtra: aiohttp or msgspec is not installed (extras: http, webapi).
    """

    _what = "client"

    def __init__(
        self,
        base_url: str,
        *,
        username: str = "",
        password: str = "",
        timeout: timedelta = TIMEOUT,
        max_result: int = MAX_RESULT,
        ssl_context: ssl.SSLContext | None = None,
        clock: Clock | None = None,
    ) -> None:
        client = AsyncClient(
            base_url,
            username=username,
            password=password,
            timeout=timeout,
            max_result=max_result,
            ssl_context=ssl_context,
            clock=clock,
        )
        self._stand_before(client)

    @property
    def base_url(self) -> str:
        """Where the methods are, with a slash at the end."""
        return self._behind.base_url

    def start(self) -> Self:
        """Get ready to call without a `with` block, for a program whose framework has no place for one; return it.

        Raises:
            StateError: it is open already, or was opened before the process was forked.
        """
        self._open()
        return self

    def __enter__(self) -> Self:
        """Get ready to call, as `start()` does."""
        return self.start()

    def __exit__(
        self, class_: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it, as `close()` does."""
        self.close()

    def close(self) -> None:
        """Close the connections, from any thread. Idempotent; it may be opened again afterwards.

        Calls under way in other threads get some seconds to end. Later ones raise `StateError`.
        """
        self._close()

    send: Final = blocking(AsyncClient.send)
    send_batch: Final = blocking(AsyncClient.send_batch)
    send_raw: Final = blocking(AsyncClient.send_raw)
    suppression_list: Final = blocking(AsyncClient.suppression_list)
    suppression_add: Final = blocking(AsyncClient.suppression_add)
    suppression_remove: Final = blocking(AsyncClient.suppression_remove)
    suppression_present: Final = blocking(AsyncClient.suppression_present)
    message_get: Final = blocking(AsyncClient.message_get)
    message_raw_get: Final = holding(AsyncClient.message_raw_get, ByteStream)
    message_part_get: Final = holding(AsyncClient.message_part_get, ByteStream)
    message_delete: Final = blocking(AsyncClient.message_delete)
    message_flags_add: Final = blocking(AsyncClient.message_flags_add)
    message_flags_remove: Final = blocking(AsyncClient.message_flags_remove)
    message_move: Final = blocking(AsyncClient.message_move)
