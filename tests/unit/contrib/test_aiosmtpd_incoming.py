"""Mail that comes in by aiosmtpd: what is answered, and what becomes of it."""

import logging
from collections.abc import Awaitable
from typing import Any

import pytest
from tests.unit.contrib.serving import Place, connected, listening
from tests.unit.queue.test_incoming import dsn, status

from moxlib.contrib.aiosmtpd import IncomingHandler, IncomingMail
from moxlib.errors import InputError, StorageError
from moxlib.queue import (
    AccountConfig,
    EventType,
    FromIDConfig,
    HookConfig,
    IncomingEnvelope,
    NotFeedback,
    Queue,
    QueueClosed,
    RecordedFeedback,
    StorageBusy,
    StorageFull,
    StorageUnavailable,
)
from moxlib.testing import run_until_empty

LOGIN = "login@here.example"
FROMIDS = FromIDConfig.of([LOGIN], {"here.example": ["+"]})
MAIL = b"From: ann@there.example\r\nTo: sender@here.example\r\nSubject: hello\r\n\r\nHello\r\n"
SENT = b"From: sender@here.example\r\nSubject: hi\r\nMessage-ID: <1@here.example>\r\n\r\nhi\r\n"


async def sent(place: Place, queue: Queue) -> str:
    """Send a message and return the address that its bounces come to."""
    [receipt] = await queue.submit(SENT, recipients="a@one.example", login=LOGIN)
    await run_until_empty(queue, place.clock)
    return f"sender+{receipt.fromid}@here.example"


async def test_a_bounce_is_recorded_before_it_is_answered() -> None:
    place = Place()
    async with place.queue(fromids=FROMIDS) as queue, listening(IncomingHandler(queue).factory()) as port:
        address = await sent(place, queue)
        async with connected(port) as client:
            answer = await client.send(dsn(status("a@one.example")), address)
            assert answer == "250 2.0.0 OK"
            assert [event.type for event in await queue.list_events(after=1)] == [EventType.FAILED]
            assert await queue.suppression("a@one.example") is not None
            # As a sender repeats it that did not hear the answer:
            assert await client.send(dsn(status("a@one.example")), address) == answer
            assert len(await queue.list_events(after=1)) == 1
        [retired] = (await queue.list_history()).items
        assert len(retired.feedback) == 1


async def test_other_mail_is_refused_unless_told_otherwise() -> None:
    place = Place()
    async with place.queue() as queue, listening(IncomingHandler(queue).factory()) as port, connected(port) as client:
        answer = await client.send(MAIL, "sender@here.example", sender="MAIL FROM:<ann@there.example>")
        assert answer == "550 5.7.1 only reports on mail that was sent from here are taken"
        assert (await client.send(dsn(status("a@one.example")), "sender@here.example")).startswith("550 5.7.1 ")


async def test_other_mail_is_discarded_if_that_is_wanted() -> None:
    place = Place()
    async with place.queue() as queue:
        handler = IncomingHandler(queue, discard_other=True)
        async with listening(handler.factory()) as port, connected(port) as client:
            assert await client.send(MAIL, "sender@here.example") == "250 2.0.0 OK"


async def test_other_mail_that_a_webhook_tells_of_is_accepted() -> None:
    place = Place()
    hook = HookConfig(url="https://shop.example/hook")
    async with place.queue(accounts={"shop": AccountConfig(incoming_webhook=hook)}) as queue:
        handler = IncomingHandler(queue, account=lambda _: "shop")
        async with listening(handler.factory()) as port, connected(port) as client:
            assert await client.send(MAIL, "sender@here.example") == "250 2.0.0 OK"


class Mailboxes:
    """A host that takes what is no feedback."""

    def __init__(self, answer: str = "") -> None:
        self.answer = answer
        self.taken: list[IncomingMail] = []

    async def take(self, mail: IncomingMail) -> str:
        self.taken.append(mail)
        return self.answer


