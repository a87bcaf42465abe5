"""Webhooks whose worker is killed: no event is lost, each message's come in order, and what comes twice has one id."""

from contextlib import aclosing
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from tests.crash.programs.deliverer import Peer
from tests.crash.programs.mail import Log
from tests.crash.programs.receiver import LogCaller
from tests.crash.programs.steps import place
from tests.crash.stage import Line, Stage

from moxlib.queue import Event, Queue
from moxlib.queue.hooks import HookFilter, HookHistoryFilter
from moxlib.testing import run_until_idle

pytestmark = pytest.mark.crash

STEPS = (
    "before the peer is asked",
    "after INSERT INTO moxlib_event",
    "after INSERT INTO moxlib_hook",
    "after COMMIT",
    "after UPDATE moxlib_hook SET",  # the call is journalled
    "after COMMIT",
    "before the receiver is called",
    "after the receiver has it",
    "after INSERT INTO moxlib_hook_retired",
    "after DELETE FROM moxlib_hook",
    "after COMMIT",
    "after the peer took it",
    "after INSERT INTO moxlib_hook",
    "before the receiver is called",
    "after the receiver has it",
    "after INSERT INTO moxlib_hook_retired",
    "after COMMIT",
)
KILLS = 8
DELIVERERS = 3


def calls(stage: Stage) -> list[Line]:
    """What the receiver got, in order."""
    return [line for line in Log.read(stage.log) if "webhook" in line]


async def all_events(queue: Queue) -> list[Event]:
    last = await queue.last_event()
    found: list[Event] = []
    if last:
        async with aclosing(queue.events()) as events:  # type: ignore[type-var]
            async for event in events:
                found.append(event)
                if event.id == last:
                    break
    return found


async def check(stage: Stage, queue: Queue) -> None:
    """Compare what the receiver got with the log of events, and the history of webhooks with both."""
    got = calls(stage)
    by_id = {line["webhook"]: (line["message"], line["event"], line["at"]) for line in got}
    for line in got:
        assert by_id[line["webhook"]] == (line["message"], line["event"], line["at"]), "one id for two events"
    assert len(set(by_id.values())) == len(by_id), "two ids for one event"
    events = await all_events(queue)
    assert [event.id for event in events] == sorted(event.id for event in events)
    page = await queue.list_webhook_history(HookHistoryFilter(success=True), limit=10_000)
    assert sorted(hook.event_id or 0 for hook in page.items) == [event.id for event in events], "an event is lost"
    assert {hook.id for hook in page.items} == set(by_id)
    for message in {event.message for event in events}:
        first: dict[int, str] = {}
        for line in got:
            if line["message"] == message:
                first.setdefault(line["webhook"], line["event"])
        told = [event.type.value for event in events if event.message == message]
        assert list(first.values()) == told, f"the order of message {message}"
        assert list(first) == sorted(first)


@pytest.mark.parametrize("transactions", ["thread", "loop"])
async def test_a_kill_between_any_two_steps_loses_no_event(stage: Stage, transactions: str) -> None:
    await check_runs(stage, transactions=transactions)


async def test_a_kill_between_any_two_steps_loses_no_event_on_postgres(postgres_stage: Stage) -> None:
    await check_runs(postgres_stage)


async def check_runs(stage: Stage, **changes: Any) -> None:
    changes |= {"name": "webhooks", "pause": 0.0, "webhooks": True, "domains": 1}
    child, settings = stage.run("steps", **changes), replace(stage.settings, **changes)
    runs = child.lines[-1]["run"] + 1
    made = [line["step"] for line in child.lines if line["run"] == runs - 1 and "step" in line]
    # Not in order: what a webhook's call and the next attempt do goes on side by side.
    assert set(STEPS) <= set(made), made
    for run in range(runs):
        here = Stage.of(place(settings, run))
        caller = LogCaller(here.settings)
        async with here.open(transports={"peer": Peer(here.settings)}, webhook_caller=caller) as queue:
            while await queue.count_messages() or await queue.count_webhooks():
                await queue.retry_webhooks_now(HookFilter())
                await run_until_idle(queue)
            await check(here, queue)
            assert calls(here), "nothing was ever sent"


async def test_killed_workers_lose_no_event_and_keep_the_order(any_stage: Stage) -> None:
    stage, random = any_stage, Random(17)
    submitter = stage.start("submitter", name="s", large=0, pause=0.06)  # until it is killed: so there is work
    crew = [stage.start("deliverer", webhooks=True) for _ in range(DELIVERERS)]
    for _ in range(KILLS):
        index = random.randrange(len(crew))
        crew[index].wait_for_more()
        crew[index].kill()
        crew[index] = stage.start("deliverer", webhooks=True)
    submitter.kill()
    stage.start("deliverer", webhooks=True, until_empty=True).end()
    for child in crew:
        child.stop()
    settings = replace(stage.settings, webhooks=True)
    async with settings.open(transports={}, webhook_caller=LogCaller(settings)) as queue:
        await check(stage, queue)
        assert {line["event"] for line in calls(stage)} == {"delayed", "delivered"}
        assert len({line["pid"] for line in calls(stage)}) > 1
