"""The tracing reader and writer, and what of secrets they show."""

import asyncio
import io
import logging
from collections.abc import Iterator

import pytest

from moxlib.moxio import (
    TRACE,
    TRACE_AUTH,
    TRACE_DATA,
    AsyncTraceReader,
    AsyncTraceWriter,
    TraceReader,
    TraceWriter,
    log_trace,
)


@pytest.fixture
def logger(caplog: pytest.LogCaptureFixture) -> Iterator[logging.Logger]:
    logger = logging.getLogger("test_moxio_trace")
    with caplog.at_level(1, logger.name):
        logger.setLevel(TRACE)
        yield logger


class Gone:
    def write(self, data: bytes, /) -> int:
        raise BrokenPipeError(32, "Broken pipe")


Traced = TraceWriter | TraceReader


def shown(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str, int | None]]:
    records = [(record.levelno, record.getMessage(), record.__dict__["size"]) for record in caplog.records]
    caplog.clear()
    return records


def test_the_levels_lie_below_debug_the_more_secret_the_quieter() -> None:
    assert logging.DEBUG > TRACE > TRACE_AUTH > TRACE_DATA > logging.NOTSET


def write_a_session(writer: TraceWriter) -> None:
    writer.write(b"AUTH PLAIN\r\n")
    writer.set_trace(TRACE_AUTH)
    writer.write(b"AHVzZXIAc2VjcmV0\r\n")
    writer.set_trace(TRACE_DATA)
    writer.write(b"Subject: \xe9\r\n")
    writer.set_trace(TRACE)
    writer.write(b".\r\n")


AUTH, DATA = (r"LC: AHVzZXIAc2VjcmV0\r\n", 18), (r"LC: Subject: \xe9\r\n", 12)


@pytest.mark.parametrize(
    ("level", "auth", "data"),
    [
        (TRACE, (TRACE, "LC: ***", None), (TRACE, "LC: ...", 12)),
        (TRACE_AUTH, (TRACE_AUTH, *AUTH), (TRACE, "LC: ...", 12)),
        (TRACE_DATA, (TRACE_AUTH, *AUTH), (TRACE_DATA, *DATA)),
    ],
)
def test_what_a_logger_shows_is_decided_by_its_level(
    logger: logging.Logger,
    caplog: pytest.LogCaptureFixture,
    level: int,
    auth: tuple[int, str, int | None],
    data: tuple[int, str, int | None],
) -> None:
    logger.setLevel(level)
    out = io.BytesIO()
    write_a_session(TraceWriter(logger, "LC: ", out))
    assert shown(caplog) == [(TRACE, r"LC: AUTH PLAIN\r\n", 12), auth, data, (TRACE, r"LC: .\r\n", 3)]
    assert out.getvalue() == b"AUTH PLAIN\r\nAHVzZXIAc2VjcmV0\r\nSubject: \xe9\r\n.\r\n"


def test_a_logger_that_does_not_trace_shows_nothing(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    logger.setLevel(logging.DEBUG)
    write_a_session(TraceWriter(logger, "LC: ", io.BytesIO()))
    assert shown(caplog) == []


def test_data_is_never_a_format_string(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    log_trace(logger, TRACE, "%s: ", b"100%s %(x)s \\")
    assert shown(caplog) == [(TRACE, "%s: 100%s %(x)s \\\\", 13)]


def test_a_logger_adapter_will_do(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    log_trace(logging.LoggerAdapter(logger), TRACE, "LC: ", bytearray(b"x"))
    assert [record.getMessage() for record in caplog.records] == ["LC: x"]


def test_a_write_that_fails_has_been_logged(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(BrokenPipeError):
        TraceWriter(logger, "LC: ", Gone()).write(b"QUIT\r\n")
    assert shown(caplog) == [(TRACE, r"LC: QUIT\r\n", 6)]


def test_a_reader_logs_what_it_read_and_not_the_end(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    reader = TraceReader(logger, "RS: ", io.BytesIO(b"220 hi\r\nsecret"))
    assert reader.read(8) == b"220 hi\r\n"
    reader.set_trace(TRACE_AUTH)
    assert reader.read() == b"secret"
    assert reader.read(1) == b""
    assert shown(caplog) == [(TRACE, r"RS: 220 hi\r\n", 8), (TRACE, "RS: ***", None)]
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        reader.read(1)


def test_a_reader_under_a_buffer(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    lines = io.BufferedReader(TraceReader(logger, "", io.BytesIO(b"one\ntwo\n")))
    assert list(lines) == [b"one\n", b"two\n"]
    assert shown(caplog) == [(TRACE, r"one\ntwo\n", 8)]


async def test_asyncio_streams(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(100))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        plain_reader, plain_writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        reader = AsyncTraceReader(logger, "R: ", plain_reader)
        writer = AsyncTraceWriter(logger, "L: ", plain_writer)
        writer.set_trace(TRACE_AUTH)
        reader.set_trace(TRACE_DATA)
        writer.write(b"echo")
        await writer.drain()
        assert await reader.read(100) == b"echo"
        assert await reader.read(100) == b""
        assert not writer.is_closing()
        writer.close()
        await writer.wait_closed()
        assert writer.is_closing()
    assert shown(caplog) == [(TRACE, "L: ***", None), (TRACE, "R: ...", 4)]
