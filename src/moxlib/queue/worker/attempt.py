"""One attempt: find the transport, check the content, call the transport, and make sense of what it answers."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from random import Random
from types import MappingProxyType, UnionType

from moxlib._clock import Clock
from moxlib.queue import routing
from moxlib.queue.config import QueueConfig
from moxlib.queue.errors import ContentDamaged
from moxlib.queue.outcome import Deferred, Delivered, Failed, Outcome, Trace, Unknown
from moxlib.queue.reply_class import Classifier
from moxlib.queue.schedule import attempts_made
from moxlib.queue.storage.base import Storage
from moxlib.queue.storage.claims import Claim
from moxlib.queue.storage.content import MessageContent
from moxlib.queue.storage.settlement import Settlement
from moxlib.queue.transport.base import Delivery, Permit, Transport
from moxlib.queue.types import Message, ResultKind
from moxlib.queue.worker import decide
from moxlib.queue.worker.deadlines import Deadlines
from moxlib.queue.worker.permits import NoPermit

__all__ = ["Attempts", "choose_transport"]

log: logging.Logger = logging.getLogger("moxlib.queue")

_FIELDS: tuple[tuple[str, type | UnionType], ...] = (
    ("text", str),
    ("code", int),
    ("enhanced", str),
    ("peer", str),
    ("command", str),
    ("trace", Trace),
    ("retry_after", timedelta | None),
    ("dsn", bool | None),
    ("final", bool),
)
# Which of them each has.
_FIELDS_OF: Mapping[type, tuple[tuple[str, type | UnionType], ...]] = MappingProxyType(
    {
        class_: tuple([(name, wanted) for name, wanted in _FIELDS if name in class_.__dataclass_fields__])
        for class_ in (Delivered, Deferred, Failed, Unknown)
    }
)
MAX_CODE = 999  # three digits (RFC 5321 4.2.1)

MAX_ERROR = 500  # characters of a transport's exception kept in the history


def choose_transport(message: Message, config: QueueConfig, transports: Mapping[str, Transport]) -> str:
    """Return the name of the transport for a message: its own, the first matching route's, or the default one."""
    if message.transport is not None:
        return message.transport
    routes = config.routes_for(account=message.account, sender_domain=message.sender_domain)
    if routes:
        route = routing.choose(
            routes,
            sender_domain=message.sender_domain,
            recipient_domain=message.recipient_domain,
            attempts=message.attempts - message.in_flight,  # those made: the one under way is counted already
        )
        if route is not None:
            return route.transport
    if len(transports) == 1:
        return next(iter(transports))
    return config.default_transport


