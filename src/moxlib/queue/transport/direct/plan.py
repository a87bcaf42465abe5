"""Where mail for a domain goes: its hosts and its MTA-STS policy, and of each host its addresses and TLSA records.

Looked up once for all deliveries of some seconds: what resolver and policy cache know costs little, but a queue asks
for it thousands of times a second. A failure is remembered as well, so that a domain whose DNS is down is not asked for
again by every message.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from random import Random
from typing import Final, Protocol

from moxlib._clock import Clock
from moxlib._sharedcalls import SharedCalls
from moxlib.dns import DNSError, Domain, IPAddress, IPDomain, Resolver, parse_ip_domain
from moxlib.mtasts import Lookup, Mode, STSTemporaryError
from moxlib.mtasts import Policy as STSPolicy
from moxlib.queue.sources import Source
from moxlib.queue.transport.direct.policy import DANE, STSMode, Try
from moxlib.queue.transport.site import Site
from moxlib.queue.types import RequireTLS
from moxlib.smtpclient import (
    Addresses,
    GatherError,
    Hosts,
    dane_applies,
    gather_hosts,
    gather_ips,
    gather_tlsa,
    tlsa_names,
)
from moxlib.tlsrpt import (
    FailureDetails,
    Policy,
    PolicyType,
    Result,
    ResultType,
    dns_reason_code,
    no_policy,
    tlsa_policy,
)

__all__ = ["Destination", "HostPlan", "Plan", "Plans", "PolicyLookup", "WayKey"]

REMEMBERED: Final = 30.0  # seconds: short beside the TTLs of MX records, long beside a burst of deliveries
FAILURE_REMEMBERED: Final = 5.0
MAX_PLANS: Final = 10_000  # domains: some megabytes; who serves more at once looks them up more often


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPlan:
    """How a host can be reached.

    Attributes:
        addresses: in the order in which to try them.
        dane: what its TLSA records say; None: nothing.
        policy: what a TLS report calls that.
        trouble: what a TLS report says of what is wrong with it; None: nothing.
        tlsa_error: why its TLSA records are not known.
    """

    addresses: Addresses
    dane: DANE | None
    policy: Policy
    trouble: FailureDetails | None = None
    tlsa_error: DNSError | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    """A host, how it can be reached, and what has to protect the connection to it."""

    name: str
    found: HostPlan
    how: Try
    source: Source
    ips: tuple[IPAddress, ...]
    """The addresses of the host that the source can connect to."""
    label: int
    """Of the connections that would do."""


WayKey = tuple[int, RequireTLS, bool]
"""The number of a host in its plan, what a message asks of TLS, and whether it is a report."""


@dataclass(slots=True, kw_only=True)
class Plan:
    """Where mail for a domain goes.

    Attributes:
        hosts: who takes it.
        sts: what MTA-STS wants.
        sts_policy: the policy behind that.
        sts_error: why nobody knows.
        policy: what a TLS report calls that; None where mail goes to an IP address.
        until: when it has to be made anew, by the monotonic clock.
        host_plans: how its hosts can be reached, as far as somebody asked.
        ways: to its hosts, for first attempts, where there is nothing to decide or to report.
        site: the site that its deliveries belong to, once there was one.
    """

    hosts: Hosts
    sts: STSMode = STSMode.NONE
    sts_policy: STSPolicy | None = None
    sts_error: STSTemporaryError | None = None
    policy: Policy | None = None
    until: float = 0.0
    host_plans: dict[IPDomain, "HostPlan | GatherError"] = field(default_factory=dict)
    ways: dict[WayKey, tuple[Destination, ...]] = field(default_factory=dict)
    site: Site | None = None
    _news: Result | None = None

    def tell(self, news: Result) -> None:
        """Keep what `news` returns."""
        self._news = news

    def news(self) -> Result | None:
        """Return, once, what a TLS report says of how the policy was found; None if nothing, or if it was told."""
        news, self._news = self._news, None
        return news

    def sts_matches(self, host: IPDomain) -> bool:
        """Whether the policy, if there is one, lists the host."""
        if self.sts_policy is None or self.sts is STSMode.NONE:
            return True
        return host.domain is not None and self.sts_policy.matches(host.domain)


class PolicyLookup(Protocol):
    """What finds the MTA-STS policy of a domain; `moxlib.mtasts.MTASTS` does."""

    async def lookup(self, domain: Domain) -> Lookup:
        """Return the policy of a domain, if it has one.

        Raises:
            STSTemporaryError: nobody knows whether it has.
        """
        ...


class Plans:
    """Makes plans, and remembers them for a short while."""

    def __init__(
        self,
        resolver: Resolver,
        mta_sts: PolicyLookup | None,
        *,
        random: Random,
        clock: Clock,
        ipv4: bool,
        ipv6: bool,
        port: int,
    ) -> None:
        self._resolver = resolver
        self._mta_sts = mta_sts
        self._random = random
        self._clock = clock
        self._ipv4 = ipv4
        self._ipv6 = ipv6
        self._port = port
        self._plans: OrderedDict[str, Plan | _Failed] = OrderedDict()
        self._plain: OrderedDict[IPDomain, tuple[HostPlan, float]] = OrderedDict()
        self._making: SharedCalls[str, Plan] = SharedCalls()
        self._making_hosts: SharedCalls[tuple[int, IPDomain], HostPlan | GatherError] = SharedCalls()

    def known(self, domain: str) -> Plan | None:
        """Return the plan for a domain, if there is one that holds still."""
        known = self._plans.get(domain)
        return known if isinstance(known, Plan) and known.until > self._clock.monotonic() else None

    async def plan(self, domain: str) -> Plan:
        """Return the plan for a recipient's domain, or for the literal of an IP address.

        Raises:
            GatherError: nobody knows who takes mail for it, or it takes none.
        """
        known = self._plans.get(domain)
        if known is not None and known.until > self._clock.monotonic():
            if isinstance(known, _Failed):
                raise known.error.with_traceback(None)  # else it grows with each who is told
            return known
        return await self._making.run(domain, self._make(domain))

    async def _make(self, domain: str) -> Plan:
        next_hop = parse_ip_domain(domain, numeric_tld=True)
        try:
            hosts = await gather_hosts(self._resolver, next_hop, random=self._random)
        except GatherError as error:
            self._remember(domain, _Failed(error, self._clock.monotonic() + FAILURE_REMEMBERED))
            raise
        plan = Plan(hosts=hosts)
        if next_hop.domain is not None:
            plan.policy = no_policy(next_hop.domain)
            if self._mta_sts is not None:
                await self._add_sts(plan, next_hop.domain, self._mta_sts)
        patience = FAILURE_REMEMBERED if plan.sts_error is not None else REMEMBERED
        plan.until = self._clock.monotonic() + patience
        self._remember(domain, plan)
        return plan

    async def _add_sts(self, plan: Plan, domain: Domain, mta_sts: PolicyLookup) -> None:
        try:
            found = await mta_sts.lookup(domain)
        except STSTemporaryError as error:
            plan.sts_error, plan.policy = error, error.result.policy
            plan.tell(error.result)
            return
        plan.policy = found.result.policy
        if found.result.details:
            plan.tell(found.result)
        if found.policy is not None:
            plan.sts, plan.sts_policy = _MODES[found.policy.mode], found.policy

    def _remember(self, domain: str, plan: "Plan | _Failed") -> None:
        self._plans[domain] = plan
        self._plans.move_to_end(domain)
        while len(self._plans) > MAX_PLANS:
            self._plans.popitem(last=False)

    async def host(self, plan: Plan, host: IPDomain, dialed: Sequence[str] = ()) -> HostPlan:
        """Return how a host of a plan can be reached.

        Args:
            plan: what it is a host of.
            host: which.
            dialed: the addresses that earlier attempts dialled.

        Raises:
            GatherError: its addresses or its TLSA records could not be looked up.
        """
        if dialed:
            return await self._make_host(plan, host, dialed)
        known = plan.host_plans.get(host)
        if known is None:
            known = await self._making_hosts.run((id(plan), host), self._remembered_host(plan, host))
        if isinstance(known, GatherError):
            raise known.with_traceback(None)
        return known

    async def _remembered_host(self, plan: Plan, host: IPDomain) -> HostPlan | GatherError:
        made: HostPlan | GatherError
        try:
            made = await self._make_host(plan, host, ())
        except GatherError as error:
            made = error
            plan.until = min(plan.until, self._clock.monotonic() + FAILURE_REMEMBERED)
        plan.host_plans[host] = made
        return made

    async def _make_host(self, plan: Plan, host: IPDomain, dialed: Sequence[str]) -> HostPlan:
        plain = await self._plain_host(host, dialed)
        addresses = plain.addresses
        if host.domain is None or addresses.expanded is None or not dane_applies(plan.hosts, addresses):
            return plain
        try:
            tlsa = await gather_tlsa(
                self._resolver,
                host.domain,
                expanded_authentic=addresses.expanded_authentic,
                expanded_host=addresses.expanded,
                port=self._port,
            )
        except DNSError as error:
            trouble = _tlsa_trouble(error, host.domain)
            policy = tlsa_policy((), host.domain)
            return HostPlan(addresses=addresses, dane=None, policy=policy, trouble=trouble, tlsa_error=error)
        if not tlsa.required:
            return HostPlan(addresses=addresses, dane=None, policy=no_policy(tlsa.base_domain))
        names = tlsa_names(plan.hosts, host.domain, tlsa.base_domain)
        return HostPlan(
            addresses=addresses,
            dane=DANE(records=tlsa.records, names=names),
            policy=tlsa_policy(tlsa.records, tlsa.base_domain),
            trouble=None if tlsa.records else _unusable(host.domain),
        )

    async def _plain_host(self, host: IPDomain, dialed: Sequence[str]) -> HostPlan:
        """Return how a host can be reached if nothing is known of its TLSA records, for all domains that it serves."""
        now = self._clock.monotonic()
        known = self._plain.get(host)
        if known is not None and known[1] > now and not dialed:
            return known[0]
        before = [ip_address(text) for text in dialed]
        addresses = await gather_ips(self._resolver, host, ipv4=self._ipv4, ipv6=self._ipv6, dialed=before)
        policy = Policy(type=PolicyType.NO_POLICY_FOUND, domain=host.text(utf8=False))
        plain = HostPlan(addresses=addresses, dane=None, policy=policy)
        if not dialed:
            self._plain[host] = (plain, now + REMEMBERED)
            self._plain.move_to_end(host)
            while len(self._plain) > MAX_PLANS:
                self._plain.popitem(last=False)
        return plain


@dataclass(frozen=True, slots=True)
class _Failed:
    """That no plan could be made."""

    error: GatherError
    until: float


def _unusable(host: Domain) -> FailureDetails:
    return FailureDetails(
        result_type=ResultType.TLSA_INVALID,
        receiving_mx_hostname=host.ascii,
        failure_reason_code="all-unusable-records+ignored",
    )


def _tlsa_trouble(error: DNSError, host: Domain) -> FailureDetails:
    return FailureDetails(
        result_type=ResultType.DNSSEC_INVALID if error.bogus else ResultType.TLSA_INVALID,
        receiving_mx_hostname=host.ascii,
        failure_reason_code=dns_reason_code(error),
    )


_MODES: Final = {Mode.NONE: STSMode.NONE, Mode.TESTING: STSMode.TESTING, Mode.ENFORCE: STSMode.ENFORCE}
