"""DKIM: the header fields that sign a message, byte for byte, and that they verify.

A message that mox refuses to sign, we refuse too.
"""

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from typing import Any

from moxlib.dkim import Canonicalization, Selector, record_for, sign, verify
from moxlib.dns import parse_domain
from moxlib.message import InvalidMessage
from moxlib.smtp import Localpart
from moxlib.testing import MockResolver

KEYS: dict[str, Any] = {}  # the file's first case, which has the keys and the time that the others are signed with


def outcome(case: dict[str, Any]) -> tuple[object, object]:
    match case["kind"]:
        case "keys":
            KEYS.update(case)
            return case["dns_txt"], {
                "edsel._domainkey": str(selector_of("edsel", "ed25519").record()),
                "rsasel._domainkey": str(selector_of("rsasel", "rsa").record()),
            }
        case "sign":
            expected = {"header": case.get("dkim_signature_header"), "status": case.get("verify_status")}
            return expected, signed(case)
        case kind:
            raise AssertionError(f"unknown kind {kind}")


def signed(case: dict[str, Any]) -> dict[str, object]:
    now = datetime.fromtimestamp(KEYS["time_unix"], UTC)
    message = base64.b64decode(case["message"])
    selector = selector_of(
        case["selector"],
        case["key"],
        domain=parse_domain(case["domain"]),
        header_form=form(case["header_relaxed"]),
        body_form=form(case["body_relaxed"]),
        headers=tuple(case["headers"]),
        headers_if_present=(),
        oversign=case["seal_headers"],
        expires_after=timedelta(seconds=case["expiration_seconds"]) if case["expiration_seconds"] else None,
    )
    try:
        header = sign(message, [selector], localpart=Localpart(value=case["localpart"]), now=now)
    except InvalidMessage:
        return {"header": None, "status": None}
    resolver = MockResolver(txt={selector.record_name: [str(record_for(selector.key))]})
    [result] = asyncio.run(verify(header + message, resolver=resolver, now=now))
    return {"header": header.decode(), "status": str(result.status)}


def selector_of(name: str, key: str, **options: Any) -> Selector:
    return Selector(
        name=name,
        private_key=KEYS[f"{key}_private_pem"],
        **{"domain": parse_domain("example.org"), **options},
    )


def form(relaxed: bool) -> Canonicalization:
    return Canonicalization.RELAXED if relaxed else Canonicalization.SIMPLE
