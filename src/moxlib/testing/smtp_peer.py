r"""An SMTP server on loopback that does what a test tells it: answer, refuse, stall, close, or talk nonsense.

For example::

    answers = ByCommand({"RCPT TO:<gone@": "550 5.1.1 no such user", ".": ["451 4.3.0 later", "250 2.0.0 ok"]})
    async with SMTPPeer(answers) as peer:
        ...                                     # deliver to 127.0.0.1, port peer.port
    assert peer.messages == [b"Subject: hi\r\n\r\n..."]

`ByCommand` answers by the command's beginning, like a server that accepts all save what is listed. `Script` demands
exact commands in order. Or give any function of the line and the session.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self, TypeAlias

from moxlib.smtp import dot_unstuff

__all__ = ["Answer", "ByCommand", "Close", "PeerSession", "SMTPPeer", "Script", "Stall", "StartTLS"]

MAX_LINE: Final = 64 * 1024  # bytes of a command: enough for tests of overlong ones
MAX_MESSAGE: Final = 64 * 1024 * 1024  # bytes of a message, which is kept in memory


@dataclass(frozen=True, slots=True)
class Close:
    """Say `text` as it is, if any, and close the connection; at once, that is with a reset, if `reset`."""

    text: str = ""
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Stall:
    """Say nothing until `SMTPPeer.resume` is called; then answer `then`."""

    then: str = "250 ok"


@dataclass(frozen=True, slots=True)
class StartTLS:
    """Say `reply` and do the handshake. `inject` follows the reply in the same write, as a man in the middle does."""

    reply: str = "220 go ahead"
    inject: bytes = b""


# A str is a reply: one line, or several with CRLF between. Bytes are sent as they are.
Answer: TypeAlias = str | bytes | Close | Stall | StartTLS


@dataclass(slots=True)
class PeerSession:
    """What happened on one connection.

    Attributes:
        lines: the commands, without CRLF; "." stands for the end of a message.
        messages: the messages, dots unstuffed, whether they were accepted or not.
        recipients: the RCPT commands of the transaction under way that were accepted.
        tls: whether TLS is on.
        ended: whether the connection is over.
    """

    lines: list[str] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    tls: bool = False
    ended: bool = False


class ByCommand:
    """Accepts all, save for what is listed.

    Args:
        answers: by the beginning of the command, the longest match counting: "MAIL FROM:", "RCPT TO:<a@", "DATA",
            "." (the end of a message), "EHLO". A list is answered in turn, its last again and again.
        extensions: what EHLO announces.
    """

    def __init__(
        self,
        answers: Mapping[str, Answer | list[Answer]] | None = None,
        *,
        extensions: Sequence[str] = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"),
    ) -> None:
        announced = ["peer.example", *extensions]
        last = len(announced) - 1
        ehlo = "\r\n".join(f"250{' ' if index == last else '-'}{word}" for index, word in enumerate(announced))
        defaults: dict[str, Answer | list[Answer]] = {
            "EHLO": ehlo,
            "HELO": "250 peer.example",
            "MAIL": "250 2.1.0 ok",
            "RCPT": "250 2.1.5 ok",
            ".": "250 2.0.0 accepted",
            "RSET": "250 2.0.0 ok",
            "NOOP": "250 2.0.0 ok",
            "QUIT": "221 2.0.0 bye",
            "STARTTLS": StartTLS(),
        }
        self._answers = {**defaults, **(answers or {})}
        self._used: dict[str, int] = {}

    def __call__(self, line: str, session: PeerSession) -> Answer:
        """Return the answer to `line`."""
        prefix = max((p for p in self._answers if line.upper().startswith(p.upper())), key=len, default=None)
        if prefix is None:
            if line.upper() == "DATA":
                return "354 go ahead" if session.recipients else "554 5.5.1 no valid recipients"
            return "500 5.5.1 what?"
        answer = self._answers[prefix]
        if not isinstance(answer, list):
            return answer
        used = self._used.get(prefix, 0)
        self._used[prefix] = used + 1
        return answer[min(used, len(answer) - 1)]


class Script:
    """Demands these commands in this order, whatever the connection; each beginning comes with its answer.

    Attributes:
        steps: what is still to come.
    """

    def __init__(self, *steps: tuple[str, Answer]) -> None:
        self.steps: list[tuple[str, Answer]] = list(steps)

    def __call__(self, line: str, session: PeerSession) -> Answer:
        """Return the answer to `line`; `AssertionError` if it is not the one whose turn it is."""
        assert self.steps, f"the script has ended, and the client says {line!r} after {session.lines[:-1]!r}"
        expected, answer = self.steps.pop(0)
        assert line.startswith(expected), f"the script expects {expected!r}, and the client says {line!r}"
        return answer


class SMTPPeer:
    """The server, as an async context manager.

    Attributes:
        port: where it listens, on 127.0.0.1.
        sessions: the connections, in the order they were made.

    Raises:
        AssertionError: on leaving the block: a script was not followed. Others, too, that an answering function raised.
    """

    def __init__(
        self,
        answers: Callable[[str, PeerSession], Answer] | None = None,
        *,
        greeting: Answer = "220 peer.example ESMTP",
        tls_context: ssl.SSLContext | None = None,
        immediate_tls: bool = False,
    ) -> None:
        """Prepare a server.

        Args:
            answers: what to answer to each line; by default all is accepted.
            greeting: what to say first.
            tls_context: the server's certificate, for STARTTLS or immediate TLS.
            immediate_tls: do the handshake before the greeting.
        """
        self.port: int = 0
        self.sessions: list[PeerSession] = []
        self._answers = answers if answers is not None else ByCommand()
        self._greeting = greeting
        self._tls_context = tls_context
        self._immediate_tls = immediate_tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._problems: list[Exception] = []
        self._stalled = asyncio.Event()
        self._resumed = asyncio.Event()
        self._ended = asyncio.Condition()

    @property
    def messages(self) -> list[bytes]:
        """All messages received, by connection."""
        return [message for session in self.sessions for message in session.messages]

    @property
    def lines(self) -> list[str]:
        """All commands received, by connection."""
        return [line for session in self.sessions for line in session.lines]

    async def stalled(self) -> None:
        """Return once the server stalls."""
        await self._stalled.wait()

    def resume(self) -> None:
        """End the stalling, also of what would stall later."""
        self._resumed.set()

    async def all_ended(self) -> None:
        """Return once every connection so far is over."""
        async with self._ended:
            await self._ended.wait_for(lambda: all(session.ended for session in self.sessions))

    async def __aenter__(self) -> Self:
        """Listen."""
        context = self._tls_context if self._immediate_tls else None
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=MAX_LINE, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close all connections and stop listening."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()
        if self._problems and exc is None:
            raise self._problems[0]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        session = PeerSession(tls=self._immediate_tls)
        self.sessions.append(session)
        try:
            await self._converse(reader, writer, session)
        except (OSError, EOFError):
            pass  # The client has gone: that is its right, and what it did is recorded.
        except Exception as error:  # noqa: BLE001 - raised on leaving the block, in the test
            self._problems.append(error)
        finally:
            writer.transport.abort()
            session.ended = True
            self._tasks.discard(task)
            async with self._ended:
                self._ended.notify_all()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, session: PeerSession) -> None:
        go_on = await self._answer(self._greeting, writer, session)
        while go_on:
            line = (await reader.readuntil(b"\n")).decode("utf-8", "surrogateescape").rstrip("\r\n")
            session.lines.append(line)
            answer = self._answers(line, session)
            go_on = await self._answer(answer, writer, session)
            _note(line, answer, session)
            if go_on and line.upper() == "DATA" and isinstance(answer, str) and answer.startswith("354"):
                session.messages.append(await _read_message(reader))
                session.lines.append(".")
                go_on = await self._answer(self._answers(".", session), writer, session)
            if session.lines[-1].upper() == "QUIT":
                return

    async def _answer(self, answer: Answer, writer: asyncio.StreamWriter, session: PeerSession) -> bool:
        """Do what `answer` says; return whether the conversation goes on."""
        match answer:
            case str():
                writer.write(answer.encode("utf-8", "surrogateescape") + b"\r\n")
            case bytes():
                writer.write(answer)
            case Stall():
                self._stalled.set()
                await self._resumed.wait()
                writer.write(answer.then.encode() + b"\r\n")
            case StartTLS():
                writer.write(answer.reply.encode() + b"\r\n" + answer.inject)
                await writer.drain()
                assert self._tls_context is not None, "STARTTLS needs a tls_context"
                await writer.start_tls(self._tls_context)
                session.tls = True
            case Close():
                writer.write(answer.text.encode())
                if answer.reset:
                    writer.transport.abort()
                else:
                    await writer.drain()
                    writer.close()
                    await writer.wait_closed()
                return False
        await writer.drain()
        return True


def _note(line: str, answer: Answer, session: PeerSession) -> None:
    """Keep account of the transaction's recipients."""
    verb = line[:4].upper()
    accepted = isinstance(answer, str) and answer.startswith("25")
    if verb == "RCPT" and accepted:
        session.recipients.append(line)
    elif verb in ("EHLO", "HELO", "MAIL", "RSET", "DATA"):
        session.recipients.clear()


async def _read_message(reader: asyncio.StreamReader) -> bytes:
    """Read until the end-of-data line, and return the message."""
    data = bytearray(b"\r\n")
    while not data.endswith(b"\r\n.\r\n"):
        assert len(data) <= MAX_MESSAGE, "the message is too large for a test"
        try:
            data += await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as error:
            data += await reader.readexactly(error.consumed)
    return dot_unstuff(bytes(data[2:]))
