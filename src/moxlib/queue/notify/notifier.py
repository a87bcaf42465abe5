"""`Notifier`: writes the notifications that settlements cause, and reads for them what comes back of the messages.

No transaction is open meanwhile, and only what comes back is read: the header, as a rule.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final, TypeAlias

from moxlib._clock import Clock
from moxlib.dsn import Action, Returned
from moxlib.errors import InputError, StorageError
from moxlib.queue.config import QueueConfig
from moxlib.queue.notify.decide import Notice, notice_of
from moxlib.queue.notify.report import head_of, notification
from moxlib.queue.storage.base import Storage
from moxlib.queue.storage.claims import Claim
from moxlib.queue.storage.content import MessageContent
from moxlib.queue.storage.settlement import Retire, Retry, Settlement
from moxlib.queue.submission import NewSubmission, StoredContent
from moxlib.queue.types import Message, RequireTLS

__all__ = ["NOTHING_RETURNED", "Notifier", "ReturnedBy"]

log: logging.Logger = logging.getLogger("moxlib.queue")

ReturnedBy: TypeAlias = Mapping[tuple[int, bool], Returned]
"""What comes back of messages: by submission, and whether its sender asked for all of it."""
NOTHING_RETURNED: Final[ReturnedBy] = MappingProxyType({})


class Notifier:
    """Tells senders what became of their messages."""

    def __init__(self, storage: Storage, config: QueueConfig, clock: Clock, token: Callable[[], str]) -> None:
        self._storage = storage
        self._config = config
        self._clock = clock
        self._token = token

    def notices(self, settlements: Sequence[Settlement]) -> Mapping[int, Notice]:
        """Return what the senders are to be told, by message id; empty, as a rule."""
        found = [(settlement.message.id, notice_of(settlement, self._config)) for settlement in settlements]
        return {id_: notice for id_, notice in found if notice is not None}

    async def returned(self, notices: Mapping[int, Notice], claims: Sequence[Claim] = ()) -> ReturnedBy:
        """Read what comes back of the messages; of what cannot be read, nothing does.

        Args:
            notices: what is told.
            claims: content that is at hand.
        """
        at_hand = {claim.message.base_id: claim.content for claim in claims}
        read: dict[tuple[int, bool], Returned] = {}
        for notice in notices.values():
            message = notice.message
            key = _key(notice)
            if key not in read:
                try:
                    read[key] = await self._read(message, at_hand.get(message.base_id), whole=key[1])
                except StorageError as error:  # it says what happened, all the same
                    log.warning("the notification about message %d returns nothing of it: %s", message.id, error)
        return read

    async def _read(self, message: Message, stored: StoredContent | None, *, whole: bool) -> Returned:
        stored = stored or await self._storage.content(message.base_id)
        if stored is None:
            return Returned(content=head_of(message.prefix, len(message.prefix)), whole=False)
        limit = self._config.dsn_for(message.account).max_returned
        content = MessageContent(message.prefix, stored, self._storage)
        whole = whole and content.size <= limit
        if whole:
            await content.verify()
        read = bytearray()
        async for chunk in content.chunks():
            read += chunk
            if not whole and (b"\r\n\r\n" in read or len(read) > limit):
                break
        return Returned(content=bytes(read) if whole else head_of(bytes(read), limit), whole=whole)

    def attached(
        self,
        settlements: Sequence[Settlement],
        notices: Mapping[int, Notice],
        returned: ReturnedBy,
    ) -> list[Settlement]:
        """Return the settlements with their notifications."""
        return [self._attach(each, notices.get(each.message.id), returned) for each in settlements]

    def _attach(self, settlement: Settlement, notice: Notice | None, returned: ReturnedBy) -> Settlement:
        if notice is None or not isinstance(settlement, Retire | Retry):
            return settlement
        return replace(settlement, notification=self.notification(notice, returned))

    def notification(self, notice: Notice, returned: ReturnedBy) -> NewSubmission | None:
        """Return what tells a sender; None where none is to be told, or none can be.

        A message is settled whatever becomes of its notification.
        """
        content = returned.get(_key(notice))
        for each in (content, None) if content is not None else (None,):
            try:
                return notification(notice, each, config=self._config, clock=self._clock, token=self._token)
            except (InputError, ValueError):
                log.exception("no notification about message %d could be written", notice.message.id)
        return None


def _key(notice: Notice) -> tuple[int, bool]:
    # Only of what failed is more returned than the header (RFC 3461 4.3), and of what requires TLS, never (RFC 8689 5).
    message = notice.message
    whole = message.ret == "FULL" and notice.action is Action.FAILED and message.require_tls is not RequireTLS.YES
    return message.base_id, whole
