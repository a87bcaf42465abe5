"""Every fault, once, at a relay that a queue delivers to: what the history says, and what the relay has in the end."""

import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from tests.integration.hostile_oracle import spoken
from tests.integration.hostile_waiting import ended

from moxlib.queue import (
    DSNConfig,
    HistoryFilter,
    Queue,
    QueueConfig,
    ResultKind,
    Retired,
    Security,
    SMTPTransport,
    Submission,
    WorkerConfig,
)
from moxlib.queue.worker.worker import Worker
from moxlib.sasl import Credentials
from moxlib.testing import (
    LIES,
    Answer,
    ByCommand,
    FakeClock,
    HostilePeer,
    Lie,
    MemoryStorage,
    Misdeed,
    Pace,
    PeerSession,
    Step,
    Then,
    all_cases,
)

STEPWISE = ("8BITMIME", "ENHANCEDSTATUSCODES", "AUTH PLAIN")
PIPELINED = ("PIPELINING", *STEPWISE)
CHUNKED = ("CHUNKING", *PIPELINED)
HEAD = b"From: a@client.example\r\nDate: Thu, 1 Jan 2026 12:00:00 +0000\r\nMessage-ID: <1@client.example>\r\n"
FIRST, SECOND = (HEAD + b"Subject: first\r\n\r\n.dot\r\n", HEAD + b"Subject: second\r\n\r\n.dot\r\n")
# Looking often, and renewing leases, costs a fake clock much, and is not what is tested here.
PATIENT = WorkerConfig(lease=timedelta(hours=24), poll_interval=timedelta(hours=24))
LOGIN = Credentials(username="mjl@example.org", password="pw", mechanisms=("PLAIN",))
OF_TLS = (Step.STARTTLS, Step.HANDSHAKE, Step.EHLO_TLS, Step.AUTH)
SOME = {
    "close",
    "reset",
    "stall",
    "half a reply, then close",
    "half a reply, then stall",
    "421 4.3.2 shutting down",
    "554 5.7.1 go away",
    "two replies at once",
    "a refusal behind the reply",
    "garbage",
    "an endless reply",
    "an alert",
    "an alert beneath TLS",
}  # of the faults of TLS: a session that never began is one outcome, whatever was the reason


class Relay(ByCommand):
    """Keeps, for each recipient, what came to its end; that it was then accepted is not said here."""

    def __init__(self, extensions: tuple[str, ...], *, refused: int = 0) -> None:
        # A message whose recipients are all refused for now is what RSET follows.
        recipients: list[Answer] = [*["450 4.2.0 not yet"] * refused, "250 2.1.5 ok"]
        super().__init__({"AUTH": "235 2.7.0 welcome", "RCPT": recipients}, extensions=extensions)
        self.whole: Counter[tuple[str, bytes]] = Counter()

    def __call__(self, line: str, session: PeerSession) -> Answer:
        if line == "." or (line.startswith("BDAT") and line.endswith("LAST") and session.messages):
            content = session.messages[-1].partition(b"Subject: ")[2]
            self.whole.update((recipient[9:-1], content) for recipient in session.recipients)
        return super().__call__(line, session)


@asynccontextmanager
async def delivering(
    peer: HostilePeer, clock: FakeClock, context: ssl.SSLContext | None = None
) -> AsyncIterator[tuple[Queue, Worker]]:
    relay = SMTPTransport(
        "127.0.0.1",
        peer.port,
        security=Security.NONE if context is None else Security.VERIFIED,
        tls_context=context,
        credentials=None if context is None else LOGIN,
        max_connections=1,
        clock=clock,
    )
    config = QueueConfig(worker=PATIENT, dsn=DSNConfig.off())
    async with Queue(MemoryStorage(), transports={"relay": relay}, config=config, clock=clock) as queue:
        working = queue.worker()
        worker = await working.__aenter__()
        try:
            yield queue, worker
        finally:
            await ended(working.__aexit__(None, None, None), peer, clock)


async def idle(worker: Worker, peer: HostilePeer, clock: FakeClock) -> None:
    await ended(worker.wait_idle(), peer, clock)
    peer._stalled.clear()  # that one is over, and other connections do not wait


async def retired(queue: Queue, submission: Submission) -> Retired:
    found = await queue.get_retired(submission.id)
    assert found is not None
    return found


def kinds(found: Retired) -> list[ResultKind]:
    return [result.kind for result in found.results]


def cases(*, tls: bool) -> Iterator[Misdeed]:
    for case in all_cases(tls=tls):
        if not tls or (case.step in OF_TLS and case.fault.name in SOME):
            yield case


@pytest.mark.parametrize("case", [case for case in cases(tls=False) if case.step is not Step.AUTH], ids=str)
@pytest.mark.parametrize(("extensions", "count"), [(STEPWISE, 1), (PIPELINED, 3)], ids=["stepwise", "pipelined"])
async def test_a_fault_costs_one_attempt_and_no_message(case: Misdeed, extensions: tuple[str, ...], count: int) -> None:
    await one_fault(case, extensions, count)


