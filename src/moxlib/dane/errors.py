"""What goes wrong with certificates that TLSA records are to verify."""

from enum import StrEnum

from moxlib.errors import RemoteError

__all__ = ["DANEError", "DANEFault"]


class DANEFault(StrEnum):
    """Why no TLSA record verifies a peer's certificates."""

    NO_CERTIFICATE = "no-certificate"
    """It sent none, or one that cannot be read."""
    NO_MATCH = "no-match"
    """No record is one of a certificate that it sent."""
    NO_PATH = "no-path"
    """A record matches an authority, which is not above the peer's own certificate by what the peer sent."""
    EXPIRED = "expired"
    """A certificate on the way to the authority is not valid at this time."""
    NAME = "name-mismatch"
    """The certificate is not one for any of the names."""
    INVALID = "invalid"
    """A certificate on the way to the authority breaks the rules (RFC 5280), or may not be used for this."""


class DANEError(RemoteError):
    """No TLSA record verifies the peer's certificates.

    Attributes:
        reason: why not, in short; what the peer's certificates say is escaped.
        fault: the kind of reason. Of several records, it is of the one that came furthest.
    """

    def __init__(self, reason: str, *, fault: DANEFault) -> None:
        super().__init__(f"DANE: {reason}")
        self.reason = reason
        self.fault = fault

    @property
    def matched(self) -> bool:
        """Whether a record matched a certificate, and something else was wrong."""
        return self.fault not in (DANEFault.NO_CERTIFICATE, DANEFault.NO_MATCH)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by fields, not by text."""
        return _rebuild, (self.reason, self.fault)


def _rebuild(reason: str, fault: DANEFault) -> DANEError:
    return DANEError(reason, fault=fault)
