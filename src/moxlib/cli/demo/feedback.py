"""The demo's second part: what happens to a message after it has left, and how the program that sent it hears of it.

An address that is refused is suppressed. A server accepts a message, and sends a bounce later, which is matched by the
message's own MAIL FROM. All of it is told by signed webhooks, and failures to the sender's mailbox.
"""

import asyncio
import smtplib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from moxlib.cli.demo.plan import MOVED, POST
from moxlib.cli.demo.show import Display
from moxlib.dsn import DSN, MTA, Action, RecipientStatus, Returned, TypedAddress, compose, parse_dsn
from moxlib.localserve import LoopbackReceiver, Received
from moxlib.message import read_message
from moxlib.queue import (
    AccountConfig,
    DSNConfig,
    Event,
    EventType,
    Filed,
    FromIDConfig,
    HookConfig,
    MailboxTransport,
    Queue,
    Submission,
)
from moxlib.webhook import Outgoing, Secret

__all__ = ["LATER", "NEWS", "FeedbackStory", "Mailbox", "bounce_of", "news_account", "send_bounce", "tell"]

NEWS: Final = "news"
"""The account whose messages this part is about."""
SENDER: Final = "news@demo.example"
LATER: Final = "later.example"
"""The domain whose server accepts everything, and bounces it afterwards."""
REFUSED: Final = f"{MOVED}zoe@{POST}"
BOUNCED: Final = f"gone.max@{LATER}"
FILED: Final = 2  # the refusal and the suppression; a bounce has told its sender by itself
LIMIT: Final = 60.0  # seconds for each thing that is waited for; it takes milliseconds, and a busy machine has time
MAIL: Final = (
    f"From: Demo News <{SENDER}>\r\nSubject: The news\r\nMIME-Version: 1.0\r\n"
    "Content-Type: text/plain; charset=utf-8\r\n\r\nNothing new.\r\n"
).encode()

Bounce = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedbackStory:
    """What came of it."""

    lines: tuple[str, ...]
    problems: tuple[str, ...]
    """What was not as it should be, a sentence for each; nothing, if all is well."""


class Mailbox:
    """The sender's mailbox."""

    def __init__(self) -> None:
        self.filed: list[Filed] = []
        self._changed = asyncio.Condition()

    async def file(self, filed: Filed) -> None:
        """Keep it."""
        async with self._changed:
            self.filed.append(filed)
            self._changed.notify_all()

    async def wait_for(self, count: int) -> None:
        """Return once there are so many."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.filed) >= count)

    def transport(self) -> MailboxTransport:
        """Return what files notifications in it."""
        return MailboxTransport(self.file)


def news_account(url: str, secret: Secret) -> AccountConfig:
    """Return how the account hears of its messages."""
    return AccountConfig(
        webhook=HookConfig(url=url, secrets=(secret,), allow_private=True),
        fromids=FromIDConfig.of([], {"demo.example": ["+"]}),
        dsn=DSNConfig.mailbox(),
    )


def bounce_of(received: Received, hostname: str) -> bytes:
    """Return the notification of a server that had accepted a message and cannot deliver it."""
    [recipient] = received.recipients
    header = read_message(received.content).header
    status = RecipientStatus(
        final_recipient=TypedAddress(address=recipient),
        action=Action.FAILED,
        diagnostic_type="smtp",
        diagnostic_text=f"550 5.1.1 <{recipient}> has left",
    )
    dsn = DSN(
        reporting_mta=MTA(name=hostname),
        recipients=(status,),
        subject="Undelivered mail returned to sender",
        from_address=f"mailer-daemon@{hostname}",
        to_address=received.sender,
        message_id=f"<bounce@{hostname}>",
        text=f"Your message to {recipient} could not be delivered.",
        returned=Returned(content=header, whole=False),
    )
    return compose(dsn, smtputf8=False)


async def send_bounce(received: Received, hostname: str, port: int) -> None:
    """Send the notification to the server that the sender's mail comes in by."""
    await asyncio.to_thread(_send, received.sender, bounce_of(received, hostname), port)


def _send(recipient: str, mail: bytes, port: int) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=LIMIT) as client:
        client.sendmail("", [recipient], mail)


