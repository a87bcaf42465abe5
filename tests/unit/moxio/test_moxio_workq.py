"""WorkQueue and AsyncWorkQueue: order, bounds, errors, the end."""

# ruff: noqa: PT012 - how a block is left is what is tested
# ruff: noqa: ASYNC110 - turns of the loop, not time, are waited for

import asyncio
import threading
from collections.abc import Callable

import pytest

from moxlib.errors import InputError, StateError
from moxlib.moxio import AsyncWorkQueue, WorkQueue

PATIENCE = 60  # seconds until a test that would hang fails


def raise_for(bad: int) -> Callable[[int], int]:
    def prepare(item: int) -> int:
        if item == bad:
            raise ZeroDivisionError(item)
        return item * 10

    return prepare


def test_results_are_processed_in_order_in_the_callers_thread() -> None:
    turns = [threading.Event() for _ in range(4)]

    def prepare(item: int) -> int:
        if item < 3:  # the later ones are ready first
            assert turns[item + 1].wait(PATIENCE)
        turns[item].set()
        return item * 10

    processed: list[tuple[int, int, int]] = []
    with WorkQueue(
        4, 4, prepare, lambda item, result: processed.append((item, result, threading.get_ident()))
    ) as queue:
        for item in range(4):
            queue.add(item)
        assert processed == []
    assert processed == [(item, item * 10, threading.get_ident()) for item in range(4)]


def test_as_many_are_prepared_at_a_time_as_there_are_workers() -> None:
    together = threading.Barrier(3)
    processed: list[int] = []

    def prepare(item: int) -> int:
        together.wait(PATIENCE)
        return threading.get_ident()

    with WorkQueue(3, 6, prepare, lambda item, result: processed.append(result)) as queue:
        for item in range(6):
            queue.add(item)
    assert len(processed) == 6
    assert len(set(processed)) == 3
    assert threading.get_ident() not in processed


def test_a_full_queue_makes_add_process_the_head_and_what_else_is_ready() -> None:
    ready = [threading.Event() for _ in range(4)]
    go_on = threading.Event()
    processed: list[int] = []

    def prepare(item: int) -> int:
        if item == 2:
            assert go_on.wait(PATIENCE)
        ready[item].set()
        return item

    with WorkQueue(3, 3, prepare, lambda item, result: processed.append(result)) as queue:
        for item in range(3):
            queue.add(item)
            assert processed == []
        assert ready[1].wait(PATIENCE)
        queue.add(3)
        assert processed in ([0], [0, 1])  # 1 has been prepared, and is processed too once its thread has said so
        go_on.set()
        queue.finish()
        assert processed == [0, 1, 2, 3]
        queue.finish()
    assert processed == [0, 1, 2, 3]


@pytest.mark.parametrize("size", [1, 2, 10])
def test_an_error_in_prepare_stops_at_its_item(size: int) -> None:
    processed: list[int] = []
    with (
        pytest.raises(ZeroDivisionError, match="2"),
        WorkQueue(2, size, raise_for(2), lambda item, result: processed.append(item)) as queue,
    ):
        for item in range(5):
            queue.add(item)
    assert processed == [0, 1]


@pytest.mark.parametrize("size", [1, 2, 10])
def test_an_error_in_process_stops_at_its_item(size: int) -> None:
    processed: list[int] = []

    def process(item: int, result: int) -> None:
        processed.append(item)
        if item == 2:
            raise ZeroDivisionError(item)

    with pytest.raises(ZeroDivisionError, match="2"), WorkQueue(2, size, raise_for(9), process) as queue:
        for item in range(5):
            queue.add(item)
    assert processed == [0, 1, 2]


def test_after_an_error_the_rest_still_waits_and_the_item_of_that_add_was_not_added() -> None:
    processed: list[int] = []
    queue = WorkQueue(1, 2, raise_for(0), lambda item, result: processed.append(item))
    try:
        queue.add(0)
        queue.add(1)
        with pytest.raises(ZeroDivisionError):
            queue.add(2)
        queue.finish()
    finally:
        queue.stop()
    assert processed == [1]


def test_stop_ends_the_workers_and_drops_the_rest() -> None:
    before = threading.active_count()
    begun, go_on = threading.Event(), threading.Event()
    prepared: list[int] = []
    processed: list[int] = []

    def prepare(item: int) -> None:
        begun.set()
        assert go_on.wait(PATIENCE)
        prepared.append(item)

    queue = WorkQueue(1, 3, prepare, lambda item, result: processed.append(item))
    for item in range(3):
        queue.add(item)
    assert begun.wait(PATIENCE)
    go_on.set()
    queue.stop()
    queue.stop()
    assert threading.active_count() == before
    assert prepared[:1] == [0]
    assert processed == []
    for call in (queue.finish, lambda: queue.add(4)):
        with pytest.raises(StateError):
            call()


def test_leaving_the_block_by_an_error_processes_nothing_more() -> None:
    processed: list[int] = []
    before = threading.active_count()
    with (
        pytest.raises(KeyError),
        WorkQueue(2, 4, raise_for(9), lambda item, result: processed.append(item)) as queue,
    ):
        queue.add(1)
        raise KeyError
    assert processed == []
    assert threading.active_count() == before


