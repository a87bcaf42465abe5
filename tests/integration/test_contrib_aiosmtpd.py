"""aiosmtpd's server with our handlers, talked to by smtplib."""

import asyncio
import base64
import smtplib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from moxlib.contrib.aiosmtpd import IncomingHandler, IncomingMail, SubmissionHandler, Submitter
from moxlib.contrib.aiosmtpd.replies import refusal
from moxlib.dsn import DSN, MTA, Action, RecipientStatus, TypedAddress, compose
from moxlib.errors import MoxlibError, StorageError
from moxlib.localserve import LoopbackServer
from moxlib.queue import FromIDConfig, HookConfig, InvalidSubmission, Message, Queue, QueueConfig, StorageFull
from moxlib.testing import MemoryStorage, RecordingTransport

LOGIN = "login@here.example"
FROMIDS = FromIDConfig.of([LOGIN], {"here.example": ["+"]})
MAIL = (
    b"Date: Thu, 1 Jan 2026 12:00:00 +0000\r\nFrom: s@here.example\r\nTo: a@one.example\r\nSubject: hello\r\n"
    b"Message-ID: <1@here.example>\r\n\r\nhello\r\n"
)


class Broken(MemoryStorage):
    """A storage that can be told to fail."""

    failure: StorageError | None = None

    async def insert(self, *args: Any, **options: Any) -> Any:
        if self.failure is not None:
            raise self.failure
        return await super().insert(*args, **options)

    async def record_feedback(self, *args: Any, **options: Any) -> Any:
        if self.failure is not None:
            raise self.failure
        return await super().record_feedback(*args, **options)


@asynccontextmanager
async def opened(**config: Any) -> AsyncIterator[tuple[Queue, Broken]]:
    storage = Broken()
    config = {"fromids": FROMIDS, **config}
    async with Queue(storage, transports={"x": RecordingTransport()}, config=QueueConfig(**config)) as queue:
        yield queue, storage


def _send(port: int, sender: str, recipients: list[str], content: bytes) -> tuple[int, bytes]:
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example") as client:
        client.ehlo()
        client.mail(sender)
        for recipient in recipients:
            code, reply = client.rcpt(recipient)
            if code != 250:
                return code, reply
        return client.data(content)


async def send(server: LoopbackServer, sender: str, recipients: list[str], content: bytes) -> tuple[int, str]:
    code, reply = await asyncio.to_thread(_send, server.port, sender, recipients, content)
    return code, reply.decode()


def anybody(_: object) -> Submitter:
    return Submitter()


def bounce(recipient: str = "a@one.example") -> bytes:
    status = RecipientStatus(
        final_recipient=TypedAddress(address=recipient),
        action=Action.FAILED,
        diagnostic_type="smtp",
        diagnostic_text="550 5.1.1 no such user",
    )
    dsn = DSN(
        reporting_mta=MTA(name="mx.one.example"),
        recipients=(status,),
        from_address="d@one.example",
        message_id="<d@one.example>",
    )
    return compose(dsn, smtputf8=False, boundary="b")


async def only(queue: Queue) -> Message:
    [message] = (await queue.list_messages()).items
    return message


# incoming


async def test_a_bounce_is_recorded_before_it_is_accepted() -> None:
    async with opened() as (queue, _), LoopbackServer(handler=IncomingHandler(queue)) as server:
        [receipt] = await queue.submit(MAIL, login=LOGIN)
        to = f"s+{receipt.fromid}@here.example"
        for _ in range(2):
            assert await send(server, "", [to], bounce()) == (250, "2.0.0 OK")
        [told] = (await only(queue)).feedback
        assert (told.code, told.enhanced, told.suppressing) == (550, "5.1.1", True)


