"""The SMTP transports against real servers on loopback: aiosmtpd, and a scripted peer for what servers do wrong."""

import asyncio
import base64
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword
from aiosmtpd.smtp import Session as ServerSession

from moxlib.errors import InputError, StateError
from moxlib.localserve import LoopbackServer
from moxlib.queue import (
    Content,
    ContentDamaged,
    Deferred,
    Delivered,
    Delivery,
    Failed,
    FailTransport,
    Message,
    Outcome,
    RequireTLS,
    Security,
    SMTPTransport,
    SubmissionsTransport,
    SubmissionTransport,
    Trace,
    Unknown,
)
from moxlib.queue.storage.content import ContentDirectory, MessageContent
from moxlib.queue.submission import StoredContent
from moxlib.sasl import Credentials
from moxlib.smtpclient import Timeouts, unverified_context
from moxlib.testing import Answer, ByCommand, Close, FakeClock, PeerSession, SMTPPeer, Stall, StartTLS

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
BODY = b"Subject: hi\r\n\r\n.dot\r\n"
USER, PASSWORD = "mjl@example.org", "pässword"
STEPWISE = ("8BITMIME", "ENHANCEDSTATUSCODES")
PIPELINED = ("PIPELINING", "8BITMIME", "ENHANCEDSTATUSCODES")
WITH_TLS = ("STARTTLS", "PIPELINING", "8BITMIME", "REQUIRETLS")


class InMemory:
    """Content as it comes from a row."""

    def __init__(self, data: bytes = BODY) -> None:
        self.size = len(data)
        self.data: bytes | None = data

    async def chunks(self) -> AsyncIterator[bytes]:
        assert self.data is not None
        yield self.data


class Streamed:
    """Content in chunks; with `damaged`, it is found to be damaged behind the last of them."""

    def __init__(self, *parts: bytes, damaged: bool = False) -> None:
        self.parts = parts
        self.size = sum(map(len, parts))
        self.data: bytes | None = None
        self.damaged = damaged
        self.passes = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        self.passes += 1
        for part in self.parts:
            yield part
        if self.damaged:
            raise ContentDamaged("the file ends too early")


def message(
    recipient: str, *, sender: str = "a@client.example", require_tls: RequireTLS = RequireTLS.POLICY
) -> Message:
    domain = recipient.rpartition("@")[2]
    return Message(
        id=1,
        base_id=1,
        account="account",
        sender=sender,
        sender_domain="client.example",
        recipient=recipient,
        recipient_domain=domain,
        destination=domain,
        queued=NOW,
        hold=False,
        attempts=1,
        max_attempts=8,
        next_attempt=NOW,
        last_attempt=None,
        in_flight=True,
        results=(),
        size=len(BODY),
        require_tls=require_tls,
    )


def delivery(*recipients: str, content: Content | None = None, require_tls: RequireTLS = RequireTLS.POLICY) -> Delivery:
    messages = tuple(message(recipient, require_tls=require_tls) for recipient in recipients or ("b@x",))
    return Delivery(messages=messages, content=content or InMemory(), transport="smarthost")


def in_clear(peer: SMTPPeer | LoopbackServer, **options: Any) -> SMTPTransport:
    return SMTPTransport("127.0.0.1", peer.port, security="none", ehlo_name="client.example", **options)


def kinds(outcomes: object) -> list[type]:
    assert isinstance(outcomes, list | tuple)
    return [type(outcome) for outcome in outcomes]


async def only(transport: SMTPTransport, given: Delivery) -> Outcome:
    [outcome] = await transport.deliver(given)
    return outcome


def envelopes(peer: SMTPPeer) -> list[str]:
    """The recipients of what the peer accepted or refused at its end, RCPT by RCPT."""
    return [line for line in peer.lines if line.startswith("RCPT")]


# TLS


@pytest.fixture(scope="module")
def misnamed_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("other.example").configure_cert(context)
    return context


class Kept:
    """An aiosmtpd handler that keeps what comes, and counts the connections it comes over."""

    def __init__(self) -> None:
        self.contents: list[bytes] = []
        self.logins: list[bytes] = []
        self.connections = 0

    async def handle_DATA(self, server: SMTP, session: ServerSession, envelope: Envelope) -> str:
        assert isinstance(envelope.original_content, bytes)
        self.contents.append(envelope.original_content)
        if isinstance(session.auth_data, LoginPassword):
            self.logins.append(session.auth_data.login)
        return "250 kept"


def authenticator(server: SMTP, session: ServerSession, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
    assert isinstance(data, LoginPassword)
    right = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=False, auth_data=data)


@asynccontextmanager
async def aiosmtpd_server(
    context: ssl.SSLContext | None, *, immediate: bool = False, login: bool = False
) -> AsyncIterator[tuple[int, Kept]]:
    kept = Kept()
    loop = asyncio.get_running_loop()
    made: list[SMTP] = []

    def make() -> SMTP:
        kept.connections += 1
        options: dict[str, Any] = {"authenticator": authenticator, "auth_required": True} if login else {}
        starttls = None if immediate else context
        made.append(SMTP(kept, hostname="mx.example", tls_context=starttls, loop=loop, **options))
        return made[-1]

    server = await loop.create_server(make, "127.0.0.1", 0, ssl=context if immediate else None)
    async with server:
        yield server.sockets[0].getsockname()[1], kept


