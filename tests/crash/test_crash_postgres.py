"""Several processes on one PostgreSQL while they, and the server, are killed and stopped at any moment."""

import os
from collections.abc import Generator
from random import Random
from typing import Any

import pytest
from tests.crash.audit import Said, audit, check_drained, check_history
from tests.crash.crew import Crew
from tests.crash.stage import Line, Stage
from tests.postgres import PostgresServer

ROUNDS = max(5, int(os.environ.get("MOXLIB_CRASH_ROUNDS", "50")) // 2)
SEED = int(os.environ.get("MOXLIB_CRASH_SEED", "1"))
AUDIT_EVERY = 10  # rounds: then all are killed, and the queue is looked at with mail in it
CREW = {"submitter": 2, "deliverer": 3}
LEASE = 0.6  # seconds
LONGEST = 15.0  # seconds that a submit may take to be refused: it waits 5 for a thread, 5 for the server, 5 in doubt

pytestmark = pytest.mark.crash


@pytest.fixture
def server(postgres_server: PostgresServer) -> Generator[PostgresServer]:
    """One whose shutdown waits no longer than a moment for a client that stands still while it connects."""
    postgres_server.start()
    postgres_server.execute("ALTER SYSTEM SET authentication_timeout = '3s'")
    postgres_server.execute("SELECT pg_reload_conf()")
    yield postgres_server
    postgres_server.start()
    postgres_server.execute("ALTER SYSTEM RESET authentication_timeout")
    postgres_server.execute("SELECT pg_reload_conf()")


def lost(stage: Stage) -> int:
    return sum(line.get("lease_lost", 0) for line in stage.lines)


def refusals(stage: Stage) -> list[Line]:
    return [line for line in stage.lines if "refused" in line]


class Trouble:
    """Makes a round's trouble, of one of several kinds."""

    def __init__(self, crew: Crew, server: PostgresServer, random: Random) -> None:
        self._crew = crew
        self._server = server
        self._random = random
        self.restarts = {"fast": 0, "immediate": 0}

    def make(self) -> None:
        crew, random = self._crew, self._random
        dice = random.random()
        if dice < 0.5:
            crew.kill(*random.sample(crew.names, random.randint(1, 2)))
        elif dice < 0.75:
            crew.wait_for_more(random.choice(crew.names))
            name = random.choice([name for name in crew.names if name.startswith("deliverer")])
            crew.suspend(name, random.uniform(0.5, 3) * LEASE)
        else:
            crew.wait_for_more(random.choice(crew.names))
            mode = "fast" if random.random() < 0.5 else "immediate"
            self._server.restart(mode)  # type: ignore[arg-type]  # one of two
            self.restarts[mode] += 1
        crew.resume()


async def test_nothing_is_lost_whoever_is_killed_or_stopped(postgres_stage: Stage, server: PostgresServer) -> None:
    stage, random = postgres_stage, Random(SEED)
    settings: dict[str, Any] = {"lease": LEASE, "patient": True, "stall": 500, "pause": 0.02}
    crew = Crew(stage, random, CREW, **settings)
    trouble = Trouble(crew, server, random)
    for number in range(1, ROUNDS + 1):
        trouble.make()
        crew.restart()
        if number % AUDIT_EVERY == 0:
            crew.kill(*crew.names)
            await audit(stage, said=Said.of(stage.lines))
            crew.restart()
    crew.stop()
    stage.run("deliverer", until_empty=True, **settings)

    said = Said.of(stage.lines)
    await audit(stage, said=said)
    await check_drained(stage)
    tally = check_history(stage, said, stage.taken)
    told = {
        "kills": crew.kills,
        "suspensions": crew.suspensions,
        "restarts": trouble.restarts,
        "settled too late": lost(stage),
        "refused": len(refusals(stage)),
        "in doubt": len(said.in_doubt),
    }
    print(f"{told}: {tally}")  # noqa: T201 - the numbers that a long run is made for
    assert tally.accepted > ROUNDS
    assert max((line["seconds"] for line in refusals(stage)), default=0) < LONGEST


async def test_submitters_are_refused_while_the_server_is_down_and_nobody_ends(
    postgres_stage: Stage, server: PostgresServer
) -> None:
    stage = postgres_stage
    settings: dict[str, Any] = {"lease": LEASE, "patient": True, "patience": 0.3}
    crew = Crew(stage, Random(SEED), CREW, **settings)
    for name in crew.names:
        crew.wait_for_more(name)
    server.stop("immediate")
    for name, child in crew.running.items():
        down = len(child.lines)
        child.wait_for(lambda line: bool(line.keys() & {"refused", "trouble"}))
        if name.startswith("submitter"):
            child.wait_for(lambda line: "refused" in line and not line["in_doubt"], more=2)
        assert not [line for line in child.lines[down:] if "accepted" in line], "accepted by a server that is down"
    server.start()
    for name in crew.names:
        kind = "accepted" if name.startswith("submitter") else "attempted"
        seen = len([line for line in crew.running[name].lines if kind in line])
        crew.running[name].wait_for(lambda line, kind=kind: kind in line, more=seen)  # type: ignore[misc]
    crew.restart()
    crew.stop()
    stage.run("deliverer", until_empty=True, **settings)
    said = Said.of(stage.lines)
    await audit(stage, said=said)
    await check_drained(stage)
    check_history(stage, said, stage.taken)
