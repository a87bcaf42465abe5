"""Commits whose end the client does not hear of: nothing happens twice, and nothing is taken for done that is not.

Between the queue and the server stands a proxy that cuts the connection where a test wants it: before the server is
asked to commit, or after it has, before the answer arrives.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
import struct
import threading
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import psycopg
import pytest

from moxlib.queue import Delivered, Delivery, Outcome, Queue, QueueConfig
from moxlib.queue.errors import StorageUnavailable
from moxlib.queue.storage.claims import ClaimRequest, DestinationLimits
from moxlib.queue.storage.postgres import PostgresStorage, engine
from moxlib.queue.storage.settlement import GiveBack, Retire
from moxlib.queue.types import AttemptResult, EventType, ResultKind
from moxlib.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence

    from tests.postgres import PostgresServer


GUARD = 30.0  # seconds; only ends what hangs
LEASE = timedelta(seconds=60)
MAIL = b"From: s@here.example\r\nTo: a@one.example\r\nDate: x\r\nMessage-ID: <1@x>\r\n\r\nhello\r\n"
LARGE = MAIL + (b"y" * 76 + b"\r\n") * 1000
COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\x00"  # the server's answer (CommandComplete)

# What a server says that is told to stop.
FAREWELL = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
ENDING = b"E" + struct.pack("!I", 4 + len(FAREWELL)) + FAREWELL

Cut = Literal["before", "after", "half", "farewell"]
"""Where a connection is cut: before the server is asked to commit; before its answer arrives; after half of that, which
is without the end of the pipeline; or there, with the server's farewell."""
CUTS: tuple[Cut, ...] = ("before", "after", "half", "farewell")


