"""Secrets and signatures of Standard Webhooks (standardwebhooks.com, its symmetric scheme, "v1").

What is signed is the call's id, its time and its body, joined by full stops, with HMAC-SHA256.
"""

import base64
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Final, Self

from moxlib.webhook.errors import InvalidSecret

__all__ = ["MAX_KEY", "MIN_KEY", "Secret"]

PREFIX: Final = "whsec_"
MIN_KEY: Final = 24  # bytes: "between 24 bytes (192 bits) and 64 bytes (512 bits)"
MAX_KEY: Final = 64
MADE: Final = 32  # bytes of a new secret: what SHA-256 can make use of


@dataclass(frozen=True, slots=True)
class Secret:
    """What sender and receiver share to sign calls and verify them. It does not show itself.

    Raises:
        InvalidSecret: the key is shorter than 24 bytes, or longer than 64.
    """

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse what is too short to be secret."""
        if not MIN_KEY <= len(self.key) <= MAX_KEY:
            raise InvalidSecret(f"it has {len(self.key)} bytes, where {MIN_KEY} to {MAX_KEY} are wanted")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `whsec_` and base64; the prefix, and the padding, may be missing.

        Raises:
            InvalidSecret: it is not that.
        """
        encoded = text.strip().removeprefix(PREFIX).rstrip("=")
        try:
            key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except ValueError:  # also binascii.Error
            raise InvalidSecret("it is not base64") from None
        return cls(key)

    @classmethod
    def generate(cls) -> Self:
        """Return a new one, of 32 random bytes."""
        return cls(secrets.token_bytes(MADE))

    def reveal(self) -> str:
        """Return it as text, to be stored and to be given to the other side: `whsec_` and base64."""
        return PREFIX + base64.b64encode(self.key).decode("ascii")

    def sign(self, id_: str, timestamp: int | str, body: bytes) -> str:
        """Return the signature of a call, as it is in the header: `v1,` and base64.

        Args:
            id_: the header webhook-id.
            timestamp: the header webhook-timestamp: seconds since 1970.
            body: as it is sent.
        """
        signed = b"%b.%b.%b" % (id_.encode(), str(timestamp).encode(), body)
        return "v1," + base64.b64encode(hmac.digest(self.key, signed, "sha256")).decode("ascii")
