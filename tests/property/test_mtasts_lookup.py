"""Whatever the DNS and the policy host do, at whatever times: a policy holds for as long as it may, and no longer."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from moxlib.dns import Domain, parse_domain
from moxlib.mtasts import (
    MTASTS,
    Lookup,
    MemoryPolicyCache,
    PolicyFetchError,
    STSTemporaryError,
    parse_policy,
)
from moxlib.testing import FakeClock, MockResolver
from moxlib.tlsrpt import ResultType

DOMAIN = parse_domain("example.com")
NAME = "_mta-sts.example.com"
FIVE_MINUTES = timedelta(minutes=5)


class Net:
    """The resolver and the fetcher: what they say is what the machine set last."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.resolver = MockResolver()
        self.served: bytes | None = None
        self.fetches: list[tuple[datetime, bytes | None]] = []

    async def lookup_txt(self, name: str) -> object:
        return await self.resolver.lookup_txt(name)

    async def fetch(self, domain: Domain) -> bytes:
        self.fetches.append((self.clock.now(), self.served))
        if self.served is None:
            raise PolicyFetchError(
                domain=domain.ascii, reason="x", result_type=ResultType.STS_POLICY_FETCH_ERROR, reason_code="x"
            )
        return self.served


class Policies(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = FakeClock()
        self.net = Net(self.clock)
        self.cache = MemoryPolicyCache()
        self.sts = MTASTS(resolver=self.net, fetcher=self.net, cache=self.cache, clock=self.clock)  # type: ignore[arg-type]
        self.generation = 0

    def teardown(self) -> None:
        self.runner.close()

    @rule(mode=st.sampled_from(["enforce", "testing", "none"]), max_age=st.sampled_from([0, 60, 86400, 604800]))
    def publish(self, mode: str, max_age: int) -> None:
        self.generation += 1
        host = f"mx{self.generation}.example.com"
        self.net.served = f"version: STSv1\nmode: {mode}\nmx: {host}\nmax_age: {max_age}\n".encode()
        self.net.resolver = MockResolver(txt={NAME: [f"v=STSv1; id={self.generation}"]})

    @rule()
    def break_the_host(self) -> None:
        self.net.served = None

    @rule(how=st.sampled_from([MockResolver, lambda: MockResolver(fail=[NAME])]))
    def break_the_record(self, how: Callable[[], MockResolver]) -> None:
        self.net.resolver = how()

    @rule(seconds=st.sampled_from([1, 61, 299, 301, 3601, 43201, 86400, 604800]))
    def wait(self, seconds: int) -> None:
        self.runner.run(self.clock.advance(seconds))

    def held(self) -> bytes | None:
        """What was fetched last, if it may still be gone by."""
        good = [(when, text) for when, text in self.net.fetches if text is not None]
        if not good:
            return None
        when, text = good[-1]
        return text if self.clock.now() < when + timedelta(seconds=parse_policy(text).max_age_seconds) else None

    @rule()
    def look_up(self) -> None:
        held, before = self.held(), len(self.net.fetches)
        lookup: Lookup | None = None
        try:
            lookup = self.runner.run(self.sts.lookup(DOMAIN))
        except STSTemporaryError as error:
            assert error.result.details  # noqa: PT017 - it may as well succeed
        fetched = self.net.fetches[before:]
        assert len(fetched) <= 1
        if fetched and fetched[0][1] is not None:
            held = fetched[0][1]
        if lookup is None:
            assert held is None
            return
        if held is not None:
            # Only a policy of mode none may have been let go, by a refresh that found its record gone.
            none = parse_policy(held).mode == "none"
            assert lookup.policy == parse_policy(held) or (none and lookup.policy is None)
        else:
            assert lookup.policy is None
        assert lookup.fresh or lookup.result.details

    @rule()
    def refresh(self) -> None:
        before = len(self.net.fetches)
        self.runner.run(self.sts.refresh())
        assert len(self.net.fetches) <= before + 1

    @invariant()
    def no_fetch_within_five_minutes_of_one_that_failed(self) -> None:
        for (first, text), (second, _) in zip(self.net.fetches, self.net.fetches[1:], strict=False):
            assert text is not None or second - first >= FIVE_MINUTES

    @precondition(lambda self: self.net.fetches)
    @invariant()
    def the_entry_is_well_formed(self) -> None:
        entry = self.runner.run(self.cache.get("example.com"))
        assert entry is not None
        assert entry.fetched <= entry.checked
        assert entry.last_used <= self.clock.now()
        entry.policy()


TestPolicies = Policies.TestCase
TestPolicies.settings = settings(stateful_step_count=40)
