"""`MailServer`: a real mail server that runs as a child process and puts what it accepts where a test can read it.

It lives in a file system of its own (chroot), made of its Debian packages, so it can have the paths and users that are
compiled in, while the machine has neither; see `tests.mtas.unpack`. Its port on loopback is its own, and nothing of it
is left when it is closed. Several at once, also of one kind and in several processes, do not meet.

Not known: a server that is killed with its watcher leaves its directory behind.
"""

import asyncio
import atexit
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import ClassVar, Self

import trustme
from tests.mtas.mail import Mail, read
from tests.mtas.unpack import COMPLETE, directory

PATIENCE = 20.0  # seconds; only ends what hangs
OLD = 1_000_000_000  # when configuration was written, says its file: Postfix waits until none is new any more
TICK = 0.01  # seconds between two looks at what the server has done
RELAYED = ("here.example", "hop.example", "later.example", "demo.example")
"""Domains whose mail goes to `Settings.next_hop`."""
INBOX = "/var/mail/inbox"
INBOX_USER = 63000  # its owner; of numbers that Debian gives to nobody unless asked (Policy 9.2.2), as all of them
SCRIPT = Path(__file__).with_name("unpack.py")

# Beside the server, a child waits for the end of our pipe, which comes without a line before it only when we are gone,
# however that happened, and ends the server's process group then.
LAUNCH = 'exec 3<&0; { read -r _ || kill -TERM -$$; } <&3 >/dev/null 2>&1 & exec "$@" 3<&- </dev/null'


class ServerMissingError(Exception):
    """The server is not unpacked here, or cannot be run by this user; the message says what would help."""


class ServerTroubleError(Exception):
    """The server did not do what it should; the message has what it logged."""