async def test_starttls_with_a_verified_certificate(server_context: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    async with aiosmtpd_server(server_context) as (port, kept):
        transport = SMTPTransport("127.0.0.1", port, tls_context=trusting)
        async with transport.running():
            for _ in range(3):
                outcome = await only(transport, delivery())
                trace = Trace(tls="tls1.3 pkix")
                assert outcome == Delivered(code=250, text="kept", peer="127.0.0.1", trace=trace, dsn=False)
    assert kept.contents == [BODY] * 3
    assert kept.connections == 1


async def test_a_server_without_tls_gets_nothing() -> None:
    async with aiosmtpd_server(None) as (port, kept):
        transport = SMTPTransport("127.0.0.1", port)
        async with transport.running():
            outcomes = await transport.deliver(delivery("b@x", "c@x"))
    assert kinds(outcomes) == [Deferred, Deferred]
    assert kept.contents == []


@pytest.mark.parametrize(
    "answer", ["454 4.7.0 no TLS now", "502 5.5.1 no", Close("220 go\r\n"), StartTLS(inject=b"250 x")]
)
async def test_tls_that_does_not_come_about(server_context: ssl.SSLContext, answer: Answer) -> None:
    async with SMTPPeer(ByCommand({"STARTTLS": answer}, extensions=WITH_TLS), tls_context=server_context) as peer:
        transport = SMTPTransport("127.0.0.1", peer.port)
        async with transport.running():
            assert isinstance(await only(transport, delivery()), Deferred)
    assert not any(line.startswith(("MAIL", "AUTH")) for line in peer.lines)


@pytest.mark.parametrize("class_", [SMTPTransport, SubmissionTransport, SubmissionsTransport])
@pytest.mark.parametrize("reason", ["unknown authority", "another name"])
async def test_a_certificate_that_is_not_accepted(
    server_context: ssl.SSLContext,
    misnamed_context: ssl.SSLContext,
    trusting: ssl.SSLContext,
    class_: type[SMTPTransport],
    reason: str,
) -> None:
    unknown = reason == "unknown authority"
    certificate = server_context if unknown else misnamed_context
    answers = ByCommand(extensions=WITH_TLS)
    immediate = class_ is SubmissionsTransport
    async with SMTPPeer(answers, tls_context=certificate, immediate_tls=immediate) as peer:
        transport = class_("127.0.0.1", peer.port, tls_context=None if unknown else trusting)
        async with transport.running():
            outcome = await only(transport, delivery())
    assert isinstance(outcome, Deferred)
    assert "certificate" in outcome.text
    assert outcome.peer == "127.0.0.1"
    assert not any(line.startswith("MAIL") for line in peer.lines)


@pytest.mark.parametrize("security", [Security.UNVERIFIED, "unverified"])
async def test_unverified_tls_by_name(misnamed_context: ssl.SSLContext, security: Security | str) -> None:
    async with aiosmtpd_server(misnamed_context) as (port, kept):
        transport = SMTPTransport("127.0.0.1", port, security=security)
        async with transport.running():
            assert isinstance(await only(transport, delivery()), Delivered)
    assert kept.contents == [BODY]


async def test_unverified_tls_is_tls_all_the_same() -> None:
    async with aiosmtpd_server(None) as (port, kept):
        transport = SMTPTransport("127.0.0.1", port, security="unverified")
        async with transport.running():
            assert isinstance(await only(transport, delivery()), Deferred)
    assert kept.contents == []


async def test_no_tls_by_name() -> None:
    async with SMTPPeer(ByCommand(extensions=WITH_TLS)) as peer:
        transport = in_clear(peer)
        async with transport.running():
            assert isinstance(await only(transport, delivery()), Delivered)
    assert "STARTTLS" not in peer.lines
    assert peer.messages == [BODY]


@pytest.mark.parametrize("security", [Security.UNVERIFIED, Security.NONE])
async def test_a_message_that_requires_tls_fails_where_it_is_not_verified(
    server_context: ssl.SSLContext, security: Security
) -> None:
    async with SMTPPeer(ByCommand(extensions=WITH_TLS), tls_context=server_context) as peer:
        transport = SMTPTransport("127.0.0.1", peer.port, security=security)
        async with transport.running():
            outcomes = await transport.deliver(delivery("b@x", "c@x", require_tls=RequireTLS.YES))
            for outcome in outcomes:
                assert isinstance(outcome, Failed)
                assert (outcome.code, outcome.enhanced) == (554, "5.7.30")
            assert isinstance(await only(transport, delivery(require_tls=RequireTLS.NO)), Delivered)
    assert len(envelopes(peer)) == 1


async def test_a_message_that_requires_tls_fails_with_a_context_that_does_not_verify(
    server_context: ssl.SSLContext,
) -> None:
    async with SMTPPeer(ByCommand(extensions=WITH_TLS), tls_context=server_context) as peer:
        transport = SMTPTransport("127.0.0.1", peer.port, tls_context=unverified_context())
        async with transport.running():
            outcome = await only(transport, delivery(require_tls=RequireTLS.YES))
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.enhanced) == (554, "5.7.30")
    assert peer.sessions == []


