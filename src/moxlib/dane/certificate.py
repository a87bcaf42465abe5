"""Reading certificates and keys that a peer, or the DNS, sent."""

from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_der_public_key

__all__ = ["UNREADABLE", "certificate_of", "public_key_info", "public_key_of"]

# What cryptography raises for certificates that it cannot read, or that use what it has not. It warns of serial numbers
# that are not positive; where the program makes errors of warnings, that too is raised.
UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
    Warning,
)

_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0  # the field's tag, [0]
_LONG: Final = 0x80  # in a length: it is in the octets that follow
_MAX_LENGTH_OCTETS: Final = 4  # for 4 GiB; a TLS handshake has no room for more than 16 MiB
_BEFORE_KEY: Final = 5  # fields: serialNumber, signature, issuer, validity, subject


def certificate_of(der: bytes) -> x509.Certificate | None:
    """Return a certificate of which all parts can be read that validation of a path looks at; None for another."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        # Read when first asked for, so each of these may fail:
        certificate.subject, certificate.issuer, certificate.extensions  # noqa: B018 - for what they raise
        certificate.not_valid_before_utc, certificate.not_valid_after_utc  # noqa: B018 - for what they raise
    except UNREADABLE:
        return None
    return certificate


def public_key_of(der: bytes) -> PublicKeyTypes | None:
    """Return the key in a SubjectPublicKeyInfo; None where it cannot be read."""
    try:
        return load_der_public_key(der)
    except UNREADABLE:
        return None


def public_key_info(der: bytes) -> bytes | None:
    """Return the SubjectPublicKeyInfo of a certificate, byte for byte (RFC 5280 4.1); None where it has none.

    It is cut out, not made from the key that cryptography reads: that would write a compressed point as an uncompressed
    one, and could do nothing with kinds of keys it does not know, though only a digest is asked for.
    """
    try:
        position, _ = _inside(der, 0)  # Certificate
        position, end = _inside(der, position)  # tbsCertificate
        if der[position] == _VERSION:
            _, position = _element(der, position, end)
        for _ in range(_BEFORE_KEY):
            _, position = _element(der, position, end)
        if der[position] != _SEQUENCE:
            return None
        return der[position : _element(der, position, end)[1]]
    except (IndexError, ValueError):
        return None


def _inside(der: bytes, position: int) -> tuple[int, int]:
    if der[position] != _SEQUENCE:
        raise ValueError("no sequence")
    return _element(der, position, len(der))


def _element(der: bytes, position: int, limit: int) -> tuple[int, int]:
    """Return where the content of an element begins, and where it ends (X.690 8.1)."""
    length = der[position + 1]
    begin = position + 2
    if length & _LONG:
        octets = length & ~_LONG
        if not 0 < octets <= _MAX_LENGTH_OCTETS:
            raise ValueError("a length that is not DER, or absurd")
        length = int.from_bytes(der[begin : begin + octets])
        begin += octets
    if begin + length > limit:
        raise ValueError("longer than what it is in")
    return begin, begin + length
