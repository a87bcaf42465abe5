"""The PostgreSQL that tests run on: it stops and starts as it is told, keeps its data and port, and leaves nothing."""

import os
import select
import shutil
import socket
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import psycopg
import pytest
from tests.postgres import PostgresMissingError, PostgresServer, PostgresTroubleError, StopMode, programs

ROOT = Path(__file__).parents[2]
GUARD = 60  # seconds after which a test that hangs fails instead


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    try:
        programs()
    except PostgresMissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def server(installed: None) -> Generator[PostgresServer]:
    """A server that only these tests use: they break it."""
    with PostgresServer() as made:
        yield made


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def postmaster(server: PostgresServer) -> int:
    [[line]] = server.execute("SELECT pg_read_file('postmaster.pid', 0, 10)")
    return int(line.split()[0])


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_breaks_connections_and_keeps_data_and_port(server: PostgresServer, mode: StopMode) -> None:
    server.start()
    with server.schema() as schema:
        server.execute(f"CREATE SCHEMA {schema}")
        server.execute(f"CREATE TABLE {schema}.kept AS SELECT 7 AS number")
        with psycopg.connect(server.url) as connection:
            connection.execute("SELECT 1")
            server.restart(mode)
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        assert server.execute(f"SELECT number FROM {schema}.kept") == [(7,)]
        assert f"received {mode} shutdown request" in server.log


def test_while_it_is_stopped_its_port_refuses_and_nobody_else_gets_it(server: PostgresServer) -> None:
    server.start()
    assert listens(server.port)
    server.stop()
    assert not server.running
    assert not listens(server.port)
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", server.port))
    server.stop()  # again, to no effect
    server.start()
    server.start()
    assert listens(server.port)


def test_a_schema_is_dropped_and_its_name_not_used_again(server: PostgresServer) -> None:
    server.start()
    with server.schema() as first, server.schema() as second:
        assert first != second
        server.execute(f"CREATE SCHEMA {first}")
    names = {name for (name,) in server.execute("SELECT nspname::text FROM pg_namespace")}
    assert "public" in names
    assert first not in names


def test_a_database_is_empty_and_dropped_though_it_is_in_use(server: PostgresServer) -> None:
    server.start()
    with server.database() as url:
        connection = psycopg.connect(url)
        tables = connection.execute("SELECT 1 FROM pg_class WHERE relnamespace = 'public'::regnamespace").fetchall()
        assert tables == []
        [[name]] = connection.execute("SELECT current_database()::text").fetchall()
    assert server.execute("SELECT 1 FROM pg_database WHERE datname = %s", name) == []
    connection.close()


def test_text_is_not_in_the_order_of_its_bytes(server: PostgresServer) -> None:
    server.start()
    assert server.execute("SELECT 'a' < 'B', 'a' < 'B' COLLATE \"C\"") == [(True, False)]


def test_what_is_committed_is_on_disk_if_asked_for(server: PostgresServer) -> None:
    server.start()
    assert server.execute("SHOW fsync") == [("off",)]
    with PostgresServer(fsync=True, settings={"shared_buffers": "16MB"}) as durable:
        assert durable.port != server.port
        assert [durable.execute(f"SHOW {name}") for name in ("fsync", "shared_buffers")] == [[("on",)], [("16MB",)]]


def test_a_setting_that_it_refuses_is_told_with_its_log_and_leaves_nothing() -> None:
    server = PostgresServer(settings={"max_connections": "many"})
    with pytest.raises(PostgresTroubleError, match="max_connections"):
        server.__enter__()
    assert not server.running
    assert not server.directory.exists()


def test_closing_leaves_neither_process_nor_file_nor_port() -> None:
    with PostgresServer() as server:
        pid = postmaster(server)
        directory = server.directory
        assert directory.exists()
    assert not lives(pid)
    assert not directory.exists()
    assert not listens(server.port)
    server.close()  # again, to no effect


PROGRAM = """
from tests.postgres import PostgresServer
server = PostgresServer()
server.start()
print(server.execute("SELECT pg_read_file('postmaster.pid', 0, 10)")[0][0].split()[0], server.directory, flush=True)
input()
"""


@pytest.mark.parametrize("killed", [False, True])
def test_the_server_ends_with_the_process_that_started_it(killed: bool) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pid, directory = process.stdout.readline().split()
        server = os.pidfd_open(int(pid))
        try:
            if killed:
                process.kill()
            process.communicate("\n", timeout=GUARD)
            assert select.select([server], [], [], GUARD)[0] == [server]
        finally:
            os.close(server)
    if killed:
        shutil.rmtree(directory)
    assert not Path(directory).exists()
