"""Senders are told once of each message that failed, wherever the process that settles it is killed."""

from collections import Counter

import pytest
from tests.crash.audit import Said, audit
from tests.crash.programs.deliverer import RefusingPeer
from tests.crash.programs.mail import SENDER, Log
from tests.crash.programs.steps import lines_of, place
from tests.crash.stage import Line, Stage
from tests.crash.test_crash_steps import check_order

from moxlib.queue import EventType, ResultKind
from moxlib.testing import run_until_idle

pytestmark = pytest.mark.crash

STEPS = (
    "before the peer is asked",
    "after the peer answered",
    "after INSERT INTO moxlib_retired",
    "after DELETE FROM moxlib_message",
    "after INSERT INTO moxlib_submission",  # what tells of it
    "after INSERT INTO moxlib_content",
    "after INSERT INTO moxlib_message",
    "after INSERT INTO moxlib_event",
    "after COMMIT",
    "before the peer is asked",
    "after the peer answered",
    "after INSERT INTO moxlib_retired",
    "after COMMIT",
)


async def test_a_kill_between_any_two_steps_tells_each_sender_once(any_stage: Stage) -> None:
    child = any_stage.run("steps", name="refused", pause=0.0)

    runs = child.lines[-1]["run"] + 1
    check_order([line["step"] for line in child.lines if line["run"] == runs - 1 and "step" in line], STEPS)
    for run in range(runs):
        stage = Stage.of(place(any_stage.settings, run))
        await check_run(stage, lines_of(child.lines, run))


async def check_run(stage: Stage, lines: list[Line]) -> None:
    await audit(stage)
    async with stage.open(transports={"peer": RefusingPeer(stage.settings)}) as queue:
        await run_until_idle(queue)
        assert await queue.count_messages() == 0
        history = (await queue.list_history(limit=1000)).items
    await audit(stage)
    failed = {item.id for item in history if item.sender}
    told = {item.id: item for item in history if not item.sender}
    assert failed == Said.of(lines).ids
    assert {item.event for item in history if item.sender} == {EventType.FAILED}
    assert len(told) == len(failed), "one for each, and none about those"

    copies = Log.read(stage.log)
    assert len({(line["about"], line["by"]) for line in copies}) == len(failed), "several of one"
    assert {line["about"] for line in copies} == failed
    assert {line["told"] for line in copies} == {SENDER}
    for id_, count in Counter(line["by"] for line in copies).items():
        doubtful = [result for result in told[id_].results if result.kind is ResultKind.INTERRUPTED]
        assert count <= 1 + len(doubtful), f"{id_} was sent {count} times"
