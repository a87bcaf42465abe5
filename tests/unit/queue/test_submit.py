"""`Queue.submit`: what it takes, what it makes of it, what it refuses."""

import asyncio
import io
import os
import pickle
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from email.message import EmailMessage
from email.message import Message as LegacyMessage
from email.mime.text import MIMEText
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from moxlib.errors import InputError
from moxlib.message import InvalidMessage
from moxlib.queue import (
    AccountConfig,
    DomainConfig,
    InvalidSchedule,
    InvalidSubmission,
    Message,
    MessageTooLarge,
    QueueClosed,
    QueueConfig,
    RequireTLS,
    RetrySchedule,
    TooManyRecipients,
    UnknownTransport,
)
from moxlib.queue.storage import content as content_module
from moxlib.smtp import InvalidAddress

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Depot

HEADER = (
    b"From: sender@here.example\r\nTo: a@one.example\r\nDate: Thu, 1 Jan 2026 12:00:00 +0000\r\nMessage-ID: <1@x>\r\n"
)
MAIL = HEADER + b"\r\nhello\r\n"
HOUR = timedelta(hours=1)


def email(**fields: str) -> EmailMessage:
    message = EmailMessage()
    usual = {"From": "sender@here.example", "To": "a@one.example", "Subject": "hello"}
    for name, value in (usual | fields).items():
        message[name.replace("_", "-")] = value
    message.set_content("hello\n")
    return message


class Stream(io.BytesIO):
    """A binary stream that cannot seek and gives a few bytes at a time."""

    def __init__(self, data: bytes, step: int = 7) -> None:
        super().__init__()
        self._left = data
        self._step = step

    def seekable(self) -> bool:
        return False

    def read(self, size: int | None = -1) -> bytes:
        taken, self._left = self._left[: self._step], self._left[self._step :]
        return taken


async def submitted(depot: "Depot", source: Any, *, config: dict[str, Any] | None = None, **options: Any) -> Message:
    """Submit to a queue of its own, and return the one message that this made."""
    async with depot.queue(**(config or {})) as queue:
        [receipt] = await queue.submit(source, **options)
        return await depot.message(queue, receipt.id)


# sources


async def test_bytes_are_kept_as_they_are(depot: "Depot") -> None:
    async with depot.queue() as queue:
        [receipt] = await queue.submit(MAIL)
        assert receipt.recipient == "a@one.example"
        assert not receipt.hold
        message = await depot.message(queue, receipt.id)
        assert (message.sender, message.recipient, message.size) == ("sender@here.example", "a@one.example", len(MAIL))
        assert (message.message_id, message.prefix) == ("<1@x>", b"")
        assert await depot.dumped(queue, receipt.id) == MAIL


@pytest.mark.parametrize("kind", [bytearray, memoryview])
async def test_other_bytes_like_objects_are_taken(depot: "Depot", kind: Callable[[bytes], Any]) -> None:
    assert (await submitted(depot, kind(MAIL))).size == len(MAIL)


def as_path(path: Path) -> Any:
    return path


def as_text(path: Path) -> Any:
    return str(path)


def as_file(path: Path) -> Any:
    return io.BytesIO(path.read_bytes())


def as_stream(path: Path) -> Any:
    return Stream(path.read_bytes())


@pytest.mark.parametrize("given", [as_path, as_text, as_file, as_stream])
@pytest.mark.parametrize("size", [10, 300_000])
async def test_files_and_streams_give_what_bytes_give(
    depot: "Depot", tmp_path: Path, given: Callable[[Path], Any], size: int
) -> None:
    mail = MAIL + b"x" * 70 + b"\r\n" + b"y" * size + b"\r\n"
    path = tmp_path / "mail.eml"
    path.write_bytes(mail)
    async with depot.queue() as queue:
        [receipt] = await queue.submit(given(path))
        assert (await depot.message(queue, receipt.id)).message_id == "<1@x>"
        assert await depot.dumped(queue, receipt.id) == mail


async def test_the_callers_file_stays_open_and_is_read_from_where_it_is(depot: "Depot") -> None:
    file = io.BytesIO(b"skipped" + MAIL)
    file.seek(len(b"skipped"))
    message = await submitted(depot, file)
    assert message.size == len(MAIL)
    assert not file.closed


async def test_an_email_message_is_serialised(depot: "Depot") -> None:
    async with depot.queue() as queue:
        [receipt] = await queue.submit(email(Bcc="hidden@two.example"), recipients=["a@one.example"])
        data = await depot.dumped(queue, receipt.id)
    assert b"Subject: hello\r\n" in data
    assert data.endswith(b"\r\n\r\nhello\r\n")
    assert b"hidden" not in data


@pytest.mark.parametrize("legacy", [MIMEText("hello\n"), LegacyMessage()])
async def test_a_legacy_message_is_serialised(depot: "Depot", legacy: Any) -> None:
    legacy["From"] = "sender@here.example"
    legacy["To"] = "A <a@one.example>"
    message = await submitted(depot, legacy)
    assert (message.sender, message.recipient) == ("sender@here.example", "a@one.example")


async def test_the_callers_message_is_not_changed(depot: "Depot") -> None:
    message = email(Bcc="hidden@two.example")
    before = message.as_bytes()
    async with depot.queue() as queue:
        await queue.submit(message)
    assert message.as_bytes() == before


