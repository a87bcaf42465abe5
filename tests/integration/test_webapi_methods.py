"""All methods, the same tests three ways: the service itself, its application with our client, and over real HTTP."""

import io
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.integration.webapi_world import WAYS, Way, World, header, resolver, world

from moxlib.dkim import Status, verify
from moxlib.message import read_message
from moxlib.queue import RequireTLS
from moxlib.queue.storage.sqlite.batch import Batch
from moxlib.webapi import (
    Code,
    Fault,
    File,
    MessageDeleteRequest,
    MessageFlagsAddRequest,
    MessageFlagsRemoveRequest,
    MessageGetRequest,
    MessageMoveRequest,
    MessagePartGetRequest,
    MessageRawGetRequest,
    NameAddress,
    SendBatchRequest,
    SendRawRequest,
    SendRequest,
    SendResult,
    SuppressionAddRequest,
    SuppressionListRequest,
    SuppressionPresentRequest,
    SuppressionRemoveRequest,
    Upload,
    Uploads,
    WebAPIError,
)
from moxlib.webapi.mailbox import Mailbox, StoredMessage
from moxlib.webapi.sqlite_mailbox import SQLiteMailbox

Make = Callable[..., AbstractAsyncContextManager[World]]

A, B, C = (NameAddress(address=f"{name}@{name}.example") for name in "abc")
HELLO = SendRequest(to=(A,), subject="Hi", text="hello ☺\n")
RAW = (
    b"From: Info <info@here.example>\r\nTo: a@a.example, B <b@b.example>\r\nBcc: c@c.example\r\n"
    b"Subject: raw\r\nMessage-ID: <own@here.example>\r\n\r\nbody\r\n"
)
MEBIBYTE = 1024 * 1024


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Way:
    chosen: Way = request.param
    return chosen


@pytest.fixture
def make(way: Way, tmp_path: Path) -> Make:
    return partial(world, tmp_path, way)


@pytest.fixture
async def here(make: Make) -> AsyncIterator[World]:
    async with make() as made:
        yield made


async def refused(doing: Any, code: Code) -> WebAPIError:
    with pytest.raises(WebAPIError) as caught:
        await doing
    assert caught.value.code is code
    return caught.value


async def check_signed(here: World, raw: bytes) -> None:
    [result] = await verify(raw, resolver=resolver(), now=here.clock.now())
    assert result.status is Status.PASS, result
    assert result.domain is not None
    assert result.domain.ascii == "here.example"


# Send


async def test_a_message_is_queued_signed(here: World) -> None:
    result = await here.methods.send(HELLO)
    [message] = await here.queued()
    [submission] = result.submissions
    assert (submission.address, submission.queue_msg_id) == ("a@a.example", message.id)
    assert submission.from_id == message.fromid != ""
    assert message.mail_from == f"me+{message.fromid}@here.example"
    assert (message.account, message.recipient, message.subject) == ("me", "a@a.example", "Hi")
    assert message.message_id == result.message_id
    raw = await here.raw(message)
    assert raw.startswith(b"Received: from mail.here.example")
    assert header(raw, "From") == ['"Me Myself" <me+ids@here.example>']
    assert read_message(raw).body(MEBIBYTE) == "hello ☺\r\n".encode()
    await check_signed(here, raw)
    [changed] = await verify(raw.replace(b"Subject: Hi", b"Subject: Ho"), resolver=resolver(), now=here.clock.now())
    assert changed.status is not Status.PASS


