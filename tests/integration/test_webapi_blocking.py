"""The webapi's client for code that is not async, against a server in a thread."""

import inspect
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, assert_type
from urllib.parse import parse_qs

import pytest

from moxlib.blocking import ByteStream, Client
from moxlib.errors import LimitExceeded, StateError
from moxlib.webapi import (
    METHODS,
    MessageRawGetRequest,
    NameAddress,
    SendRequest,
    SendResult,
    Upload,
    Uploads,
    WebAPIError,
)
from moxlib.webapi import ByteStream as AsyncByteStream
from moxlib.webapi import Client as AsyncClient

SENT = b'{"MessageID":"<1@here.example>","Submissions":[]}'
HELLO = SendRequest(to=(NameAddress(address="a@one.example"),), text="hello")
MESSAGE = b"Subject: hi\r\n\r\n" + b"x" * 100_000


class Answering(BaseHTTPRequestHandler):
    """Answers as a server of the webapi would."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        match self.path.rpartition("/")[2]:
            case "Send" if b"attachedfile" in body or parse_qs(body)[b"request"]:
                self.answer(200, SENT)
            case "MessageRawGet":
                self.answer(200, MESSAGE)
            case _:
                self.answer(400, b'{"Code":"user","Message":"no"}')

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        pass


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    class Server(ThreadingHTTPServer):
        daemon_threads = False
        block_on_close = True

    with Server(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/webapi/v0/"
        finally:
            server.shutdown()
            thread.join()


def test_a_message_is_sent(base: str) -> None:
    with Client(base, username="me@here.example", password="secret") as client:
        result = assert_type(client.send(HELLO, idempotency_key="1"), SendResult)
        assert result.message_id == "<1@here.example>"
        uploads = Uploads(attached=(Upload(content=b"abc", name="a.txt"),))
        assert client.send(HELLO, uploads=uploads) == result
        with pytest.raises(WebAPIError, match="user: no"):
            client.message_get(METHODS[7].request(msg_id=1))


def test_several_threads_call_at_once(base: str) -> None:
    with Client(base) as client, ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: client.send(HELLO), range(20)))
    assert {result.message_id for result in results} == {"<1@here.example>"}


def test_a_message_is_streamed(base: str) -> None:
    with Client(base) as client:
        request = MessageRawGetRequest(msg_id=1)
        with client.message_raw_get(request) as stream:
            assert_type(stream, ByteStream)
            assert (stream.size, stream.content_type) == (len(MESSAGE), "application/json")
            assert b"".join(stream) == MESSAGE
        with client.message_raw_get(request) as stream:
            assert assert_type(stream.read(len(MESSAGE)), bytes) == MESSAGE
        with client.message_raw_get(request) as stream, pytest.raises(LimitExceeded):
            stream.read(10)
        with client.message_raw_get(request) as stream:
            assert next(iter(stream))
        assert client.send(HELLO).message_id


def test_it_is_open_or_closed(base: str) -> None:
    client = Client(base)
    assert client.base_url == base
    with pytest.raises(StateError, match="the client is not open"):
        client.send(HELLO)
    client.close()
    assert client.start().send(HELLO).message_id
    with pytest.raises(StateError, match="the client is open already"):
        client.start()
    client.close()
    client.close()
    with pytest.raises(StateError, match="the client is closed"):
        client.send(HELLO)
    with client:
        assert client.send(HELLO).message_id


# it is the async one


def public(class_: type) -> set[str]:
    return {name for name in dir(class_) if not name.startswith("_")}


def test_every_public_name_is_there_and_no_other() -> None:
    assert public(Client) - {"start", "close", "base_url"} == public(AsyncClient)
    assert public(ByteStream) - {"content_type", "size"} == public(AsyncByteStream)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_method_has_the_same_parameters(method: Any) -> None:
    here, there = getattr(Client, method.attribute), getattr(AsyncClient, method.attribute)
    assert inspect.signature(here).parameters == inspect.signature(there).parameters
    if method.result is None:
        assert inspect.signature(here).return_annotation == AbstractContextManager[ByteStream]
    else:
        assert inspect.signature(here).return_annotation is method.result
    assert here.__doc__
    assert "await " not in here.__doc__
    assert "async with" not in here.__doc__


def test_the_constructor_has_the_same_parameters_but_a_session() -> None:
    there = dict(inspect.signature(AsyncClient.__init__).parameters)
    del there["session"]  # which is of an event loop
    assert dict(inspect.signature(Client.__init__).parameters) == there
