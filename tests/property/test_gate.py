"""The gate to a site, whatever deliveries do in whatever order, and whenever they are cancelled."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from random import Random
from typing import Literal

from hypothesis import given, note
from hypothesis import strategies as st

from moxlib.queue.congestion import Concurrency, Window
from moxlib.queue.transport.gate import Gate, Suspended
from moxlib.testing import FakeClock

Where = Literal["in line", "inside", "outside", "gone"]
TURNS = 8  # more than the longest chain of tasks that wake each other
STEPS = 250


class Deliverer:
    """One delivery, which does what it is told; and where it is."""

    def __init__(self, gate: Gate, *, insist: bool) -> None:
        self.insist = insist
        self.where: Where = "in line"
        self.turned_away = False
        self.was: Where = "in line"
        """Where it was after the step before."""
        self.era = -1
        """Of the site's deaths, counted: the one after which it came in, to find out; -1: none, or it insisted."""
        self._gate = gate
        self._orders: asyncio.Queue[str] = asyncio.Queue()
        self.task = asyncio.create_task(self._run())

    def order(self, what: str) -> None:
        self._orders.put_nowait(what)

    async def _run(self) -> None:
        try:
            async with self._gate.passage(insist=self.insist) as passage:
                self.where = "inside"
                while (order := await self._orders.get()) != "leave":
                    match order:
                        case "succeed":
                            passage.succeeded()
                        case "fail":
                            passage.failed("no answer")
                        case "step out":
                            passage.step_out()
                            self.where = "outside"
                        case "try":
                            self.where = "inside" if passage.try_enter() else "outside"
                        case _:
                            self.where = "in line"
                            await passage.enter()
                            self.where = "inside"
        except Suspended:
            self.turned_away = True
        finally:
            self.where = "gone"


class Yard:
    """Where deliveries come and go; what must hold of the gate is checked after each step."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.clock = FakeClock()
        self.deliverers: list[Deliverer] = []
        self.inside_before = 0
        self.era = 0
        self.was_suspended = False
        maximum = random.randint(1, 3)
        settings = Concurrency(
            initial=random.randint(1, maximum),
            maximum=maximum,
            failed_cohorts=random.choice([1, 1, 1, 0, 2]),
            positive=random.choice(["1", "1/concurrency"]),
            suspend_for=timedelta(seconds=60),
            suspend_at_most=timedelta(seconds=200),
        )
        self.gate = Gate(Window(settings), self.clock)
        note(f"{settings}")

    @property
    def suspended(self) -> bool:
        return self.gate.window.suspended_until(self.clock.now()) is not None

    def at(self, *where: Where) -> list[Deliverer]:
        return [each for each in self.deliverers if each.where in where]

    def number(self, each: Deliverer) -> int:
        return self.deliverers.index(each)

    # what happens

    async def step(self) -> None:
        steps = [self.come, self.come, self.come_insisting, self.wait, self.go_down]
        if self.at("inside", "outside"):
            steps += [self.do, self.do, self.do, self.tell_and_leave]
        if self.at("outside"):
            steps += [self.come_in_again] * 2
        if self.at("inside", "outside", "in line"):
            steps += [self.cancel] * 2
        await self.random.choice(steps)()

    async def come(self, *, insist: bool = False) -> None:
        note(f"{len(self.deliverers)} comes{', and insists' * insist}")
        self.deliverers.append(Deliverer(self.gate, insist=insist))
        await self.settle()

    async def come_insisting(self) -> None:
        await self.come(insist=True)

    async def order(self, each: Deliverer, *orders: str) -> None:
        note(f"{self.number(each)}: {', '.join(orders)}")
        for what in orders:
            each.order(what)
        await self.settle()

    async def do(self) -> None:
        each = self.random.choice(self.at("inside", "outside"))
        await self.order(each, self.random.choice(["leave", "succeed", "fail", "step out"]))

    async def tell_and_leave(self) -> None:
        each = self.random.choice(self.at("inside", "outside"))
        await self.order(each, self.random.choice(["succeed", "fail"]), "leave")

    async def come_in_again(self) -> None:
        await self.order(self.random.choice(self.at("outside")), self.random.choice(["enter", "try"]))

    async def go_down(self) -> None:
        """All fail, and time passes: now it is suspended, or some may find out whether it is back."""
        for each in self.at("inside"):
            await self.order(each, "fail", "leave")
        await self.wait()

    async def wait(self) -> None:
        seconds = self.random.choice([1, 60, 61, 200])
        note(f"{seconds} seconds pass")
        self.clock.set(self.clock.now() + timedelta(seconds=seconds))
        await self.settle()

    async def cancel(self) -> None:
        """One is cancelled at about the time at which another one, or the same, does something."""
        there = self.at("inside", "outside", "in line")
        victim, other = self.random.choice(there), self.random.choice(there)
        order = self.random.choice(["leave", "fail", "succeed"] if other.where == "inside" else ["enter", "try"])
        if other.where != "in line":
            other.order(order)
        turns = self.random.randint(0, 3)
        note(f"{self.number(other)}: {order}; and after {turns} turns {self.number(victim)} is cancelled")
        for _ in range(turns):
            await asyncio.sleep(0)
        victim.task.cancel()
        await self.settle()

    # what holds

    async def settle(self) -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)
        if self.suspended and not self.was_suspended:
            self.era += 1
        self.was_suspended = self.suspended
        for each in self.deliverers:
            if each.where == "inside" and each.was != "inside":
                finds_out = self.gate.window.is_dead and not self.suspended and not each.insist
                each.era = self.era if finds_out else -1
            if not self.gate.window.is_dead:
                each.era = -1
            each.was = each.where
        self.check()

    def check(self) -> None:
        window, inside = self.gate.window, len(self.at("inside"))
        assert inside <= max(window.limit, self.inside_before), "more went in than there are places"
        self.inside_before = inside
        assert not [each for each in self.deliverers if each.turned_away and each.insist]
        patient = [each for each in self.at("in line") if not each.insist]
        if window.is_dead:
            probes = [each for each in self.at("inside", "outside", "in line") if each.era == self.era]
            assert len(probes) <= 1
        if self.suspended:
            assert not patient, "nobody waits for a site that is suspended"
        if inside < window.limit:
            assert not [each for each in self.at("in line") if each.insist], "there is a place"
            if not window.is_dead:
                assert not patient, "there is a place"
            elif patient:
                finding_out = [each for each in self.at("outside") if each.insist or each.era == self.era]
                assert finding_out, "nobody finds out whether the site is back"

    async def end(self) -> None:
        """All go, and no place goes with them."""
        for each in self.deliverers:
            each.task.cancel()
        await self.settle()
        assert not self.at("inside", "outside", "in line")
        self.clock.set(self.clock.now() + timedelta(hours=1))
        assert self.gate.is_idle
        await self.come()
        [probe] = self.at("inside")
        await self.order(probe, "succeed")
        limit = self.gate.window.limit
        for _ in range(limit):
            await self.come()
        assert (len(self.at("inside")), len(self.at("in line"))) == (limit, 1)
        for each in self.deliverers:
            each.task.cancel()
        await self.settle()


@given(seed=st.integers(0, 2**32 - 1))
def test_whatever_deliveries_do_the_gate_keeps_its_promises(seed: int) -> None:
    """Never more inside than the window has places; one probe; nobody waits in vain; no place is lost."""

    async def walk() -> None:
        yard = Yard(Random(seed))
        for _ in range(STEPS):
            await yard.step()
        await yard.end()

    asyncio.run(walk())
