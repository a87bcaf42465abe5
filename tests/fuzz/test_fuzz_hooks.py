"""Any Retry-After is a wait within bounds or none, any answer has a verdict, and any URL is taken or refused."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from hypothesis import given
from hypothesis import strategies as st

from moxlib.errors import InputError
from moxlib.queue.hooks import (
    MAX_RETRY_AFTER,
    CallResult,
    Disable,
    HookCaller,
    HookConfig,
    Refused,
    Retry,
    Success,
    judge,
)
from moxlib.queue.hooks.retry_after import read_retry_after

times = st.datetimes(min_value=datetime(1900, 1, 1), timezones=st.just(UTC)).map(
    lambda time: time.replace(microsecond=0)
)
parts = st.sampled_from(
    ["Sun", "Sunday", ", ", " ", "  ", "-", "06", "Nov", "1994", "94", "08:49:37", "GMT", "0", "30", "9", "99:99:99"]
)
values = st.text(st.characters(codec=None)) | st.lists(parts).map("".join) | st.text("0123456789", max_size=5000)


@given(values, times)
def test_any_wait(value: str, now: datetime) -> None:
    wait = read_retry_after(value, now)
    assert wait is None or timedelta(0) <= wait <= MAX_RETRY_AFTER


@given(times, times)
def test_every_date_is_read(date: datetime, now: datetime) -> None:
    expected = max(timedelta(0), min(date - now, MAX_RETRY_AFTER))
    assert read_retry_after(format_datetime(date, usegmt=True), now) == expected
    assert read_retry_after(date.ctime(), now) == expected


@given(st.integers(min_value=0, max_value=10**12), times)
def test_every_number_is_read(seconds: int, now: datetime) -> None:
    assert read_retry_after(str(seconds), now) == min(timedelta(seconds=min(seconds, 10**6)), MAX_RETRY_AFTER)


@given(st.integers(), st.dictionaries(st.sampled_from(["Retry-After", "LOCATION", "x"]), values), times)
def test_any_answer(status: int, headers: dict[str, str], now: datetime) -> None:
    verdict = judge(status, headers, now=now)
    assert isinstance(verdict, Success) == (status in range(200, 300))
    assert isinstance(verdict, Refused) == (status in range(300, 400))
    assert isinstance(verdict, Disable) == (status == 410)
    match verdict:
        case Retry(after=after):
            assert after is None or timedelta(0) < after <= MAX_RETRY_AFTER
        case Refused(location=location):
            assert len(location) <= 200
            assert location.isprintable()
        case _:
            pass


pieces = st.sampled_from(
    ["http", "https", "HTTP", "://", ":", "/", "//", "@", "?", "#", "\\", "[", "]", "%", "%25", ".", "..", "127",
     "0x7f", "::1", "localhost", "a.example", "::ffff:127.0.0.1", "80", " ", "\n", "\u3002", "\uff11", "1"]
)  # fmt: skip


@given(
    st.text(st.characters(codec=None))
    | st.lists(pieces).map("".join)
    | st.lists(pieces).map(lambda p: "http://" + "".join(p))
)
def test_any_url(url: str) -> None:
    for allow_private in (False, True):
        try:
            config = HookConfig(url=url, allow_private=allow_private)
        except InputError as caught:
            text = str(caught)
        else:
            text = config.url
            assert url.isascii()
            assert "@" not in url.partition("://")[2].partition("/")[0].partition("?")[0]
        assert len(text) < 2500
        assert text.isprintable()


lines = st.builds(
    lambda begin, text, times, end: begin + text * times + end,
    st.sampled_from(
        [b"HTTP/1.1 200 OK", b"HTTP/1.1 ", b"HTTP/1.0 404 ", b"HTTP/1.1 100 x", b"HTTP/1.1 101 x", b"Content-Length: ",
         b"Transfer-Encoding: chunked", b"Connection: close", b"Content-Encoding: gzip", b"4", b"", b"X: "]
    ),
    st.binary(max_size=8) | st.sampled_from([b"5", b"99", b"200"]),
    st.sampled_from([0, 0, 1, 1, 3000]),
    st.sampled_from([b"\r\n", b"\n", b"\r\n\r\n", b""]),
)  # fmt: skip
answers = st.lists(lines, max_size=12).map(b"".join)


async def answered(octets: bytes) -> CallResult:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(octets)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not used, and quicker to make than one with authorities
    async with server, HookCaller(ssl_context=context) as caller:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        config = HookConfig(url=url, allow_private=True)
        return await caller.call(config, config.call([(1, b"{}")], attempt=1))


@given(answers)
def test_any_octets_in_answer(octets: bytes) -> None:
    result = asyncio.run(answered(octets))
    assert (result.status == 0) <= (result.verdict == Retry())
    assert (result.error == "") == isinstance(result.verdict, Success)
    assert len(result.text) <= 512
    assert len(result.error) < 1000
    assert result.error.isprintable()
