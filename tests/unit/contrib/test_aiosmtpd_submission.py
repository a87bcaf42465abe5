"""Mail that is submitted by aiosmtpd: what the queue gets of it, and what is answered."""

import base64
import smtplib
import ssl
from asyncio import to_thread
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
import trustme
from aiosmtpd.smtp import AuthResult, LoginPassword
from tests.unit.contrib.serving import Client, Place, connected, listening

from moxlib.contrib.aiosmtpd import SubmissionHandler, Submitter
from moxlib.errors import InputError, StorageError
from moxlib.queue import (
    FromIDConfig,
    IdempotencyConflict,
    Message,
    MessageFilter,
    Queue,
    QueueClosed,
    RequireTLS,
    StorageBusy,
    StorageFull,
    UnknownTransport,
)
from moxlib.testing import run_until_idle

ANN = "ann@here.example"
MAIL = (
    b"From: ann@here.example\r\nSubject: hello\r\nDate: Thu, 1 Jan 2026 12:00:00 +0000\r\n"
    b"Message-ID: <1@here.example>\r\n\r\nHello\r\n"
)
FROM = f"MAIL FROM:<{ANN}>"
TO = "RCPT TO:<bob@there.example>"


def anyone(_: Any) -> Submitter:
    return Submitter(account="ann", login=ANN)


