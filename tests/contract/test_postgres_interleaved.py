"""What two transactions on PostgreSQL can do to each other, which SQLite's one writer excludes.

The second one runs at a given point of the first: just before a certain statement, or while it is open. Nothing here
depends on which of two is quicker.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
import pytest
from tests.contract.conftest import submission_to
from tests.contract.database import GUARD, connect, execute, until_waiting

from moxlib.queue import HoldRule, InvalidConnection, MessageFilter, StorageBusy
from moxlib.queue.limits import Rate
from moxlib.queue.storage.claims import ClaimRequest, DestinationLimits
from moxlib.queue.storage.operations import claim, destination, insert, operate, settle, workers
from moxlib.queue.storage.operations.rows import micros
from moxlib.queue.storage.postgres import PostgresStorage
from moxlib.queue.storage.postgres.tx import Dialect, PostgresTx, SyncStatements
from moxlib.queue.storage.tx import Tx
from moxlib.queue.submission import Idempotency, NewSubmission, Submission

if TYPE_CHECKING:
    from tests.contract.conftest import Desk

T = TypeVar("T")

pytestmark = pytest.mark.parametrize("desk", ["postgres"], indirect=True)

ALL = MessageFilter()
DAY = timedelta(days=1)
LEASE = timedelta(seconds=60)


class Between(Dialect):
    """A dialect that, once, does something just before a statement is sent that has a text in it."""

    def __init__(self, dialect: Dialect, text: str, do: Callable[[], object]) -> None:
        super().__init__(dialect.schema)
        self.types = dialect.types
        self._text = text
        self._do = do
        self.done = False

    def __call__(self, sql: str) -> bytes:
        if self._text in sql and not self.done:
            self.done = True
            self._do()
        return super().__call__(sql)


class Server:
    """Transactions on a storage's database, one by one and by hand."""

    def __init__(self, desk: "Desk") -> None:
        assert isinstance(desk.storage, PostgresStorage)
        self.storage: PostgresStorage = desk.storage
        self.dialect = desk.storage._dialect

    @contextmanager
    def transaction(self, dialect: Dialect | None = None) -> Iterator[PostgresTx]:
        """Give a transaction that is committed at the end of the block."""
        with connect(self.storage) as connection:
            yield PostgresTx(SyncStatements(connection), dialect or self.dialect)
            connection.commit()

    def run(self, operation: Callable[[Tx], T]) -> T:
        """Run an operation in a transaction of its own; whoever it would wait for is an error."""
        with self.transaction() as tx:
            tx.execute("SET LOCAL lock_timeout = '100ms'")
            return operation(tx)

    def run_with(self, operation: Callable[[Tx], T], *, before: str, do: Callable[[], object]) -> T:
        """Run an operation, and something else just before one of its statements."""
        between = Between(self.dialect, before, do)
        with self.transaction(between) as tx:
            result = operation(tx)
        assert between.done, f"it has no statement with {before!r}"
        return result

    async def until_waiting_for(self, what: str) -> None:
        """Return once somebody waits to be serialized."""
        key = self.dialect.lock_key(what) & 0xFFFFFFFF
        waiting = f"SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = {key} AND NOT granted"
        async with asyncio.timeout(GUARD):
            while not await asyncio.to_thread(execute, self.storage, waiting):
                pass

    def is_free(self, table: str, where: str) -> bool:
        """Say whether nobody holds a row."""
        with connect(self.storage) as connection:
            sql = f"SELECT 1 FROM moxlib_{table} WHERE {where} FOR UPDATE SKIP LOCKED"
            return bool(connection.execute(sql).fetchall())


@pytest.fixture
def server(desk: "Desk") -> Server:
    return Server(desk)


def new(desk: "Desk", *addresses: str, **fields: Any) -> NewSubmission:
    return submission_to(*addresses, **{"queued": desk.now, "next_attempt": desk.now} | fields)


def inserting(*submissions: NewSubmission) -> Callable[[Tx], object]:
    return partial(insert.insert_all, submissions=submissions, drop_file=lambda _: None)


def claiming(desk: "Desk", worker: int, **fields: Any) -> Callable[[Tx], Any]:
    usual: dict[str, Any] = {"now": desk.now, "limit": 100, "limits": desk.limits}
    return partial(claim.claim, worker=worker, request=ClaimRequest(**(usual | fields)))