async def test_everything_that_a_message_can_have(here: World, tmp_path: Path) -> None:
    path = tmp_path / "report.pdf"
    path.write_bytes(b"%PDF-1.7 uploaded")
    request = SendRequest(
        from_=(NameAddress(name="Infö", address="info@here.example"),),
        to=(A,),
        cc=(B,),
        bcc=(C,),
        reply_to=(NameAddress(address="reply@here.example"),),
        message_id="<mine@here.example>",
        references=("<1@x.example>", "<2@x.example>"),
        date=here.clock.now() - timedelta(days=1),
        subject="Füße",
        text="text",
        html='<img src="cid:pic">',
        extra={"order": "17", "Ä": ""},
        headers=(("X-Own", "value"),),
        alternative_files=(File(content_type="text/calendar", data=b"BEGIN:VCALENDAR"),),
        inline_files=(File(name="pic.png", content_id="<pic>", data=b"\x89PNG\r\n\x1a\n"),),
        attached_files=(File(name="a.bin", content_type="application/octet-stream", data=bytes(range(256))),),
        require_tls=True,
        future_release=here.clock.now() + timedelta(hours=2),
    )
    uploads = Uploads(
        alternative=(Upload(content=b"<x/>", content_type="application/xml", name="x.xml"),),
        inline=(Upload(content=io.BytesIO(b"GIF89a"), name="g.gif", content_id="<gif>"),),
        attached=(Upload(content=path, name="réport.pdf"),),
    )
    result = await here.methods.send(request, uploads=uploads)
    assert result.message_id == "<mine@here.example>"
    queued = sorted(await here.queued(), key=lambda message: message.id)
    assert [m.recipient for m in queued] == ["a@a.example", "b@b.example", "c@c.example"]
    assert [s.queue_msg_id for s in result.submissions] == [m.id for m in queued]
    assert [s.address for s in result.submissions] == [each.address for each in (A, B, C)]
    for message in queued:
        assert message.require_tls is RequireTLS.YES
        assert message.next_attempt == here.clock.now() + timedelta(hours=2)
        assert dict(message.extra) == {"order": "17", "Ä": ""}
        assert message.mail_from == f"info+{message.fromid}@here.example"
        assert (message.needs_8bit, message.needs_smtputf8) == (False, False)
    raw = await here.raw(queued[0])
    assert b"c@c.example" not in raw
    assert " ".join(header(raw, "References")[0].split()) == "<1@x.example> <2@x.example>"
    assert header(raw, "In-Reply-To") == ["<2@x.example>"]
    assert header(raw, "X-Own") == ["value"]
    assert read_message(raw).envelope.subject == "Füße"
    leaves = [
        (part.media_type, part.filename, part.body(MEBIBYTE))
        for part in read_message(raw).walk()
        if not list(part.parts)
    ]
    assert [(type_, name) for type_, name, _ in leaves] == [
        ("text/plain", ""),
        ("text/html", ""),
        ("text/calendar", ""),
        ("application/xml", "x.xml"),
        ("image/png", "pic.png"),
        ("image/gif", "g.gif"),
        ("application/octet-stream", "a.bin"),
        ("application/pdf", "réport.pdf"),
    ]
    assert [octets for *_, octets in leaves[4:]] == [
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        bytes(range(256)),
        b"%PDF-1.7 uploaded",
    ]
    await check_signed(here, raw)


@pytest.mark.parametrize("uploaded", [False, True])
async def test_a_large_message_goes_by_a_file(here: World, uploaded: bool) -> None:
    octets = bytes(range(256)) * 4096 * 2
    files = () if uploaded else (File(name="large", data=octets),)
    uploads = Uploads(attached=(Upload(content=io.BytesIO(octets), name="large"),) if uploaded else ())
    await here.methods.send(
        SendRequest(bcc=(A,), text="x", attached_files=files, save_sent=True), uploads=uploads, idempotency_key="k"
    )
    [message] = await here.queued()
    assert message.size > 2 * MEBIBYTE
    raw = await here.raw(message)
    await check_signed(here, raw)
    assert [part.body(2 * MEBIBYTE) for part in read_message(raw).walk() if part.filename == "large"] == [octets]
    [copy] = await here.mailbox.list("me")
    async with here.methods.message_raw_get(MessageRawGetRequest(msg_id=copy.id)) as stream:
        sent = await stream.read(10 * MEBIBYTE)
    assert sent.startswith(b"Bcc: <a@a.example>\r\n")
    assert raw.endswith(sent.removeprefix(b"Bcc: <a@a.example>\r\n"))


