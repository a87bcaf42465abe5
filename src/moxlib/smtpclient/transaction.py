"""One mail transaction, from MAIL FROM to the reply to the end of the message; an outcome for each recipient. No I/O.

The message goes by DATA, or as one chunk by BDAT (RFC 3030) where that saves a wait for the peer:

- with PIPELINING, a message of up to `MAX_IN_GROUP` bytes follows MAIL and RCPT in the same group, so that the whole
  transaction takes one round trip. If no recipient is taken, it was sent for nothing.
- without, it follows the replies to RCPT, which saves the wait for 354.

A peer that announces CHUNKING and then does not know BDAT may take the message for commands, so the session ends there;
`DeliveryResult.chunking_refused` says so.
"""

import contextlib
from collections.abc import Sequence
from typing import Final

from moxlib._making import maker
from moxlib.errors import MoxlibError, StateError
from moxlib.smtp import END_OF_DATA, DotStuffer
from moxlib.smtpclient.content import CheckedStuffer, as_chunk, as_data, check_lines
from moxlib.smtpclient.dsn import DSNParameters
from moxlib.smtpclient.envelope import check_addresses, mail_parameters, rcpt_commands
from moxlib.smtpclient.errors import CannotCarry, ConnectionLost, InvalidContent, ProtocolError, ReplyError, SMTPError
from moxlib.smtpclient.reply import Command, Reply
from moxlib.smtpclient.result import Accepted, DeliveryResult, NotSent, RecipientResult, Refused, Unknown
from moxlib.smtpclient.session import COMPLETED, RSET, Exchange, Session, Steps

__all__ = ["MAX_IN_GROUP", "Transaction"]

MAX_IN_GROUP: Final = 64 * 1024
"""Bytes of a message that may be sent before the peer has taken a recipient. Most messages have fewer; and what a
refused one wastes takes no longer than the round trip that the others save, on a link of 25 Mbit/s and 20 ms."""

_SUCCESS: Final = range(200, 300)  # RFC 5321 4.2.1: by the first digit, where the code is not one expected
_REFUSAL: Final = range(400, 600)
# To the end of a message, as mox: 250 is the only success, and what is no 5xx otherwise is a refusal for now.
_REPLIES: Final = range(200, 600)
_START_DATA: Final = 354
_TOO_MANY: Final = frozenset({452, 552})  # RFC 5321 4.5.3.1.10: of a recipient too many, 552 is 452
_BAD_SEQUENCE: Final = 503  # to BDAT: there are no recipients (as to DATA); where there are, it does not work
_NO_SUCH_COMMAND: Final = frozenset({500, 502})
_make_result: Final = maker(DeliveryResult)


