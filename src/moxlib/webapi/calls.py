"""One call over HTTP, on aiohttp: what is posted, and what each answer means. Everything is bounded."""

import secrets
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from moxlib import __version__
from moxlib._clock import Clock
from moxlib._http import read_body
from moxlib.errors import InputError, LimitExceeded
from moxlib.queue.hooks.failure import describe
from moxlib.queue.hooks.retry_after import read_retry_after
from moxlib.webapi import errors
from moxlib.webapi.codec import Codec
from moxlib.webapi.content import ByteStream, Uploads
from moxlib.webapi.form import URLENCODED, opened_form, plain_form
from moxlib.webapi.types import Fault

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Calls", "basic_authorization", "checked_key", "checked_url"]

T = TypeVar("T")

MAX_ERROR: Final = 10 * 1024  # octets of an error, as mox's client takes
MAX_KEY: Final = 255  # characters of an idempotency key, as the queue takes
MIN_RATE: Final = 64 * 1024  # octets a second that what is sent has to get through with


class Calls:
    """Makes calls, each with a session that is passed in.

    Args:
        base_url: where the methods are, with a slash at the end.
        authorization: the header's value; "" for none.
        timeout: for a call, or the next piece of a stream; see `Client`.
        max_result: octets of a result.
        clock: counts the time.

    Raises:
        MissingExtra: msgspec is not installed (extra: webapi).
    """

    def __init__(self, base_url: str, *, authorization: str, timeout: timedelta, max_result: int, clock: Clock) -> None:
        self._codec = Codec(max_size=max_result)
        self._base_url = base_url
        self._headers = {"User-Agent": f"moxlib/{__version__} (webapi)", "Accept-Encoding": "identity"}
        if authorization:
            self._headers["Authorization"] = authorization
        self._seconds = timeout.total_seconds()
        self._max_result = max_result
        self._clock = clock

    async def result(
        self,
        session: "aiohttp.ClientSession",
        method: str,
        request: object,
        type_: type[T],
        *,
        uploads: Uploads,
        key: str | None,
    ) -> T:
        """Make a call that has a result.

        Raises:
            WebAPIError: the method answered with an error.
            CallError: there was no answer.
            InputError: the key cannot be, or a file cannot be read from its beginning.
            OSError: a file cannot be opened.
        """
        headers = {} if key is None else {"Idempotency-Key": checked_key(key)}
        async with self._asked(session, method, request, headers, uploads) as response:
            body = await self._body(method, response, self._max_result)
        try:
            return self._codec.decode_result(type_, body)
        except InputError as error:
            raise errors.InvalidAnswer(method=method, reason=str(error)) from None

    @asynccontextmanager
    async def stream(self, session: "aiohttp.ClientSession", method: str, request: object) -> AsyncIterator[ByteStream]:
        """Return a context of the octets that a call is answered with.

        Raises:
            WebAPIError: the method answered with an error.
            CallError: there was no answer; or, while it is read, not all of it.
        """
        async with self._asked(session, method, request, {}, Uploads()) as response:
            type_ = response.headers.get("Content-Type", "")
            yield ByteStream(self._chunks(method, response), content_type=type_, size=response.content_length)

    @asynccontextmanager
    async def _asked(
        self,
        session: "aiohttp.ClientSession",
        method: str,
        request: object,
        headers: dict[str, str],
        uploads: Uploads,
    ) -> "AsyncIterator[aiohttp.ClientResponse]":
        """Post a request, and return a context of the answer to it, whose status is 200."""
        json = self._codec.encode_request(request)
        data: Any = None if uploads else plain_form(json)
        with ExitStack() as files:  # open until the answer is closed: one may come before all is sent
            if data is None:
                form = files.enter_context(opened_form(json, uploads, boundary=secrets.token_hex(16)))
                headers = headers | {"Content-Type": form.content_type, "Content-Length": str(form.size)}
                response = await self._posted(session, method, headers, form.chunks(), form.size)
            else:
                headers = headers | {"Content-Type": URLENCODED}
                response = await self._posted(session, method, headers, data, len(data))
            try:
                if response.status != HTTPStatus.OK:
                    raise await self._refusal(method, response)
                yield response
            finally:
                response.close()  # one that was read to its end is done with its connection already

    async def _posted(
        self, session: "aiohttp.ClientSession", method: str, headers: dict[str, str], data: Any, size: int
    ) -> "aiohttp.ClientResponse":
        import aiohttp  # noqa: PLC0415 - of the extra `http`

        with _told(method, self._seconds + size / MIN_RATE) as seconds:
            async with self._clock.timeout(seconds):
                return await session.post(
                    self._base_url + method,
                    data=data,
                    headers=self._headers | headers,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                )

    async def _body(self, method: str, response: "aiohttp.ClientResponse", limit: int) -> bytes:
        try:
            with _told(method, self._seconds) as seconds:
                async with self._clock.timeout(seconds):
                    return await read_body(response, limit)
        except LimitExceeded:
            raise errors.InvalidAnswer(method=method, reason=f"is larger than {limit} octets") from None

    async def _chunks(self, method: str, response: "aiohttp.ClientResponse") -> AsyncIterator[bytes]:
        while True:
            with _told(method, self._seconds) as seconds:
                async with self._clock.timeout(seconds):
                    chunk = await response.content.readany()
            if not chunk:
                return
            yield chunk

    async def _refusal(self, method: str, response: "aiohttp.ClientResponse") -> Exception:
        """Return what an answer that is not 200 means."""
        match response.status:
            case HTTPStatus.NOT_FOUND:
                return errors.UnknownMethod(method=method)
            case HTTPStatus.TOO_MANY_REQUESTS:
                asked = response.headers.get("Retry-After", "")
                return errors.TooManyRequests(method=method, retry_after=read_retry_after(asked, self._clock.now()))
        body = await self._body(method, response, MAX_ERROR)
        text = body.decode("utf-8", "replace").strip()
        match response.status:
            case HTTPStatus.UNAUTHORIZED:
                return errors.Unauthorized(method=method, text=text)
            case HTTPStatus.BAD_REQUEST:
                try:
                    fault = self._codec.decode_result(Fault, body)
                except InputError:
                    pass
                else:
                    if fault.code:
                        return fault.error()
        return errors.UnexpectedStatus(method=method, status=response.status, text=text)