class Proxy:
    """Passes on what client and server say; cuts a connection at a commit, once for each time it is armed."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._cut: Cut | None = None
        self._then: Callable[[], None] = lambda: None
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._cutting: tuple[socket.socket, socket.socket] | None = None
        self.open = True
        """Whether it lets new connections through."""
        self.cuts = 0
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def arm(self, cut: Cut, then: Callable[[], None] = lambda: None) -> None:
        """Cut the connection of the next commit, before the server hears of it or after, having called `then`."""
        with self._lock:
            self._cut, self._then = cut, then

    def shut(self) -> None:
        """Cut all connections, and let nobody through any more; last the one whose commit was cut.

        Its client would else ask on another one that is still there, and have its answer.
        """
        with self._lock:
            self.open = False
            pairs = sorted(self._pairs, key=lambda pair: pair == self._cutting)
        for pair in pairs:
            _hang_up(*pair)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        self.shut()
        for thread in self._threads:
            thread.join()
        for pair in self._pairs:
            for end in pair:
                end.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if not self.open:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._server_port))
            with self._lock:
                self._pairs.append((client, server))
                if not self.open:  # shut in between
                    _hang_up(client, server)
            thread = threading.Thread(target=self._pass_on, args=(client, server))
            self._threads.append(thread)
            thread.start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        commits = Commits()
        with selectors.DefaultSelector() as selector:
            selector.register(client, selectors.EVENT_READ)
            selector.register(server, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    source = client if key.fileobj is client else server
                    try:
                        data = source.recv(65536)
                    except OSError:
                        data = b""
                    asked = source is client and commits.asked_by(data)
                    answered = source is server and COMMITTED in data
                    cut = self._cut_at(asked=asked, answered=answered)
                    if cut is not None:
                        self._cutting = (client, server)
                        self._then()
                        self._say_last(client, cut, data)
                        data = b""
                    if not data:
                        _hang_up(client, server)
                        return
                    with suppress(OSError):
                        (server if source is client else client).sendall(data)

    def _cut_at(self, *, asked: bool, answered: bool) -> Cut | None:
        with self._lock:
            cut = self._cut
            if cut is None or not (asked if cut == "before" else answered):
                return None
            self._cut = None
            self.cuts += 1
            return cut

    def _say_last(self, client: socket.socket, cut: Cut, data: bytes) -> None:
        if cut in ("half", "farewell"):
            end = data.index(COMMITTED) + len(COMMITTED)
            with suppress(OSError):
                client.sendall(data[:end] + (ENDING if cut == "farewell" else b""))


class Commits:
    """Finds commits in what a client says: each is one message, or names a statement that was prepared before."""

    def __init__(self) -> None:
        self._rest = b""
        self._started = False
        self._prepared: set[bytes] = set()

    def asked_by(self, data: bytes) -> bool:
        self._rest += data
        found = False
        while message := self._next():
            kind, body = message
            name, _, text = body.partition(b"\0")
            match kind:
                case b"Q":
                    found |= name == b"COMMIT"
                case b"P" if text.startswith(b"COMMIT\0"):
                    self._prepared.add(name)
                case b"P":  # the name may have been another's: that of an unnamed statement always is
                    self._prepared.discard(name)
                case b"B":
                    found |= text.partition(b"\0")[0] in self._prepared
        return found

    def _next(self) -> tuple[bytes, bytes] | None:
        head = 1 if self._started else 0  # what begins a connection has no letter
        if len(self._rest) < head + 4:
            return None
        (length,) = struct.unpack_from("!I", self._rest, head)
        if len(self._rest) < head + length:
            return None
        kind, body = self._rest[:head], self._rest[head + 4 : head + length]
        self._rest = self._rest[head + length :]
        ssl_or_gss = struct.pack("!I", 80877103), struct.pack("!I", 80877104)
        if not self._started and body[:4] not in ssl_or_gss:
            self._started = True
        return kind or b"-", body


def _hang_up(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(postgres_server: PostgresServer, postgres_url: str) -> Generator[Proxy]:
    made = Proxy(postgres_server.port)
    try:
        yield made
    finally:
        made.close()


class Desk:
    """A queue behind the proxy, and what lies in its tables, seen past it."""

    def __init__(self, queue: Queue, storage: PostgresStorage, server: PostgresServer, schema: str) -> None:
        self.queue = queue
        self.storage = storage
        self.clock = FakeClock()
        self._server = server
        self._schema = schema

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self._server.execute(sql.replace("moxlib_", f"{self._schema}.moxlib_"))

    def count(self, table: str) -> int:
        ((count,),) = self.rows(f"SELECT count(*) FROM moxlib_{table}")
        return int(count)

    async def submit(self, data: bytes = MAIL, **options: Any) -> int:
        [receipt] = await self.queue.submit(data, sender="s@here.example", recipients="a@one.example", **options)
        return receipt.id

    async def register(self) -> int:
        return await self.storage.register_worker("test", now=self.clock.now(), lease=LEASE)

    def request(self, **options: Any) -> ClaimRequest:
        return ClaimRequest(now=self.clock.now(), limit=100, limits=DestinationLimits(), **options)


@pytest.fixture
async def desk(proxy: Proxy, postgres_server: PostgresServer, postgres_schema: str) -> AsyncIterator[Desk]:
    url = f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres"
    storage = PostgresStorage(url, schema=postgres_schema)
    queue = Queue(storage, clock=FakeClock(), config=QueueConfig())
    async with asyncio.timeout(GUARD), queue:
        yield Desk(queue, storage, postgres_server, postgres_schema)


@pytest.mark.parametrize("data", [MAIL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("cut", CUTS)
async def test_a_submit_happens_once_however_its_commit_went(desk: Desk, proxy: Proxy, cut: Cut, data: bytes) -> None:
    proxy.arm(cut)
    id_ = await desk.submit(data)
    assert proxy.cuts == 1
    assert desk.rows("SELECT id FROM moxlib_message") == [(id_,)]
    assert desk.count("submission") == 1
    assert b"".join([chunk async for chunk in desk.queue.dump(id_)]) == data


@pytest.mark.parametrize("cut", CUTS)
async def test_many_submits_in_one_commit_happen_once_each(desk: Desk, proxy: Proxy, cut: Cut) -> None:
    proxy.arm(cut)
    ids = await asyncio.gather(*(desk.submit() for _ in range(50)))
    assert proxy.cuts == 1
    assert desk.rows("SELECT id FROM moxlib_message ORDER BY id") == [(id_,) for id_ in sorted(ids)]


@pytest.mark.parametrize("cut", ["before", "after"])
async def test_a_submit_waits_for_the_server_to_come_back_and_tell(desk: Desk, proxy: Proxy, cut: Cut) -> None:
    cut_off = threading.Event()

    def shut() -> None:
        proxy.shut()
        cut_off.set()

    proxy.arm(cut, shut)
    submitting = asyncio.create_task(desk.submit())
    await asyncio.to_thread(cut_off.wait)
    assert not submitting.done()
    proxy.open = True
    id_ = await submitting
    assert desk.rows("SELECT id FROM moxlib_message") == [(id_,)]


async def test_a_submit_waits_for_a_server_that_comes_back_late(
    desk: Desk, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "PATIENCE", 60.0)
    proxy.shut()
    submitting = asyncio.create_task(desk.submit())
    await asyncio.sleep(1.6)  # as long as a restart may take; the server has no clock of ours
    assert not submitting.done()
    proxy.open = True
    id_ = await submitting
    assert desk.rows("SELECT id FROM moxlib_message") == [(id_,)]


@pytest.fixture
def impatient(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is cut, and all after it, has no patience; what comes before may take its time."""
    arm = proxy.arm

    def armed(cut: Cut, then: Callable[[], None]) -> None:
        monkeypatch.setattr(engine, "PATIENCE", 0.3)
        arm(cut, then)

    monkeypatch.setattr(proxy, "arm", armed)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("cut", "stored"), [("before", 0), ("after", 1)])
