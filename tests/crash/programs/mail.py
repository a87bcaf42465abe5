"""What the programs and the tests agree on: messages, configuration, and the lines they tell each other."""

import dataclasses
import hashlib
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from moxlib.queue import Queue, QueueConfig, RetrySchedule, WorkerConfig
from moxlib.queue.errors import StorageUnavailable
from moxlib.queue.hooks import HookConfig
from moxlib.queue.storage.postgres import engine
from moxlib.queue.storage.sqlite.storage import Transactions

SENDER = "sender@here.example"
LARGE = 64 * 1024  # bytes: more than this lies in a file
DOMAINS = 8
HOOK_URL = "https://receiver.example/"
HOOK_SCHEDULE = RetrySchedule.parse("1s*11")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a program is told on its command line."""

    database: str
    """A file, or a PostgreSQL's URL."""
    schema: str = ""
    """In a PostgreSQL database."""
    application: str = ""
    """What the program's connections are called in PostgreSQL."""
    log: str = ""
    """Where deliveries are recorded: the peer's memory, which no kill takes away."""
    seed: int = 0
    name: str = ""
    transactions: Transactions = "thread"
    count: int = 1_000_000
    """Submissions to make."""
    pause: float = 0.004
    """Seconds that something takes at most: pacing, so that there is something to interrupt."""
    domains: int = DOMAINS
    large: int = 6
    """One message in so many is large; 0: none is."""
    size: int | None = None
    """Of all messages, about; None: they differ."""
    concurrency: int = 10
    lease: float = 1.0
    port: int = 0
    """Deliver by SMTP to this port of the loopback; 0: by the log transport."""
    gated: bool = False
    """Each delivery waits for a line on standard input."""
    defer: bool = True
    """The peer defers the first attempt of some messages."""
    until_empty: bool = False
    """End when the queue is empty."""
    patience: float = 5.0
    """Seconds that PostgreSQL may be away before a caller is refused."""
    stall: int = 10_000
    """Milliseconds that a client may keep PostgreSQL waiting in a transaction."""
    stop_at: str = ""
    """Stop the process after the first statement that begins so."""
    patient: bool = False
    """Outlive it that the database server cannot be reached."""
    keyed: bool = False
    """Submit under idempotency keys, and again until the message is accepted."""
    webhooks: bool = False
    """Send webhooks, to the log."""

    def dump(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def given(cls) -> "Settings":
        return cls(**json.loads(sys.argv[1]))

    @property
    def on_postgres(self) -> bool:
        return "://" in self.database

    def open(self, **options: Any) -> Queue:
        """Return the queue, as `Queue.open` does."""
        if not self.on_postgres:
            return Queue.open(self.database, config=self.config, transactions=self.transactions, **options)
        url = f"{self.database}?application_name={self.application}"
        return Queue.open(url, config=self.config, schema=self.schema, **options)

    @property
    def config(self) -> QueueConfig:
        return QueueConfig(
            webhook=HookConfig(url=HOOK_URL, schedule=HOOK_SCHEDULE) if self.webhooks else None,
            schedule=soon,
            max_attempts=8,
            concurrency=self.concurrency,
            worker=WorkerConfig(
                lease=timedelta(seconds=self.lease),
                poll_interval=timedelta(milliseconds=50),
                drain_timeout=timedelta(seconds=10),
            ),
        )


def soon(attempts: int) -> timedelta:
    """The schedule of these tests: they run in real time."""
    return timedelta(milliseconds=20)


@dataclass(frozen=True)
class Mail:
    """A message to submit."""

    key: str
    """Its Message-ID, by which it is known whether or not it was accepted."""
    recipients: tuple[str, ...]
    data: bytes = field(repr=False)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def make_mail(random: Random, key: str, *, domains: int = DOMAINS, large: int = 6, size: int | None = None) -> Mail:
    """Return a message with all its headers, so that it is delivered as it is. One in `large` is large."""
    if size is None:
        is_large = large > 0 and random.randrange(large) == 0
        size = random.randrange(LARGE + 1, 3 * LARGE) if is_large else random.randrange(0, 4000)
    recipients = tuple(
        f"user{number}@d{random.randrange(domains)}.example" for number in range(random.choice((1, 1, 2, 5)))
    )
    key = f"<{key}@here.example>"
    head = (
        f"From: {SENDER}\r\nTo: list@here.example\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\n"
        f"Message-ID: {key}\r\nSubject: {key}\r\n\r\n"
    ).encode()
    text = random.randbytes(size // 2 + 1).hex()
    body = "".join(f"{'.' if start % 3 == 0 else ''}{text[start : start + 70]}\r\n" for start in range(0, size + 1, 70))
    return Mail(key, recipients, head + body.encode())


def mails(settings: Settings) -> Iterator[Mail]:
    """Yield the messages of a submitter, forever; another name makes others."""
    random = Random(f"{settings.seed} {settings.name}")
    number = 0
    while True:
        key = f"{settings.name}.{number}"
        yield make_mail(random, key, domains=settings.domains, large=settings.large, size=settings.size)
        number += 1


@asynccontextmanager
async def opened(settings: Settings, **options: Any) -> AsyncIterator[Queue]:
    """Open the queue; if the program is patient, as often as it takes."""
    if settings.on_postgres:
        engine.PATIENCE = settings.patience
        engine.STALL = timedelta(milliseconds=settings.stall)
        engine.SETTINGS["idle_in_transaction_session_timeout"] = f"{settings.stall}ms"
        engine.SETTINGS["lock_timeout"] = f"{min(10_000, 2 * settings.stall + 1000)}ms"
    async with AsyncExitStack() as stack:
        queue: Queue | None = None
        while queue is None:
            try:
                queue = await stack.enter_async_context(settings.open(**options))
            except StorageUnavailable:
                if not settings.patient:
                    raise
                say(trouble="opening the queue")
        yield queue


def be_quiet() -> None:
    """Keep libraries' warnings from standard error, where a test looks for what nobody expects."""
    logging.getLogger().addHandler(logging.NullHandler())


def say(**fields: Any) -> None:
    """Tell the test a line, whole and at once: it arrives although this process is killed right after."""
    os.write(1, json.dumps(fields).encode() + b"\n")


class Log:
    """A file that several processes append lines to. It is opened for each: there may be hundreds in a test.

    A kill ends a write between two pages of the file, so each line fills an even part of one: it is there whole, or
    not at all.
    """

    LINE = 512  # octets

    def __init__(self, path: str | Path) -> None:
        self._path = path

    def write(self, **fields: Any) -> None:
        file = os.open(self._path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        line = json.dumps(fields).encode().ljust(self.LINE - 1) + b"\n"
        assert len(line) == self.LINE, f"too long for a line: {fields}"
        os.write(file, line)
        os.close(file)

    @staticmethod
    def read(path: str | Path) -> list[dict[str, Any]]:
        try:
            text = Path(path).read_text(encoding="ascii")
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.splitlines()]
