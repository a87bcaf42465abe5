"""`PasswordChecks`: checks passwords in a few threads, remembers those that were right, and refuses what piles up."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from moxlib._sharedcalls import SharedCalls
from moxlib.errors import InputError, StateError
from moxlib.webapi.password_hash import PasswordHash
from moxlib.webapi.passwords import VerifiedPasswords

__all__ = ["PasswordChecks"]

THREADS: Final = 2  # each takes the memory of a hash, 32 MiB, and a processor
MAX_WAITING: Final = 64  # passwords: some seconds' worth


class PasswordChecks:
    """Says whether passwords are right.

    Logins with the same password at the same time, as of a program that has just started, share one check.

    Args:
        verified: remembers passwords that were right.
        threads: how many are checked at once.
        max_waiting: how many wait to be, at most.
    """

    def __init__(self, *, verified: VerifiedPasswords, threads: int = THREADS, max_waiting: int = MAX_WAITING) -> None:
        if threads < 1 or max_waiting < 1:
            raise InputError("passwords are checked in at least one thread, and one at least may wait")
        self._verified = verified
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="moxlib passwords")
        self._room = threading.BoundedSemaphore(threads + max_waiting)
        self._shared: SharedCalls[bytes, bool | None] = SharedCalls()

    async def check(self, login: str, password: str, hashed: PasswordHash) -> bool | None:
        """Say whether a password is that of a hash; None where too many wait already.

        Raises:
            StateError: it was closed.

        Args:
            login: whose password: what is remembered is remembered of this login.
            password: as given.
            hashed: its hash.
        """
        digest = self._verified.digest(login, password, hashed.text)
        if self._verified.knows(digest):
            return True
        right = await self._shared.run(digest, self._check(password, hashed))
        if right:
            self._verified.remember(digest)
        return right

    async def _check(self, password: str, hashed: PasswordHash) -> bool | None:
        if not self._room.acquire(blocking=False):
            return None
        try:
            checking = self._pool.submit(hashed.verify, password)
        except RuntimeError as error:
            self._room.release()
            raise StateError("the accounts are closed") from error
        checking.add_done_callback(lambda _: self._room.release())  # who goes away does not end the thread's work
        return await asyncio.wrap_future(checking)

    def close(self) -> None:
        """End the threads. Idempotent; nothing can be checked any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
