"""Whatever a server says, at whatever step and however cut: results that its words explain, in bounded bytes."""

import asyncio
from collections.abc import Generator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.integration.hostile_oracle import NoSession, Verdict, connecting, delivering, spoken
from tests.integration.hostile_waiting import agrees, ended, transaction

from moxlib.errors import StateError
from moxlib.smtpclient import (
    Accepted,
    DeliveryResult,
    NotSent,
    Refused,
    Session,
    SMTPConnection,
    SMTPError,
    TLSMode,
    Transaction,
    Unknown,
)
from moxlib.smtpclient.parser import MAX_REPLY_LINE, MAX_REPLY_LINES
from moxlib.testing import ByCommand, FakeClock, Fault, HostilePeer, Misdeed, Say, Step, Then

CONTENT = b"Subject: hi\r\n\r\n.dot\r\n"
MAX_READ = MAX_REPLY_LINE * (MAX_REPLY_LINES + 1)  # bytes of one reply
BLOCK = 16 * 1024
EHLO = b"250-mx.example\r\n250-8BITMIME\r\n250 PIPELINING\r\n"
PLAIN_EHLO = b"250-mx.example\r\n250 8BITMIME\r\n"
CHUNKING = (b"250-mx.example\r\n250 CHUNKING\r\n", b"250-mx.example\r\n250-PIPELINING\r\n250 CHUNKING\r\n")

usual = st.sampled_from([b"250 2.0.0 ok\r\n", b"250 ok\r\n", b"251 there\r\n", b"354 go\r\n"])
odd = st.sampled_from(
    [
        b"",
        b"250-more\r\n",
        b"250\r\n",
        b"250",
        b"220 ready\r\n",
        b"421 4.3.2 bye\r\n",
        b"450 4.2.0 wait\r\n",
        b"452 4.5.3 full\r\n",
        b"550 5.1.1 no\r\n",
        b"552 5.2.2 large\r\n",
        b"354-go\r\n354 on\r\n",
        b"199 what\r\n",
        b"700 what\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"\x00",
        b"250 \xff\x1b[2J\r\n",
        b"250\t tab\r\n",
        b"25\xb2 ok\r\n",
        b"250-" + b"x" * 2100,
        b"250-one\r\n550 two\r\n",
    ]
)


@st.composite
def sessions(draw: st.DrawFn, count: int) -> bytes:
    """A session of two transactions in which some replies are wrong, and some bytes changed, lost or added."""
    ehlo = draw(st.sampled_from([EHLO, PLAIN_EHLO, *CHUNKING]))
    said: list[bytes] = [b"220 mx.example ESMTP\r\n", ehlo]
    for _ in range(2):
        said += [b"250 ok\r\n"] * (1 + count) + [b"354 go\r\n"] * (ehlo not in CHUNKING) + [b"250 2.0.0 queued\r\n"]
    for _ in range(draw(st.integers(0, 4))):
        said[draw(st.integers(0, len(said) - 1))] = draw(usual | odd | st.binary(max_size=12))
    data = bytearray(b"".join(said))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


def begin(session: Session, count: int) -> Transaction:
    transaction_ = Transaction(
        session,
        mail_from="a@x",
        recipients=[f"{number}@x" for number in range(count)],
        content=CONTENT,
        size=len(CONTENT),
    )
    return session.submit(transaction_)


class Told:
    """A session, and after EHLO two transactions in it, that is told what a server says."""

    def __init__(self, count: int) -> None:
        self.session = Session("client.example")
        self.transactions: list[Transaction] = []
        self._count = count
        self._greeting = self.session.greet()

    def receive(self, data: bytes) -> None:
        self.session.receive(data)
        if not self.transactions and self._greeted():
            self.transactions = [begin(self.session, self._count) for _ in range(2)]
        self.session.data_to_send()

    def _greeted(self) -> bool:
        try:
            self._greeting.result  # noqa: B018 - raises
        except (SMTPError, StateError):
            return False
        return True

    def end(self) -> list[DeliveryResult]:
        """Return the results when the server has closed the connection."""
        self.session.lost(self.session.connection_lost("the end"))
        assert self.session.data_to_send() == b""
        return [transaction_.result for transaction_ in self.transactions]


def by_its_words(data: bytes, count: int) -> list[Verdict]:
    """Return the verdicts on the first transaction of a session, by the replies alone."""
    replies = spoken(data).replies
    made = connecting(replies)
    if isinstance(made, NoSession):
        return []
    return delivering(replies[made.taken :], count, pipelining=made.pipelining, chunking=made.chunking).verdicts


@given(st.data(), st.integers(1, 3))
def test_each_result_is_what_the_words_make_of_it(data: st.DataObject, count: int) -> None:
    """Byte by byte, no reply can come before what it answers: then their order says all."""
    said = data.draw(sessions(count))
    told = Told(count)
    for at in range(len(said)):
        told.receive(said[at : at + 1])
    results = told.end()
    expected = by_its_words(said, count)
    if expected:
        for one, verdict in zip(results[0].recipients, expected, strict=True):
            assert agrees(one, verdict, SMTPError), (one, verdict)
    else:
        assert {type(one) for result in results for one in result.recipients} <= {NotSent}


