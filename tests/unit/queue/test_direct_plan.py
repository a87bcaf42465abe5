"""Where mail for a domain goes: looked up once for many deliveries, remembered for a short while, and made anew."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from moxlib.dns import MX, TLSA, Answer, DNSError, Domain, IPAddress, IPDomain, parse_domain
from moxlib.mtasts import MTASTS, MemoryPolicyCache, PolicyFetchError
from moxlib.queue.transport.direct import plan as plan_module
from moxlib.queue.transport.direct.plan import HostPlan, Plan, Plans
from moxlib.queue.transport.direct.policy import STSMode
from moxlib.smtpclient import GatherError
from moxlib.testing import FakeClock, MockResolver
from moxlib.tlsrpt import PolicyType, ResultType

if TYPE_CHECKING:
    from collections.abc import Awaitable

DOMAIN, OTHER = "example.org", "example.net"
MX1, MX2 = "mx1.example.org", "mx2.example.org"
ZONE: dict[str, Any] = {
    "mx": {DOMAIN: [(10, MX1), (20, MX2)], OTHER: [(10, MX1)]},
    "a": {MX1: ["192.0.2.1"], MX2: ["192.0.2.2"]},
    "aaaa": {MX1: ["2001:db8::1"]},
}
POLICY = f"version: STSv1\nmode: {{}}\nmx: {MX1}\nmax_age: 86400\n"
RECORD = (3, 1, 1, b"\x01" * 32)
GUARD = 10  # seconds after which a test that hangs fails instead


class Policies:
    """Has the policy of every domain, or none that can be fetched."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.fetched = 0

    async def fetch(self, domain: Domain) -> bytes:
        self.fetched += 1
        if not self.text:
            raise PolicyFetchError(
                domain=domain.ascii, reason="none", result_type=ResultType.STS_POLICY_FETCH_ERROR, reason_code="none"
            )
        return self.text.encode()


class Slow:
    """A resolver whose answers come when the test says so."""

    def __init__(self, resolver: MockResolver) -> None:
        self.resolver = resolver
        self.answering = asyncio.Event()
        self.cancelled = 0

    async def _wait(self, answer: Awaitable[Any]) -> Any:
        try:
            await self.answering.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            found = await answer
        return found

    async def lookup_cname(self, name: str) -> Answer[str]:
        return await self._wait(self.resolver.lookup_cname(name))  # type: ignore[no-any-return]

    async def lookup_mx(self, name: str) -> Answer[MX]:
        return await self._wait(self.resolver.lookup_mx(name))  # type: ignore[no-any-return]

    async def lookup_txt(self, name: str) -> Answer[str]:
        return await self._wait(self.resolver.lookup_txt(name))  # type: ignore[no-any-return]

    async def lookup_tlsa(self, name: str) -> Answer[TLSA]:
        return await self._wait(self.resolver.lookup_tlsa(name))  # type: ignore[no-any-return]

    async def lookup_ip(self, name: str, *, ipv4: bool = True, ipv6: bool = True) -> Answer[IPAddress]:
        return await self._wait(self.resolver.lookup_ip(name, ipv4=ipv4, ipv6=ipv6))  # type: ignore[no-any-return]


class Office:
    """What makes plans, and its surroundings."""

    def __init__(self, *, policy: str | None = None, ipv4: bool = True, ipv6: bool = True, **zone: Any) -> None:
        self.clock = FakeClock()
        self.resolver = MockResolver(**{**ZONE, **zone})
        self.slow = Slow(self.resolver)
        self.slow.answering.set()
        self.policies = Policies(policy or "")
        mta_sts = MTASTS(resolver=self.slow, fetcher=self.policies, cache=MemoryPolicyCache(), clock=self.clock)
        self.plans = Plans(
            self.slow,
            None if policy is None else mta_sts,
            random=Random(1),
            clock=self.clock,
            ipv4=ipv4,
            ipv6=ipv6,
            port=25,
        )

    def later(self, seconds: float) -> None:
        self.clock.set(self.clock.now() + timedelta(seconds=seconds))

    def asked(self) -> list[str]:
        """Return what was looked up since this was called last."""
        lookups = list(self.resolver.lookups)
        self.resolver.lookups.clear()
        return lookups

    async def host(self, plan: Plan, name: str = MX1, *dialed: str) -> HostPlan:
        return await self.plans.host(plan, IPDomain(host=parse_domain(name)), dialed)


