"""The queue's configuration: plain frozen data, checked when it is made."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Literal

from moxlib.errors import InputError
from moxlib.queue.dsn_config import DEFAULT_DSN, DSNConfig
from moxlib.queue.fromid import NO_FROMIDS, FromIDConfig
from moxlib.queue.hooks.config import HookConfig
from moxlib.queue.hooks.payload import outgoing_event
from moxlib.queue.hooks.records import HookPlan
from moxlib.queue.limits import Rate
from moxlib.queue.reply_class import Classifier
from moxlib.queue.routing import Route
from moxlib.queue.schedule import MOX_SCHEDULE, RetrySchedule, ScheduleFunction
from moxlib.queue.suppression import DEFAULT_POLICY, SuppressionPolicy
from moxlib.queue.types import EventType

__all__ = ["AccountConfig", "DomainConfig", "OnUnknown", "QueueConfig", "ScheduleLike", "WorkerConfig", "as_schedule"]

_host_name = re.compile(r"[A-Za-z0-9_.:\[\]-]+").fullmatch  # also an address literal

ScheduleLike = str | ScheduleFunction
"""A schedule as text (`"1m, 5m*2"`), a `RetrySchedule`, or a function of the attempts made."""

OnUnknown = Literal["retry", "hold"]
"""What becomes of a message that may have been delivered: try again (it may arrive twice), or hold for a human."""


def as_schedule(schedule: ScheduleLike) -> ScheduleFunction:
    """Return the function behind a schedule.

    Raises:
        InvalidSchedule: a text that cannot be read.
    """
    return RetrySchedule.parse(schedule) if isinstance(schedule, str) else schedule


def _check_rates(owner: str, messages_per_second: float | None, connections_per_minute: float | None) -> None:
    for name, make, count in (
        ("messages_per_second", Rate.per_second, messages_per_second),
        ("connections_per_minute", Rate.per_minute, connections_per_minute),
    ):
        try:
            if count is not None:
                make(count)
        except InputError as error:
            raise InputError(f"{owner}.{name}: {error}") from error


def _nothing() -> Mapping[str, Any]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountConfig:
    """What differs for one account; None means "as the queue's"."""

    schedule: ScheduleLike | None = None
    max_attempts: int | None = None
    keep_history: timedelta | None = None
    routes: tuple[Route, ...] = ()
    suppression: SuppressionPolicy | None = None
    webhook: HookConfig | None = None
    """Where its events are sent."""
    incoming_webhook: HookConfig | None = None
    """Where messages that come in for it are sent."""
    keep_webhooks: timedelta | None = None
    fromids: FromIDConfig | None = None
    dsn: DSNConfig | None = None

    def __post_init__(self) -> None:
        """Refuse what could not work."""
        if self.max_attempts is not None and self.max_attempts < 1:
            raise InputError("AccountConfig.max_attempts must be at least 1")
        if self.keep_history is not None and self.keep_history < timedelta(0):
            raise InputError("AccountConfig.keep_history must not be negative")
        if self.keep_webhooks is not None and self.keep_webhooks < timedelta(0):
            raise InputError("AccountConfig.keep_webhooks must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainConfig:
    """What differs for one domain: its schedule and its limits as a recipient's, its routes as a sender's.

    None means "as the queue's". To free a domain from a rate that the queue has, give it one that it never reaches.
    """

    schedule: ScheduleLike | None = None
    concurrency: int | None = None
    messages_per_second: float | None = None
    connections_per_minute: float | None = None
    routes: tuple[Route, ...] = ()

    def __post_init__(self) -> None:
        """Refuse rates that are none."""
        _check_rates("DomainConfig", self.messages_per_second, self.connections_per_minute)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """How a worker paces itself. The defaults suit a machine with a few cores."""

    lease: timedelta = timedelta(seconds=60)
    """How long others leave a silent worker's messages alone. Renewed every third of it."""
    max_claimed: int = 1000
    """Messages claimed at once at most, waiting ones included."""
    claim_batch: int = 500
    """Messages in one claim."""
    poll_interval: timedelta = timedelta(seconds=1)
    """How soon a message that another process submitted is seen; those of this process are seen at once."""
    settle_gather: timedelta = timedelta(milliseconds=20)
    """How long finished attempts wait for others to share a commit, while more are under way.

    Should the process die meanwhile, they count as interrupted: those messages are sent again.
    """
    delivery_timeout: timedelta = timedelta(hours=1)
    """What one call of a transport may take. Above what RFC 5321 4.5.3.2 adds up to for a large message.

    Waiting for a connection that `connections_per_minute` allows is not counted. It may take as long again; then the
    messages are given back to the queue, and no attempt was made.
    """
    webhook_calls: int = 100
    """Webhook calls at once at most, to all endpoints together; each holds a connection."""
    drain_timeout: timedelta = timedelta(seconds=30)
    """How long attempts under way may take to finish when the worker is told to stop; then they are cancelled."""
    purge_interval: timedelta = timedelta(minutes=10)
    """How often history past its time is deleted."""

    def __post_init__(self) -> None:
        """Refuse what could not work."""
        for name in ("lease", "poll_interval", "delivery_timeout", "purge_interval"):
            if getattr(self, name) <= timedelta(0):
                raise InputError(f"WorkerConfig.{name} must be positive")
        for name in ("max_claimed", "claim_batch", "webhook_calls"):
            if getattr(self, name) < 1:
                raise InputError(f"WorkerConfig.{name} must be at least 1")
        for name in ("settle_gather", "drain_timeout"):
            if getattr(self, name) < timedelta(0):
                raise InputError(f"WorkerConfig.{name} must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueConfig:
    """Everything about a queue that is not a message.

    Schedules are looked up in this order: the message's own, the account's, the recipient domain's, the queue's.
    """

    schedule: ScheduleLike = MOX_SCHEDULE
    schedules: Mapping[str, ScheduleLike] = field(default_factory=_nothing)
    """Schedules that messages may name: the only way to give a single message a function."""
    max_attempts: int | None = None
    """For all messages; None: as many as the schedule allows (1,000, where that is a function)."""
    accounts: Mapping[str, AccountConfig] = field(default_factory=_nothing)
    domains: Mapping[str, DomainConfig] = field(default_factory=_nothing)
    """By domain name in lower-case ASCII form."""
    routes: tuple[Route, ...] = ()
    default_transport: str = "default"
    """For what no route matches. With a single registered transport, that is the default whatever its name."""
    concurrency: int = 10
    """Deliveries at once to one destination, over all workers."""
    messages_per_second: float | None = None
    """Attempts begun to one destination, over all workers, at most a second's worth at once (but one at least): from
    one a day to 1,000,000 a second, 0.5 is one in two seconds. None: no limit."""
    connections_per_minute: float | None = None
    """Connections opened for one destination, over all workers, at most ten seconds' worth at once (but one at least).
    None: no limit. It holds for transports that ask by `Delivery.connecting`, as those that ship with moxlib do."""
    on_unknown: OnUnknown = "retry"
    keep_history: timedelta = timedelta(days=30)
    """How long finished messages stay in the history; 0: not at all."""
    keep_events: timedelta = timedelta(days=30)
    keep_webhooks: timedelta = timedelta(days=7)
    """How long webhooks that are done stay in their history; 0: not at all."""
    keep_idempotency_keys: timedelta = timedelta(hours=24)
    """How long the same key gets the first submit's receipts."""
    max_message_size: int = 100 * 1024 * 1024
    max_recipients: int = 10_000
    """Of one submission: its rows are written in one transaction."""
    inline_content: int = 64 * 1024
    """Content up to this many bytes lies in the database, larger content in a file."""
    hostname: str = "localhost"
    """The right-hand side of the Message-IDs that are added where one is missing."""
    add_missing_headers: bool = True
    """Add Date and Message-ID where they are missing (RFC 6409 8.2, 8.3)."""
    keep_feedback: timedelta = timedelta(days=30)
    """How long after its end a message is known to feedback at least, though its history is kept for less: addresses,
    identifiers and how its attempts ended."""
    fromids: FromIDConfig = NO_FROMIDS
    """Which messages have a MAIL FROM of their own for each recipient, by which bounces are told apart."""
    suppression: SuppressionPolicy = DEFAULT_POLICY
    """When a recipient's failures suppress it, on which address, and for how long."""
    dsn: DSNConfig = DEFAULT_DSN
    """Whether senders hear of failures and delays by mail, and how."""
    webhook: HookConfig | None = None
    """Where events are sent, of accounts that have no webhook of their own."""
    incoming_webhook: HookConfig | None = None
    """Where messages that come in are sent, for accounts that have no webhook of their own for them."""
    classifier: Classifier | None = None
    """Says what failures mean (`AttemptResult.reply_class`); None: `Classifier.default()`."""
    worker: WorkerConfig = field(default_factory=WorkerConfig)

    def __post_init__(self) -> None:
        """Refuse what could not work, and schedules that cannot be read, before anything is queued."""
        for schedule in self._all_schedules():
            as_schedule(schedule)
        if self.max_attempts is not None and self.max_attempts < 1:
            raise InputError("QueueConfig.max_attempts must be at least 1")
        for name in ("concurrency", "max_message_size", "max_recipients"):
            if getattr(self, name) < 1:
                raise InputError(f"QueueConfig.{name} must be at least 1")
        _check_rates("QueueConfig", self.messages_per_second, self.connections_per_minute)
        if self.inline_content < 0:
            raise InputError("QueueConfig.inline_content must not be negative")
        self._check_retention()
        if self.on_unknown not in ("retry", "hold"):
            raise InputError("QueueConfig.on_unknown must be 'retry' or 'hold'")
        if not _host_name(self.hostname):  # it is written into a header
            raise InputError(f"QueueConfig.hostname must be a host name in ASCII form, not {self.hostname!r:.100}")
        self._check_domains()

    def _check_retention(self) -> None:
        for name in ("keep_history", "keep_events", "keep_webhooks", "keep_feedback"):
            if getattr(self, name) < timedelta(0):
                raise InputError(f"QueueConfig.{name} must not be negative")
        if self.keep_idempotency_keys <= timedelta(0):
            raise InputError("QueueConfig.keep_idempotency_keys must be positive")

    def _check_domains(self) -> None:
        for name, domain in self.domains.items():
            if name != name.lower() or not name.isascii():  # it would never match
                raise InputError(f"the domain {name!r} must be in lower-case ASCII form")
            if domain.concurrency is not None and domain.concurrency < 1:
                raise InputError(f"the concurrency of domain {name!r} must be at least 1")

    def _all_schedules(self) -> list[ScheduleLike]:
        optional = [a.schedule for a in self.accounts.values()] + [d.schedule for d in self.domains.values()]
        return [self.schedule, *self.schedules.values(), *(s for s in optional if s is not None)]

    def schedule_for(self, *, named: str | None, account: str, recipient_domain: str) -> ScheduleFunction:
        """Return the schedule of a message.

        Raises:
            InvalidSchedule: the message's own is neither registered nor readable.
        """
        if named is not None:
            return as_schedule(self.schedules.get(named, named))
        for config in (self.accounts.get(account), self.domains.get(recipient_domain)):
            if config is not None and config.schedule is not None:
                return as_schedule(config.schedule)
        return as_schedule(self.schedule)

    def retention(self, account: str) -> timedelta:
        """Return how long an account's history is kept."""
        config = self.accounts.get(account)
        return self.keep_history if config is None or config.keep_history is None else config.keep_history

    def retentions(self) -> Mapping[str, timedelta]:
        """Return the retention of each account that has its own; under "" the queue's."""
        return {"": self.keep_history} | {
            name: config.keep_history for name, config in self.accounts.items() if config.keep_history is not None
        }

    def suppression_for(self, account: str) -> SuppressionPolicy:
        """Return by which rules an account's recipients are suppressed."""
        config = self.accounts.get(account)
        return self.suppression if config is None or config.suppression is None else config.suppression

    @property
    def has_webhooks(self) -> bool:
        """Whether anything is sent to a webhook."""
        hooks = [self.webhook, self.incoming_webhook]
        for config in self.accounts.values():
            hooks += [config.webhook, config.incoming_webhook]
        return any(hooks)

    def webhook_for(self, account: str) -> HookConfig | None:
        """Return where an account's events are sent."""
        config = self.accounts.get(account)
        return self.webhook if config is None or config.webhook is None else config.webhook

    def incoming_webhook_for(self, account: str) -> HookConfig | None:
        """Return where messages that come in for an account are sent."""
        config = self.accounts.get(account)
        return self.incoming_webhook if config is None or config.incoming_webhook is None else config.incoming_webhook

    def webhook_retention(self, account: str) -> timedelta:
        """Return how long an account's webhooks are kept when they are done."""
        config = self.accounts.get(account)
        return self.keep_webhooks if config is None or config.keep_webhooks is None else config.keep_webhooks

    def hook_plan(self, account: str, event: EventType) -> HookPlan | None:
        """Return where an event of an account is to be sent; None: nowhere."""
        hook = self.webhook_for(account)
        if hook is None:
            return None
        outgoing = outgoing_event(event)
        if outgoing is None or not hook.wants(outgoing):
            return None
        retention = self.webhook_retention(account)
        return HookPlan(url=hook.url, keep_latest=hook.keep == "latest", retention=retention)

    def incoming_hook_plan(self, account: str) -> HookPlan | None:
        """Return where a message that came in for an account is to be sent; None: nowhere."""
        hook = self.incoming_webhook_for(account)
        return None if hook is None else HookPlan(url=hook.url, retention=self.webhook_retention(account))

    def fromids_for(self, account: str) -> FromIDConfig:
        """Return which of an account's messages have fromids."""
        config = self.accounts.get(account)
        return self.fromids if config is None or config.fromids is None else config.fromids

    def dsn_for(self, account: str) -> DSNConfig:
        """Return how an account's senders hear of failures and delays."""
        config = self.accounts.get(account)
        return self.dsn if config is None or config.dsn is None else config.dsn

    def all_fromids(self) -> tuple[FromIDConfig, ...]:
        """Return everybody's settings of fromids: what comes in may be about anybody's message."""
        own = [config.fromids for config in self.accounts.values() if config.fromids is not None]
        return (self.fromids, *own)

    def routes_for(self, *, account: str, sender_domain: str) -> tuple[Route, ...]:
        """Return the routes of a message in the order they are tried: the account's, the sender domain's, all."""
        account_config = self.accounts.get(account)
        domain_config = self.domains.get(sender_domain)
        return (
            *(account_config.routes if account_config else ()),
            *(domain_config.routes if domain_config else ()),
            *self.routes,
        )
