"""The DKIM-Signature header field (RFC 6376 3.5): read, and written as mox folds it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from moxlib.dkim.canonical import Canonicalization
from moxlib.dkim.errors import InvalidSignature, shown
from moxlib.dkim.tags import TagError, parse_selector, split_base64, split_list, split_tags
from moxlib.dns import Domain, InvalidDomain, parse_domain
from moxlib.errors import InputError

__all__ = [
    "FIELD_NAME",
    "Identity",
    "Signature",
    "fold",
    "fold_signature",
    "is_field_name",
    "parse_signature",
    "unsigned",
]

FIELD_NAME: Final = "DKIM-Signature"
MAX_FIELD: Final = 64 * 1024  # octets; a copy of all header fields (z=) is longer only where nobody needs it
MAX_COLUMN: Final = 76  # as in mox
SHA256_SIZE: Final = 32  # octets
MAX_TIME_DIGITS: Final = 12  # RFC 6376 3.5: of t= and x=
MAX_LENGTH_DIGITS: Final = 76  # RFC 6376 3.5: of l=

_REQUIRED: Final = ("v", "a", "b", "bh", "d", "h", "s")  # RFC 6376 3.5

_digits = re.compile(r"[0-9]+").fullmatch
_algorithm = re.compile(r"[A-Za-z][A-Za-z0-9]*-[A-Za-z][A-Za-z0-9]*").fullmatch
_controls = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]").search
_header_name = re.compile(r"[!-9<-~]+").fullmatch  # RFC 5322 2.2, without the semicolon (RFC 6376 3.5)
_octet = re.compile(rb"=([0-9A-F]{2})")
_escaped = re.compile(r"[=;]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """For whom a domain signed (i=): a user, or a part of the domain. It looks like an address, and need not be one.

    Attributes:
        domain: that of the signature, or one below it.
        localpart: as SMTP writes it, in quotes where it needs them; None if there is none.

    Raises:
        InputError: a control character in the localpart.
    """

    domain: Domain
    localpart: str | None = None

    def __post_init__(self) -> None:
        if self.localpart is not None and _controls(self.localpart):
            raise InputError("a control character in the localpart of a DKIM identity")

    def within(self, domain: Domain) -> bool:
        """Return whether a signature of `domain` may have it."""
        return self.domain == domain or self.domain.ascii.endswith(f".{domain.ascii}")

    def __str__(self) -> str:
        """Return it with its domain in ASCII."""
        return f"{self.localpart or ''}@{self.domain.ascii}"

    def tag(self) -> str:
        """Return it as the tag has it: what would end the tag, or look like an escape, is escaped.

        Differs: RFC 6376 2.11 escapes blanks and more than ASCII too; mox escapes nothing. Blanks in quotes are left
        alone for equality with it, as is UTF-8 (RFC 8616 5).
        """
        return _escaped.sub(lambda match: f"={ord(match[0]):02X}", self.localpart or "") + f"@{self.domain.ascii}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a DKIM-Signature field says. That it says it proves nothing: `Result.status` does.

    Attributes:
        domain: which domain signed (d=).
        selector: which of its keys (s=), in lower case.
        algorithm: how (a=), such as `rsa-sha256`, in lower case.
        header_form: the canonical form of the header (c=).
        body_form: that of the body.
        headers: the names of the fields that are signed (h=), as written, in order.
        body_hash: the hash of the body (bh=).
        value: the signature itself (b=).
        identity: for whom (i=); None if that is not said.
        body_length: octets of the canonical body that are signed (l=); None for all.
        query_methods: how the key may be found (q=), in lower case.
        signed_at: when (t=), in seconds since 1970; None if that is not said.
        expires_at: until when it holds (x=), likewise; None for ever.
    """

    domain: Domain
    selector: str
    algorithm: str
    header_form: Canonicalization
    body_form: Canonicalization
    headers: tuple[str, ...]
    body_hash: bytes = field(repr=False)
    value: bytes = field(repr=False)
    identity: Identity | None = None
    body_length: int | None = None
    query_methods: tuple[str, ...] = ("dns/txt",)
    signed_at: int | None = None
    expires_at: int | None = None


def is_field_name(name: str) -> bool:
    """Return whether a header field can have this name, and a signature list it."""
    return _header_name(name) is not None


def parse_signature(value: bytes) -> Signature:
    """Parse the value of a DKIM-Signature field: what follows its colon, folded or not.

    Raises:
        InvalidSignature: a required tag is missing, a tag comes twice, or the value of one is malformed.
    """
    if len(value) > MAX_FIELD:
        raise InvalidSignature(f"more than {MAX_FIELD} octets")
    try:
        tags = split_tags(value.decode())
        return _made(tags)
    except UnicodeDecodeError:
        raise InvalidSignature("not in UTF-8") from None
    except (TagError, InputError) as error:
        raise InvalidSignature(str(error)) from error


