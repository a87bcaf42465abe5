"""TLS on an SMTP connection: when, with which context, and what was agreed."""

import ssl
from dataclasses import dataclass
from enum import Enum

__all__ = ["TLSInfo", "TLSMode", "unverified_context", "verified_context"]


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
    """

    version: str
    cipher: str
    verified: bool
    certificate: bytes | None


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


def channel_binding(connection: ssl.SSLObject | ssl.SSLSocket) -> bytes | None:
    """Return the tls-unique value for SCRAM (RFC 5929 3); None on TLS 1.3, for which it is not defined (RFC 9266 3)."""
    if connection.version() != "TLSv1.2":
        return None
    return connection.get_channel_binding("tls-unique")