@pytest.mark.parametrize("case", [case for case in all_cases(chunking=True) if case.step is not Step.AUTH], ids=str)
async def test_a_fault_where_messages_go_by_bdat(case: Misdeed) -> None:
    await one_fault(case, CHUNKED, 3)


async def one_fault(
    case: Misdeed,
    extensions: tuple[str, ...],
    count: int,
    server: ssl.SSLContext | None = None,
    client: ssl.SSLContext | None = None,
) -> None:
    clock = FakeClock()
    relay = Relay(extensions, refused=count if case.step is Step.RSET else 0)
    addresses = [f"{number}@example.com" for number in range(count)]
    async with HostilePeer(case, answers=relay, tls_context=server) as peer:
        async with delivering(peer, clock, client) as (queue, worker):
            first = await queue.submit(FIRST, sender="a@client.example", recipients=addresses)
            await idle(worker, peer, clock)
            [second] = await queue.submit(SECOND, sender="a@client.example", recipients=["z@example.com"])
            await idle(worker, peer, clock)
            while (due := await queue.next_due()) is not None:
                await clock.advance(due - clock.now())
                worker.wake()
                await idle(worker, peer, clock)
            histories = [await retired(queue, one) for one in first]
            unhurt = await retired(queue, second)
            assert await queue.count_history(HistoryFilter()) == count + 1
        assert peer.done == [case]
        if case.fault.then is not Then.STALL:
            await peer.all_ended()
        assert clock.waiting == 0
    for found in histories:
        is_right(found, case, relay, chunked="CHUNKING" in extensions)
    if case.step is Step.RSET:  # it is the second message's
        is_right(unhurt, case, relay, chunked="CHUNKING" in extensions)
    else:
        assert kinds(unhurt) == [ResultKind.DELIVERED], "the next message has nothing to do with it"
        assert relay.whole["z@example.com", b"second\r\n\r\n.dot\r\n"] == 1


def is_right(found: Retired, case: Misdeed, relay: Relay, *, chunked: bool) -> None:
    """See that the history of one recipient is what the relay's words and the relay's mail make of it."""
    made = kinds(found)
    assert len(made) <= 2
    subject = b"second" if found.recipient == "z@example.com" else b"first"
    whole = relay.whole[found.recipient, subject + b"\r\n\r\n.dot\r\n"]
    permanent = 500 <= found.results[-1].code <= 599
    assert found.success is not permanent
    assert made[-1] is (ResultKind.FAILED if permanent else ResultKind.DELIVERED)
    if case.step in (Step.CONTENT, Step.BDAT) and spoken(case.fault.words(b"250 ok\r\n")).replies:
        return  # it answered before it read the message, which it then had or had not
    if chunked and case.fault.pace is Pace.ENDLESS:
        return  # so it did here, with one reply too many
    if found.success:
        assert whole >= 1
    refusals = [result for result in found.results if result.code not in (0, 250) and result.command == "end of data"]
    # What the relay has whole and did not refuse, it may have delivered. A BDAT that it does not know is a refusal that
    # no history shows, for the message goes again at once, by DATA.
    said = [reply.code for reply in spoken(case.fault.words(b"250 ok\r\n")).replies]
    unknown_command = chunked and said[:1] in ([500], [502], [503])
    assert whole - len(refusals) - unknown_command <= 1 + made.count(ResultKind.UNKNOWN)
    if whole == 0 and not chunked:  # else it goes out with the commands, before there is any answer
        assert ResultKind.UNKNOWN not in made or case.step is Step.CONTENT


@pytest.mark.parametrize("case", list(cases(tls=True)), ids=str)
async def test_a_fault_of_tls(case: Misdeed, server_context: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    await one_fault(case, ("STARTTLS", *PIPELINED), 1, server_context, trusting)


@pytest.mark.parametrize("lie", [lie for lie in LIES if "STARTTLS" not in lie.announces], ids=lambda lie: lie.name)
async def test_a_lie(lie: Lie) -> None:
    """A relay that never does as it announces: its refusals are the message's, and all else is a matter of time."""
    clock = FakeClock()
    relay = Relay(lie.announces)
    async with HostilePeer(*lie.misdeeds, answers=relay) as peer, delivering(peer, clock) as (queue, worker):
        [submission] = await queue.submit(FIRST, sender="a@client.example", recipients=["b@example.com"])
        await idle(worker, peer, clock)
        message, history = await queue.get(submission.id), await queue.get_retired(submission.id)
        kept = history if history is not None else message
        assert kept is not None
        [result] = kept.results
        fault = lie.misdeeds[0].fault if lie.misdeeds else None
        if fault is None or "CHUNKING" in lie.announces:
            assert result.kind is ResultKind.DELIVERED
        elif isinstance(fault.say, bytes):
            assert result.kind is ResultKind.FAILED
            assert result.code == int(fault.say[:3])
        else:
            assert result.kind is ResultKind.DEFERRED
        whole = relay.whole["b@example.com", b"first\r\n\r\n.dot\r\n"]
        if "CHUNKING" in lie.announces and fault is not None:
            assert whole <= 2  # by BDAT, which it did not know, and by DATA
        else:
            assert whole == 1 if result.kind is ResultKind.DELIVERED else whole <= 1
