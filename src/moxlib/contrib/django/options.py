"""`Options`: what the settings and a backend's own options say, checked."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS
from django.utils.module_loading import import_string

from moxlib.queue.config import QueueConfig

__all__ = ["UNSAID", "Options"]

T = TypeVar("T")

NAME = "MOXLIB"  # of the setting
UNSAID = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where the queue is, and how this project uses it: the keys of the setting `MOXLIB`.

    If neither `queue` nor `database` is given, the queue is in the database "default".
    """

    queue: str | None = None
    """The path of an SQLite file or a `postgresql://` URL; without it, the queue is in `database`."""
    database: str | None = UNSAID
    """The alias of the Django database that the queue is in, whose transactions its mail joins; None: it joins none.

    If `queue` is given alone, this is the database in which the queue surely is, if there is one.
    """
    schema: str | None = None
    """PostgreSQL's: in which schema the queue is."""
    account: str = ""
    """Whose messages they are."""
    connections: int | None = None
    """PostgreSQL's: how many a process uses at most."""
    config: QueueConfig | str | Callable[[], QueueConfig] = field(default_factory=QueueConfig)
    """The queue's configuration, what makes it, or the dotted path of either."""
    transports: Mapping[str, Any] | str | Callable[[], Mapping[str, Any]] | None = None
    """What `manage.py moxlib_worker` delivers by, what makes them, or the dotted path of either."""

    @classmethod
    def read(cls, **given: Any) -> "Options":
        """Return what the setting says, or instead of it what is given and not None.

        Raises:
            ImproperlyConfigured: an unknown key, or a value that cannot be.
        """
        setting = getattr(settings, NAME, {})
        if not isinstance(setting, Mapping):
            raise ImproperlyConfigured(f"the setting {NAME} must be a dict, not {type(setting).__name__}")
        unknown = sorted(str(key) for key in setting if key not in cls.__dataclass_fields__)
        if unknown:
            known = ", ".join(cls.__dataclass_fields__)
            raise ImproperlyConfigured(f"the setting {NAME} has an unknown key, {unknown[0]!r}; there are {known}")
        own = {key: value for key, value in given.items() if value is not None}
        # Those two say together where the queue is: one of them alone would not fit the other of the setting.
        instead = {"queue", "database", *own} if own.keys() & {"queue", "database"} else own.keys()
        return _checked(cls(**{key: value for key, value in setting.items() if key not in instead}, **own))

    def load_config(self) -> QueueConfig:
        """Return the queue's configuration.

        Raises:
            ImproperlyConfigured: there is none where it should be.
        """
        return _loaded("config", self.config, QueueConfig)

    def load_transports(self) -> Mapping[str, Any] | None:
        """Return the transports; None if the setting names none.

        Raises:
            ImproperlyConfigured: there are none where they should be.
        """
        return None if self.transports is None else _loaded("transports", self.transports, Mapping)  # type: ignore[type-abstract]


def _checked(options: Options) -> Options:
    if isinstance(options.queue, os.PathLike):
        options = replace(options, queue=os.fspath(options.queue))
    _check("queue", options.queue, str, "a path or a postgresql:// URL")
    _check("database", options.database, str, "the alias of a database")
    _check("schema", options.schema, str, "a name")
    _check("account", options.account, str, "a name")
    _check("connections", options.connections, int, "a number")
    if options.queue is None and options.database is None:
        raise ImproperlyConfigured(f"{NAME}: without a 'database', 'queue' must say where the queue is")
    if options.queue is None and options.database == UNSAID:
        options = replace(options, database=DEFAULT_DB_ALIAS)
    if options.database not in (None, UNSAID, *settings.DATABASES):
        known = ", ".join(map(repr, settings.DATABASES)) or "none"
        raise ImproperlyConfigured(f"{NAME}['database'] is {options.database!r}; DATABASES has {known}")
    return options


def _check(name: str, value: object, class_: type, wanted: str) -> None:
    if value is not None and not isinstance(value, class_):
        raise ImproperlyConfigured(f"{NAME}[{name!r}] must be {wanted}, not {value!r:.100}")


def _loaded(name: str, value: Any, class_: type[T]) -> T:
    where = f"{NAME}[{name!r}]"
    if isinstance(value, str):
        where = f"{value}, which {where} names,"
        try:
            value = import_string(value)
        except ImportError as error:
            raise ImproperlyConfigured(f"{where} cannot be imported: {error}") from error
    if callable(value):
        value = value()
    if not isinstance(value, class_):
        raise ImproperlyConfigured(f"{where} is or makes a {type(value).__name__}, not a {class_.__name__}")
    return value