async def test_a_copy_is_kept_where_one_is_asked_for(here: World) -> None:
    await here.methods.send(HELLO)
    assert await here.mailbox.list("me") == ()
    result = await here.methods.send(SendRequest(to=(A,), bcc=(B,), text="x", save_sent=True))
    [copy] = await here.mailbox.list("me")
    assert (copy.mailbox, set(copy.flags)) == ("Sent", {"\\seen", "$notjunk"})
    told = await here.methods.message_get(MessageGetRequest(msg_id=copy.id))
    assert [each.address for each in told.message.bcc] == ["b@b.example"]
    assert told.message.message_id == result.message_id
    async with here.methods.message_raw_get(MessageRawGetRequest(msg_id=copy.id)) as stream:
        raw = await stream.read(MEBIBYTE)
    assert header(raw, "Received") == []
    await check_signed(here, raw.removeprefix(b"Bcc: <b@b.example>\r\n"))


async def test_who_is_named_twice_gets_it_once(here: World) -> None:
    twice = SendRequest(to=(A, NameAddress(name="A", address="a@A.example")), cc=(B,), bcc=(A,), text="x")
    result = await here.methods.send(twice)
    assert sorted(m.recipient for m in await here.queued()) == ["a@a.example", "b@b.example"]
    ids = [each.queue_msg_id for each in result.submissions]
    assert ids[0] == ids[1] == ids[3] != ids[2]
    assert [each.address for each in result.submissions] == ["a@a.example", "a@A.example", "b@b.example", "a@a.example"]


async def test_an_international_domain(here: World) -> None:
    result = await here.methods.send(SendRequest(to=(NameAddress(address="x@bücher.example"), A), cc=(A,), text="x"))
    assert [each.address for each in result.submissions] == ["x@bücher.example", "a@a.example", "a@a.example"]
    assert sorted(m.recipient for m in await here.queued()) == ["a@a.example", "x@xn--bcher-kva.example"]


@pytest.mark.parametrize(("asked", "kept"), [(None, RequireTLS.POLICY), (False, RequireTLS.NO)])
async def test_what_is_asked_of_tls(here: World, asked: bool | None, kept: RequireTLS) -> None:
    await here.methods.send(SendRequest(to=(A,), text="x", require_tls=asked))
    [message] = await here.queued()
    assert message.require_tls is kept


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (SendRequest(to=(A,)), Code.MISSING_BODY),
        (SendRequest(from_=(A, B), to=(A,), text="x"), Code.MULTIPLE_FROM),
        (SendRequest(to=(NameAddress(address="nobody"),), text="x"), Code.BAD_ADDRESS),
        (SendRequest(reply_to=(NameAddress(address="nobody"),), to=(A,), text="x"), Code.BAD_ADDRESS),
        (SendRequest(from_=(A,), to=(B,), text="x"), Code.BAD_FROM),
        (SendRequest(from_=(NameAddress(address="me@disabled.example"),), to=(B,), text="x"), Code.DOMAIN_DISABLED),
        (SendRequest(text="x"), Code.NO_RECIPIENTS),
        (SendRequest(to=(A,), text="x", message_id="a@b"), Code.MALFORMED_MESSAGE_ID),
        (SendRequest(to=(A,), text="x", headers=(("Bcc", "x@x.example"),)), Code.USER),
        (SendRequest(to=(A,), text="x", subject="a\r\nBcc: x@x.example"), Code.USER),
    ],
)
async def test_what_cannot_be_sent(here: World, request_: SendRequest, code: Code) -> None:
    await refused(here.methods.send(request_), code)
    assert await here.queued() == ()


async def test_too_far_ahead(here: World) -> None:
    late = SendRequest(to=(A,), text="x", future_release=here.clock.now() + timedelta(days=61))
    await refused(here.methods.send(late), Code.USER)
    assert await here.queued() == ()


async def test_too_large(make: Make) -> None:
    async with make(max_message_size=10_000) as here:
        await refused(here.methods.send(SendRequest(to=(A,), text="x" * 10_000)), Code.MESSAGE_TOO_LARGE)
        large = Uploads(attached=(Upload(content=b"x" * 10_000, name="x"),))
        await refused(here.methods.send(HELLO, uploads=large), Code.MESSAGE_TOO_LARGE)
        raw = SendRawRequest(message=RAW + b"x" * 10_000)
        await refused(here.methods.send_raw(raw), Code.MESSAGE_TOO_LARGE)
        assert await here.queued() == ()
        await here.methods.send(HELLO)