async def check_owners(desk: "Desk") -> None:
    lost = execute(
        desk.storage,
        "SELECT id FROM moxlib_message WHERE owner IS NOT NULL AND owner NOT IN (SELECT id FROM moxlib_worker)",
    )
    assert lost == [], "there is a message whose worker is not registered: nobody will ever take it back"


# workers end while their claims are under way


async def test_a_worker_that_ends_takes_with_it_what_its_last_claim_brings(desk: "Desk", server: Server) -> None:
    await desk.submit("a@x.example")
    worker = await desk.worker()
    with server.transaction() as tx:
        assert len(claiming(desk, worker)(tx).claims) == 1
        ending = asyncio.create_task(desk.storage.unregister_worker(worker, now=desk.now))
        await until_waiting(server.storage, "worker")
    await ending
    await check_owners(desk)
    assert execute(desk.storage, "SELECT * FROM moxlib_slot") == []
    assert await desk.claimed(await desk.worker()) == ["a@x.example"]


async def test_a_worker_that_is_claiming_is_not_taken_back(desk: "Desk", server: Server) -> None:
    await desk.submit("a@x.example")
    worker = await desk.worker(lease=1)
    with server.transaction() as tx:
        claiming(desk, worker)(tx)
        desk.later(2)
        assert server.run(partial(workers.take_back, now=desk.now, dead=[worker])) == ()
    assert await desk.storage.take_back(now=desk.now) == (worker,)
    await check_owners(desk)
    assert (await desk.message(1)).in_flight is False


async def test_a_claim_of_a_worker_that_is_being_taken_back_claims_nothing(desk: "Desk", server: Server) -> None:
    await desk.submit("a@x.example")
    worker = await desk.worker(lease=1)
    desk.later(2)
    with server.transaction() as tx:
        assert workers.take_back(tx, now=desk.now) == (worker,)
        late = asyncio.create_task(desk.claimed(worker))
        await until_waiting(server.storage, "worker")
    assert await late == []
    await check_owners(desk)


async def test_a_lease_is_renewed_while_a_claim_is_under_way(desk: "Desk", server: Server) -> None:
    worker = await desk.worker()
    with server.transaction() as tx:
        claiming(desk, worker)(tx)
        assert server.run(partial(workers.renew, worker=worker, now=desk.now, lease=LEASE))


async def test_a_claim_that_gives_slots_back_cannot_lock_out_who_takes_it_back(desk: "Desk", server: Server) -> None:
    """It would hold the slot and want the worker, the other one the other way around: a deadlock."""
    await desk.submit("a@x.example")
    worker = await desk.worker(lease=1)
    await desk.claimed(worker)
    desk.later(2)
    with server.transaction() as tx:
        tx.query("SELECT 1 FROM moxlib_worker WHERE id = ? FOR UPDATE", (worker,))
        late = asyncio.create_task(desk.claim(worker, release=["x.example"]))
        await until_waiting(server.storage, "worker")
        assert server.is_free("slot", "true")
        assert workers.take_back(tx, now=desk.now) == (worker,)
    assert (await late).claims == ()


async def test_whoever_takes_back_from_several_locks_their_messages_in_order_of_id(
    desk: "Desk", server: Server
) -> None:
    """As everybody does: else it and an operator would each hold what the other wants."""
    await desk.submit("a@x.example")
    first, second = await desk.worker(), await desk.worker()
    await desk.claimed(second)
    await desk.submit("b@y.example")
    await desk.claimed(first)
    with server.transaction() as tx:
        tx.query("SELECT 1 FROM moxlib_message WHERE id = 1 FOR UPDATE")
        taking = asyncio.create_task(desk.storage.take_back(now=desk.now, dead=[first, second]))
        await until_waiting(server.storage, "message")
        assert server.is_free("message", "id = 2")
    assert await taking == (first, second)
    assert sorted(await desk.claimed(await desk.worker())) == ["a@x.example", "b@y.example"]


# hold rules


async def test_a_rule_locks_messages_in_order_of_id(desk: "Desk", server: Server) -> None:
    await desk.submit("a@x.example", "b@x.example", "c@x.example")
    execute(desk.storage, "UPDATE moxlib_message SET next_attempt = next_attempt + 1 WHERE id = 1")  # lies behind now
    with server.transaction() as tx:
        tx.query("SELECT 1 FROM moxlib_message WHERE id = 1 FOR UPDATE")
        adding = asyncio.create_task(desk.storage.add_hold_rule(HoldRule(recipient_domain="x.example")))
        await until_waiting(server.storage, "message")
        assert server.is_free("message", "id = 2")
    _, held = await adding
    assert held == 3


