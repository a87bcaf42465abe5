"""Which mechanism to use: the strongest that both sides allow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from moxlib.errors import InputError
from moxlib.sasl.crammd5 import CRAMMD5
from moxlib.sasl.errors import NoMechanism
from moxlib.sasl.mechanism import External, Login, Mechanism, Plain, XOAuth2
from moxlib.sasl.scram import SCRAM, ChannelBinding, SCRAMHash, make_nonce

__all__ = ["DEFAULT_MECHANISMS", "MECHANISMS", "Credentials", "choose_mechanism"]

# From strongest to weakest. The default ones do not show the password to the other end; the others are for who asks.
DEFAULT_MECHANISMS: Final = ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "CRAM-MD5")
# EXTERNAL goes first: there is no secret in it that could be shown or guessed, and who names it has a certificate. Of
# the last three, a token is worth less to who steals it than a password.
MECHANISMS: Final = ("EXTERNAL", *DEFAULT_MECHANISMS, "XOAUTH2", "PLAIN", "LOGIN")
_CLEARTEXT: Final = frozenset({"XOAUTH2", "PLAIN", "LOGIN"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who logs in, with what, and how.

    Attributes:
        username: who. With EXTERNAL it may be empty: then it is whom the server takes the client certificate for.
        password: for all mechanisms but XOAUTH2 and EXTERNAL.
        token: the OAuth 2.0 access token, for XOAUTH2.
        mechanisms: the ones that may be used; their order is not heeded, the strongest that the server offers is taken.
        cleartext_without_verified_tls: whether PLAIN, LOGIN and XOAUTH2 may show the secret to a server that has not
            proved who it is, or to who listens.

    Raises:
        InputError: an unknown mechanism; a NUL in username or password (RFC 4616 2), or a control for XOAUTH2; what
            cannot be written in UTF-8.
    """

    username: str
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    mechanisms: tuple[str, ...] = DEFAULT_MECHANISMS
    cleartext_without_verified_tls: bool = False

    def __post_init__(self) -> None:
        unknown = [name for name in self.mechanisms if name not in MECHANISMS]
        if unknown:
            raise InputError(f"unknown SASL mechanisms: {unknown!r}; known are {', '.join(MECHANISMS)}")
        if any("\ud800" <= c <= "\udfff" for c in self.username + self.password + self.token):
            raise InputError("a username, password or token with a surrogate")
        if "\0" in self.username or "\0" in self.password:
            raise InputError("a username or password with NUL")
        if "XOAUTH2" in self.mechanisms and any(c < " " for c in self.username + self.token):
            raise InputError("a username or token with a control character")


def choose_mechanism(
    offered: Sequence[str],
    credentials: Credentials,
    *,
    channel_binding: bytes | None = None,
    verified_tls: bool = False,
    nonce: Callable[[], str] = make_nonce,
) -> Mechanism:
    """Return a new exchange of the strongest mechanism that the server offers and `credentials` allow.

    Args:
        offered: what the server announced, in upper case.
        credentials: who logs in.
        channel_binding: the connection's tls-unique value; None where there is none.
        verified_tls: whether the connection is private, with the server that it should be.
        nonce: makes SCRAM's nonce.

    Raises:
        NoMechanism: there is none.
    """
    withheld: list[str] = []
    # A server that offers any -PLUS refuses "y" (RFC 5802 6); and it is no lie only if we could have bound the channel.
    plus_offered = any(name.startswith("SCRAM-") and name.endswith("-PLUS") for name in offered)
    could_bind = channel_binding is not None and not plus_offered
    unbound = ChannelBinding.NOT_OFFERED if could_bind else ChannelBinding.UNSUPPORTED
    for name in MECHANISMS:
        if name not in credentials.mechanisms or name not in offered:
            continue
        if name in _CLEARTEXT and not (verified_tls or credentials.cleartext_without_verified_tls):
            withheld.append(name)
            continue
        if name.endswith("-PLUS") and channel_binding is None:
            continue
        binding = channel_binding if channel_binding is not None and name.endswith("-PLUS") else unbound
        return _make(name, credentials, binding, nonce)
    raise NoMechanism(credentials.mechanisms, tuple(offered), tuple(withheld))


def _make(name: str, credentials: Credentials, binding: bytes | ChannelBinding, nonce: Callable[[], str]) -> Mechanism:
    username, password = credentials.username, credentials.password
    match name:
        case "CRAM-MD5":
            return CRAMMD5(username, password)
        case "XOAUTH2":
            return XOAuth2(username, credentials.token)
        case "PLAIN":
            return Plain(username, password)
        case "LOGIN":
            return Login(username, password)
        case "EXTERNAL":
            return External(username)
        case _:
            hash_ = SCRAMHash.SHA256 if name.startswith("SCRAM-SHA-256") else SCRAMHash.SHA1
            return SCRAM(hash_, username, password, binding=binding, nonce=nonce)
