"""`Client`: calls the methods of a server, mox or moxlib, over HTTP, on aiohttp."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

from moxlib._clock import Clock, SystemClock
from moxlib._http import need_aiohttp, verified_context
from moxlib.errors import InputError, StateError
from moxlib.webapi import types as t
from moxlib.webapi.calls import Calls, basic_authorization, checked_url
from moxlib.webapi.content import NO_UPLOADS, ByteStream, Uploads

if TYPE_CHECKING:
    import aiohttp

__all__ = ["MAX_RESULT", "TIMEOUT", "Client"]

T = TypeVar("T")

MAX_RESULT: Final = 16 * 1024 * 1024  # octets of a result: a message's texts are 2 MiB, a suppression some 200 octets
TIMEOUT: Final = timedelta(seconds=60)
KEEP_ALIVE: Final = 4.0  # seconds; common servers (uvicorn, Node) close what is idle after 5, and who calls then loses


class Client:
    """Calls the methods of a server, with one login. It has the methods of `Methods`.

        async with Client("https://mail.example/webapi/v0/", username="me@shop.example", password="...") as client:
            result = await client.send(SendRequest(to=(NameAddress(address="you@there.example"),), text="Hello"))

    Within `async with` it has a session of its own, which keeps connections and takes nothing from the environment.
    With a session of yours, it needs no `async with`. Redirects are not followed.

    Args:
        base_url: where the methods are, http or https; mox has them at `/webapi/v0/`.
        username: an email address of the account; "" for no login.
        password: its password.
        session: to call with; it is not closed.
        timeout: for a call, or the next piece of what is streamed. What is sent gets a second more for each 64 KiB.
        max_result: octets of a result; not of what is streamed.
        ssl_context: for https, where the session is its own; None: one that verifies by the system's authorities.
        clock: counts the time.

    Raises:
        InputError: the address or the login cannot be.
        MissingExtra: aiohttp or msgspec is not installed (extras: http, webapi).
    """

    def __init__(
        self,
        base_url: str,
        *,
        username: str = "",
        password: str = "",
        session: "aiohttp.ClientSession | None" = None,
        timeout: timedelta = TIMEOUT,
        max_result: int = MAX_RESULT,
        ssl_context: ssl.SSLContext | None = None,
        clock: Clock | None = None,
    ) -> None:
        need_aiohttp("the webapi's client")
        if timeout <= timedelta(0) or max_result < 1:
            raise InputError("Client: timeout and max_result have to be more than zero")
        self.base_url: Final = checked_url(base_url)
        """Where the methods are, with a slash at the end."""
        self._calls = Calls(
            self.base_url,
            authorization=basic_authorization(username, password),
            timeout=timeout,
            max_result=max_result,
            clock=clock or SystemClock(),
        )
        self._session = session
        self._context = ssl_context
        self._stack: AsyncExitStack | None = None

    async def __aenter__(self) -> Self:
        """Get ready to call."""
        if self._stack is not None:
            raise StateError("this Client is in use")
        self._stack = AsyncExitStack()
        if self._session is None:
            self._session = await self._stack.enter_async_context(_open_session(self._context or verified_context()))
            self._stack.callback(self._forget_session)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connections, if the session is the client's own; calls under way fail."""
        stack, self._stack = self._stack, None
        if stack is not None:
            await stack.aclose()

    def _forget_session(self) -> None:
        self._session = None

    def _open(self) -> "aiohttp.ClientSession":
        if self._session is None:
            raise StateError("a Client without a session of yours calls within `async with` only")
        return self._session

    async def _call(
        self, method: str, request: object, type_: type[T], *, uploads: Uploads = NO_UPLOADS, key: str | None = None
    ) -> T:
        return await self._calls.result(self._open(), method, request, type_, uploads=uploads, key=key)

    # the methods

    async def send(
        self, request: t.SendRequest, *, uploads: Uploads = NO_UPLOADS, idempotency_key: str | None = None
    ) -> t.SendResult:
        """Have a message composed and queued for each recipient. It is on the server's disk when this returns.

        Args:
            request: the message.
            uploads: files that go with it, behind those in the request; they are streamed.
            idempotency_key: of your choice, 1 to 255 printable ASCII characters. What is sent again under the same key
                is not queued again, but gets the first one's result; anything else is a conflict. Servers of mox take
                no notice of it.

        Raises:
            WebAPIError: the server refused; `code` has why.
            CallError: there was no answer; where that is for the connection or the time, it may have been sent.
            InputError: the key cannot be, or a file cannot be read from its beginning.
            OSError: a file cannot be opened.
        """
        return await self._call("Send", request, t.SendResult, uploads=uploads, key=idempotency_key)

    async def send_batch(self, request: t.SendBatchRequest, *, idempotency_key: str | None = None) -> t.SendBatchResult:
        """Have many messages composed and queued in one commit. One that cannot be sent does not keep others back.

        Raises:
            WebAPIError: the server refused all of it.
            CallError: there was no answer; `UnknownMethod` from a server of mox.
            InputError: the key cannot be.
        """
        return await self._call("SendBatch", request, t.SendBatchResult, key=idempotency_key)

    async def send_raw(self, request: t.SendRawRequest, *, idempotency_key: str | None = None) -> t.SendResult:
        """Have a finished message queued as it is. It is on the server's disk when this returns.

        Raises:
            WebAPIError: the server refused.
            CallError: there was no answer; `UnknownMethod` from a server of mox.
            InputError: the key cannot be.
        """
        return await self._call("SendRaw", request, t.SendResult, key=idempotency_key)

    async def suppression_list(self, request: t.SuppressionListRequest) -> t.SuppressionListResult:
        """Return the account's suppressions.

        Raises:
            WebAPIError: the server refused.
            CallError: there was no answer.
        """
        return await self._call("SuppressionList", request, t.SuppressionListResult)

    async def suppression_add(self, request: t.SuppressionAddRequest) -> t.SuppressionAddResult:
        """Have an address suppressed: messages to it fail at once.

        Raises:
            WebAPIError: the server refused: badAddress.
            CallError: there was no answer.
        """
        return await self._call("SuppressionAdd", request, t.SuppressionAddResult)

    async def suppression_remove(self, request: t.SuppressionRemoveRequest) -> t.SuppressionRemoveResult:
        """Have an address taken off the list.

        Raises:
            WebAPIError: the server refused: badAddress.
            CallError: there was no answer.
        """
        return await self._call("SuppressionRemove", request, t.SuppressionRemoveResult)

    async def suppression_present(self, request: t.SuppressionPresentRequest) -> t.SuppressionPresentResult:
        """Return whether an address is suppressed.

        Raises:
            WebAPIError: the server refused: badAddress.
            CallError: there was no answer.
        """
        return await self._call("SuppressionPresent", request, t.SuppressionPresentResult)

    async def message_get(self, request: t.MessageGetRequest) -> t.MessageGetResult:
        """Return a message of the mailbox, read.

        Raises:
            WebAPIError: the server refused: messageNotFound.
            CallError: there was no answer.
        """
        return await self._call("MessageGet", request, t.MessageGetResult)

    @asynccontextmanager
    async def message_raw_get(self, request: t.MessageRawGetRequest) -> AsyncIterator[ByteStream]:
        """Return a context of a message's octets as they came, header and body.

            async with client.message_raw_get(MessageRawGetRequest(msg_id=17)) as stream:
                message = await stream.read(50_000_000)

        Raises:
            WebAPIError: the server refused: messageNotFound.
            CallError: there was no answer, or not all of it.
        """
        async with self._calls.stream(self._open(), "MessageRawGet", request) as stream:
            yield stream

    @asynccontextmanager
    async def message_part_get(self, request: t.MessagePartGetRequest) -> AsyncIterator[ByteStream]:
        """Return a context of the octets of a part's decoded body, as `message_raw_get()` does.

        Raises:
            WebAPIError: the server refused: messageNotFound, partNotFound.
            CallError: there was no answer, or not all of it.
        """
        async with self._calls.stream(self._open(), "MessagePartGet", request) as stream:
            yield stream

    async def message_delete(self, request: t.MessageDeleteRequest) -> t.MessageDeleteResult:
        """Have a message removed for good.

        Raises:
            WebAPIError: the server refused: messageNotFound.
            CallError: there was no answer.
        """
        return await self._call("MessageDelete", request, t.MessageDeleteResult)

    async def message_flags_add(self, request: t.MessageFlagsAddRequest) -> t.MessageFlagsAddResult:
        """Have flags set on a message; those it has stay.

        Raises:
            WebAPIError: the server refused: messageNotFound.
            CallError: there was no answer.
        """
        return await self._call("MessageFlagsAdd", request, t.MessageFlagsAddResult)

    async def message_flags_remove(self, request: t.MessageFlagsRemoveRequest) -> t.MessageFlagsRemoveResult:
        """Have flags cleared on a message; the others stay.

        Raises:
            WebAPIError: the server refused: messageNotFound.
            CallError: there was no answer.
        """
        return await self._call("MessageFlagsRemove", request, t.MessageFlagsRemoveResult)

    async def message_move(self, request: t.MessageMoveRequest) -> t.MessageMoveResult:
        """Have a message put into another folder, which has to exist.

        Raises:
            WebAPIError: the server refused: messageNotFound.
            CallError: there was no answer.
        """
        return await self._call("MessageMove", request, t.MessageMoveResult)


def _open_session(context: ssl.SSLContext) -> "aiohttp.ClientSession":
    """Return a session that keeps connections; it has no time-outs, and calls are bounded from outside."""
    import aiohttp  # noqa: PLC0415 - of the extra `http`

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, keepalive_timeout=KEEP_ALIVE),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        auto_decompress=False,
        trust_env=False,
    )
