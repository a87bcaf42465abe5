"""Results of sessions, as TLS reports count them (RFC 8460 4), and adding them up."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from moxlib.dns import TLSA, Domain
from moxlib.errors import InputError

__all__ = ["FailureDetails", "Policy", "PolicyType", "Result", "ResultType", "merge", "no_policy", "tlsa_policy"]


class PolicyType(StrEnum):
    """The kind of policy that sessions were held under (RFC 8460 4.2)."""

    TLSA = "tlsa"  # DANE, of a mail host
    STS = "sts"  # MTA-STS, of a recipient domain
    NO_POLICY_FOUND = "no-policy-found"  # neither, of either


class ResultType(StrEnum):
    """Why a session failed (RFC 8460 4.3, and its IANA registry)."""

    STARTTLS_NOT_SUPPORTED = "starttls-not-supported"
    CERTIFICATE_HOST_MISMATCH = "certificate-host-mismatch"
    CERTIFICATE_EXPIRED = "certificate-expired"
    CERTIFICATE_NOT_TRUSTED = "certificate-not-trusted"
    VALIDATION_FAILURE = "validation-failure"  # anything that has no type of its own
    TLSA_INVALID = "tlsa-invalid"
    DNSSEC_INVALID = "dnssec-invalid"
    DANE_REQUIRED = "dane-required"
    STS_POLICY_FETCH_ERROR = "sts-policy-fetch-error"
    STS_POLICY_INVALID = "sts-policy-invalid"
    STS_WEBPKI_INVALID = "sts-webpki-invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy that sessions were held under, or that there was none.

    Attributes:
        type: a `PolicyType`; in a report of somebody else's, any other text.
        domain: whose it is, in ASCII: the recipient domain for MTA-STS, the TLSA base domain for DANE.
        strings: the lines of an MTA-STS policy, or the TLSA records; empty when there is no policy.
        mx_hosts: the patterns of an MTA-STS policy, in ASCII.
    """

    type: PolicyType | str
    domain: str
    strings: tuple[str, ...] = ()
    mx_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureDetails:
    """One way in which sessions failed, and where (RFC 8460 4.4). A text that is empty is not known.

    Attributes:
        result_type: a `ResultType`; in a report of somebody else's, any other text.
        sending_mta_ip: the local address.
        receiving_mx_hostname: the name of the host, from its MX record.
        receiving_mx_helo: what it called itself.
        receiving_ip: its address.
        failed_session_count: how many sessions failed so.
        additional_information: a URI with more, or text.
        failure_reason_code: why, as text such as "tls-remote-alert-40-handshake-failure".

    Raises:
        InputError: a negative count.
    """

    result_type: ResultType | str
    sending_mta_ip: str = ""
    receiving_mx_hostname: str = ""
    receiving_mx_helo: str = ""
    receiving_ip: str = ""
    failed_session_count: int = 1
    additional_information: str = ""
    failure_reason_code: str = ""

    def __post_init__(self) -> None:
        _check_counts(self.failed_session_count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Sessions under one policy.

    Attributes:
        policy: which.
        successful: how many had the TLS that it asks for.
        failed: how many had not.
        details: how; their counts need not add up to `failed`, since a session may fail in several ways.

    Raises:
        InputError: a negative count.
    """

    policy: Policy
    successful: int = 0
    failed: int = 0
    details: tuple[FailureDetails, ...] = ()

    def __post_init__(self) -> None:
        _check_counts(self.successful, self.failed)


def _check_counts(*counts: int) -> None:
    if min(counts) < 0:
        raise InputError(f"{min(counts)} sessions cannot be")


def no_policy(domain: Domain) -> Policy:
    """Return the `Policy` that says there is none, of a recipient domain or of a mail host."""
    return Policy(type=PolicyType.NO_POLICY_FOUND, domain=domain.ascii)


def tlsa_policy(records: Iterable[TLSA], domain: Domain) -> Policy:
    """Return the `Policy` of TLSA records, sorted so that it is the same in whatever order the DNS gives them.

    Args:
        records: those that were found, usable or not.
        domain: the TLSA base domain (RFC 8460 3, RFC 7672 2.2).
    """
    return Policy(type=PolicyType.TLSA, domain=domain.ascii, strings=tuple(sorted(map(str, records))))


def merge(results: Iterable[Result]) -> tuple[Result, ...]:
    """Return one result for each policy, in the order they first came, with counts added up.

    So are details that are equal but for their counts. Merging what is merged changes nothing.
    """
    merged: dict[Policy, Result] = {}
    details: dict[Policy, dict[FailureDetails, int]] = {}
    for result in results:
        before = merged.get(result.policy, Result(policy=result.policy))
        merged[result.policy] = replace(
            before, successful=before.successful + result.successful, failed=before.failed + result.failed
        )
        counts = details.setdefault(result.policy, {})
        for detail in result.details:
            key = replace(detail, failed_session_count=0)
            counts[key] = counts.get(key, 0) + detail.failed_session_count
    return tuple(
        replace(result, details=tuple(replace(key, failed_session_count=n) for key, n in details[policy].items()))
        for policy, result in merged.items()
    )
