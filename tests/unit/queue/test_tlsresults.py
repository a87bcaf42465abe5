"""What a delivery learns of TLS: which policies a session counts for, and what is told of one that failed."""

from __future__ import annotations

import ssl

import pytest

from moxlib.dane import DANEError, DANEFault
from moxlib.queue.transport.direct.tlsresults import Concern, TLSResults, concern_of, details_of
from moxlib.smtpclient import Command, CommandTimeout, ConnectionLost, Reply, ReplyError, SMTPError, TLSFailed
from moxlib.tlsrpt import FailureDetails, Policy, PolicyType, Result, ResultType

STS = Policy(type=PolicyType.STS, domain="example.org", strings=("version: STSv1",), mx_hosts=("mx.example.org",))
TLSA = Policy(type=PolicyType.TLSA, domain="mx.example.org", strings=("3 1 1 00",))
EXPIRED = FailureDetails(result_type=ResultType.CERTIFICATE_EXPIRED, receiving_mx_hostname="mx.example.org")
NO_TLS = FailureDetails(result_type=ResultType.STARTTLS_NOT_SUPPORTED, receiving_mx_hostname="mx.example.org")


def caused(error: SMTPError, cause: BaseException) -> SMTPError:
    error.__cause__ = cause
    return error


def handshake(reason: str, *, certificate: bool = False) -> TLSFailed:
    return TLSFailed(command=Command.TLS, reason=reason, certificate=certificate)


def of_dane(fault: DANEFault) -> SMTPError:
    return caused(handshake("DANE", certificate=True), DANEError("no record", fault=fault))


def of_pkix(code: int) -> SMTPError:
    cause = ssl.SSLCertVerificationError(1, "certificate verify failed")
    cause.verify_code = code
    return caused(handshake("certificate", certificate=True), cause)


# which policies a session counts for


def test_a_session_counts_for_the_domain_and_for_the_host() -> None:
    results = TLSResults(STS)
    results.session_succeeded(TLSA)
    results.session_succeeded(TLSA)
    assert len(results) == 4
    assert results.merged() == (Result(policy=STS, successful=2), Result(policy=TLSA, successful=2))


def test_mail_to_an_address_has_no_domain_to_count_for() -> None:
    results = TLSResults(None)
    results.session_succeeded(TLSA)
    results.domain_failed(EXPIRED)
    assert results.merged() == (Result(policy=TLSA, successful=1),)


def test_a_host_that_is_its_own_domain_is_counted_once() -> None:
    nothing = Policy(type=PolicyType.NO_POLICY_FOUND, domain="example.org")
    results = TLSResults(nothing)
    results.session_succeeded(Policy(type=PolicyType.NO_POLICY_FOUND, domain="example.org"))
    results.session_failed(nothing, EXPIRED, Concern.DOMAIN)
    results.session_in_clear(nothing, NO_TLS)
    assert results.merged() == (Result(policy=nothing, successful=1, failed=1, details=(EXPIRED, NO_TLS)),)


@pytest.mark.parametrize(
    ("concern", "of_domain", "of_host"),
    [(Concern.BOTH, True, True), (Concern.DOMAIN, True, False), (Concern.HOST, False, True)],
)
def test_a_failed_session_is_one_of_both_and_the_reason_is_told_where_it_belongs(
    concern: Concern, of_domain: bool, of_host: bool
) -> None:
    results = TLSResults(STS)
    results.session_failed(TLSA, EXPIRED, concern)
    assert results.merged() == (
        Result(policy=STS, failed=1, details=(EXPIRED,) * of_domain),
        Result(policy=TLSA, failed=1, details=(EXPIRED,) * of_host),
    )


def test_a_session_in_clear_is_neither_success_nor_failure() -> None:
    results = TLSResults(STS)
    results.session_in_clear(TLSA, NO_TLS)
    assert results.merged() == (Result(policy=STS, details=(NO_TLS,)), Result(policy=TLSA, details=(NO_TLS,)))


@pytest.mark.parametrize("session", [True, False])
def test_what_there_was_no_session_for_counts_as_one_that_failed(session: bool) -> None:
    results = TLSResults(STS)
    results.domain_failed(EXPIRED, session=session)
    results.host_failed(TLSA, NO_TLS, session=session)
    assert results.merged() == (
        Result(policy=STS, failed=int(session), details=(EXPIRED,)),
        Result(policy=TLSA, failed=int(session), details=(NO_TLS,)),
    )


def test_what_was_found_elsewhere_is_added() -> None:
    results = TLSResults(STS)
    assert not results
    results.add(Result(policy=STS, failed=2))
    results.domain_failed(EXPIRED)
    assert results.merged() == (Result(policy=STS, failed=3, details=(EXPIRED,)),)


# what is told of a session that failed


@pytest.mark.parametrize(
    ("error", "result_type", "reason", "concern"),
    [
        (
            ReplyError(command=Command.STARTTLS, reply=Reply(code=454, lines=("454 4.7.0 not now",))),
            ResultType.STARTTLS_NOT_SUPPORTED,
            "smtp-starttls-reply-code-454",
            Concern.BOTH,
        ),
        *[
            (of_dane(fault), ResultType.VALIDATION_FAILURE, f"dane-{fault.value}", Concern.HOST)
            for fault in (DANEFault.NO_MATCH, DANEFault.NO_CERTIFICATE, DANEFault.NO_PATH, DANEFault.INVALID)
        ],
        (of_dane(DANEFault.EXPIRED), ResultType.CERTIFICATE_EXPIRED, "dane-expired", Concern.HOST),
        (of_dane(DANEFault.NAME), ResultType.CERTIFICATE_HOST_MISMATCH, "dane-name-mismatch", Concern.HOST),
        (of_pkix(10), ResultType.CERTIFICATE_EXPIRED, "", Concern.DOMAIN),
        (of_pkix(62), ResultType.CERTIFICATE_HOST_MISMATCH, "", Concern.DOMAIN),
        (
            of_pkix(20),
            ResultType.CERTIFICATE_NOT_TRUSTED,
            "unable-to-get-local-issuer-certificate",
            Concern.DOMAIN,
        ),
        (
            caused(ConnectionLost(command=Command.TLS, reason="reset"), ConnectionResetError()),
            ResultType.VALIDATION_FAILURE,
            None,
            Concern.BOTH,
        ),
        (CommandTimeout(command=Command.TLS, seconds=30), ResultType.VALIDATION_FAILURE, None, Concern.BOTH),
        (caused(handshake("wrong version"), ssl.SSLError(1, "x")), ResultType.VALIDATION_FAILURE, None, Concern.BOTH),
    ],
    ids=lambda value: f"{type(value).__name__}" if isinstance(value, SMTPError) else str(value),
)
def test_a_failure_has_its_type_its_reason_and_its_place(
    error: SMTPError, result_type: ResultType, reason: str | None, concern: Concern
) -> None:
    error.local_address, error.server = "192.0.2.9", "mx ESMTP"
    details = details_of(error, host="mx.example.org", address="192.0.2.1")
    assert (details.result_type, concern_of(error)) == (result_type, concern)
    assert (details.receiving_mx_hostname, details.receiving_ip) == ("mx.example.org", "192.0.2.1")
    assert (details.sending_mta_ip, details.receiving_mx_helo) == ("192.0.2.9", "mx")
    if reason is not None:
        assert details.failure_reason_code == reason
    assert details.failed_session_count == 1
