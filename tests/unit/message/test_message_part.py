"""The tree of a message: offsets, fields, types, bodies, embedded messages, and what is read of a file for them."""

import io
import os
from pathlib import Path

import pytest

from moxlib.errors import InputError, LimitExceeded
from moxlib.message import is_dsn, is_report, read_message, readable, structure

MESSAGE = (
    b"From: Jane <jane@example.com>\r\n"
    b"Subject: a\r\n folded\r\n\tsubject\r\n"
    b"X-Trace: one\r\n"
    b"x-trace: two\r\n"
    b"Content-Type: multipart/mixed;\r\n boundary=outer\r\n"
    b"\r\n"
    b"preamble\r\n"
    b"--outer\r\n"
    b'Content-Type: Multipart/Alternative; boundary="in ner"\r\n'
    b"\r\n"
    b"--in ner\r\n"
    b"\r\n"
    b"text\r\n"
    b"--in ner\r\n"
    b"Content-Type: text/html; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: base64\r\n"
    b"\r\n"
    b"PHA+aHRtbDwvcD4=\r\n"
    b"--in ner--\r\n"
    b"--outer\r\n"
    b"Content-Type: application/pdf; name=other.pdf\r\n"
    b"Content-Disposition: Attachment; filename*=UTF-8''na%C3%AFve.pdf\r\n"
    b"Content-ID: <one@example.com>\r\n"
    b"\r\n"
    b"%PDF\r\n"
    b"--outer--\r\n"
    b"epilogue\r\n"
)


class CountingReader:
    """A positional file that notes what is read."""

    def __init__(self, data: bytes, at_most: int | None = None) -> None:
        self.data = data
        self.at_most = at_most
        self.reads: list[tuple[int, int]] = []

    def read_at(self, size: int, offset: int) -> bytes:
        if self.at_most is not None:
            size = min(size, self.at_most)
        self.reads.append((offset, offset + size))
        return self.data[offset : offset + size]

    @property
    def reach(self) -> int:
        return max((end for _, end in self.reads), default=0)


def test_the_tree() -> None:
    root = read_message(MESSAGE)
    alternative, attachment = root.parts
    text, html = alternative.parts
    assert [part.media_type for part in root.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "text/html",
        "application/pdf",
    ]
    assert [part.depth for part in root.walk()] == [0, 1, 2, 2, 1]
    assert (text.raw_body(), html.body(100), html.text(100)) == (b"text", b"<p>html</p>", "<p>html</p>")
    assert (attachment.raw_body(), attachment.parameters) == (b"%PDF", {"name": "other.pdf"})
    assert (attachment.disposition, attachment.filename, attachment.content_id) == (
        "attachment",
        "naïve.pdf",
        "<one@example.com>",
    )
    assert alternative.parameters == {"boundary": "in ner"}
    assert attachment.disposition_parameters == {"filename": "naïve.pdf"}


def test_offsets_are_those_of_the_source() -> None:
    root = read_message(MESSAGE)
    for part in root.walk():
        assert MESSAGE[part.header_start : part.body_start] == part.header
        assert MESSAGE[part.body_start : part.end] == part.raw_body()
        assert part.header.endswith((b"\r\n\r\n", b"--in ner\r\n\r\n", b"\r\n"))
    assert (root.header_start, root.end) == (0, len(MESSAGE))
    html = root.parts[0].parts[1]
    assert html.header_start == MESSAGE.index(b"Content-Type: text/html")
    assert html.body_start == MESSAGE.index(b"PHA+")
    assert html.end == MESSAGE.index(b"\r\n--in ner--")


def test_fields() -> None:
    root = read_message(MESSAGE)
    assert root.get("SUBJECT") == "a folded subject"
    assert root.values("X-Trace") == ("one", "two")
    assert root.get("x-trace") == "one"
    assert (root.get("none"), root.values("none"), root.get("nöne")) == ("", (), "")


def test_parts_are_a_lazy_sequence() -> None:
    root = read_message(MESSAGE)
    assert root.parts is root.parts
    assert repr(root.parts) == "<Parts [], ...>"
    first = root.parts[0]
    assert root.parts[0] is first
    assert first in root.parts
    assert (len(root.parts), root.parts[-1], root.parts[1:]) == (2, root.parts[1], (root.parts[1],))
    assert root.parts[-2] is first
    assert repr(root.parts) == f"<Parts [{first}, {root.parts[1]}]>"
    for index in (2, -3):
        with pytest.raises(IndexError):
            root.parts[index]


