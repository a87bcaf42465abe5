"""What a mailbox does for the methods Message*, as mox does; what is about content, in a row and in a file."""

import asyncio
import io
import pickle
import sqlite3
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.unit.webapi.conftest import LARGE, MAIL

from moxlib.errors import InputError, StateError
from moxlib.message import Part
from moxlib.queue import MessageTooLarge, Queue, SchemaTooNew
from moxlib.queue.errors import ContentDamaged
from moxlib.queue.storage.content import ContentWriter
from moxlib.testing.clock import START, FakeClock
from moxlib.webapi.flags import InvalidFlag
from moxlib.webapi.mailbox import (
    STANDARD_MAILBOXES,
    AlreadyInMailbox,
    InvalidMailboxName,
    Mailbox,
    MailboxNotFound,
    MessageNotFound,
    MessageOrigin,
    OpenMessage,
    OverQuota,
    PartNotFound,
    check_mailbox_name,
)
from moxlib.webapi.reading import message_of
from moxlib.webapi.sqlite_mailbox import SQLiteMailbox
from moxlib.webapi.types import Message, MessageGetResult
from moxlib.webhook import NameAddress

ORIGIN = MessageOrigin(
    mail_from="møx@remote.example",
    mail_from_validated=True,
    rcpt_to="mjl@mox.example",
    msg_from="from@remote.example",
    msg_from_validated=True,
    dkim_verified_domains=("remote.example", "other.example"),
    remote_ip="192.0.2.1",
    is_dsn=True,
)
Either = pytest.mark.parametrize("mail", [MAIL, LARGE], ids=["row", "file"])


def files(tmp_path: Path) -> list[str]:
    directory = tmp_path / "mailbox.db.mail"
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


async def raw(opened: OpenMessage) -> bytes:
    return b"".join([chunk async for chunk in opened.raw()])


async def body(opened: OpenMessage, part: Part) -> bytes:
    return b"".join([chunk async for chunk in opened.body(part)])


async def read(opened: OpenMessage) -> MessageGetResult:
    return await opened.read(lambda: message_of(opened))


@Either
async def test_a_message_comes_back_as_it_was_added(mailbox: SQLiteMailbox, mail: bytes, tmp_path: Path) -> None:
    protocol: Mailbox = mailbox
    added = await protocol.add("mjl", mail, mailbox="Sent", flags=["\\Seen", "$notJunk"])
    assert (added.account, added.mailbox, added.flags) == ("mjl", "Sent", ("$notjunk", "\\seen"))
    assert (added.received, added.size, added.origin) == (START, len(mail), MessageOrigin())
    assert await mailbox.get("mjl", added.id) == added
    assert len(files(tmp_path)) == (mail is LARGE)
    async with await mailbox.open("mjl", added.id) as opened:
        assert opened.message == added
        assert await raw(opened) == mail


@Either
async def test_a_file_is_taken_from_where_it_stands(mailbox: SQLiteMailbox, mail: bytes) -> None:
    file = io.BytesIO(b"before" + mail)
    file.seek(6)
    added = await mailbox.add("mjl", file, received=datetime(2020, 2, 3, tzinfo=UTC), origin=ORIGIN)
    assert (added.mailbox, added.received, added.origin) == ("Inbox", datetime(2020, 2, 3, tzinfo=UTC), ORIGIN)
    async with await mailbox.open("mjl", added.id) as opened:
        assert await raw(opened) == mail


@Either
async def test_parts_are_found_by_their_path(mailbox: SQLiteMailbox, mail: bytes) -> None:
    added = await mailbox.add("mjl", mail)
    async with await mailbox.open("mjl", added.id) as opened:
        assert await body(opened, await opened.part(())) == mail[mail.index(b"\r\n\r\n") + 4 :]
        assert (await body(opened, await opened.part([0]))).startswith(b"--RELATED\r\nContent-Type: multipart/alt")
        assert (await body(opened, await opened.part([0, 0, 0]))).startswith("hi ☺\r\n".encode())
        assert await body(opened, await opened.part([0, 0, 1])) == b'<html><img src="cid:x" /></html>\r\n'
        assert await body(opened, await opened.part([0, 1])) == b"png data"
        assert await body(opened, await opened.part([1])) == b"%PDF-"
        for path in ([2], [0, 5], [-1], [0, 0, 0, 0], [0, -1], [10**30], [-(10**30)]):
            with pytest.raises(PartNotFound) as caught:
                await opened.part(path)
            assert caught.value.depth == len(path) - 1


