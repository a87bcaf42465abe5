"""Signing: from a message and selectors to the header fields that are put before it."""

import base64
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from moxlib._clock import Clock, SystemClock
from moxlib.dkim.canonical import BodyHash, Canonicalization, canonical_field
from moxlib.dkim.head import Head, read_head
from moxlib.dkim.keys import PrivateKey
from moxlib.dkim.selector import Selector
from moxlib.dkim.signature import Identity, fold, fold_signature
from moxlib.errors import InputError
from moxlib.message import InvalidMessage, SupportsReadAt
from moxlib.message.source import Source, chunks_of, open_source
from moxlib.smtp import Localpart

__all__ = ["Signer", "sign"]


class Signer:
    """Signs messages with the same keys each time: what does not depend on the message is worked out once.

    It has no state, and may be used by several threads at once.

    Args:
        selectors: each makes a signature.
        clock: the time.
    """

    def __init__(self, selectors: Iterable[Selector], *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._prepared = tuple(map(_Prepared, selectors))
        if not self._prepared:
            raise InputError("no selector to sign with")

    def sign(
        self,
        message: bytes | bytearray | memoryview | SupportsReadAt,
        *,
        size: int | None = None,
        localpart: Localpart | None = None,
    ) -> bytes:
        """Return the DKIM-Signature fields of a message, one for each selector, to be put before it as they are.

        Args:
            message: with CRLF line ends; in memory, or a file that is read by position, a block at a time.
            size: octets of it; None for all.
            localpart: sign for this user of each domain (i=), but where a selector has an identity. It makes the field
                UTF-8 if it is not ASCII.

        Raises:
            InvalidMessage: the header cannot be read, has no end, or has no or more than one From.
            LimitExceeded: the header is too large.
            OSError: or whatever the file raises.
        """
        return self._signed(open_source(message, size), localpart, self._clock.now())

    def _signed(self, source: Source, localpart: Localpart | None, now: datetime) -> bytes:
        head = read_head(source)
        if head.body_start is None:
            raise InvalidMessage("no blank line after the header")
        if (count := len(head.fields(self._prepared[0].header_form).get(b"from", ()))) != 1:  # RFC 5322 3.6
            raise InvalidMessage(f"{count} From fields, not one")
        seconds = int(now.timestamp())
        hashes: dict[Canonicalization, bytes] = {}
        signed = []
        for prepared in self._prepared:
            body_hash = hashes.get(prepared.body_form)
            if body_hash is None:
                body_hash = hashes[prepared.body_form] = _hash_body(source, head.body_start, prepared.body_form)
            signed.append(prepared.sign(head, body_hash, seconds, localpart))
        return b"".join(signed)


def sign(
    message: bytes | bytearray | memoryview | SupportsReadAt,
    selectors: Iterable[Selector],
    *,
    size: int | None = None,
    localpart: Localpart | None = None,
    now: datetime | None = None,
) -> bytes:
    """Sign one message, as `Signer.sign` does; a `Signer` is faster for many.

    Args:
        message: as there, and so are `size` and `localpart`.
        selectors: each makes a signature.
        size: octets of the message; None for all.
        localpart: sign for this user.
        now: when, aware; None for the system's time.

    Raises:
        InvalidMessage: as there, and the other errors.
    """
    signer = Signer(selectors)
    return signer._signed(open_source(message, size), localpart, datetime.now(UTC) if now is None else now)  # noqa: SLF001


def _hash_body(source: Source, start: int, form: Canonicalization) -> bytes:
    body = BodyHash(form)
    for chunk in chunks_of(source, start, source.size):
        body.feed(chunk)
    return base64.b64encode(body.digest())


class _Prepared:
    """A selector with its key's operation, and the parts of its field that are always the same."""

    def __init__(self, selector: Selector) -> None:
        forms = f"{selector.header_form}/{selector.body_form}"
        items = ["DKIM-Signature: v=1;", f"d={selector.domain.ascii};", f"s={selector.name};"]
        algorithm = [f"a={selector.record().key_type}-sha256;", f"c={forms};"]
        self._domain = selector.domain
        self._identity = selector.identity
        self._before_identity = [(b" ", item.encode("ascii")) for item in items]
        self._before_identity[0] = (b"", self._before_identity[0][1])
        # RFC 6376 3.5: simple/simple is the default
        self._after_identity = [(b" ", item.encode("ascii")) for item in algorithm if item != "c=simple/simple;"]
        self._lifetime = None if selector.expires_after is None else int(selector.expires_after.total_seconds())
        self._names = [_both_forms(name) for name in selector.headers]
        self._if_present = [_both_forms(name) for name in selector.headers_if_present]
        self._oversign = selector.oversign
        self._counts = Counter(name for name, _ in (*self._names, *self._if_present))
        self._sign = _operation(selector.key)
        self.header_form = selector.header_form
        self.body_form = selector.body_form

    def sign(self, head: Head, body_hash: bytes, now: int, localpart: Localpart | None) -> bytes:
        """Return the whole field, with its line end."""
        names = self._listed(head.fields(self.header_form))
        text = fold(self._items(names, body_hash, now, localpart))
        signed = head.selected([name for name, _ in names], self.header_form) + canonical_field(text, self.header_form)
        return fold_signature(text, base64.b64encode(self._sign(signed)))

    def _listed(self, fields: Mapping[bytes, list[bytes]]) -> list[tuple[bytes, bytes]]:
        """Return the names to sign: in lower case, and as they are written, with a colon."""
        names = self._names + [each for each in self._if_present if each[0] in fields]
        more: list[tuple[bytes, bytes]] = []
        seen = set()
        for each in names if self._oversign else ():
            name = each[0]
            if name in fields and name not in seen:  # RFC 6376 8.15: one more than there are
                seen.add(name)
                more += [each] * (len(fields[name]) + 1 - self._counts[name])
        return names + more

    def _items(
        self, names: list[tuple[bytes, bytes]], body_hash: bytes, now: int, localpart: Localpart | None
    ) -> list[tuple[bytes, bytes]]:
        """Return what the field is folded from, up to where the signature comes."""
        items = self._before_identity.copy()
        identity = self._identity
        if identity is None and localpart is not None:
            identity = Identity(domain=self._domain, localpart=str(localpart))
        if identity is not None:
            items.append((b" ", b"i=%b;" % identity.tag().encode()))
        items += self._after_identity
        items.append((b" ", b"t=%d;" % now))
        if self._lifetime is not None:
            items.append((b" ", b"x=%d;" % (now + self._lifetime)))
        listed = [(b"", written) for _, written in names]
        listed[0] = (b" ", b"h=" + listed[0][1])
        separator, last = listed[-1]
        listed[-1] = (separator, last[:-1] + b";")
        items += listed
        items += ((b" ", b"bh=%b;" % body_hash), (b" ", b"b="))
        return items


def _both_forms(name: str) -> tuple[bytes, bytes]:
    written = name.encode("ascii")
    return written.lower(), written + b":"


def _operation(key: PrivateKey) -> Callable[[bytes], bytes]:
    """Return what signs octets with a key."""
    if isinstance(key, Ed25519PrivateKey):
        sign_hash = key.sign
        return lambda data: sign_hash(hashlib.sha256(data).digest())  # RFC 8463 3: the hash is what is signed
    sign_data, padding, algorithm = key.sign, PKCS1v15(), SHA256()
    return lambda data: sign_data(data, padding, algorithm)
