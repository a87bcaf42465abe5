"""Results of sessions, and adding them up."""

import pytest

from moxlib.dns import TLSA, parse_domain
from moxlib.errors import InputError
from moxlib.tlsrpt import FailureDetails, Policy, PolicyType, Result, ResultType, merge, no_policy, tlsa_policy

DOMAIN = parse_domain("münchen.example")
NONE = no_policy(DOMAIN)
STS = Policy(type=PolicyType.STS, domain="example.com", strings=("version: STSv1", "mode: none"))
EXPIRED = FailureDetails(result_type=ResultType.CERTIFICATE_EXPIRED, receiving_ip="192.0.2.1")
MISMATCH = FailureDetails(result_type=ResultType.CERTIFICATE_HOST_MISMATCH, failed_session_count=3)


def test_policies_that_are_not_mta_sts() -> None:
    assert no_policy(DOMAIN) == Policy(type=PolicyType.NO_POLICY_FOUND, domain="xn--mnchen-3ya.example")
    records = [
        TLSA(usage=3, selector=1, matching_type=1, data=b"\xab\xcd"),
        TLSA(usage=2, selector=0, matching_type=1, data=b"\x01"),
    ]
    policy = tlsa_policy(records, DOMAIN)
    expected = Policy(type=PolicyType.TLSA, domain=NONE.domain, strings=("2 0 1 01", "3 1 1 abcd"))
    assert policy == tlsa_policy(reversed(records), DOMAIN) == expected


def test_equal_policies_and_details_are_added_up() -> None:
    results = [
        Result(policy=STS, successful=2, failed=1, details=(EXPIRED,)),
        Result(policy=NONE, successful=1),
        Result(policy=STS, failed=4, details=(MISMATCH, EXPIRED)),
        Result(policy=NONE, successful=5),
    ]
    twice = FailureDetails(result_type=ResultType.CERTIFICATE_EXPIRED, receiving_ip="192.0.2.1", failed_session_count=2)
    assert merge(results) == (
        Result(policy=STS, successful=2, failed=5, details=(twice, MISMATCH)),
        Result(policy=NONE, successful=6),
    )


def test_one_result_may_have_equal_details() -> None:
    [merged] = merge([Result(policy=STS, details=(MISMATCH, MISMATCH))])
    assert [detail.failed_session_count for detail in merged.details] == [6]


def test_what_differs_stays_apart() -> None:
    other = Policy(type=PolicyType.STS, domain="example.com", strings=STS.strings, mx_hosts=("a.example",))
    here = FailureDetails(result_type=ResultType.CERTIFICATE_EXPIRED, receiving_ip="192.0.2.2")
    results = (Result(policy=STS, details=(EXPIRED, here)), Result(policy=other))
    assert merge(results) == results
    assert merge([]) == ()


def test_counts_cannot_be_negative() -> None:
    for make in (
        lambda: Result(policy=STS, successful=-1),
        lambda: Result(policy=STS, failed=-1),
        lambda: FailureDetails(result_type=ResultType.TLSA_INVALID, failed_session_count=-1),
    ):
        with pytest.raises(InputError, match="-1 sessions"):
            make()