async def test_a_submit_says_that_it_may_have_happened_when_nobody_can_tell(
    desk: Desk, proxy: Proxy, cut: Cut, stored: int
) -> None:
    proxy.arm(cut, proxy.shut)
    with pytest.raises(StorageUnavailable) as caught:
        await desk.submit()
    assert caught.value.in_doubt
    assert desk.count("message") == stored
    with pytest.raises(StorageUnavailable) as caught:
        await desk.submit()
    assert not caught.value.in_doubt, "of this one it is known that nothing was stored"
    assert desk.count("message") == stored


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(("cut", "repeated"), [("before", False), ("after", True)])
async def test_a_submit_in_doubt_can_be_repeated_under_its_key(
    desk: Desk, proxy: Proxy, cut: Cut, repeated: bool
) -> None:
    proxy.arm(cut, proxy.shut)
    with pytest.raises(StorageUnavailable) as caught:
        await desk.submit(idempotency_key="k")
    assert caught.value.in_doubt
    proxy.open = True
    while True:
        try:
            [receipt] = await desk.queue.submit(
                MAIL, sender="s@here.example", recipients="a@one.example", idempotency_key="k"
            )
        except StorageUnavailable:
            continue
        break
    assert receipt.repeated is repeated
    assert desk.rows("SELECT id FROM moxlib_message") == [(receipt.id,)]


# claims


@pytest.mark.parametrize("cut", CUTS)
async def test_a_claim_happens_once_however_its_commit_went(desk: Desk, proxy: Proxy, cut: Cut) -> None:
    id_ = await desk.submit()
    worker = await desk.register()
    proxy.arm(cut)
    result = await desk.storage.claim(worker, desk.request())
    assert [claim.message.id for claim in result.claims] == [id_]
    assert desk.rows("SELECT owner, attempts FROM moxlib_message") == [(worker, 1)]


async def claim_patiently(desk: Desk, worker: int, **options: Any) -> Any:
    """Claim as a worker does, which tries again while the server is not to be had."""
    while True:
        try:
            return await desk.storage.claim(worker, desk.request(**options))
        except StorageUnavailable:
            continue


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("cut", ["before", "after"])
async def test_the_next_claim_returns_what_one_in_doubt_claimed(desk: Desk, proxy: Proxy, cut: Cut) -> None:
    id_ = await desk.submit()
    worker = await desk.register()
    proxy.arm(cut, proxy.shut)
    with pytest.raises(StorageUnavailable) as caught:
        await desk.storage.claim(worker, desk.request())
    assert caught.value.in_doubt
    with pytest.raises(StorageUnavailable):
        await desk.storage.claim(worker, desk.request())  # still nobody can tell
    proxy.open = True
    result = await claim_patiently(desk, worker)
    assert [claim.message.id for claim in result.claims] == [id_]
    assert desk.rows("SELECT owner, attempts FROM moxlib_message") == [(worker, 1)]
    assert (await claim_patiently(desk, worker)).claims == ()


