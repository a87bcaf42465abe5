"""Every fault of a session with TLS: at its start, in the handshake, behind it, at AUTH, and beneath it."""

import ssl

import pytest
from tests.integration.hostile_oracle import MAX_AUTH_LINE, spoken
from tests.integration.hostile_waiting import FIRST, ended, read_counts, reason, same

from moxlib.sasl import Credentials
from moxlib.smtpclient import (
    Accepted,
    AuthenticationFailed,
    CommandTimeout,
    ConnectionLost,
    NotSent,
    ProtocolError,
    ReplyError,
    ResponseInjected,
    SMTPConnection,
    SMTPError,
    TLSFailed,
    TLSMode,
    Unknown,
)
from moxlib.testing import ByCommand, FakeClock, Fault, HostilePeer, Misdeed, Step, Then, all_cases

LOGIN = Credentials(username="mjl@example.org", password="pw", mechanisms=("PLAIN",))
EXTENSIONS = ("STARTTLS", "PIPELINING", "AUTH PLAIN", "8BITMIME")
MAX_READ = 512 * 1024  # bytes: a reply without an end, and what a handshake has
PROTECTED = (Step.MAIL, Step.RCPT, Step.DATA, Step.CONTENT, Step.END_OF_DATA)
CASES = list(all_cases(tls=True))


@pytest.fixture(autouse=True)
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    return read_counts(monkeypatch)


def cases(*steps: Step, beneath: bool | None = None) -> pytest.MarkDecorator:
    found = [case for case in CASES if case.step in steps and beneath in (None, case.fault.beneath_tls)]
    return pytest.mark.parametrize("case", found, ids=str)


def peer_of(case: Misdeed, context: ssl.SSLContext) -> HostilePeer:
    answers = ByCommand({"AUTH": "235 2.7.0 welcome"}, extensions=EXTENSIONS)
    return HostilePeer(case, answers=answers, tls_context=context)


async def connect(peer: HostilePeer, clock: FakeClock, context: ssl.SSLContext) -> SMTPConnection | SMTPError:
    connecting = SMTPConnection.connect(
        "127.0.0.1",
        peer.port,
        ehlo_name="client.example",
        tls=TLSMode.REQUIRED,
        tls_context=context,
        credentials=LOGIN,
        clock=clock,
    )
    try:
        return await ended(connecting, peer, clock)
    except SMTPError as error:
        return error


async def all_over(peer: HostilePeer, case: Misdeed, clock: FakeClock) -> None:
    assert clock.waiting == 0
    if case.fault.then is not Then.STALL:
        await peer.all_ended()


@cases(Step.STARTTLS)
async def test_the_reply_to_starttls(
    case: Misdeed, server_context: ssl.SSLContext, trusting: ssl.SSLContext, read: list[int]
) -> None:
    clock = FakeClock()
    words = case.fault.words(b"220 go ahead\r\n")
    said = spoken(words)
    async with peer_of(case, server_context) as peer:
        made = await connect(peer, clock, trusting)
        if said.replies and said.replies[0].code != 220:
            assert isinstance(made, ReplyError)
            assert same(made.reply, said.replies[0])
        elif not said.replies:
            assert isinstance(made, reason(case, nonsense=said.nonsense))
        elif words.count(b"\n") > 1:
            assert isinstance(made, ResponseInjected)
        elif case.fault.then is not Then.GO_ON:
            assert isinstance(made, TLSFailed)
        else:
            assert isinstance(made, SMTPConnection)
            assert made.tls_info is not None
            await made.quit()
        assert peer.done == [case]
        await all_over(peer, case, clock)
    assert sum(read) <= MAX_READ


