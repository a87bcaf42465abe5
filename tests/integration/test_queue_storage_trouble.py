"""Storage in trouble: newer, damaged, unwritable, full or locked; a typed error each time, and nothing half-stored."""

import asyncio
import errno
import hashlib
import os
import resource
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from moxlib.errors import StorageError
from moxlib.queue import (
    ContentDamaged,
    MessageFilter,
    Queue,
    QueueConfig,
    SchemaTooNew,
    StorageBusy,
    StorageDamaged,
    StorageFull,
    StorageReadOnly,
)
from moxlib.queue.storage.sqlite import SQLiteStorage, engine, schema
from moxlib.queue.storage.sqlite.batch import Batch
from moxlib.queue.storage.sqlite.storage import Transactions
from moxlib.queue.submission import NewRecipient, NewSubmission, StoredContent, Submission
from moxlib.testing import FakeClock, RecordingTransport, run_until_idle

HEAD = (
    b"From: sender@here.example\r\nTo: a@one.example\r\nSubject: hello\r\n"
    b"Date: Thu, 1 Jan 2026 12:00:00 +0000\r\nMessage-ID: <1@here.example>\r\n\r\n"
)
MAIL = HEAD + b"hello\r\n"
LINE = b"y" * 70 + b"\r\n"
IN_ROW = HEAD + LINE * 500  # 36 KB: in the database
IN_FILE = HEAD + LINE * 2500  # 180 KB: in a file beside it
ALL = MessageFilter()

MODES = pytest.mark.parametrize("mode", ["thread", "loop"])
SIZES = pytest.mark.parametrize("mail", [IN_ROW, IN_FILE], ids=["in row", "in file"])


def open_queue(path: Path, mode: Transactions = "thread", **config: Any) -> Queue:
    return Queue.open(
        path,
        clock=FakeClock(),
        transports={"t": RecordingTransport()},
        config=QueueConfig(**config),
        transactions=mode,
    )


async def submit(queue: Queue, mail: bytes = MAIL, *recipients: str) -> tuple[Submission, ...]:
    return await queue.submit(mail, recipients=recipients or ("a@one.example",))


