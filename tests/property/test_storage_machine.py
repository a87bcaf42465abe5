"""Storages with a database do what the model in memory does: a machine asks both the same, and compares all they hold.

MOXLIB_MACHINE_EXAMPLES runs are made, at random; without the variable some dozens, always the same.
"""

import asyncio
import io
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from moxlib.queue.errors import IdempotencyConflict
from moxlib.queue.limits import Rate
from moxlib.queue.selection import Cursor, HistoryFilter, MessageFilter, Page, Sort
from moxlib.queue.storage.base import Storage
from moxlib.queue.storage.claims import CLAIM_BODY_MAX, Claim, ClaimRequest, ClaimResult, DestinationLimits
from moxlib.queue.storage.operations import insert
from moxlib.queue.storage.operations.claim import BUSY_RETRY
from moxlib.queue.storage.postgres import PostgresStorage
from moxlib.queue.storage.settlement import GiveBack, Quarantine, Retire, Retry, Settlement
from moxlib.queue.storage.sqlite import SQLiteStorage
from moxlib.queue.submission import Idempotency, NewRecipient, NewSubmission, StoredContent
from moxlib.queue.types import AttemptResult, Event, EventType, HoldRule, Message, RequireTLS, ResultKind, Retired
from moxlib.testing import MemoryStorage

if TYPE_CHECKING:
    from tests.postgres import PostgresServer

T = TypeVar("T")
F = TypeVar("F", MessageFilter, HistoryFilter)

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
EVERYTHING = 10_000
CHUNK = 4096  # bytes; content of several chunks then need not be large

ACCOUNTS = ("shop", "else")
DOMAINS = ("x.example", "y.example", "z.example")
HERE = ("here.example", "there.example")
TRANSPORTS = (None, "relay", "other")

# Few values each, so that filters, rules and instants meet what they ask for.
seconds = st.sampled_from([-60, 0, 1, 30, 60]).map(lambda n: timedelta(seconds=n))
soon = st.sampled_from([0, 0, 1, 30, 60]).map(lambda n: timedelta(seconds=n))
instants = st.sampled_from([0, 1, 30, 31, 60, 90, 120]).map(lambda n: START + timedelta(seconds=n))
recipients = st.builds(
    lambda name, domain: NewRecipient(address=f"{name}@{domain}", domain=domain, destination=domain),
    st.sampled_from(["a", "B", "Jörg"]),
    st.sampled_from([DOMAINS[0], *DOMAINS]),
)
sizes = st.sampled_from([0, 5, CLAIM_BODY_MAX, CLAIM_BODY_MAX + 1])
rates = st.builds(
    Rate, count=st.just(1), per=st.sampled_from([1, 30]).map(lambda n: timedelta(seconds=n)), burst=st.integers(1, 2)
)
hold_rules = st.builds(
    HoldRule,
    account=st.sampled_from(["", *ACCOUNTS]),
    sender_domain=st.sampled_from(["", HERE[0]]),
    recipient_domain=st.sampled_from(["", *DOMAINS[:2]]),
)


