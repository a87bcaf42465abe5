"""Opening the database file: its pragmas, its permissions, its numbered migrations."""

import os
import random
import sqlite3
import time
from pathlib import Path

from moxlib.moxio import is_storage_space, sync_dir
from moxlib.queue.errors import SchemaTooNew, StorageFull, StorageReadOnly
from moxlib.queue.storage.migrations import numbered
from moxlib.queue.storage.sqlite.errors import is_busy

__all__ = ["OPEN_BUSY_MS", "connect", "create_file", "migrate", "migrations"]

VERSION_TABLE = "moxlib_schema"
BUSY_MS = 100  # how long SQLite itself waits for another process's lock, before the engine decides whether to go on
OPEN_BUSY_MS = 60_000  # while it opens: for a migration, or a recovery after a crash, by another process


def create_file(path: Path) -> None:
    """Create the database file if it does not exist, readable by its owner only: it holds people's mail.

    SQLite gives the files beside it (-wal, -shm) the same permissions.

    Raises:
        StorageReadOnly: the file or its directory cannot be written.
        StorageFull: there is no space for another file.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        sync_dir(path.parent)
    except FileExistsError:
        if not path.is_file():
            raise StorageReadOnly(f"{path}: not a file") from None
        if not os.access(path, os.R_OK | os.W_OK) or not os.access(path.parent, os.W_OK):
            raise StorageReadOnly(f"{path}: the file and its directory must be writable") from None
    except OSError as error:
        class_ = StorageFull if is_storage_space(error) else StorageReadOnly
        raise class_(f"{path}: cannot be created: {error.strerror or error}") from error


def connect(path: Path, *, read_only: bool = False, busy_ms: int = BUSY_MS) -> sqlite3.Connection:
    """Return a connection in manual-commit mode, usable from any thread (one at a time).

    Args:
        path: the database file, which exists.
        read_only: for reading only.
        busy_ms: how long its statements wait for another process's lock, once it is open.
    """
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rw'}"
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=256, timeout=OPEN_BUSY_MS / 1000
    )
    try:
        # Filters compare without regard to case in all of Unicode; SQLite's own lower() knows ASCII only.
        connection.create_function("moxlib_contains", 2, _contains, deterministic=True)
        if read_only:
            connection.execute("PRAGMA query_only = ON")
        else:
            _use_wal(connection)
            connection.execute("PRAGMA synchronous = FULL")  # an accepted message survives power loss
            connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA busy_timeout = {busy_ms}")
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Have the file written ahead, if it is not yet; wait for others who are at it.

    SQLite itself does not wait here: two who change the mode of a new file would wait for each other.
    """
    deadline = time.monotonic() + OPEN_BUSY_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(random.uniform(0.0005, 0.005))
        else:
            return


def _contains(text: str, part: str) -> bool:
    return part in text.lower()


def migrations() -> tuple[str, ...]:
    """Return the migrations' SQL in order; the schema's version is how many of them were applied."""
    return numbered("moxlib.queue.storage.sqlite")


def migrate(connection: sqlite3.Connection, steps: tuple[str, ...], *, table: str = VERSION_TABLE) -> None:
    """Bring the schema up to date in one transaction; safe when several processes start at once.

    If it is up to date, no lock is waited for: who has it may be waiting for the queue, in a transaction of its own.

    Args:
        connection: to the database.
        steps: the migrations' SQL, in order.
        table: which table has the version: a constant of the program's.

    Raises:
        SchemaTooNew: the database has more migrations than this moxlib knows.
    """
    if not _locked_at_once(connection):
        if _version(connection, table) == len(steps):
            return
        connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(f"CREATE TABLE IF NOT EXISTS {table} (version INTEGER NOT NULL)")
        version = _version(connection, table)
        _refuse_newer(version, len(steps))
        for step in steps[version:]:
            for statement in _statements(step):
                connection.execute(statement)
        if version < len(steps):
            connection.execute(f"DELETE FROM {table}")  # noqa: S608 - a constant
            connection.execute(f"INSERT INTO {table} (version) VALUES (?)", (len(steps),))  # noqa: S608 - a constant
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _locked_at_once(connection: sqlite3.Connection) -> bool:
    """Begin a transaction as a writer, if nobody else is one; say whether it has begun."""
    ((busy_ms,),) = connection.execute("PRAGMA busy_timeout").fetchall()
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if not is_busy(error):
            raise
        return False
    finally:
        connection.execute(f"PRAGMA busy_timeout = {busy_ms}")
    return True


def _version(connection: sqlite3.Connection, table: str) -> int:
    if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchall():
        return 0
    found = connection.execute(f"SELECT version FROM {table}").fetchall()  # noqa: S608 - a constant
    return int(found[0][0]) if found else 0


def _refuse_newer(found: int, known: int) -> None:
    if found > known:
        raise SchemaTooNew(found, known)


def _statements(script: str) -> list[str]:
    statements: list[str] = []
    text = ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            statements.append(text)
            text = ""
    return statements
