"""What `MemoryStorage` keeps, in plain dictionaries, and the rules by which it changes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from moxlib.queue import hold
from moxlib.queue.errors import IdempotencyConflict
from moxlib.queue.fromid import DuplicateFromID
from moxlib.queue.hooks.records import HookPlan
from moxlib.queue.limits import Rate, take
from moxlib.queue.sending import (
    REMEMBERED_DAYS,
    TOUCHED_DAYS,
    Sent,
    check_limits,
    day_of,
    first_step,
    recipient_keys,
    step_of,
)
from moxlib.queue.storage.claims import CLAIM_BODY_MAX, Claim, ClaimRequest, ClaimResult, DestinationLimits, WorkerInfo
from moxlib.queue.submission import Idempotency, NewSubmission, StoredContent, Submission
from moxlib.queue.suppression import (
    Failure,
    Feedback,
    Past,
    Suppression,
    SuppressionPolicy,
    lifted_by,
    past_of,
    suppression_by,
)
from moxlib.queue.types import (
    AttemptResult,
    Event,
    EventType,
    FeedbackResult,
    FeedbackSource,
    HoldRule,
    Message,
    ResultKind,
    Retired,
)
from moxlib.testing._memory_hooks import HookState

__all__ = ["Destination", "State"]

DSN_SOURCES = frozenset((FeedbackSource.DSN, FeedbackSource.BOUNCE))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
NO_ROOM_WAIT = timedelta(seconds=1)  # how far a destination's turn moves when all its delivery slots are taken


@dataclass(slots=True)
class Destination:
    """Where messages go; of equal turns, the destination first by name is served first."""

    name: str
    turn: datetime | None = None
    """When it may next be served; None when nothing claimable waits."""
    slots: dict[int, int] = field(default_factory=dict)
    """Delivery slots by worker."""
    messages_full_at: int | None = None
    """When the bucket of messages will be full, in microseconds since 1970; None: it is."""
    connections_full_at: int | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What was submitted under an idempotency key."""

    idempotency: Idempotency
    receipts: tuple[Submission, ...]


