"""Domain names: `parse_domain` and `parse_domain_lax`, and the forms of what they make."""

from typing import Any

from moxlib.dns import Domain, InvalidDomain, parse_domain, parse_domain_lax


def outcome(case: dict[str, Any]) -> tuple[object, object]:
    expected = {
        kind: {key: value for key, value in case[kind].items() if key != "error"} for kind in ("parse", "parse_lax")
    }
    return expected, {"parse": _parsed(case["input"]), "parse_lax": _parsed_lax(case["input"])}


def _parsed(text: str) -> dict[str, object]:
    try:
        domain = parse_domain(text)
    except InvalidDomain:
        return {"ok": False}
    return {
        **_forms(domain),
        "ascii_extra_true": domain.ascii_extra(utf8=True),
        "name": domain.name,
        "string": domain.log_string(),
        "xname_false": domain.xname(utf8=False),
        "xname_true": domain.xname(utf8=True),
    }


def _parsed_lax(text: str) -> dict[str, object]:
    try:
        return _forms(parse_domain_lax(text))
    except InvalidDomain:
        return {"ok": False}


def _forms(domain: Domain) -> dict[str, object]:
    return {"ok": True, "ascii": domain.ascii, "unicode": domain.unicode}
