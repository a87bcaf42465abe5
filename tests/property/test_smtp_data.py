"""Dot-stuffing: cutting does not matter, and unstuffing undoes it."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from moxlib.smtp import DotStuffer, DotUnstuffer, dot_stuff, dot_unstuff

# Mostly what matters: dots and line ends.
data_of = st.lists(st.sampled_from([b"\r\n", b".", b"a", b"\r", b"\n", b"\r\n.", b"\r\n.\r\n"]), max_size=30).map(
    b"".join
)


@st.composite
def chunked(draw: st.DrawFn) -> list[bytes]:
    data = draw(data_of)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[start:end] for start, end in pairwise([0, *cuts, len(data)])]


@given(chunked())
def test_cutting_does_not_matter(chunks: list[bytes]) -> None:
    data = b"".join(chunks)
    stuffer = DotStuffer()
    assert b"".join(map(stuffer.feed, chunks)) == dot_stuff(data)
    end = stuffer.finish()
    assert end == (b".\r\n" if not data or data.endswith(b"\r\n") else b"\r\n.\r\n")
    assert dot_unstuff(dot_stuff(data) + end) == data + end[:-3]


@given(chunked(), data_of)
def test_cutting_does_not_matter_to_the_receiver(chunks: list[bytes], following: bytes) -> None:
    data = b"".join(chunks)
    sent = dot_stuff(data) + b"\r\n.\r\n" + following
    whole = DotUnstuffer()
    content = whole.feed(sent)
    assert (content, whole.rest) == (data + b"\r\n", following)
    piecewise = DotUnstuffer()
    got, position = b"", 0
    for size in [*map(len, chunks), len(sent)]:
        if piecewise.done:
            break
        got += piecewise.feed(sent[position : position + size])
        position += size
    assert got == content
    assert piecewise.rest + sent[position:] == following


@given(data_of)
def test_stuffed_data_never_holds_the_end(data: bytes) -> None:
    assert b"\r\n.\r\n" not in dot_stuff(data)
    assert not dot_stuff(data).startswith(b".\r\n")