@asynccontextmanager
async def serving(
    place: Place | None = None,
    *,
    config: Mapping[str, Any] | None = None,
    smtp: Mapping[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[tuple[Queue, int]]:
    given = place or Place()
    async with given.queue(**config or {}) as queue:
        arguments: dict[str, Any] = {"identify": anyone} | options
        handler = SubmissionHandler(queue, clock=given.clock, **arguments)
        async with listening(handler.factory(**smtp or {})) as port:
            yield queue, port


async def queued(queue: Queue) -> list[Message]:
    page = await queue.list_messages(MessageFilter())
    return list(page.items)


async def dumped(queue: Queue, message: Message) -> bytes:
    return b"".join([chunk async for chunk in queue.dump(message.id)])


async def test_what_is_submitted_is_queued_when_it_is_answered() -> None:
    place = Place()
    async with serving(place) as (queue, port), connected(port) as client:
        answer = await client.send(MAIL, "bob@there.example", "carl@there.example", sender=FROM)
        bob, carl = await queued(queue)
        assert answer == f"250 2.0.0 queued as {bob.base_id}"
        assert bob.base_id == carl.base_id
        assert [(m.sender, m.recipient, m.account) for m in (bob, carl)] == [
            (ANN, "bob@there.example", "ann"),
            (ANN, "carl@there.example", "ann"),
        ]
        received, _, rest = (await dumped(queue, bob)).partition(b"From: ")
        assert b"From: " + rest == MAIL
        assert received == (
            b"Received: from client.example\r\n\tby localhost with ESMTP;\r\n\tThu, 01 Jan 2026 12:00:00 +0000\r\n"
        ), "with several recipients, none of them is named"
        await run_until_idle(queue)
    assert place.sent.delivered("bob@there.example") == place.sent.delivered("carl@there.example") == [received + MAIL]


@pytest.mark.parametrize(
    ("greeting", "options", "expected"),
    [
        ("EHLO a.example", {}, b"from a.example\r\n\tby localhost with ESMTP\r\n\tfor <bob@there.example>;\r\n"),
        ("HELO a.example", {}, b"from a.example\r\n\tby localhost with SMTP\r\n\tfor <bob@there.example>;\r\n"),
        (
            "EHLO [127.0.0.9]",
            {"hostname": "mx.here.example"},
            b"from [127.0.0.9]\r\n\tby mx.here.example with ESMTP\r\n",
        ),
        ("EHLO a.example", {"show_address": True}, b"from a.example ([127.0.0.1])\r\n\tby localhost with ESMTP\r\n"),
        ("EHLO (;x", {}, b"from unknown\r\n\tby localhost with ESMTP\r\n"),
    ],
)
async def test_the_received_field(greeting: str, options: dict[str, Any], expected: bytes) -> None:
    async with serving(**options) as (queue, port), connected(port, greet=False) as client:
        await client.say(greeting)
        await client.send(MAIL, TO, sender=FROM)
        [message] = await queued(queue)
        assert (await dumped(queue, message)).startswith(b"Received: " + expected)


async def test_what_is_offered() -> None:
    async with serving() as (_, port), connected(port, greet=False) as client:
        offered = (await client.say("EHLO client.example")).split("\n")
        assert {"250-DSN", "250-SIZE 104857600", "250-8BITMIME", "250-SMTPUTF8"} <= set(offered)
        assert "250-FUTURERELEASE 5184000 2026-03-02T12:00:00Z" in offered
        assert not any("REQUIRETLS" in line for line in offered)


async def test_what_is_asked_of_notifications() -> None:
    async with serving() as (queue, port), connected(port) as client:
        await client.send(
            MAIL,
            "RCPT TO:<bob@there.example> notify=success,Delay ORCPT=rfc822;Bob+2Bold@There.example",
            "RCPT TO:<carl@there.example> NOTIFY=NEVER",
            r"RCPT TO:<dora@there.example> ORCPT=utf-8;d\x{F8}ra@there.example",
            "emil@there.example",
            sender=f"{FROM} RET=hdrs BODY=8BITMIME ENVID=QQ314+2B159 SIZE=100",
        )
        messages = await queued(queue)
        assert {(m.ret, m.envid) for m in messages} == {("HDRS", "QQ314+159")}
        assert [(m.notify, m.orcpt) for m in messages] == [
            ("SUCCESS,DELAY", "rfc822;Bob+old@There.example"),
            ("NEVER", ""),
            ("", "utf-8;døra@there.example"),
            ("", ""),
        ]
        # Nothing of it is left for the next one.
        await client.send(MAIL, "next@there.example", sender=FROM)
        last = (await queued(queue))[-1]
        assert (last.ret, last.envid, last.notify, last.orcpt) == ("", "token", "", "")


async def test_a_path_may_have_blanks_and_brackets_in_quotes() -> None:
    async with serving() as (queue, port), connected(port) as client:
        await client.send(
            MAIL,
            r'RCPT TO:<"b> \"NOTIFY=x"@there.example> NOTIFY=NEVER',
            sender=r'MAIL FROM:<"a> ENVID=y"@here.example> ENVID=z',
        )
        [message] = await queued(queue)
        assert (message.recipient, message.notify) == (r'"b> \"NOTIFY=x"@there.example', "NEVER")
        assert (message.sender, message.envid) == ('"a> ENVID=y"@here.example', "z")


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("RET=ALL", "501 5.5.4 RET is FULL or HDRS"),
        ("RET", "501 5.5.4 RET is FULL or HDRS"),
        ("RET=FULL RET=HDRS", "501 5.5.4 RET is given twice"),
        ("ENVID=", "501 5.5.4 ENVID has no value"),
        ("ENVID=a+2", "501 5.5.4 ENVID: "),
        ("ENVID=a+0D+0AX", "501 5.5.4 ENVID: "),
        (f"ENVID={'a' * 101}", "501 5.5.4 ENVID: "),
        ("HOLDFOR=x", "501 5.5.4 HOLDFOR "),
        ("HOLDFOR=\u0661", "501 5.5.4 HOLDFOR "),
        ("HOLDFOR=1234567890", "501 5.5.4 HOLDFOR "),
        ("HOLDFOR=5184001", "501 5.5.4 no message is held for more than 60 days"),
        ("HOLDUNTIL=tomorrow", "501 5.5.4 HOLDUNTIL "),
        ("HOLDUNTIL=2026-13-01T00:00:00Z", "501 5.5.4 HOLDUNTIL"),
        ("HOLDUNTIL=0001-01-01T00:00:00+14:00", "501 5.5.4 HOLDUNTIL"),
        ("HOLDUNTIL=2026-03-02T12:00:01Z", "501 5.5.4 no message is held"),
        ("HOLDFOR=1 HOLDUNTIL=2026-01-02T00:00:00Z", "501 5.5.4 HOLDFOR and HOLDUNTIL exclude each other"),
        ("REQUIRETLS=1", "501 5.5.4 REQUIRETLS has no value"),
        ("REQUIRETLS", "530 5.7.10 "),
        ("SIZE=104857601", "552 "),
        ("SIZE=" + "9" * 400, "552 "),
        ("BODY=9BIT", "501 "),
        ("MT-PRIORITY=3", "501 "),
        ("FOO=bar", "555 "),
    ],
)
async def test_what_cannot_be_asked_of_a_message(parameters: str, code: str) -> None:
    async with serving() as (_, port), connected(port) as client:
        answer = await client.say(f"{FROM} {parameters}")
        assert answer.startswith(code), answer
        assert (await client.say(TO)).startswith("503 "), "there is no transaction"


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ("NOTIFY", "501 5.5.4 NOTIFY has no value"),
        ("NOTIFY=", "501 5.5.4 NOTIFY has no value"),
        ("NOTIFY=NEVER,DELAY", "501 5.5.4 "),
        ("NOTIFY=ALWAYS", "501 5.5.4 "),
        ("NOTIFY=DELAY,,FAILURE", "501 5.5.4 "),
        ("ORCPT=bob", "501 5.5.4 "),
        ("ORCPT=rfc822;", "501 5.5.4 "),
        ("ORCPT=;bob", "501 5.5.4 "),
        ("ORCPT=rfc822;a+0D+0Ab", "501 5.5.4 "),
        ("ORCPT=rfc822;a=b", "501 5.5.4 "),
        (r"ORCPT=utf-8;a\x{110000}@b.example", "501 5.5.4 ORCPT has an escape beyond Unicode"),
        (r"ORCPT=utf-8;a\x{D800}@b.example", "501 5.5.4 "),
        ("ORCPT=rfc822;a ORCPT=rfc822;b", "501 5.5.4 ORCPT is given twice"),
        ("RET=FULL", "555 "),
    ],
)
async def test_what_cannot_be_asked_for_a_recipient(parameters: str, code: str) -> None:
    async with serving() as (_, port), connected(port) as client:
        await client.say(FROM)
        answer = await client.say(f"{TO} {parameters}")
        assert answer.startswith(code), answer
        assert (await client.say("DATA")).startswith("503 "), "there is no recipient"