@pytest.mark.parametrize("text", ["From: a@b.example\n\n", "From: a@b.example\n\nbody ümlaut\n"])
async def test_a_file_in_text_mode_is_refused(depot: "Depot", tmp_path: Path, text: str) -> None:
    path = tmp_path / "mail.eml"
    path.write_text(text, encoding="latin-1")
    async with depot.queue() as queue:
        with path.open(encoding="utf-8") as file, pytest.raises(InvalidSubmission, match="binary"):
            await queue.submit(file)  # type: ignore[arg-type]  # that is what is refused
        assert await queue.count_messages() == 0


async def test_a_file_that_does_not_exist_is_refused(depot: "Depot", tmp_path: Path) -> None:
    async with depot.queue() as queue:
        with pytest.raises(InvalidSubmission, match=r"missing\.eml"):
            await queue.submit(tmp_path / "missing.eml")


async def test_a_directory_is_refused(depot: "Depot", tmp_path: Path) -> None:
    async with depot.queue() as queue:
        with pytest.raises(InvalidSubmission, match="directory"):
            await queue.submit(tmp_path)


async def test_a_closed_file_is_refused(depot: "Depot") -> None:
    file = io.BytesIO(MAIL)
    file.close()
    async with depot.queue() as queue:
        with pytest.raises(InvalidSubmission, match="cannot be read"):
            await queue.submit(file)


async def test_a_file_that_fails_while_it_is_read_leaves_nothing(disk: "Depot") -> None:
    class Failing(Stream):
        def read(self, size: int | None = -1) -> bytes:
            if not self._left:
                raise OSError(5, "Input/output error")
            return super().read(size)

    async with disk.queue() as queue:
        with pytest.raises(InvalidSubmission, match="Input/output error"):
            await queue.submit(Failing(MAIL + b"x" * 200_000, 50_000))
        assert await queue.count_messages() == 0
    assert list((disk.directory / "mail.db.content").iterdir()) == []


@pytest.mark.parametrize("source", [None, 17, object(), ["a"]])
async def test_what_is_no_message_is_refused(depot: "Depot", source: Any) -> None:
    async with depot.queue() as queue:
        with pytest.raises(InvalidSubmission, match="neither"):
            await queue.submit(source)


# sender and recipients


async def test_sender_and_recipients_come_from_the_header(depot: "Depot") -> None:
    message = email(To="A <a@one.example>, b@two.example", Cc="c@one.example", Bcc="d@three.example")
    async with depot.queue() as queue:
        receipts = await queue.submit(message)
        sender = (await depot.message(queue, receipts[0].id)).sender
    assert [r.recipient for r in receipts] == ["a@one.example", "b@two.example", "c@one.example", "d@three.example"]
    assert [r.id for r in receipts] == [r.base_id + n for n, r in enumerate(receipts)]
    assert sender == "sender@here.example"


async def test_the_sender_field_comes_before_from(depot: "Depot") -> None:
    assert (await submitted(depot, email(Sender="secretary@here.example"))).sender == "secretary@here.example"


async def test_given_sender_and_recipients_win(depot: "Depot") -> None:
    message = await submitted(depot, email(), sender="bounces@here.example", recipients="z@four.example")
    assert (message.sender, message.recipient) == ("bounces@here.example", "z@four.example")


async def test_one_of_both_may_be_given(depot: "Depot") -> None:
    assert (await submitted(depot, MAIL, sender="bounces@here.example")).recipient == "a@one.example"
    assert (await submitted(depot, MAIL, recipients=["z@four.example"])).sender == "sender@here.example"


@pytest.mark.parametrize("null", ["", "<>"])
@pytest.mark.parametrize("source", [MAIL, email()])
async def test_the_null_sender_is_given_as_nothing(depot: "Depot", source: Any, null: str) -> None:
    message = await submitted(depot, source, sender=null)
    assert (message.sender, message.sender_domain) == ("", "")


@pytest.mark.parametrize("recipients", [None, ["z@four.example"]])
@pytest.mark.parametrize("kind", ["bytes", "file", "message"])
async def test_without_a_sender_a_message_is_refused(depot: "Depot", kind: str, recipients: Any) -> None:
    data = b"To: a@one.example\r\n\r\nhello\r\n"
    message = email()
    del message["From"]
    source: Any = {"bytes": data, "file": io.BytesIO(data), "message": message}[kind]
    async with depot.queue() as queue:
        with pytest.raises(InvalidSubmission, match="no sender"):
            await queue.submit(source, recipients=recipients)
        assert await queue.count_messages() == 0


@pytest.mark.parametrize("sender", [None, "s@here.example"])
@pytest.mark.parametrize("kind", ["bytes", "file", "message"])
async def test_without_recipients_a_message_is_refused(depot: "Depot", kind: str, sender: Any) -> None:
    data = b"From: s@here.example\r\n\r\nhello\r\n"
    message = email()
    del message["To"]
    source: Any = {"bytes": data, "file": io.BytesIO(data), "message": message}[kind]
    async with depot.queue() as queue:
        with pytest.raises(InvalidSubmission, match="no recipients"):
            await queue.submit(source, sender=sender)
        with pytest.raises(InvalidSubmission, match="no recipients"):
            await queue.submit(MAIL, recipients=[])
        assert await queue.count_messages() == 0


