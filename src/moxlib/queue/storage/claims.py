"""Claims: what a worker asks of the storage, and what it gets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from moxlib.queue.limits import Rate
from moxlib.queue.submission import StoredContent
from moxlib.queue.suppression import Suppression
from moxlib.queue.types import Message

__all__ = ["CLAIM_BODY_MAX", "Claim", "ClaimRequest", "ClaimResult", "DestinationLimits", "WorkerInfo"]

CLAIM_BODY_MAX = (
    16 * 1024
)  # content that comes along with a claim; a thousand claimed messages then take 16 MiB at most


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationLimits:
    """How many deliveries may run at once to one destination, and how fast, across all workers."""

    default: int = 10
    by_destination: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    default_messages: Rate | None = None
    messages: Mapping[str, Rate] = field(default_factory=lambda: MappingProxyType({}))
    default_connections: Rate | None = None
    connections: Mapping[str, Rate] = field(default_factory=lambda: MappingProxyType({}))

    def limit(self, destination: str) -> int:
        """Return how many deliveries may run at once to one destination."""
        return self.by_destination.get(destination, self.default)

    def message_rate(self, destination: str) -> Rate | None:
        """Return how fast messages may be claimed for one destination; None: no limit."""
        return self.messages.get(destination, self.default_messages)

    def connection_rate(self, destination: str) -> Rate | None:
        """Return how fast connections may be opened for one destination; None: no limit."""
        return self.connections.get(destination, self.default_connections)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """A registered worker: which process it is, and until when its lease runs."""

    id: int
    identity: str
    """Names the process so that another on the same machine can know it is dead; opaque to storage."""
    lease_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    """What a worker wants next.

    `room` says, per destination, how many more messages the worker will take; destinations not in it get
    `default_room`. `release` names destinations whose delivery slots the worker gives back first.
    """

    now: datetime
    limit: int
    """Messages at most, over all destinations."""
    limits: DestinationLimits
    default_room: int = 20
    room: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    release: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claimed message, its attempt already journalled (`message.attempts` counts it).

    `content.body` is set for content that lies in the row and is small enough to come along; larger content is read
    with `Storage.content` when its delivery begins: then `content` is None.
    """

    message: Message
    content: StoredContent | None
    suppression: Suppression | None = None
    """In force for its recipient: it must not be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimResult:
    """Claimed messages in due order per destination, and the delivery slots this worker now holds for them."""

    claims: tuple[Claim, ...]
    slots: Mapping[str, int]
    """For each destination of `claims`: how many deliveries the worker may run there at once."""
    next_turn: datetime | None
    """When to look again at the latest, as far as is known; None when nothing is waiting.

    Of a destination that gave as much as the worker takes of it, nothing is waiting in this sense: when it will take
    more, the worker knows best. Where others submit at the same time, one look may ask for another soon after it.
    """