def test_raw_and_decoded_bodies_have_limits() -> None:
    html = read_message(MESSAGE).parts[0].parts[1]
    assert html.raw_body(16) == b"PHA+aHRtbDwvcD4="
    assert html.body(11) == b"<p>html</p>"
    with pytest.raises(LimitExceeded):
        html.raw_body(15)
    with pytest.raises(LimitExceeded):
        html.body(10)
    assert html.text(3) == "<p>"
    assert b"".join(html.raw_chunks()) == b"PHA+aHRtbDwvcD4="
    assert html.decoded_size == 11


def test_a_body_is_decoded_in_bounded_chunks() -> None:
    content = b"Content-Transfer-Encoding: base64\r\n\r\n" + b"QUJD" * 1_000_000
    chunks = list(read_message(content).chunks())
    assert b"".join(chunks) == b"ABC" * 1_000_000
    assert max(map(len, chunks)) <= 64 * 1024


def test_decoded_size_counts_line_ends_of_text_as_crlf() -> None:
    lines = b"a\nb\r\n" * 50_000  # over a chunk, so that some line end is cut
    assert read_message(b"\r\n" + lines).decoded_size == 6 * 50_000
    assert read_message(b"Content-Type: image/png\r\n\r\n" + lines).decoded_size == 5 * 50_000


def test_defaults() -> None:
    part = read_message(b"Subject: x\r\n\r\n")
    assert (part.media_type, dict(part.parameters), part.transfer_encoding) == ("text/plain", {}, "7bit")
    assert (part.disposition, part.filename, part.content_id, part.report_type) == ("", "", "", "")
    assert (part.parts, part.message) == ((), None)


@pytest.mark.parametrize(
    ("value", "media_type"),
    [
        ("", "text/plain"),
        ("TEXT/HTML", "text/html"),
        ("text/x (a comment)", "text/x"),
        ("text", "application/octet-stream"),
        ("; charset=utf-8", "application/octet-stream"),
        ("/", "application/octet-stream"),
        ("text/plain charset=utf-8", "text/plain"),
    ],
)
def test_media_types(value: str, media_type: str) -> None:
    part = read_message(f"Content-Type: {value}\r\nContent-Type: x/y\r\n\r\n".encode())
    assert part.media_type == media_type


# Embedded messages

INNER = (
    b"From: <x@y.example>\r\nSubject: inner\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--"
)


@pytest.mark.parametrize("media_type", ["message/rfc822", "message/global", "message/news"])
def test_embedded_message(media_type: str) -> None:
    content = f"Content-Type: {media_type}\r\n\r\n".encode()
    part = read_message(content + INNER)
    assert part.message is not None
    assert part.message is part.message
    assert (part.message.header_start, part.message.end, part.message.depth) == (len(content), part.end, 1)
    assert part.message.envelope.subject == "inner"
    assert [found.media_type for found in part.walk()] == [media_type]
    assert [found.media_type for found in part.walk(messages=True)] == [media_type, "multipart/mixed", "text/plain"]
    assert part.decoded_size == len(INNER)


def test_embedded_message_in_a_transfer_encoding() -> None:
    head = b"Content-Type: message/global\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    part = read_message(head + INNER.replace(b"=", b"=3D").replace(b"inner", b"=\r\nin=6Eer"))
    assert part.message is not None
    assert part.message.header_start == 0
    assert part.message.header + part.message.raw_body() == INNER
    assert part.message.parts[0].raw_body() == b"x"


# Reports

REPORT = (
    b"Content-Type: multipart/report; report-type=Delivery-Status; boundary=r\r\n\r\n"
    b"--r\r\n\r\nIt failed.\r\n"
    b"--r\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx\r\n"
    b"--r\r\nContent-Type: message/rfc822\r\n\r\n" + INNER + b"\r\n--r--\r\n"
)


def test_reports() -> None:
    part = read_message(REPORT)
    assert (is_report(part), is_dsn(part), part.report_type) == (True, True, "delivery-status")
    assert not is_report(part.parts[1])
    feedback = read_message(REPORT.replace(b"Delivery-Status", b"feedback-report").replace(b"delivery-status", b"feed"))
    assert (is_report(feedback), is_dsn(feedback), feedback.report_type) == (True, False, "feedback-report")
    bare = read_message(b"Content-Type: multipart/report; report-type=x\r\n\r\n")
    assert (is_report(bare), is_dsn(bare)) == (True, False)
    assert read_message(b"Content-Type: text/plain; report-type=x\r\n\r\n").report_type == ""


# Files