@dataclass(slots=True)
class _Telling:
    """What is known so far."""

    queue: Queue
    show: Display
    after: int
    """The last event that was waited for."""
    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    """Those that were waited for: of each, a webhook tells."""

    def say(self, text: str) -> None:
        self.lines.append(text)
        self.show.say(text)

    def expect(self, what: str, *, holds: bool) -> None:
        if not holds:
            self.problems.append(what)

    async def event(self, message: int, type_: EventType, *, dsn: bool = False) -> Event | None:
        """Return the event of a message, once it has happened."""
        try:
            async with asyncio.timeout(LIMIT):
                async for event in self.queue.events(after=self.after):
                    self.after = event.id
                    if (event.message, event.type, event.dsn) == (message, type_, dsn):
                        self.events.append(event)
                        return event
        except TimeoutError:
            self.problems.append(f"message {message} should have had the event {type_}, and did not")
        return None

    async def submit(self, recipient: str) -> Submission:
        [receipt] = await self.queue.submit(MAIL, account=NEWS, sender=SENDER, recipients=recipient, fromid=True)
        return receipt


async def tell(
    queue: Queue, *, receiver: LoopbackReceiver, mailbox: Mailbox, bounce: Bounce | None, show: Display
) -> FeedbackStory:
    """Send what is refused and what bounces, and see what is heard of it. A worker must be running.

    Args:
        queue: with `news_account` as account "news".
        receiver: of its webhooks.
        mailbox: of its sender.
        bounce: lets the server bounce what it has accepted; None: it does so by itself.
        show: where to tell of it.
    """
    telling = _Telling(queue=queue, show=show, after=await queue.last_event())
    telling.say("\nWhat comes back:")
    await _refused(telling)
    await _bounced(telling, bounce)
    await _told(telling, receiver, mailbox)
    return FeedbackStory(lines=tuple(telling.lines), problems=tuple(telling.problems))


async def _refused(telling: _Telling) -> None:
    first = await telling.submit(REFUSED)
    event = await telling.event(first.id, EventType.FAILED)
    suppression = await telling.queue.suppression(REFUSED, account=NEWS)
    if event is not None:
        telling.say(f"  {REFUSED} refuses message {first.id}: {event.error}")
    if suppression is None:
        telling.problems.append(f"{REFUSED} should be suppressed, and is not")
        return
    telling.say(f"  So it is suppressed: {suppression.reason}.")
    second = await telling.submit(REFUSED)
    telling.expect("submit did not say that the recipient is suppressed", holds=bool(second.suppressed))
    telling.say(f"  Submitted to it again: {second.suppressed}.")
    await telling.event(second.id, EventType.SUPPRESSED)
    retired = await telling.queue.get_retired(second.id)
    unsent = retired is not None and not any(result.peer for result in retired.results)
    telling.expect("a message to a suppressed recipient was sent", holds=unsent)


async def _bounced(telling: _Telling, bounce: Bounce | None) -> None:
    receipt = await telling.submit(BOUNCED)
    await telling.event(receipt.id, EventType.DELIVERED)
    telling.say(
        f"  {BOUNCED}: its server has accepted message {receipt.id}, sent as news+{receipt.fromid}@demo.example."
    )
    if bounce is not None:
        await bounce()
    event = await telling.event(receipt.id, EventType.FAILED, dsn=True)
    retired = await telling.queue.get_retired(receipt.id)
    if event is None or retired is None or not retired.feedback:
        return
    [told] = retired.feedback
    telling.say(f"  Then {told.reporter} sends a bounce, which is matched: {told.summary}")
    telling.expect("the bounce did not suppress its recipient", holds=event.suppressing)


async def _told(telling: _Telling, receiver: LoopbackReceiver, mailbox: Mailbox) -> None:
    wanted = [(event.message, event.type.value, event.dsn) for event in telling.events]
    heard: list[tuple[int, str, bool]] = []
    missing = wanted
    try:
        async with asyncio.timeout(LIMIT):
            while missing := [each for each in wanted if each not in heard]:
                items = await receiver.wait_for(len(heard) + 1)
                heard = [_about(item.payload) for item in items if isinstance(item.payload, Outgoing)]
            await mailbox.wait_for(FILED)
    except TimeoutError:
        telling.expect(f"no webhook told of {missing}", holds=not missing)
    told = ", ".join(f"{event}{' by DSN' if dsn else ''} ({message})" for message, event, dsn in wanted)
    telling.say(f"  Webhooks received, their signatures verified: {told}.")
    telling.expect(f"webhooks could not be verified: {receiver.refused}", holds=not receiver.refused)
    subjects = [parse_dsn(filed.content).subject for filed in mailbox.filed]
    telling.say(f"  In the mailbox of {SENDER}: {'; '.join(subjects)}.")
    telling.expect("the sender was told of two failures, each once", holds=len(subjects) == FILED)


def _about(payload: Outgoing) -> tuple[int, str, bool]:
    return payload.queue_msg_id, str(payload.event), payload.dsn
