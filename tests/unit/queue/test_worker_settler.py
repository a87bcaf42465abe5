"""Settling in batches: what shares a commit, and what it waits for."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from moxlib.errors import StorageError
from moxlib.queue.errors import StorageUnavailable
from moxlib.queue.worker.settler import RETRY_SECONDS, Settler
from moxlib.testing import FakeClock

GUARD = 10  # seconds after which a test that hangs fails instead
LONG = timedelta(hours=1)


class Storage:
    """Takes a batch when it is let to."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()

    async def settle(self, worker: int, settlements: Sequence[int], *, now: datetime) -> frozenset[int]:
        self.batches.append(list(settlements))
        self.begun.set()
        await self.gate.wait()
        return frozenset()


def settler(storage: Storage) -> Settler[int]:
    def settled(batch: Sequence[int], lost: frozenset[int]) -> None:
        made.expected -= len(batch)

    def trouble(doing: str, error: Exception) -> None:
        raise AssertionError(doing)

    made: Settler[int] = Settler(storage, FakeClock(), LONG, settled=settled, trouble=trouble)
    return made


async def test_a_batch_waits_while_more_are_to_come() -> None:
    storage = Storage()
    storage.gate.set()
    made = settler(storage)
    made.expected = 3
    running = asyncio.create_task(made.run())
    async with asyncio.timeout(GUARD):
        made.add(1, [1])
        for _ in range(20):
            await asyncio.sleep(0)
        assert storage.batches == []
        made.add(1, [2, 3])
        await storage.begun.wait()
        made.close(LONG)
        await running
    assert storage.batches == [[1, 2, 3]]


async def test_what_is_being_committed_is_not_to_come() -> None:
    storage = Storage()
    made = settler(storage)
    made.expected = 2
    running = asyncio.create_task(made.run())
    async with asyncio.timeout(GUARD):
        made.add(1, [1, 2])
        await storage.begun.wait()
        made.expected = 5  # three more were claimed meanwhile
        made.add(1, [3])
        storage.gate.set()
        for _ in range(20):
            await asyncio.sleep(0)
        assert storage.batches == [[1, 2]]  # two are to come
        made.add(1, [4])
        storage.gate.clear()
        storage.begun.clear()
        made.add(1, [5])
        await storage.begun.wait()
        made.expected += 1
        made.add(1, [6])  # the last that is claimed, while three are committed: it waits for nothing but them
        storage.gate.set()
        storage.begun.clear()
        await storage.begun.wait()
        made.close(LONG)
        await running
    assert storage.batches == [[1, 2], [3, 4, 5], [6]]


class Failing(Storage):
    """Fails once, then says that 1 is not the worker's."""

    def __init__(self, error: StorageError) -> None:
        super().__init__()
        self._errors = [error]

    async def settle(self, worker: int, settlements: Sequence[int], *, now: datetime) -> frozenset[int]:
        self.batches.append(list(settlements))
        if self._errors:
            self.begun.set()
            raise self._errors.pop()
        return frozenset({1})


@pytest.mark.parametrize(("in_doubt", "told"), [(False, {1}), (True, set())])
async def test_what_a_try_in_doubt_may_have_settled_is_not_called_lost(in_doubt: bool, told: set[int]) -> None:
    storage = Failing(StorageUnavailable("the server is gone", in_doubt=in_doubt))
    clock = FakeClock()
    lost: list[frozenset[int]] = []
    made: Settler[int] = Settler(
        storage, clock, timedelta(0), settled=lambda _, ids: lost.append(ids), trouble=lambda *_: None
    )
    running = asyncio.create_task(made.run())
    async with asyncio.timeout(GUARD):
        made.add(1, [1, 2])
        await storage.begun.wait()
        await clock.advance(RETRY_SECONDS[0])
        made.close(LONG)
        await running
    assert storage.batches == [[1, 2], [1, 2]]
    assert lost == [told]
