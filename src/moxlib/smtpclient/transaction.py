"""One mail transaction, from MAIL FROM to the reply to the final dot, with an outcome for each recipient. No I/O."""

import re
from collections.abc import Sequence
from typing import Final

from moxlib.errors import InputError, MoxlibError, StateError
from moxlib.smtp import END_OF_DATA, DotStuffer, dot_stuff
from moxlib.smtpclient.errors import (
    CannotCarry,
    ConnectionLost,
    ExtensionMissing,
    InvalidContent,
    MessageTooLarge,
    ProtocolError,
    ReplyError,
    SMTPError,
)
from moxlib.smtpclient.reply import Command, Reply
from moxlib.smtpclient.result import Accepted, DeliveryResult, NotSent, RecipientResult, Refused, Unknown
from moxlib.smtpclient.session import COMPLETED, Exchange, Session, Steps

__all__ = ["Transaction"]

MAX_ADDRESS: Final = 1_000  # characters. RFC 5321 4.5.3.1.3 says 256 octets; what a server takes, it may say itself.
_WILL_FORWARD: Final = 251  # RFC 5321 3.4: a success too
_START_DATA: Final = 354
_ERROR: Final = 400
_TOO_MANY: Final = frozenset({452, 552})  # RFC 5321 4.5.3.1.10: 552 is to be treated as 452
_MAILBOX_FULL: Final = 552

# What would end the command or the path. Within a quoted localpart blanks and angle brackets are in order.
_bad_character = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]").search
_bad_unquoted = re.compile(r"[\x00-\x20\x7f-\x9f\ud800-\udfff<>]").search
_bare = re.compile(rb"\r(?!\n)|(?<!\r)\n").search


