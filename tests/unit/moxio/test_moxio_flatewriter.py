"""FlateWriter where it ends and fails."""

# ruff: noqa: PT012 - how a block is left is what is tested

import io
import zlib

import pytest

from moxlib.errors import StateError
from moxlib.moxio import FlateWriter


class Counting:
    """A compressor that counts how often it is asked."""

    def __init__(self) -> None:
        self.inner = zlib.compressobj()
        self.calls = 0

    def compress(self, data: object, /) -> bytes:
        self.calls += 1
        return self.inner.compress(data)  # type: ignore[arg-type] # a buffer

    def flush(self, mode: int = zlib.Z_FINISH, /) -> bytes:
        self.calls += 1
        return self.inner.flush(mode)


class Gone:
    def __init__(self) -> None:
        self.calls = 0

    def write(self, data: bytes, /) -> int:
        self.calls += 1
        raise BrokenPipeError(32, "Broken pipe")


def test_without_a_compressor_it_is_raw_deflate() -> None:
    out = io.BytesIO()
    with FlateWriter(out) as writer:
        assert writer.write(memoryview(b"x" * 1000)) == 1000
    assert zlib.decompress(out.getvalue(), wbits=-zlib.MAX_WBITS) == b"x" * 1000


def test_the_compressor_decides_the_format() -> None:
    out = io.BytesIO()
    with FlateWriter(out, zlib.compressobj(9, wbits=31)) as writer:
        writer.write(b"gzip")
    assert zlib.decompress(out.getvalue(), wbits=31) == b"gzip"


def test_once_the_destination_raised_every_call_raises_the_same_and_nothing_is_touched() -> None:
    compressor, out = Counting(), Gone()
    writer = FlateWriter(out, compressor)
    with pytest.raises(BrokenPipeError) as first:  # zlib's own header comes with the first write
        writer.write(b"x")
    calls = compressor.calls
    for call in (lambda: writer.write(b"y"), writer.flush, writer.close, writer.close):
        with pytest.raises(BrokenPipeError) as again:
            call()
        assert again.value is first.value
    assert (compressor.calls, out.calls) == (calls, 1)


def test_leaving_the_block_of_a_broken_writer_raises_the_error_once() -> None:
    with pytest.raises(BrokenPipeError) as raised, FlateWriter(Gone(), Counting()) as writer:
        writer.write(b"x")
    assert raised.value.__context__ is None


def test_closed_means_closed() -> None:
    out = io.BytesIO()
    writer = FlateWriter(out)
    writer.close()
    size = len(out.getvalue())
    writer.close()
    for call in (lambda: writer.write(b""), writer.flush):
        with pytest.raises(StateError):
            call()
    assert len(out.getvalue()) == size
    assert not out.closed


def test_a_block_that_raises_does_not_end_the_stream() -> None:
    out = io.BytesIO()
    with pytest.raises(ZeroDivisionError), FlateWriter(out) as writer:
        writer.write(b"half")
        writer.flush()
        raise ZeroDivisionError
    reader = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    assert reader.decompress(out.getvalue()) == b"half"
    assert not reader.eof
