"""Does one thing again and again, killed at its first step, then at its second, and so on until it gets through.

A step is what changes the disk or the database, and what is seen from outside: a file synced, linked or removed, a
statement that writes, a commit, the peer asked, the receipt given.

Each run is a fork with a copy of the same queue. Before the first, all is loaded that takes time to load.
"""

import asyncio
import os
import re
import shutil
import signal
import sqlite3
import stat
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import psycopg
from tests.crash.programs.deliverer import Peer, RefusingPeer
from tests.crash.programs.mail import LARGE, SENDER, Settings, be_quiet, make_mail, say
from tests.crash.programs.receiver import LogCaller

from moxlib.queue import Classifier, Deferred, Delivery, MessageFilter, Outcome, Queue

MAX_RUNS = 400  # several times the steps there are: a guard against a scenario that never gets through
WRITING = ("BEGIN IMMEDIATE", "COMMIT", "INSERT", "UPDATE", "DELETE")  # on PostgreSQL, BEGIN does nothing yet
QUALIFIED = re.compile(r'"\w+"\.')
ALL = -1  # instead of the number of a run, in lines that hold for all of them


class Steps:
    """Counts steps while it is on, and kills this process at one of them."""

    def __init__(self, run: int) -> None:
        self._run = run
        self._left = run
        self._lock = threading.Lock()
        self._after_statement = False
        self.on = False

    def reached(self, step: str, *, statement: bool = False) -> None:
        """Come to a step, and no further if it is this run's.

        That before a statement is also that after the one which is the last step made: there is one kill for both, as
        between them nothing has changed, neither in the file nor outside.
        """
        if not self.on:
            return
        with self._lock:
            say(run=self._run, step=step)
            after = step.startswith("after")
            same = self._after_statement and statement and not after
            self._after_statement = statement and after
            if same:
                return
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self._left -= 1

    def around(
        self, function: Callable[..., Any], name: Callable[..., str], *, statement: bool = False
    ) -> Callable[..., Any]:
        """Return the function with a step before and one after each call; none where the name is empty."""

        def counted(*args: Any, **options: Any) -> Any:
            step = name(*args)
            if step:
                self.reached(f"before {step}", statement=statement)
            result = function(*args, **options)
            if step:
                self.reached(f"after {step}", statement=statement)
            return result

        return counted

    def after(self, function: Callable[..., Any], name: Callable[..., str]) -> Callable[..., Any]:
        """Return the function with a step after each call; none where the name is empty.

        That is enough where the disk is another process's: nothing happens from one call to the next.
        """

        def counted(*args: Any, **options: Any) -> Any:
            result = function(*args, **options)
            if step := name(*args):
                self.reached(f"after {step}")
            return result

        return counted

    def watch(self) -> None:
        """Make steps of what this process does to files and databases from now on."""
        os.fsync = self.around(os.fsync, lambda file: f"fsync of a {_kind(file)}")
        os.link = self.around(os.link, lambda *_: "link")
        os.unlink = self.around(os.unlink, lambda path: f"unlink of a {Path(path).suffix or 'content'} file")
        steps, plain = self, sqlite3.connect

        class Watched(sqlite3.Connection):
            """A connection whose writing statements are steps."""

            def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
                done: sqlite3.Cursor = steps.around(super().execute, _statement, statement=True)(sql, parameters)
                return done

            def commit(self) -> None:
                steps.around(super().commit, lambda: "COMMIT", statement=True)()

            def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
                done: sqlite3.Cursor = steps.around(super().executemany, _statement, statement=True)(sql, parameters)
                return done

        def connect(*args: Any, **options: Any) -> sqlite3.Connection:
            return plain(*args, factory=Watched, **options)

        sqlite3.connect = connect  # type: ignore[assignment]  # the one overload that is called
        for name in ("execute", "executemany"):  # connections run theirs by these, too
            setattr(
                psycopg.Cursor,
                name,
                self.after(getattr(psycopg.Cursor, name), lambda _, sql, *__: _statement(said(sql))),
            )


def _kind(file: int) -> str:
    return "directory" if stat.S_ISDIR(os.fstat(file).st_mode) else "file"


def _statement(sql: str, *_: Any) -> str:
    return " ".join(sql.split()[:3]) if sql.startswith(WRITING) else ""


