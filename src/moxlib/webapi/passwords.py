"""`VerifiedPasswords`: which passwords were right a moment ago, so that the slow hash is not paid for each request.

No password is kept, only a keyed hash of login, password and password hash. Its key is made anew for each process, so
that nothing can be looked up in it from outside. A password hash that changes makes another key of it: what was
remembered for the old one is no more found.
"""

import secrets
from collections import OrderedDict
from datetime import timedelta
from hashlib import blake2b
from typing import Final

from moxlib._clock import Clock, SystemClock
from moxlib.errors import InputError

__all__ = ["VerifiedPasswords"]

LIFETIME: Final = timedelta(minutes=5)  # how long a password that was withdrawn elsewhere may go on to be taken
MAX_ENTRIES: Final = 10_000  # about 2 MB; beyond that, the oldest is checked anew
DIGEST: Final = 32  # octets


class VerifiedPasswords:
    """A short-lived memory of right passwords, bounded in time and in number. For use in one thread.

    Args:
        lifetime: how long a password is remembered from when it was checked; zero for not at all.
        max_entries: of how many logins.
        clock: what the time is taken from.
        key: 16 to 64 octets that only this process knows; made by default.

    Raises:
        InputError: a negative lifetime, no room for even one, or a key of another length.
    """

    def __init__(
        self,
        *,
        lifetime: timedelta = LIFETIME,
        max_entries: int = MAX_ENTRIES,
        clock: Clock | None = None,
        key: bytes | None = None,
    ) -> None:
        if lifetime < timedelta(0) or max_entries < 1:
            raise InputError("passwords are remembered for zero or more seconds, and one at least")
        if key is not None and len(key) not in range(16, blake2b.MAX_KEY_SIZE + 1):
            raise InputError(f"the key must have 16 to {blake2b.MAX_KEY_SIZE} octets")
        self._lifetime = lifetime.total_seconds()
        self._max_entries = max_entries
        self._clock: Clock = clock or SystemClock()
        self._key = key or secrets.token_bytes(blake2b.MAX_KEY_SIZE)
        self._until: OrderedDict[bytes, float] = OrderedDict()  # the first to end first

    def __len__(self) -> int:
        """How many it keeps, some of which may have ended."""
        return len(self._until)

    def digest(self, login: str, password: str, hashed: str) -> bytes:
        """Return what a login is known by here: nobody without the key can tell from it what it was made of."""
        made = blake2b(key=self._key, digest_size=DIGEST)
        for text in (login, password, hashed):
            octets = text.encode("utf-8", "surrogatepass")
            made.update(len(octets).to_bytes(8, "big") + octets)
        return made.digest()

    def knows(self, digest: bytes) -> bool:
        """Say whether a login was right, not too long ago."""
        until = self._until.get(digest)
        return until is not None and self._clock.monotonic() < until

    def remember(self, digest: bytes) -> None:
        """Note that a login was right just now."""
        now = self._clock.monotonic()
        while self._until and (len(self._until) >= self._max_entries or next(iter(self._until.values())) <= now):
            self._until.popitem(last=False)
        if self._lifetime > 0:
            self._until.pop(digest, None)
            self._until[digest] = now + self._lifetime

    def forget(self) -> None:
        """Forget all."""
        self._until.clear()