@pytest.mark.parametrize("kind", ["bytes", "file"])
async def test_bcc_is_left_out_when_it_was_read(depot: "Depot", kind: str) -> None:
    data = b"Bcc: hidden@two.example,\r\n other@two.example\r\n" + HEADER + b"bcc: third@two.example\r\n\r\nhello\r\n"
    async with depot.queue() as queue:
        receipts = await queue.submit(data if kind == "bytes" else io.BytesIO(data))
        assert await depot.dumped(queue, receipts[0].id) == MAIL
    assert [r.recipient.split("@")[0] for r in receipts] == ["a", "hidden", "other", "third"]


async def test_bcc_stays_in_bytes_whose_recipients_were_given(depot: "Depot") -> None:
    data = b"Bcc: hidden@two.example\r\n" + MAIL
    async with depot.queue() as queue:
        [receipt] = await queue.submit(data, recipients=["z@four.example"])
        assert await depot.dumped(queue, receipt.id) == data


async def test_an_email_messages_bcc_is_left_out_always(depot: "Depot") -> None:
    async with depot.queue() as queue:
        for recipients in (None, ["z@four.example"]):
            receipts = await queue.submit(email(Bcc="hidden@two.example"), recipients=recipients)
            assert b"hidden" not in await depot.dumped(queue, receipts[0].id)


async def test_doubles_are_left_out_and_order_is_kept(depot: "Depot") -> None:
    given = ["b@one.example", "a@ONE.example", "b@One.Example", "B@one.example", "a@two.example", "a@one.example"]
    async with depot.queue() as queue:
        receipts = await queue.submit(MAIL, recipients=given)
    # The domain has no case; the localpart may have (RFC 5321 2.4).
    assert [r.recipient for r in receipts] == ["b@one.example", "a@one.example", "B@one.example", "a@two.example"]


async def test_an_international_domain_is_kept_in_ascii(depot: "Depot") -> None:
    message = await submitted(depot, MAIL, sender="s@bücher.example", recipients=["r@MÜNCHEN.example"])
    assert (message.sender, message.sender_domain) == ("s@xn--bcher-kva.example", "xn--bcher-kva.example")
    assert (message.recipient, message.recipient_domain) == ("r@xn--mnchen-3ya.example", "xn--mnchen-3ya.example")
    assert message.destination == "xn--mnchen-3ya.example"
    assert not message.needs_smtputf8


async def test_an_international_localpart_needs_smtputf8(depot: "Depot") -> None:
    assert (await submitted(depot, MAIL, recipients=["jörg@one.example"])).needs_smtputf8
    assert (await submitted(depot, MAIL, sender="jörg@one.example")).needs_smtputf8
    assert not (await submitted(depot, MAIL)).needs_smtputf8


async def test_a_header_in_utf8_needs_smtputf8(depot: "Depot") -> None:
    message = await submitted(depot, "Subject: käse\r\n".encode() + MAIL)
    assert (message.needs_smtputf8, message.needs_8bit, message.subject) == (True, True, "käse")


async def test_a_body_of_eight_bits_does_not_need_smtputf8(depot: "Depot") -> None:
    message = await submitted(depot, HEADER + b"\r\nk\xe4se\r\n")
    assert (message.needs_smtputf8, message.needs_8bit) == (False, True)


@pytest.mark.parametrize(
    ("given", "domain"),
    [("a@[192.0.2.1]", "[192.0.2.1]"), ("a@[IPv6:2001:DB8:0::1]", "[IPv6:2001:db8::1]")],
)
async def test_an_address_literal_is_a_destination(depot: "Depot", given: str, domain: str) -> None:
    message = await submitted(depot, MAIL, recipients=[given])
    assert (message.recipient, message.recipient_domain, message.destination) == (f"a@{domain}", domain, domain)


async def test_a_quoted_localpart_is_kept_quoted_where_it_must_be(depot: "Depot") -> None:
    async with depot.queue() as queue:
        given = ['"a b"@one.example', '"plain"@one.example', '"a[b"@one.example']
        receipts = await queue.submit(MAIL, recipients=given)
    assert [r.recipient for r in receipts] == ['"a b"@one.example', "plain@one.example", '"a[b"@one.example']


async def test_brackets_around_an_address_are_taken_off(depot: "Depot") -> None:
    message = await submitted(depot, MAIL, sender="<s@here.example>", recipients=["<a@one.example>"])
    assert (message.sender, message.recipient) == ("s@here.example", "a@one.example")


BAD_ADDRESSES = [
    "",
    " ",
    "a",
    "@one.example",
    "a@",
    "<>",
    "a@one.example\r\nRCPT TO:<b@two.example>",
    "a\r\n@one.example",
    "a@one.example\n",
    "a\nb@one.example",
    "a\r@one.example",
    "a\0@one.example",
    '"a\r\nb"@one.example',
    "a@one.exa\0mple",
    "a@one.example>",
    "<a@one.example",
    "a@one.example> SIZE=1",
    "A <a@one.example>",
    "a@one.example, b@one.example",
    "a" * 65 + "@one.example",
    "a@" + "b" * 64 + ".example",
    "a@" + "b" * 60 + (".c" * 110),
    "x" * 100_000,
    "a@[192.0.2.999]",
    "a@192.0.2.1",
    "a\ud800@one.example",
    "a\u202e@one.example",
]


