"""The client against a server on loopback that answers as it is told to, and keeps what it got."""

import asyncio
import io
import json
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from moxlib.errors import InputError, LimitExceeded, StateError
from moxlib.testing import FakeClock
from moxlib.webapi import (
    METHODS,
    CallFailed,
    CallTimeout,
    Client,
    Code,
    Fault,
    InvalidAnswer,
    MessageGetRequest,
    MessagePartGetRequest,
    MessageRawGetRequest,
    NameAddress,
    SendBatchRequest,
    SendRawRequest,
    SendRequest,
    SendResult,
    Submission,
    SuppressionListRequest,
    SuppressionListResult,
    TooManyRequests,
    Unauthorized,
    UnexpectedStatus,
    UnknownMethod,
    Upload,
    Uploads,
    WebAPIError,
)

SENT = '{"MessageID":"<1@here.example>","Submissions":[{"Address":"a@one.example","QueueMsgID":7,"FromID":"x"}]}'
RESULT = SendResult(
    message_id="<1@here.example>",
    submissions=(Submission(address="a@one.example", queue_msg_id=7, from_id="x"),),
)
HELLO = SendRequest(to=(NameAddress(name="Ü", address="a@one.example"),), text="hello & <you>\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a form, as it came."""

    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    path: str
    headers: dict[str, str]
    body: bytes
    request: Any
    parts: list[Part]


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def says(body: str | bytes, *, status: int = 200, **headers: str) -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        octets = body if isinstance(body, bytes) else body.encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, body=octets, headers={"Content-Type": "application/json"} | named)

    return answer


