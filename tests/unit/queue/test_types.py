"""The vocabulary: valid by construction, unchangeable, compared by value."""

import pickle
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from moxlib.queue.outcome import Deferred, Delivered, Failed, Outcome, Trace, Unknown
from moxlib.queue.submission import StoredContent
from moxlib.queue.types import (
    AttemptResult,
    Event,
    EventType,
    FeedbackSource,
    HoldRule,
    RequireTLS,
    ResultKind,
    Retired,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OUTCOMES: list[Outcome] = [Delivered(), Deferred(text="t"), Failed(text="t"), Unknown(text="t")]


@pytest.mark.parametrize("fields", [{}, {"body": b"", "file": "f"}])
def test_content_lies_in_exactly_one_place(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="exactly one"):
        StoredContent(size=0, sha256=b"", **fields)  # type: ignore[arg-type]  # of mixed types
    assert StoredContent(size=0, sha256=b"", body=b"").file is None
    assert StoredContent(size=0, sha256=b"", file="f").body is None


def test_hold_rules_are_compared_without_their_ids() -> None:
    assert HoldRule(account="a", id=1) == HoldRule(account="a", id=2)
    assert hash(HoldRule(account="a", id=1)) == hash(HoldRule(account="a", id=2))
    assert HoldRule(account="a", id=1) != HoldRule(account="b", id=1)


@pytest.mark.parametrize("outcome", OUTCOMES, ids=repr)
def test_outcomes_cannot_be_changed_and_can_be_pickled(outcome: Outcome) -> None:
    with pytest.raises(FrozenInstanceError):
        outcome.text = "other"  # type: ignore[misc]  # that is what is tested
    assert pickle.loads(pickle.dumps(outcome)) == outcome
    assert replace(outcome, peer="mx") != outcome


@pytest.mark.parametrize("event", list(EventType))
def test_only_a_delivery_is_a_success(event: EventType) -> None:
    retired = Retired(
        id=1,
        base_id=1,
        account="",
        sender="",
        recipient="a@x.example",
        destination="x.example",
        queued=NOON,
        finished=NOON,
        keep_until=NOON,
        event=event,
        attempts=1,
        max_attempts=8,
        last_attempt=NOON,
        results=(AttemptResult(attempt=1, kind=ResultKind.DELIVERED, started=NOON),),
        size=1,
    )
    assert retired.success == (event is EventType.DELIVERED)


def test_stored_names_do_not_change() -> None:
    # These stand in databases.
    assert {tls.value for tls in RequireTLS} == {"policy", "yes", "no"}
    assert {kind.value for kind in ResultKind} == {
        "delivered",
        "deferred",
        "failed",
        "unknown",
        "interrupted",
        "canceled",
        "suppressed",
        "quarantined",
    }
    assert {event.value for event in EventType} == {
        "delivered",
        "delayed",
        "failed",
        "suppressed",
        "canceled",
        "relayed",
        "expanded",
        "unrecognized",
        "complained",
        "quarantined",
        "webhook_disabled",
    }
    assert {source.value for source in FeedbackSource} == {"dsn", "bounce", "complaint", "other"}


def test_an_event_without_a_code_has_none() -> None:
    event = Event(id=1, at=NOON, type=EventType.DELIVERED, account="", message=1, recipient="a@x.example")
    assert (event.code, event.enhanced, event.error) == (0, "", "")


@pytest.mark.parametrize(
    "wrong",
    [{"dialed": ("mx1",)}, {"dialed": [("mx", 1)]}, {"dialed": 1}, {"dialed": [("a", "b", "c")]}, {"tls": None}],
)
def test_a_trace_that_could_not_be_stored_is_refused_where_it_is_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Trace(**wrong)


def test_a_trace_keeps_pairs() -> None:
    made: Any = [["mx", "192.0.2.1"]]
    assert Trace(dialed=made).dialed == (("mx", "192.0.2.1"),)