async def test_a_rule_is_added_while_an_equal_one_is_removed(desk: "Desk", server: Server) -> None:
    rule = HoldRule(recipient_domain="x.example")
    old, _ = await desk.storage.add_hold_rule(rule)

    def remove() -> None:
        try:
            server.run(partial(operate.remove_hold_rule, rule_id=old.id))
        except psycopg.errors.LockNotAvailable:  # then it comes after
            return

    finds = iter(range(9))
    text = operate.FIND_RULE

    class Second(Between):
        def __call__(self, sql: str) -> bytes:
            if sql == text and next(finds) != 1:
                return Dialect.__call__(self, sql)
            return super().__call__(sql)

    with server.transaction(Second(server.dialect, text, remove)) as tx:
        stored, _ = operate.add_hold_rule(tx, rule)
    assert stored == old


async def test_a_rule_that_holds_waits_for_a_claim_and_both_happen(desk: "Desk", server: Server) -> None:
    await desk.submit("a@x.example")
    worker = await desk.worker()
    with server.transaction() as tx:
        [claimed] = claiming(desk, worker)(tx).claims
        adding = asyncio.create_task(desk.storage.add_hold_rule(HoldRule(recipient_domain="x.example")))
        await until_waiting(server.storage, "message")
    assert (await adding)[1] == 1
    message = await desk.message(1)
    assert (message.in_flight, message.hold) == (True, True)
    await desk.settle(worker, desk.retry(claimed.message, after=0))
    assert (await desk.message(1)).hold
    assert await desk.claimed(worker) == []


# destinations


async def take_connection(server: Server, before: str, do: Callable[[], object], desk: "Desk") -> Any:
    rate = Rate(count=1, per=timedelta(seconds=1))
    taking = partial(claim.take_connection, name="x.example", rate=rate, now=desk.now)
    return server.run_with(taking, before=before, do=do)


def prune(desk: "Desk") -> Callable[[Tx], object]:
    at = micros(desk.now + DAY)
    return lambda tx: tx.execute(operate.PRUNE_DESTINATIONS, (at, at))


@pytest.mark.parametrize("known", [True, False])
async def test_a_connection_is_taken_while_its_destination_is_pruned(desk: "Desk", server: Server, known: bool) -> None:
    if known:
        execute(desk.storage, "INSERT INTO moxlib_destination (name) VALUES ('x.example')")
    assert await take_connection(server, "SELECT connections_full_at", lambda: server.run(prune(desk)), desk) is None
    assert len(execute(desk.storage, "SELECT 1 FROM moxlib_destination WHERE connections_full_at > 0")) == 1


async def test_pruning_passes_over_destinations_that_others_hold(desk: "Desk", server: Server) -> None:
    execute(desk.storage, "INSERT INTO moxlib_destination (name) VALUES ('x.example'), ('y.example')")
    with server.transaction() as tx:
        tx.execute(destination.LOWER, ("x.example", micros(desk.now)))
        server.run(prune(desk))
    assert execute(desk.storage, "SELECT name FROM moxlib_destination") == [("x.example",)]


# turns and wakes


async def test_what_comes_while_a_claim_ends_a_destinations_turn_is_not_missed(desk: "Desk", server: Server) -> None:
    await desk.submit("a@x.example")
    worker, other = await desk.worker(), await desk.worker()
    submit = partial(server.run, inserting(new(desk, "b@x.example")))
    result = server.run_with(claiming(desk, worker), before=claim.SET_TURN, do=submit)
    assert [c.message.recipient for c in result.claims] == ["a@x.example"]
    assert execute(desk.storage, "SELECT turn FROM moxlib_destination") == [(None,)]
    assert await desk.storage.next_due() == desk.now
    assert await desk.claimed(other) == ["b@x.example"]


async def test_a_wake_that_is_folded_while_a_claim_holds_the_turn_comes_after_it(desk: "Desk", server: Server) -> None:
    desk.limits = DestinationLimits(default=100)
    await desk.submit("a@x.example")
    worker, other = await desk.worker(), await desk.worker()
    with server.transaction() as tx:
        claiming(desk, worker)(tx)
        await desk.submit("b@x.example")
        next_ = asyncio.create_task(desk.claimed(other))
        await until_waiting(server.storage, "destination")
    assert await next_ == ["b@x.example"]


