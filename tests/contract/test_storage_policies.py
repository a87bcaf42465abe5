"""Policies of MTA-STS in each storage, which has to be a `PolicyCache` as the one in memory is."""

from dataclasses import replace
from datetime import datetime, timedelta

from tests.contract.conftest import Desk

from moxlib.mtasts import CachedPolicy
from moxlib.testing.clock import START

HOUR = timedelta(hours=1)
TEXT = "version: STSv1\nmode: enforce\nmx: *.example.org\nmax_age: 86400\n"


def entry(domain: str = "example.org", *, checked: datetime = START, last_used: datetime = START) -> CachedPolicy:
    return CachedPolicy(
        domain=domain,
        record_id="20260101",
        policy_text=TEXT,
        fetched=START,
        valid_until=START + 24 * HOUR,
        checked=checked,
        last_used=last_used,
    )


async def test_what_was_put_comes_back(desk: Desk) -> None:
    policies = desk.storage.policies
    failed = replace(entry("failed.example"), policy_text="", retry_at=START + timedelta(minutes=5))
    for kept in (entry(), failed):
        await policies.put(kept)
        assert await policies.get(kept.domain) == kept
    assert await policies.get("other.example") is None


async def test_another_entry_takes_its_place(desk: Desk) -> None:
    policies = desk.storage.policies
    await policies.put(replace(entry(), retry_at=START + HOUR))
    later = replace(entry(), record_id="20260102", fetched=START + HOUR, retry_at=None)
    await policies.put(later)
    assert await policies.get("example.org") == later


async def test_those_checked_longest_ago_are_due_first(desk: Desk) -> None:
    policies = desk.storage.policies
    entries = [entry(f"{number}.example", checked=START - number * HOUR) for number in range(4)]
    for kept in (*entries, replace(entry("empty.example", checked=START - 9 * HOUR), policy_text="")):
        await policies.put(kept)
    assert await policies.due(START, 10) == (entries[3], entries[2], entries[1])
    assert await policies.due(START, 2) == (entries[3], entries[2])
    assert await policies.due(START - 3 * HOUR, 2) == ()


async def test_those_not_used_are_forgotten(desk: Desk) -> None:
    policies = desk.storage.policies
    old, new = entry("old.example", last_used=START - HOUR), entry("new.example")
    await policies.put(old)
    await policies.put(new)
    assert await policies.purge(START) == 1
    assert await policies.get("old.example") is None
    assert await policies.get("new.example") == new
