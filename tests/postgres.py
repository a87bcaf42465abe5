"""`PostgresServer`: a private PostgreSQL, run from the programs that the system has, for tests and benchmarks.

It is a child process on a loopback port of its own, with its data in a directory of its own, and nothing of it is left
when it is closed. Several at once, also in several processes, do not meet.
"""

import atexit
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, Literal, Self

import psycopg

USER = "postgres"
PATIENCE = 60.0  # seconds; only ends what hangs

StopMode = Literal["smart", "fast", "immediate"]
SIGNALS: Mapping[StopMode, signal.Signals] = {
    "smart": signal.SIGTERM,  # waits until the last client has left
    "fast": signal.SIGINT,  # rolls back, throws the clients out, writes a checkpoint
    "immediate": signal.SIGQUIT,  # as if it crashed: the next start recovers from the log
}

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "log_line_prefix": "%m [%p] ",
    "timezone": "UTC",
}
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}

# The server is the process itself; beside it, a child waits for the end of our pipe, which comes without a line before
# it only when we are gone, however that happened, and stops the server then. PR_SET_PDEATHSIG would do it too early:
# when the thread ends that started the server.
LAUNCH = 'exec 3<&0; { read -r _ || kill -QUIT $$; } <&3 >/dev/null 2>&1 & exec "$@" 3<&- </dev/null'


class PostgresMissingError(Exception):
    """PostgreSQL is not installed here."""


class PostgresTroubleError(Exception):
    """The server, or initdb, ended when it should not, or did not when it should; the message has what it logged."""


def programs() -> Path:
    """Return the directory with `initdb` and `postgres`: that on PATH, or the newest of Debian's.

    Raises:
        PostgresMissingError: there is none.
    """
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    newest_first = sorted((path for path in versions if path.parent.name.isdecimal()), key=_version, reverse=True)
    on_path = [Path(name) for name in os.get_exec_path()]
    for directory in (*on_path, *newest_first):
        if all(os.access(directory / name, os.X_OK) for name in ("initdb", "postgres")):
            return directory
    raise PostgresMissingError("initdb and postgres are neither on PATH nor in /usr/lib/postgresql/*/bin")


def _version(path: Path) -> int:
    return int(path.parent.name)


