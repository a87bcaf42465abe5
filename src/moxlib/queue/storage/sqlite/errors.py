"""SQLite's errors as the queue's own: what the caller can do about them."""

import sqlite3

from moxlib.errors import StorageError
from moxlib.queue.errors import StorageBusy, StorageDamaged, StorageFull, StorageReadOnly

__all__ = ["DATABASE_ERRORS", "is_busy", "storage_error"]

DATABASE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""What a connection raises; the second where a damaged schema gets into the text of an error."""

NOT_TEXT = "Could not decode to UTF-8"  # how the error about a column that should be text begins; it has no code

_PRIMARY = 0xFF  # the primary result code is the low byte of an extended one

_CLASSES: dict[int, tuple[type[StorageError], str]] = {
    sqlite3.SQLITE_FULL: (StorageFull, "no space is left for the database"),
    sqlite3.SQLITE_READONLY: (StorageReadOnly, "the database cannot be written"),
    sqlite3.SQLITE_PERM: (StorageReadOnly, "the database's permissions forbid it"),
    sqlite3.SQLITE_AUTH: (StorageReadOnly, "access to the database was refused"),
    sqlite3.SQLITE_CANTOPEN: (StorageReadOnly, "the database, or a file beside it, cannot be opened or created"),
    sqlite3.SQLITE_NOTADB: (StorageDamaged, "the file is not an SQLite database"),
    sqlite3.SQLITE_CORRUPT: (StorageDamaged, "the database is damaged"),
    sqlite3.SQLITE_FORMAT: (StorageDamaged, "the database is damaged"),
    sqlite3.SQLITE_BUSY: (StorageBusy, "another process keeps the database locked"),
    sqlite3.SQLITE_LOCKED: (StorageBusy, "the database is locked"),
    sqlite3.SQLITE_IOERR: (StorageError, "the disk reported an error"),
}


def _code(error: Exception) -> int:
    code = getattr(error, "sqlite_errorcode", 0)
    return code & _PRIMARY if isinstance(code, int) else 0


def is_busy(error: Exception) -> bool:
    """Say whether another connection held a lock that this one wanted: trying again may help."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def storage_error(error: sqlite3.Error | UnicodeDecodeError, path: str) -> StorageError:
    """Return the queue's error for one of SQLite's."""
    if isinstance(error, UnicodeDecodeError) or str(error).startswith(NOT_TEXT):
        return StorageDamaged(f"{path}: the database is damaged ({type(error).__name__}: {error!a:.300})")
    class_, text = _CLASSES.get(_code(error), (StorageError, "the database refused"))
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return class_(f"{path}: {text} ({name}: {error})")
