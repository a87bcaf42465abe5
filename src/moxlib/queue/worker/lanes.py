"""What a worker has claimed and not yet begun, by destination; how much more it wants. No I/O.

A *lane* is one destination's share of this worker: deliveries that wait, the slots it may use for them, and how many
messages to claim ahead. That number follows how fast the lane empties: a quick destination is claimed in hundreds, so
that a claim costs little per message; a slow one in tens, so that an operator's hold or another worker finds the rest
still in the queue.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from moxlib.queue.storage.claims import Claim

__all__ = ["Lane", "group_claims"]

MIN_AHEAD = 20
MAX_AHEAD = 1000
MANY = 250  # as many are asked for at once, though half of a thousand has not begun: a claim waits for commits
QUICK = 0.5  # seconds: emptied sooner than this, the lane takes twice as many next time
VERY_QUICK = 0.06  # seconds: sooner than this, four times as many
SLOW = 2.0  # seconds: emptied later than this, half as many


@dataclass(slots=True)
class Lane:
    """One destination's share of a worker."""

    name: str
    slots: int = 0
    running: int = 0
    """Runners at work; at most `slots`."""
    waiting: deque[tuple[Claim, ...]] = field(default_factory=deque)
    """Deliveries not begun."""
    count: int = 0
    """Messages in `waiting`."""
    ahead: int = MIN_AHEAD
    more: bool = False
    """The last claim took all it asked for, so there may be more."""
    filled_at: float = 0.0
    ended: int = 0
    """Deliveries that have ended, ever."""

    @property
    def lacking(self) -> int:
        """How many runners could be started for what waits."""
        return max(0, min(self.slots - self.running, len(self.waiting)))

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing runs: the slots can be given back."""
        return not self.waiting and not self.running

    @property
    def room(self) -> int:
        """How many more messages to claim; 0 until half of what was claimed has begun, or many."""
        room = self.ahead - self.count
        return room if room >= min(self.ahead - self.ahead // 2, MANY) else 0

    def fill(
        self, deliveries: Iterable[tuple[Claim, ...]], *, room: int, slots: int, now: float, cut: bool = False
    ) -> None:
        """Take what was claimed.

        Args:
            deliveries: what it is.
            room: how many messages were asked for. (Some that waited then may have begun since.)
            slots: deliveries at once.
            now: the time, by the monotonic clock.
            cut: there may be more although not all was had: the claim was full, or the destination's messages have a
                rate.
        """
        before = self.count
        self.slots = slots
        for delivery in deliveries:
            self.waiting.append(delivery)
            self.count += len(delivery)
        self.more = cut or self.count - before >= room
        self.filled_at = now

    def wants_more(self, now: float) -> bool:
        """Say, once for each claim, that it is time for the next one; and how much that may take."""
        if not self.more or not self.room:
            return False
        self.more = False
        seconds = now - self.filled_at
        if seconds < QUICK:
            self.ahead = min(MAX_AHEAD, self.ahead * (4 if seconds < VERY_QUICK else 2))
        elif seconds > SLOW:
            self.ahead = max(MIN_AHEAD, self.ahead // 2)
        return True

    def pop(self) -> tuple[Claim, ...] | None:
        """Take the next delivery to begin; None when none waits."""
        if not self.waiting:
            return None
        delivery = self.waiting.popleft()
        self.count -= len(delivery)
        return delivery

    def clear(self) -> list[Claim]:
        """Take all that waits, to give it back."""
        claims = [claim for delivery in self.waiting for claim in delivery]
        self.waiting.clear()
        self.count = 0
        return claims


def group_claims(claims: Iterable[Claim]) -> dict[str, list[tuple[Claim, ...]]]:
    """Return deliveries by destination, in order: recipients that can share a transaction are together.

    They share when they are of one submission and alike in destination, domain, attempts, require-TLS, transport and
    MAIL FROM.
    """
    groups: dict[tuple[object, ...], list[Claim]] = {}
    for claim in claims:
        m = claim.message
        key = (
            m.destination,
            m.base_id,
            m.attempts,
            m.recipient_domain,
            m.require_tls,
            m.transport,
            m.sender,
            m.mail_from,
        )
        groups.setdefault(key, []).append(claim)
    deliveries: dict[str, list[tuple[Claim, ...]]] = {}
    for group in groups.values():
        deliveries.setdefault(group[0].message.destination, []).append(tuple(group))
    return deliveries
