r"""Payloads as JSON, in mox's spelling and order of fields, which one table for each type holds.

Written as Go's encoder writes: no spaces, keys of maps sorted, `<`, `>` and `&` as `\u003c` and the like. Lists and
maps are never null. Read as Go's decoder reads: unknown fields are passed over, for a newer sender has more of them;
missing and null ones are the zero value. Differs: names are compared exactly, and the last of a name's values counts.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from moxlib.errors import InputError
from moxlib.webhook.errors import InvalidPayload
from moxlib.webhook.gotime import read_time, write_time
from moxlib.webhook.payload import INT64, Incoming, IncomingMeta, NameAddress, Outgoing, Payload, Structure

__all__ = ["MAX_DEPTH", "decode", "decode_any", "encode", "join"]

MAX_DEPTH: Final = 100  # of parts in parts; a message that means it has five
ZERO_TIME: Final = datetime(1, 1, 1, tzinfo=UTC)  # Go's


class _Wrong(Exception):
    """A value is not what a field holds."""

    def __init__(self, reason: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


Read = Callable[[Any, int], Any]
Write = Callable[[Any], object]


@dataclass(frozen=True, slots=True)
class _Kind:
    """How a kind of value is written to JSON, and read from it at some depth of parts."""

    write: Write
    read: Read


def _same(value: Any) -> object:
    return value


def _well_formed(text: str) -> str:
    r"""Return the text with U+FFFD for each lone surrogate, as Go reads `"\ud800"`; UTF-8 has none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _read_text(value: Any, _depth: int) -> str:
    if value is None:
        return ""
    if type(value) is not str:
        raise _Wrong("is no text")
    return _well_formed(value)


def _read_flag(value: Any, _depth: int) -> bool:
    if value is None:
        return False
    if type(value) is not bool:
        raise _Wrong("is not true or false")
    return value


def _read_number(value: Any, _depth: int) -> int:
    if value is None:
        return 0
    if type(value) is not int or value not in INT64:  # True is an int to isinstance
        raise _Wrong("is no integer of 64 bits")
    return value


def _read_time(value: Any, _depth: int) -> datetime:
    if value is None:
        return ZERO_TIME
    try:
        return read_time(value)
    except (TypeError, ValueError) as error:
        raise _Wrong("is no time of RFC 3339") from error


def _read_texts(value: Any, _depth: int) -> Mapping[str, str]:
    if value is None:
        return {}
    if type(value) is not dict or not all(type(text) is str for text in value.values()):
        raise _Wrong("is no object of texts")
    return {_well_formed(key): _well_formed(text) for key, text in value.items()}


def _write_texts(value: Mapping[str, str]) -> object:
    return {key: value[key] for key in sorted(value)}


def _optional(kind: _Kind) -> _Kind:
    return _Kind(
        lambda value: None if value is None else kind.write(value),
        lambda value, depth: None if value is None else kind.read(value, depth),
    )


def _list_of(kind: _Kind) -> _Kind:
    def read(value: Any, depth: int) -> tuple[Any, ...]:
        if value is None:
            return ()
        if type(value) is not list:
            raise _Wrong("is no list")
        return tuple([kind.read(item, depth) for item in value])

    return _Kind(lambda values: [kind.write(value) for value in values], read)


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    attribute: str
    kind: _Kind


def _record(record: Callable[..., Any], fields: tuple[_Field, ...]) -> _Kind:
    def write(value: Any) -> object:
        return {field.name: field.kind.write(getattr(value, field.attribute)) for field in fields}

    def read(value: Any, depth: int) -> Any:
        if value is None:
            value = {}
        if type(value) is not dict:
            raise _Wrong("is no object")
        values = {}
        for field in fields:
            try:
                values[field.attribute] = field.kind.read(value.get(field.name), depth)
            except _Wrong as wrong:
                raise _Wrong(wrong.reason, (field.name, *wrong.path)) from None
        return record(**values)

    return _Kind(write, read)


def _read_parts(value: Any, depth: int) -> tuple[Structure, ...]:
    if depth >= MAX_DEPTH and value:
        raise _Wrong(f"is deeper than {MAX_DEPTH} parts in parts")
    parts: tuple[Structure, ...] = _list_of(_STRUCTURE).read(value, depth + 1)
    return parts


def _write_parts(value: tuple[Structure, ...]) -> object:
    return [_STRUCTURE.write(part) for part in value]


_TEXT: Final = _Kind(_same, _read_text)
_FLAG: Final = _Kind(_same, _read_flag)
_NUMBER: Final = _Kind(_same, _read_number)
_TIME: Final = _Kind(write_time, _read_time)
_TEXTS: Final = _Kind(_write_texts, _read_texts)
_NAME_ADDRESSES: Final = _list_of(
    _record(NameAddress, (_Field("Name", "name", _TEXT), _Field("Address", "address", _TEXT)))
)

_OUTGOING: Final = _record(
    Outgoing,
    (
        _Field("Version", "version", _NUMBER),
        _Field("Event", "event", _TEXT),
        _Field("DSN", "dsn", _FLAG),
        _Field("Suppressing", "suppressing", _FLAG),
        _Field("QueueMsgID", "queue_msg_id", _NUMBER),
        _Field("FromID", "from_id", _TEXT),
        _Field("MessageID", "message_id", _TEXT),
        _Field("Subject", "subject", _TEXT),
        _Field("WebhookQueued", "webhook_queued", _TIME),
        _Field("SMTPCode", "smtp_code", _NUMBER),
        _Field("SMTPEnhancedCode", "smtp_enhanced_code", _TEXT),
        _Field("Error", "error", _TEXT),
        _Field("Extra", "extra", _TEXTS),
    ),
)

