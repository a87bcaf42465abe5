"""`IncomingHandler`: mail that comes in by aiosmtpd goes to `Queue.incoming`."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, assert_never
from weakref import WeakKeyDictionary

from moxlib.contrib.aiosmtpd.replies import Refused, answered, checked, refusal, reply
from moxlib.contrib.aiosmtpd.sessions import MaybeAwaitable, remote_ip, resolved
from moxlib.errors import InputError
from moxlib.message import check_lines
from moxlib.queue import IncomingEnvelope, NotFeedback, Queue, RecordedFeedback
from moxlib.smtp import InvalidAddress, parse_path

if TYPE_CHECKING:
    from aiosmtpd.smtp import SMTP, Envelope, Session

__all__ = ["IncomingHandler", "IncomingMail"]

OK: Final = "250 2.0.0 OK"
MAX_RECIPIENTS: Final = 100  # of a transaction, the least that has to be taken (RFC 5321 4.5.3.1.8); bounces have one
MAX_MESSAGE: Final = 32 * 1024 * 1024  # octets, held in memory; bounces that return a message whole are the largest


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingMail:
    """Mail that is no feedback, on its way to the host."""

    content: bytes
    """As it came: CRLF line ends, dots unstuffed."""
    envelope: IncomingEnvelope
    account: str | None
    """As the handler's `account` says of its recipients."""
    automated: bool
    """A program sent it, so that none should answer it."""
    webhooks: int = 0
    """How many webhooks tell of it."""


class IncomingHandler:
    """An aiosmtpd handler that hands what comes in to `queue.incoming`, and answers when that is durable.

        handler = IncomingHandler(queue, accept=lambda recipient: recipient.endswith("@bounces.example.org"))
        server = await asyncio.get_running_loop().create_server(handler.factory(), "", 25)

    Feedback is answered 250 once it is recorded. Where it cannot be stored, or anything else goes wrong on this side,
    the answer is 451, and the sender tries again; what is handed in twice is recorded once. A message with a bare CR or
    LF is refused, since servers disagree on where such a one ends.

    The mail of a transaction is one account's: a recipient of another is answered 452, whereupon its sender begins a
    further transaction.

    The functions of the host's may be coroutine functions. aiosmtpd cancels what runs for a client that goes away.

    Args:
        queue: an open one, in the event loop that the server runs in.
        accept: whether a recipient's mail is taken; None: everybody's. What is no feedback is still refused, unless
            one of the next says otherwise.
        account: whose mail a recipient's is, as `Queue.incoming` has it; None: nobody's in particular.
        other: takes what is no feedback, durably, and returns "" or a reply by which it is refused, such as
            "552 5.2.2 mailbox full"; what it raises refuses it for now. What a sender hears no answer to, it repeats.
        discard_other: accept mail that is no feedback, and forget it. Otherwise, without `other`, it is refused unless
            a webhook tells of it.

    Raises:
        InputError: both `other` and `discard_other`.
    """

    def __init__(
        self,
        queue: Queue,
        *,
        accept: Callable[[str], MaybeAwaitable[bool]] | None = None,
        account: Callable[[str], MaybeAwaitable[str | None]] | None = None,
        other: Callable[[IncomingMail], Awaitable[str]] | None = None,
        discard_other: bool = False,
    ) -> None:
        if other is not None and discard_other:
            raise InputError("what is no feedback is either handed to `other`, or discarded")
        self._queue = queue
        self._accept = accept
        self._account = account
        self._other = other
        self._discard_other = discard_other
        self._for: WeakKeyDictionary[Envelope, str | None] = WeakKeyDictionary()  # whose mail a transaction is

    def factory(self, **options: Any) -> Callable[[], "SMTP"]:
        """Return what `loop.create_server` makes connections with, in the loop that this is called in.

        Args:
            options: of `aiosmtpd.smtp.SMTP`, such as `tls_context`. By default, it is `IncomingSMTP` with SMTPUTF8,
                messages up to 32 MiB, and the queue's host name.

        Raises:
            MissingExtra: aiosmtpd is not installed.
        """
        from moxlib.contrib.aiosmtpd.server import IncomingSMTP  # noqa: PLC0415 - an extra: reported when it is needed

        defaults = {
            "enable_SMTPUTF8": True,
            "data_size_limit": MAX_MESSAGE,
            "hostname": self._queue.config.hostname,
            "loop": asyncio.get_running_loop(),
        }
        return lambda: IncomingSMTP(self, **defaults | options)

    # aiosmtpd's hooks

    async def handle_MAIL(  # noqa: N802
        self,
        server: "SMTP",  # noqa: ARG002
        session: "Session",  # noqa: ARG002
        envelope: "Envelope",
        address: str,
        options: list[str],
    ) -> str:
        """Take the sender."""
        try:
            parse_path(address)
        except InvalidAddress as error:
            return reply(553, "5.1.7", str(error))
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return reply(250, "2.1.0", "OK")

    async def handle_RCPT(  # noqa: N802
        self,
        server: "SMTP",  # noqa: ARG002
        session: "Session",  # noqa: ARG002
        envelope: "Envelope",
        address: str,
        options: list[str],
    ) -> str:
        """Take a recipient, if it is one."""
        return await answered(self._recipient(envelope, address, options))

    async def handle_DATA(self, server: "SMTP", session: "Session", envelope: "Envelope") -> str:  # noqa: ARG002, N802
        """Take the message."""
        return await answered(self._message(session, envelope))

    async def handle_exception(self, error: Exception) -> str:
        """Answer for what went wrong in aiosmtpd: the client tries again."""
        return refusal(error)

    # what they do

    async def _recipient(self, envelope: "Envelope", address: str, options: list[str]) -> str:
        if parse_path(address).is_null:
            raise InvalidAddress("the null path receives nothing", address)
        if len(envelope.rcpt_tos) >= MAX_RECIPIENTS:
            raise Refused(452, "4.5.3", "too many recipients; the others in another transaction")
        if self._accept is not None and not await resolved(self._accept(address)):
            raise Refused(550, "5.1.1", "no such recipient here")
        whose = None if self._account is None else await resolved(self._account(address))
        if envelope.rcpt_tos and self._for[envelope] != whose:
            raise Refused(452, "4.5.3", "of another account than those before it: in another transaction")
        self._for[envelope] = whose
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return reply(250, "2.1.5", "OK")

    async def _message(self, session: "Session", envelope: "Envelope") -> str:
        message = envelope.content
        assert isinstance(message, bytes), "aiosmtpd decodes only when told to"
        check_lines(message)
        arrived = IncomingEnvelope(
            recipients=tuple(envelope.rcpt_tos),
            mail_from="" if envelope.mail_from == "<>" else envelope.mail_from or "",
            remote_ip=remote_ip(session),
        )
        account = self._for[envelope]
        found = await self._queue.incoming(message, arrived, account=account)
        match found:
            case RecordedFeedback():
                return OK
            case NotFeedback():
                mail = IncomingMail(
                    content=message,
                    envelope=arrived,
                    account=account,
                    automated=found.automated,
                    webhooks=found.webhooks,
                )
                return await self._no_feedback(mail)
            case _:
                assert_never(found)

    async def _no_feedback(self, mail: IncomingMail) -> str:
        if self._other is not None:
            answer = await self._other(mail)
            return checked(answer) if answer else OK
        if self._discard_other or mail.webhooks:
            return OK
        raise Refused(550, "5.7.1", "only reports on mail that was sent from here are taken")
