"""`Stage`: a directory with a queue in it, and the processes at work on it."""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.crash.nursery import ROOT, Fork, Nursery
from tests.crash.programs.mail import Log, Settings

from moxlib.queue import Queue

MESSAGES = int(os.environ.get("MOXLIB_CRASH_MESSAGES", "2000"))
LONG = 120.0 + MESSAGES / 50  # seconds: whoever waits so long waits for something that will not come

Line = dict[str, Any]


class Child:
    """A program of `tests/crash/programs`, and the lines it has told so far.

    Args:
        program: its name.
        settings: what it is told.
        nursery: where it comes from, if it is one of those that can; else it is started anew.
    """

    def __init__(self, program: str, settings: Settings, nursery: Nursery | None = None) -> None:
        self.program = program
        self.application = settings.application
        self.lines: list[Line] = []
        self._told = threading.Condition()
        self._over = False
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `reap`
        self.process: Fork | subprocess.Popen[bytes]
        if nursery is not None and program in nursery.programs:
            self.process = Fork(nursery, program, dataclasses.asdict(settings), self._errors.fileno())
        else:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", f"tests.crash.programs.{program}", settings.dump()],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
            )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_for(self, what: Callable[[Line], bool], *, more: int = 0) -> Line:
        """Return the first line of a kind, `more` others of it aside; wait until it is told."""
        deadline = time.monotonic() + LONG
        seen = 0
        with self._told:
            while True:
                for line in self.lines[seen:]:
                    if what(line):
                        if not more:
                            return line
                        more -= 1
                seen = len(self.lines)
                if self._over or not self._told.wait(deadline - time.monotonic()):
                    raise AssertionError(f"{self.program} did not tell it; it said: {self.lines[-5:]}\n{self.stderr}")

    def wait_for_more(self) -> None:
        """Wait until it tells one more line than now."""
        self.wait_for(lambda _: True, more=len(self.lines))

    def tell(self, line: str = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """End it by SIGKILL; all that it had told is in `lines` then."""
        self.process.kill()
        self.reap()

    def stop(self) -> None:
        """End it by SIGTERM, gracefully, and see that it was so."""
        self.process.terminate()
        self.end()

    def end(self) -> None:
        """Wait for its end, which must be a good one."""
        code = self.process.wait(LONG)
        text = self.stderr
        self.reap()
        assert (code, text) == (0, ""), f"{self.program} ended with {code}:\n{text}"

    def reap(self) -> None:
        """Take what is left of it. Idempotent."""
        self.process.wait(LONG)
        self._reader.join()
        for stream in (self.process.stdin, self.process.stdout, self._errors):
            if stream is not None:
                stream.close()

    @property
    def stderr(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            with self._told:
                self.lines.append(json.loads(raw))
                self._told.notify_all()
        with self._told:
            self._over = True
            self._told.notify_all()


class Stage:
    """One queue, what the processes on it said, and what the peer took.

    Args:
        directory: for the log, and for the queue's file.
        url: of a PostgreSQL database, in which the queue lies instead.
        schema: where in that database.
        nursery: of the processes.
    """

    def __init__(self, directory: Path, *, url: str = "", schema: str = "", nursery: Nursery | None = None) -> None:
        database = url or str(directory / "mail.db")
        self.settings = Settings(database=database, schema=schema, application="test", log=str(directory / "peer.log"))
        self.children: list[Child] = []
        self._nursery = nursery

    @classmethod
    def of(cls, settings: Settings) -> "Stage":
        """Return the one where a program was that had these settings."""
        made = cls(Path(settings.log).parent)
        made.settings = settings
        return made

    @property
    def database(self) -> Path:
        """The queue's file, if it lies in one."""
        assert not self.settings.on_postgres
        return Path(self.settings.database)

    def open(self, **options: Any) -> Queue:
        """Return the queue, as `Queue.open` does."""
        return self.settings.open(**options)

    @property
    def taken(self) -> list[Line]:
        """What the peer took."""
        return [line for line in Log.read(self.log) if "taken" in line]

    @property
    def log(self) -> Path:
        return Path(self.settings.log)

    def start(self, program: str, **changes: Any) -> Child:
        settings = replace(self.settings, application=f"child{len(self.children)}", **changes)
        child = Child(program, settings, self._nursery)
        self.children.append(child)
        return child

    def run(self, program: str, **changes: Any) -> Child:
        """Run a program to its good end."""
        child = self.start(program, **changes)
        child.end()
        return child

    @property
    def lines(self) -> Iterator[Line]:
        """What all processes told so far."""
        return (line for child in self.children for line in child.lines)

    def close(self) -> None:
        for child in self.children:
            if child.process.returncode is None:
                child.process.kill()
            child.reap()
