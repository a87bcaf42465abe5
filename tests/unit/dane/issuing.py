"""Certificates with whatever a test wants to be right or wrong about them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

NOW = datetime(2026, 11, 26, tzinfo=UTC)
DAY = timedelta(days=1)

Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def name_of(text: str) -> x509.Name:
    """A name of common names, with bars between several."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, part) for part in text.split("|") if part])


class Issued:
    """A certificate with its key.

    Args:
        subject: its common name, or several with bars between.
        by: what signs it; None: itself.
        names: its DNS names.
        authority: its basic constraints say that it may sign; None: it has none of these.
        path_length: how many authorities may be below it.
        begins, ends: in days from `NOW`.
        issuer: the issuer's name, where it is not that of `by`.
        extensions: more of them, with whether they are critical.
    """

    serial = 1000

    def __init__(
        self,
        subject: str,
        by: "Issued | None" = None,
        *,
        key: Key | None = None,
        names: Sequence[str] = (),
        authority: bool | None = None,
        path_length: int | None = None,
        begins: int = -1,
        ends: int = 90,
        issuer: str | None = None,
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    ) -> None:
        self.key: Key = key or new_key()
        self.subject = subject
        Issued.serial += 1
        builder = (
            x509.CertificateBuilder()
            .subject_name(name_of(subject))
            .issuer_name(name_of(issuer or (by.subject if by else subject)))
            .public_key(self.key.public_key())
            .serial_number(Issued.serial)
            .not_valid_before(NOW + begins * DAY)
            .not_valid_after(NOW + ends * DAY)
        )
        if authority is not None:
            builder = builder.add_extension(x509.BasicConstraints(authority, path_length), critical=True)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(list(map(x509.DNSName, names))), critical=False)
        for value, critical in extensions:
            builder = builder.add_extension(value, critical)
        signer = by.key if by else self.key
        digest = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        self.certificate = builder.sign(signer, digest)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)


def authority(subject: str, by: Issued | None = None, **more: object) -> Issued:
    """An authority; the same with what `more` says."""
    return Issued(subject, by, **{"authority": True, **more})  # type: ignore[arg-type]  # as each test gives them


def server(by: Issued | None, *names: str, **more: object) -> Issued:
    """The certificate of a mail server."""
    return Issued("a server", by, names=names or ("mx.example",), **more)  # type: ignore[arg-type]  # as above