async def test_a_message_that_requires_tls_says_so_to_the_server(
    server_context: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    async with SMTPPeer(ByCommand(extensions=WITH_TLS), tls_context=server_context) as peer:
        transport = SMTPTransport("127.0.0.1", peer.port, tls_context=trusting)
        async with transport.running():
            assert isinstance(await only(transport, delivery(require_tls=RequireTLS.YES)), Delivered)
    assert "MAIL FROM:<a@client.example> BODY=7BIT REQUIRETLS" in peer.lines


async def test_a_message_that_requires_tls_waits_for_a_server_that_knows_it(
    server_context: ssl.SSLContext, trusting: ssl.SSLContext
) -> None:
    async with aiosmtpd_server(server_context) as (port, kept):
        transport = SMTPTransport("127.0.0.1", port, tls_context=trusting)
        async with transport.running():
            outcome = await only(transport, delivery(require_tls=RequireTLS.YES))
            assert isinstance(outcome, Deferred)
            assert "REQUIRETLS" in outcome.text
            assert isinstance(await only(transport, delivery()), Delivered)
    assert kept.contents == [BODY]
    assert kept.connections == 1


async def test_submissions_is_tls_from_the_first_byte(server_context: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    async with SMTPPeer(tls_context=server_context, immediate_tls=True) as peer:
        transport = SubmissionsTransport("127.0.0.1", peer.port, tls_context=trusting)
        async with transport.running():
            assert isinstance(await only(transport, delivery()), Delivered)
    assert "STARTTLS" not in peer.lines
    assert peer.sessions[0].tls


async def test_submissions_with_a_server_that_speaks_no_tls() -> None:
    async with SMTPPeer() as peer:
        transport = SubmissionsTransport("127.0.0.1", peer.port, security="unverified")
        async with transport.running():
            assert isinstance(await only(transport, delivery()), Deferred)
    assert not any(line.startswith("MAIL") for line in peer.lines)


# AUTH


async def test_logging_in(server_context: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    login = Credentials(username=USER, password=PASSWORD, mechanisms=("PLAIN",))
    async with aiosmtpd_server(server_context, login=True) as (port, kept):
        transport = SubmissionTransport("127.0.0.1", port, tls_context=trusting, credentials=login)
        async with transport.running():
            assert kinds([await only(transport, delivery()) for _ in range(2)]) == [Delivered] * 2
    assert kept.logins == [USER.encode()] * 2
    assert kept.connections == 1


async def test_logging_in_over_immediate_tls(server_context: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    login = Credentials(username=USER, password=PASSWORD, mechanisms=("PLAIN",))
    expected = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
    answers = ByCommand({f"AUTH PLAIN {expected}": "235 2.7.0 ok"}, extensions=("AUTH PLAIN", "8BITMIME"))
    async with SMTPPeer(answers, tls_context=server_context, immediate_tls=True) as peer:
        transport = SubmissionsTransport("127.0.0.1", peer.port, tls_context=trusting, credentials=login)
        async with transport.running():
            assert kinds([await only(transport, delivery()) for _ in range(2)]) == [Delivered] * 2
    assert len([line for line in peer.lines if line.startswith("AUTH")]) == 1


async def test_a_wrong_password_defers(server_context: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    login = Credentials(username=USER, password="wrong", mechanisms=("PLAIN",))
    async with aiosmtpd_server(server_context, login=True) as (port, kept):
        transport = SubmissionTransport("127.0.0.1", port, tls_context=trusting, credentials=login)
        async with transport.running():
            outcomes = await transport.deliver(delivery("b@x", "c@x"))
    for outcome in outcomes:
        assert isinstance(outcome, Deferred)
        assert outcome.code == 535
        assert "wrong" not in outcome.text
    assert kept.contents == []


async def test_a_password_does_not_travel_in_clear() -> None:
    async with SMTPPeer(ByCommand(extensions=("AUTH PLAIN LOGIN",))) as peer:
        transport = in_clear(peer, credentials=Credentials(username=USER, password=PASSWORD))
        async with transport.running():
            assert isinstance(await only(transport, delivery()), Deferred)
    assert peer.lines == ["EHLO client.example"]


# Construction


def test_the_ports_by_convention() -> None:
    classes = (SMTPTransport, SubmissionTransport, SubmissionsTransport)
    assert [class_("mx.example").port for class_ in classes] == [25, 587, 465]
    assert [class_("mx.example").security for class_ in classes] == [Security.VERIFIED] * 3


@pytest.mark.parametrize(
    "options",
    [
        {"host": ""},
        {"port": 0},
        {"port": -1},
        {"port": 65536},
        {"security": "starttls"},
        {"max_connections": 0},
        {"pipeline": 0},
        {"max_idle": 0.0},
        {"max_age": -1.0},
        {"ehlo_name": ""},
        {"ehlo_name": "two words"},
        {"ehlo_name": "line\r\nRSET"},
    ],
    ids=str,
)
@pytest.mark.parametrize("class_", [SMTPTransport, SubmissionTransport, SubmissionsTransport])
def test_arguments_that_cannot_be(class_: type[SMTPTransport], options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        class_(**{"host": "mx.example", **options})


def test_a_tls_context_is_of_no_use_without_tls() -> None:
    with pytest.raises(InputError, match="TLS context"):
        SMTPTransport("mx.example", security="none", tls_context=unverified_context())


@pytest.mark.parametrize("security", [Security.NONE, "none"])
def test_submissions_cannot_be_without_tls(security: Security | str) -> None:
    with pytest.raises(InputError, match="TLS from the first byte"):
        SubmissionsTransport("mx.example", security=security)


# The life of a transport


async def test_a_transport_delivers_only_while_it_runs() -> None:
    async with LoopbackServer() as server:
        transport = in_clear(server)
        with pytest.raises(StateError):
            await transport.deliver(delivery())
        for _ in range(2):  # one run after another is in order
            async with transport.running():
                assert isinstance(await only(transport, delivery()), Delivered)
            with pytest.raises(StateError):
                await transport.deliver(delivery())
    assert len(server.received) == 2


async def test_a_transport_runs_once_at_a_time() -> None:
    async with LoopbackServer() as server:
        transport = in_clear(server)
        async with transport.running():
            with pytest.raises(StateError):
                async with transport.running():
                    pytest.fail("it ran twice")
            assert isinstance(await only(transport, delivery()), Delivered)


async def test_closing_says_quit() -> None:
    async with SMTPPeer(ByCommand(extensions=STEPWISE)) as peer:
        transport = in_clear(peer)
        async with transport.running():
            await asyncio.gather(*(transport.deliver(delivery()) for _ in range(3)))
        await peer.all_ended()
    assert [session.lines[-1] for session in peer.sessions] == ["QUIT"] * 3


async def test_closing_does_not_wait_for_a_server_that_does_not_answer_quit() -> None:
    async with SMTPPeer(ByCommand({"QUIT": Stall()})) as peer:
        transport = in_clear(peer, timeouts=Timeouts(quit=0.01))
        async with transport.running():
            assert isinstance(await only(transport, delivery()), Delivered)
        peer.resume()


# Connections


@pytest.mark.parametrize("extensions", [STEPWISE, PIPELINED])
async def test_one_connection_for_one_delivery_after_another(extensions: tuple[str, ...]) -> None:
    async with SMTPPeer(ByCommand(extensions=extensions)) as peer:
        transport = in_clear(peer)
        async with transport.running():
            for number in range(10):
                assert isinstance(await only(transport, delivery(f"{number}@{number}.example")), Delivered)
    assert len(peer.sessions) == 1
    assert len(peer.messages) == 10


async def test_a_refusal_does_not_end_the_connection() -> None:
    answers = ByCommand(
        {"RCPT TO:<no@": "550 5.1.1 no", "MAIL": ["250 ok", "451 4.3.0 later", "250 ok"]}, extensions=STEPWISE
    )
    async with SMTPPeer(answers) as peer:
        transport = in_clear(peer)
        async with transport.running():
            given = ["no@x", "b@x", "b@x"]
            outcomes = [await only(transport, delivery(recipient)) for recipient in given]
    assert kinds(outcomes) == [Failed, Deferred, Delivered]
    assert len(peer.sessions) == 1


@pytest.mark.parametrize("extensions", [STEPWISE, PIPELINED])
@pytest.mark.parametrize("end", [Close(), Close(reset=True)])
async def test_a_connection_gone_stale_costs_no_attempt(extensions: tuple[str, ...], end: Close) -> None:
    """The server closes just as the next MAIL comes: for the client the same as a close that it could not see yet."""
    mail: list[Answer] = ["250 2.1.0 ok", end, "250 2.1.0 ok"]
    async with SMTPPeer(ByCommand({"MAIL": mail}, extensions=extensions)) as peer:
        transport = in_clear(peer)
        async with transport.running():
            outcomes = [await only(transport, delivery(f"{number}@x")) for number in range(3)]
    assert kinds(outcomes) == [Delivered] * 3
    assert len(peer.messages) == 3
    assert len(peer.sessions) == 2


async def test_a_connection_closed_while_idle() -> None:
    async with SMTPPeer(
        ByCommand({".": [Close("250 2.0.0 ok\r\n"), Close("250 2.0.0 ok\r\n421 bye\r\n"), "250 ok"]})
    ) as peer:
        transport = in_clear(peer)
        async with transport.running():
            for _ in range(3):
                assert isinstance(await only(transport, delivery()), Delivered)
                if len(peer.sessions) < 3:
                    await peer.all_ended()
    assert len(peer.messages) == 3
    assert len(peer.sessions) == 3


async def test_a_new_connection_that_ends_at_mail_is_an_attempt() -> None:
    async with SMTPPeer(ByCommand({"MAIL": Close()})) as peer:
        transport = in_clear(peer)
        async with transport.running():
            assert isinstance(await only(transport, delivery()), Deferred)
    assert len(peer.sessions) == 1


async def test_a_stale_connection_and_then_none() -> None:
    async with SMTPPeer(ByCommand({"MAIL": ["250 ok", Close()]})) as peer:
        transport = in_clear(peer)
        async with transport.running():
            await only(transport, delivery())
            outcome = await only(transport, delivery())
    assert isinstance(outcome, Deferred)
    assert len(peer.messages) == 1
    assert len(peer.sessions) == 2


async def test_unused_connections_are_closed() -> None:
    clock = FakeClock()
    async with SMTPPeer() as peer:
        transport = in_clear(peer, clock=clock, max_idle=30.0)
        async with transport.running():
            await only(transport, delivery())
            await clock.advance(29)
            assert not peer.sessions[0].ended
            await clock.advance(31)
            await peer.all_ended()
            assert peer.lines[-1] == "QUIT"
            assert isinstance(await only(transport, delivery()), Delivered)
    assert len(peer.sessions) == 2


async def test_old_connections_are_not_used_again() -> None:
    clock = FakeClock()
    async with SMTPPeer() as peer:
        transport = in_clear(peer, clock=clock, max_idle=30.0, max_age=60.0)
        async with transport.running():
            for _ in range(4):  # at 0, 20, 40 and 60 seconds
                assert isinstance(await only(transport, delivery()), Delivered)
                await clock.advance(20)
    assert [len(session.messages) for session in peer.sessions] == [3, 1]


@pytest.mark.parametrize("extensions", [STEPWISE, PIPELINED])
async def test_max_connections(extensions: tuple[str, ...]) -> None:
    most = 0

    def count(line: str, session: PeerSession) -> Answer:
        nonlocal most
        most = max(most, sum(not one.ended for one in peer.sessions))
        return accept(line, session)

    accept = ByCommand(extensions=extensions)
    peer = SMTPPeer(count)
    async with peer:
        transport = in_clear(peer, max_connections=4)
        async with transport.running():
            outcomes = await asyncio.gather(*(only(transport, delivery(f"{number}@x")) for number in range(50)))
    assert kinds(outcomes) == [Delivered] * 50
    assert sorted(envelopes(peer)) == sorted(f"RCPT TO:<{number}@x>" for number in range(50))
    assert len(peer.sessions) == most == 4


async def test_max_connections_with_connections_that_end() -> None:
    """Each connection takes two messages; a new one is not opened before the old one is closed."""
    most = 0

    def count(line: str, session: PeerSession) -> Answer:
        nonlocal most
        most = max(most, sum(not one.ended for one in peer.sessions))
        return accept(line, session)

    accept = ByCommand(extensions=(*PIPELINED, "LIMITS MAILMAX=2"))
    peer = SMTPPeer(count)
    async with peer:
        transport = in_clear(peer, max_connections=3)
        async with transport.running():
            outcomes = await asyncio.gather(*(only(transport, delivery(f"{number}@x")) for number in range(30)))
    assert kinds(outcomes) == [Delivered] * 30
    assert most == 3
    assert max(len(session.messages) for session in peer.sessions) == 2


# Outcomes


async def test_mixed_outcomes_come_in_order() -> None:
    answers = ByCommand(
        {"RCPT TO:<gone@": "550 5.1.1 no such user", "RCPT TO:<full@": "450 4.2.2 full", "RCPT TO:<old@": "251 ok"}
    )
    async with SMTPPeer(answers) as peer:
        transport = in_clear(peer)
        async with transport.running():
            outcomes = await transport.deliver(delivery("gone@x", "b@x", "full@x", "old@x"))
    host = "127.0.0.1"
    assert outcomes == [
        Failed(code=550, enhanced="5.1.1", text="RCPT TO: no such user", peer=host, command="RCPT TO"),
        Delivered(code=250, enhanced="2.0.0", text="accepted", peer=host, dsn=False),
        Deferred(code=450, enhanced="4.2.2", text="RCPT TO: full", peer=host, command="RCPT TO"),
        Delivered(code=250, enhanced="2.0.0", text="accepted", peer=host, dsn=False),
    ]
    assert len(peer.messages) == 1


@pytest.mark.parametrize("extensions", [STEPWISE, PIPELINED])
async def test_rcptmax_divides_a_delivery(extensions: tuple[str, ...]) -> None:
    answers = ByCommand({"RCPT TO:<3@": "550 5.1.1 no"}, extensions=(*extensions, "LIMITS RCPTMAX=3"))
    async with SMTPPeer(answers) as peer:
        transport = in_clear(peer)
        async with transport.running():
            outcomes = await transport.deliver(delivery(*(f"{number}@x" for number in range(8))))
    assert kinds(outcomes) == [Delivered] * 3 + [Failed] + [Delivered] * 4
    assert len(peer.messages) == 3
    assert envelopes(peer) == [f"RCPT TO:<{number}@x>" for number in range(8)]


@pytest.mark.parametrize("extensions", [STEPWISE, PIPELINED])
@pytest.mark.parametrize("refusal", ["452 4.5.3 too many", "552 5.5.3 too many"])
async def test_a_server_that_takes_two_recipients_at_a_time(extensions: tuple[str, ...], refusal: str) -> None:
    def at_most_two(line: str, session: PeerSession) -> Answer:
        if line.startswith("RCPT") and len(session.recipients) == 2:
            return refusal
        return others(line, session)

    others = ByCommand({"RCPT TO:<1@": "550 5.1.1 no", "RCPT TO:<4@": "450 4.2.1 later"}, extensions=extensions)
    async with SMTPPeer(at_most_two) as peer:
        transport = in_clear(peer)
        async with transport.running():
            outcomes = await transport.deliver(delivery(*(f"{number}@x" for number in range(7))))
    assert kinds(outcomes) == [Delivered, Failed, Delivered, Delivered, Deferred, Delivered, Delivered]
    assert len(peer.sessions) == 1


async def test_further_transactions_stream_the_content_anew() -> None:
    content = Streamed(b"Subject: hi\r\n", b"\r\n.dot", b"\r\n")
    async with SMTPPeer(ByCommand(extensions=(*PIPELINED, "LIMITS RCPTMAX=1"))) as peer:
        transport = in_clear(peer)
        async with transport.running():
            outcomes = await transport.deliver(delivery("b@x", "c@x", "d@x", content=content))
    assert kinds(outcomes) == [Delivered] * 3
    assert peer.messages == [BODY] * 3


async def test_mailmax_in_the_middle_of_a_delivery() -> None:
    async with SMTPPeer(ByCommand(extensions=(*PIPELINED, "LIMITS MAILMAX=2 RCPTMAX=1"))) as peer:
        transport = in_clear(peer, max_connections=1)
        async with transport.running():
            outcomes = await transport.deliver(delivery(*(f"{number}@x" for number in range(5))))
    assert kinds(outcomes) == [Delivered] * 5
    assert [len(session.messages) for session in peer.sessions] == [2, 2, 1]
    assert envelopes(peer) == [f"RCPT TO:<{number}@x>" for number in range(5)]


async def test_a_connection_that_ends_between_transactions_duplicates_nothing() -> None:
    """The connection was used before, delivers to the first recipient, and is gone when the second one's turn comes."""
    mail: list[Answer] = ["250 ok", "250 ok", Close(), "250 ok"]
    async with SMTPPeer(ByCommand({"MAIL": mail}, extensions=(*PIPELINED, "LIMITS RCPTMAX=1"))) as peer:
        transport = in_clear(peer)
        async with transport.running():
            await transport.deliver(delivery("before@x"))
            outcomes = await transport.deliver(delivery("b@x", "c@x"))
    assert kinds(outcomes) == [Delivered] * 2
    assert [len(session.messages) for session in peer.sessions] == [2, 1]
    assert peer.sessions[1].lines[2] == "RCPT TO:<c@x>"


async def test_a_server_that_ends_between_transactions_and_does_not_come_back() -> None:
    """What was delivered stays delivered."""
    greeting_once = ByCommand(
        {
            "EHLO": ["250-peer\r\n250-PIPELINING\r\n250 LIMITS RCPTMAX=1", "421 4.3.2 closing"],
            "MAIL": ["250 ok", Close()],
        }
    )
    async with SMTPPeer(greeting_once) as peer:
        transport = in_clear(peer)
        async with transport.running():
            outcomes = await transport.deliver(delivery("b@x", "c@x", "d@x"))
    assert kinds(outcomes) == [Delivered, Deferred, Deferred]
    assert len(peer.messages) == 1


@pytest.mark.parametrize("extensions", [STEPWISE, PIPELINED])
@pytest.mark.parametrize(("step", "kind"), [("MAIL", Deferred), ("RCPT", Deferred), ("DATA", Deferred), (".", Unknown)])
@pytest.mark.parametrize("end", [Close(), Close(reset=True), b"\x00 nonsense\r\n"], ids=["close", "reset", "nonsense"])
async def test_a_connection_that_ends_at_each_step(
    extensions: tuple[str, ...], step: str, kind: type, end: Answer
) -> None:
    async with SMTPPeer(
        ByCommand({step: [end, "354 go" if step == "DATA" else "250 ok"]}, extensions=extensions)
    ) as peer:
        transport = in_clear(peer)
        async with transport.running():
            assert kinds(await transport.deliver(delivery("b@x", "c@x"))) == [kind] * 2
            assert kinds(await transport.deliver(delivery("b@x", "c@x"))) == [Delivered] * 2
    assert len(peer.sessions) == 2


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "."])
async def test_421_at_each_step(step: str) -> None:
    answers = ByCommand({step: [Close("421 4.3.2 shutting down\r\n"), "354 go" if step == "DATA" else "250 ok"]})
    async with SMTPPeer(answers) as peer:
        transport = in_clear(peer)
        async with transport.running():
            outcome = await only(transport, delivery())
            assert isinstance(outcome, Deferred)
            assert (outcome.code, outcome.enhanced) == (421, "4.3.2")
            assert isinstance(await only(transport, delivery()), Delivered)
    assert len(peer.sessions) == 2


@pytest.mark.parametrize(
    "greeting", ["554 5.3.2 no service here", "421 4.3.2 too busy", Close(), b"\x16\x03 nonsense\r\n"]
)
async def test_a_server_that_does_not_greet(greeting: Answer) -> None:
    async with SMTPPeer(greeting=greeting) as peer:
        transport = in_clear(peer)
        async with transport.running():
            outcomes = await transport.deliver(delivery("b@x", "c@x"))
    assert kinds(outcomes) == [Deferred] * 2
    if isinstance(greeting, str):
        assert isinstance(outcomes[0], Deferred)
        assert outcomes[0].code == int(greeting[:3])
    assert not any(line.startswith("MAIL") for line in peer.lines)


async def test_a_server_that_is_not_there() -> None:
    async with SMTPPeer() as peer:
        port = peer.port
    transport = SMTPTransport("127.0.0.1", port, security="none")
    async with transport.running():
        outcomes = await transport.deliver(delivery("b@x", "c@x"))
    assert kinds(outcomes) == [Deferred] * 2


STEPS = Timeouts(greeting=11, hello=12, mail=13, rcpt=14, data=15, end_of_data=17)


@pytest.mark.parametrize(
    ("step", "seconds", "kind"),
    [
        ("EHLO", 12, Deferred),
        ("MAIL", 13, Deferred),
        ("RCPT", 14, Deferred),
        ("DATA", 15, Deferred),
        (".", 17, Unknown),
    ],
)
async def test_a_server_that_stalls(step: str, seconds: int, kind: type) -> None:
    clock = FakeClock()
    async with SMTPPeer(ByCommand({step: Stall()}, extensions=STEPWISE)) as peer:
        transport = in_clear(peer, clock=clock, timeouts=STEPS)
        async with transport.running():
            delivering = asyncio.create_task(transport.deliver(delivery()))
            await peer.stalled()
            await clock.advance(seconds - 1)
            assert not delivering.done()
            await clock.advance(1)
            [outcome] = await delivering
    assert isinstance(outcome, kind)
    assert isinstance(outcome, Deferred | Unknown)
    assert f"within {seconds} seconds" in outcome.text


# Content


@pytest.mark.parametrize("protected", [False, True])
async def test_a_large_message_from_a_file(
    tmp_path: Path, server_context: ssl.SSLContext, trusting: ssl.SSLContext, protected: bool
) -> None:
    large = b".a line of text that begins with a dot\r\n" * 75_000  # 3 MiB
    (tmp_path / "content").write_bytes(large)
    stored = StoredContent(size=len(large), sha256=hashlib.sha256(large).digest(), file="content")
    content = MessageContent(b"Received: here\r\n", stored, ContentDirectory(tmp_path))
    assert content.data is None
    extensions = WITH_TLS if protected else PIPELINED
    async with SMTPPeer(ByCommand(extensions=extensions), tls_context=server_context) as peer:
        security, context = ("verified", trusting) if protected else ("none", None)
        transport = SMTPTransport("127.0.0.1", peer.port, security=security, tls_context=context)
        async with transport.running():
            assert isinstance(await only(transport, delivery(content=content)), Delivered)
    assert peer.messages == [b"Received: here\r\n" + large]


async def test_damaged_content_is_never_ended() -> None:
    content = Streamed(b"Subject: hi\r\n\r\n", b"half a message\r\n" * 20_000, damaged=True)
    async with SMTPPeer() as peer:
        transport = in_clear(peer)
        async with transport.running():
            with pytest.raises(ContentDamaged):
                await transport.deliver(delivery(content=content))
            assert isinstance(await only(transport, delivery()), Delivered)
    assert peer.messages == [BODY]
    assert peer.sessions[0].lines[-1] == "DATA"


async def test_what_was_delivered_stays_so_when_the_content_fails_later() -> None:
    """The second transaction finds the content damaged: the first recipient has the message nevertheless."""

    class OnceOnly(Streamed):
        async def chunks(self) -> AsyncIterator[bytes]:
            self.damaged = self.passes > 0
            async for part in super().chunks():
                yield part

    async with SMTPPeer(ByCommand(extensions=(*PIPELINED, "LIMITS RCPTMAX=1"))) as peer:
        transport = in_clear(peer)
        async with transport.running():
            outcomes = await transport.deliver(delivery("b@x", "c@x", "d@x", content=OnceOnly(BODY)))
    assert kinds(outcomes) == [Delivered, Deferred, Deferred]
    assert isinstance(outcomes[1], Deferred)
    assert "the file ends too early" in outcomes[1].text
    assert peer.messages == [BODY]


# Neighbours on a shared connection


async def test_a_refusal_is_for_its_own_delivery() -> None:
    answers = ByCommand({"RCPT TO:<3@": "550 5.1.1 no", "RCPT TO:<5@": "450 4.2.1 later"}, extensions=PIPELINED)
    async with SMTPPeer(answers) as peer:
        transport = in_clear(peer, max_connections=1)
        async with transport.running():
            outcomes = await asyncio.gather(*(only(transport, delivery(f"{number}@x")) for number in range(9)))
    expected = {3: Failed, 5: Deferred}
    assert kinds(outcomes) == [expected.get(number, Delivered) for number in range(9)]
    assert len(peer.sessions) == 1
    assert len(peer.messages) == 7


async def test_a_delivery_that_cannot_be_asked_for_leaves_its_neighbour_alone() -> None:
    async with SMTPPeer(ByCommand({".": [Stall("250 2.0.0 ok")]}, extensions=PIPELINED)) as peer:
        transport = in_clear(peer, max_connections=1)
        async with transport.running():
            first = asyncio.create_task(only(transport, delivery("b@x")))
            await peer.stalled()
            with pytest.raises(InputError):
                await transport.deliver(delivery("not an address@x"))
            peer.resume()
            assert isinstance(await first, Delivered)
            assert isinstance(await only(transport, delivery("c@x")), Delivered)
    assert len(peer.sessions) == 1
    assert len(peer.messages) == 2


async def test_a_delivery_cancelled_before_it_began_leaves_its_neighbours_alone() -> None:
    async with SMTPPeer(ByCommand({".": [Stall("250 2.0.0 ok"), "250 2.0.0 ok"]}, extensions=PIPELINED)) as peer:
        transport = in_clear(peer, max_connections=1, pipeline=3)
        async with transport.running():
            first = asyncio.create_task(only(transport, delivery("b@x")))
            await peer.stalled()
            second = asyncio.create_task(only(transport, delivery("c@x")))
            third = asyncio.create_task(only(transport, delivery("d@x")))
            await turns()
            third.cancel()
            with pytest.raises(asyncio.CancelledError):
                await third
            peer.resume()
            assert kinds(await asyncio.gather(first, second)) == [Delivered] * 2
    assert len(peer.sessions) == 1
    assert envelopes(peer) == ["RCPT TO:<b@x>", "RCPT TO:<c@x>"]


async def test_damaged_content_costs_its_neighbours_no_attempt() -> None:
    damaged = Streamed(b"Subject: hi\r\n\r\n", damaged=True)
    async with SMTPPeer(ByCommand({".": Stall("250 2.0.0 ok")}, extensions=PIPELINED)) as peer:
        transport = in_clear(peer, max_connections=1, pipeline=3)
        async with transport.running():
            first = asyncio.create_task(only(transport, delivery("b@x")))
            await peer.stalled()
            second = asyncio.create_task(only(transport, delivery("c@x", content=damaged)))
            third = asyncio.create_task(only(transport, delivery("d@x")))
            await turns()
            peer.resume()
            outcomes = await asyncio.gather(first, second, third, return_exceptions=True)
    assert kinds(outcomes) == [Delivered, ContentDamaged, Delivered]
    assert [len(session.messages) for session in peer.sessions] == [1, 1]


async def test_cancelled_deliveries_leave_no_place_taken() -> None:
    async with SMTPPeer(ByCommand({".": [Stall("250 2.0.0 ok"), "250 2.0.0 ok"]}, extensions=STEPWISE)) as peer:
        transport = in_clear(peer, max_connections=1)
        async with transport.running():
            first = asyncio.create_task(only(transport, delivery("first@x")))
            await peer.stalled()
            waiting = [asyncio.create_task(only(transport, delivery(f"{number}@x"))) for number in range(6)]
            await turns()
            for task in waiting[:4]:
                task.cancel()
            peer.resume()
            outcomes = await asyncio.gather(first, *waiting, return_exceptions=True)
            assert kinds(outcomes) == [Delivered] + [asyncio.CancelledError] * 4 + [Delivered] * 2
            later = await asyncio.gather(*(only(transport, delivery()) for _ in range(5)))
            assert kinds(later) == [Delivered] * 5
    assert len(peer.sessions) == 1
    assert len(peer.messages) == 8


async def test_a_cancelled_delivery_leaves_no_place_taken() -> None:
    async with SMTPPeer(ByCommand({"MAIL": [Stall(), "250 ok"]})) as peer:
        transport = in_clear(peer, max_connections=1)
        async with transport.running():
            first = asyncio.create_task(transport.deliver(delivery()))
            await peer.stalled()
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            assert isinstance(await only(transport, delivery()), Delivered)
    assert len(peer.sessions) == 2


async def turns() -> None:
    """Let all tasks run that need nothing from the network."""
    for _ in range(10):
        await asyncio.sleep(0)


# FailTransport


async def test_fail_transport() -> None:
    expected = Failed(code=554, enhanced="5.7.0", text="delivery is disabled")
    assert await FailTransport().deliver(delivery("b@x", "c@x")) == [expected] * 2
    later = FailTransport(451, "4.3.0", "later")
    assert await later.deliver(delivery()) == [Deferred(code=451, enhanced="4.3.0", text="later")]
    assert await FailTransport(550, "", "no").deliver(delivery()) == [Failed(code=550, text="no")]


@pytest.mark.parametrize(
    ("code", "enhanced"),
    [(250, "2.0.0"), (354, ""), (0, ""), (-450, ""), (600, ""), (5500, ""), (450, "5.0.0"), (550, "4.0.0"), (550, "x")],
)
def test_fail_transport_arguments(code: int, enhanced: str) -> None:
    with pytest.raises(InputError):
        FailTransport(code, enhanced)


@pytest.mark.parametrize("enhanced", ["5.", "5.7", "5.7.0 rude", "5.7.0\r\n", "5.1000.1"])
def test_fail_transport_enhanced_codes(enhanced: str) -> None:
    with pytest.raises(InputError):
        FailTransport(550, enhanced)
