"""CRAM-MD5 (RFC 2195): the password is not sent, but MD5 over it; better than nothing without TLS."""

import hmac
from typing import Final

from moxlib.sasl.errors import SASLError
from moxlib.sasl.mechanism import Step, check_size
from moxlib.sasl.prepare import prepared_password

__all__ = ["CRAMMD5"]

_STEPS: Final = 2


class CRAMMD5:
    """CRAM-MD5; the server begins."""

    name = "CRAM-MD5"
    cleartext = False

    def __init__(self, username: str, password: str) -> None:
        self._username = username.encode()
        self._key = prepared_password(password).encode()
        self._taken = 0

    def step(self, challenge: bytes | None = None) -> Step:
        """Return nothing, then the answer to the challenge.

        Raises:
            SASLError: the challenge is not `<digits.timestamp@host>`, or one too many.
        """
        check_size(self.name, challenge)
        self._taken += 1
        if self._taken == 1:
            return Step(data=None, last=False)
        if self._taken > _STEPS:
            raise SASLError(self.name, "the server asks for more than the mechanism has")
        challenge = challenge or b""
        self._check(challenge)
        digest = hmac.new(self._key, challenge, "md5").hexdigest()
        return Step(data=self._username + b" " + digest.encode("ascii"), last=True)

    def _check(self, challenge: bytes) -> None:
        """RFC 2195 2: a msg-id as in RFC 822. What is none may be chosen to learn about the password."""
        if not (challenge.startswith(b"<") and challenge.endswith(b">")):
            raise SASLError(self.name, "the challenge has no angle brackets")
        _, dot, rest = challenge[1:-1].partition(b".")
        timestamp, _, host = rest.partition(b"@")
        if not dot:
            raise SASLError(self.name, "the challenge has no dot behind its digits")
        if not timestamp or not host:
            raise SASLError(self.name, "the challenge has no timestamp or no host")
