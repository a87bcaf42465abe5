"""Delivery status notifications, written (RFC 3464, RFC 6522, RFC 6533).

In two forms. The one is in 7 bits: addresses and domains with escapes and in ASCII, other text in encoded words, and
transfer encodings. The other is in UTF-8, and only SMTPUTF8 can carry it.
"""

import re
import secrets
from binascii import b2a_base64, b2a_qp
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from moxlib._clock import Clock, SystemClock
from moxlib.dns import InvalidDomain, parse_domain
from moxlib.dsn import text as write
from moxlib.dsn.errors import InvalidDSN
from moxlib.dsn.types import DSN, MTA, UTF8, RecipientStatus, Returned, TypedAddress, default_status
from moxlib.smtp import parse_path

__all__ = ["compose", "needs_utf8"]

MAX_LINE: Final = 998  # octets without the line end, RFC 5322 2.1.1

_boundary = re.compile(r"[A-Za-z0-9'()+_,./:=?-]{1,70}").fullmatch  # RFC 2046 5.1.1; without blanks, which it may have
_special = re.compile(r'[()<>"]')
_unclean = re.compile(rb"\r(?!\n)|(?<!\r)\n|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]").search


def compose(dsn: DSN, *, smtputf8: bool, clock: Clock | None = None, boundary: str | None = None) -> bytes:
    """Write a notification as a message, ready to be sent with an empty MAIL FROM (RFC 3464 2).

    What is written is read back by `parse_dsn` as equal data, from either form; save that of a recipient at an address
    literal, `jo@[192.0.2.1]`, which it refuses as mox does. Nothing in the data can become a header field or a part of
    its own.

    Args:
        dsn: needs `from_address` and `message_id`, and a type where it has a diagnostic text.
        smtputf8: in UTF-8 (message/global-delivery-status). `needs_utf8` tells when that says more than the other.
        clock: tells the Date; the system's if not given.
        boundary: between the parts; a random one if not given.

    Returns:
        The message, with CRLF line ends. Without `smtputf8` it is in 7 bits, save where it returns a whole message with
        8-bit content, which is not to be encoded (RFC 2046 5.2.1).

    Raises:
        InvalidDSN: something is missing; or the boundary is none, or occurs in the content.
    """
    if not dsn.from_address:
        raise InvalidDSN("missing", "From")  # RFC 5322 3.6
    if not dsn.message_id:
        raise InvalidDSN("missing", "Message-ID")
    parts = [_text_part(dsn.text, utf8=smtputf8), _status_part(dsn, utf8=smtputf8)]
    if dsn.returned is not None:
        parts.append(_returned_part(dsn.returned, utf8=smtputf8))
    boundary = _free_boundary(parts) if boundary is None else _checked_boundary(boundary, parts)
    header = "".join(_header(dsn, boundary, clock or SystemClock(), utf8=smtputf8))
    delimiter = b"--" + boundary.encode()
    pieces = [header.encode(), b"\r\n"]
    for part in parts:
        pieces += (delimiter, b"\r\n", part.header.encode(), b"\r\n", part.content, b"\r\n")
    pieces += (delimiter, b"--\r\n")
    return b"".join(pieces)


def needs_utf8(dsn: DSN) -> bool:
    """Return whether the UTF-8 form says something plainly that the 7-bit form has to encode."""
    return not "".join(_header(dsn, "", None, utf8=True)).isascii() or not _status_text(dsn, utf8=True).isascii()


@dataclass(frozen=True, slots=True)
class _Part:
    """A part: its header, each line ended, and its content, transfer encoding applied."""

    header: str
    content: bytes


