"""Verifying the certificates of a peer by TLSA records.

The path from the server's certificate to a trust anchor is validated by `cryptography`, with the demands of RFC 5280 on
certificates (dates, signatures, basic constraints, key usage, name constraints, critical extensions), but without those
that only the web's authorities have to meet.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from moxlib.dane.errors import DANEError
from moxlib.dane.records import CERTIFICATE, DANE_EE, FULL, matches
from moxlib.dns import TLSA, Domain

__all__ = ["verify"]

MAX_CHAIN: Final = 10  # certificates of a peer that are looked at; a chain has two to four
MAX_DEPTH: Final = 8
MAX_REASON: Final = 200  # characters of what the library says
_SERVER: Final = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})


def verify(records: Sequence[TLSA], chain: Sequence[bytes], names: Sequence[Domain], now: datetime) -> TLSA:
    """Return the first of the records that verifies a peer's certificates.

    A record of usage DANE-EE verifies the peer's own certificate, whatever its names and dates (RFC 7671 5.1). One of
    usage DANE-TA verifies it below an authority, which the peer sends along or the record holds in full: then one of
    the names has to be in it, and the dates count (RFC 7671 5.2).

    Args:
        records: usable ones, at least one.
        chain: the peer's certificates in DER, its own first.
        names: those that it may have.
        now: the time.

    Raises:
        DANEError: none of them does.
    """
    certificates = _parsed(chain)
    leaf = certificates[0]
    problem = DANEError("no TLSA record matches a certificate of the server")
    for record in records:
        if record.usage == DANE_EE:
            if matches(record, leaf):
                return record
            continue
        try:
            if _is_below(record, certificates, names, now):
                return record
        except (VerificationError, ValueError, UnsupportedAlgorithm) as error:
            problem = DANEError(f"a trust anchor matches, but: {str(error)[:MAX_REASON]}", matched=True)
    raise problem


def _parsed(chain: Sequence[bytes]) -> list[x509.Certificate]:
    if not chain:
        raise DANEError("the server sent no certificate")
    certificates: list[x509.Certificate] = []
    for index, der in enumerate(chain[:MAX_CHAIN]):
        try:
            certificates.append(x509.load_der_x509_certificate(der))
        except ValueError as error:
            if index == 0:
                raise DANEError("the server's certificate cannot be read") from error
    return certificates


def _is_below(record: TLSA, certificates: Sequence[x509.Certificate], names: Sequence[Domain], now: datetime) -> bool:
    """Say whether the server's certificate is below the record's trust anchor; False: there is no such anchor.

    Raises:
        VerificationError: there is, and it is not.
    """
    anchors = [certificate for certificate in certificates if matches(record, certificate)]
    if record.matching_type == FULL and record.selector == CERTIFICATE:
        anchors.append(x509.load_der_x509_certificate(record.data))
    if anchors:
        _validate(anchors, certificates, names, now)
        return True
    if record.matching_type == FULL:
        return _is_below_key(record, certificates, names, now)
    return False


def _is_below_key(
    record: TLSA, certificates: Sequence[x509.Certificate], names: Sequence[Domain], now: datetime
) -> bool:
    """The anchor is a bare public key (RFC 7671 5.2.3): what it signed is as good as an anchor."""
    key = load_der_public_key(record.data)
    signed = [certificate for certificate in certificates if _signed_by(key, certificate)]
    if not signed:
        return False
    _validate(signed, certificates, names, now)
    return True


def _signed_by(key: object, certificate: x509.Certificate) -> bool:
    verify_signature = _verifier(key, certificate)
    try:
        verify_signature()
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


def _verifier(key: object, certificate: x509.Certificate) -> Callable[[], object]:
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa  # noqa: PLC0415 - for the rarest of records

    signature, signed = certificate.signature, certificate.tbs_certificate_bytes
    digest = certificate.signature_hash_algorithm
    if isinstance(key, rsa.RSAPublicKey) and digest is not None:
        scheme = certificate.signature_algorithm_parameters
        if isinstance(scheme, padding.PSS | padding.PKCS1v15):
            return lambda: key.verify(signature, signed, scheme, digest)
    if isinstance(key, ec.EllipticCurvePublicKey) and digest is not None:
        return lambda: key.verify(signature, signed, ec.ECDSA(digest))
    return _unsupported


def _unsupported() -> None:
    raise UnsupportedAlgorithm("signatures of that kind")


def _validate(
    anchors: Sequence[x509.Certificate],
    certificates: Sequence[x509.Certificate],
    names: Sequence[Domain],
    now: datetime,
) -> None:
    """Validate the path from the first certificate to an anchor, for one of the names."""
    builder = PolicyBuilder().store(Store(list(anchors))).time(now).max_chain_depth(MAX_DEPTH)
    builder = builder.extension_policies(ca_policy=_authority_policy(), ee_policy=_server_policy())
    problem: VerificationError | None = None
    for name in names:
        verifier = builder.build_server_verifier(x509.DNSName(name.ascii))
        try:
            verifier.verify(certificates[0], list(certificates[1:]))
        except VerificationError as error:
            problem = problem or error
        else:
            return
    raise problem or VerificationError("there is no name to look for")


def _authority_policy() -> ExtensionPolicy:
    policy = ExtensionPolicy.permit_all()
    policy = policy.require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
    return policy.may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_sign)


def _server_policy() -> ExtensionPolicy:
    policy = ExtensionPolicy.permit_all()
    policy = policy.require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
    return policy.may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _may_serve)


def _may_sign(_policy: Policy, _certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("the key of an authority may not sign certificates")


def _may_serve(_policy: Policy, _certificate: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    if usage is not None and not _SERVER & set(usage):
        raise ValueError("the certificate is not for a server")
