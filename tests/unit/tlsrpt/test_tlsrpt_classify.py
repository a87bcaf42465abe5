"""What TLS failures are called, by OpenSSL's own errors: handshakes in memory, with real certificates."""

import ssl
from datetime import UTC, datetime

import pytest
import trustme

from moxlib.dns import DNSError
from moxlib.tlsrpt import ResultType, classify, dns_reason_code

NAME = "mx.example"


class Handshake:
    """A client and a server that talk through memory."""

    def __init__(self, client: ssl.SSLContext, server: ssl.SSLContext, name: str = NAME) -> None:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(to_client, to_server, server_hostname=name)
        self.server = server.wrap_bio(to_server, to_client, server_side=True)

    def client_error(self) -> ssl.SSLError:
        """Go on until the client fails; the server may fail before, which the client learns."""
        for _ in range(10):
            try:
                self.client.do_handshake()
                self.client.read(1)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                return error
            try:
                self.server.do_handshake()
            except ssl.SSLError:
                continue
        raise AssertionError("the client did not fail")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def client(authority: trustme.CA | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if authority is not None:
        authority.configure_trust(context)
    return context


def server(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def day(year: int) -> datetime:
    return datetime(year, 1, 1, tzinfo=UTC)


def test_a_certificate_of_another_name(authority: trustme.CA) -> None:
    error = Handshake(client(authority), server(authority.issue_cert("other.example"))).client_error()
    assert classify(error) == (ResultType.CERTIFICATE_HOST_MISMATCH, "")


def test_a_certificate_of_another_address(authority: trustme.CA) -> None:
    error = Handshake(client(authority), server(authority.issue_cert(NAME)), "192.0.2.1").client_error()
    assert classify(error) == (ResultType.CERTIFICATE_HOST_MISMATCH, "ip-address-mismatch")


def test_an_expired_certificate(authority: trustme.CA) -> None:
    expired = authority.issue_cert(NAME, not_after=day(2020))
    error = Handshake(client(authority), server(expired)).client_error()
    assert classify(error) == (ResultType.CERTIFICATE_EXPIRED, "")


def test_an_unknown_authority(authority: trustme.CA) -> None:
    result_type, reason = classify(Handshake(client(), server(authority.issue_cert(NAME))).client_error())
    assert result_type is ResultType.CERTIFICATE_NOT_TRUSTED
    assert reason in {"self-signed-certificate-in-chain", "unable-to-get-local-issuer-certificate"}


def test_an_alert_of_the_server(authority: trustme.CA) -> None:
    demanding = server(authority.issue_cert(NAME))
    demanding.verify_mode = ssl.CERT_REQUIRED
    error = Handshake(client(authority), demanding).client_error()
    assert classify(error) == (ResultType.VALIDATION_FAILURE, "tls-remote-alert-116-certificate-required")


def test_no_common_version(authority: trustme.CA) -> None:
    new, old = server(authority.issue_cert(NAME)), client(authority)
    new.minimum_version = ssl.TLSVersion.TLSv1_3
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    error = Handshake(old, new).client_error()
    assert classify(error) == (ResultType.VALIDATION_FAILURE, "tls-remote-alert-70-protocol-version")


def test_what_is_no_tls() -> None:
    incoming = ssl.MemoryBIO()
    incoming.write(b"220 mx.example ESMTP\r\n")
    with pytest.raises(ssl.SSLError) as caught:
        client().wrap_bio(incoming, ssl.MemoryBIO(), server_hostname=NAME).do_handshake()
    assert classify(caught.value) == (ResultType.VALIDATION_FAILURE, "tls-record-header-error")


def test_the_end_during_a_handshake() -> None:
    incoming = ssl.MemoryBIO()
    incoming.write_eof()
    with pytest.raises(ssl.SSLError) as caught:
        client().wrap_bio(incoming, ssl.MemoryBIO(), server_hostname=NAME).do_handshake()
    assert classify(caught.value) == (ResultType.VALIDATION_FAILURE, "connection-closed-during-handshake")


def verification(code: int | None) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError()
    if code is not None:
        error.verify_code = code
    return error


@pytest.mark.parametrize(
    ("code", "result_type", "reason"),
    [
        (9, ResultType.CERTIFICATE_EXPIRED, "certificate-not-yet-valid"),
        (10, ResultType.CERTIFICATE_EXPIRED, ""),
        (18, ResultType.CERTIFICATE_NOT_TRUSTED, "self-signed-certificate"),
        (23, ResultType.CERTIFICATE_NOT_TRUSTED, "certificate-revoked"),
        (25, ResultType.CERTIFICATE_NOT_TRUSTED, "too-many-intermediates"),
        (26, ResultType.CERTIFICATE_NOT_TRUSTED, "incompatible-key-usage"),
        (62, ResultType.CERTIFICATE_HOST_MISMATCH, ""),
        (65, ResultType.VALIDATION_FAILURE, "dane-no-match"),
        (999, ResultType.CERTIFICATE_NOT_TRUSTED, "openssl-verify-code-999"),
        (None, ResultType.VALIDATION_FAILURE, "unknown-certificate-verification-error"),
    ],
)
def test_codes_of_verification(code: int | None, result_type: ResultType, reason: str) -> None:
    assert classify(verification(code)) == (result_type, reason)


def alert(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "tls-remote-alert-40-handshake-failure"),
        ("TLSV1_ALERT_UNKNOWN_CA", "tls-remote-alert-48-unknown-ca"),
        ("TLSV1_UNRECOGNIZED_NAME", "tls-remote-alert-112-unrecognized-name"),
        ("TLSV13_ALERT_MISSING_EXTENSION", "tls-remote-alert-109-missing-extension"),
        ("UNSUPPORTED_PROTOCOL", "tls-local-unsupported-protocol"),
        ("DH_KEY_TOO_SMALL", "tls-local-dh-key-too-small"),
        ("TLSV1_SOMETHING_NEW", "tls-local-tlsv1-something-new"),
    ],
)
def test_reasons_of_openssl(reason: str, code: str) -> None:
    assert classify(alert(reason)) == (ResultType.VALIDATION_FAILURE, code)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TimeoutError(), "io-timeout-during-handshake"),
        (ConnectionResetError(), "connection-closed-during-handshake"),
        (EOFError(), "connection-closed-during-handshake"),
        (ssl.SSLEOFError(), "connection-closed-during-handshake"),
        (OSError(9, "Bad file descriptor"), "connection-closed-during-handshake"),
        (ssl.SSLError("unnamed"), ""),
        (ValueError(), ""),
    ],
)
def test_other_errors(error: Exception, code: str) -> None:
    assert classify(error) == (ResultType.VALIDATION_FAILURE, code)


