"""AtReader, LimitAtReader, LimitReader, AsyncLimitReader."""

import asyncio
import io
import os
from pathlib import Path

import pytest

from moxlib.errors import InputError, LimitExceeded
from moxlib.moxio import AsyncLimitReader, AtReader, LimitAtReader, LimitReader


class Failing:
    def read_at(self, size: int, offset: int, /) -> bytes:
        raise OSError(5, "Input/output error")


def test_at_reader_reads_a_file_without_moving_its_position(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        file.seek(3)
        first, second = AtReader(file, 2), AtReader(file.fileno())
        assert first.read(3) == b"234"
        assert second.read(4) == b"0123"
        assert first.read(3) == b"567"
        assert (first.offset, second.offset) == (8, 4)
        assert first.read() == b"89"
        assert first.read(1) == b""
        first.offset = 1
        assert first.read(1) == b"1"
        assert file.read() == b"3456789"


def test_at_reader_under_a_buffer_has_lines(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"one\ntwo\n")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        assert list(io.BufferedReader(AtReader(descriptor, 1))) == [b"ne\n", b"two\n"]
        assert list(AtReader(descriptor, 4)) == [b"two\n"]
    finally:
        os.close(descriptor)


def test_at_reader_keeps_its_place_when_reading_fails() -> None:
    reader = AtReader(Failing(), 7)
    with pytest.raises(OSError, match="Input/output"):
        reader.read(1)
    assert reader.offset == 7


@pytest.mark.parametrize("reader", [AtReader(Failing()), LimitReader(io.BytesIO(b"x"), 1)])
def test_closed_means_closed(reader: io.RawIOBase) -> None:
    reader.close()
    with pytest.raises(ValueError, match="closed"):
        reader.read(1)


def test_limit_at_reader_refuses_by_what_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        reader = LimitAtReader(file, 6)
        assert reader.read_at(6, 0) == b"012345"
        assert reader.read_at(2, 4) == b"45"
        assert reader.read_at(0, 6) == b""
        with pytest.raises(LimitExceeded) as raised:
            reader.read_at(3, 4)
        assert raised.value.limit == 6
    with pytest.raises(LimitExceeded):
        LimitAtReader(Failing(), 6).read_at(1, 6)


def test_limit_at_reader_beneath_an_at_reader(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        reader = AtReader(LimitAtReader(file, 6))
        assert reader.read(4) == b"0123"
        with pytest.raises(LimitExceeded):
            reader.read(3)
        assert reader.read(2) == b"45"


def test_limit_reader_takes_no_more_than_a_byte_too_many() -> None:
    source = io.BytesIO(b"0123456789")
    reader = LimitReader(source, 4)
    assert reader.limit == 4
    assert reader.read(3) == b"012"
    for size in (100, 1, -1):
        with pytest.raises(LimitExceeded) as raised:
            reader.read(size)
        assert raised.value.limit == 4
    assert source.tell() == 5


def test_limit_reader_reads_input_of_just_that_size() -> None:
    assert LimitReader(io.BytesIO(b"0123"), 4).read() == b"0123"
    assert LimitReader(io.BytesIO(b""), 0).read() == b""


async def test_a_limit_below_nothing_is_refused() -> None:
    with pytest.raises(InputError):
        LimitReader(io.BytesIO(), -1)
    with pytest.raises(InputError):
        AsyncLimitReader(asyncio.StreamReader(), -1)


async def test_async_limit_reader_on_a_stream() -> None:
    stream = asyncio.StreamReader()
    stream.feed_data(b"0123456789")
    stream.feed_eof()
    reader = AsyncLimitReader(stream, 6)
    assert reader.limit == 6
    assert await reader.read(4) == b"0123"
    with pytest.raises(LimitExceeded):
        await reader.read()
    assert await stream.read() == b"789"
