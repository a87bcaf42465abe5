"""Every fault at every step of a session in clear: each recipient's result is what the server's words make of it."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from tests.integration.hostile_oracle import NoSession, Spoken, connecting, spoken
from tests.integration.hostile_waiting import FIRST, ended, read_counts, reason, same, transaction

from moxlib.smtpclient import (
    Accepted,
    DeliveryResult,
    NotSent,
    Refused,
    ReplyError,
    SMTPConnection,
    SMTPError,
    TLSMode,
)
from moxlib.smtpclient.parser import MAX_REPLY_LINE, MAX_REPLY_LINES
from moxlib.smtpclient.wire import RECEIVE_BUFFER
from moxlib.testing import ByCommand, FakeClock, HostilePeer, Misdeed, Pace, Step, Then, all_cases

STEPWISE = ("8BITMIME", "ENHANCEDSTATUSCODES")
PIPELINED = ("PIPELINING", *STEPWISE)
CHUNKS = (("CHUNKING", *STEPWISE), ("CHUNKING", *PIPELINED))
SECOND = b"Subject: second\r\n\r\n.dot\r\n"
MAX_READ = MAX_REPLY_LINE * (MAX_REPLY_LINES + 1) + 2 * RECEIVE_BUFFER  # bytes of a reply that has no end
WITHOUT_READING = (Step.CONTENT, Step.BDAT)
CONNECTING = (Step.CONNECT, Step.GREETING, Step.EHLO)
TRANSACTION = (Step.MAIL, Step.RCPT, Step.DATA, Step.CONTENT, Step.END_OF_DATA, Step.RSET)


@pytest.fixture(autouse=True)
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return read_counts(monkeypatch)


async def connect(peer: HostilePeer, clock: FakeClock) -> SMTPConnection:
    return await SMTPConnection.connect(
        "127.0.0.1", peer.port, ehlo_name="client.example", tls=TLSMode.NONE, clock=clock
    )


async def attempt(peer: HostilePeer, clock: FakeClock) -> SMTPConnection | SMTPError:
    try:
        return await connect(peer, clock)
    except SMTPError as error:
        return error


async def deliver(connection: SMTPConnection, content: bytes, count: int) -> DeliveryResult:
    return await connection.deliver("a@client.example", [f"{number}@x" for number in range(count)], content)


def cases(*steps: Step, chunking: bool = False) -> pytest.MarkDecorator:
    found = [case for case in all_cases(chunking=chunking) if case.step in steps]
    return pytest.mark.parametrize("case", found, ids=str)


def variants(case: Misdeed, *offers: tuple[str, ...]) -> Iterator[tuple[Misdeed, tuple[str, ...], int]]:
    """With and without PIPELINING, one recipient and three; a recipient's fault at each of them."""
    for extensions in offers:
        for count in (1, 3):
            for after in range(count if case.step is Step.RCPT else 1):
                yield Misdeed(case.step, case.fault, after=after), extensions, count


@cases(*CONNECTING)
async def test_while_connecting(case: Misdeed, read: list[int]) -> None:
    for extensions in (STEPWISE, PIPELINED):
        clock = FakeClock()
        read.clear()
        async with HostilePeer(case, answers=ByCommand(extensions=extensions)) as peer:
            made = await ended(attempt(peer, clock), peer, clock)
            came = spoken(bytes(peer.sessions[0].said))
            expected = connecting(came.replies)
            if isinstance(made, SMTPConnection):
                assert not isinstance(expected, NoSession)
                in_step = len(came.replies) == expected.taken and not came.nonsense and case.fault.then is Then.GO_ON
                assert made.extensions.pipelining is expected.pipelining
                [result] = (await ended(deliver(made, FIRST, 1), peer, clock)).recipients
                assert isinstance(result, Accepted if in_step else NotSent)
                assert made.usable is in_step
                await ended(made.quit(), peer, clock)
            else:
                assert isinstance(expected, NoSession)
                if expected.reply is None:
                    assert isinstance(made, reason(case, nonsense=came.nonsense))
                else:
                    assert isinstance(made, ReplyError)
                    assert same(made.reply, expected.reply)
            assert clock.waiting == 0
            if case.fault.then is not Then.STALL:
                await peer.all_ended()
            assert peer.done == [case]
            assert peer.messages in ([], [FIRST])
        assert sum(read) <= MAX_READ


@cases(*TRANSACTION)
async def test_in_a_transaction(case: Misdeed, read: list[int]) -> None:
    for misdeed, extensions, count in variants(case, STEPWISE, PIPELINED):
        read.clear()
        await in_a_transaction(misdeed, extensions, count)
        assert sum(read) <= MAX_READ


@cases(*TRANSACTION, Step.BDAT, chunking=True)
async def test_in_a_transaction_by_bdat(case: Misdeed, read: list[int]) -> None:
    for misdeed, extensions, count in variants(case, *CHUNKS):
        read.clear()
        await in_a_transaction(misdeed, extensions, count)
        assert sum(read) <= MAX_READ