async def test_what_is_no_feedback_is_refused_unless_somebody_takes_it() -> None:
    taken: list[IncomingMail] = []

    async def other(mail: IncomingMail) -> str:
        taken.append(mail)
        return "552 5.2.2 full" if b"large" in mail.content else ""

    async with opened() as (queue, _):
        async with LoopbackServer(handler=IncomingHandler(queue)) as server:
            code, reply = await send(server, "x@one.example", ["s@here.example"], MAIL)
            assert (code, reply[:5]) == (550, "5.7.1")
        async with LoopbackServer(handler=IncomingHandler(queue, other=other)) as server:
            assert (await send(server, "x@one.example", ["s@here.example"], MAIL))[0] == 250
            assert (await send(server, "", ["s@here.example"], MAIL + b"large\r\n")) == (552, "5.2.2 full")
    assert [(m.envelope.mail_from, m.envelope.remote_ip, m.automated) for m in taken] == [
        ("x@one.example", "127.0.0.1", False),
        ("", "127.0.0.1", True),
    ]
    assert taken[0].content == MAIL


async def test_mail_that_a_webhook_tells_of_is_taken() -> None:
    hook = HookConfig(url="https://hooks.example/x")
    async with opened(incoming_webhook=hook) as (queue, _), LoopbackServer(handler=IncomingHandler(queue)) as server:
        assert (await send(server, "x@one.example", ["s@here.example", "t@here.example"], MAIL))[0] == 250
        assert await queue.count_webhooks() == 2


async def test_recipients_are_chosen_and_have_accounts() -> None:
    async with opened() as (queue, _):
        [receipt] = await queue.submit(MAIL, login=LOGIN, account="shop")
        to = f"s+{receipt.fromid}@here.example"
        handler = IncomingHandler(
            queue,
            accept=lambda address: address.endswith("@here.example"),
            account=lambda address: "shop" if address.startswith("s+") else "other",
        )
        async with LoopbackServer(handler=handler) as server:
            assert (await send(server, "", ["s@else.example"], bounce()))[0] == 550
            assert (await send(server, "", [to], bounce()))[0] == 250
            assert len((await only(queue)).feedback) == 1
            assert (await send(server, "", [to.replace("s+", "t+")], bounce()))[0] == 550, "another account's"


@pytest.mark.parametrize(
    ("failure", "reply"),
    [(StorageError("secret detail"), (451, "4.3.0")), (StorageFull("secret detail"), (452, "4.3.1"))],
)
async def test_what_cannot_be_stored_comes_again(failure: StorageError, reply: tuple[int, str]) -> None:
    async with opened() as (queue, storage):
        [receipt] = await queue.submit(MAIL, login=LOGIN)
        storage.failure = failure
        async with LoopbackServer(handler=IncomingHandler(queue)) as server:
            code, text = await send(server, "", [f"s+{receipt.fromid}@here.example"], bounce())
            assert (code, text[:5]) == reply
        async with LoopbackServer(handler=SubmissionHandler(queue, identify=anybody)) as server:
            code, text = await send(server, "s@here.example", ["a@one.example"], MAIL)
            assert (code, text[:5]) == reply
            assert "secret detail" not in text


# submissions


async def test_a_submission_is_queued_with_its_extra_and_a_trace() -> None:
    async with opened() as (queue, _), LoopbackServer(handler=SubmissionHandler(queue, identify=anybody)) as server:
        mail = b"X-Mox-Extra-Order: 17\r\n" + MAIL
        code, reply = await send(server, "s@here.example", ["a@one.example", "b@one.example"], mail)
        assert (code, reply[:5]) == (250, "2.0.0")
        messages = (await queue.list_messages()).items
        assert [m.recipient for m in messages] == ["a@one.example", "b@one.example"]
        assert {m.extra["Order"] for m in messages} == {"17"}
        content = b"".join([chunk async for chunk in queue.dump(messages[0].id)])
        assert b"X-Mox-Extra" not in content
        assert content.endswith(MAIL)
        assert content.startswith(b"Received: from client.example\r\n\tby localhost with ESMTP;\r\n\t")


async def test_the_null_path_submits_too_and_no_trace_is_left_where_none_is_wanted() -> None:
    handler = SubmissionHandler
    async with (
        opened() as (queue, _),
        LoopbackServer(handler=handler(queue, identify=anybody, received=False)) as server,
    ):
        assert (await send(server, "", ["a@one.example"], MAIL))[0] == 250
        message = await only(queue)
        assert message.sender == ""
        assert b"".join([chunk async for chunk in queue.dump(message.id)]) == MAIL