def _made(tags: dict[str, str]) -> Signature:
    if missing := [name for name in _REQUIRED if name not in tags]:
        raise TagError(f"without the tag {missing[0]}")
    if tags["v"] != "1":
        raise TagError(f"of an unknown version: {shown(tags['v'])}")
    header_form, body_form = _forms(tags.get("c", "simple/simple"))
    signature = Signature(
        domain=parse_domain(tags["d"]),  # in U-labels too: RFC 8616 5
        selector=_selector(tags["s"]),
        algorithm=_algorithm_of(tags["a"]),
        header_form=header_form,
        body_form=body_form,
        headers=_names(tags["h"]),
        body_hash=split_base64(tags["bh"], "the body hash"),
        value=split_base64(tags["b"], "the signature"),
        identity=_identity(tags["i"]) if "i" in tags else None,
        body_length=_number(tags["l"], MAX_LENGTH_DIGITS, "the length") if "l" in tags else None,
        query_methods=tuple(item.lower() for item in split_list(tags["q"])) if "q" in tags else ("dns/txt",),
        signed_at=_number(tags["t"], MAX_TIME_DIGITS, "the time") if "t" in tags else None,
        expires_at=_number(tags["x"], MAX_TIME_DIGITS, "the expiration") if "x" in tags else None,
    )
    _check(signature)
    return signature


def _check(signature: Signature) -> None:
    if signature.algorithm.endswith("-sha256") and len(signature.body_hash) != SHA256_SIZE:
        raise TagError("the body hash has the wrong length")
    if signature.identity is not None and not signature.identity.within(signature.domain):
        raise TagError("the identity is not within the domain")  # RFC 6376 3.5
    signed_at, expires_at = signature.signed_at, signature.expires_at
    if signed_at is not None and expires_at is not None and expires_at <= signed_at:  # RFC 6376 3.5
        raise TagError("it expires before it was made")


def _selector(text: str) -> str:
    return parse_selector(text if text.isascii() else parse_domain(text).ascii)


def _algorithm_of(text: str) -> str:
    if not _algorithm(text):
        raise TagError(f"no algorithm: {shown(text)}")
    return text.lower()


def _forms(text: str) -> tuple[Canonicalization, Canonicalization]:
    header, _, body = text.lower().partition("/")  # RFC 6376 3.5: simple, if only one is named
    try:
        return Canonicalization(header), Canonicalization(body or "simple")
    except ValueError:
        raise TagError(f"an unknown canonical form: {shown(text)}") from None


def _names(text: str) -> tuple[str, ...]:
    names = tuple(split_list(text))
    if not all(map(is_field_name, names)):
        raise TagError("the list of header fields has something that is no name")
    return names


def _identity(text: str) -> Identity:
    decoded = _octet.sub(lambda match: bytes.fromhex(match[1].decode("ascii")), text.encode()).decode(
        "utf-8", "replace"
    )
    localpart, at, domain = decoded.rpartition("@")
    if not at:
        raise TagError("the identity has no @")
    try:
        return Identity(domain=parse_domain(domain), localpart=localpart or None)
    except InvalidDomain as error:
        raise TagError("the identity has no domain") from error


def _number(text: str, digits: int, what: str) -> int:
    if len(text) > digits or not _digits(text):
        raise TagError(f"{what} is not a number of at most {digits} digits")
    return int(text)


def unsigned(text: bytes) -> bytes:
    """Return a field without the value of b=, and without the blanks around that: what the signature is over.

    Args:
        text: the field as it stands, without its last line end; a list of tags, as `parse_signature` found.
    """
    tags = text.split(b";")
    for number, tag in enumerate(tags):
        name, equals, _ = tag.partition(b"=")
        if name.rpartition(b":")[2].strip(b" \t\r\n") == b"b":
            tags[number] = name + equals
    return b";".join(tags)


def fold(items: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a header field put together from what may not be cut, with a fold where a line would be too long.

    Args:
        items: each with the separator before it, which is left out where the line ends there.
    """
    pieces: list[bytes] = []
    column = 0
    for separator, text in items:
        size = len(separator) + len(text)
        if column > 1 and column + size > MAX_COLUMN:
            pieces += (b"\r\n\t", text)
            column = 1 + len(text)
        else:
            pieces += (separator, text)
            column += size
    return b"".join(pieces)


def fold_signature(head: bytes, value: bytes) -> bytes:
    """Return a field that ends in `b=` with the signature, in base64, after it, and the last line end."""
    first = MAX_COLUMN - (len(head) - head.rfind(b"\n") - 1)
    width = MAX_COLUMN - 1
    pieces = [head, value[:first]]
    for start in range(first, len(value), width):
        pieces += (b"\r\n\t", value[start : start + width])
    pieces.append(b"\r\n")
    return b"".join(pieces)
