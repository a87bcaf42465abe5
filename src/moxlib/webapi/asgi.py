"""`asgi_app`: the webapi over HTTP, as an ASGI application to be mounted under any path.

POST <base>v0/<Method>     a call
GET  <base>v0/<Method>     a page with an example call
GET  <base>v0/             a page with the methods
GET  <base>v0/openapi.json the same for programs
GET  <base>                redirects there
"""

import base64
import json
import logging
import math
from dataclasses import dataclass
from datetime import timedelta
from html import escape
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from moxlib.errors import MissingExtra
from moxlib.webapi.accounts import LoggedIn, LoginDisabled, LoginsBusy, WrongCredentials
from moxlib.webapi.content import ByteStream
from moxlib.webapi.errors import Code, WebAPIError
from moxlib.webapi.login_limit import TooManyFailures
from moxlib.webapi.methods import BY_NAME, Method
from moxlib.webapi.openapi import openapi_document
from moxlib.webapi.pages import PAGE_HEADERS, index_page, method_page, read_asset
from moxlib.webapi.request_body import BodyLimits, posted
from moxlib.webapi.service import Service
from moxlib.webapi.troubles import as_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["asgi_app", "peer_address"]

log: logging.Logger = logging.getLogger("moxlib.webapi")

VERSION: Final = "/v0/"
OPENAPI: Final = f"{VERSION}openapi.json"
MAX_CREDENTIALS: Final = 2048  # characters of an Authorization header: an address has 320, a password what people type
MAX_KEY: Final = 255
AROUND: Final = 1024 * 1024  # octets of a form beside the message in it: header fields, base64's line ends
BUSY_SECONDS: Final = 5

Headers = list[tuple[bytes, bytes]]


def peer_address(scope: "Scope") -> str:
    """Return the address of whoever has connected: of the client, unless a proxy is in front of the server.

    Servers such as uvicorn put the client's there, from the header of proxies that they are told to trust.
    """
    client = scope.get("client")
    return str(client[0]) if client else ""


