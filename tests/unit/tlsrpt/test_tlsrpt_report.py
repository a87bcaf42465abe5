"""Reports, written as RFC 8460 4.4 and its example want them, and read as they come."""

import gzip
import json
import pickle
from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from typing import Any

import pytest

from moxlib.dns import parse_domain
from moxlib.errors import InputError
from moxlib.tlsrpt import (
    FailureDetails,
    InvalidReport,
    Policy,
    PolicyType,
    Report,
    Result,
    ResultType,
    parse_report,
    render_report,
    report_filename,
    report_subject,
)

START = datetime(2026, 7, 14, tzinfo=UTC)
END = datetime(2026, 7, 14, 23, 59, 59, tzinfo=UTC)
FACTS: dict[str, Any] = {
    "organization": "Company-X",
    "contact": "sts-reporting@company-x.example",
    "report_id": "5065427c-23d3",
    "start": START,
    "end": END,
}
STS = Policy(
    type=PolicyType.STS,
    domain="company-y.example",
    strings=("version: STSv1", "mode: testing", "mx: *.mail.company-y.example", "max_age: 86400"),
    mx_hosts=("*.mail.company-y.example",),
)
RESULTS = (
    Result(
        policy=STS,
        successful=5326,
        failed=303,
        details=(
            FailureDetails(
                result_type=ResultType.CERTIFICATE_EXPIRED,
                sending_mta_ip="2001:db8:abcd:12::1",
                receiving_mx_hostname="mx1.mail.company-y.example",
                receiving_mx_helo="mx1",
                receiving_ip="2001:db8::2",
                failed_session_count=100,
                additional_information="https://reports.company-x.example/report_info?id=5065427c",
                failure_reason_code="x",
            ),
            FailureDetails(result_type=ResultType.STARTTLS_NOT_SUPPORTED, failed_session_count=203),
        ),
    ),
    Result(policy=Policy(type=PolicyType.NO_POLICY_FOUND, domain="company-z.example"), successful=1),
)


def test_a_report_as_json() -> None:
    assert json.loads(render_report(RESULTS, **FACTS)) == {
        "organization-name": "Company-X",
        "date-range": {"start-datetime": "2026-07-14T00:00:00Z", "end-datetime": "2026-07-14T23:59:59Z"},
        "contact-info": "sts-reporting@company-x.example",
        "report-id": "5065427c-23d3",
        "policies": [
            {
                "policy": {
                    "policy-type": "sts",
                    "policy-string": list(STS.strings),
                    "policy-domain": "company-y.example",
                    "mx-host": ["*.mail.company-y.example"],
                },
                "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 303},
                "failure-details": [
                    {
                        "result-type": "certificate-expired",
                        "sending-mta-ip": "2001:db8:abcd:12::1",
                        "receiving-mx-hostname": "mx1.mail.company-y.example",
                        "receiving-mx-helo": "mx1",
                        "receiving-ip": "2001:db8::2",
                        "failed-session-count": 100,
                        "additional-information": "https://reports.company-x.example/report_info?id=5065427c",
                        "failure-reason-code": "x",
                    },
                    {"result-type": "starttls-not-supported", "failed-session-count": 203},
                ],
            },
            {
                "policy": {"policy-type": "no-policy-found", "policy-domain": "company-z.example"},
                "summary": {"total-successful-session-count": 1, "total-failure-session-count": 0},
            },
        ],
    }


def test_a_report_of_nothing_has_an_empty_list_of_policies() -> None:
    assert json.loads(render_report([], **FACTS))["policies"] == []


def test_results_are_merged() -> None:
    [policy, _] = json.loads(render_report((*RESULTS, *RESULTS), **FACTS))["policies"]
    assert policy["summary"]["total-failure-session-count"] == 606
    assert [details["failed-session-count"] for details in policy["failure-details"]] == [200, 406]


def test_times_are_in_utc() -> None:
    east = timezone(timedelta(hours=2))
    times = {"start": datetime(2026, 7, 14, 2, tzinfo=east), "end": datetime(2026, 7, 15, 1, 59, 59, 999999, east)}
    period = json.loads(render_report([], **{**FACTS, **times}))["date-range"]
    assert period == {"start-datetime": "2026-07-14T00:00:00Z", "end-datetime": "2026-07-14T23:59:59Z"}


@pytest.mark.parametrize(
    "times", [{"start": datetime(2026, 7, 14)}, {"end": datetime(2026, 7, 14)}, {"start": END, "end": START}]
)
def test_times_that_cannot_be(times: dict[str, datetime]) -> None:
    facts = {**FACTS, **times}
    with pytest.raises(InputError):
        render_report([], **facts)
    domain = parse_domain("example.com")
    with pytest.raises(InputError):
        report_filename(submitter=domain, domain=domain, start=facts["start"], end=facts["end"])


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_report_comes_back(compress: Any) -> None:
    assert parse_report(compress(render_report(RESULTS, **FACTS))) == Report(**FACTS, results=RESULTS)