async def test_what_an_operator_holds_locked_is_claimed_afterwards(desk: "Desk", server: Server) -> None:
    await desk.submit("a@x.example")
    worker = await desk.worker()
    with server.transaction() as tx:
        assert operate.set_transport(tx, ALL, "relay") == 1
        result = await desk.claim(worker)
        assert result.claims == ()
        assert result.next_turn is not None
        assert result.next_turn > desk.now
    assert await desk.claimed(worker) == ["a@x.example"]


@pytest.mark.parametrize("text", [destination.EARLIEST_TURN, destination.EARLIEST_WAKE])
async def test_what_is_folded_while_somebody_asks_for_the_next_is_not_missed(
    desk: "Desk", server: Server, text: str
) -> None:
    await desk.submit("a@x.example")
    fold = partial(server.run, claiming(desk, await desk.worker(), room={"x.example": 0}))
    assert server.run_with(destination.next_due, before=text, do=fold) == desk.now


async def listening(desk: "Desk", server: Server, does: Callable[[], object]) -> bool:
    """Say whether something notifies."""
    async with await psycopg.AsyncConnection.connect(server.storage._conninfo, autocommit=True) as connection:
        channel = server.dialect.channel
        await connection.execute(f'LISTEN "{channel}"'.encode())
        await asyncio.to_thread(does)
        execute(desk.storage, f"NOTIFY \"{channel}\", 'end'")
        async with asyncio.timeout(GUARD):
            async for told in connection.notifies():
                return told.payload != "end"
    raise AssertionError


async def test_a_submit_notifies_unless_somebody_was_told_of_wakes_that_lie_there(desk: "Desk", server: Server) -> None:
    submit = partial(server.run, inserting(new(desk, "a@x.example")))
    assert await listening(desk, server, submit)
    assert not await listening(desk, server, submit)


async def test_a_submit_notifies_when_a_claim_is_just_taking_all_wakes_there_are(desk: "Desk", server: Server) -> None:
    """The claim does not see the new one, and may be the last for long."""
    await desk.submit("a@x.example")
    worker = await desk.worker()
    submit = partial(server.run, inserting(new(desk, "b@y.example")))
    with server.transaction() as tx:
        claiming(desk, worker)(tx)
        assert await listening(desk, server, submit)


async def test_a_claim_that_took_wakes_and_found_nothing_has_the_worker_look_again(
    desk: "Desk", server: Server
) -> None:
    """A submit that saw those wakes has not notified; it may be committed after the claim."""
    await desk.submit("later@x.example", due=3600)
    worker = await desk.worker()
    with server.transaction() as tx:
        inserting(new(desk, "b@y.example"))(tx)
        result = await desk.claim(worker)
        assert result.claims == ()
    assert result.next_turn is not None
    assert result.next_turn <= desk.now + claim.BUSY_RETRY
    assert await desk.claimed(worker) == ["b@y.example"]
    assert (await desk.claim(worker)).next_turn == desk.now + timedelta(hours=1)


async def test_slots_stay_within_the_limit_whatever_two_claims_do(desk: "Desk", server: Server) -> None:
    desk.limits = DestinationLimits(default=3)
    one, other = await desk.worker(), await desk.worker()
    await desk.submit(*(f"{n}@x.example" for n in range(20)))
    await desk.claim(one, room={"x.example": 0})  # its wake is in the turn now
    second: list[Any] = []
    first = server.run_with(
        claiming(desk, one),
        before="INSERT INTO moxlib_slot",
        do=lambda: second.append(server.run(claiming(desk, other))),
    )
    assert (len(first.claims), len(second[0].claims)) == (20, 0)
    assert second[0].next_turn > desk.now
    assert execute(desk.storage, "SELECT sum(slots) FROM moxlib_slot") == [(1,)]


# idempotency keys


def keyed(desk: "Desk", key: str, keep: timedelta = DAY) -> NewSubmission:
    idempotency = Idempotency(key=key, fingerprint=b"f" * 32, keep_until=desk.now + keep)
    return new(desk, "a@x.example", idempotency=idempotency)


async def test_a_key_that_is_purged_while_it_is_looked_up_is_taken_over(desk: "Desk", server: Server) -> None:
    await desk.storage.insert(keyed(desk, "k", timedelta(seconds=1)))
    again = keyed(desk, "k")
    desk.later(1)
    purge = partial(operate.purge, now=desk.now, events_before=desk.now)
    [[receipt]] = server.run_with(
        partial(insert.insert_all, submissions=[again], drop_file=lambda _: None),
        before="SELECT fingerprint",
        do=lambda: server.run(purge),
    )
    assert not receipt.repeated
    assert await desk.storage.insert(again) == (receipt,)
    assert len(await desk.messages()) == 2


