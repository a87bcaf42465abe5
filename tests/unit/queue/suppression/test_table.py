"""Suppressions as CSV: ours both ways, others' read, and what is refused."""

import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from moxlib.queue import ReplyClass
from moxlib.queue.suppression import (
    BaseRules,
    Cause,
    Evidence,
    InvalidTable,
    Origin,
    Suppression,
    add,
    read_suppressions,
    write_suppressions,
)
from moxlib.smtp import parse_address

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
JANE = add("shop", parse_address("Jane+Shop@example.org"), now=NOW, reason='said "no", twice\r\nand left')
EVIDENCE = Evidence(
    origin=Origin.DSN,
    code=550,
    enhanced="5.1.1",
    command="RCPT TO",
    text="=cmd|' /C calc'!A0",
    reply_class=ReplyClass.HARD,
    failures=3,
    message=17,
    attempt=2,
    message_id="<a@shop.example>",
    dsn_message_id="<b@mx.example>",
)
BOB = Suppression(
    account="shop",
    base_address="bob@example.org",
    original_address="bob@example.org",
    since=NOW,
    cause=Cause.IN_A_ROW,
    reason="=1+1",
    evidence=EVIDENCE,
    expires=NOW + timedelta(days=30, microseconds=1),
    repeats=2,
)
OTHER: list[str] = ["email,reason"]


def read(text: str, **options: Any) -> list[Suppression]:
    return list(read_suppressions(io.StringIO(text, newline=""), **{"now": NOW, "account": "shop", **options}))


def test_what_is_written_reads_back_equal() -> None:
    text = "".join(write_suppressions([JANE, BOB]))
    assert read(text, account=None) == [JANE, BOB]
    assert "".join(write_suppressions(read(text))) == text
    assert text.endswith("\r\n")


def test_nothing_to_write_is_a_header_and_reads_back_as_nothing() -> None:
    text = "".join(write_suppressions([]))
    assert text.startswith("address,base_address,account,since,")
    assert read(text) == []
    assert read("") == []


def test_no_cell_is_a_formula() -> None:
    tagged = add("=shop", parse_address("+tag@example.org"), now=NOW, reason="\tx")
    rows = csv.reader(io.StringIO("".join(write_suppressions([tagged, BOB])), newline=""))
    cells = [cell for row in rows for cell in row]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)
    assert "'+tag@example.org" in cells


@pytest.mark.parametrize("reason", ["=a", "'=a", "''=a", "'a", "'", "", "-1", "\uff1da", "@x", "a=b", "\r=", "'\t"])
def test_a_defused_cell_is_restored(reason: str) -> None:
    entry = add("shop", parse_address("a@example.org"), now=NOW, reason=reason)
    assert read("".join(write_suppressions([entry]))) == [entry]


@pytest.mark.parametrize(
    ("text", "since", "reason"),
    [
        ("email\njane@example.org\n", NOW, ""),
        ("jane@example.org\n", NOW, ""),  # no header at all
        ("\ufeffEmail\r\njane@example.org\r\n", NOW, ""),
        ("\n\nE-Mail Address\njane@example.org\n", NOW, ""),
        ("Recipient;Reason\njane@example.org;gone\n", NOW, "gone"),
        ("name\taddress\nJane\tjane@example.org\n", NOW, ""),
        (
            '"EmailAddress","Reason","LastUpdateTime"\n"jane@example.org","BOUNCE","2026-01-31T08:00:00Z"\n',
            None,
            "BOUNCE",
        ),
        ("email,reason,created\njane@example.org,550 no,1769846400\n", None, "550 no"),
        ("address,error,created_at\n<jane@example.org>,no,1769846400000\n", None, "no"),
        ("address,error,created_at\n jane@example.org ,no,1769846400.5\n", "half", "no"),
        ('address,code,error,"created at"\njane@example.org,550,no,"Sat, 31 Jan 2026 08:00:00 UTC"\n', None, "no"),
        ("address,created\njane@example.org,last summer\n", NOW, ""),
        ("address,created\njane@example.org\n", NOW, ""),
        ("status,email\n,jane@example.org,more\n,\n", NOW, ""),
    ],
)
def test_other_services_exports_are_read(text: str, since: object, reason: str) -> None:
    [entry] = read(text)
    when = datetime(2026, 1, 31, 8, tzinfo=UTC)
    expected = {None: when, "half": when + timedelta(milliseconds=500)}.get(since) if since is not NOW else NOW  # type: ignore[call-overload]
    assert (entry.original_address, entry.since, entry.reason) == ("jane@example.org", expected, reason)
    assert (entry.cause, entry.account, entry.evidence, entry.expires) == (Cause.IMPORTED, "shop", None, None)


