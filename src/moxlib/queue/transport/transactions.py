"""The transactions of one delivery on one connection: as many as the server asks for."""

from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Literal

from moxlib.queue.outcome import NO_TRACE, Outcome, Trace
from moxlib.queue.transport.base import Delivery
from moxlib.queue.transport.outcomes import outcome_of
from moxlib.queue.types import Message, RequireTLS
from moxlib.smtpclient import DeliveryResult, DSNParameters, NotSent, RecipientParameters, Refused, SMTPConnection

__all__ = ["MAX_STALE", "Transactions"]

MAX_STALE = (
    3  # connections in a row that are gone before MAIL is answered; then the server, or the way to it, is at fault
)

_RET: Final[Mapping[str, Literal["FULL", "HDRS"]]] = MappingProxyType({"FULL": "FULL", "HDRS": "HDRS"})


@dataclass(slots=True)
class Transactions:
    """A delivery on its way over one connection, or over several where the server wants that.

    Attributes:
        delivery: what to deliver.
        waiting: the recipients, by index, that have no outcome yet.
        insist_8bit: fail a message with bytes over 127 where the server does not offer 8BITMIME.
        chunking: BDAT may be used where it is offered; false once a server offered it and did not know it.
        final: what the server accepts, it has delivered.
        outcomes: by the recipient's index.
        closing: the server said 421, or ended the connection in the midst of a transaction.
    """

    delivery: Delivery
    waiting: Sequence[int]
    insist_8bit: bool = True
    chunking: bool = True
    final: bool = False
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    closing: bool = False
    _taken: int = 0

    def taken(self) -> dict[int, Outcome]:
        """Return the outcomes that came since this was called last."""
        new = self.outcomes.copy() if not self._taken else dict(list(self.outcomes.items())[self._taken :])
        self._taken = len(self.outcomes)
        return new

    async def run(self, connection: SMTPConnection, *, peer: str, used: bool, trace: Trace = NO_TRACE) -> bool:
        """Run transactions on one connection, until each recipient has an outcome or it cannot carry more.

        Args:
            connection: what to deliver over.
            peer: who the history says answered.
            used: the connection served others already.
            trace: how it was made.

        Returns:
            Whether to go on with another connection: the server takes no more transactions on this one, had closed it
            before this one began, which is no attempt, or does not know BDAT, though it offered it.
        """
        while self.waiting:
            now = self.waiting[: connection.extensions.rcpt_max or len(self.waiting)]
            result = await self._transaction(connection, now, peer=peer, trace=trace)
            extensions = connection.extensions
            if used and not result.answered and not result.usable:
                return True
            if result.chunking_refused:
                self.chunking = False
                return True
            used = True
            mail_max = extensions.mail_max
            spent = mail_max is not None and connection.transactions >= mail_max
            again: list[int] = []
            for index, recipient in zip(now, result.recipients, strict=True):
                if isinstance(recipient, Refused) and recipient.further_transaction and (result.usable or spent):
                    again.append(index)
                else:
                    self.outcomes[index] = outcome_of(
                        recipient, peer, trace, offers_dsn=extensions.dsn, final=self.final
                    )
            self.waiting = [*again, *self.waiting[len(now) :]]
            if not result.usable:
                self.closing = not spent
                return spent and bool(self.waiting)
        return False

    def _transaction(
        self, connection: SMTPConnection, now: Sequence[int], *, peer: str, trace: Trace
    ) -> Coroutine[Any, Any, DeliveryResult]:
        delivery, extensions = self.delivery, connection.extensions
        messages = delivery.messages
        if len(messages) > 1:
            messages = tuple([messages[index] for index in now])
        content = delivery.content
        data = content.data
        return connection.deliver(
            delivery.sender,
            [message.recipient for message in messages],
            content.chunks() if data is None else data,
            size=content.size,
            needs_8bit=delivery.needs_8bit and (self.insist_8bit or extensions.eight_bit_mime),
            needs_smtputf8=delivery.needs_smtputf8,
            require_tls=delivery.require_tls is RequireTLS.YES,
            chunking=self.chunking,
            lines_checked=True,  # at submit; and the content is what was submitted, by its SHA-256
            dsn=_dsn(messages) if extensions.dsn else None,
            when_cancelled=partial(self._cut_short, now, peer=peer, trace=trace, offers_dsn=extensions.dsn),
        )

    def _cut_short(
        self, now: Sequence[int], result: DeliveryResult, *, peer: str, trace: Trace, offers_dsn: bool
    ) -> None:
        """Take what is known of a transaction that was cancelled: who was refused, and who may have the message."""
        for index, recipient in zip(now, result.recipients, strict=True):
            if not isinstance(recipient, NotSent):
                self.outcomes[index] = outcome_of(recipient, peer, trace, offers_dsn=offers_dsn, final=self.final)


def _dsn(messages: Sequence[Message]) -> DSNParameters:
    """Return what the messages of one transaction ask of DSNs."""
    first = messages[0]
    asked = [message for message in messages if message.notify or message.orcpt]
    recipients = tuple([_recipient_dsn(message) for message in messages]) if asked else ()
    return DSNParameters(ret=_RET.get(first.ret), envid=first.envid, recipients=recipients)


def _recipient_dsn(message: Message) -> RecipientParameters:
    notify = tuple(message.notify.split(",")) if message.notify else ()
    return RecipientParameters(notify=notify, orcpt=message.orcpt)
