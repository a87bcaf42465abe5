"""The queue's schema in a PostgreSQL database: its name, its numbered migrations."""

import re
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from moxlib.errors import InputError
from moxlib.queue.errors import SchemaTooNew
from moxlib.queue.storage.migrations import numbered
from moxlib.queue.storage.postgres.tx import Dialect

__all__ = ["OLDEST", "check_schema_name", "migrate", "migrations"]

OLDEST = 130000  # PostgreSQL 13: the first with pg_xact_status() for 64-bit transaction ids
MAX_NAME = 55  # bytes of 63, of which the channel's name takes some

COLUMNS = """SELECT c.relname, a.attname, t.typname FROM pg_attribute a
    JOIN pg_class c ON c.oid = a.attrelid JOIN pg_type t ON t.oid = a.atttypid
    WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped"""

_schema_name = re.compile(r"[a-z_][a-z0-9_]*").fullmatch


def check_schema_name(name: str) -> str:
    """Return the name of a schema if it can be one: lower-case ASCII letters, digits and underscores.

    Raises:
        InputError: it cannot. (Names of other forms would have to be quoted wherever people write them.)
    """
    if not _schema_name(name) or len(name) > MAX_NAME or name.startswith("pg_"):
        text = f"at most {MAX_NAME} lower-case letters, digits and underscores, not beginning with pg_ or a digit"
        raise InputError(f"a schema's name has {text}; not {name!r:.100}")
    return name


def migrations() -> tuple[str, ...]:
    """Return the migrations' SQL in order; the schema's version is how many of them were applied."""
    return numbered("moxlib.queue.storage.postgres")


def migrate(connection: psycopg.Connection[Any], dialect: Dialect, steps: tuple[str, ...]) -> str:
    """Bring the schema up to date in one transaction, and return the queue's id; safe when several do so at once.

    Raises:
        SchemaTooNew: the database has more migrations than this moxlib knows.
    """
    schema = dialect.schema
    with connection.transaction(), psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (dialect.lock_key("migrate"),))
        if not cursor.execute("SELECT to_regnamespace(%s)::oid", (schema,)).fetchone()[0]:  # type: ignore[index]
            cursor.execute(f'CREATE SCHEMA "{schema}"'.encode())  # its name was checked
        # Only where it is missing: who works with the tables need not be one who may make them.
        if not cursor.execute("SELECT to_regclass(%s)::oid", (f"{schema}.moxlib_schema",)).fetchone()[0]:  # type: ignore[index]
            cursor.execute(dialect("CREATE TABLE moxlib_schema (version INTEGER NOT NULL)"))
        found = cursor.execute(dialect("SELECT version FROM moxlib_schema")).fetchone()
        version: int = found[0] if found else 0
        if version > len(steps):
            raise SchemaTooNew(version, len(steps))
        cursor.execute(f'SET LOCAL search_path TO "{schema}"'.encode())
        for step in steps[version:]:
            cursor.execute(step.encode())
        if version < len(steps):
            cursor.execute(dialect("DELETE FROM moxlib_schema"))
            cursor.execute(dialect("INSERT INTO moxlib_schema (version) VALUES (?)"), (len(steps),))
        ((queue,),) = cursor.execute(dialect("SELECT id FROM moxlib_queue")).fetchall()
        types = cursor.execute(COLUMNS, (schema,)).fetchall()
    dialect.types = {(table, column): type_ for table, column, type_ in types}
    return str(queue)