@dataclass(slots=True)
class State:
    """Everything there is."""

    messages: dict[int, Message] = field(default_factory=dict)
    owner: dict[int, int] = field(default_factory=dict)
    """The worker of each message in flight."""
    before: dict[int, Message] = field(default_factory=dict)
    """Each message in flight as it was before it was claimed."""
    contents: dict[int, StoredContent] = field(default_factory=dict)
    retired: dict[int, Retired] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    rules: dict[int, HoldRule] = field(default_factory=dict)
    workers: dict[int, WorkerInfo] = field(default_factory=dict)
    destinations: dict[str, Destination] = field(default_factory=dict)
    keys: dict[tuple[str, str], Kept] = field(default_factory=dict)
    fromids: dict[str, int] = field(default_factory=dict)
    """The message of each."""
    recipients: dict[int, int] = field(default_factory=dict)
    """How many a submission had."""
    hidden: dict[int, datetime] = field(default_factory=dict)
    """Retired messages that are in no list, and when they are to be forgotten."""
    forget_at: dict[int, datetime] = field(default_factory=dict)
    """When a retired message is to be forgotten."""
    suppressions: dict[tuple[str, str], tuple[int, Suppression]] = field(default_factory=dict)
    """With their numbers, by account and base address."""
    hooks: HookState = field(default_factory=HookState)
    sent: dict[tuple[str, int], Sent] = field(default_factory=dict)
    """By account and step."""
    sent_to: dict[tuple[str, bytes], int] = field(default_factory=dict)
    """The day of the last time, roughly, by account and recipient."""
    next_message: int = 1
    next_event: int = 1
    next_rule: int = 1
    next_worker: int = 1
    next_suppression: int = 1

    # turns

    def claimable(self, name: str) -> list[Message]:
        """Return the messages of a destination that are neither held nor in flight, in due order."""
        waiting = [m for m in self.messages.values() if m.destination == name and not m.hold and not m.in_flight]
        return sorted(waiting, key=lambda m: (m.next_attempt, m.id))

    def lower_turn(self, message: Message) -> None:
        """Let the message's destination come to its turn when the message is due, if it can be claimed at all."""
        if not message.hold and not message.in_flight:
            destination = self.destinations[message.destination]
            destination.turn = min(destination.turn or message.next_attempt, message.next_attempt)

    def free_slots(self, worker: int, names: Iterable[str], now: datetime) -> None:
        """Free the worker's slots at some destinations, and let those that have something due come to their turn."""
        for destination in [self.destinations[name] for name in names if name in self.destinations]:
            destination.slots.pop(worker, None)
            if any(m.next_attempt <= now for m in self.claimable(destination.name)):
                destination.turn = min(destination.turn or now, now)

    def earliest_turn(self, names: Iterable[str]) -> datetime | None:
        """Return the earliest turn among some destinations."""
        return min((turn for name in names if (turn := self.destinations[name].turn) is not None), default=None)

    # messages

    def insert(self, new: NewSubmission) -> tuple[Submission, ...]:
        """Add a submission, unless it was made before: one message per recipient, held where a rule says so."""
        if new.idempotency is None:
            return self._insert(new)
        place = (new.account, new.idempotency.key)
        kept = self.keys.get(place)
        if kept is None or kept.idempotency.keep_until <= new.queued:
            self.keys[place] = Kept(new.idempotency, self._insert(new))
            return self.keys[place].receipts
        if kept.idempotency.fingerprint != new.idempotency.fingerprint:
            raise IdempotencyConflict(new.idempotency.key)
        return tuple(replace(receipt, repeated=True) for receipt in kept.receipts)

    def _insert(self, new: NewSubmission) -> tuple[Submission, ...]:
        given = [recipient.fromid for recipient in new.recipients if recipient.fromid]
        for number, fromid in enumerate(given):
            if fromid in self.fromids or fromid in given[:number]:
                raise DuplicateFromID(sender=fromid)
        self.count_sent(new)
        base_id = self.next_message
        self.contents[base_id] = new.content
        self.recipients[base_id] = len(new.recipients)
        receipts: list[Submission] = []
        for recipient in new.recipients:
            domains = {"sender_domain": new.sender_domain, "recipient_domain": recipient.domain}
            held = hold.first_match(self.rules.values(), account=new.account, **domains) is not None
            message = new.message(recipient, id_=self.next_message, base_id=base_id, hold=held)
            self.next_message += 1
            self.messages[message.id] = message
            if recipient.fromid:
                self.fromids[recipient.fromid] = message.id
            self.destinations.setdefault(message.destination, Destination(message.destination))
            self.lower_turn(message)
            why = self.in_force(message, new.queued)
            receipts.append(
                Submission(
                    id=message.id,
                    base_id=base_id,
                    recipient=message.recipient,
                    hold=message.hold,
                    suppressed="" if why is None else why.explain(new.queued),
                    fromid=recipient.fromid,
                )
            )
        return tuple(receipts)

    # sending limits

    def sent_in_a_day(self, account: str, at: int) -> Sent:
        """Return what an account has sent in the day before a time."""
        counted = [sent for (whose, step), sent in self.sent.items() if whose == account and step >= first_step(at)]
        return sum(counted, Sent())

    def first_time(self, account: str, addresses: Iterable[str], at: int) -> frozenset[bytes]:
        """Return those of some recipients that an account has not sent to."""
        oldest = day_of(at) - REMEMBERED_DAYS
        keys = recipient_keys(addresses)
        return frozenset([key for key in keys if self.sent_to.get((account, key), oldest - 1) < oldest])

    def count_sent(self, new: NewSubmission) -> None:
        """Count what a submission sends, if it has limits, and is within them."""
        if new.limits is None:
            return
        at, keys = _micros(new.queued), frozenset[bytes]()
        addresses = [recipient.address for recipient in new.recipients]
        if new.limits.first_time_recipients_per_day is not None:
            keys = self.first_time(new.account, addresses, at)
        more = Sent(recipients=len(addresses), first_time=len(keys))
        check_limits(new.limits, self.sent_in_a_day(new.account, at), more)
        place = (new.account, step_of(at))
        self.sent[place] = self.sent.get(place, Sent()) + more
        for key in recipient_keys(addresses) if new.limits.first_time_recipients_per_day is not None else ():
            last = self.sent_to.get((new.account, key), 0)
            if key in keys or last < day_of(at) - TOUCHED_DAYS:
                self.sent_to[new.account, key] = day_of(at)

    def purge_sent(self, at: int, limit: int) -> int:
        """Forget what does not count any more, at most so many of each kind; return how many."""
        steps = [place for place in self.sent if place[1] < first_step(at)][:limit]
        days = [place for place, day in self.sent_to.items() if day < day_of(at) - REMEMBERED_DAYS][:limit]
        for place in steps:
            del self.sent[place]
        for known in days:
            del self.sent_to[known]
        return len(steps) + len(days)

    # suppressions

    def in_force(self, message: Message, now: datetime) -> Suppression | None:
        """Return the suppression of a message's recipient."""
        _, there = self.suppressions.get((message.account, message.base_address), (0, None))
        return there if there is not None and there.is_active(now) else None

    def put_suppression(self, made: Suppression, now: datetime) -> bool:
        """Add a suppression, unless one is in force; say whether it is new."""
        key = (made.account, made.base_address)
        number, there = self.suppressions.get(key, (self.next_suppression, None))
        if there is not None and there.is_active(now):
            return False
        if there is None:
            self.next_suppression += 1
        self.suppressions[key] = number, made
        return True

    def past(self, account: str, base_address: str, *, but: int = 0) -> list[Past]:
        """Return how messages to a base address ended, the latest first."""
        rows = [r for r in self.retired.values() if (r.account, r.base_address) == (account, base_address)]
        latest = sorted(rows, key=lambda r: (r.finished, r.id), reverse=True)
        return [past_of(r.event, r.results, r.feedback) for r in latest if r.id != but]

    def judge(
        self,
        message: Message | Retired,
        feedback: Feedback,
        policy: SuppressionPolicy,
        *,
        now: datetime,
        attempt: int | None = None,
        dsn_message_id: str = "",
    ) -> bool:
        """Suppress the recipient of a message for what was seen, if the policy says so; return whether it was done."""
        key = (message.account, message.base_address)
        made = suppression_by(
            feedback,
            message,
            policy=policy,
            recent=self.past(*key, but=message.id),
            earlier=lambda: self.suppressions.get(key, (0, None))[1],
            now=now,
            attempt=attempt,
            dsn_message_id=dsn_message_id,
        )
        return made is not None and self.put_suppression(made, now)

    def lift(self, message: Message | Retired, policy: SuppressionPolicy, now: datetime) -> None:
        """Let a delivery end the suppression of its recipient, where the policy says so."""
        key = (message.account, message.base_address)
        _, there = self.suppressions.get(key, (0, None))
        if there is not None and lifted_by(policy, there, now):
            del self.suppressions[key]

    def put_back(self, message: Message) -> None:
        """Return a message in flight to the queue as given, without an owner."""
        del self.owner[message.id], self.before[message.id]
        feedback = self.messages[message.id].feedback  # it may have come in meanwhile
        self.messages[message.id] = replace(message, in_flight=False, feedback=feedback)
        self.lower_turn(self.messages[message.id])

    def log(
        self,
        kind: EventType,
        message: Message | Retired,
        result: AttemptResult | FeedbackResult,
        now: datetime,
        *,
        suppressing: bool = False,
        hook: HookPlan | None = None,
    ) -> None:
        """Append to the event log, and let it be told where it is to be."""
        event = Event(
            id=self.next_event,
            at=now,
            type=kind,
            account=message.account,
            message=message.id,
            recipient=message.recipient,
            message_id=message.message_id,
            subject=message.subject,
            extra=message.extra,
            from_id=message.fromid,
            dsn=isinstance(result, FeedbackResult) and result.source in DSN_SOURCES,
        )
        if kind is not EventType.DELIVERED:  # a delivery has no code and no error
            event = replace(
                event,
                code=result.code,
                enhanced=result.enhanced,
                error=result.text,
                reply_class=result.reply_class,
                suppressing=suppressing,
            )
        self.next_event += 1
        self.events.append(event)
        self.hooks.insert_event(hook, event)

    def retire(
        self,
        message: Message,
        result: AttemptResult,
        event: EventType,
        *,
        now: datetime,
        keep_until: datetime,
        forget_at: datetime | None = None,
        policy: SuppressionPolicy | None = None,
        hook: HookPlan | None = None,
    ) -> None:
        """Move a message to the history, if that is to keep it; its content goes with the last of the submission."""
        message = replace(message, feedback=self.messages.pop(message.id).feedback)  # which may have come in meanwhile
        self.owner.pop(message.id, None)
        self.before.pop(message.id, None)
        if not any(m.base_id == message.base_id for m in self.messages.values()):
            del self.contents[message.base_id]
        judged = policy is not None and message.base_address != "" and result.kind is not ResultKind.CANCELED
        suppressing = False
        if judged and policy is not None:
            if event is EventType.FAILED:
                suppressing = self.judge(message, Failure.of_attempt(result), policy, now=now, attempt=result.attempt)
            elif event is EventType.DELIVERED:
                self.lift(message, policy, now)
        self.log(event, message, result, now, suppressing=suppressing, hook=hook)
        forget_at = max(keep_until, forget_at or keep_until)
        if forget_at <= now:
            self.fromids.pop(message.fromid, None)
            return
        self.forget_at[message.id] = forget_at
        if keep_until <= now:
            self.hidden[message.id] = forget_at
        self.retired[message.id] = Retired(
            id=message.id,
            base_id=message.base_id,
            account=message.account,
            sender=message.sender,
            recipient=message.recipient,
            destination=message.destination,
            queued=message.queued,
            finished=now,
            keep_until=keep_until,
            event=event,
            attempts=message.attempts,
            max_attempts=message.max_attempts,
            last_attempt=message.last_attempt,
            results=(*message.results, result),
            size=message.size,
            message_id=message.message_id,
            subject=message.subject,
            require_tls=message.require_tls,
            transport=message.transport,
            schedule=message.schedule,
            extra=message.extra,
            envid=message.envid,
            base_address=message.base_address,
            fromid=message.fromid,
            feedback=message.feedback,
        )

    # workers

    def end_workers(self, ids: Sequence[int], *, now: datetime, hold_interrupted: bool) -> None:
        """Unregister workers; what they still own was interrupted, and is due now."""
        for worker in ids:
            for message in [self.messages[id_] for id_, owner in sorted(self.owner.items()) if owner == worker]:
                assert message.last_attempt is not None, "a claim journals the attempt"
                result = AttemptResult(
                    attempt=message.attempts,
                    kind=ResultKind.INTERRUPTED,
                    started=message.last_attempt,
                    text="the worker died or lost its lease while the attempt was under way",
                )
                held = message.hold or hold_interrupted
                self.put_back(replace(message, next_attempt=now, hold=held, results=(*message.results, result)))
            self.free_slots(worker, [d.name for d in self.destinations.values() if worker in d.slots], now)
            self.hooks.end_workers([worker], now)
            del self.workers[worker]

    # claims

    def claim(self, worker: int, request: ClaimRequest) -> ClaimResult:
        """Claim for a worker: destinations in order of turn, some due messages of each."""
        now = request.now
        self.free_slots(worker, request.release, now)
        if worker not in self.workers:
            return ClaimResult(claims=(), slots={}, next_turn=None)
        room = {name: request.room.get(name, request.default_room) for name in self.destinations}
        turns = [(d.turn, d) for d in self.destinations.values() if d.turn is not None and d.turn <= now]
        claims: list[Claim] = []
        slots: dict[str, int] = {}
        for _, destination in sorted(turns, key=lambda turn: (turn[0], turn[1].name)):
            most = min(room[destination.name], request.limit - len(claims))
            if most <= 0:
                continue
            taken = self._claim_from(destination, worker, most, request.limits, now)
            if taken:
                claims += taken
                room[destination.name] -= len(taken)
                slots[destination.name] = destination.slots[worker]
        turn = self.earliest_turn(name for name, free in room.items() if free > 0)
        return ClaimResult(claims=tuple(claims), slots=slots, next_turn=turn)

    def _claim_from(
        self, destination: Destination, worker: int, most: int, limits: DestinationLimits, now: datetime
    ) -> list[Claim]:
        limit = limits.limit(destination.name)
        others = sum(slots for other, slots in destination.slots.items() if other != worker)
        allowed = min(limit - others, max(1, limit // len(self.workers)))
        held = destination.slots.get(worker, 0)
        if allowed <= 0 and held == 0:
            destination.turn = now + NO_ROOM_WAIT
            return []
        due = [m for m in self.claimable(destination.name)[:most] if m.next_attempt <= now]
        rate = limits.message_rate(destination.name)
        not_before = now
        if rate is not None and due:
            tokens = take(rate, destination.messages_full_at, now=_micros(now), wanted=len(due))
            destination.messages_full_at = tokens.full_at
            due = due[: tokens.granted]
            not_before = max(now, EPOCH + tokens.next_at * MICROSECOND)
        taken = [self._journal(m, worker, now) for m in due]
        if taken:
            destination.slots[worker] = max(held, min(allowed, len(taken)))
        left = self.claimable(destination.name)
        destination.turn = max(not_before, left[0].next_attempt) if left else None
        return taken

    def take_connection(self, name: str, rate: Rate, now: datetime) -> datetime | None:
        """Take one connection; None when there was one."""
        destination = self.destinations.setdefault(name, Destination(name))
        tokens = take(rate, destination.connections_full_at, now=_micros(now), wanted=1)
        if not tokens.granted:
            return EPOCH + tokens.next_at * MICROSECOND
        destination.connections_full_at = tokens.full_at
        return None

    def _journal(self, message: Message, worker: int, now: datetime) -> Claim:
        journalled = replace(message, attempts=message.attempts + 1, last_attempt=now, in_flight=True)
        self.messages[message.id] = journalled
        self.owner[message.id] = worker
        self.before[message.id] = message
        content = self.contents[message.base_id]
        comes_along = content.body is not None and content.size <= CLAIM_BODY_MAX
        return Claim(
            message=journalled,
            content=content if comes_along else None,
            suppression=self.in_force(message, now),
        )


def _micros(moment: datetime) -> int:
    return (moment - EPOCH) // MICROSECOND
