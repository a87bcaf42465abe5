"""Filters say what matches and refuse what does not exist; cursors survive the way through a URL."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from moxlib.queue.errors import InvalidFilter
from moxlib.queue.selection import Cursor, HistoryFilter, MessageFilter, Sort
from moxlib.queue.types import EventType, Message, Retired

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)

MESSAGE = Message(
    id=7,
    base_id=5,
    account="shop",
    sender="Sales@Here.example",
    sender_domain="here.example",
    recipient="jörg+x@there.example",
    recipient_domain="there.example",
    destination="there.example",
    queued=NOON,
    hold=False,
    attempts=1,
    max_attempts=8,
    next_attempt=NOON + 2 * HOUR,
    last_attempt=NOON + HOUR,
    in_flight=False,
    results=(),
    size=10,
)
RETIRED = Retired(
    id=7,
    base_id=5,
    account="shop",
    sender="Sales@Here.example",
    recipient="jörg+x@there.example",
    destination="there.example",
    queued=NOON,
    finished=NOON + HOUR,
    keep_until=NOON + 9 * HOUR,
    event=EventType.FAILED,
    attempts=1,
    max_attempts=8,
    last_attempt=NOON,
    results=(),
    size=10,
)

COMMON = [
    ({}, True),
    ({"ids": (7,)}, True),
    ({"ids": (1, 7)}, True),
    ({"ids": (5,)}, False),
    ({"ids": ()}, False),
    ({"base_id": 5}, True),
    ({"base_id": 7}, False),
    ({"account": "shop"}, True),
    ({"account": "sho"}, False),
    ({"account": "Shop"}, False),
    ({"account": ""}, False),
    ({"sender": "sales@"}, True),
    ({"sender": "HERE.EXAMPLE"}, True),
    ({"sender": ""}, True),
    ({"sender": "there"}, False),
    ({"recipient": "JÖRG+"}, True),
    ({"recipient": "jorg"}, False),
    ({"destination": "There.Example"}, True),
    ({"destination": "there"}, False),
    ({"transport": ""}, True),
    ({"transport": "relay"}, False),
    ({"queued_before": NOON}, False),
    ({"queued_before": NOON + HOUR}, True),
    ({"queued_after": NOON}, False),
    ({"queued_after": NOON - HOUR}, True),
    ({"last_activity_before": NOON + HOUR}, False),
    ({"last_activity_before": NOON + 2 * HOUR}, True),
    ({"last_activity_after": NOON + HOUR}, False),
    ({"last_activity_after": NOON}, True),
    ({"account": "shop", "sender": "sales", "base_id": 5}, True),
    ({"account": "shop", "sender": "sales", "base_id": 6}, False),
]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        *COMMON,
        ({"hold": False}, True),
        ({"hold": True}, False),
        ({"in_flight": False}, True),
        ({"in_flight": True}, False),
        ({"quarantined": False}, True),
        ({"quarantined": True}, False),
        ({"next_attempt_before": NOON + 2 * HOUR}, False),
        ({"next_attempt_before": NOON + 3 * HOUR}, True),
        ({"next_attempt_after": NOON + 2 * HOUR}, False),
        ({"next_attempt_after": NOON}, True),
    ],
    ids=str,
)
def test_a_message_matches_when_all_conditions_do(conditions: dict[str, object], expected: bool) -> None:
    assert MessageFilter.of(conditions).matches(MESSAGE) == expected


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        *COMMON,
        ({"success": False}, True),
        ({"success": True}, False),
        ({"event": EventType.FAILED}, True),
        ({"event": EventType.CANCELED}, False),
        ({"event": EventType.FAILED, "success": True}, False),
    ],
    ids=str,
)
def test_a_retired_message_matches_when_all_conditions_do(conditions: dict[str, object], expected: bool) -> None:
    assert HistoryFilter.of(conditions).matches(RETIRED) == expected


def test_what_was_set_on_the_message_matches() -> None:
    flying = replace(MESSAGE, transport="relay", hold=True, in_flight=True, quarantine="torn")
    where = MessageFilter(transport="relay", hold=True, in_flight=True, quarantined=True)
    assert where.matches(flying)
    assert not MessageFilter(transport="").matches(flying)


def test_a_message_never_tried_was_last_active_when_it_was_queued() -> None:
    untried = replace(MESSAGE, last_attempt=None)
    assert MessageFilter(last_activity_before=NOON + timedelta(microseconds=1)).matches(untried)
    assert not MessageFilter(last_activity_after=NOON).matches(untried)


def test_times_are_compared_as_instants() -> None:
    there = (NOON + timedelta(microseconds=1)).astimezone(timezone(timedelta(hours=-9)))
    assert MessageFilter(queued_before=there).matches(MESSAGE)


@pytest.mark.parametrize("kind", [MessageFilter, HistoryFilter])
def test_unknown_fields_are_named_with_those_that_exist(kind: type[MessageFilter] | type[HistoryFilter]) -> None:
    with pytest.raises(InvalidFilter, match="unknown filter field 'recipent'; known: ids, base_id, account"):
        kind.of({"recipent": "a", "sender": "b"})


@pytest.mark.parametrize("name", ["queued_before", "last_activity_after"])
@pytest.mark.parametrize("kind", [MessageFilter, HistoryFilter])
def test_times_without_a_zone_are_refused(kind: type[MessageFilter] | type[HistoryFilter], name: str) -> None:
    with pytest.raises(InvalidFilter, match=name):
        kind.of({name: datetime(2026, 3, 1)})


# cursors


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", list(Sort))
def test_a_cursor_reads_back(sort: Sort, descending: bool) -> None:
    cursor = Cursor(sort=sort, descending=descending, key=1_772_366_400_123_456, id=2**40)
    assert Cursor.parse(str(cursor)) == cursor
    assert set(str(cursor)) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "not a cursor",
        "ünïcode",
        "AAAA\nAAAA",
        "=" * 9,
        encoded("{}"),
        encoded("7"),
        encoded("null"),
        encoded('"abcd"'),
        encoded('{"a":1,"b":2,"c":3,"d":4}'),
        encoded("[]"),
        encoded('["queued",true,1]'),
        encoded('["queued",true,1,2,3]'),
        encoded('["size",true,1,2]'),
        encoded('["queued",true,null,2]'),
        encoded('["queued",true,"x",2]'),
        encoded('["queued",true,Infinity,2]'),
        encoded('["queued",true,NaN,2]'),
        encoded('["queued",true,1e400,2]'),
        encoded('["queued",true,1.5,2]'),
        encoded('["queued",true,"1",2]'),
        encoded('["queued","no",1,2]'),
        encoded('["queued", true, 1, 2]'),
        encoded('["queued",true,1,9223372036854775808]'),
        encoded('["queued",true,-9223372036854775809,1]'),
        encoded(f'["queued",true,{"9" * 5000},1]'),
        encoded("[" * 100_000),
        encoded(json.dumps(["queued", True, 1, 2], separators=(",", ":"))) + "=",
    ],
    ids=lambda text: ascii(text[:40]),
)
def test_what_is_no_cursor_is_refused(text: str) -> None:
    with pytest.raises(InvalidFilter) as caught:
        Cursor.parse(text)
    assert len(str(caught.value)) < 300
