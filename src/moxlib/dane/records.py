"""Which TLSA records are of use for SMTP, and which certificates they match."""

import hashlib
from collections.abc import Callable, Iterable
from typing import Final

from moxlib.dane.certificate import certificate_of, public_key_info, public_key_of
from moxlib.dns import TLSA

__all__ = ["CERTIFICATE", "DANE_EE", "DANE_TA", "FULL", "PUBLIC_KEY", "association", "matches", "usable"]

DANE_TA: Final = 2
"""Certificate usage: a trust anchor, below which the server's certificate is."""
DANE_EE: Final = 3
"""Certificate usage: the server's certificate itself."""
CERTIFICATE: Final = 0
PUBLIC_KEY: Final = 1
FULL: Final = 0
SHA256: Final = 1
SHA512: Final = 2

MAX_RECORDS: Final = 32  # of one name. Each may cost the validation of a path; a roll-over needs four.
_DIGESTS: Final[dict[int, tuple[int, Callable[[bytes], "hashlib._Hash"]]]] = {
    SHA256: (32, hashlib.sha256),
    SHA512: (64, hashlib.sha512),
}


def usable(records: Iterable[TLSA]) -> tuple[TLSA, ...]:
    """Return the records that can verify a mail server's certificate, in order, at most `MAX_RECORDS`.

    Those of the usages PKIX-TA and PKIX-EE cannot (RFC 7672 3.1.3), nor those with values that nobody knows, digests of
    a wrong length, or certificates and keys that cannot be read.
    """
    return tuple([record for record in dict.fromkeys(records) if _is_usable(record)][:MAX_RECORDS])


def _is_usable(record: TLSA) -> bool:
    if record.usage not in (DANE_TA, DANE_EE) or record.selector not in (CERTIFICATE, PUBLIC_KEY):
        return False
    if record.matching_type == FULL:
        read = certificate_of if record.selector == CERTIFICATE else public_key_of
        return read(record.data) is not None
    digest = _DIGESTS.get(record.matching_type)
    return digest is not None and len(record.data) == digest[0]


def association(certificate: bytes, *, selector: int, matching_type: int) -> bytes | None:
    """Return the data that a record of known values has for a certificate in DER; None where that has no such part."""
    data = certificate if selector == CERTIFICATE else public_key_info(certificate)
    if data is None or matching_type == FULL:
        return data
    return _DIGESTS[matching_type][1](data).digest()


def matches(record: TLSA, certificate: bytes) -> bool:
    """Return whether a usable record is one of this certificate, in DER, or of its key."""
    return association(certificate, selector=record.selector, matching_type=record.matching_type) == record.data
