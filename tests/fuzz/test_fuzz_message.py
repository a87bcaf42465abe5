"""Any octets are a message: reading all of it raises nothing, and every part lies within its parent."""

from unittest import mock

from hypothesis import example, given
from hypothesis import strategies as st

from moxlib.message import Limits, Part, Structure, is_dsn, read_message, readable, structure

# Pieces that are nearly messages: what parsers trip over.
NAMES = [
    *(b"From", b"To", b"Subject", b"Date", b"References", b"Content-Type", b"Content-Transfer-Encoding", b"X\xff", b""),
    *(b"Content-Disposition", b"Content-ID", b"content-type ", b" Subject", b"From a@b"),
]
VALUES = [
    *(b"multipart/mixed; boundary=b", b"multipart/digest; boundary=b", b"multipart/report; boundary=c; report-type=x"),
    *(b"message/rfc822", b"message/global", b"text/html; charset=x", b"text/plain; charset=iso-2022-jp", b"/"),
    *(b"base64", b"quoted-printable", b"attachment; filename*0*=utf-8''%ff; filename*1=\"", b"x; a*=''; b=\"\\"),
    *(b"=?utf-8?q?=C3?= =?utf-8?b?vA?=", b'A <a@b.example>, (c) "d" <e@f>, g: h@i;', b'<"', b"a(b(c", b"<a@b> <c"),
    *(b"Mon, 1 Jan 2024 10:00:00 +9999", b"31 Dec 9999 23:59:60 -0001", b"=?utf-7?b?//8?=", b"=?utf-16?b?AA?="),
]
LINES = [b"--b\r\n", b"--b--\r\n", b"--c\n", b"\r\n", b"\n", b"x=\r\n", b"=E9\r", b"aGVsbG8=\r\n", b"\x1b$B", b"--b"]


def joined(*parts: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.tuples(*parts).map(b"".join)


fields = joined(
    st.sampled_from(NAMES),
    st.sampled_from([b": ", b":", b" :\t", b""]),
    st.sampled_from(VALUES) | st.binary(max_size=30),
    st.sampled_from([b"\r\n", b"\r\n", b"\n", b"\r\n ", b""]),
)
lines = st.sampled_from(LINES) | st.binary(max_size=20) | fields
messages = st.binary(max_size=300) | st.lists(fields | lines, max_size=30).map(b"".join)


def within(part: Part, data: bytes) -> None:
    assert part.header_start <= part.body_start <= part.end <= len(data)
    previous = part.body_start
    for child in part.parts:
        assert previous <= child.header_start <= child.end <= part.end
        previous = child.end


def looked_at(part: Part) -> None:
    """Look at everything there is to look at."""
    texts = [part.media_type, part.transfer_encoding, part.disposition, part.filename, part.content_id]
    texts += [*part.parameters.values(), *part.disposition_parameters.values(), *part.references, part.report_type]
    texts += [part.text(50), part.text(100_000), *part.values("from")]
    assert len(part.text(50).encode()) <= 50
    assert sum(map(len, part.chunks())) == len(part.body(100_000)) <= part.decoded_size
    assert len(part.raw_body()) == part.end - part.body_start
    envelope = part.envelope
    texts += [envelope.subject, envelope.message_id, envelope.in_reply_to]
    texts += [text for address in envelope.from_ + envelope.to for text in (*address, address.address)]
    assert all(text.encode().decode() == text for text in texts)  # any database and any JSON takes them
    assert envelope.date is None or envelope.date.utcoffset() is not None


def checked(found: Structure, left: int) -> int:
    """Return how many parts a structure has, and see that nothing of it is wrong for JSON or a database."""
    texts = [found.content_type, found.content_id, found.disposition, found.filename, *found.parameters.values()]
    assert not any("\0" in text or "\n" in text for text in texts)
    assert found.decoded_size >= 0
    assert left > 0
    return 1 + sum(checked(child, left - 1) for child in found.parts)


@given(data=messages)
@example(data=b"")
@example(data=b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n--b")
@example(data=b"Content-Type: message/global\nContent-Transfer-Encoding: base64\n\nAAA")
def test_any_octets_are_read(data: bytes) -> None:
    root = read_message(data, limits=Limits(max_parts=50))
    for part in root.walk(messages=True):
        looked_at(part)
    for part in root.walk():
        within(part, data)
    checked(structure(root), 200)
    assert len(readable(root, 20).text.encode()) <= 20
    assert "\0" not in readable(root).text + readable(root).html
    assert is_dsn(root) in (True, False)


class File:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def read_at(self, size: int, offset: int) -> bytes:
        return self.data[offset : offset + size]


@given(data=messages, block=st.integers(1, 40), head=st.integers(1, 40), chunk=st.integers(1, 40))
def test_a_file_is_read_as_its_octets_are(data: bytes, block: int, head: int, chunk: int) -> None:
    memory = read_message(data, limits=Limits(max_header=100))
    expected = [(part.header_start, part.body_start, part.end) for part in memory.walk()]
    expected_structure, expected_text = structure(memory), readable(memory)
    with (
        mock.patch("moxlib.message.source.BLOCK", block),
        mock.patch("moxlib.message.part.HEAD", head),
        mock.patch("moxlib.message.source.CHUNK", chunk),
        mock.patch("moxlib.message.transfer.CHUNK", chunk),
    ):
        file = read_message(File(data), size=len(data), limits=Limits(max_header=100))
        assert [(part.header_start, part.body_start, part.end) for part in file.walk()] == expected
        # A line of quoted-printable over a chunk keeps blanks that are too many to wait for their line end.
        if b"  " not in data:
            assert structure(file) == expected_structure
            assert readable(file) == expected_text
