"""`SubmissionHandler`: mail that programs submit by aiosmtpd, into a queue."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final

from moxlib.contrib.aiosmtpd.replies import refusal
from moxlib.errors import MoxlibError
from moxlib.queue import Queue
from moxlib.queue.extra_headers import take_extra_headers
from moxlib.queue.fromid import FromIDForSeveral, given
from moxlib.smtp import Address, InvalidAddress, parse_address, parse_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiosmtpd.smtp import SMTP, Envelope, Session

__all__ = ["SubmissionHandler", "Submitter"]

_host_name = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.:-]{0,253})|\[[A-Za-z0-9.:]{1,60}\]").fullmatch
_ip = re.compile(r"[0-9A-Fa-f.:]{2,45}").fullmatch
MAX_LOGIN: Final = 256  # octets; an address has no more


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitter:
    """Who submits."""

    account: str = ""
    login: str | None = None
    """The address that was logged in with: by it, `QueueConfig.fromids` may want fromids."""


class SubmissionHandler:
    """An aiosmtpd handler that feeds `Queue.submit`.

        def identify(session: Session) -> Submitter:
            return Submitter(account=accounts[session.auth_data.login])

        handler = SubmissionHandler(queue, identify=identify)

    A message is accepted once it is on disk. `X-Mox-Extra-*` headers become its extra map, and are not sent. A fromid
    that stands in MAIL FROM is used, where the submitter has fromids; else each recipient gets one. It makes no check
    of who may send as whom: that is for `identify`, and for aiosmtpd's `authenticator` and `auth_required`.

    aiosmtpd knows no DSN parameters, so that none are taken.

    Args:
        queue: open, in the event loop that the server runs in.
        identify: says who submits in a session; None: the empty account, and whom aiosmtpd has authenticated as the
            login, if that is an address.
        received: whether a Received line is put before a message (RFC 5321 4.4).
    """

    def __init__(
        self, queue: Queue, *, identify: "Callable[[Session], Submitter] | None" = None, received: bool = True
    ) -> None:
        self._queue = queue
        self._identify = identify or _authenticated
        self._received = received

    async def handle_RCPT(  # noqa: N802 - aiosmtpd finds it by its name
        self,
        server: "SMTP",  # noqa: ARG002
        session: "Session",  # noqa: ARG002
        envelope: "Envelope",
        address: str,
        options: list[str],
    ) -> str:
        """Take a recipient that is an address, as many as a message may have."""
        try:
            parse_path(address)
        except InvalidAddress as error:
            return refusal(error)
        if len(envelope.rcpt_tos) >= self._queue.config.max_recipients:
            return "452 4.5.3 too many recipients"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: "SMTP", session: "Session", envelope: "Envelope") -> str:  # noqa: N802
        """Queue a message."""
        content = envelope.content
        assert isinstance(content, bytes), "aiosmtpd decodes only when told to"
        submitter = self._identify(session)
        sender = envelope.mail_from or ""
        sender = "" if sender == "<>" else sender
        try:
            headers = take_extra_headers(content)
            prefix = _received(server, session, envelope) if self._received else b""
            receipts = await self._queue.submit(
                prefix + headers.block + content[headers.size :],
                account=submitter.account,
                sender=sender,
                recipients=envelope.rcpt_tos,
                extra=headers.extra,
                login=submitter.login,
                fromid=self._fromid(submitter, sender, len(envelope.rcpt_tos)),
            )
        except MoxlibError as error:
            return refusal(error)
        return f"250 2.0.0 queued as {receipts[0].base_id}"

    def _fromid(self, submitter: Submitter, sender: str, recipients: int) -> str | None:
        """Return the fromid that MAIL FROM brings along, if the submitter has such; None: as the login wants.

        Raises:
            FromIDForSeveral: there are several recipients.
        """
        login, address = _address(submitter.login or ""), _address(sender)
        if address is None:
            return None
        config = self._queue.config.fromids_for(submitter.account)
        if not config.applies(login, address):
            return None
        fromid = given(address, config.separators_for(address))
        if fromid and recipients > 1:
            raise FromIDForSeveral(sender=sender)
        return fromid or None


def _authenticated(session: "Session") -> Submitter:
    """Return whom aiosmtpd has authenticated."""
    login = getattr(session.auth_data, "login", None) if session.authenticated else None
    if isinstance(login, bytes):
        login = login[:MAX_LOGIN].decode("utf-8", "replace")
    return Submitter(login=login if isinstance(login, str) and _address(login) is not None else None)


def _address(text: str) -> Address | None:
    try:
        return parse_address(text)
    except InvalidAddress:
        return None


def _received(server: "SMTP", session: "Session", envelope: "Envelope") -> bytes:
    """Return the trace line; what a client calls itself is in it only where that is a name."""
    name = session.host_name or ""
    name = name if _host_name(name) else "unknown"
    peer: object = session.peer
    ip = str(peer[0]) if isinstance(peer, tuple) and peer else ""
    source = f"{name} ([{'IPv6:' if ':' in ip else ''}{ip}])" if _ip(ip) else name
    protocol = "UTF8SMTP" if envelope.smtp_utf8 else "ESMTP" if session.extended_smtp else "SMTP"
    protocol += "S" if session.ssl else ""
    protocol += "A" if session.authenticated else ""
    date = format_datetime(datetime.now(UTC))
    return f"Received: from {source}\r\n\tby {server.hostname} with {protocol};\r\n\t{date}\r\n".encode("ascii")
