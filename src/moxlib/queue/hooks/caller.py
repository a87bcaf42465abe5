"""Makes webhook calls over HTTP, on aiohttp: kept connections, so many at once for each URL, everything bounded.

An answer's status is what counts. Once it is there, the rest of the answer changes nothing: not that it is cut short,
nor that it never ends.
"""

import io
import socket
import ssl
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Final, Self

from moxlib._clock import Clock, SystemClock
from moxlib._http import adapt_resolver, need_aiohttp, verified_context
from moxlib.dns import Resolver
from moxlib.errors import StateError
from moxlib.queue.hooks.addresses import check_address
from moxlib.queue.hooks.config import HookConfig
from moxlib.queue.hooks.failure import describe, describe_status
from moxlib.queue.hooks.turns import Turns
from moxlib.queue.hooks.verdict import Retry, Success, Verdict, judge
from moxlib.webhook import USER_AGENT, Call, call_headers

if TYPE_CHECKING:
    import aiohttp
    from aiohttp import AddrInfoType

__all__ = ["MAX_TEXT", "CallResult", "HookCaller"]

MAX_TEXT: Final = 512  # octets of an answer that are kept, as mox does
MAX_READ: Final = 64 * 1024  # octets read for the connection to be kept; one that sends more is closed
READ_TIME: Final = 5.0  # seconds for the rest of an answer behind its status: likewise
KEEP_ALIVE: Final = 4.0  # seconds; common servers (uvicorn, Node) close what is idle after 5, and who sends then loses
READ_AHEAD: Final = 16 * 1024  # octets buffered per connection before its reading pauses (at twice as many)
LARGE: Final = 256 * 1024  # octets of a body that are written in pieces, for the event loop to breathe


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResult:
    """What became of one call."""

    started: datetime
    duration: timedelta
    """Without the time that the call waited for its turn."""
    status: int = 0
    """Of HTTP; 0 where there was no answer."""
    text: str = ""
    """The answer's first 512 octets, as UTF-8; what is not, and controls but line ends and tabs, as U+FFFD."""
    verdict: Verdict
    error: str = ""
    """What went wrong, in words; "" for a success. What of it is the peer's is escaped and bounded."""


