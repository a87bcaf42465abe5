"""An SMTP server that misbehaves as told, at the step it is told.

A `Misdeed` is a `Fault` at a `Step`: the server does well until then, does that, and goes on as if nothing had been, if
the connection still is. For example, half of the reply to the end of the message, and then the connection ends::

    misdeed = Misdeed(Step.END_OF_DATA, Fault(name="half a reply, then close", say=Say.HALF, then=Then.CLOSE))
    async with HostilePeer(misdeed) as peer:
        ...                                     # deliver to 127.0.0.1, port peer.port

A fault that leaves the client waiting is announced: wait for `peer.stalled()`, and then move the client's clock.
"""

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Final

from moxlib.testing.faults import Fault, Misdeed, Pace, Say, Step, Then
from moxlib.testing.smtp_peer import (
    Answer,
    ByCommand,
    Conversation,
    PeerSession,
    SMTPPeer,
    StartTLS,
    bytes_of,
    read_message,
)

__all__ = ["HostilePeer"]

FLOOD_BLOCK: Final = 32 * 1024  # bytes of one write of what has no end
MAX_FLOOD: Final = 64 * 1024 * 1024  # bytes, some of which lie in the system's buffers; who takes all has no limit
MAX_CHALLENGE: Final = 16 * 1024  # bytes of a line that a login may have (RFC 4954 4), and some more
MAX_FLIGHT: Final = 64 * 1024  # bytes of a ClientHello, which has some hundreds


def _everything() -> ByCommand:
    return ByCommand({"AUTH": "235 2.7.0 welcome"}, extensions=("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES"))


