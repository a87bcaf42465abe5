import pytest

from moxlib.message import InvalidMessage, LineCheck, LineFacts, check_lines, to_crlf


def _facts(data: bytes, *, header_end: int, eight_bit: bool = False, ends_in_crlf: bool = True) -> LineFacts:
    return LineFacts(size=len(data), eight_bit=eight_bit, header_end=header_end, ends_in_crlf=ends_in_crlf)


@pytest.mark.parametrize(
    ("data", "header_end", "eight_bit", "ends_in_crlf"),
    [
        (b"", 0, False, False),
        (b"A: b\r\n\r\nbody\r\n", 8, False, True),
        (b"A: b\r\n\r\nbody\r\n\r\nmore\r\n", 8, False, True),
        (b"A: b\r\n\r\nbody", 8, False, False),
        (b"A: b\r\n", 6, False, True),
        (b"A: b", 4, False, False),
        (b"\r\nbody\r\n", 2, False, True),
        (b"A: b\r\n\r\n\xff\r\n", 8, True, True),
        (b"A: \xff\r\n\r\n", 8, True, True),
    ],
)
def test_facts(data: bytes, header_end: int, eight_bit: bool, ends_in_crlf: bool) -> None:
    expected = _facts(data, header_end=header_end, eight_bit=eight_bit, ends_in_crlf=ends_in_crlf)
    assert check_lines(data) == expected
    for size in (1, 2, 3, 5, 100):
        check = LineCheck()
        for start in range(0, len(data), size):
            check.feed(data[start : start + size])
        assert check.finish() == expected


@pytest.mark.parametrize(
    ("data", "reason", "line", "offset"),
    [
        (b"\n", "a bare LF", 1, 0),
        (b"\r", "a bare CR", 1, 0),
        (b"A: b\r\nc\nd\r\n", "a bare LF", 2, 7),
        (b"A: b\r\nc\rd\r\n", "a bare CR", 2, 7),
        (b"a\r\nb\r\r\nc\n", "a bare CR", 2, 4),
        (b"a\r\n\nb\r\n", "a bare LF", 2, 3),
        (b"a\r\nb\r", "a bare CR", 2, 4),
        (b"a\r\nb\n\r", "a bare LF", 2, 4),
        (b"a\rb\nc", "a bare CR", 1, 1),
    ],
)
def test_bare_line_ends_are_found(data: bytes, reason: str, line: int, offset: int) -> None:
    with pytest.raises(InvalidMessage) as caught:
        check_lines(data)
    assert (caught.value.reason, caught.value.line, caught.value.offset) == (reason, line, offset)
    for size in (1, 2, 3, 100):
        check = LineCheck()
        with pytest.raises(InvalidMessage) as caught:
            _feed(check, data, size)
        assert (caught.value.reason, caught.value.line, caught.value.offset) == (reason, line, offset)


def _feed(check: LineCheck, data: bytes, size: int) -> None:
    for start in range(0, len(data), size):
        check.feed(data[start : start + size])
    check.finish()


@pytest.mark.parametrize(
    ("data", "crlf"),
    [
        (b"", b""),
        (b"a\r\nb\r\n", b"a\r\nb\r\n"),
        (b"a\nb\n", b"a\r\nb\r\n"),
        (b"a\rb\r", b"a\r\nb\r\n"),
        (b"a\r\nb\nc\rd", b"a\r\nb\r\nc\r\nd"),
        (b"\n\r\n\r", b"\r\n\r\n\r\n"),
        (b"\r\r\n\n", b"\r\n\r\n\r\n"),
    ],
)
def test_any_line_end_becomes_crlf(data: bytes, crlf: bytes) -> None:
    assert to_crlf(data) == crlf


def test_crlf_is_not_copied() -> None:
    data = b"a\r\nb\r\n"
    assert to_crlf(data) is data
