"""What a queue says of sending limits without a submit. `Queue` inherits it."""

from collections.abc import Sequence

from moxlib._clock import Clock
from moxlib.queue.sending import SendingLimits, Sent, check_limits
from moxlib.queue.storage.base import Storage
from moxlib.smtp import parse_path

__all__ = ["AllowanceMethods"]


class AllowanceMethods:
    """How much accounts have sent; `Queue.submit(limits=...)` counts it."""

    _storage: Storage
    _clock: Clock

    async def sent_in_a_day(self, account: str = "") -> Sent:
        """Return what an account has sent in the last 24 hours, as far as it was submitted with limits."""
        return await self._storage.sent(account, now=self._clock.now())

    async def check_sending_limits(
        self, recipients: str | Sequence[str], *, account: str = "", limits: SendingLimits
    ) -> None:
        """Say whether a submit would be within limits, as things are now; nothing is counted.

        Args:
            recipients: for whom it would be.
            account: whose it would be.
            limits: as it would be submitted with.

        Raises:
            MessageLimitReached, RecipientLimitReached: it would be beyond them.
            InvalidAddress: a recipient that is no address.
        """
        given = (recipients,) if isinstance(recipients, str) else recipients
        addresses = tuple(dict.fromkeys(str(parse_path(each)) for each in given))
        now = self._clock.now()
        first_time = 0
        if limits.first_time_recipients_per_day is not None:
            first_time = await self._storage.first_time_recipients(account, addresses, now=now)
        more = Sent(recipients=len(addresses), first_time=first_time)
        check_limits(limits, await self._storage.sent(account, now=now), more)