# under a key


async def test_the_same_key_sends_once(here: World) -> None:
    request = SendRequest(to=(A,), bcc=(B,), text="x", save_sent=True)
    uploads = Uploads(attached=(Upload(content=b"file", name="f"),))
    first = await here.methods.send(request, uploads=uploads, idempotency_key="order 17")
    here.clock.set(here.clock.now() + timedelta(hours=1))
    assert await here.methods.send(request, uploads=uploads, idempotency_key="order 17") == first
    assert len(await here.queued()) == 2
    assert len(await here.mailbox.list("me")) == 1
    other = Uploads(attached=(Upload(content=b"fil3", name="f"),))
    await refused(here.methods.send(request, uploads=other, idempotency_key="order 17"), Code.IDEMPOTENCY_CONFLICT)
    await refused(here.methods.send(HELLO, idempotency_key="order 17"), Code.IDEMPOTENCY_CONFLICT)
    await refused(
        here.methods.send_raw(SendRawRequest(message=RAW), idempotency_key="order 17"), Code.IDEMPOTENCY_CONFLICT
    )
    assert len(await here.queued()) == 2
    again = await here.methods.send(request, uploads=uploads, idempotency_key="order 18")
    assert again.message_id != first.message_id


async def test_a_key_is_known_after_reopening(make: Make, tmp_path: Path) -> None:
    async with make(queue=tmp_path / "q.db") as here:
        first = await here.methods.send(HELLO, idempotency_key="k")
        raw = await here.methods.send_raw(SendRawRequest(message=RAW), idempotency_key="r")
    (tmp_path / "socket").unlink(missing_ok=True)
    async with make(queue=tmp_path / "q.db") as here:
        assert await here.methods.send(HELLO, idempotency_key="k") == first
        assert await here.methods.send_raw(SendRawRequest(message=RAW), idempotency_key="r") == raw
        assert len(await here.queued()) == 4
        await refused(here.methods.send(SendRequest(to=(A,), text="y"), idempotency_key="k"), Code.IDEMPOTENCY_CONFLICT)


async def test_what_was_sent_is_answered_again_though_no_more_may_be(make: Make) -> None:
    async with make(max_messages_per_day=4, max_first_time_recipients_per_day=3) as here:
        raw = SendRawRequest(message=RAW)
        answered = await here.methods.send_raw(raw, idempotency_key="r")
        first = await here.methods.send(HELLO, idempotency_key="k")
        assert await here.methods.send(HELLO, idempotency_key="k") == first
        assert await here.methods.send_raw(raw, idempotency_key="r") == answered
        await refused(here.methods.send(HELLO, idempotency_key="l"), Code.MESSAGE_LIMIT_REACHED)
        await refused(here.methods.send_raw(raw, idempotency_key="l"), Code.MESSAGE_LIMIT_REACHED)
        assert len(await here.queued()) == 4


@pytest.mark.parametrize("key", ["k", "k" * 255])
async def test_a_batch_under_a_key(here: World, key: str) -> None:
    batch = SendBatchRequest(requests=(HELLO, SendRequest(to=(B,), text="x")))
    first = await here.methods.send_batch(batch, idempotency_key=key)
    assert all(isinstance(each, SendResult) for each in first.results), first
    assert await here.methods.send_batch(batch, idempotency_key=key) == first
    assert len(await here.queued()) == 2
    other = SendBatchRequest(requests=(HELLO, SendRequest(to=(B,), text="y")))
    same, conflict = (await here.methods.send_batch(other, idempotency_key=key)).results
    assert same == first.results[0]
    assert isinstance(conflict, Fault)
    assert conflict.code is Code.IDEMPOTENCY_CONFLICT


# SendBatch


