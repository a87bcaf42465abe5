"""Content types, found out by name and by content."""

import mimetypes

import pytest

from moxlib.message import detect_content_type
from moxlib.message.mime_types import _BY_SUFFIX, _TEXT

UTF8 = "; charset=utf-8"
# Where the standard library has another name, an older one or one of some system's.
OTHERWISE = {
    "bmp",
    "wav",
    "bz2",
    "xz",
    "gz",
    "rtf",
    "ico",
    "p7m",
    "key",
    "apk",
    "tgz",
    "js",
    "mjs",
    "xml",
    "vcf",
    "vcard",
}


@pytest.mark.parametrize(
    ("name", "head", "found"),
    [
        ("", b"%PDF-1.7", "application/pdf"),
        ("x", b"\x89PNG\r\n\x1a\nrest", "image/png"),
        ("", b"GIF89a", "image/gif"),
        ("", b"\xff\xd8\xff\xe0", "image/jpeg"),
        ("", b"PK\x03\x04", "application/zip"),
        ("", b"\x1f\x8b\x08", "application/x-gzip"),
        ("", b"RIFF\0\n\xff\0WEBPVP8", "image/webp"),
        ("", b"\0\0\0\x20ftypmp42", "video/mp4"),
        ("", b"plain text", "text/plain" + UTF8),
        ("", b"", "text/plain" + UTF8),
        ("", b"  <!DOCTYPE html>", "text/html" + UTF8),
        ("", b"<P>", "text/html" + UTF8),
        ("", b"<pre>", "text/plain" + UTF8),
        ("", b"<?xml version='1.0'?>", "text/xml" + UTF8),
        ("", b"\xff\xfea\0", "text/plain; charset=utf-16le"),
        ("", b"\xef\xbb\xbfa", "text/plain; charset=utf-8"),
        ("", b"gr\xfcn", ""),
        ("", bytes(range(256)), ""),
        ("", b"x" * 511 + "ü".encode(), "text/plain" + UTF8),
        ("", b"x" * 10 + "ü".encode()[:1], ""),
        ("report.docx", b"PK\x03\x04", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("REPORT.PDF", b"anything", "application/pdf"),
        ("list.csv", b"a,b\n", "text/csv" + UTF8),
        ("list.csv", b"gr\xfcn", ""),
        ("page.html", b"no tags", "text/html" + UTF8),
        ("x.txt", b"%PDF-\0", "application/pdf"),
        ("invite.ics", b"BEGIN:VCALENDAR", "text/calendar" + UTF8),
        ("x.eml", b"", "message/rfc822"),
        ("x.bin", b"\0", ""),
        ("pdf", b"\0", ""),
        (".pdf", b"\0", "application/pdf"),
        ("x." + "y" * 1000 + "pdf", b"\0", ""),
        ("x.pdf.unknown", b"\0", ""),
    ],
)
def test_types(name: str, head: bytes, found: str) -> None:
    assert detect_content_type(name, head) == found


def test_only_the_first_octets_are_looked_at() -> None:
    assert detect_content_type("", b"x" * 512 + b"\0") == "text/plain" + UTF8


def test_the_table_agrees_with_the_standard_librarys() -> None:
    known = mimetypes.MimeTypes(filenames=()).types_map[True]
    ours = {suffix: kind for suffix, kind in (_BY_SUFFIX | _TEXT).items() if suffix not in OTHERWISE}
    different = {
        suffix: (kind, known[f".{suffix}"]) for suffix, kind in ours.items() if known.get(f".{suffix}", kind) != kind
    }
    assert different == {}
