r"""`RecordingTransport`: delivers nowhere, keeps everything, and ends each attempt as the test says.

For example::

    transport = RecordingTransport({
        "gone@there.example": Failed(text="no such user", code=550),
        "busy@there.example": [Deferred(text="later", code=451), Delivered()],
        "@slow.example": Hang(),
    })
    async with Queue.open(path, transports={"test": transport}, clock=clock) as queue:
        ...
    assert transport.delivered("busy@there.example") == [b"Subject: hi\r\n\r\n..."]

What goes over the wire is tested with `SMTPPeer`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from moxlib.queue.outcome import Delivered, Outcome
from moxlib.queue.transport.base import Delivery
from moxlib.queue.types import Message

__all__ = ["Answer", "Hang", "Recorded", "RecordingTransport"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hang:
    """Say nothing until `RecordingTransport.resume` is called; then answer `then`."""

    then: Outcome = field(default_factory=Delivered)


# An exception, or its class, is raised by the whole delivery.
Answer: TypeAlias = Outcome | Exception | type[Exception] | Hang


@dataclass(slots=True, kw_only=True)
class Recorded:
    """One call of `deliver`: what it got and how it ended.

    Attributes:
        delivery: what it was called with.
        data: the whole content, read before anything was answered.
        outcomes: what it returned, one for each recipient; None while it hangs, and when it raised or was cancelled.
    """

    delivery: Delivery
    data: bytes
    outcomes: tuple[Outcome, ...] | None = None


class RecordingTransport:
    """A `Transport` in memory, for one event loop at a time.

    Args:
        answers: by recipient, or by "@" and the recipient's domain, the recipient's own first; whatever the case. A
            sequence has an answer for each attempt in turn, by the message's count of them; the last one stays.
        otherwise: the answer to all else; delivered unless given.

    Raises:
        ValueError: a sequence of answers is empty.
    """

    def __init__(
        self,
        answers: Mapping[str, Answer | Sequence[Answer]] | None = None,
        *,
        otherwise: Answer | Sequence[Answer] | None = None,
    ) -> None:
        self._answers = {key.lower(): _turns(turns) for key, turns in (answers or {}).items()}
        self._otherwise = _turns(Delivered() if otherwise is None else otherwise)
        self._resumed = asyncio.Event()
        self._hung = asyncio.Event()
        self._hanging = 0
        self.recorded: list[Recorded] = []
        """Each call of `deliver`, in the order in which they came."""

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        """Read the whole content, record the delivery, and end as the answers for its recipients say."""
        data = b"".join([chunk async for chunk in delivery.content.chunks()])
        recorded = Recorded(delivery=delivery, data=data)
        self.recorded.append(recorded)
        answers = [self._answer(message) for message in delivery.messages]
        if any(isinstance(answer, Hang) for answer in answers):
            await self._hang()
        outcomes: list[Outcome] = []
        for answer in answers:
            if isinstance(answer, Exception | type):
                raise answer
            outcomes.append(answer.then if isinstance(answer, Hang) else answer)
        recorded.outcomes = tuple(outcomes)
        return recorded.outcomes

    def resume(self) -> None:
        """Let the deliveries that hang now go on; later ones hang anew."""
        self._resumed.set()
        self._resumed = asyncio.Event()

    async def until_hanging(self, count: int = 1) -> None:
        """Return when at least so many deliveries hang."""
        while self._hanging < count:
            await self._hung.wait()

    @property
    def hanging(self) -> int:
        """How many deliveries hang now."""
        return self._hanging

    def attempts(self, recipient: str) -> list[Recorded]:
        """Return the calls of `deliver` for a recipient, whatever the case, in order."""
        wanted = recipient.lower()
        return [r for r in self.recorded if any(wanted == to.lower() for to in r.delivery.recipients)]

    def delivered(self, recipient: str) -> list[bytes]:
        """Return the contents that a recipient was answered `Delivered` for, in order."""
        wanted = recipient.lower()
        return [
            recorded.data
            for recorded in self.attempts(recipient)
            for to, outcome in zip(recorded.delivery.recipients, recorded.outcomes or (), strict=False)
            if to.lower() == wanted and isinstance(outcome, Delivered)
        ]

    def _answer(self, message: Message) -> Answer:
        recipient = message.recipient.lower()
        domain = recipient[recipient.rfind("@") :]
        turns = self._answers.get(recipient) or self._answers.get(domain) or self._otherwise
        return turns[min(max(message.attempts, 1), len(turns)) - 1]

    async def _hang(self) -> None:
        self._hanging += 1
        self._hung.set()
        self._hung = asyncio.Event()
        try:
            await self._resumed.wait()
        finally:
            self._hanging -= 1


def _turns(answers: Answer | Sequence[Answer]) -> tuple[Answer, ...]:
    turns = tuple(answers) if isinstance(answers, Sequence) else (answers,)
    if not turns:
        raise ValueError("a sequence of answers must have one at least")
    return turns