class Transaction(Exchange[DeliveryResult]):
    """Sends one message to recipients at one server; see `Session.submit`. It never fails: its result says all.

    Attributes:
        ended: the final dot was given to the connection: from here on a lost connection leaves `Unknown`.
            Until `Session.data_to_send` has returned it, nothing can have arrived.
        wants_content: the peer waits for content that comes in chunks: `feed` them, then call `end`.
    """

    __slots__ = (
        "_answered",
        "_content",
        "_final",
        "_lines_checked",
        "_mail",
        "_mail_from",
        "_parameters",
        "_rcpt_replies",
        "_recipients",
        "_session",
        "_stuffer",
        "ended",
        "fault",
        "wants_content",
    )

    def __init__(
        self,
        session: Session,
        *,
        mail_from: str,
        recipients: Sequence[str],
        content: bytes | None,
        size: int,
        needs_8bit: bool = False,
        needs_smtputf8: bool = False,
        require_tls: bool = False,
        lines_checked: bool = False,
    ) -> None:
        """Check what was given; nothing is sent before the transaction is submitted.

        Args:
            session: the session that it will be submitted to.
            mail_from: the reverse-path's address as it stands between angle brackets; empty for a DSN.
            recipients: the addresses, at least one.
            content: the message, lines ended by CRLF; None when it will be fed in chunks.
            size: the message's length in bytes.
            needs_8bit: it has bytes over 127: the peer has to offer 8BITMIME.
            needs_smtputf8: its header or addresses are international: the peer has to offer SMTPUTF8.
                Implied by an address that is not ASCII.
            require_tls: the peer has to offer REQUIRETLS, over TLS (RFC 8689).
            lines_checked: the content has no bare CR or LF, so far as the caller knows; they are not looked for.

        Raises:
            InputError: an address that cannot stand in a command, or no recipients.
        """
        if not recipients:
            raise InputError("a transaction needs at least one recipient")
        ascii_only = _checked(mail_from) if mail_from else True
        for recipient in recipients:
            if not recipient:
                raise InputError("a recipient's address is empty")
            ascii_only &= _checked(recipient)
        super().__init__(self._run())
        self._session = session
        self._mail_from = mail_from
        self._recipients = recipients
        self._content = content
        self._lines_checked = lines_checked
        self._stuffer = (DotStuffer() if lines_checked else _CheckedStuffer()) if content is None else None
        self.fault: CannotCarry | None
        self.fault, self._parameters = _parameters(
            session,
            size=size,
            needs_8bit=needs_8bit,
            needs_smtputf8=needs_smtputf8 or not ascii_only,
            require_tls=require_tls,
        )
        self._mail: Reply | None = None
        self._rcpt_replies: list[Reply | None] = [None] * len(recipients)
        self._final: tuple[Command, Reply] | None = None
        self._answered = False
        self.ended: bool = False
        self.wants_content: bool = False

    # Content in chunks

    def feed(self, chunk: bytes) -> bytes:
        """Return `chunk` as it has to be sent.

        Raises:
            StateError: the peer does not wait for content.
            InvalidContent: a bare CR or LF; the transaction cannot be ended: close the connection.
        """
        if self._stuffer is None or not self.wants_content:
            raise StateError("the server does not wait for content")
        return self._stuffer.feed(chunk)

    def end(self) -> None:
        """Send the final dot; the reply to it is the transaction's outcome.

        Raises:
            StateError: the peer does not wait for content.
            InvalidContent: the last byte was a bare CR.
        """
        if self._stuffer is None or not self.wants_content:
            raise StateError("the server does not wait for content")
        self._send_end(self._stuffer.finish())
        self.awaiting: Command | None = Command.END_OF_DATA
        self._session.proceed()

    def _send_end(self, data: bytes) -> None:
        self.wants_content = False
        self._session.send(data, sent=self._note_end)
        self._session.needs_reset = False  # RFC 5321 4.1.1.4: whatever the reply, the transaction is over
        self.whole = True

    def _note_end(self) -> None:
        self.ended = True

    # Steps

    def _run(self) -> Steps[DeliveryResult]:
        session = self._session
        error: MoxlibError | None = None
        command = Command.MAIL
        try:
            session.check()
            if self.fault is not None:
                raise self.fault
            if session.needs_reset:
                yield from self._reset()
            session.needs_reset = True
            session.transactions += 1
            start = yield from (self._grouped() if session.extensions.pipelining else self._stepwise())
            if start:
                yield from self._send_content()
        except (SMTPError, InvalidContent) as failure:
            error = failure
            command = failure.command if isinstance(failure, SMTPError) else Command.CONTENT
        return self._outcome(error, command)

    def _reset(self) -> Steps[None]:
        """RSET; where that is refused, nobody knows what the server has kept, and it is not this message's fault."""
        try:
            yield from self._session.reset_steps()
        except ReplyError as error:
            self._session.break_off(error)
            raise

    def _grouped(self) -> Steps[bool]:
        """MAIL, all RCPT and DATA in one group (RFC 2920); return whether to send the content."""
        session = self._session
        lines = ">\r\nRCPT TO:<".join(self._recipients)
        session.send(f"MAIL FROM:<{self._mail_from}>{self._parameters}\r\nRCPT TO:<{lines}>\r\nDATA\r\n".encode())
        self._mail = yield Command.MAIL
        self._answered = True
        accepted = 0
        for index in range(len(self._recipients)):
            reply = yield Command.RCPT
            self._rcpt_replies[index] = reply
            accepted += _accepts(reply)
        data = yield Command.DATA
        if self._mail.code == COMPLETED and accepted:
            return self._may_start(data)
        if data.code == _START_DATA:
            if accepted:  # MAIL was refused, so whose recipients are these? A dot would send them an empty message.
                error = ProtocolError(command=Command.DATA, reason="354 though MAIL was refused", lines=data.lines)
                session.break_off(error)
                raise error
            session.send(END_OF_DATA)  # RFC 2920 3.1: ends a DATA that was taken though no recipient was
            yield Command.DATA
        return False

    def _stepwise(self) -> Steps[bool]:
        """One command at a time; return whether to send the content."""
        session = self._session
        session.send(f"MAIL FROM:<{self._mail_from}>{self._parameters}\r\n".encode())
        self._mail = yield Command.MAIL
        self._answered = True
        if self._mail.code != COMPLETED:
            return False
        accepted = 0
        for index, recipient in enumerate(self._recipients):
            session.send(f"RCPT TO:<{recipient}>\r\n".encode())
            reply = yield Command.RCPT
            self._rcpt_replies[index] = reply
            accepted += _accepts(reply)
            if index and reply.code in _TOO_MANY:  # The others would hear the same.
                rest = len(self._recipients) - index
                self._rcpt_replies[index:] = [reply] * rest
                break
        if not accepted:
            return False
        session.send(b"DATA\r\n")
        return self._may_start((yield Command.DATA))

    def _may_start(self, data: Reply) -> bool:
        if data.code == _START_DATA:
            return True
        self._final = (Command.DATA, data)
        return False

    def _send_content(self) -> Steps[None]:
        if self._content is None:
            self.wants_content = True
            self.wake()
            reply = yield Command.CONTENT
        else:
            bare = -1 if self._lines_checked else _first_bare(self._content)
            if bare >= 0:
                error = InvalidContent(bare)
                reason = f"the content cannot be sent: {error}"
                self._session.break_off(ConnectionLost(command=Command.CONTENT, reason=reason))
                raise error
            stuffed = dot_stuff(self._content)
            self._content = None
            end = END_OF_DATA if stuffed.endswith(b"\r\n") or not stuffed else b"\r\n" + END_OF_DATA
            self._send_end(stuffed + end)
            reply = yield Command.END_OF_DATA
        if not self.ended:  # An answer before the end: the rest would be taken for commands.
            self.wants_content = False
            early = ProtocolError(command=Command.CONTENT, reason="a reply before the final dot", lines=reply.lines)
            self._session.break_off(early)
            if reply.code < _ERROR:
                raise early
        self._final = (Command.END_OF_DATA if self.ended else Command.CONTENT, reply)

    # Outcome

    def _outcome(self, error: MoxlibError | None, command: Command) -> DeliveryResult:
        mail = self._mail
        if mail is not None and mail.code != COMPLETED:
            self._final = (Command.MAIL, mail)
        results = [self._of(index, error, command) for index in range(len(self._recipients))]
        return DeliveryResult(
            recipients=tuple(results),
            rcpt_replies=tuple(self._rcpt_replies),
            usable=self._session.usable,
            answered=self._answered,
        )

    def _of(self, index: int, error: MoxlibError | None, command: Command) -> RecipientResult:
        """What became of one recipient, given what ended the transaction."""
        recipient = self._recipients[index]
        final = self._final
        reply = self._rcpt_replies[index]
        if reply is not None and not _accepts(reply) and (final is None or final[0] is not Command.MAIL):
            return Refused(
                recipient=recipient,
                command=Command.RCPT,
                reply=reply,
                permanent=reply.permanent and reply.code != _MAILBOX_FULL,
                further_transaction=index > 0 and reply.code in _TOO_MANY and not self._first_is_too_many(),
            )
        if final is not None:
            command, reply = final
            if self.ended and reply.code == COMPLETED:
                return Accepted(recipient=recipient, reply=reply)
            return Refused(recipient=recipient, command=command, reply=reply, permanent=reply.permanent)
        assert error is not None
        if self.ended and isinstance(error, SMTPError):
            return Unknown(recipient=recipient, error=error)
        return NotSent(
            recipient=recipient,
            command=command,
            error=error,
            local=isinstance(error, CannotCarry | InputError),
            permanent=isinstance(error, CannotCarry) and error.permanent,
        )

    def _first_is_too_many(self) -> bool:
        """Whether the first recipient was one too many already: then it is not their number that is wrong."""
        first = self._rcpt_replies[0]
        return first is not None and first.code in _TOO_MANY


