"""How the worker runs: limits, fairness, damage, draining, cancellation, trouble with the disk, leases."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from moxlib.errors import StateError, StorageError
from moxlib.queue import (
    ContentDamaged,
    Deferred,
    Delivered,
    Delivery,
    DomainConfig,
    EventType,
    MessageFilter,
    Outcome,
    Queue,
    QueueConfig,
    ResultKind,
    State,
    StorageFull,
    WorkerConfig,
)
from moxlib.queue.worker.widening import FEW, TICK_SECONDS
from moxlib.testing import FakeClock

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Depot

ALL = MessageFilter()
MAIL = b"From: s@here.example\r\nTo: a@one.example\r\nDate: x\r\nMessage-ID: <1@x>\r\n\r\nhello\r\n"
LARGE = MAIL + (b"y" * 76 + b"\r\n") * 1000
QUICK = WorkerConfig(settle_gather=timedelta(0))
GUARD = 60  # seconds after which a test that hangs fails instead


async def turns(count: int = 300) -> None:
    """Let everything run that can."""
    for _ in range(count):
        await asyncio.sleep(0)


def kinds(results: Sequence[Any]) -> list[str]:
    return [result.kind.value for result in results]


def count_calls(storage: Any, method: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Awaitable[None]]:
    """Return a function that waits until a storage's method has returned so often."""
    original = getattr(storage, method)
    calls = 0
    called = asyncio.Condition()

    async def counted(*args: Any, **options: Any) -> Any:
        nonlocal calls
        try:
            return await original(*args, **options)
        finally:
            async with called:
                calls += 1
                called.notify_all()

    async def wait(count: int) -> None:
        async with asyncio.timeout(60), called:
            await called.wait_for(lambda: calls >= count)

    monkeypatch.setattr(storage, method, counted)
    return wait


# limits and fairness


async def test_no_more_deliveries_at_once_than_configured(depot: "Depot") -> None:
    domains = {"two.example": DomainConfig(concurrency=5)}
    async with depot.queue(concurrency=3, domains=domains) as queue:
        for n in range(40):
            await depot.submit(queue, f"a{n}@one.example", f"a{n}@two.example")
        depot.sink.gate.clear()
        async with queue.worker() as worker:
            await depot.sink.began(8)
            await turns()
            assert depot.sink.active == {"one.example": 3, "two.example": 5}
            depot.sink.gate.set()
            await worker.wait_idle()
    assert depot.sink.peak == {"one.example": 3, "two.example": 5}
    assert len(depot.sink.deliveries) == 80


