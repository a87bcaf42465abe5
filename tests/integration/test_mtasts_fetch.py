"""Policies fetched from a real HTTPS server, and everything that such a server may do wrong."""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
import trustme
from aiohttp import web

from moxlib._http import verified_context
from moxlib.dns import parse_domain
from moxlib.errors import InputError
from moxlib.mtasts import MAX_POLICY, HTTPSFetcher, PolicyFetchError
from moxlib.testing import FakeClock, MockResolver
from moxlib.tlsrpt import ResultType

DOMAIN = parse_domain("example.com")
HOST = "mta-sts.example.com"
PATH = "/.well-known/mta-sts.txt"
POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmax_age: 86400\r\n"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = verified_context()
    authority.configure_trust(context)
    return context


def server_context(authority: trustme.CA, name: str = HOST) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def resolver() -> MockResolver:
    return MockResolver(a={HOST: ["127.0.0.1"]})


@asynccontextmanager
async def serving(handler: Handler, context: ssl.SSLContext) -> AsyncIterator[int]:
    """Serve everything by `handler`, on a random port of loopback."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def saying(said: bytes, context: ssl.SSLContext | None) -> AsyncIterator[int]:
    """Answer whatever comes with these bytes, and close."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if context is not None:
            await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


def text(body: bytes = POLICY, **more: str) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers={"Content-Type": "text/plain", **more})

    return answer


async def refusal(fetcher: HTTPSFetcher) -> tuple[ResultType, str]:
    with pytest.raises(PolicyFetchError) as caught:
        await fetcher.fetch(DOMAIN)
    assert caught.value.domain == "example.com"
    assert len(str(caught.value)) < 1500
    assert str(caught.value).isprintable()
    return caught.value.result_type, caught.value.reason_code


