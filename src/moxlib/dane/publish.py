"""TLSA records to publish."""

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from moxlib.dane.certificate import UNREADABLE, certificate_of
from moxlib.dane.records import CERTIFICATE, DANE_EE, DANE_TA, FULL, PUBLIC_KEY, SHA256, SHA512, association
from moxlib.dns import TLSA
from moxlib.errors import InputError

__all__ = ["record_for"]


def record_for(
    certificate: bytes, *, usage: int = DANE_EE, selector: int = PUBLIC_KEY, matching_type: int = SHA256
) -> TLSA:
    """Return the TLSA record to publish for a certificate, under `_25._tcp.` and the name of the MX host.

    The default, 3 1 1, is what RFC 7672 3.1 recommends; it stays valid while the key is kept.

    Args:
        certificate: in DER, or in PEM, where the first one counts.
        usage: 3 for the server's certificate, 2 for that of the authority that signs it.
        selector: 1 for the public key, 0 for the whole certificate.
        matching_type: 1 for SHA-256, 2 for SHA-512, 0 for the thing itself.

    Raises:
        InputError: not a certificate, or values that are of no use for SMTP.
    """
    known = usage in (DANE_TA, DANE_EE) and selector in (CERTIFICATE, PUBLIC_KEY)
    if not known or matching_type not in (FULL, SHA256, SHA512):
        raise InputError(f"not a TLSA record for SMTP: {usage} {selector} {matching_type}")
    data = association(_der(certificate), selector=selector, matching_type=matching_type)
    if data is None:
        raise InputError("a certificate without a public key")
    return TLSA(usage=usage, selector=selector, matching_type=matching_type, data=data)


def _der(certificate: bytes) -> bytes:
    if b"-----BEGIN" in certificate:  # text may stand before it
        try:
            return x509.load_pem_x509_certificate(certificate).public_bytes(Encoding.DER)
        except UNREADABLE as error:
            raise InputError("not a certificate, though in PEM") from error
    if certificate_of(certificate) is None:
        raise InputError("not a certificate, in DER or PEM")
    return certificate