@cases(Step.HANDSHAKE)
async def test_in_the_handshake(case: Misdeed, server_context: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    clock = FakeClock()
    async with peer_of(case, server_context) as peer:
        made = await connect(peer, clock, trusting)
        silent = not isinstance(case.fault.say, bytes) and case.fault.then in (Then.STALL, Then.DEAF)
        assert isinstance(made, CommandTimeout if silent else TLSFailed)
        assert len(str(made)) < 1000
        assert peer.done == [case]
        await all_over(peer, case, clock)


@cases(Step.EHLO_TLS, Step.AUTH)
async def test_behind_the_handshake(
    case: Misdeed, server_context: ssl.SSLContext, trusting: ssl.SSLContext, read: list[int]
) -> None:
    clock = FakeClock()
    good = b"235 2.7.0 welcome\r\n" if case.step is Step.AUTH else b"250-peer.example\r\n250 AUTH PLAIN\r\n"
    words = b"" if case.fault.beneath_tls and case.fault.then is Then.DEAF else case.fault.words(good)
    said = spoken(words, MAX_AUTH_LINE) if case.step is Step.AUTH else spoken(words)
    async with peer_of(case, server_context) as peer:
        made = await connect(peer, clock, trusting)
        if not said.replies:
            error = ConnectionLost if case.fault.beneath_tls else reason(case, nonsense=said.nonsense)
            assert isinstance(made, error)
        elif said.replies[0].code != int(good[:3]):
            assert isinstance(made, ReplyError)
            assert same(made.reply, said.replies[0])
        elif case.step is Step.EHLO_TLS and len(said.replies) + said.nonsense > 1:
            assert isinstance(made, ConnectionLost | ProtocolError)  # the second one was there before AUTH was
        elif case.step is Step.EHLO_TLS and case.fault.then is not Then.GO_ON:
            assert isinstance(made, ConnectionLost)
        elif case.step is Step.EHLO_TLS and "AUTH" not in str(said.replies[0].lines):
            assert isinstance(made, AuthenticationFailed)
        else:
            assert isinstance(made, SMTPConnection)
            in_step = case.fault.then is Then.GO_ON and len(said.replies) == 1
            [result] = (await ended(made.deliver("a@x", ["b@x"], FIRST), peer, clock)).recipients
            assert isinstance(result, Accepted if in_step else NotSent)
            await made.quit()
        assert peer.done == [case]
        await all_over(peer, case, clock)
    assert sum(read) <= MAX_READ


@cases(*PROTECTED, beneath=True)
async def test_beneath_tls(case: Misdeed, server_context: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    """Whoever is in the middle can end a protected session, and no more than that."""
    clock = FakeClock()
    async with peer_of(case, server_context) as peer:
        connection = await connect(peer, clock, trusting)
        assert isinstance(connection, SMTPConnection)
        [result] = (await ended(connection.deliver("a@x", ["b@x"], FIRST), peer, clock)).recipients
        after_the_dot = case.step in (Step.CONTENT, Step.END_OF_DATA)
        assert isinstance(result, Unknown if after_the_dot else NotSent)
        assert isinstance(result.error, ConnectionLost)
        assert not connection.usable
        await connection.quit()
        assert peer.done == [case]
        await all_over(peer, case, clock)


CHALLENGES = (
    b"334 \r\n",
    b"334 not Base64!\r\n",
    b"334-dGhpcw==\r\n334 dGhhdA==\r\n",
    b"334 " + b"QUFB" * 2900 + b"\r\n",
    b"334 " + b"QUFB" * 4000 + b"\r\n",
)


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"])
@pytest.mark.parametrize("challenge", CHALLENGES, ids=lambda challenge: repr(challenge[:12]))
async def test_endless_challenges(
    mechanism: str, challenge: bytes, server_context: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    """A server that answers each line of a login with one more challenge."""
    clock = FakeClock()
    forever = Misdeed(Step.AUTH, Fault(name="a challenge", say=challenge), times=None)
    answers = ByCommand(extensions=("STARTTLS", f"AUTH {mechanism}"))
    async with HostilePeer(forever, answers=answers, tls_context=server_context) as peer:
        connecting = SMTPConnection.connect(
            "127.0.0.1",
            peer.port,
            ehlo_name="client.example",
            tls=TLSMode.REQUIRED,
            tls_context=trusting,
            credentials=Credentials(username="u", password="p", mechanisms=(mechanism,)),
            clock=clock,
        )
        with pytest.raises((AuthenticationFailed, ProtocolError)) as caught:
            await ended(connecting, peer, clock)
        assert len(str(caught.value)) < 20_000
        assert 1 <= len(peer.done) <= 4
        await peer.all_ended()
