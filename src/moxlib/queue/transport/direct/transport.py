"""`DirectTransport`: delivers to the mail exchangers of each recipient's domain."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from enum import Enum, StrEnum
from random import Random
from typing import Final

from moxlib._clock import Clock, SystemClock
from moxlib.dns import DNSResolver, IPDomain, Resolver
from moxlib.errors import InputError, StateError
from moxlib.mtasts import MTASTS, Fetcher, HTTPSFetcher, MemoryPolicyCache, PolicyCache
from moxlib.queue.outcome import Deferred, Failed, Outcome
from moxlib.queue.shaping import Shaping, ShapingRules
from moxlib.queue.sources import Source, SourceSet
from moxlib.queue.transport.base import Delivery, Services
from moxlib.queue.transport.direct.connect import Opener
from moxlib.queue.transport.direct.plan import Plan, Plans
from moxlib.queue.transport.direct.walk import Walk
from moxlib.queue.transport.gate import Suspended
from moxlib.queue.transport.outcomes import is_settled, with_known
from moxlib.queue.transport.site import Site
from moxlib.queue.types import RequireTLS
from moxlib.smtpclient import GatherError, Proxy, Timeouts, unverified_context, verified_context
from moxlib.tlsrpt import Result

__all__ = ["DirectTransport", "IPFamily"]

PORT: Final = 25
MAX_PORT: Final = 65535
REAP_SECONDS: Final = 15.0  # between looks for connections that were idle for too long, and sites of no more use


class IPFamily(StrEnum):
    """Which addresses are used."""

    ANY = "any"
    """Both, alternating between attempts: one of our addresses may be on a list of blocked ones."""
    IPV4 = "ipv4"
    IPV6 = "ipv6"


class Default(Enum):
    """Stands for what is not given, where None says something else."""

    DEFAULT = "default"


class DirectTransport:
    """Delivers straight to the mail servers of the recipients' domains.

    It follows MX records, takes TLS where it is offered, and insists on verified TLS where the domain's MTA-STS policy
    or the host's TLSA records (DANE, where the resolver is trusted to say what DNSSEC authenticated) demand it.
    Connections are kept and shared by all domains whose mail the same hosts take.

    Args:
        ehlo_name: this host's name, as it introduces itself: it should lead to the address that connections come from,
            and that address to it. Not with `sources`, which have their own.
        sources: the addresses connections come from, with their names; by default whatever the system chooses.
        family: which addresses are used.
        proxy: makes the connections, such as a `SOCKS5Proxy`; it is given addresses, not names.
        resolver: asks the DNS; by default a `DNSResolver` on the system's name servers.
        mta_sts: fetches MTA-STS policies; by default an `HTTPSFetcher`, which needs the extra `http`. None: MTA-STS is
            left out, and what a domain's policy demands is not known.
        policies: keeps the policies; by default the queue does.
        shaping: how gently sites are treated.
        verified_context: makes the context for certificates that an authority must vouch for; by default those that the
            system knows.
        timeouts: how long each SMTP command may take.
        port: where hosts listen; another than 25 is for tests.
        clock: what the time is taken from.
        random: shuffles hosts of the same preference, and chooses sources.

    Raises:
        InputError: a port, a name or a combination that cannot be.
        MissingExtra: `http` is not installed, and `mta_sts` was not given.
    """

    def __init__(  # noqa: PLR0913 - options by keyword; each is a fact about this one way of delivering
        self,
        *,
        ehlo_name: str | None = None,
        sources: Sequence[Source] | SourceSet | None = None,
        family: IPFamily | str = IPFamily.ANY,
        proxy: Proxy | None = None,
        resolver: Resolver | None = None,
        mta_sts: Fetcher | Default | None = Default.DEFAULT,
        policies: PolicyCache | None = None,
        shaping: ShapingRules | None = None,
        verified_context: Callable[[], ssl.SSLContext] = verified_context,
        timeouts: Timeouts | None = None,
        port: int = PORT,
        clock: Clock | None = None,
        random: Random | None = None,
    ) -> None:
        if family not in list(IPFamily):
            raise InputError(f"not a family of addresses: {family!r}; there are {', '.join(IPFamily)}")
        if not 0 < port <= MAX_PORT:
            raise InputError(f"not a port: {port}")
        if (ehlo_name is None) == (sources is None):
            raise InputError("a direct transport needs either an ehlo_name or sources: receivers look at that name")
        self.family: IPFamily = IPFamily(family)
        self.port: int = port
        self._sources = _source_set(ehlo_name, sources)
        self._ipv4 = self.family is not IPFamily.IPV6
        self._ipv6 = self.family is not IPFamily.IPV4
        if self._sources.choose("", lambda: 0.0, ipv4=self._ipv4, ipv6=self._ipv6) is None:
            raise InputError(f"no source has an address for the family {self.family.value}")
        self._clock = clock or SystemClock()
        self._random = random or Random()
        self._resolver = resolver or DNSResolver(clock=self._clock)
        self._fetcher = HTTPSFetcher(self._resolver, clock=self._clock) if isinstance(mta_sts, Default) else mta_sts
        self._policies = policies
        self._shaping = shaping or ShapingRules()
        self._verified_context = verified_context
        self._proxy = proxy
        self._timeouts = timeouts
        self._services: Services | None = None
        self._running: _Running | None = None

    def attach(self, services: Services) -> None:
        """Take what the queue offers: where policies are kept, and who hears of TLS."""
        self._services = services

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep connections, plans and policies while the block runs.

        Raises:
            StateError: it is running already.
        """
        if self._running is not None:
            raise StateError("this transport is running already: each queue needs its own")
        mta_sts = self._mta_sts()
        plans = Plans(
            self._resolver,
            mta_sts,
            random=self._random,
            clock=self._clock,
            ipv4=self._ipv4,
            ipv6=self._ipv6,
            port=self.port,
        )
        # Loading the authorities takes some tens of milliseconds; only MTA-STS asks for their judgement.
        unverified = unverified_context()
        verified = unverified if mta_sts is None else await asyncio.to_thread(self._verified_context)
        opener = Opener(
            port=self.port,
            verified=verified,
            unverified=unverified,
            proxy=self._proxy,
            timeouts=self._timeouts,
            clock=self._clock,
        )
        self._running = running = _Running(plans, opener, self._clock)
        tasks = [asyncio.create_task(running.keep_reaping(), name="moxlib connection reaper")]
        if mta_sts is not None:
            tasks.append(asyncio.create_task(mta_sts.run(), name="moxlib MTA-STS refresh"))
        try:
            yield
        finally:
            self._running = None
            for task in tasks:
                task.cancel()
            await asyncio.gather(asyncio.wait(tasks), running.close())

    def _mta_sts(self) -> MTASTS | None:
        if self._fetcher is None:
            return None
        cache = self._policies
        if cache is None:
            cache = self._services.policies if self._services is not None else MemoryPolicyCache()
        return MTASTS(resolver=self._resolver, fetcher=self._fetcher, cache=cache, clock=self._clock)

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        """Deliver to the hosts of the recipients' domain, one after the other until it is done.

        Cancelled when some recipients have the message, or nobody knows whether they do, it ends early and says so:
        nobody is to get it again unasked.

        Raises:
            StateError: it is not running.
        """
        running = self._running
        if running is None:
            raise StateError("the transport is not running: it delivers inside `queue.worker()`")
        domain = delivery.messages[0].recipient_domain
        count = len(delivery.messages)
        try:
            plan = running.plans.known(domain) or await running.plans.plan(domain)
        except GatherError as error:
            class_ = Failed if error.permanent else Deferred
            return [class_(code=error.code, enhanced=str(error.enhanced), text=str(error))] * count
        if plan.sts_error is not None and delivery.require_tls is not RequireTLS.NO:
            self._tell(delivery, domain, _no_policy_known(plan))
            return [Deferred(enhanced="4.7.5", text=str(plan.sts_error))] * count
        site = running.site(plan, domain, self._shaping)
        walk = Walk(
            delivery,
            plan,
            site,
            plans=running.plans,
            opener=running.opener,
            sources=self._sources,
            random=self._random,
        )
        try:
            if site.paces_messages:
                await site.pace_messages(count, insist=delivery.is_last)
            async with site.gate.passage(insist=delivery.is_last) as passage:
                await walk.run(passage)
        except Suspended as suspended:
            rest = Deferred(enhanced="4.4.1", text=str(suspended), retry_after=timedelta(seconds=suspended.seconds))
            return [walk.outcomes.get(index, rest) for index in range(count)]
        except (Exception, asyncio.CancelledError) as error:
            if not is_settled(walk.outcomes):
                raise
            return with_known(walk.outcomes, count, error)
        finally:
            if walk.results:
                self._tell(delivery, domain, walk.results.merged())
        return [walk.outcomes[index] for index in range(count)]

    def _tell(self, delivery: Delivery, domain: str, results: tuple[Result, ...]) -> None:
        """Tell the queue's observer what was learned of TLS; not of reports, which would make more reports."""
        if results and self._services is not None and not delivery.is_report:
            self._services.tls_results(domain, results)


