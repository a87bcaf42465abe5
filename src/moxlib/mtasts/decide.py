"""What to do about a domain's policy, from what is cached and what the DNS says of its record. Pure.

| cached | the record | what happens |
| --- | --- | --- |
| nothing that holds | none, malformed, several | no policy |
| nothing that holds | not to be found out | an error: deliver later |
| nothing that holds | there | fetch the policy; if that fails, none, and no other try for five minutes |
| a policy | same id | it holds |
| a policy | another id | fetch; if that fails, the cached one holds, and no other try for five minutes |
| a policy | none, malformed, several, not to be found out | it holds (RFC 8461 3.1, 5.1), and the failure is reported |

Refreshing (RFC 8461 3.3) also fetches when half of the policy's time is over, and when the record is not there or
cannot be found out, for that may be a way to let a policy expire. A policy of mode none whose record is gone is let go.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from moxlib.dns import DNSError, Domain
from moxlib.mtasts.cache import CachedPolicy
from moxlib.mtasts.errors import InvalidPolicy, PolicyFetchError, UnusableRecord
from moxlib.mtasts.policy import Mode, Policy
from moxlib.mtasts.record import Record
from moxlib.tlsrpt import FailureDetails, PolicyType, Result, ResultType, dns_reason_code, no_policy
from moxlib.tlsrpt import Policy as ReportedPolicy

__all__ = [
    "Decided",
    "Fetch",
    "Finding",
    "Lookup",
    "Undecided",
    "backed_off",
    "backs_off",
    "decide",
    "fetched",
    "holding",
    "not_fetched",
]

BACK_OFF: Final = timedelta(minutes=5)  # RFC 8461 3.3
MAX_LIFETIME: Final = timedelta(seconds=31_557_600)  # RFC 8461 3.2: a year; larger values of max_age are taken as that
USE_NOTED: Final = timedelta(hours=1)  # a use or check is not written down again so soon: every delivery is one

FALLBACK: Final = "+fallback-to-cached-policy"
BACKED_OFF: Final = "back-off-after-recent-fetch-error"

Finding = Record | UnusableRecord | DNSError | None  # what the DNS says of the record


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """The policy of a domain, as it holds now.

    Attributes:
        policy: what to do; None: the domain has no policy. That of mode none is returned too.
        result: what a TLS report says of it, without counts of sessions; with details of what went wrong on the way,
            each counted once.
        fresh: it is known to be the domain's current policy, or lack of one.
    """

    policy: Policy | None
    result: Result
    fresh: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """Go by this lookup; and put the entry into the cache, if there is one."""

    lookup: Lookup
    entry: CachedPolicy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """Fetch the policy, which has this record id; empty if that is not known."""

    record_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Undecided:
    """Nobody knows whether there is a policy."""

    reason: str
    result: Result


def holding(entry: CachedPolicy | None, now: datetime) -> Policy | None:
    """Return the policy of an entry, if it holds still. A text that cannot be read is none."""
    if entry is None or entry.valid_until <= now:
        return None
    try:
        return entry.policy()
    except InvalidPolicy:
        return None


def backs_off(entry: CachedPolicy | None, now: datetime) -> bool:
    """Return whether it is too early to fetch again."""
    return entry is not None and entry.retry_at is not None and entry.retry_at > now


def backed_off(domain: Domain) -> Decided:
    """Return what holds while there is no policy, and it is too early to ask for one: none, and a report of that."""
    return Decided(lookup=_no_policy(domain, _failure(ResultType.STS_POLICY_FETCH_ERROR, BACKED_OFF), fresh=False))


def decide(
    domain: Domain, entry: CachedPolicy | None, finding: Finding, now: datetime, *, refreshing: bool
) -> Decided | Fetch | Undecided:
    """Return what to do when the record has been looked up.

    Args:
        domain: whose policy it is about.
        entry: what is cached.
        finding: what the DNS says of the record.
        now: the time.
        refreshing: not for a delivery, but to keep the cached policy fresh.
    """
    policy = holding(entry, now)
    if entry is None or policy is None:
        return _without_policy(domain, finding)
    if refreshing:
        return _refreshing(domain, entry, policy, finding, now)
    if not isinstance(finding, Record):
        return Decided(
            lookup=_kept(domain, entry, policy, _of_finding(finding)), entry=_noted(entry, now, checked=False)
        )
    if finding.id == entry.record_id:
        return Decided(lookup=_kept(domain, entry, policy), entry=_noted(entry, now, checked=True))
    if backs_off(entry, now):
        backing_off = _failure(ResultType.STS_POLICY_FETCH_ERROR, BACKED_OFF)
        return Decided(lookup=_kept(domain, entry, policy, backing_off), entry=_noted(entry, now, checked=False))
    return Fetch(record_id=finding.id)


def _without_policy(domain: Domain, finding: Finding) -> Decided | Fetch | Undecided:
    match finding:
        case Record():
            return Fetch(record_id=finding.id)
        case DNSError():
            return Undecided(reason=finding.reason, result=_no_policy(domain, _of_finding(finding), fresh=False).result)
        case UnusableRecord():
            return Decided(lookup=_no_policy(domain, _of_finding(finding), fresh=True))
        case None:
            return Decided(lookup=_no_policy(domain, fresh=True))


def _refreshing(
    domain: Domain, entry: CachedPolicy, policy: Policy, finding: Finding, now: datetime
) -> Decided | Fetch:
    checked = replace(entry, checked=now)
    if not isinstance(finding, Record):
        if policy.mode is not Mode.NONE and not backs_off(entry, now):
            return Fetch(record_id="")
        if policy.mode is Mode.NONE and finding is None:  # RFC 8461 8.3: that is how a domain leaves MTA-STS
            return Decided(lookup=_no_policy(domain, fresh=True), entry=_emptied(checked, now))
        return Decided(lookup=_kept(domain, entry, policy, _of_finding(finding)), entry=checked)
    # RFC 8461 3.2: the time counts from the fetch. Differs: mox starts it anew when the id, which nothing proves, is
    # still the same.
    half_over = now - entry.fetched >= (entry.valid_until - entry.fetched) / 2
    if (finding.id != entry.record_id or half_over) and not backs_off(entry, now):
        return Fetch(record_id=finding.id)
    return Decided(lookup=_kept(domain, entry, policy), entry=checked)


def _emptied(entry: CachedPolicy, now: datetime) -> CachedPolicy:
    return replace(entry, record_id="", policy_text="", valid_until=now, retry_at=None)


def _noted(entry: CachedPolicy, now: datetime, *, checked: bool) -> CachedPolicy | None:
    """Return the entry with its use noted, and that it was seen to be current; None if that was noted lately."""
    if now - entry.last_used < USE_NOTED and not (checked and now - entry.checked >= USE_NOTED):
        return None
    return replace(entry, last_used=now, checked=now if checked else entry.checked)


def fetched(
    domain: Domain,
    entry: CachedPolicy | None,
    policy: Policy,
    text: str,
    record_id: str,
    now: datetime,
    *,
    refreshing: bool,
) -> Decided:
    """Return what holds when a policy was fetched, whose text this is."""
    new = CachedPolicy(
        domain=domain.ascii,
        record_id=record_id or (entry.record_id if entry is not None else ""),
        policy_text=text,
        fetched=now,
        valid_until=now + min(timedelta(seconds=policy.max_age_seconds), MAX_LIFETIME),
        checked=now,
        last_used=entry.last_used if refreshing and entry is not None else now,
    )
    return Decided(lookup=Lookup(policy=policy, result=_result(domain, policy, text), fresh=True), entry=new)


def not_fetched(
    domain: Domain,
    entry: CachedPolicy | None,
    error: PolicyFetchError,
    record_id: str,
    now: datetime,
    *,
    refreshing: bool,
) -> Decided:
    """Return what holds when a policy could not be fetched."""
    failure = _failure(error.result_type, error.reason_code)
    policy = holding(entry, now)
    retry_at = now + BACK_OFF
    if entry is not None and policy is not None:
        kept = replace(entry, retry_at=retry_at, last_used=entry.last_used if refreshing else now)
        if refreshing:
            kept = replace(kept, checked=now)
        return Decided(lookup=_kept(domain, entry, policy, failure), entry=kept)
    failed = CachedPolicy(
        domain=domain.ascii,
        record_id=record_id,
        policy_text="",
        fetched=now,
        valid_until=retry_at,
        checked=now,
        last_used=entry.last_used if refreshing and entry is not None else now,
        retry_at=retry_at,
    )
    return Decided(lookup=_no_policy(domain, failure, fresh=False), entry=failed)


def _kept(domain: Domain, entry: CachedPolicy, policy: Policy, failure: FailureDetails | None = None) -> Lookup:
    result = _result(domain, policy, entry.policy_text)
    if failure is None:
        return Lookup(policy=policy, result=result, fresh=True)
    if policy.mode is not Mode.NONE:
        failure = replace(failure, failure_reason_code=f"{failure.failure_reason_code}{FALLBACK}")
    return Lookup(policy=policy, result=replace(result, details=(failure,)), fresh=False)


def _no_policy(domain: Domain, failure: FailureDetails | None = None, *, fresh: bool) -> Lookup:
    """Return that there is none; with a failure, a report says that there should be one."""
    if failure is None:
        return Lookup(policy=None, result=Result(policy=no_policy(domain)), fresh=fresh)
    reported = ReportedPolicy(type=PolicyType.STS, domain=domain.ascii)
    return Lookup(policy=None, result=Result(policy=reported, details=(failure,)), fresh=fresh)


def _result(domain: Domain, policy: Policy, text: str) -> Result:
    if policy.mode is Mode.NONE:  # RFC 8461 5: as if it had no policy at all
        return Result(policy=no_policy(domain))
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    reported = ReportedPolicy(
        type=PolicyType.STS, domain=domain.ascii, strings=tuple(lines), mx_hosts=tuple(map(str, policy.mx))
    )
    return Result(policy=reported)


def _of_finding(finding: UnusableRecord | DNSError | None) -> FailureDetails:
    if finding is None:
        return _failure(ResultType.STS_POLICY_FETCH_ERROR, "no-mta-sts-record")
    code = finding.reason_code if isinstance(finding, UnusableRecord) else dns_reason_code(finding)
    return _failure(ResultType.STS_POLICY_FETCH_ERROR, code)


def _failure(result_type: ResultType, reason_code: str) -> FailureDetails:
    return FailureDetails(result_type=result_type, failure_reason_code=reason_code)
