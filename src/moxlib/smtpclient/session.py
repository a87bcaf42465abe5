r"""The client's side of an SMTP session as a state machine: bytes in, bytes out, no I/O, no clock.

The caller submits *exchanges* (`greet`, `starttls`, `transaction`, ...), gives the machine what the peer sends
(`receive`), tells it how the connection ended (`lost`), and sends what `data_to_send` returns:

    session = Session("client.example")
    greeting = session.greet()
    session.receive(b"220 mx.example ESMTP\r\n")
    session.data_to_send()                           # b"EHLO client.example\r\n"

Each exchange is a generator that yields what it waits for and is sent the reply. They run in the order submitted. One
waits until its predecessor is done, save that with PIPELINING a transaction begins right behind the final dot of the
one before it (RFC 2920 3.1 allows the content as first command of a group).

With `lmtp` it is a session of LMTP (RFC 2033): it begins with LHLO, and the end of a message has a reply for each
recipient.
"""

from collections import deque
from collections.abc import Callable, Generator
from typing import Generic, TypeAlias, TypeVar

from moxlib.errors import InputError, MoxlibError, StateError
from moxlib.smtpclient.errors import ConnectionLost, ProtocolError, ReplyError, ResponseInjected, SMTPError
from moxlib.smtpclient.extensions import Extensions, parse_extensions
from moxlib.smtpclient.parser import MAX_AUTH_LINE, MAX_REPLY_LINE, ReplyParser
from moxlib.smtpclient.reply import Command, Reply

__all__ = ["Exchange", "Session", "Steps"]

MAX_RUNNING = 2  # Exchanges begun. More would save more waiting, and leave more messages in doubt if the peer goes.

T_co = TypeVar("T_co", covariant=True)
ExchangeT = TypeVar("ExchangeT", bound="Exchange[object]")
Steps: TypeAlias = Generator[Command, Reply, T_co]

READY = 220
COMPLETED = 250
CLOSING = 421
RSET = b"RSET\r\n"
# RFC 5321 3.2 and 4.1.4: what a server says that has no EHLO, or none of our kind.
_NO_EHLO = frozenset({500, 501, 502, 503, 504})


class Exchange(Generic[T_co]):
    """One operation of a session, from its first command to its last reply.

    Attributes:
        awaiting: what it waits for an answer to; None before it began and after it is done.
        done: whether it ended; then `result` has its result, or raises its error.
        on_wake: called at most once, then forgotten, when the exchange is done or wants something of its caller.
        whole: everything it has to send was sent, so that a pipelined successor may begin.
    """

    __slots__ = ("_error", "_result", "_steps", "awaiting", "done", "on_wake", "whole")

    def __init__(self, steps: Steps[T_co]) -> None:
        self._steps = steps
        self._result: T_co | None = None
        self._error: SMTPError | None = None
        self.awaiting: Command | None = None
        self.done: bool = False
        self.whole: bool = False
        self.on_wake: Callable[[None], object] | None = None

    @property
    def result(self) -> T_co:
        """The result of an exchange that is done.

        Raises:
            StateError: it is not done.
            SMTPError: it failed.
        """
        if not self.done:
            raise StateError("the exchange is not done")
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # None only where T_co is

    def advance(self, reply: Reply | None) -> None:
        """Begin (with None), or go on with the reply that came."""
        try:
            self.awaiting = next(self._steps) if reply is None else self._steps.send(reply)
        except StopIteration as stop:
            self._result = stop.value
            self._finish()
        except SMTPError as error:
            self._error = error
            self._finish()

    def fail(self, error: MoxlibError) -> None:
        """End with `error`, unless the exchange makes a result of it."""
        try:
            if self.awaiting is None:
                next(self._steps)  # A session that has failed: its first step sees that, and ends.
            else:
                self._steps.throw(error)
        except StopIteration as stop:
            self._result = stop.value
        except SMTPError as raised:
            self._error = raised
        self._finish()

    def _finish(self) -> None:
        self.awaiting = None
        self.done = True
        self.wake()

    def wake(self) -> None:
        """Call `on_wake`, the one time that it is called."""
        if self.on_wake is not None:
            call, self.on_wake = self.on_wake, None
            call(None)


