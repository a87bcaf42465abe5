"""`Storage` on PostgreSQL: many processes, on many machines."""

from moxlib.queue.storage.postgres.storage import PostgresStorage

__all__ = ["PostgresStorage"]
