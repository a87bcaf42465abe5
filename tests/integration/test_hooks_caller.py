"""Webhook calls to receivers that succeed, fail, redirect, stall, never end, die, or talk nonsense."""

import asyncio
import gzip
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
import trustme
from tests.integration.hook_receiver import OK, Connection, Receiver, Request, answer, receiving, saying

from moxlib.errors import MissingExtra, StateError
from moxlib.queue.hooks import CallResult, Disable, HookCaller, HookConfig, Refused, Retry, Success
from moxlib.testing import FakeClock, MockResolver
from moxlib.webhook import USER_AGENT, Outgoing, Secret, encode, receive

PAYLOAD = Outgoing(event="failed", webhook_queued=FakeClock().now(), subject="Grüße", extra={"order": "17"})
BODY = encode(PAYLOAD)
SECRET = Secret(bytes(range(32)))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def caller(clock: FakeClock) -> AsyncIterator[HookCaller]:
    async with HookCaller(clock=clock) as opened:
        yield opened


async def call(caller: HookCaller, receiver: Receiver | str, *, body: bytes = BODY, **options: Any) -> CallResult:
    url = receiver if isinstance(receiver, str) else receiver.url()
    config = HookConfig(url=url, **{"allow_private": True, **options})
    result = await caller.call(config, config.call([(12, body)], attempt=3))
    assert len(result.error) < 1000
    assert result.error.isprintable()
    assert len(result.text) <= 512
    return result


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - nothing announces it
        await asyncio.sleep(0)


async def test_a_call_is_sent_as_mox_sends_it_and_signed(caller: HookCaller, clock: FakeClock) -> None:
    async with receiving(saying()) as receiver:
        result = await call(caller, receiver.url("/in?x=%2F&y=a+b"), authorization="Bearer x", secrets=(SECRET,))
    assert result == CallResult(
        started=clock.now(), duration=timedelta(0), status=200, text="ok", verdict=Success(), error=""
    )
    [request] = receiver.requests
    assert request.line == "POST /in?x=%2F&y=a+b HTTP/1.1"
    assert request.body == BODY
    assert " ".join(sorted(request.names)) == (
        "Authorization Content-Length Content-Type Host User-Agent X-Mox-Webhook-Attempt X-Mox-Webhook-ID"
        " webhook-id webhook-signature webhook-timestamp"
    )
    assert request.headers["content-type"] == "application/json; charset=utf-8"
    assert request.headers["user-agent"] == USER_AGENT
    assert request.headers["host"] == f"127.0.0.1:{receiver.port}"
    received = receive(request.headers, request.body, secrets=[SECRET], authorization="Bearer x", now=clock.now())
    assert (received.id, received.attempt, received.payload) == (12, 3, PAYLOAD)


async def test_a_url_without_a_path_asks_for_the_root(caller: HookCaller) -> None:
    async with receiving(saying()) as receiver:
        await call(caller, receiver.url(""))
        await call(caller, receiver.url("?x"))
    assert [request.line for request in receiver.requests] == ["POST / HTTP/1.1", "POST /?x HTTP/1.1"]


@pytest.mark.parametrize(
    ("octets", "status", "verdict", "error"),
    [
        (answer("204 No Content", b""), 204, Success(), ""),
        (answer("202 Accepted"), 202, Success(), ""),
        (answer("299 \x1b[2J"), 299, Success(), ""),
        (answer("404 \x1b[2J"), 404, Retry(), "HTTP status 404 Not Found"),
        (answer("500 Oops"), 500, Retry(), "HTTP status 500 Internal Server Error"),
        (answer("410 Gone"), 410, Disable(), "HTTP status 410 Gone"),
        (
            answer("429 x", b"", "retry-after: 90"),
            429,
            Retry(after=timedelta(seconds=90)),
            "HTTP status 429 Too Many Requests",
        ),
        (
            answer("503 x", b"", "Retry-After: Thu, 01 Jan 2026 12:00:30 GMT"),
            503,
            Retry(after=timedelta(seconds=30)),
            "HTTP status 503 Service Unavailable",
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, Success(), ""),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK, 200, Success(), ""),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, Success(), ""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, Success(), ""),
    ],
)
async def test_answers_are_judged(caller: HookCaller, octets: bytes, status: int, verdict: object, error: str) -> None:
    async with receiving(saying(octets)) as receiver:
        result = await call(caller, receiver)
    assert (result.status, result.verdict, result.error) == (status, verdict, error)
    assert result.text in ("", "ok")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(caller: HookCaller, status: int) -> None:
    async with (
        receiving(saying()) as other,
        receiving(saying(answer(f"{status} x", b"", f"Location: {other.url()}"))) as receiver,
    ):
        result = await call(caller, receiver)
    assert result.verdict == Refused(location=other.url())
    assert other.url() in result.error
    assert (len(receiver.requests), other.connections) == (1, 0)


