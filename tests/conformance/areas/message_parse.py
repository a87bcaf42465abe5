"""Reading messages: envelope, references, structure and readable text.

Where mox reads what we read, all values are compared. Where it gives a message up, and calls it one opaque lump, we
read on: of those that we took apart, only the envelope is compared; tests/unit/message says what we read of them.
"""

import base64
import gzip
import re
from typing import Any

from moxlib.message import HeaderAddress, Part, Structure, is_dsn, read_message, readable, structure

_ADDRESS_FIELDS = {"From": "from_", "Sender": "sender", "ReplyTo": "reply_to", "To": "to", "CC": "cc", "BCC": "bcc"}
_day_without_blank = re.compile(r"[A-Za-z]{3},[0-9]").match


def outcome(case: dict[str, Any]) -> tuple[object, object]:
    raw = base64.b64decode(case["raw"]) if "raw" in case else gzip.decompress(base64.b64decode(case["raw_gzip"]))
    part = read_message(raw)
    expected = case["lenient"]
    compared: dict[str, Any] = {}
    got: dict[str, Any] = {}
    if expected["envelope"] is not None:
        compared["envelope"], got["envelope"] = _without_departures(expected["envelope"], part), _envelope(part)
        for key in got["envelope"].keys() - compared["envelope"].keys():
            del got["envelope"][key]
    if expected["ok"] or structure(part).content_type == expected["structure"]["ContentType"]:
        found = readable(part)
        compared |= {
            "structure": _known_type(expected["structure"]),
            "text": _shown(expected["webhook_text"]),
            "html": _shown(expected["webhook_html"]),
            "found": expected["readable"]["found"],
            "references": expected["webhook_references"],
            "is_dsn": expected["is_dsn"],
        }
        got |= {
            "structure": _structure(structure(part)),
            "text": found.text,
            "html": found.html,
            "found": found.found,
            "references": [reference.lower() for reference in part.references],  # mox's webhooks have them so
            "is_dsn": is_dsn(part),
        }
    return compared, got


def _without_departures(envelope: dict[str, Any], part: Part) -> dict[str, Any]:
    """Leave out what mox does not read though RFC 5322 allows it: a comment before an address, and `Mon,1 Jan`."""
    names = {"ReplyTo": "reply-to"}
    return {
        key: value
        for key, value in envelope.items()
        if not (key in _ADDRESS_FIELDS and not value and part.get(names.get(key, key)).startswith("("))
        and not (key == "Date" and value is None and _day_without_blank(part.get("date")))
    }


def _envelope(part: Part) -> dict[str, Any]:
    envelope = part.envelope
    addresses = {key: [_address(one) for one in getattr(envelope, name)] for key, name in _ADDRESS_FIELDS.items()}
    date = envelope.date.isoformat().replace("+00:00", "Z") if envelope.date else None
    return addresses | {
        "Date": date,
        "InReplyTo": envelope.in_reply_to,
        "MessageID": envelope.message_id,
        "Subject": envelope.subject,
    }


def _address(address: HeaderAddress) -> dict[str, str]:
    return {"Name": address.name, "User": address.user, "Host": address.host}


def _known_type(expected: dict[str, Any]) -> dict[str, Any]:
    """Say text/plain where mox says "/" for a missing content type."""
    content_type = "text/plain" if expected["ContentType"] == "/" else expected["ContentType"]
    return {**expected, "ContentType": content_type, "Parts": [_known_type(part) for part in expected["Parts"]]}


def _structure(structure: Structure) -> dict[str, Any]:
    return {
        "ContentType": structure.content_type,
        "ContentTypeParams": dict(structure.parameters),
        "ContentID": structure.content_id,
        "ContentDisposition": structure.disposition,
        "Filename": structure.filename,
        "DecodedSize": structure.decoded_size,
        "Parts": [_structure(part) for part in structure.parts],
    }


def _shown(text: object) -> object:
    """Replace octets that are no UTF-8, as mox's JSON does."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if isinstance(text, str) else text