async def test_an_embedded_message_is_a_part_as_the_structure_says(mailbox: SQLiteMailbox) -> None:
    added = await mailbox.add("mjl", b"Content-Type: message/rfc822\r\n\r\n" + MAIL)
    async with await mailbox.open("mjl", added.id) as opened:
        told = await read(opened)
        assert [part.content_type for part in told.structure.parts] == ["multipart/mixed"]
        assert await body(opened, await opened.part([0, 1])) == b"%PDF-"


@Either
async def test_the_contents_are_what_mox_tells(mailbox: SQLiteMailbox, mail: bytes) -> None:
    added = await mailbox.add("mjl", mail)
    async with await mailbox.open("mjl", added.id) as opened:
        told = await read(opened)
    contents = told.message
    assert contents.from_ == (NameAddress(name="møx", address="mjl@nodkim.example"),)
    assert contents.to == (NameAddress(name="móx", address="rcpt+to@remote.example"),)
    assert contents.cc == (NameAddress(address="cc@remote.example"),)
    assert contents.bcc == (NameAddress(name="B", address="bcc@remote.example"),)
    assert contents.reply_to == (NameAddress(name="r", address="reply@remote.example"),)
    assert contents.message_id == "<seq1@localhost>"
    assert contents.references == ("<m0@localhost>", "<m1@localhost>")
    assert contents.date is not None
    assert contents.date.isoformat() == "2024-01-02T03:04:05+01:00"
    assert contents.subject == "¡hello <world>!"
    assert contents.text.startswith("hi ☺\n")
    assert contents.html == '<html><img src="cid:x" /></html>\n'
    top = told.structure
    assert (top.content_type, top.content_type_params, top.decoded_size) == (
        "multipart/mixed",
        {"boundary": "MIXED"},
        0,
    )
    text, html = top.parts[0].parts[0].parts
    assert (text.content_type_params, html.decoded_size) == ({"charset": "utf-8"}, 34)
    assert text.decoded_size == (8 if mail is MAIL else 8 + 70 * 1024 + 2)
    image, pdf = top.parts[0].parts[1], top.parts[1]
    assert (image.content_id, image.content_disposition, image.filename, image.decoded_size) == (
        "<x>",
        "inline",
        "x.png",
        8,
    )
    assert (pdf.content_type, pdf.filename, pdf.decoded_size) == ("application/pdf", "a.pdf", 5)


async def contents(mailbox: SQLiteMailbox, mail: bytes) -> Message:
    added = await mailbox.add("mjl", mail)
    async with await mailbox.open("mjl", added.id) as opened:
        return (await read(opened)).message


async def test_what_a_message_answers_is_a_reference(mailbox: SQLiteMailbox) -> None:
    message = await contents(mailbox, b"In-Reply-To: <a@b>\r\nReferences: <c@d> <e@f>\r\n\r\n")
    assert message.references == ("<a@b>", "<c@d>", "<e@f>")
    assert (await contents(mailbox, b"In-Reply-To: <a@b>\r\n\r\n")).references == ("<a@b>",)


async def test_domains_are_in_unicode_where_the_localpart_is_as_in_webhooks(mailbox: SQLiteMailbox) -> None:
    mail = "From: møx@xn--mnchen-3ya.example\r\nTo: x@münchen.example, a@host.123, ü@host.123\r\n\r\n"
    message = await contents(mailbox, mail.encode())
    assert [each.address for each in (*message.from_, *message.to)] == [
        "møx@münchen.example",
        "x@xn--mnchen-3ya.example",
        "a@host.123",
        "ü@host.123",
    ]


@pytest.mark.parametrize("mail", [b"", b"\r\n", b"nothing that a message has", b"\0\xff" * 50_000])
async def test_what_is_no_message_is_kept_and_read_all_the_same(mailbox: SQLiteMailbox, mail: bytes) -> None:
    added = await mailbox.add("mjl", mail)
    async with await mailbox.open("mjl", added.id) as opened:
        assert await raw(opened) == mail
        assert (await read(opened)).message.from_ == ()


