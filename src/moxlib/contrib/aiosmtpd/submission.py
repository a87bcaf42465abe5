"""`SubmissionHandler`: mail that is submitted by aiosmtpd goes to `Queue.submit`."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from moxlib._clock import Clock, SystemClock
from moxlib.contrib.aiosmtpd.parameters import MailParameters, read_recipient
from moxlib.contrib.aiosmtpd.replies import Refused, answered, refusal, reply
from moxlib.contrib.aiosmtpd.sessions import (
    MaybeAwaitable,
    Submitter,
    authenticated,
    received_field,
    resolved,
    within_tls,
)
from moxlib.queue import DSNRequest, Queue, RecipientDSN, RequireTLS, TooManyRecipients
from moxlib.queue.extra_headers import take_extra_headers
from moxlib.queue.fromid import given
from moxlib.queue.schedule import MAX_WAIT
from moxlib.smtp import Address, InvalidAddress, Path, parse_address, parse_path

if TYPE_CHECKING:
    from aiosmtpd.smtp import SMTP, Envelope, Session

__all__ = ["SubmissionHandler"]

MAX_SIZE_DIGITS: Final = 20  # RFC 1870 3


@dataclass(slots=True, kw_only=True)
class _Transaction:
    """What was said before DATA."""

    submitter: Submitter
    sender: str
    parameters: MailParameters
    not_before: datetime | None
    wishes: dict[str, RecipientDSN] = field(default_factory=dict)


class SubmissionHandler:
    """An aiosmtpd handler that hands what is submitted to `queue.submit`, and answers when that is durable.

        def identify(session: Session) -> Submitter:
            return Submitter(account=accounts[session.auth_data.login])

        handler = SubmissionHandler(queue, identify=identify)
        factory = handler.factory(authenticator=..., tls_context=..., require_starttls=True)
        server = await asyncio.get_running_loop().create_server(factory, "", 587)

    It takes SIZE, 8BITMIME and SMTPUTF8; and from `SubmissionSMTP`, whose `factory` this has, DSN (RET, ENVID, NOTIFY,
    ORCPT), FUTURERELEASE (HOLDFOR, HOLDUNTIL), and within TLS REQUIRETLS. `X-Mox-Extra-` fields become the message's
    extra data. The sender may bring a fromid along where its login address has fromids. A Received field is added.

    What cannot be queued is refused for good, with the reason; what cannot be stored is answered 451 or 452, for the
    client to try again. A message with a bare CR or LF is refused.

    The functions of the host's may be coroutine functions.

    Args:
        queue: an open one, in the event loop that the server runs in.
        identify: says who submits in a session; where it returns None, mail is refused. None: whom aiosmtpd has
            authenticated, for the empty account, and nobody else.
        may_send: whether somebody may send as this address, which is "" for the null reverse-path; None: as any.
        options: more arguments of `Queue.submit`, by who submits and what: `transport`, `schedule`, `idempotency_key`.
        received: whether a Received field is put before a message (RFC 5321 4.4).
        hostname: of this server, for Received; None: the queue's.
        show_address: name the client's IP address in Received. Recipients see it.
        clock: what the time is taken from.
    """

    def __init__(
        self,
        queue: Queue,
        *,
        identify: Callable[["Session"], MaybeAwaitable[Submitter | None]] | None = None,
        may_send: Callable[[Submitter, str], MaybeAwaitable[bool]] | None = None,
        options: Callable[[Submitter, bytes], MaybeAwaitable[Mapping[str, Any]]] | None = None,
        received: bool = True,
        hostname: str | None = None,
        show_address: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self._queue = queue
        self._identify = identify or authenticated
        self._may_send = may_send
        self._options = options
        self._received = received
        self._hostname = hostname or queue.config.hostname
        self._show_address = show_address
        self._clock: Clock = clock or SystemClock()
        self._said: WeakKeyDictionary[Envelope, _Transaction] = WeakKeyDictionary()

    def factory(self, **options: Any) -> Callable[[], "SMTP"]:
        """Return what `loop.create_server` makes connections with, in the loop that this is called in.

        Args:
            options: of `aiosmtpd.smtp.SMTP`, such as `authenticator` and `tls_context`. By default, it is
                `SubmissionSMTP` with SMTPUTF8, messages of the size that the queue takes, and its host name.

        Raises:
            MissingExtra: aiosmtpd is not installed.
        """
        from moxlib.contrib.aiosmtpd.server import SubmissionSMTP  # noqa: PLC0415 - an extra: reported when needed

        defaults = {
            "enable_SMTPUTF8": True,
            "data_size_limit": self._queue.config.max_message_size,
            "hostname": self._hostname,
            "loop": asyncio.get_running_loop(),
        }
        return lambda: SubmissionSMTP(self, **defaults | options)

    # aiosmtpd's hooks

    async def handle_EHLO(  # noqa: N802
        self,
        server: "SMTP",
        session: "Session",
        envelope: "Envelope",  # noqa: ARG002
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        """Say what is offered."""
        session.host_name = hostname
        offered: list[str] = []
        if hasattr(server, "parameters"):
            until = (self._clock.now() + MAX_WAIT).strftime("%Y-%m-%dT%H:%M:%SZ")
            offered = ["250-DSN", f"250-FUTURERELEASE {int(MAX_WAIT.total_seconds())} {until}"]
            if within_tls(server, session):
                offered.append("250-REQUIRETLS")  # RFC 8689 2: within TLS alone
        return [*responses[:-1], *offered, responses[-1]]

    async def handle_MAIL(  # noqa: N802
        self, server: "SMTP", session: "Session", envelope: "Envelope", address: str, options: list[str]
    ) -> str:
        """Take the sender."""
        return await answered(self._sender(server, session, envelope, address, options))

    async def handle_RCPT(  # noqa: N802
        self,
        server: "SMTP",
        session: "Session",  # noqa: ARG002
        envelope: "Envelope",
        address: str,
        options: list[str],
    ) -> str:
        """Take a recipient."""
        return await answered(self._recipient(server, envelope, address, options))

    async def handle_DATA(self, server: "SMTP", session: "Session", envelope: "Envelope") -> str:  # noqa: N802
        """Take the message."""
        return await answered(self._message(server, session, envelope))

    async def handle_exception(self, error: Exception) -> str:
        """Answer for what went wrong in aiosmtpd: the client tries again."""
        return refusal(error)

    # what they do

    async def _sender(
        self, server: "SMTP", session: "Session", envelope: "Envelope", address: str, options: list[str]
    ) -> str:
        submitter = await resolved(self._identify(session))
        if submitter is None:
            raise Refused(530, "5.7.0", "authentication required")
        sender = "" if address == "<>" else address
        try:
            _checked_path(sender or "<>", envelope)
        except InvalidAddress as error:
            raise Refused(553, "5.1.7", str(error)) from error
        _check_size(options, self._queue.config.max_message_size)
        parameters = MailParameters.read(getattr(server, "parameters", ()))
        if parameters.require_tls and not within_tls(server, session):
            raise Refused(530, "5.7.10", "REQUIRETLS is for connections in TLS")
        now = self._clock.now()
        not_before = parameters.not_before(now)
        if not_before is not None and not_before > now + MAX_WAIT:
            raise Refused(501, "5.5.4", f"no message is held for more than {MAX_WAIT.days} days")
        if self._may_send is not None and not await resolved(self._may_send(submitter, sender)):
            raise Refused(550, "5.7.1", "you may not send as this address")
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        self._said[envelope] = _Transaction(
            submitter=submitter, sender=sender, parameters=parameters, not_before=not_before
        )
        return reply(250, "2.1.0", "OK")

    async def _recipient(self, server: "SMTP", envelope: "Envelope", address: str, options: list[str]) -> str:
        if _checked_path(address, envelope).is_null:
            raise InvalidAddress("the null path receives nothing", address)
        maximum = self._queue.config.max_recipients
        if len(envelope.rcpt_tos) >= maximum:
            raise TooManyRecipients(maximum)
        wish = read_recipient(getattr(server, "parameters", ()))
        if wish is not None:
            self._said[envelope].wishes[address] = wish
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return reply(250, "2.1.5", "OK")

    async def _message(self, server: "SMTP", session: "Session", envelope: "Envelope") -> str:
        content, said = envelope.content, self._said[envelope]
        assert isinstance(content, bytes), "aiosmtpd decodes only when told to"
        taken = take_extra_headers(content)
        received = (
            b""
            if not self._received
            else received_field(
                session,
                tls=within_tls(server, session),
                smtputf8=envelope.smtp_utf8,
                hostname=self._hostname,
                recipients=envelope.rcpt_tos,
                show_address=self._show_address,
                now=self._clock.now(),
            )
        )
        asked = said.parameters
        arguments: dict[str, Any] = {
            "account": said.submitter.account,
            "sender": said.sender,
            "recipients": tuple(envelope.rcpt_tos),
            "extra": taken.extra,
            "require_tls": RequireTLS.YES if asked.require_tls else None,
            "not_before": said.not_before,
            "dsn": DSNRequest(ret=asked.ret, envid=asked.envid, recipients=said.wishes),
            "login": said.submitter.login,
            "fromid": self._fromid(said.submitter, said.sender),
        }
        if self._options is not None:
            arguments |= await resolved(self._options(said.submitter, content))
        receipts = await self._queue.submit(received + taken.block + content[taken.size :], **arguments)
        return reply(250, "2.0.0", f"queued as {receipts[0].base_id}")

    def _fromid(self, submitter: Submitter, sender: str) -> str | None:
        """Return the fromid that a sender brings along; None where there is none, or where it is but a part of it."""
        fromids = self._queue.config.fromids_for(submitter.account)
        if not sender or submitter.login is None:
            return None
        address = parse_path(sender).address
        if not isinstance(address, Address) or not fromids.applies(parse_address(submitter.login), address):
            return None
        return given(address, fromids.separators_for(address)) or None


def _checked_path(address: str, envelope: "Envelope") -> Path:
    """Return an address, if it is one; beyond ASCII, in a transaction with SMTPUTF8.

    Raises:
        InvalidAddress: it is none.
        Refused: 553 5.6.7 (RFC 6531 3.5).
    """
    path = parse_path(address)
    if not address.isascii() and not envelope.smtp_utf8:
        raise Refused(553, "5.6.7", "an address beyond ASCII needs SMTPUTF8")
    return path


def _check_size(options: list[str], maximum: int) -> None:
    """Refuse a message that says itself that it is too large (RFC 1870 6.1); its digits, aiosmtpd has checked."""
    for option in options:
        name, _, value = option.partition("=")
        if name.upper() == "SIZE" and (len(value) > MAX_SIZE_DIGITS or int(value) > maximum):
            raise Refused(552, "5.3.4", f"message is larger than the limit of {maximum}")