@pytest.mark.usefixtures("impatient")
async def test_a_claim_that_finds_one_in_doubt_gives_back_the_slots_it_was_to(desk: Desk, proxy: Proxy) -> None:
    first = await desk.submit()
    worker = await desk.register()
    result = await desk.storage.claim(worker, desk.request())
    [claim] = result.claims
    await desk.storage.settle(worker, [retire(claim.message, desk)], now=desk.clock.now())
    [other] = await desk.queue.submit(MAIL, sender="s@here.example", recipients="b@two.example")
    proxy.arm("after", proxy.shut)
    with pytest.raises(StorageUnavailable):
        await desk.storage.claim(worker, desk.request())
    proxy.open = True
    result = await claim_patiently(desk, worker, release=["one.example"])
    assert [claim.message.id for claim in result.claims] == [other.id] != [first]
    assert desk.rows("SELECT destination FROM moxlib_slot") == [("two.example",)]


def retire(message: Any, desk: Desk) -> Retire:
    now = desk.clock.now()
    result = AttemptResult(attempt=message.attempts, kind=ResultKind.DELIVERED, started=now)
    return Retire(message=message, result=result, event=EventType.DELIVERED, keep_until=now + LEASE)


@pytest.mark.parametrize("cut", CUTS)
async def test_a_settlement_happens_once_and_nothing_is_called_lost(desk: Desk, proxy: Proxy, cut: Cut) -> None:
    id_ = await desk.submit()
    worker = await desk.register()
    [claim] = (await desk.storage.claim(worker, desk.request())).claims
    proxy.arm(cut)
    assert await desk.storage.settle(worker, [retire(claim.message, desk)], now=desk.clock.now()) == frozenset()
    assert desk.rows("SELECT id FROM moxlib_retired") == [(id_,)]
    assert desk.rows("SELECT message, type FROM moxlib_event") == [(id_, "delivered")]
    assert desk.count("message") == desk.count("content") == 0


@pytest.mark.usefixtures("impatient")
async def test_a_settlement_in_doubt_that_is_made_again_leaves_the_next_claim_alone(desk: Desk, proxy: Proxy) -> None:
    id_ = await desk.submit()
    worker = await desk.register()
    [claim] = (await desk.storage.claim(worker, desk.request())).claims
    given_back = [GiveBack(message=claim.message)]
    proxy.arm("after", proxy.shut)
    with pytest.raises(StorageUnavailable) as caught:
        await desk.storage.settle(worker, given_back, now=desk.clock.now())
    assert caught.value.in_doubt
    proxy.open = True
    await desk.clock.advance(1)
    [again] = (await claim_patiently(desk, worker)).claims
    assert await desk.storage.settle(worker, given_back, now=desk.clock.now()) == {id_}
    assert desk.rows("SELECT owner, attempts FROM moxlib_message") == [(worker, 1)]
    assert await desk.storage.settle(worker, [retire(again.message, desk)], now=desk.clock.now()) == frozenset()


# a server that crashes


@pytest.fixture(scope="module")
def forgetful_server(postgres_server: PostgresServer) -> Generator[PostgresServer]:
    """A server that writes nothing to its log before somebody commits, so that a crash takes all that did not."""
    from tests.postgres import PostgresServer  # noqa: PLC0415 - the other fixture has skipped, where it is not there

    settings = {"wal_writer_delay": "10s", "autovacuum": "off", "bgwriter_lru_maxpages": "0"}
    with PostgresServer(settings=settings) as server:
        yield server


class Crash:
    """Crashes a server with a transaction on it, and sees to it that its number is given to others afterwards."""

    def __init__(self, server: PostgresServer, proxy: Proxy, *, others: int) -> None:
        self._server = server
        self._proxy = proxy
        self._others = others
        self.lost = 0
        self.first_after = 0

    def __call__(self) -> None:
        self._proxy.open = False
        [[self.lost]] = self._server.execute(
            "SELECT max(backend_xid::text::bigint) FROM pg_stat_activity WHERE backend_xid IS NOT NULL"
        )
        self._server.restart("immediate")
        numbers = [self._commit() for _ in range(self._others)]
        self.first_after = numbers[0] if numbers else 0
        self._proxy.open = True

    def _commit(self) -> int:
        [[number]] = self._server.execute("SELECT pg_current_xact_id()::text::bigint")
        return int(number)


