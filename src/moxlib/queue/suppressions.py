"""What a queue offers on suppressions: look up, add, remove, import, export. `Queue` inherits it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime
from itertools import islice

from moxlib._clock import Clock
from moxlib.queue.config import QueueConfig
from moxlib.queue.selection import Cursor, Page, Sort, check_page, is_text
from moxlib.queue.storage.base import Storage
from moxlib.queue.suppression import (
    Cause,
    InvalidSuppression,
    InvalidTable,
    Suppression,
    add,
    base_key,
    read_suppressions,
    write_suppressions,
)
from moxlib.queue.suppression.feedback import shown
from moxlib.queue.unsubscribe import ExpiredToken, UnsubscribeTokens
from moxlib.smtp import Address, InvalidAddress, Path, parse_path

__all__ = ["SuppressionMethods"]

MAX_TAG = 400  # characters of a tag in a reason; a token has no more
BATCH = 1000  # suppressions of an import in one transaction, or of an export in one look


class SuppressionMethods:
    """Suppressions: addresses that an account does not mail any more.

    A message to one is still queued, and fails at its next attempt without being sent. They are on base addresses, so
    that one of user@example.org is of user+tag@example.org as well (`SuppressionPolicy.base`).
    """

    _storage: Storage
    _config: QueueConfig
    _clock: Clock

    async def suppression(self, address: str | Address | Path, *, account: str = "") -> Suppression | None:
        """Return what an account has on an address, in force or expired: see `Suppression.is_active`.

        Raises:
            InvalidAddress: it is none.
        """
        return await self._storage.suppression(account, self._base(address, account))

    async def list_suppressions(
        self, account: str | None = None, *, limit: int = 100, after: Cursor | str | None = None
    ) -> Page[Suppression]:
        """Return one page of an account's suppressions in the order in which they came, expired ones too.

        Args:
            account: whose; None: everybody's.
            limit: how many at most.
            after: `next` of the page before.

        Raises:
            InvalidFilter: a limit that cannot be, or a cursor of another list.
        """
        check_page(limit)
        cursor = Cursor.parse(after) if isinstance(after, str) else after
        if cursor is not None:
            cursor.check(Sort.QUEUED, descending=False)
        found = await self._storage.list_suppressions(account, after=cursor.id if cursor else 0, limit=limit + 1)
        last = found[limit - 1][0] if len(found) > limit else None
        return Page(
            items=tuple([suppression for _, suppression in found[:limit]]),
            next=None if last is None else Cursor(sort=Sort.QUEUED, descending=False, key=last, id=last),
        )

    async def numbered_suppressions(
        self, account: str | None = None, *, after: int = 0, limit: int = 100
    ) -> tuple[tuple[int, Suppression], ...]:
        """Return an account's suppressions with their numbers, in order: for lists that tell of them by number.

        Args:
            account: whose; None: everybody's.
            after: a number: those behind it.
            limit: how many at most.

        Raises:
            InvalidFilter: a limit that cannot be.
        """
        check_page(limit)
        return await self._storage.list_suppressions(account, after=after, limit=limit)

    async def suppress(
        self,
        address: str | Address | Path,
        *,
        account: str = "",
        reason: str = "",
        cause: Cause = Cause.MANUAL,
        expires: datetime | None = None,
    ) -> Suppression:
        """Mail an address no more. Idempotent: where a suppression is in force already, that one is returned.

        Messages that are queued to it fail at their next attempt.

        Args:
            address: the recipient; a suppression is on its base address.
            account: whose messages are meant.
            reason: for people.
            cause: who or what asked for it.
            expires: until when; None: until it is removed.

        Raises:
            InvalidAddress: it is none.
            InvalidSuppression: an end that is past, a text that is too long.
        """
        _check_account(account)
        path = _path(address)
        now = self._clock.now()
        rules = self._config.suppression_for(account).base
        made = add(account, path, now=now, rules=rules, cause=cause, reason=reason, expires=expires)
        [new] = await self._storage.put_suppressions([made], now=now)
        if new:
            return made
        there = await self._storage.suppression(account, made.base_address)
        return there or made  # removed by somebody since

    async def unsuppress(self, address: str | Address | Path, *, account: str = "") -> bool:
        """Mail an address again; False when it was not suppressed. What failed meanwhile stays failed.

        Raises:
            InvalidAddress: it is none.
        """
        return await self._storage.remove_suppression(account, self._base(address, account))

    async def unsubscribe(self, token: str, *, tokens: UnsubscribeTokens, even_expired: bool = True) -> Suppression:
        """Suppress the address that an unsubscribe token names, for its account. Idempotent.

        For the handler of a one-click POST (RFC 8058 3.2), and for mail to the address beside it
        (`moxlib.queue.unsubscribe.token_in_subject`).

        Args:
            token: as it came in.
            tokens: what signed it.
            even_expired: whether a genuine token that is over counts all the same: the wish is plain.

        Raises:
            InvalidToken: it is none, nobody signed it, or it is over and `even_expired` is false.
        """
        try:
            claim = tokens.read(token, self._clock.now())
        except ExpiredToken as expired:
            if not even_expired:
                raise
            claim = expired.claim
        reason = f"unsubscribed from {shown(claim.tag, MAX_TAG)}" if claim.tag else "unsubscribed"
        return await self.suppress(claim.recipient, account=claim.account, reason=reason, cause=Cause.UNSUBSCRIBED)

    async def import_suppressions(
        self,
        lines: Iterable[str],
        *,
        account: str | None = "",
        progress: Callable[[int], None] | None = None,
        on_error: Callable[[InvalidTable], None] | None = None,
    ) -> int:
        """Add suppressions from CSV, as `export_suppressions` or another service writes it; return how many are new.

        They are added a thousand at a time; what was added before an error stays. Idempotent, as those in force stay as
        they are.

        Args:
            lines: of the file; they are read in a thread.
            account: whose they become; None: as the column "account" says.
            progress: is called with the number of records read, every 1,000 of them and at the end, in that thread.
            on_error: is told there of a record that cannot be read, which is then left out; None: the first is raised.

        Raises:
            InvalidTable: a record that cannot be read, or no column with addresses.
        """
        now = self._clock.now()
        rules = self._config.suppression_for(account or "").base
        read = read_suppressions(lines, now=now, account=account, rules=rules, progress=progress, on_error=on_error)
        new = 0
        while batch := await asyncio.to_thread(lambda: list(islice(read, BATCH))):
            new += sum(await self._storage.put_suppressions(batch, now=now))
        return new

    async def export_suppressions(
        self, account: str | None = None, *, progress: Callable[[int], None] | None = None
    ) -> AsyncIterator[str]:
        """Yield an account's suppressions as lines of CSV, with a header line; see `import_suppressions`.

        Args:
            account: whose; None: everybody's.
            progress: is called with the number of suppressions written so far.
        """
        after, written = 0, 0
        header = True
        while found := await self._storage.list_suppressions(account, after=after, limit=BATCH):
            after = found[-1][0]
            lines = iter(write_suppressions([suppression for _, suppression in found]))
            if not header:
                next(lines)
            header = False
            for line in lines:
                yield line
            written += len(found)
            if progress is not None:
                progress(written)
        if header:
            for line in write_suppressions(()):
                yield line

    def _base(self, address: str | Address | Path, account: str) -> str:
        return base_key(_path(address), self._config.suppression_for(account).base)


def _path(address: str | Address | Path) -> Path:
    path = parse_path(address) if isinstance(address, str) else address
    if isinstance(path, Address):
        return Path.of(path)
    if path.is_null:
        raise InvalidAddress("the null path is nobody's address", "<>")
    return path


def _check_account(account: str) -> None:
    if not is_text(account) or "\0" in account:
        raise InvalidSuppression(f"an account must be a text without NUL and lone surrogates, not {account!a:.100}")
