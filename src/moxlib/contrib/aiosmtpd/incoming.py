"""`IncomingHandler`: mail that comes in by aiosmtpd, as feedback on what a queue sent."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moxlib.contrib.aiosmtpd.replies import refusal
from moxlib.errors import MoxlibError
from moxlib.queue import IncomingEnvelope, NotFeedback, Queue
from moxlib.smtp import InvalidAddress, parse_path

if TYPE_CHECKING:
    from aiosmtpd.smtp import SMTP, Envelope, Session

__all__ = ["IncomingHandler", "IncomingMail"]


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


class IncomingHandler:
    """An aiosmtpd handler that feeds `Queue.incoming`.

        handler = IncomingHandler(queue, accept=lambda address: address.endswith("@bounces.example.org"))

    A message is accepted once all that it says is durable; where that fails it is refused for now (451, 452, 421), and
    comes again. Recipients of several accounts are dealt with one account after the other.

    Args:
        queue: open, in the event loop that the server runs in.
        accept: says whether there is a recipient's address; None: all are taken. Others are answered 550 5.1.1.
        account: says whose address it is; None, or where it returns None: feedback on messages of any account.
        other: takes what is no feedback, durably, and returns "" or a reply by which it is refused, such as
            "550 5.7.1 no mail is read here"; what it raises refuses it for now. None: what no webhook tells of is
            refused, as nobody would read it.
    """

    def __init__(
        self,
        queue: Queue,
        *,
        accept: Callable[[str], bool] | None = None,
        account: Callable[[str], str | None] | None = None,
        other: Callable[[IncomingMail], Awaitable[str]] | None = None,
    ) -> None:
        self._queue = queue
        self._accept = accept
        self._account = account
        self._other = other

    async def handle_RCPT(  # noqa: N802 - aiosmtpd finds it by its name
        self,
        server: "SMTP",  # noqa: ARG002
        session: "Session",  # noqa: ARG002
        envelope: "Envelope",
        address: str,
        options: list[str],
    ) -> str:
        """Take a recipient, if there is one."""
        try:
            parse_path(address)
        except InvalidAddress as error:
            return refusal(error)
        if self._accept is not None and not self._accept(address):
            return "550 5.1.1 there is no such address here"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: "SMTP", session: "Session", envelope: "Envelope") -> str:  # noqa: ARG002, N802
        """Record what a message says; hand it on where it says nothing."""
        content = envelope.content
        assert isinstance(content, bytes), "aiosmtpd decodes only when told to"
        sender = envelope.mail_from or ""
        try:
            facts = IncomingEnvelope(
                recipients=tuple(envelope.rcpt_tos),
                mail_from="" if sender == "<>" else sender,
                remote_ip=_ip(session),
            )
            for account, recipients in self._by_account(facts.recipients).items():
                mine = replace(facts, recipients=recipients)
                outcome = await self._queue.incoming(content, mine, account=account)
                if isinstance(outcome, NotFeedback) and (reply := await self._hand_on(content, mine, account, outcome)):
                    return reply
        except MoxlibError as error:
            return refusal(error)
        return "250 2.0.0 OK"

    def _by_account(self, recipients: tuple[str, ...]) -> dict[str | None, tuple[str, ...]]:
        if self._account is None:
            return {None: recipients}
        found: dict[str | None, tuple[str, ...]] = {}
        for recipient in recipients:
            account = self._account(recipient)
            found[account] = (*found.get(account, ()), recipient)
        return found

    async def _hand_on(
        self, content: bytes, envelope: IncomingEnvelope, account: str | None, outcome: NotFeedback
    ) -> str:
        if self._other is None:
            return "" if outcome.webhooks else "550 5.7.1 only reports on mail that was sent are read here"
        mail = IncomingMail(content=content, envelope=envelope, account=account, automated=outcome.automated)
        return await self._other(mail)


def _ip(session: "Session") -> str:
    peer: object = session.peer
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""