def asgi_app(
    service: Service,
    *,
    limits: BodyLimits | None = None,
    remote_ip: "Callable[[Scope], str]" = peer_address,
) -> "ASGIApp":
    """Return an ASGI application that serves the webapi.

    Mount it in Starlette, FastAPI or Litestar, or run it by itself; the path that it is mounted at is the base. All but
    pages asks for HTTP basic authentication, so serve it over TLS.

    Args:
        service: what it serves.
        limits: what a call may post; by default a message of the size that the queue takes, in base64.
        remote_ip: finds a client's IP address, by which failed logins are counted, in a connection's scope. Behind a
            proxy, have the server tell the client's (uvicorn: `--proxy-headers`), or find it here. On a Unix socket
            there is none, and calls are answered 500 until one is found here.

    Raises:
        MissingExtra: Starlette or python-multipart is not installed (extra: webapi).
    """
    try:
        import python_multipart  # noqa: F401, PLC0415 - of the extra; by Starlette's forms, which find out late
        import starlette  # noqa: F401, PLC0415
    except ImportError as error:
        raise MissingExtra("webapi", "serving the webapi") from error
    body = service.queue.config.max_message_size * 4 // 3 + AROUND
    return _App(service, limits or BodyLimits(body=body), remote_ip)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is answered, whole."""

    status: int
    body: bytes
    type: str = "application/json; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    result: str = "ok"
    """For the observer."""


class _App:
    """The application."""

    def __init__(self, service: Service, limits: BodyLimits, remote_ip: "Callable[[Scope], str]") -> None:
        self._service = service
        self._limits = limits
        self._remote_ip = remote_ip
        document = openapi_document(server_url="../v0")  # beside it, without the slash that "." has at its end
        self._openapi = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        path = _path(scope)
        method = BY_NAME.get(path.removeprefix(VERSION)) if path.startswith(VERSION) else None
        if method is not None and scope["method"] == "POST":
            await self._call(method, scope, receive, send)
        else:
            await _send(send, self._page(scope, path, method))

    # pages

    def _page(self, scope: "Scope", path: str, method: Method | None) -> _Answer:
        asset = read_asset(path.removeprefix(VERSION)) if path.startswith(VERSION) else None
        if method is None and asset is None and path not in ("", "/", VERSION, OPENAPI):
            return _plain(404, "404 - there is nothing here")
        if scope["method"] != "GET":
            return _plain(405, "405 - use GET, and POST for calls", ("Allow", "GET" if method is None else "GET, POST"))
        if path in ("", "/"):
            # Relative, so that it does not matter what a proxy calls the path.
            where = VERSION[1:] if path == "/" else _methods_from_base(scope)
            html = f'<a href="{escape(where)}">See the methods</a>.\n'
            return _html(303, html, ("Location", where))
        if path == OPENAPI:
            return _Answer(200, self._openapi, "application/json", _SAFE)
        if asset is not None:
            return _Answer(200, asset.content, asset.content_type, tuple(PAGE_HEADERS.items()))
        return _html(200, index_page() if method is None else method_page(method))

    # calls

    async def _call(self, method: Method, scope: "Scope", receive: "Receive", send: "Send") -> None:
        service = self._service
        began = service.clock.monotonic()
        result = "gone"
        try:
            login = await self._login(scope)
            if isinstance(login, LoggedIn):
                result = await self._answer(method, login, scope, receive, send)
            else:
                result = login.result
                await _send(send, login)
        except ConnectionError:
            log.debug("%s: the client went before it was answered", method.name)
        finally:
            duration = timedelta(seconds=service.clock.monotonic() - began)
            service.tell(lambda observer: observer.called(method.name, result, duration))

    async def _login(self, scope: "Scope") -> LoggedIn | _Answer:
        """Return who calls, or what is answered to somebody who may not."""
        if _from_elsewhere(scope):
            return _plain(403, "403 - a page of another site may not call", result="crosssite")
        credentials = _credentials(scope)
        if credentials is None:
            return _unauthorized("use HTTP basic authentication with an email address for the user name")
        ip = self._remote_ip(scope)
        try:
            ip_address(ip)
        except ValueError:
            log.error("no IP address is known of a client: %a", ip[:100])  # noqa: TRY400 - no traceback is of use
            return _plain(500, "500 - the server does not know the client's IP address", result="server")
        try:
            login = await self._service.login(*credentials, remote_ip=ip)
        except Exception as error:  # noqa: BLE001 - of the host's own accounts; logged
            answer = as_answer(error, "logging in")
            return _plain(500, f"500 - {answer.message}", result="server")
        match login:
            case LoggedIn():
                return login
            case LoginDisabled(reason=reason):
                return _unauthorized(reason)
            case TooManyFailures(retry_after=wait):
                seconds = str(math.ceil(wait.total_seconds()))
                text = "429 - too many logins have failed"
                return _plain(429, text, ("Retry-After", seconds), result="ratelimited")
            case LoginsBusy():
                text = "503 - too many logins at once"
                return _plain(503, text, ("Retry-After", str(BUSY_SECONDS)), result="busy")
            case WrongCredentials():
                return _unauthorized("the email address or the password is wrong")

    async def _answer(self, method: Method, login: LoggedIn, scope: "Scope", receive: "Receive", send: "Send") -> str:
        """Do what a call asks for and answer it; return how it went."""
        service = self._service
        try:
            async with posted(scope, receive, self._limits, service.clock) as body:
                request: object = service.codec.decode_request(method.request, body.json)
                options: dict[str, Any] = {}
                if method.takes_key:
                    options["idempotency_key"] = _key(scope)
                if method.takes_uploads:
                    options["uploads"] = body.uploads
                doing = getattr(service.methods(login), method.attribute)(request, **options)
                if method.result is None:
                    async with doing as stream:
                        return await _stream(send, stream)
                answer = _Answer(200, service.codec.encode_result(await doing) + b"\n")
        except (WebAPIError, TimeoutError) as error:
            if isinstance(error, TimeoutError):
                error = WebAPIError(Code.PROTOCOL, "the request did not come in time")
            answer = _error(error)
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - logged, and the caller learns that it is the server's
            answer = _error(as_answer(error, method.name))
        await _send(send, answer)
        return answer.result


def _path(scope: "Scope") -> str:
    """Return the path below where the application is mounted, whether or not the server took that off.

    Litestar adds a slash at its end, which was not asked for.
    """
    root, path = str(scope.get("root_path", "")).rstrip("/"), str(scope["path"])
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    asked = _asked_path(scope)
    return path.removesuffix("/") if asked and not asked.lower().endswith(("/", "%2f")) else path


def _asked_path(scope: "Scope") -> str:
    """Return the path that was asked for, as it came; "" where the server does not say."""
    raw: bytes = scope.get("raw_path") or b""
    return raw.partition(b"?")[0].decode("latin-1")


def _methods_from_base(scope: "Scope") -> str:
    """Return where the methods are, from the base without a slash at its end.

    Where that is mounted may be anybody's text: with "//" it would be another host (RFC 3986 4.2), and with a colon a
    scheme.
    """
    root = str(scope.get("root_path", "")).strip("/")
    last = _asked_path(scope).rpartition("/")[2]
    if last and not root:
        return f"./{quote(last, safe='%', errors='replace')}{VERSION}"
    return quote(f"/{root}{VERSION}" if root else VERSION, errors="replace")


def _header(scope: "Scope", name: bytes) -> str | None:
    """Return a header's value; None if there is none, or several."""
    values = _values(scope, name)
    return values[0] if len(values) == 1 else None


