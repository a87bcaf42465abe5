"""Keeping policies: what is kept of one, where, and in memory."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from moxlib.mtasts.policy import Policy, parse_policy

__all__ = ["CachedPolicy", "MemoryPolicyCache", "PolicyCache"]

MAX_ENTRIES: Final = 10_000  # domains in memory; beyond, the one not used for the longest time is forgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class CachedPolicy:
    """What is kept of one domain; every field is a plain value, for a column of a table.

    Attributes:
        domain: in ASCII, lower case. There is one entry for each.
        record_id: the id of the TXT record when the policy was fetched; empty if that was not known.
        policy_text: the policy as it was fetched, at most 64 KiB; empty: it could not be fetched, and there is none.
        fetched: when it was.
        valid_until: until when it holds; without a policy, the same as `retry_at`.
        checked: when it was last seen to be current, or that was tried: what `due` goes by.
        last_used: when it was last looked up for a delivery, to within an hour: what `purge` goes by.
        retry_at: the last fetch failed, and the next one may come then; None: it succeeded.
    """

    domain: str
    record_id: str
    policy_text: str
    fetched: datetime
    valid_until: datetime
    checked: datetime
    last_used: datetime
    retry_at: datetime | None = None

    def policy(self) -> Policy | None:
        """Return the policy, parsed; None if there is none.

        Raises:
            InvalidPolicy: the text is not what was put in.
        """
        return parse_policy(self.policy_text) if self.policy_text else None


class PolicyCache(Protocol):
    """Where policies are kept. It should outlive the process: a policy that is forgotten protects nobody.

    Methods may be called concurrently. Times are aware. They raise `StorageError` when they cannot do their work.
    """

    async def get(self, domain: str) -> CachedPolicy | None:
        """Return what is kept of a domain, expired or not."""
        ...

    async def put(self, entry: CachedPolicy) -> None:
        """Keep an entry, in place of the one of the same domain."""
        ...

    async def due(self, before: datetime, limit: int) -> tuple[CachedPolicy, ...]:
        """Return at most `limit` entries that have a policy and were checked before a time, the longest ago first."""
        ...

    async def purge(self, before: datetime) -> int:
        """Forget the entries last used before a time; return how many that were."""
        ...


class MemoryPolicyCache:
    """A `PolicyCache` in memory: each process fetches policies anew, so its first deliveries rely on the network.

    Args:
        max_entries: domains it keeps; beyond, the one that was not asked for the longest time is forgotten.
    """

    def __init__(self, *, max_entries: int = MAX_ENTRIES) -> None:
        self._entries: dict[str, CachedPolicy] = {}  # in the order they were last asked for
        self._max_entries = max_entries

    async def get(self, domain: str) -> CachedPolicy | None:
        """Return what is kept of a domain, expired or not."""
        entry = self._entries.pop(domain, None)
        if entry is not None:
            self._entries[domain] = entry
        return entry

    async def put(self, entry: CachedPolicy) -> None:
        """Keep an entry, in place of the one of the same domain."""
        self._entries.pop(entry.domain, None)
        self._entries[entry.domain] = entry
        while len(self._entries) > self._max_entries:
            del self._entries[next(iter(self._entries))]

    async def due(self, before: datetime, limit: int) -> tuple[CachedPolicy, ...]:
        """Return at most `limit` entries that have a policy and were checked before a time, the longest ago first."""
        found = [entry for entry in self._entries.values() if entry.policy_text and entry.checked < before]
        return tuple(sorted(found, key=lambda entry: (entry.checked, entry.domain))[:limit])

    async def purge(self, before: datetime) -> int:
        """Forget the entries last used before a time; return how many that were."""
        old = [entry.domain for entry in self._entries.values() if entry.last_used < before]
        for domain in old:
            del self._entries[domain]
        return len(old)