async def test_a_destination_begins_with_few_deliveries_and_gets_more_while_they_last(
    depot: "Depot", monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks: list[Callable[[], None]] = []
    loop = asyncio.get_running_loop()
    original = loop.call_later

    def call_later(delay: float, callback: Callable[..., Any], *args: Any, **options: Any) -> asyncio.TimerHandle:
        if delay == TICK_SECONDS:
            ticks.append(partial(callback, *args))
            delay = 3600
        return original(delay, callback, *args, **options)

    monkeypatch.setattr(loop, "call_later", call_later)
    monkeypatch.setattr("moxlib.queue.worker.widening.FEW", FEW)
    async with depot.queue(concurrency=10) as queue:
        for n in range(20):
            await depot.submit(queue, f"a{n}@one.example")
        depot.sink.gate.clear()
        async with queue.worker() as worker:
            for count in (FEW, 2 * FEW, 4 * FEW, 10):
                while depot.sink.active["one.example"] < count and ticks:
                    ticks.pop()()
                    await turns()
                await depot.sink.began(count)
                assert depot.sink.active["one.example"] == count
            ticks.pop()()
            assert not ticks  # it has all that it may have
            depot.sink.gate.set()
            await worker.wait_idle()
    assert depot.sink.peak == {"one.example": 10}
    assert len(depot.sink.deliveries) == 20


async def test_the_limit_holds_for_all_workers_together(disk: "Depot") -> None:
    async with disk.queue(concurrency=4) as one, disk.queue(concurrency=4) as two:
        for n in range(60):
            await disk.submit(one, f"a{n}@one.example")
        disk.sink.gate.clear()
        async with one.worker() as worker, two.worker() as other:
            await disk.sink.began(4)
            await turns()
            assert disk.sink.active["one.example"] == 4
            disk.sink.gate.set()
            await worker.wait_idle()
            await other.wait_idle()
            while (due := await one.next_due()) is not None:  # slots that were taken are looked at a second later
                disk.clock.set(max(due, disk.clock.now()))
                await worker.wait_idle()
                await other.wait_idle()
    assert disk.sink.peak["one.example"] <= 4
    assert sorted(disk.sink.recipients) == sorted((f"a{n}@one.example",) for n in range(60))


async def test_a_domain_that_stalls_does_not_delay_another(depot: "Depot") -> None:
    depot.sink.stalls = lambda delivery: delivery.destination == "slow.example"
    depot.sink.gate.clear()
    async with depot.queue(concurrency=2) as queue:
        for n in range(300):
            await depot.submit(queue, f"a{n}@slow.example")
        async with queue.worker() as worker:
            await depot.sink.began(2)
            [receipt] = await depot.submit(queue, "b@quick.example")
            await depot.ear.heard("attempted")
            assert depot.sink.recipients[-1] == ("b@quick.example",)
            depot.sink.gate.set()
            await worker.wait_idle()
            assert (await depot.retired(queue, receipt.id)).success


async def test_a_backlog_does_not_delay_a_new_message(depot: "Depot") -> None:
    settings = WorkerConfig(max_claimed=40, claim_batch=40, settle_gather=timedelta(0))
    async with depot.queue(worker=settings) as queue:
        for n in range(400):
            await depot.submit(queue, f"a{n}@big.example")
        await depot.submit(queue, "b@small.example")
        await depot.idle(queue)
    order = [recipient for [recipient] in depot.sink.recipients]
    assert order.index("b@small.example") < 45
    assert len(order) == 401


async def test_a_full_worker_claims_again_once_it_has_room_for_half_a_batch(depot: "Depot") -> None:
    settings = WorkerConfig(max_claimed=8, claim_batch=2, settle_gather=timedelta(0))
    first, others = asyncio.Event(), asyncio.Event()
    async with depot.queue(worker=settings) as queue, queue.worker() as worker:
        depot.sink.gate = first
        await depot.submit(queue, "a@d0.example")
        await depot.sink.began(1)
        depot.sink.gate = others
        for n in range(1, 12):
            await depot.submit(queue, f"a@d{n}.example")
        await depot.sink.began(8)
        await turns()  # it looks, and has no room
        first.set()
        try:
            await depot.sink.began(9)
        finally:
            others.set()
        await worker.wait_idle()


async def test_messages_of_a_destination_go_in_due_order(depot: "Depot") -> None:
    async with depot.queue(concurrency=1) as queue:
        for n in range(60):
            await depot.submit(queue, f"a{n}@one.example")
        await depot.idle(queue)
    assert [recipient for [recipient] in depot.sink.recipients] == [f"a{n}@one.example" for n in range(60)]


async def test_what_is_submitted_meanwhile_is_delivered_without_waiting_for_the_poll(depot: "Depot") -> None:
    async with depot.queue() as queue, queue.worker() as worker:
        await worker.wait_idle()
        await depot.submit(queue)
        await depot.sink.began(1)
        await worker.wait_idle()
    assert depot.clock.monotonic() == 0


async def test_what_another_process_submits_is_found_at_the_next_poll(disk: "Depot") -> None:
    async with disk.queue() as queue, disk.queue() as other, queue.worker() as worker:
        await worker.wait_idle()
        await disk.submit(other)
        await disk.clock.advance(1)
        await disk.sink.began(1)
        await worker.wait_idle()


# damage


def change_row(disk: "Depot", change: Callable[[bytes], bytes]) -> None:
    with closing(sqlite3.connect(disk.directory / "mail.db")) as connection, connection:
        [(id_, body)] = connection.execute(
            "SELECT submission, body FROM moxlib_content WHERE submission = 1"
        ).fetchall()
        connection.execute("UPDATE moxlib_content SET body = ? WHERE submission = ?", (change(body), id_))


def change_file(disk: "Depot", change: Callable[[bytes], bytes]) -> None:
    [file] = (disk.directory / "mail.db.content").iterdir()
    file.write_bytes(change(file.read_bytes()))


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "a bit flipped": lambda body: body[:70] + bytes([body[70] ^ 1]) + body[71:],
    "cut short": lambda body: body[:-10],
    "longer": lambda body: body + b"x",
    "empty": lambda body: b"",
}


FINDINGS = {
    **{("row", case): "does not match its length and SHA-256" for case in CHANGES},
    ("file", "a bit flipped"): "does not match its SHA-256",
    ("file", "cut short"): "bytes too early",
    ("file", "longer"): "is longer than what was stored",
    ("file", "empty"): "bytes too early",
}
"""By place and change: what is told of it."""


