"""Whether senders hear of what became of their messages, and how: data, checked when it is made."""

from dataclasses import dataclass
from typing import Final, Self

from moxlib.errors import InputError

__all__ = ["DEFAULT_DSN", "DSNConfig"]

RETURNED: Final = 50_000  # octets of a message that a notification returns, as Postfix's `bounce_size_limit`
MAX_RETURNED: Final = 1024 * 1024  # hundreds of notifications may wait in memory for the same commit


@dataclass(frozen=True, slots=True, kw_only=True)
class DSNConfig:
    """How the senders of an account hear of failures and delays.

    `DSNConfig()` queues a delivery status notification as a message to the sender, in the transaction that settles the
    attempt. `DSNConfig.off()` does not. `DSNConfig.mailbox(...)` queues it too, for a transport that files it.

    Raises:
        InputError: `max_returned` is negative or over 1 MiB.
    """

    enabled: bool = True
    transport: str | None = None
    """What delivers notifications, whatever the routes say; None: as other messages to that domain."""
    max_returned: int = RETURNED
    """Octets of a message up to which all of it is returned where its sender asked so (RET=FULL); of a larger one, the
    header is, and of that no more."""

    def __post_init__(self) -> None:
        """Refuse what memory has no room for."""
        if not 0 <= self.max_returned <= MAX_RETURNED:
            raise InputError(f"DSNConfig.max_returned must be from 0 to {MAX_RETURNED}")

    @classmethod
    def off(cls) -> Self:
        """Return that no notification is made: whoever wants to know reads the events."""
        return cls(enabled=False)

    @classmethod
    def mailbox(cls, transport: str = "mailbox") -> Self:
        """Return that notifications go to a mailbox of the host's.

        Args:
            transport: the name under which the queue has what files them, such as a `MailboxTransport`.
        """
        return cls(transport=transport)


DEFAULT_DSN: Final = DSNConfig()
"""Senders are told, by mail."""
