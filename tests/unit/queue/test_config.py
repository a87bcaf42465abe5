"""The configuration refuses what could not work, when it is made; and what it says of destinations."""

from typing import Any

import pytest

from moxlib.errors import InputError
from moxlib.queue import DomainConfig, QueueConfig
from moxlib.queue.limits import Rate
from moxlib.queue.worker.limits import limits_of

FIELDS = ("messages_per_second", "connections_per_minute")


@pytest.mark.parametrize("class_", [QueueConfig, DomainConfig])
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf"), 1e-9])
def test_a_rate_that_is_none_is_refused_by_its_name(class_: Any, field: str, rate: float) -> None:
    with pytest.raises(InputError, match=rf"^{class_.__name__}\.{field}: a rate must be from 1 a day"):
        class_(**{field: rate})


@pytest.mark.parametrize("class_", [QueueConfig, DomainConfig])
@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("rate", [None, 1, 0.5, 10_000])
def test_a_rate(class_: Any, field: str, rate: float | None) -> None:
    assert getattr(class_(**{field: rate}), field) == rate


def test_no_rate_is_limited_unless_told() -> None:
    limits = limits_of(QueueConfig(domains={"one.example": DomainConfig(concurrency=3)}))
    assert [limits.limit(name) for name in ("one.example", "two.example")] == [3, 10]
    assert limits.message_rate("one.example") is limits.connection_rate("one.example") is None


def test_a_domain_has_its_own_rates_or_those_of_all() -> None:
    domains = {
        "one.example": DomainConfig(messages_per_second=100, connections_per_minute=6),
        "two.example": DomainConfig(messages_per_second=0.5),
    }
    limits = limits_of(QueueConfig(messages_per_second=10, connections_per_minute=30, domains=domains))
    names = ("one.example", "two.example", "three.example")
    assert [limits.message_rate(name) for name in names] == [Rate.per_second(n) for n in (100, 0.5, 10)]
    assert [limits.connection_rate(name) for name in names] == [Rate.per_minute(n) for n in (6, 30, 30)]
