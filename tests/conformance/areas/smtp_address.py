"""Addresses, localparts and paths: parsing and all their forms."""

from ipaddress import ip_address
from typing import Any

from moxlib.dns import IPDomain, parse_domain
from moxlib.smtp import (
    Address,
    InvalidAddress,
    Localpart,
    Path,
    parse_address,
    parse_localpart,
    parse_unquoted_address,
)


def outcome(case: dict[str, Any]) -> tuple[object, object]:
    match case["kind"]:
        case "address":
            got = _address(case)
        case "netmail":
            got = {"parse_net_mail_address": _net_mail(case["input"])}
        case "localpart":
            got = {"parse_localpart": _localpart(case["input"])}
        case "raw_localpart":
            got = {"localpart": _localpart_forms(Localpart(value=case["input"]))}
        case "path_ip":
            got = {"path": _path_forms(_path(case, IPDomain(host=ip_address(case["ip"]))))}
        case "path_domain":
            host = parse_domain(case["domain"]) if case["domain"] else None
            got = {"path": _path_forms(_path(case, IPDomain(host=host)))}
        case kind:
            raise AssertionError(f"unknown kind {kind}")
    return {key: _without_error(case[key]) for key in got}, got


def _without_error(expected: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in expected.items() if key != "error"}


def _address(case: dict[str, Any]) -> dict[str, object]:
    got: dict[str, object] = {}
    try:
        address = parse_address(case["input"])
    except InvalidAddress:
        got["parse_address"] = {"ok": False}
    else:
        got["parse_address"] = _address_forms(address)
        got["path"] = _path_forms(Path.of(address))
    try:
        unquoted = parse_unquoted_address(case["input"])
    except InvalidAddress:
        got["parse_net_mail_address"] = {"ok": False}
    else:
        # No address at all is one of empty strings in mox.
        got["parse_net_mail_address"] = {"ok": True, "pack_true": unquoted.pack(smtputf8=True) if unquoted else ""}
    return got


def _net_mail(text: str) -> dict[str, object]:
    try:
        address = parse_unquoted_address(text)
    except InvalidAddress:
        return {"ok": False}
    return {"ok": True} if address is None else _address_forms(address)


def _address_forms(address: Address) -> dict[str, object]:
    return {
        "ok": True,
        "localpart": address.localpart.value,
        "localpart_packed": str(address.localpart),
        "domain_ascii": address.domain.ascii,
        "domain_unicode": address.domain.unicode,
        "international": address.needs_smtputf8,
        "log_string": address.log_string(),
        "pack_false": address.pack(smtputf8=False),
        "pack_true": address.pack(smtputf8=True),
        "string": f"{address.localpart}@{address.domain.name}",
    }


def _localpart(text: str) -> dict[str, object]:
    try:
        localpart = parse_localpart(text)
    except InvalidAddress:
        return {"ok": False}
    forms = _localpart_forms(localpart)
    del forms["log_string"]
    return {"ok": True, "localpart": localpart.value, **forms}


def _localpart_forms(localpart: Localpart) -> dict[str, object]:
    return {
        "dsn_false": localpart.dsn(utf8=False),
        "dsn_true": localpart.dsn(utf8=True),
        "international": localpart.needs_smtputf8,
        "log_string": localpart.log_string(),
        "string": str(localpart),
    }


def _path(case: dict[str, Any], host: IPDomain) -> Path:
    return Path(localpart=Localpart(value=case["localpart"]), host=host)


def _path_forms(path: Path) -> dict[str, object]:
    return {
        "localpart": path.localpart.value,
        "is_zero": path.is_null,
        "string": path.text(utf8=False),
        "log_string": path.log_string(),
        "dsn_false": path.dsn(utf8=False),
        "dsn_true": path.dsn(utf8=True),
        "xstring_false": path.text(utf8=False),
        "xstring_true": path.text(utf8=True),
    }