async def test_who_says_helo_asks_for_nothing() -> None:
    async with serving() as (_, port), connected(port, greet=False) as client:
        await client.say("HELO client.example")
        assert (await client.say(f"{FROM} ENVID=a")).startswith("501 ")


async def test_nothing_is_left_of_what_was_asked_before_helo() -> None:
    async with serving() as (queue, port), connected(port) as client:
        assert (await client.say(f"{FROM} ENVID=a")).startswith("250 ")
        await client.say("HELO client.example")
        await client.send(MAIL, TO, sender=FROM)
        [message] = await queued(queue)
        assert message.envid == "token"


@pytest.mark.parametrize(
    "command",
    [
        "MAIL FROM:<" + "(" * 1500,
        "RCPT TO:<",
        "RCPT TO:[",
        "MAIL",
        "MAIL FROM:",
        "MAIL FROM:<",
        'MAIL FROM:<"> ENVID=a',
        "MAIL TO:<a@b> RET=FULL",
    ],
)
async def test_commands_that_are_none(command: str) -> None:
    async with serving() as (_, port), connected(port) as client:
        if command.startswith("RCPT"):
            await client.say(FROM)
        assert (await client.say(command))[:3] in {"501", "553"}
        await client.say("RSET")
        assert (await client.send(MAIL, TO, sender=FROM)).startswith("250")


