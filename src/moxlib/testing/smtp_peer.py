r"""An SMTP server on loopback that does what a test tells it: answer, refuse, stall, close, or talk nonsense.

For example::

    answers = ByCommand({"RCPT TO:<gone@": "550 5.1.1 no such user", ".": ["451 4.3.0 later", "250 2.0.0 ok"]})
    async with SMTPPeer(answers) as peer:
        ...                                     # deliver to 127.0.0.1, port peer.port
    assert peer.messages == [b"Subject: hi\r\n\r\n..."]

`ByCommand` answers by the command's beginning, like a server that accepts all save what is listed. `Script` demands
exact commands in order. Or give any function of the line and the session.

The function is asked once for each command, when all that belongs to it has come. Content is asked about when it is
complete: as "." when it came with DATA, and with the last BDAT command when it came in chunks (RFC 3030). After LHLO
(RFC 2033) it is asked once for each recipient that was accepted, whose path is added: ". <a@example.com>".
"""

import asyncio
import re
import socket
import ssl
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self, TypeAlias

from moxlib.smtp import dot_unstuff

__all__ = ["Answer", "ByCommand", "Close", "PeerSession", "SMTPPeer", "Script", "Stall", "StartTLS"]

MAX_LINE: Final = 64 * 1024  # bytes of a command: enough for tests of overlong ones
MAX_MESSAGE: Final = 64 * 1024 * 1024  # bytes of a message, which is kept in memory
MAX_SAID: Final = 1024 * 1024  # bytes of what the server said that are kept: more than a client reads of one reply

_START_DATA: Final = "354"
_CHUNK: Final = re.compile(r"(BDAT) ([0-9]{1,20})( LAST)?", re.IGNORECASE)  # RFC 3030 2; what may follow is LMTP's
_PATH: Final = re.compile(r'<(?:"(?:[^"\\]|\\.)*"|[^">])*>')


@dataclass(frozen=True, slots=True)
class Close:
    """Say `text` as it is, if any, and close the connection; at once, that is with a reset, if `reset`."""

    text: str | bytes = ""
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
        messages: the messages that came to their end, dots unstuffed or chunks joined, whether accepted or not.
        recipients: the RCPT commands of the transaction under way that were accepted.
        chunks: the content that came by BDAT in the transaction under way.
        tls: whether TLS is on.
        lmtp: whether LHLO was accepted.
        said: what the server said, TLS or not, up to `MAX_SAID` bytes.
        ended: whether the connection is over.
    """

    lines: list[str] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    chunks: bytearray = field(default_factory=bytearray)
    tls: bool = False
    lmtp: bool = False
    said: bytearray = field(default_factory=bytearray)
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Conversation:
    """One connection to the server, as those see it who serve it."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    session: PeerSession

    def say(self, data: bytes) -> None:
        """Say `data`, and note it."""
        self.writer.write(data)
        said = self.session.said
        said += data[: MAX_SAID - len(said)]

    def reset(self) -> None:
        """Close the connection with a reset."""
        raw: socket.socket = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # else it is an orderly end
        self.writer.transport.abort()