def names(plan: Plan) -> list[str]:
    return [host.text(utf8=False) for host in plan.hosts.hosts]


def addresses(found: HostPlan) -> list[str]:
    return [str(ip) for ip in found.addresses.ips]


# once for many


async def test_a_burst_of_deliveries_is_one_lookup() -> None:
    office = Office()
    office.slow.answering.clear()
    tasks = [asyncio.create_task(office.plans.plan(DOMAIN)) for _ in range(50)]
    await asyncio.sleep(0)
    office.slow.answering.set()
    plans = await asyncio.gather(*tasks)
    assert len({id(plan) for plan in plans}) == 1
    assert names(plans[0]) == [MX1, MX2]
    office.slow.answering.clear()
    hosts = [asyncio.create_task(office.host(plans[0])) for _ in range(50)]
    await asyncio.sleep(0)
    office.slow.answering.set()
    assert len({id(found) for found in await asyncio.gather(*hosts)}) == 1
    assert office.asked() == [f"mx {DOMAIN}", f"ip {MX1}"]


async def test_who_is_cancelled_leaves_the_others_their_plan() -> None:
    office = Office()
    office.slow.answering.clear()
    first, second = [asyncio.create_task(office.plans.plan(DOMAIN)) for _ in range(2)]
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    office.slow.answering.set()
    async with asyncio.timeout(GUARD):
        assert names(await second) == [MX1, MX2]
    assert first.cancelled()
    assert office.asked() == [f"mx {DOMAIN}"]


async def test_a_lookup_that_nobody_waits_for_is_cancelled_and_nothing_remembered() -> None:
    office = Office()
    office.slow.answering.clear()
    tasks = [asyncio.create_task(office.plans.plan(DOMAIN)) for _ in range(2)]
    for _ in range(3):
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for _ in range(3):
        await asyncio.sleep(0)
    assert office.slow.cancelled == 1
    assert office.plans.known(DOMAIN) is None
    office.slow.answering.set()
    assert names(await office.plans.plan(DOMAIN)) == [MX1, MX2]


async def test_hosts_are_looked_up_when_somebody_asks_and_once_for_all_domains_they_serve() -> None:
    office = Office()
    one, other = await office.plans.plan(DOMAIN), await office.plans.plan(OTHER)
    assert office.asked() == [f"mx {DOMAIN}", f"mx {OTHER}"]
    assert await office.host(one) is await office.host(other)
    assert office.asked() == [f"ip {MX1}"]


# for a short while


async def test_a_plan_is_remembered_for_thirty_seconds() -> None:
    office = Office()
    plan = await office.plans.plan(DOMAIN)
    await office.host(plan)
    office.asked()
    office.later(29.9)
    assert office.plans.known(DOMAIN) is plan
    assert await office.plans.plan(DOMAIN) is plan
    await office.host(plan)
    assert office.asked() == []
    office.later(0.1)
    assert office.plans.known(DOMAIN) is None
    anew = await office.plans.plan(DOMAIN)
    assert anew is not plan
    await office.host(anew)
    assert office.asked() == [f"mx {DOMAIN}", f"ip {MX1}"]


async def test_a_plan_made_anew_is_what_the_dns_says_then() -> None:
    office = Office()
    assert names(await office.plans.plan(DOMAIN)) == [MX1, MX2]
    office.slow.resolver = MockResolver(mx={DOMAIN: [(5, MX2)]})
    assert names(await office.plans.plan(DOMAIN)) == [MX1, MX2]
    office.later(30)
    assert names(await office.plans.plan(DOMAIN)) == [MX2]