# Flags


async def test_flags_are_added_and_removed_as_in_mox(mailbox: SQLiteMailbox) -> None:
    id_ = (await mailbox.add("mjl", MAIL, flags=["\\seen", "$notjunk"])).id
    changed = await mailbox.add_flags("mjl", id_, ["\\answered", "$Forwarded", "custom", "Custom2"])
    assert changed.flags == ("$forwarded", "$notjunk", "\\answered", "\\seen", "custom", "custom2")
    assert await mailbox.get("mjl", id_) == changed
    changed = await mailbox.remove_flags("mjl", id_, ["\\Answered", "custom", "never", "$Forwarded"])
    assert changed.flags == ("$notjunk", "\\seen", "custom2")
    assert await mailbox.add_flags("mjl", id_, []) == changed == await mailbox.get("mjl", id_)


@pytest.mark.parametrize(
    "flag",
    ["\\bogus", "a b", "", "ü", "a\0", "a\n", "a(", "a%", 'a"', "a]", "a{", "a\\", "\u212a", "\ud800", "x" * 256],
)
async def test_what_is_no_flag_is_refused_before_the_message_is_looked_for(mailbox: SQLiteMailbox, flag: str) -> None:
    for call in (mailbox.add_flags, mailbox.remove_flags):
        with pytest.raises(InvalidFlag):
            await call("mjl", 99999, ["ok", flag])
    with pytest.raises(InvalidFlag):
        await mailbox.add("mjl", MAIL, flags=[flag])


async def test_a_message_has_no_endless_number_of_flags(mailbox: SQLiteMailbox) -> None:
    id_ = (await mailbox.add("mjl", MAIL)).id
    for start in range(0, 256, 64):
        await mailbox.add_flags("mjl", id_, [f"k{number}" for number in range(start, start + 64)])
    for flags in (["k256"], [f"x{number}" for number in range(1000)]):
        with pytest.raises(InvalidFlag):
            await mailbox.add_flags("mjl", id_, flags)
    assert len((await mailbox.get("mjl", id_)).flags) == 256


# Mailboxes


async def test_a_message_moves_to_what_exists_only(mailbox: SQLiteMailbox) -> None:
    id_ = (await mailbox.add("mjl", MAIL, mailbox="Sent")).id
    assert (await mailbox.move("mjl", id_, "inbox")).mailbox == "Inbox"
    for name in ("Bogus", "", "sent", "\0", "a//b", "\ud800", "x" * 501):
        with pytest.raises(MailboxNotFound):
            await mailbox.move("mjl", id_, name)
        with pytest.raises(MailboxNotFound):
            await mailbox.add("mjl", MAIL, mailbox=name)
    with pytest.raises(AlreadyInMailbox):
        await mailbox.move("mjl", id_, "Inbox")
    with pytest.raises(MailboxNotFound):  # as mox: this first
        await mailbox.move("mjl", 99999, "Bogus")
    assert (await mailbox.get("mjl", id_)).mailbox == "Inbox"


async def test_mailboxes_are_made_on_demand_and_each_accounts_own(mailbox: SQLiteMailbox) -> None:
    assert await mailbox.create_mailbox("mjl", "Inbox/Böxes")
    assert not await mailbox.create_mailbox("mjl", "INBOX/Böxes")
    assert not await mailbox.create_mailbox("mjl", "Sent")
    await mailbox.add("mjl", MAIL, mailbox="inbox/Böxes")
    assert await mailbox.mailboxes("mjl") == (*STANDARD_MAILBOXES, "Inbox/Böxes")
    assert await mailbox.mailboxes("other") == STANDARD_MAILBOXES
    id_ = (await mailbox.add("other", MAIL)).id
    with pytest.raises(MailboxNotFound):
        await mailbox.move("other", id_, "Inbox/Böxes")


@pytest.mark.parametrize(
    "name",
    ["", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "#news", "a\r", "a\u2028", "e\u0301", "\ud800", "x" * 501],
)
def test_what_is_no_name_of_a_mailbox_is_refused(name: str) -> None:
    with pytest.raises(InvalidMailboxName):
        check_mailbox_name(name)


