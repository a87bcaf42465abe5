"""What did not work of late, and for how long that counts."""

from __future__ import annotations

from moxlib.queue.transport.troubled import Troubled
from moxlib.testing import FakeClock


async def test_what_did_not_work_counts_as_troubled_for_a_while_and_no_longer() -> None:
    clock = FakeClock()
    troubled: Troubled[str] = Troubled(60, clock)
    assert not troubled
    troubled.note("a")
    await clock.advance(59)
    assert ("a" in troubled, "b" in troubled) == (True, False)
    await clock.advance(1)
    assert "a" not in troubled


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
    assert not troubled
