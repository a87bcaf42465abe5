"""Every payload that mox sent for the vectors is read, and written again octet for octet."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from moxlib.webhook import Incoming, Outgoing, decode, encode

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "webhook_payloads.json"
WHEN = "2026-03-04T05:06:07.25Z"


def sent() -> list[Any]:
    cases = json.loads(VECTORS.read_text("utf-8"))
    return [
        pytest.param(hook["payload"], hook["hook_is_incoming"], id=f"{case['name']}-{number}")
        for case in cases
        for number, hook in enumerate(case["hooks"] or [])
        if isinstance(hook["payload"], str)  # a long one is given by its digest
    ]


if VECTORS.is_file():  # else there is nothing to collect, which is no skipped test

    @pytest.mark.parametrize(("text", "incoming"), sent())
    def test_a_payload_of_mox_is_read_and_written_again(text: str, incoming: bool) -> None:
        body = text.replace("WEBHOOKQUEUED", WHEN).replace("RECEIVED", WHEN).encode()
        payload = decode(body)
        assert isinstance(payload, Incoming if incoming else Outgoing)
        written = encode(payload)
        body = body.replace(b'"Extra":null', b'"Extra":{}')  # ours: maps and lists are never null
        body = re.sub(rb'"(From|To|CC|BCC|ReplyTo|References|Parts)":null', rb'"\1":[]', body)
        assert json.loads(written) == json.loads(body)
        assert written == body
