"""Messages: what a queue must know of one that is sent, composing one, and reading one that has come.

Of one to be sent, without parsing it whole: header facts, line ends, serialisation.

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

Composing:

    compose(draft: Draft, *, smtputf8=None, eight_bit=True, keep_encoded_words=False, hostname="", max_size=None,
            clock=None, random=secrets.token_bytes) -> Composed
    Draft           from_, sender, reply_to, to, cc, bcc, subject, date, message_id, references, in_reply_to, headers,
                    user_agent, text, html, alternatives, inline, attachments, received; raises InvalidDraft
    NamedAddress    address, name
    File            data (bytes, Path, or a file that can seek), name, content_type, content_id
    Received        from_host, by_host, date, from_ip, protocol, id, tls, for_address; field(smtputf8) -> bytes
    Composed        chunks(), to_bytes(), open(), with_bcc(); header, size, message_id, date, sender, recipients,
                    needs_8bit, needs_smtputf8, bcc_field
    detect_content_type(name: str, head: bytes) -> str                empty if it is not known
    InvalidDraft    an `InputError` with `reason`, `field` and `value`

Reading, lazily, whatever is wrong with it:

    read_message(source, *, size=None, limits=Limits()) -> Part       bytes, or SupportsReadAt: a file read by position
    Part            header, header_start, body_start, end; values(name), get(name); media_type, parameters,
                    transfer_encoding, disposition, disposition_parameters, filename, content_id, report_type;
                    parts, message, walk(); raw_body(), raw_chunks(), chunks(), body(max_size), text(max_size),
                    decoded_size; envelope, references
    HeaderEnvelope  from_, sender, reply_to, to, cc, bcc (each of HeaderAddress: name, user, host, address), subject,
                    date, message_id, in_reply_to
    readable(part, max_size=1 MiB) -> ReadableText                     text, html, found
    structure(part) -> Structure                                       content types, sizes and names of all parts
    is_report(part), is_dsn(part) -> bool
    decode_words(text: str) -> str                                     encoded words (RFC 2047)
    parse_date(value: str) -> datetime | None
    Limits          max_header, max_depth, max_parts, max_message

The addresses of header facts come out as texts, in order and without repeats; `moxlib.smtp.parse_address` judges them.
"""

from typing import TYPE_CHECKING

from moxlib._lazy import lazy_names
from moxlib.message.addresses import split_addresses
from moxlib.message.dates import parse_date
from moxlib.message.errors import InvalidDraft, InvalidMessage
from moxlib.message.header import MAX_HEADER, HeaderFacts, check_header_value, inspect_header
from moxlib.message.heading import HeaderAddress, HeaderEnvelope
from moxlib.message.limits import Limits
from moxlib.message.lines import LineCheck, LineFacts, check_lines, to_crlf
from moxlib.message.part import Part, read_message
from moxlib.message.readable import ReadableText, Structure, is_dsn, is_report, readable, structure
from moxlib.message.serialize import envelope_of, serialize
from moxlib.message.source import SupportsReadAt
from moxlib.message.words import decode_words

if TYPE_CHECKING:
    from moxlib.message.composition import Composed, compose
    from moxlib.message.draft import AddressLike, Draft, File, FileData, NamedAddress
    from moxlib.message.mime_types import detect_content_type
    from moxlib.message.trace import Received

__all__ = [
    "MAX_HEADER",
    "AddressLike",
    "Composed",
    "Draft",
    "File",
    "FileData",
    "HeaderAddress",
    "HeaderEnvelope",
    "HeaderFacts",
    "InvalidDraft",
    "InvalidMessage",
    "Limits",
    "LineCheck",
    "LineFacts",
    "NamedAddress",
    "Part",
    "ReadableText",
    "Received",
    "Structure",
    "SupportsReadAt",
    "check_header_value",
    "check_lines",
    "compose",
    "decode_words",
    "detect_content_type",
    "envelope_of",
    "inspect_header",
    "is_dsn",
    "is_report",
    "parse_date",
    "read_message",
    "readable",
    "serialize",
    "split_addresses",
    "structure",
    "to_crlf",
]

if not TYPE_CHECKING:  # a type checker that saw __getattr__ would let every misspelt name pass
    # Most programs that read messages or queue them compose none.
    __getattr__, _ = lazy_names(
        __name__,
        {
            "AddressLike": ".draft",
            "Composed": ".composition",
            "Draft": ".draft",
            "File": ".draft",
            "FileData": ".draft",
            "NamedAddress": ".draft",
            "Received": ".trace",
            "compose": ".composition",
            "detect_content_type": ".mime_types",
        },
    )

    def __dir__() -> list[str]:
        return sorted(__all__)