@pytest.mark.parametrize(
    ("name", "known_as"),
    [("iNBOX", "Inbox"), ("inbox/inbox", "Inbox/inbox"), ("inboxes", "inboxes"), ("a&b%*", "a&b%*")],
)
def test_inbox_is_known_in_any_case(name: str, known_as: str) -> None:
    assert check_mailbox_name(name) == known_as


async def test_messages_are_listed_in_pages(mailbox: SQLiteMailbox) -> None:
    ids = [(await mailbox.add("mjl", MAIL, mailbox=name)).id for name in ("Inbox", "Sent", "Inbox", "Inbox")]
    await mailbox.add("other", MAIL)
    assert [message.id for message in await mailbox.list("mjl")] == ids
    assert [message.id for message in await mailbox.list("mjl", mailbox="inbox")] == [ids[0], *ids[2:]]
    assert [message.id for message in await mailbox.list("mjl", after=ids[0], limit=2)] == ids[1:3]
    assert await mailbox.list("mjl", after=2**70) == ()
    assert await mailbox.list("mjl", mailbox="Trash") == ()
    with pytest.raises(MailboxNotFound):
        await mailbox.list("mjl", mailbox="Bogus")
    for limit in (0, 10_001):
        with pytest.raises(InputError):
            await mailbox.list("mjl", limit=limit)


# Not found, and gone


async def opened_once(mailbox: SQLiteMailbox, account: str, id_: int) -> None:
    (await mailbox.open(account, id_)).close()


Call = Callable[[SQLiteMailbox, str, int], Coroutine[Any, Any, object]]
CALLS: list[Call] = [
    lambda mailbox, account, id_: mailbox.get(account, id_),
    opened_once,
    lambda mailbox, account, id_: mailbox.add_flags(account, id_, ["x"]),
    lambda mailbox, account, id_: mailbox.remove_flags(account, id_, ["x"]),
    lambda mailbox, account, id_: mailbox.move(account, id_, "Trash"),
    lambda mailbox, account, id_: mailbox.delete(account, id_),
]


@pytest.mark.parametrize("call", CALLS)
@Either
async def test_nobody_finds_what_is_anothers_or_never_was(mailbox: SQLiteMailbox, call: Call, mail: bytes) -> None:
    added = await mailbox.add("mjl", mail)
    for account, id_ in [("other", added.id), ("", added.id)] + [("mjl", n) for n in (0, -1, 99999, 2**63, -(2**70))]:
        with pytest.raises(MessageNotFound) as caught:
            await call(mailbox, account, id_)
        assert caught.value.id == id_
    assert await mailbox.get("mjl", added.id) == added
    await call(mailbox, "mjl", added.id)


@Either
async def test_a_deleted_message_is_gone_with_its_file_and_its_number(
    mailbox: SQLiteMailbox, mail: bytes, tmp_path: Path
) -> None:
    added = await mailbox.add("mjl", mail)
    async with await mailbox.open("mjl", added.id) as opened:
        await mailbox.delete("mjl", added.id)
        assert files(tmp_path) == []
        assert await raw(opened) == mail  # who reads it reads it to the end
    for call in CALLS:
        with pytest.raises(MessageNotFound):
            await call(mailbox, "mjl", added.id)
    assert (await mailbox.add("mjl", mail)).id > added.id


# Quota


@Either
async def test_a_quota_is_kept_and_frees_itself(mailbox: SQLiteMailbox, mail: bytes, tmp_path: Path) -> None:
    quota = 2 * len(mail)
    ids = [(await mailbox.add("mjl", mail, quota=quota)).id for _ in range(2)]
    with pytest.raises(OverQuota) as caught:
        await mailbox.add("mjl", b"x", quota=quota)
    assert caught.value.limit == quota
    with pytest.raises(OverQuota):
        await mailbox.add("mjl", mail, quota=quota)
    assert len(files(tmp_path)) == (2 if mail is LARGE else 0)
    assert await mailbox.usage("mjl") == quota
    assert await mailbox.usage("other") == 0
    await mailbox.add("other", mail, quota=quota)
    await mailbox.add("mjl", mail)  # asked for none
    await mailbox.delete("mjl", ids[0])
    await mailbox.delete("mjl", ids[1])
    assert await mailbox.usage("mjl") == len(mail)
    await mailbox.add("mjl", mail, quota=quota)