def test_the_example_of_the_rfc_before_its_errata() -> None:
    report = parse_report(
        b"""{
        "organization-name": "Company-X",
        "date-range": {"start-datetime": "2016-04-01T00:00:00Z", "end-datetime": "2016-04-01T23:59:59Z"},
        "contact-info": "sts-reporting@company-x.example",
        "report-id": "5065427c-23d3-47ca-b6e0-946ea0e8c4be",
        "policies": [{
            "policy": {
                "policy-type": "sts",
                "policy-string": ["version: STSv1", "mode: testing"],
                "policy-domain": "company-y.example",
                "mx-host": "*.mail.company-y.example"
            },
            "summary": {"total-successful-session-count": 5326, "total-failure-session-count": 303},
            "failure-details": [{
                "result-type": "validation-failure",
                "sending-mta-ip": "198.51.100.62",
                "receiving-ip": "203.0.113.58",
                "receiving-mx-hostname": "mx-backup.mail.company-y.example",
                "failed-session-count": 3,
                "failure-error-code": "X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED"
            }]
        }]
    }"""
    )
    [result] = report.results
    assert result.policy.mx_hosts == ("*.mail.company-y.example",)
    assert result.details[0].receiving_ip == "203.0.113.58"
    assert isinstance(result.details[0].result_type, ResultType)
    assert report.start == datetime(2016, 4, 1, tzinfo=UTC)


def minimal(**more: object) -> bytes:
    period = {"start-datetime": "2026-07-14T00:00:00", "end-datetime": "2026-07-14T23:59:59"}
    return json.dumps({"date-range": period, **more}).encode()


def test_what_is_absent_or_null_is_empty_and_a_time_without_zone_is_in_utc() -> None:
    empty = Report(organization="", contact="", report_id="", start=START, end=END)
    assert parse_report(minimal()) == empty
    nulls = dict.fromkeys(["organization-name", "contact-info", "report-id", "policies"])
    assert parse_report(minimal(**nulls)) == empty
    [result] = parse_report(minimal(policies=[None])).results
    assert result == Result(policy=Policy(type="", domain=""))
    [result] = parse_report(minimal(policies=[{"policy": None, "summary": {}, "failure-details": [{}]}])).results
    assert result.details == (FailureDetails(result_type="", failed_session_count=0),)


def test_types_that_nobody_registered_stay() -> None:
    policies = [{"policy": {"policy-type": "dnssec"}, "failure-details": [{"result-type": "bad-moon"}]}]
    [result] = parse_report(minimal(policies=policies)).results
    assert (result.policy.type, result.details[0].result_type) == ("dnssec", "bad-moon")
    assert not isinstance(result.policy.type, PolicyType)


def test_lone_surrogates_are_replaced() -> None:
    report = parse_report(minimal(**{"organization-name": "a\ud800b", "contact-info": "\U0001f4ec"}))
    assert (report.organization, report.contact) == ("a\ufffdb", "\U0001f4ec")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is no JSON"),
        (b"\xff", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"9" * 10_000, "it is no JSON"),
        (b"[]", "the report is no object"),
        (b"{}", "start-datetime is no time: ''"),
        (minimal(**{"date-range": {"start-datetime": "2026-07-14", "end-datetime": "today"}}), "end-datetime is no"),
        (minimal(**{"date-range": {"start-datetime": "0001-01-01T00:00:00+12:00"}}), "start-datetime is no time"),
        (minimal(policies={}), "policies is no list"),
        (minimal(policies=[1]), "a policy is no object"),
        (minimal(policies=[{"policy": {"policy-domain": 1}}]), "policy-domain is no text"),
        (minimal(policies=[{"policy": {"mx-host": [1]}}]), "mx-host is no text"),
        (minimal(policies=[{"summary": {"total-failure-session-count": -1}}]), "total-failure-session-count is no"),
        (minimal(policies=[{"summary": {"total-failure-session-count": 2**63}}]), "total-failure-session-count is no"),
        (minimal(policies=[{"summary": {"total-failure-session-count": True}}]), "total-failure-session-count is no"),
        (minimal(policies=[{"summary": {"total-failure-session-count": 1.5}}]), "total-failure-session-count is no"),
        (minimal(policies=[{}] * 10_001), "policies has more than 10000 entries"),
        (minimal(policies=[{"failure-details": [{}] * 6000}] * 2), "failure-details have more than 10000 entries"),
        (b" " * 5_242_881, "longer than 5242880 bytes"),
        (gzip.compress(bytes(50_000_000)), "longer than 5242880 bytes"),
        (gzip.compress(minimal())[:-9], "its gzip is cut short"),
        (b"\x1f\x8bxyz", "its gzip is damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_report(data: bytes, reason: str) -> None:
    with pytest.raises(InvalidReport) as caught:
        parse_report(data)
    assert caught.value.reason.startswith(reason)
    assert len(str(caught.value)) < 700
    assert pickle.loads(pickle.dumps(caught.value)).reason == caught.value.reason


def test_the_name_of_a_report() -> None:
    submitter, domain = parse_domain("mail.sender.example"), parse_domain("münchen.example")
    name = partial(report_filename, submitter=submitter, domain=domain, start=START, end=END)
    expected = "mail.sender.example!xn--mnchen-3ya.example!1783987200!1784073599"
    assert name() == f"{expected}.json.gz"
    assert name(unique_id="a1", gzip=False) == f"{expected}!a1.json"
    for unique_id in ("a-1", "a/../b", "é", "a\n"):
        with pytest.raises(InputError):
            name(unique_id=unique_id)


def test_the_subject_of_a_report() -> None:
    names = {"submitter": parse_domain("mail.sender.example"), "domain": parse_domain("example.net")}
    assert report_subject(**names, report_id="735ff.e317@sender.example") == (
        "Report Domain: example.net Submitter: mail.sender.example Report-ID: <735ff.e317@sender.example>"
    )
    for report_id in ("", "a b", "a>b", "a\r\nBcc: x", "é"):
        with pytest.raises(InputError):
            report_subject(**names, report_id=report_id)
