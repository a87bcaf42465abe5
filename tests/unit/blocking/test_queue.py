"""The queue from threads: all of the API, opened and closed, interrupted, and in the caller's own transaction."""

import gc
import signal
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from moxlib.blocking import Queue
from moxlib.errors import StateError
from moxlib.queue import (
    InvalidFilter,
    InvalidSubmission,
    MessageFilter,
    QueueClosed,
    QueueConfig,
    RecipientLimitReached,
    SendingLimits,
    Sent,
    Submission,
)
from moxlib.queue.submission import NewSubmission
from moxlib.testing import FakeClock, MemoryStorage, RecordingTransport

if TYPE_CHECKING:
    from tests.unit.blocking.conftest import Depot


def test_a_message_goes_in_is_looked_at_and_goes_out(depot: "Depot") -> None:
    with depot.queue() as queue:
        [receipt] = depot.submit(queue, extra={"invoice": "17"})
        message = queue.get(receipt.id)
        assert message is not None
        assert (message.recipient, message.extra) == ("a@one.example", {"invoice": "17"})
        assert queue.list_messages().items == (message,)
        with queue.worker() as worker:
            worker.wait_idle()
        assert queue.count_messages() == 0
        retired = queue.get_retired(receipt.id)
        assert retired is not None
        assert queue.list_history().items == (retired,)
        assert "delivered" in str(queue.explain(receipt.id))
        assert [event.message for event in queue.list_events()] == [receipt.id]
    assert len(depot.transport.delivered("a@one.example")) == 1


def test_events_are_followed_by_one_thread_while_another_makes_them(depot: "Depot") -> None:
    heard: list[int] = []
    with depot.queue() as queue, queue.on_event(lambda event: heard.append(event.id)):
        taken: list[int] = []

        def follow() -> None:
            for event in queue.events(after=0):
                taken.append(event.id)
                if len(taken) == 2:
                    return

        follower = threading.Thread(target=follow)
        follower.start()
        for _ in range(2):
            depot.submit(queue)
            queue.drop(MessageFilter())
        follower.join(30)
        assert taken == [1, 2]
        assert (queue.last_event(), queue.count_webhooks(), queue.webhook_endpoints()) == (2, 0, ())
        while len(heard) < 2:
            queue.last_event()
    assert heard == [1, 2]


def test_what_an_account_sends_is_limited(depot: "Depot") -> None:
    limits = SendingLimits(messages_per_day=2, first_time_recipients_per_day=1)
    with depot.queue() as queue:
        depot.submit(queue, "a@one.example", account="shop", limits=limits)
        queue.check_sending_limits("a@one.example", account="shop", limits=limits)
        with pytest.raises(RecipientLimitReached):
            queue.check_sending_limits("b@one.example", account="shop", limits=limits)
        with pytest.raises(RecipientLimitReached):
            depot.submit(queue, "b@one.example", account="shop", limits=limits)
        assert queue.sent_in_a_day("shop") == Sent(recipients=1, first_time=1)


def test_operating_returns_what_the_async_queue_does(depot: "Depot") -> None:
    with depot.queue() as queue:
        depot.submit(queue, "a@one.example", "b@two.example")
        everything = MessageFilter()
        assert queue.hold(everything) == 2
        assert queue.release(everything) == 2
        rule, held = queue.add_hold_rule(recipient_domain="two.example")
        assert held == 1
        assert queue.hold_rules() == (rule,)
        assert queue.remove_hold_rule(rule)
        assert queue.drop(everything) == 2


def test_many_threads_submit_at_once(depot: "Depot", threads: ThreadPoolExecutor) -> None:
    together = threading.Barrier(16)

    def submit(number: int) -> list[Submission]:
        together.wait()
        return [depot.submit(queue, f"{number}-{each}@one.example")[0] for each in range(5)]

    with depot.queue() as queue, queue.worker() as worker:
        receipts = [receipt for done in threads.map(submit, range(16)) for receipt in done]
        worker.wait_idle()
        assert {receipt.id for receipt in receipts} == set(range(1, 81))
        assert queue.count_messages() == 0
        assert queue.count_history() == 80
    assert len({r for recorded in depot.transport.recorded for r in recorded.delivery.recipients}) == 80


def test_dump_is_a_plain_iterator(depot: "Depot") -> None:
    with depot.queue() as queue:
        [receipt] = depot.submit(queue)
        dumped = queue.dump(receipt.id)
        assert b"".join(dumped).endswith(b"\r\n\r\nhello\r\n")
        assert list(dumped) == []
        with pytest.raises(InvalidFilter):
            next(queue.dump(receipt.id + 1))


def test_an_error_has_its_type_and_shows_where_it_was_made(depot: "Depot") -> None:
    with depot.queue() as queue, pytest.raises(InvalidSubmission, match="no recipients") as caught:
        queue.submit(b"From: a@here.example\r\n\r\n\r\n")
    names = [entry.name for entry in caught.traceback]
    assert names[0] == "test_an_error_has_its_type_and_shows_where_it_was_made"
    assert "prepare" in names


# opening and closing


def test_a_queue_that_is_not_open_says_so(depot: "Depot") -> None:
    queue = depot.queue()
    with pytest.raises(QueueClosed, match="not open"):
        queue.get(1)
    with queue:
        assert queue.get(1) is None
    with pytest.raises(QueueClosed, match="closed"):
        queue.get(1)
    with pytest.raises(QueueClosed, match="closed"), queue.worker():
        pytest.fail("no worker runs in a closed queue")


