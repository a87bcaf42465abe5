"""One call for all who ask for the same at the same time."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from moxlib._sharedcalls import SharedCalls


class Source:
    """Something slow to ask, which counts how often it was."""

    def __init__(self) -> None:
        self.asked = 0
        self.cancelled = 0
        self.answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def ask(self) -> int:
        self.asked += 1
        try:
            return await asyncio.shield(self.answer)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


async def begun(ask: Callable[[], Coroutine[None, None, int]], count: int) -> list[asyncio.Task[int]]:
    tasks = [asyncio.create_task(ask()) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_those_who_ask_at_once_share_one_call() -> None:
    calls, source = SharedCalls[str, int](), Source()
    tasks = await begun(lambda: calls.run("a", source.ask()), 3)
    source.answer.set_result(7)
    assert await asyncio.gather(*tasks) == [7, 7, 7]
    assert source.asked == 1
    assert await calls.run("a", source.ask()) == 7
    assert source.asked == 2


async def test_another_key_is_another_call() -> None:
    calls, source = SharedCalls[str, int](), Source()
    source.answer.set_result(7)
    await asyncio.gather(calls.run("a", source.ask()), calls.run("b", source.ask()))
    assert source.asked == 2


async def test_everyone_gets_the_error() -> None:
    calls, source = SharedCalls[str, int](), Source()
    tasks = await begun(lambda: calls.run("a", source.ask()), 2)
    source.answer.set_exception(ValueError("no"))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [ValueError, ValueError]


async def test_who_is_cancelled_leaves_the_others_theirs() -> None:
    calls, source = SharedCalls[str, int](), Source()
    first, second = await begun(lambda: calls.run("a", source.ask()), 2)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    source.answer.set_result(7)
    assert await second == 7
    assert source.cancelled == 0


async def test_with_nobody_left_the_call_is_cancelled() -> None:
    calls, source = SharedCalls[str, int](), Source()
    tasks = await begun(lambda: calls.run("a", source.ask()), 2)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    source.answer.set_result(7)
    assert await calls.run("a", source.ask()) == 7
    assert (source.asked, source.cancelled) == (2, 1)
