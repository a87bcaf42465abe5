"""The policies of domains, looked up, cached and kept fresh."""

import asyncio
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, NoReturn

from moxlib._clock import Clock, SystemClock
from moxlib._sharedcalls import SharedCalls
from moxlib.dns import DNSError, Domain, InvalidDomain, Resolver
from moxlib.errors import RemoteError, StorageError
from moxlib.mtasts.cache import CachedPolicy, PolicyCache
from moxlib.mtasts.decide import (
    Decided,
    Fetch,
    Finding,
    Lookup,
    Undecided,
    backed_off,
    backs_off,
    decide,
    fetched,
    holding,
    not_fetched,
)
from moxlib.mtasts.errors import InvalidPolicy, PolicyFetchError, STSTemporaryError, UnusableRecord
from moxlib.mtasts.fetch import Fetcher
from moxlib.mtasts.policy import Policy, parse_policy
from moxlib.mtasts.record import lookup_record
from moxlib.tlsrpt import ResultType

__all__ = ["MTASTS", "Lookup", "Refreshed"]

log: logging.Logger = logging.getLogger("moxlib.mtasts")

LOOKUP_TIMEOUT: Final = 30.0  # seconds for the record, as in mox; the policy has a minute of its own
REFRESH_EVERY: Final = 3600.0  # seconds; a domain's turn comes when its policy was not checked for:
REFRESH_AFTER: Final = timedelta(hours=12)  # so that each is tried twice on the day that RFC 8461 3.3 suggests
FORGET_AFTER: Final = timedelta(days=180)  # since the last delivery, as in mox
REFRESH_AT_ONCE: Final = 4  # domains; many have their policies with the same few providers
PAGE: Final = 100  # entries asked of the cache at once, of up to 64 KiB each


@dataclass(frozen=True, slots=True, kw_only=True)
class Refreshed:
    """What one `refresh` did.

    Attributes:
        checked: policies that were checked, those that failed included.
        failed: those of which nobody knows whether they are current; they hold until they expire.
        forgotten: domains not delivered to for so long that their policies are kept no more.
    """

    checked: int
    failed: int
    forgotten: int


class MTASTS:
    """Knows the policies of recipient domains.

    `lookup` is for deliveries. `run`, in a task of the caller's, keeps what is cached fresh, so that no policy expires
    because an attacker is in the way just then.

    Args:
        resolver: looks up the records.
        fetcher: fetches the policies, such as an `HTTPSFetcher`.
        cache: keeps them.
        clock: the time.
    """

    def __init__(self, *, resolver: Resolver, fetcher: Fetcher, cache: PolicyCache, clock: Clock | None = None) -> None:
        self._resolver = resolver
        self._fetcher = fetcher
        self._cache = cache
        self._clock = clock or SystemClock()
        self._calls = SharedCalls[str, Lookup]()

    async def lookup(self, domain: Domain) -> Lookup:
        """Return the policy that holds for a recipient domain now; concurrent lookups of one domain are one.

        Ask for the domain of the address, not for what a CNAME or MX made of it: a policy speaks for that name only
        (RFC 8461 3.1, 3.4).

        Raises:
            STSTemporaryError: nobody knows whether there is one, and none is cached.
            StorageError: the cache could not do its work.
        """
        return await self._calls.run(domain.ascii, self._lookup(domain, refreshing=False))

    async def _lookup(self, domain: Domain, *, refreshing: bool) -> Lookup:
        entry = await self._cache.get(domain.ascii)
        now = self._clock.now()
        if holding(entry, now) is None and backs_off(entry, now):
            decided: Decided | Undecided = backed_off(domain)
        else:
            decided = await self._find_out(domain, entry, refreshing=refreshing)
        if refreshing and entry is not None and (isinstance(decided, Undecided) or decided.entry is None):
            await self._cache.put(replace(entry, checked=now))  # tried, so that its turn does not come again at once
        if isinstance(decided, Undecided):
            raise STSTemporaryError(domain=domain.ascii, reason=decided.reason, result=decided.result)
        if decided.entry is not None:
            await self._cache.put(decided.entry)
        return decided.lookup

    async def _find_out(self, domain: Domain, entry: CachedPolicy | None, *, refreshing: bool) -> Decided | Undecided:
        finding = await self._record(domain)
        now = self._clock.now()
        step = decide(domain, entry, finding, now, refreshing=refreshing)
        if not isinstance(step, Fetch):
            return step
        try:
            text = await self._fetcher.fetch(domain)
            policy = _parsed(domain, text)
        except PolicyFetchError as error:
            log.warning("%s", error)
            now = self._clock.now()
            return not_fetched(domain, entry, error, step.record_id, now, refreshing=refreshing)
        now = self._clock.now()
        return fetched(domain, entry, policy, text.decode(errors="replace"), step.record_id, now, refreshing=refreshing)

    async def _record(self, domain: Domain) -> Finding:
        try:
            async with self._clock.timeout(LOOKUP_TIMEOUT):
                return await lookup_record(self._resolver, domain)
        except TimeoutError:
            return DNSError(name=domain.ascii, kind="TXT", reason=f"not there within {LOOKUP_TIMEOUT:g} seconds")
        except (DNSError, UnusableRecord) as error:
            return error

    async def refresh(self) -> Refreshed:
        """Check every cached policy whose turn it is, once, and forget those nobody needs.

        What fails for one domain is logged, and leaves the others alone.

        Raises:
            StorageError: the cache could not say whose turn it is.
        """
        now = self._clock.now()
        forgotten = await self._cache.purge(now - FORGET_AFTER)
        seen: set[str] = set()
        failed = 0
        while page := [e for e in await self._cache.due(now - REFRESH_AFTER, PAGE) if e.domain not in seen]:
            seen.update(entry.domain for entry in page)
            failed += await self._refresh_page(page)
        return Refreshed(checked=len(seen), failed=failed, forgotten=forgotten)

    async def run(self) -> NoReturn:
        """Refresh now and once an hour, until cancelled: for a task group of the caller's."""
        while True:
            try:
                await self.refresh()
            except StorageError as error:
                log.error("refreshing MTA-STS policies failed, and will be tried again: %s", error)  # noqa: TRY400
            await self._clock.sleep(REFRESH_EVERY)

    async def _refresh_page(self, page: list[CachedPolicy]) -> int:
        """Refresh some domains, a few at once; return how many failed."""
        entries = iter(page)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._refresh_some(entries)) for _ in range(REFRESH_AT_ONCE)]
        return sum(task.result() for task in tasks)

    async def _refresh_some(self, entries: Iterator[CachedPolicy]) -> int:
        return sum([not await self._refresh_one(entry) for entry in entries])

    async def _refresh_one(self, entry: CachedPolicy) -> bool:
        try:
            domain = Domain(ascii=entry.domain)
            lookup = await self._calls.run(domain.ascii, self._lookup(domain, refreshing=True))
        except (InvalidDomain, RemoteError, StorageError) as error:
            log.warning("refreshing the MTA-STS policy of %a failed: %s", entry.domain, error)
            return False
        return lookup.fresh


def _parsed(domain: Domain, text: bytes) -> Policy:
    try:
        return parse_policy(text)
    except InvalidPolicy as error:
        raise PolicyFetchError(
            domain=domain.ascii,
            reason=error.reason,
            result_type=ResultType.STS_POLICY_INVALID,
            reason_code="policy-syntax-error",
        ) from error