async def test_a_policy_is_fetched(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    requests: list[web.Request] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        requests.append(request)
        return web.Response(body=POLICY, headers={"Content-Type": "text/plain; charset=us-ascii"})

    asked = resolver()
    async with serving(answer, server_context(authority)) as port:
        fetcher = HTTPSFetcher(asked, ssl_context=trusting, port=port, user_agent="tester/1")
        assert await fetcher.fetch(DOMAIN) == POLICY
        assert await fetcher.fetch(DOMAIN) == POLICY
    assert asked.lookups == [f"ip {HOST}"] * 2
    for request in requests:
        assert (request.method, request.path, request.host) == ("GET", PATH, f"{HOST}:{port}")
        assert request.headers["User-Agent"] == "tester/1"
        assert request.headers["Accept-Encoding"] == "identity"
        assert "Cookie" not in request.headers


async def test_nothing_is_taken_from_the_environment(
    authority: trustme.CA, trusting: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with serving(text(), server_context(authority)) as port:
        assert await HTTPSFetcher(resolver(), ssl_context=trusting, port=port).fetch(DOMAIN) == POLICY


async def test_cookies_are_not_kept(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    cookies: list[str | None] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        cookies.append(request.headers.get("Cookie"))
        return web.Response(body=POLICY, headers={"Content-Type": "text/plain", "Set-Cookie": "seen=1; Path=/"})

    async with serving(answer, server_context(authority)) as port:
        fetcher = HTTPSFetcher(resolver(), ssl_context=trusting, port=port)
        await fetcher.fetch(DOMAIN)
        await fetcher.fetch(DOMAIN)
    assert cookies == [None, None]


async def test_international_domains_are_asked_for_in_ascii(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    host = "mta-sts.xn--mnchen-3ya.example"
    async with serving(text(), server_context(authority, host)) as port:
        fetcher = HTTPSFetcher(MockResolver(a={host: ["127.0.0.1"]}), ssl_context=trusting, port=port)
        assert await fetcher.fetch(parse_domain("münchen.example")) == POLICY


async def test_a_response_without_a_type_is_taken(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(POLICY), POLICY)
    async with saying(said, server_context(authority)) as port:
        assert await HTTPSFetcher(resolver(), ssl_context=trusting, port=port).fetch(DOMAIN) == POLICY


async def test_the_largest_policy_is_taken(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    largest = POLICY + b"x" * (MAX_POLICY - len(POLICY))
    async with serving(text(largest), server_context(authority)) as port:
        assert await HTTPSFetcher(resolver(), ssl_context=trusting, port=port).fetch(DOMAIN) == largest


@pytest.mark.parametrize(
    ("status", "reason_code"),
    [(404, "no-policy-served"), (500, "http-status-500"), (204, "http-status-204"), (401, "http-status-401")],
)
async def test_other_statuses_are_errors(
    authority: trustme.CA, trusting: ssl.SSLContext, status: int, reason_code: str
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status)

    async with serving(answer, server_context(authority)) as port:
        fetcher = HTTPSFetcher(resolver(), ssl_context=trusting, port=port)
        assert await refusal(fetcher) == (ResultType.STS_POLICY_FETCH_ERROR, reason_code)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_not_followed(authority: trustme.CA, trusting: ssl.SSLContext, status: int) -> None:
    paths: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        paths.append(request.path)
        if request.path == PATH:
            return web.Response(status=status, headers={"Location": "/policy"})
        return web.Response(body=POLICY, headers={"Content-Type": "text/plain"})

    async with serving(answer, server_context(authority)) as port:
        fetcher = HTTPSFetcher(resolver(), ssl_context=trusting, port=port)
        assert await refusal(fetcher) == (ResultType.STS_POLICY_FETCH_ERROR, f"http-status-{status}")
    assert paths == [PATH]


@pytest.mark.parametrize("media_type", ["text/html", "application/octet-stream", "image/png", "text/\x7f", ""])
async def test_other_types_are_refused(authority: trustme.CA, trusting: ssl.SSLContext, media_type: str) -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s"
    async with saying(said % (media_type.encode(), len(POLICY), POLICY), server_context(authority)) as port:
        fetcher = HTTPSFetcher(resolver(), ssl_context=trusting, port=port)
        assert await refusal(fetcher) == (ResultType.STS_POLICY_INVALID, "policy-media-type")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "GZIP"])
async def test_what_is_compressed_is_refused_unread(
    authority: trustme.CA, trusting: ssl.SSLContext, encoding: str
) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    async with serving(text(bomb, **{"Content-Encoding": encoding}), server_context(authority)) as port:
        fetcher = HTTPSFetcher(resolver(), ssl_context=trusting, port=port)
        assert await refusal(fetcher) == (ResultType.STS_POLICY_INVALID, "policy-content-encoding")


async def test_a_length_over_the_limit_is_refused_unread(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    said = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % (MAX_POLICY + 1)
    async with saying(said, server_context(authority)) as port:
        fetcher = HTTPSFetcher(resolver(), ssl_context=trusting, port=port)
        assert await refusal(fetcher) == (ResultType.STS_POLICY_INVALID, "policy-too-large")


async def test_an_endless_body_is_refused(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    sent = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        while sent < 100_000_000:
            await response.write(b"x: " + b"y" * 65000 + b"\n")
            sent += 65004
        return response

    async with serving(answer, server_context(authority)) as port:
        fetcher = HTTPSFetcher(resolver(), ssl_context=trusting, port=port)
        assert await refusal(fetcher) == (ResultType.STS_POLICY_INVALID, "policy-too-large")
    assert sent < 100_000_000


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n" + POLICY,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nversion: STSv1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: some\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"220 mx.example ESMTP \x1b[2J\r\n",
        b"\x00\xff" * 50,
        b"",
    ],
)
async def test_what_is_cut_short_or_no_http_is_an_error(
    authority: trustme.CA, trusting: ssl.SSLContext, said: bytes
) -> None:
    async with saying(said, server_context(authority)) as port:
        fetcher = HTTPSFetcher(resolver(), ssl_context=trusting, port=port)
        assert await refusal(fetcher) == (ResultType.STS_POLICY_FETCH_ERROR, "http-error")


@pytest.mark.parametrize("begun", [False, True])
async def test_a_slow_server_has_a_minute(authority: trustme.CA, trusting: ssl.SSLContext, begun: bool) -> None:
    reached, release = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        if begun:
            await response.prepare(request)
            await response.write(POLICY)
        reached.set()
        await release.wait()
        return response

    clock = FakeClock()
    async with serving(answer, server_context(authority)) as port:
        fetcher = HTTPSFetcher(resolver(), ssl_context=trusting, port=port, clock=clock)
        fetching = asyncio.create_task(refusal(fetcher))
        await reached.wait()
        await clock.advance(59)
        assert not fetching.done()
        await clock.advance(1)
        assert await fetching == (ResultType.STS_POLICY_FETCH_ERROR, "timeout")
        release.set()


async def test_a_cancelled_fetch_ends(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    reached, release = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        reached.set()
        await release.wait()
        return web.Response()

    async with serving(answer, server_context(authority)) as port:
        fetcher = HTTPSFetcher(resolver(), ssl_context=trusting, port=port)
        fetching = asyncio.create_task(fetcher.fetch(DOMAIN))
        await reached.wait()
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        release.set()


async def test_an_unknown_authority_is_not_trusted(authority: trustme.CA) -> None:
    async with serving(text(), server_context(authority)) as port:
        result_type, code = await refusal(HTTPSFetcher(resolver(), port=port))
    assert result_type is ResultType.STS_WEBPKI_INVALID
    assert code.startswith("certificate-not-trusted+")


async def test_a_certificate_of_another_name_is_not_trusted(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    async with serving(text(), server_context(authority, "example.com")) as port:
        fetcher = HTTPSFetcher(resolver(), ssl_context=trusting, port=port)
        assert await refusal(fetcher) == (ResultType.STS_WEBPKI_INVALID, "certificate-host-mismatch")


async def test_an_expired_certificate_is_not_trusted(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST, not_after=datetime(2020, 1, 1, tzinfo=UTC)).configure_cert(context)
    async with serving(text(), context) as port:
        fetcher = HTTPSFetcher(resolver(), ssl_context=trusting, port=port)
        assert await refusal(fetcher) == (ResultType.STS_WEBPKI_INVALID, "certificate-expired")


async def test_a_wildcard_certificate_is_trusted(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    async with serving(text(), server_context(authority, "*.example.com")) as port:
        assert await HTTPSFetcher(resolver(), ssl_context=trusting, port=port).fetch(DOMAIN) == POLICY


async def test_what_is_no_tls_is_an_error(trusting: ssl.SSLContext) -> None:
    async with saying(b"220 mx.example ESMTP\r\n", None) as port:
        fetcher = HTTPSFetcher(resolver(), ssl_context=trusting, port=port)
        assert await refusal(fetcher) == (ResultType.STS_POLICY_FETCH_ERROR, "tls-record-header-error")


async def test_old_tls_is_refused(authority: trustme.CA) -> None:
    assert verified_context().minimum_version is ssl.TLSVersion.TLSv1_2


async def test_a_port_that_is_closed_is_an_error(trusting: ssl.SSLContext) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    fetcher = HTTPSFetcher(resolver(), ssl_context=trusting, port=port)
    assert await refusal(fetcher) == (ResultType.STS_POLICY_FETCH_ERROR, "connection-failed")


@pytest.mark.parametrize(
    ("asked", "reason_code"),
    [
        (MockResolver(), "no-policy-served"),
        (MockResolver(txt={HOST: ["no address"]}), "no-policy-served"),
        (MockResolver(fail=[HOST]), "dns-lookup"),
        (MockResolver(bogus=[HOST]), "dns-extended-error-6-dnssec-bogus"),
    ],
)
async def test_a_host_without_an_address_is_an_error(asked: MockResolver, reason_code: str) -> None:
    assert await refusal(HTTPSFetcher(asked)) == (ResultType.STS_POLICY_FETCH_ERROR, reason_code)
    assert asked.lookups == [f"ip {HOST}"]


async def test_a_name_too_long_for_its_host_is_an_error() -> None:
    label = "a" * 63
    domain = parse_domain(".".join([label, label, label, "b" * 61]))
    with pytest.raises(PolicyFetchError):
        await HTTPSFetcher(MockResolver()).fetch(domain)


async def test_the_address_that_answers_is_used(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    asked = MockResolver(aaaa={HOST: ["::1"]}, a={HOST: ["127.0.0.1"]})
    async with serving(text(), server_context(authority)) as port:  # on IPv4 only
        assert await HTTPSFetcher(asked, ssl_context=trusting, port=port).fetch(DOMAIN) == POLICY


@pytest.mark.parametrize(("verify", "check"), [(ssl.CERT_NONE, False), (ssl.CERT_REQUIRED, False)])
def test_a_context_has_to_verify(verify: ssl.VerifyMode, check: bool) -> None:
    context = verified_context()
    context.check_hostname = check
    context.verify_mode = verify
    with pytest.raises(InputError, match="verify"):
        HTTPSFetcher(MockResolver(), ssl_context=context)
