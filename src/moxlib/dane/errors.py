"""What goes wrong with certificates that TLSA records are to verify."""

from moxlib.errors import RemoteError

__all__ = ["DANEError"]


class DANEError(RemoteError):
    """No TLSA record verifies the peer's certificates.

    Attributes:
        reason: why not, in short; where a record matched, what is wrong nevertheless.
        matched: whether a record matched a certificate.
    """

    def __init__(self, reason: str, *, matched: bool = False) -> None:
        super().__init__(f"DANE: {reason}")
        self.reason = reason
        self.matched = matched

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by fields, not by text."""
        return _rebuild, (self.reason, self.matched)


def _rebuild(reason: str, matched: bool) -> DANEError:
    return DANEError(reason, matched=matched)
