"""The vocabulary of SMTP, without I/O: addresses, paths, reply codes, dot-stuffing, xtext.

Addresses (`address`, `path`):

    parse_address(text: str) -> Address                 user@domain, quoted localparts, Unicode
    parse_unquoted_address(text: str) -> Address | None as header parsers hand them out, with quotes already taken off
    parse_dsn_address(text: str) -> Address             as `dsn(utf8=False)` writes them
    parse_localpart(text: str) -> Localpart
    parse_path(text: str) -> Path                       also address literals, `<...>`, and the null path `<>`
    Address(localpart=Localpart, domain=Domain)         pack(smtputf8), dsn(utf8), needs_smtputf8; str() in ASCII
    Localpart(value=str)                                str() quotes where needed; dsn(utf8), needs_smtputf8
    Path(localpart=Localpart, host=IPDomain)            pack(smtputf8) as MAIL FROM and RCPT TO write it, without <>
    InvalidAddress                                      an `InputError` with `reason` and `value`

Codes (`codes`): `ReplyCode` (an IntEnum of reply codes), `EnhancedCode(class_, subject, detail)` with
`EnhancedCode.parse("5.1.1")`, and `Detail`, the registered subject.detail pairs, each with `.permanent`,
`.transient` and `.success` forms; `InvalidEnhancedCode` is what parse raises.

Message data (`data`): `dot_stuff(data: bytes) -> bytes`, `DotStuffer` (`feed`, `finish`), `END_OF_DATA`; and for
servers `DotUnstuffer` (`feed`, `done`, `rest`) and `dot_unstuff(data: bytes) -> bytes`.

Parameters (`xtext`): `encode_xtext(text: str) -> str` and `decode_xtext(text: str) -> str` (RFC 3461), which raise
`InvalidXtext`; `encode_utf8_address(address: str, smtputf8: bool) -> str` (RFC 6533).
"""

from moxlib.smtp.address import (
    MAX_ADDRESS,
    MAX_LOCALPART,
    Address,
    InvalidAddress,
    Localpart,
    parse_address,
    parse_dsn_address,
    parse_localpart,
    parse_unquoted_address,
)
from moxlib.smtp.codes import Detail, EnhancedCode, InvalidEnhancedCode, ReplyCode
from moxlib.smtp.data import END_OF_DATA, DotStuffer, DotUnstuffer, dot_stuff, dot_unstuff
from moxlib.smtp.path import Path, parse_path
from moxlib.smtp.xtext import InvalidXtext, decode_xtext, encode_utf8_address, encode_xtext

__all__ = [
    "END_OF_DATA",
    "MAX_ADDRESS",
    "MAX_LOCALPART",
    "Address",
    "Detail",
    "DotStuffer",
    "DotUnstuffer",
    "EnhancedCode",
    "InvalidAddress",
    "InvalidEnhancedCode",
    "InvalidXtext",
    "Localpart",
    "Path",
    "ReplyCode",
    "decode_xtext",
    "dot_stuff",
    "dot_unstuff",
    "encode_utf8_address",
    "encode_xtext",
    "parse_address",
    "parse_dsn_address",
    "parse_localpart",
    "parse_path",
    "parse_unquoted_address",
]
