"""`Crew`: several processes at work on one queue, each of them started again after it was killed."""

import os
import signal
import time
from collections.abc import Mapping
from random import Random
from typing import Any

from tests.crash.stage import Child, Stage

PATIENCE = 0.3  # seconds at most from a sign of life to the kill


class Crew:
    """The processes by name: what they run, and a number.

    Args:
        stage: where they work.
        random: decides when they are killed, and how each is started.
        programs: how many of each program.
        settings: what all are told.
    """

    def __init__(self, stage: Stage, random: Random, programs: Mapping[str, int], **settings: Any) -> None:
        self._stage = stage
        self._random = random
        self._settings = settings
        self._suspended: dict[str, float] = {}
        self.kills = 0
        self.suspensions = 0
        self.names = [f"{program}{number}" for program, count in programs.items() for number in range(count)]
        self.running = {name: self._start(name) for name in self.names}

    def _start(self, name: str) -> Child:
        return self._stage.start(
            name.rstrip("0123456789"),
            name=f"{name}.{self.kills}",
            transactions=self._random.choice(("thread", "loop")),
            keyed=self._random.random() < 0.5,
            **self._settings,
        )

    def kill(self, *names: str) -> None:
        """Kill after a random time; mostly at work, sometimes while it starts."""
        for name in names:
            if self._random.random() < 0.9:
                self.wait_for_more(name)
        time.sleep(self._random.uniform(0, PATIENCE))  # the moment is random on purpose: nothing depends on it
        for name in names:
            self.running[name].kill()
            self._suspended.pop(name, None)
            self.kills += 1

    def suspend(self, name: str, seconds: float) -> None:
        """Stop a process where it stands; `resume` lets it go on after so long."""
        os.kill(self.running[name].pid, signal.SIGSTOP)
        self._suspended[name] = time.monotonic() + seconds
        self.suspensions += 1

    def resume(self, *, at_once: bool = False) -> None:
        """Let those go on that were stopped for as long as they were to be; at once: all, when it is time."""
        for name, until in list(self._suspended.items()):
            left = until - time.monotonic()
            if at_once and left > 0:
                time.sleep(left)
            if at_once or left <= 0:
                os.kill(self.running[name].pid, signal.SIGCONT)
                del self._suspended[name]

    def wait_for_more(self, name: str) -> None:
        """Wait until a process tells one more line than now, if it can."""
        if name not in self._suspended:
            self.running[name].wait_for_more()

    def restart(self) -> None:
        """Start again what was killed; see that nothing else has ended."""
        for name, child in self.running.items():
            if child.process.returncode is not None:
                self.running[name] = self._start(name)
        for child in self.running.values():
            assert child.process.poll() is None, f"{child.program} ended by itself:\n{child.stderr}"

    def stop(self) -> None:
        """Let submitters be the last that are killed, all of them at work; the others end in order."""
        self.resume(at_once=True)
        for name in self.names:
            self.wait_for_more(name)
        self.kill(*(name for name in self.names if name.startswith("submitter")))
        for name in self.names:
            if not name.startswith("submitter"):
                self.running[name].stop()