class Transaction(Exchange[DeliveryResult]):
    """Sends one message to recipients at one server; see `Session.submit`. It never fails: its result says all.

    Attributes:
        ended: the whole message, with what ends it, was given to the connection: from here on a lost connection leaves
            `Unknown`. Until `Session.data_to_send` has returned it, nothing can have arrived.
        wants_content: the peer waits for content that comes in chunks: `feed` them, then call `end`.
    """

    __slots__ = (
        "_answered",
        "_chunking",
        "_chunking_refused",
        "_content",
        "_data",
        "_final",
        "_finals",
        "_lines_checked",
        "_mail",
        "_mail_command",
        "_number",
        "_rcpt_commands",
        "_rcpt_replies",
        "_recipients",
        "_session",
        "_stuffer",
        "_taken_anyway",
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
        dsn: DSNParameters | None = None,
        chunking: bool = True,
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
            dsn: what is asked of delivery status notifications; left out where the peer does not offer DSN.
            chunking: BDAT may be used where it saves a round trip.

        Raises:
            InputError: an address that cannot stand in a command, no recipients, or DSN parameters for others.
        """
        ascii_only = check_addresses(mail_from, recipients, dsn)
        super().__init__(self._run())
        extensions = session.extensions
        smtputf8 = needs_smtputf8 or not ascii_only
        asked = dsn if extensions.dsn else None
        self.fault: CannotCarry | None
        self.fault, parameters = mail_parameters(
            session, size=size, needs_8bit=needs_8bit, needs_smtputf8=smtputf8, require_tls=require_tls, dsn=asked
        )
        self._session = session
        self._mail_command = f"MAIL FROM:<{mail_from}>{parameters}\r\n"
        self._rcpt_commands = rcpt_commands(recipients, asked, smtputf8=smtputf8)
        self._recipients = recipients
        self._content = content
        self._data: bytes | None = None  # of the content, what is sent after 354
        self._lines_checked = lines_checked
        self._chunking = chunking and extensions.chunking
        self._stuffer = (DotStuffer() if lines_checked else CheckedStuffer()) if content is None else None
        self._number = 0  # among the session's transactions
        self._mail: Reply | None = None
        self._rcpt_replies: list[Reply | None] = [None] * len(recipients)
        self._final: tuple[Command, Reply] | None = None  # for all that were accepted
        self._finals: dict[int, Reply] = {}  # in LMTP for each of them, by index
        self._chunking_refused = False
        self._taken_anyway = False  # the message, though MAIL was refused
        self._answered = False
        self.ended: bool = False
        self.wants_content: bool = False

    def prepare(self) -> None:
        """Make ready what the peer will ask for next, while it has yet to answer: it need not wait for that then."""
        content = self._content
        by_data = self._session.extensions.pipelining or not self._chunking
        if content is not None and self.awaiting is not None and by_data:
            with contextlib.suppress(InvalidContent):  # which is found again when the content is asked for
                self._data = self._as_data(content)

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
        self._send_data(self._stuffer.finish())
        self.awaiting: Command | None = Command.END_OF_DATA
        self._session.proceed()

    def _send_data(self, data: bytes) -> None:
        """Send what follows 354, or the rest of it, up to the final dot."""
        self.wants_content = False
        self._session.send(data, sent=self._note_end)
        self._session.needs_reset = False  # RFC 5321 4.1.1.4: whatever the reply, the transaction is over
        self.whole = True

    def _send_chunk(self, data: bytes) -> None:
        """Send a group that ends with the message. The transaction is over if the reply is a success (RFC 3030 2)."""
        self._content = None
        self._session.send(data, sent=self._note_end)
        self.whole: bool = self._session.chunking_works  # else a successor would be lost with it

    def _note_end(self) -> None:
        self.ended = True

    # Steps

    def _run(self) -> Steps[DeliveryResult]:
        error: MoxlibError | None = None
        command = Command.MAIL
        try:
            self._session.check()
            if self.fault is not None:
                raise self.fault
            yield from self._grouped() if self._session.extensions.pipelining else self._stepwise()
        except (SMTPError, InvalidContent) as failure:
            error = failure
            command = failure.command if isinstance(failure, SMTPError) else Command.CONTENT
        return self._outcome(error, command)

    def _begin(self) -> None:
        session = self._session
        session.needs_reset = True
        session.transactions += 1
        self._number = session.transactions

    def _check_reset(self, reply: Reply) -> None:
        """RSET; where that is refused, nobody knows what the server has kept, and it is not this message's fault."""
        if reply.code != COMPLETED:
            error = ReplyError(command=Command.RSET, reply=reply)
            self._session.break_off(error)
            raise error

    def _grouped(self) -> Steps[None]:
        """MAIL, all RCPT, and DATA or the message in one group (RFC 2920)."""
        session = self._session
        chunk = self._chunk(MAX_IN_GROUP)
        commands = [self._mail_command, *self._rcpt_commands]
        resets = session.needs_reset
        waits = resets and session.awaiting is None
        if waits:
            session.send(RSET)
            self._check_reset((yield Command.RSET))
        elif resets:  # The one before is not over, and it is not known yet whether it will be.
            commands.insert(0, RSET.decode())
        self._begin()
        if chunk is not None:
            self._send_chunk("".join(commands).encode() + chunk)
        else:
            commands.append("DATA\r\n")
            session.send("".join(commands).encode())
        if resets and not waits:
            self._check_reset((yield Command.RSET))
        self._mail = yield Command.MAIL
        self._answered = True
        accepted = 0
        replies = self._rcpt_replies
        for index in range(len(replies)):
            replies[index] = reply = yield Command.RCPT
            accepted += reply.code in _SUCCESS
        if chunk is not None:
            yield from self._take_chunk_reply((yield Command.END_OF_DATA), accepted)
            return
        data = yield Command.DATA
        if self._mail.code == COMPLETED and accepted:
            yield from self._start_data(data)
        elif data.code == _START_DATA:
            yield from self._end_nothing(data, accepted)

    def _stepwise(self) -> Steps[None]:
        """One command at a time."""
        session = self._session
        if session.needs_reset:
            session.send(RSET)
            self._check_reset((yield Command.RSET))
        self._begin()
        session.send(self._mail_command.encode())
        self._mail = yield Command.MAIL
        self._answered = True
        if self._mail.code != COMPLETED:
            return
        replies = self._rcpt_replies
        accepted = 0
        for index, command in enumerate(self._rcpt_commands):
            session.send(command.encode())
            replies[index] = reply = yield Command.RCPT
            accepted += reply.code in _SUCCESS
            if index and reply.code in _TOO_MANY:  # The others would hear the same.
                replies[index:] = [reply] * (len(replies) - index)
                break
        if not accepted:
            return
        chunk = self._chunk(None)
        if chunk is None:
            session.send(b"DATA\r\n")
            yield from self._start_data((yield Command.DATA))
        else:
            self._send_chunk(chunk)
            yield from self._take_chunk_reply((yield Command.END_OF_DATA), accepted)

    # By BDAT

    def _chunk(self, limit: int | None) -> bytes | None:
        """Return the message with its command, if it is to go by BDAT: it is there whole, and within `limit`."""
        content = self._content
        if not self._chunking or content is None or (limit is not None and len(content) > limit):
            return None
        if not self._lines_checked:
            check_lines(content)
        return as_chunk(content)

    def _take_chunk_reply(self, reply: Reply, accepted: int) -> Steps[None]:
        session = self._session
        assert self._mail is not None
        if not self.ended:  # It came with the reply before it, and answers nothing: the chunk shall not go out.
            self._take_early(reply)
            return
        wanted = accepted > 0 and self._mail.code == COMPLETED
        if reply.code in _NO_SUCH_COMMAND or (wanted and reply.code == _BAD_SEQUENCE):
            self._chunking_refused = True
            self._final = (Command.END_OF_DATA, reply)
            session.break_off(
                ProtocolError(command=Command.END_OF_DATA, reason="BDAT is refused, as a command", lines=reply.lines)
            )
            return
        session.chunking_works = True
        if wanted:
            if session.lmtp:
                yield from self._conclude_each(reply)
            else:
                self._final = (Command.END_OF_DATA, self._decided(reply))
            if reply.code in _SUCCESS and session.transactions == self._number:
                session.needs_reset = False
        elif reply.code in _SUCCESS and (accepted or session.lmtp):
            # Of a refused sender, and what becomes of it nobody knows; or (LMTP) for nobody, with how many replies?
            reason = "a message was taken that cannot have been"
            error = ProtocolError(command=Command.END_OF_DATA, reason=reason, lines=reply.lines)
            session.break_off(error)
            self._taken_anyway = accepted > 0
            raise error

    # By DATA

    def _start_data(self, data: Reply) -> Steps[None]:
        """Take the reply to DATA, and send the content if that is what it asks for."""
        if data.code != _START_DATA:
            self._final = (Command.DATA, data)
            return
        if self._content is None:
            self.wants_content = True
            self.wake()
            reply = yield Command.CONTENT
        else:
            self._send_data(self._data or self._checked_data(self._content))
            self._content = self._data = None
            reply = yield Command.END_OF_DATA
        if not self.ended:
            self._take_early(reply)
        elif self._session.lmtp:
            yield from self._conclude_each(reply)
        else:
            self._final = (Command.END_OF_DATA, self._decided(reply))

    def _take_early(self, reply: Reply) -> None:
        """Take an answer that came before the whole message was sent: the rest would be taken for commands."""
        self.wants_content = False
        early = ProtocolError(
            command=Command.CONTENT, reason="a reply before the end of the message", lines=reply.lines
        )
        self._session.break_off(early)
        if reply.code not in _REFUSAL:
            raise early
        self._final = (Command.CONTENT, reply)

    def _checked_data(self, content: bytes) -> bytes:
        try:
            return self._as_data(content)
        except InvalidContent as error:
            reason = f"the content cannot be sent: {error}"
            self._session.break_off(ConnectionLost(command=Command.CONTENT, reason=reason))
            raise

    def _as_data(self, content: bytes) -> bytes:
        if not self._lines_checked:
            check_lines(content)
        return as_data(content)

    def _end_nothing(self, data: Reply, accepted: int) -> Steps[None]:
        """End a DATA that was taken though there is nothing to send."""
        if accepted or self._session.lmtp:
            # MAIL was refused, so whose recipients are these? A dot would send them an empty message. And in LMTP it
            # would have no reply, or one (RFC 2033 4.2).
            error = ProtocolError(command=Command.DATA, reason="354 though nothing can be sent", lines=data.lines)
            self._session.break_off(error)
            raise error
        self._session.send(END_OF_DATA)  # RFC 2920 3.1
        yield Command.DATA

    # Outcome

    def _conclude_each(self, reply: Reply) -> Steps[None]:
        """Take LMTP's replies to the end of the message: one for each recipient (RFC 2033 4.2), `reply` the first."""
        accepted = [index for index, one in enumerate(self._rcpt_replies) if one is not None and one.code in _SUCCESS]
        for index in accepted:
            self._finals[index] = self._decided(reply)
            if index != accepted[-1]:
                reply = yield Command.END_OF_DATA

    def _decided(self, reply: Reply) -> Reply:
        if reply.code not in _REPLIES:  # Nobody knows what it has done; more may come.
            neither = ProtocolError(command=Command.END_OF_DATA, reason="neither yes nor no", lines=reply.lines)
            self._session.break_off(neither)
            raise neither
        return reply

    def _outcome(self, error: MoxlibError | None, command: Command) -> DeliveryResult:
        mail = self._mail
        if mail is not None and mail.code != COMPLETED and not self._taken_anyway:
            self._final = (Command.MAIL, mail)
        may_have_it = self.ended and not self._was_told_of_the_end()
        results = [self._of(index, error, command, may_have_it) for index in range(len(self._recipients))]
        return _make_result(
            recipients=tuple(results),
            rcpt_replies=tuple(self._rcpt_replies),
            usable=self._session.usable,
            answered=self._answered or may_have_it,
            chunking_refused=self._chunking_refused,
        )

    def _was_told_of_the_end(self) -> bool:
        """Whether the last reply was a 421 to what came before the message: then the peer has not looked at that."""
        closing = self._session.closing
        return closing is not None and closing is self._session.last_reply and self._final is None and not self._finals

    def _of(self, index: int, error: MoxlibError | None, command: Command, may_have_it: bool) -> RecipientResult:
        """What became of one recipient, given what ended the transaction."""
        recipient = self._recipients[index]
        final = self._final
        reply = self._rcpt_replies[index]
        if reply is not None and reply.code not in _SUCCESS and (final is None or final[0] is not Command.MAIL):
            too_many = index > 0 and reply.code in _TOO_MANY and not self._first_is_too_many()
            return Refused(
                recipient=recipient,
                command=Command.RCPT,
                reply=reply,
                permanent=reply.permanent and not too_many,
                further_transaction=too_many,
            )
        if final is None and index in self._finals:
            final = (Command.END_OF_DATA, self._finals[index])
        if final is not None:
            command, reply = final
            if command is Command.END_OF_DATA and reply.code == COMPLETED:
                return Accepted(recipient=recipient, reply=reply)
            not_bdat = command is not Command.END_OF_DATA or not self._chunking_refused
            return Refused(recipient=recipient, command=command, reply=reply, permanent=reply.permanent and not_bdat)
        assert error is not None
        if may_have_it and isinstance(error, SMTPError):
            return Unknown(recipient=recipient, error=error)
        return NotSent(
            recipient=recipient,
            command=command,
            error=error,
            local=isinstance(error, CannotCarry | InvalidContent),
            permanent=isinstance(error, CannotCarry) and error.permanent,
        )

    def _first_is_too_many(self) -> bool:
        """Whether the first recipient was one too many already: then it is not their number that is wrong."""
        first = self._rcpt_replies[0]
        return first is not None and first.code in _TOO_MANY
