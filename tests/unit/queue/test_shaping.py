"""Limits of sites: what they may be, which ones a site has, and the bucket in the process."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from moxlib.errors import InputError
from moxlib.queue.congestion import Concurrency
from moxlib.queue.limits import Rate
from moxlib.queue.shaping import Bucket, Shaping, ShapingChange, ShapingRules

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


# Values


def test_a_change_has_the_fields_of_what_it_changes() -> None:
    assert [each.name for each in fields(ShapingChange)] == [each.name for each in fields(Shaping)]
    assert ShapingChange() == ShapingChange(**{each.name: None for each in fields(ShapingChange)})


CHANGES: list[dict[str, Any]] = [
    {"max_connections": 2},
    {"pipeline": 1},
    {"messages_per_connection": 10},
    {"max_age": timedelta(minutes=1)},
    {"max_idle": SECOND},
    {"messages_per_second": 0.5},
    {"connections_per_minute": 6.0},
    {"concurrency": Concurrency(initial=1, maximum=2)},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_each_field_can_be_changed_alone(change: dict[str, Any]) -> None:
    changed = Shaping().changed(ShapingChange(**change))
    assert changed == Shaping(**change)
    assert changed != Shaping()
    assert changed.changed(ShapingChange()) == changed


def test_each_field_is_in_the_list_above() -> None:
    assert [next(iter(change)) for change in CHANGES] == [each.name for each in fields(Shaping)]


@pytest.mark.parametrize("make", [Shaping, ShapingChange])
@pytest.mark.parametrize(
    "options",
    [
        {"max_connections": 0},
        {"max_connections": 10_001},
        {"pipeline": 0},
        {"pipeline": 101},
        {"messages_per_connection": 0},
        {"messages_per_connection": 1_000_001},
        {"max_age": timedelta(0)},
        {"max_age": timedelta(days=1, microseconds=1)},
        {"max_idle": timedelta(seconds=-1)},
        {"max_idle": timedelta(days=2)},
        {"messages_per_second": 0},
        {"messages_per_second": 1e9},
        {"messages_per_second": float("nan")},
        {"connections_per_minute": -1},
        {"connections_per_minute": float("inf")},
    ],
)
def test_values_that_cannot_be(make: Any, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"{make.__name__}\.{next(iter(options))}"):
        make(**options)


def test_rates() -> None:
    assert Shaping().message_rate is None
    assert Shaping().connection_rate is None
    shaping = Shaping(messages_per_second=2.5, connections_per_minute=60)
    assert shaping.message_rate == Rate.per_second(2.5)
    assert shaping.connection_rate == Rate.per_minute(60)


# Which ones a site has


def connections(rules: ShapingRules, domain: str, *hosts: str) -> int:
    return rules.shaping_for(domain=domain, hosts=hosts).max_connections


def of(number: int) -> ShapingChange:
    return ShapingChange(max_connections=number)


def test_without_rules_it_is_the_default() -> None:
    assert ShapingRules().shaping_for(domain="example.net", hosts=["mx.example.net"]) == Shaping()
    assert ShapingRules().shaping_for(domain="") == Shaping()
    custom = Shaping(max_connections=3)
    assert ShapingRules(default=custom).shaping_for(domain="example.net") == custom


def test_rules_by_domain() -> None:
    rules = ShapingRules(
        domains={
            ".net": of(1),
            ".example.net": of(2),
            "example.net": of(3),
            ".deep.mail.example.net": of(4),
            "mail.example.net": of(5),
        }
    )
    expected = {
        "other.net": 1,
        "net": 1,
        "example.net": 3,
        "www.example.net": 2,
        "badexample.net": 1,
        "mail.example.net": 5,
        "deep.mail.example.net": 4,
        "very.deep.mail.example.net": 4,
        "example.org": 20,
        "example.net.org": 20,
    }
    assert {domain: connections(rules, domain) for domain in expected} == expected


def test_rules_by_host() -> None:
    rules = ShapingRules(hosts={".google.com": of(1), "mx2.example.net": of(2), ".example.net": of(3)})
    assert connections(rules, "a.example", "aspmx.l.google.com", "alt1.aspmx.l.google.com") == 1
    assert connections(rules, "a.example", "mx1.example.net") == 3
    assert connections(rules, "a.example", "mx1.example.net", "mx2.example.net") == 2
    assert connections(rules, "a.example", "mx.example.org") == 20
    assert connections(rules, "aspmx.l.google.com") == 20  # that is a domain


def test_of_keys_of_one_length_the_later_hosts_has_its_way() -> None:
    rules = ShapingRules(hosts={"mx1.example": of(1), "mx2.example": of(2)})
    assert connections(rules, "a.example", "mx1.example", "mx2.example") == 2
    assert connections(rules, "a.example", "mx2.example", "mx1.example") == 1


def test_a_domain_has_its_way_over_a_host_field_by_field() -> None:
    rules = ShapingRules(
        default=Shaping(max_connections=9, pipeline=9, messages_per_second=9),
        hosts={
            ".example": ShapingChange(max_connections=1, pipeline=1, max_idle=SECOND),
            "mx.example": ShapingChange(pipeline=2, max_age=SECOND),
        },
        domains={
            ".net": ShapingChange(max_age=2 * SECOND, messages_per_connection=7),
            "a.net": ShapingChange(messages_per_connection=8),
        },
    )
    assert rules.shaping_for(domain="a.net", hosts=["mx.example"]) == Shaping(
        max_connections=1,
        pipeline=2,
        max_idle=SECOND,
        max_age=2 * SECOND,
        messages_per_connection=8,
        messages_per_second=9,
    )


@pytest.mark.parametrize("key", ["", ".", "Example.net", "bücher.example", "example.net.", ".Example"])
@pytest.mark.parametrize("field", ["hosts", "domains"])
def test_keys_that_never_match_are_refused(field: str, key: str) -> None:
    with pytest.raises(InputError, match=rf"ShapingRules\.{field}"):
        ShapingRules(**{field: {key: ShapingChange()}})  # type: ignore[arg-type]


# The bucket


def test_a_bucket_gives_a_burst_and_then_one_after_the_other() -> None:
    bucket = Bucket(2)
    assert [bucket.reserve(1, NOW) for _ in range(5)] == [0, 0, 0.5, 1.0, 1.5]
    assert bucket.reserve(1, NOW + 2 * SECOND) == 0


def test_a_bucket_fills_up_to_its_burst_only() -> None:
    bucket = Bucket(Rate(count=1, per=SECOND, burst=3))
    assert [bucket.reserve(1, NOW) for _ in range(3)] == [0, 0, 0]
    later = NOW + timedelta(hours=1)
    assert [bucket.reserve(1, later) for _ in range(4)] == [0, 0, 0, 1]


def test_more_than_a_burst_can_be_taken_and_is_waited_for() -> None:
    bucket = Bucket(2)
    assert bucket.reserve(10, NOW) == 4
    assert bucket.reserve(1, NOW + 4 * SECOND) == 0.5


def test_nothing_taken_nothing_waited_for() -> None:
    bucket = Bucket(1)
    assert bucket.reserve(0, NOW) == 0
    assert bucket.reserve(-3, NOW) == 0
    assert bucket.reserve(1, NOW) == 0


def test_a_clock_set_back_changes_nothing() -> None:
    bucket = Bucket(1)
    assert [bucket.reserve(1, NOW) for _ in range(3)] == [0, 1, 2]
    assert bucket.reserve(1, NOW - timedelta(days=1)) == 3


def test_what_is_no_rate_is_refused() -> None:
    with pytest.raises(InputError):
        Bucket(0)