async def test_of_a_batch_each_has_its_own_result(here: World) -> None:
    bad = SendRequest(from_=(A,), to=(B,), text="x")
    one, two, three = (
        await here.methods.send_batch(SendBatchRequest(requests=(HELLO, bad, SendRequest(to=(B, C), text="x"))))
    ).results
    assert isinstance(one, SendResult)
    assert isinstance(two, Fault)
    assert isinstance(three, SendResult)
    assert two.code is Code.BAD_FROM
    queued = {message.id: message.recipient for message in await here.queued()}
    ids = [each.queue_msg_id for each in (*one.submissions, *three.submissions)]
    assert [queued[id_] for id_ in ids] == ["a@a.example", "b@b.example", "c@c.example"]
    assert len(queued) == 3
    assert (await here.methods.send_batch(SendBatchRequest(requests=()))).results == ()


async def test_a_batch_is_bounded(make: Make) -> None:
    async with make(service={"max_batch": 2}) as here:
        await refused(here.methods.send_batch(SendBatchRequest(requests=(HELLO,) * 3)), Code.USER)
        assert await here.queued() == ()


@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize("transactions", ["thread", "loop"])
async def test_a_batch_is_one_commit(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, transactions: str, limited: bool
) -> None:
    limits = {} if limited else {"max_messages_per_day": None, "max_first_time_recipients_per_day": None}
    async with make(queue=tmp_path / "q.db", transactions=transactions, mailbox=None, **limits) as here:
        commits: list[int] = []
        commit = Batch.commit

        def counted(batch: Batch, jobs: Any, tx: Any) -> None:
            commits.append(len(jobs))
            commit(batch, jobs, tx)

        monkeypatch.setattr(Batch, "commit", counted)
        bad = SendRequest(to=(A,), text="x", subject="\r\n")
        monkeypatch.setattr("moxlib.webapi.sending.IN_LOOP", 100)
        large = SendRequest(to=(A,), text="x" * 101)  # composed in a thread
        good = [SendRequest(to=(A,), text=f"{n}") for n in range(50)]
        result = await here.methods.send_batch(SendBatchRequest(requests=(bad, large, *good)))
        assert commits == [51]
        ids = [each.submissions[0].queue_msg_id for each in result.results if isinstance(each, SendResult)]
        assert len(set(ids)) == 51


# SendRaw


async def test_a_finished_message(here: World) -> None:
    request = SendRawRequest(message=RAW, extra={"a": "b"}, require_tls=False)
    result = await here.methods.send_raw(request)
    assert result.message_id == "<own@here.example>"
    assert [each.address for each in result.submissions] == ["a@a.example", "b@b.example", "c@c.example"]
    queued = {message.id: message for message in await here.queued()}
    assert len(queued) == 3
    for each in result.submissions:
        message = queued[each.queue_msg_id]
        assert message.recipient == each.address
        assert each.from_id == message.fromid != ""
        assert message.mail_from == f"me+{each.from_id}@here.example"
        assert dict(message.extra) == {"a": "b"}
        assert message.require_tls is RequireTLS.NO
        raw = await here.raw(message)
        assert header(raw, "Bcc") == []
        assert raw.endswith(RAW.replace(b"Bcc: c@c.example\r\n", b""))
        await check_signed(here, raw)


async def test_a_finished_message_for_others_than_it_says(here: World) -> None:
    request = SendRawRequest(message=RAW, mail_from="info@here.example", recipients=("x@x.example",))
    result = await here.methods.send_raw(request)
    [message] = await here.queued()
    assert (message.recipient, message.sender) == ("x@x.example", "info@here.example")
    assert message.mail_from == f"info+{result.submissions[0].from_id}@here.example"


async def test_what_a_finished_message_lacks_is_signed_too(here: World) -> None:
    request = SendRawRequest(message=b"From: me@here.example\r\nTo: a@a.example\r\n\r\nx\r\n")
    result = await here.methods.send_raw(request, idempotency_key="k")
    [message] = await here.queued()
    raw = await here.raw(message)
    assert len(header(raw, "Date")) == 1
    assert header(raw, "Message-ID") == [result.message_id] == [message.message_id]
    await check_signed(here, raw)
    here.clock.set(here.clock.now() + timedelta(hours=1))
    assert await here.methods.send_raw(request, idempotency_key="k") == result
    assert (await here.methods.send_raw(request)).message_id not in ("", result.message_id)


