"""The gate to a site, whatever deliveries do in whatever order, and whenever they are cancelled."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Literal

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from moxlib.queue.congestion import Concurrency, Window
from moxlib.queue.transport.gate import Gate, Suspended
from moxlib.testing import FakeClock

Where = Literal["in line", "inside", "outside", "gone"]
TURNS = 8  # more than the longest chain of tasks that wake each other


class Deliverer:
    """One delivery, which does what it is told; and where it is."""

    def __init__(self, gate: Gate, *, insist: bool) -> None:
        self.insist = insist
        self.where: Where = "in line"
        self.turned_away = False
        self.era = -1
        """Of the site's deaths: the one that it came in after, as the probe, unless it insisted."""
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
                        case _:
                            self.where = "in line"
                            await passage.enter()
                            self.where = "inside"
        except Suspended:
            self.turned_away = True
        finally:
            self.where = "gone"


class GateMachine(RuleBasedStateMachine):
    """Deliveries come and go; what must hold of the gate holds after each step."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = FakeClock()
        self.deliverers: list[Deliverer] = []
        self.inside_before = 0
        self.era = 0
        self.was_suspended = False

    @initialize(
        maximum=st.integers(1, 3),
        initial=st.integers(1, 3),
        cohorts=st.sampled_from([1, 1, 1, 0, 2]),
        positive=st.sampled_from(["1", "1/concurrency"]),
    )
    def begin(self, maximum: int, initial: int, cohorts: int, positive: str) -> None:
        settings = Concurrency(
            initial=min(initial, maximum),
            maximum=maximum,
            failed_cohorts=cohorts,
            positive=positive,
            suspend_for=timedelta(seconds=60),
            suspend_at_most=timedelta(seconds=200),
        )
        self.gate = Gate(Window(settings), self.clock)

    # what is known from outside

    @property
    def suspended(self) -> bool:
        return self.gate.window.suspended_until(self.clock.now()) is not None

    def at(self, *where: Where) -> list[Deliverer]:
        return [each for each in self.deliverers if each.where in where]

    async def _turns(self, count: int = TURNS) -> None:
        for _ in range(count):
            await asyncio.sleep(0)

    def _settle(self) -> None:
        self.runner.run(self._turns())
        if self.suspended and not self.was_suspended:
            self.era += 1
        self.was_suspended = self.suspended
        for each in self.at("inside", "outside"):
            if self.gate.window.is_dead and not each.insist and each.era < 0:
                each.era = self.era
        for each in self.at("inside", "outside", "in line"):
            if not self.gate.window.is_dead:
                each.era = -2  # whatever it was, it is no probe any more, nor is it one after the next death

    # what happens

    def _come(self, count: int, *, insist: bool) -> None:
        async def come() -> None:
            self.deliverers += [Deliverer(self.gate, insist=insist) for _ in range(count)]

        self.runner.run(come())
        self._settle()

    @rule(count=st.integers(1, 4), waiting=st.sampled_from([0, 60, 120]))
    def go_down(self, count: int, waiting: int) -> None:
        """Deliveries come and fail, and some time passes: now it is suspended, or one may find out."""
        self._come(count, insist=False)
        for each in self.at("inside"):
            each.order("fail")
            each.order("leave")
        self._settle()
        self.wait(waiting)

    @rule(count=st.integers(1, 4))
    def come(self, count: int) -> None:
        self._come(count, insist=False)

    @rule()
    def come_insisting(self) -> None:
        self._come(1, insist=True)

    @precondition(lambda self: self.at("inside", "outside"))
    @rule(data=st.data(), order=st.sampled_from(["leave", "succeed", "fail", "step out"]))
    def do(self, data: st.DataObject, order: str) -> None:
        data.draw(st.sampled_from(self.at("inside", "outside"))).order(order)
        self._settle()

    @precondition(lambda self: self.at("inside"))
    @rule(data=st.data(), order=st.sampled_from(["succeed", "fail"]))
    def tell_and_leave(self, data: st.DataObject, order: str) -> None:
        each = data.draw(st.sampled_from(self.at("inside")))
        each.order(order)
        each.order("leave")
        self._settle()

    @precondition(lambda self: self.at("outside"))
    @rule(data=st.data())
    def come_in_again(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.at("outside"))).order("enter")
        self._settle()

    @precondition(lambda self: self.at("inside", "outside", "in line"))
    @rule(data=st.data(), turns=st.integers(0, 3), order=st.sampled_from(["", "leave", "fail", "succeed", "enter"]))
    def cancel(self, data: st.DataObject, turns: int, order: str) -> None:
        """One is cancelled at about the time at which another one, or the same, does something."""
        there = self.at("inside", "outside", "in line")
        victim, other = data.draw(st.sampled_from(there)), data.draw(st.sampled_from(there))
        if order and (other.where == "outside" or (other.where == "inside" and order != "enter")):
            other.order(order)
        self.runner.run(self._turns(turns))
        victim.task.cancel()
        self._settle()

    @rule(seconds=st.sampled_from([1, 30, 60, 61, 300]))
    def wait(self, seconds: int) -> None:
        self.clock.set(self.clock.now() + timedelta(seconds=seconds))
        self._settle()

    # what holds

    @invariant()
    def never_more_go_in_than_there_are_places(self) -> None:
        if hasattr(self, "gate"):
            inside = len(self.at("inside"))
            assert inside <= max(self.gate.window.limit, self.inside_before)
            self.inside_before = inside

    @invariant()
    def there_is_one_probe(self) -> None:
        if hasattr(self, "gate") and self.gate.window.is_dead and not self.suspended:
            probes = [each for each in self.at("inside", "outside", "in line") if each.era == self.era]
            assert len(probes) <= 1

    @invariant()
    def nobody_waits_in_vain(self) -> None:
        if not hasattr(self, "gate"):
            return
        window = self.gate.window
        waiting = self.at("in line")
        patient = [each for each in waiting if not each.insist]
        assert not (self.suspended and [each for each in patient if each.era != self.era])
        if len(self.at("inside")) >= window.limit:
            return
        assert not [each for each in waiting if each.insist]
        if not window.is_dead:
            assert not patient
        elif patient:  # there is one who finds out, and waits for something else
            assert [each for each in self.at("outside") if each.insist or each.era == self.era]

    @invariant()
    def nobody_is_turned_away_who_insists(self) -> None:
        assert not [each for each in self.deliverers if each.turned_away and each.insist]

    def teardown(self) -> None:
        """When all have gone, no place has gone with them."""
        try:
            if hasattr(self, "gate"):
                self._end()
        finally:
            self.runner.close()

    def _end(self) -> None:
        for each in self.at("inside", "outside", "in line"):
            each.task.cancel()
        self._settle()
        assert not self.at("inside", "outside", "in line")
        self.clock.set(self.clock.now() + timedelta(hours=1))
        assert self.gate.is_idle
        self._come(1, insist=False)
        [probe] = self.at("inside")
        probe.order("succeed")
        self._settle()
        limit = self.gate.window.limit
        self._come(limit, insist=False)
        assert (len(self.at("inside")), len(self.at("in line"))) == (limit, 1)
        for each in self.at("inside", "in line"):
            each.task.cancel()
        self._settle()


TestGate = GateMachine.TestCase
