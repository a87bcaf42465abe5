"""What goes wrong with names, and with looking them up."""

from typing import Final, Self

from moxlib.errors import InputError, RemoteError

__all__ = ["DNSError", "InvalidDomain"]

MAX_SHOWN: Final = 80  # characters of a refused name in an error's text; the rest says nothing more


class InvalidDomain(InputError):
    """A text is not a domain name.

    Attributes:
        reason: what is wrong with it, a short phrase.
        value: the text as it was given, whole and unescaped.
    """

    def __init__(self, reason: str, value: str) -> None:
        """Keep both fields; the text shows at most `MAX_SHOWN` characters of the value, escaped."""
        super().__init__(f"invalid domain name: {reason}: {value[:MAX_SHOWN]!a}")
        self.reason = reason
        self.value = value

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        """Pickle by fields, not by text."""
        return type(self), (self.reason, self.value)


class DNSError(RemoteError):
    """A name could not be looked up: nobody knows whether there is such a record. A later try may find out.

    Attributes:
        name: what was asked for.
        kind: the record type, such as "MX".
        reason: what went wrong, a short phrase.
        extended: the Extended DNS Error code (RFC 8914 5.2) that came with it; None when none did.
        bogus: DNSSEC validation failed, as far as the resolver says (by a code such as 6, DNSSEC Bogus).
    """

    def __init__(self, *, name: str, kind: str, reason: str, extended: int | None = None, bogus: bool = False) -> None:
        super().__init__(f"looking up {kind} of {name[:MAX_SHOWN]!a}: {reason}")
        self.name = name
        self.kind = kind
        self.reason = reason
        self.extended = extended
        self.bogus = bogus

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by fields, not by text."""
        return _rebuild, (self.name, self.kind, self.reason, self.extended, self.bogus)


def _rebuild(name: str, kind: str, reason: str, extended: int | None, bogus: bool) -> DNSError:
    return DNSError(name=name, kind=kind, reason=reason, extended=extended, bogus=bogus)
