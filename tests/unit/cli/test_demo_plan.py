"""The demo's plan, and that its judgement misses nothing."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from moxlib.cli.demo.load import Sample
from moxlib.cli.demo.plan import (
    KINDS,
    Fate,
    Greylisting,
    KnownUsers,
    Planned,
    is_same,
    judge,
    make_plan,
    quick_schedule,
)
from moxlib.localserve import Received
from moxlib.queue import AttemptResult, EventType, ResultKind, Retired

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SAMPLES = tuple(Sample(name=f"{n}.eml", content=f"Subject: {n}\r\n\r\nhello\r\n".encode()) for n in range(3))


def retired(recipient: str, kinds: tuple[ResultKind, ...]) -> Retired:
    return Retired(
        id=1,
        base_id=1,
        account="demo",
        sender="s@s.example",
        recipient=recipient,
        destination="d.example",
        queued=NOW,
        finished=NOW,
        keep_until=NOW,
        event=EventType.DELIVERED if kinds[-1] is ResultKind.DELIVERED else EventType.FAILED,
        attempts=len(kinds),
        max_attempts=9,
        last_attempt=NOW,
        results=tuple(AttemptResult(attempt=n, kind=kind, started=NOW) for n, kind in enumerate(kinds, 1)),
        size=1,
    )


def as_planned(plan: list[Planned]) -> dict[str, Any]:
    return {
        "history": {p.recipient: retired(p.recipient, KINDS[p.fate]) for p in plan},
        "held": frozenset(p.recipient for p in plan if p.fate is Fate.HELD),
        "received": [
            Received(sender="s@s.example", recipients=(p.recipient,), content=p.sample.content)
            for p in plan
            if p.fate is not Fate.REFUSED
        ],
    }


def flat(recipients: int = 4) -> list[Planned]:
    return [planned for group in make_plan(SAMPLES, recipients) for planned in group]


@pytest.mark.parametrize("recipients", [4, 5, 8, 101])
def test_every_fate_occurs_and_one_message_is_held(recipients: int) -> None:
    fates = Counter(planned.fate for planned in flat(recipients))
    assert fates.keys() == set(Fate)
    assert fates[Fate.HELD] == 1
    assert fates.total() == 3 * recipients


def test_no_address_occurs_twice() -> None:
    addresses = [planned.recipient for planned in flat(101)]
    assert len(set(addresses)) == len(addresses)


def test_what_goes_as_planned_gives_no_problem() -> None:
    plan = flat()
    assert judge(plan, **as_planned(plan)) == ()


@pytest.mark.parametrize("fate", list(Fate))
def test_each_deviation_is_told(fate: Fate) -> None:
    plan = flat()
    victim = next(planned for planned in plan if planned.fate is fate)
    name = victim.recipient
    happened = as_planned(plan)
    history, received = happened["history"], happened["received"]
    content = victim.sample.content

    def problems(**changes: Any) -> str:
        found = judge(plan, **(happened | changes))
        assert all(name in problem for problem in found)
        return "; ".join(found)

    assert "has not ended" in problems(history={k: v for k, v in history.items() if k != name})
    assert "planned was" in problems(
        history=history | {name: retired(name, (ResultKind.UNKNOWN, ResultKind.DELIVERED))}
    )
    if fate is Fate.HELD:
        assert "no rule held it" in problems(held=frozenset())
    else:
        assert "it was held" in problems(held=happened["held"] | {name})
    once_more = Received(sender="", recipients=(name,), content=content)
    assert "received it" in problems(received=[*received, once_more])
    if fate is not Fate.REFUSED:
        others = [message for message in received if message.recipients != (name,)]
        assert "received it 0 times" in problems(received=others)
        altered = replace(once_more, content=content.replace(b"hello", b"hallo"))
        assert "other content" in problems(received=[*others, altered])


def test_a_message_that_nobody_planned_is_told() -> None:
    plan = flat()
    happened = as_planned(plan)
    happened["received"].append(Received(sender="", recipients=("eve@elsewhere.example",), content=b""))
    [problem] = judge(plan, **happened)
    assert "eve@elsewhere.example" in problem


@pytest.mark.parametrize(
    ("received", "same"),
    [
        (b"A: b\r\n\r\nc\r\n", True),
        (b"Date: now\r\nMessage-ID: <x>\r\nA: b\r\n\r\nc\r\n", True),
        (b"X-Other: y\r\nA: b\r\n\r\nc\r\n", False),
        (b"A: b\r\n\r\nc\r\nd\r\n", False),
        (b"A: b\r\n\r\n", False),
        (b"", False),
    ],
)
def test_only_a_date_and_a_message_id_may_be_added(received: bytes, same: bool) -> None:
    assert is_same(received, b"A: b\r\n\r\nc\r\n") is same


def test_greylisting_defers_twice_for_each_address() -> None:
    rules = Greylisting()
    first, second = "a@g.example", "b@g.example"
    assert rules.recipient(first).startswith("450")
    assert (rules.recipient(first), rules.message((first,))[:3]) == ("", "452")
    assert rules.recipient(second).startswith("450")
    assert (rules.recipient(first), rules.message((first,))) == ("", "")


def test_a_server_refuses_only_those_who_moved() -> None:
    rules = KnownUsers()
    assert rules.recipient("moved.ann.1@post.example").startswith("550 5.1.1")
    assert (rules.recipient("ann.1@post.example"), rules.message(("ann.1@post.example",))) == ("", "")


def test_the_schedule_allows_what_is_planned_and_ends() -> None:
    assert [quick_schedule(n) for n in (1, 2, 3, 4)] == [timedelta(seconds=s) for s in (0.2, 0.4, 0.6)] + [None]
    assert max(map(len, KINDS.values())) <= 4
