"""From what a caller opens to the storage behind it: a file's path, or a database's URL."""

import os
from typing import cast

from moxlib.errors import InputError, MissingExtra
from moxlib.queue.storage.base import Storage
from moxlib.queue.storage.sqlite import SQLiteStorage
from moxlib.queue.storage.sqlite.storage import Transactions

__all__ = ["storage_for"]

POSTGRES = ("postgresql://", "postgres://")


def storage_for(
    target: str | os.PathLike[str],
    *,
    transactions: Transactions | None = None,
    schema: str | None = None,
    connections: int | None = None,
) -> Storage:
    """Return the storage for a path (SQLite) or a `postgresql://` URL; nothing is opened yet.

    Raises:
        InputError: an option that the other engine has, or a URL of a scheme that there is no engine for.
        MissingExtra: `postgres` is not installed.
    """
    if isinstance(target, str) and target.startswith(POSTGRES):
        if transactions is not None:
            raise InputError("transactions= is for SQLite: PostgreSQL runs them in threads")
        return _postgres(target, schema, connections)
    if isinstance(target, str) and "://" in target:
        raise InputError(f"a queue lies in a file or at postgresql://..., not at {target.split('://')[0]}://...")
    if schema is not None or connections is not None:
        raise InputError("schema= and connections= are for PostgreSQL")
    return SQLiteStorage(target, transactions=transactions or "thread")


def _postgres(url: str, schema: str | None, connections: int | None) -> Storage:
    try:
        from moxlib.queue.storage.postgres import PostgresStorage  # noqa: PLC0415 - an extra: reported here
    except ImportError as error:
        if error.name not in ("psycopg", "psycopg_pool"):
            raise
        raise MissingExtra("postgres", "a queue on PostgreSQL") from error
    options: dict[str, object] = {"schema": schema, "connections": connections}
    given = {name: value for name, value in options.items() if value is not None}
    return cast("Storage", PostgresStorage(url, **given))  # type: ignore[arg-type]