def test_a_queue_stopped_inside_its_block_leaves_it_quietly() -> None:
    with WorkQueue(2, 4, raise_for(9), lambda item, result: None) as queue:
        queue.add(1)
        queue.stop()


@pytest.mark.parametrize(("procs", "size"), [(0, 1), (1, 0)])
def test_sizes_that_cannot_be(procs: int, size: int) -> None:
    async def prepare(item: int) -> int:
        return item

    async def process(item: int, result: int) -> None:
        return None

    with pytest.raises(InputError):
        WorkQueue(procs, size, raise_for(9), lambda item, result: None)
    with pytest.raises(InputError):
        AsyncWorkQueue(procs, size, prepare, process)


class Recorder:
    """The asyncio form's two steps: a gate for each item, and what happened."""

    def __init__(self, *, bad: int | None = None, gated: bool = False) -> None:
        self.bad = bad
        self.gates = {item: asyncio.Event() for item in range(10)} if gated else {}
        self.running = self.most = 0
        self.begun: list[int] = []
        self.cancelled: list[int] = []
        self.processed: list[tuple[int, int]] = []

    async def prepare(self, item: int) -> int:
        self.running += 1
        self.most = max(self.most, self.running)
        self.begun.append(item)
        try:
            if item in self.gates:
                await self.gates[item].wait()
            else:
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled.append(item)
            raise
        finally:
            self.running -= 1
        if item == self.bad:
            raise ZeroDivisionError(item)
        return item * 10

    async def process(self, item: int, result: int) -> None:
        self.processed.append((item, result))


async def test_async_results_are_processed_in_order_with_bounded_concurrency() -> None:
    recorder = Recorder()
    async with AsyncWorkQueue(3, 6, recorder.prepare, recorder.process) as queue:
        for item in range(20):
            await queue.add(item)
    assert recorder.processed == [(item, item * 10) for item in range(20)]
    assert recorder.most == 3


async def test_a_full_async_queue_makes_add_process_the_head_and_what_else_is_ready() -> None:
    recorder = Recorder(gated=True)
    async with AsyncWorkQueue(3, 3, recorder.prepare, recorder.process) as queue:
        for item in range(3):
            await queue.add(item)
        adding = asyncio.create_task(queue.add(3))
        recorder.gates[1].set()
        while recorder.running != 2:
            await asyncio.sleep(0)
        assert recorder.processed == []
        recorder.gates[0].set()
        await adding
        assert recorder.processed == [(0, 0), (1, 10)]
        for gate in recorder.gates.values():
            gate.set()
    assert [item for item, _ in recorder.processed] == [0, 1, 2, 3]


@pytest.mark.parametrize("size", [1, 2, 10])
async def test_an_error_in_async_prepare_stops_at_its_item(size: int) -> None:
    recorder = Recorder(bad=2)
    with pytest.raises(ZeroDivisionError, match="2"):
        async with AsyncWorkQueue(2, size, recorder.prepare, recorder.process) as queue:
            for item in range(5):
                await queue.add(item)
    assert recorder.processed == [(0, 0), (1, 10)]
    assert recorder.running == 0


async def test_an_add_that_timed_out_loses_nothing() -> None:
    recorder = Recorder(gated=True)
    async with AsyncWorkQueue(1, 1, recorder.prepare, recorder.process) as queue:
        await queue.add(0)
        adding = asyncio.create_task(queue.add(1))
        while not recorder.begun:
            await asyncio.sleep(0)
        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding
        recorder.gates[0].set()
        await queue.finish()
        assert recorder.processed == [(0, 0)]


async def test_async_stop_cancels_the_tasks_and_drops_the_rest() -> None:
    recorder = Recorder(gated=True)
    tasks = len(asyncio.all_tasks())
    async with AsyncWorkQueue(1, 3, recorder.prepare, recorder.process) as queue:
        for item in range(3):
            await queue.add(item)
        while not recorder.begun:
            await asyncio.sleep(0)
        await queue.stop()
        assert len(asyncio.all_tasks()) == tasks
        with pytest.raises(StateError):
            await queue.add(3)
        with pytest.raises(StateError):
            await queue.finish()
    assert (recorder.begun, recorder.cancelled, recorder.processed) == ([0], [0], [])


async def test_cancelling_the_user_of_an_async_queue_ends_its_tasks() -> None:
    recorder = Recorder(gated=True)
    tasks = len(asyncio.all_tasks())

    async def use() -> None:
        async with AsyncWorkQueue(2, 2, recorder.prepare, recorder.process) as queue:
            await queue.add(0)
            await queue.add(1)

    using = asyncio.create_task(use())
    while len(recorder.begun) < 2:
        await asyncio.sleep(0)
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using
    assert recorder.cancelled == [0, 1]
    assert len(asyncio.all_tasks()) == tasks


async def test_an_async_queue_must_be_entered() -> None:
    recorder = Recorder()
    queue = AsyncWorkQueue(1, 1, recorder.prepare, recorder.process)
    with pytest.raises(StateError, match="not entered"):
        await queue.add(0)
    async with queue:
        await queue.add(0)
    assert recorder.processed == [(0, 0)]