class Answer(StrEnum):
    """What a server can be told to answer to RCPT for an address."""

    REFUSED = "550 5.1.1 no such user here"
    LATER = "451 4.7.1 greylisted, try again later"
    FULL = "452 4.2.2 mailbox full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a server is set up.

    Attributes:
        hostname: its name.
        address: on which it listens, one of 127.0.0.0/8.
        port: where it listens there; 0 for a free one.
        certificate: what it has for STARTTLS, which it offers only then.
        max_size: of a message, in bytes.
        announce_size: whether its SIZE says so. OpenSMTPD's always does.
        max_recipients: of a transaction.
        smtputf8: whether it takes international addresses, if it can at all: OpenSMTPD cannot.
        next_hop: the port on loopback that mail for `RELAYED` goes on to, after it was accepted; 0: to none. Delays are
            told after a second then, and with it Exim offers DSN, which the others do anyway.
        hide_dsn: whether DSN is not offered for all that. OpenSMTPD's always is.
        users: who can log in, with which password. Only to Exim.
    """

    hostname: str = "mx.example"
    address: str = "127.0.0.1"
    port: int = 0
    certificate: trustme.LeafCert | None = None
    max_size: int = 16 * 1024 * 1024
    announce_size: bool = True
    max_recipients: int = 100
    smtputf8: bool = True
    next_hop: int = 0
    hide_dsn: bool = False
    users: Mapping[str, str] = field(default_factory=dict, repr=False)


class MailServer(ABC):
    """A server that is not started yet; as a context manager, one that runs.

    Args:
        settings: how it is set up.
        parent: where its directory is made; the system's directory for temporary files if not given.

    Attributes:
        port: where it listens, the same after each start.

    Raises:
        ServerMissingError: it cannot be run here.
        ValueError: settings that it does not have.
    """

    NAME: ClassVar[str]
    """As `tests.mtas.unpack` has it."""
    HAS_USERS: ClassVar[bool] = False
    """Whether `Settings.users` can be given."""
    HIDES_SIZE: ClassVar[bool] = True
    """Whether `Settings.announce_size` can be false."""
    USERS: ClassVar[Mapping[str, int]]
    """The users that are compiled in, each with a group of its name; the first may read the key of the certificate."""
    DIRECTORIES: ClassVar[Mapping[str, str]]
    """Directories that an installation makes, with their owners."""
    SETGID: ClassVar[Mapping[str, str]] = {}
    """Programs that have to run as a group, by its name."""
    SPOOLS: ClassVar[Sequence[str]]
    """Where an accepted message is until it is delivered, in the order in which it passes them."""
    LOGS: ClassVar[Sequence[str]] = ()
    """What it writes logs to, beside its output."""
    CONNECTED: ClassVar[str]
    """What it logs of each connection, as a regular expression."""
    ACCEPTED: ClassVar[str]
    """What it logs of each transaction that it accepts."""
    LEFT: ClassVar[str]
    """What it logs of each connection that ended, with how."""

    def __init__(self, settings: Settings | None = None, *, parent: Path | None = None) -> None:
        self.settings = settings or Settings()
        if self.settings.users and not self.HAS_USERS:
            raise ValueError(f"nobody can log in to {self.NAME}")
        if not self.settings.announce_size and not self.HIDES_SIZE:
            raise ValueError(f"{self.NAME} always announces SIZE")
        unpacked = _unpacked(self.NAME)
        self._holder = _bound_socket(self.settings.address, self.settings.port)
        self.port: int = self._holder.getsockname()[1]
        self._directory = Path(tempfile.mkdtemp(prefix=f"moxlib-{self.NAME}-", dir=parent))
        self.root = self._directory / "root"
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: dict[str, Answer] = {}
        atexit.register(self.close)
        try:
            shutil.copytree(unpacked, self.root, symlinks=True, copy_function=_link_or_copy)
            self._furnish()
        except BaseException:
            self.close()
            raise

    # What each server is for itself

    @abstractmethod
    def _files(self) -> Mapping[str, str]:
        """Return its configuration, by path."""

    @abstractmethod
    def _command(self) -> Sequence[str]:
        """Return the program that runs in the foreground, with its arguments."""

    @abstractmethod
    def _publish(self, answers: Mapping[str, Answer]) -> None:
        """Have the server answer to addresses in this way from the next connection on; others it accepts."""

    # Running

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def start(self) -> None:
        """Start the server and return when it takes connections. No matter if it runs."""
        if self._process is not None and self._process.poll() is None:
            return
        with (self._directory / "output").open("ab") as output:
            self._process = subprocess.Popen(
                ("/bin/sh", "-c", LAUNCH, "sh", "/usr/sbin/chroot", str(self.root), *self._command()),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                cwd="/",
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
                start_new_session=True,  # a group of its own, to be ended whole
            )
        for _ in self._patiently("start"):
            if self._process.poll() is not None:
                raise self._trouble("ended when it was started")
            if self._greets():
                break
            time.sleep(TICK)

    def _greets(self) -> bool:
        try:
            with socket.create_connection((self.settings.address, self.port), PATIENCE) as peer:
                return peer.recv(1) == b"2"
        except ConnectionRefusedError:
            return False
        except OSError as error:
            raise self._trouble(f"does not greet ({error})") from error

    def stop(self) -> None:
        """Stop the server and all its children; return when that has ended. No matter if it does not run."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()  # does nothing to a process that has ended
        with suppress(subprocess.TimeoutExpired):
            process.communicate(b"\n", timeout=PATIENCE)  # the watcher may go: it is waiting for this line
        with suppress(ProcessLookupError):  # the usual case: no child has outlived it
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()

    def close(self) -> None:
        """Stop the server and remove all that it had. It cannot be started again."""
        atexit.unregister(self.close)
        try:
            self.stop()
        finally:
            self._holder.close()
            shutil.rmtree(self._directory, ignore_errors=True)

    def run(self, *command: str) -> str:
        """Run another program in the server's file system and return what it printed.

        Raises:
            ServerTroubleError: it failed.
        """
        done = subprocess.run(
            ("/usr/sbin/chroot", str(self.root), *command), capture_output=True, text=True, check=False, cwd="/"
        )
        if done.returncode:
            raise self._trouble(f"failed at {command}: {done.stderr.strip()}")
        return done.stdout

    # What a test asks of it

    def answer(self, address: str, answer: Answer | None) -> None:
        """Have RCPT for `address` answered in this way, or accepted, by connections that begin from now on."""
        if answer is None:
            self._answers.pop(address, None)
        else:
            self._answers[address] = answer
        self._publish(self._answers)

    def forget(self) -> None:
        """Remove what is in the mailbox, and accept every address again, as if it were new. It has to run."""
        for path in self.path(f"{INBOX}/new").glob("*"):
            path.unlink()
        if self._answers:
            self._answers.clear()
            self._publish(self._answers)

    @property
    def log(self) -> str:
        """All that the server has said."""
        return self.said()

    def mark(self) -> tuple[int, ...]:
        """Return how much the server has said until now, for `said` and `logged`."""
        return tuple(path.stat().st_size if path.exists() else 0 for path in self._logs())

    def said(self, *since: int) -> str:
        """Return what the server has said beyond a `mark`."""
        starts = dict(zip(self._logs(), since, strict=False))
        said = b"".join(path.read_bytes()[starts.get(path, 0) :] for path in self._logs() if path.exists())
        return said.decode(errors="backslashreplace")

    async def logged(self, pattern: str, *since: int, count: int = 1) -> list[str]:
        """Wait until what it says beyond a `mark` has `count` matches at least, lines mostly; return them all."""
        for _ in self._patiently(f"log {count} of {pattern!r}"):
            found = [match[0] for match in re.finditer(pattern, self.said(*since), re.MULTILINE)]
            if len(found) >= count:
                return found
            await asyncio.sleep(TICK)
        raise AssertionError  # not reached: patience ends with an exception

    async def mail(self) -> list[Mail]:
        """Wait until it has delivered all that it accepted, and return what is new in its mailbox since the last time.

        A message that it tries again later ends the wait as an error.
        """
        for _ in self._patiently("deliver what it had accepted"):
            if not any(self._spooled()):
                break
            await asyncio.sleep(TICK)
        new = sorted(self.path(f"{INBOX}/new").glob("*"))
        try:
            return [read(path.read_bytes()) for path in new]
        finally:
            for path in new:
                path.unlink()

    def path(self, name: str) -> Path:
        """Return where on the machine is what the server knows as `name`, an absolute path."""
        return self.root / name.lstrip("/")

    # Within

    def _logs(self) -> list[Path]:
        return [self._directory / "output", *(self.path(name) for name in self.LOGS)]

    def _spooled(self) -> Iterator[Path]:
        """Return files of messages that are not delivered yet."""
        for name in self.SPOOLS:
            for place, _, files in os.walk(self.path(name)):
                yield from (Path(place, file) for file in files)

    def _patiently(self, what: str) -> Iterator[None]:
        """Count the looks at something until it must have happened, and raise if it has not."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            yield
        raise self._trouble(f"did not {what} within {PATIENCE:g} seconds")

    def _trouble(self, what: str) -> ServerTroubleError:
        return ServerTroubleError(f"{self.NAME} {what}; it said:\n{self.log}")

    def _furnish(self) -> None:
        """Add to the packages' files what an installation would, and the configuration."""
        users = {"root": 0, **self.USERS, "inbox": INBOX_USER, "nobody": 65534}
        self._write("/etc/passwd", "".join(f"{name}:x:{uid}:{uid}::/:/bin/false\n" for name, uid in users.items()))
        self._write("/etc/group", "".join(f"{name}:x:{uid}:\n" for name, uid in users.items()))
        self._write("/etc/hosts", f"127.0.0.1 localhost\n{self.settings.address} {self.settings.hostname}\n")
        self._write("/etc/resolv.conf", "nameserver 127.0.0.1\n")  # never asked
        # Files serve for devices, which would take a privilege more, and a file system that allows them.
        self._write("/dev/null", "", mode=0o666)
        self._write("/dev/urandom", secrets.token_hex(1 << 16), mode=0o644)
        for name, owner in {"/tmp": "root", f"{INBOX}/new": "inbox", **self.DIRECTORIES}.items():
            self.path(name).mkdir(parents=True, exist_ok=True)
            self.path(name).chmod(0o711)  # as OpenSMTPD insists on; to the others it is all the same
            os.chown(self.path(name), users[owner], users[owner])
        for name in (INBOX, f"{INBOX}/cur", f"{INBOX}/tmp"):
            self.path(name).mkdir(exist_ok=True)
            os.chown(self.path(name), users["inbox"], users["inbox"])
        self.path("/tmp").chmod(0o1777)
        if self.settings.certificate is not None:
            chain = b"".join(part.bytes() for part in self.settings.certificate.cert_chain_pems)
            self._write("/etc/ssl/chain.pem", chain.decode())
            key = self.settings.certificate.private_key_pem.bytes().decode()
            self._write("/etc/ssl/key.pem", key, mode=0o640)
            os.chown(self.path("/etc/ssl/key.pem"), 0, next(iter(self.USERS.values())))
        for name, group in self.SETGID.items():
            program = self.path(name)
            content = program.read_bytes()
            program.unlink()  # as in _write
            program.write_bytes(content)
            os.chown(program, 0, users[group])
            program.chmod(0o2755)
        for name, text in self._files().items():
            self._write(name, text)

    def _write(self, name: str, text: str, *, mode: int = 0o644) -> None:
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # what is there is the packages', for all servers of this kind
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        os.utime(path, (OLD, OLD))


def _unpacked(name: str) -> Path:
    """Return where a server is unpacked."""
    path = directory() / name
    if not (path / COMPLETE).exists():
        raise ServerMissingError(f"{name} is not in {directory()}: run python3 {SCRIPT}")
    if sys.platform != "linux" or os.geteuid() != 0:
        raise ServerMissingError(f"{name} needs root: it runs in a root directory and under users of its own")
    return path


def _link_or_copy(source: str, destination: str) -> None:
    try:
        os.link(source, destination, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, destination, follow_symlinks=False)


def _bound_socket(address: str, port: int) -> socket.socket:
    """Return a socket that is bound and does not listen.

    On Linux, the server can do so on the same port, while nobody else is given it.
    """
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((address, port))
    return bound