def chained(error: Exception, *, cause: Exception | None = None, context: Exception | None = None) -> Exception:
    error.__cause__ = cause
    error.__context__ = context
    error.__suppress_context__ = cause is not None
    return error


def test_an_error_is_classified_by_its_cause() -> None:
    deep = chained(RuntimeError(), cause=chained(OSError(), cause=verification(10)))
    assert classify(deep) == (ResultType.CERTIFICATE_EXPIRED, "")
    assert classify(chained(OSError(), context=TimeoutError()))[1] == "io-timeout-during-handshake"
    hidden = chained(OSError(), context=TimeoutError())
    hidden.__suppress_context__ = True
    assert classify(hidden)[1] == ""


def test_a_wrapper_without_a_code_does_not_hide_the_code() -> None:
    assert classify(chained(verification(None), cause=verification(62)))[0] is ResultType.CERTIFICATE_HOST_MISMATCH


def test_a_loop_of_causes_ends() -> None:
    first, second = OSError(), OSError()
    first.__cause__, second.__cause__ = second, first
    assert classify(first) == (ResultType.VALIDATION_FAILURE, "")


def test_what_dnssec_has_against_a_name() -> None:
    def error(extended: int | None, *, bogus: bool = False) -> DNSError:
        return DNSError(name="example.com", kind="TXT", reason="SERVFAIL", extended=extended, bogus=bogus)

    assert dns_reason_code(error(7)) == "dns-extended-error-7-signature-expired"
    assert dns_reason_code(error(6, bogus=True)) == "dns-extended-error-6-dnssec-bogus"
    assert dns_reason_code(error(None, bogus=True)) == "dnssec-bogus"
    assert dns_reason_code(error(22)) == "dns-lookup"
    assert dns_reason_code(error(None)) == "dns-lookup"
