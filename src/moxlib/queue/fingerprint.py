"""What makes a submission the same as an earlier one under the same idempotency key. Pure.

A program that tries again builds its message anew. So what a library puts in by itself, different each time, does not
count: Date, Message-ID and the boundaries of a message object, and when the first attempt is to be made. Of a message
given as bytes or as a file, every byte counts.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from email.message import Message as EmailMessage

__all__ = ["fingerprint", "message_digest"]

FLEETING = frozenset({"date", "message-id"})  # of the message itself; those of a message attached to it count


def fingerprint(content: bytes, *, sender: str, recipients: Sequence[str], options: Sequence[object]) -> bytes:
    """Return the SHA-256 of what was submitted.

    Args:
        content: the digest of the message's content.
        sender: MAIL FROM.
        recipients: RCPT TO, in order.
        options: what else was asked for, as JSON can write it.
    """
    text = json.dumps([content.hex(), sender, list(recipients), list(options)], separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()


def message_digest(message: "EmailMessage[Any, Any]") -> bytes:
    """Return the SHA-256 of a message object's headers, structure and payloads."""
    digest = hashlib.sha256()
    for piece in _pieces(message, FLEETING):
        digest.update(b"%d:" % len(piece))  # so that no two sequences of pieces look the same
        digest.update(piece)
    return digest.digest()


def _pieces(part: "EmailMessage[Any, Any]", without: frozenset[str]) -> Iterator[bytes]:
    # As they are stored: items() has a replacement character for each byte that is not ASCII.
    headers = [(name.lower(), value) for name, value in part.raw_items() if name.lower() not in without]
    yield b"%d headers" % len(headers)
    for name, value in headers:
        yield _bytes(name)
        yield _bytes(_content_type(part) if name == "content-type" else str(value))
    payload: Any = part.get_payload()
    if isinstance(payload, list):
        yield b"%d parts" % len(payload)
        for inner in payload:
            yield from _pieces(inner, frozenset())
        yield _bytes(repr((part.preamble, part.epilogue)))
    elif payload is None:
        yield b"nothing"
    else:
        yield b"text"
        yield payload if isinstance(payload, bytes) else _bytes(str(payload))
        # And its bytes: the text has a replacement character for each that its charset does not know.
        data: object = part.get_payload(decode=True)
        yield data if isinstance(data, bytes) else b""


def _content_type(part: "EmailMessage[Any, Any]") -> str:
    params: Any = part.get_params(failobj=[])
    return repr([(name, value) for name, value in params if name.lower() != "boundary"])


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
