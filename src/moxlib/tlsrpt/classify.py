"""What a TLS failure is called in a report."""

import re
import ssl
from collections.abc import Iterator
from typing import Final

from moxlib.dns import DNSError
from moxlib.moxio import is_closed
from moxlib.tlsrpt.results import ResultType

__all__ = ["classify", "dns_reason_code"]

MAX_CAUSES: Final = 20  # errors deep: no real chain is longer, and a loop ends there

# OpenSSL's codes of certificate verification, from x509_vfy.h. RFC 8460 4.3.1 wants a reason with "not trusted".
_MISMATCH: Final = {62: "", 63: "email-mismatch", 64: "ip-address-mismatch"}
_EXPIRED: Final = {9: "certificate-not-yet-valid", 10: ""}
_UNTRUSTED: Final = {
    2: "unable-to-get-issuer-certificate",
    7: "certificate-signature-failure",
    18: "self-signed-certificate",
    19: "self-signed-certificate-in-chain",
    20: "unable-to-get-local-issuer-certificate",
    21: "unable-to-verify-leaf-signature",
    22: "certificate-chain-too-long",
    23: "certificate-revoked",
    24: "invalid-ca-certificate",
    25: "too-many-intermediates",
    26: "incompatible-key-usage",
    27: "certificate-untrusted",
    28: "certificate-rejected",
    47: "name-constraint-not-permitted",
    48: "name-constraint-excluded",
    66: "end-entity-key-too-small",
    67: "ca-key-too-small",
    68: "ca-signature-digest-too-weak",
    79: "invalid-ca-certificate",
}
_DANE_NO_MATCH: Final = 65

# Alerts: RFC 8446 6, RFC 5246 7.2 and RFC 6066 9. OpenSSL names one it gets SSLV3_ALERT_..., TLSV1_ALERT_...,
# TLSV13_ALERT_..., or, for those of RFC 6066, TLSV1_...
_ALERTS: Final = {
    "close-notify": 0,
    "unexpected-message": 10,
    "bad-record-mac": 20,
    "decryption-failed": 21,
    "record-overflow": 22,
    "decompression-failure": 30,
    "handshake-failure": 40,
    "no-certificate": 41,
    "bad-certificate": 42,
    "unsupported-certificate": 43,
    "certificate-revoked": 44,
    "certificate-expired": 45,
    "certificate-unknown": 46,
    "illegal-parameter": 47,
    "unknown-ca": 48,
    "access-denied": 49,
    "decode-error": 50,
    "decrypt-error": 51,
    "export-restriction": 60,
    "protocol-version": 70,
    "insufficient-security": 71,
    "internal-error": 80,
    "inappropriate-fallback": 86,
    "user-cancelled": 90,
    "no-renegotiation": 100,
    "missing-extension": 109,
    "unsupported-extension": 110,
    "certificate-unobtainable": 111,
    "unrecognized-name": 112,
    "bad-certificate-status-response": 113,
    "bad-certificate-hash-value": 114,
    "unknown-psk-identity": 115,
    "certificate-required": 116,
    "no-application-protocol": 120,
}
_alert = re.compile(r"(?:SSLV3|TLSV1|TLSV13)_(?:ALERT_)?([A-Z_]+)").fullmatch

# What came was no TLS record: most often a line of SMTP.
_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST", "HTTPS_PROXY_REQUEST"})

# Extended DNS errors about DNSSEC (RFC 8914 4).
_DNSSEC_ERRORS: Final = {
    1: "unsupported-dnskey-algorithm",
    2: "unsupported-ds-digest-type",
    5: "dnssec-indeterminate",
    6: "dnssec-bogus",
    7: "signature-expired",
    8: "signature-not-yet-valid",
    9: "dnskey-missing",
    10: "rrsigs-missing",
    11: "no-zone-key-bit-set",
    12: "nsec-missing",
}


def classify(error: BaseException) -> tuple[ResultType, str]:
    """Return the type and the reason code (which may be empty) of a failed handshake, for `FailureDetails`.

    Args:
        error: `ssl.SSLCertVerificationError`, another `ssl.SSLError`, a time-out, a closed connection, or an error that
            one of these is the cause of. Of anything else only that it was a failure is said (RFC 8460 4.3.4).
    """
    causes = tuple(_causes(error))
    certificates = [cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)]
    if certificates:  # aiohttp wraps one that has a code in one that has none
        return _certificate(next(filter(_verify_code, certificates), certificates[0]))
    for cause in causes:
        if isinstance(cause, ssl.SSLError) and (reason := _handshake(cause)):
            return ResultType.VALIDATION_FAILURE, reason
    return ResultType.VALIDATION_FAILURE, _broken(causes)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    for _ in range(MAX_CAUSES):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _verify_code(error: ssl.SSLCertVerificationError) -> int | None:
    return getattr(error, "verify_code", None)  # not set when an application raises the error


def _certificate(error: ssl.SSLCertVerificationError) -> tuple[ResultType, str]:
    code = _verify_code(error)
    if code in _MISMATCH:
        return ResultType.CERTIFICATE_HOST_MISMATCH, _MISMATCH[code]
    if code in _EXPIRED:
        return ResultType.CERTIFICATE_EXPIRED, _EXPIRED[code]
    if code in _UNTRUSTED:
        return ResultType.CERTIFICATE_NOT_TRUSTED, _UNTRUSTED[code]
    if code == _DANE_NO_MATCH:
        return ResultType.VALIDATION_FAILURE, "dane-no-match"
    if code is not None:
        return ResultType.CERTIFICATE_NOT_TRUSTED, f"openssl-verify-code-{code}"
    return ResultType.VALIDATION_FAILURE, "unknown-certificate-verification-error"


def _handshake(error: ssl.SSLError) -> str:
    """Return the reason code of what OpenSSL names; empty where it names nothing."""
    reason = getattr(error, "reason", None)
    if not isinstance(reason, str) or isinstance(error, ssl.SSLEOFError) or reason == "UNEXPECTED_EOF_WHILE_READING":
        return ""
    alert = _alert(reason)
    if alert is not None:
        name = alert[1].lower().replace("_", "-")
        if name in _ALERTS:
            return f"tls-remote-alert-{_ALERTS[name]}-{name}"
    if reason in _NO_TLS:
        return "tls-record-header-error"
    return f"tls-local-{reason.lower().replace('_', '-')}"


def _broken(causes: tuple[BaseException, ...]) -> str:
    if any(isinstance(cause, TimeoutError) for cause in causes):
        return "io-timeout-during-handshake"
    if any(isinstance(cause, EOFError | ssl.SSLEOFError | ConnectionError) or is_closed(cause) for cause in causes):
        return "connection-closed-during-handshake"
    return ""


def dns_reason_code(error: DNSError) -> str:
    """Return the reason code of a name that could not be looked up: what DNSSEC has against it, else "dns-lookup"."""
    if error.extended in _DNSSEC_ERRORS:
        return f"dns-extended-error-{error.extended}-{_DNSSEC_ERRORS[error.extended]}"
    return "dnssec-bogus" if error.bogus else "dns-lookup"
