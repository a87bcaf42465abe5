"""What a queue must know of a message, without parsing it whole: header facts, line ends, serialisation.

    inspect_header(head: bytes) -> HeaderFacts          one fast scan of the header block; raises InvalidMessage
    HeaderFacts     message_id, subject, has_date, has_message_id, tls_required_no, needs_smtputf8, bcc_spans, size;
                    on request from_addresses, sender, recipients, envelope(), without_bcc()
    check_lines(data: bytes) -> LineFacts               whole messages; raises InvalidMessage for a bare CR or LF
    LineCheck()     the same over chunks: feed(chunk), finish() -> LineFacts
    LineFacts       size, eight_bit, header_end, ends_in_crlf
    to_crlf(data: bytes) -> bytes                       any line ends to CRLF
    serialize(message: email.message.Message) -> bytes  CRLF line ends, without Bcc; raises InvalidMessage
    envelope_of(message) -> (sender: str, recipients: tuple[str, ...])
    check_header_value(name: str, value: str) -> None   for header fields that one writes oneself
    split_addresses(value: str) -> list[str]            the addr-specs of an address-list header, unchecked
    MAX_HEADER      octets that a header block may have; pass `inspect_header` at least one more, or the whole message
    InvalidMessage  an `InputError` with `reason`, `line` (from 1) and `offset` (from 0), the latter two None if unknown

Addresses come out as texts, in order and without repeats; `moxlib.smtp.parse_address` judges them.
"""

from moxlib.message.addresses import split_addresses
from moxlib.message.errors import InvalidMessage
from moxlib.message.header import MAX_HEADER, HeaderFacts, check_header_value, inspect_header
from moxlib.message.lines import LineCheck, LineFacts, check_lines, to_crlf
from moxlib.message.serialize import envelope_of, serialize

__all__ = [
    "MAX_HEADER",
    "HeaderFacts",
    "InvalidMessage",
    "LineCheck",
    "LineFacts",
    "check_header_value",
    "check_lines",
    "envelope_of",
    "inspect_header",
    "serialize",
    "split_addresses",
    "to_crlf",
]