class Attempts:
    """Makes attempts with the queue's transports; knows nothing of claims and leases."""

    def __init__(
        self,
        storage: Storage,
        transports: Mapping[str, Transport],
        config: QueueConfig,
        clock: Clock,
        random: Random,
    ) -> None:
        self._storage = storage
        self._transports = transports
        self._config = config
        self._clock = clock
        self._random = random
        self._classifier = config.classifier or Classifier.default()
        self.deadlines: Deadlines = Deadlines(clock, config.worker.delivery_timeout.total_seconds())

    async def run(
        self, claims: tuple[Claim, ...], permit: Permit | None = None, *, started: datetime
    ) -> list[Settlement]:
        """Make one attempt for the recipients of one delivery; returns a settlement for each.

        Args:
            claims: the recipients; to those that are suppressed, nothing is sent.
            permit: what lets it open connections; None: it may.
            started: now.

        Raises:
            CancelledError: nothing is known of the attempt then; see `interrupted`.
            NoPermit: it waited for a connection that may not be opened now; nothing was sent.
            StorageError: the content could not be fetched; nothing was sent.
        """
        stopped = [
            decide.suppressed(claim.message, claim.suppression, config=self._config, now=started)
            for claim in claims
            if claim.suppression is not None
        ]
        if stopped:
            claims = tuple([claim for claim in claims if claim.suppression is None])
            return [*stopped, *(await self.run(claims, permit, started=started) if claims else ())]
        first = claims[0].message
        if self._is_one_too_many(first):
            return [decide.give_up(claim.message, config=self._config, now=started) for claim in claims]
        name = choose_transport(first, self._config, self._transports)
        began = self._clock.monotonic()
        try:
            outcomes = await self._attempt(claims, name, permit)
        except ContentDamaged as error:
            log.error("message %d is quarantined: %s", first.id, error)  # noqa: TRY400 - no traceback is of use
            reason = str(error)
            return [decide.quarantine(claim.message, reason=reason, transport=name, now=started) for claim in claims]
        duration = timedelta(seconds=self._clock.monotonic() - began)
        return self._settlements(claims, outcomes, name, started=started, duration=duration)

    def _is_one_too_many(self, message: Message) -> bool:
        """Say whether the attempts were used up by interruptions.

        What an operator released after its last attempt (its content was damaged, or nobody knew how it ended) is
        attempted once more: that is what releasing asks for.
        """
        return (
            attempts_made(message) > message.max_attempts
            and self._config.on_unknown != "hold"
            and message.results[-1].kind is ResultKind.INTERRUPTED
        )

    def interrupted(self, claims: tuple[Claim, ...], *, started: datetime) -> list[Settlement]:
        """Return settlements for a delivery whose `run` was cancelled."""
        now = self._clock.now()
        return [
            decide.interrupted(
                claim.message,
                config=self._config,
                transport=choose_transport(claim.message, self._config, self._transports),
                started=started,
                now=now,
                jitter=self._jitter(),
            )
            for claim in claims
        ]

    def _settlements(
        self,
        claims: tuple[Claim, ...],
        outcomes: Sequence[Outcome],
        transport: str,
        *,
        started: datetime,
        duration: timedelta,
    ) -> list[Settlement]:
        now = started + duration
        jitter = self._jitter()  # one for all, so that those who are tried again are so together
        return [
            decide.settlement(
                claim.message,
                outcome,
                config=self._config,
                transport=transport,
                started=started,
                duration=duration,
                now=now,
                jitter=jitter,
                classifier=self._classifier,
            )
            for claim, outcome in zip(claims, outcomes, strict=True)
        ]

    def _jitter(self) -> float:
        return self._random.uniform(-1.0, 1.0)

    async def _attempt(self, claims: tuple[Claim, ...], name: str, permit: Permit | None) -> Sequence[Outcome]:
        transport = self._transports.get(name)
        if transport is None:
            return _same(claims, Deferred(text=f"no transport is registered as {name!r}"))
        content = self._at_hand(claims[0]) or await self._content(claims[0])
        messages = tuple([claim.message for claim in claims])
        delivery = Delivery(messages=messages, content=content, transport=name, permit=permit)
        task = self.deadlines.begin()
        try:
            outcomes = await self._deliver(transport, delivery)
        except asyncio.CancelledError:
            if not self.deadlines.end(task):
                raise
            text = f"transport {name!r} took longer than {self.deadlines.seconds:g} s"
            return _same(claims, Deferred(text=text))
        except BaseException:
            self.deadlines.end(task)
            raise
        self.deadlines.end(task)
        return outcomes

    async def _deliver(self, transport: Transport, delivery: Delivery) -> Sequence[Outcome]:
        name = delivery.transport
        try:
            outcomes = await transport.deliver(delivery)
        except (ContentDamaged, NoPermit):
            raise
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            crash: BaseException = error  # the transport's own, from some task inside it
        except Exception as error:
            log.exception("transport %r raised; its delivery of message %d is deferred", name, delivery.messages[0].id)
            crash = error
        else:
            return _checked(outcomes, delivery)
        return [_crashed(name, crash)] * len(delivery.messages)

    def _at_hand(self, claim: Claim) -> MessageContent | None:
        """Return the content if it came with the claim, as that of most messages does."""
        if claim.content is None:
            return None
        content = MessageContent(claim.message.prefix, claim.content, self._storage)
        return content if content.verify_at_hand() else None

    async def _content(self, claim: Claim) -> MessageContent:
        message = claim.message
        stored = claim.content or await self._storage.content(message.base_id)
        if stored is None:
            raise ContentDamaged("the content is not in storage any more")
        content = MessageContent(message.prefix, stored, self._storage)
        await content.verify()
        return content


def _same(claims: tuple[Claim, ...], outcome: Outcome) -> list[Outcome]:
    return [outcome] * len(claims)


def _crashed(name: str, error: BaseException) -> Deferred:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - whatever: it is an error that cannot be printed
        text = "(its text cannot be had)"
    return Deferred(text=f"transport {name!r} raised {type(error).__name__}: {text}"[:MAX_ERROR])


def _checked(outcomes: object, delivery: Delivery) -> Sequence[Outcome]:
    """Return a transport's answer if it is one outcome for each recipient; else a deferral that says what it was."""
    name, count = delivery.transport, len(delivery.messages)
    if not isinstance(outcomes, list | tuple) or len(outcomes) != count:
        what = f"{len(outcomes)} outcomes" if isinstance(outcomes, list | tuple) else type(outcomes).__name__
        log.error("transport %r answered %s for %d recipients", name, what, count)
        return [Deferred(text=f"transport {name!r} answered {what} for {count} recipients")] * count
    return [_checked_one(outcome, name) for outcome in outcomes]


def _checked_one(outcome: object, name: str) -> Outcome:
    fields = _FIELDS_OF.get(type(outcome))
    if fields is None:  # one of a class of the transport's own, derived from these, or none
        fields = next((fields for class_, fields in _FIELDS_OF.items() if isinstance(outcome, class_)), None)
    if fields is None or not isinstance(outcome, Delivered | Deferred | Failed | Unknown):
        return Deferred(text=f"transport {name!r} answered a {type(outcome).__name__}, which is no outcome")
    for field, wanted in fields:
        if not isinstance(value := getattr(outcome, field), wanted):
            kind, what = type(outcome).__name__, type(value).__name__
            return Deferred(text=f"transport {name!r} answered a {kind} whose {field} is a {what}")
    if not isinstance(outcome, Unknown) and not 0 <= outcome.code <= MAX_CODE:
        return Deferred(text=f"transport {name!r} answered the code {outcome.code:.3e}")
    return outcome