def files_below(directory: Path) -> dict[str, str]:
    """Return all files by name, with a hash of what is in them."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def contents(path: Path) -> list[Path]:
    """Return the content files of a queue."""
    return sorted(path.with_name(path.name + ".content").glob("*"))


async def is_refused_at_open(path: Path, error: type[StorageError], mode: Transactions = "thread") -> StorageError:
    queue = open_queue(path, mode)
    with pytest.raises(error) as refused:
        await queue.__aenter__()
    assert str(path) in str(refused.value) or error is SchemaTooNew
    await queue.close()
    return refused.value


# closing


async def test_a_closed_queue_lies_in_one_file_that_can_be_copied(tmp_path: Path) -> None:
    path = tmp_path / "mail.db"
    async with open_queue(path) as queue:
        await submit(queue)
        assert await queue.count_messages() == 1
    assert files_below(tmp_path).keys() == {"mail.db"}
    shutil.copyfile(path, tmp_path / "copy.db")
    async with open_queue(tmp_path / "copy.db") as copy:
        assert await copy.count_messages() == 1


# a newer schema


@MODES
async def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path, mode: Transactions) -> None:
    path = tmp_path / "mail.db"
    async with open_queue(path) as queue:
        await submit(queue)
    with closing(sqlite3.connect(path)) as connection:
        known = connection.execute("UPDATE moxlib_schema SET version = version + 1 RETURNING version - 1").fetchone()
        connection.commit()
    before = files_below(tmp_path)
    error = await is_refused_at_open(path, SchemaTooNew, mode)
    assert isinstance(error, SchemaTooNew)
    assert (error.found, error.known) == (known[0] + 1, known[0])
    assert files_below(tmp_path) == before


# damage

GARBAGE: dict[str, bytes] = {
    "text": b"Dear diary, this is no database.\n" * 100,
    "noise": Random(1).randbytes(20_000),
    "zeros": bytes(8192),
    "a bare header": b"SQLite format 3\0",
    "a header and noise": b"SQLite format 3\0" + Random(2).randbytes(8176),
}


@pytest.mark.parametrize("kind", GARBAGE)
async def test_what_is_no_database_is_refused_and_left_alone(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mail.db"
    path.write_bytes(GARBAGE[kind])
    (tmp_path / "other.txt").write_text("mine")
    (tmp_path / "mail.db.content").mkdir()
    (tmp_path / "mail.db.content" / "content").write_text("may be referred to: nobody can tell")
    before = files_below(tmp_path)
    await is_refused_at_open(path, StorageDamaged)
    assert files_below(tmp_path) == before


def read(path: Path) -> bytes:
    return path.read_bytes()


async def fill(path: Path) -> bytes:
    """Make a queue with messages, attempts, history, rules and large content; return its file."""
    async with open_queue(path) as queue:
        for n in range(20):
            await queue.submit(MAIL, recipients=[f"a@d{n}.example", "b@x.example"], extra={"key": "value" * 20})
        await submit(queue, IN_ROW)
        await run_until_idle(queue)
        for n in range(10):
            await submit(queue, IN_FILE if n == 0 else MAIL, f"c@d{n}.example", f"d@d{n}.example")
        await queue.add_hold_rule(account="shop")
        await queue.list_messages()
    return read(path)


async def dump_all(queue: Queue) -> None:
    for message in (await queue.list_messages(limit=3)).items:
        async for _ in queue.dump(message.id):
            pass


async def use(queue: Queue) -> list[StorageError]:
    """Do a little of everything; return the errors. Any but a StorageError passes through."""
    errors: list[StorageError] = []
    operations: tuple[Callable[[], Awaitable[object]], ...] = (
        queue.list_messages,
        queue.list_history,
        queue.list_events,
        queue.hold_rules,
        queue.next_due,
        lambda: queue.explain(45),
        lambda: dump_all(queue),
        lambda: submit(queue, MAIL, "new@new.example"),
        lambda: submit(queue, IN_FILE, "new@new.example"),
        lambda: queue.hold(ALL),
        lambda: queue.release(ALL),
        lambda: queue.reschedule(ALL, by=timedelta(hours=1)),
        lambda: queue.add_hold_rule(account="new"),
        lambda: queue.drop(MessageFilter(ids=tuple(range(50)))),
    )
    for operation in operations:
        try:
            await operation()
        except StorageError as error:
            errors.append(error)
    return errors


@contextmanager
def damaged(path: Path, data: bytes) -> Iterator[None]:
    """Write a database, with a good one's content beside it; remove both in the end."""
    content = path.with_name(path.name + ".content")
    shutil.copytree(path.with_name("good.db.content"), content)
    path.write_bytes(data)
    yield
    for file in (path, *path.parent.glob(path.name + "-*")):
        file.unlink()
    shutil.rmtree(content)


async def use_damaged(path: Path, data: bytes) -> list[StorageError]:
    """Use a damaged database; return the errors."""
    with damaged(path, data):
        try:
            async with open_queue(path) as queue:
                return await use(queue)
        except StorageError as error:
            return [error]


