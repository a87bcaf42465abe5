"""What must protect a connection to one mail exchanger, and what may be tried after that failed. Pure.

From four things: what MTA-STS says of the recipient's domain (RFC 8461), what DANE says of the host (RFC 7672), what
the message asks for (RFC 8689), and whether it is a report. The answer is a `Refusal`, when the host is not to be used,
or the *tries*, in order: the next one is made when TLS, and nothing else, failed in the one before.

| what holds | tries |
| --- | --- |
| no policy | TLS if offered, with whoever answers; then in clear |
| MTA-STS testing | TLS if offered, certificate verified, so that a failure is reported; then as without a policy |
| MTA-STS enforce | TLS, certificate verified |
| TLSA records | TLS, verified by them (and by the certificate, if MTA-STS enforces that too) |
| TLSA records of which none is usable | TLS, with whoever answers |

`TLS-Required: No` adds what there is without a policy behind each. A report is not sent in clear because TLS failed.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from moxlib.dns import TLSA, Domain
from moxlib.queue.types import RequireTLS
from moxlib.smtpclient import TLSMode

__all__ = ["DANE", "Refusal", "STSMode", "Try", "tries"]


class STSMode(Enum):
    """What the MTA-STS policy of the recipient's domain wants; `NONE` also without a policy."""

    NONE = "none"
    TESTING = "testing"
    ENFORCE = "enforce"


@dataclass(frozen=True, slots=True, kw_only=True)
class DANE:
    """What the host's TLSA records say, where every answer on the way to them was authenticated.

    Attributes:
        records: the usable ones; none: there are records, and TLS is required for that, unverified (RFC 7672 2.2).
        names: the names that a certificate under a trust anchor may have, the one for SNI first (RFC 7672 3.2.2).
    """

    records: tuple[TLSA, ...]
    names: tuple[Domain, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One way to make a connection.

    Attributes:
        mode: whether TLS is used.
        pkix: the certificate must be valid for the host's name, by a known authority.
        dane: the TLSA records that must verify it; empty: none need to.
        names: as in `DANE`.
    """

    mode: TLSMode
    pkix: bool = False
    dane: tuple[TLSA, ...] = ()
    names: tuple[Domain, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The host must not be used for this message.

    Attributes:
        text: why.
        sts_mismatch: MTA-STS does not know the host, which is to be reported.
        lacks_verification: the message requires verified TLS, and nothing about the host says how to verify it.
    """

    text: str
    sts_mismatch: bool = False
    lacks_verification: bool = False


_IF_OFFERED: Final = Try(mode=TLSMode.OPPORTUNISTIC)
_IN_CLEAR: Final = Try(mode=TLSMode.NONE)


def tries(
    *,
    sts: STSMode = STSMode.NONE,
    sts_matches: bool = True,
    dane: DANE | None = None,
    require_tls: RequireTLS = RequireTLS.POLICY,
    is_report: bool = False,
) -> tuple[Try, ...] | Refusal:
    """Return how to connect to a host, or why not to.

    Args:
        sts: what the policy of the recipient's domain wants.
        sts_matches: the policy has a pattern for the host.
        dane: what its TLSA records say; None: it has none, or nothing proves that they are its own.
        require_tls: what the message asks for.
        is_report: it is a DMARC or TLS report.
    """
    relaxed = require_tls is RequireTLS.NO
    enforced = sts is STSMode.ENFORCE
    if enforced and not sts_matches and not relaxed:
        return Refusal(text="the domain's MTA-STS policy does not list this host", sts_mismatch=True)
    if require_tls is RequireTLS.YES and not enforced and not (dane is not None and dane.records):
        text = "the message requires verified TLS, and the host has neither usable TLSA records nor an enforced policy"
        return Refusal(text=text, lacks_verification=True)
    required = _required(enforced=enforced, dane=dane)
    without_policy = (_IF_OFFERED,) if is_report else (_IF_OFFERED, _IN_CLEAR)
    if required is not None:
        return (required, *without_policy) if relaxed else (required,)
    if sts is STSMode.TESTING and sts_matches:
        return (Try(mode=TLSMode.OPPORTUNISTIC, pkix=True), *without_policy)
    return without_policy


def _required(*, enforced: bool, dane: DANE | None) -> Try | None:
    """Return what a policy demands; None where none does."""
    if dane is None:
        return Try(mode=TLSMode.REQUIRED, pkix=True) if enforced else None
    # RFC 8461 2: MTA-STS must not override a failing DANE validation; so both have to succeed.
    return Try(mode=TLSMode.REQUIRED, pkix=enforced, dane=dane.records, names=dane.names)