@pytest.mark.parametrize("address", BAD_ADDRESSES, ids=lambda a: a[:30].encode("ascii", "backslashreplace").decode())
async def test_a_bad_address_is_refused_as_sender_and_as_recipient(depot: "Depot", address: str) -> None:
    async with depot.queue() as queue:
        with pytest.raises(InputError) as caught:
            await queue.submit(MAIL, recipients=["good@one.example", address])
        assert isinstance(caught.value, InvalidAddress | InvalidSubmission)
        assert len(str(caught.value)) < 500
        str(caught.value).encode("ascii")  # escaped
        if address not in ("", "<>"):
            with pytest.raises(InvalidAddress):
                await queue.submit(MAIL, sender=address)
        assert await queue.count_messages() == 0


async def test_a_header_injected_through_an_address_is_refused(depot: "Depot") -> None:
    async with depot.queue() as queue:
        with pytest.raises(InputError):
            await queue.submit(b"From: a@b.example\r\nTo: a@one.example\nBcc: x@evil.example\r\n\r\n")
        legacy = LegacyMessage()
        legacy["From"] = "a@b.example"
        legacy["To"] = "a@one.example\nBcc: x@evil.example"
        legacy.set_payload("hello")
        with pytest.raises(InvalidMessage):
            await queue.submit(legacy)
        assert await queue.count_messages() == 0


async def test_one_bad_recipient_stops_all(depot: "Depot") -> None:
    async with depot.queue() as queue:
        with pytest.raises(InvalidAddress):
            await queue.submit(email(To="a@one.example, bad@-.example"))
        assert await queue.count_messages() == 0


async def test_more_recipients_than_configured_are_refused(depot: "Depot") -> None:
    async with depot.queue(max_recipients=2) as queue:
        await queue.submit(MAIL, recipients=["a@one.example", "b@one.example"])
        with pytest.raises(TooManyRecipients) as caught:
            await queue.submit(MAIL, recipients=["a@one.example", "b@one.example", "c@one.example"])
        assert caught.value.limit == 2
        assert await queue.count_messages() == 2


# lines and sizes

BAD_LINES = [
    b"From: a@b.example\nTo: c@d.example\n\nhello\n",
    HEADER + b"\r\nhello\nworld\r\n",
    HEADER + b"\r\nhello\rworld\r\n",
    HEADER + b"\r\nhello\r\n.\n\r\n",
    HEADER + b"\r\nhello\r",
    HEADER + b"\r\nhello\n",
    HEADER + b"Sub\0ject: x\r\n\r\nhello\r\n",
    HEADER + b"no field\r\n\r\nhello\r\n",
    b"\r\nno header\r\n",
    b"",
    b"\r\n",
    b"From",
]


@pytest.mark.parametrize("data", BAD_LINES)
@pytest.mark.parametrize("kind", ["bytes", "file", "stream"])
async def test_a_message_that_is_none_is_refused(depot: "Depot", kind: str, data: bytes) -> None:
    source: Any = {"bytes": data, "file": io.BytesIO(data), "stream": Stream(data, 1)}[kind]
    async with depot.queue() as queue:
        with pytest.raises(InvalidMessage):
            await queue.submit(source, sender="a@b.example", recipients=["c@d.example"])
        assert await queue.count_messages() == 0


@pytest.mark.parametrize("bare", [b"x\ny", b"x\ry"])
async def test_a_bare_line_end_deep_in_a_large_file_leaves_nothing(disk: "Depot", bare: bytes) -> None:
    async with disk.queue() as queue:
        with pytest.raises(InvalidMessage) as caught:
            await queue.submit(io.BytesIO(MAIL + b"line of text\r\n" * 100_000 + bare))
        assert caught.value.offset == len(MAIL) + 1_400_000 + 1
        assert await queue.count_messages() == 0
    assert list((disk.directory / "mail.db.content").iterdir()) == []


@pytest.mark.parametrize("kind", ["bytes", "file"])
async def test_a_missing_line_end_is_added(depot: "Depot", kind: str) -> None:
    data = HEADER + b"\r\nhello"
    async with depot.queue() as queue:
        [receipt] = await queue.submit(data if kind == "bytes" else io.BytesIO(data))
        assert await depot.dumped(queue, receipt.id) == data + b"\r\n"


@pytest.mark.parametrize("kind", ["bytes", "file"])
async def test_the_limit_of_size_is_exact(depot: "Depot", kind: str) -> None:
    def source(size: int, end: bytes = b"\r\n") -> Any:
        data = HEADER + b"\r\n" + b"x" * (size - len(HEADER) - 2 - len(end)) + end
        assert len(data) == size
        return data if kind == "bytes" else io.BytesIO(data)

    async with depot.queue(max_message_size=1000, inline_content=500) as queue:
        [receipt] = await queue.submit(source(1000))
        assert (await depot.message(queue, receipt.id)).size == 1000
        [receipt] = await queue.submit(source(998, end=b""))
        assert (await depot.message(queue, receipt.id)).size == 1000
        for over in (source(1001), source(999, end=b""), source(10_000)):
            with pytest.raises(MessageTooLarge) as caught:
                await queue.submit(over)
            assert caught.value.limit == 1000
        assert await queue.count_messages() == 2
    if depot.kind == "sqlite":
        assert len(list((depot.directory / "mail.db.content").iterdir())) == 2