async def test_a_damaged_database_gives_typed_errors_wherever_it_is_damaged(tmp_path: Path) -> None:
    data = await fill(tmp_path / "good.db")
    neighbours = files_below(tmp_path)
    random = Random(3)
    told = 0
    for page in range(len(data) // 4096):
        noise = data[: page * 4096] + random.randbytes(4096) + data[(page + 1) * 4096 :]
        errors = await use_damaged(tmp_path / "bad.db", noise)
        assert all(isinstance(error, StorageDamaged | ContentDamaged) for error in errors), errors
        told += bool(errors)
    assert told > len(data) // 4096 // 3  # noise in a free page, or in a table nobody asks, is noticed by nobody
    assert files_below(tmp_path) == neighbours


@pytest.mark.parametrize("part", [0.9, 0.5, 0.1, 0.02])
async def test_a_truncated_database_is_damaged(tmp_path: Path, part: float) -> None:
    data = await fill(tmp_path / "good.db")
    errors = await use_damaged(tmp_path / "bad.db", data[: int(len(data) * part)])
    assert errors
    assert {type(error) for error in errors} == {StorageDamaged}


WORDS = {
    "attempts that are no JSON": b'[[1,"delivered"',
    "an outcome that is none": b"delivered",
    "extra that is no JSON": b'{"key"',
    "a policy that is none": b"policy",
    "a table": b"CREATE TABLE moxlib_message",
}


@pytest.mark.parametrize("byte", [b"X", b"\xa4"], ids=["letters", "no UTF-8"])
@pytest.mark.parametrize("kind", WORDS)
async def test_text_overwritten_in_the_database_is_damage(tmp_path: Path, kind: str, byte: bytes) -> None:
    word = WORDS[kind]
    data = await fill(tmp_path / "good.db")
    assert word in data
    errors = await use_damaged(tmp_path / "bad.db", data.replace(word, byte * len(word)))
    assert errors
    assert {type(error) for error in errors} == {StorageDamaged}
    for error in errors:
        str(error).encode()  # it can be logged


# places that cannot be written, for root neither


def unwritable(directory: Path) -> dict[str, Path]:
    """Return places where there can be no database, by what they are."""
    (directory / "directory").mkdir()
    (directory / "file").write_text("a file")
    return {
        "a directory": directory / "directory",
        "below a file": directory / "file" / "mail.db",
        "in /proc": Path("/proc/self/mail.db"),
        "a device": Path("/dev/null"),
        "too long": directory / ("x" * 300),
    }


@pytest.mark.parametrize("kind", ["a directory", "below a file", "in /proc", "a device", "too long"])
async def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path, kind: str) -> None:
    path = unwritable(tmp_path)[kind]
    before = files_below(tmp_path)
    await is_refused_at_open(path, StorageReadOnly)
    assert files_below(tmp_path) == before


