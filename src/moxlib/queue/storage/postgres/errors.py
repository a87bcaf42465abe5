"""PostgreSQL's errors as the queue's own: what the caller can do about them."""

import psycopg
from psycopg import errors

from moxlib.errors import StorageError
from moxlib.queue.errors import StorageBusy, StorageDamaged, StorageFull, StorageReadOnly, StorageUnavailable

__all__ = ["first_error", "is_conflict", "is_lost", "storage_error"]

# By SQLSTATE, or its class (PostgreSQL's manual, appendix A).
_CLASSES: dict[str, tuple[type[StorageError], str]] = {
    "53100": (StorageFull, "the database server's disk is full"),
    "53": (StorageUnavailable, "the database server is short of something"),
    "57": (StorageUnavailable, "the database server ended the connection"),
    "08": (StorageUnavailable, "the connection to the database server is gone"),
    "28": (StorageUnavailable, "the database server refused the login"),
    "3D": (StorageUnavailable, "the database does not exist"),
    "25006": (StorageReadOnly, "the database is read-only"),
    "42501": (StorageReadOnly, "the database's permissions forbid it"),
    "42": (StorageDamaged, "the queue's tables are not as they should be"),
    "55P03": (StorageBusy, "another transaction kept a lock for too long"),
    "40": (StorageBusy, "other transactions were in the way"),
    "58": (StorageDamaged, "the database server's disk reported an error"),
    "XX": (StorageDamaged, "the database is damaged"),
}


def is_lost(connection: psycopg.Connection, error: psycopg.Error) -> bool:
    """Say whether the connection is gone, so that another one may do what this one did not.

    It is of no use either after an error that is not the server's.
    """
    state = error.sqlstate or ""
    if isinstance(error, errors.QueryCanceled):
        return False
    if not state and isinstance(error, psycopg.OperationalError):
        return True
    return connection.closed or connection.broken or state.startswith(("08", "57P")) or state == "25P03"


def first_error(error: BaseException) -> BaseException:
    """Return the error that led to others, of which psycopg raises the last when a pipeline ends."""
    while isinstance(error, psycopg.Error) and isinstance(error.__context__, psycopg.Error):
        error = error.__context__
    return error


def is_conflict(error: psycopg.Error) -> bool:
    """Say whether the transaction stood in the way of another, and may be done once more."""
    return isinstance(error, errors.DeadlockDetected | errors.SerializationFailure)


def storage_error(error: psycopg.Error, where: str) -> StorageError:
    """Return the queue's error for one of PostgreSQL's."""
    state = error.sqlstate or "08"
    class_, text = _CLASSES.get(state) or _CLASSES.get(state[:2]) or (StorageError, "the database refused")
    return class_(f"{where}: {text} ({type(error).__name__}: {str(error).strip()!a:.300})")
