"""Notifications into a mailbox of the host's: a transport that files what it is given."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from moxlib.queue.outcome import Delivered, Outcome
from moxlib.queue.transport.base import Delivery

__all__ = ["Filed", "MailboxTransport"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filed:
    """A notification on its way into a mailbox."""

    account: str
    """Whose message it is about."""
    recipient: str
    """The sender it is for."""
    message_id: str
    """The same each time that it is filed, and no other's: by it, one that comes twice is known."""
    content: bytes
    """The message, with CRLF line ends."""


class MailboxTransport:
    """Files notifications with a function of the host's, durably: each at least once, and again when that raised.

    Register it under the name that `DSNConfig.mailbox` has.
    """

    def __init__(self, file: Callable[[Filed], Awaitable[None]]) -> None:
        self._file = file

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        """File it for each recipient; what the function raises is tried again by the schedule."""
        content = b"".join([chunk async for chunk in delivery.content.chunks()])
        for message in delivery.messages:
            await self._file(
                Filed(
                    account=message.account,
                    recipient=message.recipient,
                    message_id=message.message_id,
                    content=content,
                )
            )
        return [Delivered(text="filed", peer="mailbox")] * len(delivery.messages)