@pytest.mark.parametrize(
    ("zone", "permanent"),
    [
        ({"fail": {f"mx {DOMAIN}": "SERVFAIL"}}, False),
        ({"mx": {DOMAIN: [(0, ".")]}}, True),
        ({"mx": {}, "a": {}, "aaaa": {}}, True),
    ],
    ids=["SERVFAIL", "null MX", "no such domain"],
)
async def test_a_failure_is_remembered_for_five_seconds(zone: dict[str, Any], permanent: bool) -> None:
    office = Office(**zone)
    for _ in range(10):
        with pytest.raises(GatherError) as caught:
            await office.plans.plan(DOMAIN)
        assert caught.value.permanent == permanent
    assert office.asked() == [f"mx {DOMAIN}"]
    assert office.plans.known(DOMAIN) is None
    office.later(4.9)
    with pytest.raises(GatherError):
        await office.plans.plan(DOMAIN)
    assert office.asked() == []
    office.later(0.1)
    with pytest.raises(GatherError):
        await office.plans.plan(DOMAIN)
    assert office.asked() == [f"mx {DOMAIN}"]


async def test_a_failure_told_many_times_grows_no_traceback() -> None:
    office = Office(fail=[f"mx {DOMAIN}", f"ip {MX1}"])
    plan = await office.plans.plan(OTHER)
    for ask in (lambda: office.plans.plan(DOMAIN), lambda: office.host(plan)):
        depths = set()
        for _ in range(20):
            with pytest.raises(GatherError) as caught:
                await ask()
            depths.add(len(caught.traceback))
        assert max(depths) < 10


async def test_a_host_of_which_nothing_is_known_is_asked_for_again_after_five_seconds() -> None:
    office = Office(fail=[f"ip {MX1}"])
    plan = await office.plans.plan(DOMAIN)
    for _ in range(3):
        with pytest.raises(GatherError):
            await office.host(plan)
    assert addresses(await office.host(plan, MX2)) == ["192.0.2.2"]
    assert office.asked() == [f"mx {DOMAIN}", f"ip {MX1}", f"ip {MX2}"]
    office.later(5)
    anew = await office.plans.plan(DOMAIN)
    with pytest.raises(GatherError):
        await office.host(anew)
    assert office.asked() == [f"mx {DOMAIN}", f"ip {MX1}"]


async def test_only_so_many_plans_are_kept_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "MAX_PLANS", 3)
    domains = [f"{number}.example.com" for number in range(5)]
    office = Office(mx={domain: [(10, MX1)] for domain in domains})
    for domain in domains:
        await office.plans.plan(domain)
    assert [office.plans.known(domain) is not None for domain in domains] == [False, False, True, True, True]


# addresses


async def test_after_an_attempt_the_other_family_comes_first_and_others_plans_stay() -> None:
    office = Office()
    plan = await office.plans.plan(DOMAIN)
    assert addresses(await office.host(plan)) == ["2001:db8::1", "192.0.2.1"]
    assert addresses(await office.host(plan, MX1, "2001:db8::1")) == ["192.0.2.1", "2001:db8::1"]
    assert addresses(await office.host(plan)) == ["2001:db8::1", "192.0.2.1"]


@pytest.mark.parametrize(("family", "found"), [("ipv4", "192.0.2.1"), ("ipv6", "2001:db8::1")])
async def test_only_one_family_is_looked_up_where_one_is_wanted(family: str, found: str) -> None:
    office = Office(ipv4=family == "ipv4", ipv6=family == "ipv6")
    plan = await office.plans.plan(DOMAIN)
    assert addresses(await office.host(plan)) == [found]
    assert office.asked()[-1] == f"{'a' if family == 'ipv4' else 'aaaa'} {MX1}"


async def test_an_address_in_place_of_a_domain_is_its_own_host_and_nothing_is_asked() -> None:
    office = Office(policy=POLICY.format("enforce"))
    plan = await office.plans.plan("[192.0.2.9]")
    [host] = plan.hosts.hosts
    assert addresses(await office.plans.host(plan, host)) == ["192.0.2.9"]
    assert (plan.policy, plan.sts, plan.sts_matches(host), office.asked()) == (None, STSMode.NONE, True, [])


# TLSA records


async def test_records_of_unsigned_zones_are_not_asked_for() -> None:
    office = Office(tlsa={f"_25._tcp.{MX1}": [RECORD]})
    found = await office.host(await office.plans.plan(DOMAIN))
    assert (found.dane, found.policy.type) == (None, PolicyType.NO_POLICY_FOUND)
    assert f"tlsa _25._tcp.{MX1}" not in office.asked()