async def in_a_transaction(case: Misdeed, extensions: tuple[str, ...], count: int) -> None:
    clock = FakeClock()
    resets = case.step is Step.RSET
    refused: list[Any] = ["550 5.1.1 no"] * count if resets else []  # so that the next transaction begins with RSET
    answers = ByCommand({"RCPT": [*refused, "250 2.1.5 ok"]}, extensions=extensions)
    async with HostilePeer(case, answers=answers) as peer:
        connection = await connect(peer, clock)
        if resets:
            kinds = {type(result) for result in (await deliver(connection, FIRST, count)).recipients}
            assert kinds == {Refused}
        session = peer.sessions[0]
        before = len(spoken(bytes(session.said)).replies)
        result = await ended(deliver(connection, FIRST, count), peer, clock)
        assert peer.done == [case]
        # What the server says later than that is not what this was decided by.
        came = spoken(bytes(session.said))
        replies = came.replies[before:]
        pipelining, chunking = ("PIPELINING" in extensions, "CHUNKING" in extensions)
        error = reason(case, nonsense=came.nonsense)
        ruling = transaction(result, replies, case, error, pipelining=pipelining, chunking=chunking)
        assert ruling is not None, (str(case), extensions, result, replies)
        # With a reply too many or too few, what comes next would answer something else.
        in_step = case.fault.then is Then.GO_ON and not came.nonsense and case.step not in WITHOUT_READING
        in_step = in_step and not ruling.confused and ruling.taken == len(came.replies) - before
        goes_on = in_step and "421" not in case.fault.name
        second = await ended(deliver(connection, SECOND, count), peer, clock)
        assert connection.usable is goes_on, (str(case), extensions, count, came, ruling)
        assert {type(one) for one in second.recipients} == ({Accepted} if in_step else {NotSent}), (case, extensions)
        await ended(connection.quit(), peer, clock)
        assert not connection.usable
        assert clock.waiting == 0
        if case.fault.then is not Then.STALL:
            await peer.all_ended()
    nothing_twice(peer, case, FIRST, result)
    nothing_twice(peer, case, SECOND, second)


def nothing_twice(peer: HostilePeer, case: Misdeed, content: bytes, result: DeliveryResult) -> None:
    """A message that the server has whole is not taken for one that it has not, nor the other way round."""
    kinds = {type(one) for one in result.recipients}
    if content in peer.messages:
        assert NotSent not in kinds
        assert peer.messages.count(content) == 1
    elif (
        case.step not in WITHOUT_READING and case.fault.pace is not Pace.ENDLESS
    ):  # where the server may accept what it has not read
        assert Accepted not in kinds


@cases(Step.QUIT)
async def test_at_the_end(case: Misdeed, read: list[int]) -> None:
    clock = FakeClock()
    async with HostilePeer(case) as peer:
        connection = await connect(peer, clock)
        assert {type(one) for one in (await deliver(connection, FIRST, 1)).recipients} == {Accepted}
        await ended(connection.quit(), peer, clock)
        assert not connection.usable
        assert clock.waiting == 0
        if case.fault.then is not Then.STALL:
            await peer.all_ended()
        assert peer.done == [case]
    assert sum(read) <= MAX_READ


@pytest.mark.parametrize(
    "case", [Misdeed(case.step, case.fault, after=1) for case in all_cases() if case.step in TRANSACTION[:5]], ids=str
)
async def test_between_neighbours(case: Misdeed) -> None:
    """Three deliveries at once, each begun in the write in which the one before it ends; the fault is in the second."""
    clock = FakeClock()
    async with HostilePeer(case, answers=ByCommand(extensions=PIPELINED)) as peer:
        connection = await connect(peer, clock)
        before = len(spoken(bytes(peer.sessions[0].said)).replies)
        bodies = [b"Subject: %d\r\n\r\n" % number for number in range(3)]
        at_once = asyncio.gather(*(connection.deliver("a@x", ["b@x"], body) for body in bodies))
        results = await ended(all_of(at_once), peer, clock)
        came = spoken(bytes(peer.sessions[0].said))
        assert_in_turn(results, came.replies[before:], case, reason(case, nonsense=came.nonsense))
        for body, result in zip(bodies, results, strict=True):
            assert peer.messages.count(body) <= 1
            if body in peer.messages:
                assert not isinstance(result.recipients[0], NotSent)
        await ended(connection.quit(), peer, clock)
        assert peer.done == [case]


async def all_of(results: "asyncio.Future[list[DeliveryResult]]") -> list[DeliveryResult]:
    return await results


def assert_in_turn(results: list[DeliveryResult], replies: list[Spoken], case: Misdeed, error: type[SMTPError]) -> None:
    """See that the replies make the results of three transactions, of which the second has the fault."""
    harmless = Misdeed(Step.NOOP, case.fault)
    over = reset = False
    # The third may never have begun: its session had ended by the second one's fault.
    reasons: tuple[type[SMTPError], ...] = (error, error, SMTPError)
    for result, faulty, why in zip(results, (harmless, case, harmless), reasons, strict=True):
        if reset:  # the one before did not come to its content
            over = over or not replies or replies[0].code != 250
            replies = replies[1:]
        if over:
            assert isinstance(result.recipients[0], NotSent)
            continue
        ruling = transaction(result, replies, faulty, why, pipelining=True)
        assert ruling is not None, (result, replies)
        whole = ruling.taken == 4 and replies[2].code == 354 and replies[0].code == 250
        over, reset, replies = ruling.confused, not whole, replies[ruling.taken :]
