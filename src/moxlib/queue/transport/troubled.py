"""What did not work of late, and is tried behind the others for a while: hosts of a site, sources of a transport."""

from collections.abc import Iterable
from typing import Generic, TypeVar

from moxlib._clock import Clock

__all__ = ["Troubled"]

K = TypeVar("K")


class Troubled(Generic[K]):
    """Those of a known few that did not work of late.

    Args:
        seconds: how long each counts as troubled since it last did not work.
        clock: what the time is taken from.

    Attributes:
        noted: those that are remembered, and until when each counts, by the monotonic clock; to be read only. Where
            there are none, nobody need ask anything else.
    """

    def __init__(self, seconds: float, clock: Clock) -> None:
        self.noted: dict[K, float] = {}
        self._seconds = seconds
        self._clock = clock

    def __contains__(self, one: object) -> bool:
        """Whether it did not work of late."""
        until = self.noted.get(one)  # type: ignore[arg-type]  # what is no K is not there
        return until is not None and until > self._clock.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to remember; as long again, the next who asks is to be the only one to try."""
        now = self._clock.monotonic()
        return all(until + self._seconds <= now for until in self.noted.values())

    def note(self, one: K) -> None:
        """Note that one did not work."""
        self.noted[one] = self._clock.monotonic() + self._seconds

    def forget(self, one: K) -> None:
        """Note that one worked."""
        self.noted.pop(one, None)

    def order(self, ones: Iterable[K]) -> list[int]:
        """Return the places of some in the order to try them: behind the others, those that did not work of late.

        Of one that counts no more, who asks first is to find out whether it works: to others it counts again for as
        long, lest they all wait for what is still not there.
        """
        now = self._clock.monotonic()
        first: list[int] = []
        last: list[int] = []
        any_is_well = False
        for place, one in enumerate(ones):
            until = self.noted.get(one)
            if until is not None and until > now:
                last.append(place)
                continue
            first.append(place)
            if until is None:
                any_is_well = True
            elif any_is_well:
                self.forget(one)  # it is not the first that is tried; should it be, that is soon enough
            else:
                self.note(one)
        return first + last
