"""Requests that nobody should make: to the application itself, and to one that uvicorn serves on loopback."""

import asyncio
import base64
import io
import itertools
import json
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
from tests.integration.webapi_world import PASSWORD, World, serving, world

from moxlib.queue import MessageFilter
from moxlib.webapi import METHODS, Client, Code, NameAddress, SendRequest, Upload, Uploads, WebAPIError
from moxlib.webapi.accounts import LoginResult
from moxlib.webapi.asgi import asgi_app
from moxlib.webapi.request_body import BodyLimits
from moxlib.webapi.service import Service

FORM = ("Content-Type", "application/x-www-form-urlencoded")
MULTIPART = ("Content-Type", "multipart/form-data; boundary=bound")
SEND = '{"To":[{"Address":"a@a.example"}],"Text":"x"}'
MEBIBYTE = 1024 * 1024

Headers = Sequence[tuple[str, str]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


def basic(user: str = "me@here.example", password: str = PASSWORD) -> tuple[str, str]:
    return "Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def form(request: str | bytes) -> bytes:
    return b"request=" + quote(request, safe="").encode()


def multipart(*parts: tuple[str, bytes]) -> bytes:
    return b"".join([f"--bound\r\n{head}\r\n\r\n".encode() + body + b"\r\n" for head, body in parts]) + b"--bound--\r\n"


def field_of(name: str, body: bytes, filename: str | None = None) -> tuple[str, bytes]:
    file = "" if filename is None else f'; filename="{filename}"'
    return f'Content-Disposition: form-data; name="{name}"{file}', body


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def code(self) -> str:
        """Of an error of a method's."""
        assert self.status == 400, self
        answer = json.loads(self.body)
        assert set(answer) == {"Code", "Message"}
        assert len(answer["Message"]) < 1500
        return str(answer["Code"])


def receiving(chunks: Iterable[bytes]) -> Receive:
    """Return what hands out chunks; then the client is gone."""
    left = list(chunks)

    async def receive() -> dict[str, Any]:
        if not left:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    return receive


async def asked(
    app: Any,
    path: str = "/v0/Send",
    *,
    method: str = "POST",
    headers: Headers | None = None,
    body: bytes = b"",
    receive: Receive | None = None,
    ip: str = "192.0.2.1",
    root: str = "",
) -> Answer:
    """Ask the application itself."""
    answer = Answer()
    given = (FORM, basic()) if headers is None else headers
    scope = {
        "type": "http",
        "method": method,
        "path": root + path,
        "root_path": root,
        "query_string": b"",
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in given],
        "client": (ip, 1),
    }

    async def send(event: dict[str, Any]) -> None:
        if event["type"] == "http.response.start":
            assert not answer.status
            answer.status = event["status"]
            answer.headers = {name.decode(): value.decode("latin-1") for name, value in event["headers"]}
            assert all(value.isprintable() for value in answer.headers.values())
        else:
            answer.body += event["body"]

    await app(scope, receive or receiving([body]), send)
    return answer


@dataclass
class Heard:
    """An observer."""

    calls: list[tuple[str, str]] = field(default_factory=list)

    def called(self, method: str, result: str, duration: timedelta) -> None:
        assert duration >= timedelta(0)
        self.calls.append((method, result))

    def submitted_by_call(self, result: str) -> None:
        """Ignore it."""


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    limits: dict[str, Any] = {"max_messages_per_day": None, "max_first_time_recipients_per_day": None}
    async with world(tmp_path, config={"max_message_size": MEBIBYTE}, service={"observer": Heard()}, **limits) as made:
        yield made


@pytest.fixture
async def served(here: World) -> AsyncIterator[str]:
    async with serving(here.app) as url:
        yield url


# what is too large


