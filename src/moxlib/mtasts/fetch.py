"""Fetching policies over HTTPS (RFC 8461 3.3)."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Protocol

from moxlib import __version__
from moxlib._clock import Clock, SystemClock
from moxlib._http import NoAddress, need_aiohttp, open_session, read_body, verified_context
from moxlib.dns import DNSError, Domain, Resolver
from moxlib.errors import InputError, LimitExceeded
from moxlib.mtasts.errors import PolicyFetchError
from moxlib.mtasts.policy import MAX_POLICY
from moxlib.tlsrpt import ResultType, classify, dns_reason_code

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Fetcher", "HTTPSFetcher"]

HTTPS: Final = 443
TIMEOUT: Final = 60.0  # seconds for all of it: RFC 8461 3.3 suggests a minute
MAX_SHOWN: Final = 200  # characters of what went wrong that are not ours
PREFIX: Final = "mta-sts."
PATH: Final = "/.well-known/mta-sts.txt"

OK: Final = 200
NOT_FOUND: Final = 404


class Fetcher(Protocol):
    """Where policies come from."""

    async def fetch(self, domain: Domain) -> bytes:
        """Return the text of a domain's policy, not parsed, of at most `MAX_POLICY` bytes.

        Raises:
            PolicyFetchError: there is none, or it could not be had.
        """
        ...


class HTTPSFetcher:
    """Fetches from `https://mta-sts.<domain>/.well-known/mta-sts.txt`, on a connection of its own each time.

    The certificate is verified, redirects are not followed, and nothing but plain text of status 200, not compressed,
    is taken. That a response does not say what it is (no Content-Type) is taken too.

    Args:
        resolver: whom it asks for addresses.
        ssl_context: verifies certificates; None: one with the system's authorities.
        port: for tests; policies are on 443.
        user_agent: what it calls itself.
        clock: counts the minute that a fetch may take.

    Raises:
        MissingExtra: aiohttp is not installed (extra: http).
        InputError: the context does not verify certificate and name, which MTA-STS stands on.
    """

    def __init__(
        self,
        resolver: Resolver,
        *,
        ssl_context: ssl.SSLContext | None = None,
        port: int = HTTPS,
        user_agent: str = f"moxlib/{__version__}",
        clock: Clock | None = None,
    ) -> None:
        need_aiohttp("MTA-STS")
        context = ssl_context or verified_context()
        if context.verify_mode is not ssl.CERT_REQUIRED or not context.check_hostname:
            raise InputError("an SSLContext for MTA-STS has to verify certificate and name")
        self._resolver = resolver
        self._context = context
        self._port = "" if port == HTTPS else f":{port}"
        self._user_agent = user_agent
        self._clock = clock or SystemClock()

    async def fetch(self, domain: Domain) -> bytes:
        """Return the text of a domain's policy, not parsed, of at most `MAX_POLICY` bytes, within a minute.

        Raises:
            PolicyFetchError: there is none, or it could not be had.
        """
        url = f"https://{PREFIX}{domain.ascii}{self._port}{PATH}"
        with _errors_of(domain.ascii):
            async with (
                self._clock.timeout(TIMEOUT),
                open_session(self._resolver, self._context, self._user_agent) as session,
                session.get(url, allow_redirects=False) as response,
            ):
                _check(domain.ascii, response)
                return await read_body(response, MAX_POLICY)


def _check(domain: str, response: "aiohttp.ClientResponse") -> None:
    """Check what comes before the body.

    Raises:
        PolicyFetchError: a status other than 200 (a redirect too, RFC 8461 3.3), no plain text (3.2), or compressed.
    """
    status = response.status
    if status != OK:
        code = "no-policy-served" if status == NOT_FOUND else f"http-status-{status}"
        raise _fetch_error(domain, f"HTTP status {status}, where 200 is wanted", code, status=status)
    media_type = response.content_type
    if "Content-Type" in response.headers and media_type != "text/plain":
        raise _invalid(domain, f"it is no plain text but {_shown(media_type)}", "policy-media-type")
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding != "identity":  # we asked for that, and a few bytes may decompress to gigabytes
        raise _invalid(domain, f"it is compressed: {_shown(encoding)}", "policy-content-encoding")


@contextmanager
def _errors_of(domain: str) -> Iterator[None]:
    """Make a `PolicyFetchError` of whatever goes wrong on the way."""
    import aiohttp  # noqa: PLC0415 - of the extra `http`

    try:
        yield
    except PolicyFetchError:  # an OSError as well
        raise
    except TimeoutError as error:
        raise _fetch_error(domain, f"not there within {TIMEOUT:g} seconds", "timeout") from error
    except LimitExceeded as error:
        raise _invalid(domain, f"longer than {MAX_POLICY} bytes", "policy-too-large") from error
    except aiohttp.ClientSSLError as error:
        raise _tls_error(domain, error) from error
    except aiohttp.ClientConnectorDNSError as error:
        raise _dns_error(domain, error) from error
    except aiohttp.ClientConnectorError as error:
        raise _fetch_error(domain, _shown(str(error.os_error)), "connection-failed") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: a name that makes no URL
        raise _fetch_error(domain, _shown(f"{type(error).__name__}: {error}"), "http-error") from error


def _tls_error(domain: str, error: Exception) -> PolicyFetchError:
    """Return what a failed handshake is: an invalid certificate (RFC 8460 4.3.2.2), or a connection that failed."""
    result_type, reason_code = classify(error)
    reason = f"TLS: {_shown(str(error.__cause__ or error))}"
    if result_type is ResultType.VALIDATION_FAILURE:
        return _fetch_error(domain, reason, reason_code or "tls-handshake-failed")
    code = f"{result_type}+{reason_code}" if reason_code else str(result_type)
    return PolicyFetchError(domain=domain, reason=reason, result_type=ResultType.STS_WEBPKI_INVALID, reason_code=code)


def _dns_error(domain: str, error: Exception) -> PolicyFetchError:
    cause = error.__cause__
    if isinstance(cause, NoAddress):
        return _fetch_error(domain, "its host has no address", "no-policy-served")
    code = dns_reason_code(cause) if isinstance(cause, DNSError) else "dns-lookup"
    return _fetch_error(domain, _shown(str(cause or error)), code)


def _fetch_error(domain: str, reason: str, reason_code: str, *, status: int | None = None) -> PolicyFetchError:
    return PolicyFetchError(
        domain=domain,
        reason=reason,
        result_type=ResultType.STS_POLICY_FETCH_ERROR,
        reason_code=reason_code,
        status=status,
    )


def _invalid(domain: str, reason: str, reason_code: str) -> PolicyFetchError:
    return PolicyFetchError(
        domain=domain, reason=reason, result_type=ResultType.STS_POLICY_INVALID, reason_code=reason_code
    )


def _shown(text: str) -> str:
    return text[:MAX_SHOWN].encode("unicode_escape").decode("ascii")
