"""Processes that stop inside a transaction on PostgreSQL: their locks do not keep the others waiting for long."""

import asyncio
import os
import signal
import time
from typing import Any

import pytest
from tests.crash.audit import Said, audit, check_drained, check_history
from tests.crash.stage import Stage

pytestmark = pytest.mark.crash

STALL = 400  # milliseconds that the server waits for a client in a transaction
LEASE = 0.6  # seconds
SOON = 10.0  # seconds: several times what it takes, and much less than the 30 that a lock is waited for

# What a process has sent last when it stops: the server waits for what follows, or for the end of the pipeline.
STATEMENTS = (
    "DELETE FROM moxlib_wake",  # a claim has begun
    "UPDATE moxlib_message SET",  # it has claimed
    "UPDATE moxlib_destination SET",  # it is nearly over
    "INSERT INTO moxlib_retired",  # a settlement has begun
    "INSERT INTO moxlib_event",  # it is nearly over, and keeps all others from writing events
)

SETTINGS: dict[str, Any] = {"domains": 2, "lease": LEASE, "stall": STALL, "pause": 0.0, "large": 0}


@pytest.mark.parametrize("statement", STATEMENTS)
async def test_a_stopped_process_keeps_its_locks_no_longer_than_a_moment(postgres_stage: Stage, statement: str) -> None:
    await stop_and_deliver(postgres_stage, statement, count=20)


async def test_nor_does_one_that_leaves_the_answer_to_a_claim_lying(postgres_stage: Stage) -> None:
    """It is larger than what fits between the server and a client that does not read."""
    await stop_and_deliver(postgres_stage, "SELECT m.id, m.submission", count=400, domains=20, size=15_000)


async def test_a_worker_starts_although_one_whose_lease_is_over_stands_still(postgres_stage: Stage) -> None:
    """It takes back what the other had claimed, and is settling."""
    await stop_and_deliver(postgres_stage, "INSERT INTO moxlib_event", count=20, after=LEASE)


async def stop_and_deliver(stage: Stage, statement: str, *, count: int, after: float = 0.0, **changes: Any) -> None:
    settings = SETTINGS | changes
    stage.run("submitter", name="before", count=count, **settings)
    sleeper = stage.start("sleeper", stop_at=statement, **settings)
    await asyncio.to_thread(os.waitid, os.P_PID, sleeper.pid, os.WSTOPPED | os.WNOWAIT)
    stopped = time.monotonic()
    stage.run("submitter", name="after", count=20, **settings)
    await asyncio.sleep(max(0.0, stopped + after - time.monotonic()))
    successor = stage.start("deliverer", **settings)
    left = len(Said.of(stage.lines).ids) - len({line["id"] for line in stage.taken})
    successor.wait_for(lambda line: line.get("kind") == "delivered", more=max(0, left - 1))
    assert time.monotonic() - stopped < SOON
    successor.stop()

    os.kill(sleeper.pid, signal.SIGCONT)
    stage.run("submitter", name="later", count=5, **settings)
    sleeper.wait_for(lambda line: line.get("kind") == "delivered")
    stage.run("deliverer", until_empty=True, **settings)
    sleeper.stop()
    said = Said.of(stage.lines)
    await audit(stage, said=said)
    await check_drained(stage)
    check_history(stage, said, stage.taken)
