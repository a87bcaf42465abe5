"""What one delivery learns of TLS at its hosts, in the form of RFC 8460.

Sessions are counted, not messages: a connection that is used again says nothing new. A session counts for the recipient
domain's policy, and for the host's.
"""

from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import Final

from moxlib.dane import DANEError, DANEFault
from moxlib.smtpclient import ReplyError, SMTPConnection, SMTPError, TLSFailed
from moxlib.tlsrpt import FailureDetails, Policy, Result, ResultType, classify, merge

__all__ = ["Concern", "TLSResults", "concern_of", "details_in_clear", "details_of"]

MAX_HELO: Final = 255  # octets of a domain: RFC 5321 4.5.3.1.2
_DANE_FAULTS: Final = MappingProxyType(
    {
        DANEFault.EXPIRED: ResultType.CERTIFICATE_EXPIRED,
        DANEFault.NAME: ResultType.CERTIFICATE_HOST_MISMATCH,
    }
)


class Concern(Enum):
    """Which policies a failure concerns."""

    DOMAIN = "domain"
    """The recipient domain's: a certificate that no authority vouches for."""
    HOST = "host"
    """The host's: a certificate that its TLSA records do not verify."""
    BOTH = "both"


@dataclass(slots=True)
class TLSResults:
    """The results of one delivery."""

    domain: Policy | None
    """The recipient domain's policy; None where mail goes to an IP address."""
    _results: list[Result] = field(default_factory=list)

    def __len__(self) -> int:
        """How many there are, not added up."""
        return len(self._results)

    def add(self, result: Result) -> None:
        """Take a result as it is."""
        self._results.append(result)

    def domain_failed(self, details: FailureDetails, *, session: bool = True) -> None:
        """The domain's policy could not be had, or forbids a host; `session`: there is none for that reason."""
        if self.domain is not None:
            self._results.append(Result(policy=self.domain, failed=int(session), details=(details,)))

    def host_failed(self, host: Policy, details: FailureDetails, *, session: bool = True) -> None:
        """What the host's policy asks for cannot be had; `session`: there is none for that reason."""
        self._results.append(Result(policy=host, failed=int(session), details=(details,)))

    def session_succeeded(self, host: Policy) -> None:
        """A session was set up as its policies ask."""
        self._results += [Result(policy=policy, successful=1) for policy in self._both(host)]

    def session_failed(self, host: Policy, details: FailureDetails, concern: Concern = Concern.BOTH) -> None:
        """A session was not set up, for a reason that is TLS's; the reason is told of the policies it concerns."""
        policies = self._both(host)
        for policy in policies:
            told = concern is Concern.BOTH or len(policies) == 1 or (concern is Concern.HOST) == (policy is host)
            self._results.append(Result(policy=policy, failed=1, details=(details,) if told else ()))

    def session_in_clear(self, host: Policy, details: FailureDetails) -> None:
        """A session has no TLS, because the host offers none, and no policy asks for it."""
        self._results += [Result(policy=policy, details=(details,)) for policy in self._both(host)]

    def _both(self, host: Policy) -> tuple[Policy, ...]:
        return (host,) if self.domain is None or self.domain == host else (self.domain, host)

    def merged(self) -> tuple[Result, ...]:
        """Return them, equal ones added up."""
        return merge(self._results)


def details_in_clear(connection: SMTPConnection, *, host: str) -> FailureDetails:
    """Return what a report says of a session with a host that offers no TLS."""
    return FailureDetails(
        result_type=ResultType.STARTTLS_NOT_SUPPORTED,
        receiving_mx_hostname=host,
        receiving_ip=connection.host,
        sending_mta_ip=connection.local_address,
        receiving_mx_helo=_helo(connection.server),
    )


def details_of(error: SMTPError, *, host: str, address: str) -> FailureDetails:
    """Return what a report says of a session that TLS prevented."""
    details = FailureDetails(
        result_type=ResultType.VALIDATION_FAILURE,
        receiving_mx_hostname=host,
        receiving_ip=address,
        sending_mta_ip=error.local_address,
        receiving_mx_helo=_helo(error.server),
    )
    if isinstance(error, ReplyError):  # to STARTTLS
        return replace(
            details,
            result_type=ResultType.STARTTLS_NOT_SUPPORTED,
            failure_reason_code=f"smtp-starttls-reply-code-{error.reply.code}",
        )
    if isinstance(error, TLSFailed) and isinstance(error.__cause__, DANEError):
        fault = error.__cause__.fault
        result_type = _DANE_FAULTS.get(fault, ResultType.VALIDATION_FAILURE)
        return replace(details, result_type=result_type, failure_reason_code=f"dane-{fault.value}")
    result_type, reason = classify(error)
    return replace(details, result_type=result_type, failure_reason_code=reason)


def _helo(greeting: str) -> str:
    """Return what a server calls itself: the first word of its greeting (RFC 5321 4.2, RFC 8460 4.4)."""
    return greeting.partition(" ")[0][:MAX_HELO]


def concern_of(error: SMTPError) -> Concern:
    """Return which policies a session's failure concerns."""
    if not isinstance(error, TLSFailed) or not error.certificate:
        return Concern.BOTH
    return Concern.HOST if isinstance(error.__cause__, DANEError) else Concern.DOMAIN
