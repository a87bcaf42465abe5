"""The TXT record that has a selector's public key (RFC 6376 3.6.1, RFC 8463)."""

import base64
import re
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from moxlib.dkim.errors import InvalidKey, InvalidRecord, shown
from moxlib.dkim.keys import PrivateKey, PublicKey, checked_key
from moxlib.dkim.tags import TagError, is_word, parse_selector, split_base64, split_tags, split_words
from moxlib.dns import Domain
from moxlib.errors import InputError, LimitExceeded

__all__ = ["KeyType", "Record", "parse_record", "record_for", "record_name"]

VERSION: Final = "DKIM1"
MAX_RECORD: Final = 16 * 1024  # characters: ten times a record with a key of 8192 bits. The DNS could carry 64 KiB.
MAX_STRING: Final = 255  # octets of one string of a TXT record, RFC 1035 3.3.14
ED25519_SIZE: Final = 32  # octets, RFC 8463 3

_not_in_notes = re.compile(rb"[^ -:<>-~]|^ | \Z")  # RFC 2045 6.7, and what separates tags
_octet = re.compile(rb"=([0-9A-F]{2})")
_version_only = re.compile(r"[ \t]*v[ \t]*=[ \t]*DKIM1[ \t]*(?:;|\Z)").match


class KeyType(StrEnum):
    """What kind of key a record has (k=)."""

    RSA = "rsa"
    ED25519 = "ed25519"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What a domain publishes at `<selector>._domainkey.<domain>`. `str(record)` is the text to publish.

    Attributes:
        public_key: as it is published, decoded: for RSA a SubjectPublicKeyInfo in DER, for Ed25519 32 octets. Empty if
            the key was revoked.
        key_type: of which kind it is.
        hashes: those that signatures may be made with; empty for any.
        services: what it is for, at least one word; `*` for everything. Mail is `email`.
        flags: `y` while the domain tries DKIM, `s` if `i=` may not be below the domain.
        notes: for people who look after it.

    Raises:
        InvalidKey: the octets are no key of that kind.
        InputError: what a list has is no word in lower case, or there are no services.
    """

    public_key: bytes
    key_type: KeyType = KeyType.RSA
    hashes: tuple[str, ...] = ()
    services: tuple[str, ...] = ("*",)
    flags: tuple[str, ...] = ()
    notes: str = ""
    _key: PublicKey | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("hashes", "services", "flags"):
            words = tuple(getattr(self, name))
            object.__setattr__(self, name, words)
            if not all(map(is_word, words)) or not (words or name != "services"):
                raise InputError(f"the {name} of a DKIM record are not words: {shown(repr(words))}")
        object.__setattr__(self, "_key", _loaded(self.key_type, self.public_key) if self.public_key else None)

    def key(self) -> PublicKey | None:
        """Return the public key for `cryptography`; None if it was revoked."""
        return self._key

    @property
    def revoked(self) -> bool:
        """Whether the key is no longer to be used (RFC 6376 3.6.1)."""
        return not self.public_key

    @property
    def testing(self) -> bool:
        """Whether the domain is only trying DKIM: a bad signature is to count as none (t=y)."""
        return "y" in self.flags

    @property
    def strict_identity(self) -> bool:
        """Whether the domain of the identity has to be that of the signature, not one below it (t=s)."""
        return "s" in self.flags

    @property
    def for_email(self) -> bool:
        """Whether the key is for mail at all."""
        return bool({"*", "email"}.intersection(self.services))

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by what is published: keys of `cryptography` cannot be pickled."""
        return _rebuild, tuple(getattr(self, each.name) for each in fields(self) if each.init)

    def __str__(self) -> str:
        """Return the text to publish, without tags that say what holds anyway."""
        tags = [f"v={VERSION}"]
        if self.hashes:
            tags.append(f"h={':'.join(self.hashes)}")
        if self.key_type is not KeyType.RSA:
            tags.append(f"k={self.key_type}")
        if self.notes:
            tags.append(f"n={_written_notes(self.notes)}")
        if self.services != ("*",):
            tags.append(f"s={':'.join(self.services)}")
        if self.flags:
            tags.append(f"t={':'.join(self.flags)}")
        tags.append(f"p={base64.b64encode(self.public_key).decode('ascii')}")
        return ";".join(tags)

    def strings(self) -> tuple[str, ...]:
        """Return the text in the strings that a TXT record takes, of at most 255 octets each."""
        text = str(self)
        return tuple(text[start : start + MAX_STRING] for start in range(0, len(text), MAX_STRING))

    def zone_data(self) -> str:
        """Return the strings as a zone file has them, in quotes: what many web forms of DNS providers take too."""
        return " ".join('"' + text.replace("\\", r"\\").replace('"', r"\"") + '"' for text in self.strings())


