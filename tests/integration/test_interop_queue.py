"""A queue on SQLite that delivers through `SMTPTransport` to Postfix, Exim and OpenSMTPD, as Debian has them."""

import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.mtas.opensmtpd import OpenSMTPD
from tests.mtas.running import ALL, HOSTNAME, WITH_TLS, named, running, trust, watched
from tests.mtas.server import Answer, MailServer, Settings

from moxlib.queue import DSNConfig, Queue, QueueConfig, ResultKind, Retired, Security, SMTPTransport, Submission
from moxlib.testing import FakeClock, run_until_empty, run_until_idle

SENDER = "ann@client.example"
HEAD = b"From: ann@client.example\r\nDate: Thu, 1 Jan 2026 12:00:00 +0000\r\nMessage-ID: <1@client.example>\r\n"
MESSAGE = HEAD + b"Subject: hi\r\n\r\n.hello\r\n"
MAX_SIZE = 4 * 1024 * 1024
MAX_RECIPIENTS = 10
MAX_CONNECTIONS = 4
SERVER = "127.0.0.1"


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    return trust(authority)


@pytest.fixture(scope="module", params=ALL, ids=named)
def shared(request: pytest.FixtureRequest, authority: trustme.CA) -> Iterator[MailServer]:
    certificate = authority.issue_cert(HOSTNAME, SERVER) if request.param in WITH_TLS else None
    settings = Settings(hostname=HOSTNAME, certificate=certificate, max_size=MAX_SIZE, max_recipients=MAX_RECIPIENTS)
    with running(request.param, settings) as server:
        yield server


@pytest.fixture
def server(shared: MailServer) -> Iterator[MailServer]:
    with watched(shared):
        yield shared


class Delivering:
    """A queue with a transport to one server, and what it says of its messages."""

    def __init__(self, queue: Queue, clock: FakeClock) -> None:
        self.queue = queue
        self.clock = clock

    async def idle(self) -> None:
        await run_until_idle(self.queue)

    async def empty(self) -> None:
        await run_until_empty(self.queue, self.clock)

    async def retired(self, submission: Submission) -> Retired:
        retired = await self.queue.get_retired(submission.id)
        assert retired is not None
        return retired

    async def results(self, submission: Submission) -> list[tuple[ResultKind, int, str]]:
        """Kind, code and enhanced code of each attempt so far."""
        message = await self.queue.get(submission.id) or await self.retired(submission)
        return [(result.kind, result.code, result.enhanced) for result in message.results]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "mail.db"


@asynccontextmanager
async def delivering(
    server: MailServer, context: ssl.SSLContext, database: Path, *, host: str = SERVER
) -> AsyncIterator[Delivering]:
    clock = FakeClock()
    in_clear = server.settings.certificate is None
    options: dict[str, Any] = {"security": Security.NONE} if in_clear else {"tls_context": context}
    transport = SMTPTransport(
        host, server.port, ehlo_name="client.example", max_connections=MAX_CONNECTIONS, clock=clock, **options
    )
    async with Queue.open(
        database, transports={"relay": transport}, clock=clock, config=QueueConfig(dsn=DSNConfig.off())
    ) as queue:
        yield Delivering(queue, clock)


async def test_delivered(server: MailServer, trusting: ssl.SSLContext, database: Path) -> None:
    async with delivering(server, trusting, database) as given:
        [submission] = await given.queue.submit(MESSAGE, recipients="bob@example.org")
        await given.idle()
        [(kind, code, enhanced)] = await given.results(submission)
    assert (kind, code) == (ResultKind.DELIVERED, 250)
    assert enhanced in {"2.0.0", ""}
    [mail] = await server.mail()
    assert (mail.sender, mail.recipient, mail.content) == (SENDER, "bob@example.org", MESSAGE)
    assert ("with esmtps" in mail.received.lower()) == (server.settings.certificate is not None)


async def test_each_of_many_recipients_once(server: MailServer, trusting: ssl.SSLContext, database: Path) -> None:
    recipients = [f"{number:02}@example.org" for number in range(MAX_RECIPIENTS + 8)]
    async with delivering(server, trusting, database) as given:
        submissions = await given.queue.submit(MESSAGE, recipients=recipients)
        await (given.empty() if isinstance(server, OpenSMTPD) else given.idle())
        attempts = [len((await given.retired(submission)).results) for submission in submissions]
    # 452 asks for a further transaction. OpenSMTPD's 451 4.5.3 is a refusal for now: its recipients wait.
    assert Counter(attempts) == ({1: MAX_RECIPIENTS, 2: 8} if isinstance(server, OpenSMTPD) else {1: len(recipients)})
    assert sorted(mail.recipient for mail in await server.mail()) == recipients


async def test_refused_among_others(server: MailServer, trusting: ssl.SSLContext, database: Path) -> None:
    server.answer("refused@example.org", Answer.REFUSED)
    async with delivering(server, trusting, database) as given:
        before, refused, after = await given.queue.submit(
            MESSAGE, recipients=[f"{name}@example.org" for name in ("bob", "refused", "carl")]
        )
        await given.idle()
        [(kind, code, enhanced)] = await given.results(refused)
        assert (kind, code) == (ResultKind.FAILED, 550)
        assert enhanced in {"5.1.1", ""}  # the latter, where the server does not announce what it sends
        assert not (await given.retired(refused)).success
        for submission in (before, after):
            assert (await given.retired(submission)).success
    assert sorted(mail.recipient for mail in await server.mail()) == ["bob@example.org", "carl@example.org"]


