"""`X-Mox-Extra-<Key>` fields of a message submitted over SMTP, which are data about it and not part of it. Pure.

They become the submission's extra map, which comes back with everything that is told of the message, and are taken out
of the header. This runs before the header is checked: mox, and so who wrote for it, has names here that no header may
have, such as `X-Mox-Extra-☺`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Self

from moxlib.errors import InputError, LimitExceeded
from moxlib.message import MAX_HEADER

__all__ = ["DuplicateExtraKey", "ExtraHeaders", "InvalidExtraHeader", "canonical_key", "take_extra_headers"]

MAX_EXTRA: Final = 64 * 1024  # characters of keys and values together: what `Queue.submit` takes as extra
MAX_KEYS: Final = 1000  # each is an object in every event and webhook of the message
MAX_SHOWN: Final = 80  # characters of a refused key in an error's text

_PREFIX: Final = b"x-mox-extra-"
# One field, with its folded lines (RFC 5322 2.2.3): the key, as far as the colon, the value, and how it ends.
_field = re.compile(
    rb"(?:^|(?<=\r\n))x-mox-extra-([^:\r\n]*+)(:?)([^\r\n]*+(?>(?:\r\n[ \t][^\r\n]*+)*))(\r\n|\r|\n|$)",
    re.IGNORECASE,
).finditer
_token = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+").fullmatch  # RFC 9110 5.6.2, as Go's header names
_bad_in_key = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]").search
_bad_in_value = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]").search


class InvalidExtraHeader(InputError):
    """An `X-Mox-Extra-` field that cannot be data: refuse the message.

    Attributes:
        reason: what is wrong, a short phrase.
        key: the key as far as it can be told, whole and unescaped.
        code: the reply with which an SMTP submission is refused.
        enhanced: the enhanced status code of that reply.
    """

    code = 554
    enhanced = "5.6.0"  # RFC 3463: other or undefined media error

    def __init__(self, reason: str, key: str) -> None:
        super().__init__(f"X-Mox-Extra- header with the key {key[:MAX_SHOWN]!a}: {reason}")
        self.reason = reason
        self.key = key

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        """Pickle by fields, not by text."""
        return type(self), (self.reason, self.key)


class DuplicateExtraKey(InvalidExtraHeader):
    """Two fields have the same key, in its canonical form."""

    def __init__(self, reason: str = "there is another with this key", key: str = "") -> None:
        super().__init__(reason, key)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraHeaders:
    """What `take_extra_headers` found.

    Attributes:
        extra: values by canonical key, in the order of the fields.
        block: the header block without these fields, with its blank line.
        size: octets of the header block as it was, with its blank line: the offset of the body.
    """

    extra: Mapping[str, str]
    block: bytes = field(repr=False)
    size: int


def take_extra_headers(head: bytes) -> ExtraHeaders:
    """Take the `X-Mox-Extra-` fields out of the header block at the beginning of a message.

    Only these fields are looked at; `moxlib.message.inspect_header` checks the block that is returned. Values are
    unfolded, with the blanks around them taken off, and not decoded: encoded words stay as they are.

    Args:
        head: the message, or its first octets: the whole header block at least.

    Raises:
        DuplicateExtraKey: two fields with one key.
        InvalidExtraHeader: no key, or one with blanks or controls; no colon; a value that is not UTF-8 or has controls
            but tabs; a line that does not end in CRLF.
        LimitExceeded: over 1,000 fields, or 64 Ki characters of keys and values, or 1 MiB of header.
    """
    end = 0 if head.startswith(b"\r\n") else head.find(b"\r\n\r\n") + 2
    size = len(head) if end == 1 else end + 2
    if size > MAX_HEADER:
        raise LimitExceeded(MAX_HEADER, "the header")
    if _PREFIX not in head[:size].lower():  # as in nearly all messages, which then cost a microsecond
        return ExtraHeaders(extra=MappingProxyType({}), block=head[:size], size=size)
    extra: dict[str, str] = {}
    kept: list[bytes] = []
    position = total = 0
    for match in _field(head, 0, size if end == 1 else end):
        key, value = _key(match), _value(match)
        if key in extra:
            raise DuplicateExtraKey(key=key)
        extra[key] = value
        total += len(key) + len(value)
        if len(extra) > MAX_KEYS:
            raise LimitExceeded(MAX_KEYS, "the number of X-Mox-Extra- headers")
        if total > MAX_EXTRA:
            raise LimitExceeded(MAX_EXTRA, "what X-Mox-Extra- headers hold")
        kept.append(head[position : match.start()])
        position = match.end()
    kept.append(head[position:size])
    return ExtraHeaders(extra=MappingProxyType(extra), block=b"".join(kept), size=size)


def canonical_key(key: str) -> str:
    """Return a key in the form in which mox has it: `X-Canonical-Z` for `x-cANONICAL-z`.

    A key with characters that HTTP does not have in header names stays as it is.
    """
    if not _token(key):
        return key
    return "-".join([part[:1].upper() + part[1:].lower() for part in key.split("-")])


def _key(match: re.Match[bytes]) -> str:
    # Blanks before the colon are those of RFC 5322 4.5.8. Differs: mox has them in the key.
    name = match[1].rstrip(b" \t")
    try:
        key = name.decode()
    except UnicodeDecodeError:
        raise InvalidExtraHeader("a key that is not UTF-8", name.decode("utf-8", "replace")) from None
    if not match[2]:
        raise InvalidExtraHeader("no colon", key)
    if not key:
        raise InvalidExtraHeader("no key", key)
    if _bad_in_key(key):
        raise InvalidExtraHeader("a blank or control character in the key", key)
    return canonical_key(key)


def _value(match: re.Match[bytes]) -> str:
    key = match[1].decode("utf-8", "replace")
    if match[4] in (b"\r", b"\n"):
        raise InvalidExtraHeader("a line that does not end in CRLF", key)
    try:
        lines = match[3].decode().split("\r\n")
    except UnicodeDecodeError:
        raise InvalidExtraHeader("a value that is not UTF-8", key) from None
    value = " ".join([line.strip(" \t") for line in lines]).strip(" ")
    if _bad_in_value(value):
        raise InvalidExtraHeader("a control character in the value", key)
    return value