@pytest.mark.parametrize("gives_up", [False, True])
async def test_keys_that_wait_leave_connections_to_others(desk: "Desk", server: Server, gives_up: bool) -> None:
    """However many submits wait for the same slow transaction of the application's, or did."""
    worker = await desk.worker()
    with connect(desk.storage) as connection:
        first = await desk.storage.insert_within(connection, keyed(desk, "k"))
        if gives_up:
            impatient = [asyncio.create_task(desk.storage.insert(keyed(desk, "k"))) for _ in range(3)]
            await until_waiting(server.storage, "idempotency", 3)
            for task in impatient:
                task.cancel()
            await asyncio.wait(impatient)
        waiting = [asyncio.create_task(desk.storage.insert(keyed(desk, "k"))) for _ in range(10)]
        await until_waiting(server.storage, "idempotency", 3)
        await desk.submit("b@y.example")
        assert await desk.claimed(worker) == ["b@y.example"]
        assert await desk.storage.renew(worker, now=desk.now, lease=LEASE)
        connection.commit()
        async with asyncio.timeout(GUARD):
            assert await asyncio.gather(*waiting) == [first] * 10


# the caller's own transaction


async def test_a_connection_in_pipeline_mode_is_refused(desk: "Desk", server: Server) -> None:
    """Nobody would learn there that a key is taken."""
    with connect(desk.storage) as connection:
        with connection.pipeline(), pytest.raises(InvalidConnection, match="pipeline mode"):
            await desk.storage.insert_within(connection, keyed(desk, "k"))
        [receipt] = await desk.storage.insert_within(connection, keyed(desk, "k"))
        connection.commit()
    async with await psycopg.AsyncConnection.connect(server.storage._conninfo) as other:
        async with other.pipeline():
            with pytest.raises(InvalidConnection, match="pipeline mode"):
                await desk.storage.insert_within(other, keyed(desk, "k"))
        assert await desk.storage.insert_within(other, keyed(desk, "k")) == (receipt,)


@contextmanager
def isolated(desk: "Desk", level: psycopg.IsolationLevel) -> Iterator[Any]:
    """Give a connection whose transaction has that isolation level, and has taken its snapshot."""
    with connect(desk.storage) as connection:
        connection.isolation_level = level
        connection.execute("SELECT id FROM moxlib_queue")
        yield connection


STRICT = pytest.mark.parametrize("level", [psycopg.IsolationLevel.REPEATABLE_READ, psycopg.IsolationLevel.SERIALIZABLE])


@STRICT
async def test_a_rule_holds_what_is_submitted_in_a_transaction_that_cannot_see_it(
    desk: "Desk", level: psycopg.IsolationLevel
) -> None:
    with isolated(desk, level) as connection:
        await desk.storage.add_hold_rule(HoldRule(recipient_domain="x.example"))
        [receipt, _] = await desk.storage.insert_within(connection, new(desk, "a@x.example", "b@y.example"))
        assert not receipt.hold
        connection.commit()
    assert await desk.claimed(await desk.worker()) == ["b@y.example"]
    assert (await desk.message(receipt.id)).hold


@STRICT
async def test_ids_are_unique_whatever_a_transaction_can_see(desk: "Desk", level: psycopg.IsolationLevel) -> None:
    with isolated(desk, level) as one, isolated(desk, level) as other:
        ids: list[int] = []
        for storing in (one, other, None, one):
            submission = new(desk, "a@x.example", "b@x.example")
            if storing is None:
                receipts = await desk.storage.insert(submission)
            else:
                receipts = await desk.storage.insert_within(storing, submission)
            ids += [receipt.id for receipt in receipts]
        one.commit()
        other.commit()
    assert ids == list(range(1, 9))
    assert len(await desk.messages()) == 8


async def is_refused_once(connection: Any, desk: "Desk", submission: NewSubmission) -> tuple[Submission, ...]:
    """Submit in a transaction whose snapshot is too old for that, and then in the next one."""
    with pytest.raises(StorageBusy) as refused:
        await desk.storage.insert_within(connection, submission)
    assert isinstance(refused.value.__cause__, psycopg.errors.SerializationFailure)
    connection.rollback()
    receipts = await desk.storage.insert_within(connection, submission)
    connection.commit()
    return receipts


