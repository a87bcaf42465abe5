"""X-Mox-Extra-* headers: the extra map, or that and how the message is refused."""

import base64
from typing import Any

from moxlib.message import inspect_header
from moxlib.queue.extra_headers import InvalidExtraHeader, take_extra_headers


def outcome(case: dict[str, Any]) -> tuple[object, object]:
    raw = base64.b64decode(case["raw"])
    expected = {"ok": case["ok"], "extra": case.get("extra") or {}}
    if not case["ok"]:
        expected |= {"code": case["code"], "secode": case["secode"]}
    try:
        found = take_extra_headers(raw)
    except InvalidExtraHeader as error:
        return expected, {"ok": False, "extra": {}, "code": error.code, "secode": error.enhanced.partition(".")[2]}
    facts = inspect_header(found.block + raw[found.size :])
    assert b"x-mox-extra-" not in facts.block.lower()
    return expected, {"ok": True, "extra": dict(found.extra)}
