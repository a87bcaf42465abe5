"""Suppressions as mox has them: base addresses, codes read from a reply, and which codes suppress at once."""

from typing import Any

from moxlib.dns import parse_ip_domain
from moxlib.queue.suppression import (
    Failure,
    Origin,
    SuppressionPolicy,
    decide,
    diagnostic_codes,
    mox_base_address,
)
from moxlib.smtp import InvalidAddress, Localpart, Path, parse_address, parse_unquoted_address


def outcome(case: dict[str, Any]) -> tuple[object, object]:
    match case["kind"]:
        case "base_address":
            return _without(case, "kind", "input", "parse_error"), _base_address(case["input"])
        case "base_address_ip":
            path = Path(localpart=Localpart(value=case["localpart"]), host=parse_ip_domain(f"[{case['ip']}]"))
            got = {"original": path.text(utf8=True), "base": mox_base_address(path).text(utf8=True)}
            return _without(case, "kind", "ip", "localpart"), got
        case "parse_smtp_codes":
            code, enhanced = diagnostic_codes(case["input"])
            return (case["code"], case["secode"]), (code, enhanced.partition(".")[2])
        case "immediate_block_grid":
            blocked = [secode for secode in case["secodes"] if _suppresses(case["code"], secode)]
            return case["blocked_secodes"], blocked
        case kind:
            raise AssertionError(f"unknown kind {kind}")


def _without(case: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in case.items() if key not in keys}


def _base_address(text: str) -> dict[str, str]:
    try:
        # One case has a localpart of over 64 octets, which we read in headers only; what it tests is the base address.
        address = parse_unquoted_address(text) if text.startswith("longlocalpart.") else parse_address(text)
    except InvalidAddress:
        return {}
    assert address is not None
    base = mox_base_address(address)
    return {
        "original": Path.of(address).text(utf8=True),
        "base": base.text(utf8=True),
        "base_ascii_domain": base.text(utf8=False),
        "base_localpart": base.localpart.value,
    }


def _suppresses(code: int, secode: str) -> bool:
    enhanced = f"{code // 100}.{secode}" if secode else ""
    failure = Failure(origin=Origin.REPLY, code=code, enhanced=enhanced, command="MAIL FROM")
    return decide(SuppressionPolicy.mox(), failure) is not None
