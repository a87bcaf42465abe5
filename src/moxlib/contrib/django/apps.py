"""`MoxlibConfig`: the Django app, which keeps the open queues of a process and creates the tables with `migrate`."""

import os
import threading
from typing import Any

from django.apps import AppConfig
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db.models.signals import post_migrate

from moxlib.blocking import Queue
from moxlib.contrib.django.database import Place, find, in_memory, require_tables
from moxlib.contrib.django.options import UNSAID, Options
from moxlib.errors import InputError, MissingExtra

__all__ = ["MoxlibConfig"]

LABEL = "moxlib"


class _Slot:
    """One queue of one process, and the lock under which it is opened."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.queue: Queue | None = None


class MoxlibConfig(AppConfig):
    """The app `moxlib.contrib.django`.

    Django makes a backend for every message that it sends, and none may open a queue of its own: a queue is a thread
    and some connections. So they are kept here, in the one object that Django itself makes for the app: a queue for
    each place that one is in, opened when the first mail is sent, by whichever thread, and closed when the process
    ends. A process that was forked (a server that loads the application before it forks, a worker pool) opens its own.
    """

    name = "moxlib.contrib.django"
    label = LABEL

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # By process. Those of the parent are left alone, not forgotten: what they hold is the parent's to close. And
        # each process has locks of its own, since a lock may have been held by another thread during the fork.
        self._slots: dict[tuple[int, str, str | None], _Slot] = {}

    def ready(self) -> None:
        """Be called by Django when all apps are there."""
        checks.register(_check_options)
        post_migrate.connect(self._create_tables, sender=self)
        setting_changed.connect(self._on_setting_changed)

    def queue(self, place: Place, options: Options, *, within: object | None = None) -> Queue:
        """Return this process's open queue of a place.

        Args:
            place: where it is.
            options: for opening it.
            within: the connection in whose transaction the caller is.

        Raises:
            ImproperlyConfigured: the options do not fit the place, or tables are missing that cannot be made now.
            SchemaTooNew, StorageReadOnly, StorageDamaged, StorageFull, StorageBusy, StorageUnavailable: it cannot be
                opened.
        """
        slot = self._slots.setdefault((os.getpid(), place.target, place.schema), _Slot())
        with slot.lock:
            if slot.queue is None:
                require_tables(within)
                slot.queue = _new(place, options).start()
            return slot.queue

    def close(self) -> None:
        """Close this process's queues; the next mail opens one again.

        Needed only where something else wants them gone: a test run that drops the database they are in.
        """
        for key in [key for key in self._slots if key[0] == os.getpid()]:
            slot = self._slots.pop(key)
            with slot.lock:
                if slot.queue is not None:
                    slot.queue.close()

    def _create_tables(self, *, using: str, plan: object = None, **_: object) -> None:
        if plan is None:
            return  # a flush, which takes nothing of ours
        options = Options.read()
        if options.database not in (UNSAID, using):
            return
        if options.queue is None and in_memory(using):
            return  # of a test run, whose mail stays in memory as well
        place = find(options)
        if place.alias == using:
            with _new(place, options):
                pass

    def _on_setting_changed(self, *, setting: str, **_: object) -> None:
        if setting in ("MOXLIB", "EMAIL_BACKEND", "MAILERS"):
            self.close()


def _new(place: Place, options: Options) -> Queue:
    try:
        return Queue.open(
            place.target, schema=place.schema, connections=options.connections, config=options.load_config()
        )
    except (InputError, MissingExtra) as error:
        raise ImproperlyConfigured(f"MOXLIB: {error}") from error


def _check_options(**_: object) -> list[checks.CheckMessage]:
    """Have `manage.py check` report what is wrong with the settings."""
    try:
        options = Options.read()
        options.load_transports()
        if not (options.queue is None and options.database and in_memory(options.database)):  # as in a test run
            _new(find(options), options)
    except ImproperlyConfigured as error:
        return [checks.Error(str(error), id="moxlib.E001")]
    return []
