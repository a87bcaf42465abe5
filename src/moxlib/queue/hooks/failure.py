"""What went wrong with a call, in words. What of it is the peer's, or the network's, is escaped and bounded."""

from http import HTTPStatus
from typing import Final

from moxlib.queue.hooks.verdict import Refused, Verdict

__all__ = ["describe", "describe_status"]

MAX_SHOWN: Final = 200  # characters


def describe_status(status: int, verdict: Verdict) -> str:
    """Return what is wrong with an answer that is no success."""
    try:
        text = f"HTTP status {status} {HTTPStatus(status).phrase}"  # the peer's own phrase may be anything
    except ValueError:
        text = f"HTTP status {status}"
    if isinstance(verdict, Refused):
        text += f"; redirects are not followed: {verdict.location or 'without Location'}"
    return text


def describe(error: Exception) -> str:
    """Return what kept a call from being answered."""
    import aiohttp  # noqa: PLC0415 - of the extra `http`

    match error:
        case aiohttp.ClientConnectorDNSError():
            return f"the host was not found: {_shown(error.__cause__ or error)}"
        case aiohttp.ClientSSLError():
            return f"TLS: {_shown(error.__cause__ or error)}"
        case aiohttp.ClientConnectorError():
            return f"not connected: {_shown(error.os_error)}"
        case aiohttp.ServerDisconnectedError():
            return "the connection was closed before there was an answer"
        case aiohttp.ClientResponseError():
            return f"the answer is no HTTP: {_shown(error.message)}"
        case _:
            return _shown(f"{type(error).__name__}: {error}")


def _shown(what: object) -> str:
    return str(what)[:MAX_SHOWN].encode("unicode_escape").decode("ascii")