@pytest.mark.parametrize(
    "when", ["HOLDFOR=3600", "HOLDUNTIL=2026-01-01T13:00:00Z", "holduntil=2026-01-01t14:00:00.0+01:00"]
)
async def test_future_release(when: str) -> None:
    place = Place()
    async with serving(place) as (queue, port), connected(port) as client:
        await client.send(MAIL, TO, sender=f"{FROM} {when}")
        [message] = await queued(queue)
        assert message.next_attempt == place.clock.now() + timedelta(hours=1)


async def test_extra_headers_become_extra() -> None:
    async with serving() as (queue, port), connected(port) as client:
        await client.send(b"X-Mox-Extra-Order: 17\r\n" + MAIL, TO, sender=FROM)
        [message] = await queued(queue)
        assert message.extra == {"Order": "17"}
        assert (await dumped(queue, message)).endswith(b"\r\n" + MAIL)
        assert b"X-Mox" not in await dumped(queue, message)
        answer = await client.send(b"X-Mox-Extra-A: 1\r\nx-mox-extra-a: 2\r\n" + MAIL, TO, sender=FROM)
        assert answer.startswith("554 5.6.0 X-Mox-Extra- header with the key 'A'"), answer
        assert (await client.send(b"X-Mox-Extra-\xff: 1\r\n" + MAIL, TO, sender=FROM)).startswith("554 5.6.0 ")
        assert len(await queued(queue)) == 1


FROMIDS = {"fromids": FromIDConfig.of([ANN], {"here.example": ["+"]})}


async def test_who_logs_in_with_a_fromid_address_gets_fromids() -> None:
    async with serving(config=FROMIDS) as (queue, port), connected(port) as client:
        await client.send(MAIL, TO, "carl@there.example", sender=FROM)
        bob, carl = await queued(queue)
        assert bob.fromid
        assert bob.mail_from == f"ann+{bob.fromid}@here.example"
        assert bob.fromid != carl.fromid


async def test_a_fromid_of_ones_own_is_used_once_and_for_one() -> None:
    async with serving(config=FROMIDS) as (queue, port), connected(port) as client:
        sender = "MAIL FROM:<ann+Own1@here.example>"
        answer = await client.send(MAIL, TO, "carl@there.example", sender=sender)
        assert answer.startswith("554 5.5.3 "), answer
        assert await queued(queue) == []
        assert (await client.send(MAIL, TO, sender=sender)).startswith("250 ")
        [message] = await queued(queue)
        assert (message.fromid, message.mail_from) == ("Own1", "ann+Own1@here.example")
        assert (await client.send(MAIL, TO, sender=sender)).startswith("554 5.1.7 ")


async def test_what_stands_behind_a_separator_is_no_fromid_of_others() -> None:
    async with (
        serving(config=FROMIDS, identify=lambda _: Submitter(account="ann", login="bob@here.example")) as (
            queue,
            port,
        ),
        connected(port) as client,
    ):
        for _ in range(2):
            sender = "MAIL FROM:<ann+Own1@here.example>"
            assert (await client.send(MAIL, TO, "carl@there.example", sender=sender)).startswith("250 ")
        assert {message.fromid for message in await queued(queue)} == {""}


async def test_the_null_reverse_path() -> None:
    async with serving(config=FROMIDS) as (queue, port), connected(port) as client:
        assert (await client.send(MAIL, TO, sender="MAIL FROM:<>")).startswith("250 ")
        [message] = await queued(queue)
        assert (message.sender, message.fromid) == ("", "")


async def test_without_a_login_nothing_is_taken() -> None:
    async with serving(identify=None) as (_, port), connected(port) as client:
        assert await client.say(FROM) == "530 5.7.0 authentication required"