def _accepts(reply: Reply) -> bool:
    return reply.code in (COMPLETED, _WILL_FORWARD)


def _checked(address: str) -> bool:
    """Return whether an address is ASCII; raise `InputError` when it cannot stand in a command."""
    quoted = address.startswith('"')
    if (_bad_character if quoted else _bad_unquoted)(address) or len(address) > MAX_ADDRESS:
        raise InputError(f"not an address to send to or from: {address[:100]!r}")
    return address.isascii()


def _parameters(
    session: Session, *, size: int, needs_8bit: bool, needs_smtputf8: bool, require_tls: bool
) -> tuple[CannotCarry | None, str]:
    """Return what the peer lacks, or else the parameters of MAIL FROM."""
    extensions = session.extensions
    if needs_8bit and not extensions.eight_bit_mime:
        return ExtensionMissing(command=Command.EHLO, extension="8BITMIME", permanent=True), ""
    if needs_smtputf8 and not extensions.smtputf8:  # Not for good: another of the domain's hosts may have it.
        return ExtensionMissing(command=Command.EHLO, extension="SMTPUTF8", permanent=False), ""
    if require_tls and not (extensions.require_tls and session.tls):
        return ExtensionMissing(command=Command.EHLO, extension="REQUIRETLS", permanent=False), ""
    if extensions.size and size > extensions.size:
        return MessageTooLarge(command=Command.EHLO, size=size, limit=extensions.size), ""
    parameters = f" SIZE={size}" if extensions.size is not None else ""
    if extensions.eight_bit_mime:
        parameters += " BODY=8BITMIME" if needs_8bit else " BODY=7BIT"
    if needs_smtputf8:
        parameters += " SMTPUTF8"
    if require_tls:
        parameters += " REQUIRETLS"
    return None, parameters


def _first_bare(data: bytes) -> int:
    """Return the offset of the first CR or LF that is no line end; -1 when there is none."""
    ends = data.count(b"\r\n")
    if data.count(b"\n") == ends and data.count(b"\r") == ends:  # Four times as fast as the search.
        return -1
    bare = _bare(data)
    return bare.start() if bare is not None else -1


class _CheckedStuffer(DotStuffer):
    """A `DotStuffer` that refuses a bare CR or LF, wherever the chunks are cut."""

    __slots__ = ("_cr", "_length")

    def __init__(self) -> None:
        super().__init__()
        self._cr = b""  # a CR that ended the last chunk
        self._length = 0  # of what was checked, that CR left out

    def feed(self, chunk: bytes) -> bytes:
        """Return `chunk` stuffed.

        Raises:
            InvalidContent: a bare CR or LF.
        """
        data = self._cr + chunk if self._cr and chunk else chunk
        if chunk:
            self._cr = data[-1:] if data.endswith(b"\r") else b""
            checked = data[:-1] if self._cr else data
            bare = _first_bare(checked)
            if bare >= 0:
                raise InvalidContent(self._length + bare)
            self._length += len(checked)
        return super().feed(chunk)

    def finish(self) -> bytes:
        """Return what ends the data.

        Raises:
            InvalidContent: the last byte was a bare CR.
        """
        if self._cr:
            raise InvalidContent(self._length)
        return super().finish()
