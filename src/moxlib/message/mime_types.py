"""Content types by name and by the first octets of content, where none is given.

By tables of our own: `mimetypes` of the standard library reads the machine's files, and so knows here what it does not
know there. By name first, since a name says more than a few octets: a document of an office program is a ZIP archive to
them. But what is text by its name has to be text. What octets tell is what mox finds by them (WHATWG MIME Sniffing).
"""

import re
from typing import Final

__all__ = ["SNIFFED", "detect_content_type"]

SNIFFED: Final = 512  # octets that are looked at, as WHATWG says
MAX_SUFFIX: Final = 12  # characters of a name after its last dot that may say what it is

_TEXT: Final = {
    "css": "text/css",
    "csv": "text/csv",
    "htm": "text/html",
    "html": "text/html",
    "ics": "text/calendar",
    "log": "text/plain",
    "markdown": "text/markdown",
    "md": "text/markdown",
    "mjs": "text/javascript",
    "js": "text/javascript",
    "txt": "text/plain",
    "vcard": "text/vcard",
    "vcf": "text/vcard",
    "tsv": "text/tab-separated-values",
}
_OFFICE: Final = "application/vnd.openxmlformats-officedocument"
_BY_SUFFIX: Final = {
    "7z": "application/x-7z-compressed",
    "aac": "audio/aac",
    "apk": "application/vnd.android.package-archive",
    "asc": "application/pgp-signature",
    "avi": "video/x-msvideo",
    "avif": "image/avif",
    "bmp": "image/bmp",
    "bz2": "application/x-bzip2",
    "doc": "application/msword",
    "docx": f"{_OFFICE}.wordprocessingml.document",
    "eml": "message/rfc822",
    "epub": "application/epub+zip",
    "flac": "audio/flac",
    "gif": "image/gif",
    "gz": "application/gzip",
    "heic": "image/heic",
    "ico": "image/vnd.microsoft.icon",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "json": "application/json",
    "key": "application/vnd.apple.keynote",
    "m4a": "audio/mp4",
    "mov": "video/quicktime",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "mpeg": "video/mpeg",
    "numbers": "application/vnd.apple.numbers",
    "odp": "application/vnd.oasis.opendocument.presentation",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "odt": "application/vnd.oasis.opendocument.text",
    "ogg": "audio/ogg",
    "otf": "font/otf",
    "p7m": "application/pkcs7-mime",
    "p7s": "application/pkcs7-signature",
    "pages": "application/vnd.apple.pages",
    "pdf": "application/pdf",
    "pgp": "application/pgp-encrypted",
    "png": "image/png",
    "ppt": "application/vnd.ms-powerpoint",
    "pptx": f"{_OFFICE}.presentationml.presentation",
    "ps": "application/postscript",
    "rar": "application/vnd.rar",
    "rtf": "application/rtf",
    "svg": "image/svg+xml",
    "tar": "application/x-tar",
    "tgz": "application/gzip",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "ttf": "font/ttf",
    "wasm": "application/wasm",
    "wav": "audio/wav",
    "webm": "video/webm",
    "webp": "image/webp",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "xls": "application/vnd.ms-excel",
    "xlsx": f"{_OFFICE}.spreadsheetml.sheet",
    "xml": "application/xml",
    "xz": "application/x-xz",
    "zip": "application/zip",
    "zst": "application/zstd",
}
_TAGS: Final = (
    rb"!doctype html|html|head|script|iframe|h1|div|font|table|a|style|title|b|body|br|p"  # with what ends their name
)
_html = re.compile(rb"[\t\n\f\r ]*+<(?:(?:" + _TAGS + rb")[ >]|!--)", re.IGNORECASE).match
_xml = re.compile(rb"[\t\n\f\r ]*+<\?xml").match
_binary = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]").search
_SIGNATURES: Final = (
    (rb"%PDF-", "application/pdf"),
    (rb"%!PS-Adobe-", "application/postscript"),
    (rb"\xfe\xff", "text/plain; charset=utf-16be"),
    (rb"\xff\xfe", "text/plain; charset=utf-16le"),
    (rb"\xef\xbb\xbf", "text/plain; charset=utf-8"),
    (rb"GIF8[79]a", "image/gif"),
    (rb"\x89PNG\r\n\x1a\n", "image/png"),
    (rb"\xff\xd8\xff", "image/jpeg"),
    (rb"BM", "image/bmp"),
    (rb"\x00\x00[\x01\x02]\x00", "image/x-icon"),
    (rb"RIFF.{4}WEBPVP", "image/webp"),
    (rb"RIFF.{4}WAVE", "audio/wave"),
    (rb"RIFF.{4}AVI ", "video/avi"),
    (rb"FORM.{4}AIFF", "audio/aiff"),
    (rb"\.snd", "audio/basic"),
    (rb"ID3", "audio/mpeg"),
    (rb"OggS\x00", "application/ogg"),
    (rb"MThd\x00\x00\x00\x06", "audio/midi"),
    (rb".{4}ftypmp4", "video/mp4"),
    (rb"\x1aE\xdf\xa3", "video/webm"),
    (rb"wOFF", "font/woff"),
    (rb"wOF2", "font/woff2"),
    (rb"OTTO", "font/otf"),
    (rb"ttcf", "font/collection"),
    (rb"\x00\x01\x00\x00", "font/ttf"),
    (rb"\x1f\x8b\x08", "application/x-gzip"),
    (rb"PK\x03\x04", "application/zip"),
    (rb"Rar!\x1a\x07[\x00\x01]", "application/x-rar-compressed"),
    (rb"\x00asm", "application/wasm"),
)
_signature = re.compile(b"|".join(b"(" + pattern + b")" for pattern, _ in _SIGNATURES), re.DOTALL).match


def detect_content_type(name: str, head: bytes) -> str:
    """Return the content type of a file, with the charset where it is text; empty if it is not known.

    Args:
        name: of the file; may be empty.
        head: its first 512 octets, or all it has.
    """
    head = head[:SNIFFED]
    suffix = name[-MAX_SUFFIX - 1 :].rpartition(".")[2].lower() if "." in name else ""
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    is_text = _is_utf8_text(head)
    if suffix in _TEXT and is_text:
        return f"{_TEXT[suffix]}; charset=utf-8"
    if _html(head):
        return "text/html; charset=utf-8" if is_text else "text/html"
    if _xml(head):
        return "text/xml; charset=utf-8" if is_text else "text/xml"
    if match := _signature(head):
        return _SIGNATURES[(match.lastindex or 1) - 1][1]
    return "text/plain; charset=utf-8" if is_text else ""


def _is_utf8_text(head: bytes) -> bool:
    if _binary(head):
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        # A character that goes on after what was looked at
        return len(head) == SNIFFED and error.reason == "unexpected end of data"
    return True
