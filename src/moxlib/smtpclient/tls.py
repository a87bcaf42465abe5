"""TLS on an SMTP connection: when, with which context, and what was agreed."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeAlias

__all__ = ["CheckCertificates", "TLSInfo", "TLSMode", "peer_chain", "unverified_context", "verified_context"]

CheckCertificates: TypeAlias = Callable[[tuple[bytes, ...]], str]
"""Checks what the peer sent, in DER, its own certificate first; returns what by, such as "dane", or raises."""

MAX_CHAIN: Final = 20  # certificates: OpenSSL takes messages of 100 KiB, which may hold hundreds of small ones
_DER: Final = 2  # _ssl.ENCODING_DER, which has no public name


class TLSMode(Enum):
    """Whether a connection is protected, and from when."""

    IMMEDIATE = "immediate"  # from the first byte (RFC 8314 3.3)
    REQUIRED = "required"  # by STARTTLS, which is sent even if not announced; no TLS, no session
    OPPORTUNISTIC = "opportunistic"  # by STARTTLS where it is announced
    NONE = "none"  # in clear, though STARTTLS be announced


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSInfo:
    """What protects a connection.

    Attributes:
        version: such as "tls1.3".
        cipher: the IANA suite name, such as "tls_aes_128_gcm_sha256".
        verified: whether the peer's certificate was checked, and for its name.
        certificate: the peer's certificate in DER; None when it sent none.
        by: what verified it: "pkix" (an authority that is known here), what `check_certificates` answered, such as
            "dane", or both as "pkix+dane"; empty where nothing did.
    """

    version: str
    cipher: str
    verified: bool
    certificate: bytes | None
    by: str = ""


def verified_context() -> ssl.SSLContext:
    """Return a new client context that checks certificate and name by the system's authorities; TLS 1.2 up."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996, RFC 8997
    return context


def unverified_context() -> ssl.SSLContext:
    """Return a new client context that encrypts and checks nothing, TLS 1.2 up: for opportunistic TLS (RFC 7435)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def is_verified(context: ssl.SSLContext) -> bool:
    """Return whether a handshake with `context` proves who the peer is."""
    return context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname


def peer_chain(connection: ssl.SSLObject | ssl.SSLSocket) -> tuple[bytes, ...]:
    """Return the certificates that the peer sent, in DER, its own first, as they came: nothing of it is verified."""
    public = getattr(connection, "get_unverified_chain", None)
    if public is not None:  # Python 3.13 up
        return tuple(public()[:MAX_CHAIN])
    inner: Any = connection._sslobj  # type: ignore[union-attr]  # noqa: SLF001 - before, only this object has it
    chain = inner.get_unverified_chain() or ()
    return tuple([certificate.public_bytes(_DER) for certificate in chain[:MAX_CHAIN]])


def channel_binding(connection: ssl.SSLObject | ssl.SSLSocket) -> bytes | None:
    """Return the tls-unique value for SCRAM (RFC 5929 3); None on TLS 1.3, for which it is not defined (RFC 9266 3)."""
    if connection.version() != "TLSv1.2":
        return None
    return connection.get_channel_binding("tls-unique")