def _header(dsn: DSN, boundary: str, clock: Clock | None, *, utf8: bool) -> Iterator[str]:
    yield write.field("From", _mailbox(dsn.from_address, utf8=utf8))
    if dsn.to_address:
        yield write.field("To", _mailbox(dsn.to_address, utf8=utf8))
    yield write.field("Subject", write.phrase(dsn.subject, utf8=utf8))
    yield f"Message-Id: {dsn.message_id}\r\n"
    if dsn.references:
        yield write.field("References", " ".join(dsn.references))
    if clock is not None:
        yield f"Date: {write.date(clock.now())}\r\n"
    yield "MIME-Version: 1.0\r\n"
    yield f'Content-Type: multipart/report; report-type="delivery-status";\r\n boundary="{boundary}"\r\n'


def _mailbox(address: str, *, utf8: bool) -> str:
    """Return an address for a header. There is no 7-bit form of a localpart beyond ASCII: it is named only.

    That is the name of an empty group, as RFC 6857 3.1.8 has it, which RFC 6854 lets From have.
    """
    packed = parse_path(address).pack(utf8)
    return f"<{packed}>" if utf8 or packed.isascii() else f"{write.words(packed)} :;"


def _text_part(text: str, *, utf8: bool) -> _Part:
    content = text.replace("\n", "\r\n").encode()
    plain = content.isascii() and not utf8
    charset = "us-ascii" if content.isascii() else "utf-8"
    if (utf8 or plain) and _is_clean(content):
        encoding = "7bit" if content.isascii() else "8bit"
    else:
        encoding = "quoted-printable"
        content = b"\r\n".join([_quoted_printable(line) for line in text.encode().split(b"\n")])
    header = f"Content-Type: text/plain; charset={charset}\r\nContent-Transfer-Encoding: {encoding}\r\n"
    return _Part(header, content)


def _quoted_printable(line: bytes) -> bytes:
    return b2a_qp(line, quotetabs=False, istext=False).replace(b"=\n", b"=\r\n")


def _status_part(dsn: DSN, *, utf8: bool) -> _Part:
    content = _status_text(dsn, utf8=utf8)
    subtype = "global-delivery-status" if utf8 else "delivery-status"  # RFC 6533 4
    encoding = "7bit" if content.isascii() else "8bit"
    return _Part(f"Content-Type: message/{subtype}\r\nContent-Transfer-Encoding: {encoding}\r\n", content.encode())


def _status_text(dsn: DSN, *, utf8: bool) -> str:
    groups = [_message_fields(dsn, utf8=utf8), *(_recipient_fields(one, utf8=utf8) for one in dsn.recipients)]
    return "\r\n".join("".join(write.field(name, value) for name, value in group) for group in groups)


def _message_fields(dsn: DSN, *, utf8: bool) -> Iterator[tuple[str, str]]:
    if dsn.original_envelope_id:
        yield "Original-Envelope-Id", dsn.original_envelope_id
    yield "Reporting-MTA", _mta(dsn.reporting_mta, utf8=utf8)
    if dsn.dsn_gateway is not None:
        yield "DSN-Gateway", _mta(dsn.dsn_gateway, utf8=utf8)
    if dsn.received_from_mta is not None:
        yield "Received-From-MTA", _mta(dsn.received_from_mta, utf8=utf8)
    if dsn.arrival_date is not None:
        yield "Arrival-Date", write.date(dsn.arrival_date)
    yield from _extensions(dsn.extensions, utf8=utf8)


def _recipient_fields(recipient: RecipientStatus, *, utf8: bool) -> Iterator[tuple[str, str]]:
    if recipient.original_recipient is not None:
        yield "Original-Recipient", _address(recipient.original_recipient, utf8=utf8)
    yield "Final-Recipient", _address(recipient.final_recipient, utf8=utf8)
    yield "Action", recipient.action
    yield (
        "Status",
        f"{recipient.status or default_status(recipient.action)}{write.comment(recipient.status_comment, utf8=utf8)}",
    )
    if recipient.remote_mta is not None:
        yield "Remote-MTA", _mta(recipient.remote_mta, utf8=utf8)
    if recipient.diagnostic_type:
        text = write.phrase(recipient.diagnostic_text, utf8=utf8)
        yield "Diagnostic-Code", f"{recipient.diagnostic_type}; {text}"
    elif recipient.diagnostic_text:
        raise InvalidDSN("a text without a type", "Diagnostic-Code", value=recipient.diagnostic_text)
    if recipient.last_attempt_date is not None:
        yield "Last-Attempt-Date", write.date(recipient.last_attempt_date)
    if recipient.final_log_id:
        yield "Final-Log-ID", write.phrase(recipient.final_log_id, utf8=utf8)
    if recipient.will_retry_until is not None:
        yield "Will-Retry-Until", write.date(recipient.will_retry_until)
    yield from _extensions(recipient.extensions, utf8=utf8)


