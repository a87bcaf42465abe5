"""What two composed messages are compared by: header fields in order, decoded and unfolded; parts; decoded bodies.

`content(raw)` is equal for messages that say the same. Not compared is how a thing is written: folds, which encoded
words, transfer encodings; and what stands for something random.
"""

import re
from email.utils import parsedate_to_datetime
from typing import Any

from moxlib.message import Part, decode_words, read_message
from moxlib.message.addresses import split_mailboxes

ADDRESSES = ("from", "sender", "reply-to", "to", "cc", "bcc")
LEFT_OUT = ("received", "dkim-signature", "content-type", "content-transfer-encoding")
MAX_BODY = 1_000_000


def content(raw: bytes) -> dict[str, Any]:
    """Return what a message says."""
    message = read_message(raw)
    return {"fields": list(fields(message)), "parts": part_content(message)}


def fields(message: Part) -> list[tuple[str, object]]:
    """Return the fields of a header in order, without those of a hop and those that `part_content` has."""
    names = [name.decode().lower() for name in re.findall(rb"^([!-9;-~]+):", message.header, re.MULTILINE)]
    counted: dict[str, int] = {}
    found: list[tuple[str, object]] = []
    for name in names:
        index = counted[name] = counted.get(name, -1) + 1
        if name not in LEFT_OUT:
            found.append((name, value_of(name, message.values(name)[index])))
    return found


def value_of(name: str, value: str) -> object:
    if name in ADDRESSES:
        return [(display, _spec(spec)) for display, spec in split_mailboxes(value)]
    if name == "subject":
        # mox encodes each word by itself, and so loses the blanks between them (RFC 2047 6.2).
        return re.sub(r"\s+", "", decode_words(value))
    if name == "date":
        return "DATE" if value == "DATE" else parsedate_to_datetime(value)
    if name == "message-id":
        return re.sub(r"<[A-Za-z0-9_-]{22}@", "<MSGID@", value)
    if name == "user-agent":
        return re.sub(r"^(mox|moxlib)/.*", "mox/VERSION", value)
    return decode_words(value)


def _spec(spec: str) -> str:
    """Return an address; mox quotes a localpart that is quoted already once more, which would be another's address."""
    match = re.fullmatch(r'"(\\".*\\")"(@.*)', spec)
    return match[1].replace('\\"', '"') + match[2] if match else spec


def part_content(part: Part) -> dict[str, Any]:
    """Return what a part is, and what is in it."""
    return {
        "type": part.media_type,
        "parameters": {name: value for name, value in part.parameters.items() if name != "boundary"},
        "disposition": part.disposition,
        "filename": part.disposition_parameters.get("filename", ""),
        "content-id": part.content_id,
        "body": None if part.is_multipart else part.body(MAX_BODY),
        "parts": [part_content(child) for child in part.parts],
    }
