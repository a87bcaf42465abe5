"""Turns at an endpoint: never more than allowed, in order, and nobody who gives up takes a place with them."""

import asyncio

import pytest

from moxlib.queue.hooks.turns import Turns

URL = "http://x"


class Visitors:
    """Tasks that go in and stay until they are told to leave."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.inside: list[str] = []
        self.leave: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def visit(self, name: str, at_once: int, url: str) -> None:
        async with self.turns.turn(url, at_once):
            self.inside.append(name)
            try:
                await self.leave[name].wait()
            finally:
                self.inside.remove(name)

    async def come(self, names: str, at_once: int = 2, url: str = URL) -> None:
        for name in names:
            self.leave[name] = asyncio.Event()
            self.tasks[name] = asyncio.create_task(self.visit(name, at_once, url))
        await settle()

    async def go(self, names: str) -> None:
        for name in names:
            self.leave[name].set()
        await settle()

    async def cancel(self, names: str) -> None:
        for name in names:
            self.tasks[name].cancel()
        await settle()

    @property
    def now(self) -> str:
        return "".join(self.inside)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_so_many_at_once_and_the_others_in_order() -> None:
    there = Visitors()
    await there.come("abcde")
    assert there.now == "ab"
    await there.go("b")
    assert there.now == "ac"
    await there.go("ac")
    assert there.now == "de"
    await there.go("de")
    assert len(there.turns) == 0


async def test_urls_do_not_wait_for_each_other() -> None:
    there = Visitors()
    await there.come("ab", 1)
    await there.come("c", 1, "http://y")
    assert there.now == "ac"
    assert len(there.turns) == 2
    await there.go("abc")
    assert len(there.turns) == 0


async def test_who_gives_up_while_waiting_is_passed_over() -> None:
    there = Visitors()
    await there.come("abcd", 1)
    await there.cancel("bc")
    assert there.now == "a"
    await there.go("a")
    assert there.now == "d"
    await there.go("d")
    assert len(there.turns) == 0


async def test_who_is_cancelled_inside_makes_room() -> None:
    there = Visitors()
    await there.come("ab", 1)
    await there.cancel("a")
    assert there.now == "b"
    await there.go("b")
    assert len(there.turns) == 0


async def test_who_gives_up_in_the_moment_of_its_turn_passes_it_on() -> None:
    there = Visitors()
    await there.come("abc", 1)
    there.leave["a"].set()
    await asyncio.sleep(0)  # a has gone, and b has been let in, but has not run
    there.tasks["b"].cancel()
    await settle()
    assert there.now == "c"
    await there.go("c")
    assert len(there.turns) == 0


async def test_the_first_in_line_may_be_let_in_with_fewer_and_gives_way_when_it_gives_up() -> None:
    there = Visitors()
    await there.come("a", 2)
    await there.come("b", 1)
    await there.come("c", 2)
    assert there.now == "a"
    await there.cancel("b")
    assert there.now == "ac"
    await there.go("ac")
    assert len(there.turns) == 0


async def test_a_line_that_was_forgotten_does_not_take_the_next_one_with_it() -> None:
    there = Visitors()
    await there.come("ab", 1)
    there.leave["c"] = asyncio.Event()
    there.leave["a"].set()  # first a goes, and with it the line;
    there.tasks["c"] = asyncio.create_task(there.visit("c", 1, URL))  # then c comes, to a new one;
    there.tasks["b"].cancel()  # and then b hears that it is not to wait in the old one
    await settle()
    await there.come("d", 1)
    assert there.now == "c"
    await there.go("cd")
    assert len(there.turns) == 0


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
async def test_what_goes_wrong_inside_passes_and_makes_room(error: type[BaseException]) -> None:
    turns = Turns()

    async def fail() -> None:
        async with turns.turn(URL, 1):
            raise error

    for _ in range(2):
        with pytest.raises(error):
            await fail()
    assert len(turns) == 0
