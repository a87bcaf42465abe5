"""What a queue offers on webhooks: look, cancel, reschedule, replay, enable endpoints again. `Queue` inherits it."""

from datetime import datetime, timedelta

from moxlib._clock import Clock
from moxlib.queue.config import QueueConfig
from moxlib.queue.hooks.records import Hook, HookEndpoint, Replay, RetiredHook
from moxlib.queue.hooks.selection import HookFilter, HookHistoryFilter
from moxlib.queue.schedule import check_reschedule
from moxlib.queue.selection import Cursor, Page, Sort, page_start
from moxlib.queue.storage.base import Storage

__all__ = ["WebhookMethods"]

REPLAY_STEP = 500  # webhooks in one transaction, which others wait for


class WebhookMethods:
    """Webhooks: what `QueueConfig.webhook` or an account's has the queue send to a URL."""

    _storage: Storage
    _config: QueueConfig
    _clock: Clock

    def _wake_webhooks(self) -> None:
        raise NotImplementedError  # the queue has workers

    async def get_webhook(self, id_: int) -> Hook | None:
        """Return a webhook that waits for its call; None when there is none (any more)."""
        return await self._storage.hooks.get(id_)

    async def list_webhooks(
        self,
        where: HookFilter | None = None,
        *,
        sort: Sort = Sort.QUEUED,
        descending: bool = False,
        limit: int = 100,
        after: Cursor | str | None = None,
    ) -> Page[Hook]:
        """Return one page of webhooks that wait for their call; `page.next` is the `after` of the next one.

        Raises:
            InvalidFilter: a limit that cannot be, or a cursor of another order.
        """
        return await self._storage.hooks.list_waiting(
            where or HookFilter(), sort=sort, descending=descending, limit=limit, after=page_start(limit, after)
        )

    async def count_webhooks(self, where: HookFilter | None = None) -> int:
        """Count webhooks that wait for their call."""
        return await self._storage.hooks.count_waiting(where or HookFilter())

    async def get_retired_webhook(self, id_: int) -> RetiredHook | None:
        """Return a webhook that is done; None when there is none (any more)."""
        return await self._storage.hooks.get_retired(id_)

    async def list_webhook_history(
        self,
        where: HookHistoryFilter | None = None,
        *,
        sort: Sort = Sort.LAST_ACTIVITY,
        descending: bool = True,
        limit: int = 100,
        after: Cursor | str | None = None,
    ) -> Page[RetiredHook]:
        """Return one page of webhooks that are done, the newest first by default.

        Raises:
            InvalidFilter: a limit that cannot be, a cursor of another order, or `Sort.NEXT_ATTEMPT`.
        """
        return await self._storage.hooks.list_retired(
            where or HookHistoryFilter(), sort=sort, descending=descending, limit=limit, after=page_start(limit, after)
        )

    async def count_webhook_history(self, where: HookHistoryFilter | None = None) -> int:
        """Count webhooks that are done."""
        return await self._storage.hooks.count_retired(where or HookHistoryFilter())

    async def cancel_webhooks(self, where: HookFilter) -> int:
        """Take webhooks out of the queue, into the history, and return how many. A call under way may still arrive."""
        return self._changed(
            await self._storage.hooks.cancel(
                where, text="canceled by an operator", now=self._clock.now(), keep=self._config.webhook_retention
            )
        )

    async def retry_webhooks_now(self, where: HookFilter) -> int:
        """Make webhooks due now, and return how many; each still waits for those of its message before it."""
        return self._changed(await self._storage.hooks.set_next_attempt(where, self._clock.now()))

    async def reschedule_webhooks(
        self, where: HookFilter, *, at: datetime | None = None, by: timedelta | None = None
    ) -> int:
        """Set the next attempt of webhooks to `at`, or move it `by`; give one of them. Returns of how many.

        Raises:
            InputError: neither or both, a naive time, or more than 60 days.
        """
        move = check_reschedule(at, by, now=self._clock.now())
        if isinstance(move, timedelta):
            return self._changed(await self._storage.hooks.add_next_attempt(where, move))
        return self._changed(await self._storage.hooks.set_next_attempt(where, move))

    async def replay_webhooks(self, which: Replay | None = None) -> int:
        """Send events once more, and return how many: those of a range, of an account, or all there are.

        Those whose webhook is in the history go under the id that they had. Those of the event log that have none
        (nothing was configured then, or the endpoint was disabled) get one. What waits already is left alone. It is
        done in steps; should it be cut short, do it again.

        Args:
            which: the range; None: everything.
        """
        chosen, hooks = which or Replay(), self._storage.hooks
        last, now = await hooks.last_retired(), self._clock.now()
        count = 0
        place: int | None = 0
        while place is not None:
            step = await hooks.replay_history(chosen, after=place, up_to=last, limit=REPLAY_STEP, now=now)
            count, place = count + step.count, step.after
        place = max(0, (chosen.first_event or 1) - 1)
        while place is not None:
            step = await hooks.replay_events(chosen, plan_for=self._config.hook_plan, after=place, limit=REPLAY_STEP)
            count, place = count + step.count, step.after
        return self._changed(count)

    async def webhook_endpoints(self) -> tuple[HookEndpoint, ...]:
        """Return the URLs that something was sent to, or is to be, and whether they are disabled or slowed down."""
        return await self._storage.hooks.endpoints()

    async def enable_webhook(self, url: str) -> bool:
        """Send to a URL again that had answered 410, or asked for time; False when it had not.

        What waits for it goes out. What happened while it was disabled does not, before `replay_webhooks`.
        """
        return bool(self._changed(await self._storage.hooks.enable(url)))

    def _changed(self, count: int) -> int:
        self._wake_webhooks()
        return count
