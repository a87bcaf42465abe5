"""What goes wrong in a SASL exchange.

MoxlibError
├── InputError
│   └── NoMechanism         none of the offered mechanisms is allowed and possible
└── RemoteError
    └── SASLError           the server broke the mechanism's rules, or could not prove itself (mechanism, reason)
"""

from moxlib.errors import InputError, RemoteError

__all__ = ["NoMechanism", "SASLError"]


class SASLError(RemoteError):
    """What the server sent cannot be answered: abort the exchange.

    Attributes:
        mechanism: the mechanism's name.
        reason: what is wrong, in our words, with at most an escaped piece of the server's.
    """

    def __init__(self, mechanism: str, reason: str) -> None:
        super().__init__(f"{mechanism}: {reason}")
        self.mechanism = mechanism
        self.reason = reason

    def __reduce__(self) -> tuple[type["SASLError"], tuple[str, str]]:
        """Pickle by fields, not by text."""
        return type(self), (self.mechanism, self.reason)


class NoMechanism(InputError):
    """The server offers no mechanism that the credentials allow on this connection.

    Attributes:
        allowed: what the credentials allow.
        offered: what the server offers.
        withheld: what both have, but that would show a password to whoever is at the other end.
    """

    def __init__(self, allowed: tuple[str, ...], offered: tuple[str, ...], withheld: tuple[str, ...] = ()) -> None:
        text = f"no common mechanism: allowed are {_list(allowed)}; the server offers {_list(offered)}"
        if withheld:
            text += f"; {_list(withheld)} only over verified TLS, unless told otherwise"
        super().__init__(text)
        self.allowed = allowed
        self.offered = offered
        self.withheld = withheld

    def __reduce__(self) -> tuple[type["NoMechanism"], tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]]:
        """Pickle by fields, not by text."""
        return type(self), (self.allowed, self.offered, self.withheld)


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(ascii(name[:30])[1:-1] for name in names[:20]) or "none"
