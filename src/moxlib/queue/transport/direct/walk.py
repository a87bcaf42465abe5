"""One delivery on its way over the hosts of a domain.

Hosts are tried in order, those that could not be reached of late behind the others. What a host says for good of a
recipient is its outcome; where it says "later", or says nothing, the next host is asked for that recipient. At a host,
what must protect the connection is decided by `policy.tries`; the next of those is made when TLS failed in the one
before.
"""

from dataclasses import replace
from random import Random
from typing import Final

from moxlib.dns import IPAddress, IPDomain
from moxlib.queue.outcome import Deferred, Failed, Outcome, Trace
from moxlib.queue.sources import Source, SourceSet
from moxlib.queue.transport.base import Delivery
from moxlib.queue.transport.direct.connect import Endpoint, Opener
from moxlib.queue.transport.direct.plan import Destination, HostPlan, Plan, Plans, WayKey
from moxlib.queue.transport.direct.policy import Refusal, Try, tries
from moxlib.queue.transport.direct.tlsresults import TLSResults, concern_of, details_in_clear, details_of
from moxlib.queue.transport.gate import Passage
from moxlib.queue.transport.outcomes import TLS_REQUIRED, TLS_REQUIRED_LATER, as_deferred, as_failed, no_session
from moxlib.queue.transport.pool import Pooled
from moxlib.queue.transport.site import Site
from moxlib.queue.transport.transactions import MAX_STALE, Transactions
from moxlib.queue.types import RequireTLS
from moxlib.smtpclient import (
    Command,
    CommandTimeout,
    GatherError,
    LocalAddressUnusable,
    ReplyError,
    SMTPConnection,
    SMTPError,
    TLSFailed,
    TLSMode,
)
from moxlib.tlsrpt import FailureDetails, ResultType

__all__ = ["Walk"]

IPV4, IPV6 = 4, 6
_TLS_COMMANDS: Final = (Command.STARTTLS, Command.TLS)
_TLS_REQUIRED_CODE: Final = 554
_POLICY: Final = "5.7."  # RFC 3463 3.8: security or policy


