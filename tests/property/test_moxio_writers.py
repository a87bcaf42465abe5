"""FlateWriter and link_or_copy give back what was put in."""

import errno
import io
import os
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from moxlib.moxio import FlateWriter, WorkQueue, link_or_copy


@given(st.lists(st.binary(max_size=50) | st.none(), max_size=12))
def test_any_chunking_and_flushing_decompresses_to_the_same(chunks: list[bytes | None]) -> None:
    out = io.BytesIO()
    reader = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    written = decompressed = b""
    seen = 0
    with FlateWriter(out) as writer:
        for chunk in chunks:
            if chunk is not None:
                assert writer.write(chunk) == len(chunk)
                written += chunk
                continue
            writer.flush()
            decompressed += reader.decompress(out.getvalue()[seen:])
            seen = len(out.getvalue())
            assert decompressed == written
    assert decompressed + reader.decompress(out.getvalue()[seen:]) + reader.flush() == written
    assert reader.eof


@given(st.binary(max_size=300), st.booleans(), st.booleans(), st.booleans())
def test_links_and_copies_have_the_same_content(data: bytes, can_link: bool, given_source: bool, fsync: bool) -> None:
    def no_link(src: Path, dst: Path) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    with TemporaryDirectory() as directory:
        src, dst = Path(directory, "src"), Path(directory, "dst")
        src.write_bytes(data)
        source = io.BytesIO(data) if given_source else None
        with patch("os.link", os.link if can_link else no_link):
            link_or_copy(dst, src, source=source, fsync=fsync)
        assert dst.read_bytes() == data
        assert (dst.stat().st_ino == src.stat().st_ino) == can_link


@given(st.integers(1, 3), st.integers(1, 5), st.lists(st.integers(), max_size=20), st.integers(0, 25))
def test_work_is_processed_in_order_up_to_the_first_error(procs: int, size: int, items: list[int], broken: int) -> None:
    def prepare(numbered: tuple[int, int]) -> int:
        number, item = numbered
        if number == broken:
            raise ZeroDivisionError(number)
        return item + 1

    processed: list[tuple[int, int]] = []
    try:
        with WorkQueue(procs, size, prepare, lambda numbered, result: processed.append((numbered[1], result))) as queue:
            for numbered in enumerate(items):
                queue.add(numbered)
        assert broken >= len(items)
    except ZeroDivisionError:
        assert broken < len(items)
    assert processed == [(item, item + 1) for item in items[:broken]]