# added headers


@pytest.mark.parametrize("kind", ["bytes", "file"])
async def test_a_missing_date_and_message_id_are_added_before_the_header(depot: "Depot", kind: str) -> None:
    data = b"From: a@b.example\r\nTo: c@d.example\r\n\r\nhello\r\n"
    async with depot.queue(hostname="mail.here.example") as queue:
        [receipt] = await queue.submit(data if kind == "bytes" else io.BytesIO(data))
        message = await depot.message(queue, receipt.id)
        dumped = await depot.dumped(queue, receipt.id)
    added = b"Date: Thu, 01 Jan 2026 12:00:00 +0000\r\nMessage-ID: <token@mail.here.example>\r\n"
    assert (message.prefix, message.message_id) == (added, "<token@mail.here.example>")
    assert message.size == len(data)
    assert dumped == added + data


async def test_only_what_is_missing_is_added(depot: "Depot") -> None:
    with_date = await submitted(depot, b"From: a@b.example\r\nTo: c@d.example\r\nDate: x\r\n\r\n")
    assert with_date.prefix == b"Message-ID: <token@localhost>\r\n"
    with_id = await submitted(depot, b"From: a@b.example\r\nTo: c@d.example\r\nMESSAGE-ID: <7@b>\r\n\r\n")
    assert (with_id.prefix, with_id.message_id) == (b"Date: Thu, 01 Jan 2026 12:00:00 +0000\r\n", "<7@b>")


async def test_nothing_is_added_when_configured_so(depot: "Depot") -> None:
    data = b"From: a@b.example\r\nTo: c@d.example\r\n\r\nhello\r\n"
    message = await submitted(depot, data, config={"add_missing_headers": False})
    assert (message.prefix, message.message_id) == (b"", "")


# options


async def test_extra_comes_back_with_the_message(depot: "Depot") -> None:
    extra = {"invoice": "17", "käse": "日本", "": ""}
    message = await submitted(depot, MAIL, extra=extra)
    extra["later"] = "change"
    assert message.extra == {"invoice": "17", "käse": "日本", "": ""}


@pytest.mark.parametrize(
    "extra", [{"a": 1}, {1: "a"}, {"a": None}, {"a": "x" * 65536}, {"a": "\ud800"}, {"\udcff": "a"}]
)
async def test_extra_that_cannot_be_is_refused(depot: "Depot", extra: Any) -> None:
    async with depot.queue() as queue:
        with pytest.raises(InvalidSubmission, match="extra"):
            await queue.submit(MAIL, extra=extra)
        assert await queue.count_messages() == 0


@pytest.mark.parametrize("account", ["a\0b", "a\ud800", 17, None])
async def test_an_account_that_cannot_be_is_refused(depot: "Depot", account: Any) -> None:
    async with depot.queue() as queue:
        with pytest.raises(InvalidSubmission, match="account"):
            await queue.submit(MAIL, account=account)
        assert await queue.count_messages() == 0


async def test_a_schedule_is_given_as_text_or_object_or_name(depot: "Depot") -> None:
    text = await submitted(depot, MAIL, schedule="1m, 5m*2")
    assert (text.schedule, text.max_attempts) == ("1m, 5m*2", 4)
    schedule = RetrySchedule((timedelta(minutes=1), HOUR))
    given = await submitted(depot, MAIL, schedule=schedule)
    assert (given.schedule, given.max_attempts) == ("1m, 1h", 3)
    config = {"schedules": {"quick": "1s*9", "mine": lambda attempts: HOUR}}
    named = await submitted(depot, MAIL, schedule="quick", config=config)
    assert (named.schedule, named.max_attempts) == ("quick", 10)
    function = await submitted(depot, MAIL, schedule="mine", config=config)
    assert (function.schedule, function.max_attempts) == ("mine", 1000)
    once = await submitted(depot, MAIL, schedule="")
    assert (once.schedule, once.max_attempts) == ("", 1)


async def test_a_function_is_no_schedule_of_a_single_message(depot: "Depot") -> None:
    async with depot.queue() as queue:
        with pytest.raises(InvalidSubmission, match=r"QueueConfig\.schedules"):
            await queue.submit(MAIL, schedule=lambda attempts: HOUR)  # type: ignore[arg-type]  # that is refused
        assert await queue.count_messages() == 0


async def test_a_schedule_that_cannot_be_read_is_refused(depot: "Depot") -> None:
    async with depot.queue() as queue:
        with pytest.raises(InvalidSchedule) as caught:
            await queue.submit(MAIL, schedule="1m, soon")
        assert caught.value.position == 2
        assert await queue.count_messages() == 0


@pytest.mark.parametrize("wait", [timedelta(milliseconds=500), timedelta(seconds=1.5)])
async def test_a_schedule_finer_than_its_text_is_refused(depot: "Depot", wait: timedelta) -> None:
    async with depot.queue() as queue:
        with pytest.raises(InvalidSchedule, match="second"):
            await queue.submit(MAIL, schedule=RetrySchedule((wait,)))


