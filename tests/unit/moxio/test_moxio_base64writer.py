"""Base64Writer where it ends, fails and is given odd things."""

# ruff: noqa: PT012 - how a block is left is what is tested

import io

import pytest

from moxlib.errors import StateError
from moxlib.moxio import Base64Writer


class Full:
    """A destination that takes `room` bytes, and raises when more come."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.calls = 0

    def write(self, data: bytes, /) -> None:
        self.calls += 1
        self.room -= len(data)
        if self.room < 0:
            raise OSError(28, "No space left on device")


class OneByteAtATime(io.RawIOBase):
    """A raw destination, which takes less than it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.got = b""

    def write(self, data: bytes, /) -> int:  # type: ignore[override] # given bytes only
        self.got += data[:1]
        return min(1, len(data))


def test_no_data_gives_no_output() -> None:
    out = io.BytesIO()
    with Base64Writer(out) as writer:
        writer.write(b"")
    assert out.getvalue() == b""


def test_a_full_line_is_ended_at_once_and_not_again_at_the_close() -> None:
    out = io.BytesIO()
    with Base64Writer(out) as writer:
        writer.write(bytes(57))
        assert out.getvalue() == b"A" * 76 + b"\r\n"
    assert out.getvalue() == b"A" * 76 + b"\r\n"


def test_the_rest_is_padded_at_the_close() -> None:
    out = io.BytesIO()
    writer = Base64Writer(out)
    writer.write(b"Many")
    assert out.getvalue() == b"TWFu"
    writer.close()
    writer.close()
    assert out.getvalue() == b"TWFueQ==\r\n"
    assert not out.closed


@pytest.mark.parametrize("data", [bytearray(b"Many"), memoryview(b"Many"), memoryview(b"xMany")[1:]])
def test_any_buffer_will_do_and_may_be_reused(data: bytearray | memoryview) -> None:
    out = io.BytesIO()
    with Base64Writer(out) as writer:
        assert writer.write(data) == 4
        if isinstance(data, bytearray):
            data[:] = b"????"
    assert out.getvalue() == b"TWFueQ==\r\n"


def test_a_raw_destination_gets_everything() -> None:
    out = OneByteAtATime()
    with Base64Writer(out) as writer:
        writer.write(bytes(60))
    assert out.got == b"A" * 76 + b"\r\nAAAA\r\n"


def test_closed_means_closed() -> None:
    writer = Base64Writer(io.BytesIO())
    writer.close()
    with pytest.raises(StateError):
        writer.write(b"x")


def test_an_error_of_the_destination_stays() -> None:
    out = Full(78)
    writer = Base64Writer(out)
    writer.write(bytes(57))
    with pytest.raises(OSError, match="No space") as first:
        writer.write(bytes(57))
    calls = out.calls
    for call in (lambda: writer.write(b"x"), writer.close, writer.close):
        with pytest.raises(OSError, match="No space") as again:
            call()
        assert again.value is first.value
    assert out.calls == calls


def test_an_error_of_the_last_write_stays() -> None:
    out = Full(0)
    writer = Base64Writer(out)
    writer.write(b"x")
    for _ in range(2):
        with pytest.raises(OSError, match="No space"):
            writer.close()
    assert out.calls == 1


def test_a_block_that_raises_leaves_the_output_visibly_cut_off() -> None:
    out = io.BytesIO()
    writer = Base64Writer(out)
    with pytest.raises(ZeroDivisionError), writer:
        writer.write(b"Many")
        raise ZeroDivisionError
    assert out.getvalue() == b"TWFu"
    with pytest.raises(StateError):
        writer.write(b"x")
