"""Unsubscribing by one click: List-Unsubscribe headers with signed tokens (RFC 2369, RFC 8058). Pure.

A token says who unsubscribes from what, and is signed, so that nothing has to be stored for it, and nobody can make one
for somebody else. What is in it can be read by whoever has it: the recipient's address among it.
"""

import base64
import binascii
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Self
from urllib.parse import quote

from moxlib.errors import InputError
from moxlib.smtp import InvalidAddress, parse_address, parse_path

__all__ = [
    "ExpiredToken",
    "ForgedToken",
    "InvalidToken",
    "MalformedToken",
    "Unsubscribe",
    "UnsubscribeHeaders",
    "UnsubscribeTokens",
    "is_one_click",
    "token_in_subject",
]

MIN_KEY: Final = 32  # octets: as many as the digest has (RFC 2104 3)
MAX_KEYS: Final = 10  # each is tried for each token; two are in use while one takes over from the other
MAX_CLAIM: Final = 400  # octets of account, recipient and tag: an address has 256 at most
MAX_TOKEN: Final = 600  # characters: what such a claim makes, in base64
MAX_URI: Final = 980  # characters: a header line has 998 at most (RFC 5322 2.1.1), and each URI gets its own
MAX_SUBJECT: Final = 2000  # characters looked at of a subject that came back

_VERSION: Final = b"\x01"
_LABEL: Final = b"moxlib unsubscribe token\0"  # so that what else is signed with this key is no token
_DIGEST: Final = 32
_HEAD: Final = 1 + 8  # the version, and when it expires
_PLACE: Final = "{token}"

_token = re.compile(r"[A-Za-z0-9_-]+").fullmatch
_OF_URI: Final = r"[A-Za-z0-9\-._~:/?\[\]@!$&'()=*+;%]*"  # RFC 3986 2; but no commas (RFC 2369 2), and no fragment
_https = re.compile(f"https://[A-Za-z0-9\\[]{_OF_URI}").fullmatch
_uri_rest = re.compile(_OF_URI).fullmatch


class InvalidToken(InputError):
    """An unsubscribe token that is not to be followed; the class says why. No text is shown of what came in."""


class MalformedToken(InvalidToken):
    """It is not a token that this version of moxlib makes: cut off, garbled, or something else."""

    def __init__(self, text: str = "not an unsubscribe token") -> None:
        super().__init__(text)


class ForgedToken(InvalidToken):
    """None of the keys signed it: it is made up or altered, or its key was retired."""

    def __init__(self, text: str = "an unsubscribe token that none of the keys signed") -> None:
        super().__init__(text)