class Session:
    """One SMTP session of a client.

    Attributes:
        ehlo_name: how this side calls itself in EHLO: a domain, or an address literal in brackets.
        lmtp: the session is one of LMTP.
        extensions: what the server announced last.
        server: the greeting's text, in which the server names itself; escaped.
        tls: whether TLS protects the session.
        failure: why the session is of no more use; None while it is in step with the peer.
        closing: the peer's 421, once it sent one: it will close, or has.
        last_reply: the reply that came last.
        chunking_works: the peer has shown that it knows BDAT, which it may announce and not know.
        needs_reset: a transaction was begun and not ended by its final dot; the next one begins with RSET.
        transactions: how many were begun with MAIL FROM.
        ended: how many exchanges have ended by a reply.
    """

    __slots__ = (
        "_clear_is_over",
        "_outgoing",
        "_parser",
        "_running",
        "_sent",
        "_waiting",
        "chunking_works",
        "closing",
        "ehlo_name",
        "ended",
        "extensions",
        "failure",
        "last_reply",
        "lmtp",
        "needs_reset",
        "server",
        "tls",
        "transactions",
    )

    def __init__(self, ehlo_name: str, *, tls: bool = False, lmtp: bool = False) -> None:
        if not ehlo_name.isascii() or not ehlo_name.isprintable() or not ehlo_name or " " in ehlo_name:
            raise InputError(f"not a name for EHLO: {ehlo_name!r}")
        self.ehlo_name: str = ehlo_name
        self.lmtp: bool = lmtp
        self.extensions: Extensions = Extensions()
        self.server: str = ""
        self.tls: bool = tls
        self.failure: SMTPError | None = None
        self.closing: Reply | None = None
        self.last_reply: Reply | None = None
        self.chunking_works: bool = False
        self.needs_reset: bool = False
        self.transactions: int = 0
        self.ended: int = 0
        self._clear_is_over = False  # STARTTLS was granted: what comes now is the handshake, or an attack
        self._parser = ReplyParser()
        self._outgoing: list[bytes] = []
        self._sent: list[Callable[[], None]] = []  # by the transactions whose message's end is in there
        self._running: deque[Exchange[object]] = deque()  # Begun; replies belong to the first.
        self._waiting: deque[Exchange[object]] = deque()

    @property
    def usable(self) -> bool:
        """Whether the session can be expected to carry one more transaction."""
        mail_max = self.extensions.mail_max
        return (
            self.failure is None
            and self.closing is None
            and (mail_max is None or self.transactions < mail_max)  # RFC 9422 5.1
        )

    @property
    def awaiting(self) -> Command | None:
        """What the peer owes an answer to; None when nothing."""
        return self._running[0].awaiting if self._running else None

    @property
    def idle(self) -> bool:
        """Whether no exchange is under way or waiting."""
        return not self._running and not self._waiting

    # Exchanges

    def greet(self) -> Exchange[None]:
        """Read the greeting, say EHLO, or HELO where that is not known (LMTP: LHLO); `ReplyError` when refused."""
        return self.submit(Exchange(self._greet()))

    def hello(self) -> Exchange[None]:
        """Say EHLO once more, after TLS; HELO is no way out then: a server without EHLO has no STARTTLS either."""
        return self.submit(Exchange(self._hello(allow_helo=False)))

    def starttls(self) -> Exchange[None]:
        """Ask for TLS; when done, the handshake is the next thing on the wire, then `tls_started` and `hello`.

        The command is sent whether the server announced it or not (RFC 3207 4).
        """
        return self.submit(Exchange(self._starttls()))

    def tls_started(self) -> None:
        """Forget what was said in clear, for the peer of the protected session may be another (RFC 3207 4.2).

        Raises:
            SMTPError: the session had failed; `ResponseInjected` when data came before the handshake.
        """
        if self.failure is not None:
            raise self.failure
        self.tls = True
        self._clear_is_over = False
        self.extensions = Extensions()
        self._parser.enhanced = False

    def auth_line(self, line: str, *, enhanced: bool) -> Exchange[Reply]:
        """Send one line of an AUTH exchange, and return the reply whatever it is.

        Args:
            line: without its CRLF.
            enhanced: whether the reply is a verdict, which may have an enhanced code; a challenge is Base64.
        """
        return self.submit(Exchange(self._auth_line(line.encode("ascii"), enhanced)))

    def reset(self) -> Exchange[None]:
        """Send RSET; `ReplyError` when it is refused."""
        return self.submit(Exchange(self.reset_steps()))

    def quit(self) -> Exchange[Reply]:
        """Send QUIT, and return the reply whatever it is; nothing can follow."""
        return self.submit(Exchange(self._command(Command.QUIT, b"QUIT\r\n")))

    def submit(self, exchange: ExchangeT) -> ExchangeT:
        """Begin `exchange`, or let it wait for its turn."""
        self._waiting.append(exchange)
        self.proceed()
        return exchange

    def withdraw(self, exchange: Exchange[object]) -> bool:
        """Take back an exchange that has not begun; return whether it could be."""
        if exchange not in self._waiting:
            return False
        self._waiting.remove(exchange)
        return True

    # The wire

    @property
    def has_output(self) -> bool:
        """Whether `data_to_send` has anything."""
        return bool(self._outgoing)

    def data_to_send(self) -> bytes:
        """Return what has to be sent now, and forget it."""
        if not self._outgoing:
            return b""
        for sent in self._sent:
            sent()
        self._sent.clear()
        data = self._outgoing[0] if len(self._outgoing) == 1 else b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    def send(self, data: bytes, *, sent: Callable[[], None] | None = None) -> None:
        """Add to what has to be sent; for exchanges. `sent` is called when the caller has taken it, if that happens."""
        self._outgoing.append(data)
        if sent is not None:
            self._sent.append(sent)

    def receive(self, data: bytes) -> int:
        """Take bytes from the peer, and return how many replies they completed; never raises for what they are."""
        if self.failure is not None:
            return 0
        if self._clear_is_over:
            self.lost(self._injected())
            return 0
        replies, error = self._parser.feed(data, self.awaiting or Command.GREETING)
        for reply in replies:
            self._take(reply)
            if self.failure is not None:
                return 0
        if error is not None:
            self.lost(self._explained(error))
        return len(replies)

    def _take(self, reply: Reply) -> None:
        """Give a reply to the exchange that waits for it."""
        self.last_reply = reply
        if reply.code == CLOSING:
            self.closing = reply
        if not self._running:
            self.lost(self._explained(self._unasked(reply)))
            return
        running = self._running[0]
        running.advance(reply)
        if running.done:
            self._running.popleft()
            self.ended += 1
        if self.failure is not None:
            self._end(self.failure)
        elif self._waiting:
            self.proceed()

    def _explained(self, error: SMTPError) -> SMTPError:
        return self._injected() if self._clear_is_over else error

    def lost(self, error: SMTPError) -> None:
        """End the session: the connection is gone or has to go; what is under way ends with `error`."""
        if self.failure is None:
            self.failure = error
        self._end(error)

    def abandon(self, exchange: Exchange[object], error: MoxlibError) -> None:
        """End the session because its exchange cannot go on, which ends with `error`."""
        self.failure = ConnectionLost(command=exchange.awaiting or Command.CONNECT, reason=f"broken off here: {error}")
        if exchange in self._running:
            self._running.remove(exchange)
            exchange.fail(error)
        self._end(self.failure)

    def break_off(self, error: SMTPError) -> None:
        """From within an exchange: the session ends with it, the others with `error`."""
        self.failure = error

    def connection_lost(self, reason: str) -> ConnectionLost:
        """Return the error for a connection that ended now."""
        return ConnectionLost(command=self.awaiting or Command.CONNECT, reason=reason)

    def _end(self, error: SMTPError) -> None:
        while self._running:
            self._running.popleft().fail(error)
        while self._waiting:
            self._waiting.popleft().fail(error)
        self._outgoing.clear()
        self._sent.clear()

    def proceed(self) -> None:
        """Begin the exchanges that may begin now; called where it matters, harmless elsewhere."""
        while self._waiting:
            running = self._running
            if running and not (running[-1].whole and len(running) < MAX_RUNNING and self.extensions.pipelining):
                return
            exchange = self._waiting.popleft()
            exchange.advance(None)
            if not exchange.done:
                self._running.append(exchange)

    # The steps of each exchange

    def _greet(self) -> Steps[None]:
        self.check()
        reply = yield Command.GREETING
        if reply.code != READY:
            raise ReplyError(command=Command.GREETING, reply=reply)
        self.server = reply.texts[0]
        yield from self._hello(allow_helo=True)

    def _hello(self, *, allow_helo: bool) -> Steps[None]:
        hello = Command.LHLO if self.lmtp else Command.EHLO
        reply = yield from self._command(hello, f"{hello.value} {self.ehlo_name}\r\n".encode())
        if reply.code in _NO_EHLO:
            if self.lmtp or not allow_helo:
                raise ReplyError(command=hello, reply=reply, permanent=True)
            reply = yield from self._command(Command.HELO, f"HELO {self.ehlo_name}\r\n".encode())
            if reply.code != COMPLETED:
                raise ReplyError(command=Command.HELO, reply=reply)
            return
        if reply.code != COMPLETED:
            raise ReplyError(command=hello, reply=reply)
        self.extensions = parse_extensions(reply)
        self._parser.enhanced = self.extensions.enhanced_status_codes

    def _starttls(self) -> Steps[None]:
        reply = yield from self._command(Command.STARTTLS, b"STARTTLS\r\n")
        if reply.code != READY:
            raise ReplyError(command=Command.STARTTLS, reply=reply)
        if self._parser.pending:
            error = self._injected()
            self.break_off(error)
            raise error
        self._clear_is_over = True

    def _auth_line(self, line: bytes, enhanced: bool) -> Steps[Reply]:
        self._parser.max_line = MAX_AUTH_LINE
        announced = self._parser.enhanced
        self._parser.enhanced = enhanced
        try:
            return (yield from self._command(Command.AUTH, line + b"\r\n"))
        finally:
            self._parser.max_line = MAX_REPLY_LINE
            self._parser.enhanced = announced

    def reset_steps(self) -> Steps[None]:
        """The steps of RSET, for an exchange that begins with it."""
        reply = yield from self._command(Command.RSET, RSET)
        if reply.code != COMPLETED:
            raise ReplyError(command=Command.RSET, reply=reply)
        self.needs_reset = False

    def _command(self, command: Command, line: bytes) -> Steps[Reply]:
        self.check()
        self.send(line)
        return (yield command)

    def check(self) -> None:
        """Raise `ConnectionLost` when the session has ended; the first step of every exchange."""
        if self.failure is not None:
            raise ConnectionLost(command=Command.CONNECT, reason=f"the session had ended ({self.failure})")

    def _unasked(self, reply: Reply) -> SMTPError:
        if reply.code == CLOSING:
            return ConnectionLost(command=Command.CONNECT, reason=f"the server closes the connection: {reply.text}")
        return ProtocolError(command=Command.CONNECT, reason="a reply to nothing", lines=reply.lines)

    def _injected(self) -> ResponseInjected:
        return ResponseInjected(command=Command.STARTTLS, reason="data came before the TLS handshake")
