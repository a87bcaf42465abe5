"""Files in composed messages: of any size, from memory, paths and open files."""

import base64
import io
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from moxlib.message import Composed, Draft, File, FileData, InvalidDraft, Part, compose, read_message

MIB = 1024 * 1024


def composed(*files: File, text: str = "See attached.") -> Composed:
    return compose(Draft(from_="a@example.com", text=text, attachments=files))


def parts(message: Composed) -> list[Part]:
    raw = b"".join(message.chunks())
    assert len(raw) == message.size
    return list(read_message(raw).parts)


def of_bytes(data: bytes, path: Path) -> FileData:
    return data


def of_view(data: bytes, path: Path) -> FileData:
    return memoryview(data)


def of_path(data: bytes, path: Path) -> FileData:
    path.write_bytes(data)
    return path


def of_memory_file(data: bytes, path: Path) -> FileData:
    file = io.BytesIO(b"before" + data)
    file.seek(6)
    return file


SOURCES = (of_bytes, of_view, of_path, of_memory_file)
CHUNK = 57 * 1024


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("size", [0, 1, 56, 57, 58, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_content_of_any_size_is_read_back(source: Callable[[bytes, Path], FileData], size: int, tmp_path: Path) -> None:
    data = bytes(index * 7 % 251 for index in range(size))
    message = composed(File(data=source(data, tmp_path / "x.dat"), name="x.dat"))
    for _ in range(2):  # each time anew
        [_, attached] = parts(message)
        assert attached.body(MIB) == data
        assert attached.raw_body() == base64.encodebytes(data).replace(b"\n", b"\r\n")
        assert attached.transfer_encoding == "base64"


def test_it_can_be_read_as_a_file(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * 200_000)
    message = composed(File(data=path))
    with message.open() as file:
        assert file.readable()
        pieces = list(iter(lambda: file.read(1000), b""))
    assert b"".join(pieces) == message.to_bytes()
    assert max(map(len, pieces)) == 1000


def test_memory_does_not_grow_with_a_file(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(30 * MIB)
    tracemalloc.start()
    try:
        size = 0
        message = composed(File(data=path))
        for chunk in message.chunks():
            size += len(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size == message.size > 40 * MIB
    assert peak < MIB


def test_an_open_file_is_left_open(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"content")
    with path.open("rb") as file:
        [_, attached] = parts(composed(File(data=file)))
        assert not file.closed
    assert attached.body(10) == b"content"


@pytest.mark.parametrize("size", [10, 10_000])
def test_an_upload_as_web_frameworks_keep_them(size: int) -> None:
    with tempfile.SpooledTemporaryFile(max_size=1000) as upload:
        upload.write(b"x" * size)
        upload.seek(0)
        [_, attached] = parts(composed(File(data=upload)))
    assert attached.body(MIB) == b"x" * size


@pytest.mark.parametrize("size", [5, 9])
def test_a_file_that_has_changed_since_is_noticed(size: int, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"content")
    message = composed(File(data=b"x"), File(data=path))
    path.write_bytes(b"c" * size)
    with pytest.raises(InvalidDraft, match="since the message was composed") as caught:
        message.to_bytes()
    assert caught.value.field == "attachments[1].data"
    path.unlink()
    with pytest.raises(InvalidDraft, match="cannot be read"), message.open() as file:
        file.read()


def test_a_file_that_was_closed_since_is_noticed(tmp_path: Path) -> None:
    file = io.BytesIO(b"content")
    message = composed(File(data=file))
    file.close()
    with pytest.raises(InvalidDraft, match="cannot be read"):
        message.to_bytes()


class Unseekable(io.RawIOBase):
    def readable(self) -> bool:
        return True


class Broken(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError


def closed() -> BinaryIO:
    file = io.BytesIO(b"x")
    file.close()
    return file


@pytest.mark.parametrize(
    "data",
    [
        Path("/nowhere/at/all"),
        Path(__file__).parent,
        io.StringIO("text"),
        Unseekable(),
        Broken(b"x"),
        closed(),
        17,
    ],
    ids=lambda data: type(data).__name__,
)
def test_what_cannot_be_read_is_refused(data: FileData) -> None:
    with pytest.raises(InvalidDraft) as caught:
        composed(File(data=data)).to_bytes()
    assert caught.value.field == "attachments[0].data"


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("x", b"Content-Disposition: attachment; filename=x\r\n"),
        ("a file.txt", b'Content-Disposition: attachment; filename="a file.txt"\r\n'),
        ('a"b\\c', b'Content-Disposition: attachment; filename="a\\"b\\\\c"\r\n'),
        ("a\tb", b'Content-Disposition: attachment; filename="a\tb"\r\n'),
        (
            "na\u00efve \u263a.txt",
            b"Content-Disposition: attachment; filename*=utf-8''na%C3%AFve%20%E2%98%BA.txt\r\n",
        ),
        ("", b"Content-Disposition: attachment\r\n"),
        (
            "l" * 100,
            b"Content-Disposition: attachment;\r\n filename*0*=utf-8''"
            + b"l" * 57
            + b";\r\n filename*1*="
            + b"l" * 43
            + b"\r\n",
        ),
    ],
)
def test_names(name: str, written: bytes) -> None:
    message = composed(File(data=b"x", name=name))
    assert written in message.to_bytes()
    assert parts(message)[1].disposition_parameters.get("filename", "") == name


def test_the_fields_of_a_part() -> None:
    message = compose(
        Draft(
            from_="a@example.com",
            html="<img src=cid:logo@x>",
            inline=File(data=b"x", name="x.png", content_id="logo@x"),
            attachments=[File(data=b"x", content_id="<a@b>"), File(data=b"\0", content_type="")],
        )
    )
    related, attached, unknown = parts(message)
    logo = related.parts[1]
    assert (logo.disposition, logo.content_id, logo.filename, logo.media_type) == (
        "inline",
        "<logo@x>",
        "x.png",
        "image/png",
    )
    assert (attached.disposition, attached.content_id, attached.media_type) == ("attachment", "<a@b>", "text/plain")
    assert unknown.get("content-type") == ""
    assert parts(composed(File(data=b"\0", name="x.bin")))[1].media_type == "application/octet-stream"


@pytest.mark.parametrize(
    ("given", "body", "content_type", "encoding"),
    [
        (b"Subject: x\r\n\r\nhi\r\n", b"Subject: x\r\n\r\nhi\r\n", "message/rfc822", "7bit"),
        (b"Subject: x\n\nhi", b"Subject: x\r\n\r\nhi", "message/rfc822", "7bit"),
        ("Subject: x\r\n\r\nü\r\n".encode(), "Subject: x\r\n\r\nü\r\n".encode(), "message/rfc822", "8bit"),
        (b"Subject: x\r\n\r\n" + b"y" * 999, None, "message/global", "base64"),
        (b"Subject: x\r\n\r\n" + b"y" * 999 + b"\r\n", None, "message/global", "base64"),
        (b"Subject: x\r\n\r\n" + b"y" * 998, b"Subject: x\r\n\r\n" + b"y" * 998, "message/rfc822", "7bit"),
        (b"Subject: x\r\n\r\na\0b", None, "message/global", "base64"),
    ],
)
def test_messages_are_not_encoded_if_they_need_not_be(
    given: bytes, body: bytes | None, content_type: str, encoding: str
) -> None:
    message = composed(File(data=given, name="x.eml"))
    [_, attached] = parts(message)
    assert (attached.media_type, attached.transfer_encoding) == (content_type, encoding)
    assert attached.body(2000) == (given if body is None else body)
    assert message.needs_8bit == (encoding == "8bit")
    assert attached.message is not None
    assert attached.message.envelope.subject == "x"


def test_a_message_of_eight_bits_is_encoded_where_it_may_not_stand() -> None:
    draft = Draft(from_="a@example.com", attachments=File(data="Subject: x\r\n\r\nü\r\n".encode(), name="x.eml"))
    [attached] = parts(compose(draft, eight_bit=False))
    assert (attached.media_type, attached.transfer_encoding) == ("message/global", "base64")


def test_messages_in_files_are_streamed(tmp_path: Path) -> None:
    path = tmp_path / "x.eml"
    path.write_bytes(b"Subject: x\r\n\r\n" + b"line of text\r\n" * 20_000)
    [_, attached] = parts(composed(File(data=path)))
    assert (attached.media_type, attached.transfer_encoding) == ("message/rfc822", "7bit")
    assert attached.body(MIB) == path.read_bytes()
    path.write_bytes(b"Subject: x\n\nhi\n")
    [_, attached] = parts(composed(File(data=path)))
    assert (attached.media_type, attached.transfer_encoding) == ("message/global", "base64")


def test_other_types_of_messages_cannot_be_encoded() -> None:
    with pytest.raises(InvalidDraft) as caught:
        composed(File(data=b"a\0b", content_type="message/delivery-status"))
    assert caught.value.field == "attachments[0].content_type"
