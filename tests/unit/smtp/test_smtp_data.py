import pytest

from moxlib.errors import StateError, UnexpectedEOF
from moxlib.smtp import END_OF_DATA, DotStuffer, DotUnstuffer, dot_stuff, dot_unstuff


@pytest.mark.parametrize(
    ("data", "stuffed"),
    [
        (b"", b""),
        (b"a\r\nb\r\n", b"a\r\nb\r\n"),
        (b".\r\n", b"..\r\n"),
        (b"..\r\n", b"...\r\n"),
        (b"a\r\n.\r\n", b"a\r\n..\r\n"),
        (b"a.\r\n.b\r\n.c\r\n", b"a.\r\n..b\r\n..c\r\n"),
        (b"a\r\n\r\n.b\r\n", b"a\r\n\r\n..b\r\n"),
        (b"a\n.b\r.c\r\n", b"a\n.b\r.c\r\n"),  # no line ends: refused elsewhere, and no dot is added here
    ],
)
def test_stuffs_leading_dots(data: bytes, stuffed: bytes) -> None:
    assert dot_stuff(data) == stuffed
    assert dot_unstuff(stuffed + END_OF_DATA if data else END_OF_DATA) == data


def test_data_without_dots_is_not_copied() -> None:
    data = b"a\r\nb\r\n"
    assert dot_stuff(data) is data


def test_finish_ends_an_unended_line_and_starts_anew() -> None:
    stuffer = DotStuffer()
    assert stuffer.finish() == b".\r\n"
    assert stuffer.feed(b"a") + stuffer.finish() == b"a\r\n.\r\n"
    assert stuffer.feed(b".b\r\n") + stuffer.finish() == b"..b\r\n.\r\n"


def test_unstuffer_keeps_what_follows_the_end() -> None:
    unstuffer = DotUnstuffer()
    assert unstuffer.feed(b"..a\r\n.") == b".a"
    assert not unstuffer.done
    assert unstuffer.feed(b"\r\nQUIT\r\n") == b"\r\n"
    assert unstuffer.done
    assert unstuffer.rest == b"QUIT\r\n"
    with pytest.raises(StateError):
        unstuffer.feed(b"x")


@pytest.mark.parametrize("data", [b"", b"a\r\n", b"a\r\n.\n", b"a\n.\r\n", b"a\r\n.\r", b"a\r\n..\r\n"])
def test_no_end_but_the_real_one(data: bytes) -> None:
    with pytest.raises(UnexpectedEOF):
        dot_unstuff(data)
