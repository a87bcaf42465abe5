"""The embedded default: one SQLite file, and a directory beside it for large content."""

from moxlib.queue.storage.sqlite.storage import SQLiteStorage

__all__ = ["SQLiteStorage"]
