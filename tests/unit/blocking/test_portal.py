"""The portal on its own: calls, functions that bounce back, holdings, and the end of it all."""

import asyncio
import atexit
import contextvars
import signal
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from moxlib.blocking import portal as portal_module
from moxlib.blocking.call import Call, Holding
from moxlib.blocking.portal import Portal
from moxlib.errors import StateError
from moxlib.queue import QueueClosed
from moxlib.queue.storage.base import RunBlocking


class Log:
    """What happened, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @asynccontextmanager
    async def scope(self, name: str = "scope") -> AsyncIterator[str]:
        self.lines.append(f"{name} entered")
        try:
            yield name
        finally:
            self.lines.append(f"{name} left")


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def portal(log: Log) -> Iterator[Portal]:
    portal = Portal(log.scope, name="test portal")
    portal.start()
    yield portal
    portal.close()
    assert not portal._thread.is_alive()
    assert portal._loop.is_closed()


class Stalled:
    """A coroutine that waits for ever, and says when it has begun, and how it ended."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.cancelled = threading.Event()

    async def __call__(self) -> None:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


def bounced(portal: Portal, make: Callable[[RunBlocking], Coroutine[Any, Any, Any]]) -> Any:
    return Call(portal, make).wait()


# calls


async def current_thread() -> int:
    return threading.get_ident()


def test_a_call_runs_in_one_thread_that_is_another_one(portal: Portal) -> None:
    assert {portal.call(current_thread), portal.call(current_thread)} == {portal._thread.ident}


def test_a_call_sees_the_context_of_its_caller(portal: Portal) -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    async def read() -> str:
        return variable.get()

    variable.set("the caller's")
    assert portal.call(read) == "the caller's"


async def divide(by: int) -> float:
    return 1 / by


def test_an_error_comes_with_the_frames_of_both_threads(portal: Portal) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        portal.call(divide, 0)
    names = [entry.name for entry in caught.traceback]
    assert names[0] == "test_an_error_comes_with_the_frames_of_both_threads"
    assert names[-1] == "divide"


def test_a_wrong_argument_is_the_callers_error(portal: Portal) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        portal.call(divide, upon=1)  # type: ignore[call-arg]


def test_a_call_in_the_loops_own_thread_is_refused_rather_than_to_wait_for_itself(portal: Portal) -> None:
    async def call() -> None:
        portal.call(current_thread)

    with pytest.raises(StateError, match="own event loop"):
        portal.call(call)

    async def close() -> None:
        portal.close()

    with pytest.raises(StateError, match="own event loop"):
        portal.call(close)


def test_calls_of_many_threads_run_at_once(portal: Portal, threads: ThreadPoolExecutor) -> None:
    count = 16
    barrier = asyncio.Barrier(count)

    async def meet() -> None:
        await barrier.wait()

    for met in [threads.submit(portal.call, meet) for _ in range(count)]:
        met.result()


# functions that bounce back


def test_a_function_runs_in_the_thread_that_calls(portal: Portal) -> None:
    async def both(run: RunBlocking) -> list[int]:
        return [await run(threading.get_ident), threading.get_ident(), await run(threading.get_ident)]

    here = threading.get_ident()
    assert bounced(portal, both) == [here, portal._thread.ident, here]


def test_each_thread_runs_its_own(portal: Portal, threads: ThreadPoolExecutor) -> None:
    async def ask(run: RunBlocking) -> int:
        return await run(threading.get_ident)

    def compare() -> bool:
        return bool(bounced(portal, ask) == threading.get_ident())

    assert all(same.result() for same in [threads.submit(compare) for _ in range(64)])