async def test_max_attempts_of_message_account_queue_schedule_in_this_order(depot: "Depot") -> None:
    config: dict[str, Any] = {"accounts": {"shop": AccountConfig(max_attempts=5)}, "max_attempts": 6}
    assert (await submitted(depot, MAIL, account="shop", max_attempts=4, config=config)).max_attempts == 4
    assert (await submitted(depot, MAIL, account="shop", config=config)).max_attempts == 5
    assert (await submitted(depot, MAIL, config=config)).max_attempts == 6
    assert (await submitted(depot, MAIL)).max_attempts == 8


async def test_max_attempts_follow_the_schedule_of_account_and_domain(depot: "Depot") -> None:
    config: dict[str, Any] = {
        "accounts": {"shop": AccountConfig(schedule="1m*2")},
        "domains": {"one.example": DomainConfig(schedule="1m*3")},
    }
    assert (await submitted(depot, MAIL, account="shop", config=config)).max_attempts == 3
    assert (await submitted(depot, MAIL, config=config)).max_attempts == 4
    assert (await submitted(depot, MAIL, recipients=["a@two.example"], config=config)).max_attempts == 8


async def test_no_recipients_schedule_is_cut_short_by_another_recipients(depot: "Depot") -> None:
    async with depot.queue(domains={"one.example": DomainConfig(schedule="1m")}) as queue:
        receipts = await queue.submit(MAIL, recipients=["a@one.example", "b@two.example"])
        assert (await depot.message(queue, receipts[1].id)).max_attempts == 8


@pytest.mark.parametrize("number", [0, -1])
async def test_max_attempts_are_at_least_one(depot: "Depot", number: int) -> None:
    async with depot.queue() as queue:
        with pytest.raises(InvalidSubmission, match="max_attempts"):
            await queue.submit(MAIL, max_attempts=number)


async def test_an_unknown_transport_is_refused_where_transports_are_known(depot: "Depot") -> None:
    async with depot.queue() as queue:
        with pytest.raises(UnknownTransport) as caught:
            await queue.submit(MAIL, transport="relay")
        assert (caught.value.name, caught.value.known) == ("relay", ("sink",))
        assert pickle.loads(pickle.dumps(caught.value)).known == ("sink",)
        assert await queue.count_messages() == 0
    assert (await submitted(depot, MAIL, transport="sink")).transport == "sink"


async def test_a_process_that_only_submits_needs_to_know_no_transport(depot: "Depot") -> None:
    async with depot.queue(transports={}) as queue:
        [receipt] = await queue.submit(MAIL, transport="relay")
        assert (await depot.message(queue, receipt.id)).transport == "relay"


async def test_what_is_no_transport_is_refused(depot: "Depot") -> None:
    with pytest.raises(InputError, match="deliver"):
        depot.queue(transports={"odd": object()})  # type: ignore[dict-item]  # that is refused


@pytest.mark.parametrize(
    ("header", "given", "wanted"),
    [
        (b"", None, RequireTLS.POLICY),
        (b"TLS-Required: No\r\n", None, RequireTLS.NO),
        (b"TLS-Required: no\r\ntls-required:  NO \r\n", None, RequireTLS.NO),
        (b"TLS-Required: no\r\nTLS-Required: yes\r\n", None, RequireTLS.POLICY),
        (b"TLS-Required: maybe\r\n", None, RequireTLS.POLICY),
        (b"TLS-Required: No\r\n", RequireTLS.YES, RequireTLS.YES),
        (b"TLS-Required: No\r\n", RequireTLS.POLICY, RequireTLS.POLICY),
        (b"", RequireTLS.NO, RequireTLS.NO),
    ],
)
async def test_require_tls_is_given_or_read(
    depot: "Depot", header: bytes, given: RequireTLS | None, wanted: RequireTLS
) -> None:
    assert (await submitted(depot, header + MAIL, require_tls=given)).require_tls is wanted


async def test_require_tls_may_be_given_by_its_name(depot: "Depot") -> None:
    assert (await submitted(depot, MAIL, require_tls="yes")).require_tls is RequireTLS.YES
    async with depot.queue() as queue:
        with pytest.raises(InvalidSubmission, match="require_tls"):
            await queue.submit(MAIL, require_tls="perhaps")  # type: ignore[arg-type]  # that is refused


async def test_not_before_puts_off_the_first_attempt(depot: "Depot") -> None:
    now = depot.clock.now()
    tokyo = timezone(timedelta(hours=9))
    assert (await submitted(depot, MAIL)).next_attempt == now
    assert (await submitted(depot, MAIL, not_before=now + HOUR)).next_attempt == now + HOUR
    assert (await submitted(depot, MAIL, not_before=(now + HOUR).astimezone(tokyo))).next_attempt == now + HOUR
    assert (await submitted(depot, MAIL, not_before=now - HOUR)).next_attempt == now
    assert (await submitted(depot, MAIL, not_before=now + timedelta(days=60))).next_attempt == now + timedelta(days=60)


@pytest.mark.parametrize(
    "when", [datetime(2026, 1, 2), datetime(2026, 6, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)]
)
async def test_a_time_that_cannot_be_is_refused(depot: "Depot", when: datetime) -> None:
    async with depot.queue() as queue:
        with pytest.raises(InvalidSubmission, match="not_before"):
            await queue.submit(MAIL, not_before=when)
        assert await queue.count_messages() == 0


