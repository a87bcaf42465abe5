"""The fields of a header block, however malformed some of its lines are (RFC 5322 2.2, and its obsolete forms, 4.5).

`header` judges a message that is to be sent; this reads one that has come.
"""

from __future__ import annotations

import re
from typing import TypeAlias

__all__ = ["Fields", "parse_fields", "unfolded"]

Fields: TypeAlias = dict[bytes, list[bytes]]
"""The raw values of each field, in order, by its name in lower case."""

# A field with its folded lines and its line end. Possessive: a line that is no field costs one pass.
# Groups repeat inside atomic ones, (?>(?:...)*): Python before 3.11.5 matches (?:...)*+ wrongly (CPython gh-106052).
_field = re.compile(rb"^[ \t]*+([!-9;-~]++)[ \t]*+:([^\n]*+(?>(?:\n[ \t][^\n]*+)*))\n?", re.MULTILINE)
_field_start = re.compile(rb"[!-9;-~]++[ \t]*+:").match


def parse_fields(block: bytes) -> tuple[Fields, int]:
    """Return the fields of a header block without its blank line, and the length of what is a header in it.

    Lines that are no field are passed over if a field follows; else they are the beginning of a body that no blank line
    was put before. So is a block that begins with an mbox "From " line read, and one whose first line is indented.
    """
    fields: Fields = {}
    for name, value in _field.findall(block):
        fields.setdefault(name.lower(), []).append(value)
    if _field_start(block, block.rfind(b"\n", 0, -1) + 1):  # the last line is a field, as it nearly always is
        return fields, len(block)
    end = 0
    for match in _field.finditer(block):
        end = match.end()
    return fields, end


def unfolded(value: bytes) -> str:
    """Return a raw value in one line: each fold, with the blanks around it, is a space.

    Octets above 127 are UTF-8 (RFC 6532) if all of the value is, else they are taken for Latin-1, so that something of
    them shows and nothing fails.
    """
    if b"\n" in value:
        value = b" ".join(line.strip(b" \t\r") for line in value.split(b"\n"))
    value = value.strip(b" \t\r")
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