_STRUCTURE: Final = _record(
    Structure,
    (
        _Field("ContentType", "content_type", _TEXT),
        _Field("ContentTypeParams", "content_type_params", _TEXTS),
        _Field("ContentID", "content_id", _TEXT),
        _Field("ContentDisposition", "content_disposition", _TEXT),
        _Field("Filename", "filename", _TEXT),
        _Field("DecodedSize", "decoded_size", _NUMBER),
        _Field("Parts", "parts", _Kind(_write_parts, _read_parts)),
    ),
)

_META: Final = _record(
    IncomingMeta,
    (
        _Field("MsgID", "msg_id", _NUMBER),
        _Field("MailFrom", "mail_from", _TEXT),
        _Field("MailFromValidated", "mail_from_validated", _FLAG),
        _Field("MsgFromValidated", "msg_from_validated", _FLAG),
        _Field("RcptTo", "rcpt_to", _TEXT),
        _Field("DKIMVerifiedDomains", "dkim_verified_domains", _list_of(_TEXT)),
        _Field("RemoteIP", "remote_ip", _TEXT),
        _Field("Received", "received", _TIME),
        _Field("MailboxName", "mailbox_name", _TEXT),
        _Field("Automated", "automated", _FLAG),
    ),
)

_INCOMING: Final = _record(
    Incoming,
    (
        _Field("Version", "version", _NUMBER),
        _Field("From", "from_", _NAME_ADDRESSES),
        _Field("To", "to", _NAME_ADDRESSES),
        _Field("CC", "cc", _NAME_ADDRESSES),
        _Field("BCC", "bcc", _NAME_ADDRESSES),
        _Field("ReplyTo", "reply_to", _NAME_ADDRESSES),
        _Field("Subject", "subject", _TEXT),
        _Field("MessageID", "message_id", _TEXT),
        _Field("InReplyTo", "in_reply_to", _TEXT),
        _Field("References", "references", _list_of(_TEXT)),
        _Field("Date", "date", _optional(_TIME)),
        _Field("Text", "text", _TEXT),
        _Field("HTML", "html", _TEXT),
        _Field("Structure", "structure", _STRUCTURE),
        _Field("Meta", "meta", _META),
    ),
)


def encode(payload: Payload) -> bytes:
    """Return a payload's JSON, in UTF-8.

    Raises:
        InputError: an `Incoming` with parts in parts deeper than `MAX_DEPTH`, which nobody could read.
    """
    if isinstance(payload, Outgoing):
        value = _OUTGOING.write(payload)
    else:
        _check_depth(payload.structure)
        value = _INCOMING.write(payload)
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character, escaped in _ESCAPED:  # in JSON, these can only be in a string
        text = text.replace(character, escaped)
    return _well_formed(text).encode()


_ESCAPED: Final = tuple((character, f"\\u{ord(character):04x}") for character in "<>&\u2028\u2029")


def _check_depth(structure: Structure) -> None:
    level, depth = structure.parts, 1
    while level:
        if depth > MAX_DEPTH:
            raise InputError(f"a Structure must not have more than {MAX_DEPTH} parts in parts")
        level = tuple([part for above in level for part in above.parts])
        depth += 1


def join(bodies: list[bytes]) -> bytes:
    """Return the body of a call that carries several payloads: a JSON array of those already encoded."""
    return b"[" + b",".join(bodies) + b"]"


def decode(body: bytes) -> Payload:
    """Return the one payload of a body.

    Raises:
        InvalidPayload: it is not JSON, or not one payload.
    """
    return _payload(_parsed(body))


def decode_any(body: bytes) -> tuple[Payload, ...]:
    """Return the payloads of a body: of an array, each in its order; else the one.

    Raises:
        InvalidPayload: it is not JSON, or what is in it are not payloads, or none.
    """
    value = _parsed(body)
    if type(value) is not list:
        return (_payload(value),)
    if not value:
        raise InvalidPayload("the body is an empty list")
    return tuple([_payload(item) for item in value])


def _parsed(body: bytes) -> object:
    try:
        return json.loads(body.decode(), parse_constant=_no_constant)
    except (ValueError, RecursionError):  # ValueError: bad UTF-8 and JSON, and a number of 5,000 digits
        raise InvalidPayload("the body is not JSON") from None  # the error would hold all of it


def _no_constant(_name: str) -> object:
    raise ValueError("NaN and Infinity are not JSON")


def _payload(value: object) -> Payload:
    if type(value) is not dict:
        raise InvalidPayload("the body is no object")
    kind = _OUTGOING if value.get("Event") else _INCOMING if "Meta" in value else None
    if kind is None:
        raise InvalidPayload("the body has neither an Event nor a Meta")
    try:
        payload: Payload = kind.read(value, 0)
    except _Wrong as wrong:
        raise InvalidPayload(f"{'.'.join(wrong.path)} {wrong.reason}") from None
    return payload
