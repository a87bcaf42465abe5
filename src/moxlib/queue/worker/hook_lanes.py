"""What a worker has claimed of webhooks, by endpoint, and how much more it wants. No I/O.

As with deliveries' lanes, how many are claimed ahead follows how fast the lane empties: an endpoint that answers at
once is claimed for in hundreds, so that a claim costs little per call; one that stalls in few, so that what an operator
cancels or moves is still in the queue.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from moxlib.queue.hooks.config import HookConfig
from moxlib.queue.hooks.records import Hook

__all__ = ["MIN_AHEAD", "HookLane"]

MIN_AHEAD: Final = 20
MAX_AHEAD: Final = 500
QUICK: Final = 0.5  # seconds: emptied sooner than this, the lane takes twice as many next time
SLOW: Final = 2.0  # seconds: emptied later than this, half as many
BATCHED_ATTEMPTS: Final = 2  # later attempts carry one payload each: one that cannot be taken must not keep others
MAX_BATCH_SIZE: Final = 1024 * 1024  # octets of payloads in one call; events have less than 1 KB, messages up to 2 MB


@dataclass(slots=True)
class HookLane:
    """One endpoint's share of a worker."""

    url: str
    running: int = 0
    """Runners at work, each with one call at a time."""
    waiting: deque[Hook] = field(default_factory=deque)
    """Claimed, not begun."""
    owed: int = 0
    """Claimed, not settled: while there are any, the endpoint is this worker's."""
    ahead: int = MIN_AHEAD
    more: bool = False
    """The last claim took all it asked for, so there may be more."""
    filled_at: float = 0.0

    @property
    def idle(self) -> bool:
        """Nothing waits, runs or is unsettled: the endpoint can be given back."""
        return not self.owed and not self.running

    @property
    def room(self) -> int:
        """How many more webhooks to claim; 0 until half of what was claimed has begun."""
        count = len(self.waiting)
        return self.ahead - count if count <= self.ahead // 2 else 0

    def fill(self, hooks: Iterable[Hook], *, room: int, now: float, cut: bool = False) -> None:
        """Take what was claimed, of `room` that were asked for.

        Args:
            hooks: what it is.
            room: how many were asked for.
            now: the time, by the monotonic clock.
            cut: there may be more although not all was had, as the claim was full.
        """
        before = len(self.waiting)
        self.waiting.extend(hooks)
        came = len(self.waiting) - before
        self.owed += came
        self.more = cut or came >= room
        self.filled_at = now

    def wants_more(self, now: float) -> bool:
        """Say, once for each claim, that it is time for the next one; and how much that may take."""
        if not self.more or not self.room:
            return False
        self.more = False
        seconds = now - self.filled_at
        if seconds < QUICK:
            self.ahead = min(MAX_AHEAD, self.ahead * 2)
        elif seconds > SLOW:
            self.ahead = max(MIN_AHEAD, self.ahead // 2)
        return True

    def pop(self, config: HookConfig | None, is_alike: Callable[[Hook], bool]) -> tuple[Hook, ...]:
        """Take what the next call carries, in order; nothing when nothing waits.

        Args:
            config: of the first that waits.
            is_alike: says whether another one is of that configuration, too.
        """
        if not self.waiting:
            return ()
        batch = [self.waiting.popleft()]
        if config is None or config.batch == 1 or batch[0].attempts > BATCHED_ATTEMPTS:
            return tuple(batch)
        size = len(batch[0].payload)
        while self.waiting and len(batch) < config.batch:
            hook = self.waiting[0]
            size += len(hook.payload)
            if size > MAX_BATCH_SIZE or hook.attempts > BATCHED_ATTEMPTS or not is_alike(hook):
                break
            batch.append(self.waiting.popleft())
        return tuple(batch)

    def clear(self) -> list[Hook]:
        """Take all that waits, to give it back."""
        hooks = list(self.waiting)
        self.waiting.clear()
        return hooks