@pytest.mark.parametrize("suffix", ["-wal", "-shm"])
async def test_a_file_beside_the_database_that_cannot_be_opened_is_told(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "mail.db"
    await fill(path)
    beside = path.with_name(path.name + suffix)
    beside.mkdir()
    await is_refused_at_open(path, StorageReadOnly)
    beside.rmdir()
    async with open_queue(path) as queue:
        assert await queue.count_messages() == 20


async def test_a_content_directory_that_is_none_refuses_large_content_only(tmp_path: Path) -> None:
    path = tmp_path / "mail.db"
    path.with_name(path.name + ".content").write_text("a file")
    async with open_queue(path) as queue:
        with pytest.raises(StorageError, match="content cannot be written"):
            await submit(queue, IN_FILE)
        assert await queue.count_messages() == 0
        await submit(queue, IN_ROW)
        assert await queue.count_messages() == 1


@pytest.mark.parametrize(("number", "error"), [(errno.ENOSPC, StorageFull), (errno.EROFS, StorageReadOnly)])
async def test_a_file_that_cannot_be_created_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[StorageError]
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("moxlib.queue.storage.sqlite.schema.os.open", refuse)
    await is_refused_at_open(tmp_path / "mail.db", error)
    assert files_below(tmp_path) == {}


# no space


@dataclass(frozen=True)
class SmallDisk:
    """A directory whose space can be used up, and given back."""

    path: Path
    full: Callable[[], AbstractContextManager[None]]
    error: type[StorageError]
    """What the queue raises then."""


@contextmanager
def ballast(path: Path) -> Iterator[None]:
    """Fill a file system up."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    yield
    path.unlink()


@contextmanager
def small_files(limit: int) -> Iterator[None]:
    """Refuse to let any file of this process grow over a limit; Python ignores the signal that comes with it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def mount(path: Path) -> bool:
    """Mount a small file system; False where that is not allowed."""
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(path)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.fixture(params=["disk", "limit"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SmallDisk]:
    """A small file system, or (also where none can be mounted) a limit on the size of files.

    SQLite calls everything but ENOSPC an error of the disk, so the limit's error cannot be told from others.
    """
    path = tmp_path / "small"
    path.mkdir()
    if request.param == "disk" and mount(path):
        yield SmallDisk(path, lambda: ballast(path / "ballast"), StorageFull)
        subprocess.run(["umount", "--lazy", str(path)], check=True)
    else:
        yield SmallDisk(path, lambda: small_files(32 * 1024), StorageError)


@MODES
@SIZES
async def test_without_space_nothing_is_half_stored_and_with_space_it_goes_on(
    small_disk: SmallDisk, mode: Transactions, mail: bytes
) -> None:
    path = small_disk.path / "mail.db"
    async with open_queue(path, mode) as queue:
        await submit(queue)
        with small_disk.full():
            for _ in range(2):
                with pytest.raises(small_disk.error) as refused:
                    await submit(queue, mail, "b@two.example", "c@three.example")
                assert isinstance(refused.value, StorageError)
                assert str(path) in str(refused.value)
            assert await queue.count_messages() == 1
            assert contents(path) == []
        await submit(queue, mail, "b@two.example", "c@three.example")
        assert await queue.count_messages() == 3
        assert len(contents(path)) == (mail is IN_FILE)
        await run_until_idle(queue)
        assert await queue.count_messages() == 0
        assert contents(path) == []
    async with open_queue(path, mode) as queue:
        assert await queue.count_history() == 3


@MODES
async def test_a_database_at_its_size_limit_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Transactions
) -> None:
    made: list[sqlite3.Connection] = []

    def connect(path: Path, **options: Any) -> sqlite3.Connection:
        connection = schema.connect(path, **options)
        if not options.get("read_only"):
            made.append(connection)
        return connection

    monkeypatch.setattr(engine, "connect", connect)
    path = tmp_path / "mail.db"
    async with open_queue(path, mode, inline_content=10**6) as queue:
        await submit(queue)
        [writer] = made
        unlimited = writer.execute("PRAGMA max_page_count").fetchone()[0]
        writer.execute("PRAGMA max_page_count = 1")  # as many as there are
        results = await asyncio.gather(
            *(submit(queue, IN_FILE, f"a@d{n}.example") for n in range(5)), return_exceptions=True
        )
        assert [type(result) for result in results] == [StorageFull] * 5
        assert await queue.count_messages() == 1
        assert await queue.hold(ALL) == 1  # what needs no space goes on
        writer.execute(f"PRAGMA max_page_count = {unlimited}")
        await submit(queue, IN_FILE)
        assert await queue.count_messages() == 2


# locked by another process


@contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Hold the write lock, as another process's transaction would; it ends by COMMIT or with the block."""
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield connection


@pytest.fixture
def refused_locks(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Tells when a writer asked for the lock and did not get it."""
    asked = threading.Event()
    begin = Batch.begin

    def telling(batch: Batch) -> bool:
        got = begin(batch)
        if not got:
            asked.set()
        return got

    monkeypatch.setattr(Batch, "begin", telling)
    return asked


@MODES
@SIZES
async def test_submits_wait_for_another_process_and_then_go_through(
    tmp_path: Path, refused_locks: threading.Event, mode: Transactions, mail: bytes
) -> None:
    path = tmp_path / "mail.db"
    async with open_queue(path, mode) as queue:
        with locked(path) as other:
            waiting = asyncio.gather(*(submit(queue, mail, f"a@d{n}.example") for n in range(5)))
            assert await asyncio.to_thread(refused_locks.wait, 30)
            assert not waiting.done()
            assert await queue.count_messages() == 0  # reading needs no lock
            other.execute("COMMIT")
            await waiting
        assert await queue.count_messages() == 5


@MODES
@SIZES
async def test_a_lock_held_for_too_long_is_told_and_nothing_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Transactions, mail: bytes
) -> None:
    path = tmp_path / "mail.db"
    async with open_queue(path, mode) as queue:
        monkeypatch.setattr(engine, "LOCK_SECONDS", 0.01)
        with locked(path):
            results = await asyncio.gather(
                *(submit(queue, mail, f"a@d{n}.example") for n in range(5)), return_exceptions=True
            )
            assert [type(result) for result in results] == [StorageBusy] * 5
            assert contents(path) == []
        monkeypatch.setattr(engine, "LOCK_SECONDS", 60.0)
        assert await queue.count_messages() == 0
        await submit(queue, mail)
        assert await queue.count_messages() == 1


# one bad among many


@MODES
async def test_what_the_database_refuses_fails_alone_in_its_batch(
    tmp_path: Path, refused_locks: threading.Event, mode: Transactions
) -> None:
    path = tmp_path / "mail.db"
    async with open_queue(path, mode) as queue:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(
                "CREATE TRIGGER refuse BEFORE INSERT ON moxlib_message WHEN NEW.recipient LIKE 'bad%'"
                " BEGIN SELECT RAISE(ABORT, 'not this one'); END"
            )
        with locked(path) as other:  # until all are waiting, and so share a transaction
            mails = [IN_FILE if n % 2 else MAIL for n in range(20)]
            names = ["bad" if n in (3, 4, 17) else "good" for n in range(20)]
            waiting = asyncio.gather(
                *(
                    submit(queue, mail, f"first@d{n}.example", f"{name}@d{n}.example")
                    for n, (mail, name) in enumerate(zip(mails, names, strict=True))
                ),
                return_exceptions=True,
            )
            assert await asyncio.to_thread(refused_locks.wait, 30)
            other.execute("COMMIT")
            results = await waiting
        for name, result in zip(names, results, strict=True):
            if name == "bad":
                assert isinstance(result, StorageError)
                assert "not this one" in str(result)
            else:
                assert isinstance(result, tuple)
                assert len(result) == 2
        assert await queue.count_messages() == 34
        assert await queue.count_messages(MessageFilter(recipient="bad@")) == 0
        large_and_good = sum(mail is IN_FILE and name == "good" for mail, name in zip(mails, names, strict=True))
        assert len(contents(path)) == large_and_good
        stored = [r.id for result in results if isinstance(result, tuple) for r in result]
        assert sorted(stored) == [m.id for m in (await queue.list_messages()).items]


@MODES
async def test_a_value_that_no_database_keeps_fails_alone(tmp_path: Path, mode: Transactions) -> None:
    """Such values are refused before; should one get through, others do not suffer."""
    storage = SQLiteStorage(tmp_path / "mail.db", transactions=mode)
    clock = FakeClock()

    def submission(subject: str) -> NewSubmission:
        return NewSubmission(
            account="",
            sender="",
            sender_domain="",
            recipients=(NewRecipient(address="a@one.example", domain="one.example", destination="one.example"),),
            content=StoredContent(size=2, sha256=hashlib.sha256(b"hi").digest(), body=b"hi"),
            queued=clock.now(),
            next_attempt=clock.now(),
            max_attempts=1,
            subject=subject,
        )

    await storage.open(clock.now())
    results = await asyncio.gather(
        *(storage.insert(submission("\udc80" if n == 2 else str(n))) for n in range(5)), return_exceptions=True
    )
    assert [isinstance(result, UnicodeEncodeError) for result in results] == [n == 2 for n in range(5)]
    assert await storage.count_messages(ALL) == 4
    await storage.close()


async def test_a_row_that_cannot_be_read_is_set_aside_and_the_others_go(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    transport = RecordingTransport()
    async with open_queue(path) as queue:
        [broken] = await submit(queue, MAIL, "broken@server.example")
        await submit(queue, MAIL, "sound@server.example")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE moxlib_message SET results = '[[' WHERE id = ?", (broken.id,))
        connection.commit()
    async with Queue.open(path, transports={"memory": transport}) as queue:
        await run_until_idle(queue)
        assert [retired.recipient for retired in (await queue.list_history()).items] == ["sound@server.example"]
        assert await queue.count_messages(MessageFilter(quarantined=True, hold=True)) == 1
        assert await queue.next_due() is None
        with pytest.raises(StorageDamaged):
            await queue.get(broken.id)
