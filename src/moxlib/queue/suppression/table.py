"""Suppressions as CSV (RFC 4180): written, and read back, and read from what other services export. Pure.

Both are generators over lines, so that a list of any length passes through in little memory.

A spreadsheet takes a cell that begins with "=", "+", "-" or "@" for a formula, and what is written here comes from
peers. Such cells get an apostrophe in front, which reading takes off again; both ways, nothing is lost.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from typing import Final, Self

from moxlib.errors import InputError
from moxlib.queue.reply_class import ReplyClass
from moxlib.queue.suppression.base import BASE_RULES, BaseRules, base_address
from moxlib.queue.suppression.cells import (
    any_time,
    armed,
    defused,
    integer,
    is_address,
    member,
    one_line,
    path_of,
    time_of,
)
from moxlib.queue.suppression.entry import MAX_REASON, Cause, Evidence, Suppression
from moxlib.queue.suppression.feedback import Origin

__all__ = ["COLUMNS", "InvalidTable", "read_suppressions", "write_suppressions"]

MAX_RECORD: Final = 64 * 1024  # characters, line ends included; one of ours has 8,000 at most, and csv stops at 128 Ki
MAX_COLUMNS: Final = 200  # services export twenty at most
PROGRESS_EVERY: Final = 1000  # rows; a display shows no more than that anyway

COLUMNS: Final = (
    "address",
    "base_address",
    "account",
    "since",
    "cause",
    "reason",
    "expires",
    "repeats",
    "origin",
    "code",
    "enhanced",
    "command",
    "class",
    "text",
    "failures",
    "message",
    "attempt",
    "message_id",
    "dsn_message_id",
)
"""The header of what is written. All times are in UTC, in ISO 8601."""

# What others call it, in the order of preference, without case, blanks and underscores.
_ADDRESS: Final = ("address", "email", "emailaddress", "recipient", "recipientaddress", "originaladdress", "mail")
_SINCE: Final = (
    "since",
    "created",
    "createdat",
    "added",
    "addedat",
    "lastupdatetime",
    "suppressedat",
    "timestamp",
    "date",
)
_REASON: Final = ("reason", "error", "suppressionreason", "description")

_blanks = re.compile(r"[\s_-]+")


class InvalidTable(InputError):
    """A line of CSV cannot be read.

    Attributes:
        line: its number, from 1; of a record of several lines, that of its last.
        reason: what is wrong, a short phrase.
    """

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(f"line {line}: {reason}")
        self.reason = reason
        self.line = line

    def __reduce__(self) -> tuple[type[Self], tuple[str, int]]:
        """Pickle by fields, not by text."""
        return type(self), (self.reason, self.line)


def write_suppressions(
    entries: Iterable[Suppression], *, progress: Callable[[int], None] | None = None
) -> Iterator[str]:
    """Return the records of a CSV file, the header first, each ended by CRLF.

    Write them to a file opened with `newline=""`.

    Args:
        entries: are read one by one.
        progress: is called with the number of entries written, every 1,000 of them and at the end.
    """
    writer = csv.writer(_Echo())
    yield writer.writerow(COLUMNS)
    count = 0
    for count, entry in enumerate(entries, 1):
        yield writer.writerow([defused(cell) for cell in _cells(entry)])
        if progress is not None and count % PROGRESS_EVERY == 0:
            progress(count)
    if progress is not None:
        progress(count)


def read_suppressions(
    lines: Iterable[str],
    *,
    now: datetime,
    account: str | None = None,
    rules: BaseRules = BASE_RULES,
    progress: Callable[[int], None] | None = None,
    on_error: Callable[[InvalidTable], None] | None = None,
) -> Iterator[Suppression]:
    """Read suppressions from CSV: of `write_suppressions`, or of another service's export.

    The first line names the columns; separators are commas, semicolons or tabs. One column has to be called address,
    email, recipient or the like. Where there is no header, but an address in the first line, the first column has the
    addresses. Of others' exports the time and the reason are read where they are recognised.

    Base addresses are worked out anew, by the rules given. An address that comes twice is returned twice.

    Args:
        lines: with or without their ends; open a file with `newline=""`. Of a text file, no more than a record is read
            into memory; other iterables have to see to that themselves.
        now: since when, where the file does not say.
        account: whose suppressions they become; None: as the column "account" says.
        rules: those of the policy, `SuppressionPolicy.base`.
        progress: is called with the number of records read, every 1,000 of them and at the end.
        on_error: is told of a record that cannot be read, which is then left out. Without it, the first such is raised.

    Raises:
        InvalidTable: no column with addresses, quotes that do not end, a record of over 64 Ki characters or over 200
            columns; or a record that cannot be read, and there is no `on_error`.
    """
    source = _Source(lines)
    reading = _Reading(now=now, account=account, rules=rules)
    count = 0
    for count, row in enumerate(_rows(source), 1):
        try:
            entry = reading.entry(row)
        except InputError as error:
            refused = InvalidTable(str(error), source.number)
            if on_error is None:
                raise refused from error
            on_error(refused)
        else:
            yield entry
        if progress is not None and count % PROGRESS_EVERY == 0:
            progress(count)
    if progress is not None:
        progress(count)


class _Echo:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        return text


class _Source:
    """Lines, counted and bounded."""

    def __init__(self, lines: Iterable[str]) -> None:
        # A file's own iterator reads a line whole, however long it is.
        if isinstance(lines, io.TextIOBase):
            lines = iter(partial(lines.readline, MAX_RECORD + 1), "")
        self._lines = iter(lines)
        self.number = 0
        self.pending = 0
        """Characters since the last whole record."""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.number += 1
        self.pending += len(line)
        if self.pending > MAX_RECORD:
            raise InvalidTable(f"a record of more than {MAX_RECORD} characters", self.number)
        return line


def _rows(source: _Source) -> Iterator[Mapping[str, str]]:
    """Yield the cells of each record by the name of their column, as others' names are understood."""
    first = next(source, "").removeprefix("\ufeff")
    if not first.strip() and source.number == 0:
        return
    delimiter = "\t" if "\t" in first else ";" if ";" in first and "," not in first else ","
    reader = csv.reader(chain([first], source), delimiter=delimiter, strict=True)
    names: list[str] = []
    try:
        for cells in reader:
            source.pending = 0
            if len(cells) > MAX_COLUMNS:
                raise InvalidTable(f"more than {MAX_COLUMNS} columns", source.number)
            if not any(cell.strip() for cell in cells):
                continue
            if not names:
                names = _names(cells, source.number)
                if names != ["address"] or not is_address(cells[0]):
                    continue
            yield dict(zip(names, map(armed, cells), strict=False))
    except csv.Error as error:
        raise InvalidTable(str(error), source.number) from error