async def test_a_finished_large_message(here: World) -> None:
    await here.methods.send_raw(
        SendRawRequest(message=RAW + (b"x" * 998 + b"\r\n") * 2000, recipients=("x@x.example",))
    )
    [message] = await here.queued()
    await check_signed(here, await here.raw(message))


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (SendRawRequest(message=RAW.replace(b"info@here", b"info@there")), Code.BAD_FROM),
        (SendRawRequest(message=RAW.replace(b"info@here", b"other@here")), Code.BAD_FROM),
        (SendRawRequest(message=RAW.replace(b"here.example>\r\nTo", b"disabled.example>\r\nTo")), Code.DOMAIN_DISABLED),
        (SendRawRequest(message=RAW, mail_from="a@a.example"), Code.BAD_FROM),
        (SendRawRequest(message=RAW, mail_from="a"), Code.BAD_ADDRESS),
        (SendRawRequest(message=RAW, recipients=("a",)), Code.BAD_ADDRESS),
        (SendRawRequest(message=b"From: me@here.example\r\n\r\n"), Code.NO_RECIPIENTS),
        (SendRawRequest(message=b"To: a@a.example\r\n\r\n"), Code.BAD_ADDRESS),
        (SendRawRequest(message=b""), Code.USER),
        (SendRawRequest(message=RAW.replace(b"body", b"bo\ndy")), Code.USER),
        (SendRawRequest(message=b"From: me@here.example\r\nTo: a@a.example\r\nno field\r\n\r\n"), Code.USER),
        (SendRawRequest(message=b"From: me@here.example\r\nFrom: a@a.example\r\nTo: a@a.example\r\n\r\n"), Code.USER),
    ],
)
async def test_a_finished_message_that_cannot_be_sent(here: World, request_: SendRawRequest, code: Code) -> None:
    await refused(here.methods.send_raw(request_), code)
    assert await here.queued() == ()


# suppressions


async def test_suppressions(here: World) -> None:
    present = partial(here.methods.suppression_present, SuppressionPresentRequest(email_address="a@a.example"))
    assert not (await present()).present
    await here.methods.suppression_add(SuppressionAddRequest(email_address="a@a.example", manual=True, reason="why\n"))
    await here.methods.suppression_add(SuppressionAddRequest(email_address="B@b.example"))
    assert (await present()).present
    listed = (await here.methods.suppression_list(SuppressionListRequest())).suppressions
    assert [(each.original_address, each.manual, each.account) for each in listed] == [
        ("a@a.example", True, "me"),
        ("B@b.example", False, "me"),
    ]
    assert listed[0].reason == "why\n"
    assert listed[0].created == here.clock.now()
    await here.methods.suppression_remove(SuppressionRemoveRequest(email_address="a@a.example"))
    assert not (await present()).present
    remove = here.methods.suppression_remove(SuppressionRemoveRequest(email_address="a@a.example"))
    await refused(remove, Code.USER)
    for doing in (
        here.methods.suppression_add(SuppressionAddRequest(email_address="a")),
        here.methods.suppression_remove(SuppressionRemoveRequest(email_address="a")),
        here.methods.suppression_present(SuppressionPresentRequest(email_address="")),
    ):
        await refused(doing, Code.BAD_ADDRESS)