@pytest.mark.parametrize("others", [0, 50], ids=["unknown", "reused"])
async def test_a_transaction_that_a_crash_undid_is_not_taken_for_another_one_with_its_number(
    forgetful_server: PostgresServer, others: int
) -> None:
    server = forgetful_server
    proxy = Proxy(server.port)
    url = f"postgresql://postgres@127.0.0.1:{proxy.port}/postgres"
    try:
        with server.schema() as schema:
            storage = PostgresStorage(url, schema=schema)
            async with asyncio.timeout(GUARD), Queue(storage, clock=FakeClock()) as queue:
                desk = Desk(queue, storage, server, schema)
                before = await desk.submit()
                crash = Crash(server, proxy, others=others)
                proxy.arm("before", crash)
                id_ = await desk.submit()
                if others:
                    assert crash.first_after <= crash.lost < crash.first_after + others, "its number is another's now"
                assert desk.rows("SELECT id FROM moxlib_message ORDER BY id") == [(before,), (id_,)]
    finally:
        proxy.close()


# sessions that the server ends


class Ending:
    """Has the server end the session of each connection that runs the n-th statement, before or after that."""

    def __init__(self, server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self._server = server
        self._left: int | None = None
        self._lock = threading.Lock()
        self.ended = 0
        for name in ("execute", "executemany"):  # connections run theirs by these, too
            monkeypatch.setattr(psycopg.Cursor, name, self._counting(getattr(psycopg.Cursor, name)))

    def arm(self, number: int | None) -> None:
        self._left = number

    def _counting(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def counted(cursor: psycopg.Cursor[Any], *args: Any, **options: Any) -> Any:
            if self._is_it():
                self._end(cursor.connection.info.backend_pid)
            return original(cursor, *args, **options)

        return counted

    def _is_it(self) -> bool:
        with self._lock:
            if self._left is None:
                return False
            self._left -= 1
            if self._left >= 0:
                return False
            self._left = None
            self.ended += 1
            return True

    def _end(self, pid: int) -> None:
        with psycopg.connect(self._server.url, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
            # It could wait by itself, but looks only every tenth of a second.
            while connection.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone():
                pass


class Counting:
    """A transport that counts what it was given."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        self.taken += [message.id for message in delivery.messages]
        return [Delivered()] * len(delivery.messages)


async def test_a_session_that_ends_before_any_statement_costs_nothing(
    postgres_server: PostgresServer, postgres_url: str, postgres_schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the submit of a message to its end in the history, once for each statement that is run on the way."""
    peer = Counting()
    storage = PostgresStorage(postgres_url, schema=postgres_schema)
    ids: list[int] = []
    async with asyncio.timeout(2 * GUARD), Queue(storage, transports={"peer": peer}) as queue:
        ending = Ending(postgres_server, monkeypatch)
        desk = Desk(queue, storage, postgres_server, postgres_schema)
        while ending.ended == len(ids):  # till one has got through
            ending.arm(len(ids))
            ids.append(await desk.submit())
            async with queue.worker() as worker:
                await worker.wait_idle()
            ending.arm(None)
            assert peer.taken == ids
            assert desk.rows("SELECT message, type FROM moxlib_event ORDER BY id") == [
                (id_, "delivered") for id_ in ids
            ]
    assert len(ids) > 15, "there are that many statements"
    assert desk.rows("SELECT id, attempts FROM moxlib_retired ORDER BY id") == [(id_, 1) for id_ in ids]
    for table in ("message", "content", "worker", "slot"):
        assert desk.count(table) == 0


async def test_a_session_that_ends_while_it_commits_has_committed(desk: Desk, postgres_server: PostgresServer) -> None:
    """It waits for a replica that there is not: that the server ends it changes nothing of its commit."""
    committing = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    with waiting_for_a_replica(postgres_server):
        submitting = asyncio.create_task(desk.submit())
        while not (found := await asyncio.to_thread(postgres_server.execute, committing)):  # noqa: ASYNC110 - a server
            await asyncio.sleep(0.01)
        assert not submitting.done()
        [[pid]] = found
        postgres_server.execute("SELECT pg_terminate_backend(%s)", pid)
    id_ = await submitting
    assert desk.rows("SELECT id FROM moxlib_message") == [(id_,)]


@contextmanager
def waiting_for_a_replica(server: PostgresServer) -> Iterator[None]:
    """Let commits wait for a standby server."""
    try:
        server.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        server.execute("SELECT pg_reload_conf()")
        yield
    finally:
        server.execute("ALTER SYSTEM RESET synchronous_standby_names")
        server.execute("SELECT pg_reload_conf()")