@pytest.mark.parametrize("type_", [FORM, MULTIPART])
@pytest.mark.parametrize("declared", [False, True])
async def test_a_body_that_is_too_large_is_not_read_on(here: World, type_: tuple[str, str], declared: bool) -> None:
    app = asgi_app(here.service, limits=BodyLimits(body=100_000))
    read = 0
    chunk = b"x" * 10_000

    async def receive() -> dict[str, Any]:
        nonlocal read
        first, read = read == 0, read + len(chunk)
        head = b'--bound\r\nContent-Disposition: form-data; name="attachedfile"; filename="x"\r\n\r\n'
        start = b"request=" if type_ is FORM else head
        return {"type": "http.request", "body": start + chunk if first else chunk, "more_body": True}

    length = [("Content-Length", "1000000")] if declared else []
    answer = await asked(app, headers=(type_, basic(), *length), receive=receive)
    assert answer.code == "messageTooLarge"
    assert read == 0 if declared else read <= 110_000
    assert await here.queued() == ()


async def test_a_request_that_is_too_large(here: World) -> None:
    app = asgi_app(here.service, limits=BodyLimits(body=MEBIBYTE, json=1000))
    large = json.dumps({"Text": "x" * 1000})
    assert (await asked(app, body=form(large))).code == "messageTooLarge"
    assert (await asked(app, body=form("%" * 2000))).code == "messageTooLarge"
    answer = await asked(app, headers=(MULTIPART, basic()), body=multipart(field_of("request", large.encode())))
    assert answer.code in ("messageTooLarge", "protocol")


async def test_a_message_that_is_too_large_over_http(here: World, served: str) -> None:
    """The client learns why, though it may not have sent all."""
    login: dict[str, Any] = {"username": "me@here.example", "password": PASSWORD}
    for size in (1_100_000, 50_000_000):
        uploads = Uploads(attached=(Upload(content=io.BytesIO(bytes(size)), name="x"),))
        async with Client(f"{served}/v0/", **login) as client:
            with pytest.raises(WebAPIError) as caught:
                await client.send(SendRequest(to=(NameAddress(address="a@a.example"),), text="x"), uploads=uploads)
            assert caught.value.code is Code.MESSAGE_TOO_LARGE
    assert await here.queued() == ()


async def test_many_files(here: World) -> None:
    app = asgi_app(here.service, limits=BodyLimits(body=MEBIBYTE, files=3))
    parts = [field_of("attachedfile", b"x", f"{n}") for n in range(4)]
    request = field_of("request", SEND.encode())
    assert (await asked(app, headers=(MULTIPART, basic()), body=multipart(request, *parts))).code == "protocol"
    assert (await asked(app, headers=(MULTIPART, basic()), body=multipart(request, *parts[:3]))).status == 200
    fields = [field_of(f"f{n}", b"x") for n in range(1000)]
    assert (await asked(app, headers=(MULTIPART, basic()), body=multipart(request, *fields))).code == "protocol"


async def test_fields_that_are_large_together(here: World) -> None:
    """They are in memory."""
    app = asgi_app(here.service, limits=BodyLimits(body=MEBIBYTE, json=1000))
    request, field = field_of("request", SEND.encode()), field_of("other", b"x" * 400)
    assert (await asked(app, headers=(MULTIPART, basic()), body=multipart(request, field, field))).status == 200
    answer = await asked(app, headers=(MULTIPART, basic()), body=multipart(request, field, field, field))
    assert answer.code == "protocol"