@given(st.data(), st.integers(1, 3))
def test_however_it_is_cut(data: st.DataObject, count: int) -> None:
    said = data.draw(sessions(count))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=8)))
    told = Told(count)
    for start, end in pairwise([0, *cuts, len(said)]):
        told.receive(said[start:end])
    for transaction_, result in zip(told.transactions, told.end(), strict=True):
        assert len(result.recipients) == count
        for one in result.recipients:
            match one:
                case Accepted():
                    assert transaction_.ended
                    assert 200 <= one.reply.code <= 299
                case Unknown():
                    assert transaction_.ended
                case NotSent():
                    assert not transaction_.ended or told.session.closing is not None
                case Refused():
                    assert one.reply.lines
                    assert "\n" not in "".join(one.reply.lines)


@given(st.integers(0, 6), st.booleans(), st.binary(min_size=1, max_size=40), st.sampled_from([1, 3]))
def test_what_has_no_end_is_not_read_to_it(turns: int, pipelining: bool, unit: bytes, count: int) -> None:
    """From any reply on the server says one thing for ever: what is read of it is bounded, and so is what is kept."""
    good = [b"220 mx.example\r\n", EHLO if pipelining else PLAIN_EHLO, b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"]
    told = Told(count)
    session = told.session
    for reply in good[:turns]:
        told.receive(reply)
    block = unit * (BLOCK // len(unit) + 1)
    read = 0
    replies = 3 + 2 * (count + 4)  # greeting, EHLO, HELO; RSET, MAIL, RCPT, DATA, the dot
    while session.failure is None:
        told.receive(block)
        read += len(block)
        held = session._parser
        assert len(held._rest) + sum(map(len, held._lines)) <= MAX_REPLY_LINE * (1 + 4 * MAX_REPLY_LINES)
        assert read <= replies * MAX_READ
    for result in told.end():
        assert len(result.recipients) == count
    assert len(str(session.failure)) < 16 * 1024


@pytest.fixture(scope="module")
def runner() -> Generator[asyncio.Runner]:
    """One event loop for all examples: a new one each time would be most of the work."""
    with asyncio.Runner() as made:
        yield made


ends = st.sampled_from([Then.CLOSE, Then.RESET, Then.STALL, Then.DEAF])  # an end, so that no client waits in vain
faults = st.builds(
    lambda say, more, then: Fault(name="drawn", say=say, more=more, then=then),
    st.sampled_from([Say.GOOD, Say.HALF, Say.NOTHING, Say.TWICE]) | usual | odd | st.binary(max_size=40),
    st.just(b"") | usual | odd,
    ends,
)
steps = st.sampled_from([Step.GREETING, Step.EHLO, Step.MAIL, Step.RCPT, Step.DATA, Step.END_OF_DATA])


@given(steps, faults, st.integers(0, 2), st.sampled_from([1, 3]), st.sets(st.sampled_from(["PIPELINING", "CHUNKING"])))
def test_a_real_connection(
    runner: asyncio.Runner, step: Step, fault: Fault, after: int, count: int, offers: set[str]
) -> None:
    case = Misdeed(step, fault, after=after if step is Step.RCPT else 0)
    runner.run(over_a_real_connection(case, count, ("8BITMIME", *sorted(offers))))


async def over_a_real_connection(case: Misdeed, count: int, extensions: tuple[str, ...]) -> None:
    clock = FakeClock()
    async with HostilePeer(case, answers=ByCommand(extensions=extensions)) as peer:
        try:
            connection = await ended(
                SMTPConnection.connect(
                    "127.0.0.1", peer.port, ehlo_name="client.example", tls=TLSMode.NONE, clock=clock
                ),
                peer,
                clock,
            )
        except SMTPError:
            assert isinstance(connecting(spoken(bytes(peer.sessions[0].said)).replies), NoSession)
            assert case.step in (Step.GREETING, Step.EHLO)
            return
        recipients = [f"{number}@x" for number in range(count)]
        result = await ended(connection.deliver("a@x", recipients, CONTENT), peer, clock)
        replies = spoken(bytes(peer.sessions[0].said)).replies
        made = connecting(replies)
        assert not isinstance(made, NoSession)
        if case.step in (Step.GREETING, Step.EHLO):
            at_once = made.pipelining and made.chunking  # the message goes out before any reply
            assert {type(one) for one in result.recipients} <= {NotSent, Unknown if at_once else NotSent}
        else:
            replies = replies[made.taken :]
            ruling = transaction(result, replies, case, SMTPError, pipelining=made.pipelining, chunking=made.chunking)
            assert ruling is not None, (result, replies)
        await ended(connection.quit(), peer, clock)
        assert not connection.usable
        assert clock.waiting == 0
