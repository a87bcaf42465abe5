"""Messages by BDAT over a real connection: round trips, lost connections, deadlines, servers that do not mean it."""

import asyncio

import pytest

from moxlib.smtpclient import (
    Accepted,
    CommandTimeout,
    ConnectionLost,
    DeliveryResult,
    DSNParameters,
    NotSent,
    RecipientParameters,
    RecipientResult,
    Refused,
    SMTPConnection,
    Timeouts,
    TLSMode,
    Unknown,
)
from moxlib.smtpclient.transaction import MAX_IN_GROUP
from moxlib.testing import FakeClock
from moxlib.testing.smtp_peer import Answer, ByCommand, Close, PeerSession, SMTPPeer, Stall

MESSAGE = b"Subject: hi\r\n\r\n.\r\n..dots\r\n"
STEPWISE = ("CHUNKING", "ENHANCEDSTATUSCODES")
GROUPED = ("PIPELINING", "CHUNKING", "ENHANCEDSTATUSCODES")


async def connect(peer: SMTPPeer, clock: FakeClock | None = None, timeouts: Timeouts | None = None) -> SMTPConnection:
    return await SMTPConnection.connect(
        "127.0.0.1", peer.port, ehlo_name="client.example", tls=TLSMode.NONE, clock=clock, timeouts=timeouts
    )


async def deliver(connection: SMTPConnection, *recipients: str, chunking: bool = True) -> DeliveryResult:
    return await connection.deliver("a@client.example", recipients or ("b@x",), MESSAGE, chunking=chunking)


@pytest.mark.parametrize("extensions", [STEPWISE, GROUPED])
async def test_deliveries_on_one_connection(extensions: tuple[str, ...]) -> None:
    async with SMTPPeer(ByCommand({"RCPT TO:<no@": "550 5.1.1 no"}, extensions=extensions)) as peer:
        async with await connect(peer) as connection:
            for _ in range(3):
                result = await deliver(connection, "yes@x", "no@x")
                assert [type(one) for one in result.recipients] == [Accepted, Refused]
            assert connection.extensions.chunking
        await peer.all_ended()
    assert peer.messages == [MESSAGE] * 3
    assert "DATA" not in peer.lines
    assert "RSET" not in peer.lines


async def test_many_at_once_each_with_its_own_result() -> None:
    """Every third has no recipient, so that its transaction is not over at its end."""
    answers = ByCommand({"RCPT TO:<no": "550 5.1.1 no"}, extensions=GROUPED)
    async with SMTPPeer(answers) as peer, await connect(peer) as connection:
        names = [f"{'no' if number % 3 == 0 else 'yes'}{number}@x" for number in range(30)]
        results = await asyncio.gather(*(deliver(connection, name) for name in names))
    kinds = [type(result.recipients[0]) for result in results]
    assert kinds == [Refused if name.startswith("no") else Accepted for name in names]
    assert len(peer.messages) == 20


class OneWrite:
    """Answers nothing until the message has come: what comes late only then was not sent in one group."""

    def __init__(self) -> None:
        self.held: list[bytes] = []

    def __call__(self, line: str, session: PeerSession) -> Answer:
        if line.startswith("EHLO"):
            return "250-peer.example\r\n250-PIPELINING\r\n250 CHUNKING"
        if line == "QUIT":
            return "221 bye"
        if line.startswith("RCPT"):
            session.recipients.append(line)
        self.held.append(b"250 ok\r\n")
        if not line.startswith("BDAT"):
            return b""
        answer, self.held = b"".join(self.held), []
        return answer


async def test_one_round_trip() -> None:
    async with SMTPPeer(OneWrite()) as peer, await connect(peer) as connection:
        assert [type(one) for one in (await deliver(connection, "b@x", "c@x")).recipients] == [Accepted, Accepted]


@pytest.mark.parametrize("extensions", [STEPWISE, GROUPED])
@pytest.mark.parametrize("end", [Close(), Close(reset=True), Close("421 4.3.2 bye\r\n"), Close("25")])
@pytest.mark.parametrize("step", ["MAIL", "RCPT", "BDAT"])
async def test_a_connection_lost_at_each_step(extensions: tuple[str, ...], step: str, end: Close) -> None:
    async with SMTPPeer(ByCommand({step: end}, extensions=extensions)) as peer:
        connection = await connect(peer)
        result = await deliver(connection)
        [one] = result.recipients
        expected: type[RecipientResult]
        if isinstance(end.text, str) and end.text.startswith("421"):
            expected = Refused
        elif extensions is GROUPED or step == "BDAT":  # it had all of the message
            expected = Unknown
        else:
            expected = NotSent
        assert isinstance(one, expected)
        if isinstance(one, NotSent | Unknown):
            assert isinstance(one.error, ConnectionLost)
        assert result.answered or (step == "MAIL" and expected is NotSent)
        assert not connection.usable
        await connection.quit()


async def test_a_deadline_behind_the_message() -> None:
    clock = FakeClock()
    async with SMTPPeer(ByCommand({"BDAT": Stall()}, extensions=GROUPED)) as peer:
        connection = await connect(peer, clock, Timeouts(end_of_data=17))
        delivery = asyncio.create_task(deliver(connection))
        await peer.stalled()
        await clock.advance(16)
        assert not delivery.done()
        await clock.advance(1)
        [one] = (await delivery).recipients
        assert isinstance(one, Unknown)
        assert isinstance(one.error, CommandTimeout)
        assert one.error.seconds == 17


@pytest.mark.parametrize("extensions", [STEPWISE, GROUPED])
@pytest.mark.parametrize("code", [500, 502, 503])
async def test_a_server_that_does_not_know_what_it_offers(extensions: tuple[str, ...], code: int) -> None:
    async with SMTPPeer(ByCommand({"BDAT": f"{code} 5.5.1 what?"}, extensions=extensions)) as peer:
        connection = await connect(peer)
        first, second = await asyncio.gather(deliver(connection), deliver(connection))
        [one] = first.recipients
        assert isinstance(one, Refused)
        assert (one.code, one.permanent, first.chunking_refused, first.usable) == (code, False, True, False)
        assert isinstance(second.recipients[0], NotSent)
        assert not connection.usable
        await connection.close()
        async with await connect(peer) as again:
            result = await deliver(again, chunking=False)
            assert isinstance(result.recipients[0], Accepted)
    assert peer.messages[-1] == MESSAGE
    assert "DATA" in peer.lines


async def test_a_large_message_is_not_sent_for_nobody() -> None:
    content = b"x" * 70 + b"\r\n"
    content *= MAX_IN_GROUP // len(content) + 1
    answers = ByCommand({"RCPT": "550 5.1.1 no"}, extensions=GROUPED)
    async with SMTPPeer(answers) as peer, await connect(peer) as connection:
        [one] = (await connection.deliver("a@x", ["b@x"], content)).recipients
        assert isinstance(one, Refused)
    assert "BDAT" not in " ".join(peer.lines)
    assert peer.messages == []


async def test_dsn_parameters_are_sent() -> None:
    dsn = DSNParameters(ret="FULL", envid="a b", recipients=(RecipientParameters(notify=("FAILURE",)),))
    async with SMTPPeer(ByCommand(extensions=(*GROUPED, "DSN"))) as peer, await connect(peer) as connection:
        result = await connection.deliver("a@x", ["b@x"], MESSAGE, dsn=dsn)
        assert isinstance(result.recipients[0], Accepted)
    assert peer.lines[1:3] == ["MAIL FROM:<a@x> RET=FULL ENVID=a+20b", "RCPT TO:<b@x> NOTIFY=FAILURE"]