@pytest.mark.parametrize("count", [1, 100])
async def test_uploads_take_little_memory(tmp_path: Path, count: int) -> None:
    size = 50 * MEBIBYTE // count
    head, tail = field_of("request", SEND.encode()), b"\r\n--bound--\r\n"
    chunk = b"x" * 65536

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": next(pieces, b""), "more_body": not ended}

    ended = False

    def all_() -> Any:
        nonlocal ended
        yield multipart(head).removesuffix(b"--bound--\r\n")
        for number in range(count):
            yield f"--bound\r\n{field_of('attachedfile', b'', str(number))[0]}\r\n\r\n".encode()
            for _ in range(size // len(chunk)):
                yield chunk
            if number + 1 < count:
                yield b"\r\n"
        ended = True
        yield tail

    pieces = all_()
    async with world(tmp_path, queue=tmp_path / "q.db") as here:
        await asked(here.app, body=form(SEND))
        tracemalloc.start()
        answer = await asked(here.app, headers=(MULTIPART, basic()), receive=receive)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert answer.status == 200, answer
        [large] = [message for message in await here.queued() if message.size > MEBIBYTE]
        assert large.size > 50 * MEBIBYTE
        assert peak < 10 * MEBIBYTE


# what is slow, or cut off


async def test_a_body_that_stops(here: World) -> None:
    waits = asyncio.Event()

    async def receive() -> dict[str, Any]:
        waits.set()
        await asyncio.Event().wait()
        raise AssertionError

    for type_ in (FORM, MULTIPART):
        waits.clear()
        asking = asyncio.create_task(asked(here.app, headers=(type_, basic()), receive=receive))
        await waits.wait()
        await here.clock.advance(29.0)
        assert not asking.done()
        await here.clock.advance(2.0)
        assert (await asking).code == "protocol"


async def test_a_body_that_drips(here: World) -> None:
    for type_ in (FORM, MULTIPART):
        pieces = itertools.chain([b"--bound\r\n"], itertools.repeat(b"x"))

        begun = asyncio.Event()

        async def receive(pieces: Iterator[bytes] = pieces, begun: asyncio.Event = begun) -> dict[str, Any]:
            begun.set()
            await here.clock.sleep(20.0)
            return {"type": "http.request", "body": next(pieces), "more_body": True}

        asking = asyncio.create_task(asked(here.app, headers=(type_, basic()), receive=receive))
        await begun.wait()
        await here.clock.advance(590.0)
        assert not asking.done()
        await here.clock.advance(20.0)
        assert (await asking).code == "protocol"


async def test_a_body_that_is_cut_off(here: World) -> None:
    whole = multipart(field_of("request", SEND.encode()), field_of("attachedfile", b"x" * 100, "x"))
    for cut in range(0, len(whole) - 20, 7):
        answer = await asked(here.app, headers=(MULTIPART, basic()), body=whole[:cut])
        assert answer.code == "protocol", cut
    gone = await asked(here.app, headers=(FORM, basic()), receive=receiving([]))
    assert gone.status == 0, "nobody is there to be answered"
    assert await here.queued() == ()
    assert isinstance(here.service.observer, Heard)
    assert here.service.observer.calls[-1] == ("Send", "gone")


async def test_a_connection_that_is_cut_off(here: World, served: str) -> None:
    port = urlsplit(served).port
    for declared in ("Content-Length: 100", "Transfer-Encoding: chunked"):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /v0/Send HTTP/1.1\r\nHost: x\r\n{': '.join(basic())}\r\n{': '.join(FORM)}\r\n{declared}\r\n\r\n"
        writer.write(head.encode() + b"9\r\nrequest=%\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{served}/v0/Send", content=form(SEND), headers=dict([FORM, basic()]))
    assert answer.status_code == 200
    assert len(await here.queued()) == 1


# what is no form, and no request


@pytest.mark.parametrize(
    "type_",
    [
        "",
        "application/json",
        "text/plain",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=" + "x" * 5000,
        'multipart/form-data; boundary="\x00"',
        "multipart/mixed; boundary=bound",
        "\x00",
        "application/x-www-form-urlencoded, text/plain",
    ],
)
async def test_a_wrong_content_type(here: World, type_: str) -> None:
    headers = [basic(), *([("Content-Type", type_)] if type_ else [])]
    assert (await asked(here.app, headers=headers, body=form(SEND))).code == "protocol"


@pytest.mark.parametrize("charset", ["punycode", "idna", "utf-16", "zlib_codec", "unicode_escape", "\xff", "latin-1"])
async def test_a_charset_means_nothing(here: World, charset: str) -> None:
    """Of a form, it would have text read in any of Python's encodings, some of them slow beyond measure."""
    request = '{"To":[{"Address":"a@a.example"}],"Text":"ü"}'
    headers = [basic(), ("Content-Type", f'multipart/form-data; charset="{charset}"; boundary=bound')]
    body = multipart(field_of("request", request.encode()), field_of("attachedfile", b"x", "bücher"))
    assert (await asked(here.app, headers=headers, body=body)).status == 200
    [message] = await here.queued()
    assert b"filename*=utf-8''b%C3%BCcher" in await here.raw(message)


async def test_octets_that_are_no_utf8_are_the_same_in_both_forms(here: World) -> None:
    bad = b'{"To":[{"Address":"a@a.example"}],"Text":"\xc3\xbc\xff"}'
    one = await asked(here.app, body=form(bad))
    two = await asked(here.app, headers=(MULTIPART, basic()), body=multipart(field_of("request", bad)))
    assert (one.status, one.body) == (two.status, two.body)
    assert one.code == "protocol"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"request",
        b"request=",
        b"request=%20",
        b"request=%7b%7",
        b"request=%zz",
        b"other=%7B%7D",
        b"REQUEST=%7B%7D",
        b"a;request=%7B%7D",
        b"\x00",
        SEND.encode(),
    ],
)
async def test_a_form_without_a_request(here: World, body: bytes) -> None:
    assert (await asked(here.app, body=body)).code == "protocol"