@STRICT
async def test_a_key_that_a_transaction_cannot_see_makes_it_fail_and_the_next_one_finds_it(
    desk: "Desk", level: psycopg.IsolationLevel
) -> None:
    with isolated(desk, level) as connection:
        first = await desk.storage.insert(keyed(desk, "k"))
        assert await is_refused_once(connection, desk, keyed(desk, "k")) == first
    assert len(await desk.messages()) == 1


@STRICT
async def test_a_key_that_is_gone_but_seen_makes_a_transaction_fail_and_the_next_one_takes_it(
    desk: "Desk", level: psycopg.IsolationLevel
) -> None:
    await desk.storage.insert(keyed(desk, "k", timedelta(seconds=1)))
    again = keyed(desk, "k")
    desk.later(1)
    with isolated(desk, level) as connection:
        await desk.storage.purge(now=desk.now, events_before=desk.now)
        [receipt] = await is_refused_once(connection, desk, again)
        assert not receipt.repeated
    assert await desk.storage.insert(again) == (receipt,)


# the queue's own rows


async def test_message_ids_can_be_had_after_somebody_gave_up_waiting_for_one(desk: "Desk", server: Server) -> None:
    """Their lock is the session's: it must not stay with one that goes on."""
    gate = "'moxlib_message_id'::regclass::oid::bigint | (1::bigint << 60)"
    with connect(desk.storage) as holder, connect(desk.storage) as connection:
        holder.execute(f"SELECT pg_advisory_lock({gate})")
        connection.execute("SET lock_timeout = '10ms'")
        with pytest.raises(StorageBusy):
            await desk.storage.insert_within(connection, new(desk, "a@x.example"))
        holder.execute(f"SELECT pg_advisory_unlock({gate})")
        await desk.storage.insert_within(connection, new(desk, "b@x.example"))
        assert server.run(lambda tx: tx.query(f"SELECT pg_try_advisory_xact_lock({gate})")) == [(True,)]
        await desk.submit("c@x.example")
        connection.commit()
    assert [message.recipient for message in await desk.messages()] == ["b@x.example", "c@x.example"]


async def test_a_reader_of_events_that_goes_on_from_the_last_misses_none(desk: "Desk", server: Server) -> None:
    """Who begins to write them first is committed first, and has the lower ids."""
    await desk.submit("a@x.example")
    await desk.submit("b@y.example")
    worker = await desk.worker()
    one, other = (await desk.claim(worker)).claims
    settling = partial(settle.settle, now=desk.now, drop_file=lambda _: None)
    with server.transaction() as tx:
        settling(tx, worker, [desk.deliver(one.message)])
        second = asyncio.create_task(desk.settle(worker, desk.deliver(other.message)))
        await server.until_waiting_for("events")
        assert await desk.storage.events(after=0, limit=10) == ()
    await second
    assert [(event.id, event.message) for event in await desk.storage.events(after=0, limit=10)] == [(1, 1), (2, 2)]


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("second", ["settle", "purge"])
async def test_of_two_that_drop_the_last_of_a_submission_the_second_drops_it(
    desk: "Desk", server: Server, kept: bool, second: str
) -> None:
    await desk.submit("a@x.example", "b@y.example")
    worker = await desk.worker()
    one, other = (await desk.claim(worker)).claims
    until = desk.now + (timedelta(seconds=1) if kept or second == "purge" else timedelta(0))
    if second == "purge":
        await desk.settle(worker, desk.deliver(other.message, keep_until=until))
        desk.later(1)
    with server.transaction() as tx:
        keep = desk.now + timedelta(seconds=1) if kept else desk.now
        settlement = desk.deliver(one.message, keep_until=keep)
        settle.settle(tx, worker, [settlement], now=desk.now, drop_file=lambda _: None)
        if second == "purge":
            late: asyncio.Task[Any] = asyncio.create_task(
                desk.storage.purge(now=desk.now, events_before=desk.now - DAY)
            )
        else:
            late = asyncio.create_task(desk.settle(worker, desk.deliver(other.message, keep_until=until)))
        await until_waiting(server.storage, "submission")
    await late
    assert execute(desk.storage, "SELECT * FROM moxlib_content") == []
    left = execute(desk.storage, "SELECT count(*) FROM moxlib_submission")
    assert left == [(int(kept),)]
    desk.later(2)
    await desk.storage.purge(now=desk.now, events_before=desk.now)
    assert execute(desk.storage, "SELECT count(*) FROM moxlib_submission") == [(0,)]