async def test_of_an_answer_the_first_512_octets_are_kept(caller: HookCaller) -> None:
    async with receiving(saying(answer("200 OK", b"y" * 511 + "é".encode() + b"z" * 100))) as receiver:
        assert (await call(caller, receiver)).text == "y" * 511 + "\ufffd"
        assert (await call(caller, receiver)).status == 200
    assert receiver.connections == 1  # it was read to its end


async def test_what_is_no_text_is_replaced(caller: HookCaller) -> None:
    async with receiving(saying(answer("200 OK", b"a\0b\x1b[2J\xff\r\n\tc"))) as receiver:
        assert (await call(caller, receiver)).text == "a\ufffdb\ufffd[2J\ufffd\r\n\tc"


async def test_what_is_compressed_stays_so(caller: HookCaller) -> None:
    bomb = gzip.compress(b"x" * 50_000_000)
    assert len(bomb) < 64 * 1024
    async with receiving(saying(answer("200 OK", bomb, "Content-Encoding: gzip"))) as receiver:
        result = await call(caller, receiver)
    assert result.verdict == Success()
    assert result.text.startswith("\ufffd\ufffd")  # the magic octets of gzip, of which no UTF-8 is made
    assert "xx" not in result.text


async def test_an_answer_that_is_too_long_is_not_read_to_its_end(caller: HookCaller) -> None:
    async def handler(_receiver: Receiver, _request: Request, connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")
        while True:
            await connection.send(b"z" * 10_000)

    async with receiving(handler) as receiver:
        result = await call(caller, receiver)
        assert (result.verdict, result.text) == (Success(), "z" * 512)
        await receiver.wait(ended=1)


@pytest.mark.parametrize("head", [b"Content-Length: 100\r\n\r\n", b"\r\n", b"Transfer-Encoding: chunked\r\n\r\n4\r\n"])
async def test_an_answer_that_trickles_is_given_up_once_its_status_is_known(
    caller: HookCaller, clock: FakeClock, head: bytes
) -> None:
    async def handler(receiver: Receiver, _request: Request, connection: Connection) -> None:
        await connection.send(b"HTTP/1.1 200 OK\r\n" + head + b"slow")
        await receiver.wait(ended=1)

    async with receiving(handler) as receiver:
        calling = asyncio.create_task(call(caller, receiver))
        await receiver.wait(requests=1)
        await until(lambda: clock.waiting == 2)  # it reads the rest
        await clock.advance(4.9)
        assert not calling.done()
        await clock.advance(0.1)
        result = await calling
        assert (result.verdict, result.text) == (Success(), "slow")
        assert result.duration == timedelta(seconds=5)


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_a_receiver_that_stalls_has_a_minute(caller: HookCaller, clock: FakeClock, begun: bytes) -> None:
    async def handler(_receiver: Receiver, _request: Request, connection: Connection) -> None:
        await connection.send(begun)
        await asyncio.Event().wait()

    async with receiving(handler) as receiver:
        calling = asyncio.create_task(call(caller, receiver))
        await receiver.wait(requests=1)
        await clock.advance(59)
        assert not calling.done()
        await clock.advance(1)
        result = await calling
    assert (result.status, result.verdict) == (0, Retry())
    assert result.error == "no answer within 60 seconds"
    assert result.duration == timedelta(seconds=60)
    assert receiver.connections == 1


async def test_the_minute_can_be_another_time(caller: HookCaller, clock: FakeClock) -> None:
    async def handler(_receiver: Receiver, _request: Request, _connection: Connection) -> None:
        await asyncio.Event().wait()

    async with receiving(handler) as receiver:
        calling = asyncio.create_task(call(caller, receiver, timeout=timedelta(seconds=1.5)))
        await receiver.wait(requests=1)
        await clock.advance(1.5)
        assert (await calling).error == "no answer within 1.5 seconds"


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("reset", [False, True])
async def test_a_receiver_that_dies_behind_its_status_has_answered(
    caller: HookCaller, status: int, reset: bool
) -> None:
    async def handler(_receiver: Receiver, _request: Request, connection: Connection) -> None:
        await connection.send(f"HTTP/1.1 {status} x\r\nContent-Length: 100\r\n\r\nhalf".encode())
        (connection.reset if reset else connection.close)()

    async with receiving(handler) as receiver:
        result = await call(caller, receiver)
    assert result.status == status
    assert result.verdict == (Success() if status == 200 else Retry())
    assert result.text in ("", "half")
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200"])
async def test_a_receiver_that_dies_without_an_answer_has_failed(caller: HookCaller, reset: bool, begun: bytes) -> None:
    async def handler(_receiver: Receiver, _request: Request, connection: Connection) -> None:
        await connection.send(begun)
        (connection.reset if reset else connection.close)()

    async with receiving(handler) as receiver:
        result = await call(caller, receiver)
    assert (result.status, result.verdict) == (0, Retry())
    assert result.error
    assert len(receiver.requests) == 1  # nothing is repeated that was asked for on a fresh connection


@pytest.mark.parametrize(
    "octets",
    [
        b"\r\n\r\n",
        b"220 mx.example ESMTP \x1b[2J\r\n",
        b"\x00\xff" * 50,
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 20000000000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: some\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/2 200\r\n",
        b"\x16\x03\x01",
    ],
)
async def test_nonsense_is_a_failure(caller: HookCaller, octets: bytes) -> None:
    async with receiving(saying(octets, close=True)) as receiver:
        result = await call(caller, receiver)
    assert (result.status, result.verdict) == (0, Retry())
    assert result.error


async def test_nonsense_behind_an_answer_does_not_spoil_the_next_one(caller: HookCaller) -> None:
    async with receiving(saying(OK + b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n")) as receiver:
        for _ in range(3):
            assert (await call(caller, receiver)).verdict == Success()


async def test_connections_are_kept(caller: HookCaller) -> None:
    async with receiving(saying()) as receiver:
        for _ in range(20):
            assert (await call(caller, receiver)).verdict == Success()
    assert receiver.connections == 1


@pytest.mark.parametrize("said", [True, False])
async def test_connections_that_the_receiver_closes_do_no_harm(caller: HookCaller, said: bool) -> None:
    octets = answer("200 OK", b"ok", "Connection: close") if said else OK
    async with receiving(saying(octets, close=True)) as receiver:
        for _ in range(20):
            assert (await call(caller, receiver)).verdict == Success()
    assert receiver.connections == 20


@pytest.mark.parametrize("reset", [False, True])
async def test_a_call_is_repeated_where_a_kept_connection_proves_closed(caller: HookCaller, reset: bool) -> None:
    """As when the receiver closes it in the very moment: here, when the second call on it arrives."""

    async def handler(_receiver: Receiver, request: Request, connection: Connection) -> None:
        if request.nth == 1:
            await connection.send(OK)
        else:
            (connection.reset if reset else connection.close)()

    async with receiving(handler) as receiver:
        for _ in range(4):
            assert (await call(caller, receiver)).verdict == Success()
    assert [(request.connection, request.nth) for request in receiver.requests] == [
        (1, 1), (1, 2), (2, 1), (2, 2), (3, 1), (3, 2), (4, 1),
    ]  # fmt: skip
    assert len({request.headers["x-mox-webhook-id"] for request in receiver.requests}) == 1


async def test_a_call_is_not_repeated_once_there_was_a_status(caller: HookCaller) -> None:
    async def handler(_receiver: Receiver, request: Request, connection: Connection) -> None:
        if request.nth == 1:
            await connection.send(OK)
        else:
            await connection.send(b"HTTP/1.1 500 x\r\nContent-Length: 100\r\n\r\n")
            connection.reset()

    async with receiving(handler) as receiver:
        assert (await call(caller, receiver)).verdict == Success()
        assert (await call(caller, receiver)).status == 500
    assert len(receiver.requests) == 2


async def test_so_many_calls_at_once_to_a_url(caller: HookCaller) -> None:
    gate = asyncio.Semaphore(0)

    async def handler(_receiver: Receiver, _request: Request, connection: Connection) -> None:
        await gate.acquire()
        await connection.send(OK)

    async with receiving(handler) as receiver:
        calls = [asyncio.create_task(call(caller, receiver, max_at_once=3)) for _ in range(10)]
        for done in range(10):
            await receiver.wait(requests=min(10, done + 3))
            gate.release()
        results = await asyncio.gather(*calls)
    assert {result.verdict for result in results} == {Success()}
    assert (receiver.most, receiver.connections) == (3, 3)


async def test_waiting_for_a_turn_is_not_part_of_the_call(caller: HookCaller, clock: FakeClock) -> None:
    async def handler(_receiver: Receiver, request: Request, connection: Connection) -> None:
        if request.connection > 1:
            await connection.send(OK)
        else:
            await asyncio.Event().wait()

    async with receiving(handler) as receiver:
        calls = [asyncio.create_task(call(caller, receiver, max_at_once=1)) for _ in range(2)]
        await receiver.wait(requests=1)
        await clock.advance(60)
        first, second = await asyncio.gather(*calls)
    assert (first.verdict, second.verdict) == (Retry(), Success())
    assert (second.duration, second.started) == (timedelta(0), clock.now())


async def test_a_stalling_endpoint_leaves_the_others_alone(caller: HookCaller) -> None:
    async def stall(_receiver: Receiver, _request: Request, _connection: Connection) -> None:
        await asyncio.Event().wait()

    async with receiving(stall) as stalling, receiving(saying()) as receiver:
        stalled = [
            asyncio.create_task(call(caller, stalling.url(f"/{path}"), max_at_once=10))
            for path in range(15)
            for _ in range(10)
        ]
        await stalling.wait(requests=150)  # more than aiohttp would have at once on its own
        assert (await call(caller, receiver)).verdict == Success()
        for task in stalled:
            task.cancel()
        await asyncio.wait(stalled)


async def test_a_cancelled_call_ends_and_makes_room(caller: HookCaller) -> None:
    async def handler(_receiver: Receiver, request: Request, connection: Connection) -> None:
        if request.connection > 1:
            await connection.send(OK)
        else:
            await asyncio.Event().wait()

    async with receiving(handler) as receiver:
        calls = [asyncio.create_task(call(caller, receiver, max_at_once=1)) for _ in range(2)]
        await receiver.wait(requests=1)
        calls[0].cancel()
        assert (await calls[1]).verdict == Success()
        assert calls[0].cancelled()


async def test_large_bodies_are_sent_whole(caller: HookCaller) -> None:
    body = b'{"Event":"x","Subject":"' + b"y" * 3_000_000 + b'"}'
    async with receiving(saying()) as receiver:
        for _ in range(2):
            assert (await call(caller, receiver, body=body)).verdict == Success()
    assert [request.body == body for request in receiver.requests] == [True, True]
    assert receiver.requests[0].headers["content-length"] == str(len(body))


async def test_an_answer_may_come_before_the_body_was_read(caller: HookCaller) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer("413 x", b"too much", "Connection: close"))
        await writer.drain()
        with suppress(ConnectionError):  # the caller goes away in the middle of its body
            while await reader.read(65536):
                pass
        writer.close()
        gone.set()

    gone = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        result = await call(caller, f"http://127.0.0.1:{port}/", body=b"x" * 3_000_000)
        await gone.wait()
    assert (result.status, result.text) == (413, "too much")


async def test_nothing_is_taken_from_the_environment_and_no_cookies_are_kept(
    caller: HookCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with receiving(saying(answer("200 OK", b"", "Set-Cookie: seen=1; Path=/"))) as receiver:
        for _ in range(2):
            assert (await call(caller, receiver)).verdict == Success()
    assert not any("cookie" in request.headers for request in receiver.requests)


async def test_a_port_that_is_closed_is_a_failure(caller: HookCaller) -> None:
    async with receiving(saying()) as receiver:
        pass
    result = await call(caller, receiver)
    assert (result.status, result.verdict) == (0, Retry())
    assert result.error.startswith("not connected: ")


async def test_a_host_that_does_not_exist_is_a_failure(clock: FakeClock) -> None:
    for resolver in (MockResolver(), MockResolver(fail=["hook.example"])):
        async with HookCaller(clock=clock, resolver=resolver) as caller:
            result = await call(caller, "http://hook.example/")
        assert (result.status, result.verdict) == (0, Retry())
        assert result.error.startswith("the host was not found: ")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.mark.parametrize(
    ("name", "trusted"), [("hook.example", True), ("hook.example", False), ("other.example", True)]
)
async def test_certificates_are_verified(authority: trustme.CA, clock: FakeClock, name: str, trusted: bool) -> None:
    context = ssl.create_default_context()
    if trusted:
        authority.configure_trust(context)
    resolver = MockResolver(a={"hook.example": ["127.0.0.1"]})
    async with (
        receiving(saying(), context=server_context(authority, name)) as receiver,
        HookCaller(clock=clock, resolver=resolver, ssl_context=context) as caller,
    ):
        result = await call(caller, receiver.url(host="hook.example", scheme="https"))
    if trusted and name == "hook.example":
        assert result.verdict == Success()
    else:
        assert result.verdict == Retry()
        assert result.error.startswith("TLS: ")
        assert not receiver.requests


async def test_a_caller_is_opened_and_may_be_opened_again(clock: FakeClock) -> None:
    caller = HookCaller(clock=clock)
    async with receiving(saying()) as receiver:
        for _ in range(2):
            with pytest.raises(StateError):
                await call(caller, receiver)
            async with caller:
                with pytest.raises(StateError):
                    await caller.__aenter__()
                assert (await call(caller, receiver)).verdict == Success()
            await receiver.wait(ended=1)
    assert receiver.connections == 2


def test_without_aiohttp_the_constructor_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(MissingExtra) as caught:
        HookCaller()
    assert (caught.value.extra, caught.value.what) == ("http", "webhooks")


def test_aiohttp_is_not_loaded_before_it_is_needed() -> None:
    program = "import sys, moxlib.queue.hooks, moxlib.webhook; print('aiohttp' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