class _Running:
    """What a transport has while it runs."""

    def __init__(self, plans: Plans, opener: Opener, clock: Clock) -> None:
        self.plans = plans
        self.opener = opener
        self._clock = clock
        self._sites: dict[tuple[frozenset[IPDomain], Shaping], Site] = {}

    def site(self, plan: Plan, domain: str, rules: ShapingRules) -> Site:
        """Return the site of a plan, which domains with the same hosts and the same limits share."""
        if plan.site is not None and plan.site.pool.is_open:
            return plan.site
        hosts = sorted(
            [host.text(utf8=False) for host in plan.hosts.hosts]
        )  # as ever, in whatever order they are tried
        shaping = rules.shaping_for(domain=domain, hosts=hosts)
        key = (frozenset(plan.hosts.hosts), shaping)
        site = self._sites.get(key)
        if site is None:
            site = self._sites[key] = Site(shaping, self._clock)
            site.pool.open()
        plan.site = site
        return site

    async def keep_reaping(self) -> None:
        """Close connections that are idle for too long, and forget sites of no more use."""
        while True:
            await self._clock.sleep(REAP_SECONDS)
            await asyncio.gather(*(site.pool.reap() for site in self._sites.values()))
            for key, site in list(self._sites.items()):
                if site.is_idle:
                    del self._sites[key]
                    await site.pool.close()

    async def close(self) -> None:
        """Let all connections say QUIT."""
        await asyncio.gather(*(site.pool.close() for site in self._sites.values()))
        self._sites.clear()


def _source_set(ehlo_name: str | None, sources: Sequence[Source] | SourceSet | None) -> SourceSet:
    if isinstance(sources, SourceSet):
        return sources
    if sources is not None:
        return SourceSet(tuple(sources))
    assert ehlo_name is not None
    return SourceSet((Source(ehlo_name=ehlo_name),))


def _no_policy_known(plan: Plan) -> tuple[Result, ...]:
    """Return what a TLS report says of a session that there is none of, since nobody knows the policy."""
    news = plan.news()
    return () if news is None else (replace(news, failed=news.failed + 1),)
