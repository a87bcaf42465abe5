"""Between Django's databases and the queue: where the queue is, and which transaction surrounds a call."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from moxlib.contrib.django.options import UNSAID, Options
from moxlib.queue.storage.sqlite.schema import migrations

__all__ = ["Place", "find", "in_memory", "require_tables", "surrounding", "url_of"]

SAME = ("host", "hostaddr", "port", "dbname", "user", "service")  # together they lead to one database, as one user


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a queue is, and by whose transactions it is reached."""

    target: str
    """A path or a URL, for `Queue.open`."""
    schema: str | None
    alias: str | None
    """The Django database whose transactions its mail joins."""


def find(options: Options) -> Place:
    """Return where the queue is now: a test run gives databases other names. Nothing is connected to.

    Raises:
        ImproperlyConfigured: the database cannot hold a queue.
    """
    alias = options.database
    if options.queue is None:
        assert alias is not None
        target = _target(connections[alias])
    else:
        target = options.queue if "://" in options.queue else str(Path(options.queue).absolute())
        alias = _alias_of(target) if alias == UNSAID else alias
    return Place(target=target, schema=options.schema, alias=alias)


def surrounding(alias: str) -> object | None:
    """Return the driver's connection of this thread, if it is in a transaction; else None.

    Raises:
        TransactionManagementError: the transaction can only be rolled back.
    """
    wrapper: Any = connections[alias]
    if wrapper.connection is None and not wrapper.in_atomic_block and wrapper.settings_dict["AUTOCOMMIT"]:
        return None  # connecting would begin nothing
    if wrapper.get_autocommit():
        return None
    wrapper.validate_no_broken_transaction()
    driver: object = wrapper.connection
    return driver


def require_tables(connection: object | None) -> None:
    """Check, where the queue is about to be opened, that its tables need not be made or changed for that.

    On SQLite they cannot be while this thread is in a transaction, which may have the lock that it would wait for.

    Raises:
        ImproperlyConfigured: they have to be.
    """
    if not isinstance(connection, sqlite3.Connection):
        return
    try:
        versions = connection.execute("SELECT version FROM moxlib_schema").fetchall()
    except sqlite3.OperationalError:
        versions = []
    if not versions or versions[0][0] < len(migrations()):
        raise ImproperlyConfigured("the queue's tables are missing, or of an older moxlib: run manage.py migrate")


def in_memory(alias: str) -> bool:
    """Say whether it is an SQLite database in memory, as that of a test run is by default."""
    wrapper: Any = connections[alias]
    return wrapper.vendor == "sqlite" and bool(wrapper.is_in_memory_db())


def _target(wrapper: BaseDatabaseWrapper) -> str:
    match wrapper.vendor:
        case "sqlite":
            return _path(wrapper)
        case "postgresql":
            return url_of(wrapper)
        case _:
            text = f"the database {wrapper.alias!r} is {wrapper.display_name}: a queue lives in SQLite or PostgreSQL"
            raise ImproperlyConfigured(f"{text}. Name a file or a URL of its own in MOXLIB['queue'].")


def _path(wrapper: Any) -> str:
    if in_memory(wrapper.alias):
        raise ImproperlyConfigured(
            f"the database {wrapper.alias!r} is in memory, where no queue can be. In a test run, give it a file:"
            f" DATABASES[{wrapper.alias!r}]['TEST'] = {{'NAME': BASE_DIR / 'test.sqlite3'}}"
        )
    name = str(wrapper.get_connection_params()["database"])
    if name.startswith("file:"):
        raise ImproperlyConfigured(f"the database {wrapper.alias!r} is named by a URI; MOXLIB needs the file's path")
    return str(Path(name).absolute())


def url_of(wrapper: Any) -> str:
    """Return the URL by which libpq connects as Django's PostgreSQL backend does.

    Raises:
        ImproperlyConfigured: psycopg 3 is not installed or not used, or Django misses a setting.
    """
    try:
        from psycopg.conninfo import conninfo_to_dict, make_conninfo  # noqa: PLC0415 - not all have PostgreSQL
        from psycopg.pq import Conninfo  # noqa: PLC0415
    except ImportError as error:
        text = f"the queue in the database {wrapper.alias!r} needs psycopg 3: pip install 'moxlib[postgres]'"
        raise ImproperlyConfigured(text) from error
    if wrapper.Database.__name__ != "psycopg":
        raise ImproperlyConfigured(f"the database {wrapper.alias!r} uses psycopg2: MOXLIB needs psycopg 3")
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}  # Django and psycopg have more
    params = {key: value for key, value in wrapper.get_connection_params().items() if key in known}
    if role := wrapper.settings_dict["OPTIONS"].get("assume_role"):
        escaped = str(role).replace("\\", "\\\\").replace(" ", "\\ ")
        params["options"] = f"{params.get('options', '')} -c role={escaped}".strip()
    # In this form, everything may be said of a connection that may be said at all.
    return f"postgresql://?{urlencode(conninfo_to_dict(make_conninfo(**params)), quote_via=quote)}"


def _alias_of(target: str) -> str | None:
    """Return the alias of the one Django database that is this one beyond doubt; None if there is none."""
    same = _same_server if target.startswith(("postgresql://", "postgres://")) else _same_file
    found = [alias for alias in connections if same(target, connections[alias])]
    return found[0] if len(found) == 1 else None


def _same_file(path: str, wrapper: BaseDatabaseWrapper) -> bool:
    try:
        return wrapper.vendor == "sqlite" and Path(path).resolve() == Path(_path(wrapper)).resolve()
    except ImproperlyConfigured:
        return False


def _same_server(url: str, wrapper: BaseDatabaseWrapper) -> bool:
    if wrapper.vendor != "postgresql":
        return False
    try:
        ours, theirs = _parts(url), _parts(url_of(wrapper))
    except ImproperlyConfigured:
        return False
    return all(ours.get(name) == theirs.get(name) for name in SAME)


def _parts(url: str) -> Mapping[str, Any]:
    from psycopg import ProgrammingError  # noqa: PLC0415 - not all have PostgreSQL
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    try:
        return conninfo_to_dict(url)
    except ProgrammingError as error:
        raise ImproperlyConfigured(f"MOXLIB['queue'] cannot be read: {error}") from error