def maybe(values: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    return st.one_of(st.none(), st.none(), st.none(), values)


def filters(kind: type[F], conditions: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[F]:
    """Filters of at most two conditions: more would match next to nothing."""
    one = st.sampled_from(sorted(conditions)).flatmap(lambda name: st.tuples(st.just(name), conditions[name]))
    return st.lists(one, max_size=2).map(lambda chosen: kind(**dict(chosen)))


common_conditions: dict[str, st.SearchStrategy[Any]] = {
    "ids": st.lists(st.integers(1, 12), max_size=6).map(tuple),
    "base_id": st.integers(1, 6),
    "account": st.sampled_from(ACCOUNTS),
    "sender": st.sampled_from(["HERE", "t"]),
    "recipient": st.sampled_from(["b@", "JÖRG", "z.Example"]),
    "destination": st.sampled_from(["X.example", "y.example"]),
    "transport": st.sampled_from(["", "relay"]),
    "queued_before": instants,
    "queued_after": instants,
    "last_activity_before": instants,
    "last_activity_after": instants,
}
message_filters = filters(
    MessageFilter,
    common_conditions
    | {
        "hold": st.booleans(),
        "in_flight": st.booleans(),
        "quarantined": st.booleans(),
        "next_attempt_before": instants,
        "next_attempt_after": instants,
    },
)
history_filters = filters(
    HistoryFilter, common_conditions | {"success": st.booleans(), "event": st.sampled_from(EventType)}
)
claim_fields = st.fixed_dictionaries(
    {
        "limit": st.integers(1, 6),
        "default_room": st.sampled_from([20, 2, 1, 0]),
        "room": st.dictionaries(st.sampled_from(DOMAINS), st.integers(0, 3), max_size=2),
        "release": st.lists(st.sampled_from([*DOMAINS, "nowhere.example"]), max_size=2, unique=True),
        "limits": st.builds(
            DestinationLimits,
            default=st.integers(1, 3),
            by_destination=st.dictionaries(st.just("x.example"), st.integers(1, 3), max_size=1),
            default_messages=maybe(rates),
            messages=st.dictionaries(st.just("x.example"), rates, max_size=1),
        ),
    }
)
Settle = Callable[[Message, datetime], Settlement]


def settle_by(kind: str, wait: timedelta, flag: bool, other: bool) -> Settle:
    """Return what makes the settlement of one kind for a message, at a time."""

    def make(message: Message, now: datetime) -> Settlement:
        result = AttemptResult(
            attempt=message.attempts,
            kind=ResultKind.DEFERRED,
            started=now - wait / 7,
            duration=wait / 7,
            code=451,
            enhanced="4.3.0",
            text=f"said {kind}",
            transport="direct",
            peer="mx",
        )
        if kind == "retry":
            return Retry(message=message, result=result, next_attempt=now + wait, hold=flag, delayed=other)
        if kind == "quarantine":
            return Quarantine(message=message, result=replace(result, kind=ResultKind.QUARANTINED))
        if kind == "give back":
            return GiveBack(message=message)
        event = EventType.DELIVERED if kind == "deliver" else EventType.FAILED
        return Retire(message=message, result=result, event=event, keep_until=now + wait)

    return make


settlements = st.builds(
    settle_by,
    st.sampled_from(["deliver", "retry", "retry", "fail", "give back", "quarantine"]),
    seconds,
    st.booleans(),
    st.booleans(),
)


def in_any_order(events: Sequence[Event]) -> list[Event]:
    """Sort events without their ids: in what order one `settle` logs is the storage's own business."""
    return sorted((replace(event, id=0) for event in events), key=lambda e: (e.at, e.message, e.type))


Change = Callable[[Storage, MessageFilter, datetime], Awaitable[int]]


def change_by(kind: str, wait: timedelta, transport: str | None, require_tls: RequireTLS) -> Change:
    """Return what an operator does."""

    def change(storage: Storage, where: MessageFilter, now: datetime) -> Awaitable[int]:
        match kind:
            case "hold" | "release":
                return storage.set_hold(where, hold=kind == "hold")
            case "set next attempt":
                return storage.set_next_attempt(where, now + wait)
            case "add to next attempt":
                return storage.add_next_attempt(where, wait)
            case "set transport":
                return storage.set_transport(where, transport)
            case "set require-TLS":
                return storage.set_require_tls(where, require_tls)
        keep = {"": wait, "shop": timedelta(seconds=60)}
        event = EventType.CANCELED if kind == "drop" else EventType.FAILED
        return storage.retire(where, event=event, text=kind, now=now, keep=keep)

    return change


CHANGES = [
    "hold",
    "release",
    "set next attempt",
    "add to next attempt",
    "set transport",
    "set require-TLS",
    "drop",
    "fail",
]
changes = st.builds(
    change_by, st.sampled_from(CHANGES), seconds, st.sampled_from(TRANSPORTS), st.sampled_from(RequireTLS)
)
picks = st.integers(0, 9)
leases = st.sampled_from([timedelta(seconds=30), timedelta(seconds=300)])
Submit = Callable[[datetime], NewSubmission]
Key = Callable[[datetime], Idempotency]

# Few keys and few contents, so that what comes under a key is often the same, often not, and often too late.
keys = st.builds(
    lambda key, content, keep: lambda now: Idempotency(key=key, fingerprint=content * 32, keep_until=now + keep),
    st.sampled_from(["k", "key"]),
    st.sampled_from([b"1", b"1", b"2"]),
    st.sampled_from([timedelta(seconds=1), timedelta(seconds=60)]),
)


def submit_of(
    account: str,
    sender: str,
    to: list[NewRecipient],
    size: int,
    wait: timedelta,
    transport: str | None,
    key: Key | None,
    spooled: bool,
) -> Submit:
    """Return what makes a submission, at a time; its content is in one piece, or in a spool."""
    body = (b"0123456789" * (size // 10 + 1))[:size]

    def make(now: datetime) -> NewSubmission:
        content = StoredContent(size=size, sha256=bytes(32), body=body)
        if spooled:
            content = StoredContent(size=size, sha256=bytes(32), spool=io.BytesIO(body))
        return NewSubmission(
            account=account,
            sender=f"me@{sender}",
            sender_domain=sender,
            recipients=tuple(to),
            content=content,
            queued=now,
            next_attempt=now + wait,
            max_attempts=4,
            transport=transport,
            idempotency=key and key(now),
        )

    return make


submissions = st.builds(
    submit_of,
    st.sampled_from(ACCOUNTS),
    st.sampled_from(HERE),
    st.lists(recipients, min_size=1, max_size=3),
    sizes,
    soon,
    st.sampled_from(TRANSPORTS),
    st.one_of(st.none(), st.none(), keys),
    st.sampled_from([False, False, True]),
)


def for_the_model(new: NewSubmission) -> NewSubmission:
    """Return a submission as the storage in memory takes it, which has no spool."""
    if new.content.spool is None:
        return new
    body = new.content.spool.read()
    return replace(new, content=StoredContent(size=len(body), sha256=new.content.sha256, body=body))


async def bytes_of(storage: Storage, base_id: int) -> tuple[int, bytes, bytes] | None:
    """Return a submission's content, wherever it lies."""
    stored = await storage.content(base_id)
    if stored is None:
        return None
    body = stored.body
    if body is None:
        body = b"".join([piece async for piece in storage.pieces(stored)])
    return stored.size, stored.sha256, body


class Model(MemoryStorage):
    """The model, and what it is not asked as a storage."""

    def owner_of(self, id_: int) -> int | None:
        """Return the worker that has a message."""
        return self._everything.owner.get(id_)


class StorageMachine(RuleBasedStateMachine):
    """Two storages and the time."""

    claims = Bundle("claims")  # (worker, claim), until settled

    concurrent: ClassVar[bool] = False  # whether the database does several things at once

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.stack.enter_context(mock.patch.object(insert, "CHUNK", CHUNK))
        self.directory = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.runner = self.stack.enter_context(asyncio.Runner())
        self.now = START
        self.submissions: list[int] = []
        self.spooled: set[int] = set()  # of the submissions, those whose content lies in chunks
        self.rule_ids: list[int] = []
        self.workers: list[int] = []
        self.alive: list[int] = []  # of the workers, those that are registered
        self.model = Model()
        self.real = self.make_real()
        self.both(lambda storage: storage.open(self.now))

    def make_real(self) -> Storage:
        return SQLiteStorage(self.directory / "mail.db", transactions="loop")

    def teardown(self) -> None:
        with self.stack:
            self.both(lambda storage: storage.close())

    def both(self, ask: Callable[[Storage], Awaitable[T]]) -> T:
        """Ask both storages the same; return the answer if it is the same too."""

        async def answers() -> tuple[T, T]:
            return await ask(self.model), await ask(self.real)

        expected, got = self.runner.run(answers())
        assert got == expected
        return expected

    # submitting

    @rule(news=st.lists(submissions, min_size=1, max_size=4), new_rule=maybe(hold_rules), after=st.integers(0, 4))
    def submit(self, news: list[Submit], new_rule: HoldRule | None, after: int) -> None:
        """Submit from several tasks, with a hold rule coming in between: what is asked first is done first.

        A database that does several things at once is asked one after the other.
        """
        asked: list[NewSubmission | HoldRule] = [new(self.now) for new in news]
        if new_rule is not None:
            asked.insert(after, new_rule)

        async def ask(storage: Storage) -> list[Any]:
            jobs = [self.take_in(storage, new) for new in asked]
            if self.concurrent:
                return [await job for job in jobs]
            return await asyncio.gather(*jobs)

        for new, done in zip(asked, self.both(ask), strict=True):
            if isinstance(new, HoldRule):
                self.rule_ids.append(done[0].id)
            elif not isinstance(done, str) and not done[1][0]:
                base_id = done[0][0].base_id
                self.submissions.append(base_id)
                if new.content.spool is not None:
                    self.spooled.add(base_id)

    async def take_in(self, storage: Storage, new: NewSubmission | HoldRule) -> Any:
        """Have a storage take in one or the other; a conflict is an answer too."""
        if isinstance(new, HoldRule):
            return await storage.add_hold_rule(new)
        try:
            receipts = await storage.insert(for_the_model(new) if storage is self.model else new)
        except IdempotencyConflict as error:
            return str(error)
        return receipts, [receipt.repeated for receipt in receipts]

    # working

    @initialize(target=claims, news=st.lists(submissions, min_size=1, max_size=4))
    def begin(self, news: list[Submit]) -> Any:
        """Begin with some mail and two workers, one at work: an empty queue has nothing to differ in."""
        self.submit(news, None, 0)
        self.register(timedelta(seconds=60))
        self.register(timedelta(seconds=300))
        return self.claim(0, {"limit": 2, "limits": DestinationLimits()})

    def register(self, lease: timedelta) -> None:
        new = self.both(lambda storage: storage.register_worker("host/1", now=self.now, lease=lease))
        self.workers.append(new)
        self.alive.append(new)

    def worker(self, pick: int) -> int:
        """Return a worker that is registered; for picks over 7, one that is perhaps not any more."""
        if not self.alive:
            self.register(timedelta(seconds=60))
        choice = self.alive if pick <= 7 else self.workers
        return choice[pick % len(choice)]

    @rule(
        what=st.sampled_from(["register", "renew", "unregister", "take back", "take back"]),
        pick=picks,
        dead=st.lists(picks, max_size=2),
        lease=leases,
        hold=st.booleans(),
    )
    def administer(self, what: str, pick: int, dead: list[int], lease: timedelta, hold: bool) -> None:
        worker = self.worker(pick)
        gone: tuple[int, ...] = ()
        if what == "register":
            self.register(lease)
        elif what == "renew":
            self.both(lambda storage: storage.renew(worker, now=self.now, lease=lease))
        elif what == "unregister":
            self.both(lambda storage: storage.unregister_worker(worker, now=self.now))
            gone = (worker,)
        else:
            ids = [self.worker(pick) for pick in dead]
            gone = self.both(lambda storage: storage.take_back(now=self.now, dead=ids, hold_interrupted=hold))
        self.alive = [alive for alive in self.alive if alive not in gone]

    @rule(target=claims, pick=picks, fields=claim_fields)
    def claim(self, pick: int, fields: dict[str, Any]) -> Any:
        worker = self.worker(pick)
        result = self.ask_for(worker, ClaimRequest(now=self.now, **fields))
        return multiple(*((worker, claim) for claim in result.claims))

    def ask_for(self, worker: int, request: ClaimRequest) -> ClaimResult:
        """Claim; content that lies in chunks comes along with no claim."""

        soon = request.now + BUSY_RETRY

        async def ask(storage: Storage) -> ClaimResult:
            result = await storage.claim(worker, request)
            claims = tuple(
                replace(claim, content=None) if claim.message.base_id in self.spooled else claim
                for claim in result.claims
            )
            turn = result.next_turn
            if self.concurrent and len(claims) < request.limit:  # then it may look again soon, whatever it has found
                expected = turn and max(turn, soon)
                turn = expected if storage is self.model or turn != soon else turns[0]
                turns.append(turn)
            return replace(result, claims=claims, next_turn=turn)

        turns: list[datetime | None] = []  # the model's
        return self.both(ask)

    @rule(name=st.sampled_from([*DOMAINS, "nowhere.example"]), allowed=rates)
    def connect(self, name: str, allowed: Rate) -> None:
        self.both(lambda storage: storage.take_connection(name, allowed, now=self.now))

    @rule(target=claims, pick=picks, wait=soon)
    def claim_all_later(self, pick: int, wait: timedelta) -> Any:
        self.now += wait
        return self.claim(pick, {"limit": 50, "limits": DestinationLimits(default=3)})

    @rule(pick=picks, makes=st.lists(settlements, min_size=1, max_size=3), wait=soon)
    def claim_and_settle(self, pick: int, makes: list[Settle], wait: timedelta) -> None:
        """An attempt for all that is due, as workers make them all day."""
        worker = self.worker(pick)
        claims = self.ask_for(worker, ClaimRequest(now=self.now, limit=50, limits=DestinationLimits(default=3))).claims
        self.now += wait
        batch = [makes[n % len(makes)](claim.message, self.now) for n, claim in enumerate(claims)]
        assert self.both(lambda storage: storage.settle(worker, batch, now=self.now)) == frozenset()

    @rule(picked=st.lists(st.tuples(consumes(claims), settlements), min_size=1, max_size=4))
    def settle(self, picked: list[tuple[tuple[int, Claim], Settle]]) -> None:
        for worker in {owner for (owner, _), _ in picked}:
            batch = [make(claim.message, self.now) for (owner, claim), make in picked if owner == worker]
            self.both(lambda storage: storage.settle(worker, batch, now=self.now))  # noqa: B023 - called at once

    @rule(claimed=claims, pick=picks, make=settlements)
    def settle_by_another(self, claimed: tuple[int, Claim], pick: int, make: Settle) -> None:
        owner, claim = claimed
        worker = self.worker(pick)
        if worker != owner and worker != self.model.owner_of(claim.message.id):
            settlement = make(claim.message, self.now)
            current = self.runner.run(self.model.get(claim.message.id))
            lost = self.both(lambda storage: storage.settle(worker, [settlement], now=self.now))
            assert lost == {claim.message.id}
            assert self.runner.run(self.model.get(claim.message.id)) == current

    @rule(by=seconds.filter(lambda wait: wait > timedelta(0)))
    def advance(self, by: timedelta) -> None:
        self.now += by

    # operating

    @rule(where=message_filters, change=changes)
    def operate(self, where: MessageFilter, change: Change) -> None:
        self.both(lambda storage: change(storage, where, self.now))

    @rule(new=maybe(hold_rules), back=st.integers(0, 3))
    def change_hold_rules(self, new: HoldRule | None, back: int) -> None:
        if new is not None:
            added, _ = self.both(lambda storage: storage.add_hold_rule(new))
            self.rule_ids.append(added.id)
        else:
            id_ = self.rule_ids[-1 - back] if back < len(self.rule_ids) else 4711
            self.both(lambda storage: storage.remove_hold_rule(id_))

    @rule(age=soon, reopen=st.booleans())
    def maintain(self, age: timedelta, reopen: bool) -> None:
        if reopen:
            self.both(lambda storage: storage.close())
            self.real = self.make_real()
            self.both(lambda storage: storage.open(self.now))
        self.both(lambda storage: storage.purge(now=self.now, events_before=self.now - age))

    # looking

    @rule(where=message_filters, sort=st.sampled_from(Sort), descending=st.booleans(), limit=st.integers(1, 4))
    def page_through_the_queue(self, where: MessageFilter, sort: Sort, descending: bool, limit: int) -> None:
        def page(after: Cursor | None) -> Page[Message]:
            return self.both(
                lambda storage: storage.list_messages(where, sort=sort, descending=descending, limit=limit, after=after)
            )

        seen = walk(page)
        assert len(set(seen)) == len(seen) == self.both(lambda storage: storage.count_messages(where))

    @rule(
        where=history_filters,
        sort=st.sampled_from([Sort.QUEUED, Sort.LAST_ACTIVITY]),
        descending=st.booleans(),
        limit=st.integers(1, 4),
    )
    def page_through_the_history(self, where: HistoryFilter, sort: Sort, descending: bool, limit: int) -> None:
        def page(after: Cursor | None) -> Page[Retired]:
            return self.both(
                lambda storage: storage.list_retired(where, sort=sort, descending=descending, limit=limit, after=after)
            )

        seen = walk(page)
        assert len(set(seen)) == len(seen) == self.both(lambda storage: storage.count_retired(where))

    @invariant()
    def both_hold_the_same(self) -> None:
        order: dict[str, Any] = {"sort": Sort.QUEUED, "descending": False, "limit": EVERYTHING, "after": None}

        async def state(storage: Storage) -> dict[str, object]:
            events = await storage.events(after=0, limit=EVERYTHING)
            return {
                "queue": (await storage.list_messages(MessageFilter(), **order)).items,
                "history": (await storage.list_retired(HistoryFilter(), **order)).items,
                "event ids": [event.id for event in events],
                "events": in_any_order(events),
                "workers": await storage.workers(),
                "rules": [(rule.id, rule) for rule in await storage.hold_rules()],
                "contents": [await bytes_of(storage, base_id) for base_id in self.submissions],
                "next due": await storage.next_due(),
            }

        self.both(state)


def walk(page: Callable[[Cursor | None], Page[Any]]) -> list[int]:
    """Return the ids of all rows, page by page."""
    seen: list[int] = []
    after: Cursor | None = None
    while True:
        found = page(after)
        seen += [row.id for row in found.items]
        if found.next is None:
            return seen
        after = found.next


EXAMPLES = os.environ.get("MOXLIB_MACHINE_EXAMPLES")


class ThreadedStorageMachine(StorageMachine):
    """The same, with SQLite's transactions in a thread of their own."""

    def make_real(self) -> Storage:
        return SQLiteStorage(self.directory / "mail.db", transactions="thread")


class PostgresStorageMachine(StorageMachine):
    """The same on PostgreSQL, in a schema for each run."""

    concurrent = True
    server: ClassVar["PostgresServer"]
    schema = ""

    def make_real(self) -> Storage:
        self.schema = self.schema or self.stack.enter_context(self.server.schema())
        return PostgresStorage(self.server.url, schema=self.schema, connections=2)


@pytest.fixture(scope="module")
def server_for_machines(postgres_server: "PostgresServer") -> Iterator[None]:
    postgres_server.start()
    PostgresStorageMachine.server = postgres_server
    yield
    del PostgresStorageMachine.server


def runs(usual: int) -> settings:
    return settings(
        max_examples=int(EXAMPLES or usual),
        stateful_step_count=50,
        derandomize=EXAMPLES is None,
        deadline=None,
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],  # explaining takes minutes, and says little
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )


TestStorageMachine = StorageMachine.TestCase
TestStorageMachine.settings = runs(60)
TestThreadedStorageMachine = ThreadedStorageMachine.TestCase
TestThreadedStorageMachine.settings = runs(30)
TestPostgresStorageMachine = pytest.mark.usefixtures("server_for_machines")(PostgresStorageMachine.TestCase)
TestPostgresStorageMachine.settings = runs(30)