@pytest.mark.parametrize("answer", [Answer.LATER, Answer.FULL])
async def test_deferred_and_accepted_at_the_next_attempt(
    server: MailServer, trusting: ssl.SSLContext, database: Path, answer: Answer
) -> None:
    recipients = ["later@example.org", "bob@example.org"]
    server.answer(recipients[0], answer)
    async with delivering(server, trusting, database) as given:
        later, bob = await given.queue.submit(MESSAGE, recipients=recipients)
        await given.idle()
        assert [kind for kind, _, _ in await given.results(bob)] == [ResultKind.DELIVERED]
        [(kind, code, _)] = await given.results(later)
        assert (kind, code) == (ResultKind.DEFERRED, int(answer[:3]))
        assert [mail.recipient for mail in await server.mail()] == ["bob@example.org"]
        server.answer(recipients[0], None)
        await given.empty()
        assert [kind for kind, _, _ in await given.results(later)] == [ResultKind.DEFERRED, ResultKind.DELIVERED]
    assert [mail.recipient for mail in await server.mail()] == ["later@example.org"]


async def test_many_messages_over_few_connections(server: MailServer, trusting: ssl.SSLContext, database: Path) -> None:
    before = server.mark()
    contents = [HEAD + f"Subject: {number}\r\n\r\nhello\r\n".encode() for number in range(60)]
    async with delivering(server, trusting, database) as given:
        for number, content in enumerate(contents):
            await given.queue.submit(content, recipients=f"bob@{number % 3}.example")
        await given.idle()
        assert await given.queue.next_due() is None
    assert Counter(mail.content for mail in await server.mail()) == Counter(contents)
    await server.logged(server.ACCEPTED, *before, count=60)
    assert len(await server.logged(server.CONNECTED, *before)) <= MAX_CONNECTIONS


async def test_a_large_message_from_a_file(
    server: MailServer, trusting: ssl.SSLContext, database: Path, tmp_path: Path
) -> None:
    content = HEAD + b"\r\n" + b".a line that begins with a dot\r\n" * 100_000
    (tmp_path / "message").write_bytes(content)
    async with delivering(server, trusting, database) as given:
        await given.queue.submit(tmp_path / "message", recipients=["bob@example.org", "carl@example.org"])
        await given.idle()
    mail = await server.mail()
    assert sorted(one.recipient for one in mail) == ["bob@example.org", "carl@example.org"]
    assert all(one.content == content for one in mail)


async def test_a_message_over_the_size_fails_for_good(
    server: MailServer, trusting: ssl.SSLContext, database: Path
) -> None:
    content = MESSAGE + b"a line of text\r\n" * (MAX_SIZE // 16)
    async with delivering(server, trusting, database) as given:
        [submission] = await given.queue.submit(content, recipients="bob@example.org")
        await given.idle()
        [result] = (await given.retired(submission)).results
    assert result.kind is ResultKind.FAILED
    assert str(MAX_SIZE) in result.text
    assert await server.mail() == []


async def test_international(server: MailServer, trusting: ssl.SSLContext, database: Path) -> None:
    content = HEAD + "Subject: grüße\r\n\r\nhello\r\n".encode()
    async with delivering(server, trusting, database) as given:
        [submission] = await given.queue.submit(content, recipients="bøb@example.org")
        await given.idle()
        [(kind, _, _)] = await given.results(submission)
    mail = await server.mail()
    if isinstance(server, OpenSMTPD):  # another host of the domain may have SMTPUTF8: it is tried again
        assert (kind, mail) == (ResultKind.DEFERRED, [])
    else:
        assert kind is ResultKind.DELIVERED
        assert [(one.recipient, one.content) for one in mail] == [("bøb@example.org", content)]


async def test_a_server_that_is_down_for_a_while(server: MailServer, trusting: ssl.SSLContext, database: Path) -> None:
    async with delivering(server, trusting, database) as given:
        [first] = await given.queue.submit(MESSAGE, recipients="bob@example.org")
        await given.idle()
        mail = await server.mail()  # so that its own queue has nothing that it would begin again
        server.stop()
        [second] = await given.queue.submit(MESSAGE, recipients="carl@example.org")
        await given.idle()
        server.start()
        await given.empty()
        assert [kind for kind, _, _ in await given.results(first)] == [ResultKind.DELIVERED]
        assert [kind for kind, _, _ in await given.results(second)] == [ResultKind.DEFERRED, ResultKind.DELIVERED]
    mail += await server.mail()
    assert [one.recipient for one in mail] == ["bob@example.org", "carl@example.org"]


@pytest.mark.parametrize("kind", WITH_TLS, ids=named)
async def test_a_certificate_for_another_name(
    kind: type[MailServer], authority: trustme.CA, trusting: ssl.SSLContext, database: Path
) -> None:
    settings = Settings(hostname=HOSTNAME, certificate=authority.issue_cert(HOSTNAME))
    with running(kind, settings) as server, watched(server):
        async with delivering(server, trusting, database) as given:
            [submission] = await given.queue.submit(MESSAGE, recipients="bob@example.org")
            await given.idle()
            message = await given.queue.get(submission.id)
            assert message is not None
            [result] = message.results
        assert result.kind is ResultKind.DEFERRED
        assert "certificate" in result.text
        assert await server.mail() == []
