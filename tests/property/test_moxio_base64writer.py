"""Base64Writer against base64.encodebytes: how data is cut into writes does not matter."""

import base64
import io

from hypothesis import example, given
from hypothesis import strategies as st

from moxlib.moxio import Base64Writer

BLOCK = 256 * 57


def encoded(data: bytes) -> bytes:
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


def before_close(data: bytes) -> bytes:
    """Return what is out while more may come: no padding, and no CRLF on a line that is not full."""
    whole = data[: len(data) - len(data) % 3]
    return encoded(whole) if len(whole) % 57 == 0 else encoded(whole)[:-2]


@given(st.lists(st.binary(max_size=200), max_size=12))
@example([b""])
@example([b"x" * 56, b"x", b"x"])
def test_any_chunking_gives_the_same_bytes_and_all_whole_groups_at_once(chunks: list[bytes]) -> None:
    out = io.BytesIO()
    writer = Base64Writer(out)
    so_far = b""
    for chunk in chunks:
        assert writer.write(chunk) == len(chunk)
        so_far += chunk
        assert out.getvalue() == before_close(so_far)
    writer.close()
    assert out.getvalue() == encoded(so_far)


@given(
    st.integers(0, 2**32),
    st.lists(st.integers(0, 2 * BLOCK) | st.integers(BLOCK - 60, BLOCK + 60), min_size=1, max_size=3),
)
@example(0, [BLOCK, BLOCK])
def test_writes_of_many_lines(seed: int, sizes: list[int]) -> None:
    data = (seed.to_bytes(5) * (sum(sizes) // 5 + 1))[: sum(sizes)]
    out = io.BytesIO()
    with Base64Writer(out) as writer:
        at = 0
        for size in sizes:
            writer.write(memoryview(data)[at : at + size])
            at += size
            assert out.getvalue() == before_close(data[:at])
    assert out.getvalue() == encoded(data)
    assert max(map(len, out.getvalue().split(b"\r\n"))) <= 76