def test_it_can_be_opened_without_a_block_and_closed_twice(depot: "Depot") -> None:
    queue = depot.queue().start()
    [receipt] = depot.submit(queue)
    with pytest.raises(StateError, match="open already"):
        queue.start()
    queue.close()
    queue.close()
    with queue:  # as with the async one, it may be opened again
        assert queue.get(receipt.id) is not None


def test_what_opening_raises_is_raised_and_leaves_nothing_open(tmp_path: Path) -> None:
    before = threading.active_count()
    queue = Queue.open(tmp_path)  # a directory
    with pytest.raises(OSError, match=str(tmp_path)):
        queue.start()
    assert threading.active_count() == before
    with pytest.raises(QueueClosed):
        queue.get(1)


def test_open_takes_what_the_async_one_takes(tmp_path: Path) -> None:
    config = QueueConfig(hostname="here.example")
    with Queue.open(tmp_path / "mail.db", config=config, clock=FakeClock(), transactions="loop") as queue:
        assert queue.config is config
        assert isinstance(queue, Queue)
    with pytest.raises(TypeError):
        Queue.open(tmp_path / "mail.db", spam=True)  # type: ignore[call-arg]


def test_a_subclass_opens_as_itself(tmp_path: Path) -> None:
    class Shop(Queue):
        pass

    assert isinstance(Shop.open(tmp_path / "mail.db"), Shop)


def test_closing_leaves_no_thread(depot: "Depot") -> None:
    before = threading.active_count()
    with depot.queue() as queue:
        [receipt] = depot.submit(queue)
        list(queue.dump(receipt.id))
    assert threading.active_count() == before


def test_a_queue_that_nothing_refers_to_is_closed(tmp_path: Path) -> None:
    queue = Queue.open(tmp_path / "mail.db").start()
    portal, _ = queue._reach()
    del queue
    gc.collect()
    assert portal.closed
    portal.close()  # for the handler at exit, which is all that holds it now


def test_a_worker_keeps_its_queue_open(tmp_path: Path) -> None:
    queue = Queue.open(tmp_path / "mail.db").start()
    portal, _ = queue._reach()
    worker = queue.worker().__enter__()
    del queue
    gc.collect()
    assert not portal.closed
    worker.wait_idle()
    portal.close()


def test_in_the_queues_own_thread_a_call_is_an_error(depot: "Depot") -> None:
    raised: list[Exception] = []

    def call() -> None:
        for method in (queue.count_messages, queue.close, queue.worker().__enter__):
            with pytest.raises(StateError, match="own event loop") as caught:
                method()
            raised.append(caught.value)

    depot.listener.on_submitted = call
    with depot.queue() as queue:
        depot.submit(queue)
    assert len(raised) == 3


# interrupted


class Stalling(MemoryStorage):
    """Storage that interrupts the main thread when it should store, and then takes for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.cancelled = False

    async def insert(self, submission: NewSubmission) -> tuple[Submission, ...]:
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)
        try:
            await self.never()
        except BaseException:
            self.cancelled = True
            raise
        raise AssertionError

    @staticmethod
    async def never() -> None:
        await RecordingTransport().until_hanging()


def test_ctrl_c_cancels_what_the_main_thread_waits_for(depot: "Depot") -> None:
    storage = Stalling()
    with depot.queue(storage=storage) as queue:
        with pytest.raises(KeyboardInterrupt):
            depot.submit(queue)
        assert storage.cancelled
        assert queue.count_messages() == 0  # it works on


# in the caller's transaction


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """A database that an application shares with its queue."""
    with Queue.open(tmp_path / "mail.db"), closing(sqlite3.connect(tmp_path / "mail.db")) as connection:
        connection.execute("CREATE TABLE orders (number INTEGER)")
    return tmp_path / "mail.db"


MAIL = b"From: s@here.example\r\nTo: a@one.example\r\nDate: x\r\nMessage-ID: <1@x>\r\n\r\nhello\r\n"


def test_a_connection_of_the_calling_thread_is_used_in_it(orders: Path) -> None:
    with Queue.open(orders) as queue, closing(sqlite3.connect(orders)) as connection:  # refuses any other thread
        connection.execute("INSERT INTO orders VALUES (1)")
        [receipt] = queue.submit(MAIL, connection=connection)
        assert queue.get(receipt.id) is None
        connection.commit()
        assert queue.get(receipt.id) is not None


def test_what_is_rolled_back_was_never_submitted(orders: Path) -> None:
    with Queue.open(orders) as queue, closing(sqlite3.connect(orders)) as connection:
        connection.execute("INSERT INTO orders VALUES (1)")
        queue.submit(MAIL, connection=connection)
        connection.rollback()
        assert queue.count_messages() == 0


def test_threads_submit_each_in_a_transaction_of_its_own(orders: Path, threads: ThreadPoolExecutor) -> None:
    def order(number: int) -> None:
        with closing(sqlite3.connect(orders, timeout=60)) as connection, connection:
            connection.execute("INSERT INTO orders VALUES (?)", (number,))
            queue.submit(MAIL, connection=connection, extra={"order": str(number)})

    with Queue.open(orders) as queue:
        for done in [threads.submit(order, number) for number in range(16)]:
            done.result()
        assert {message.extra["order"] for message in queue.list_messages().items} == set(map(str, range(16)))