async def test_of_many_at_once_only_as_many_get_in_as_have_room(mailbox: SQLiteMailbox) -> None:
    results = await asyncio.gather(
        *[mailbox.add("mjl", MAIL, quota=5 * len(MAIL)) for _ in range(20)], return_exceptions=True
    )
    assert sum(isinstance(result, OverQuota) for result in results) == 15
    assert await mailbox.usage("mjl") == 5 * len(MAIL)


# The file


@Either
async def test_a_message_is_there_when_it_is_opened_again(mail: bytes, tmp_path: Path) -> None:
    for _ in range(2):
        async with SQLiteMailbox(tmp_path / "mailbox.db") as mailbox:
            await mailbox.add("mjl", mail, flags=["k"], origin=ORIGIN)
    async with SQLiteMailbox(tmp_path / "mailbox.db") as mailbox:
        one, two = await mailbox.list("mjl")
        assert (one.flags, one.origin, one.id < two.id) == (("k",), ORIGIN, True)
        async with await mailbox.open("mjl", one.id) as opened:
            assert await raw(opened) == mail


async def test_several_use_the_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mailbox.db"
    async with SQLiteMailbox(path) as one, SQLiteMailbox(path) as two:
        added = await asyncio.gather(*[each.add("mjl", LARGE) for each in (one, two) for _ in range(10)])
        assert len({message.id for message in added}) == 20
        await asyncio.gather(
            *[
                each.add_flags("mjl", added[0].id, [f"{name}{n}"])
                for name, each in (("a", one), ("b", two))
                for n in range(10)
            ]
        )
        assert len((await one.get("mjl", added[0].id)).flags) == 20
        results = await asyncio.gather(
            *[each.delete("mjl", added[1].id) for each in (one, two)], return_exceptions=True
        )
        assert sum(isinstance(result, MessageNotFound) for result in results) == 1
        assert await two.usage("mjl") == 19 * len(LARGE)


async def test_it_may_be_the_file_of_a_queue(tmp_path: Path) -> None:
    path = tmp_path / "mail.db"
    async with Queue.open(path) as queue, SQLiteMailbox(path) as mailbox:
        await mailbox.add("mjl", LARGE)
        large = b"From: a@b.example\r\n\r\n" + b"x\r\n" * 30_000
        [receipt] = await queue.submit(large, recipients="c@d.example")
    async with SQLiteMailbox(path) as mailbox, Queue.open(path) as queue:
        [message] = await mailbox.list("mjl")
        async with await mailbox.open("mjl", message.id) as opened:
            assert await raw(opened) == LARGE
        assert b"".join([chunk async for chunk in queue.dump(receipt.id)]).endswith(large[-1000:])


async def test_what_a_crash_left_is_swept_and_what_is_known_is_not(tmp_path: Path) -> None:
    async with SQLiteMailbox(tmp_path / "mailbox.db") as mailbox:
        await mailbox.add("mjl", LARGE)
    known = files(tmp_path)
    (tmp_path / "mailbox.db.mail" / "left").write_bytes(LARGE)
    async with SQLiteMailbox(tmp_path / "mailbox.db"):
        assert files(tmp_path) == known


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"?")


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
async def test_a_damaged_file_is_found_before_anything_is_read(
    mailbox: SQLiteMailbox, damage: Callable[[Path], object], tmp_path: Path
) -> None:
    added = await mailbox.add("mjl", LARGE)
    [name] = files(tmp_path)
    damage(tmp_path / "mailbox.db.mail" / name)
    with pytest.raises(ContentDamaged):
        await mailbox.open("mjl", added.id)
    await mailbox.delete("mjl", added.id)


@pytest.mark.parametrize("damage", ["UPDATE moxlib_mail_body SET body = x'00'", "DELETE FROM moxlib_mail_body"])
async def test_a_damaged_row_is_found_before_anything_is_read(
    mailbox: SQLiteMailbox, damage: str, tmp_path: Path
) -> None:
    added = await mailbox.add("mjl", MAIL)
    with sqlite3.connect(tmp_path / "mailbox.db") as connection:
        connection.execute(damage)
    connection.close()
    with pytest.raises(ContentDamaged):
        await mailbox.open("mjl", added.id)


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    async with SQLiteMailbox(tmp_path / "mailbox.db"):
        pass
    with sqlite3.connect(tmp_path / "mailbox.db") as connection:
        connection.execute("UPDATE moxlib_mailbox_schema SET version = version + 1")
    connection.close()
    with pytest.raises(SchemaTooNew) as caught:
        await SQLiteMailbox(tmp_path / "mailbox.db").__aenter__()
    assert caught.value.found == caught.value.known + 1