def test_base_addresses_follow_the_rules_given() -> None:
    rules = BaseRules(default_separators=("-",))
    [entry] = read("email\nJane-x@example.org\n", rules=rules)
    assert (entry.base_address, entry.original_address) == ("jane@example.org", "Jane-x@example.org")


def test_the_account_is_the_one_given_or_the_one_in_the_file() -> None:
    text = "account,email\nnews,jane@example.org\n"
    assert [entry.account for entry in read(text)] == ["shop"]
    assert [entry.account for entry in read(text, account=None)] == ["news"]
    with pytest.raises(InvalidTable, match="line 2: no account"):
        read("email\njane@example.org\n", account=None)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("name,phone\nJane,1\n", 1, "no column is called address"),
        ("email\njane@example.org\nno address\n", 3, "invalid email address"),
        ("email\n<>\n", 2, "no address"),
        ('email\n"jane@example.org\n', 2, "unexpected end of data"),
        ('email\n"a"b@example.org\n', 2, "expected after"),
        ("email\n" + "x" * 70_000 + "\n", 2, "a record of more than 65536 characters"),
        ('email\n"' + "x\n" * 40_000, 32_769, "a record of more than 65536 characters"),
        ("," * 200 + "email\n", 1, "more than 200 columns"),
        ("address,base_address,cause,since\na@b.example,,manual,yesterday\n", 2, "since is not a time"),
        ("address,base_address,cause,since,expires\na@b.example,,manual,,soon\n", 2, "expires is not a time"),
        ("address,base_address,cause\na@b.example,,whim\n", 2, "cause must be one of manual"),
        ("address,base_address,cause,origin\na@b.example,,manual,moon\n", 2, "origin must be one of reply"),
        ("address,base_address,cause,repeats\na@b.example,,manual,-1\n", 2, "repeats is not a whole number"),
        ("address,base_address,cause,repeats\na@b.example,,manual,٣\n", 2, "repeats is not a whole number"),
    ],
)
def test_an_error_says_where_and_what(text: str, line: int, words: str) -> None:
    with pytest.raises(InvalidTable, match=words) as caught:
        read(text)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"line {line}: ")
    assert len(str(caught.value)) < 400


def test_records_that_cannot_be_read_can_be_left_out() -> None:
    errors: list[InvalidTable] = []
    entries = read("email\na@b.example\nx\nc@d.example\n\ny\n", on_error=errors.append)
    assert [entry.original_address for entry in entries] == ["a@b.example", "c@d.example"]
    assert [error.line for error in errors] == [3, 6]


def test_progress_is_told_every_thousand_and_at_the_end() -> None:
    written: list[int] = []
    was_read: list[int] = []
    lines = list(write_suppressions([JANE] * 2500, progress=written.append))
    assert len(lines) == 2501
    assert len(list(read_suppressions(lines, now=NOW, progress=was_read.append))) == 2500
    assert written == was_read == [1000, 2000, 2500]


def test_both_ways_are_streams() -> None:
    def endless(limit: int) -> Iterable[Suppression]:
        for _ in range(limit):
            yield JANE
        raise AssertionError("read further than asked")

    lines = write_suppressions(endless(2))
    assert [next(lines) for _ in range(3)]
    entries = read_suppressions(write_suppressions(endless(2)), now=NOW)
    assert [next(entries) for _ in range(2)] == [JANE, JANE]


def test_a_file_is_not_read_into_memory_by_a_line_without_an_end() -> None:
    class Endless(io.TextIOBase):
        def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]
            assert size is not None
            assert 0 < size <= 100_000
            return "x" * size

    with pytest.raises(InvalidTable, match="line 1: a record of more than"):
        list(read_suppressions(Endless(), now=NOW))