@pytest.mark.parametrize("where", ["row", "file"])
@pytest.mark.parametrize("case", CHANGES)
async def test_damaged_content_is_quarantined_and_nothing_else_is(disk: "Depot", case: str, where: str) -> None:
    mail, change = (MAIL, change_row) if where == "row" else (LARGE, change_file)
    async with disk.queue() as queue:
        damaged = await queue.submit(mail, recipients=["a@one.example", "b@two.example"])
        [other] = await queue.submit(MAIL, recipients=["c@one.example"])
        change(disk, CHANGES[case])
        await disk.empty(queue)
        assert disk.sink.recipients == [("c@one.example",)]
        assert (await disk.retired(queue, other.id)).success
        for receipt in damaged:
            message = await disk.message(queue, receipt.id)
            assert (message.hold, message.attempts, kinds(message.results)) == (True, 1, ["quarantined"])
            assert FINDINGS[where, case] in message.quarantine
            explanation = await queue.explain(receipt.id)
            assert explanation is not None
            assert explanation.state is State.QUARANTINED
            with pytest.raises(ContentDamaged):
                await disk.dumped(queue, receipt.id)
        types = [event.type for event in await queue.list_events()]
        assert sorted(types) == [EventType.DELIVERED, EventType.QUARANTINED, EventType.QUARANTINED]
        assert await queue.count_messages(MessageFilter(quarantined=True)) == 2

        # Released as it is, it is looked at again, and quarantined again.
        assert await queue.release(MessageFilter(quarantined=True)) == 2
        await disk.empty(queue)
        assert await queue.count_messages(MessageFilter(quarantined=True)) == 2

        # Mended and released, it is delivered.
        change(disk, lambda _: mail)
        await queue.release(ALL)
        await disk.empty(queue)
        assert [(await disk.retired(queue, receipt.id)).success for receipt in damaged] == [True, True]
        assert disk.sink.contents == [MAIL, mail, mail]


async def test_a_missing_file_is_quarantined(disk: "Depot") -> None:
    async with disk.queue() as queue:
        [receipt] = await queue.submit(LARGE)
        [file] = (disk.directory / "mail.db.content").iterdir()
        file.unlink()
        await disk.empty(queue)
        message = await disk.message(queue, receipt.id)
        assert "No such file" in message.quarantine
        file.write_bytes(LARGE)
        await queue.release(ALL)
        await disk.empty(queue)
        assert (await disk.retired(queue, receipt.id)).success


async def test_damage_found_at_the_last_attempt_can_be_mended_and_released(disk: "Depot") -> None:
    async with disk.queue() as queue:
        [receipt] = await queue.submit(MAIL, max_attempts=1)
        change_row(disk, lambda body: body + b"x")
        await disk.empty(queue)
        change_row(disk, lambda body: body[:-1])
        await queue.release(ALL)
        await disk.empty(queue)
        assert kinds((await disk.retired(queue, receipt.id)).results) == ["quarantined", "delivered"]


async def test_a_row_without_content_is_quarantined(disk: "Depot") -> None:
    async with disk.queue() as queue:
        [receipt] = await queue.submit(LARGE)
        with closing(sqlite3.connect(disk.directory / "mail.db")) as connection, connection:
            connection.execute("DELETE FROM moxlib_content")
        await disk.empty(queue)
        assert "not in storage" in (await disk.message(queue, receipt.id)).quarantine
        with pytest.raises(ContentDamaged):
            await disk.dumped(queue, receipt.id)


async def test_a_file_cut_short_while_it_is_sent_is_quarantined(disk: "Depot") -> None:
    class Cutting:
        async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
            change_file(disk, lambda body: body[:1000])
            async for _ in delivery.content.chunks():
                pass
            raise AssertionError("the content was not whole")

    async with disk.queue(transports={"cutting": Cutting()}) as queue:
        [receipt] = await queue.submit(LARGE)
        await disk.empty(queue)
        assert "too early" in (await disk.message(queue, receipt.id)).quarantine


