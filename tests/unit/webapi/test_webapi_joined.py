"""Octets and a file behind them, as one file."""

import io
from pathlib import Path

import pytest

from moxlib.webapi.joined import Joined


@pytest.mark.parametrize("head", [b"", b"head", b"h" * 1000])
@pytest.mark.parametrize("body", [b"", b"body", b"b" * 1000])
@pytest.mark.parametrize("size", [1, 3, 4, 5, 999, 5000])
def test_it_is_read_as_one(tmp_path: Path, head: bytes, body: bytes, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(body)
    with path.open("rb") as file:
        file.seek(2)
        joined = Joined(head, file)
        pieces = list(iter(lambda: joined.read(size), b""))
        assert b"".join(pieces) == head + body
        assert joined.read(size) == b""
        joined.close()
        assert not file.closed


def test_it_is_read_whole() -> None:
    assert Joined(b"head", io.BytesIO(b"body")).read() == b"headbody"


def test_what_lies_in_memory_is_octets(tmp_path: Path) -> None:
    assert Joined(b"head", io.BytesIO(b"body")).content() == b"headbody"
    with (tmp_path / "file").open("w+b") as file:
        joined = Joined(b"head", file)
        assert joined.content() is joined