async def test_who_may_send_as_whom() -> None:
    async def own(who: Submitter, sender: str) -> bool:
        return sender == who.login

    async with serving(may_send=own) as (_, port), connected(port) as client:
        assert await client.say("MAIL FROM:<bob@here.example>") == "550 5.7.1 you may not send as this address"
        assert await client.say("MAIL FROM:<>") == "550 5.7.1 you may not send as this address"
        assert (await client.send(MAIL, TO, sender=FROM)).startswith("250 ")


async def test_further_options() -> None:
    def options(who: Submitter, message: bytes) -> Mapping[str, Any]:
        return {"transport": "sent", "idempotency_key": f"{who.account} {len(message)}"}

    async with serving(options=options) as (queue, port), connected(port) as client:
        first = await client.send(MAIL, TO, sender=FROM)
        assert await client.send(MAIL, TO, sender=FROM) == first
        [message] = await queued(queue)
        assert message.transport == "sent"
        answer = await client.send(MAIL.replace(b"Hello", b"Holla"), TO, sender=FROM)
        assert answer == "554 5.5.0 another message was submitted under this idempotency key"


async def test_international_addresses_need_smtputf8() -> None:
    async with serving() as (queue, port), connected(port) as client:
        assert (await client.say("MAIL FROM:<ænn@here.example>")).startswith("553 5.6.7 ")
        await client.say(FROM)
        assert (await client.say("RCPT TO:<bøb@there.example>")).startswith("553 5.6.7 ")
        assert (await client.say(b"RCPT TO:<b\xf8b@there.example>")).startswith("553 5.1.3 ")
        await client.say("RSET")
        answer = await client.send(MAIL, "bøb@there.example", sender="MAIL FROM:<ænn@here.example> SMTPUTF8 ENVID=a")
        assert answer.startswith("250 ")
        [message] = await queued(queue)
        assert (message.sender, message.recipient, message.needs_smtputf8) == (
            "ænn@here.example",
            "bøb@there.example",
            True,
        )
        assert b"with UTF8SMTP;\r\n" in await dumped(queue, message)


async def test_addresses_that_are_none() -> None:
    async with serving() as (_, port), connected(port) as client:
        assert (await client.say("MAIL FROM:<a@-.example>")).startswith("553 5.1.7 ")
        await client.say(FROM)
        assert (await client.say("RCPT TO:<a@-.example>")).startswith("553 5.1.3 ")
        assert (await client.say("RCPT TO:<>")).startswith("553 5.1.3 ")


async def test_the_queues_limits_hold() -> None:
    async with (
        serving(config={"max_recipients": 2, "max_message_size": 500}) as (queue, port),
        connected(port) as client,
    ):
        await client.say(FROM)
        for number in range(2):
            assert (await client.say(f"RCPT TO:<{number}@there.example>")).startswith("250")
        assert (await client.say("RCPT TO:<2@there.example>")).startswith("452 4.5.3 ")
        await client.say("DATA")
        assert (await client.say(MAIL + b"a" * 300 + b"\r\n.")).startswith("552 5.3.4 "), "with the Received field"
        assert (await client.send(MAIL + b"a" * 500 + b"\r\n", TO, sender=FROM)).startswith("552 ")
        assert await queued(queue) == []


@pytest.mark.parametrize(
    "message",
    [b"Subject: a\r\n\r\na\nb\r\n", b"Subject: a\r\n\r\na\rb\r\n", b"Subject: a\n\nb\r\n", b"Subject : \x00\r\n\r\n"],
)
async def test_what_is_no_message_is_refused(message: bytes) -> None:
    async with serving() as (queue, port), connected(port) as client:
        assert (await client.send(message, TO, sender=FROM)).startswith("554 5.6.0 ")
        assert await queued(queue) == []


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (StorageFull("secret"), "452 4.3.1 no space to store this; try again later"),
        (StorageBusy("secret"), "451 4.3.0 this could not be stored; try again later"),
        (StorageError("secret"), "451 4.3.0 this could not be stored; try again later"),
        (QueueClosed("secret"), "451 4.3.2 the queue is closed; try again later"),
        (UnknownTransport("secret", ()), "451 4.3.0 local error; try again later"),
        (RuntimeError("secret\r\n250 OK"), "451 4.3.0 local error; try again later"),
        (IdempotencyConflict("k"), "554 5.5.0 another message was submitted under this idempotency key"),
    ],
)
async def test_trouble_here_is_no_refusal(error: Exception, answer: str) -> None:
    async def fails(*args: Any, **options: Any) -> Any:
        raise error

    async with serving() as (queue, port), connected(port) as client:
        queue.submit = fails  # type: ignore[method-assign]
        assert await client.send(MAIL, TO, sender=FROM) == answer