def _values(scope: "Scope", name: bytes) -> list[str]:
    return [value.decode("latin-1") for each, value in scope["headers"] if each == name]


def _from_elsewhere(scope: "Scope") -> bool:
    """Say whether a browser sends this for a page of another site, with the password that it remembers for ours."""
    sites, origins = _values(scope, b"sec-fetch-site"), _values(scope, b"origin")
    if sites:
        return not {"same-origin", "none"}.issuperset(sites)
    host = (_header(scope, b"host") or "").lower()
    return any(not host or origin.lower() not in (f"http://{host}", f"https://{host}") for origin in origins)


def _credentials(scope: "Scope") -> tuple[str, str] | None:
    """Return the user name and password of HTTP basic authentication (RFC 7617), in UTF-8; None if there are none."""
    scheme, _, encoded = (_header(scope, b"authorization") or "").partition(" ")
    if scheme.lower() != "basic" or len(encoded) > MAX_CREDENTIALS:
        return None
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:  # not in base64, not in ASCII before, or not in UTF-8 behind it
        return None
    return (name, password) if colon else None


def _key(scope: "Scope") -> str | None:
    """Return a call's idempotency key.

    Raises:
        WebAPIError: it cannot be one.
    """
    values = _values(scope, b"idempotency-key")
    if not values:
        return None
    key = values[0]
    if len(values) > 1 or not 0 < len(key) <= MAX_KEY or not (key.isascii() and key.isprintable()):
        raise WebAPIError(Code.USER, f"Idempotency-Key is one header of 1 to {MAX_KEY} printable ASCII characters")
    return key


# answers

_SAFE: Final = (("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"))


def _plain(status: int, text: str, *headers: tuple[str, str], result: str = "") -> _Answer:
    return _Answer(status, f"{text}\n".encode(), "text/plain; charset=utf-8", (*_SAFE, *headers), result)


def _unauthorized(text: str) -> _Answer:
    challenge = ("WWW-Authenticate", 'Basic realm="webapi", charset="UTF-8"')
    return _plain(401, f"401 - {text}", challenge, result="badauth")


def _html(status: int, html: str, *headers: tuple[str, str]) -> _Answer:
    all_ = (*PAGE_HEADERS.items(), ("X-Robots-Tag", "noindex, nofollow"), *headers)
    return _Answer(status, html.encode(), "text/html; charset=utf-8", all_)


def _error(error: WebAPIError) -> _Answer:
    body = json.dumps({"Code": str(error.code), "Message": error.message}, ensure_ascii=True)
    return _Answer(400, f"{body}\n".encode(), result=str(error.code))


async def _send(send: "Send", answer: _Answer) -> None:
    headers: Headers = [
        (b"content-type", answer.type.encode()),
        (b"content-length", str(len(answer.body)).encode()),
        *((name.lower().encode(), value.encode("latin-1")) for name, value in answer.headers),
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


async def _stream(send: "Send", stream: ByteStream) -> str:
    headers: Headers = [(b"content-type", _shown_type(stream.content_type)), *_DOWNLOADED]
    if stream.size is not None:
        headers.append((b"content-length", str(stream.size).encode()))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    try:
        async for chunk in stream:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    except Exception as error:
        # The answer has begun: that it is cut off is all that can be said of it.
        log.exception("a message could not be read to its end")
        raise ConnectionAbortedError("the rest of the answer could not be read") from error
    await send({"type": "http.response.body", "body": b""})
    return "ok"


# What others have written must not run as a page of ours.
_DOWNLOADED: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"sandbox; default-src 'none'"),
    (b"content-disposition", b"attachment"),
)


def _shown_type(type_: str) -> bytes:
    """Return a content type that somebody wrote, if it can stand in a header."""
    plain = type_.isascii() and type_.isprintable() and len(type_) <= MAX_KEY
    return type_.encode() if plain and type_ else b"application/octet-stream"


async def _lifespan(receive: "Receive", send: "Send") -> None:
    """Say that there is nothing to start: the queue is the program's."""
    while True:
        event = await receive()
        await send({"type": f"{event['type']}.complete"})
        if event["type"] == "lifespan.shutdown":
            return
