"""The cache in memory keeps no more than it is told to; what any cache does, the storages' contract tests show too."""

from dataclasses import replace
from datetime import timedelta

import pytest

from moxlib.mtasts import CachedPolicy, InvalidPolicy, MemoryPolicyCache, Mode
from moxlib.testing.clock import START

HOUR = timedelta(hours=1)


def entry(domain: str = "example.org", hours_ago: int = 0) -> CachedPolicy:
    return CachedPolicy(
        domain=domain,
        record_id="1",
        policy_text="version: STSv1\nmode: enforce\nmx: *.example.org\nmax_age: 86400\n",
        fetched=START,
        valid_until=START + 24 * HOUR,
        checked=START - hours_ago * HOUR,
        last_used=START - hours_ago * HOUR,
    )


def test_an_entry_knows_its_policy() -> None:
    policy = entry().policy()
    assert policy is not None
    assert (policy.mode, policy.max_age_seconds) == (Mode.ENFORCE, 86400)
    assert replace(entry(), policy_text="").policy() is None
    with pytest.raises(InvalidPolicy):
        replace(entry(), policy_text="damaged").policy()


async def test_what_was_put_comes_back_until_another_takes_its_place() -> None:
    cache = MemoryPolicyCache()
    await cache.put(entry())
    assert await cache.get("example.org") == entry()
    assert await cache.get("other.example") is None
    await cache.put(replace(entry(), record_id="2"))
    assert await cache.get("example.org") == replace(entry(), record_id="2")


async def test_those_checked_longest_ago_are_due_first() -> None:
    cache = MemoryPolicyCache()
    entries = [entry(f"{number}.example", number) for number in range(4)]
    for kept in (*entries, replace(entry("empty.example", 9), policy_text="")):
        await cache.put(kept)
    assert await cache.due(START, 10) == (entries[3], entries[2], entries[1])
    assert await cache.due(START, 2) == (entries[3], entries[2])
    assert await cache.due(START - 3 * HOUR, 2) == ()


async def test_those_not_used_are_forgotten() -> None:
    cache = MemoryPolicyCache()
    await cache.put(entry("old.example", 1))
    await cache.put(entry("new.example"))
    assert await cache.purge(START) == 1
    assert await cache.get("old.example") is None
    assert await cache.get("new.example") == entry("new.example")


async def test_beyond_its_size_it_forgets_what_was_not_asked_for() -> None:
    cache = MemoryPolicyCache(max_entries=2)
    await cache.put(entry("a.example"))
    await cache.put(entry("b.example"))
    await cache.get("a.example")
    await cache.put(entry("c.example"))
    assert [await cache.get(f"{name}.example") is not None for name in "abc"] == [True, False, True]
