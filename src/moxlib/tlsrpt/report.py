"""The JSON report of a day (RFC 8460 4.4), written and read."""

import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

from moxlib.dns import Domain
from moxlib.errors import InputError
from moxlib.tlsrpt.errors import InvalidReport
from moxlib.tlsrpt.results import FailureDetails, Policy, PolicyType, Result, ResultType, merge

__all__ = ["Report", "parse_report", "render_report", "report_filename", "report_subject"]

# Bytes of JSON, also as it comes out of gzip. A report is made by a stranger, and takes up to 25 times that in memory;
# real ones have some kilobytes. mox takes 20 MiB.
MAX_REPORT: Final = 5 * 1024 * 1024
MAX_ENTRIES: Final = 10_000  # policies, and details in all: one report is about one domain and its hosts
MAX_COUNT: Final = 2**63 - 1  # sessions: what a database's integer holds
MAX_SHOWN: Final = 80  # characters of somebody else's report in an error's text

_unique_id = re.compile(r"[A-Za-z0-9]+").fullmatch  # RFC 8460 5.1
_report_id = re.compile(r"[!-;=?-~]+").fullmatch  # printable, and no "<" or ">" around which the subject has them
_lone_surrogates = re.compile(r"[\ud800-\udfff]")

E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report.

    Attributes:
        organization: who made it.
        contact: their address for questions.
        report_id: what the reporter calls it, unique for them.
        start: the beginning of the time it is about, in UTC.
        end: its last second.
        results: what it says.
    """

    organization: str
    contact: str
    report_id: str
    start: datetime
    end: datetime
    results: tuple[Result, ...] = ()


def render_report(
    results: Iterable[Result], *, organization: str, contact: str, report_id: str, start: datetime, end: datetime
) -> bytes:
    """Return a report as JSON in ASCII: media type `application/tlsrpt+json`, or `application/tlsrpt+gzip` in gzip.

    The results are merged first. Fields of failures that are empty are left out, and so are lists.

    Args:
        results: of all sessions of that time under policies of one domain (RFC 8460 3 says which).
        organization: the name of who reports.
        contact: an address for questions.
        report_id: unique among the reports of this reporter, such as "2026-07-14.example.com".
        start: the beginning of the day, aware; in the report it is in UTC, to the second.
        end: the last second of the day (RFC 8460 4.1: reports are of a UTC day).

    Raises:
        InputError: a time has no time zone, or the end is before the start.
    """
    _check_range(start, end)
    report = {
        "organization-name": organization,
        "date-range": {"start-datetime": _time_text(start), "end-datetime": _time_text(end)},
        "contact-info": contact,
        "report-id": report_id,
        "policies": [_result_object(result) for result in merge(results)],
    }
    return json.dumps(report, indent=2).encode("ascii")


def _check_range(start: datetime, end: datetime) -> None:
    if start.tzinfo is None or end.tzinfo is None:
        raise InputError("the times of a report must be aware datetimes (with a time zone)")
    if end < start:
        raise InputError(f"a report cannot end, at {end}, before it begins, at {start}")


def _time_text(time: datetime) -> str:
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def _result_object(result: Result) -> dict[str, object]:
    policy = {
        "policy-type": str(result.policy.type),
        "policy-string": list(result.policy.strings),
        "policy-domain": result.policy.domain,
        "mx-host": list(result.policy.mx_hosts),  # a list, says erratum 6241
    }
    whole: dict[str, object] = {
        "policy": _without_empty(policy),
        "summary": {
            "total-successful-session-count": result.successful,
            "total-failure-session-count": result.failed,
        },
        "failure-details": [_details_object(details) for details in result.details],
    }
    return _without_empty(whole)


def _details_object(details: FailureDetails) -> dict[str, object]:
    count = {"failed-session-count": details.failed_session_count}
    texts = {key: getattr(details, attribute) for key, attribute in _TEXTS.items()}
    return {"result-type": str(details.result_type), **_without_empty(texts), **count}


def _without_empty(fields: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in fields.items() if value not in ("", [])}


_TEXTS: Final = {
    "sending-mta-ip": "sending_mta_ip",
    "receiving-mx-hostname": "receiving_mx_hostname",
    "receiving-mx-helo": "receiving_mx_helo",
    "receiving-ip": "receiving_ip",
    "additional-information": "additional_information",
    "failure-reason-code": "failure_reason_code",
}


def parse_report(data: bytes) -> Report:
    """Read a report, as JSON or that in gzip, of at most 5 MiB.

    It is tolerant, as what people send wants it: absent or null fields are empty, unknown ones are passed over, a list
    of texts may be a single text (as RFC 8460 had it before its errata), and a time without a zone is in UTC. Types of
    policies and results that nobody registered stay as they are. Lone surrogates become U+FFFD.

    Raises:
        InvalidReport: too large, too many entries, no JSON, a field of another type than it has to be, no time range.
    """
    plain = _plain(data)
    try:
        found = json.loads(plain)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise InvalidReport("it is no JSON") from error
    report = _object(found, "the report")
    period = _object(report.get("date-range"), "date-range")
    start, end = _time(period, "start-datetime"), _time(period, "end-datetime")
    return Report(
        organization=_text(report, "organization-name"),
        contact=_text(report, "contact-info"),
        report_id=_text(report, "report-id"),
        start=start,
        end=end,
        results=_results(_list(report, "policies")),
    )


def _plain(data: bytes) -> bytes:
    if data.startswith(b"\x1f\x8b"):
        decompressor = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            data = decompressor.decompress(data, MAX_REPORT + 1)
        except zlib.error as error:
            raise InvalidReport("its gzip is damaged") from error
        if not decompressor.eof and len(data) <= MAX_REPORT:
            raise InvalidReport("its gzip is cut short")
    if len(data) > MAX_REPORT:
        raise InvalidReport(f"longer than {MAX_REPORT} bytes")
    return data


def _results(found: list[Any]) -> tuple[Result, ...]:
    results = [_object(one, "a policy") for one in found]
    if sum(len(_list(result, "failure-details")) for result in results) > MAX_ENTRIES:
        raise InvalidReport(f"failure-details have more than {MAX_ENTRIES} entries")
    return tuple(map(_result, results))


def _result(result: dict[str, Any]) -> Result:
    policy = _object(result.get("policy"), "policy")
    summary = _object(result.get("summary"), "summary")
    return Result(
        policy=Policy(
            type=_known(PolicyType, _text(policy, "policy-type")),
            domain=_text(policy, "policy-domain"),
            strings=_texts(policy, "policy-string"),
            mx_hosts=_texts(policy, "mx-host"),
        ),
        successful=_count(summary, "total-successful-session-count"),
        failed=_count(summary, "total-failure-session-count"),
        details=tuple(map(_details, _list(result, "failure-details"))),
    )


def _details(found: Any) -> FailureDetails:
    details = _object(found, "failure-details")
    return FailureDetails(
        result_type=_known(ResultType, _text(details, "result-type")),
        failed_session_count=_count(details, "failed-session-count"),
        **{attribute: _text(details, key) for key, attribute in _TEXTS.items()},
    )


def _known(types: type[E], text: str) -> E | str:
    return types(text) if text in types.__members__.values() else text


def _object(found: Any, what: str) -> dict[str, Any]:
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InvalidReport(f"{what} is no object")
    return found


def _list(fields: dict[str, Any], key: str) -> list[Any]:
    found = fields.get(key)
    if found is None:
        return []
    if not isinstance(found, list):
        raise InvalidReport(f"{key} is no list")
    if len(found) > MAX_ENTRIES:
        raise InvalidReport(f"{key} has more than {MAX_ENTRIES} entries")
    return found


def _text(fields: dict[str, Any], key: str) -> str:
    found = fields.get(key)
    if found is None:
        return ""
    if not isinstance(found, str):
        raise InvalidReport(f"{key} is no text")
    return _lone_surrogates.sub("\ufffd", found)


def _texts(fields: dict[str, Any], key: str) -> tuple[str, ...]:
    found = fields.get(key)
    listed = {key: [found]} if isinstance(found, str) else fields
    return tuple(_text({key: one}, key) for one in _list(listed, key))


def _count(fields: dict[str, Any], key: str) -> int:
    found = fields.get(key)
    if found is None:
        return 0
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= MAX_COUNT:
        raise InvalidReport(f"{key} is no count")
    return found


def _time(fields: dict[str, Any], key: str) -> datetime:
    text = _text(fields, key)
    try:
        time = datetime.fromisoformat(text)
        # RFC 3339 wants a zone; Microsoft's reports have been without.
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidReport(f"{key} is no time: {text[:MAX_SHOWN]!a}") from error


def report_filename(
    *, submitter: Domain, domain: Domain, start: datetime, end: datetime, unique_id: str = "", gzip: bool = True
) -> str:
    """Return the name that a report has as an attachment (RFC 8460 5.1).

    Args:
        submitter: the domain of who reports.
        domain: the one that the report is about.
        start: as in the report.
        end: as in the report.
        unique_id: letters and digits, where several reports would have the same name.
        gzip: the report is compressed, as it should be.

    Raises:
        InputError: an unusable unique id or range of time.
    """
    _check_range(start, end)
    if unique_id and not _unique_id(unique_id):
        raise InputError(f"letters and digits only in a unique id, not {unique_id[:MAX_SHOWN]!a}")
    parts = [submitter.ascii, domain.ascii, str(int(start.timestamp())), str(int(end.timestamp()))]
    return "!".join([*parts, *([unique_id] if unique_id else [])]) + (".json.gz" if gzip else ".json")


def report_subject(*, submitter: Domain, domain: Domain, report_id: str) -> str:
    """Return the subject of the message that brings a report (RFC 8460 5.3).

    Raises:
        InputError: the report id is empty, or has spaces, controls, "<" or ">", or characters beyond ASCII.
    """
    if not _report_id(report_id):
        raise InputError(f"unusable in a subject: the report id {report_id[:MAX_SHOWN]!a}")
    return f"Report Domain: {domain.ascii} Submitter: {submitter.ascii} Report-ID: <{report_id}>"