class Walk:
    """One delivery; used once.

    Attributes:
        results: what it learned of TLS.
        outcomes: by the recipient's index; those of all, when it has run.
    """

    def __init__(
        self,
        delivery: Delivery,
        plan: Plan,
        site: Site,
        *,
        plans: Plans,
        opener: Opener,
        sources: SourceSet,
        random: Random,
    ) -> None:
        self._delivery = delivery
        self._plan = plan
        self._site = site
        self._plans = plans
        self._opener = opener
        self._sources = sources
        self._random = random
        self._relaxed = delivery.require_tls is RequireTLS.NO
        self._pending = list(range(len(delivery.messages)))
        self._dialed: list[tuple[str, str]] = []
        self._lacking = 0  # hosts without what the message requires of TLS
        self._problem = ""  # why no session came about, if none did
        self._answered = False
        self.outcomes: dict[int, Outcome] = {}
        self.results: TLSResults = TLSResults(plan.policy)
        if (news := plan.news()) is not None:
            self.results.add(news)

    async def run(self, passage: Passage) -> None:
        """Try host after host, until each recipient has an outcome that is final, or there are no more hosts.

        Raises:
            Exception: what is no fault of a host's: damaged content, no permit to connect, cancellation.
        """
        delivery, plan = self._delivery, self._plan
        first = not delivery.messages[0].results
        hosts = plan.hosts.hosts
        for number in self._order() if self._site.unreached.noted else range(len(hosts)):
            host = hosts[number]
            key = (number, delivery.require_tls, delivery.is_report)
            ways = plan.ways.get(key) if first else None
            if ways is None:
                ways, usual = await self._ways(host)
                if usual and first and self._sources.is_fixed:
                    plan.ways[key] = ways
            error: SMTPError | None = None
            while ways:
                for to in ways:
                    error = await self._session(to, passage)
                    if error is None or not _is_of_tls(error):
                        break
                if error is None:
                    break
                self._no_session(ways[0].name, error, ways[0].found)
                ways = self._from_elsewhere(ways, key) if isinstance(error, LocalAddressUnusable) else ()
            if not self._pending:
                break
        self._conclude(passage)

    def _order(self) -> list[int]:
        """Return the places of the hosts in the order to try them: those that did not answer of late go last."""
        # RFC 5321 4.5.4.1: a client should keep a list of hosts it cannot reach. Differs from 5.1, which wants them in
        # order of preference: each delivery would wait for the time-out of a connection.
        return self._site.unreached.order([host.text(utf8=False) for host in self._plan.hosts.hosts])

    async def _ways(self, host: IPDomain) -> tuple[tuple[Destination, ...], bool]:
        """Return how to connect to a host, one way after the other; and whether it is what there is to say of it.

        Nothing where it must not be used, or cannot be; its outcome is known then.
        """
        name = host.text(utf8=False)
        dialed = self._delivery.messages[0].dialed(name)
        try:
            found = await self._plans.host(self._plan, host, dialed)
        except GatherError as error:
            self._later(name, str(error), code=error.code, enhanced=str(error.enhanced))
            return (), False
        if (way := self._way_to(name, found)) is None:
            return (), False
        source, ips = way
        decided = self._tries(name, host, found)
        usual = bool(decided) and found.trouble is None and self._plan.sts_matches(host)
        label = self._opener.label
        ways = [Destination(name, found, how, source, ips, label(Endpoint(name, ips, how, source))) for how in decided]
        return tuple(ways), usual

    def _conclude(self, passage: Passage) -> None:
        if self._pending and self._lacking == len(self._plan.hosts.hosts):
            text = "no host of the domain has what the message requires of TLS"
            self._all_pending(Failed(code=_TLS_REQUIRED_CODE, enhanced=TLS_REQUIRED, text=text, trace=self._trace()))
        if self._answered:
            passage.succeeded()
        elif self._problem:
            passage.failed(self._problem)

    def _trace(self) -> Trace:
        return Trace(dialed=tuple(self._dialed))

    # one host

    def _way_to(self, name: str, found: HostPlan) -> tuple[Source, tuple[IPAddress, ...]] | None:
        """Return where to come from, and the host's addresses that can be connected to from there."""
        ips = found.addresses.ips
        families = {ip.version for ip in ips} if found.addresses.dual_stack else {ips[0].version}
        domain = self._delivery.messages[0].recipient_domain
        random = self._random.random
        unusable = self._opener.unusable
        source = self._sources.choose(domain, random, ipv4=IPV4 in families, ipv6=IPV6 in families, avoid=unusable)
        if source is None:
            self._later(name, "no source has an address of a family that the host has", enhanced="4.4.4")
            return None
        if source.ipv4 is not None or source.ipv6 is not None:
            ips = tuple([ip for ip in ips if source.has(ipv4=ip.version == IPV4, ipv6=ip.version == IPV6)])
        return source, ips

    def _from_elsewhere(self, ways: tuple[Destination, ...], key: WayKey) -> tuple[Destination, ...]:
        """Return the same ways, from a source that is not known to be unusable; nothing if there is none."""
        self._plan.ways.pop(key, None)
        name, found = ways[0].name, ways[0].found
        way = self._way_to(name, found)
        if way is None or way[0] in self._opener.unusable:
            return ()
        source, ips = way
        label = self._opener.label
        return tuple(
            [replace(to, source=source, ips=ips, label=label(Endpoint(name, ips, to.how, source))) for to in ways]
        )

    def _tries(self, name: str, host: IPDomain, found: HostPlan) -> tuple[Try, ...]:
        """Return how to connect to a host; nothing where it must not be used, and its outcome is known."""
        no_session = found.tlsa_error is not None and not self._relaxed
        if found.trouble is not None:
            self.results.host_failed(found.policy, found.trouble, session=no_session)
        if no_session:
            text = f"whether there are TLSA records of {name} is not known: {found.tlsa_error}"
            self._later(name, text, enhanced="4.7.5")  # RFC 3463 3.8: cryptographic failure
            return ()
        matches = self._plan.sts_matches(host)
        decision = tries(
            sts=self._plan.sts,
            sts_matches=matches,
            dane=found.dane,
            require_tls=self._delivery.require_tls,
            is_report=self._delivery.is_report,
        )
        refused = isinstance(decision, Refusal)
        if not matches:
            self._note_mismatch(name, session=refused)
        if not isinstance(decision, Refusal):
            return decision
        if decision.lacks_verification:
            self._lacking += 1
            self._later(name, decision.text, enhanced=TLS_REQUIRED_LATER)
        else:
            self._later(name, decision.text, enhanced="4.7.5")
        return ()

    def _note_mismatch(self, name: str, *, session: bool) -> None:
        details = FailureDetails(
            result_type=ResultType.VALIDATION_FAILURE,
            receiving_mx_hostname=name,
            failure_reason_code="mtasts-policy-mx-mismatch",
        )
        self.results.domain_failed(details, session=session)

    def _no_session(self, name: str, error: SMTPError, found: HostPlan) -> None:
        if not isinstance(error, LocalAddressUnusable):
            self._problem = f"{name}: {error}"
        later = no_session(error, name, self._trace())
        # Where TLS is refused, somebody may be in the middle; that is no reason to give a message up.
        final = isinstance(error, ReplyError) and error.permanent and not _is_of_tls(error)
        outcome = as_failed(later) if final else later
        for index in list(self._pending):
            self._set(index, outcome, found)

    # one session

    async def _session(self, to: Destination, passage: Passage) -> SMTPError | None:
        """Deliver over a connection of one kind, or several; return why there was none."""
        transactions = Transactions(
            self._delivery, list(self._pending), insist_8bit=False, chunking=self._site.chunking
        )
        pool = self._site.pool
        fruitless, fresh = 0, False
        while fruitless < MAX_STALE:
            known = len(transactions.outcomes)
            try:
                pooled = (None if fresh else pool.take(to.label)) or await self._acquire(to, passage, fresh=fresh)
            except SMTPError as error:
                if not transactions.outcomes:
                    return error
                break
            connection = pooled.connection
            used = not pooled.fresh or pooled.load > 1
            try:
                trace = self._trace_over(pooled, to.name)
                go_on = await transactions.run(connection, peer=to.name, used=used, trace=trace)
            finally:
                self._site.chunking = self._site.chunking and transactions.chunking
                self._take(transactions, to.found)  # first, as the delivery may be cancelled meanwhile
                if not pool.give_back(pooled):
                    await pool.end(pooled)
            if not go_on:
                break
            fruitless = fruitless + 1 if len(transactions.outcomes) == known else 0
            fresh = True
        text = "the connection ended before a transaction for this recipient could begin"
        for index in transactions.waiting:
            self._set(index, Deferred(text=text, peer=to.name, trace=self._trace()), to.found)
        return None

    def _trace_over(self, pooled: Pooled, name: str) -> Trace:
        """Return how this delivery came to a connection: nearly always, straight."""
        address = (name, pooled.connection.host)
        if not self._dialed or self._dialed == [address]:
            self._dialed = [address]
            if not pooled.trace.dialed:
                pooled.trace = Trace(dialed=(address,), tls=pooled.trace.tls)
            return pooled.trace
        self._note_address(*address)
        return Trace(dialed=tuple(self._dialed), tls=pooled.trace.tls)

    def _note_address(self, name: str, address: str) -> None:
        if not self._dialed or self._dialed[-1] != (name, address):
            self._dialed.append((name, address))

    def _take(self, transactions: Transactions, found: HostPlan) -> None:
        """Take the outcomes that transactions on one connection had."""
        new = transactions.taken()
        lacking = bool(new)
        for index, outcome in new.items():
            self._set(index, outcome, found)
            lacking = lacking and isinstance(outcome, Deferred) and outcome.enhanced == TLS_REQUIRED_LATER
        if transactions.closing:
            self._problem = next((outcome.text for outcome in new.values()), "the connection was closed")
        elif new:
            self._answered = True
        self._lacking += lacking

    async def _acquire(self, to: Destination, passage: Passage, *, fresh: bool) -> Pooled:
        async def connect() -> SMTPConnection:
            return await self._connect(to)

        return await self._site.acquire(connect, self._delivery, passage, label=to.label, fresh=fresh)

    async def _connect(self, to: Destination) -> SMTPConnection:
        await self._site.pace_connection()
        policy = to.found.policy
        endpoint = Endpoint(to.name, to.ips, to.how, to.source)
        reached: list[str] = []
        try:
            connection = await self._opener.open(endpoint, reached)
        except SMTPError as error:
            self._note_reach(to.name, error, dialed=bool(reached))
            if reached:
                self._note_address(to.name, reached[0])
                if _is_of_tls(error):
                    details = details_of(error, host=to.name, address=reached[0])
                    self.results.session_failed(policy, details, concern_of(error))
            raise
        self._site.unreached.forget(to.name)
        if connection.tls_info is not None:
            self.results.session_succeeded(policy)
        elif to.how.mode is not TLSMode.NONE:
            self.results.session_in_clear(policy, details_in_clear(connection, host=to.name))
        return connection

    def _note_reach(self, name: str, error: SMTPError, *, dialed: bool) -> None:
        """Note whether a host could be reached at all, if there are others that may be tried before it."""
        silent = isinstance(error, CommandTimeout) and not _is_of_tls(error)
        if dialed and not silent:
            self._site.unreached.forget(name)
        elif len(self._plan.hosts.hosts) > 1 and not isinstance(error, LocalAddressUnusable):
            self._site.unreached.note(name)

    # outcomes

    def _later(self, name: str, text: str, *, code: int = 0, enhanced: str = "") -> None:
        self._all_pending(Deferred(code=code, enhanced=enhanced, text=text, peer=name, trace=self._trace()))

    def _all_pending(self, outcome: Outcome) -> None:
        for index in list(self._pending):
            self._set(index, outcome, None)

    def _set(self, index: int, outcome: Outcome, found: HostPlan | None) -> None:
        """Take a recipient's outcome at one host; what is not final is only kept if the host said something."""
        if isinstance(outcome, Failed) and found is not None and self._may_be_our_address(outcome, found):
            outcome = as_deferred(outcome)
        before = self.outcomes.get(index)
        if isinstance(outcome, Deferred) and isinstance(before, Deferred) and before.command and not outcome.command:
            outcome = replace(before, trace=outcome.trace)  # a reply says more than that another host was not reached
        self.outcomes[index] = outcome
        if not isinstance(outcome, Deferred) and index in self._pending:
            self._pending.remove(index)

    def _may_be_our_address(self, outcome: Failed, found: HostPlan) -> bool:
        """Say whether a refusal may be one of our address, so that one of the other family is worth a try."""
        first = self._delivery.attempt == 1
        return first and found.addresses.dual_stack and bool(outcome.command) and outcome.enhanced.startswith(_POLICY)


def _is_of_tls(error: SMTPError) -> bool:
    """Say whether TLS failed, and nothing else: then a try without may succeed."""
    return isinstance(error, TLSFailed) or error.command in _TLS_COMMANDS