async def test_a_queue_that_is_not_open_refuses(depot: "Depot") -> None:
    queue = depot.queue()
    with pytest.raises(QueueClosed):
        await queue.submit(MAIL)
    async with queue:
        pass
    with pytest.raises(QueueClosed):
        await queue.submit(MAIL)


async def test_many_submitters_at_once_get_ids_of_their_own(depot: "Depot") -> None:
    async with depot.queue() as queue:
        receipts = await asyncio.gather(*(depot.submit(queue, f"a@d{n}.example", "b@x.example") for n in range(50)))
        assert len({r.id for pair in receipts for r in pair}) == 100
        assert all(b.id == a.id + 1 and b.base_id == a.base_id == a.id for a, b in receipts)


async def test_one_that_fails_does_not_undo_its_neighbours(depot: "Depot") -> None:
    async with depot.queue() as queue:
        results = await asyncio.gather(
            *(depot.submit(queue, "bad" if n % 3 == 0 else f"a{n}@x.example") for n in range(30)),
            return_exceptions=True,
        )
        assert sum(isinstance(result, InvalidAddress) for result in results) == 10
        assert await queue.count_messages() == 20


async def test_the_observer_hears_of_submissions_and_its_errors_do_not_matter(depot: "Depot") -> None:
    async with depot.queue() as queue:
        receipts = await depot.submit(queue)
    [(submission, told)] = depot.ear.of("submitted")
    assert told == receipts
    assert submission.recipients[0].address == "a@one.example"

    class Broken:
        def submitted(self, *_: Any) -> None:
            raise ZeroDivisionError

    async with depot.queue(observer=Broken()) as queue:
        await depot.submit(queue)
        assert await queue.count_messages() == 2


# content files


def content_files(depot: "Depot") -> list[Path]:
    directory = depot.directory / "mail.db.content"
    return sorted(directory.iterdir()) if directory.exists() else []


LARGE = MAIL + b"x" * 76 + b"\r\n" + (b"y" * 76 + b"\r\n") * 1000


async def test_content_lies_in_the_row_up_to_the_limit_and_in_a_file_above(disk: "Depot") -> None:
    async with disk.queue(inline_content=len(MAIL)) as queue:
        await queue.submit(MAIL)
        assert content_files(disk) == []
        await queue.submit(HEADER + b"\r\nhello!\r\n")
        [file] = content_files(disk)
        assert file.read_bytes() == HEADER + b"\r\nhello!\r\n"


async def test_a_content_file_is_for_its_owner_only(disk: "Depot") -> None:
    mask = os.umask(0)
    try:
        async with disk.queue() as queue:
            await queue.submit(LARGE)
    finally:
        os.umask(mask)
    [file] = content_files(disk)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert (disk.directory / "mail.db").stat().st_mode & 0o777 == 0o600


