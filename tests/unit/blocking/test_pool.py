"""The executor of the portal's loop: an ordinary pool in all that asyncio asks of it."""

import threading

import pytest

from moxlib.blocking.pool import DaemonPool


@pytest.fixture
def pool() -> DaemonPool:
    return DaemonPool(2)


def test_it_returns_and_raises_what_the_function_does(pool: DaemonPool) -> None:
    assert pool.submit(divmod, 7, 2).result() == (3, 1)
    with pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 7, 0).result()
    pool.shutdown()


def test_its_threads_are_daemons_and_as_many_as_are_needed(pool: DaemonPool) -> None:
    pool.submit(threading.get_ident).result()
    assert [thread.daemon for thread in pool._daemons] == [True]
    barrier = threading.Barrier(2)
    for waiting in [pool.submit(barrier.wait) for _ in range(2)]:
        waiting.result()
    assert len(pool._daemons) == 2
    pool.shutdown()


def test_it_starts_no_more_threads_than_it_may(pool: DaemonPool) -> None:
    go_on = threading.Event()
    waiting = [pool.submit(go_on.wait) for _ in range(5)]
    assert len(pool._daemons) == 2
    go_on.set()
    assert [future.result() for future in waiting] == [True] * 5
    pool.shutdown()


def test_it_goes_on_with_the_threads_it_has_where_no_more_can_be_started(
    pool: DaemonPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    go_on = threading.Event()
    first, second = pool.submit(go_on.wait), pool.submit(threading.get_ident)
    go_on.set()
    assert first.result()
    assert second.result() == pool._daemons[0].ident
    pool.shutdown()


def test_what_was_cancelled_is_not_run(pool: DaemonPool) -> None:
    go_on = threading.Event()
    for _ in range(2):
        pool.submit(go_on.wait)
    ran: list[int] = []
    future = pool.submit(ran.append, 1)
    assert future.cancel()
    go_on.set()
    pool.shutdown()
    assert ran == []


def test_shutting_down_does_what_was_submitted_and_refuses_more(pool: DaemonPool) -> None:
    futures = [pool.submit(int, "17") for _ in range(10)]
    pool.shutdown()
    pool.shutdown()
    assert [future.result() for future in futures] == [17] * 10
    assert not any(thread.is_alive() for thread in pool._daemons)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(int)
