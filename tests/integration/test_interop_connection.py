"""`SMTPConnection` against the mail servers that the world runs: Postfix, Exim and OpenSMTPD, as Debian has them.

What each of them can do is in `tests.mtas`; a test is for those that can do what it is about. Those with STARTTLS are
spoken to through it, OpenSMTPD in clear.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme
from tests.mtas.exim import Exim
from tests.mtas.opensmtpd import OpenSMTPD
from tests.mtas.postfix import Postfix
from tests.mtas.running import ALL, HOSTNAME, WITH_TLS, named, running, trust, watched
from tests.mtas.server import PATIENCE, Answer, MailServer, Settings

from moxlib.sasl import Credentials
from moxlib.smtpclient import (
    Accepted,
    Command,
    DeliveryResult,
    ExtensionMissing,
    MessageTooLarge,
    NotSent,
    Refused,
    ReplyError,
    SMTPConnection,
    TLSFailed,
    TLSMode,
    verified_context,
)

SENDER = "ann@client.example"
HEAD = b"From: ann@client.example\r\nDate: Thu, 1 Jan 2026 12:00:00 +0000\r\nMessage-ID: <1@client.example>\r\n"
MESSAGE = HEAD + b"Subject: hi\r\n\r\nhello\r\n"
MAX_SIZE = 4 * 1024 * 1024
MAX_RECIPIENTS = 10
WITHIN_SIZE = MAX_SIZE - 64 * 1024  # with what a server adds before it counts


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    return trust(authority)


def settings(kind: type[MailServer], authority: trustme.CA, **more: Any) -> Settings:
    certificate = authority.issue_cert(HOSTNAME) if kind in WITH_TLS else None
    given = {"max_size": MAX_SIZE, "max_recipients": MAX_RECIPIENTS, **more}
    return Settings(hostname=HOSTNAME, certificate=certificate, **given)


@pytest.fixture(scope="module", params=ALL, ids=named)
def shared(request: pytest.FixtureRequest, authority: trustme.CA) -> Iterator[MailServer]:
    with running(request.param, settings(request.param, authority)) as server:
        yield server


@pytest.fixture
def server(shared: MailServer) -> Iterator[MailServer]:
    with watched(shared):
        yield shared


@pytest.fixture(scope="module", params=WITH_TLS, ids=named)
def shared_with_tls(request: pytest.FixtureRequest, authority: trustme.CA) -> Iterator[MailServer]:
    with running(request.param, settings(request.param, authority)) as server:
        yield server


@pytest.fixture
def tls_server(shared_with_tls: MailServer) -> Iterator[MailServer]:
    with watched(shared_with_tls):
        yield shared_with_tls


@asynccontextmanager
async def connecting(server: MailServer, context: ssl.SSLContext, **options: Any) -> AsyncIterator[SMTPConnection]:
    """A connection to a server, with STARTTLS if it has a certificate."""
    in_clear = server.settings.certificate is None
    secure: dict[str, Any] = {"tls": TLSMode.NONE} if in_clear else {"tls": TLSMode.REQUIRED, "tls_context": context}
    given: dict[str, Any] = {"ehlo_name": "client.example", "server_hostname": HOSTNAME, **secure, **options}
    async with await SMTPConnection.connect("127.0.0.1", server.port, **given) as connection:
        yield connection


def kinds(result: DeliveryResult) -> list[type]:
    return [type(recipient) for recipient in result.recipients]


async def in_chunks(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 50_000):
        yield content[start : start + 50_000]


# What is offered


async def test_what_each_server_announces(server: MailServer, trusting: ssl.SSLContext) -> None:
    async with connecting(server, trusting) as connection:
        extensions = connection.extensions
    modern = not isinstance(server, OpenSMTPD)
    assert extensions.size == MAX_SIZE
    assert extensions.eight_bit_mime
    assert (extensions.pipelining, extensions.chunking, extensions.smtputf8) == (modern, modern, modern)
    assert extensions.dsn == (not isinstance(server, Exim))
    assert extensions.enhanced_status_codes == (not isinstance(server, Exim))
    assert not extensions.starttls  # any more, within TLS
    assert HOSTNAME in connection.server


# Content


CONTENT = {
    "plain": MESSAGE,
    "no body": HEAD + b"Subject: nothing\r\n\r\n",
    "dots": HEAD + b"\r\n.\r\n..\r\n.a line\r\n\r\n.\r\n...\r\nend\r\n.\r\n",
    "only line ends": HEAD + b"\r\n" + b"\r\n" * 50,
    "8bit": HEAD + b"Content-Transfer-Encoding: 8bit\r\n\r\n" + bytes(range(0x80, 0x100)) + b"\r\n",
    "lines of 998": HEAD + b"Subject: " + b"s" * 900 + b"\r\n\r\n" + (b"x" * 998 + b"\r\n") * 20,
    "folded fields": HEAD + b"Subject: a\r\n b\r\n\tc\r\nX-Empty:\r\n\r\nhello\r\n",
    "From at a line's start": HEAD + b"\r\nFrom here on\r\n>From there\r\n",
}


@pytest.mark.parametrize("name", CONTENT)
async def test_content_arrives_as_it_was_sent(server: MailServer, trusting: ssl.SSLContext, name: str) -> None:
    content = CONTENT[name]
    async with connecting(server, trusting) as connection:
        result = await connection.deliver(SENDER, ["bob@example.org"], content, needs_8bit=not content.isascii())
        assert kinds(result) == [Accepted]
        streamed = await connection.deliver(
            SENDER, ["bob@example.org"], in_chunks(content), size=len(content), needs_8bit=not content.isascii()
        )
        assert kinds(streamed) == [Accepted]
    mail = await server.mail()
    assert [(one.sender, one.recipient) for one in mail] == [(SENDER, "bob@example.org")] * 2
    assert [one.content for one in mail] == [content] * 2


async def test_lines_longer_than_the_standard_allows(tls_server: MailServer, trusting: ssl.SSLContext) -> None:
    content = HEAD + b"\r\n" + b"".join(b"x" * size + b"\r\n" for size in (999, 2047, 2048, 2049, 4096, 100_000))
    async with connecting(tls_server, trusting) as connection:
        assert kinds(await connection.deliver(SENDER, ["bob@example.org"], content)) == [Accepted]
    [mail] = await tls_server.mail()
    assert mail.content == content


async def test_a_large_message_in_chunks(server: MailServer, trusting: ssl.SSLContext) -> None:
    line = b".a line of text that begins with a dot\r\n"
    content = HEAD + b"\r\n" + line * ((WITHIN_SIZE - len(HEAD)) // len(line))
    async with connecting(server, trusting) as connection:
        result = await connection.deliver(SENDER, ["bob@example.org"], in_chunks(content), size=len(content))
        assert kinds(result) == [Accepted]
        assert kinds(await connection.deliver(SENDER, ["carl@example.org"], MESSAGE)) == [Accepted]
    large, small = sorted(await server.mail(), key=lambda mail: mail.recipient)
    assert large.content == content
    assert small.content == MESSAGE


# TLS


async def test_starttls_is_verified(tls_server: MailServer, trusting: ssl.SSLContext) -> None:
    async with connecting(tls_server, trusting) as connection:
        info = connection.tls_info
        assert info is not None
        assert info.verified
        assert info.version == "tls1.3"
        assert kinds(await connection.deliver(SENDER, ["bob@example.org"], MESSAGE)) == [Accepted]
    [mail] = await tls_server.mail()
    assert "with esmtps" in mail.received.lower()


async def test_the_wrong_name_is_refused_here(tls_server: MailServer, trusting: ssl.SSLContext) -> None:
    before = tls_server.mark()
    with pytest.raises(TLSFailed) as caught:
        async with connecting(tls_server, trusting, server_hostname="other.example"):
            pass
    assert caught.value.certificate
    assert "mx.example" in caught.value.reason or "other.example" in caught.value.reason
    await tls_server.logged(tls_server.CONNECTED, *before)


async def test_an_unknown_authority_is_refused_here(tls_server: MailServer) -> None:
    with pytest.raises(TLSFailed) as caught:
        async with connecting(tls_server, verified_context()):
            pass
    assert caught.value.certificate


async def test_a_handshake_that_the_server_breaks_off(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    certificate = authority.issue_cert(HOSTNAME)
    with running(OpenSMTPD, Settings(hostname=HOSTNAME, certificate=certificate)) as server:
        if not server.log.startswith("info: OpenSMTPD 6."):  # it is mended in what came after
            async with connecting(server, trusting) as connection:
                assert connection.tls_info is not None
                assert connection.tls_info.verified
            return
        with pytest.raises(TLSFailed) as caught:
            async with connecting(server, trusting) as connection:
                await connection.deliver(SENDER, ["bob@example.org"], MESSAGE)
        assert not caught.value.certificate
        async with connecting(server, trusting, tls=TLSMode.NONE, tls_context=None) as connection:
            assert connection.extensions.starttls
            assert kinds(await connection.deliver(SENDER, ["bob@example.org"], MESSAGE)) == [Accepted]
        [mail] = await server.mail()
        assert mail.content == MESSAGE


# International addresses


async def test_international_addresses_and_header(tls_server: MailServer, trusting: ssl.SSLContext) -> None:
    content = HEAD + "Subject: grüße\r\nTo: bøb@exämple.org\r\n\r\nhello\r\n".encode()
    async with connecting(tls_server, trusting) as connection:
        result = await connection.deliver("änn@client.example", ["bøb@exämple.org", "carl@example.org"], content)
        assert kinds(result) == [Accepted] * 2
        header_alone = await connection.deliver(
            SENDER, ["dan@example.org"], content, needs_smtputf8=True, needs_8bit=True
        )
        assert kinds(header_alone) == [Accepted]
    mail = {one.recipient: one for one in await tls_server.mail()}
    assert set(mail) == {"bøb@exämple.org", "carl@example.org", "dan@example.org"}
    assert mail["bøb@exämple.org"].sender == "änn@client.example"
    assert {one.content for one in mail.values()} == {content}
    assert all("utf8" in one.received.lower() for one in mail.values())  # RFC 6531 4.3


@pytest.mark.parametrize("kind", ALL, ids=named)
async def test_international_addresses_where_they_are_not_offered(
    kind: type[MailServer], authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    with running(kind, settings(kind, authority, smtputf8=False)) as server, watched(server):
        async with connecting(server, trusting) as connection:
            result = await connection.deliver(SENDER, ["bøb@example.org", "carl@example.org"], MESSAGE)
            assert kinds(result) == [NotSent] * 2
            [first, _] = result.recipients
            assert isinstance(first, NotSent)
            assert isinstance(first.error, ExtensionMissing)
            assert (first.error.extension, first.permanent) == ("SMTPUTF8", False)
            assert kinds(await connection.deliver(SENDER, ["carl@example.org"], MESSAGE)) == [Accepted]
        assert [mail.recipient for mail in await server.mail()] == ["carl@example.org"]


# Sizes


async def test_a_message_over_the_announced_size_is_not_sent(server: MailServer, trusting: ssl.SSLContext) -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("content was asked for")
        yield b""

    async with connecting(server, trusting) as connection:
        result = await connection.deliver(SENDER, ["bob@example.org"], never(), size=MAX_SIZE + 1)
        assert kinds(await connection.deliver(SENDER, ["carl@example.org"], MESSAGE)) == [Accepted]
    [recipient] = result.recipients
    assert isinstance(recipient, NotSent)
    assert recipient.permanent
    assert isinstance(recipient.error, MessageTooLarge)
    assert (recipient.error.size, recipient.error.limit) == (MAX_SIZE + 1, MAX_SIZE)
    assert [mail.recipient for mail in await server.mail()] == ["carl@example.org"]


@pytest.mark.parametrize("kind", WITH_TLS, ids=named)
async def test_a_message_over_a_size_that_is_not_announced(
    kind: type[MailServer], authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    limits = settings(kind, authority, max_size=200_000, announce_size=False)
    large = MESSAGE + b"a line of text\r\n" * 30_000
    with running(kind, limits) as server, watched(server):
        async with connecting(server, trusting) as connection:
            enhanced = connection.extensions.enhanced_status_codes
            assert (connection.extensions.size or 0) not in range(1, len(large))
            for content in (large[:250_000] + b"\r\n", large):  # in one write, and in blocks
                result = await connection.deliver(SENDER, ["bob@example.org", "carl@example.org"], content)
                assert kinds(result) == [Refused] * 2
                [refused, _] = result.recipients
                assert isinstance(refused, Refused)
                assert (refused.command, refused.code, refused.permanent) == (Command.END_OF_DATA, 552, True)
                assert refused.enhanced == ("5.3.4" if enhanced else "")
            assert kinds(await connection.deliver(SENDER, ["dan@example.org"], MESSAGE)) == [Accepted]
        assert [mail.recipient for mail in await server.mail()] == ["dan@example.org"]


# Recipients


async def test_recipients_that_are_not_accepted_leave_the_others_theirs(
    server: MailServer, trusting: ssl.SSLContext
) -> None:
    for answer in Answer:
        server.answer(f"{answer.name.lower()}@example.org", answer)
    names = ["bob", "refused", "carl", "later", "dan", "full"]
    async with connecting(server, trusting) as connection:
        result = await connection.deliver(SENDER, [f"{name}@example.org" for name in names], MESSAGE)
        assert kinds(await connection.deliver(SENDER, ["eve@example.org"], MESSAGE)) == [Accepted]
    said = {
        recipient.recipient.partition("@")[0]: (recipient.code, recipient.enhanced, recipient.permanent)
        for recipient in result.recipients
        if isinstance(recipient, Refused) and recipient.command is Command.RCPT
    }
    enhanced = result.recipients[0].enhanced != ""  # Exim does not announce ENHANCEDSTATUSCODES
    assert enhanced == (not isinstance(server, Exim))
    assert said == {
        "refused": (550, "5.1.1" if enhanced else "", True),
        "later": (451, "4.7.1" if enhanced else "", False),
        "full": (452, "4.2.2" if enhanced else "", False),
    }
    mail = await server.mail()
    assert sorted(one.recipient.partition("@")[0] for one in mail) == ["bob", "carl", "dan", "eve"]


async def test_a_transaction_that_no_recipient_is_left_of(server: MailServer, trusting: ssl.SSLContext) -> None:
    server.answer("refused@example.org", Answer.REFUSED)
    server.answer("later@example.org", Answer.LATER)
    async with connecting(server, trusting) as connection:
        result = await connection.deliver(SENDER, ["refused@example.org", "later@example.org"], MESSAGE)
        assert kinds(result) == [Refused] * 2
        assert [recipient.permanent for recipient in result.recipients] == [True, False]
        assert kinds(await connection.deliver(SENDER, ["bob@example.org"], MESSAGE)) == [Accepted]
    assert [mail.recipient for mail in await server.mail()] == ["bob@example.org"]


async def test_more_recipients_than_a_transaction_may_have(server: MailServer, trusting: ssl.SSLContext) -> None:
    recipients = [f"{number:02}@example.org" for number in range(MAX_RECIPIENTS + 5)]
    async with connecting(server, trusting) as connection:
        result = await connection.deliver(SENDER, recipients, MESSAGE)
        assert kinds(result) == [Accepted] * MAX_RECIPIENTS + [Refused] * 5
        over = result.recipients[MAX_RECIPIENTS:]
        assert not any(recipient.permanent for recipient in over)
        again = [one.recipient for one in over if isinstance(one, Refused) and one.further_transaction]
        if isinstance(server, OpenSMTPD):  # which says 451, not 452: a later attempt it is
            assert (over[0].code, over[0].enhanced, again) == (451, "4.5.3", [])
        else:
            assert over[0].code == 452
            assert again == recipients[MAX_RECIPIENTS:]
        assert kinds(await connection.deliver(SENDER, recipients[MAX_RECIPIENTS:], MESSAGE)) == [Accepted] * 5
    assert sorted(mail.recipient for mail in await server.mail()) == recipients


async def test_the_null_sender(server: MailServer, trusting: ssl.SSLContext) -> None:
    async with connecting(server, trusting) as connection:
        result = await connection.deliver("", ["bob+x=y@example.org"], MESSAGE)
    assert kinds(result) == [Accepted]
    [mail] = await server.mail()
    assert (mail.sender, mail.recipient) == ("", "bob+x=y@example.org")


# Connections


async def test_several_messages_on_one_connection(server: MailServer, trusting: ssl.SSLContext) -> None:
    before = server.mark()
    async with connecting(server, trusting) as connection:
        for number in range(5):
            assert kinds(await connection.deliver(SENDER, [f"{number}@example.org"], MESSAGE)) == [Accepted]
        assert connection.transactions == 5
        assert connection.usable
    assert len(await server.mail()) == 5
    accepted = await server.logged(server.ACCEPTED, *before, count=5)
    assert len(await server.logged(server.CONNECTED, *before)) == 1
    [end] = await server.logged(server.LEFT, *before)
    assert "quit" in end.lower()
    if isinstance(server, Postfix):
        assert (
            " bdat=5 " in end
        )  # where it is offered, content as small as this comes by BDAT, which saves a round trip
    elif isinstance(server, Exim):
        assert all(" K " in line for line in accepted), accepted


async def test_many_deliveries_at_once_on_one_connection(server: MailServer, trusting: ssl.SSLContext) -> None:
    before = server.mark()
    server.answer("7@example.org", Answer.REFUSED)
    numbers = range(20)
    async with connecting(server, trusting) as connection:
        results = await asyncio.gather(
            *(connection.deliver(SENDER, [f"{number}@example.org"], MESSAGE) for number in numbers)
        )
    assert [kinds(result) for result in results] == [[Refused if number == 7 else Accepted] for number in numbers]
    expected = sorted(f"{number}@example.org" for number in numbers if number != 7)
    assert sorted(mail.recipient for mail in await server.mail()) == expected
    accepted = await server.logged(server.ACCEPTED, *before, count=19)
    assert len(await server.logged(server.CONNECTED, *before)) == 1
    if isinstance(server, Exim):  # its "L." becomes "L.-" where the client did not use the PIPELINING it was offered
        assert all(" L. " in line for line in accepted), accepted


async def test_reset_between_messages(server: MailServer, trusting: ssl.SSLContext) -> None:
    async with connecting(server, trusting) as connection:
        await connection.reset()
        assert kinds(await connection.deliver(SENDER, ["bob@example.org"], MESSAGE)) == [Accepted]
        await connection.reset()
        assert connection.usable
    assert len(await server.mail()) == 1


# Logging in: Postfix needs another server for it, and OpenSMTPD a TLS that works


@pytest.mark.parametrize("mechanism", ["CRAM-MD5", "PLAIN", "LOGIN"])
async def test_logging_in(authority: trustme.CA, trusting: ssl.SSLContext, mechanism: str) -> None:
    with running(Exim, settings(Exim, authority, users={"ann": "open sesame"})) as server, watched(server):
        right, wrong = (
            Credentials(username="ann", password=password, mechanisms=(mechanism,))
            for password in ("open sesame", "close sesame")
        )
        async with connecting(server, trusting, credentials=right) as connection:
            assert kinds(await connection.deliver(SENDER, ["bob@example.org"], MESSAGE)) == [Accepted]
        [mail] = await server.mail()
        assert "with esmtpsa" in mail.received.lower()
        with pytest.raises(ReplyError) as caught:
            async with connecting(server, trusting, credentials=wrong):
                pass
        assert (caught.value.command, caught.value.reply.code) == (Command.AUTH, 535)


# A server that goes


async def test_a_server_that_ends_while_a_connection_is_idle(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    with running(Postfix, settings(Postfix, authority)) as server, watched(server):
        async with connecting(server, trusting) as connection:
            assert kinds(await connection.deliver(SENDER, ["bob@example.org"], MESSAGE)) == [Accepted]
            assert len(await server.mail()) == 1
            await asyncio.to_thread(server.stop)
            async with asyncio.timeout(PATIENCE):
                # What is sent before it is noticed could have been taken: that would be Unknown.
                while connection.usable:  # noqa: ASYNC110 - a connection calls nobody when it ends
                    await asyncio.sleep(0)
            result = await connection.deliver(SENDER, ["carl@example.org"], MESSAGE)
            assert kinds(result) == [NotSent]
            assert not result.usable
        await asyncio.to_thread(server.start)
        async with connecting(server, trusting) as connection:
            assert kinds(await connection.deliver(SENDER, ["carl@example.org"], MESSAGE)) == [Accepted]
        assert [mail.recipient for mail in await server.mail()] == ["carl@example.org"]