async def test_more_suppressions_than_are_looked_up_at_once(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moxlib.webapi.service.PAGE", 2)
    for number in range(5):
        await here.methods.suppression_add(SuppressionAddRequest(email_address=f"{number}@a.example"))
    await here.queue.suppress("other@a.example", account="other")
    listed = (await here.methods.suppression_list(SuppressionListRequest())).suppressions
    assert [each.original_address for each in listed] == [f"{number}@a.example" for number in range(5)]


# messages


async def test_a_message_of_the_mailbox(here: World) -> None:
    await here.methods.send(
        SendRequest(
            to=(A,), subject="Füße", text="text\n", attached_files=(File(name="f.pdf", data=b"%PDF-"),), save_sent=True
        )
    )
    [copy] = await here.mailbox.list("me")
    told = await here.methods.message_get(MessageGetRequest(msg_id=copy.id))
    assert (told.message.subject, told.message.text) == ("Füße", "text\n")
    assert (told.meta.mailbox_name, told.meta.size) == ("Sent", copy.size)
    assert [each.content_type for each in told.structure.parts] == ["text/plain", "application/pdf"]
    async with here.methods.message_raw_get(MessageRawGetRequest(msg_id=copy.id)) as stream:
        assert (stream.content_type, stream.size) == ("text/plain", copy.size)
        assert len(await stream.read(copy.size)) == copy.size
    async with here.methods.message_part_get(MessagePartGetRequest(msg_id=copy.id, part_path=(1,))) as stream:
        assert stream.content_type.startswith("application/pdf")
        assert await stream.read(5) == b"%PDF-"
    flags = MessageFlagsAddRequest(msg_id=copy.id, flags=("$Forwarded", "own"))
    await here.methods.message_flags_add(flags)
    await here.methods.message_flags_remove(MessageFlagsRemoveRequest(msg_id=copy.id, flags=("\\Seen",)))
    await here.methods.message_move(MessageMoveRequest(msg_id=copy.id, dest_mailbox_name="Archive"))
    moved = await here.mailbox.get("me", copy.id)
    assert (set(moved.flags), moved.mailbox) == ({"$forwarded", "$notjunk", "own"}, "Archive")
    await here.methods.message_delete(MessageDeleteRequest(msg_id=copy.id))
    assert await here.mailbox.list("me") == ()


async def test_a_message_that_is_not_there(here: World) -> None:
    other = await here.mailbox.add("other", RAW)
    for id_ in (other.id, other.id + 1, -1):
        for doing in (
            here.methods.message_get(MessageGetRequest(msg_id=id_)),
            here.methods.message_delete(MessageDeleteRequest(msg_id=id_)),
            here.methods.message_flags_add(MessageFlagsAddRequest(msg_id=id_, flags=("a",))),
            here.methods.message_flags_remove(MessageFlagsRemoveRequest(msg_id=id_, flags=("a",))),
            here.methods.message_move(MessageMoveRequest(msg_id=id_, dest_mailbox_name="Archive")),
            here.methods.message_raw_get(MessageRawGetRequest(msg_id=id_)).__aenter__(),
            here.methods.message_part_get(MessagePartGetRequest(msg_id=id_)).__aenter__(),
        ):
            await refused(doing, Code.MESSAGE_NOT_FOUND)
    assert await here.mailbox.list("other") == (other,)


async def test_what_cannot_be_done_with_a_message(here: World) -> None:
    id_ = (await here.mailbox.add("me", RAW)).id
    part = here.methods.message_part_get(MessagePartGetRequest(msg_id=id_, part_path=(0,)))
    await refused(part.__aenter__(), Code.PART_NOT_FOUND)
    for doing in (
        here.methods.message_move(MessageMoveRequest(msg_id=id_, dest_mailbox_name="Nowhere")),
        here.methods.message_move(MessageMoveRequest(msg_id=id_, dest_mailbox_name="Inbox")),
        here.methods.message_flags_add(MessageFlagsAddRequest(msg_id=id_, flags=("a b",))),
        here.methods.message_delete(MessageDeleteRequest(msg_id=0)),
    ):
        await refused(doing, Code.USER)


# limits


async def test_messages_of_a_day(make: Make) -> None:
    async with make(max_messages_per_day=3) as here:
        await here.methods.send(SendRequest(to=(A, B), text="x"))
        await refused(here.methods.send(SendRequest(to=(A, B), text="x")), Code.MESSAGE_LIMIT_REACHED)
        await refused(here.methods.send_raw(SendRawRequest(message=RAW)), Code.MESSAGE_LIMIT_REACHED)
        assert len(await here.queued()) == 2
        result = await here.methods.send_batch(SendBatchRequest(requests=(HELLO, HELLO, HELLO)))
        assert len(await here.queued()) == 3
        assert [type(each) for each in result.results].count(SendResult) == 1
        assert {each.code for each in result.results if isinstance(each, Fault)} == {Code.MESSAGE_LIMIT_REACHED}
        here.clock.set(here.clock.now() + timedelta(hours=25))
        await here.methods.send(HELLO)


async def test_new_recipients_of_a_day(make: Make) -> None:
    async with make(max_first_time_recipients_per_day=1) as here:
        await here.methods.send(HELLO)
        await here.methods.send(HELLO)
        await refused(here.methods.send(SendRequest(to=(A, B), text="x")), Code.RECIPIENT_LIMIT_REACHED)
        await refused(here.methods.send_raw(SendRawRequest(message=RAW)), Code.RECIPIENT_LIMIT_REACHED)
        assert len(await here.queued()) == 2


async def test_a_limit_is_told_before_a_message_id_is_looked_at(make: Make) -> None:
    async with make(max_messages_per_day=0) as here:
        bad = SendRequest(to=(A,), text="x", message_id="bad")
        await refused(here.methods.send(bad), Code.MESSAGE_LIMIT_REACHED)


async def test_a_copy_without_room(make: Make) -> None:
    async with make(quota=1000) as here:
        await refused(here.methods.send(SendRequest(to=(A,), text="x" * 1000, save_sent=True)), Code.SENT_OVER_QUOTA)
        assert await here.queued() == ()
        await here.methods.send(SendRequest(to=(A,), text="x" * 1000))
        assert len(await here.queued()) == 1


async def test_what_was_sent_is_answered_again_though_there_is_no_room_left(make: Make) -> None:
    async with make(quota=1500) as here:
        request = SendRequest(to=(A,), text="x" * 500, save_sent=True)
        first = await here.methods.send(request, idempotency_key="k")
        assert await here.methods.send(request, idempotency_key="k") == first
        await refused(here.methods.send(request, idempotency_key="l"), Code.SENT_OVER_QUOTA)
        assert len(await here.queued()) == 1


# a mailbox that fails, and none


class FullDisk(SQLiteMailbox):
    async def add(self, *_args: Any, **_options: Any) -> StoredMessage:
        raise OSError(28, "No space left on device: /secret/path")


async def test_a_copy_that_cannot_be_kept_is_no_error(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with FullDisk(tmp_path / "full.db") as full, make(mailbox=full) as here:
        result = await here.methods.send(SendRequest(to=(A,), text="x", save_sent=True))
        [message] = await here.queued()
        assert result.submissions[0].queue_msg_id == message.id
    assert "no copy of a sent message was kept" in caplog.text


async def test_a_mailbox_that_cannot_be_asked(make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    closed: Mailbox = SQLiteMailbox(tmp_path / "closed.db")
    async with make(mailbox=closed, quota=1000) as here:
        error = await refused(here.methods.send(SendRequest(to=(A,), text="x", save_sent=True)), Code.SERVER)
        assert "open" not in error.message
        assert await here.queued() == ()
        await refused(here.methods.message_get(MessageGetRequest(msg_id=1)), Code.SERVER)
    assert any(record.levelno >= logging.ERROR for record in caplog.records)


async def test_without_a_mailbox(make: Make) -> None:
    async with make(mailbox=None) as here:
        for doing in (
            here.methods.message_get(MessageGetRequest(msg_id=1)),
            here.methods.message_delete(MessageDeleteRequest(msg_id=1)),
            here.methods.message_flags_add(MessageFlagsAddRequest(msg_id=1)),
            here.methods.message_flags_remove(MessageFlagsRemoveRequest(msg_id=1)),
            here.methods.message_move(MessageMoveRequest(msg_id=1, dest_mailbox_name="Inbox")),
            here.methods.message_raw_get(MessageRawGetRequest(msg_id=1)).__aenter__(),
            here.methods.message_part_get(MessagePartGetRequest(msg_id=1)).__aenter__(),
            here.methods.send(SendRequest(to=(A,), text="x", save_sent=True)),
        ):
            await refused(doing, Code.USER)
        assert await here.queued() == ()
        await here.methods.send(HELLO)
        [fault] = (
            await here.methods.send_batch(SendBatchRequest(requests=(SendRequest(to=(A,), text="x", save_sent=True),)))
        ).results
        assert isinstance(fault, Fault)
