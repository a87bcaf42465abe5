"""What operators do to queued messages, and the rules by which some are held. `Queue` inherits it."""

from datetime import datetime, timedelta

from moxlib._clock import Clock
from moxlib.dns import InvalidDomain, parse_ip_domain
from moxlib.errors import InputError
from moxlib.queue.config import QueueConfig
from moxlib.queue.errors import InvalidFilter
from moxlib.queue.intake import Entropy
from moxlib.queue.notify import Notifier, fail_and_tell
from moxlib.queue.schedule import check_reschedule
from moxlib.queue.selection import MessageFilter, is_text
from moxlib.queue.storage.base import Storage
from moxlib.queue.types import EventType, HoldRule, RequireTLS

__all__ = ["OperatorMethods"]


class OperatorMethods:
    """Operating: each method says how many messages it changed."""

    _storage: Storage
    _config: QueueConfig
    _clock: Clock
    _entropy: Entropy

    def _logged(self) -> None:
        raise NotImplementedError  # the queue has followers and workers

    def _woken(self, changed: int) -> int:
        raise NotImplementedError  # the queue has workers

    def _check_transport(self, name: str | None) -> None:
        raise NotImplementedError  # the queue has transports

    async def hold(self, where: MessageFilter) -> int:
        """Hold messages: no further attempt is made before they are released. One under way goes on."""
        return await self._storage.set_hold(where, hold=True)

    async def release(self, where: MessageFilter) -> int:
        """Release held messages. A quarantined one is checked again before it is sent."""
        return self._woken(await self._storage.set_hold(where, hold=False))

    async def retry_now(self, where: MessageFilter) -> int:
        """Make messages due now."""
        return self._woken(await self._storage.set_next_attempt(where, self._clock.now()))

    async def reschedule(self, where: MessageFilter, *, at: datetime | None = None, by: timedelta | None = None) -> int:
        """Set the next attempt to `at`, or move it `by` (which may be negative); give one of them.

        Raises:
            InputError: neither or both, a naive time, or more than 60 days.
        """
        move = check_reschedule(at, by, now=self._clock.now())
        if isinstance(move, timedelta):
            return self._woken(await self._storage.add_next_attempt(where, move))
        return self._woken(await self._storage.set_next_attempt(where, move))

    async def set_transport(self, where: MessageFilter, transport: str | None) -> int:
        """Deliver messages by a transport, whatever the routes say; None: by the routes again.

        Raises:
            UnknownTransport: this queue has transports, but none of that name.
            InputError: a name that is no text.
        """
        self._check_transport(transport)
        if transport is not None and not is_text(transport):
            raise InputError(f"a transport's name must be a text without lone surrogates, not {transport!r:.100}")
        return await self._storage.set_transport(where, transport)

    async def set_require_tls(self, where: MessageFilter, require_tls: RequireTLS) -> int:
        """Change what messages ask of TLS.

        Raises:
            InputError: `require_tls` is none of `RequireTLS`.
        """
        if require_tls not in tuple(RequireTLS):
            raise InputError(f"require_tls is one of {', '.join(RequireTLS)}, not {require_tls!r:.100}")
        return await self._storage.set_require_tls(where, RequireTLS(require_tls))

    async def drop(self, where: MessageFilter) -> int:
        """Take messages out of the queue, undelivered: event canceled. An attempt under way may still deliver."""
        count = await self._storage.retire(
            where,
            event=EventType.CANCELED,
            text="dropped from the queue",
            now=self._clock.now(),
            keep=self._config.retentions(),
            plan_for=self._config.hook_plan,
            keep_feedback=self._config.keep_feedback,
        )
        self._logged()
        return count

    async def fail(self, where: MessageFilter) -> int:
        """Give messages up: event failed, code 0; their senders are told. An attempt under way may still deliver.

        Many messages are given up in several transactions, each with its notifications.
        """
        now, config = self._clock.now(), self._config
        notifier = Notifier(self._storage, config, self._clock, self._entropy.token)
        text = "given up by an operator"
        count = await fail_and_tell(self._storage, notifier, where, text=text, now=now, config=config)
        self._logged()
        return self._woken(count)

    # hold rules

    async def hold_rules(self) -> tuple[HoldRule, ...]:
        """Return the hold rules in force."""
        return await self._storage.hold_rules()

    async def add_hold_rule(
        self, rule: HoldRule | None = None, /, *, account: str = "", sender_domain: str = "", recipient_domain: str = ""
    ) -> tuple[HoldRule, int]:
        """Hold what matches all the given fields, from now on and what is queued already; none given: everything.

        Args:
            rule: takes the place of the fields given one by one.
            account: whose messages.
            sender_domain: the domain of their sender.
            recipient_domain: the domain of their recipient.

        Returns:
            The rule (an equal one is not doubled), and how many queued messages it held.

        Raises:
            InvalidFilter: a domain that is none, or an account that is no text.
        """
        given = rule or HoldRule(account=account, sender_domain=sender_domain, recipient_domain=recipient_domain)
        if not is_text(given.account) or "\0" in given.account:
            what = f"{given.account!r:.100}"
            raise InvalidFilter(f"a hold rule's account must be a text without NUL and lone surrogates, not {what}")
        checked = HoldRule(
            account=given.account,
            sender_domain=_domain(given.sender_domain),
            recipient_domain=_domain(given.recipient_domain),
        )
        return await self._storage.add_hold_rule(checked)

    async def remove_hold_rule(self, rule: HoldRule | int) -> bool:
        """Remove a rule; False when there was none. What it held stays held."""
        return await self._storage.remove_hold_rule(rule if isinstance(rule, int) else rule.id)


def _domain(text: str) -> str:
    if not text:
        return ""
    try:
        return str(parse_ip_domain(text))
    except InvalidDomain as error:
        raise InvalidFilter(f"a hold rule's domain: {error}") from error
