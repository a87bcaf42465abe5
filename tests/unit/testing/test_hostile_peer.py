"""`HostilePeer` as its client sees it: each way to say and to end, at the step that was asked for and at no other."""

import asyncio
import ssl

import pytest
import trustme
from tests.unit.testing.raw_client import Client, client_of

from moxlib.testing import (
    FAULTS,
    LIES,
    ByCommand,
    Fault,
    HostilePeer,
    Misdeed,
    Pace,
    Say,
    Step,
    Then,
    all_cases,
    hostile,
)
from moxlib.testing.smtp_peer import MAX_SAID

MAIL, RCPT = "MAIL FROM:<a@x>", "RCPT TO:<b@x>"
GOOD = b"250 2.1.0 ok\r\n"


def at(step: Step, then: Then = Then.GO_ON, *, after: int = 0, times: int | None = 1, say: Say | bytes) -> Misdeed:
    return Misdeed(step, Fault(name="this", say=say, then=then), after=after, times=times)


# The data


def test_all_cases_are_each_fault_at_each_step() -> None:
    for tls in (False, True):
        for chunking in (False, True):
            found = list(all_cases(tls=tls, chunking=chunking))
            assert len(set(found)) == len(found)
            names = [str(case) for case in found]
            assert len(set(names)) == len(names)
            assert found == list(all_cases(tls=tls, chunking=chunking))
    steps = {case.step for case in all_cases(tls=True)}
    assert steps == set(Step) - {Step.HELO, Step.NOOP, Step.OTHER, Step.BDAT, Step.CHUNK}
    assert {case.step for case in all_cases(tls=True, chunking=True)} == steps - {Step.DATA} | {Step.BDAT}
    assert {case.step for case in all_cases()} == steps - {Step.STARTTLS, Step.HANDSHAKE, Step.EHLO_TLS}
    in_clear = [fault for fault in FAULTS if not fault.beneath_tls]
    assert [case.fault for case in all_cases() if case.step is Step.RCPT] == in_clear
    assert [case.fault for case in all_cases(tls=True) if case.step is Step.RCPT] == list(FAULTS)
    assert not any(case.fault.beneath_tls for case in all_cases())
    assert len({lie.name for lie in LIES}) == len(LIES)


def test_every_reply_that_refuses_is_among_the_faults() -> None:
    said = {fault.say[:3] for fault in FAULTS if isinstance(fault.say, bytes)}
    assert {b"421", b"451", b"452", b"500", b"502", b"550", b"552", b"554"} <= said


@pytest.mark.parametrize(
    ("say", "words"),
    [
        (Say.NOTHING, b"!"),
        (Say.GOOD, GOOD + b"!"),
        (Say.HALF, b"250 2.1!"),
        (Say.TWICE, GOOD + GOOD + b"!"),
        (b"no\r\n", b"no\r\n!"),
    ],
)
def test_what_is_said(say: Say | bytes, words: bytes) -> None:
    assert Fault(name="this", say=say, more=b"!").words(GOOD) == words


def test_when_it_is_due() -> None:
    fault = FAULTS[0]
    assert [Misdeed(Step.RCPT, fault, after=1, times=2).is_due(turn) for turn in range(4)] == [False, True, True, False]
    assert [Misdeed(Step.RCPT, fault, after=1, times=None).is_due(turn) for turn in range(3)] == [False, True, True]


# Steps


COMMANDS = {
    Step.MAIL: MAIL,
    Step.RCPT: RCPT,
    Step.RSET: "RSET",
    Step.NOOP: "NOOP",
    Step.AUTH: "AUTH PLAIN AGEAYg==",
    Step.HELO: "HELO x",
    Step.OTHER: "VRFY b",
    Step.EHLO: "EHLO x",
    Step.DATA: "DATA",
    Step.CHUNK: "BDAT 0",
    Step.END_OF_DATA: "BDAT 0 LAST",
    Step.QUIT: "QUIT",
}


@pytest.mark.parametrize("step", COMMANDS, ids=lambda step: step.name)
async def test_the_reply_to_each_command(step: Step) -> None:
    misdeed = at(step, say=b"299 strange\r\n", after=step is Step.EHLO)
    async with HostilePeer(misdeed) as peer, client_of(peer) as client:
        for other, command in COMMANDS.items():
            [code] = await client.say(command)
            assert (code == "299") is (other is step), other
            if code == "354":
                await client.say(".")
        assert peer.done == [misdeed]


async def test_the_greeting_and_what_comes_before_it() -> None:
    before = at(Step.CONNECT, say=b"220 before\r\n", after=1)
    instead = at(Step.GREETING, say=b"220 instead\r\n")
    async with HostilePeer(before, instead) as peer:
        for heard in (["220 instead"], ["220 before", "220 peer.example ESMTP"]):
            reader, writer = await asyncio.open_connection("127.0.0.1", peer.port)
            client = Client(reader, writer)
            assert [await client.hear() for _ in heard] == heard
            writer.close()
            await writer.wait_closed()
        assert peer.done == [instead, before]


