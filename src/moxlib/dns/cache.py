"""What was found out, kept for as long as it holds."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from moxlib._clock import Clock

__all__ = ["Cache"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(Generic[K, V]):
    """Values with a time to live; at most `size` of them, the least recently used going first."""

    def __init__(self, *, size: int, clock: Clock) -> None:
        self._size = size
        self._clock = clock
        self._kept: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """Return what was put under `key`, if its time is not up."""
        entry = self._kept.get(key)
        if entry is None:
            return None
        until, value = entry
        if until <= self._clock.monotonic():
            del self._kept[key]
            return None
        self._kept.move_to_end(key)
        return value

    def put(self, key: K, value: V, *, seconds: float) -> None:
        """Keep `value` for `seconds`; not at all when that is 0, or the size is."""
        self._kept.pop(key, None)
        if seconds <= 0 or not self._size:
            return
        self._kept[key] = (self._clock.monotonic() + seconds, value)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)

    def __len__(self) -> int:
        return len(self._kept)
