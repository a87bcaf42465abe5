"""Which policy holds: for every state of the cache, of the record, and of the server that has the policy."""

import asyncio
import logging
import pickle
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from moxlib.dns import Domain, parse_domain
from moxlib.errors import RemoteError, StorageError
from moxlib.mtasts import (
    MTASTS,
    CachedPolicy,
    Lookup,
    MemoryPolicyCache,
    Mode,
    PolicyFetchError,
    Refreshed,
    STSTemporaryError,
)
from moxlib.testing import FakeClock, MockResolver
from moxlib.testing.clock import START
from moxlib.tlsrpt import FailureDetails, Policy, PolicyType, Result, ResultType

DOMAIN = parse_domain("example.com")
NAME = "_mta-sts.example.com"
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NO_POLICY = Policy(type=PolicyType.NO_POLICY_FOUND, domain="example.com")
STS = Policy(type=PolicyType.STS, domain="example.com")
FETCH, INVALID = ResultType.STS_POLICY_FETCH_ERROR, ResultType.STS_POLICY_INVALID


def text(mode: str = "enforce", host: str = "mail.example.com", max_age: int = 86400 * 7) -> bytes:
    return f"version: STSv1\r\nmode: {mode}\r\nmx: {host}\r\nmax_age: {max_age}\r\n".encode()


def sts(mode: str = "enforce", host: str = "mail.example.com", max_age: int = 86400 * 7) -> Policy:
    lines = ("version: STSv1", f"mode: {mode}", f"mx: {host}", f"max_age: {max_age}")
    return replace(STS, strings=lines, mx_hosts=(host,))


def failure(result_type: ResultType, reason_code: str) -> tuple[FailureDetails, ...]:
    return (FailureDetails(result_type=result_type, failure_reason_code=reason_code),)


class Served:
    """A `Fetcher` that has what the test says: a policy, or an error."""

    def __init__(self) -> None:
        self.policies: dict[str, bytes | Exception] = {}
        self.fetched: list[str] = []
        self.gate: asyncio.Event | None = None
        self.running = self.most = 0

    async def fetch(self, domain: Domain) -> bytes:
        self.fetched.append(domain.ascii)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            if self.gate is not None:
                await self.gate.wait()
        finally:
            self.running -= 1
        served = self.policies.get(domain.ascii)
        if served is None:
            served = unreachable(domain.ascii)
        if isinstance(served, Exception):
            raise served
        return served


def unreachable(domain: str = "example.com") -> PolicyFetchError:
    return PolicyFetchError(domain=domain, reason="no route", result_type=FETCH, reason_code="connection-failed")


