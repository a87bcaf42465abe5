"""Line checks: how a message is cut does not matter, and the bulk counts agree with a plain model."""

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from moxlib.message import InvalidMessage, LineCheck, LineFacts, check_lines, to_crlf

pieces = st.sampled_from([b"\r\n", b"\r\n", b"\r\n\r\n", b"a", b"A: b", b"\r", b"\n", b"\xff", b"."])
data_of = st.lists(pieces, max_size=20).map(b"".join)


@st.composite
def chunked(draw: st.DrawFn) -> list[bytes]:
    data = draw(data_of)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[start:end] for start, end in pairwise([0, *cuts, len(data)])]


def _model(data: bytes) -> LineFacts | tuple[str, int, int]:
    for offset, octet in enumerate(data):
        bare_cr = octet == 13 and data[offset + 1 : offset + 2] != b"\n"
        bare_lf = octet == 10 and data[max(0, offset - 1) : offset] != b"\r"
        if bare_cr or bare_lf:
            return ("a bare CR" if bare_cr else "a bare LF", data[:offset].count(b"\n") + 1, offset)
    blank = re.search(rb"(?:\A|\r\n)\r\n", data)
    return LineFacts(
        size=len(data),
        eight_bit=any(octet > 127 for octet in data),
        header_end=blank.end() if blank else len(data),
        ends_in_crlf=data[-2:] == b"\r\n",
    )


def _checked(chunks: list[bytes]) -> LineFacts | tuple[str, int | None, int | None]:
    check = LineCheck()
    try:
        for chunk in chunks:
            check.feed(chunk)
        return check.finish()
    except InvalidMessage as err:
        return err.reason, err.line, err.offset


def _checked_whole(data: bytes) -> LineFacts | tuple[str, int | None, int | None]:
    try:
        return check_lines(data)
    except InvalidMessage as err:
        return err.reason, err.line, err.offset


@given(chunked())
def test_checks_agree_with_a_plain_model(chunks: list[bytes]) -> None:
    data = b"".join(chunks)
    expected = _model(data)
    assert _checked_whole(data) == expected
    assert _checked(chunks) == expected
    assert _checked([data[at : at + 1] for at in range(len(data))]) == expected


@given(data_of)
def test_to_crlf_makes_what_passes_and_changes_nothing_else(data: bytes) -> None:
    converted = to_crlf(data)
    check_lines(converted)
    assert to_crlf(converted) == converted
    assert re.split(rb"\r\n", converted) == re.split(rb"\r\n|\r|\n", data)
