"""What goes wrong with MTA-STS.

MoxlibError
├── InputError
│   ├── InvalidRecord       a text is no record of MTA-STS
│   └── InvalidPolicy       a text is no policy
└── RemoteError
    ├── UnusableRecord      a domain's record is malformed, or there are several: as if there was none
    ├── PolicyFetchError    there is a record, and no policy to be had: as if there was none, unless one is cached
    └── STSTemporaryError   nobody knows whether there is a policy: deliver later
"""

from typing import Final, Self

from moxlib.errors import InputError, RemoteError
from moxlib.tlsrpt import Result, ResultType

__all__ = ["InvalidPolicy", "InvalidRecord", "PolicyFetchError", "STSTemporaryError", "UnusableRecord"]

MAX_SHOWN: Final = 80  # characters of a refused text in an error's text; the rest says nothing more


class InvalidRecord(InputError):
    """A text is not an MTA-STS record.

    Attributes:
        reason: what is wrong with it, a short phrase.
        value: the text as it was given, whole and unescaped.
        meant: it says that it is an MTA-STS record, and is malformed; otherwise it is a TXT record for something else.
    """

    def __init__(self, reason: str, value: str, *, meant: bool) -> None:
        """Keep the fields; the text shows at most `MAX_SHOWN` characters of the value, escaped."""
        super().__init__(f"invalid MTA-STS record: {reason}: {value[:MAX_SHOWN]!a}")
        self.reason = reason
        self.value = value
        self.meant = meant

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by fields, not by text."""
        return _rebuild_record, (self.reason, self.value, self.meant)


def _rebuild_record(reason: str, value: str, meant: bool) -> InvalidRecord:
    return InvalidRecord(reason, value, meant=meant)


class InvalidPolicy(InputError):
    """A text is not an MTA-STS policy.

    Attributes:
        reason: what is wrong with it, and in which line.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"invalid MTA-STS policy: {reason}")
        self.reason = reason

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        """Pickle by fields, not by text."""
        return type(self), (self.reason,)


class UnusableRecord(RemoteError):
    """A domain publishes something as its MTA-STS record that is none: to be treated as if there was no record.

    Attributes:
        name: where it is.
        reason: what is wrong.
        reason_code: that for a TLS report.
    """

    def __init__(self, name: str, reason: str, reason_code: str) -> None:
        super().__init__(f"MTA-STS record of {name[:MAX_SHOWN]!a}: {reason}")
        self.name = name
        self.reason = reason
        self.reason_code = reason_code

    def __reduce__(self) -> tuple[type[Self], tuple[str, str, str]]:
        """Pickle by fields, not by text."""
        return type(self), (self.name, self.reason, self.reason_code)


class PolicyFetchError(RemoteError):
    """A policy could not be fetched, or what was fetched is none.

    Attributes:
        domain: whose, in ASCII.
        reason: what went wrong; what of it is the server's, or the network's, is escaped.
        result_type: what that is in a TLS report: a fetch error, an invalid policy, or an invalid certificate.
        reason_code: the reason in a TLS report.
        status: of the HTTP response, where it is that.
    """

    def __init__(
        self, *, domain: str, reason: str, result_type: ResultType, reason_code: str, status: int | None = None
    ) -> None:
        super().__init__(f"MTA-STS policy of {domain[:MAX_SHOWN]!a}: {reason}")
        self.domain = domain
        self.reason = reason
        self.result_type = result_type
        self.reason_code = reason_code
        self.status = status

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by fields, not by text."""
        return _rebuild_fetch_error, (self.domain, self.reason, self.result_type, self.reason_code, self.status)


def _rebuild_fetch_error(
    domain: str, reason: str, result_type: ResultType, reason_code: str, status: int | None
) -> PolicyFetchError:
    return PolicyFetchError(
        domain=domain, reason=reason, result_type=result_type, reason_code=reason_code, status=status
    )


class STSTemporaryError(RemoteError):
    """Whether a domain has a policy could not be found out, and none is cached: do not deliver now (RFC 8461 3.1).

    Attributes:
        domain: which, in ASCII.
        reason: why, a short phrase.
        result: what a TLS report says of it.
    """

    def __init__(self, *, domain: str, reason: str, result: Result) -> None:
        super().__init__(f"whether {domain[:MAX_SHOWN]!a} has an MTA-STS policy could not be found out: {reason}")
        self.domain = domain
        self.reason = reason
        self.result = result

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by fields, not by text."""
        return _rebuild_temporary, (self.domain, self.reason, self.result)


def _rebuild_temporary(domain: str, reason: str, result: Result) -> STSTemporaryError:
    return STSTemporaryError(domain=domain, reason=reason, result=result)