def _rebuild(*values: object) -> Record:
    names = [each.name for each in fields(Record) if each.init]
    return Record(**dict(zip(names, values, strict=True)))  # type: ignore[arg-type]


def _loaded(key_type: KeyType, octets: bytes) -> PublicKey:
    if key_type is KeyType.ED25519:
        if len(octets) != ED25519_SIZE:
            raise InvalidKey(f"an Ed25519 public key of {len(octets)} octets, not {ED25519_SIZE}")
        return Ed25519PublicKey.from_public_bytes(octets)
    try:
        # RFC 6376 3.6.1 has RSAPublicKey in one place and SubjectPublicKeyInfo in another (erratum 3017).
        key = load_der_public_key(octets)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidKey("not an RSA public key in DER") from error
    if not isinstance(key, RSAPublicKey):
        raise InvalidKey("a public key of another kind than RSA")
    return key


def record_name(selector: str, domain: Domain) -> str:
    """Return where a record is published, in ASCII without a final dot.

    Raises:
        InvalidDomain: the selector is none.
    """
    return f"{parse_selector(selector)}._domainkey.{domain.ascii}"


def record_for(private_key: PrivateKey, *, testing: bool = False, notes: str = "") -> Record:
    """Return the record to publish for a private key.

    Args:
        private_key: the key that signs.
        testing: ask receivers to take a bad signature for none while DKIM is tried out.
        notes: for people who look after it.

    Raises:
        InvalidKey: a key of another kind, or too short a one.
    """
    key = checked_key(private_key)
    flags = ("y",) if testing else ()
    if isinstance(key, Ed25519PrivateKey):
        raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return Record(public_key=raw, key_type=KeyType.ED25519, flags=flags, notes=notes)
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    # Not for SHA-1, which nobody is to use, and somebody may still take (RFC 8301 3.1).
    return Record(public_key=der, hashes=("sha256",), flags=flags, notes=notes)


def parse_record(text: str) -> Record:
    """Parse the text of a TXT record, its strings joined. Unknown tags are ignored, and so is g= (RFC 6376 C.1).

    Raises:
        InvalidRecord: it is none, or a malformed one: `meant` tells which.
        LimitExceeded: more than 16 Ki characters.
    """
    if len(text) > MAX_RECORD:
        raise LimitExceeded(MAX_RECORD, "characters of a DKIM record")
    try:
        tags = split_tags(text)
    except TagError as error:
        # A list of tags that is none may be anything; the version alone says that it was meant.
        raise InvalidRecord(str(error), text, meant=_version_only(text) is not None) from None
    if "v" in tags and (tags["v"] != VERSION or next(iter(tags)) != "v"):  # RFC 6376 3.6.1
        raise InvalidRecord("the version is not DKIM1, or not first", text, meant=False)
    if "p" not in tags:
        raise InvalidRecord("there is no key", text, meant="v" in tags)
    try:
        return _made(tags)
    except (TagError, InvalidKey) as error:
        reason = error.reason if isinstance(error, InvalidKey) else str(error)
        raise InvalidRecord(reason, text, meant=True) from error


def _made(tags: dict[str, str]) -> Record:
    kind = tags.get("k", KeyType.RSA).lower()
    if kind not in set(KeyType):
        raise TagError(f"an unknown kind of key: {shown(kind)}")
    return Record(
        public_key=split_base64(tags["p"], "the key"),
        key_type=KeyType(kind),
        hashes=split_words(tags["h"], "the list of hashes") if "h" in tags else (),
        services=split_words(tags["s"], "the list of services") if "s" in tags else ("*",),
        flags=split_words(tags["t"], "the list of flags") if "t" in tags else (),
        notes=_read_notes(tags.get("n", "")),
    )


def _written_notes(notes: str) -> str:
    octets = notes.encode("utf-8", "replace")  # of what is no Unicode, a question mark
    return _not_in_notes.sub(lambda match: b"=%02X" % match[0][0], octets).decode("ascii")


def _read_notes(value: str) -> str:
    octets = value.encode("utf-8", "replace")
    return _octet.sub(lambda match: bytes.fromhex(match[1].decode("ascii")), octets).decode("utf-8", "replace")
