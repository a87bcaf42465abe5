"""MTA-STS: records, policies and which hosts they match.

A policy's text is published in ASCII here: RFC 8461 3.2 wants A-labels, and a text with others would be refused.
"""

from typing import Any

from moxlib.dns import parse_domain
from moxlib.mtasts import InvalidPolicy, InvalidRecord, Mode, MXPattern, Policy, parse_policy, parse_record


def outcome(case: dict[str, Any]) -> tuple[object, object]:
    match case["kind"]:
        case "record":
            return _without_error(case["result"]), _record(case["input"])
        case "policy":
            return _without_error(case["result"]), _policy(case["input"], case["result"].get("matches", {}))
        case "match":
            policy = Policy(mode=Mode.ENFORCE, max_age_seconds=1, mx=tuple(map(_pattern, case["mx"])))
            return case["matches"], policy.matches(parse_domain(case["host"]))
        case kind:
            raise AssertionError(f"unknown kind {kind}")


def _without_error(expected: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in expected.items() if key != "error"}


def _record(text: str) -> dict[str, object]:
    try:
        record = parse_record(text)
    except InvalidRecord as error:
        return {"ok": False, "is_mtasts": error.meant}
    return {
        "ok": True,
        "is_mtasts": True,
        "id": record.id,
        "extensions": record.extensions,
        "string": str(record),
        "version": str(record).partition(";")[0].removeprefix("v="),
    }


def _policy(text: str, hosts: dict[str, bool]) -> dict[str, object]:
    try:
        policy = parse_policy(text)
    except InvalidPolicy:
        return {"ok": False}
    return {
        "ok": True,
        "extensions": policy.extensions,
        "matches": {host: policy.matches(parse_domain(host)) for host in hosts},
        "max_age": policy.max_age_seconds,
        "mode": policy.mode.value,
        "mx": [_pattern_forms(pattern) for pattern in policy.mx],
        "string": str(policy),
        "version": str(policy).partition("\n")[0].removeprefix("version: "),
    }


def _pattern_forms(pattern: MXPattern) -> dict[str, object]:
    return {
        "ascii": pattern.domain.ascii,
        "unicode": pattern.domain.unicode,
        "wildcard": pattern.wildcard,
        "log_string": pattern.log_string(),
    }


def _pattern(text: str) -> MXPattern:
    return MXPattern(domain=parse_domain(text.removeprefix("*.")), wildcard=text.startswith("*."))