@pytest.mark.parametrize(
    ("zone", "records", "policy", "trouble"),
    [
        ({"tlsa": {f"_25._tcp.{MX1}": [RECORD]}}, 1, PolicyType.TLSA, None),
        ({"tlsa": {f"_25._tcp.{MX1}": [(1, 1, 1, b"\x01" * 32)]}}, 0, PolicyType.TLSA, ResultType.TLSA_INVALID),
        ({}, None, PolicyType.NO_POLICY_FOUND, None),
        ({"fail": [f"tlsa _25._tcp.{MX1}"]}, None, PolicyType.TLSA, ResultType.TLSA_INVALID),
        ({"bogus": [f"tlsa _25._tcp.{MX1}"]}, None, PolicyType.TLSA, ResultType.DNSSEC_INVALID),
    ],
    ids=["usable", "unusable", "none", "SERVFAIL", "bogus"],
)
async def test_records_of_signed_zones(
    zone: dict[str, Any], records: int | None, policy: PolicyType, trouble: ResultType | None
) -> None:
    office = Office(all_authentic=True, **zone)
    found = await office.host(await office.plans.plan(DOMAIN))
    assert (None if found.dane is None else len(found.dane.records)) == records
    assert (found.policy.type, found.policy.domain) == (policy, MX1)
    assert (None if found.trouble is None else found.trouble.result_type) == trouble
    assert isinstance(found.tlsa_error, DNSError) == ("fail" in zone or "bogus" in zone)


async def test_what_one_domain_learns_of_a_host_by_dnssec_is_not_taken_for_anothers() -> None:
    """The host's zone is signed, and so is one domain's; nothing proves that the other domain's mail goes there."""
    office = Office(all_authentic=True, inauthentic=[f"mx {OTHER}"], tlsa={f"_25._tcp.{MX1}": [RECORD]})
    unsigned = await office.host(await office.plans.plan(OTHER))
    signed = await office.host(await office.plans.plan(DOMAIN))
    assert (unsigned.dane, signed.dane is not None) == (None, True)


# MTA-STS


@pytest.mark.parametrize("mode", ["enforce", "testing", "none"])
async def test_the_policy_is_part_of_the_plan(mode: str) -> None:
    office = Office(policy=POLICY.format(mode), txt={f"_mta-sts.{DOMAIN}": ["v=STSv1; id=1;"]})
    plan = await office.plans.plan(DOMAIN)
    assert plan.sts is STSMode(mode)
    assert plan.policy is not None
    assert plan.policy.type is (PolicyType.NO_POLICY_FOUND if mode == "none" else PolicyType.STS)
    assert [plan.sts_matches(host) for host in plan.hosts.hosts] == [True, mode == "none"]
    assert plan.news() is None
    for _ in range(3):
        await office.plans.plan(DOMAIN)
    assert office.policies.fetched == 1


async def test_what_went_wrong_with_the_policy_is_told_once() -> None:
    office = Office(policy="", txt={f"_mta-sts.{DOMAIN}": ["v=STSv1; id=1;"]})
    plan = await office.plans.plan(DOMAIN)
    news = plan.news()
    assert news is not None
    assert [each.result_type for each in news.details] == [ResultType.STS_POLICY_FETCH_ERROR]
    assert (plan.news(), plan.sts, plan.sts_error) == (None, STSMode.NONE, None)


async def test_a_policy_that_nobody_knows_is_asked_for_again_after_five_seconds() -> None:
    office = Office(policy="", fail=[f"txt _mta-sts.{DOMAIN}"])
    plan = await office.plans.plan(DOMAIN)
    assert plan.sts_error is not None
    assert plan.news() is not None
    office.asked()
    assert await office.plans.plan(DOMAIN) is plan
    assert office.asked() == []
    office.later(5)
    assert await office.plans.plan(DOMAIN) is not plan
    assert office.asked() == [f"mx {DOMAIN}", f"txt _mta-sts.{DOMAIN}"]


async def test_the_policy_is_that_of_the_domain_itself_and_not_of_what_it_is_called_elsewhere() -> None:
    office = Office(
        policy=POLICY.format("enforce"),
        cname={"alias.example": DOMAIN},
        txt={f"_mta-sts.{DOMAIN}": ["v=STSv1; id=1;"]},
    )
    plan = await office.plans.plan("alias.example")
    assert (names(plan), plan.sts, office.policies.fetched) == ([MX1, MX2], STSMode.NONE, 0)
