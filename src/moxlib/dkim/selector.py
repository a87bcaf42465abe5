"""What signs: a key of a domain under a name, and how it does it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from moxlib.dkim.canonical import Canonicalization
from moxlib.dkim.keys import PrivateKey, checked_key, load_private_key
from moxlib.dkim.record import Record, record_for, record_name
from moxlib.dkim.signature import FIELD_NAME, Identity, is_field_name
from moxlib.dkim.tags import parse_selector
from moxlib.dns import MAX_NAME, Domain, InvalidDomain
from moxlib.errors import InputError

__all__ = ["DEFAULT_HEADERS", "DEFAULT_HEADERS_IF_PRESENT", "Selector"]

DEFAULT_HEADERS: Final = (
    "From",
    "To",
    "Cc",
    "Bcc",
    "Reply-To",
    "References",
    "In-Reply-To",
    "Subject",
    "Date",
    "Message-Id",
    "Content-Type",
)
"""What mox signs, whether the message has it or not: so that nobody can add what is missing."""

DEFAULT_HEADERS_IF_PRESENT: Final = (
    "MIME-Version",
    "Content-Transfer-Encoding",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
)
"""What is signed too where the message has it: RFC 8058 3.1 wants the latter two. A list may add them to other mail."""

MAX_HEADERS: Final = 200  # names in one selector; the fields that RFC 5322 and its extensions name are fewer


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """A key of a domain, under the name that receivers find it by, and how it signs.

    Attributes:
        domain: the domain that signs (d=).
        name: the selector (s=): letters, digits, hyphens, and dots between labels. In lower case once constructed.
        private_key: an RSA or Ed25519 key of `cryptography`, or PEM text of one. The key itself once constructed.
        header_form: the canonical form of the header.
        body_form: that of the body.
        headers: names of the fields to sign, whether the message has them or not. A name may come several times, and
            then covers as many fields of that name, from below.
        headers_if_present: names to sign too where the message has them.
        oversign: list each name once more than the message has it, so that none can be added. mox calls it SealHeaders.
        expires_after: how long a signature holds, to the second; None for ever. Days rather than hours: queues are
            patient.
        identity: for whom (i=); None for nobody in particular.

    Raises:
        WeakKey: an RSA key of less than 1024 bits.
        InvalidKey: no key that DKIM signs with.
        InvalidDomain: the name is no selector, or too long with the domain.
        InputError: From is not signed; a field that cannot be; no positive time; an identity outside the domain.
    """

    domain: Domain
    name: str
    private_key: PrivateKey | str | bytes = field(repr=False)
    header_form: Canonicalization = Canonicalization.RELAXED
    body_form: Canonicalization = Canonicalization.RELAXED
    headers: tuple[str, ...] = DEFAULT_HEADERS
    headers_if_present: tuple[str, ...] = DEFAULT_HEADERS_IF_PRESENT
    oversign: bool = True
    expires_after: timedelta | None = None
    identity: Identity | None = None

    def __post_init__(self) -> None:
        key = self.private_key
        key = load_private_key(key) if isinstance(key, str | bytes) else checked_key(key)
        object.__setattr__(self, "private_key", key)
        object.__setattr__(self, "name", parse_selector(self.name))
        object.__setattr__(self, "headers", tuple(self.headers))
        object.__setattr__(self, "headers_if_present", tuple(self.headers_if_present))
        object.__setattr__(self, "header_form", Canonicalization(self.header_form))
        object.__setattr__(self, "body_form", Canonicalization(self.body_form))
        if len(self.record_name) > MAX_NAME:
            raise InvalidDomain(f"longer than {MAX_NAME} octets", self.record_name)
        if self.expires_after is not None and self.expires_after < timedelta(seconds=1):
            raise InputError("a signature that expires at once")
        if self.identity is not None and not self.identity.within(self.domain):
            raise InputError(f"the identity {self.identity} is not within {self.domain}")
        _check_names((*self.headers, *self.headers_if_present))
        if "from" not in map(str.lower, self.headers):
            raise InputError("From has to be signed (RFC 6376 5.4)")

    @property
    def key(self) -> PrivateKey:
        """The private key, loaded."""
        assert not isinstance(self.private_key, str | bytes), "it was loaded when this was constructed"
        return self.private_key

    @property
    def record_name(self) -> str:
        """Where the record has to be published."""
        return record_name(self.name, self.domain)

    def record(self, *, testing: bool = False) -> Record:
        """Return the record to publish there."""
        return record_for(self.key, testing=testing)


def _check_names(names: Sequence[str]) -> None:
    if len(names) > MAX_HEADERS:
        raise InputError(f"more than {MAX_HEADERS} header fields to sign")
    for name in names:
        if not is_field_name(name):
            raise InputError(f"not a header field that can be signed: {name[:80]!a}")
        if name.lower() == FIELD_NAME.lower():  # it would stand for the signature itself where there is no other
            raise InputError(f"{FIELD_NAME} is not to be signed")
