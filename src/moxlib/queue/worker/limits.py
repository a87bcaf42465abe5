"""What the configuration says of destinations, as the storage wants it. No I/O."""

from moxlib.queue.config import QueueConfig
from moxlib.queue.limits import Rate
from moxlib.queue.storage.claims import DestinationLimits

__all__ = ["limits_of"]


def limits_of(config: QueueConfig) -> DestinationLimits:
    """Return every destination's limits: its own, and those of all others."""
    concurrency: dict[str, int] = {}
    messages: dict[str, Rate] = {}
    connections: dict[str, Rate] = {}
    for name, domain in config.domains.items():
        if domain.concurrency is not None:
            concurrency[name] = domain.concurrency
        if domain.messages_per_second is not None:
            messages[name] = Rate.per_second(domain.messages_per_second)
        if domain.connections_per_minute is not None:
            connections[name] = Rate.per_minute(domain.connections_per_minute)
    per_second, per_minute = config.messages_per_second, config.connections_per_minute
    return DestinationLimits(
        default=config.concurrency,
        by_destination=concurrency,
        default_messages=None if per_second is None else Rate.per_second(per_second),
        messages=messages,
        default_connections=None if per_minute is None else Rate.per_minute(per_minute),
        connections=connections,
    )