async def test_other_mail_is_handed_to_the_host() -> None:
    place, host = Place(), Mailboxes()
    async with place.queue() as queue:
        handler = IncomingHandler(queue, other=host.take)
        async with listening(handler.factory()) as port, connected(port) as client:
            answer = await client.send(
                b"..dot\r\n", "sender@here.example", "bob@here.example", sender="MAIL FROM:<ann@there.example>"
            )
            assert answer == "250 2.0.0 OK"
            assert (await client.send(MAIL, "sender@here.example")).startswith("250")
    [first, second] = host.taken
    assert first == IncomingMail(
        content=b".dot\r\n",
        envelope=IncomingEnvelope(
            recipients=("sender@here.example", "bob@here.example"), mail_from="ann@there.example", remote_ip="127.0.0.1"
        ),
        account=None,
        automated=False,
    )
    assert (second.automated, second.envelope.mail_from) == (True, "")


async def test_the_hosts_reply_is_given() -> None:
    place, host = Place(), Mailboxes("552 5.2.2 mailbox full")
    async with place.queue() as queue:
        handler = IncomingHandler(queue, other=host.take)
        async with listening(handler.factory()) as port, connected(port) as client:
            assert await client.send(MAIL, "sender@here.example") == "552 5.2.2 mailbox full"


@pytest.mark.parametrize("answer", ["no", "250 ok\r\n250 ok", "550 5.1.1 n\xf6", "250"])
async def test_what_is_no_reply_is_not_sent(answer: str, caplog: pytest.LogCaptureFixture) -> None:
    place, host = Place(), Mailboxes(answer)
    async with place.queue() as queue:
        handler = IncomingHandler(queue, other=host.take)
        async with listening(handler.factory()) as port, connected(port) as client:
            assert await client.send(MAIL, "sender@here.example") == "451 4.3.0 local error; try again later"
    assert "not one line of a reply" in caplog.text


async def test_both_ways_with_other_mail() -> None:
    place = Place()
    async with place.queue() as queue:
        with pytest.raises(InputError):
            IncomingHandler(queue, other=Mailboxes().take, discard_other=True)


async def ours(recipient: str) -> bool:
    return recipient.endswith("@here.example")


@pytest.mark.parametrize("accept", [lambda recipient: recipient.endswith("@here.example"), ours])
async def test_recipients_are_those_that_the_host_accepts(accept: Any) -> None:
    place = Place()
    async with place.queue() as queue:
        handler = IncomingHandler(queue, accept=accept)
        async with listening(handler.factory()) as port, connected(port) as client:
            await client.say("MAIL FROM:<>")
            assert await client.say("RCPT TO:<a@here.example>") == "250 2.1.5 OK"
            assert await client.say("RCPT TO:<a@there.example>") == "550 5.1.1 no such recipient here"
            for none in ("RCPT TO:<postmaster>", "RCPT TO:<>"):
                assert (await client.say(none)).startswith("553 5.1.3 ")
            # By what Python's parser makes of it: newer ones do not trip over it.
            assert (await client.say("RCPT TO:<")).startswith(("501 5.5.2 ", "553 5.1.3 "))
            assert (await client.say("DATA")).startswith("354")


async def test_addresses_that_are_none() -> None:
    place = Place()
    async with place.queue() as queue, listening(IncomingHandler(queue).factory()) as port, connected(port) as client:
        assert (await client.say("MAIL FROM:<a@-.example>")).startswith("553 5.1.7 ")
        assert (await client.say(b"MAIL FROM:<a\xff@there.example>")).startswith("553 5.1.7 ")
        assert (await client.say("RCPT TO:<a@here.example>")).startswith("503 ")


async def test_an_account_has_a_transaction_of_its_own() -> None:
    place, host = Place(), Mailboxes()
    asked: list[str | None] = []

    async def account(recipient: str) -> str | None:
        return recipient.partition("@")[0] if recipient.startswith("shop") else None

    async with place.queue() as queue:
        incoming = queue.incoming

        async def watched(*args: Any, **options: Any) -> RecordedFeedback | NotFeedback:
            asked.append(options["account"])
            return await incoming(*args, **options)

        queue.incoming = watched  # type: ignore[method-assign]
        handler = IncomingHandler(queue, account=account, other=host.take)
        async with listening(handler.factory()) as port, connected(port) as client:
            await client.say("MAIL FROM:<>")
            assert (await client.say("RCPT TO:<shop1@here.example>")).startswith("250")
            for other in ("shop2@here.example", "nobody@here.example"):
                assert (await client.say(f"RCPT TO:<{other}>")).startswith("452 4.5.3 ")
            assert (await client.say("RCPT TO:<shop1@there.example>")).startswith("250")
            await client.say("DATA")
            assert (await client.say(MAIL + b".")).startswith("250")
            assert (await client.send(MAIL, "nobody@here.example", "else@here.example")).startswith("250")
    assert asked == ["shop1", None]
    assert [mail.envelope.recipients for mail in host.taken] == [
        ("shop1@here.example", "shop1@there.example"),
        ("nobody@here.example", "else@here.example"),
    ]


