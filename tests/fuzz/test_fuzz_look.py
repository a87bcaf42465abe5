"""Whatever a queue is asked, it answers, or refuses with one of our errors."""

import base64
import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from tests.fuzz.conftest import Target

from moxlib.errors import InputError, MoxlibError
from moxlib.queue import Cursor, HistoryFilter, MessageFilter, RequireTLS, RetrySchedule, Sort
from moxlib.queue.errors import InvalidFilter, InvalidSchedule

texts = st.text(st.characters(codec=None), max_size=30)
integers = st.integers() | st.sampled_from([2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**40])
scalars = st.none() | st.booleans() | integers | st.floats() | texts | st.binary(max_size=5)
times = st.datetimes(timezones=st.just(UTC)) | st.datetimes()
anything = st.recursive(scalars | times, lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner))
json_like = st.recursive(
    st.none() | st.booleans() | integers | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=2),
)
cursors = st.builds(
    lambda sort, descending, key, id_: [sort, descending, key, id_],
    st.sampled_from(Sort).map(str) | json_like,
    st.booleans() | json_like,
    integers | json_like,
    integers | json_like,
)
units = st.sampled_from(
    ["1m", "5m", "7m30s", "1h", " ", ",", "*", "*3", "d", "h", "0s", "00001d", "999999d", "*9999", "1e5", "-1m", "٣m"]
)


def encode(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def filters_of(class_: type) -> st.SearchStrategy[dict[str, Any]]:
    names = st.sampled_from([field.name for field in fields(class_)] + ["nonsense"])
    return st.dictionaries(names, anything, max_size=3)


@given(st.lists(units, max_size=6).map("".join) | texts)
def test_any_text_as_a_schedule(text: str) -> None:
    try:
        schedule = RetrySchedule.parse(text)
    except InvalidSchedule:
        return
    assert all(timedelta(0) < wait <= timedelta(days=60) for wait in schedule.waits)
    assert RetrySchedule.parse(str(schedule)) == schedule
    assert schedule(schedule.max_attempts) is None


@given(text=cursors.map(encode) | json_like.map(encode) | texts, sort=st.sampled_from(Sort), descending=st.booleans())
@example(text=encode(["queued", False, 10**40, 1]), sort=Sort.QUEUED, descending=False)
@example(text=encode(["queued", False, 1, 10**40]), sort=Sort.QUEUED, descending=False)
@example(text=base64.urlsafe_b64encode(b'["queued",false,1e999,1]').decode(), sort=Sort.QUEUED, descending=False)
@example(text=base64.urlsafe_b64encode(b"[" * 100_000).decode(), sort=Sort.QUEUED, descending=False)
def test_any_text_as_a_cursor(target: Target, text: str, sort: Sort, descending: bool) -> None:
    try:
        cursor: Cursor | None = Cursor.parse(text)
    except InvalidFilter:
        cursor = None
    assert cursor is None or Cursor.parse(str(cursor)) == cursor
    page = target.attempt(lambda queue: queue.list_messages(after=text, sort=sort, descending=descending))
    history = target.attempt(lambda queue: queue.list_history(after=text, sort=sort, descending=descending))
    for result in (page, history):
        assert not isinstance(result, MoxlibError) or isinstance(result, InputError)


@given(conditions=filters_of(MessageFilter))
@example(conditions={"ids": (10**40,)})
@example(conditions={"sender": 5})
@example(conditions={"account": "\ud800"})
def test_any_conditions_on_messages(target: Target, conditions: dict[str, Any]) -> None:
    try:
        where = MessageFilter.of(conditions)
    except InputError:
        return
    for ask in (
        lambda queue: queue.list_messages(where),
        lambda queue: queue.count_messages(where),
        lambda queue: queue.hold(where),
        lambda queue: queue.drop(where),
    ):
        assert not isinstance(target.attempt(ask), MoxlibError), "a filter that could be made can be asked"


@given(conditions=filters_of(HistoryFilter))
@example(conditions={"event": "nonsense"})
def test_any_conditions_on_the_history(target: Target, conditions: dict[str, Any]) -> None:
    try:
        where = HistoryFilter.of(conditions)
    except InputError:
        return
    for ask in (lambda queue: queue.list_history(where), lambda queue: queue.count_history(where)):
        assert not isinstance(target.attempt(ask), MoxlibError), "a filter that could be made can be asked"


@given(id_=integers, at=times, by=st.timedeltas(), text=texts, limit=integers, tls=st.sampled_from(RequireTLS) | texts)
@example(id_=1, at=datetime.min.replace(tzinfo=UTC), by=timedelta(days=-60), text="x", limit=1, tls="no")
@example(id_=1, at=datetime.max.replace(tzinfo=UTC), by=timedelta.min, text="\0", limit=1, tls=RequireTLS.YES)
@example(id_=10**40, at=None, by=timedelta.max, text="\ud800", limit=0, tls="")
def test_any_arguments(target: Target, id_: int, at: Any, by: timedelta, text: str, limit: int, tls: Any) -> None:
    where = MessageFilter()
    target.run(target.queue.submit(b"Subject: hello\r\n\r\n", sender="", recipients="user@there.example"))
    for ask in (
        lambda queue: queue.get(id_),
        lambda queue: queue.get_retired(id_),
        lambda queue: queue.explain(id_),
        lambda queue: queue.list_events(after=id_, limit=limit),
        lambda queue: queue.list_messages(limit=limit),
        lambda queue: queue.reschedule(where, at=at),
        lambda queue: queue.reschedule(where, by=by),
        lambda queue: queue.set_transport(where, text),
        lambda queue: queue.set_require_tls(where, tls),
        lambda queue: queue.add_hold_rule(account=text, recipient_domain="nowhere.example"),
        lambda queue: queue.add_hold_rule(recipient_domain=text or "nowhere.example"),
        lambda queue: queue.remove_hold_rule(id_),
        lambda queue: queue.list_messages(),
    ):
        result = target.attempt(ask)
        assert not isinstance(result, MoxlibError) or isinstance(result, InputError)
    target.empty()
