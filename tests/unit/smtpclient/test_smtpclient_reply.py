"""Replies: lines, codes, enhanced codes, limits."""

import pytest

from moxlib.smtpclient import Command, ProtocolError, Reply, ReplyParser
from moxlib.smtpclient.parser import MAX_REPLY_LINE, MAX_REPLY_LINES
from moxlib.smtpclient.reply import escape


def parse(data: bytes, *, enhanced: bool = True) -> list[Reply]:
    parser = ReplyParser()
    parser.enhanced = enhanced
    replies, error = parser.feed(data, Command.RCPT)
    assert error is None
    assert not parser.pending
    return list(replies)


@pytest.mark.parametrize(
    ("data", "code", "enhanced", "lines"),
    [
        (b"250 ok\r\n", 250, "", ["250 ok"]),
        (b"250\r\n", 250, "", ["250"]),
        (b"250 \r\n", 250, "", ["250 "]),
        (b"250 ok\n", 250, "", ["250 ok"]),
        (b"250 2.1.5 ok\r\n", 250, "2.1.5", ["250 2.1.5 ok"]),
        (b"550 5.7.1\r\n", 550, "5.7.1", ["550 5.7.1"]),
        (b"550 5.1.1: colon\r\n", 550, "5.1.1", ["550 5.1.1: colon"]),
        (b"550 5.1.10 two digits\r\n", 550, "5.1.10", ["550 5.1.10 two digits"]),
        (b"550 5.1.1234567890123 absurd\r\n", 550, "", ["550 5.1.1234567890123 absurd"]),
        (b"550 4.1.1 another class\r\n", 550, "", ["550 4.1.1 another class"]),
        (b"550  5.1.1 two spaces\r\n", 550, "", ["550  5.1.1 two spaces"]),
        (b"550 5.1 short\r\n", 550, "", ["550 5.1 short"]),
        (b"550-5.1.1 a\r\n550 5.1.1 b\r\n", 550, "5.1.1", ["550-5.1.1 a", "550 5.1.1 b"]),
        (b"550-first\r\n550 5.1.1 second\r\n", 550, "5.1.1", ["550-first", "550 5.1.1 second"]),
        (b"550-5.1.1 first\r\n550 second\r\n", 550, "5.1.1", ["550-5.1.1 first", "550 second"]),
        (b"550 a\tb\r\n", 550, "", ["550 a\tb"]),
        ("550 ünï\r\n".encode(), 550, "", ["550 ünï"]),
        (b"550 \xff\x1b[31m\x00\r\r\n", 550, "", ["550 \\xff\\x1b[31m\\x00\\r"]),
        ("550 a\u202eb\u2028c\r\n".encode(), 550, "", ["550 a\\u202eb\\u2028c"]),
    ],
)
def test_a_reply(data: bytes, code: int, enhanced: str, lines: list[str]) -> None:
    assert parse(data) == [Reply(code=code, enhanced=enhanced, lines=tuple(lines))]


def test_enhanced_codes_are_read_only_when_announced() -> None:
    assert parse(b"550 5.1.1 no\r\n", enhanced=False)[0].enhanced == ""


def test_a_repeated_reply_is_read_anew_when_enhanced_codes_begin() -> None:
    parser = ReplyParser()
    assert parser.feed(b"250 2.0.0 ok\r\n", Command.EHLO)[0][0].enhanced == ""
    parser.enhanced = True
    assert [reply.enhanced for reply in parser.feed(b"250 2.0.0 ok\r\n" * 2, Command.EHLO)[0]] == ["2.0.0"] * 2


def test_replies_that_come_together_again_are_read_anew_when_enhanced_codes_begin() -> None:
    parser = ReplyParser()
    group = b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n"
    assert [reply.enhanced for reply in parser.feed(group, Command.MAIL)[0]] == ["", "", ""]
    parser.enhanced = True
    for _ in range(2):
        assert [reply.enhanced for reply in parser.feed(group, Command.MAIL)[0]] == ["2.1.0", "2.1.5", ""]


def test_a_group_equal_to_a_known_one_inside_a_longer_reply_is_part_of_that() -> None:
    parser = ReplyParser()
    assert len(parser.feed(b"250 ok\r\n250 ok\r\n", Command.MAIL)[0]) == 2
    assert parser.feed(b"250-more\r\n", Command.MAIL) == ([], None)
    first, second = parser.feed(b"250 ok\r\n250 ok\r\n", Command.MAIL)[0]
    assert (first.lines, second.lines) == (("250-more", "250 ok"), ("250 ok",))


def test_a_line_equal_to_a_known_reply_inside_a_longer_one_is_part_of_that() -> None:
    [single, longer] = parse(b"250 ok\r\n250-ok\r\n250 ok\r\n")
    assert single.lines == ("250 ok",)
    assert longer.lines == ("250-ok", "250 ok")


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"hello\r\n", ("hello",)),
        (b"55 bad\r\n", ("55 bad",)),
        (b"2500 bad\r\n", ("2500 bad",)),
        (b"550_bad\r\n", ("550_bad",)),
        (b"\r\n", ("",)),
        ("\uff15\uff15\uff10 wide\r\n".encode(), ("\uff15\uff15\uff10 wide",)),
        (b"550-a\r\n551 b\r\n", ("550-a", "551 b")),
        (b"220-a\r\nnothing\r\n", ("220-a", "nothing")),
    ],
)
def test_what_is_no_reply(data: bytes, lines: tuple[str, ...]) -> None:
    replies, error = ReplyParser().feed(b"250 before\r\n" + data + b"250 after\r\n", Command.MAIL)
    assert [reply.lines for reply in replies] == [("250 before",)]
    assert isinstance(error, ProtocolError)
    assert (error.command, error.lines) == (Command.MAIL, lines)


@pytest.mark.parametrize(("longest", "fits"), [(MAX_REPLY_LINE, True), (MAX_REPLY_LINE + 1, False)])
@pytest.mark.parametrize("complete", [True, False])
def test_the_limit_of_a_line_is_exact(longest: int, fits: bool, complete: bool) -> None:
    line = b"250 " + b"x" * (longest - 6) + b"\r\n"
    assert len(line) == longest
    parser = ReplyParser()
    replies, error = parser.feed(line if complete else line[:-1], Command.MAIL)
    assert len(replies) == (fits and complete)
    assert (error is None) == fits
    assert error is None or [len(shown) for shown in error.lines] == [512]


@pytest.mark.parametrize(("count", "fits"), [(MAX_REPLY_LINES, True), (MAX_REPLY_LINES + 1, False)])
def test_the_limit_of_lines_is_exact(count: int, fits: bool) -> None:
    replies, error = ReplyParser().feed(b"250-x\r\n" * count + b"250 x\r\n", Command.EHLO)
    assert len(replies) == fits
    assert (error is None) == fits


def test_texts_and_text() -> None:
    reply = Reply(code=250, lines=("250-one", "250"))
    assert reply.texts == ("one", "")
    assert reply.text == "250-one / 250"


@pytest.mark.parametrize(
    ("code", "permanent"), [(199, False), (250, False), (499, False), (500, True), (599, True), (600, False)]
)
def test_permanence(code: int, permanent: bool) -> None:
    assert Reply(code=code).permanent is permanent


def test_escape_shows_line_breaks() -> None:
    assert escape(b"a\r\nb\x85") == "a\\r\\nb\\x85"
    assert escape("a\x85b\xa0c".encode()) == "a\\x85b\\xa0c"
