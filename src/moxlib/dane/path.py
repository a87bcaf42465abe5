"""The way from a peer's certificate up to a trust anchor: finding it, and validating it (RFC 5280 6).

`cryptography` validates: signatures, dates, basic constraints, path length, name constraints, critical extensions. What
only the web's authorities have to heed is not demanded. It would look for the way too, through all that there is: five
certificates that a hostile server makes to sign each other take release 45 two minutes, and newer ones give up after a
number of checks, good way or not. So the way is found here, where each certificate is looked at once, and of the
shortest way there is only one: no certificate on it has a second issuer there, or else there were a shorter one.
"""

from collections import deque
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from moxlib.dane.certificate import UNREADABLE
from moxlib.dane.errors import DANEError, DANEFault

__all__ = ["Paths", "validate"]

MAX_SIGNATURES: Final = (
    100  # that are checked for one peer: some milliseconds. Four records of two authorities need 10.
)
MIN_RSA_BITS: Final = 2048  # NIST SP 800-131A; cryptography demands it of authorities whose certificates it sees
_MAX_REASON: Final = 200  # characters of what the library says
_DIGESTS: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_SERVER: Final = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})


class Paths:
    """Finds ways upward through the certificates of one peer.

    Args:
        certificates: what the peer sent, its own first, in any order behind that.
    """

    def __init__(self, certificates: Sequence[x509.Certificate]) -> None:
        self.certificates: tuple[x509.Certificate, ...] = tuple(certificates)
        self._known: dict[tuple[x509.Certificate, x509.Certificate], bool] = {}
        self._checked = 0

    def to(self, anchors: Collection[x509.Certificate], *, at: datetime | None) -> tuple[x509.Certificate, ...] | None:
        """Return a shortest way from the peer's certificate to an anchor, both included; None where there is none.

        Args:
            anchors: where it may end; they need not be among the certificates.
            at: only certificates that are valid then are used; None: any are.
        """
        usable = [one for one in dict.fromkeys((*anchors, *self.certificates)) if at is None or is_valid(one, at)]
        leaf = self.certificates[0]
        if leaf not in usable:
            return None
        below: dict[x509.Certificate, x509.Certificate | None] = {leaf: None}
        waiting = deque([leaf])
        while waiting:
            one = waiting.popleft()
            if one in anchors:
                return _way(one, below)
            issuers = [issuer for issuer in usable if issuer not in below and self._issued(one, issuer)]
            below.update(dict.fromkeys(issuers, one))
            waiting.extend(issuers)
        return None

    def signed_by(self, key: PublicKeyTypes) -> tuple[x509.Certificate, ...]:
        """Return the certificates that a key signed."""
        signed = []
        for certificate in self.certificates:
            self._count()
            if _verifies(key, certificate):
                signed.append(certificate)
        return tuple(signed)

    def _issued(self, child: x509.Certificate, issuer: x509.Certificate) -> bool:
        if child.issuer != issuer.subject:
            return False
        known = self._known.get((child, issuer))
        if known is None:
            self._count()
            try:
                child.verify_directly_issued_by(issuer)
                known = True
            except (InvalidSignature, *UNREADABLE):
                known = False
            self._known[child, issuer] = known
        return known

    def _count(self) -> None:
        self._checked += 1
        if self._checked > MAX_SIGNATURES:
            raise DANEError("too many signatures to check", fault=DANEFault.INVALID)


def is_valid(certificate: x509.Certificate, at: datetime) -> bool:
    """Return whether a certificate is valid at a time, by its dates."""
    return certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc


def _way(
    anchor: x509.Certificate, below: dict[x509.Certificate, x509.Certificate | None]
) -> tuple[x509.Certificate, ...]:
    way = [anchor]
    while (one := below[way[-1]]) is not None:
        way.append(one)
    return tuple(reversed(way))


def _verifies(key: PublicKeyTypes, certificate: x509.Certificate) -> bool:
    signature, signed = certificate.signature, certificate.tbs_certificate_bytes
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, signed)
            return True
        digest = certificate.signature_hash_algorithm
        if not isinstance(digest, _DIGESTS):
            return False
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, signed, ec.ECDSA(digest))
            return True
        scheme = certificate.signature_algorithm_parameters
        if isinstance(key, rsa.RSAPublicKey) and isinstance(scheme, padding.PSS | padding.PKCS1v15):
            key.verify(signature, signed, scheme, digest)
            return key.key_size >= MIN_RSA_BITS
    except (InvalidSignature, *UNREADABLE):
        pass
    return False


def validate(path: Sequence[x509.Certificate], now: datetime) -> None:
    """Validate a way from a server's certificate, the first, to a trust anchor, the last; names are not looked at.

    Raises:
        DANEError: it breaks a rule.
    """
    if any(map(_has_unknown_constraints, path)):
        reason = "a trust anchor matches, but an authority has name constraints of a kind that is not known here"
        raise DANEError(reason, fault=DANEFault.INVALID)
    builder = PolicyBuilder().store(Store([path[-1]])).time(now).max_chain_depth(len(path))
    builder = builder.extension_policies(ca_policy=_authority_policy(), ee_policy=_server_policy())
    try:
        # That of clients leaves out the name, with which the one for servers begins, and which we look at ourselves.
        builder.build_client_verifier().verify(path[0], list(path[1:-1]))
    except (VerificationError, *UNREADABLE) as error:
        reason = f"a trust anchor matches, but: {ascii(str(error))[1:-1][:_MAX_REASON]}"
        raise DANEError(reason, fault=DANEFault.INVALID) from error


def _has_unknown_constraints(certificate: x509.Certificate) -> bool:
    """Return whether there are critical constraints of others than DNS names and what no server is verified by.

    That is, of directory names, which would apply to the subject. The oldest releases of the library do not look.
    """
    return any(
        extension.critical
        and not isinstance(tree, x509.DNSName | x509.IPAddress | x509.RFC822Name | x509.UniformResourceIdentifier)
        for extension in certificate.extensions
        if isinstance(extension.value, x509.NameConstraints)
        for tree in (*(extension.value.permitted_subtrees or ()), *(extension.value.excluded_subtrees or ()))
    )


def _authority_policy() -> ExtensionPolicy:
    policy = ExtensionPolicy.permit_all()
    policy = policy.require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
    policy = policy.may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _may_serve)
    return policy.may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_sign)


def _server_policy() -> ExtensionPolicy:
    return ExtensionPolicy.permit_all().may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _may_serve)


def _may_sign(_policy: Policy, _certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("the key of an authority may not sign certificates")


def _may_serve(_policy: Policy, _certificate: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    if usage is not None and not _SERVER & set(usage):
        raise ValueError("a certificate is not for servers")