async def test_a_fromid_in_mail_from_is_used_once_and_for_one_recipient() -> None:
    async with opened() as (queue, _):
        handler = SubmissionHandler(queue, identify=lambda _: Submitter(account="shop", login=LOGIN))
        async with LoopbackServer(handler=handler) as server:
            assert (await send(server, "s+mine@here.example", ["a@one.example"], MAIL))[0] == 250
            message = await only(queue)
            assert (message.account, message.fromid) == ("shop", "mine")
            assert (await send(server, "s+two@here.example", ["a@one.example", "b@one.example"], MAIL)) == (
                554,
                "5.5.3 's+two@here.example': a fromid of one's own serves one recipient only",
            )
            code, text = await send(server, "s+mine@here.example", ["a@one.example"], MAIL)
            assert (code, text[:5]) == (554, "5.1.7")
            assert (await send(server, "s@here.example", ["a@one.example", "b@one.example"], MAIL))[0] == 250
            assert len({m.fromid for m in (await queue.list_messages()).items} - {"", "mine"}) == 2


async def test_who_has_no_fromids_may_have_a_plus_in_the_address() -> None:
    async with opened() as (queue, _), LoopbackServer(handler=SubmissionHandler(queue, identify=anybody)) as server:
        assert (await send(server, "s+list@here.example", ["a@one.example", "b@one.example"], MAIL))[0] == 250
        assert {m.fromid for m in (await queue.list_messages()).items} == {""}


@pytest.mark.parametrize(
    ("mail", "reply"),
    [
        (b"X-Mox-Extra-A: 1\r\nX-Mox-Extra-a: 2\r\n" + MAIL, "554 5.6.0"),
        (b"From: s@here.example\r\n" + b"X-Y: z\r\n" * 200_000 + b"\r\n", "552 5.3.4"),
        (b"not a header\r\n\r\nhello\r\n", "554 5.6.0"),
    ],
)
async def test_what_is_wrong_is_refused_for_good_in_one_line(mail: bytes, reply: str) -> None:
    async with opened() as (queue, _), LoopbackServer(handler=SubmissionHandler(queue, identify=anybody)) as server:
        code, text = await send(server, "s@here.example", ["a@one.example"], mail)
        assert f"{code} {text}"[:9] == reply
        assert await queue.count_messages() == 0


async def test_recipients_are_bounded() -> None:
    async with (
        opened(max_recipients=2) as (queue, _),
        LoopbackServer(handler=SubmissionHandler(queue, identify=anybody)) as server,
    ):
        code, text = await send(server, "s@here.example", [f"{n}@one.example" for n in range(3)], MAIL)
        assert (code, text[:5]) == (452, "4.5.3")


def test_nothing_of_a_client_breaks_a_reply() -> None:
    reply = refusal(InvalidSubmission("a\r\n250 OK\n\0 \u2028 ü" + "x" * 1000))
    assert reply.isascii()
    assert reply.isprintable()
    assert len(reply) < 500
    assert refusal(MoxlibError("?"))[:3] == "451"


async def test_who_logged_in_has_fromids(tmp_path: Path) -> None:
    from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword  # noqa: PLC0415

    async with Queue.open(tmp_path / "q.db", config=QueueConfig(fromids=FROMIDS)) as queue:

        def authenticator(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
            assert isinstance(data, LoginPassword)
            return AuthResult(success=data.password == b"secret", auth_data=data)

        loop = asyncio.get_running_loop()
        handler = SubmissionHandler(queue)
        server = await loop.create_server(
            lambda: SMTP(handler, authenticator=authenticator, auth_require_tls=False, loop=loop),
            "127.0.0.1",
            0,
        )
        async with server:
            port = server.sockets[0].getsockname()[1]

            def submit() -> None:
                with smtplib.SMTP("127.0.0.1", port) as client:
                    client.ehlo()
                    plain = base64.b64encode(f"\0{LOGIN}\0secret".encode()).decode()
                    assert client.docmd("AUTH", f"PLAIN {plain}")[0] == 235
                    client.sendmail("s@here.example", ["a@one.example"], MAIL)

            await asyncio.to_thread(submit)
        assert (await only(queue)).fromid != ""
