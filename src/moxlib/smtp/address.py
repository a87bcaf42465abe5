"""Email addresses: a localpart and a domain, parsed from and packed for SMTP (RFC 5321 4.1.2, RFC 6531 3.3).

A localpart is kept decoded: without quotes and backslashes, in Unicode NFC. Packing quotes it where it must be.
Plain ASCII addresses, which are nearly all, take a path of two regular expressions.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Final, Self

from moxlib.dns import Domain, InvalidDomain, parse_domain
from moxlib.errors import InputError

__all__ = [
    "MAX_ADDRESS",
    "MAX_LOCALPART",
    "Address",
    "InvalidAddress",
    "Localpart",
    "parse_address",
    "parse_dsn_address",
    "parse_localpart",
    "parse_unquoted_address",
]

MAX_LOCALPART: Final = 64  # octets, RFC 5321 4.5.3.1.1: what can be sent to
MAX_SEEN_LOCALPART: Final = 128  # octets; headers have no limit of their own, and some services' are over 64 there
MAX_ADDRESS: Final = 256  # octets, RFC 5321 4.5.3.1.3; not counting the angle brackets, which are not the address's
MAX_INPUT: Final = 1024  # characters: four times what can be an address, since quoting and mapping may shorten it
MAX_SHOWN: Final = 80  # characters of a refused address in an error's text

# Groups repeat inside atomic ones, (?>(?:...)*): Python before 3.11.5 matches (?:...)*+ wrongly (CPython gh-106052).
_ATEXT = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\-"
_plain_before_at = re.compile(rf"[{_ATEXT}]++(?>(?:\.[{_ATEXT}]++)*)@").match
_plain = re.compile(rf"[{_ATEXT}]++(?>(?:\.[{_ATEXT}]++)*)").fullmatch
# RFC 6531 3.3 adds non-ASCII to atext and to qtext, but not to what a backslash may quote. Negated classes, since
# compiling one that spans all of Unicode takes ten milliseconds.
_UTEXT = r'[^\x00-\x20"(),.:;<>@\[\\\]\x7f]'
_dot_string = re.compile(rf"{_UTEXT}++(?>(?:\.{_UTEXT}++)*)")
_quoted_string = re.compile(r'"((?>(?:[^\x00-\x1f"\\\x7f]|\\[ -~])*))"')
_quoted_pair = re.compile(r"\\(.)")
_to_quote = re.compile(r'["\\]')
_not_xtext = re.compile(r"[^!-*,-<>-\[\]-~]")  # all but QCHAR, RFC 6533 3
_embedded = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")  # EmbeddedUnicodeChar, RFC 6533 3; leading zeros are read

_REFUSED = frozenset(("Cc", "Cs", "Cf", "Zl", "Zp"))  # control, surrogate, format (bidi overrides), line separators
_JOINERS = "\u200c\u200d"  # format characters that words and emoji are written with


class InvalidAddress(InputError):
    """A text is not an email address, localpart or path.

    Attributes:
        reason: what is wrong with it, a short phrase.
        value: the text as it was given, whole and unescaped.
    """

    def __init__(self, reason: str, value: str) -> None:
        """Keep both fields; the text shows at most `MAX_SHOWN` characters of the value, escaped."""
        super().__init__(f"invalid email address: {reason}: {value[:MAX_SHOWN]!a}")
        self.reason = reason
        self.value = value

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        """Pickle by fields, not by text."""
        return type(self), (self.reason, self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Localpart:
    """The part of an address before the "@", decoded. May be empty, which packs as `""`.

    Attributes:
        value: without quoting, in Unicode NFC, at most 128 octets of UTF-8. Those that `parse_localpart` and
            `parse_address` make have at most 64, as SMTP wants.

    Raises:
        InvalidAddress: too long, not in NFC, or with control characters (Unicode's included).
    """

    value: str = ""

    def __post_init__(self) -> None:
        if not _plain(self.value) or len(self.value) > MAX_SEEN_LOCALPART:
            _check_localpart(self.value, self.value, MAX_SEEN_LOCALPART)

    @property
    def needs_smtputf8(self) -> bool:
        """Whether it has non-ASCII characters, so that only SMTPUTF8 can carry it."""
        return not self.value.isascii()

    def dsn(self, utf8: bool) -> str:
        r"""Return the form for delivery status notifications: packed, or if not `utf8`, 7-bit with `\x{...}` escapes.

        The 7-bit form is utf-8-addr-xtext (RFC 6533 3), which does not quote.
        """
        if utf8:
            return str(self)
        return _not_xtext.sub(lambda match: f"\\x{{{ord(match[0]):x}}}", self.value)

    def log_string(self) -> str:
        """Return the packed form if it is printable ASCII without quotes, else `/` and that form escaped."""
        packed = str(self)
        quoted = _quote_ascii(packed)
        return packed if quoted == f'"{packed}"' else f"/{quoted}"

    def __str__(self) -> str:
        """Return it packed for SMTP: as a dot-string if it can be one, else as a quoted-string."""
        value = self.value
        if _plain(value) or _dot_string.fullmatch(value):
            return value
        return '"' + _to_quote.sub(r"\\\g<0>", value) + '"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An email address with a domain name. `Path` also has those with IP addresses, and the null one.

    Raises:
        InvalidAddress: longer than 256 octets packed, or a localpart with spaces beyond ASCII.
    """

    localpart: Localpart
    domain: Domain

    def __post_init__(self) -> None:
        check_whole(self.localpart, self.domain.ascii, str(self))

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only SMTPUTF8 can carry it, its localpart not being ASCII; any domain has an ASCII form."""
        return not self.localpart.value.isascii()

    def pack(self, smtputf8: bool) -> str:
        """Return it as SMTP writes it, the domain in Unicode if `smtputf8`. The localpart is as it is either way."""
        return f"{self.localpart}@{self.domain.xname(smtputf8)}"

    def dsn(self, utf8: bool) -> str:
        """Return the form for delivery status notifications (RFC 6533 3); 7-bit if not `utf8`."""
        return f"{self.localpart.dsn(utf8)}@{self.domain.xname(utf8)}"

    def log_string(self) -> str:
        """Return it with the domain in Unicode, and where that is not plain ASCII, `/` and it escaped in ASCII."""
        return whole_log_string(self.localpart, self.domain.name, self.domain.ascii)

    def __str__(self) -> str:
        """Return it as SMTP writes it, with an ASCII domain."""
        return f"{self.localpart}@{self.domain.ascii}"


_new_object = object.__new__
_set_value = Localpart.__dict__["value"].__set__
_set_localpart = Address.__dict__["localpart"].__set__
_set_domain = Address.__dict__["domain"].__set__


def _checked(localpart: str, domain: Domain) -> Address:
    """Make an `Address` of parts that were just checked, at a third of the constructors' cost."""
    part = _new_object(Localpart)
    _set_value(part, localpart)
    address = _new_object(Address)
    _set_localpart(address, part)
    _set_domain(address, domain)
    return address


def parse_address(text: str) -> Address:
    """Parse an address as SMTP and headers write it: `user@example.com`, `"a b"@example.com`, `jörg@bücher.example`.

    No display name, no comments, no angle brackets, no address literal (see `parse_path`). A numeric top-level label is
    accepted (`user@host.123`), a numeric domain is not.

    Raises:
        InvalidAddress: empty, overlong (localpart over 64 octets, all of it over 256), control characters, a bad
            localpart or a bad domain; its cause is the `InvalidDomain` then.
    """
    match = _plain_before_at(text)
    if match and (end := match.end()) <= MAX_LOCALPART + 1 and len(text) <= MAX_ADDRESS:
        try:
            return _checked(text[: end - 1], parse_domain(text[end:], numeric_tld=True))
        except InvalidDomain as err:
            raise InvalidAddress(f"domain: {err.reason}", text) from err
    value, rest = split_localpart(text)
    return _joined(value, rest[1:], text)


def parse_unquoted_address(text: str) -> Address | None:
    """Parse an address whose localpart had its quoting taken off, as header parsers hand them out: `a b@example.com`.

    Everything before the last "@" is the localpart, quotes and backslashes included. It may have up to 128 octets:
    headers have addresses that SMTP does not take.

    Returns:
        None for "@" alone, which is how an address without localpart and host is handed out.

    Raises:
        InvalidAddress: no "@", or as `parse_address`.
    """
    if text == "@":
        return None
    value, at, rest = text.rpartition("@")
    if not at:
        raise InvalidAddress("no @", text)
    return _joined(_normal(value, text, MAX_SEEN_LOCALPART), rest, text)


def parse_dsn_address(text: str) -> Address:
    r"""Parse what `Address.dsn(utf8=False)` writes: no quoting, and `\x{...}` for what 7 bits cannot say (RFC 6533 3).

    Raises:
        InvalidAddress: no "@", an escape beyond Unicode, or as `parse_address`.
    """
    value, at, rest = text.rpartition("@")
    if not at:
        raise InvalidAddress("no @", text)
    try:
        value = _embedded.sub(lambda match: chr(int(match[1], 16)), value)
    except ValueError as err:
        raise InvalidAddress("an escape beyond Unicode", text) from err
    return _joined(_normal(value, text, MAX_LOCALPART), rest, text)


def parse_localpart(text: str) -> Localpart:
    """Parse a localpart as SMTP writes it: a dot-string or a quoted-string.

    Raises:
        InvalidAddress: it is neither, is longer than 64 octets, or has control characters.
    """
    value, rest = split_localpart(text, need_at=False)
    if rest:
        raise InvalidAddress("localpart needs quoting", text)
    return Localpart(value=value)


def split_localpart(text: str, *, need_at: bool = True) -> tuple[str, str]:
    """Take a localpart off the front of `text`; return it, decoded and checked, and what follows it.

    Raises:
        InvalidAddress: there is none; or no "@" follows it and `need_at` is set.
    """
    if not text:
        raise InvalidAddress("empty", text)
    if len(text) > MAX_INPUT:
        raise InvalidAddress(f"longer than {MAX_ADDRESS} octets", text)
    if match := _quoted_string.match(text):
        value = _quoted_pair.sub(r"\1", match[1])
    elif match := _dot_string.match(text):
        value = match[0]
    else:
        raise InvalidAddress(_reason_for_none(text), text)
    rest = text[match.end() :]
    if need_at and not rest.startswith("@"):
        raise InvalidAddress(_reason_for_none(text) if rest else "no @", text)
    return _normal(value, text, MAX_LOCALPART), rest


def _reason_for_none(text: str) -> str:
    if any(unicodedata.category(char) == "Cc" for char in text):
        return "a control character"
    if text.startswith("@"):
        return "empty localpart"
    return "badly quoted localpart" if text.startswith('"') else "localpart needs quoting"


def _joined(localpart: str, domain_text: str, text: str) -> Address:
    try:
        domain = parse_domain(domain_text, numeric_tld=True)
    except InvalidDomain as err:
        raise InvalidAddress(f"domain: {err.reason}", text) from err
    address = _checked(localpart, domain)
    check_whole(address.localpart, domain.ascii, text)
    return address


def _normal(localpart: str, text: str, limit: int) -> str:
    """Normalise and check a decoded localpart taken from `text`."""
    if len(localpart.encode("utf-8", "surrogatepass")) > MAX_SEEN_LOCALPART:  # before it is normalised, which costs
        raise InvalidAddress(f"localpart longer than {limit} octets", text)
    normal = unicodedata.normalize("NFC", localpart)
    _check_localpart(normal, text, limit)
    return normal


def _check_localpart(value: str, text: str, limit: int) -> None:
    for char in value:
        if (char < " " or char >= "\x7f") and unicodedata.category(char) in _REFUSED and char not in _JOINERS:
            raise InvalidAddress("a control character", text)
    if len(value.encode()) > limit:
        raise InvalidAddress(f"localpart longer than {limit} octets", text)
    if not unicodedata.is_normalized("NFC", value):
        raise InvalidAddress("localpart not in Unicode NFC", text)


def check_whole(localpart: Localpart, host: str, text: str) -> None:
    """Check what concerns a whole address or path; `host` is in ASCII, `text` what the error shows.

    Raises:
        InvalidAddress: see `Address`.
    """
    if not localpart.value.isascii() and any(
        unicodedata.category(char) == "Zs" for char in localpart.value if char != " "
    ):
        # It would look like two words, or like nothing at all, wherever the address is shown.
        raise InvalidAddress("an invisible space", text)
    if len(str(localpart).encode()) + 1 + len(host) > MAX_ADDRESS:
        raise InvalidAddress(f"longer than {MAX_ADDRESS} octets", text)


def whole_log_string(localpart: Localpart, host: str, ascii_host: str) -> str:
    """Return the log form of an address or path; the host in the form for people, and in ASCII."""
    packed = str(localpart)
    quoted = _quote_ascii(packed)
    if quoted == f'"{packed}"':
        return f"{packed}@{host}" + ("" if host == ascii_host else f"/{packed}@{ascii_host}")
    return f"{packed}@{host}/{quoted}@{ascii_host}"


def _quote_ascii(text: str) -> str:
    r"""Quote as Go and JSON do: `\"`, `\\`, and `\u00fc` or `\U0001f44d` beyond printable ASCII."""
    return '"' + "".join(map(_quote_char, text)) + '"'


def _quote_char(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if " " <= char <= "~":
        return char
    return f"\\u{ord(char):04x}" if char <= "\uffff" else f"\\U{ord(char):08x}"