async def test_content_is_on_disk_before_the_row(disk: "Depot", monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, link = os.fsync, os.link

    def kind(descriptor: int) -> str:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        return f"directory {path.name}" if path.is_dir() else f"file {path.suffix}"

    def noting_fsync(descriptor: int) -> None:
        done.append(f"fsync {kind(descriptor)}")
        fsync(descriptor)

    def noting_link(source: Any, target: Any, **options: Any) -> None:
        done.append("link")
        link(source, target, **options)

    storage = disk.make_storage()
    insert = storage.insert

    async def noting_insert(new: Any) -> Any:
        done.append("insert")
        assert [file.name for file in content_files(disk)] == [new.content.file]
        return await insert(new)

    monkeypatch.setattr(storage, "insert", noting_insert)
    async with disk.queue(storage=storage) as queue:
        monkeypatch.setattr(os, "fsync", noting_fsync)
        monkeypatch.setattr(os, "link", noting_link)
        await queue.submit(LARGE)
        monkeypatch.undo()
    first_file, linked = done.index("fsync file .tmp"), done.index("link")
    last_directory = len(done) - 1 - done[::-1].index("fsync directory mail.db.content")
    assert first_file < linked < last_directory < done.index("insert") == len(done) - 1
    assert "fsync directory " + disk.directory.name in done  # the content directory's own name, when it is new


async def test_a_file_is_copied_where_it_cannot_be_linked(disk: "Depot", monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    async with disk.queue() as queue:
        monkeypatch.setattr(os, "link", refuse)
        [receipt] = await queue.submit(LARGE)
        monkeypatch.undo()
        assert await disk.dumped(queue, receipt.id) == LARGE
        [file] = content_files(disk)
        assert file.stat().st_mode & 0o777 == 0o600


async def test_the_content_file_goes_when_the_row_cannot_be_stored(
    disk: "Depot", monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = disk.make_storage()

    async def refuse(_: Any) -> Any:
        assert len(content_files(disk)) == 1
        raise OSError("no")

    async with disk.queue(storage=storage) as queue:
        monkeypatch.setattr(storage, "insert", refuse)
        with pytest.raises(OSError, match="no"):
            await queue.submit(LARGE)
    assert content_files(disk) == []


@pytest.mark.parametrize("step", ["link_or_copy", "sync_dir"])
async def test_the_content_file_goes_when_it_cannot_be_finished(
    disk: "Depot", monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(5, "Input/output error")

    async with disk.queue() as queue:
        monkeypatch.setattr(content_module, step, refuse)
        with pytest.raises(OSError, match="Input/output error"):
            await queue.submit(LARGE)
        monkeypatch.undo()
        assert await queue.count_messages() == 0
        assert content_files(disk) == []
        await queue.submit(LARGE)
        assert await queue.count_messages() == 1


class Slow(Stream):
    """A stream whose reading is stopped, in its thread, until the test lets it go on."""

    def __init__(self, data: bytes, loop: asyncio.AbstractEventLoop, *, after: int) -> None:
        super().__init__(data, 50_000)
        self.reached = asyncio.Event()
        self._go_on = threading.Event()
        self._loop = loop
        self._after = after

    def go_on(self) -> None:
        self._go_on.set()

    def read(self, size: int | None = -1) -> bytes:
        self._after -= 1
        if self._after == 0:
            self._loop.call_soon_threadsafe(self.reached.set)
            assert self._go_on.wait(60)
        return super().read(size)


async def test_a_cancelled_submit_leaves_no_file(disk: "Depot") -> None:
    stream = Slow(LARGE * 4, asyncio.get_running_loop(), after=4)
    async with disk.queue() as queue:
        submitting = asyncio.create_task(queue.submit(stream))
        await stream.reached.wait()
        assert len(content_files(disk)) == 1
        submitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submitting
        assert content_files(disk) == []
        assert await queue.count_messages() == 0
    stream.go_on()
    await asyncio.get_running_loop().shutdown_default_executor()  # until the thread has ended
    assert content_files(disk) == []


async def test_a_submit_cancelled_while_it_commits_keeps_its_file(
    disk: "Depot", monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = disk.make_storage()
    insert = storage.insert
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(new: Any) -> Any:
        begun.set()
        await go_on.wait()
        try:
            return await insert(new)
        finally:
            ended.set()

    monkeypatch.setattr(storage, "insert", slow)
    async with disk.queue(storage=storage) as queue:
        submitting = asyncio.create_task(queue.submit(LARGE))
        await begun.wait()
        submitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submitting
        # Another process that starts now sweeps what no row refers to: the file is locked until the commit is known.
        async with disk.queue():
            assert len(content_files(disk)) == 1
        go_on.set()
        await ended.wait()
        [message] = (await queue.list_messages()).items
        assert await disk.dumped(queue, message.id) == LARGE


async def test_memory_does_not_grow_with_the_message(disk: "Depot", tmp_path: Path) -> None:
    def lines() -> Iterator[bytes]:
        yield MAIL
        block = (b"z" * 76 + b"\r\n") * 1024
        for _ in range(64 * 1024 * 1024 // len(block)):
            yield block

    path = tmp_path / "large.eml"
    with path.open("wb") as file:
        file.writelines(lines())
    async with disk.queue() as queue:
        await queue.submit(LARGE)  # what is loaded on first use
        tracemalloc.start()
        try:
            [receipt] = await queue.submit(path)
            length = 0
            async for chunk in queue.dump(receipt.id):
                length += len(chunk)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert length == path.stat().st_size > 60 * 1024 * 1024
    assert peak < 4 * 1024 * 1024


async def test_unreferenced_files_are_swept_when_the_queue_is_opened(disk: "Depot") -> None:
    async with disk.queue() as queue:
        [receipt] = await queue.submit(LARGE)
    directory = disk.directory / "mail.db.content"
    (directory / ("a" * 32)).write_bytes(b"left by a crash after the link")
    (directory / ("b" * 32 + ".tmp")).write_bytes(b"left by a crash before the link")
    async with disk.queue() as queue:
        assert len(content_files(disk)) == 1
        assert await disk.dumped(queue, receipt.id) == LARGE


async def test_the_content_file_goes_with_the_last_recipient(disk: "Depot") -> None:
    async with disk.queue() as queue:
        await queue.submit(LARGE, recipients=["a@one.example", "b@two.example"], not_before=None)
        disk.sink.gate.clear()
        async with queue.worker() as worker:
            await disk.sink.began(2)
            assert len(content_files(disk)) == 1
            disk.sink.gate.set()
            await worker.wait_idle()
        assert disk.sink.contents == [LARGE, LARGE]
        assert await queue.count_messages() == 0
    assert content_files(disk) == []


# configuration


@pytest.mark.parametrize(
    "config",
    [
        {"max_attempts": 0},
        {"concurrency": 0},
        {"max_message_size": 0},
        {"max_recipients": 0},
        {"inline_content": -1},
        {"on_unknown": "ignore"},
        {"schedule": "soon"},
        {"schedules": {"x": "1m,"}},
        {"hostname": "a b"},
        {"hostname": "a\r\nX: y"},
        {"hostname": "münchen.example"},
        {"hostname": ""},
        {"accounts": {"a": AccountConfig(schedule="never")}},
        {"domains": {"one.example": DomainConfig(concurrency=0)}},
        {"domains": {"One.Example": DomainConfig()}},
        {"domains": {"münchen.example": DomainConfig()}},
        {"keep_history": timedelta(-1)},
        {"keep_events": timedelta(-1)},
    ],
    ids=str,
)
def test_a_configuration_that_cannot_be_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        QueueConfig(**config)


@pytest.mark.parametrize("config", [{"max_attempts": 0}, {"keep_history": timedelta(-1)}], ids=str)
def test_an_accounts_configuration_that_cannot_be_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        AccountConfig(**config)