class HostilePeer(SMTPPeer):
    """The server.

    Attributes:
        done: the misdeeds that were done, in order.
        flooded: bytes of the endless that were written; the client has read no more of them than that.

    Raises:
        AssertionError: on leaving the block: the client took 64 MiB of what has no end.
    """

    def __init__(
        self,
        *misdeeds: Misdeed,
        answers: Callable[[str, PeerSession], Answer] | None = None,
        greeting: Answer = "220 peer.example ESMTP",
        tls_context: ssl.SSLContext | None = None,
    ) -> None:
        """Prepare a server.

        Args:
            misdeeds: what it does wrong; of several that are due at once the first is done.
            answers: what it says when it does well; by default it accepts all, with PIPELINING and AUTH but no TLS.
            greeting: what it says first when it does well.
            tls_context: its certificate, for STARTTLS.
        """
        super().__init__(answers or _everything(), greeting=greeting, tls_context=tls_context)
        self.done: list[Misdeed] = []
        self.flooded: int = 0
        self._misdeeds = misdeeds
        self._occurred: Counter[Step] = Counter()

    # Where a misdeed may come

    async def _greet(self, talk: Conversation) -> bool:
        if not await self._besides(Step.CONNECT, talk):
            return False
        return await self._either(Step.GREETING, self._greeting, talk) is not None

    async def _respond(self, line: str, talk: Conversation) -> str | None:
        answer = self._answers(line, talk.session)
        said = await self._either(_step_of(line, talk.session), answer, talk)
        return None if said is None else said[:3].decode("ascii", "replace")

    async def _message(self, talk: Conversation) -> bytes:
        begun = await talk.reader.readuntil(b"\n")
        if not await self._besides(Step.CONTENT, talk):
            raise ConnectionAbortedError
        return await read_message(talk.reader, begun)

    async def _chunk(self, line: str, talk: Conversation) -> bool:
        misdeed = self._due(Step.BDAT)
        if misdeed is None:
            return await super()._chunk(line, talk)
        return await self._do(misdeed.fault, bytes_of(self._answers(line, talk.session)), talk)

    async def _octets(self, size: int, talk: Conversation) -> bytes:
        begun = await talk.reader.readexactly(size // 2)
        if not await self._besides(Step.CONTENT, talk):
            raise ConnectionAbortedError
        return begun + await talk.reader.readexactly(size - len(begun))

    async def _handshake(self, talk: Conversation) -> bool:
        misdeed = self._due(Step.HANDSHAKE)
        if misdeed is None:
            return await super()._handshake(talk)
        flight = await self._first_flight(talk) if misdeed.fault.say is Say.HALF else b""
        if not flight:
            await talk.reader.read(1)
        go_on = await self._do(misdeed.fault, flight, talk)
        return go_on and await self._be_deaf(talk)  # what could follow is no handshake

    async def _first_flight(self, talk: Conversation) -> bytes:
        """Return what a server answers to the ClientHello, which is read."""
        assert self._tls_context is not None, "STARTTLS needs a tls_context"
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self._tls_context.wrap_bio(incoming, outgoing, server_side=True)
        while not outgoing.pending:
            data = await talk.reader.read(MAX_FLIGHT)
            if not data:
                raise ConnectionAbortedError
            incoming.write(data)
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
        return outgoing.read()

    async def _besides(self, step: Step, talk: Conversation) -> bool:
        """Do what is due besides any reply; return whether the conversation goes on."""
        misdeed = self._due(step)
        return misdeed is None or await self._do(misdeed.fault, b"", talk)

    async def _either(self, step: Step, answer: Answer, talk: Conversation) -> bytes | None:
        """Do what is due, or else answer; return what was said, None when the conversation is over."""
        good = bytes_of(answer)
        misdeed = self._due(step)
        if misdeed is None:
            return good if await self._answer(answer, talk) else None
        said = misdeed.fault.words(good)
        go_on = await self._do(misdeed.fault, good, talk)
        if go_on and isinstance(answer, StartTLS) and said[:3] == good[:3]:
            go_on = await self._handshake(talk)
        return said if go_on else None

    def _due(self, step: Step) -> Misdeed | None:
        """Count an occurrence of a step; return what is to be done at it."""
        occurrence = self._occurred[step]
        self._occurred[step] += 1
        for misdeed in self._misdeeds:
            if misdeed.step is step and misdeed.is_due(occurrence):
                self.done.append(misdeed)
                return misdeed
        return None

    # What is done

    async def _do(self, fault: Fault, good: bytes, talk: Conversation) -> bool:
        """Do it; return whether the conversation goes on."""
        await self._say(fault, fault.words(good), talk)
        match fault.then:
            case Then.GO_ON:
                return True
            case Then.CLOSE:
                talk.writer.close()
                await talk.writer.wait_closed()
            case Then.CUT:
                talk.writer.transport.abort()
            case Then.RESET:
                talk.reset()
            case Then.STALL:
                talk.writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio's are of both kinds
                self._stalled.set()
                await self._resumed.wait()
            case Then.DEAF:
                return await self._be_deaf(talk)
        return False

    async def _say(self, fault: Fault, words: bytes, talk: Conversation) -> None:
        match fault.pace:
            case _ if fault.beneath_tls and talk.session.tls and words:
                with talk.writer.get_extra_info("socket").dup() as naked:
                    naked.send(words)
            case Pace.AT_ONCE:
                talk.say(words)
            case Pace.BYTE_BY_BYTE:
                for index in range(len(words)):
                    talk.say(words[index : index + 1])
                    await talk.writer.drain()
                    await asyncio.sleep(0)
            case Pace.ENDLESS:
                await self._flood(words, talk)
        await talk.writer.drain()

    async def _flood(self, words: bytes, talk: Conversation) -> None:
        assert words, "nothing cannot be said without end"
        block = words * (FLOOD_BLOCK // len(words) + 1)
        while self.flooded < MAX_FLOOD:
            if talk.writer.transport.is_closing():
                raise ConnectionAbortedError
            talk.say(block)
            self.flooded += len(block)
            await talk.writer.drain()
            await asyncio.sleep(0)
        raise AssertionError(f"the client takes what has no end: {MAX_FLOOD} bytes so far")

    async def _be_deaf(self, talk: Conversation) -> bool:
        self._stalled.set()
        while await talk.reader.read(FLOOD_BLOCK):
            pass
        return False


_STEPS: Final = {
    "EHLO": Step.EHLO,
    "LHLO": Step.EHLO,
    "HELO": Step.HELO,
    "STAR": Step.STARTTLS,
    "MAIL": Step.MAIL,
    "RCPT": Step.RCPT,
    "DATA": Step.DATA,
    "RSET": Step.RSET,
    "NOOP": Step.NOOP,
    "QUIT": Step.QUIT,
    "AUTH": Step.AUTH,
}


def _step_of(line: str, session: PeerSession) -> Step:
    """Return the step that a line is."""
    verb = line[:4].upper()
    if line == "." or line.startswith(". "):
        return Step.END_OF_DATA
    if verb == "BDAT":
        return Step.END_OF_DATA if " LAST" in line.upper() else Step.CHUNK
    last = bytes(session.said[-MAX_CHALLENGE:]).removesuffix(b"\r\n").rpartition(b"\r\n")[2]
    if last.startswith(b"334"):
        return Step.AUTH
    step = _STEPS.get(verb, Step.OTHER)
    return Step.EHLO_TLS if step is Step.EHLO and session.tls else step