class ByCommand:
    """Accepts all, save for what is listed.

    Args:
        answers: by the beginning of the command, the longest match counting: "MAIL FROM:", "RCPT TO:<a@", "DATA",
            "." (the end of a message), "EHLO". BDAT is looked for without its size: "BDAT" is any chunk, "BDAT LAST"
            the last one. A list is answered in turn, its last again and again.
        extensions: what EHLO, or LHLO, announces.
        lmtp: it serves LMTP: it knows LHLO, and neither EHLO nor HELO (RFC 2033 4.1).
    """

    def __init__(
        self,
        answers: Mapping[str, Answer | list[Answer]] | None = None,
        *,
        extensions: Sequence[str] = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"),
        lmtp: bool = False,
    ) -> None:
        announced = ["peer.example", *extensions]
        last = len(announced) - 1
        ehlo = "\r\n".join(f"250{' ' if index == last else '-'}{word}" for index, word in enumerate(announced))
        greetings: dict[str, str] = {"LHLO": ehlo} if lmtp else {"EHLO": ehlo, "HELO": "250 peer.example"}
        defaults: dict[str, Answer | list[Answer]] = {
            **greetings,
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
        asked = _CHUNK.sub(r"\1\3", line).upper()
        prefix = max((p for p in self._answers if asked.startswith(p.upper())), key=len, default=None)
        if prefix is None:
            return _usual(asked, session)
        answer = self._answers[prefix]
        if not isinstance(answer, list):
            return answer
        used = self._used.get(prefix, 0)
        self._used[prefix] = used + 1
        return answer[min(used, len(answer) - 1)]


def _usual(asked: str, session: PeerSession) -> str:
    """Return what a server says to what `ByCommand` does not list."""
    if asked == "DATA":
        return "354 go ahead" if session.recipients else "554 5.5.1 no valid recipients"
    if asked.startswith("BDAT"):
        return "250 2.0.0 taken" if session.recipients else "503 5.5.1 no valid recipients"
    return "500 5.5.1 what?"


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
        address: where it listens.
        port: and on which port.
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
        address: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """Prepare a server.

        Args:
            answers: what to answer to each line; by default all is accepted.
            greeting: what to say first.
            tls_context: the server's certificate, for STARTTLS or immediate TLS.
            immediate_tls: do the handshake before the greeting.
            address: where to listen: another one of the loopback ones.
            port: on which port; 0: on any that is free.
        """
        self.address: str = address
        self.port: int = port
        self.sessions: list[PeerSession] = []
        self._answers = answers if answers is not None else ByCommand()
        self._greeting = greeting
        self._tls_context = tls_context
        self._immediate_tls = immediate_tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._problems: list[Exception] = []
        self._stopping = False
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
        self._server = await asyncio.start_server(self._serve, self.address, self.port, limit=MAX_LINE, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close all connections and stop listening."""
        assert self._server is not None
        self._stopping = True
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
            await self._converse(Conversation(reader, writer, session))
        except (OSError, EOFError):
            pass  # The client has gone: that is its right, and what it did is recorded.
        except asyncio.CancelledError:
            if not self._stopping:  # else it ends here: asyncio would log it as an error
                raise
        except Exception as error:  # noqa: BLE001 - raised on leaving the block, in the test
            self._problems.append(error)
        finally:
            writer.transport.abort()
            session.ended = True
            self._tasks.discard(task)
            async with self._ended:
                self._ended.notify_all()

    async def _converse(self, talk: Conversation) -> None:
        session = talk.session
        go_on = await self._greet(talk)
        while go_on:
            line = (await talk.reader.readuntil(b"\n")).decode("utf-8", "surrogateescape").rstrip("\r\n")
            session.lines.append(line)
            if line[:4].upper() == "BDAT":
                go_on = await self._chunk(line, talk)
                continue
            code = await self._respond(line, talk)
            go_on = code is not None and line.upper() != "QUIT"
            _note(line, code or "", session)
            if line.upper() == "DATA" and code == _START_DATA:
                session.messages.append(await self._message(talk))
                session.lines.append(".")
                go_on = await self._conclude(".", talk)

    async def _greet(self, talk: Conversation) -> bool:
        """Say what comes first; return whether the conversation goes on."""
        return await self._answer(self._greeting, talk)

    async def _respond(self, line: str, talk: Conversation) -> str | None:
        """Answer a line; return the reply's code, or None when the conversation is over."""
        answer = self._answers(line, talk.session)
        return code_of(answer) if await self._answer(answer, talk) else None

    async def _message(self, talk: Conversation) -> bytes:
        """Read what follows 354; return it without its end."""
        return await read_message(talk.reader)

    async def _chunk(self, line: str, talk: Conversation) -> bool:
        """Read what follows a BDAT command, and answer; return whether the conversation goes on."""
        session = talk.session
        match = _CHUNK.fullmatch(line)
        if match is None:
            return await self._answer("501 5.5.4 BDAT what?", talk)
        size = int(match[2])
        assert len(session.chunks) + size <= MAX_MESSAGE, "the message is too large for a test"
        session.chunks += await self._octets(size, talk)
        if match[3]:
            if session.recipients:
                session.messages.append(bytes(session.chunks))
            session.chunks.clear()
            return await self._conclude(line, talk)
        code = await self._respond(line, talk)
        if code is None or not code.startswith("2"):  # RFC 3030 2: what follows is refused, until RSET
            session.recipients.clear()
        return code is not None

    async def _octets(self, size: int, talk: Conversation) -> bytes:
        """Read a chunk."""
        return await talk.reader.readexactly(size)

    async def _conclude(self, line: str, talk: Conversation) -> bool:
        """Answer the end of a message; return whether the conversation goes on."""
        session = talk.session
        # RFC 2033 4.2; where no recipient was accepted there is one answer, as there is none to give it for.
        paths = [f" {_path(recipient)}" for recipient in session.recipients] if session.lmtp else []
        for path in paths or [""]:
            if await self._respond(line + path, talk) is None:
                return False
        session.recipients.clear()
        return True

    async def _answer(self, answer: Answer, talk: Conversation) -> bool:
        """Do what `answer` says; return whether the conversation goes on."""
        match answer:
            case str() | bytes():
                talk.say(bytes_of(answer))
            case Stall():
                self._stalled.set()
                await self._resumed.wait()
                talk.say(bytes_of(answer))
            case StartTLS():
                talk.say(bytes_of(answer) + answer.inject)
                await talk.writer.drain()
                return await self._handshake(talk)
            case Close():
                talk.say(bytes_of(answer))
                if answer.reset:
                    talk.reset()
                else:
                    await talk.writer.drain()
                    talk.writer.close()
                    await talk.writer.wait_closed()
                return False
        await talk.writer.drain()
        return True

    async def _handshake(self, talk: Conversation) -> bool:
        """Do the handshake; return whether the conversation goes on."""
        assert self._tls_context is not None, "STARTTLS needs a tls_context"
        await talk.writer.start_tls(self._tls_context)
        talk.session.tls = True
        return True


def bytes_of(answer: Answer) -> bytes:
    """Return what an answer says."""
    match answer:
        case bytes():
            return answer
        case str():
            return answer.encode("utf-8", "surrogateescape") + b"\r\n"
        case Stall():
            return answer.then.encode() + b"\r\n"
        case StartTLS():
            return answer.reply.encode() + b"\r\n"
        case Close():
            return answer.text if isinstance(answer.text, bytes) else answer.text.encode()


def code_of(answer: Answer) -> str:
    """Return the code of the reply that an answer begins with, if it is one."""
    return bytes_of(answer)[:3].decode("ascii", "replace")


def _note(line: str, code: str, session: PeerSession) -> None:
    """Keep account of the transaction's recipients."""
    verb = line[:4].upper()
    if verb == "RCPT" and code.startswith("2"):  # RFC 5321 4.2.1: by the first digit
        session.recipients.append(line)
    elif verb in ("EHLO", "HELO", "LHLO", "MAIL", "RSET") or (verb == "DATA" and code != _START_DATA):
        session.recipients.clear()
        session.chunks.clear()
    if verb == "LHLO":
        session.lmtp = code.startswith("2")


def _path(recipient: str) -> str:
    """Return the path of a RCPT command, in its angle brackets."""
    match = _PATH.search(recipient)
    return match[0] if match is not None else "<>"


async def read_message(reader: asyncio.StreamReader, begun: bytes = b"") -> bytes:
    """Read until the end-of-data line, and return the message; `begun` has its first lines, if they were read."""
    data = bytearray(b"\r\n" + begun)
    while not data.endswith(b"\r\n.\r\n"):
        assert len(data) <= MAX_MESSAGE, "the message is too large for a test"
        try:
            data += await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as error:
            data += await reader.readexactly(error.consumed)
    return dot_unstuff(bytes(data[2:]))
