"""What did not work of late, and for how long that counts."""

from __future__ import annotations

from moxlib.queue.transport.troubled import Troubled
from moxlib.testing import FakeClock


async def test_what_did_not_work_counts_as_troubled_for_a_while_and_no_longer() -> None:
    clock = FakeClock()
    troubled: Troubled[str] = Troubled(60, clock)
    assert not troubled.noted
    troubled.note("a")
    await clock.advance(59)
    assert ("a" in troubled, "b" in troubled) == (True, False)
    assert not troubled.is_over
    await clock.advance(1)
    assert "a" not in troubled
    await clock.advance(59)
    assert not troubled.is_over  # who asks next is the one to find out
    await clock.advance(1)
    assert troubled.is_over


async def test_what_does_not_work_again_counts_from_then_on() -> None:
    clock = FakeClock()
    troubled: Troubled[str] = Troubled(60, clock)
    troubled.note("a")
    await clock.advance(40)
    troubled.note("a")
    await clock.advance(40)
    assert "a" in troubled


def test_what_works_is_forgotten() -> None:
    troubled: Troubled[str] = Troubled(60, FakeClock())
    troubled.note("a")
    troubled.forget("a")
    troubled.forget("b")
    assert "a" not in troubled
    assert not troubled.noted


async def test_those_in_trouble_are_tried_behind_the_others_in_their_order() -> None:
    troubled: Troubled[str] = Troubled(60, FakeClock())
    assert troubled.order("abcd") == [0, 1, 2, 3]
    troubled.note("c")
    troubled.note("a")
    assert troubled.order("abcd") == [1, 3, 0, 2]
    troubled.note("b")
    troubled.note("d")
    assert troubled.order("abcd") == [0, 1, 2, 3]
    assert troubled.order("") == []


async def test_when_the_time_is_over_one_who_asks_finds_out_and_the_others_are_kept_from_it() -> None:
    clock = FakeClock()
    troubled: Troubled[str] = Troubled(60, clock)
    troubled.note("a")
    troubled.note("b")
    await clock.advance(60)
    assert [troubled.order("abc") for _ in range(3)] == [[0, 1, 2], [2, 0, 1], [2, 0, 1]]
    await clock.advance(60)
    troubled.forget("a")
    assert troubled.order("abc") == [0, 1, 2]
    assert not troubled.noted  # "b" comes behind one that works


async def test_no_more_is_remembered_than_was_noted() -> None:
    troubled: Troubled[str] = Troubled(60, FakeClock())
    for _ in range(100):
        troubled.note("a")
        troubled.order("abc")
    assert list(troubled.noted) == ["a"]
