"""Transfer encodings over chunks: however they are cut, and in bounded memory; and files, block by block."""

from collections.abc import Iterator

import pytest

from moxlib.message.source import BLOCK, CHUNK, FileSource
from moxlib.message.transfer import decode_chunks


def cut_at(data: bytes, position: int) -> list[bytes]:
    return [data[:position], *(data[start : start + CHUNK] for start in range(position, len(data), CHUNK))]


@pytest.mark.parametrize("position", range(CHUNK - 4, CHUNK + 5))
def test_a_long_line_of_quoted_printable_is_cut_between_escapes(position: int) -> None:
    encoded = b"=41" * CHUNK
    assert b"".join(decode_chunks("quoted-printable", cut_at(encoded, position))) == b"A" * CHUNK


@pytest.mark.parametrize("shift", range(6))
@pytest.mark.parametrize(
    "end", [b"=\r\nb", b"= \t\r\nb", b"=\nb", b"=20=\r\nb", b"  \r\nb", b" =\r\nb", b"=", b" =4", b"  "]
)
def test_a_long_line_of_quoted_printable_is_cut_as_it_would_be_whole(shift: int, end: bytes) -> None:
    encoded = b"x" * (2 * CHUNK - shift) + end
    whole = b"".join(decode_chunks("quoted-printable", [encoded]))
    assert b"".join(decode_chunks("quoted-printable", cut_at(encoded, CHUNK))) == whole
    assert b"".join(decode_chunks("quoted-printable", [b"x", encoded[1:]])) == whole


def test_blanks_without_end_are_not_kept() -> None:
    taken = 0

    def blanks() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b" " * CHUNK

    decoded = decode_chunks("quoted-printable", blanks())
    assert sum(len(next(decoded)) for _ in range(10)) <= taken * CHUNK
    assert taken < 30


@pytest.mark.parametrize("cut", range(1, 9))
def test_base64_is_decoded_alike_however_it_is_cut(cut: int) -> None:
    encoded = b"=aG\r\nVs\r\n=bG8g\r\nd29ybGQ=\r\nZZZZ"
    chunks = [encoded[start : start + cut] for start in range(0, len(encoded), cut)]
    assert b"".join(decode_chunks("base64", chunks)) == b"hello world"


@pytest.mark.parametrize("offset", range(BLOCK - 8, BLOCK + 4))
def test_what_is_across_blocks_of_a_file_is_found(offset: int) -> None:
    data = b"x" * offset + b"needle" + b"x" * BLOCK

    def read_at(size: int, start: int) -> bytes:
        return data[start : start + size]

    assert FileSource(read_at, len(data)).find(b"needle", 0, len(data)) == offset
    assert FileSource(read_at, len(data)).find(b"needle", 3, offset + 6) == offset
    assert FileSource(read_at, len(data)).find(b"needle", 0, offset + 5) == -1
    assert FileSource(read_at, len(data)).find(b"needle", offset + 1, len(data)) == -1
    assert FileSource(read_at, offset + 5).find(b"needle", 0, len(data)) == -1
    assert FileSource(read_at, len(data)).read(offset, offset + 6) == b"needle"
    assert FileSource(read_at, len(data)).read(offset + 6, offset) == b""