def said(sql: str | bytes) -> str:
    """Return a statement as it is known here: without schemas, and on one line."""
    return " ".join(QUALIFIED.sub("", sql if isinstance(sql, str) else sql.decode()).split())


class Watched:
    """The peer, asking and answering being steps."""

    def __init__(self, settings: Settings, steps: Steps) -> None:
        self._peer = Peer(settings)
        self._steps = steps
        self._defers = settings.webhooks

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        self._steps.reached("before the peer is asked")
        if self._defers and delivery.messages[0].attempts == 1:
            return [Deferred(text="come back later", code=451)] * len(delivery.messages)
        outcomes = await self._peer.deliver(delivery)
        self._steps.reached("after the peer took it")
        return outcomes


async def submit(queue: Queue, settings: Settings, run: int, name: str, size: int) -> None:
    mail = make_mail(Random(size), name, domains=settings.domains, size=size)
    say(run=run, intent=mail.key, recipients=len(mail.recipients), sha256=mail.sha256)
    receipts = await queue.submit(mail.data, sender=SENDER, recipients=mail.recipients)
    say(run=run, accepted=mail.key, ids=[receipt.id for receipt in receipts])


async def fill(queue: Queue, settings: Settings, run: int) -> None:
    """Submit what is in the queue before the first step."""
    await submit(queue, settings, run, "before", 100)
    if settings.name in ("deliver", "refused"):
        await submit(queue, settings, run, "large", 2 * LARGE)


async def make_filled(settings: Settings) -> None:
    """Make the queue that all runs begin with."""
    async with settings.open(transports={}) as queue:
        await fill(queue, settings, ALL)


async def scenario(settings: Settings, run: int) -> None:
    steps = Steps(run)
    steps.watch()
    caller = LogCaller(settings, steps.reached)
    refuses = settings.name == "refused"
    peer = RefusingPeer(settings, steps.reached) if refuses else Watched(settings, steps)
    async with settings.open(transports={"peer": peer}, webhook_caller=caller) as queue:
        if settings.on_postgres:
            await fill(queue, settings, run)
        steps.on = True
        if settings.name == "webhooks":
            async with queue.worker() as worker:
                await worker.wait_idle()
                while await queue.count_messages():
                    await queue.retry_now(MessageFilter())
                    await worker.wait_idle()
        elif settings.name in ("deliver", "refused"):
            async with queue.worker() as worker:
                while await queue.count_messages():
                    await worker.wait_idle()
        else:
            await submit(queue, settings, run, settings.name, 2 * LARGE if settings.name == "large" else 1000)
            steps.reached("after the receipt")
        steps.on = False


def place(settings: Settings, run: int) -> Settings:
    """Return the settings with the place of one run's queue and log."""
    directory = Path(settings.log).parent / str(run)
    log = str(directory / "peer.log")
    if settings.on_postgres:
        return replace(settings, schema=f"{settings.schema}{run}", log=log)
    return replace(settings, database=str(directory / "mail.db"), log=log)


def lines_of(lines: Iterable[dict[str, Any]], run: int) -> list[dict[str, Any]]:
    """Return the lines that were told by a run, or hold for all of them."""
    return [line for line in lines if line["run"] in (run, ALL)]


def forked(work: Coroutine[Any, Any, None]) -> int:
    """Do something in a process of its own, and return how that ended."""
    child = os.fork()
    if child == 0:
        asyncio.run(work)
        os._exit(0)
    work.close()
    _, status = os.waitpid(child, 0)
    return status


def main(settings: Settings) -> None:
    Classifier.default()
    filled = place(settings, ALL)
    if not settings.on_postgres:  # there, a schema is filled as quickly as a database is copied
        Path(filled.log).parent.mkdir()
        assert forked(make_filled(filled)) == 0
    for run in range(MAX_RUNS):
        here = replace(place(settings, run), defer=settings.webhooks and settings.defer)
        if settings.on_postgres:
            Path(here.log).parent.mkdir()
        else:
            shutil.copytree(Path(filled.log).parent, Path(here.log).parent)
        status = forked(scenario(here, run))
        if status == 0:
            return
        assert os.WIFSIGNALED(status), f"run {run} ended with {os.waitstatus_to_exitcode(status)}"
        assert os.WTERMSIG(status) == signal.SIGKILL
    raise AssertionError("no run got through")


if __name__ == "__main__":
    be_quiet()
    main(Settings.given())