def _extensions(extensions: Iterable[tuple[str, str]], *, utf8: bool) -> Iterator[tuple[str, str]]:
    return ((name, write.phrase(value, utf8=utf8)) for name, value in extensions)


def _address(address: TypedAddress, *, utf8: bool) -> str:
    if not address.is_mail:
        return f"{address.type};{write.token(address.address, utf8=utf8)}"
    if not utf8 and address.type != UTF8:
        return f"{address.type};{address.address}"
    path = parse_path(address.address)
    if utf8:
        return f"{UTF8};{path.pack(smtputf8=True)}"
    # RFC 6533 3 lets them stand, but in a field parentheses are comments, and angle brackets are taken off.
    localpart = _special.sub(lambda match: f"\\x{{{ord(match[0]):x}}}", path.localpart.dsn(utf8=False))
    return f"{UTF8};{localpart}@{path.host}"


def _mta(mta: MTA, *, utf8: bool) -> str:
    name = write.token(_in_unicode(mta.name) if utf8 else mta.name, utf8=utf8)
    kind = f"{mta.type}; " if mta.type else ""
    return f"{kind}{name}{write.comment(mta.comment, utf8=utf8)}"


def _in_unicode(name: str) -> str:
    if "xn--" not in name:
        return name
    try:
        domain = parse_domain(name)
    except InvalidDomain:
        return name
    return domain.unicode if domain.unicode and domain.ascii == name else name


def _returned_part(returned: Returned, *, utf8: bool) -> _Part:
    content = returned.content
    clean = _is_clean(content)
    ascii_only = clean and content.isascii()
    if not returned.whole:
        kind = "message/global-headers" if utf8 else "text/rfc822-headers"  # RFC 6533 5, 6
        encoding = "7bit" if ascii_only else "8bit" if utf8 and clean else "base64"
        if encoding == "base64" and not utf8:
            kind += "; charset=utf-8"
    elif utf8:
        kind, encoding = "message/global", "7bit" if ascii_only else "8bit" if clean else "base64"
    elif clean and returned.header.isascii():
        kind, encoding = "message/rfc822", "7bit" if ascii_only else "8bit"
    else:  # which message/rfc822 cannot carry (RFC 2046 5.2.1), and message/global can (RFC 6532 3.7)
        kind, encoding = "message/global", "base64"
    if encoding == "base64":
        content = b"".join(
            b2a_base64(content[at : at + 57], newline=False) + b"\r\n" for at in range(0, len(content), 57)
        )
    return _Part(f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n", content)


def _is_clean(content: bytes) -> bool:
    """Whether content can be sent as it is: CRLF line ends, lines that are not too long, no controls."""
    return not _unclean(content) and max(map(len, content.split(b"\r\n"))) <= MAX_LINE


def _free_boundary(parts: list[_Part]) -> str:
    while True:
        boundary = f"=_{secrets.token_hex(16)}"
        if not _occurs(boundary, parts):
            return boundary


def _checked_boundary(boundary: str, parts: list[_Part]) -> str:
    if not _boundary(boundary):
        raise InvalidDSN("not a boundary", "boundary", value=boundary)
    if _occurs(boundary, parts):
        raise InvalidDSN("it occurs in the content", "boundary", value=boundary)
    return boundary


def _occurs(boundary: str, parts: list[_Part]) -> bool:
    delimiter = b"--" + boundary.encode()
    return any(delimiter in part.content for part in parts)