async def test_the_first_of_two_requests_counts_in_both_forms(here: World) -> None:
    other = SEND.replace("a@a", "b@b")
    await asked(here.app, body=form(SEND) + b"&" + form(other))
    both = multipart(field_of("request", SEND.encode()), field_of("request", other.encode()))
    await asked(here.app, headers=(MULTIPART, basic()), body=both)
    assert [message.recipient for message in await here.queued()] == ["a@a.example", "a@a.example"]


@pytest.mark.parametrize(
    "part",
    [
        field_of("request", SEND.encode(), "file"),
        field_of("attachedfile", b"x"),
        ("Content-Disposition: form-data", b"x"),
        ("Content-Type: text/plain", b"x"),
        ("X", b""),
        ("X: " + "y" * 100_000, b""),
        ('Content-Disposition: form-data; name="attachedfile"; filename="a"\r\nContent-Id: a\x01b', b""),
        ('Content-Disposition: form-data; name="attachedfile"; filename="a"\r\nContent-Type: a\r\n b', b""),
        ('Content-Disposition: form-data; name="attachedfile"; filename="a"\r\nContent-Type: no', b""),
    ],
)
async def test_a_part_that_is_wrong(here: World, part: tuple[str, bytes]) -> None:
    body = multipart(part) if "request" in part[0] else multipart(field_of("request", SEND.encode()), part)
    assert (await asked(here.app, headers=(MULTIPART, basic()), body=body)).code in ("protocol", "user")
    assert await here.queued() == ()


async def test_files_without_names(here: World) -> None:
    files = [field_of(f"{kind}file", b"x", "") for kind in ("alternative", "inline", "attached")]
    body = multipart(field_of("request", SEND.encode()), *files)
    assert (await asked(here.app, headers=(MULTIPART, basic()), body=body)).status == 200
    [message] = await here.queued()
    assert (await here.raw(message)).count(b"\r\nContent-Type: ") > 3