async def test_a_transaction_has_a_hundred_recipients_at_most() -> None:
    place = Place()
    async with place.queue() as queue, listening(IncomingHandler(queue).factory()) as port, connected(port) as client:
        await client.say("MAIL FROM:<>")
        for number in range(100):
            assert (await client.say(f"RCPT TO:<{number}@here.example>")).startswith("250")
        assert (await client.say("RCPT TO:<100@here.example>")).startswith("452 4.5.3 ")


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (StorageFull("/secret/mail.db"), "452 4.3.1 no space to store this; try again later"),
        (StorageBusy("/secret/mail.db"), "451 4.3.0 this could not be stored; try again later"),
        (StorageUnavailable("/secret/mail.db"), "451 4.3.0 this could not be stored; try again later"),
        (StorageError("/secret/mail.db"), "451 4.3.0 this could not be stored; try again later"),
        (QueueClosed("/secret/mail.db"), "451 4.3.2 the queue is closed; try again later"),
        (RuntimeError("/secret/mail.db"), "451 4.3.0 local error; try again later"),
    ],
)
async def test_trouble_here_is_no_refusal(error: Exception, answer: str, caplog: pytest.LogCaptureFixture) -> None:
    place = Place()

    async def fails(*args: Any, **options: Any) -> Any:
        raise error

    async with place.queue() as queue:
        queue.incoming = fails  # type: ignore[method-assign]
        async with listening(IncomingHandler(queue).factory()) as port, connected(port) as client:
            assert await client.send(MAIL, "sender@here.example") == answer
    if not isinstance(error, QueueClosed):
        assert "/secret/mail.db" in caplog.text, "the operator is told"


async def test_a_lookup_that_fails_is_no_refusal(caplog: pytest.LogCaptureFixture) -> None:
    place = Place()

    def fails(recipient: str) -> Awaitable[bool]:
        raise LookupError("the directory is down")

    async with place.queue() as queue:
        handler = IncomingHandler(queue, accept=fails)
        async with listening(handler.factory()) as port, connected(port) as client:
            await client.say("MAIL FROM:<>")
            assert (await client.say("RCPT TO:<a@here.example>")).startswith("451 4.3.0 ")
    assert [record.levelno for record in caplog.records if record.name == "moxlib.contrib.aiosmtpd"] == [logging.ERROR]


async def test_trouble_in_aiosmtpd_is_no_refusal() -> None:
    place = Place()
    async with place.queue() as queue:
        assert (await IncomingHandler(queue).handle_exception(RuntimeError("x"))).startswith("451 ")


@pytest.mark.parametrize(
    "line", [b"a\nb\r\n", b"a\rb\r\n", b"a\n.\n\r\n", b"a\r\n.\nMAIL FROM:<>\r\n", b"a\r\n.\rQUIT\r\n"]
)
async def test_a_bare_line_end_is_refused_and_ends_nothing(line: bytes) -> None:
    place, host = Place(), Mailboxes()
    async with place.queue() as queue:
        handler = IncomingHandler(queue, other=host.take)
        async with listening(handler.factory()) as port, connected(port) as client:
            assert (await client.send(MAIL + line, "a@here.example")).startswith("554 5.6.0 ")
            assert await client.say("NOOP") == "250 OK"
    assert host.taken == []


async def test_lines_and_messages_have_limits() -> None:
    place, host = Place(), Mailboxes()
    async with place.queue() as queue:
        handler = IncomingHandler(queue, other=host.take)
        async with listening(handler.factory(data_size_limit=200_000)) as port, connected(port) as client:
            assert (await client.send(b"a" * 60_000 + b"\r\n", "a@here.example")).startswith("250")
            assert (await client.send(b"a" * 70_000 + b"\r\n", "a@here.example")).startswith("500 ")
            assert (await client.send((b"a" * 998 + b"\r\n") * 201, "a@here.example")).startswith("552 ")
    assert len(host.taken) == 1
