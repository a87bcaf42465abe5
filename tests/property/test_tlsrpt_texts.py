"""Any bytes are a report or a record, or refused by our error; reports and records come back; merging is adding up."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from moxlib.tlsrpt import (
    FailureDetails,
    InvalidRecord,
    InvalidReport,
    Policy,
    PolicyType,
    Record,
    Report,
    Result,
    ResultType,
    merge,
    parse_record,
    parse_report,
    render_report,
)

texts = st.text(max_size=10)
counts = st.integers(0, 2**40)
policies = st.builds(
    Policy,
    type=st.sampled_from(PolicyType),
    domain=st.sampled_from(["example.com", "example.org"]),
    strings=st.lists(texts, max_size=2).map(tuple),
    mx_hosts=st.lists(texts, max_size=2).map(tuple),
)
details = st.builds(
    FailureDetails,
    result_type=st.sampled_from(ResultType),
    sending_mta_ip=texts,
    receiving_mx_hostname=texts,
    receiving_mx_helo=texts,
    receiving_ip=texts,
    failed_session_count=counts,
    additional_information=texts,
    failure_reason_code=texts,
)
few_details = st.builds(FailureDetails, result_type=st.sampled_from(list(ResultType)[:3]), failed_session_count=counts)
results = st.lists(
    st.builds(
        Result,
        policy=policies,
        successful=counts,
        failed=counts,
        details=st.lists(details | few_details, max_size=4).map(tuple),
    ),
    max_size=5,
)
times = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(lambda time: time.replace(microsecond=0))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(results, texts, texts, texts, times, st.timedeltas(timedelta(0), timedelta(days=2)))
def test_a_report_comes_back(
    found: list[Result], organization: str, contact: str, report_id: str, start: datetime, length: timedelta
) -> None:
    begin = start.replace(tzinfo=UTC)
    end = begin + timedelta(seconds=int(length.total_seconds()))
    data = render_report(found, organization=organization, contact=contact, report_id=report_id, start=begin, end=end)
    assert data.isascii()
    assert parse_report(data) == Report(
        organization=organization, contact=contact, report_id=report_id, start=begin, end=end, results=merge(found)
    )


@given(results, results)
def test_merging_adds_up(first: list[Result], second: list[Result]) -> None:
    merged = merge([*first, *second])
    assert merge(merged) == merged == merge([*merge(first), *merge(second)])
    assert len({result.policy for result in merged}) == len(merged)
    for total in (lambda one: one.successful, lambda one: one.failed, failures):
        assert sum(map(total, merged)) == sum(map(total, [*first, *second]))


def failures(result: Result) -> int:
    return sum(detail.failed_session_count for detail in result.details)


def valid() -> dict[str, Any]:
    start = datetime(2026, 7, 14, tzinfo=UTC)
    result = Result(
        policy=Policy(type=PolicyType.STS, domain="example.com", strings=("a",), mx_hosts=("b",)),
        details=(FailureDetails(result_type=ResultType.TLSA_INVALID, receiving_ip="192.0.2.1"),),
    )
    data = render_report([result], organization="o", contact="c", report_id="r", start=start, end=start)
    report: dict[str, Any] = json.loads(data)
    return report


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


@given(st.sampled_from(places(valid())), json_values)
def test_a_report_with_anything_anywhere_is_read_or_refused(place: tuple[Any, ...], value: Any) -> None:
    report: Any = {"": valid()}
    target = report
    path = ("", *place)
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    reads_or_refuses(json.dumps(report[""]).encode())


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()) | st.binary().map(b"\x1f\x8b".__add__))
def test_any_bytes_are_a_report_or_refused(data: bytes) -> None:
    reads_or_refuses(data)


def reads_or_refuses(data: bytes) -> None:
    try:
        report = parse_report(data)
    except InvalidReport as error:
        assert len(str(error)) < 700  # noqa: PT017 - it may as well succeed
        return
    str(report).encode()  # no lone surrogates
    hash(report)


uris = st.from_regex(r"(mailto|https):[a-z0-9@/.%?&=:ü-]{0,20}", fullmatch=True)
pieces = st.sampled_from(["rua=", "mailto:a@b", ",", ";", " ", "\t", "!", "x=y", "=", "https://a/?b=c", "ü", "\x00"])


@given(
    st.lists(uris, min_size=1, max_size=4),
    st.lists(st.tuples(st.from_regex(r"[a-z]{1,5}x", fullmatch=True), st.from_regex(r"[!-:<>-~]+", fullmatch=True))),
)
def test_a_record_comes_back(rua: list[str], extensions: list[tuple[str, str]]) -> None:
    record = Record(rua=tuple(rua), extensions=tuple(extensions))
    assert parse_record(str(record)) == record


@given(st.text() | st.lists(pieces, max_size=12).map(lambda some: "".join(["v=TLSRPTv1;", *some])))
def test_any_text_is_a_record_or_refused(text: str) -> None:
    try:
        record = parse_record(text)
    except InvalidRecord as error:
        assert error.value == text  # noqa: PT017 - it may as well succeed
        return
    assert parse_record(str(record)) == record
    str(record.addresses)
