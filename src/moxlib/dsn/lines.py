"""The lines of a delivery-status part, taken apart: groups of fields, comments, dates, encoded words (RFC 3464 2.1).

Servers write more than RFC 3464 lets them: blank lines too many, blanks in blank lines, bare newlines, dates with
weekdays, comments and named zones. All that is read. What has no one meaning is refused.
"""

import re
from datetime import UTC, datetime
from typing import Final

from moxlib.dsn.errors import InvalidDSN, InvalidReport
from moxlib.dsn.types import MAX_VALUE
from moxlib.errors import LimitExceeded
from moxlib.message import parse_date

__all__ = ["MAX_FIELDS", "MAX_LINE", "MAX_STATUS", "is_field_name", "read_date", "read_groups", "split_comments"]

MAX_STATUS: Final = 2 * 1024 * 1024  # octets of a delivery-status part: 2 KiB for each of `MAX_RECIPIENTS`
MAX_LINE: Final = 8 * 1024  # octets; RFC 5322 2.1.1 says 998, and mox reads as much as this
MAX_FIELDS: Final = 20_000  # of a whole part: twenty for each of `MAX_RECIPIENTS`

# Groups repeat inside atomic ones, (?>(?:...)*): Python before 3.11.5 matches (?:...)*+ wrongly (CPython gh-106052).
_field_name = re.compile(r"[!-9;-~]{1,200}").fullmatch
_fold = re.compile(r"\n[ ]++")
_before_newline = re.compile(r"(?<! )[ ]++\n")
_controls = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_ASCII_CONTROLS: Final = bytes(octet for octet in range(0x80) if octet < 0x20 and octet not in b"\t\r\n") + b"\x7f"  # noqa: PLR2004
_to_comment = re.compile(r'(?>(?:[^"(\\]|\\.|"(?>(?:[^"\\]|\\.)*)"|["\\])*)', re.DOTALL).match
_in_comment = re.compile(r"\\.|[()]", re.DOTALL).finditer
_escaped = re.compile(r"\\([\\()])")
_seconds = re.compile(r"[0-9]:[0-9]{2}:[0-9]{2}(?![0-9:])").search
# What most servers write, for which `parse_date` takes twice as long.
_usual_date = re.compile(
    r"(?:[A-Z][a-z]{2}, {1,2})?([0-9]{1,2}) ([A-Z][a-z]{2}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-5][0-9])"
    r" (?:GMT|\+0000)(?: \([A-Z]{1,5}\))?"
).fullmatch
_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"), 1
    )
}


def read_groups(data: bytes, *, error: type[InvalidReport] = InvalidDSN) -> list[str]:
    """Take a delivery-status part apart, or a feedback report, which has the same form (RFC 5965 3.1).

    Args:
        data: its content, transfer encoding undone. Octets that are not UTF-8 are replaced.
        error: what to raise.

    Returns:
        The texts between blank lines, in order: lines that should be fields, unfolded, without empty ones. Controls in
        them, tabs among them, are blanks.

    Raises:
        InvalidReport: there is a NUL.
        LimitExceeded: too large, too long a line, or too many lines.
    """
    if len(data) > MAX_STATUS:
        raise LimitExceeded(MAX_STATUS, "the second part")
    text = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\t", " ").strip(" \n")
    if len(data.translate(None, _ASCII_CONTROLS)) < len(data) or "\r" in text or not text.isascii():
        if "\0" in text:
            raise error("a NUL", "second part")
        text = _controls.sub(" ", text)
    if len(text) > MAX_LINE and max(map(len, text.split("\n"))) > MAX_LINE:
        raise LimitExceeded(MAX_LINE, "a line of the second part")
    if text.count("\n") > MAX_FIELDS:
        raise LimitExceeded(MAX_FIELDS, "the number of lines of the second part")
    if "\n " in text:
        if " \n" in text:  # blank lines with blanks in them become empty, too
            text = _before_newline.sub("\n", text)
        text = _fold.sub(" ", text)
        if len(text) > MAX_VALUE and max(map(len, text.split("\n"))) > MAX_VALUE:
            raise LimitExceeded(MAX_VALUE, "a field of the second part")
    groups = text.split("\n\n") if text else []
    return groups if "\n\n\n" not in text else [group for group in map(_without_newlines, groups) if group]


def _without_newlines(group: str) -> str:
    return group.strip("\n")


def is_field_name(name: str) -> bool:
    """Return whether a text is the name of a field (RFC 5322 2.2)."""
    return _field_name(name) is not None


def split_comments(value: str) -> tuple[str, str]:
    """Take the comments out of a field's value (RFC 5322 3.2.2). One that is not closed goes to the end.

    Returns:
        (text, comment): what is left, without blanks around it; and the comments' texts, without the outer parentheses
        and without backslashes before parentheses, with a blank between each two.
    """
    if "(" not in value:
        return value.strip(" "), ""
    text: list[str] = []
    comments: list[str] = []
    position = 0
    while match := _to_comment(value, position):
        text.append(match[0])
        begin = match.end() + 1
        if begin > len(value):
            break
        position = _comment_end(value, begin)
        comments.append(value[begin : position - 1] if position else value[begin:])
        if not position:
            break
    comment = " ".join(comments).strip(" ")
    return "".join(text).strip(" "), _escaped.sub(r"\1", comment) if "\\" in comment else comment


def _comment_end(value: str, begin: int) -> int:
    """Return the offset after the parenthesis that closes the comment whose text begins there; 0 if none does."""
    depth = 1
    for match in _in_comment(value, begin):
        if match[0] == "(":
            depth += 1
        elif match[0] == ")":
            depth -= 1
            if depth == 0:
                return match.end()
    return 0


def read_date(value: str) -> datetime | None:
    """Parse a date with a time to the second; RFC 5322 3.3 lets a header leave these out, and mox here does not.

    Returns:
        An aware time; None if the text is none.
    """
    usual = _usual_date(value)
    if usual is not None and (month := _MONTHS.get(usual[2])) is not None:
        day, _, year, hour, minute, second = usual.groups()
        try:
            return datetime(int(year), month, int(day), int(hour), int(minute), int(second), tzinfo=UTC)
        except ValueError:  # no such day or hour
            return None
    return parse_date(value) if _seconds(value) else None
