"""Workers behind the portal: in a block, for the life of a process, stopped, failed, and closed over their heads."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import TYPE_CHECKING

import pytest

from moxlib.blocking import Queue
from moxlib.queue import Deferred
from moxlib.queue.storage.claims import ClaimRequest, ClaimResult
from moxlib.testing import Hang, MemoryStorage, RecordingTransport

if TYPE_CHECKING:
    from tests.unit.blocking.conftest import Depot


def test_the_end_of_the_block_lets_attempts_finish(depot: "Depot", threads: ThreadPoolExecutor) -> None:
    depot.transport = RecordingTransport({"a@one.example": Hang()})

    def resume_when_stopped() -> None:
        worker.ended()
        portal.post(depot.transport.resume)

    with depot.queue() as queue:
        portal, _ = queue._reach()
        with queue.worker() as worker:
            [receipt] = depot.submit(queue)
            depot.in_loop(queue, depot.transport.until_hanging)
            resumed = threads.submit(resume_when_stopped)
        assert resumed.result() is None
        assert queue.get_retired(receipt.id) is not None


def test_stopped_it_finishes_what_is_under_way_and_no_more(depot: "Depot") -> None:
    with depot.queue() as queue:
        with queue.worker() as worker:
            assert worker.id == 1
            worker.stop()
            worker.stop()
            worker.ended()
            depot.submit(queue)
        worker.wake()  # late, and without effect
        assert queue.count_messages() == 1


def test_a_deferred_message_stays(depot: "Depot") -> None:
    depot.transport = RecordingTransport(otherwise=Deferred(text="later"))
    with depot.queue() as queue, queue.worker() as worker:
        [receipt] = depot.submit(queue)
        worker.wait_idle()
        message = queue.get(receipt.id)
        assert message is not None
        assert message.attempts == 1


class Broken(MemoryStorage):
    """Storage that fails in a way that nobody has foreseen."""

    async def claim(self, worker: int, request: ClaimRequest) -> ClaimResult:
        raise LookupError("unforeseen")


def test_what_ends_a_worker_is_raised_at_the_end_of_its_block(depot: "Depot") -> None:
    with depot.queue(storage=Broken()) as queue:
        with pytest.raises(LookupError, match="unforeseen"), queue.worker() as worker:
            worker.ended()
        assert queue.count_messages() == 0


class BrokenLater(MemoryStorage):
    """Storage that fails at the second look of a worker, which is made when someone waits for it to be idle."""

    looks = 0

    async def claim(self, worker: int, request: ClaimRequest) -> ClaimResult:
        self.looks += 1
        if self.looks == 2:
            raise LookupError("unforeseen")
        return await super().claim(worker, request)


def test_waiting_for_idle_ends_when_the_worker_does(depot: "Depot") -> None:
    with depot.queue(storage=BrokenLater()) as queue:
        with pytest.raises(LookupError, match="unforeseen"), queue.worker() as worker:
            worker.wait_idle()
        assert queue.count_messages() == 0


def test_closing_the_queue_drains_a_worker_whose_block_goes_on(depot: "Depot") -> None:
    with depot.queue() as queue:
        [receipt] = depot.submit(queue)
        with queue.worker() as worker:
            worker.wait_idle()
            queue.close()
    with queue:
        assert queue.get_retired(receipt.id) is not None


# run_worker


def running(depot: "Depot", queue: Queue) -> None:
    """Submit, and wait until a worker has delivered it."""
    delivered = threading.Event()
    depot.listener.on_attempted = delivered.set
    depot.submit(queue)
    delivered.wait()


def test_run_worker_in_a_thread_ends_when_the_queue_is_closed(depot: "Depot", threads: ThreadPoolExecutor) -> None:
    with depot.queue() as queue:
        done = threads.submit(queue.run_worker)
        running(depot, queue)
    done.result()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_run_worker_raises_what_ended_it(depot: "Depot") -> None:
    with depot.queue(storage=Broken()) as queue, pytest.raises(LookupError, match="unforeseen"):
        queue.run_worker()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_worker_in_the_main_thread_ends_at_a_signal(depot: "Depot", number: signal.Signals) -> None:
    def handler(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError("the handler of before is not in force")

    def ask_twice() -> None:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)

    depot.listener.on_attempted = ask_twice
    before = signal.signal(number, handler)
    try:
        with depot.queue() as queue:
            depot.submit(queue)
            queue.run_worker()
            assert signal.getsignal(number) is handler
            assert queue.count_messages() == 0
    finally:
        signal.signal(number, before)


class Alarm(Exception):  # no OSError: asyncio overlooks those, should the signal come just as it wakes its loop
    """What a signal handler raises."""


def test_what_a_signal_handler_raises_ends_run_worker(depot: "Depot") -> None:
    def handler(_number: int, _frame: FrameType | None) -> None:
        raise Alarm

    depot.listener.on_attempted = lambda: os.kill(os.getpid(), signal.SIGALRM)
    before = signal.signal(signal.SIGALRM, handler)
    try:
        with depot.queue() as queue:
            depot.submit(queue)
            with pytest.raises(Alarm):
                queue.run_worker()
            assert queue.count_history() == 1
    finally:
        signal.signal(signal.SIGALRM, before)