@contextmanager
def _told(method: str, seconds: float) -> Iterator[float]:
    """Make what goes wrong on the way a `CallError`."""
    import aiohttp  # noqa: PLC0415 - of the extra `http`

    try:
        yield seconds
    except TimeoutError:
        raise errors.CallTimeout(method=method, seconds=seconds) from None
    except (aiohttp.ClientError, OSError) as error:
        raise errors.CallFailed(describe(error), method=method) from error


def checked_url(url: str) -> str:
    """Return where methods are, with a slash at the end.

    Raises:
        InputError: it is no URL of http or https, or it has a login, a query or a fragment.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, usable = None, False
    if parts is None or not usable or not url.isascii() or not url.isprintable() or " " in url:
        raise InputError("the base URL has to be one of http or https, in ASCII")
    if "@" in parts.netloc:
        raise InputError("the base URL must not have a login in it: pass username and password")
    if "?" in url or "#" in url:
        raise InputError("the base URL must not have a query or a fragment")
    return url if url.endswith("/") else url + "/"


def basic_authorization(username: str, password: str) -> str:
    """Return the Authorization header for a login (RFC 7617); "" for none.

    Raises:
        InputError: the user name has a colon, or one of them control characters.
    """
    if not username and not password:
        return ""
    if ":" in username:
        raise InputError("a user name must not have a colon in it (RFC 7617 2)")
    if any(character < " " or character == "\x7f" for character in username + password):
        raise InputError("user name and password must not have control characters (RFC 7617 2)")
    return "Basic " + b64encode(f"{username}:{password}".encode()).decode()


def checked_key(key: str) -> str:
    """Return an idempotency key as it can stand in a header.

    Raises:
        InputError: it has not 1 to 255 characters, or any that is not printable ASCII, or a space at an end.
    """
    if not 0 < len(key) <= MAX_KEY or not key.isascii() or not key.isprintable() or key != key.strip():
        raise InputError(
            f"an idempotency key has to be 1 to {MAX_KEY} printable ASCII characters, with none at its ends"
        )
    return key
