"""Every fault in the midst of a large message, and servers that do not do as they announce."""

import asyncio
from collections.abc import AsyncIterator
from typing import assert_never

import pytest
from tests.integration.hostile_oracle import spoken
from tests.integration.hostile_waiting import FIRST, ended, reason, same

from moxlib.smtpclient import (
    Accepted,
    Command,
    NotSent,
    ProtocolError,
    Refused,
    ReplyError,
    SMTPConnection,
    SMTPError,
    TLSFailed,
    TLSMode,
    Unknown,
)
from moxlib.testing import LIES, ByCommand, FakeClock, HostilePeer, Lie, Misdeed, Pace, Step, Then, all_cases

LINE = b"x" * 76 + b"\r\n"
CHUNK = LINE * 1000
CHUNKS = 400  # 31 MB: more than the system's buffers hold between the two


class Large:
    """A message that is made as it is read."""

    def __init__(self) -> None:
        self.made = 0
        self.closed = False

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            for _ in range(CHUNKS):
                self.made += 1
                yield CHUNK
        finally:
            self.closed = True


async def connect(peer: HostilePeer, clock: FakeClock, tls: TLSMode = TLSMode.NONE) -> SMTPConnection:
    return await SMTPConnection.connect("127.0.0.1", peer.port, ehlo_name="client.example", tls=tls, clock=clock)


@pytest.mark.parametrize("case", [case for case in all_cases() if case.step is Step.CONTENT], ids=str)
async def test_in_the_midst_of_a_large_message(case: Misdeed) -> None:
    clock = FakeClock()
    message = Large()
    fault = case.fault
    said = spoken(fault.words(b"") * (1000 if fault.pace is Pace.ENDLESS else 1))
    async with HostilePeer(case) as peer:
        connection = await connect(peer, clock)
        delivering = connection.deliver("a@x", ["b@x", "c@x"], message.chunks(), size=CHUNKS * len(CHUNK))
        results = (await ended(delivering, peer, clock)).recipients
        for result in results:
            if said.replies and 400 <= said.replies[0].code <= 599:
                assert isinstance(result, Refused)
                assert result.command is Command.CONTENT
                assert same(result.reply, said.replies[0])
            elif said.replies or said.nonsense:
                assert isinstance(result, NotSent)
                assert isinstance(result.error, ProtocolError)
            elif fault.then is Then.DEAF:  # it reads all of it, so the final dot goes out
                assert isinstance(result, Unknown)
                assert isinstance(result.error, reason(case, nonsense=False))
            else:
                assert isinstance(result, NotSent)
                assert isinstance(result.error, reason(case, nonsense=False))
        assert message.closed
        assert (message.made == CHUNKS) is isinstance(results[0], Unknown)
        assert not connection.usable
        await connection.quit()
        assert clock.waiting == 0
        assert peer.done == [case]
    assert peer.messages == []


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.name)
async def test_lies(lie: Lie) -> None:
    clock = FakeClock()
    answers = ByCommand(extensions=lie.announces)
    async with HostilePeer(*lie.misdeeds, answers=answers) as peer:
        try:
            connection = await ended(connect(peer, clock, TLSMode.OPPORTUNISTIC), peer, clock)
        except SMTPError as error:
            made: SMTPConnection | SMTPError = error
        else:
            made = connection
        if isinstance(made, SMTPError):
            expected = {Step.STARTTLS: ReplyError, Step.HANDSHAKE: TLSFailed}
            assert type(made) is expected[lie.misdeeds[0].step]
            return
        extensions = made.extensions
        assert (extensions.mail_max, extensions.rcpt_max, extensions.rcpt_domain_max) == (None, None, None)
        assert extensions.size in (None, 0, 1_000_000)
        international = ["ü@x"] if extensions.smtputf8 else ["b@x"]
        delivering = made.deliver("a@x", international, FIRST, needs_8bit=extensions.eight_bit_mime)
        delivered = await ended(delivering, peer, clock)
        [result] = delivered.recipients
        match result:
            case Accepted():
                assert not lie.misdeeds
            case Refused():
                assert result.reply.lines[0].encode() + b"\r\n" == lie.misdeeds[-1].fault.say
                assert result.permanent is not delivered.chunking_refused
                assert delivered.chunking_refused is ("CHUNKING" in lie.announces)
            case NotSent():
                assert isinstance(result.error, reason(lie.misdeeds[0], nonsense=False))
            case Unknown():
                pytest.fail("there was an answer to everything")
            case _:
                assert_never(result)
        await ended(made.quit(), peer, clock)
        await asyncio.wait_for(peer.all_ended(), 10)
