"""`SQLiteMailbox`: the messages of a small host's accounts, in one SQLite file and a directory beside it."""

from moxlib.webapi.sqlite_mailbox.storage import SQLiteMailbox

__all__ = ["SQLiteMailbox"]
