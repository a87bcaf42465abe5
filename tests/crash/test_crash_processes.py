"""Several processes on one queue, none of them killed: each message once, and limits that hold across all."""

import os
import signal
import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from typing import Any

import psycopg
import pytest
from tests.crash.audit import Said, audit, check_drained, check_history
from tests.crash.programs.mail import SENDER, Log
from tests.crash.stage import MESSAGES, Child, Line, Stage

from moxlib.queue import MessageFilter

LIMIT = 2  # deliveries at once to one destination: fewer than there are workers
DOMAINS = {f"d{number}.example" for number in range(5)}


def most_at_once(log: list[Line]) -> dict[str, int]:
    """Return how many deliveries were under way at once, at most, to each destination."""
    moments: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for line in log:
        if "start" in line:
            moments[line["start"]].append((line["at"], 1))
        elif "end" in line:
            moments[line["end"]].append((line["at"], -1))
    most = {}
    for destination, steps in moments.items():
        now = most[destination] = 0
        for _, step in sorted(steps):
            now += step
            most[destination] = max(most[destination], now)
    return most


@pytest.mark.crash
async def test_submitters_and_workers_share_a_queue(any_stage: Stage) -> None:
    stage = any_stage
    settings: dict[str, Any] = {"domains": len(DOMAINS), "concurrency": LIMIT, "pause": 0.001}
    settings["lease"] = 60.0  # nobody dies: none is to run out, however slow the disk is
    workers = [stage.start("deliverer", transactions=kind, **settings) for kind in ("thread", "loop", "loop")]
    count = -(-MESSAGES // 6)  # there are three submitters, and more than two recipients on average
    submitters = [
        stage.start("submitter", name=f"s{number}", count=count, transactions=kind, keyed=number == 1, **settings)
        for number, kind in enumerate(("thread", "thread", "loop"))
    ]
    for submitter in submitters:
        submitter.end()  # well: no error reached it
    stage.run("deliverer", until_empty=True, **settings)
    for worker in workers:
        worker.stop()

    said, taken = Said.of(stage.lines), stage.taken
    assert len(said.accepted) == 3 * count
    await audit(stage, said=said)
    await check_drained(stage)
    tally = check_history(stage, said, taken)
    print(tally)  # noqa: T201 - the numbers that a long run is made for
    assert tally.messages == tally.accepted == len(taken) >= MESSAGES
    assert tally.repeats == tally.interrupted == 0
    assert set(Counter((line["taken"], line["recipient"]) for line in taken).values()) == {1}
    assert not [line for line in stage.lines if line.keys() & {"trouble", "lease_lost", "refused"}]
    most = most_at_once(Log.read(stage.log))
    assert most.keys() == DOMAINS
    assert 2 <= max(most.values()) <= LIMIT
    assert len({line["pid"] for line in taken}) > 1, "only one worker did anything"


async def submit(stage: Stage, *recipients: str) -> list[int]:
    async with stage.open() as queue:
        data = b"Date: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <m@here.example>\r\n\r\nhello\r\n"
        return [receipt.id for receipt in await queue.submit(data, sender=SENDER, recipients=recipients)]


def suspend(child: Child, stage: Stage) -> None:
    """Stop a process where it is in no transaction; it would keep all others waiting."""
    while True:
        os.kill(child.pid, signal.SIGSTOP)
        if not (in_transaction(child, stage) if stage.settings.on_postgres else is_locked(stage)):
            return
        os.kill(child.pid, signal.SIGCONT)


def is_locked(stage: Stage) -> bool:
    with closing(sqlite3.connect(stage.database, timeout=0.1, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        connection.execute("ROLLBACK")
        return False


def in_transaction(child: Child, stage: Stage) -> bool:
    """Say whether the server has heard of a transaction that the process did not end."""
    busy = "SELECT 1 FROM pg_stat_activity WHERE application_name = %s AND state <> 'idle'"
    with psycopg.connect(stage.settings.database) as connection:
        return connection.execute(busy, (child.application,)).fetchall() != []


def is_end_of(id_: int) -> Any:
    def matches(line: Line) -> bool:
        return line.get("attempted") == id_

    return matches


async def test_a_worker_stopped_past_its_lease_settles_nothing_of_what_was_taken_back(any_stage: Stage) -> None:
    stage = any_stage
    [id_] = await submit(stage, "user@d0.example")
    sleeper = stage.start("deliverer", gated=True, lease=0.5)
    sleeper.wait_for(lambda line: "begun" in line)
    suspend(sleeper, stage)

    successor = stage.start("deliverer", lease=0.5)
    successor.wait_for(is_end_of(id_))
    successor.stop()
    async with stage.open() as queue:
        before = await queue.get_retired(id_)
    assert before is not None
    assert [result.kind.value for result in before.results] == ["interrupted", "delivered"]

    os.kill(sleeper.pid, signal.SIGCONT)
    for _ in range(2):
        sleeper.tell("go on")
    assert sleeper.wait_for(lambda line: "lease_lost" in line)["lease_lost"] == 1
    async with stage.open() as queue:
        assert await queue.get_retired(id_) == before
        assert [event.type.value for event in await queue.list_events()] == ["delivered"]
        assert await queue.count_messages(MessageFilter()) == 0

    [next_id] = await submit(stage, "user@d0.example")
    for _ in range(2):
        sleeper.tell("go on")
    assert sleeper.wait_for(is_end_of(next_id))["kind"] == "delivered", "it works on, under a new lease"
    sleeper.stop()
    await audit(stage)


async def test_a_late_settlement_does_not_end_the_attempt_of_another_worker(any_stage: Stage) -> None:
    stage = any_stage
    [id_] = await submit(stage, "user@d0.example")
    sleeper = stage.start("deliverer", gated=True, lease=0.5)
    sleeper.wait_for(lambda line: "begun" in line)
    suspend(sleeper, stage)
    successor = stage.start("deliverer", gated=True, lease=3.0)  # not so short that a busy machine loses it
    successor.wait_for(lambda line: "begun" in line)

    os.kill(sleeper.pid, signal.SIGCONT)
    for _ in range(2):
        sleeper.tell("go on")
    assert sleeper.wait_for(lambda line: "lease_lost" in line)["lease_lost"] == 1
    async with stage.open() as queue:
        message = await queue.get(id_)
    assert message is not None
    assert (message.in_flight, message.attempts) == (True, 2)
    assert [result.kind.value for result in message.results] == ["interrupted"]

    for _ in range(2):
        successor.tell("go on")
    assert successor.wait_for(is_end_of(id_))["kind"] == "delivered"
    sleeper.stop()
    successor.stop()
    async with stage.open() as queue:
        retired = await queue.get_retired(id_)
        assert [event.type.value for event in await queue.list_events()] == ["delivered"]
    assert retired is not None
    assert [result.kind.value for result in retired.results] == ["interrupted", "delivered"]
    assert [line["attempt"] for line in stage.taken] == [1, 2]
    await audit(stage)