async def test_files_that_cannot_be_opened_for_now_are_no_damage(
    disk: "Depot", monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open
    failures = 2

    def open_(self: Path, *args: Any, **options: Any) -> Any:
        nonlocal failures
        if self.parent.name == "mail.db.content" and failures:
            failures -= 1
            raise OSError(24, "Too many open files")
        return opened(self, *args, **options)

    async with disk.queue() as queue:
        [receipt] = await queue.submit(LARGE)
        monkeypatch.setattr(Path, "open", open_)
        async with queue.worker() as worker:
            troubles = []
            for n in range(2):
                troubles = await disk.ear.heard("trouble", n + 1)
                await disk.clock.advance(2)
            await disk.sink.began(1)
            await worker.wait_idle()
        retired = await disk.retired(queue, receipt.id)
    assert all(doing == "reading content" and isinstance(error, StorageError) for doing, error in troubles)
    assert (retired.success, retired.attempts, kinds(retired.results)) == (True, 1, ["delivered"])


# draining


async def test_stopping_lets_running_attempts_finish_and_gives_the_rest_back(depot: "Depot") -> None:
    async with depot.queue(concurrency=2) as queue:
        receipts = [(await depot.submit(queue, f"a{n}@one.example"))[0] for n in range(5)]
        depot.sink.gate.clear()
        async with queue.worker() as worker:
            await depot.sink.began(2)
            worker.stop()
            await turns()
            depot.sink.gate.set()
        assert len(depot.sink.deliveries) == 2
        assert [(await depot.retired(queue, r.id)).success for r in receipts[:2]] == [True, True]
        for receipt in receipts[2:]:
            message = await depot.message(queue, receipt.id)
            assert (message.attempts, message.in_flight, message.results, message.last_attempt) == (0, False, (), None)
        await depot.idle(queue)
        assert await queue.count_messages() == 0


async def test_attempts_that_outlast_the_drain_are_interrupted(depot: "Depot", monkeypatch: pytest.MonkeyPatch) -> None:
    settings = WorkerConfig(drain_timeout=timedelta(seconds=10), settle_gather=timedelta(0))
    storage = depot.make_storage()
    claimed = count_calls(storage, "claim", monkeypatch)
    async with depot.queue(storage=storage, worker=settings, schedule="1m*3") as queue:
        [receipt] = await depot.submit(queue)
        depot.sink.gate.clear()
        async with queue.worker() as worker:
            await depot.sink.began(1)
            await claimed(1)
            await turns()  # until it waits for the poll, so that it hears of the end at once
            worker.stop()
            async with asyncio.timeout(GUARD):
                while depot.sink.active["one.example"]:
                    await depot.clock.advance(0.5)
                    await asyncio.sleep(0.01)  # a claim that a database has in hand ends first
        message = await depot.message(queue, receipt.id)
        assert (message.in_flight, message.hold, kinds(message.results)) == (False, False, ["interrupted"])
        assert message.results[0].duration >= timedelta(seconds=10)
        depot.sink.gate.set()
        await depot.empty(queue)
        assert kinds((await depot.retired(queue, receipt.id)).results) == ["interrupted", "delivered"]


async def test_an_interrupted_last_attempt_is_made_again(depot: "Depot") -> None:
    settings = WorkerConfig(drain_timeout=timedelta(0), settle_gather=timedelta(0))
    async with depot.queue(worker=settings) as queue:
        [receipt] = await depot.submit(queue, max_attempts=1)
        depot.sink.gate.clear()
        async with queue.worker():
            await depot.sink.began(1)
        depot.sink.gate.set()
        await depot.empty(queue)
        assert kinds((await depot.retired(queue, receipt.id)).results) == ["interrupted", "delivered"]


async def test_interrupted_attempts_are_held_when_unknown_ones_are(depot: "Depot") -> None:
    settings = WorkerConfig(drain_timeout=timedelta(0), settle_gather=timedelta(0))
    async with depot.queue(worker=settings, on_unknown="hold") as queue:
        [receipt] = await depot.submit(queue, max_attempts=1)
        depot.sink.gate.clear()
        async with queue.worker():
            await depot.sink.began(1)
        depot.sink.gate.set()
        await depot.empty(queue)
        assert (await depot.message(queue, receipt.id)).hold
        await queue.release(ALL)
        await depot.empty(queue)
        assert kinds((await depot.retired(queue, receipt.id)).results) == ["interrupted", "delivered"]


async def test_a_message_whose_attempts_are_always_interrupted_ends(depot: "Depot") -> None:
    settings = WorkerConfig(drain_timeout=timedelta(0), settle_gather=timedelta(0))
    async with depot.queue(worker=settings, schedule="1m") as queue:
        [receipt] = await depot.submit(queue)
        depot.sink.gate.clear()
        for n in range(100):
            if (due := await queue.next_due()) is None:
                break
            depot.clock.set(max(due, depot.clock.now()))
            async with queue.worker() as worker:
                began = asyncio.create_task(depot.sink.began(n + 1))
                idle = asyncio.create_task(worker.wait_idle())
                await asyncio.wait([began, idle], return_when=asyncio.FIRST_COMPLETED)
                began.cancel()
                idle.cancel()
        retired = await depot.retired(queue, receipt.id)
    assert retired.event is EventType.FAILED
    assert 50 <= len(retired.results) <= 55
    assert "gave up" in retired.results[-1].text


async def test_the_error_of_the_block_passes_as_it_is(depot: "Depot") -> None:
    cause = KeyError("why")
    async with depot.queue() as queue:
        with pytest.raises(ZeroDivisionError) as caught:
            async with queue.worker():
                raise ZeroDivisionError from cause
        assert caught.value.__cause__ is cause
        with pytest.raises(ExceptionGroup, match="mine"):
            async with queue.worker():
                raise ExceptionGroup("mine", [ValueError()])


async def test_an_error_in_the_block_drains_as_its_end_does(depot: "Depot") -> None:
    async with depot.queue() as queue:
        [receipt] = await depot.submit(queue)

        async def block() -> None:
            async with queue.worker():
                await depot.sink.began(1)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await block()
        assert (await depot.retired(queue, receipt.id)).success


@pytest.mark.parametrize("form", ["worker", "run_worker"])
async def test_cancelled_it_drains(depot: "Depot", form: str) -> None:
    async def work(queue: Queue) -> None:
        if form == "run_worker":
            await queue.run_worker()
        else:
            async with queue.worker():
                await asyncio.Event().wait()

    async with depot.queue(concurrency=1) as queue:
        receipts = [(await depot.submit(queue, f"a{n}@one.example"))[0] for n in range(2)]
        depot.sink.gate.clear()
        working = asyncio.create_task(work(queue))
        await depot.sink.began(1)
        working.cancel()
        await turns()
        assert not working.done()
        depot.sink.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await working
        assert (await depot.retired(queue, receipts[0].id)).success
        assert (await depot.message(queue, receipts[1].id)).attempts == 0


async def test_cancelled_twice_it_interrupts(depot: "Depot") -> None:
    async with depot.queue() as queue:
        [receipt] = await depot.submit(queue)
        depot.sink.gate.clear()
        working = asyncio.create_task(queue.run_worker())
        await depot.sink.began(1)
        working.cancel()
        await turns()
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        assert kinds((await depot.message(queue, receipt.id)).results) == ["interrupted"]


class Answering:
    """Goes on, the first time, until it is cancelled, and answers with what it knows: all but one have the message."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.deliveries = 0

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        self.deliveries += 1
        self.began.set()
        if self.deliveries == 1:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        done: list[Outcome] = [Delivered(text="before it was cancelled")] * (len(delivery.messages) - 1)
        return [*done, Deferred(text="cancelled")]


@pytest.mark.parametrize("how", ["drain", "cancelled twice", "a failure elsewhere"])
async def test_what_a_transport_answers_to_a_cancellation_is_settled_and_the_cancellation_goes_on(
    depot: "Depot", monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    sink, broken = Answering(), asyncio.Event()
    storage = depot.make_storage()

    async def watch(_: Callable[[], None]) -> None:
        await broken.wait()
        raise ZeroDivisionError

    monkeypatch.setattr(storage, "watch", watch)
    settings = WorkerConfig(drain_timeout=timedelta(0 if how == "drain" else 3600), settle_gather=timedelta(0))
    options: dict[str, Any] = {"transports": {"sink": sink}, "worker": settings, "concurrency": 1}
    async with depot.queue(storage=storage, **options) as queue, asyncio.timeout(GUARD):
        one, other = await depot.submit(queue, "a@one.example", "b@one.example")
        waiting = [(await depot.submit(queue, f"c{n}@one.example"))[0] for n in range(3)]
        working = asyncio.create_task(queue.run_worker())
        await sink.began.wait()
        match how:
            case "a failure elsewhere":
                broken.set()
            case "cancelled twice":
                working.cancel()
                await turns()
                working.cancel()
            case _:
                working.cancel()
        await asyncio.wait([working])
        with pytest.raises(ZeroDivisionError if how == "a failure elsewhere" else asyncio.CancelledError):
            await working
        assert (await depot.retired(queue, one.id)).results[-1].text == "before it was cancelled"
        assert kinds((await depot.message(queue, other.id)).results) == ["deferred"]
        for receipt in waiting:
            assert (await depot.message(queue, receipt.id)).attempts == 0
        assert sink.deliveries == 1


async def test_cancelled_while_it_registers_it_is_not_known_afterwards(
    depot: "Depot", monkeypatch: pytest.MonkeyPatch
) -> None:
    async with depot.queue() as queue:
        storage = queue._storage
        asked, registered, unregistered = asyncio.Event(), storage.register_worker, storage.unregister_worker
        gone: list[int] = []

        async def registering(*args: Any, **options: Any) -> int:
            asked.set()
            await asyncio.sleep(0)
            return await registered(*args, **options)

        async def unregistering(worker: int, **options: Any) -> Any:
            gone.append(worker)
            return await unregistered(worker, **options)

        monkeypatch.setattr(storage, "register_worker", registering)
        monkeypatch.setattr(storage, "unregister_worker", unregistering)
        working = asyncio.create_task(queue.run_worker())
        await asked.wait()
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        assert len(gone) == 1


async def test_cancelled_while_it_claims_it_gives_back(depot: "Depot", monkeypatch: pytest.MonkeyPatch) -> None:
    storage = depot.make_storage()
    claim = storage.claim
    claimed, go_on = asyncio.Event(), asyncio.Event()

    async def slow(worker: int, request: Any) -> Any:
        result = await claim(worker, request)
        claimed.set()
        await go_on.wait()
        return result

    monkeypatch.setattr(storage, "claim", slow)
    async with depot.queue(storage=storage) as queue:
        [receipt] = await depot.submit(queue)
        working = asyncio.create_task(queue.run_worker())
        await claimed.wait()
        working.cancel()
        await turns()
        working.cancel()
        await turns()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await working
        message = await depot.message(queue, receipt.id)
        assert (message.attempts, message.in_flight, depot.sink.deliveries) == (0, False, [])


async def test_a_queue_is_not_closed_under_a_running_worker(depot: "Depot") -> None:
    async with depot.queue() as queue:
        async with queue.worker():
            with pytest.raises(StateError, match="running"):
                await queue.close()
        with pytest.raises(StateError, match="open already"):
            await queue.__aenter__()


# trouble with the disk


class Refusing:
    """Makes a storage's method raise so often."""

    def __init__(self, storage: Any, method: str, monkeypatch: pytest.MonkeyPatch, times: int = 1_000_000) -> None:
        self.times = times
        original = getattr(storage, method)

        async def refuse(*args: Any, **options: Any) -> Any:
            if self.times > 0:
                self.times -= 1
                raise StorageFull("no space is left")
            return await original(*args, **options)

        monkeypatch.setattr(storage, method, refuse)


async def test_no_outcome_is_lost_while_the_disk_is_full(depot: "Depot", monkeypatch: pytest.MonkeyPatch) -> None:
    storage = depot.make_storage()
    refusing = Refusing(storage, "settle", monkeypatch)
    async with depot.queue(storage=storage) as queue:
        receipts = await depot.submit(queue, "a@one.example", "b@two.example")
        async with queue.worker() as worker:
            troubles = []
            for n in range(4):
                troubles = await depot.ear.heard("trouble", n + 1)
                await depot.clock.advance(5)
            assert await queue.count_messages(MessageFilter(in_flight=True)) == 2
            refusing.times = 0
            await depot.clock.advance(5)
            await worker.wait_idle()
        assert [(await depot.retired(queue, r.id)).success for r in receipts] == [True, True]
    assert len(depot.sink.deliveries) == 2
    assert {doing for doing, _ in troubles} == {"settling attempts"}
    assert all(isinstance(error, StorageFull) for _, error in troubles)


@pytest.mark.parametrize(
    ("method", "doing"),
    [
        ("claim", "claiming messages"),
        ("renew", "renewing the lease"),
        ("purge", "purging history"),
        ("content", "reading content"),
    ],
)
async def test_the_worker_survives_a_full_disk(
    depot: "Depot", monkeypatch: pytest.MonkeyPatch, method: str, doing: str
) -> None:
    storage = depot.make_storage()
    Refusing(storage, method, monkeypatch, times=3)
    async with depot.queue(storage=storage) as queue:
        async with queue.worker() as worker:
            if method == "content":  # too large to come along with a claim
                [receipt] = await queue.submit(MAIL + b"x" * 20_000 + b"\r\n")
            else:
                [receipt] = await depot.submit(queue)
            if method == "renew":
                await depot.clock.advance(20)
            troubles = []
            for n in range(3):
                troubles = await depot.ear.heard("trouble", n + 1)
                await depot.clock.advance(5)
            await depot.sink.began(1)
            await worker.wait_idle()
        retired = await depot.retired(queue, receipt.id)
    assert retired.success
    assert {told for told, _ in troubles} == {doing}
    assert retired.attempts == 1


async def test_a_worker_that_cannot_settle_ends_all_the_same(depot: "Depot", monkeypatch: pytest.MonkeyPatch) -> None:
    storage = depot.make_storage()
    settings = WorkerConfig(drain_timeout=timedelta(seconds=12), settle_gather=timedelta(0))
    refusing = Refusing(storage, "settle", monkeypatch)
    async with depot.queue(storage=storage, worker=settings) as queue:
        [receipt] = await depot.submit(queue)
        working = asyncio.create_task(queue.run_worker())
        await depot.sink.began(1)
        await depot.ear.heard("trouble")
        began = depot.clock.now()
        working.cancel()
        await turns()
        async with asyncio.timeout(GUARD):
            while not working.done():
                await depot.clock.advance(1)
                await asyncio.wait([working], timeout=0.01)  # what a database takes is no time of the clock's
        assert depot.clock.now() - began >= timedelta(seconds=12)
        with pytest.raises(StorageFull):
            await working
        refusing.times = 0
        message = await depot.message(queue, receipt.id)
        assert (message.in_flight, kinds(message.results)) == (False, ["interrupted"])
        await depot.empty(queue)
        assert (await depot.retired(queue, receipt.id)).success


async def test_an_unforeseen_error_ends_the_worker_and_is_told(depot: "Depot", monkeypatch: pytest.MonkeyPatch) -> None:
    storage = depot.make_storage()

    async def broken(*args: Any, **options: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(storage, "settle", broken)
    async with depot.queue(storage=storage) as queue:
        await depot.submit(queue)
        with pytest.raises(ZeroDivisionError):
            await queue.run_worker()


# leases


class Gated:
    """A transport whose deliveries each wait for a gate of their own."""

    def __init__(self, count: int) -> None:
        self.gates = [asyncio.Event() for _ in range(count)]
        self.begun = [asyncio.Event() for _ in range(count)]
        self.calls = 0

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        call = self.calls
        self.calls += 1
        self.begun[call].set()
        await self.gates[call].wait()
        return [Delivered(text=f"call {call}") for _ in delivery.messages]


async def test_a_worker_that_was_given_up_settles_nothing(disk: "Depot") -> None:
    late = FakeClock(disk.clock.now() + timedelta(seconds=61))
    slow = Gated(1)
    async with disk.queue(transports={"slow": slow}) as one, disk.queue(clock=late) as two:
        [receipt] = await disk.submit(one)
        async with one.worker():
            await slow.begun[0].wait()
            await disk.idle(two)  # its lease has run out: taken back, and delivered
            retired = await disk.retired(two, receipt.id)
            assert kinds(retired.results) == ["interrupted", "delivered"]
            slow.gates[0].set()
            [(_, lost)] = await disk.ear.heard("lease_lost")
            assert lost == 1
        assert await disk.retired(two, receipt.id) == retired
        assert len([e for e in await two.list_events() if e.type is EventType.DELIVERED]) == 1


async def test_a_running_worker_keeps_its_lease(disk: "Depot", monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Gated(1)
    storage = disk.make_storage()
    looked = count_calls(storage, "workers", monkeypatch)  # it does so after it has renewed
    async with disk.queue(storage=storage, transports={"slow": slow}) as one, disk.queue() as two:
        [receipt] = await disk.submit(one)
        async with one.worker() as worker:
            await slow.begun[0].wait()
            for n in range(10):
                await disk.clock.advance(20)
                await looked(n + 2)
                await turns()
            await disk.idle(two)
            assert (await disk.message(one, receipt.id)).in_flight
            slow.gates[0].set()
            await worker.wait_idle()
        assert kinds((await disk.retired(one, receipt.id)).results) == ["delivered"]


async def test_a_worker_whose_renewal_took_longer_than_its_lease_takes_nothing_back_from_itself(
    disk: "Depot", monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, storage = Gated(1), disk.make_storage()
    renewing, goes_on = asyncio.Event(), asyncio.Event()
    renew = storage.renew

    async def stalled(worker: int, **when: Any) -> bool:
        renewing.set()
        await goes_on.wait()
        return await renew(worker, **when)

    monkeypatch.setattr(storage, "renew", stalled)
    looked = count_calls(storage, "workers", monkeypatch)
    late = FakeClock(disk.clock.now() + timedelta(seconds=90))
    async with disk.queue(storage=storage, transports={"slow": slow}) as queue, disk.queue(clock=late) as other:
        [receipt] = await disk.submit(queue)
        async with queue.worker() as worker:
            await slow.begun[0].wait()
            await disk.clock.advance(20)
            await renewing.wait()
            await disk.clock.advance(70)
            goes_on.set()
            await looked(2)
            await turns()
            await disk.idle(other)  # for others too it has its lease
            slow.gates[0].set()
            await worker.wait_idle()
        assert kinds((await disk.retired(queue, receipt.id)).results) == ["delivered"]


async def test_a_worker_whose_clock_was_set_forward_takes_nothing_back_from_itself(
    disk: "Depot", monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, storage = Gated(1), disk.make_storage()
    looked = count_calls(storage, "workers", monkeypatch)
    renew = storage.renew

    async def before_the_step(worker: int, **when: Any) -> bool:
        renewed = await renew(worker, **when)
        monkeypatch.setattr(disk.clock, "now", lambda: type(disk.clock).now(disk.clock) + timedelta(hours=1))
        return renewed

    monkeypatch.setattr(storage, "renew", before_the_step)
    async with disk.queue(storage=storage, transports={"slow": slow}) as queue:
        [receipt] = await disk.submit(queue)
        async with queue.worker() as worker:
            await slow.begun[0].wait()
            await disk.clock.advance(20)
            await looked(2)
            await turns()
            slow.gates[0].set()
            await worker.wait_idle()
        assert kinds((await disk.retired(queue, receipt.id)).results) == ["delivered"]


async def test_a_message_claimed_again_is_not_settled_by_the_attempt_before(
    disk: "Depot", monkeypatch: pytest.MonkeyPatch
) -> None:
    gated = Gated(2)
    storage = disk.make_storage()
    registered = count_calls(storage, "register_worker", monkeypatch)
    async with disk.queue(storage=storage, transports={"gated": gated}) as queue:
        [receipt] = await disk.submit(queue)
        async with queue.worker() as worker:
            await gated.begun[0].wait()
            first = worker.id
            assert await storage.take_back(now=disk.clock.now(), dead=[first]) == (first,)
            await disk.clock.advance(20)  # it renews, finds that its lease is gone, and starts anew
            await registered(2)
            await turns()
            assert worker.id > first
            gated.gates[0].set()
            await gated.begun[1].wait()
            await disk.ear.heard("lease_lost")
            assert (await disk.message(queue, receipt.id)).in_flight
            gated.gates[1].set()
            await worker.wait_idle()
        retired = await disk.retired(queue, receipt.id)
    assert [(r.kind.value, r.text) for r in retired.results if r.kind is ResultKind.DELIVERED] == [
        ("delivered", "call 1")
    ]
    assert kinds(retired.results) == ["interrupted", "delivered"]


async def test_what_waited_in_a_worker_that_lost_its_lease_is_not_delivered_by_it(
    disk: "Depot", monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = disk.make_storage()
    registered = count_calls(storage, "register_worker", monkeypatch)
    disk.sink.gate.clear()
    async with disk.queue(storage=storage, concurrency=1) as queue:
        receipts = [(await disk.submit(queue, f"a{n}@one.example"))[0] for n in range(3)]
        async with queue.worker() as worker:
            await disk.sink.began(1)
            await storage.take_back(now=disk.clock.now(), dead=[worker.id])
            await queue.hold(ALL)
            first = worker.id
            await disk.clock.advance(20)
            await registered(2)
            await turns()
            assert worker.id > first
            disk.sink.gate.set()
            await worker.wait_idle()
        assert len(disk.sink.deliveries) == 1
        assert [(await disk.message(queue, r.id)).in_flight for r in receipts] == [False] * 3


async def test_a_worker_that_slept_through_its_lease_asks_before_it_delivers(disk: "Depot") -> None:
    disk.sink.gate.clear()
    late = FakeClock(disk.clock.now() + timedelta(seconds=61))
    async with disk.queue(concurrency=1) as one, disk.queue(clock=late, transports={"x": disk.sink}) as two:
        for n in range(3):
            await disk.submit(one, f"a{n}@one.example")
        async with one.worker() as worker:
            await disk.sink.began(1)
            await two.hold(ALL)
            await disk.idle(two)  # takes back what the sleeper had
            disk.clock.set(disk.clock.now() + timedelta(seconds=61))  # all at once, as after a suspended machine
            disk.sink.gate.set()
            await disk.ear.heard("lease_lost")
            await worker.wait_idle()
    assert len(disk.sink.deliveries) == 1


# several


async def test_two_queues_in_one_process_do_not_mix(disk: "Depot") -> None:
    sinks = [type(disk.sink)() for _ in range(2)]
    queues = [
        Queue.open(
            disk.directory / f"{n}.db", transports={"s": sink}, clock=disk.clock, config=QueueConfig(worker=QUICK)
        )
        for n, sink in enumerate(sinks)
    ]
    async with queues[0], queues[1], queues[0].worker() as one, queues[1].worker() as two:
        await disk.submit(queues[0], "a@one.example")
        await disk.submit(queues[1], "b@one.example")
        await one.wait_idle()
        await two.wait_idle()
    assert [sink.recipients for sink in sinks] == [[("a@one.example",)], [("b@one.example",)]]


class Plain:
    """A transport without anything of an event loop."""

    def __init__(self) -> None:
        self.recipients: list[str] = []

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        self.recipients += delivery.recipients
        return [Delivered()] * len(delivery.messages)


@pytest.mark.parametrize("transactions", ["thread", "loop"])
def test_two_event_loops_in_a_row(tmp_path: Path, transactions: Any) -> None:
    plain = Plain()
    queue = Queue.open(
        tmp_path / "mail.db",
        transports={"plain": plain},
        clock=FakeClock(),
        config=QueueConfig(worker=QUICK),
        transactions=transactions,
    )

    async def once(recipient: str) -> None:
        async with queue, queue.worker() as worker:
            await queue.submit(MAIL, recipients=[recipient])
            await worker.wait_idle()
            assert await queue.count_messages() == 0

    asyncio.run(once("a@one.example"))
    asyncio.run(once("b@one.example"))
    assert plain.recipients == ["a@one.example", "b@one.example"]


async def test_two_queues_on_one_file_submit_and_deliver_together(disk: "Depot") -> None:
    async with disk.queue() as one, disk.queue() as two, one.worker() as first, two.worker() as second:
        await asyncio.gather(
            *(disk.submit(one if n % 2 else two, f"a{n}@d{n % 7}.example") for n in range(100)),
        )
        for _ in range(3):
            await disk.clock.advance(1)
            await first.wait_idle()
            await second.wait_idle()
        assert await one.count_messages() == 0
        assert await two.count_history() == 100
    assert len(disk.sink.deliveries) == 100
    assert len(set(disk.sink.recipients)) == 100


async def test_two_workers_of_one_queue(depot: "Depot") -> None:
    async with depot.queue() as queue, queue.worker() as one, queue.worker() as two:
        assert one.id != two.id
        for n in range(20):
            await depot.submit(queue, f"a{n}@d{n}.example")
        await one.wait_idle()
        await two.wait_idle()
        await depot.ear.heard("attempted", 20)
    assert len(set(depot.sink.recipients)) == len(depot.sink.deliveries) == 20
