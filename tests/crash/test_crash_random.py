"""Processes that submit and deliver, killed at random moments: nothing accepted is lost, and repeats are explained."""

import os
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from tests.crash.audit import Said, Tally, audit, check_drained, check_history
from tests.crash.crew import Crew
from tests.crash.stage import Stage

ROUNDS = int(os.environ.get("MOXLIB_CRASH_ROUNDS", "50"))
SEED = int(os.environ.get("MOXLIB_CRASH_SEED", "1"))
AUDIT_EVERY = 10  # rounds: then all are killed, and the queue is looked at with mail in it
PAIR = {"submitter": 1, "deliverer": 1}
SEVERAL = {"submitter": 2, "deliverer": 3}

pytestmark = pytest.mark.crash


async def run_rounds(stage: Stage, rounds: int, programs: Mapping[str, int], **settings: Any) -> Tally:
    random = Random(SEED)
    crew = Crew(stage, random, programs, **settings)
    for number in range(1, rounds + 1):
        all_of_them = number % AUDIT_EVERY == 0
        crew.kill(*(crew.names if all_of_them else random.sample(crew.names, random.randint(1, len(crew.names) // 2))))
        if all_of_them:
            await audit(stage, said=Said.of(stage.lines))
        crew.restart()
    crew.stop()
    stage.run("deliverer", until_empty=True, **settings)
    said = Said.of(stage.lines)
    await audit(stage, said=said)
    await check_drained(stage)
    assert not [line for line in stage.lines if line.keys() & {"trouble", "refused"}]
    tally = check_history(stage, said, stage.taken)
    print(f"{crew.kills} kills: {tally}")  # noqa: T201 - the numbers that a long run is made for
    assert tally.accepted > rounds
    return tally


async def test_killed_processes_lose_nothing_and_repeat_only_what_was_in_flight(stage: Stage) -> None:
    await run_rounds(stage, ROUNDS, PAIR)


async def test_several_killed_processes_on_one_file_neither_lose_nor_lock_it(stage: Stage) -> None:
    await run_rounds(stage, max(5, ROUNDS // 3), SEVERAL)


async def test_killed_processes_lose_nothing_over_smtp(stage: Stage) -> None:
    sink = stage.start("smtp_sink")
    port = sink.wait_for(lambda line: "port" in line)["port"]
    await run_rounds(stage, max(5, ROUNDS // 5), PAIR, port=port)
    sink.kill()
