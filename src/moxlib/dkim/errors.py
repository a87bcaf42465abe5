"""What goes wrong with DKIM, other than that a signature is bad: that is a `Result`.

InputError
├── InvalidKey              what was given is no private key that signs
│   └── WeakKey             an RSA key that is too short to sign with
├── InvalidRecord           a text is no DKIM record
└── InvalidSignature        a header field is no DKIM signature

A message whose header cannot be read is a `moxlib.message.InvalidMessage`; one with too much of it, a `LimitExceeded`.
"""

from typing import Final, Self

from moxlib.errors import InputError

__all__ = ["InvalidKey", "InvalidRecord", "InvalidSignature", "WeakKey", "shown"]

MAX_SHOWN: Final = 80  # characters of a peer's text in an error's; the rest says nothing more


def shown(text: str) -> str:
    """Return a peer's text for an error: quoted, escaped and cut."""
    return f"{text[:MAX_SHOWN]!a}"


class InvalidKey(InputError):
    """What was given is not a private key that DKIM signs with: RSA or Ed25519.

    Attributes:
        reason: what is wrong, a short phrase without anything of the key.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"invalid key: {reason}")
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by fields, not by text."""
        return type(self), (self.reason,)


class WeakKey(InvalidKey):
    """An RSA key that is too short: receivers have to refuse its signatures (RFC 8301 3.2).

    Attributes:
        bits: how long it is.
        needed: how long it has to be.
    """

    def __init__(self, bits: int, needed: int) -> None:
        super().__init__(f"an RSA key of {bits} bits; {needed} are needed")
        self.bits = bits
        self.needed = needed

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by fields, not by text."""
        return type(self), (self.bits, self.needed)


class InvalidRecord(InputError):
    """A text is not a DKIM record.

    Attributes:
        reason: what is wrong with it, a short phrase.
        value: the text as it was given, whole and unescaped.
        meant: it is a list of tags as DKIM has them, and a malformed one; otherwise it is a TXT record for something
            else, such as a wildcard's.
    """

    def __init__(self, reason: str, value: str, *, meant: bool) -> None:
        """Keep the fields; the text shows the beginning of the value, escaped."""
        super().__init__(f"invalid DKIM record: {reason}: {shown(value)}")
        self.reason = reason
        self.value = value
        self.meant = meant

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by fields, not by text."""
        return _rebuild_record, (self.reason, self.value, self.meant)


def _rebuild_record(reason: str, value: str, meant: bool) -> InvalidRecord:
    return InvalidRecord(reason, value, meant=meant)


class InvalidSignature(InputError):
    """A header field is not a DKIM signature that can be read.

    Attributes:
        reason: what is wrong with it, a short phrase; what of it is the sender's is escaped.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"invalid DKIM signature: {reason}")
        self.reason = reason

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        """Pickle by fields, not by text."""
        return type(self), (self.reason,)
