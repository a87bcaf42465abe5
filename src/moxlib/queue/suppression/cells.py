"""The cells of a CSV file of suppressions: texts to values, and against spreadsheets that run them. Pure."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Final, TypeVar

from moxlib.errors import InputError
from moxlib.smtp import InvalidAddress, Path, parse_path

__all__ = ["any_time", "armed", "defused", "integer", "is_address", "member", "one_line", "path_of", "time_of"]

E = TypeVar("E", bound=StrEnum)

MAX_TIME: Final = 60  # characters; RFC 5322 3.3 with a zone's name in a comment has some forty
MAX_SHOWN: Final = 80  # characters of a cell in an error's text

# What a spreadsheet takes for the begin of a formula, with the full-width forms and the blanks that it overlooks.
_FORMULA: Final = r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]"
_formula = re.compile(rf"'*{_FORMULA}").match
_defused = re.compile(rf"'+{_FORMULA}").match
_number = re.compile(r"[0-9]{1,18}").fullmatch  # what a database keeps
_seconds = re.compile(r"[0-9]{9,11}(?:\.[0-9]{1,9})?").fullmatch
_milliseconds = re.compile(r"[0-9]{12,14}").fullmatch


def defused(cell: str) -> str:
    """Return a cell as no spreadsheet takes it for a formula: with an apostrophe, where it needs one."""
    return f"'{cell}" if _formula(cell) else cell


def armed(cell: str) -> str:
    """Return what `defused` was given."""
    return cell[1:] if _defused(cell) else cell


def path_of(text: str) -> Path:
    """Return the address in a cell.

    Raises:
        InputError: it is none, or the null path.
    """
    path = parse_path(text.strip())
    if path.is_null:
        raise InvalidAddress("no address", text)
    return path


def is_address(text: str) -> bool:
    """Say whether a cell has an address."""
    try:
        path_of(text)
    except InvalidAddress:
        return False
    return True


def integer(column: str, text: str) -> int | None:
    """Return the whole number in a cell, not negative; None if it is empty.

    Raises:
        InputError: it is none, or has over 18 digits.
    """
    if not text:
        return None
    if not _number(text):
        raise InputError(f"{column} is not a whole number: {text[:MAX_SHOWN]!a}")
    return int(text)


def member(kind: type[E], column: str, text: str) -> E:
    """Return the member of a closed set that a cell names.

    Raises:
        InputError: there is none of this name; the text lists those that there are.
    """
    try:
        return kind(text)
    except ValueError as error:
        raise InputError(f"{column} must be one of {', '.join(kind)}, not {text[:MAX_SHOWN]!a}") from error


def time_of(column: str, text: str) -> datetime:
    """Return the time in a cell: ISO 8601, in UTC where it does not say.

    Raises:
        InputError: it is none.
    """
    if (moment := _iso(text)) is None:
        raise InputError(f"{column} is not a time like 2026-01-31T12:00:00+00:00: {text[:MAX_SHOWN]!a}")
    return moment


def any_time(text: str) -> datetime | None:
    """Return the time that another service wrote: seconds or milliseconds since 1970, ISO 8601, or as in e-mail.

    None if it is none of these.
    """
    text = text.strip()
    try:
        if _seconds(text):
            return datetime.fromtimestamp(float(text), UTC)
        if _milliseconds(text):
            return datetime.fromtimestamp(int(text) / 1000, UTC)
        return _iso(text) or _in_utc(parsedate_to_datetime(text[:MAX_TIME]))
    except (ValueError, OverflowError, OSError, TypeError, IndexError):
        return None


def one_line(text: str) -> str:
    """Return a text with what is not printable made spaces."""
    return text if text.isprintable() else "".join([char if char.isprintable() else " " for char in text])


def _iso(text: str) -> datetime | None:
    try:
        return _in_utc(datetime.fromisoformat(text[:MAX_TIME]))
    except (ValueError, OverflowError):
        return None


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.utcoffset() is None else moment.astimezone(UTC)
