"""A process killed between each two steps of a submit and of a delivery, one run for each step."""

import pytest
from tests.crash.audit import Said, audit, check_history
from tests.crash.programs.deliverer import Peer
from tests.crash.programs.steps import lines_of, place
from tests.crash.stage import Child, Line, Stage

from moxlib.testing import run_until_idle

pytestmark = pytest.mark.crash

COMMIT = "before COMMIT", "after COMMIT"

# Steps that a run which got through must have made, in this order; there may be others between.
SUBMIT_SMALL = ("before BEGIN IMMEDIATE", "after INSERT INTO moxlib_content", *COMMIT, "after the receipt")
SUBMIT_LARGE = (
    "before fsync of a file",
    "after fsync of a file",
    "before link",
    "after link",
    "after fsync of a file",
    "after unlink of a .tmp file",
    "before fsync of a directory",
    "after fsync of a directory",
    "before BEGIN IMMEDIATE",
    "after INSERT INTO moxlib_content",
    *COMMIT,
    "after the receipt",
)
DELIVER = (
    "after UPDATE moxlib_message SET",  # the attempt is journalled
    *COMMIT,
    "before the peer is asked",
    "after the peer took it",
    "before BEGIN IMMEDIATE",
    "after INSERT INTO moxlib_retired",
    "after DELETE FROM moxlib_message",
    "after INSERT INTO moxlib_event",
    *COMMIT,
    "before unlink of a content file",
    "after unlink of a content file",
)

POSTGRES_SMALL = ("after INSERT INTO moxlib_content", "after COMMIT", "after the receipt")
POSTGRES_LARGE = (
    "after INSERT INTO moxlib_content",
    "after INSERT INTO moxlib_chunk",
    "after COMMIT",
    "after the receipt",
)
POSTGRES_DELIVER = (
    "after UPDATE moxlib_message SET",  # the attempt is journalled
    "after COMMIT",
    "before the peer is asked",
    "after the peer took it",
    "after INSERT INTO moxlib_retired",
    "after DELETE FROM moxlib_message",
    "after INSERT INTO moxlib_event",
    "after COMMIT",
)


def check_order(made: list[str], expected: tuple[str, ...]) -> None:
    rest = iter(made)
    for step in expected:
        assert step in rest, f"{step!r} is missing, or out of order, in {made}"


@pytest.mark.parametrize("transactions", ["thread", "loop"])
@pytest.mark.parametrize(("name", "expected"), [("small", SUBMIT_SMALL), ("large", SUBMIT_LARGE), ("deliver", DELIVER)])
async def test_a_kill_between_any_two_steps_leaves_all_or_nothing(
    stage: Stage, transactions: str, name: str, expected: tuple[str, ...]
) -> None:
    await check_runs(stage, stage.run("steps", name=name, transactions=transactions, pause=0.0), expected)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("small", POSTGRES_SMALL), ("large", POSTGRES_LARGE), ("deliver", POSTGRES_DELIVER)],
)
async def test_a_kill_between_any_two_steps_leaves_all_or_nothing_on_postgres(
    postgres_stage: Stage, name: str, expected: tuple[str, ...]
) -> None:
    await check_runs(postgres_stage, postgres_stage.run("steps", name=name, pause=0.0), expected)


async def check_runs(stage: Stage, child: Child, expected: tuple[str, ...]) -> None:
    runs = child.lines[-1]["run"] + 1
    check_order([line["step"] for line in child.lines if line["run"] == runs - 1 and "step" in line], expected)
    for run in range(runs):
        await check_run(Stage.of(place(stage.settings, run)), lines_of(child.lines, run))


async def check_run(stage: Stage, lines: list[Line]) -> None:
    said = Said.of(lines)
    await audit(stage, said=said)
    async with stage.open(transports={"peer": Peer(stage.settings)}) as queue:
        await run_until_idle(queue)
    await audit(stage, said=said)
    check_history(stage, said, stage.taken)
