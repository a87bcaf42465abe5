"""is_closed and is_storage_space, on errors that the real things raise where they can be made to."""

import asyncio
import errno
import os
import pickle
import socket
import sqlite3
import ssl
import struct
from collections.abc import Callable, Iterator

import pytest

from moxlib.moxio import is_closed, is_storage_space


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    with ours, theirs:
        yield ours, theirs


def raised_by(call: Callable[[], object]) -> BaseException:
    with pytest.raises(Exception) as raised:
        call()
    return raised.value


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


Pair = tuple[socket.socket, socket.socket]


def test_a_reset_connection_is_closed(pair: Pair) -> None:
    ours, theirs = pair
    reset(theirs)
    err = raised_by(lambda: ours.recv(1))
    assert isinstance(err, ConnectionResetError)
    assert is_closed(err)


def test_a_broken_pipe_is_closed(pair: Pair) -> None:
    ours, _ = pair
    ours.shutdown(socket.SHUT_WR)
    err = raised_by(lambda: ours.send(b"x"))
    assert isinstance(err, BrokenPipeError)
    assert is_closed(err)


def test_what_we_closed_ourselves_is_closed(pair: Pair) -> None:
    ours, _ = pair
    file = ours.makefile("rb")
    file.close()
    assert is_closed(raised_by(file.readline))
    ours.close()
    assert is_closed(raised_by(lambda: ours.recv(1)))


def test_a_time_out_is_not(pair: Pair) -> None:
    ours, _ = pair
    ours.settimeout(0.001)
    err = raised_by(lambda: ours.recv(1))
    assert isinstance(err, TimeoutError)
    assert not is_closed(err)


def test_a_connection_that_never_came_about_is_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
    err = raised_by(lambda: socket.create_connection(address))
    assert isinstance(err, ConnectionRefusedError)
    assert not is_closed(err)


def ssl_error(reason: str) -> ssl.SSLError:
    err = ssl.SSLError(1, f"[SSL: {reason}]")
    err.reason = reason
    return err


@pytest.mark.parametrize(
    "err",
    [
        ConnectionAbortedError(),
        ConnectionResetError("Cannot write to closing transport"),  # asyncio, without a number
        OSError(errno.ESHUTDOWN, ""),
        OSError(errno.ENOTCONN, ""),
        ssl_error("TLSV1_ALERT_UNKNOWN_CA"),
        ssl_error("TLSV13_ALERT_CERTIFICATE_REQUIRED"),
        ssl_error("TLSV1_UNRECOGNIZED_NAME"),
        RuntimeError(
            "unable to perform operation on <TCPTransport closed=True reading=False 0x1>; the handler is closed"
        ),
    ],
    ids=repr,
)
def test_more_that_is_closed(err: BaseException) -> None:
    assert is_closed(err)
    assert not is_storage_space(err)


@pytest.mark.parametrize(
    "err",
    [
        None,
        EOFError(),
        asyncio.IncompleteReadError(b"", 1),
        OSError(errno.ENOSPC, ""),
        OSError(errno.ETIMEDOUT, ""),
        OSError("no number"),
        ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
        ssl.SSLZeroReturnError(6, "TLS/SSL connection has been closed (EOF)"),
        ssl.SSLError("no reason"),
        ssl_error("CERTIFICATE_VERIFY_FAILED"),
        ssl_error("WRONG_VERSION_NUMBER"),
        ValueError("something else"),
        RuntimeError("something else"),
        KeyError("closed file"),
    ],
    ids=repr,
)
def test_what_is_not_closed(err: BaseException | None) -> None:
    assert not is_closed(err)


def wrapped(err: BaseException) -> Iterator[BaseException]:
    """Yield errors that have `err` somewhere behind them."""
    by_cause = RuntimeError("by cause")
    by_cause.__cause__ = err
    yield by_cause
    by_context = RuntimeError("by context")
    by_context.__context__ = err
    yield by_context
    yield ExceptionGroup("by group", [ValueError(), ExceptionGroup("inner", [KeyError(), as_exception(err)])])
    deep = RuntimeError("far")
    deep.__cause__ = ExceptionGroup("g", [as_exception(err)])
    yield deep


def as_exception(err: BaseException) -> Exception:
    assert isinstance(err, Exception)
    return err


def test_causes_contexts_and_groups_are_searched() -> None:
    for err in wrapped(ConnectionResetError()):
        assert is_closed(err)
        assert not is_storage_space(err)
    for err in wrapped(OSError(errno.ENOSPC, "")):
        assert is_storage_space(err)
        assert not is_closed(err)


def test_a_context_that_was_suppressed_is_not_searched() -> None:
    err = RuntimeError()
    err.__context__ = ConnectionResetError()
    assert is_closed(err)
    err.__cause__ = None  # what `raise ... from None` does; it sets __suppress_context__
    assert not is_closed(err)


def test_a_loop_of_causes_ends() -> None:
    one, two = RuntimeError("one"), RuntimeError("two")
    one.__cause__, two.__cause__ = two, one
    assert not is_closed(one)
    two.__context__ = BrokenPipeError()
    two.__suppress_context__ = False
    assert is_closed(one)


def test_a_full_device_is_full() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        assert is_storage_space(raised_by(lambda: os.write(descriptor, b"x")))
    finally:
        os.close(descriptor)


def full_database_error() -> BaseException:
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute("create table t (x)")
        connection.execute("pragma max_page_count = 2")
        return raised_by(lambda: connection.execute("insert into t values (zeroblob(100000))"))
    finally:
        connection.close()


def test_a_full_database_is_full_also_without_its_code() -> None:
    err = full_database_error()
    assert str(err) == "database or disk is full"
    assert is_storage_space(err)
    plain = type(err)(*err.args)
    assert not hasattr(plain, "sqlite_errorcode")
    assert is_storage_space(plain)
    assert is_storage_space(pickle.loads(pickle.dumps(err)))


@pytest.mark.parametrize(
    "err",
    [None, OSError(errno.EIO, ""), OSError("no number"), sqlite3.OperationalError("database is locked"), EOFError()],
)
def test_what_is_not_full(err: BaseException | None) -> None:
    assert not is_storage_space(err)


def test_a_quota_is_storage() -> None:
    assert is_storage_space(OSError(errno.EDQUOT, ""))
