"""Processes that submit and deliver, killed at random moments: nothing accepted is lost, and repeats are explained."""

import os
import time
from random import Random
from typing import Any

import pytest
from tests.crash.audit import Said, Tally, audit, check_history
from tests.crash.programs.mail import Log
from tests.crash.stage import Child, Stage

ROUNDS = int(os.environ.get("MOXLIB_CRASH_ROUNDS", "50"))
SEED = int(os.environ.get("MOXLIB_CRASH_SEED", "1"))
AUDIT_EVERY = 10  # rounds: then both are killed, and the queue is looked at with mail in it
PATIENCE = 0.3  # seconds at most from a sign of life to the kill

pytestmark = pytest.mark.crash


class Pair:
    """A submitter and a deliverer on one queue; each is started again after it was killed."""

    def __init__(self, stage: Stage, random: Random, **settings: Any) -> None:
        self._stage = stage
        self._random = random
        self._settings = settings
        self._kills = 0
        self.running = {program: self._start(program) for program in ("submitter", "deliverer")}

    def _start(self, program: str) -> Child:
        name = f"{program}{self._kills}"
        transactions = self._random.choice(("thread", "loop"))
        return self._stage.start(program, name=name, transactions=transactions, **self._settings)

    def kill(self, *programs: str) -> None:
        """Kill after a random time; mostly at work, sometimes while it starts."""
        for program in programs:
            if self._random.random() < 0.9:
                self.running[program].wait_for_more()
        time.sleep(self._random.uniform(0, PATIENCE))  # the moment is random on purpose: nothing depends on it
        for program in programs:
            self.running[program].kill()
            self._kills += 1

    def restart(self) -> None:
        self.running |= {
            program: self._start(program)
            for program, child in self.running.items()
            if child.process.returncode is not None
        }

    def stop(self) -> None:
        """Let the submitter be the last that is killed; the deliverer ends in order."""
        self.kill("submitter")
        self.running["deliverer"].wait_for_more()
        self.running["deliverer"].stop()


async def run_rounds(stage: Stage, rounds: int, **settings: Any) -> Tally:
    random = Random(SEED)
    pair = Pair(stage, random, **settings)
    for number in range(1, rounds + 1):
        both = number % AUDIT_EVERY == 0
        pair.kill(*(("submitter", "deliverer") if both else (random.choice(("submitter", "deliverer")),)))
        if both:
            await audit(stage, said=Said.of(stage.lines))
        pair.restart()
    pair.stop()
    stage.run("deliverer", until_empty=True, **settings)
    said = Said.of(stage.lines)
    await audit(stage, said=said)
    assert not [line for line in stage.lines if "trouble" in line]
    return check_history(stage, said, [line for line in Log.read(stage.log) if "taken" in line])


async def test_killed_processes_lose_nothing_and_repeat_only_what_was_in_flight(
    stage: Stage, record_testsuite_property: Any
) -> None:
    tally = await run_rounds(stage, ROUNDS)
    print(f"{ROUNDS} kills: {tally}")  # noqa: T201 - the numbers that a long run is made for
    assert tally.accepted > ROUNDS


async def test_killed_processes_lose_nothing_over_smtp(stage: Stage) -> None:
    rounds = max(5, ROUNDS // 5)
    sink = stage.start("smtp_sink")
    port = sink.wait_for(lambda line: "port" in line)["port"]
    tally = await run_rounds(stage, rounds, port=port)
    sink.kill()
    print(f"{rounds} kills: {tally}")  # noqa: T201 - the numbers that a long run is made for
    assert tally.accepted > rounds