@dataclass(slots=True)
class _Answer:
    """What is known of an answer so far."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    kept: bytearray = field(default_factory=bytearray)
    reused: bool = False
    """Whether it was asked for on a connection that had served another call."""


class HookCaller:
    """Makes calls, within `async with`; one object serves many endpoints, in one event loop at a time.

    Connections are kept for four seconds. Redirects are not followed; there are no cookies, and nothing is taken from
    the environment. Where an endpoint may not go to private addresses, each address is checked at the moment it is
    connected to, however the URL spells it and whatever the DNS said before; connections of endpoints that may are
    never used for those that may not.

    How many calls are made at once in all is the caller's to bound: each may hold a connection.

    Args:
        clock: counts the time that a call may take.
        resolver: looks up hosts; None: the system's resolver does, with its hosts file.
        ssl_context: for https; None: one that verifies by the system's authorities.
        user_agent: what it calls itself.

    Raises:
        MissingExtra: aiohttp is not installed (extra: http).
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        resolver: Resolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
        user_agent: str = USER_AGENT,
    ) -> None:
        need_aiohttp("webhooks")
        self._clock = clock or SystemClock()
        self._resolver = resolver
        self._context = ssl_context
        self._user_agent = user_agent
        self._turns = Turns()
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Get ready to call."""
        if self._sessions:
            raise StateError("this HookCaller is in use")
        context = self._context or verified_context()
        for allow_private in (False, True):  # apart, so that they do not share connections
            session = _open_session(self._resolver, context, guarded=not allow_private)
            self._sessions[allow_private] = await self._stack.enter_async_context(session)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close all connections, also those of calls under way."""
        self._sessions = {}
        await self._stack.aclose()

    async def call(self, config: HookConfig, call: Call) -> CallResult:
        """Make a call, when it is its turn, and say what became of it. Whatever the peer does, it returns.

        Raises:
            StateError: not within `async with`.
        """
        session = self._sessions.get(config.allow_private)
        if session is None:
            raise StateError("a HookCaller calls within `async with` only")
        async with self._turns.turn(config.url, config.max_at_once):
            return await self._attempt(session, config, call)

    async def _attempt(self, session: "aiohttp.ClientSession", config: HookConfig, call: Call) -> CallResult:
        import aiohttp  # noqa: PLC0415 - of the extra `http`

        started, began = self._clock.now(), self._clock.monotonic()
        seconds = config.timeout.total_seconds()
        answer, error = _Answer(), ""
        try:
            async with self._clock.timeout(seconds):
                headers = call_headers(
                    call,
                    now=started,
                    secrets=config.secrets,
                    authorization=config.authorization,
                    user_agent=self._user_agent,
                )
                await self._exchange(session, config.url, headers, call.body, answer)
        except aiohttp.ClientError as failure:
            error = describe(failure)
        except TimeoutError:
            error = f"no answer within {seconds:g} seconds"
        except (OSError, ValueError) as failure:
            error = describe(failure)
        duration = timedelta(seconds=self._clock.monotonic() - began)
        verdict: Verdict = Retry()
        if answer.status:
            verdict = judge(answer.status, answer.headers, now=started + duration)
            error = "" if isinstance(verdict, Success) else describe_status(answer.status, verdict)
        return CallResult(
            started=started,
            duration=duration,
            status=answer.status,
            text=_text(answer.kept),
            verdict=verdict,
            error=error,
        )

    async def _exchange(
        self, session: "aiohttp.ClientSession", url: str, headers: dict[str, str], body: bytes, answer: _Answer
    ) -> None:
        """Ask, and read; once more where a connection that was kept turns out to have been closed meanwhile.

        The peer may have closed it before the call came, or may have had the call; as each is known by its id, it may
        come twice. A connection that was made for the call and is closed without an answer is a failure.
        """
        import aiohttp  # noqa: PLC0415 - of the extra `http`

        try:
            await self._ask(session, url, headers, body, answer)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            if not answer.reused or answer.status:
                raise
            await self._ask(session, url, headers, body, answer)

    async def _ask(
        self, session: "aiohttp.ClientSession", url: str, headers: dict[str, str], body: bytes, answer: _Answer
    ) -> None:
        from yarl import URL  # noqa: PLC0415 - of aiohttp

        data = body if len(body) <= LARGE else io.BytesIO(body)
        async with session.post(
            URL(url, encoded=True), data=data, headers=headers, allow_redirects=False, trace_request_ctx=answer
        ) as response:
            answer.status, answer.headers = response.status, response.headers
            if not response.content.is_eof():  # most answers are there at once, whole
                try:
                    async with self._clock.timeout(READ_TIME):
                        await _read(response, answer)
                except TimeoutError:
                    response.close()
            else:
                await _read(response, answer)


async def _read(response: "aiohttp.ClientResponse", answer: _Answer) -> None:
    """Read to the end of an answer, for its connection to be kept; one that is too long is closed."""
    size = 0
    while chunk := await response.content.readany():
        answer.kept += chunk[: MAX_TEXT - len(answer.kept)]
        size += len(chunk)
        if size > MAX_READ:
            response.close()
            return


def _text(kept: bytearray) -> str:
    text = kept.decode("utf-8", "replace")
    if text.isprintable():
        return text
    return "".join([c if c.isprintable() or c in "\t\r\n" else "\ufffd" for c in text])


def _open_session(resolver: Resolver | None, context: ssl.SSLContext, *, guarded: bool) -> "aiohttp.ClientSession":
    """Return a session that keeps connections; it has no time-outs, and calls are bounded from outside."""
    import aiohttp  # noqa: PLC0415 - of the extra `http`

    async def reused(_session: object, answer: _Answer, _params: object) -> None:
        answer.reused = True

    trace = aiohttp.TraceConfig(
        trace_config_ctx_factory=lambda trace_request_ctx: trace_request_ctx,  # type: ignore[arg-type]
    )
    trace.on_connection_reuseconn.append(reused)  # type: ignore[arg-type]
    connector = aiohttp.TCPConnector(
        resolver=None if resolver is None else adapt_resolver(resolver),
        ssl=context,
        use_dns_cache=resolver is None,  # ours has its own, by TTL
        limit=0,  # a stalling endpoint must not use up what others need
        keepalive_timeout=KEEP_ALIVE,
        socket_factory=_guarded_socket if guarded else None,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("Accept", "Accept-Encoding"),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        auto_decompress=False,
        trust_env=False,
        read_bufsize=READ_AHEAD,
        trace_configs=[trace],
    )


def _guarded_socket(info: "AddrInfoType") -> socket.socket:
    """Return the socket that is then connected to that address and no other.

    Raises:
        AddressRefused: the address is not public.
    """
    family, type_, proto, _, address = info
    check_address(str(address[0]))
    return socket.socket(family, type_, proto)