@pytest.mark.parametrize("chunked", [False, True])
async def test_in_the_midst_of_the_content(chunked: bool) -> None:
    misdeed = at(Step.CONTENT, say=b"250 already\r\n")
    async with HostilePeer(misdeed) as peer, client_of(peer) as client:
        await client.say(MAIL, RCPT)
        if chunked:
            client.writer.write(b"BDAT 6 LAST\r\none")
        else:
            await client.say("DATA")
            client.writer.write(b"one\r\n")
        assert await client.hear() == "250 already"
        client.writer.write(b"two" if chunked else b"..two\r\n.\r\n")
        assert await client.hear() == "250 2.0.0 accepted" if not chunked else (await client.hear())[:3] == "250"
    assert peer.messages == [b"onetwo" if chunked else b"one\r\n.two\r\n"]


async def test_the_end_in_the_midst_of_the_content() -> None:
    async with HostilePeer(at(Step.CONTENT, Then.CLOSE, say=b"421 bye\r\n")) as peer, client_of(peer) as client:
        await client.say(MAIL, RCPT, "DATA")
        client.writer.write(b"one\r\n")
        assert await client.rest() == b"421 bye\r\n"
    assert peer.messages == []


async def test_a_chunk_that_is_taken_for_commands() -> None:
    async with HostilePeer(at(Step.BDAT, say=b"500 what?\r\n")) as peer, client_of(peer) as client:
        await client.say(MAIL, RCPT)
        client.writer.write(b"BDAT 13 LAST\r\nSubject: hi\r\n")
        assert [(await client.hear())[:3] for _ in range(2)] == ["500", "500"]
        assert peer.lines[-2:] == ["BDAT 13 LAST", "Subject: hi"]
        client.writer.write(b"BDAT 13 LAST\r\nSubject: hi\r\n")
        assert (await client.hear())[:3] == "250"
    assert peer.messages == [b"Subject: hi\r\n"]


async def test_one_recipient_of_lmtp() -> None:
    answers = ByCommand(lmtp=True)
    async with (
        HostilePeer(at(Step.END_OF_DATA, say=b"550 no\r\n", after=1), answers=answers) as peer,
        client_of(peer, "LHLO x") as client,
    ):
        await client.say(MAIL, *[RCPT] * 3, "DATA")
        client.writer.write(b".\r\n")
        assert [(await client.hear())[:3] for _ in range(3)] == ["250", "550", "250"]


async def test_a_line_of_an_auth_dialogue() -> None:
    answers = ByCommand({"AUTH": "334 VXNlcm5hbWU6", "bWpsCg==": "235 welcome"})
    misdeed = at(Step.AUTH, say=b"535 no\r\n", after=1)
    async with HostilePeer(misdeed, answers=answers) as peer, client_of(peer) as client:
        assert await client.say("AUTH LOGIN", "bWpsCg==", "AUTH LOGIN", "bWpsCg==") == ["334", "535", "334", "235"]


# Ways to say it, and to end


async def test_byte_by_byte() -> None:
    slow = Misdeed(Step.MAIL, Fault(name="slow", say=Say.GOOD, pace=Pace.BYTE_BY_BYTE))
    async with HostilePeer(slow) as peer, client_of(peer) as client:
        assert await client.say(MAIL, RCPT) == ["250", "250"]
        assert peer.sessions[0].recipients == [RCPT]


async def test_half_a_reply_and_the_end() -> None:
    async with HostilePeer(at(Step.MAIL, Then.CLOSE, say=Say.HALF)) as peer, client_of(peer) as client:
        client.writer.write(f"{MAIL}\r\n".encode())
        assert await client.rest() == b"250 2.1"


async def test_a_reset_is_one() -> None:
    async with HostilePeer(at(Step.MAIL, Then.RESET, say=Say.NOTHING)) as peer, client_of(peer) as client:
        client.writer.write(f"{MAIL}\r\n".encode())
        with pytest.raises(ConnectionResetError):
            await client.rest()


@pytest.mark.parametrize("then", [Then.STALL, Then.DEAF])
async def test_waiting_in_vain(then: Then) -> None:
    async with HostilePeer(at(Step.MAIL, then, say=Say.HALF)) as peer, client_of(peer) as client:
        client.writer.write(f"{MAIL}\r\n".encode())
        await peer.stalled()
        client.writer.write(b"QUIT\r\n" * 3)
        await client.writer.drain()
        client.writer.write_eof()
        if then is Then.DEAF:
            await peer.all_ended()
    assert peer.lines == ["EHLO client.example", MAIL]


