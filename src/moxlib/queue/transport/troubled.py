"""What did not work of late, and is tried behind the others for a while: hosts of a site, sources of a transport."""

from typing import Generic, TypeVar

from moxlib._clock import Clock

__all__ = ["Troubled"]

K = TypeVar("K")


class Troubled(Generic[K]):
    """Those of a known few that did not work of late.

    Args:
        seconds: how long each counts as troubled since it last did not work.
        clock: what the time is taken from.
    """

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self._until: dict[K, float] = {}

    def __len__(self) -> int:
        """How many are remembered, for some of which the time may be over."""
        return len(self._until)

    def __contains__(self, one: object) -> bool:
        """Whether it did not work of late."""
        until = self._until.get(one)  # type: ignore[arg-type]  # what is no K is not there
        return until is not None and until > self._clock.monotonic()

    def note(self, one: K) -> None:
        """Note that one did not work."""
        self._until[one] = self._clock.monotonic() + self._seconds

    def forget(self, one: K) -> None:
        """Note that one worked."""
        self._until.pop(one, None)
