"""The header of a message as DKIM sees it."""

import re
from collections.abc import Iterable
from typing import Final

from moxlib.dkim.canonical import Canonicalization, canonical_fields
from moxlib.errors import LimitExceeded
from moxlib.message import MAX_HEADER, InvalidMessage, inspect_header
from moxlib.message.source import Source

__all__ = ["Head", "read_head"]

MAX_LINES: Final = 20_000  # of a header: more than those of 1 MiB at 78 octets each, which is a line's usual length

# RFC 5322 2.2, and 4.5 for the blanks before the colon: what `inspect_header` accepts.
# Groups repeat inside atomic ones, (?>(?:...)*): Python before 3.11.5 matches (?:...)*+ wrongly (CPython gh-106052).
_FIELD: Final = rb"[!-9;-~]++[ \t]*+:[^\r\n\0]*+(?>(?:\r\n[ \t][^\r\n\0]*+)*)\r\n"
_block = re.compile(rb"(?>(?:" + _FIELD + rb")+)").fullmatch


class Head:
    """The header of a message, checked.

    Args:
        block: its fields, each with its line end.
        body_start: as below.

    Attributes:
        body_start: the offset of the body; None if the message ends without the blank line before it.
    """

    __slots__ = ("_block", "_fields", "body_start")

    def __init__(self, block: bytes, body_start: int | None) -> None:
        self._block = block
        self._fields: dict[Canonicalization, dict[bytes, list[bytes]]] = {}
        self.body_start: int | None = body_start

    def fields(self, form: Canonicalization) -> dict[bytes, list[bytes]]:
        """Return the fields in a canonical form, without their last line ends, by name in lower case."""
        fields = self._fields.get(form)
        if fields is None:
            fields = self._fields[form] = canonical_fields(self._block, form)
        return fields

    def selected(self, names: Iterable[bytes], form: Canonicalization) -> bytes:
        """Return the fields that a signature of these names is over, canonical, each with its line end.

        Each time that a name comes, it stands for the next field of that name from below; when there is no more, for
        nothing (RFC 6376 5.4.2).

        Args:
            names: in lower case.
            form: the canonical form.
        """
        fields = self.fields(form)
        used: dict[bytes, int] = {}
        chosen = []
        for name in names:
            of_name = fields.get(name)
            if of_name is None:
                continue
            number = used.get(name, 0) + 1
            if number <= len(of_name):
                used[name] = number
                chosen.append(of_name[-number])
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
    if not _block(block):
        inspect_header(block)  # says what is wrong, and where
        raise InvalidMessage("no header", 1, 0)
    return Head(block, None if end < 0 else end + 4)