class World:
    """A domain, its DNS and its policy host, seen through an `MTASTS`."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.cache = MemoryPolicyCache()
        self.served = Served()
        self.resolver = MockResolver()
        self.sts = MTASTS(resolver=self, fetcher=self.served, cache=self.cache, clock=self.clock)  # type: ignore[arg-type]  # asked for TXT only

    async def lookup_txt(self, name: str) -> object:
        return await self.resolver.lookup_txt(name)

    def record(self, *texts: str) -> None:
        self.resolver = MockResolver(txt={NAME: texts} if texts else {})

    def fail(self) -> None:
        self.resolver = MockResolver(fail=[NAME])

    def serve(self, served: bytes | Exception) -> None:
        self.served.policies["example.com"] = served

    async def look(self) -> Lookup:
        return await self.sts.lookup(DOMAIN)

    async def kept(self) -> CachedPolicy:
        entry = await self.cache.get("example.com")
        assert entry is not None
        return entry

    @property
    def fetches(self) -> int:
        return len(self.served.fetched)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def cached() -> World:
    """A world in which the policy of record id 1 was looked up at the start, and is cached for a week."""
    world = World()
    world.record("v=STSv1; id=1")
    world.serve(text())
    assert (await world.look()).fresh
    assert world.fetches == 1
    return world


# nothing cached


async def test_a_domain_without_a_record_has_no_policy(world: World) -> None:
    assert await world.look() == Lookup(policy=None, result=Result(policy=NO_POLICY), fresh=True)
    assert world.fetches == 0
    assert await world.cache.get("example.com") is None


@pytest.mark.parametrize(
    ("texts", "reason_code"),
    [(("v=STSv1; id=1", "v=STSv1; id=2"), "multiple-mta-sts-records"), (("v=STSv1; id=-",), "record-syntax-error")],
)
async def test_an_unusable_record_is_none_and_reported(world: World, texts: tuple[str, ...], reason_code: str) -> None:
    world.record(*texts)
    result = Result(policy=STS, details=failure(FETCH, reason_code))
    assert await world.look() == Lookup(policy=None, result=result, fresh=True)
    assert world.fetches == 0
    assert await world.cache.get("example.com") is None


async def test_a_record_that_cannot_be_found_out_defers(world: World) -> None:
    world.fail()
    with pytest.raises(STSTemporaryError) as caught:
        await world.look()
    error = caught.value
    assert isinstance(error, RemoteError)
    assert (error.domain, error.reason) == ("example.com", "SERVFAIL")
    assert error.result == Result(policy=STS, details=failure(FETCH, "dns-lookup"))
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.result) == (str(error), error.result)
    world.record()
    assert (await world.look()).policy is None  # it is not remembered


async def test_a_record_with_a_wrong_signature_defers(world: World) -> None:
    world.resolver = MockResolver(bogus=[NAME])
    with pytest.raises(STSTemporaryError) as caught:
        await world.look()
    assert caught.value.result.details == failure(FETCH, "dns-extended-error-6-dnssec-bogus")


async def test_a_resolver_that_does_not_answer_defers(world: World) -> None:
    class Silent:
        async def lookup_txt(self, name: str) -> object:
            return await asyncio.Event().wait()

    world.resolver = Silent()  # type: ignore[assignment]
    looking = asyncio.create_task(world.look())
    await world.clock.advance(29)
    assert not looking.done()
    await world.clock.advance(1)
    with pytest.raises(STSTemporaryError, match="not there within 30 seconds"):
        await looking


@pytest.mark.parametrize("mode", ["enforce", "testing"])
async def test_a_policy_is_fetched_and_cached(world: World, mode: str) -> None:
    world.record("v=STSv1; id=1")
    world.serve(text(mode))
    found = await world.look()
    assert found.policy is not None
    assert (found.policy.mode.value, found.result, found.fresh) == (mode, Result(policy=sts(mode)), True)
    assert found.policy.matches(parse_domain("mail.example.com"))
    assert await world.kept() == CachedPolicy(
        domain="example.com",
        record_id="1",
        policy_text=text(mode).decode(),
        fetched=START,
        valid_until=START + 7 * DAY,
        checked=START,
        last_used=START,
    )
    assert await world.look() == found
    assert world.fetches == 1


async def test_a_policy_of_mode_none_is_no_policy_to_a_report(world: World) -> None:
    world.record("v=STSv1; id=1")
    world.serve(text("none"))
    for _ in range(2):
        found = await world.look()
        assert found.policy is not None
        assert (found.policy.mode, found.result) == (Mode.NONE, Result(policy=NO_POLICY))
    assert world.fetches == 1


@pytest.mark.parametrize(
    ("served", "result_type", "reason_code"),
    [
        (unreachable(), FETCH, "connection-failed"),
        (b"<html>", INVALID, "policy-syntax-error"),
        (b"", INVALID, "policy-syntax-error"),
        (b"x" * 70_000, INVALID, "policy-syntax-error"),
        (text().replace(b"enforce", b"\xff"), INVALID, "policy-syntax-error"),
    ],
)
async def test_a_policy_that_cannot_be_had_is_none_for_five_minutes(
    world: World, served: bytes | Exception, result_type: ResultType, reason_code: str
) -> None:
    world.record("v=STSv1; id=1")
    world.serve(served)
    result = Result(policy=STS, details=failure(result_type, reason_code))
    assert await world.look() == Lookup(policy=None, result=result, fresh=False)
    entry = await world.kept()
    assert (entry.policy_text, entry.retry_at, entry.valid_until) == ("", START + 5 * MINUTE, START + 5 * MINUTE)

    world.serve(text())
    await world.clock.advance(299)
    asked = len(world.resolver.lookups)
    result = Result(policy=STS, details=failure(FETCH, "back-off-after-recent-fetch-error"))
    assert await world.look() == Lookup(policy=None, result=result, fresh=False)
    assert (world.fetches, len(world.resolver.lookups)) == (1, asked)

    await world.clock.advance(1)
    assert (await world.look()).policy is not None
    assert world.fetches == 2
    assert (await world.kept()).retry_at is None


async def test_a_policy_may_not_be_cached_for_more_than_a_year(world: World) -> None:
    world.record("v=STSv1; id=1")
    world.serve(text(max_age=2**31 - 1))
    await world.look()
    assert (await world.kept()).valid_until == START + timedelta(seconds=31_557_600)


async def test_a_policy_of_no_age_holds_once(world: World) -> None:
    world.record("v=STSv1; id=1")
    world.serve(text(max_age=0))
    assert (await world.look()).policy is not None
    assert (await world.look()).policy is not None
    assert world.fetches == 2


async def test_a_cached_text_that_is_damaged_is_fetched_again(cached: World) -> None:
    await cached.cache.put(replace(await cached.kept(), policy_text="damaged"))
    assert (await cached.look()).policy is not None
    assert cached.fetches == 2


# a policy is cached


async def test_a_policy_of_the_same_id_holds(cached: World) -> None:
    await cached.clock.advance(7 * DAY - timedelta(seconds=1))
    found = await cached.look()
    assert found.policy is not None
    assert (found.result, found.fresh) == (Result(policy=sts()), True)
    assert cached.fetches == 1


async def test_one_that_has_expired_is_fetched_again(cached: World) -> None:
    await cached.clock.advance(7 * DAY)
    assert (await cached.look()).fresh
    assert cached.fetches == 2


async def test_one_that_has_expired_protects_nobody(cached: World) -> None:
    await cached.clock.advance(7 * DAY)
    cached.fail()
    with pytest.raises(STSTemporaryError):
        await cached.look()
    cached.record("v=STSv1; id=1")
    cached.serve(unreachable())
    assert (await cached.look()).policy is None
    cached.record()
    await cached.clock.advance(5 * MINUTE)
    assert await cached.look() == Lookup(policy=None, result=Result(policy=NO_POLICY), fresh=True)


async def test_another_id_brings_another_policy(cached: World) -> None:
    cached.record("v=STSv1; id=2")
    cached.serve(text("testing", "*.example.org"))
    await cached.clock.advance(HOUR)
    found = await cached.look()
    assert found.policy is not None
    assert (found.policy.mode, found.result) == (Mode.TESTING, Result(policy=sts("testing", "*.example.org")))
    entry = await cached.kept()
    assert (entry.record_id, entry.fetched, entry.valid_until) == ("2", START + HOUR, START + HOUR + 7 * DAY)


async def test_mode_none_takes_the_place_of_a_policy(cached: World) -> None:
    cached.record("v=STSv1; id=2")
    cached.serve(text("none"))
    for _ in range(2):
        found = await cached.look()
        assert found.policy is not None
        assert (found.policy.mode, found.result) == (Mode.NONE, Result(policy=NO_POLICY))
    assert cached.fetches == 2


@pytest.mark.parametrize(
    ("texts", "reason_code"),
    [
        ((), "no-mta-sts-record"),
        (("v=STSv1; id=1", "v=STSv1; id=2"), "multiple-mta-sts-records"),
        (("v=STSv1; id=-",), "record-syntax-error"),
        (None, "dns-lookup"),
    ],
)
async def test_a_policy_holds_when_its_record_is_gone(
    cached: World, texts: tuple[str, ...] | None, reason_code: str
) -> None:
    if texts is None:
        cached.fail()
    else:
        cached.record(*texts)
    found = await cached.look()
    assert found.policy is not None
    assert not found.fresh
    details = failure(FETCH, f"{reason_code}+fallback-to-cached-policy")
    assert found.result == Result(policy=sts(), details=details)
    assert cached.fetches == 1


async def test_a_policy_holds_when_the_next_one_cannot_be_had(cached: World) -> None:
    cached.record("v=STSv1; id=2")
    cached.serve(unreachable())
    found = await cached.look()
    assert found.policy is not None
    assert found.result == Result(policy=sts(), details=failure(FETCH, "connection-failed+fallback-to-cached-policy"))
    assert not found.fresh

    cached.serve(text("testing"))
    await cached.clock.advance(299)  # and that is not tried for five minutes
    found = await cached.look()
    assert found.policy is not None
    assert found.policy.mode is Mode.ENFORCE
    details = failure(FETCH, "back-off-after-recent-fetch-error+fallback-to-cached-policy")
    assert found.result == Result(policy=sts(), details=details)
    assert cached.fetches == 2

    await cached.clock.advance(1)
    found = await cached.look()
    assert found.policy is not None
    assert found.policy.mode is Mode.TESTING
    assert (await cached.kept()).retry_at is None


async def test_the_old_id_needs_no_fetch_after_one_that_failed(cached: World) -> None:
    cached.record("v=STSv1; id=2")
    cached.serve(unreachable())
    await cached.look()
    cached.record("v=STSv1; id=1")
    assert (await cached.look()).fresh
    assert cached.fetches == 2


async def test_a_policy_that_expires_during_a_failing_fetch_does_not_hold(cached: World) -> None:
    await cached.clock.advance(7 * DAY - MINUTE)
    cached.record("v=STSv1; id=2")
    cached.serve(unreachable())
    cached.served.gate = asyncio.Event()
    looking = asyncio.create_task(cached.look())
    await cached.clock.advance(MINUTE)
    cached.served.gate.set()
    assert (await looking).policy is None


async def test_a_use_is_noted_once_an_hour(cached: World) -> None:
    await cached.clock.advance(HOUR - timedelta(seconds=1))
    await cached.look()
    assert (await cached.kept()).last_used == START
    await cached.clock.advance(1)
    await cached.look()
    entry = await cached.kept()
    assert (entry.last_used, entry.checked) == (START + HOUR, START + HOUR)
    await cached.clock.advance(HOUR)
    cached.fail()
    await cached.look()
    entry = await cached.kept()
    assert (entry.last_used, entry.checked) == (START + 2 * HOUR, START + HOUR)
    assert entry.valid_until == START + 7 * DAY


# several at once


async def test_lookups_of_one_domain_share_one_fetch(world: World) -> None:
    world.record("v=STSv1; id=1")
    world.serve(text())
    world.served.gate = asyncio.Event()
    looking = [asyncio.create_task(world.look()) for _ in range(5)]
    await world.clock.advance(0)
    looking[0].cancel()
    await world.clock.advance(0)
    world.served.gate.set()
    found = await asyncio.gather(*looking, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert [one.policy is not None for one in found[1:] if isinstance(one, Lookup)] == [True] * 4
    assert world.fetches == 1


async def test_a_lookup_that_nobody_waits_for_ends(world: World) -> None:
    world.record("v=STSv1; id=1")
    world.served.gate = asyncio.Event()
    looking = asyncio.create_task(world.look())
    await world.clock.advance(0)
    looking.cancel()
    await world.clock.advance(0)
    assert looking.cancelled()
    assert world.served.running == 0


async def test_an_error_of_the_cache_is_raised(world: World) -> None:
    class Full(MemoryPolicyCache):
        async def put(self, entry: CachedPolicy) -> None:
            raise StorageError("disk full")

    world.record("v=STSv1; id=1")
    world.serve(text())
    sts = MTASTS(resolver=world.resolver, fetcher=world.served, cache=Full(), clock=world.clock)
    with pytest.raises(StorageError):
        await sts.lookup(DOMAIN)


# refreshing


async def refreshed(world: World) -> Refreshed:
    return await world.sts.refresh()


ONE = Refreshed(checked=1, failed=0, forgotten=0)
ONE_FAILED = Refreshed(checked=1, failed=1, forgotten=0)
NOTHING = Refreshed(checked=0, failed=0, forgotten=0)


async def test_what_was_checked_lately_has_its_turn_later(cached: World) -> None:
    await cached.clock.advance(12 * HOUR)
    assert await refreshed(cached) == NOTHING
    await cached.clock.advance(1)
    assert await refreshed(cached) == ONE
    assert (await cached.kept()).checked == START + 12 * HOUR + timedelta(seconds=1)
    assert await refreshed(cached) == NOTHING


async def test_a_policy_in_the_first_half_of_its_time_is_not_fetched_for_the_same_id(cached: World) -> None:
    await cached.clock.advance(3 * DAY)
    assert await refreshed(cached) == ONE
    entry = await cached.kept()
    assert (cached.fetches, entry.checked, entry.valid_until) == (1, START + 3 * DAY, START + 7 * DAY)
    assert entry.last_used == START


async def test_a_policy_in_the_second_half_of_its_time_is_fetched(cached: World) -> None:
    await cached.clock.advance(4 * DAY)
    assert await refreshed(cached) == ONE
    entry = await cached.kept()
    assert (cached.fetches, entry.fetched, entry.valid_until) == (2, START + 4 * DAY, START + 11 * DAY)
    assert entry.last_used == START


async def test_a_policy_with_another_id_is_fetched(cached: World) -> None:
    await cached.clock.advance(DAY)
    cached.record("v=STSv1; id=2")
    cached.serve(text("testing"))
    assert await refreshed(cached) == ONE
    entry = await cached.kept()
    assert (entry.record_id, entry.policy_text, entry.last_used) == ("2", text("testing").decode(), START)


@pytest.mark.parametrize("gone", [True, False])
async def test_a_policy_without_its_record_is_fetched_so_that_it_does_not_expire(cached: World, gone: bool) -> None:
    await cached.clock.advance(DAY)
    if gone:
        cached.record()
    else:
        cached.fail()
    assert await refreshed(cached) == ONE
    entry = await cached.kept()
    assert (cached.fetches, entry.record_id, entry.valid_until) == (2, "1", START + 8 * DAY)


async def test_a_refresh_that_fails_leaves_the_policy(cached: World, caplog: pytest.LogCaptureFixture) -> None:
    await cached.clock.advance(6 * DAY)
    cached.serve(unreachable())
    with caplog.at_level(logging.WARNING, "moxlib.mtasts"):
        assert await refreshed(cached) == ONE_FAILED
    assert "MTA-STS policy of 'example.com': no route" in caplog.text
    entry = await cached.kept()
    assert (entry.valid_until, entry.last_used, entry.checked) == (START + 7 * DAY, START, START + 6 * DAY)
    assert await refreshed(cached) == NOTHING
    assert (await cached.look()).policy is not None


@pytest.mark.parametrize("texts", [("v=STSv1; id=2",), ()])
async def test_a_refresh_does_not_fetch_so_soon_after_a_delivery_could_not(
    cached: World, texts: tuple[str, ...]
) -> None:
    await cached.clock.advance(DAY)
    cached.record("v=STSv1; id=2")
    cached.serve(unreachable())
    await cached.look()
    assert cached.fetches == 2
    cached.record(*texts)
    await cached.clock.advance(299)
    assert (await refreshed(cached)).checked == 1
    assert cached.fetches == 2
    assert (await cached.kept()).valid_until == START + 7 * DAY


async def test_a_policy_of_mode_none_is_let_go_with_its_record(cached: World) -> None:
    cached.record("v=STSv1; id=2")
    cached.serve(text("none"))
    await cached.look()
    await cached.clock.advance(DAY)
    cached.fail()
    assert await refreshed(cached) == ONE_FAILED  # nobody knows
    assert (await cached.kept()).policy_text
    cached.record()
    await cached.clock.advance(DAY)
    assert await refreshed(cached) == ONE
    assert (await cached.kept()).policy_text == ""
    assert cached.fetches == 2
    assert (await cached.look()).policy is None
    await cached.clock.advance(DAY)
    assert await refreshed(cached) == NOTHING


async def test_an_expired_policy_that_is_still_used_is_fetched(cached: World) -> None:
    await cached.clock.advance(8 * DAY)
    assert await refreshed(cached) == ONE
    assert cached.fetches == 2
    assert (await cached.kept()).last_used == START


async def test_an_expired_policy_has_its_turn_once_when_nothing_is_found_out(
    cached: World, caplog: pytest.LogCaptureFixture
) -> None:
    await cached.clock.advance(8 * DAY)
    cached.fail()
    with caplog.at_level(logging.WARNING, "moxlib.mtasts"):
        assert await refreshed(cached) == ONE_FAILED
    assert "could not be found out: SERVFAIL" in caplog.text
    assert await refreshed(cached) == NOTHING
    cached.record()
    await cached.clock.advance(DAY)
    assert await refreshed(cached) == ONE
    assert await refreshed(cached) == NOTHING


async def test_what_is_not_used_is_forgotten(cached: World) -> None:
    await cached.clock.advance(180 * DAY)
    assert (await refreshed(cached)).forgotten == 0
    await cached.clock.advance(1)
    assert await refreshed(cached) == Refreshed(checked=0, failed=0, forgotten=1)


def many(count: int, checked: datetime = START) -> list[CachedPolicy]:
    return [
        CachedPolicy(
            domain=f"d{number}.example",
            record_id="1",
            policy_text=text().decode(),
            fetched=START,
            valid_until=START + 7 * DAY,
            checked=checked,
            last_used=START,
        )
        for number in range(count)
    ]


async def test_many_are_refreshed_a_few_at_once(world: World) -> None:
    for entry in many(250):
        await world.cache.put(entry)
        if entry.domain != "d7.example":
            world.served.policies[entry.domain] = text()
    await world.clock.advance(5 * DAY)
    world.served.gate = asyncio.Event()
    refreshing = asyncio.create_task(refreshed(world))
    await world.clock.advance(0)
    assert world.served.most == 4
    world.served.gate.set()
    assert await refreshing == Refreshed(checked=250, failed=1, forgotten=0)
    assert world.served.most == 4
    assert sorted(world.served.fetched) == sorted(entry.domain for entry in many(250))


async def test_a_cache_that_fails_for_one_domain_leaves_the_others(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    class Torn(MemoryPolicyCache):
        async def put(self, entry: CachedPolicy) -> None:
            if entry.domain == "d1.example" and entry.checked != START:
                raise StorageError("torn page")
            await super().put(entry)

    cache = Torn()
    for entry in (*many(3), replace(many(1)[0], domain="Not Canonical")):
        await cache.put(entry)
        world.served.policies[entry.domain] = text()
    await world.clock.advance(5 * DAY)
    sts = MTASTS(resolver=world.resolver, fetcher=world.served, cache=cache, clock=world.clock)
    with caplog.at_level(logging.WARNING, "moxlib.mtasts"):
        assert await sts.refresh() == Refreshed(checked=4, failed=2, forgotten=0)
    assert "torn page" in caplog.text
    kept = await cache.get("d2.example")
    assert kept is not None
    assert kept.fetched == START + 5 * DAY


async def test_it_runs_once_an_hour_until_cancelled(cached: World) -> None:
    running = asyncio.create_task(cached.sts.run())
    await cached.clock.advance(12 * HOUR)
    assert (await cached.kept()).checked == START
    await cached.clock.advance(HOUR)
    assert (await cached.kept()).checked == START + 13 * HOUR
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert cached.clock.waiting == 0


async def test_it_runs_on_when_the_cache_fails(world: World, caplog: pytest.LogCaptureFixture) -> None:
    class Locked(MemoryPolicyCache):
        tries = 0

        async def purge(self, before: datetime) -> int:
            self.tries += 1
            raise StorageError("database is locked")

    cache = Locked()
    sts = MTASTS(resolver=world.resolver, fetcher=world.served, cache=cache, clock=world.clock)
    running = asyncio.create_task(sts.run())
    with caplog.at_level(logging.ERROR, "moxlib.mtasts"):
        await world.clock.advance(2 * HOUR)
    assert cache.tries == 3
    assert caplog.text.count("database is locked") == 3
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_lookup_during_a_refresh_shares_it(cached: World) -> None:
    await cached.clock.advance(4 * DAY)
    cached.served.gate = asyncio.Event()
    refreshing = asyncio.create_task(refreshed(cached))
    await cached.clock.advance(0)
    looking = asyncio.create_task(cached.look())
    await cached.clock.advance(0)
    cached.served.gate.set()
    assert (await looking).policy is not None
    assert await refreshing == ONE
    assert cached.fetches == 2