async def test_who_takes_all_that_has_no_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hostile, "MAX_FLOOD", 3 * MAX_SAID)
    endless = Misdeed(Step.MAIL, Fault(name="endless", say=b"250-more\r\n", pace=Pace.ENDLESS))
    peer = await HostilePeer(endless).__aenter__()
    async with client_of(peer) as client:
        client.writer.write(f"{MAIL}\r\n".encode())
        read = await client.rest()
    with pytest.raises(AssertionError, match="no end"):
        await peer.__aexit__(None, None, None)
    assert len(read) == peer.flooded >= 3 * MAX_SAID
    assert len(peer.sessions[0].said) == MAX_SAID


async def test_who_goes_away_from_it_is_not_told() -> None:
    endless = Misdeed(Step.MAIL, Fault(name="endless", say=b"250-more\r\n", pace=Pace.ENDLESS))
    async with HostilePeer(endless) as peer:
        async with client_of(peer) as client:
            client.writer.write(f"{MAIL}\r\n".encode())
            assert (await client.read(20)).startswith(b"250-more\r\n")
        await peer.all_ended()


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def with_tls(misdeed: Misdeed, context: ssl.SSLContext) -> HostilePeer:
    return HostilePeer(misdeed, answers=ByCommand(extensions=("STARTTLS",)), tls_context=context)


async def test_ehlo_behind_the_handshake(server_context: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    async with with_tls(at(Step.EHLO_TLS, say=b"550 no\r\n"), server_context) as peer, client_of(peer) as client:
        await client.say("STARTTLS")
        await client.writer.start_tls(trusting, server_hostname="127.0.0.1")
        assert await client.say("EHLO x", "EHLO x") == ["550", "250"]


@pytest.mark.parametrize("granted", [True, False])
async def test_the_handshake_follows_what_grants_it(
    granted: bool, server_context: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    said = b"220 so be it\r\n" if granted else b"454 no\r\n"
    async with with_tls(at(Step.STARTTLS, say=said), server_context) as peer, client_of(peer) as client:
        await client.say("STARTTLS")
        if granted:
            await client.writer.start_tls(trusting, server_hostname="127.0.0.1")
        assert await client.say("NOOP") == ["250"]
        assert peer.sessions[0].tls is granted


async def test_half_of_the_first_flight(server_context: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    misdeed = at(Step.HANDSHAKE, Then.CLOSE, say=Say.HALF)
    async with with_tls(misdeed, server_context) as peer, client_of(peer) as client:
        await client.say("STARTTLS")
        client.writer.write(outgoing.read())
        flight = await client.rest()
    assert flight[:3] == b"\x16\x03\x03"  # a ServerHello is in the half that was sent
    incoming.write(flight)
    with pytest.raises(ssl.SSLWantReadError):  # nothing is wrong with it; there is more to come
        tls.do_handshake()


@pytest.mark.parametrize("then", [Then.CLOSE, Then.CUT])
async def test_with_a_farewell_and_without(
    then: Then, server_context: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """Only close_notify tells an end that was meant from one that an attacker made."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    async with with_tls(at(Step.NOOP, then, say=Say.GOOD), server_context) as peer, client_of(peer) as client:
        await client.say("STARTTLS")
        await handshake(tls, incoming, outgoing, client)
        tls.write(b"NOOP\r\n")
        client.writer.write(outgoing.read())
        assert await heard(tls, incoming, client) == b"250 2.0.0 ok\r\n"
        if then is Then.CLOSE:
            assert await heard(tls, incoming, client) == b""
        else:
            with pytest.raises(ssl.SSLEOFError):
                await heard(tls, incoming, client)


async def heard(tls: ssl.SSLObject, incoming: ssl.MemoryBIO, client: Client) -> bytes:
    while True:
        try:
            return tls.read(100)
        except ssl.SSLWantReadError:
            data = await client.read(65536)
            incoming.write(data) if data else incoming.write_eof()


async def handshake(tls: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, client: Client) -> None:
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            client.writer.write(outgoing.read())
            incoming.write(await client.read(65536))
        else:
            client.writer.write(outgoing.read())
            return


async def test_beneath_tls(server_context: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    beneath = Misdeed(Step.NOOP, Fault(name="beneath", say=b"in clear\r\n", then=Then.CUT, beneath_tls=True))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trusting.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    async with with_tls(beneath, server_context) as peer, client_of(peer) as client:
        await client.say("STARTTLS")
        await handshake(tls, incoming, outgoing, client)
        tls.write(b"NOOP\r\n")
        client.writer.write(outgoing.read())
        assert (await client.rest()).endswith(b"in clear\r\n")
