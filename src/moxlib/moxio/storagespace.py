"""Telling that the disk is full from other failures."""

from __future__ import annotations

import errno
import sqlite3

from moxlib.moxio._chain import chain

__all__ = ["is_storage_space"]

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def is_storage_space(err: BaseException | None) -> bool:
    """Return whether `err` means that storage is full: no space, no inodes, a quota reached.

    True for ENOSPC and EDQUOT, and for SQLite's "database or disk is full"; also when such an error is among the
    causes, contexts or group members of `err`.
    """
    return any(_full(one) for one in chain(err))


def _full(err: BaseException) -> bool:
    if isinstance(err, sqlite3.Error):
        # Errors that were unpickled, or raised by other code, have no code, but SQLite's text never varies.
        code = getattr(err, "sqlite_errorcode", None)
        return code == sqlite3.SQLITE_FULL or (code is None and str(err) == "database or disk is full")
    return isinstance(err, OSError) and err.errno in FULL