@dataclass(slots=True)
class Server:
    base: str = ""
    answer: Answer = field(default_factory=lambda: says(SENT))
    hasty: Answer | None = None
    """Answers before the request's body is read."""
    calls: list[Call] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.hasty:
            return await self.hasty(request)
        body = await request.read()
        parts: list[Part] = []
        if request.content_type == "multipart/form-data":
            boundary = request.headers["Content-Type"].partition("boundary=")[2].encode()
            *middle, end = body.split(b"--" + boundary)
            assert end == b"--\r\n"
            for part in middle[1:]:
                head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
                names = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
                parts.append(Part(headers=names, body=content.removesuffix(b"\r\n")))
            assert parts[0].headers == {"Content-Disposition": 'form-data; name="request"'}
            text = parts.pop(0).body.decode()
        else:
            assert request.content_type == "application/x-www-form-urlencoded"
            form = await request.post()
            assert list(form) == ["request"]
            text = str(form["request"])
        self.calls.append(
            Call(path=request.path, headers=dict(request.headers), body=body, request=json.loads(text), parts=parts)
        )
        return await self.answer(request)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    application = web.Application(client_max_size=64 * 1024 * 1024)
    application.router.add_post("/webapi/v0/{method}", made.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    made.base = f"http://{host}:{port}/webapi/v0/"
    yield made
    await runner.cleanup()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    async with Client(server.base, username="me@here.example", password="pass:wörd") as made:
        yield made


async def test_a_message_is_sent(server: Server, client: Client) -> None:
    assert await client.send(HELLO) == RESULT
    [call] = server.calls
    assert call.path == "/webapi/v0/Send"
    assert call.request == {"To": [{"Name": "Ü", "Address": "a@one.example"}], "Text": "hello & <you>\n"}
    assert aiohttp.BasicAuth.decode(call.headers["Authorization"], "utf-8")[:2] == ("me@here.example", "pass:wörd")
    assert "Idempotency-Key" not in call.headers
    assert call.headers["User-Agent"].startswith("moxlib/")


async def test_an_idempotency_key_goes_along(server: Server, client: Client) -> None:
    await client.send(HELLO, idempotency_key="order 17")
    await client.send_raw(SendRawRequest(message=b"\xff\x00"), idempotency_key="18")
    server.answer = says('{"Results":[]}')
    await client.send_batch(SendBatchRequest(requests=(HELLO,)), idempotency_key="x" * 255)
    assert [call.headers["Idempotency-Key"] for call in server.calls] == ["order 17", "18", "x" * 255]
    assert server.calls[1].request == {"Message": "/wA="}


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb", "ü", " a", "a\x7f"])
async def test_a_key_that_cannot_stand_in_a_header_is_refused(server: Server, client: Client, key: str) -> None:
    with pytest.raises(InputError, match="idempotency key"):
        await client.send(HELLO, idempotency_key=key)
    assert server.calls == []


async def test_a_batch_has_results_one_by_one(server: Server, client: Client) -> None:
    fault = '{"Result":null,"Error":{"Code":"badAddress","Message":"no address"}}'
    server.answer = says(f'{{"Results":[{{"Result":{SENT},"Error":null}},{fault}]}}')
    result = await client.send_batch(SendBatchRequest(requests=(HELLO, HELLO)))
    assert result.results == (RESULT, Fault(code=Code.BAD_ADDRESS, message="no address"))


async def test_a_large_request_is_not_percent_encoded(server: Server, client: Client) -> None:
    text = "äöü\0\r\n" * 20_000
    await client.send(SendRequest(text=text))
    [call] = server.calls
    assert call.request == {"Text": text}
    assert call.headers["Content-Type"].startswith("multipart/form-data")
    assert call.headers["Content-Length"] == str(len(call.body))


async def test_files_are_uploaded_from_where_they_are(server: Server, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(bytes(range(256)) * 2000)
    file = io.BytesIO(b"before and after")
    file.seek(7)
    uploads = Uploads(
        alternative=(Upload(content=b"BEGIN:VCALENDAR", content_type="text/calendar"),),
        inline=(Upload(content=file, name='a "b" ü ☺.png', content_id="<hi>"), Upload(content=b"")),
        attached=(Upload(content=path, name="large.bin"),),
    )
    assert await client.send(HELLO, uploads=uploads) == RESULT
    [call] = server.calls
    assert call.request["Text"] == HELLO.text
    alternative, inline, nameless, attached = call.parts
    assert alternative.headers == {
        "Content-Disposition": 'form-data; name="alternativefile"; filename=""',
        "Content-Type": "text/calendar",
    }
    assert alternative.body == b"BEGIN:VCALENDAR"
    assert inline.headers == {
        "Content-Disposition": 'form-data; name="inlinefile"; filename="a %22b%22 ü ☺.png"',
        "Content-ID": "<hi>",
    }
    assert inline.body == b"before and after"
    assert nameless.headers["Content-Type"] == "application/octet-stream"
    assert attached.headers == {"Content-Disposition": 'form-data; name="attachedfile"; filename="large.bin"'}
    assert attached.body == path.read_bytes()
    assert call.headers["Content-Length"] == str(len(call.body))
    assert not file.closed


async def test_a_file_that_is_not_there_is_told_before_anything_is_sent(server: Server, client: Client) -> None:
    uploads = Uploads(attached=(Upload(content=Path("/nonexistent/file"), name="x"),))
    with pytest.raises(FileNotFoundError):
        await client.send(HELLO, uploads=uploads)
    assert server.calls == []


async def test_a_file_that_cannot_be_read_from_its_beginning_is_refused(server: Server, client: Client) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    with pytest.raises(InputError, match="from its beginning"):
        await client.send(HELLO, uploads=Uploads(attached=(Upload(content=Pipe(b"abc"), name="x"),)))
    assert server.calls == []


async def test_a_file_that_shrinks_ends_the_call(server: Server, client: Client) -> None:
    class Shrinking(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return b""

    with pytest.raises(CallFailed):
        await client.send(HELLO, uploads=Uploads(attached=(Upload(content=Shrinking(b"abc"), name="x"),)))
    assert server.calls == []


async def test_an_answer_may_come_before_all_is_sent(server: Server, client: Client) -> None:
    server.hasty = says("too much", status=413)
    large = Upload(content=io.BytesIO(bytes(30_000_000)), name="x")
    with pytest.raises(UnexpectedStatus, match="413: too much"):
        await client.send(HELLO, uploads=Uploads(attached=(large,)))
    server.hasty = None
    assert await client.send(HELLO) == RESULT


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
async def test_every_method_calls_its_own_name(server: Server, client: Client, method: Any) -> None:
    server.answer = says(method.example_result or b"octets")
    request = client._calls._codec.decode_request(method.request, "{}")
    called = getattr(client, method.attribute)(request)
    if method.result is None:
        async with called as stream:
            assert await stream.read(6) == b"octets"
    else:
        assert isinstance(await called, method.result)
    assert [call.path for call in server.calls] == [f"/webapi/v0/{method.name}"]


async def test_an_error_of_the_method_has_its_code(server: Server, client: Client) -> None:
    server.answer = says('{"Code":"badAddress","Message":"parsing address \\"\\u001b\\": no"}', status=400)
    with pytest.raises(WebAPIError) as caught:
        await client.send(HELLO)
    assert caught.value.code is Code.BAD_ADDRESS
    assert caught.value.message == 'parsing address "\x1b": no'
    assert str(caught.value) == 'badAddress: parsing address "\\x1b": no'


async def test_a_code_that_is_not_known_is_a_text(server: Server, client: Client) -> None:
    server.answer = says('{"Code":"error","Message":"x","More":1}', status=400)
    with pytest.raises(WebAPIError) as caught:
        await client.send(HELLO)
    assert caught.value.code == "error"
    assert not isinstance(caught.value.code, Code)


@pytest.mark.parametrize("body", ["", "no", "{}", "[]", '{"Code":1,"Message":"x"}', "{" * 5000])
async def test_a_refusal_that_is_no_error_of_the_method(server: Server, client: Client, body: str) -> None:
    server.answer = says(body, status=400)
    with pytest.raises(UnexpectedStatus) as caught:
        await client.send(HELLO)
    assert caught.value.status == 400
    assert len(str(caught.value)) < 1100


async def test_a_wrong_password(server: Server, client: Client) -> None:
    server.answer = says("401 - no\n\x00", status=401, WWW_Authenticate="Basic realm=webapi")
    with pytest.raises(Unauthorized) as caught:
        await client.send(HELLO)
    assert caught.value.text == "401 - no\\n\\x00"
    assert len(server.calls) == 1


async def test_a_method_that_the_server_has_not(server: Server, client: Client) -> None:
    server.answer = says("404 page not found", status=404)
    with pytest.raises(UnknownMethod) as caught:
        await client.send_batch(SendBatchRequest(requests=()))
    assert caught.value.method == "SendBatch"


@pytest.mark.parametrize(("value", "wait"), [("120", timedelta(minutes=2)), (None, None), ("soon", None)])
async def test_too_many_failed_logins(
    server: Server, client: Client, value: str | None, wait: timedelta | None
) -> None:
    server.answer = says("429", status=429, **({} if value is None else {"Retry_After": value}))
    with pytest.raises(TooManyRequests) as caught:
        await client.send(HELLO)
    assert caught.value.retry_after == wait


@pytest.mark.parametrize("status", [201, 204, 303, 307, 403, 405, 413, 500, 503])
async def test_any_other_status(server: Server, client: Client, status: int) -> None:
    server.answer = says("" if status == 204 else "why", status=status, Location="/webapi/v0/Send")
    with pytest.raises(UnexpectedStatus) as caught:
        await client.send(HELLO)
    assert caught.value.status == status
    assert caught.value.text == ("" if status == 204 else "why")
    assert len(server.calls) == 1, "redirects are not followed"


@pytest.mark.parametrize("body", ["", "no", "[]", '{"MessageID":1}', '{"MessageID":"a"} b', b"\xff", "[" * 100_000])
async def test_an_answer_that_is_no_result(server: Server, client: Client, body: str | bytes) -> None:
    server.answer = says(body)
    with pytest.raises(InvalidAnswer) as caught:
        await client.send(HELLO)
    assert len(str(caught.value)) < 500


async def test_a_result_of_a_newer_server_is_read(server: Server, client: Client) -> None:
    server.answer = says('{"New":[{"a":1}],"Suppressions":null}')
    assert await client.suppression_list(SuppressionListRequest()) == SuppressionListResult(suppressions=())


async def test_a_result_has_a_limit(server: Server) -> None:
    async with Client(server.base, max_result=len(SENT)) as client:
        assert await client.send(HELLO) == RESULT
        server.answer = says(SENT + " ")
        with pytest.raises(InvalidAnswer, match="larger than"):
            await client.send(HELLO)


async def test_no_login_is_sent_where_there_is_none(server: Server) -> None:
    async with Client(server.base) as client:
        await client.send(HELLO)
    assert "Authorization" not in server.calls[0].headers


# streams


async def test_a_message_is_streamed(server: Server, client: Client) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        for number in range(20):
            await response.write(bytes([number]) * 10_000)
        return response

    server.answer = answer
    async with client.message_raw_get(MessageRawGetRequest(msg_id=3)) as stream:
        assert (stream.content_type, stream.size) == ("text/plain", None)
        octets = b"".join([chunk async for chunk in stream])
    assert octets == b"".join(bytes([number]) * 10_000 for number in range(20))
    assert server.calls[0].request == {"MsgID": 3}


async def test_a_stream_is_read_to_a_limit(server: Server, client: Client) -> None:
    server.answer = says(b"12345", Content_Type="application/pdf")
    request = MessagePartGetRequest(msg_id=3, part_path=(0, 2))
    async with client.message_part_get(request) as stream:
        assert (stream.content_type, stream.size) == ("application/pdf", 5)
        assert await stream.read(5) == b"12345"
    async with client.message_part_get(request) as stream:
        with pytest.raises(LimitExceeded):
            await stream.read(4)
    server.answer = says(bytes(1_000_000))
    async with client.message_part_get(request) as stream:
        first = await anext(aiter(stream))
        assert len(first) + len(await stream.read(1_000_000 - len(first))) == 1_000_000
    assert server.calls[0].request == {"MsgID": 3, "PartPath": [0, 2]}


async def test_a_stream_that_is_left_early_does_no_harm(server: Server, client: Client) -> None:
    server.answer = says(bytes(5_000_000))
    async with client.message_raw_get(MessageRawGetRequest(msg_id=3)) as stream:
        async for _ in stream:
            break
    server.answer = says(SENT)
    assert await client.send(HELLO) == RESULT


async def test_a_stream_of_a_message_that_is_not_there(server: Server, client: Client) -> None:
    server.answer = says('{"Code":"messageNotFound","Message":"message not found"}', status=400)
    with pytest.raises(WebAPIError, match="messageNotFound"):
        async with client.message_raw_get(MessageRawGetRequest(msg_id=3)):
            pytest.fail("there is nothing to read")


async def test_a_stream_that_breaks_off(server: Server, client: Client) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"some")
        assert request.transport is not None
        request.transport.close()
        return response

    server.answer = answer
    async with client.message_raw_get(MessageRawGetRequest(msg_id=3)) as stream:
        with pytest.raises(CallFailed):
            await stream.read(1000)


# what goes wrong on the way


async def test_nobody_listens() -> None:
    async with Client("http://127.0.0.1:9/webapi/v0/") as client:
        with pytest.raises(CallFailed, match="not connected") as caught:
            await client.send(HELLO)
    assert caught.value.method == "Send"


async def test_the_connection_ends_before_the_answer(server: Server, client: Client) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    server.answer = answer
    with pytest.raises(CallFailed):
        await client.send(HELLO)
    assert len(server.calls) == 1, "it may have been sent: the caller decides whether to send it again"


async def test_an_answer_that_does_not_come(server: Server) -> None:
    reached = asyncio.Event()

    async def answer(_request: web.Request) -> web.StreamResponse:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    server.answer = answer
    clock = FakeClock()
    async with Client(server.base, clock=clock, timeout=timedelta(seconds=30)) as client:
        call = asyncio.ensure_future(client.send(HELLO))
        await reached.wait()
        await clock.advance(29)
        assert not call.done()
        await clock.advance(2)
        with pytest.raises(CallTimeout) as caught:
            await call
    assert 30 <= caught.value.seconds < 31
    assert isinstance(caught.value, TimeoutError)


async def test_a_result_that_does_not_end(server: Server) -> None:
    begun = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"{")
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    server.answer = answer
    clock = FakeClock()
    async with Client(server.base, clock=clock, timeout=timedelta(seconds=30)) as client:
        call = asyncio.ensure_future(client.message_get(MessageGetRequest(msg_id=1)))
        await begun.wait()
        while not call.done():  # it may not have come to the body yet
            await clock.advance(31)
        with pytest.raises(CallTimeout):
            await call


# sessions


async def test_a_session_of_the_callers_is_used_and_not_closed(server: Server) -> None:
    async with aiohttp.ClientSession(headers={"X-Mine": "yes"}) as session:
        client = Client(server.base, session=session)
        assert await client.send(HELLO) == RESULT
        async with client:
            assert await client.send(HELLO) == RESULT
        assert not session.closed
        assert await client.send(HELLO) == RESULT
    assert {call.headers["X-Mine"] for call in server.calls} == {"yes"}


async def test_a_client_without_a_session_calls_within_its_block_alone(server: Server) -> None:
    client = Client(server.base)
    with pytest.raises(StateError):
        await client.send(HELLO)
    async with client:
        with pytest.raises(StateError):
            await client.__aenter__()
        assert await client.send(HELLO) == RESULT
    with pytest.raises(StateError):
        await client.send(HELLO)
    async with client:
        assert await client.send(HELLO) == RESULT


async def test_connections_are_kept(server: Server, client: Client) -> None:
    peers = set()

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peers.add(request.transport.get_extra_info("peername"))
        return web.Response(body=SENT)

    server.answer = answer
    for _ in range(3):
        await client.send(HELLO)
    assert len(peers) == 1


@pytest.mark.parametrize(
    "url",
    [
        "", "mail.example", "ftp://mail.example/", "http://", "http://a:b@mail.example/", "http://mail.example/?a=b",
        "http://mail.example/#a", "http://mail.example/ v0/", "http://mail.example:0/", "http://mail.example:x/",
        "http://mäil.example/", "http://mail.example/\n", "http://[::1/", "https://@mail.example/",
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="base URL"):
        Client(url)


def test_a_slash_is_put_at_the_end() -> None:
    assert Client("https://mail.example/webapi/v0").base_url == "https://mail.example/webapi/v0/"
    assert Client("https://mail.example").base_url == "https://mail.example/"


@pytest.mark.parametrize("login", [("a:b", "c"), ("a\n", "c"), ("a", "c\x00")])
def test_a_login_that_cannot_stand_in_a_header_is_refused(login: tuple[str, str]) -> None:
    with pytest.raises(InputError):
        Client("https://mail.example/", username=login[0], password=login[1])


@pytest.mark.parametrize("options", [{"timeout": timedelta(0)}, {"max_result": 0}])
def test_limits_are_more_than_zero(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Client("https://mail.example/", **options)


@pytest.mark.parametrize(
    "error",
    [
        WebAPIError(Code.USER, "x\n"),
        WebAPIError("other", "x"),
        CallFailed("x", method="Send"),
        CallTimeout(method="Send", seconds=1.5),
        Unauthorized(method="Send", text="x\n"),
        UnknownMethod(method="Send"),
        TooManyRequests(method="Send", retry_after=timedelta(1)),
        UnexpectedStatus(method="Send", status=500, text="x"),
        InvalidAnswer(method="Send", reason="is not JSON"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_are_pickled_by_their_fields(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.__dict__) == (type(error), str(error), error.__dict__)