async def test_mail_is_for_its_owner_only(mailbox: SQLiteMailbox, tmp_path: Path) -> None:
    await mailbox.add("mjl", LARGE)
    [name] = files(tmp_path)
    for path in (tmp_path / "mailbox.db", tmp_path / "mailbox.db.mail" / name):
        assert path.stat().st_mode & 0o077 == 0
    assert (tmp_path / "mailbox.db.mail").stat().st_mode & 0o077 == 0


async def test_it_is_used_while_it_is_open(tmp_path: Path) -> None:
    mailbox = SQLiteMailbox(tmp_path / "mailbox.db")
    for call in (mailbox.get("mjl", 1), mailbox.add("mjl", MAIL), mailbox.add("mjl", LARGE), mailbox.delete("mjl", 1)):
        with pytest.raises(StateError):
            await call
    assert files(tmp_path) == []
    async with mailbox:
        with pytest.raises(StateError):
            await mailbox.__aenter__()
        await mailbox.add("mjl", MAIL)
    await mailbox.close()
    with pytest.raises(StateError):
        await mailbox.get("mjl", 1)


async def test_one_that_is_too_large_leaves_nothing(tmp_path: Path) -> None:
    async with SQLiteMailbox(tmp_path / "mailbox.db", max_message_size=len(LARGE) - 1) as mailbox:
        for source in (LARGE, io.BytesIO(LARGE)):
            with pytest.raises(MessageTooLarge):
                await mailbox.add("mjl", source)
        assert files(tmp_path) == []
        assert await mailbox.usage("mjl") == 0


async def test_who_is_cancelled_may_have_added_it_and_the_file_stays(
    mailbox: SQLiteMailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committing = asyncio.Event()
    hand_over = ContentWriter.hand_over

    def handed_over(writer: ContentWriter, commit: "asyncio.Future[Any]") -> None:
        hand_over(writer, commit)
        committing.set()

    monkeypatch.setattr(ContentWriter, "hand_over", handed_over)
    blocker = sqlite3.connect(tmp_path / "mailbox.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    adding = asyncio.ensure_future(mailbox.add("mjl", LARGE))
    async with asyncio.timeout(10):
        await committing.wait()
    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    assert len(files(tmp_path)) == 1
    blocker.execute("ROLLBACK")
    blocker.close()
    await mailbox.create_mailbox("mjl", "after")
    [message] = await mailbox.list("mjl")
    async with await mailbox.open("mjl", message.id) as opened:
        assert await raw(opened) == LARGE


@pytest.mark.parametrize(
    "options",
    [
        {"received": datetime(2026, 1, 1)},
        {"origin": MessageOrigin(mail_from="\ud800")},
        {"origin": MessageOrigin(dkim_verified_domains=("a b",))},
        {"origin": MessageOrigin(dkim_verified_domains=("",))},
        {"account": "\ud800"},
    ],
)
async def test_what_cannot_be_kept_is_refused(mailbox: SQLiteMailbox, options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        await mailbox.add(**{"account": "mjl", "message": MAIL, **options})
    with pytest.raises(InputError):
        await mailbox.add("mjl", io.StringIO("x" * 100_000))  # type: ignore[arg-type]


def test_mailboxes_serve_one_event_loop_after_another(tmp_path: Path) -> None:
    async def use() -> int:
        async with SQLiteMailbox(tmp_path / "mailbox.db", clock=FakeClock()) as mailbox:
            await mailbox.add("mjl", MAIL)
            return len(await mailbox.list("mjl"))

    assert [asyncio.run(use()) for _ in range(2)] == [1, 2]


@pytest.mark.parametrize(
    "error", [MessageNotFound(5), PartNotFound([0, 7], 1), MailboxNotFound("x"), OverQuota(5)], ids=repr
)
def test_errors_are_pickled_by_their_fields(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
