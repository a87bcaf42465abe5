"""`Nursery`: the process whose forks the programs are; and `Fork`, one of them."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parents[2]


class Nursery:
    """The process, which runs while this is entered: `tests/crash/programs/nursery.py`."""

    programs = frozenset({"deliverer", "submitter"})

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            ours, theirs = socket.socketpair()
            self._socket = stack.enter_context(ours)
            with theirs:
                command = [sys.executable, "-W", "error", "-m", "tests.crash.programs.nursery", str(theirs.fileno())]
                self._process = subprocess.Popen(
                    command, cwd=ROOT, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
                )
            self._answers = stack.enter_context(ours.makefile("rb"))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()
        assert self._process.wait() == 0

    def ask(self, files: Sequence[int] = (), **question: Any) -> int:
        """Return what it answers."""
        socket.send_fds(self._socket, [json.dumps(question).encode()], files)
        answer: int = json.loads(self._answers.readline())
        return answer


class Fork:
    """A program that runs, as a `subprocess.Popen` is one.

    Args:
        nursery: where it comes from.
        program: which.
        settings: what it is told.
        errors: its standard error.
    """

    def __init__(self, nursery: Nursery, program: str, settings: dict[str, Any], errors: int) -> None:
        self._nursery = nursery
        self.returncode: int | None = None
        stdin, to_it = os.pipe()
        from_it, stdout = os.pipe()
        self._life, its_life = os.pipe()  # it has the other end as long as it lives, and nobody else
        self.stdin = os.fdopen(to_it, "wb")
        self.stdout = os.fdopen(from_it, "rb")
        theirs = stdin, stdout, errors, its_life
        try:
            self.pid = nursery.ask(theirs, program=program, settings=settings)
        finally:
            for file in (stdin, stdout, its_life):
                os.close(file)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def _send(self, number: signal.Signals) -> None:
        if self.returncode is None:  # until it is asked how this one ended, no other gets its number
            os.kill(self.pid, number)

    def poll(self) -> int | None:
        """Return how it ended, if it has."""
        return self.wait(0) if self.returncode is None and self._is_over(0) else self.returncode

    def wait(self, timeout: float) -> int:
        """Return how it ended, once it has."""
        if self.returncode is None:
            if not self._is_over(timeout):
                raise TimeoutError(f"process {self.pid} goes on")
            os.close(self._life)
            self.returncode = self._nursery.ask(ended=self.pid)
        return self.returncode

    def _is_over(self, timeout: float) -> bool:
        """Say whether it has ended; if not, wait for that so many seconds."""
        poll = select.poll()  # `select` takes no numbers over a thousand
        poll.register(self._life, select.POLLIN)
        return bool(poll.poll(timeout * 1000))
