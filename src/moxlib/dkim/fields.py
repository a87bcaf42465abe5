"""The header of a message as DKIM sees it: its fields in order, each octet of them kept."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from moxlib.dkim.canonical import Canonicalization, canonical_field
from moxlib.errors import LimitExceeded
from moxlib.message import MAX_HEADER, InvalidMessage, inspect_header
from moxlib.message.source import Source

__all__ = ["FieldText", "Head", "read_head"]

MAX_LINES: Final = 20_000  # of a header: more than those of 1 MiB at 78 octets each, which is a line's usual length

FieldText = tuple[bytes, bytes]
"""A field: its name, and all that follows it without the last line end."""

# RFC 5322 2.2, and 4.5 for the blanks before the colon. What `inspect_header` accepts, with a group around the name.
# Groups repeat inside atomic ones, (?>(?:...)*): Python before 3.11.5 matches (?:...)*+ wrongly (CPython gh-106052).
_REST = rb"[ \t]*+:[^\r\n\0]*+(?>(?:\r\n[ \t][^\r\n\0]*+)*)"
_block = re.compile(rb"(?>(?:[!-9;-~]++" + _REST + rb"\r\n)*)").fullmatch
_fields = re.compile(rb"([!-9;-~]++)(" + _REST + rb")\r\n").findall


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The header of a message.

    Attributes:
        fields: all of them, in order.
        body_start: the offset of the body; None if the message ends without the blank line before it.
        by_name: those of each name, in lower case.
    """

    fields: Sequence[FieldText]
    body_start: int | None
    by_name: dict[bytes, list[FieldText]] = field(repr=False)

    def selected(self, names: Sequence[bytes], form: Canonicalization) -> bytes:
        """Return the fields that a signature of these names is over, canonical, each with its line end.

        Each time that a name comes, it stands for the next field of that name from below; when there is no more, for
        nothing (RFC 6376 5.4.2).

        Args:
            names: in lower case.
            form: the canonical form.
        """
        used: dict[bytes, int] = {}
        chosen = []
        for name in names:
            of_name = self.by_name.get(name)
            if of_name is None:
                continue
            number = used.get(name, 0)
            if number < len(of_name):
                used[name] = number + 1
                chosen.append(canonical_field(*of_name[-1 - number], form))
        chosen.append(b"")
        return b"\r\n".join(chosen)


def read_head(source: Source) -> Head:
    """Read the header at the beginning of a message.

    Raises:
        InvalidMessage: a line that is no header field, a bare CR or LF or a NUL, an unended last line, or no header.
        LimitExceeded: more than 1 MiB, or more than 20,000 lines.
        OSError: or whatever the file raises.
    """
    end = source.find(b"\r\n\r\n", 0, MAX_HEADER + 4)
    if end < 0 and source.size > MAX_HEADER:
        raise LimitExceeded(MAX_HEADER, "the header of the message")
    block = source.read(0, source.size if end < 0 else end + 2)
    if block.count(b"\n") > MAX_LINES:
        raise LimitExceeded(MAX_LINES, "lines of header")
    if not block or not _block(block):
        inspect_header(block)  # says what is wrong, and where
        raise InvalidMessage("no header", 1, 0)
    fields = _fields(block)
    by_name: dict[bytes, list[FieldText]] = {}
    for each in fields:
        by_name.setdefault(each[0].lower(), []).append(each)
    return Head(fields=fields, body_start=None if end < 0 else end + 4, by_name=by_name)
