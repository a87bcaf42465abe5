"""What every SASL client mechanism is, and the simple ones (RFC 4422). No I/O.

The two sides send messages in turn. The client's first message may be absent (`Step.data` is None: the server begins).
"""

from dataclasses import dataclass
from typing import Final, Protocol

from moxlib.sasl.errors import SASLError

__all__ = ["External", "Login", "Mechanism", "Plain", "Step", "XOAuth2"]

MAX_CHALLENGE: Final = 9_216  # bytes: what RFC 4954 4's line of 12,288 octets holds in Base64


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One message to the server.

    Attributes:
        data: its bytes; None (in the first step only): nothing, the server begins. Empty is a message, too.
        last: the server's verdict has to come next.
        or_challenge: instead of the verdict, one more challenge may come, which explains it.
    """

    data: bytes | None
    last: bool
    or_challenge: bool = False


class Mechanism(Protocol):
    """One exchange of one mechanism; used once."""

    @property
    def name(self) -> str:
        """As registered with IANA, such as "SCRAM-SHA-256"."""
        ...

    @property
    def cleartext(self) -> bool:
        """Whether the server, or who listens, learns what is needed to log in."""
        ...

    def step(self, challenge: bytes | None = None) -> Step:
        """Return the next message.

        Args:
            challenge: what the server sent; None for the first step.

        Raises:
            SASLError: the exchange has to be aborted.
        """
        ...


class _Scripted:
    """A mechanism whose messages do not depend on what the server sends."""

    name: str
    cleartext: bool

    def __init__(self, *messages: bytes) -> None:
        self._messages = messages
        self._taken = 0

    def step(self, challenge: bytes | None = None) -> Step:
        """Return the next message, whatever the challenge.

        Raises:
            SASLError: there is none left, or the challenge is too large.
        """
        check_size(self.name, challenge)
        if self._taken >= len(self._messages):
            raise SASLError(self.name, "the server asks for more than the mechanism has")
        self._taken += 1
        return Step(data=self._messages[self._taken - 1], last=self._taken == len(self._messages))


class Plain(_Scripted):
    """PLAIN (RFC 4616). Nothing is prepared: the server does that (RFC 8265 6.1)."""

    name = "PLAIN"
    cleartext = True

    def __init__(self, username: str, password: str, *, authorize_as: str = "") -> None:
        super().__init__(f"{authorize_as}\0{username}\0{password}".encode())


class Login(_Scripted):
    """LOGIN (draft-murchison-sasl-login-00): obsolete, and all that some servers have."""

    name = "LOGIN"
    cleartext = True

    def __init__(self, username: str, password: str) -> None:
        super().__init__(username.encode(), password.encode())


class External(_Scripted):
    """EXTERNAL (RFC 4422 A): who the client is shows from TLS's client certificate or the like."""

    name = "EXTERNAL"
    cleartext = False

    def __init__(self, authorize_as: str = "") -> None:
        super().__init__(authorize_as.encode())


class XOAuth2:
    """XOAUTH2: an OAuth 2.0 access token, as Google and Microsoft take it.

    A refused token is explained in a challenge of JSON; it has to be answered, with nothing, for the verdict to come.

    Attributes:
        status: that challenge; empty while there was none.
    """

    name = "XOAUTH2"
    cleartext = True

    def __init__(self, username: str, token: str) -> None:
        self._message = f"user={username}\x01auth=Bearer {token}\x01\x01".encode()
        self._taken = 0
        self.status: bytes = b""

    def step(self, challenge: bytes | None = None) -> Step:
        """Return the token, then an empty answer to the explanation.

        Raises:
            SASLError: the server asks once more, or the challenge is too large.
        """
        check_size(self.name, challenge)
        self._taken += 1
        if self._taken == 1:
            return Step(data=self._message, last=True, or_challenge=True)
        if self._taken > 2:  # noqa: PLR2004 - its steps
            raise SASLError(self.name, "the server asks for more than the mechanism has")
        self.status = challenge or b""
        return Step(data=b"", last=True)


def check_size(mechanism: str, challenge: bytes | None) -> None:
    """Raise `SASLError` for a challenge over the limit."""
    if challenge is not None and len(challenge) > MAX_CHALLENGE:
        raise SASLError(mechanism, f"a challenge of more than {MAX_CHALLENGE} bytes")