async def test_trouble_in_aiosmtpd_is_no_refusal() -> None:
    async with Place().queue() as queue:
        assert (await SubmissionHandler(queue).handle_exception(RuntimeError("x"))).startswith("451 ")


@pytest.mark.parametrize("address", ["", "ann", "ann@"])
def test_a_login_that_is_no_address(address: str) -> None:
    with pytest.raises(InputError):
        Submitter(login=address)


# With a login, as programs do it


def known(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: LoginPassword) -> AuthResult:
    return AuthResult(success=data.password == b"secret", handled=False, auth_data=data)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def certified(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_smtplib_over_starttls(certified: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    place = Place()
    smtp = {"tls_context": certified, "require_starttls": True, "authenticator": known, "auth_required": True}

    def submit(port: int) -> None:
        with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example", timeout=20) as client:
            client.starttls(context=trusting)
            client.login(ANN, "secret")
            assert client.has_extn("requiretls")
            client.sendmail(ANN, "bob@there.example", MAIL, ["REQUIRETLS", "ENVID=a"], ["NOTIFY=NEVER"])

    async with serving(place, smtp=smtp, identify=None) as (queue, port):
        await to_thread(submit, port)
        [message] = await queued(queue)
        assert (message.account, message.require_tls, message.envid, message.notify) == (
            "",
            RequireTLS.YES,
            "a",
            "NEVER",
        )
        assert (await dumped(queue, message)).startswith(
            b"Received: from client.example\r\n\tby localhost with ESMTPSA\r\n\tfor <bob@there.example>;\r\n"
        )


async def test_tls_from_the_beginning(certified: ssl.SSLContext, trusting: ssl.SSLContext) -> None:
    place = Place()
    async with place.queue() as queue:
        handler = SubmissionHandler(queue, clock=place.clock)
        factory = handler.factory(authenticator=known, auth_require_tls=False)
        async with listening(factory, tls=certified) as port, connected(port, tls=trusting, greet=False) as client:
            offered = await client.say("EHLO client.example")
            assert "250-REQUIRETLS" in offered.split("\n")
            assert (await auth(client, "ann", "wrong")).startswith("535 ")
            assert (await auth(client, "ann", "secret")).startswith("235 ")
            assert (await client.send(MAIL, TO, sender=f"{FROM} REQUIRETLS")).startswith("250 ")
            [message] = await queued(queue)
            assert (message.account, message.require_tls) == ("", RequireTLS.YES)
            assert b"with ESMTPSA\r\n" in await dumped(queue, message)


@pytest.mark.parametrize("name", ["", "ann", b"\xff@here.example"])
async def test_a_login_that_is_no_address_has_no_fromids(name: str | bytes) -> None:
    smtp = {"authenticator": known, "auth_require_tls": False}
    async with serving(config=FROMIDS, smtp=smtp, identify=None) as (queue, port), connected(port) as client:
        assert (await auth(client, name, "secret")).startswith("235 ")
        assert (await client.send(MAIL, TO, sender=FROM)).startswith("250 ")
        [message] = await queued(queue)
        assert message.fromid == ""


async def auth(client: Client, name: str | bytes, password: str) -> str:
    octets = name if isinstance(name, bytes) else name.encode()
    return await client.say(b"AUTH PLAIN " + base64.b64encode(b"\0" + octets + b"\0" + password.encode()))
