"""Why there is no host to deliver to, or no address of one.

RemoteError
├── GatherError           (permanent, code, enhanced: as a reply would have them)
│   ├── NullMX            for good: the domain accepts no mail
│   ├── NoSuchDomain      for good: there is no such name
│   ├── NoHosts           for now: none of its MX records names a host
│   ├── NoAddresses       for now: the host has no address of the families asked for
│   └── LookupFailed      for now: nobody knows; the cause is the DNSError
└── DNSError              from gather_tlsa: the host must not be used now
"""

from functools import partial

from moxlib.errors import RemoteError
from moxlib.smtp import EnhancedCode

__all__ = ["GatherError", "LookupFailed", "NoAddresses", "NoHosts", "NoSuchDomain", "NullMX"]


class GatherError(RemoteError):
    """The hosts or addresses of a destination could not be found.

    Attributes:
        name: the domain, host or address it is about.
        permanent: whether a later attempt must be expected to fail again.
        code: the reply code that says the same.
        enhanced: the enhanced status code that does (RFC 3463).
    """

    permanent: bool = False
    code: int = 451
    enhanced: EnhancedCode = EnhancedCode(4, 4, 4)

    def __init__(self, text: str, *, name: str) -> None:
        super().__init__(text)
        self.name = name

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by fields, not by text."""
        return partial(type(self), name=self.name), ()


class NullMX(GatherError):
    """The domain says that it accepts no mail (RFC 7505)."""

    permanent: bool = True
    code: int = 556  # RFC 7504 4, RFC 7505 4.2
    enhanced: EnhancedCode = EnhancedCode(5, 1, 10)

    def __init__(self, *, name: str) -> None:
        super().__init__(f"{name} accepts no mail (null MX)", name=name)


class NoSuchDomain(GatherError):
    """The domain, or the name its CNAME leads to, does not exist (RFC 5321 5.1)."""

    permanent: bool = True
    code: int = 550
    enhanced: EnhancedCode = EnhancedCode(5, 1, 2)

    def __init__(self, *, name: str) -> None:
        super().__init__(f"{name} does not exist", name=name)


class NoHosts(GatherError):
    """The domain has MX records, but none of them has the name of a host."""

    def __init__(self, *, name: str) -> None:
        super().__init__(f"no MX record of {name} has a valid host name", name=name)


class NoAddresses(GatherError):
    """A host has no address of the families asked for, or does not exist."""

    def __init__(self, *, name: str) -> None:
        super().__init__(f"{name} has no address to connect to", name=name)


class LookupFailed(GatherError):
    """The DNS gave no answer, or none that makes sense.

    Attributes:
        reason: what went wrong.
        bogus: DNSSEC validation failed.
    """

    enhanced: EnhancedCode = EnhancedCode(4, 4, 3)

    def __init__(self, *, name: str, reason: str, bogus: bool = False) -> None:
        super().__init__(reason, name=name)
        self.reason = reason
        self.bogus = bogus

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by fields, not by text."""
        return partial(type(self), name=self.name, reason=self.reason, bogus=self.bogus), ()
