"""MTA-STS (RFC 8461): a domain says over HTTPS which hosts take its mail, and that TLS with them must be verified.

MTASTS(resolver=..., fetcher=..., cache=...)     `lookup(domain)`: the policy that holds, cached and kept fresh
parse_record(text) -> Record                     the TXT record `v=STSv1; id=...`; `lookup_record(resolver, domain)`
parse_policy(text) -> Policy                     `mode`, `max_age_seconds`, `mx`; `policy.matches(host)`
HTTPSFetcher(resolver)                           fetches policies (extra: http); `Fetcher` is the protocol
MemoryPolicyCache()                              keeps policies; `PolicyCache` is the protocol, of `CachedPolicy`
PolicyFetchError, STSTemporaryError, ...         what goes wrong: see `moxlib.mtasts.errors`
"""

from moxlib.mtasts.cache import CachedPolicy, MemoryPolicyCache, PolicyCache
from moxlib.mtasts.decide import Lookup
from moxlib.mtasts.errors import InvalidPolicy, InvalidRecord, PolicyFetchError, STSTemporaryError, UnusableRecord
from moxlib.mtasts.fetch import Fetcher, HTTPSFetcher
from moxlib.mtasts.lookup import MTASTS, Refreshed
from moxlib.mtasts.policy import MAX_POLICY, Mode, MXPattern, Policy, parse_policy
from moxlib.mtasts.record import Record, lookup_record, parse_record

__all__ = [
    "MAX_POLICY",
    "MTASTS",
    "CachedPolicy",
    "Fetcher",
    "HTTPSFetcher",
    "InvalidPolicy",
    "InvalidRecord",
    "Lookup",
    "MXPattern",
    "MemoryPolicyCache",
    "Mode",
    "Policy",
    "PolicyCache",
    "PolicyFetchError",
    "Record",
    "Refreshed",
    "STSTemporaryError",
    "UnusableRecord",
    "lookup_record",
    "parse_policy",
    "parse_record",
]