def test_sources_of_every_kind(tmp_path: Path) -> None:
    path = tmp_path / "message.eml"
    path.write_bytes(MESSAGE)
    expected = structure(read_message(MESSAGE))
    with path.open("rb") as file:
        for source in (file, file.fileno(), CountingReader(MESSAGE), CountingReader(MESSAGE, at_most=7)):
            assert structure(read_message(source)) == expected
        assert file.tell() == 0
    assert structure(read_message(bytearray(MESSAGE))) == expected
    assert read_message(memoryview(b"A: b\r\n\r\nc")).get("a") == "b"


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 63, 64, 65, 1000])
def test_size_is_found_out(size: int) -> None:
    reader = CountingReader(b"x" * size)
    assert read_message(reader).end == size
    assert len(reader.reads) < 40
    assert all(end - start == 1 for start, end in reader.reads)


def test_size_may_be_given() -> None:
    content = b"A: b\r\n\r\nbody and what is not of the message"
    for source in (content, CountingReader(content)):
        part = read_message(source, size=12)
        assert (part.end, part.raw_body()) == (12, b"body")
    with pytest.raises(InputError):
        read_message(CountingReader(b""), size=-1)
    with pytest.raises(InputError):
        read_message(b"abc", size=-1)
    assert read_message(b"abc", size=9).end == 3


def test_source_without_positions_is_refused() -> None:
    with pytest.raises(io.UnsupportedOperation):
        read_message(io.BytesIO(MESSAGE))


def test_errors_of_a_file_pass() -> None:
    class Broken:
        def read_at(self, size: int, offset: int) -> bytes:
            raise OSError("gone")

    part = read_message(Broken(), size=100)
    with pytest.raises(OSError, match="gone"):
        part.get("subject")


def test_file_that_became_shorter() -> None:
    part = read_message(CountingReader(MESSAGE[:300]), size=len(MESSAGE) + 10**9)
    assert part.get("subject") == "a folded subject"
    assert next(part.walk()).media_type == "multipart/mixed"
    assert readable(part).text == "text"
    assert len(part.raw_body()) == 300 - part.body_start


def test_nothing_is_read_before_it_is_asked_for() -> None:
    reader = CountingReader(MESSAGE)
    part = read_message(reader, size=len(MESSAGE))
    assert reader.reads == []
    repr(part)
    assert reader.reads == []
    part.get("subject")
    assert len(reader.reads) == 1
    for found in part.walk():
        assert found.filename is not None
    assert len(reader.reads) == 1  # it is smaller than a block


def test_header_of_a_large_file_is_read_without_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "large.eml"
    path.write_bytes(MESSAGE)
    with path.open("r+b") as file:
        file.truncate(50 * 1024 * 1024)
        descriptor = file.fileno()

        class Sparse(CountingReader):
            def read_at(self, size: int, offset: int) -> bytes:
                self.reads.append((offset, offset + size))
                return os.pread(descriptor, size, offset)

        reader = Sparse(b"")
        part = read_message(reader, size=50 * 1024 * 1024)
        assert part.envelope.subject == "a folded subject"
        assert part.parts[0].parts[1].body(100) == b"<p>html</p>"
        assert reader.reach <= 64 * 1024
        assert part.parts[1].filename == "naïve.pdf"
        assert reader.reach <= 64 * 1024  # the closing delimiter is there already
        assert part.decoded_size == 50 * 1024 * 1024 - part.body_start
        assert max(end - start for start, end in reader.reads) <= 64 * 1024


def test_child_behind_a_large_one_is_searched_for_block_by_block() -> None:
    large = b"--b\r\nContent-Type: image/png\r\n\r\n" + b"x\r\n" * 1_000_000
    content = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nfirst\r\n"
        + large
        + b"--b\r\nContent-Type: text/x\r\n\r\nlast"
    )
    reader = CountingReader(content)
    part = read_message(reader, size=len(content))
    assert part.parts[0].raw_body() == b"first"
    assert reader.reach <= 32 * 1024
    assert part.parts[2].raw_body() == b"last"
    assert sum(end - start for start, end in reader.reads) < len(content) + 300 * 1024
    assert max(end - start for start, end in reader.reads) <= 32 * 1024


def test_many_small_parts_of_a_file_take_few_reads() -> None:
    content = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\nA: b\r\n\r\nx\r\n" * 5000 + b"--b--\r\n"
    reader = CountingReader(content)
    part = read_message(reader, size=len(content))
    assert {found.get("a") + found.text(10) for found in part.parts} == {"bx"}
    assert len(reader.reads) < 3 * len(content) / (32 * 1024) + 10