@pytest.mark.parametrize(
    "request_",
    [
        "",
        "x",
        "[]",
        "1",
        SEND + "x",
        SEND.replace('"Text"', '"text"'),
        SEND[:-1] + ',"Unknown":1}',
        SEND[:-1] + ',"Text":1}',
        SEND[:-1] + ',"SaveSent":1}',
        SEND[:-1] + ',"FutureRelease":"tomorrow"}',
        SEND[:-1] + ',"FutureRelease":1e400}',
        SEND[:-1] + ',"Headers":[["a"]]}',
        SEND[:-1] + ',"Headers":[["a","b","c"]]}',
        SEND[:-1] + ',"Extra":{"a":{}}}',
        "[" * 100_000,
        '{"To":' * 100_000,
        '{"To":' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
)
async def test_a_request_that_is_none(here: World, request_: str) -> None:
    assert (await asked(here.app, body=form(request_))).code == "protocol"
    assert await here.queued() == ()


@pytest.mark.parametrize("number", ["9" * 5000, "1e999999999", "-1e-999999999", "1.5", "9223372036854775808", "NaN"])
async def test_huge_numbers(here: World, number: str) -> None:
    for name, request in (("MessageGet", f'{{"MsgID":{number}}}'), ("MessagePartGet", f'{{"PartPath":[{number}]}}')):
        assert (await asked(here.app, f"/v0/{name}", body=form(request))).code == "protocol"


@pytest.mark.parametrize("data", ["!", "a", "YQ", "Y Q==", "YQ==YQ==", "ü"])
async def test_bad_base64(here: World, data: str) -> None:
    request = SEND[:-1] + f',"AttachedFiles":[{{"Data":"{data}"}}]}}'
    assert (await asked(here.app, body=form(request))).code in ("user", "protocol")
    assert (await asked(here.app, "/v0/SendRaw", body=form(f'{{"Message":"{data}"}}'))).code in ("user", "protocol")
    assert await here.queued() == ()


BASE: dict[str, Any] = json.loads(SEND)
EVIL = "e\r\nX-Evil: 1\r\n\r\nx"
ANYWHERE: list[dict[str, Any]] = [
    *[{name: [{"Address": "a@a.example", "Name": EVIL}]} for name in ("To", "CC", "BCC", "ReplyTo")],
    *[{name: [{"Address": f'"{EVIL}"@a.example'}]} for name in ("To", "CC", "BCC", "ReplyTo", "From")],
    *[{name: [{"Address": f"a@{EVIL}.example"}]} for name in ("To", "CC", "BCC", "ReplyTo", "From")],
    {"From": [{"Address": "me@here.example", "Name": EVIL}]},
    {"MessageID": f"<{EVIL}@x>"},
    {"References": [f"<{EVIL}@x>"]},
    {"References": ["<a@x>", EVIL]},
    {"Subject": EVIL},
    {"Text": EVIL},
    {"HTML": EVIL},
    {"Extra": {EVIL: EVIL}},
    {"Headers": [[EVIL, "x"]]},
    {"Headers": [["X-A", EVIL]]},
    *[
        {kind: [{"Data": "eA==", name: EVIL}]}
        for kind in ("AlternativeFiles", "InlineFiles", "AttachedFiles")
        for name in ("Name", "ContentType", "ContentID")
    ],
    {"Date": EVIL},
    {"FutureRelease": EVIL},
]


@pytest.mark.parametrize("control", ["\r\n", "\n", "\r", "\0", "\x0b", "\x7f", "\x85", "\u2028", "\ud800"])
async def test_no_field_gets_anything_into_the_header(here: World, control: str) -> None:
    for more in ANYWHERE:
        text = json.dumps(BASE | more).replace(json.dumps("\r\n")[1:-1], json.dumps(control)[1:-1])
        answer = await asked(here.app, body=form(text))
        queued = await here.queued()
        if answer.status != 200:
            assert answer.code in ("user", "badAddress", "malformedMessageID", "badFrom", "protocol"), (more, answer)
            assert queued == ()
            continue
        for message in queued:
            head = (await here.raw(message)).partition(b"\r\n\r\n")[0]
            assert b"X-Evil" not in {line.partition(b":")[0] for line in head.split(b"\r\n")}, more
            assert not any(octet < 32 or octet == 127 for octet in head.replace(b"\r\n", b"").replace(b"\t", b"")), more
            assert b"\r" not in head.replace(b"\r\n", b"")
            assert b"\n" not in head.replace(b"\r\n", b"")
        await here.queue.drop(MessageFilter())


# paths


@pytest.mark.parametrize(
    "path",
    [
        *("/v0/../", "/v0//", "//", "//v0/Send", "/v0/Send/", "/v0/send", "/v0/Nothing", "/v0", "/v1/Send", "/."),
        *("/v0/../v0/Send", "/v0/%53end", "/v0/Send%00", "/v0/Send\0", "/v0/../pages.py", "/v0/../../service.py"),
        *("/v0/assets/webapi.js", "/v0/./Send", "/v0/webapi.js/", "/v0/\r\nX: y", "/v0/ü", "/v0/__class__"),
        "/v0/" + "x" * 100_000,
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "BREW"])
async def test_there_is_nothing_at_other_paths(here: World, path: str, method: str) -> None:
    answer = await asked(here.app, path, method=method, headers=(FORM,), body=form(SEND))
    assert answer.status == 404
    assert len(answer.body) < 200


async def test_other_methods_of_http(here: World) -> None:
    for path in ("/", "/v0/", "/v0/openapi.json", "/v0/webapi.js"):
        answer = await asked(here.app, path, method="POST", headers=())
        assert (answer.status, answer.headers["allow"]) == (405, "GET")
    for method in ("PUT", "DELETE", "OPTIONS", "TRACE"):
        answer = await asked(here.app, method=method)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, POST")
    assert await here.queued() == ()


@pytest.mark.parametrize("path", ["/v0/../v0/Send", "/v0/%53end", "/v0/%2e%2e/", "//v0/Send", "/v0/Send%2f"])
async def test_paths_as_uvicorn_reads_them(served: str, path: str) -> None:
    """What a path is decoded to is one path; none is taken for another one's."""
    port = urlsplit(served).port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
    status = int((await reader.readline()).split()[1])
    assert status == (401 if path == "/v0/%53end" else 404)
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("root", ["/a\r\nSet-Cookie: x=y", "/ü/☺", "//evil.example", "/a b", '/"><script>'])
async def test_the_redirect_stays_here_whatever_the_path_is(here: World, root: str) -> None:
    """Where an application is mounted may have a parameter in it, which is anybody's text."""
    answer = await asked(here.app, "", method="GET", headers=(), root=root)
    assert answer.status == 303
    location = answer.headers["location"]
    assert location.isascii()
    assert not location.startswith("//")
    assert location.endswith("/v0/")
    assert b"<script" not in answer.body


# logins


@pytest.mark.parametrize(
    "value",
    [
        *("", "\0", "Basic", "Basic ", "Bearer x", "basic !", "Basic \xff\xfe", "Basic Zm9v", "Basic /w=="),
        "Basic " + "A" * 100_000,
        "Digest " + "x" * 5000,
        basic("a\0@here.example")[1],
        basic(password=PASSWORD + "x")[1],
    ],
)
async def test_a_bad_authorization(here: World, value: str) -> None:
    answer = await asked(here.app, headers=(FORM, ("Authorization", value)), body=form(SEND))
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Basic realm="webapi", charset="UTF-8"'
    assert await here.queued() == ()


async def test_two_authorizations(here: World) -> None:
    answer = await asked(here.app, headers=(FORM, basic(), basic("other@here.example")), body=form(SEND))
    assert answer.status == 401


async def test_hundreds_of_wrong_passwords(here: World) -> None:
    asking = [asked(here.app, headers=(FORM, basic(password=f"{n}")), body=form(SEND)) for n in range(300)]
    statuses = [answer.status for answer in await asyncio.gather(*asking)]
    assert statuses.count(401) == 10
    assert statuses.count(429) == 290
    right = await asked(here.app, body=form(SEND))
    assert right.status == 429
    wait = int(right.headers["retry-after"])
    assert 0 < wait <= 60
    assert (await asked(here.app, body=form(SEND), ip="198.51.100.1")).status == 200, "others are let in"
    here.clock.set(here.clock.now() + timedelta(seconds=wait))
    assert (await asked(here.app, body=form(SEND))).status == 200
    assert isinstance(here.service.observer, Heard)
    results = [result for _, result in here.service.observer.calls]
    assert (results.count("badauth"), results.count("ratelimited")) == (10, 291)


async def test_accounts_that_cannot_be_asked(here: World, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        async def login(self, address: str, password: str) -> LoginResult:
            raise OSError("the database is gone: /secret")

    heard = Heard()
    service = Service(here.queue, Broken(), clock=here.clock, observer=heard)
    answer = await asked(asgi_app(service), body=form(SEND))
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert "the database is gone" in caplog.text
    assert heard.calls == [("Send", "server")]


async def test_a_client_without_an_address(here: World, caplog: pytest.LogCaptureFixture) -> None:
    answer = await asked(asgi_app(here.service), body=form(SEND), ip="unix:")
    assert answer.status == 500
    assert "no IP address is known" in caplog.text


@pytest.mark.parametrize(
    "headers",
    [
        [("Sec-Fetch-Site", "cross-site")],
        [("Sec-Fetch-Site", "same-site")],
        [("Sec-Fetch-Site", "same-origin, none")],
        [("Origin", "https://evil.example"), ("Host", "here.example")],
        [("Origin", "null"), ("Host", "here.example")],
        [("Origin", "http://["), ("Host", "here.example")],
        [("Origin", "https://here.example")],
        [("Origin", "https://here.example.evil.example"), ("Host", "here.example")],
        [("Origin", "https://evil.example"), ("Origin", "https://here.example"), ("Host", "here.example")],
        [("Sec-Fetch-Site", "none"), ("Sec-Fetch-Site", "cross-site")],
    ],
)
async def test_pages_of_other_sites_may_not_call(here: World, headers: Headers) -> None:
    answer = await asked(here.app, headers=(FORM, basic(), *headers), body=form(SEND))
    assert answer.status == 403
    assert await here.queued() == ()


@pytest.mark.parametrize(
    "headers",
    [
        [("Sec-Fetch-Site", "same-origin"), ("Origin", "https://here.example"), ("Host", "other.example")],
        [("Sec-Fetch-Site", "none")],
        [("Origin", "https://Here.example:8443"), ("Host", "here.example:8443")],
    ],
)
async def test_our_own_pages_may(here: World, headers: Headers) -> None:
    assert (await asked(here.app, headers=(FORM, basic(), *headers), body=form(SEND))).status == 200


@pytest.mark.parametrize("keys", [[""], ["x" * 256], ["a\tb"], ["\xfc"], ["a", "a"], ["a", "b"], ["a\0"]])
async def test_a_malformed_idempotency_key(here: World, keys: list[str]) -> None:
    headers = [("Idempotency-Key", key) for key in keys]
    for name in ("Send", "SendRaw", "SendBatch"):
        request = {"Send": SEND, "SendBatch": f'{{"Requests":[{SEND}]}}', "SendRaw": '{"Message":"eA=="}'}[name]
        answer = await asked(here.app, f"/v0/{name}", headers=(FORM, basic(), *headers), body=form(request))
        assert answer.code == "user"
    assert await here.queued() == ()


async def test_any_request_of_any_method_is_answered(here: World) -> None:
    requests = [
        "{}",
        '{"MsgID":-1}',
        '{"MsgID":1,"PartPath":[-1]}',
        '{"MsgID":9223372036854775807,"Flags":["\\u0000"],"DestMailboxName":"\\ud800"}',
        '{"EmailAddress":"\\u0000"}',
        '{"EmailAddress":"\\ud800@x"}',
        '{"EmailAddress":"a@a.example","Reason":"\\ud800\\u0000"}',
        '{"Requests":[{}]}',
    ]
    for method in METHODS:
        for request in requests:
            answer = await asked(here.app, f"/v0/{method.name}", body=form(request))
            assert answer.status in (200, 400)
            assert b'"server"' not in answer.body, (method.name, request, answer)