class ExpiredToken(InvalidToken):
    """It was good until `expired`. It is genuine, so a host may follow `claim` all the same: the wish is plain."""

    def __init__(self, claim: "Unsubscribe", expired: datetime) -> None:
        super().__init__(f"an unsubscribe token that expired at {expired:%Y-%m-%d %H:%M} UTC")
        self.claim = claim
        self.expired = expired

    def __reduce__(self) -> "tuple[type[Self], tuple[Unsubscribe, datetime]]":
        """Pickle by fields, not by text."""
        return type(self), (self.claim, self.expired)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsubscribe:
    """Who does not want mail any more: what a token claims.

    Raises:
        InputError: a recipient that is no address; or all of it over 400 octets, or with what UTF-8 cannot write.
    """

    account: str
    recipient: str
    """An address, as `moxlib.queue.suppression.add` takes it once it is parsed."""
    tag: str = ""
    """What from: a list, a kind of message; "" for all."""

    def __post_init__(self) -> None:
        """Refuse what would make no token, or one that leads nowhere."""
        try:
            null = parse_path(self.recipient).is_null
            octets = sum(len(text.encode()) for text in (self.account, self.recipient, self.tag))
        except InvalidAddress as error:
            raise InputError(f"the recipient of an unsubscribe token: {error}") from error
        except UnicodeEncodeError as error:
            raise InputError("an unsubscribe token of lone surrogates") from error
        if null:
            raise InputError("the recipient of an unsubscribe token is the null path")
        if octets > MAX_CLAIM:
            raise InputError(f"account, recipient and tag of an unsubscribe token have over {MAX_CLAIM} octets")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsubscribeTokens:
    """Signs tokens and reads them back (HMAC-SHA256).

    To change keys, put the new one in front, and take the old one off when nobody has mail signed with it any more; in
    some countries a link has to work for 30 or 60 days.

    Raises:
        InputError: no key, over ten, or one of under 32 octets.
    """

    keys: tuple[bytes, ...] = field(repr=False)
    """Secrets, such as `secrets.token_bytes(32)`. The first signs, and each of them verifies."""

    def __post_init__(self) -> None:
        """Refuse keys that could be guessed."""
        object.__setattr__(self, "keys", tuple(self.keys))
        if not 1 <= len(self.keys) <= MAX_KEYS:
            raise InputError(f"unsubscribe tokens need 1 to {MAX_KEYS} keys")
        if not all(len(key) >= MIN_KEY for key in self.keys):
            raise InputError(f"a key of unsubscribe tokens has at least {MIN_KEY} octets")

    def sign(self, claim: Unsubscribe, *, expires: datetime | None = None) -> str:
        """Return the token of a claim: at most 600 characters, letters, digits, "-" and "_". The same each time.

        Args:
            claim: who, and what from.
            expires: until when, to the second; None: as long as its key is used.

        Raises:
            InputError: a time before 1970.
        """
        until = 0 if expires is None else int(expires.timestamp())
        if until < 0 or (expires is not None and until == 0):
            raise InputError("an unsubscribe token cannot expire before 1970")
        texts = [text.encode() for text in (claim.account, claim.recipient, claim.tag)]
        payload = _VERSION + until.to_bytes(8) + b"".join([len(text).to_bytes(2) + text for text in texts])
        return _encoded(payload + self._digest(self.keys[0], payload))

    def read(self, token: str, now: datetime) -> Unsubscribe:
        """Return what a token claims, if one of the keys signed it, in time that does not depend on which or how far.

        Raises:
            MalformedToken: it is none; whitespace around it is one reason.
            ForgedToken: no key signed it.
            ExpiredToken: one did, and it is over.
        """
        octets = _decoded(token)
        payload, digest = octets[:-_DIGEST], octets[-_DIGEST:]
        matches = [hmac.compare_digest(self._digest(key, payload), digest) for key in self.keys]
        if not any(matches):
            raise ForgedToken
        try:
            until = int.from_bytes(payload[1:_HEAD])
            account, recipient, tag = _texts(payload[_HEAD:])
            claim = Unsubscribe(account=account, recipient=recipient, tag=tag)
            expired = datetime.fromtimestamp(until, UTC)
        except (ValueError, OverflowError, OSError) as error:  # signed by a program of another mind
            raise MalformedToken from error
        if until and now >= expired:
            raise ExpiredToken(claim, expired)
        return claim

    def _digest(self, key: bytes, payload: bytes) -> bytes:
        return hmac.digest(key, _LABEL + payload, "sha256")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsubscribeHeaders:
    """Where a recipient unsubscribes, as templates in which `{token}` stands for the token.

    Raises:
        InputError: a URL that is not https (RFC 8058 3.1) or has no `{token}`, a mailbox that is no address, or either
            with characters that cannot stand in a header.
    """

    url: str
    """Such as "https://example.org/unsubscribe?t={token}". It is fetched by POST, without cookies, by mail providers:
    never unsubscribe on GET, since whatever scans mail follows links."""
    mailbox: str = ""
    """An address that reads its mail, with `token_in_subject`, for those without one click; "" for none."""

    def __post_init__(self) -> None:
        """Check the templates once."""
        before, place, behind = self.url.partition(_PLACE)
        if not (place and _https(before) and _uri_rest(behind)):
            raise InputError(f"an https URL with one {_PLACE} and nothing to be encoded is needed: {self.url[:200]!a}")
        if self.mailbox:
            parse_address(self.mailbox)

    def uris(self, token: str) -> tuple[str, ...]:
        """Return the URIs for a token, the https one first.

        Raises:
            InputError: it is not a token's text, or makes one of over 980 characters.
        """
        if not _token(token):
            raise MalformedToken
        uris = [self.url.replace(_PLACE, token)]
        if self.mailbox:
            uris.append(f"mailto:{quote(self.mailbox, safe='@')}?subject=unsubscribe%20{token}")
        for uri in uris:
            if len(uri) > MAX_URI:
                raise InputError(f"an unsubscribe URI of more than {MAX_URI} characters")
        return tuple(uris)

    def fields(self, token: str) -> tuple[tuple[str, str], ...]:
        """Return names and values of the two header fields, unfolded.

        Do not set them on an `email.message.EmailMessage`: it makes encoded words of what is longer than a line, which
        no receiver follows. Put `block` before the message instead.
        """
        uris = ", ".join([f"<{uri}>" for uri in self.uris(token)])
        return (("List-Unsubscribe", uris), ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))

    def block(self, token: str) -> bytes:
        """Return the two header fields as lines ended by CRLF, to go before the message's own, before it is signed.

        A DKIM signature has to cover both (RFC 8058 3.1).
        """
        (name, _), (post, value) = self.fields(token)
        uris = ",\r\n ".join([f"<{uri}>" for uri in self.uris(token)])
        return f"{name}: {uris}\r\n{post}: {value}\r\n".encode("ascii")


def is_one_click(form: Mapping[str, str] | Iterable[tuple[str, str]]) -> bool:
    """Say whether the form of a POST asks for unsubscribing at once, without a page between (RFC 8058 3.2)."""
    pairs = form.items() if isinstance(form, Mapping) else form
    return any(name == "List-Unsubscribe" and value == "One-Click" for name, value in pairs)


def token_in_subject(subject: str) -> str:
    """Return the token in the subject of mail to the `mailbox`: its last word, whatever was put before it.

    Raises:
        MalformedToken: there is nothing that could be one.
    """
    words = subject[:MAX_SUBJECT].split()
    if not words or not _token(words[-1]) or len(words[-1]) > MAX_TOKEN:
        raise MalformedToken
    return words[-1]


def _encoded(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _decoded(token: str) -> bytes:
    """Return a token's octets: a version, a payload and a digest.

    Raises:
        MalformedToken: see `UnsubscribeTokens.read`.
    """
    if len(token) > MAX_TOKEN or not _token(token):
        raise MalformedToken
    try:
        octets = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except binascii.Error as error:
        raise MalformedToken from error
    # Bits behind the last octet would make several tokens of one.
    if len(octets) < _HEAD + _DIGEST or octets[:1] != _VERSION or _encoded(octets) != token:
        raise MalformedToken
    return octets


def _texts(payload: bytes) -> list[str]:
    texts: list[str] = []
    position = 0
    while position < len(payload):
        start = position + 2
        position = start + int.from_bytes(payload[position:start])
        texts.append(payload[start:position].decode())
    if position != len(payload):
        raise ValueError("a text that is cut off")
    return texts
