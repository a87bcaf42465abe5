"""The engine at moments that other processes, or a disk in trouble, make awkward."""

import asyncio
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from tests.crash.audit import audit
from tests.crash.programs.mail import LARGE, SENDER
from tests.crash.stage import Stage

from moxlib.queue import MessageFilter, Queue
from moxlib.queue.storage.sqlite.engine import LoopWriter, ThreadWriter
from moxlib.queue.storage.sqlite.schema import connect, create_file

MAIL = b"Subject: hello\r\n\r\n" + b"hello\r\n" * LARGE
BRIEFLY = 0.05  # seconds: as long as another process's recovery may take


@pytest.mark.parametrize("writer", [ThreadWriter, LoopWriter])
async def test_opening_waits_while_another_process_recovers_or_closes_the_database(
    stage: Stage, writer: type[ThreadWriter | LoopWriter]
) -> None:
    async with Queue.open(stage.database):
        pass
    with closing(sqlite3.connect(stage.database, isolation_level=None, check_same_thread=False)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")  # what SQLite does by itself while it recovers or closes
        other.execute("BEGIN IMMEDIATE")
        other.execute("COMMIT")
        release = threading.Timer(BRIEFLY, other.close)
        release.start()
        await writer(stage.database).close()
        release.join()


async def test_a_content_file_that_cannot_be_removed_fails_nothing_that_is_committed(stage: Stage) -> None:
    directory = Path(f"{stage.database}.content")
    async with Queue.open(stage.database) as queue:
        [receipt] = await queue.submit(MAIL, sender=SENDER, recipients="user@there.example")
        [file] = directory.iterdir()  # noqa: ASYNC240 - the test may block its loop
        file.unlink()
        file.mkdir()  # unlink(2) refuses a directory, whoever asks
        dropped, [kept] = await asyncio.gather(
            queue.drop(MessageFilter(ids=(receipt.id,))),
            queue.submit(MAIL, sender=SENDER, recipients="user@there.example"),
        )
        assert dropped == 1
        sent = b"".join([chunk async for chunk in queue.dump(kept.id)])
        assert sent.endswith(MAIL)
    file.rmdir()
    await audit(stage)


def test_opening_waits_for_another_process_that_has_just_created_the_file(tmp_path: Path) -> None:
    """And is about to change its mode, too; SQLite does not wait here by itself."""
    path = tmp_path / "mail.db"
    create_file(path)
    with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(BRIEFLY, other.execute, ["ROLLBACK"])
        release.start()
        try:
            connect(path).close()
        finally:
            release.join()