def test_what_a_function_raises_is_raised_in_the_coroutine(portal: Portal) -> None:
    async def catch(run: RunBlocking) -> str:
        try:
            await run(lambda: 1 // 0)
        except ZeroDivisionError as error:
            return repr(error)
        return "nothing"

    assert "ZeroDivisionError" in bounced(portal, catch)


def test_a_function_that_raises_stopiteration_hangs_nothing(portal: Portal) -> None:
    async def exhaust(run: RunBlocking) -> None:
        await run(lambda: next(iter(())))

    with pytest.raises(RuntimeError, match="StopIteration"):
        bounced(portal, exhaust)


def test_a_function_may_call_in_turn(portal: Portal) -> None:
    async def outer(run: RunBlocking) -> float:
        return await run(lambda: portal.call(divide, 2))

    assert bounced(portal, outer) == 0.5


def test_a_function_cancelled_before_it_began_is_not_run(portal: Portal, log: Log) -> None:
    cancelled = threading.Event()

    async def give_up(run: RunBlocking) -> None:
        first = asyncio.ensure_future(run(cancelled.wait))
        second = asyncio.ensure_future(run(lambda: log.lines.append("second")))
        await asyncio.sleep(0)  # both have asked now
        second.cancel()
        await asyncio.wait([second])
        cancelled.set()
        await first

    bounced(portal, give_up)
    assert log.lines == ["scope entered"]


def test_a_function_whose_thread_has_gone_is_refused(portal: Portal) -> None:
    kept: list[RunBlocking] = []

    async def keep(run: RunBlocking) -> None:
        kept.append(run)

    async def use_later() -> None:
        await kept[0](threading.get_ident)

    bounced(portal, keep)
    with pytest.raises(StateError, match="does not wait any more"):
        portal.call(use_later)


# interrupted


def interrupt() -> None:
    raise KeyboardInterrupt


def test_an_interrupted_wait_cancels_the_coroutine_and_sees_it_to_its_end(portal: Portal, log: Log) -> None:
    async def clean_up(run: RunBlocking) -> None:
        try:
            await run(interrupt)
        except asyncio.CancelledError:
            await run(lambda: log.lines.append("cleaned up in the calling thread"))
            raise

    with pytest.raises(KeyboardInterrupt):
        bounced(portal, clean_up)
    assert log.lines[1:] == ["cleaned up in the calling thread"]
    assert portal.call(divide, 1) == 1


def test_a_second_interrupt_does_not_wait(portal: Portal) -> None:
    ended = threading.Event()

    async def stubborn(run: RunBlocking) -> None:
        try:
            await run(interrupt)
        except asyncio.CancelledError:
            try:
                await run(interrupt)
            except asyncio.CancelledError:
                with pytest.raises(StateError, match="does not wait any more"):
                    await run(lambda: None)
                ended.set()

    with pytest.raises(KeyboardInterrupt):
        bounced(portal, stubborn)
    ended.wait()


def test_an_error_that_ends_an_interrupted_coroutine_is_not_reported_as_overlooked(
    portal: Portal, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(run: RunBlocking) -> None:
        try:
            await run(interrupt)
        except asyncio.CancelledError:
            raise OSError from None

    with pytest.raises(KeyboardInterrupt):
        bounced(portal, fail)
    portal.close()
    assert caplog.records == []


# holdings


def test_a_holding_is_entered_and_left_in_the_loop_by_one_task(portal: Portal) -> None:
    tasks: list[asyncio.Task[Any] | None] = []

    @asynccontextmanager
    async def manager() -> AsyncIterator[str]:
        tasks.append(asyncio.current_task())
        async with asyncio.TaskGroup():
            yield "value"
        tasks.append(asyncio.current_task())

    with Holding(portal, manager()) as value:
        assert value == "value"
        assert len(tasks) == 1
    assert tasks[0] is tasks[1] is not None


def test_what_entering_raises_is_raised(portal: Portal) -> None:
    @asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        raise OSError("no")
        yield

    with pytest.raises(OSError, match="no"), Holding(portal, manager()):
        pytest.fail("it was not entered")


def test_what_leaving_raises_is_raised_with_the_blocks_own_error_as_its_context(portal: Portal) -> None:
    @asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        yield
        raise OSError("on leaving")

    with pytest.raises(OSError, match="on leaving") as caught, Holding(portal, manager()):
        raise KeyError
    assert isinstance(caught.value.__context__, KeyError)


def failing(fail: asyncio.Event) -> AbstractAsyncContextManager[None]:
    async def task() -> None:
        await fail.wait()
        raise OSError("from its task")

    @asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        running = asyncio.create_task(task())
        async with asyncio.timeout(None) as scope:
            running.add_done_callback(lambda _: scope.reschedule(0))
            try:
                yield
            finally:
                await running

    return manager()


def test_a_holding_that_fails_by_itself_is_told_of_at_the_end_of_the_block(portal: Portal) -> None:
    fail = asyncio.Event()
    holding = Holding(portal, failing(fail))
    holding.__enter__()
    portal.post(fail.set)
    holding.serve()  # to its end
    assert portal.call(divide, 1) == 1
    with pytest.raises(OSError, match="from its task"):
        holding.__exit__(None, None, None)


def test_a_holding_released_before_it_is_entered_ends_at_once(portal: Portal, log: Log) -> None:
    holding = Holding(portal, log.scope("held"))
    holding.release()
    with holding:
        holding.serve()
    assert log.lines[1:] == ["held entered", "held left"]


# the end


def test_opening_raises_what_the_scope_does() -> None:
    @asynccontextmanager
    async def scope() -> AsyncIterator[None]:
        raise OSError("cannot open")
        yield

    portal = Portal(scope, name="test portal")
    with pytest.raises(OSError, match="cannot open"):
        portal.start()
    assert not portal._thread.is_alive()


def test_closing_raises_what_the_scope_does_and_is_idempotent() -> None:
    @asynccontextmanager
    async def scope() -> AsyncIterator[None]:
        yield
        raise OSError("cannot close")

    portal = Portal(scope, name="test portal")
    portal.start()
    for _ in range(2):
        with pytest.raises(OSError, match="cannot close"):
            portal.close()
    assert not portal._thread.is_alive()


def test_closed_it_leaves_nothing_to_do_at_exit(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    handlers: list[object] = []
    monkeypatch.setattr(atexit, "register", handlers.append)
    monkeypatch.setattr(atexit, "unregister", handlers.remove)
    portal = Portal(log.scope, name="test portal")
    portal.start()
    assert len(handlers) == 1
    portal.close()
    assert handlers == []


def test_a_closed_portal_refuses_calls(portal: Portal) -> None:
    portal.close()
    portal.close()
    with pytest.raises(QueueClosed):
        portal.call(divide, 1)
    portal.post(lambda: pytest.fail("nothing runs any more"))


def test_the_scope_is_left_after_calls_and_holdings(portal: Portal, log: Log, threads: ThreadPoolExecutor) -> None:
    begun, go_on = threading.Event(), threading.Event()

    async def slow() -> str:
        begun.set()
        await asyncio.to_thread(go_on.wait)
        log.lines.append("call ended")
        return "done"

    holding = Holding(portal, log.scope("held"))
    holding.__enter__()
    call = threads.submit(portal.call, slow)
    begun.wait()
    portal.abandon()  # the order is given; what is under way goes on
    go_on.set()
    portal.close()
    assert call.result() == "done"
    assert sorted(log.lines[2:4]) == ["call ended", "held left"]
    assert log.lines[4:] == ["scope left"]
    holding.__exit__(None, None, None)  # has nothing left to do


def test_a_call_that_does_not_end_is_cancelled_when_the_portal_closes(
    portal: Portal, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portal_module, "CLOSE_SECONDS", 0)
    stalled = Stalled()
    call = threads.submit(portal.call, stalled)
    stalled.begun.wait()
    portal.close()
    assert stalled.cancelled.is_set()
    with pytest.raises(QueueClosed, match="may have been done"):
        call.result()


def test_interrupted_it_closes_without_waiting_for_what_is_under_way(portal: Portal, log: Log) -> None:
    main = threading.main_thread().ident
    assert main is not None

    @asynccontextmanager
    async def manager() -> AsyncIterator[None]:
        yield
        signal.pthread_kill(main, signal.SIGINT)
        await asyncio.Event().wait()

    Holding(portal, manager()).__enter__()
    with pytest.raises(KeyboardInterrupt):
        portal.close()
    portal.close()
    assert log.lines == ["scope entered", "scope left"]


def test_a_loop_that_ends_by_itself_leaves_nobody_waiting(log: Log, threads: ThreadPoolExecutor) -> None:
    portal = Portal(log.scope, name="test portal")
    portal.start()
    stalled = Stalled()
    call = threads.submit(portal.call, stalled)
    stalled.begun.wait()

    async def leave() -> None:
        raise SystemExit("from inside")

    with pytest.raises(SystemExit, match="from inside"):
        portal.call(leave)
    with pytest.raises(QueueClosed):
        call.result()
    with pytest.raises(SystemExit, match="from inside"):
        portal.close()
    with pytest.raises(QueueClosed):
        portal.call(divide, 1)
    assert log.lines == ["scope entered", "scope left"]


# iterating


async def numbers(log: Log) -> AsyncIterator[int]:
    try:
        for number in range(3):
            yield number
    finally:
        log.lines.append("closed")


def test_iterating_yields_each_item_and_ends(portal: Portal, log: Log) -> None:
    assert list(portal.iterate(numbers(log))) == [0, 1, 2]
    assert log.lines[1:] == ["closed"]


def test_an_iteration_that_is_given_up_closes_its_source(portal: Portal, log: Log) -> None:
    iterator = portal.iterate(numbers(log))
    assert next(iterator) == 0
    del iterator
    portal.call(current_thread)  # a turn of the loop
    portal.close()
    assert log.lines[1:] == ["closed", "scope left"]
