"""What is known of TLS with other mail servers, in the form of SMTP TLS reporting (RFC 8460), and reports made of it.

Result(policy=..., successful=0, failed=0, details=())   sessions under a `Policy`, with `FailureDetails`
merge(results) -> tuple[Result, ...]                     counts of equal policies and equal details added up
classify(error) -> (ResultType, reason code)             what a failed TLS handshake or certificate is in a report
tlsa_policy(records, domain), no_policy(domain)          the policies that are not MTA-STS
render_report(results, ...) -> bytes                     the JSON of a day's report; `report_filename`, `report_subject`
parse_report(data) -> Report                             such a report of somebody else's, plain or in gzip
parse_record(text) -> Record                             the TXT record `v=TLSRPTv1; rua=...`
lookup_record(resolver, domain) -> Record | None         the one of a domain
"""

from moxlib.tlsrpt.classify import classify, dns_reason_code
from moxlib.tlsrpt.errors import InvalidRecord, InvalidReport, UnusableRecord
from moxlib.tlsrpt.record import Record, lookup_record, parse_record
from moxlib.tlsrpt.report import Report, parse_report, render_report, report_filename, report_subject
from moxlib.tlsrpt.results import (
    FailureDetails,
    Policy,
    PolicyType,
    Result,
    ResultType,
    merge,
    no_policy,
    tlsa_policy,
)

__all__ = [
    "FailureDetails",
    "InvalidRecord",
    "InvalidReport",
    "Policy",
    "PolicyType",
    "Record",
    "Report",
    "Result",
    "ResultType",
    "UnusableRecord",
    "classify",
    "dns_reason_code",
    "lookup_record",
    "merge",
    "no_policy",
    "parse_record",
    "parse_report",
    "render_report",
    "report_filename",
    "report_subject",
    "tlsa_policy",
]