def _names(cells: list[str], line: int) -> list[str]:
    names = [_blanks.sub("", cell).lower() for cell in cells]
    if set(names) >= {"address", "baseaddress", "cause"}:
        return [name.strip().lower() for name in cells]
    found = dict.fromkeys(names, "")
    for known, aliases in (("address", _ADDRESS), ("created", _SINCE), ("reason", _REASON)):
        for alias in aliases:
            if alias in found:
                found[alias] = known
                break
    if "address" in found.values():
        return [found[name] or ("account" if name == "account" else "") for name in names]
    if is_address(cells[0]):
        return ["address"]
    raise InvalidTable("no column is called address, email or recipient", line)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """How records become suppressions."""

    now: datetime
    account: str | None
    rules: BaseRules

    def entry(self, row: Mapping[str, str]) -> Suppression:
        path = path_of(row.get("address", ""))
        account = self.account if self.account is not None else row.get("account")
        if account is None:
            raise InputError("no account: there is no column of that name, and none was given")
        cause = row.get("cause")
        ours = cause is not None
        return Suppression(
            account=account,
            base_address=str(base_address(path, self.rules)),
            original_address=row["address"] if ours else str(path),
            since=self._since(row),
            cause=member(Cause, "cause", cause) if cause else Cause.IMPORTED,
            reason=row.get("reason", "") if ours else one_line(row.get("reason", ""))[:MAX_REASON],
            evidence=_evidence(row) if row.get("origin") else None,
            expires=time_of("expires", text) if (text := row.get("expires")) else None,
            repeats=integer("repeats", row.get("repeats", "")) or 0,
        )

    def _since(self, row: Mapping[str, str]) -> datetime:
        if text := row.get("since"):
            return time_of("since", text)
        # Another's format may be anything; that the address is bad counts, and since when does not.
        return any_time(row.get("created", "")) or self.now


def _cells(entry: Suppression) -> list[str]:
    evidence = entry.evidence
    cells = [
        entry.original_address,
        entry.base_address,
        entry.account,
        entry.since.astimezone(UTC).isoformat(),
        entry.cause,
        entry.reason,
        entry.expires.astimezone(UTC).isoformat() if entry.expires else "",
        str(entry.repeats),
    ]
    if evidence is None:
        return cells + [""] * (len(COLUMNS) - len(cells))
    return [
        *cells,
        evidence.origin,
        str(evidence.code or ""),
        evidence.enhanced,
        evidence.command,
        evidence.reply_class or "",
        evidence.text,
        str(evidence.failures),
        "" if evidence.message is None else str(evidence.message),
        "" if evidence.attempt is None else str(evidence.attempt),
        evidence.message_id,
        evidence.dsn_message_id,
    ]


def _evidence(row: Mapping[str, str]) -> Evidence:
    reply_class = row.get("class")
    return Evidence(
        origin=member(Origin, "origin", row["origin"]),
        code=integer("code", row.get("code", "")) or 0,
        enhanced=row.get("enhanced", ""),
        command=row.get("command", ""),
        text=row.get("text", ""),
        reply_class=member(ReplyClass, "class", reply_class) if reply_class else None,
        failures=integer("failures", row.get("failures", "")) or 0,
        message=integer("message", row.get("message", "")),
        attempt=integer("attempt", row.get("attempt", "")),
        message_id=row.get("message_id", ""),
        dsn_message_id=row.get("dsn_message_id", ""),
    )