class PostgresServer:
    """A server that is not started yet; as a context manager, one that runs.

    Args:
        parent: where its directory is made; the system's directory for temporary files if not given.
        fsync: whether what is committed survives the machine, as in production. Without it, it survives the server.
        settings: more of what goes in postgresql.conf.

    Attributes:
        directory: what is the server's own, its data and its log.
        url: a connection string for its database `postgres`, as a superuser without a password.
        port: where it listens on 127.0.0.1, the same after each start.

    Raises:
        PostgresMissingError: PostgreSQL is not installed here.
    """

    def __init__(
        self, parent: Path | None = None, *, fsync: bool = False, settings: Mapping[str, str] | None = None
    ) -> None:
        self._programs = programs()
        self._settings = SETTINGS | ({} if fsync else NOT_DURABLE) | dict(settings or {})
        self.directory = Path(tempfile.mkdtemp(prefix="moxlib-postgres-", dir=parent)).resolve()
        self._data = self.directory / "data"
        self._log = self.directory / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)
        self._holder = _bound_socket()
        self.port: int = self._holder.getsockname()[1]
        if sys.platform != "linux":
            self._holder.close()  # elsewhere the server could not listen beside it
        self.url = self._url(USER)
        atexit.register(self.close)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def running(self) -> bool:
        """Whether the server's process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """All that the server has logged."""
        return self._log.read_text(encoding="utf-8", errors="backslashreplace") if self._log.exists() else ""

    def start(self) -> None:
        """Start the server and return when it takes connections; the first time, make its data before."""
        if self.running:
            return
        if not self._data.exists():
            self._init()
        self._process = self._run(
            "/bin/sh", "-c", LAUNCH, "sh", str(self._programs / "postgres"), "-D", str(self._data)
        )
        self._wait_until_ready(self._process)

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server and return when it has ended. No matter if it does not run."""
        if self._process is None:
            return
        self._process.send_signal(SIGNALS[mode])  # does nothing to a process that has ended
        try:
            # The watcher may go: it is waiting for this line.
            self._process.communicate(b"\n", timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()  # its children notice
            self._process.communicate()
            raise PostgresTroubleError(f"PostgreSQL did not stop:\n{self.log}") from None
        finally:
            self._process = None

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop the server and start it again on the same port and data."""
        self.stop(mode)
        self.start()

    def close(self) -> None:
        """Stop the server and remove all that it had. It cannot be started again."""
        atexit.unregister(self.close)
        try:
            self.stop("immediate")
        finally:
            self._holder.close()
            shutil.rmtree(self.directory, ignore_errors=True)

    def execute(self, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
        """Run one statement in the database `postgres` and return its rows."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(query.encode(), arguments)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def schema(self) -> Iterator[str]:
        """Give the name of a schema that there is not yet, and drop it afterwards, with all in it, if there is.

        A server that was stopped meanwhile is started for that.
        """
        name = f"test{next(self._numbers)}"
        yield name
        self.start()
        # Whoever is still in a transaction on it would make this wait for ever.
        with psycopg.connect(self.url, autocommit=True, options="-c lock_timeout=10s") as connection:
            connection.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE".encode())

    @contextmanager
    def database(self) -> Iterator[str]:
        """Make an empty database, give its connection string, and drop it afterwards, whoever uses it.

        For both, a server that is stopped is started.
        """
        self.start()
        name = f"test{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        yield self._url(name)
        self.start()
        self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _url(self, database: str) -> str:
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def _init(self) -> None:
        # An order of text that is not that of its bytes, as most installations have.
        locale = ["--locale=C", "--encoding=UTF8", "--locale-provider=icu", "--icu-locale=en-US"]
        options = ["--no-sync", "--no-instructions", "--auth=trust", f"--username={USER}", *locale]
        process = self._run(str(self._programs / "initdb"), *options, "-D", str(self._data))
        process.communicate()
        if process.returncode:
            raise PostgresTroubleError(f"initdb failed:\n{self.log}")
        with (self._data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in (self._settings | {"port": self.port}).items())

    def _run(self, *command: str) -> subprocess.Popen[bytes]:
        """Run a program in the server's directory, without our settings, and not as root, which it refuses."""
        user = self._user
        env = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env=env | {"LC_ALL": "C"},
                start_new_session=True,  # a terminal's Ctrl-C is for the tests, which stop the server when they end
                user=user and user.pw_uid,
                group=user and user.pw_gid,
                extra_groups=[] if user else None,
            )

    @cached_property
    def _user(self) -> pwd.struct_passwd | None:
        """Whom the programs run as, if not as ourselves; the directory is theirs then."""
        if os.geteuid() != 0:
            return None
        user = _unprivileged()
        os.chown(self.directory, user.pw_uid, user.pw_gid)
        closed = [path for path in self.directory.parents if not path.stat().st_mode & stat.S_IXOTH]
        if closed:
            raise PostgresTroubleError(f"PostgreSQL runs as {user.pw_name}, who may not pass through {closed[0]}")
        return user

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not self._says_ready(process.pid):
            try:
                process.wait(0.02)
            except subprocess.TimeoutExpired:
                if time.monotonic() < deadline:
                    continue
                self.stop("immediate")
            raise PostgresTroubleError(f"PostgreSQL did not start:\n{self.log}")

    def _says_ready(self, pid: int) -> bool:
        """Tell whether the server has written, as it does for pg_ctl, that it takes connections."""
        try:
            lines = (self._data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return False
        return lines[:1] == [str(pid)] and lines[7:] != [] and lines[7].strip() == "ready"


def _unprivileged() -> pwd.struct_passwd:
    """Return the user whom root runs the server as."""
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _bound_socket() -> socket.socket:
    """Return a socket that is bound to a free port on 127.0.0.1.

    It does not listen, so that on Linux the server can do so on the same port, while nobody else is given it, not even
    when the server is down.
    """
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", 0))
    return bound
